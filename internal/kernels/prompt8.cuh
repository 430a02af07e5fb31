// Attention of pieces of prompts over caches in 8 bits: as attend_prompt in
// prompt.cu, but what goes through the ring is bytes. Once they have come, the
// block widens them into one tile of keys and values in the type of the queries,
// exactly but for values of Int8, which are multiplied with their scales and
// rounded. The scales of keys are left to the scores.
#pragma once
#include "bytes.cuh"
#include "prompt.cuh"

// Found is where the positions of the next tiles are, and the scales of the keys
// of this one.
template <int KEYS> struct Found {
    int rows[2][KEYS];
    uint32_t scales[2][KEYS];
    float key_scales[KEYS];

    __device__ __forceinline__ void locate(const Attend8 &a, const int *pages, int kv_head, int at, int position, int first, int last) {
        const int row = cache_row(a.a, pages, kv_head, position, first, last);
        rows[at][threadIdx.x] = row;
        scales[at][threadIdx.x] = row >= 0 && a.scales ? __ldcg(a.scales + row) : 0;
    }
};

// copy_bytes starts copies of keys, and values behind them, to shared memory;
// rows outside of the cache become zero.
template <int D> __device__ __forceinline__ void copy_bytes(unsigned char *to, const Attend &a, const int *rows) {
    using S = Shape<D>;
    constexpr int CHUNKS = D / 16;
    for (int i = threadIdx.x; i < S::keys * CHUNKS; i += S::threads) {
        const int row = rows[i / CHUNKS], column = i % CHUNKS * 16;
        const bool present = row >= 0 && column < a.head_dim;
        const long long at = present ? (long long)row * a.head_dim + column : 0;
        copy_chunk(shared_address(to + 16 * i), (const char *)a.k + at, present);
        copy_chunk(shared_address(to + S::place + 16 * i), (const char *)a.v + at, present);
    }
}

// widened returns four bytes as four T, times a scale if SCALED.
template <class T, class F, bool SCALED> __device__ __forceinline__ uint2 widened(uint32_t bytes, float scale) {
    uint32_t low, high;
    F::widen(bytes, low, high);
    if (!SCALED && is_f16((const T *)nullptr)) return make_uint2(low, high);
    float2 x = unpack2<f16>(low), y = unpack2<f16>(high);
    if constexpr (SCALED) x.x *= scale, x.y *= scale, y.x *= scale, y.y *= scale;
    return make_uint2(pack2<T>(x.x, x.y), pack2<T>(y.x, y.y));
}

// widen_rows writes a tile of keys or of values; scale(row) is that of a row.
template <class T, class F, int D, bool SCALED, class Scale>
__device__ __forceinline__ void widen_rows(T *to, const unsigned char *from, const Scale &scale) {
    using S = Shape<D>;
    constexpr int CHUNKS = D / 16;
    for (int i = threadIdx.x; i < S::keys * CHUNKS; i += S::threads) {
        const int row = i / CHUNKS, c = i % CHUNKS;
        const float by = SCALED ? scale(row) : 1.f;
        const uint4 v = *(const uint4 *)(from + 16 * i);
        const uint2 a = widened<T, F, SCALED>(v.x, by), b = widened<T, F, SCALED>(v.y, by);
        const uint2 x = widened<T, F, SCALED>(v.z, by), y = widened<T, F, SCALED>(v.w, by);
        *(uint4 *)place<T, D>(to, row, 2 * c) = make_uint4(a.x, a.y, b.x, b.y);
        *(uint4 *)place<T, D>(to, row, 2 * c + 1) = make_uint4(x.x, x.y, y.x, y.y);
    }
}

// widen_tile writes a tile of keys, and one of values behind it.
template <class T, class F, int D>
__device__ __forceinline__ void widen_tile(T *to, const unsigned char *from, Found<Shape<D>::keys> &found, int at) {
    using S = Shape<D>;
    if (F::scaled && threadIdx.x < S::keys) found.key_scales[threadIdx.x] = key_scale(found.scales[at][threadIdx.x]);
    auto scale = [&](int row) { return value_scale(found.scales[at][row]); };
    widen_rows<T, F, D, false>(to, from, scale);
    widen_rows<T, F, D, F::scaled>(to + S::place, from + S::place, scale);
}

// scale_scores multiplies scores with the scales of their keys.
template <class T, int D> __device__ __forceinline__ void scale_scores(Rows<T, D> &own, const float *scales, int lane) {
#pragma unroll
    for (int n = 0; n < Shape<D>::keys / 8; n++) {
        const float2 by = *(const float2 *)(scales + 8 * n + 2 * (lane & 3));
        own.s[n][0] *= by.x, own.s[n][1] *= by.y, own.s[n][2] *= by.x, own.s[n][3] *= by.y;
    }
}

template <class T, class F, int D> __device__ __forceinline__ void attend_prompt8(const Attend8 &a8, const Step &step) {
    using S = Shape<D>;
    const Attend &a = a8.a;
    extern __shared__ __align__(128) unsigned char memory[];
    __shared__ __align__(8) Found<S::keys> found;
    T *const queries = (T *)memory, *const keys = queries + S::ring;
    unsigned char *const ring = (unsigned char *)(keys + 2 * S::place);
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, head = blockIdx.x;
    const int kv_head = head / (a.heads / a.kv_heads);
    dependency_launch();
    dependency_wait();
    const Tile tile = find<S::queries>(step, step.counts[COUNT_SEQUENCES], gridDim.y - 1 - blockIdx.y, lane);
    if (tile.count == 0) return;
    const int *pages = step.pages + (long long)tile.sequence * step.counts[COUNT_PAGES];
    const int head_position = step.positions[tile.token], last = step.positions[tile.token + tile.count - 1];
    const int first = a.window > 0 ? max(0, head_position + 1 - a.window) : 0;
    const int begin = first / S::keys, end = last / S::keys + 1;
    auto locate = [&](int at, int block) {
        if (threadIdx.x < S::keys) found.locate(a8, pages, kv_head, at, block * S::keys + threadIdx.x, first, last);
    };

    Rows<T, D> own;
    own.clear();
    int own_first = 0x7fffffff, own_last = -1; // positions of the warp's rows
    for (int h = 0; h < 2; h++) {
        const int row = 16 * warp + (lane >> 2) + 8 * h;
        own.position[h] = row < tile.count ? step.positions[tile.token + row] : -1;
    }
    if (16 * warp < tile.count) {
        own_first = step.positions[tile.token + 16 * warp];
        own_last = step.positions[tile.token + min(16 * warp + 16, tile.count) - 1];
    }
    copy_queries<T, D>(queries, a, tile, head);
    locate(0, begin);
    __syncthreads();
    copy_bytes<D>(ring, a, found.rows[0]);
    end_copies();
    locate(1, begin + 1);

    const float scale = a.scale * LOG2E * (F::scaled ? 1.f : a8.k_scale);
    for (int block = begin, at = 0; block < end; block++, at ^= 1) {
        await_copies<0>();
        __syncthreads();
        if (block + 1 < end) {
            copy_bytes<D>(ring + 2 * (at ^ 1) * S::place, a, found.rows[at ^ 1]);
            end_copies();
        }
        widen_tile<T, F, D>(keys, ring + 2 * at * S::place, found, at);
        __syncthreads();
        locate(at, block + 2);
        if (Rows<T, D>::keep && block == begin)
#pragma unroll
            for (int k = 0; k < D / 16; k++) Rows<T, D>::query(own.q[Rows<T, D>::keep ? k : 0], queries, warp, lane, k);
        const int from = block * S::keys;
        if (from > own_last) continue; // nothing for this warp
        own.scores(queries, keys, warp, lane);
        if (F::scaled) scale_scores(own, found.key_scales, lane);
        if (from + S::keys - 1 > own_first || a.window > 0 || own_last - own_first != 15) own.hide(from, a.window, lane);
        own.weigh(scale);
        own.add(keys + S::place, lane);
    }
    own.write(a, tile, head, warp, lane, F::scaled ? 1.f : a8.v_scale);
}
