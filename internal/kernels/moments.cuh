// Mean and scale of a row that a block holds in registers.
#pragma once
#include "common.cuh"

// Moments of a set of values, to be joined with those of others.
struct Moments {
    float n, mean, squares;  // squares: sum of (x - mean)²
};

// join_warp joins the moments of the lanes of a warp.
__device__ __forceinline__ Moments join_warp(Moments m) {
    const float n = warp_sum(m.n);
    const float mean = n > 0.f ? warp_sum(m.n * m.mean) / n : 0.f;
    const float d = m.mean - mean;
    return {n, mean, warp_sum(m.squares + m.n * d * d)};
}

// block_scale returns the mean (0 unless center) and the factor
// rsqrt(mean((x - mean)²) + eps) of width values, which the first threads of
// a block have: the i-th V of them are v[k] of thread i - k·threads, for i below
// chunks.
template <int CHUNKS, int V>
__device__ __forceinline__ float2 block_scale(const float (&v)[CHUNKS][V], int chunks, int width, bool center, float eps, int threads) {
    __shared__ float part[3][32];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = threads >> 5;
    Moments m = {0.f, 0.f, 0.f};
    float sum = 0.f;
#pragma unroll
    for (int k = 0; k < CHUNKS; k++)
        if (threadIdx.x + k * threads < chunks) {
            m.n += V;
#pragma unroll
            for (int j = 0; j < V; j++) sum += v[k][j];
        }
    if (center) {
        const float n = warp_sum(m.n);
        m.mean = n > 0.f ? warp_sum(sum) / n : 0.f;
    }
#pragma unroll
    for (int k = 0; k < CHUNKS; k++)
        if (threadIdx.x + k * threads < chunks)
#pragma unroll
            for (int j = 0; j < V; j++) {
                const float d = v[k][j] - m.mean;
                m.squares += d * d;
            }
    // All lanes have the mean of their warp by now.
    const float n = warp_sum(m.n), squares = warp_sum(m.squares);
    if (lane == 0) part[0][warp] = n, part[1][warp] = m.mean, part[2][warp] = squares;
    asm volatile("bar.sync 1, %0;" ::"r"(threads) : "memory");
    const bool in = lane < warps;
    m = {in ? part[0][lane] : 0.f, in ? part[1][lane] : 0.f, in ? part[2][lane] : 0.f};
    if (center)
        m = join_warp(m);
    else
        m.squares = warp_sum(m.squares);
    return make_float2(m.mean, rsqrtf(m.squares / width + eps));
}
