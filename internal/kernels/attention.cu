// Attention over cached keys and values, for tokens that come one a sequence
// (decoding) or a few (verifying a draft), and a plain kernel for all types and
// sizes.
//
//   out[i, h] = Σ_p softmax_p(Scale · q[i, h]·k[p]) · v[p],  p up to the token's position
//
// attend_plain_A: a block for each head (x) and token (y), four warps that
// share the positions. Any type, heads of up to 256.
//
// attend_decode_A_D_H: a block for each up to H query heads of a key head (x),
// sequence (y) and split (z), four warps. D is the head size rounded up. wide.cuh
// has those of up to 128 columns. With 192 and 256 a warp takes 16 positions at
// a time straight from memory into the registers of the tensor cores, without
// shared memory or barriers:
//
//   scores[16, 8] = k[16, D] · qᵀ[D, 8]       lane 4g+t reads 16 bytes of rows g and g+8
//   outᵀ[D, 8]   += vᵀ[D, 16] · p[16, 8]      lane 4g+t reads 16 bytes of rows 2t, 2t+1, 2t+8, 2t+9
//
// The order of the columns inside a product is free as long as both sides agree,
// so that 16 consecutive bytes of a lane make up two steps. Values are requested
// as soon as the scores are done, the next keys after the sums.
//
// decode.cuh says how blocks share a sequence.
//
// attend_rows_A_D_H: the same for each token (y) of a step, however many of them
// a sequence has.
//
// With new_k attend_decode does what append does, too: queries are rotated as they
// are read, and the block that has the token's own position stores its key and
// value in the cache.
#include "plain.cuh"
#include "wide.cuh"

// ---- any type and size ----

#define PLAIN(NAME, T)                                                                                         \
    extern "C" __global__ void __launch_bounds__(32 * PLAIN_WARPS) attend_plain_##NAME(Attend a, Step step) { \
        attend_plain<T>(a, Plain<T>{a}, step);                                                                 \
    }
INSTANCES(PLAIN)

// ---- decoding ----

constexpr int TILE = 16;

// Part is what a warp holds of 8 query heads.
template <class T, int D> struct Part : Sums<D> {
    using Sums<D>::sum;
    using Sums<D>::top;
    using Sums<D>::weight;
    uint4 k[D / 32][2], v[D / 64][4], q[D / 32];

    static __device__ __forceinline__ uint4 fetch(const void *cache, int row, int column, int dim) {
        return row >= 0 && column < dim ? load16((const T *)cache + (long long)row * dim + column) : make_uint4(0, 0, 0, 0);
    }

    // Rows of the cache: lane i < 16 gives the row of position i of the tile.
    __device__ __forceinline__ void fetch_keys(const Attend &a, int rows, int lane) {
        const int g = lane >> 2, t = lane & 3;
        const int r0 = __shfl_sync(0xffffffffu, rows, g), r1 = __shfl_sync(0xffffffffu, rows, g + 8);
#pragma unroll
        for (int c = 0; c < D / 32; c++) {
            k[c][0] = fetch(a.k, r0, 32 * c + 8 * t, a.head_dim);
            k[c][1] = fetch(a.k, r1, 32 * c + 8 * t, a.head_dim);
        }
    }

    // insert_key and insert_value put the token's own key or value, which is not
    // in the cache yet, in its place among those of the tile.
    __device__ __forceinline__ void insert_key(const T *key, int place, int dim, int lane) {
        const bool mine = (place & 7) == lane >> 2;
#pragma unroll
        for (int c = 0; c < D / 32; c++) {
            const int column = 32 * c + 8 * (lane & 3);
            const uint4 own = column < dim ? *(const uint4 *)(key + column) : make_uint4(0, 0, 0, 0);
            k[c][0] = choose(mine && place < 8, own, k[c][0]);
            k[c][1] = choose(mine && place >= 8, own, k[c][1]);
        }
    }

    __device__ __forceinline__ void insert_value(const T *value, int place, int dim, int lane) {
        const int at = (place >> 1 & 3) == (lane & 3) ? (place & 1) | (place >> 3) << 1 : -1;
#pragma unroll
        for (int c = 0; c < D / 64; c++) {
            const int column = 64 * c + 8 * (lane >> 2);
            const uint4 own = column < dim ? *(const uint4 *)(value + column) : make_uint4(0, 0, 0, 0);
#pragma unroll
            for (int i = 0; i < 4; i++) v[c][i] = choose(at == i, own, v[c][i]);
        }
    }

    __device__ __forceinline__ void fetch_values(const Attend &a, int rows, int lane) {
        const int g = lane >> 2, t = lane & 3;
        int r[4];
#pragma unroll
        for (int i = 0; i < 4; i++) r[i] = __shfl_sync(0xffffffffu, rows, 2 * t + (i & 1) + 4 * (i & 2));
#pragma unroll
        for (int c = 0; c < D / 64; c++)
#pragma unroll
            for (int i = 0; i < 4; i++) v[c][i] = fetch(a.v, r[i], 64 * c + 8 * g, a.head_dim);
    }

    __device__ __forceinline__ void fetch_queries(const Fresh<T, D, 8> &from, int count, int dim, int lane) {
        const int row = lane >> 2;
#pragma unroll
        for (int c = 0; c < D / 32; c++) {
            const int column = 32 * c + 8 * (lane & 3);
            q[c] = row < count && column < dim ? *(const uint4 *)(from.q[row] + column) : make_uint4(0, 0, 0, 0);
        }
    }

    __device__ __forceinline__ void scores(float (&s)[4]) const {
        s[0] = s[1] = s[2] = s[3] = 0.f;
#pragma unroll
        for (int c = 0; c < D / 32; c++) {
            accumulate<T>(s, k[c][0].x, k[c][1].x, k[c][0].y, k[c][1].y, q[c].x, q[c].y);
            accumulate<T>(s, k[c][0].z, k[c][1].z, k[c][0].w, k[c][1].w, q[c].z, q[c].w);
        }
    }

    // weigh turns scores into weights relative to the largest score so far.
    // here and next say whether positions g and g+8 of the tile count.
    __device__ __forceinline__ void weigh(float (&s)[4], float scale, bool here, bool next) {
#pragma unroll
        for (int j = 0; j < 2; j++) {
            const float x = here ? s[j] * scale : minus_infinity(), y = next ? s[2 + j] * scale : minus_infinity();
            float most = fmaxf(x, y);
#pragma unroll
            for (int m = 4; m < 32; m <<= 1) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, m));
            most = fmaxf(most, top[j]);
            const float base = most == minus_infinity() ? 0.f : most, shrink = exp2f(top[j] - base);
            top[j] = most;
            s[j] = exp2f(x - base);
            s[2 + j] = exp2f(y - base);
            weight[j] = weight[j] * shrink + (s[j] + s[2 + j]);
#pragma unroll
            for (int i = 0; i < D / 16; i++) sum[i][j] *= shrink, sum[i][2 + j] *= shrink;
        }
    }

    __device__ __forceinline__ void add(const float (&s)[4]) {
        const uint32_t p0 = transpose(pack2<T>(s[0], s[1])), p1 = transpose(pack2<T>(s[2], s[3]));
#pragma unroll
        for (int c = 0; c < D / 64; c++)
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const uint32_t w0 = word(v[c][0], j), w1 = word(v[c][1], j), w2 = word(v[c][2], j), w3 = word(v[c][3], j);
                accumulate<T>(sum[4 * c + j], __byte_perm(w0, w1, 0x5410), __byte_perm(w0, w1, 0x7632), __byte_perm(w2, w3, 0x5410),
                              __byte_perm(w2, w3, 0x7632), p0, p1);
            }
    }
};

template <class T, int D, bool ROWS> __device__ void attend_decode(const Attend &a, const Step &step) {
    constexpr int H = 8;
    __shared__ __align__(16) Shares<D, H> shares;
    __shared__ __align__(16) Fresh<T, D, H> fresh;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const Heads of = heads_of<H>(a);
    const int kv_head = of.kv_head, part_of = of.part_of, head = of.head, count = of.count;
    dependency_launch();

    // The step's metadata were there before its first kernel, and all keys and
    // values but the step's own before it: they need not be waited for.
    const Range r = range_of<TILE, ROWS>(a, step);
    if ((int)blockIdx.z >= r.active) {
        if (blockIdx.z == 0) dependency_wait(); // one block of a grid suffices
        return;
    }
    const int *pages = step.pages + (long long)(ROWS ? r.sequence : blockIdx.y) * step.counts[COUNT_PAGES];
    Part<T, D> part;
    part.clear();
    const bool keeps = !ROWS && a.new_k && r.ends;
    const int own = keeps ? r.last / TILE : -1, place = r.last % TILE; // where the new one belongs
    const int stored = keeps ? r.last - 1 : r.last;                     // the last position in the cache
    int tile = r.begin + warp;
    auto rows_of = [&](int tile) {
        return tile < r.end ? cache_row(a, pages, kv_head, TILE * tile + (lane & 15), r.first, stored) : -1;
    };
    const int row = keeps && part_of == 0 ? cache_row(a, pages, kv_head, r.last, r.first, r.last) : -1;
    // All of a tile's keys and values may have been there before the step.
    const bool old = keeps || TILE * tile + TILE - 1 < (ROWS ? r.fresh : r.last);
    const float scale = a.scale * LOG2E;
    int rows = rows_of(tile);
    if (!old) dependency_wait();
    // The first round fetches a tile and computes none. One copy of the code
    // serves all rounds: it is read from memory at each launch.
#pragma unroll 1
    for (bool first = true; first || tile < r.end;) {
        const int next = first ? tile : tile + DECODE_WARPS;
        const int next_rows = first ? rows : rows_of(next);
        float s[4];
        if (!first) {
            if (tile == own) part.insert_key(fresh.k, place, a.head_dim, lane);
            part.scores(s);
        }
        // There are no registers for keys and values at the same time.
        if (first) {
            part.fetch_keys(a, next_rows, lane);
            dependency_wait();
            gather(fresh, a, r.token, head, count, kv_head, keeps, row);
            __syncthreads();
            part.fetch_queries(fresh, count, a.head_dim, lane);
            first = false;
            continue;
        }
        part.fetch_values(a, rows, lane);
        const int p = TILE * tile + (lane >> 2);
        part.weigh(s, scale, p >= r.first && p <= r.last, p + 8 >= r.first && p + 8 <= r.last);
        if (tile == own) part.insert_value(fresh.v, place, a.head_dim, lane);
        part.add(s);
        part.fetch_keys(a, next_rows, lane);
        rows = next_rows, tile = next;
    }
    leave<8>(shares, part, warp, lane, count, 1.f);
    __syncthreads();
    finish<T, D, H>(shares, a, r, head, count);
}

#define DECODE(NAME, ATTEND, T, D)                                                                                 \
    extern "C" __global__ void __launch_bounds__(32 * DECODE_WARPS, 2) attend_decode_##NAME(Attend a, Step step) { \
        ATTEND<T, D, false>(a, step);                                                                              \
    }                                                                                                              \
    extern "C" __global__ void __launch_bounds__(32 * DECODE_WARPS, 2) attend_rows_##NAME(Attend a, Step step) {   \
        ATTEND<T, D, true>(a, step);                                                                               \
    }
DECODE(bf16_64_16, attend_wide, bf16, 64)
DECODE(bf16_128_16, attend_wide, bf16, 128)
DECODE(bf16_192_8, attend_decode, bf16, 192)
DECODE(bf16_256_8, attend_decode, bf16, 256)
DECODE(f16_64_16, attend_wide, f16, 64)
DECODE(f16_128_16, attend_wide, f16, 128)
DECODE(f16_192_8, attend_decode, f16, 192)
DECODE(f16_256_8, attend_decode, f16, 256)
