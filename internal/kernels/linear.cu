// Linear layers for a few tokens: out[n, rows] = act(x[n, cols]·Wᵀ + bias), or
// out += that. The weights are read once, and reading them is what it costs.
//
// linear_ring_* (Hopper and later; n up to 16; cols a multiple of 32): a block
// a multiprocessor, eight warps that compute and one that copies. A block owns
// consecutive rows. They come through a ring of stages in shared memory, eight
// rows by `segment` columns each, by bulk copies that begin before the previous
// kernel has ended. Warp w multiplies every eighth piece of 32 columns, w, w+8,
// …, so it needs the same columns of x for all rows and keeps them in
// registers. A product of the tensor cores takes x as A[16 tokens, 16] and W as
// B[16, 8 rows]; the order of the columns in a sum is free, so a lane reads 16
// consecutive bytes of both. The partial sums of the warps are added once for
// `groups` groups of eight rows.
// Launch: grid = multiprocessors, block = 288, shared as ringPlan in linear.go.
//
// linear_tile_*_{8,16} (compute capability 8.0 and later; n up to 8 or 16;
// cols a multiple of 8): the same with weights loaded straight into registers.
// Launch: grid = any, block = 256, shared = the partial sums.
//
// linear_plain_*: any type, size and alignment; a warp a row, eight tokens at a
// time. Launch: grid = any, block = 256.
#include "mma.cuh"

// LinearArgs is linearArgs in linear.go.
struct LinearArgs {
    const void *w;      // [rows, cols] without gaps
    const void *x;      // [n, cols]
    const float *bias;  // [rows], or null
    void *out;          // [n, rows]
    int n, rows, cols;
    int x_stride, out_stride;  // elements
    int act, add;
    int wide;  // out is float32, whatever the type of x

    int segment;  // columns of a stage, a multiple of 32
    int pitch;    // bytes from row to row in a stage
    int stages;   // of the ring
    int groups;   // of eight rows whose partial sums are added together
};

constexpr int WARPS = 8;           // that compute
constexpr int ROWS = 8;            // of a stage
constexpr int PIECES = 12;         // of 32 columns of x that a warp keeps
constexpr int OUTPUTS = 2;         // of a thread, from one addition of partial sums
constexpr int THREADS = 32 * WARPS;

// Output is what a result needs besides its sum, read ahead of it.
struct Output {
    float bias, before;
};

template <class T> __device__ __forceinline__ Output find_output(const LinearArgs &a, int token, int row) {
    const long long at = (long long)token * a.out_stride + row;
    Output o = {a.bias ? a.bias[row] : 0.f, 0.f};
    if (a.add) o.before = a.wide ? __ldcg((const float *)a.out + at) : to_float(((const T *)a.out)[at]);
    return o;
}

template <class T> __device__ __forceinline__ void store_output(const LinearArgs &a, const Output &o, int token, int row, float sum) {
    const long long at = (long long)token * a.out_stride + row;
    const float v = activate(sum + o.bias, a.act) + o.before;
    if (a.wide)
        ((float *)a.out)[at] = v;
    else
        ((T *)a.out)[at] = from_float<T>(v);
}

// compute_barrier waits for the warps that compute.
__device__ __forceinline__ void compute_barrier() { asm volatile("bar.sync 1, %0;" ::"n"(THREADS) : "memory"); }

// share returns the first of the rows that block i of n owns.
__device__ __forceinline__ int share(int rows, int i, int n) { return (int)((long long)rows * i / n); }

// Columns is a warp's part of x for one segment, as A of the products: of each
// piece of 32 columns, the two quarters that a lane reads 16 bytes of, in the
// order in which the tensor cores take tokens 0 to 7 and 8 to 15.
struct Columns {
    uint4 first[PIECES], second[PIECES];
};

template <int M> __device__ __forceinline__ void load_columns(Columns &c, const LinearArgs &a, int from, int to, int warp, int lane) {
    const int token = lane >> 2;
    const char *x = (const char *)a.x + 2ll * token * a.x_stride;
    // A is read from four neighbouring registers. With a 0 that the compiler
    // does not know, the order is made once, not before every product.
    const uint32_t none = M == 16 ? a.pitch & 1 : 0;
#pragma unroll
    for (int i = 0; i < PIECES; i++) {
        const int k = from + (warp + WARPS * i) * 32 + (lane & 3) * 8;
        uint4 low = make_uint4(0, 0, 0, 0), high = low;
        if (token < a.n && k < to) low = load16(x + 2 * k);
        if (M == 16 && token + 8 < a.n && k < to) high = load16(x + 16ll * a.x_stride + 2 * k);
        c.first[i] = make_uint4(low.x ^ none, high.x ^ none, low.y ^ none, high.y ^ none);
        c.second[i] = make_uint4(low.z ^ none, high.z ^ none, low.w ^ none, high.w ^ none);
    }
}

// multiply_piece adds the products of piece i of x with 32 columns of eight
// rows of W to two sums.
template <class T> __device__ __forceinline__ void multiply_piece(float (&c)[4], float (&d)[4], const Columns &x, int i, const uint4 &w) {
    accumulate<T>(c, x.first[i].x, x.first[i].y, x.first[i].z, x.first[i].w, w.x, w.y);
    accumulate<T>(d, x.second[i].x, x.second[i].y, x.second[i].z, x.second[i].w, w.z, w.w);
}

// multiply_stage multiplies a warp's pieces of a stage, of which w is the
// lane's first 16 bytes. Past the last piece x is 0; the last one is read
// again there, because 0 times what lies behind it may be NaN.
template <class T, bool FULL>
__device__ __forceinline__ void multiply_stage(float (&sum)[4], const Columns &x, const char *w, int warp, int pieces) {
    float d[4] = {}, e[4] = {}, f[4] = {};
    sum[0] = sum[1] = sum[2] = sum[3] = 0.f;
#pragma unroll
    for (int i = 0; i < PIECES; i += 4) {
        if (!FULL && warp + WARPS * i >= pieces) break;
        uint4 v[4];
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int piece = FULL ? WARPS * (i + j) : min(WARPS * (i + j), pieces - 1 - warp);
            v[j] = *(const uint4 *)(w + 64 * piece);
        }
        multiply_piece<T>(sum, d, x, i, v[0]);
        multiply_piece<T>(e, f, x, i + 1, v[1]);
        multiply_piece<T>(sum, d, x, i + 2, v[2]);
        multiply_piece<T>(e, f, x, i + 3, v[3]);
    }
#pragma unroll
    for (int i = 0; i < 4; i++) sum[i] = (sum[i] + d[i]) + (e[i] + f[i]);
}

// keep_partial stores a warp's sums for one group as [token, 8 rows], or adds
// them to what is there.
template <int M> __device__ __forceinline__ void keep_partial(float *partial, const float (&c)[4], int n, bool first, int lane) {
#pragma unroll
    for (int h = 0; h < M / 8; h++) {
        if ((lane >> 2) + 8 * h >= n) continue;
        float2 *p = (float2 *)(partial + 64 * h + 2 * lane);
        float2 v = make_float2(c[2 * h], c[2 * h + 1]);
        if (!first) v.x += p->x, v.y += p->y;
        *p = v;
    }
}

// Pass is the addition of the warps' partial sums for a few groups of rows.
// Sum i of a pass belongs to row i / (8·n) · 8 + i % 8 and token i / 8 % n.
struct Pass {
    Output out[OUTPUTS];
};

template <class T> __device__ __forceinline__ void begin_pass(Pass &p, const LinearArgs &a, int row, int end) {
#pragma unroll
    for (int i = 0; i < OUTPUTS; i++) {
        const int at = threadIdx.x + i * THREADS, r = row + at / (ROWS * a.n) * ROWS + at % ROWS;
        p.out[i] = {0.f, 0.f};
        if (r < end) p.out[i] = find_output<T>(a, at / ROWS % a.n, r);
    }
}

template <class T> __device__ __forceinline__ void end_pass(const Pass &p, const LinearArgs &a, int row, int end, const float *partial, int count) {
    compute_barrier();
#pragma unroll
    for (int i = 0; i < OUTPUTS; i++) {
        const int at = threadIdx.x + i * THREADS, r = row + at / (ROWS * a.n) * ROWS + at % ROWS;
        if (r >= end) continue;
        float sum = 0.f;
#pragma unroll
        for (int w = 0; w < WARPS; w++) sum += partial[w * count + at];
        store_output<T>(a, p.out[i], at / ROWS % a.n, r, sum);
    }
    compute_barrier();
}

// Ring is the stages and their barriers: full when the rows have landed, empty
// when all lanes of all warps have read them.
struct Ring {
    char *data;
    barrier_t *full, *empty;
    int stages, bytes;  // of a stage
    int at;
    uint32_t parity;

    __device__ __forceinline__ void next() {
        if (++at == stages) at = 0, parity ^= 1;
    }
};

__device__ __forceinline__ Ring make_ring(const LinearArgs &a, char *shared) {
    Ring r;
    r.stages = a.stages, r.bytes = a.pitch * ROWS;
    r.data = shared;
    r.full = (barrier_t *)(shared + r.stages * r.bytes), r.empty = r.full + r.stages;
    r.at = 0, r.parity = 0;
    return r;
}

// feed copies the block's rows into the ring, one lane a row.
__device__ __forceinline__ void feed(const LinearArgs &a, Ring ring, int first, int last, int lane) {
    const uint64_t policy = stream_policy();
    bool fresh = true;  // nothing to wait for in the first round
    for (int row = first; row < last; row += a.groups * ROWS) {
        const int end = min(last, row + a.groups * ROWS);
        for (int from = 0; from < a.cols; from += a.segment) {
            const uint32_t bytes = 2 * min(a.segment, a.cols - from);
            for (int r = row; r < end; r += ROWS) {
                if (!fresh) barrier_wait(ring.empty + ring.at, ring.parity ^ 1);
                const int rows = min(ROWS, end - r);
                if (lane == 0) barrier_expect(ring.full + ring.at, rows * bytes);
                __syncwarp();
                if (lane < rows) {
                    const char *w = (const char *)a.w + 2 * ((long long)(r + lane) * a.cols + from);
                    copy_bulk(ring.data + ring.at * ring.bytes + lane * a.pitch, w, bytes, ring.full + ring.at, policy);
                }
                if (ring.at == ring.stages - 1) fresh = false;
                ring.next();
            }
        }
    }
}

template <class T> __device__ __forceinline__ void linear_ring(const LinearArgs &a) {
    extern __shared__ __align__(128) char shared[];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const int first = share(a.rows, blockIdx.x, gridDim.x), last = share(a.rows, blockIdx.x + 1, gridDim.x);
    Ring ring = make_ring(a, shared);
    float *partials = (float *)(ring.empty + ring.stages);
    dependency_launch();
    if (threadIdx.x == THREADS) {
        for (int i = 0; i < ring.stages; i++) barrier_init(ring.full + i, 1), barrier_init(ring.empty + i, THREADS);
        barrier_publish();
    }
    __syncthreads();
    if (warp == WARPS) {
        feed(a, ring, first, last, lane);
        dependency_wait();
        return;
    }
    dependency_wait();
    Columns x;
    for (int row = first; row < last; row += a.groups * ROWS) {
        const int end = min(last, row + a.groups * ROWS), groups = (end - row + ROWS - 1) / ROWS;
        Pass pass;
        begin_pass<T>(pass, a, row, end);
        const int count = groups * ROWS * a.n;
        float *own = partials + warp * count;
        for (int from = 0; from < a.cols; from += a.segment) {
            const int to = min(a.cols, from + a.segment), pieces = (to - from) / 32;
            if (row == first || a.segment < a.cols) load_columns<16>(x, a, from, to, warp, lane);
            for (int g = 0; g < groups; g++) {
                float c[4];
                barrier_wait(ring.full + ring.at, ring.parity);
                const char *w = ring.data + ring.at * ring.bytes + (lane >> 2) * a.pitch + (lane & 3) * 16 + warp * 64;
                if (pieces == WARPS * PIECES)
                    multiply_stage<T, true>(c, x, w, warp, pieces);
                else
                    multiply_stage<T, false>(c, x, w, warp, pieces);
                barrier_arrive(ring.empty + ring.at);
                ring.next();
                keep_partial<16>(own + g * ROWS * a.n, c, a.n, from == 0, lane);
            }
        }
        end_pass<T>(pass, a, row, end, partials, count);
    }
}

template <class T, int M> __device__ __forceinline__ void linear_tile(const LinearArgs &a) {
    extern __shared__ __align__(128) char shared[];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const int first = share(a.rows, blockIdx.x, gridDim.x), last = share(a.rows, blockIdx.x + 1, gridDim.x);
    float *partials = (float *)shared;
    dependency_launch();
    dependency_wait();
    Columns x;
    for (int row = first; row < last; row += a.groups * ROWS) {
        const int end = min(last, row + a.groups * ROWS), groups = (end - row + ROWS - 1) / ROWS;
        Pass pass;
        begin_pass<T>(pass, a, row, end);
        const int count = groups * ROWS * a.n;
        float *own = partials + warp * count;
        for (int from = 0; from < a.cols; from += a.segment) {
            const int to = min(a.cols, from + a.segment);
            if (row == first || a.segment < a.cols) load_columns<M>(x, a, from, to, warp, lane);
            for (int g = 0; g < groups; g++) {
                float c[4] = {}, d[4] = {}, e[4] = {}, f[4] = {};
                const int r = row + g * ROWS + (lane >> 2);
                const T *w = (const T *)a.w + (long long)r * a.cols + (lane & 3) * 8;
                uint4 v[PIECES];
#pragma unroll
                for (int i = 0; i < PIECES; i++) {
                    const int k = from + (warp + WARPS * i) * 32;
                    v[i] = make_uint4(0, 0, 0, 0);
                    if (r < end && k + (lane & 3) * 8 < to) v[i] = load_weights(w + k);
                }
#pragma unroll
                for (int i = 0; i < PIECES; i += 2) {
                    multiply_piece<T>(c, d, x, i, v[i]);
                    multiply_piece<T>(e, f, x, i + 1, v[i + 1]);
                }
#pragma unroll
                for (int i = 0; i < 4; i++) c[i] = (c[i] + d[i]) + (e[i] + f[i]);
                keep_partial<M>(own + g * ROWS * a.n, c, a.n, from == 0, lane);
            }
        }
        end_pass<T>(pass, a, row, end, partials, count);
    }
}

// dot_plain adds the products of one row of W with up to eight rows of x, each
// lane its part of the columns.
template <class T> __device__ __forceinline__ void dot_plain(float (&sum)[8], const T *w, const T *x, int n, const LinearArgs &a, bool vectors) {
    const int lane = threadIdx.x & 31;
    if (!vectors) {
        for (int k = lane; k < a.cols; k += 32) {
            const float v = to_float(w[k]);
#pragma unroll
            for (int i = 0; i < 8; i++)
                if (i < n) sum[i] += v * to_float(x[(long long)i * a.x_stride + k]);
        }
        return;
    }
    constexpr int P = per16<T>;
    for (int k = lane * P; k < a.cols; k += 32 * P) {
        float v[P], y[P];
        unpack<T>(load_weights(w + k), v);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            if (i >= n) break;
            unpack<T>(load16(x + (long long)i * a.x_stride + k), y);
#pragma unroll
            for (int j = 0; j < P; j++) sum[i] += v[j] * y[j];
        }
    }
}

template <class T> __device__ __forceinline__ void linear_plain(const LinearArgs &a) {
    const int lane = threadIdx.x & 31;
    dependency_launch();
    dependency_wait();
    const bool vectors = a.cols % per16<T> == 0 && aligned16(a.w) && aligned16(a.x, (long long)a.x_stride * sizeof(T));
    for (int row = blockIdx.x * WARPS + (threadIdx.x >> 5); row < a.rows; row += gridDim.x * WARPS) {
        const T *w = (const T *)a.w + (long long)row * a.cols;
        for (int token = 0; token < a.n; token += 8) {
            float sum[8] = {};
            const int n = min(8, a.n - token);
            dot_plain<T>(sum, w, (const T *)a.x + (long long)token * a.x_stride, n, a, vectors);
            warp_sums(sum);
            float v = sum[0];  // that of token + lane
#pragma unroll
            for (int i = 1; i < 8; i++) v = lane == i ? sum[i] : v;
            if (lane < n) store_output<T>(a, find_output<T>(a, token + lane, row), token + lane, row, v);
        }
    }
}

#define PLAIN(NAME, T) \
    extern "C" __global__ void __launch_bounds__(THREADS) linear_plain_##NAME(const __grid_constant__ LinearArgs a) { linear_plain<T>(a); }
INSTANCES(PLAIN)

#if __CUDA_ARCH__ >= 800
#define TILE(NAME, T, M, BLOCKS) \
    extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) linear_tile_##NAME##_##M(const __grid_constant__ LinearArgs a) { linear_tile<T, M>(a); }
TILE(bf16, bf16, 8, 2)
TILE(bf16, bf16, 16, 1)
TILE(f16, f16, 8, 2)
TILE(f16, f16, 16, 1)
#endif

#if __CUDA_ARCH__ >= 900
#define RING(NAME, T) \
    extern "C" __global__ void __launch_bounds__(THREADS + 32, 1) linear_ring_##NAME(const __grid_constant__ LinearArgs a) { linear_ring<T>(a); }
RING(bf16, bf16)
RING(f16, f16)
#endif

// read_floor reads memory and does nothing else: what a product could reach.
// Launch: grid = 2·multiprocessors, block = 512.
extern "C" __global__ void __launch_bounds__(512, 2) read_floor(const uint4 *data, long long count, uint32_t *out) {
    const long long step = (long long)gridDim.x * blockDim.x;
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    uint32_t sum = 0;
    dependency_launch();
    dependency_wait();
    for (; i + 7 * step < count; i += 8 * step) {
        uint4 v[8];
#pragma unroll
        for (int j = 0; j < 8; j++) v[j] = load_weights(data + i + j * step);
#pragma unroll
        for (int j = 0; j < 8; j++) sum ^= v[j].x ^ v[j].y ^ v[j].z ^ v[j].w;
    }
    for (; i < count; i += step) {
        const uint4 v = load_weights(data + i);
        sum ^= v.x ^ v.y ^ v.z ^ v.w;
    }
    if (sum == 0x9e3779b9u) *out = sum;  // keeps the loads
}
