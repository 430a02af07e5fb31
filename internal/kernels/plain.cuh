// Attention without tensor cores: a block for each head (x) and token (y), four
// warps that share the positions.
#pragma once
#include "attend.cuh"

constexpr int PLAIN_WARPS = 4, PLAIN_DIM = 256, PLAIN_ROWS = 4;

// Row is a key or a value of T.
template <class T> struct Row {
    const T *at;
    __device__ __forceinline__ float operator[](int d) const { return to_float(at[d]); }
};

// Plain is a cache of T.
template <class T> struct Plain {
    const Attend &a;
    __device__ __forceinline__ Row<T> key(long long row) const { return {(const T *)a.k + row * a.head_dim}; }
    __device__ __forceinline__ Row<T> value(long long row) const { return {(const T *)a.v + row * a.head_dim}; }
};

// attend_plain is for any type and size of heads. Cache has its keys and values.
template <class T, class Cache> __device__ __forceinline__ void attend_plain(const Attend &a, const Cache &cache, const Step &step) {
    __shared__ float q[PLAIN_DIM], sums[PLAIN_WARPS][PLAIN_DIM], tops[PLAIN_WARPS], weights[PLAIN_WARPS];
    constexpr int PER_LANE = PLAIN_DIM / 32;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, head = blockIdx.x, token = blockIdx.y;
    dependency_launch();
    dependency_wait();
    const int last = step.positions[token], dim = a.head_dim;
    const int first = a.window > 0 ? max(0, last + 1 - a.window) : 0;
    const int *pages = step.pages + (long long)step.owner[token] * step.counts[COUNT_PAGES];
    const int kv_head = head / (a.heads / a.kv_heads);
    for (int d = threadIdx.x; d < dim; d += blockDim.x)
        q[d] = to_float(((const T *)a.q)[(long long)token * a.q_stride + (long long)head * dim + d]) * a.scale;
    __syncthreads();

    float top = minus_infinity(), weight = 0.f, sum[PER_LANE] = {};
    for (int base = first + 32 * warp; base <= last; base += 32 * PLAIN_WARPS) {
        const int row = cache_row(a, pages, kv_head, base + lane, first, last);
        for (int i = 0; i < 32 && base + i <= last; i += PLAIN_ROWS) {
            long long rows[PLAIN_ROWS];
            float s[PLAIN_ROWS] = {};
#pragma unroll
            for (int r = 0; r < PLAIN_ROWS; r++) {
                rows[r] = __shfl_sync(0xffffffffu, row, i + r);
                if (rows[r] < 0) continue;
                const auto k = cache.key(rows[r]);
                for (int d = lane; d < dim; d += 32) s[r] = fmaf(q[d], k[d], s[r]);
            }
            warp_sums(s);
            float next = top;
#pragma unroll
            for (int r = 0; r < PLAIN_ROWS; r++)
                if (rows[r] >= 0) next = fmaxf(next, s[r]);
            const float base_of = next == minus_infinity() ? 0.f : next, shrink = expf(top - base_of);
            top = next;
            weight *= shrink;
#pragma unroll
            for (int j = 0; j < PER_LANE; j++) sum[j] *= shrink;
#pragma unroll
            for (int r = 0; r < PLAIN_ROWS; r++) {
                if (rows[r] < 0) continue;
                const float p = expf(s[r] - base_of);
                weight += p;
                const auto v = cache.value(rows[r]);
#pragma unroll
                for (int j = 0; j < PER_LANE; j++)
                    if (lane + 32 * j < dim) sum[j] = fmaf(p, v[lane + 32 * j], sum[j]);
            }
        }
    }
    if (lane == 0) tops[warp] = top, weights[warp] = weight;
#pragma unroll
    for (int j = 0; j < PER_LANE; j++)
        if (lane + 32 * j < dim) sums[warp][lane + 32 * j] = sum[j];
    __syncthreads();
    float most = minus_infinity(), total = 0.f, share[PLAIN_WARPS];
    for (int w = 0; w < PLAIN_WARPS; w++) most = fmaxf(most, tops[w]);
    for (int w = 0; w < PLAIN_WARPS; w++) {
        share[w] = tops[w] == minus_infinity() ? 0.f : expf(tops[w] - most);
        total += share[w] * weights[w];
    }
    for (int d = threadIdx.x; d < dim; d += blockDim.x) {
        float v = 0.f;
        for (int w = 0; w < PLAIN_WARPS; w++) v += share[w] == 0.f ? 0.f : share[w] * sums[w][d];
        ((T *)a.out)[(long long)token * a.out_stride + (long long)head * dim + d] = from_float<T>(v / total);
    }
}
