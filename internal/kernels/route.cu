// The router of a mixture of experts:
//
//   s = sigmoid(x·Wᵀ), the TopK largest of s + bias, weights s / Σ s · scale
//
// Of several groups of experts only the best stay in the choice; a group's
// score is the sum of its two largest s + bias. Of equals the first is chosen.
// Sigmoids are computed in float64 and rounded, so that equal logits tie where
// they tie on the CPU. NaN is chosen last, and makes the weights NaN.
//
// route_W_X: few tokens. A block scores 8 experts for 16 tokens, each warp an
// eighth of the columns, by products of the tensor cores where W and X are one
// 16-bit type and the alignment allows it; its weights are under way before the
// previous kernel has ended. The block that is the last to score a tile of 16
// tokens chooses for them, a token a warp.
// Launch: grid = (experts / 8, n / 16), block = 256, shared = 8 warps of
// 4 bytes an expert.
//
// route_choose: the choice alone, from logits. Launch: grid = n / 8, block and
// shared as above.
#include "choice.cuh"
#include "mma.cuh"
#include "rows.cuh"

// RouteArgs is routeArgs in route.go.
struct RouteArgs {
    const void *w;       // [experts, cols] without gaps
    const void *x;       // [n, cols]
    float *scores;       // [n, experts]: scratch, or the logits
    unsigned int *done;  // blocks that have scored a tile of tokens; zero between launches
    int *ids;            // [n, top_k]
    float *weights;      // [n, top_k]
    Choice choice;
    int n, experts, cols, x_stride;
};

constexpr int WARPS = 8, THREADS = 32 * WARPS;
constexpr int TOKENS = 16, EXPERTS = 8;  // of a block
constexpr int PIECES = 12;               // of 32 columns that a warp loads at once

extern __shared__ __align__(16) char shared[];

// choose_row chooses for a token; score is shared memory of the warp's own.
template <bool LOGITS> __device__ __forceinline__ void choose_row(const RouteArgs &a, int token, float *score, int lane) {
    const long long at = (long long)token * a.choice.top_k;
    choose<LOGITS>(a.choice, a.scores + (long long)token * a.experts, a.ids + at, a.weights + at, score, lane);
}

// ---- scores ----

// Tile is where a warp's sums of one tile go: [16 tokens, 8 experts].
typedef float Tile[TOKENS * EXPERTS];

// score_tensor multiplies a warp's pieces of the columns of 8 experts and 16
// tokens. A lane reads 16 consecutive bytes of both, because the order of the
// columns in a sum is free.
template <class T> __device__ __forceinline__ void score_tensor(const RouteArgs &a, Tile &tile, int warp, int lane) {
    const int expert = blockIdx.x * EXPERTS + (lane >> 2), token = blockIdx.y * TOKENS + (lane >> 2);
    const int first = warp * 32 + (lane & 3) * 8;  // column
    const T *w = (const T *)a.w + (long long)expert * a.cols;
    const T *x = (const T *)a.x + (long long)token * a.x_stride;
    const bool low = token < a.n, high = token + 8 < a.n;
    const uint4 none = make_uint4(0, 0, 0, 0);
    uint4 v[PIECES];
    auto load = [&](int from) {
#pragma unroll
        for (int i = 0; i < PIECES; i++) {
            const int k = from + first + i * 32 * WARPS;
            v[i] = expert < a.experts && k < a.cols ? load_weights(w + k) : none;
        }
    };
    load(0);
    dependency_wait();
    float c[4] = {}, d[4] = {};
    for (int from = 0; from < a.cols; from += PIECES * 32 * WARPS) {
        if (from > 0) load(from);
#pragma unroll
        for (int i = 0; i < PIECES; i++) {
            const int k = from + first + i * 32 * WARPS;
            const uint4 p = low && k < a.cols ? load16(x + k) : none;
            const uint4 q = high && k < a.cols ? load16(x + 8ll * a.x_stride + k) : none;
            accumulate<T>(c, p.x, q.x, p.y, q.y, v[i].x, v[i].y);
            accumulate<T>(d, p.z, q.z, p.w, q.w, v[i].z, v[i].w);
        }
    }
    *(float2 *)(tile + 2 * lane) = make_float2(c[0] + d[0], c[1] + d[1]);
    *(float2 *)(tile + 64 + 2 * lane) = make_float2(c[2] + d[2], c[3] + d[3]);
}

template <class T> __device__ __forceinline__ void load8(float (&v)[8], const T *p) { load_values<T, 8>(v, p); }

// score_plain computes one expert's sums for the tile's tokens, warp by warp an
// expert. They go where the sums of one warp go; the others leave 0.
template <class W, class X> __device__ __forceinline__ void score_plain(const RouteArgs &a, Tile *tiles, int warp, int lane) {
    const int expert = blockIdx.x * EXPERTS + warp;
    const bool vectors = a.cols % 8 == 0 && aligned16(a.w) && aligned16(a.x, (long long)a.x_stride * sizeof(X));
    const W *w = (const W *)a.w + (long long)expert * a.cols;
    for (int i = lane; i < TOKENS * EXPERTS; i += 32) tiles[warp][i] = 0.f;
    dependency_wait();
    __syncthreads();
    if (expert >= a.experts) return;
    for (int t = 0; t < TOKENS; t += 8) {
        const int token = blockIdx.y * TOKENS + t, n = min(8, a.n - token);
        if (n <= 0) break;
        const X *x = (const X *)a.x + (long long)token * a.x_stride;
        float sum[8] = {};
        if (vectors) {
            for (int k = lane * 8; k < a.cols; k += 256) {
                float v[8], y[8];
                load8<W>(v, w + k);
#pragma unroll
                for (int i = 0; i < 8; i++) {
                    if (i >= n) break;
                    load8<X>(y, x + (long long)i * a.x_stride + k);
#pragma unroll
                    for (int j = 0; j < 8; j++) sum[i] += v[j] * y[j];
                }
            }
        } else {
            for (int k = lane; k < a.cols; k += 32) {
                const float v = to_float(w[k]);
#pragma unroll
                for (int i = 0; i < 8; i++)
                    if (i < n) sum[i] += v * to_float(x[(long long)i * a.x_stride + k]);
            }
        }
        warp_sums(sum);
#pragma unroll
        for (int i = 0; i < 8; i++)
            if (lane == i) tiles[0][(t + i) * EXPERTS + warp] = sum[i];
    }
}

// tensor_scores says whether the tensor cores can score.
template <class W, class X> __device__ __forceinline__ bool tensor_scores(const RouteArgs &a) { return false; }
#if __CUDA_ARCH__ >= 800
template <> __device__ __forceinline__ bool tensor_scores<bf16, bf16>(const RouteArgs &a) {
    return a.cols % 8 == 0 && aligned16(a.w) && aligned16(a.x, 2ll * a.x_stride);
}
template <> __device__ __forceinline__ bool tensor_scores<f16, f16>(const RouteArgs &a) { return tensor_scores<bf16, bf16>(a); }
#endif

template <class W, class X> __device__ __forceinline__ void score(const RouteArgs &a, Tile *tiles, int warp, int lane) {
    if constexpr (sizeof(W) == 2 && sizeof(X) == 2) {
        if (tensor_scores<W, X>(a)) {
            score_tensor<W>(a, tiles[warp], warp, lane);
            return;
        }
    }
    score_plain<W, X>(a, tiles, warp, lane);
}

template <class W, class X> __device__ __forceinline__ void route(const RouteArgs &a) {
    __shared__ __align__(16) Tile tiles[WARPS];
    __shared__ bool last;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    dependency_launch();
    score<W, X>(a, tiles, warp, lane);
    __syncthreads();
    const int first = blockIdx.y * TOKENS;
    if (threadIdx.x < TOKENS * EXPERTS) {
        const int token = first + threadIdx.x / EXPERTS, expert = blockIdx.x * EXPERTS + threadIdx.x % EXPERTS;
        float sum = 0.f;
#pragma unroll
        for (int w = 0; w < WARPS; w++) sum += tiles[w][threadIdx.x];
        if (token < a.n && expert < a.experts) a.scores[(long long)token * a.experts + expert] = logistic(sum);
        __threadfence();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        last = atomicAdd(a.done + blockIdx.y, 1u) == gridDim.x - 1;
        if (last) a.done[blockIdx.y] = 0;
    }
    __syncthreads();
    if (!last) return;
    __threadfence();
    float *score = (float *)shared + warp * a.experts;
    for (int t = first + warp; t < min(a.n, first + TOKENS); t += WARPS) {
        choose_row<false>(a, t, score, lane);
        __syncwarp();
    }
}

#define ROUTE(W_NAME, W, X_NAME, X)                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS, 1) route_##W_NAME##_##X_NAME(const __grid_constant__ RouteArgs a) { \
        route<W, X>(a);                                                                                                         \
    }
ROUTE(f32, float, f32, float)
ROUTE(bf16, bf16, bf16, bf16)
ROUTE(f16, f16, f16, f16)
ROUTE(f32, float, bf16, bf16)
ROUTE(f32, float, f16, f16)
ROUTE(bf16, bf16, f32, float)
ROUTE(f16, f16, f32, float)

extern "C" __global__ void __launch_bounds__(THREADS, 1) route_choose(const __grid_constant__ RouteArgs a) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    float *score = (float *)shared + warp * a.experts;
    dependency_launch();
    dependency_wait();
    const int token = blockIdx.x * WARPS + warp;
    if (token < a.n) choose_row<true>(a, token, score, lane);
}
