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
    static constexpr int W = N / 32, UNIT = W < 4 ? W : 4; // columns of a lane, and in one access
    float s[ROWS][W];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int r = 0; r < ROWS; r++)
#pragma unroll
            for (int i = 0; i < W; i++) s[r][i] = 0.f;
    }

    template <class S> __device__ __forceinline__ void load(const S *from, int lane) {
#pragma unroll
        for (int r = 0; r < ROWS; r++)
#pragma unroll
            for (int i = 0; i < W; i += UNIT) load_held(reinterpret_cast<float(&)[UNIT]>(s[r][i]), from + r * N + 32 * i, lane);
    }

    template <class S> __device__ __forceinline__ void store(S *to, int lane) const {
#pragma unroll
        for (int r = 0; r < ROWS; r++)
#pragma unroll
            for (int i = 0; i < W; i += UNIT) store_held(to + r * N + 32 * i, reinterpret_cast<const float(&)[UNIT]>(s[r][i]), lane);
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
