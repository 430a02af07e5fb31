// A warp's rows of the state of a Mamba-2 recurrence, in registers.
#pragma once
#include "rows.cuh"
#include "scan.cuh"

constexpr int ROWS = 8; // of one head

// Inputs are what a warp needs of a token: its rows of x, and N/32 columns of B
// and C a lane.
template <int N> struct Inputs {
    static constexpr int W = N / 32;
    float x[ROWS], b[W], c[W], dt;

    // Columns of a lane: W in a row, or four of each 128.
    static __device__ __forceinline__ int column(int lane, int i) {
        return W <= 4 ? lane * W + i : 4 * lane + 128 * (i / 4) + i % 4;
    }

    template <class T> static __device__ __forceinline__ void columns(float (&v)[W], const T *p, int lane) {
        constexpr int unit = W < 4 ? W : 4; // columns in one access
#pragma unroll
        for (int i = 0; i < W; i += unit) {
            const T *from = p + column(lane, i);
            if constexpr (sizeof(T) == 4 && unit == 4) {
                unpack<float>(load16(from), reinterpret_cast<float(&)[4]>(v[i]));
            } else if constexpr (sizeof(T) == 4) {
                const float2 two = __ldcg((const float2 *)from);
                v[i] = two.x, v[i + 1] = two.y;
            } else {
#pragma unroll
                for (int k = 0; k < unit; k += 2) {
                    const float2 two = unpack2<T>(__ldcg((const unsigned int *)(from + k)));
                    v[i + k] = two.x, v[i + k + 1] = two.y;
                }
            }
        }
    }

    template <class T> __device__ __forceinline__ void load(const Scan &a, long long token, int head, int row, int lane) {
        const T *xbc = (const T *)a.xbc + token * a.xbc_stride;
        const int inner = a.heads * a.head_dim, at = inner + head / (a.heads / a.groups) * N;
        dt = to_float(((const T *)a.dt)[token * a.dt_stride + head]);
        load_values(x, xbc + row);
        columns(b, xbc + at, lane);
        columns(c, xbc + at + a.groups * N, lane);
    }
};

// Rows is a warp's part of the state.
template <int N> struct Rows {
    static constexpr int W = N / 32;
    float s[ROWS][W];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int r = 0; r < ROWS; r++)
#pragma unroll
            for (int i = 0; i < W; i++) s[r][i] = 0.f;
    }

    // What is loaded was written a step ago, what is stored is used in a step: it
    // passes the first-level cache by, and the second one if need be.
    __device__ __forceinline__ void load(const float *from, int lane) {
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            if constexpr (W == 2) {
                const float2 v = __ldcg((const float2 *)(from + r * N) + lane);
                s[r][0] = v.x, s[r][1] = v.y;
            } else {
#pragma unroll
                for (int i = 0; i < W; i += 4) {
                    const float4 v = __ldcg((const float4 *)(from + r * N + 32 * i) + lane);
                    s[r][i] = v.x, s[r][i + 1] = v.y, s[r][i + 2] = v.z, s[r][i + 3] = v.w;
                }
            }
    }

    __device__ __forceinline__ void store(float *to, int lane) const {
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            if constexpr (W == 2) {
                __stcs((float2 *)(to + r * N) + lane, make_float2(s[r][0], s[r][1]));
            } else {
#pragma unroll
                for (int i = 0; i < W; i += 4)
                    __stcs((float4 *)(to + r * N + 32 * i) + lane, make_float4(s[r][i], s[r][i + 1], s[r][i + 2], s[r][i + 3]));
            }
    }

    // step takes a token in. Lane l gets y of row l/4.
    __device__ __forceinline__ float step(const Inputs<N> &in, float dt, float decay, float d, int lane) {
        float y[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            const float dx = dt * in.x[r];
            y[r] = lane == 0 ? d * in.x[r] : 0.f;
#pragma unroll
            for (int i = 0; i < W; i++) {
                s[r][i] = fmaf(decay, s[r][i], dx * in.b[i]);
                y[r] = fmaf(s[r][i], in.c[i], y[r]);
            }
        }
        // Halve the rows and the lanes of a row at a time.
#pragma unroll
        for (int half = ROWS / 2, m = 16; half; half >>= 1, m >>= 1)
#pragma unroll
            for (int r = 0; r < half; r++) {
                const bool upper = lane & m;
                const float mine = upper ? y[half + r] : y[r], other = upper ? y[r] : y[half + r];
                y[r] = mine + __shfl_xor_sync(0xffffffffu, other, m);
            }
        y[0] += __shfl_xor_sync(0xffffffffu, y[0], 2);
        return y[0] + __shfl_xor_sync(0xffffffffu, y[0], 1);
    }
};
