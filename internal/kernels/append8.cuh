// Append for caches in 8 bits: q and k are rotated in place, as in rotary.cu, and
// k and v stored, rounded from the float32 results of the rotation. A warp for
// each head of q, of k and of v; grid: x = pieces of 4 heads, y = tokens. Any
// size and address, heads of up to 256.
#pragma once
#include "bytes.cuh"

// Append8 is append8Args in attention8.go.
struct Append8 {
    void *q, *k;
    const void *v;
    void *keys, *values;   // the cache: [pages, kv_heads, page, dim]
    __nv_bfloat16 *scales; // Int8: [pages, kv_heads, page, 2]
    const float2 *angles;  // [n, half]
    int n, q_stride, k_stride, v_stride;
    int heads, kv_heads, dim, half, page;
    float k_factor, v_factor; // Fp8: what keys and values are multiplied with
};

constexpr int APPEND_WARPS = 4, APPEND_DIM = 256;

// load_head reads a head, rotates its first 2·half columns, and writes it back
// where it is rotated. Returns the bits of the largest magnitude of the lane.
template <class T>
__device__ __forceinline__ uint32_t load_head(float *row, T *head, const float2 *angles, int half, int dim, int lane) {
    uint32_t most = 0;
    for (int i = lane; i < half; i += 32) {
        const float2 a = angles[i];
        const float x = to_float(head[i]), y = to_float(head[i + half]);
        const float lower = x * a.x - y * a.y, upper = y * a.x + x * a.y;
        head[i] = from_float<T>(lower), head[i + half] = from_float<T>(upper);
        row[i] = lower, row[i + half] = upper;
        most = max(most, max(__float_as_uint(lower) & 0x7fffffffu, __float_as_uint(upper) & 0x7fffffffu));
    }
    for (int i = 2 * half + lane; i < dim; i += 32) {
        row[i] = to_float(head[i]);
        most = max(most, __float_as_uint(row[i]) & 0x7fffffffu);
    }
    return most;
}

template <class F> __device__ __forceinline__ uint32_t to_byte(float v) {
    if constexpr (F::scaled) return to_int8(v);
    else return to_e4m3(v);
}

// store_head rounds a head to its row of the cache.
template <class F> __device__ __forceinline__ void store_head(unsigned char *to, const float *row, float factor, int dim, int lane) {
    if (dim % 4 != 0) {
        for (int i = lane; i < dim; i += 32) to[i] = to_byte<F>(__fmul_rn(row[i], factor));
        return;
    }
    for (int i = 4 * lane; i < dim; i += 128) {
        uint32_t word = 0;
#pragma unroll
        for (int j = 0; j < 4; j++) word |= to_byte<F>(__fmul_rn(row[i + j], factor)) << 8 * j;
        *(uint32_t *)(to + i) = word;
    }
}

// append8 does one head of a token.
template <class T, class F>
__device__ __forceinline__ void append8(const Step &step, const Append8 &a, int t, int head, float *row, int lane) {
    const float2 *angles = a.angles + (long long)t * a.half;
    if (head < a.heads) {
        if (a.half > 0) load_head(row, (T *)a.q + (long long)t * a.q_stride + head * a.dim, angles, a.half, 2 * a.half, lane);
        return;
    }
    head -= a.heads;
    const bool key = head < a.kv_heads;
    if (!key) head -= a.kv_heads;
    T *from = key ? (T *)a.k + (long long)t * a.k_stride : (T *)a.v + (long long)t * a.v_stride;
    uint32_t most = load_head(row, from + head * a.dim, angles, key ? a.half : 0, a.dim, lane);
    const int position = step.positions[t];
    const int page = step.pages[(long long)step.owner[t] * step.counts[COUNT_PAGES] + position / a.page];
    if (page < 0) return;
    const long long at = ((long long)page * a.kv_heads + head) * a.page + position % a.page;
    float factor = key ? a.k_factor : a.v_factor;
    if constexpr (F::scaled) {
#pragma unroll
        for (int m = 16; m; m >>= 1) most = max(most, __shfl_xor_sync(0xffffffffu, most, m));
        const float scale = int8_scale(most);
        factor = __frcp_rn(scale);
        if (lane == 0) a.scales[2 * at + (key ? 0 : 1)] = __float2bfloat16_rn(scale);
    }
    __syncwarp();
    store_head<F>((unsigned char *)(key ? a.keys : a.values) + at * a.dim, row, factor, a.dim, lane);
}

template <class T, class F> __device__ __forceinline__ void append8_tokens(const Step &step, const Append8 &a) {
    __shared__ float rows[APPEND_WARPS][APPEND_DIM];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    dependency_launch();
    dependency_wait();
    const int head = blockIdx.x * APPEND_WARPS + warp;
    if (head >= a.heads + 2 * a.kv_heads) return;
    for (int t = blockIdx.y; t < min(a.n, step.counts[COUNT_TOKENS]); t += gridDim.y) {
        append8<T, F>(step, a, t, head, rows[warp], lane);
        __syncwarp();
    }
}
