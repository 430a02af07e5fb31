// Linear layers for many tokens: out[n, rows] = act(x[n, cols]·Wᵀ + bias), or
// out += that. Limited by arithmetic.
//
// gemm_{bf16,f16}_{large,medium,small} (compute capability 8.0 and later; cols and
// the stride of x multiples of 8, addresses of 16): a block computes a tile of
// TOKENS × ROWS in registers by m16n8k16 products. Pieces of 64 columns of x
// and W come through a ring of stages in shared memory. A row of a stage is 128
// bytes, eight chunks of 16; chunk c of row r is stored at c ^ (r & 7), so that
// copies and ldmatrix meet no bank twice.
// Launch: grid = (tiles of tokens, tiles of rows), block and shared as in
// gemm.go. Blocks that follow each other share W.
//
// gemm_plain_*: any type, size and alignment, tiles of 64 × 64 by fused
// multiply-adds. Launch: grid = (tiles of tokens, tiles of rows), block = 256.
//
// gemm_finish_*: out = act(out + bias), after a product by a library.
// Launch: grid = (n, blocks of 1024 columns), block = 256.
#include "mma.cuh"

// GemmArgs is gemmArgs in gemm.go.
struct GemmArgs {
    const void *w;      // [rows, cols] without gaps
    const void *x;      // [n, cols]
    const float *bias;  // [rows], or null
    void *out;          // [n, rows]
    int n, rows, cols;
    int x_stride, out_stride;  // elements
    int act, add;
    int wide;  // out is float32, whatever the type of x
};

template <class T> __device__ __forceinline__ void store_result(const GemmArgs &a, int token, int row, float v) {
    const long long at = (long long)token * a.out_stride + row;
    if (a.wide) {
        float *out = (float *)a.out + at;
        *out = a.add ? *out + v : v;
    } else {
        T *out = (T *)a.out + at;
        *out = from_float<T>(a.add ? to_float(*out) + v : v);
    }
}

// finish_four stores the results of four neighbouring rows, which lie side by
// side in out, as one where the alignment allows it.
template <class T> __device__ __forceinline__ void finish_four(const GemmArgs &a, int token, int row, const float (&sum)[4], bool vectors) {
    float v[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const float bias = a.bias && row + i < a.rows ? a.bias[row + i] : 0.f;
        v[i] = activate(sum[i] + bias, a.act);
    }
    if (!vectors || row + 4 > a.rows) {
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (row + i < a.rows) store_result<T>(a, token, row + i, v[i]);
        return;
    }
    const long long at = (long long)token * a.out_stride + row;
    if (a.wide) {
        float4 *out = (float4 *)((float *)a.out + at);
        if (a.add) {
            const float4 before = *out;
            v[0] += before.x, v[1] += before.y, v[2] += before.z, v[3] += before.w;
        }
        *out = make_float4(v[0], v[1], v[2], v[3]);
    } else {
        uint2 *out = (uint2 *)((T *)a.out + at);
        if (a.add) {
            const float2 first = unpack2<T>(out->x), second = unpack2<T>(out->y);
            v[0] += first.x, v[1] += first.y, v[2] += second.x, v[3] += second.y;
        }
        *out = make_uint2(pack2<T>(v[0], v[1]), pack2<T>(v[2], v[3]));
    }
}

constexpr int DEPTH = 64;  // columns of a stage

// Tile is the shape of a block's work: a warp computes MT·16 tokens by NT·8
// rows.
template <int WARPS_M, int WARPS_N, int MT, int NT, int STAGES> struct Tile {
    static constexpr int warps_m = WARPS_M, warps_n = WARPS_N, mt = MT, nt = NT, stages = STAGES;
    static constexpr int tokens = WARPS_M * MT * 16, rows = WARPS_N * NT * 8;
    static constexpr int threads = 32 * WARPS_M * WARPS_N;
    static constexpr int bytes = (tokens + rows) * DEPTH * 2;  // of a stage
    static constexpr int pitch = NT * 8 + 8;                   // of a warp's results, in floats: no bank is met twice
    static_assert(threads / 32 * MT * 16 * pitch * 4 <= STAGES * bytes, "the results must fit");
};

// swizzled returns where chunk c of row r of a stage lies.
__device__ __forceinline__ uint32_t swizzled(int r, int c) { return r * (DEPTH * 2) + ((c ^ (r & 7)) << 4); }

// copy_rows starts the copy of columns from `from` of COUNT rows to a stage;
// what lies outside of the matrix becomes 0.
template <class T, int COUNT, int THREADS>
__device__ __forceinline__ void copy_rows(uint32_t stage, const T *m, long long stride, int first, int rows, int from, int cols) {
#pragma unroll
    for (int i = threadIdx.x; i < COUNT * 8; i += THREADS) {
        const int r = i >> 3, c = i & 7, k = from + 8 * c;
        const bool present = first + r < rows && k < cols;
        copy_chunk(stage + swizzled(r, c), present ? m + (first + r) * stride + k : m, present);
    }
}

// multiply_stage adds the products of one stage to a warp's sums.
template <class T, class S>
__device__ __forceinline__ void multiply_stage(float (&sum)[S::mt][S::nt][4], uint32_t x, uint32_t w, int lane) {
    const int m = lane & 15, half = lane >> 4;                 // x: row and chunk a lane points at
    const int n = (lane & 7) + ((lane >> 4) << 3), odd = lane >> 3 & 1;  // W: the same
#pragma unroll
    for (int k = 0; k < DEPTH / 16; k++) {
        uint32_t a[S::mt][4], b[S::nt / 2][4];
#pragma unroll
        for (int i = 0; i < S::mt; i++) load_matrices(a[i], x + swizzled(16 * i + m, 2 * k + half));
#pragma unroll
        for (int j = 0; j < S::nt / 2; j++) load_matrices(b[j], w + swizzled(16 * j + n, 2 * k + odd));
#pragma unroll
        for (int i = 0; i < S::mt; i++)
#pragma unroll
            for (int j = 0; j < S::nt; j++)
                accumulate<T>(sum[i][j], a[i][0], a[i][1], a[i][2], a[i][3], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
    }
}

// finish_tile brings a warp's sums, through its part of shared memory, into
// the order of out, applies the epilogue and stores them from token and row on.
template <class T, class S>
__device__ __forceinline__ void finish_tile(const GemmArgs &a, const float (&sum)[S::mt][S::nt][4], float *part, int token, int row, int lane) {
#pragma unroll
    for (int i = 0; i < S::mt; i++)
#pragma unroll
        for (int j = 0; j < S::nt; j++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                float *p = part + (16 * i + 8 * h + (lane >> 2)) * S::pitch + 8 * j + 2 * (lane & 3);
                *(float2 *)p = make_float2(sum[i][j][2 * h], sum[i][j][2 * h + 1]);
            }
    __syncwarp();
    const bool vectors = a.out_stride % 4 == 0 && (uintptr_t)a.out % 16 == 0;
    constexpr int FOURS = S::nt * 2;  // of a token
#pragma unroll 1
    for (int i = lane; i < S::mt * 16 * FOURS; i += 32) {
        const int t = i / FOURS, r = i % FOURS * 4;
        if (token + t >= a.n) break;
        const float4 v = *(const float4 *)(part + t * S::pitch + r);
        finish_four<T>(a, token + t, row + r, {v.x, v.y, v.z, v.w}, vectors);
    }
}

template <class T, class S> __device__ __forceinline__ void gemm(const GemmArgs &a) {
    extern __shared__ __align__(1024) char shared[];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const int wm = warp % S::warps_m, wn = warp / S::warps_m;
    const int token = blockIdx.x * S::tokens, row = blockIdx.y * S::rows;
    const uint32_t base = shared_address(shared);
    const int pieces = (a.cols + DEPTH - 1) / DEPTH;
    auto copy = [&](int piece) {
        if (piece < pieces) {
            const uint32_t stage = base + piece % S::stages * S::bytes;
            copy_rows<T, S::tokens, S::threads>(stage, (const T *)a.x, a.x_stride, token, a.n, piece * DEPTH, a.cols);
            copy_rows<T, S::rows, S::threads>(stage + S::tokens * DEPTH * 2, (const T *)a.w, a.cols, row, a.rows, piece * DEPTH, a.cols);
        }
        end_copies();
    };
    dependency_launch();
    dependency_wait();
    for (int i = 0; i < S::stages - 1; i++) copy(i);
    float sum[S::mt][S::nt][4] = {};
    for (int piece = 0; piece < pieces; piece++) {
        await_copies<S::stages - 2>();
        __syncthreads();
        copy(piece + S::stages - 1);  // over the stage that all warps have left
        const uint32_t stage = base + piece % S::stages * S::bytes;
        multiply_stage<T, S>(sum, stage + wm * S::mt * 16 * DEPTH * 2, stage + (S::tokens + wn * S::nt * 8) * DEPTH * 2, lane);
    }
    __syncthreads();  // before the stages are used for the results
    float *part = (float *)shared + warp * S::mt * 16 * S::pitch;
    finish_tile<T, S>(a, sum, part, token + wm * S::mt * 16, row + wn * S::nt * 8, lane);
}

constexpr int PLAIN_TILE = 64, PLAIN_DEPTH = 16;

// load_plain puts columns [from, from+16) of 64 rows, transposed, into shared
// memory.
template <class T> __device__ __forceinline__ void load_plain(float (&to)[PLAIN_DEPTH][PLAIN_TILE + 4], const T *m, long long stride, int first, int rows, int from, int cols) {
    for (int i = threadIdx.x; i < PLAIN_TILE * PLAIN_DEPTH; i += 256) {
        const int r = i / PLAIN_DEPTH, c = i % PLAIN_DEPTH;
        const bool present = first + r < rows && from + c < cols;
        to[c][r] = present ? to_float(m[(first + r) * stride + from + c]) : 0.f;
    }
}

template <class T> __device__ __forceinline__ void gemm_plain(const GemmArgs &a) {
    __shared__ float x[PLAIN_DEPTH][PLAIN_TILE + 4], w[PLAIN_DEPTH][PLAIN_TILE + 4];
    const int token = blockIdx.x * PLAIN_TILE, row = blockIdx.y * PLAIN_TILE;
    const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;  // rows tx + 16j, tokens ty + 16i
    float sum[4][4] = {};
    dependency_launch();
    dependency_wait();
    for (int from = 0; from < a.cols; from += PLAIN_DEPTH) {
        __syncthreads();
        load_plain(x, (const T *)a.x, a.x_stride, token, a.n, from, a.cols);
        load_plain(w, (const T *)a.w, a.cols, row, a.rows, from, a.cols);
        __syncthreads();
#pragma unroll
        for (int k = 0; k < PLAIN_DEPTH; k++)
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) sum[i][j] += x[k][ty + 16 * i] * w[k][tx + 16 * j];
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int t = token + ty + 16 * i, r = row + tx + 16 * j;
            if (t < a.n && r < a.rows) store_result<T>(a, t, r, activate(sum[i][j] + (a.bias ? a.bias[r] : 0.f), a.act));
        }
}

template <class T> __device__ __forceinline__ void gemm_finish(T *out, const float *bias, int rows, int stride, int act) {
    dependency_launch();
    dependency_wait();
    out += (long long)blockIdx.x * stride;
    for (int r = blockIdx.y * 1024 + threadIdx.x; r < min(rows, (int)(blockIdx.y + 1) * 1024); r += 256)
        out[r] = from_float<T>(activate(to_float(out[r]) + (bias ? bias[r] : 0.f), act));
}

#define PLAIN(NAME, T)                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(256) gemm_plain_##NAME(const __grid_constant__ GemmArgs a) { gemm_plain<T>(a); }             \
    extern "C" __global__ void __launch_bounds__(256) gemm_finish_##NAME(T *out, const float *bias, int rows, int stride, int act) {          \
        gemm_finish<T>(out, bias, rows, stride, act);                                                                                         \
    }
INSTANCES(PLAIN)

#if __CUDA_ARCH__ >= 800
#define GEMM(NAME, T, SHAPE, BLOCKS, ...)                                                                                                  \
    extern "C" __global__ void __launch_bounds__(Tile<__VA_ARGS__>::threads, BLOCKS) gemm_##NAME##_##SHAPE(const __grid_constant__ GemmArgs a) { \
        gemm<T, Tile<__VA_ARGS__>>(a);                                                                                                     \
    }
#define SHAPES(NAME, T)                     \
    GEMM(NAME, T, large, 2, 2, 4, 4, 4, 3)  \
    GEMM(NAME, T, medium, 2, 2, 4, 4, 2, 3) \
    GEMM(NAME, T, small, 3, 2, 2, 2, 4, 4)
SHAPES(bf16, bf16)
SHAPES(f16, f16)
#endif
