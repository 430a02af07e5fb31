// The beginning of a mixture of experts for one token: the norm in front of it,
// the router's scores, and the first product of the expert that all tokens
// share. Neither waits for the choice of the others.
//
//   h = norm(x),   scores = sigmoid(Wrouter·h),   hidden = act(Wup·h)
//
// moe_enter_W_X_P (Hopper and later): gemv_X_P (gemv.cuh) for the shared expert,
// in which each block also computes the scores of up to SCORED experts, with a
// router of type W that it has read into registers before it waits for the
// kernel ahead.
// Launch: grid = multiprocessors, block = 256, shared as gemvPlan in gemv.go.
#include "choice.cuh"
#include "gemv.cuh"

// Enter is moeEnterArgs in moe.go.
struct Enter {
    Gemv shared;         // rows may be 0
    const void *router;  // [experts, cols]
    float *scores;       // [experts]
    int experts, unused;
};

constexpr int SCORED = 2;  // experts of a block, at most

// Piece is eight numbers in a row as they lie in memory.
template <class W> struct Piece {
    uint4 v;
    __device__ __forceinline__ void load(const W *p) { v = load16(p); }
    __device__ __forceinline__ void get(float (&f)[8]) const { unpack<W>(v, f); }
};
template <> struct Piece<float> {
    float4 v[2];
    __device__ __forceinline__ void load(const float *p) { v[0] = __ldg((const float4 *)p), v[1] = __ldg((const float4 *)p + 1); }
    __device__ __forceinline__ void get(float (&f)[8]) const {
        f[0] = v[0].x, f[1] = v[0].y, f[2] = v[0].z, f[3] = v[0].w, f[4] = v[1].x, f[5] = v[1].y, f[6] = v[1].z, f[7] = v[1].w;
    }
};

// Scores computes a block's scores beside the product. S is the shape of that.
template <class W, class S> struct Scores {
    static constexpr int ROUNDS = (S::P + 7) / 8;  // of eight columns a thread
    const Enter &a;
    Piece<W> w[SCORED][ROUNDS];
    float (*part)[WARPS];  // [SCORED] in shared memory

    __device__ __forceinline__ int expert(int s) const { return blockIdx.x + s * gridDim.x; }
    __device__ __forceinline__ static int column(int r) { return 8 * (threadIdx.x + r * THREADS); }

    __device__ __forceinline__ void begin() {
#pragma unroll
        for (int s = 0; s < SCORED; s++)
#pragma unroll
            for (int r = 0; r < ROUNDS; r++)
                if (expert(s) < a.experts && column(r) < a.shared.cols) w[s][r].load((const W *)a.router + (long long)expert(s) * a.shared.cols + column(r));
    }

    // token leaves the scores; the first warps add up the parts of all.
    template <class T> __device__ __forceinline__ void token(const T *y) {
        const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
        float sum[SCORED] = {};
#pragma unroll
        for (int r = 0; r < ROUNDS; r++) {
            if (column(r) >= a.shared.cols) break;
            float v[8], f[8];
            unpack<T>(*(const uint4 *)(y + column(r)), v);
#pragma unroll
            for (int s = 0; s < SCORED; s++) {
                if (expert(s) >= a.experts) break;
                w[s][r].get(f);
#pragma unroll
                for (int i = 0; i < 8; i++) sum[s] = fmaf(f[i], v[i], sum[s]);
            }
        }
        warp_sums(sum);
        if (lane == 0) {
#pragma unroll
            for (int s = 0; s < SCORED; s++) part[s][warp] = sum[s];
        }
        __syncthreads();
        if (warp >= SCORED || lane > 0 || expert(warp) >= a.experts) return;
        float logit = 0.f;
#pragma unroll
        for (int i = 0; i < WARPS; i++) logit += part[warp][i];
        a.scores[expert(warp)] = logistic(logit);
    }
};

template <class T, class W, int P> __device__ __forceinline__ void moe_enter(const Enter &a) {
    __shared__ float part[SCORED][WARPS];
    gemv<T, Shape<P, false, false>>(a.shared, Scores<W, Shape<P, false, false>>{a, {}, part});
}

#if __CUDA_ARCH__ >= 900
#define ENTER(W_NAME, W, X_NAME, X, P)                                                                                                     \
    extern "C" __global__ void __launch_bounds__(THREADS, 1) moe_enter_##W_NAME##_##X_NAME##_##P(const __grid_constant__ Enter a) { \
        moe_enter<X, W, P>(a);                                                                                                             \
    }
#define WIDTHS(W_NAME, W, X_NAME, X) \
    ENTER(W_NAME, W, X_NAME, X, 2) ENTER(W_NAME, W, X_NAME, X, 4) ENTER(W_NAME, W, X_NAME, X, 6) ENTER(W_NAME, W, X_NAME, X, 8) \
    ENTER(W_NAME, W, X_NAME, X, 10) ENTER(W_NAME, W, X_NAME, X, 12)
WIDTHS(bf16, bf16, bf16, bf16)
WIDTHS(f16, f16, f16, f16)
WIDTHS(f32, float, bf16, bf16)
WIDTHS(f32, float, f16, f16)
#endif
