// What the kernels share that attend for pieces of prompts: tiles of queries
// against tiles of keys, and the online softmax.
#pragma once
#include "attend.cuh"

// Shape of the tiles for heads of up to D columns. Two places for keys and
// values and one for queries stay below 99 KiB, what most devices have.
template <int D> struct Shape {
    static constexpr int warps = D <= 128 ? 8 : 4, threads = 32 * warps;
    static constexpr int queries = 16 * warps, keys = D <= 128 ? 64 : 32, chunks = D / 8;
    static constexpr int ring = queries * D, place = keys * D; // elements
};

// Tile is the work of one block.
struct Tile {
    int sequence, token, count; // count is 0 past the end
};

// find returns tile number want of the batch: those of the sequences with more
// than one token, in order.
template <int QUERIES> __device__ __forceinline__ Tile find(const Step &step, int sequences, int want, int lane) {
    for (int base = 0; base < sequences; base += 32) {
        const int s = base + lane;
        const int from = s < sequences ? step.start[s] : 0, count = s < sequences ? step.start[s + 1] - from : 0;
        const int tiles = count > 1 ? (count + QUERIES - 1) / QUERIES : 0;
        int upto = tiles;
#pragma unroll
        for (int m = 1; m < 32; m <<= 1) {
            const int before = __shfl_up_sync(0xffffffffu, upto, m);
            if (lane >= m) upto += before;
        }
        const unsigned beyond = __ballot_sync(0xffffffffu, upto > want);
        if (beyond == 0) {
            want -= __shfl_sync(0xffffffffu, upto, 31);
            continue;
        }
        const int at = __ffs(beyond) - 1;
        const int skip = QUERIES * (want - __shfl_sync(0xffffffffu, upto - tiles, at));
        const int first = __shfl_sync(0xffffffffu, from, at), n = __shfl_sync(0xffffffffu, count, at);
        return {base + at, first + skip, min(QUERIES, n - skip)};
    }
    return {0, 0, 0};
}

// place returns where a 16-byte chunk of a row stands.
template <class T, int D> __device__ __forceinline__ T *place(T *rows, int row, int chunk) {
    return rows + row * D + ((chunk ^ (row & 7)) << 3);
}

template <class T, int D>
__device__ __forceinline__ void copy_queries(T *to, const Attend &a, const Tile &tile, int head) {
    using S = Shape<D>;
    for (int i = threadIdx.x; i < S::queries * S::chunks; i += S::threads) {
        const int r = i / S::chunks, c = i % S::chunks;
        const bool present = r < tile.count && 8 * c < a.head_dim;
        const long long at = present ? (long long)(tile.token + r) * a.q_stride + (long long)head * a.head_dim + 8 * c : 0;
        copy_chunk(shared_address(place<T, D>(to, r, c)), (const T *)a.q + at, present);
    }
}

// Rows is what a warp holds of its 16 queries. Lane 4g+t has rows g and g+8.
template <class T, int D> struct Rows {
    using S = Shape<D>;
    // Queries of smaller heads stay in registers.
    static constexpr bool keep = D <= 128;
    unsigned q[keep ? D / 16 : 1][4];
    float sum[D / 8][4], s[S::keys / 8][4], top[2], weight[2];
    int position[2];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int i = 0; i < D / 8; i++) sum[i][0] = sum[i][1] = sum[i][2] = sum[i][3] = 0.f;
        top[0] = top[1] = minus_infinity();
        weight[0] = weight[1] = 0.f;
    }

    static __device__ __forceinline__ void query(unsigned (&r)[4], const T *queries, int warp, int lane, int k) {
        load_matrices(r, shared_address(place<T, D>((T *)queries, 16 * warp + (lane & 15), 2 * k + (lane >> 4))));
    }

    __device__ __forceinline__ void scores(const T *queries, const T *keys, int warp, int lane) {
#pragma unroll
        for (int n = 0; n < S::keys / 8; n++) s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0.f;
#pragma unroll
        for (int k = 0; k < D / 16; k++) {
            unsigned again[4];
            if (!keep) query(again, queries, warp, lane, k);
            const unsigned(&a)[4] = keep ? q[keep ? k : 0] : again;
#pragma unroll
            for (int n = 0; n < S::keys / 16; n++) {
                unsigned b[4];
                const int row = 16 * n + (lane >> 4) * 8 + (lane & 7);
                load_matrices(b, shared_address(place<T, D>((T *)keys, row, 2 * k + (lane >> 3 & 1))));
                accumulate<T>(s[2 * n], a[0], a[1], a[2], a[3], b[0], b[1]);
                accumulate<T>(s[2 * n + 1], a[0], a[1], a[2], a[3], b[2], b[3]);
            }
        }
    }

    // hide takes out positions after a row's own and before its window.
    __device__ __forceinline__ void hide(int first, int window, int lane) {
#pragma unroll
        for (int n = 0; n < S::keys / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int p = first + 8 * n + 2 * (lane & 3) + (i & 1), own = position[i >> 1];
                if (p > own || (window > 0 && p <= own - window)) s[n][i] = minus_infinity();
            }
    }

    // weigh turns scores into weights relative to the largest score so far.
    __device__ __forceinline__ void weigh(float scale) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float most = minus_infinity();
#pragma unroll
            for (int n = 0; n < S::keys / 8; n++) most = fmaxf(most, fmaxf(s[n][2 * h], s[n][2 * h + 1]));
            most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
            most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2)) * scale;
            most = fmaxf(most, top[h]);
            const float base = most == minus_infinity() ? 0.f : most, shrink = exp2f(top[h] - base);
            top[h] = most;
            float total = 0.f;
#pragma unroll
            for (int n = 0; n < S::keys / 8; n++)
#pragma unroll
                for (int i = 2 * h; i < 2 * h + 2; i++) total += s[n][i] = exp2f(fmaf(s[n][i], scale, -base));
            weight[h] = weight[h] * shrink + total;
#pragma unroll
            for (int i = 0; i < D / 8; i++) sum[i][2 * h] *= shrink, sum[i][2 * h + 1] *= shrink;
        }
    }

    __device__ __forceinline__ void add(const T *values, int lane) {
#pragma unroll
        for (int k = 0; k < S::keys / 16; k++) {
            const unsigned a0 = pack2<T>(s[2 * k][0], s[2 * k][1]), a1 = pack2<T>(s[2 * k][2], s[2 * k][3]);
            const unsigned a2 = pack2<T>(s[2 * k + 1][0], s[2 * k + 1][1]), a3 = pack2<T>(s[2 * k + 1][2], s[2 * k + 1][3]);
#pragma unroll
            for (int n = 0; n < D / 16; n++) {
                unsigned b[4];
                load_transposed(b, shared_address(place<T, D>((T *)values, 16 * k + (lane & 15), 2 * n + (lane >> 4))));
                accumulate<T>(sum[2 * n], a0, a1, a2, a3, b[0], b[1]);
                accumulate<T>(sum[2 * n + 1], a0, a1, a2, a3, b[2], b[3]);
            }
        }
    }

    // write stores the results times a factor.
    __device__ __forceinline__ void write(const Attend &a, const Tile &tile, int head, int warp, int lane, float factor) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float total = weight[h];
            total += __shfl_xor_sync(0xffffffffu, total, 1);
            total += __shfl_xor_sync(0xffffffffu, total, 2);
            const int row = 16 * warp + (lane >> 2) + 8 * h;
            if (row >= tile.count) continue;
            const float inverse = factor / total;
            T *out = (T *)a.out + (long long)(tile.token + row) * a.out_stride + (long long)head * a.head_dim;
#pragma unroll
            for (int n = 0; n < D / 8; n++)
                if (8 * n < a.head_dim)
                    *(uint32_t *)(out + 8 * n + 2 * (lane & 3)) = pack2<T>(sum[n][2 * h] * inverse, sum[n][2 * h + 1] * inverse);
        }
    }
};

// PROMPT_INSTANCES defines a kernel for each activation type and head size.
#define PROMPT_INSTANCES(KERNEL) \
    KERNEL(bf16_64, bf16, 64)    \
    KERNEL(bf16_128, bf16, 128)  \
    KERNEL(bf16_192, bf16, 192)  \
    KERNEL(bf16_256, bf16, 256)  \
    KERNEL(f16_64, f16, 64)      \
    KERNEL(f16_128, f16, 128)    \
    KERNEL(f16_192, f16, 192)    \
    KERNEL(f16_256, f16, 256)
