// Rows of weights of one token's products on their way to a warp: through a ring
// of slots in shared memory, by bulk copies that lane 0 starts, and products
// with them on the tensor cores.
#pragma once
#include "mma.cuh"

constexpr int WARPS = 8, THREADS = 32 * WARPS;  // that stream

// share returns the first of the rows that part i of n owns.
__device__ __forceinline__ int share(int rows, int i, int n) { return (int)((long long)rows * i / n); }

// Ring is a warp's slots; a barrier each says when they are full.
struct Ring {
    char *data;
    barrier_t *full;
    int slots, bytes;  // of a slot
    int at;            // slot that is taken next
    uint32_t parity;
    uint64_t policy;

    // The rings of a block lie at the start of shared memory; behind them lie
    // the barriers, and after those what end returns.
    __device__ __forceinline__ Ring(char *shared, int count, int width, int warp, int lane) {
        slots = count, bytes = width;
        data = shared + warp * slots * bytes;
        full = (barrier_t *)(shared + WARPS * slots * bytes) + warp * slots;
        at = 0, parity = 0;
        policy = stream_policy();
        if (lane == 0) {
            for (int i = 0; i < slots; i++) barrier_init(full + i, 1);
            barrier_publish();
        }
        __syncwarp();
    }

    __device__ __forceinline__ static char *end(char *shared, int slots, int width) { return shared + WARPS * slots * (width + (int)sizeof(barrier_t)); }

    __device__ __forceinline__ void fetch(int slot, const void *row, int width) {
        barrier_expect(full + slot, width);
        copy_bulk(data + slot * bytes, row, width, full + slot, policy);
    }

    __device__ __forceinline__ void next() {
        if (++at == slots) at = 0, parity ^= 1;
    }
};

// dot_row returns the lane's part of the product of two rows in shared memory,
// of so many pieces of 16 bytes. A lane reads the same piece of both: y as row g
// of A and w as column g of B, lane = 4g + t, so that C[g][g] is the sum of four
// lanes.
template <class T> __device__ __forceinline__ float dot_row(const uint4 *w, const uint4 *y, int pieces, int lane) {
    constexpr int AT_ONCE = 4;
    const uint4 none = make_uint4(0, 0, 0, 0);
    float c[4] = {}, d[4] = {}, e[4] = {}, f[4] = {};
#pragma unroll 1
    for (int from = lane; from < pieces + lane; from += 32 * AT_ONCE) {
        uint4 p[AT_ONCE], q[AT_ONCE];
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++) {
            const bool in = from + 32 * i < pieces;
            p[i] = in ? w[from + 32 * i] : none, q[i] = in ? y[from + 32 * i] : none;
        }
#pragma unroll
        for (int i = 0; i < AT_ONCE; i += 2) {
            accumulate<T>(c, q[i].x, 0, q[i].y, 0, p[i].x, p[i].y);
            accumulate<T>(d, q[i].z, 0, q[i].w, 0, p[i].z, p[i].w);
            accumulate<T>(e, q[i + 1].x, 0, q[i + 1].y, 0, p[i + 1].x, p[i + 1].y);
            accumulate<T>(f, q[i + 1].z, 0, q[i + 1].w, 0, p[i + 1].z, p[i + 1].w);
        }
    }
    const int g = lane >> 2, t = lane & 3;
    const float even = (c[0] + d[0]) + (e[0] + f[0]), odd = (c[1] + d[1]) + (e[1] + f[1]);
    return t == g >> 1 ? (g & 1 ? odd : even) : 0.f;
}

// copy_all copies 16-byte chunks to shared memory in the background.
__device__ __forceinline__ void copy_all(char *to, const void *from, int chunks) {
    for (int i = threadIdx.x; i < chunks; i += THREADS) copy_chunk(shared_address(to + 16 * i), (const char *)from + 16 * i, true);
    end_copies();
}
