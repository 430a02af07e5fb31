// What the attention kernels share.
#pragma once
#include "common.cuh"
#include "mma.cuh"

// Attend is attendArgs in attention.go.
struct Attend {
    const void *q;
    void *k, *v; // the cache
    void *out;
    float *scratch;           // a slot for each block of attend_decode
    unsigned int *finished;   // [key heads and their parts, sequences], zero between launches
    int q_stride, out_stride; // elements
    int heads, kv_heads, head_dim;
    int page_size, window;
    int splits, min_tiles; // of attend_decode
    int cluster;           // splits of a cluster, a divisor of splits
    float scale;

    // attend_decode only: what is new, to be rotated and stored on the way.
    const void *new_k, *new_v; // [n, kv_heads, head_dim], or null
    const float2 *angles;      // [n, half] cosine and sine
    int k_stride, v_stride, half;
};

constexpr float LOG2E = 1.4426950408889634f;

__device__ __forceinline__ float minus_infinity() { return __int_as_float(0xff800000); }

// cache_row returns the row of a position, or -1 outside of [first, last].
__device__ __forceinline__ int cache_row(const Attend &a, const int *pages, int kv_head, int p, int first, int last) {
    if (p < first || p > last) return -1;
    const int page = pages[p / a.page_size];
    return page < 0 ? -1 : (page * a.kv_heads + kv_head) * a.page_size + p % a.page_size;
}
