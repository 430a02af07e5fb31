// Attention for tokens that come one a sequence, or a few, over caches in 8 bits,
// with heads of more than 128 columns. As attend_decode and attend_rows in
// attention.cu, with these differences:
//
// A load of 16 bytes brings 16 columns of a key, and 16 or 8 of a value. Numbers are
// widened to f16, which holds them exactly, in registers, and multiplied as f16
// whatever the activations are. Queries in bf16 are first scaled by powers of two, so
// that the largest of a head fits.
//
// With Int8, position p has scales k_p and v_p. With weights w_p = e^(s_p) v_p
//
//   out = Σ w_p n_p / Σ w_p / v_p     s_p: the score, n_p: the value's numbers
//
// so that w_p, the score plus log2 v_p as a power of two, is 1 at most relative
// to the largest so far: f16 holds it well however the scales differ.
#pragma once
#include "bytes.cuh"
#include "decode.cuh"

// load8 reads 8 bytes as load16 reads 16.
__device__ __forceinline__ uint2 load8(const void *p) {
    uint2 v;
    asm volatile("ld.global.cg.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(p) : "memory");
    return v;
}

// Part8 is what a warp holds of 8 query heads: tiles of 16 positions.
template <class F, int D> struct Part8 : Sums<D> {
    using Sums<D>::sum;
    using Sums<D>::top;
    using Sums<D>::weight;

    static constexpr int TILE = 16;
    static constexpr int U = D % 128 == 0 ? 16 : 8; // columns of a value in a load

    uint4 k[D / 64][2];
    uint32_t v[4][D / 32];
    uint32_t scales; // Int8: of position lane of the tile
    float factor[2]; // of scores

    // Rows of the cache: lane i < TILE gives the row of position i of the tile, or
    // any other row of the sequence where that does not count: it weighs nothing
    // then. Nor do columns beyond the head's; those of queries are zero.
    __device__ __forceinline__ void fetch_keys(const Attend8 &a, int rows, int lane) {
        const int g = lane >> 2, t = lane & 3, dim = a.a.head_dim;
        if constexpr (F::scaled) scales = __ldcg(a.scales + rows);
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const char *key = (const char *)a.a.k + (long long)__shfl_sync(0xffffffffu, rows, 8 * h + g) * dim;
#pragma unroll
            for (int c = 0; c < D / 64; c++) k[c][h] = load16(key + min(64 * c + 16 * t, dim - 16));
        }
    }

    __device__ __forceinline__ void fetch_values(const Attend8 &a, int rows, int lane) {
        const int g = lane >> 2, t = lane & 3, dim = a.a.head_dim;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int row = __shfl_sync(0xffffffffu, rows, 2 * t + (i & 1) + 4 * (i & 2));
            const char *value = (const char *)a.a.v + (long long)row * dim;
#pragma unroll
            for (int c = 0; c < D / (8 * U); c++) {
                const char *from = value + min(8 * U * c + U * g, dim - U);
                uint32_t *to = &v[i][c * (U / 4)];
                if constexpr (U == 16) {
                    const uint4 w = load16(from);
                    to[0] = w.x, to[1] = w.y, to[2] = w.z, to[3] = w.w;
                } else {
                    const uint2 w = load8(from);
                    to[0] = w.x, to[1] = w.y;
                }
            }
        }
    }

    // scores multiplies keys with the queries, rows of D + 8 in shared memory.
    __device__ __forceinline__ void scores(float (&s)[4], const f16 (*queries)[D + 8], int lane) const {
        const int g = lane >> 2, t = lane & 3;
        s[0] = s[1] = s[2] = s[3] = 0.f;
#pragma unroll
        for (int c = 0; c < D / 32; c++) { // 8 columns of a lane at a time
            const uint4 q = *(const uint4 *)(queries[g] + 64 * (c / 2) + 16 * t + 8 * (c % 2));
#pragma unroll
            for (int i = 0; i < 2; i++) {
                uint32_t a0, a1, a2, a3;
                F::widen(word(k[c / 2][0], c % 2 * 2 + i), a0, a2);
                F::widen(word(k[c / 2][1], c % 2 * 2 + i), a1, a3);
                accumulate<f16>(s, a0, a1, a2, a3, word(q, 2 * i), word(q, 2 * i + 1));
            }
        }
    }

    // fetch_factors reads what scores are multiplied with: of heads 2t and 2t+1.
    __device__ __forceinline__ void fetch_factors(const float *from, int lane) {
#pragma unroll
        for (int j = 0; j < 2; j++) factor[j] = from[2 * (lane & 3) + j];
    }

    // Place is what a lane needs of its positions g and g+8.
    struct Place {
        bool present;
        float scale, log_scale, inverse; // Int8: of the key; of the value
    };

    // places says which positions count: those in [first, last].
    __device__ __forceinline__ void places(Place (&at)[2], int tile, int first, int last, int lane) const {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const int i = 8 * h + (lane >> 2), position = TILE * tile + i;
            at[h].present = position >= first && position <= last;
            if constexpr (F::scaled) {
                const uint32_t both = __shfl_sync(0xffffffffu, scales, i);
                at[h].scale = key_scale(both);
                at[h].log_scale = __log2f(value_scale(both));
                at[h].inverse = power2(-at[h].log_scale);
            }
        }
    }

    // weigh turns scores into weights relative to the largest so far.
    __device__ __forceinline__ void weigh(float (&s)[4], const Place (&at)[2]) {
#pragma unroll
        for (int j = 0; j < 2; j++) {
            float most = minus_infinity();
#pragma unroll
            for (int h = 0; h < 2; h++) {
                float &x = s[2 * h + j];
                const float y = F::scaled ? fmaf(x * at[h].scale, factor[j], at[h].log_scale) : x * factor[j];
                x = at[h].present ? y : minus_infinity();
                most = fmaxf(most, x);
            }
#pragma unroll
            for (int m = 4; m < 32; m <<= 1) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, m));
            most = fmaxf(most, top[j]);
            const float base = most == minus_infinity() ? 0.f : most, shrink = power2(top[j] - base);
            top[j] = most;
            float total = 0.f;
#pragma unroll
            for (int h = 0; h < 2; h++) {
                float &x = s[2 * h + j];
                x = power2(x - base);
                total = F::scaled ? fmaf(x, at[h].inverse, total) : total + x;
            }
            weight[j] = fmaf(weight[j], shrink, total);
#pragma unroll
            for (int i = 0; i < D / 16; i++) sum[i][j] *= shrink, sum[i][2 + j] *= shrink;
        }
    }

    __device__ __forceinline__ void add(const float (&s)[4]) {
        const uint32_t b0 = transpose(pack2<f16>(s[0], s[1])), b1 = transpose(pack2<f16>(s[2], s[3]));
#pragma unroll
        for (int i = 0; i < D / 32; i++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                // Two columns of two rows each, the rows side by side.
                const int pick = half == 0 ? 0x5140 : 0x7362;
                uint32_t a0, a1, a2, a3;
                F::widen(__byte_perm(v[0][i], v[1][i], pick), a0, a1);
                F::widen(__byte_perm(v[2][i], v[3][i], pick), a2, a3);
                accumulate<f16>(sum[2 * i + half], a0, a1, a2, a3, b0, b1);
            }
    }
};

// Queries is the queries of a block in f16, with what their scores are multiplied
// with. Rows lie 16 bytes apart from a multiple of 128, so that the lanes of
// a read meet no bank twice.
template <int D, int H> struct Queries {
    f16 q[H][D + 8];
    float factor[H];
};

// gather8 reads the queries of a block, a warp for each 8 heads and four lanes
// for each head; columns and heads that are not there are zero. Of bf16 those of
// a head are multiplied with a power of two that takes the largest below 2^15.
template <class T, int D, int H>
__device__ __forceinline__ void gather8(Queries<D, H> &to, const Attend &a, int token, int head, int count, float scale) {
    const int lane = threadIdx.x & 31, row = threadIdx.x >> 2, t = lane & 3;
    if (row >= H) return;
    uint4 v[D / 32];
    const T *from = (const T *)a.q + (long long)token * a.q_stride + (long long)(head + row) * a.head_dim;
#pragma unroll
    for (int c = 0; c < D / 32; c++) {
        const int column = 32 * c + 8 * t;
        v[c] = row < count && column < a.head_dim ? load16(from + column) : make_uint4(0, 0, 0, 0);
    }
    if (!is_f16((const T *)nullptr)) {
        float most = 0.f;
#pragma unroll
        for (int c = 0; c < D / 32; c++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float2 x = unpack2<bf16>(word(v[c], i));
                most = fmaxf(most, fmaxf(fabsf(x.x), fabsf(x.y)));
            }
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
        const uint32_t exponent = max(__float_as_uint(most) >> 23, 15u); // with its bias of 127
        const float up = __uint_as_float((2 * 127 + 14 - exponent) << 23);
        scale *= __uint_as_float((exponent - 14) << 23);
#pragma unroll
        for (int c = 0; c < D / 32; c++) {
            uint32_t w[4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float2 x = unpack2<bf16>(word(v[c], i));
                w[i] = pack2<f16>(x.x * up, x.y * up);
            }
            v[c] = make_uint4(w[0], w[1], w[2], w[3]);
        }
    }
#pragma unroll
    for (int c = 0; c < D / 32; c++) *(uint4 *)(to.q[row] + 32 * c + 8 * t) = v[c];
    if (t == 0) to.factor[row] = scale;
}

template <class T, class F, int D> __device__ __forceinline__ void attend_decode8(const Attend8 &a8, const Step &step) {
    using Mine = Part8<F, D>;
    constexpr int H = 8, TILE = Mine::TILE;
    const Attend &a = a8.a;
    __shared__ __align__(16) Shares<D, H> shares;
    __shared__ __align__(16) Queries<D, H> queries;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const Heads of = heads_of<H>(a);
    const int kv_head = of.kv_head, head = of.head, count = of.count;
    dependency_launch();

    // As in attend_decode: what was stored before this step need not be waited for.
    const Range r = a8.rows ? range_of<TILE, true>(a, step) : range_of<TILE, false>(a, step);
    if ((int)blockIdx.z >= r.active) {
        if (blockIdx.z == 0) dependency_wait(); // one block of a grid suffices
        return;
    }
    const int *pages = step.pages + (long long)(a8.rows ? r.sequence : blockIdx.y) * step.counts[COUNT_PAGES];
    Mine part;
    part.clear();
    int tile = r.begin + warp;
    auto rows_of = [&](int tile) {
        const int p = tile < r.end ? min(max(TILE * tile + (lane & (TILE - 1)), r.first), r.last) : r.last;
        return (pages[p / a.page_size] * a.kv_heads + kv_head) * a.page_size + p % a.page_size;
    };
    const float scale = a.scale * LOG2E * (F::scaled ? 1.f : a8.k_scale);
    int rows = rows_of(tile);
    if (tile >= r.end || TILE * tile + TILE - 1 >= (a8.rows ? r.fresh : r.last)) dependency_wait();
    // The first round fetches a tile and computes none, so that there is one copy
    // of the code.
#pragma unroll 1
    for (bool first = true; first || tile < r.end;) {
        const int next = first ? tile : tile + DECODE_WARPS;
        const int next_rows = first ? rows : rows_of(next);
        float s[4];
        typename Mine::Place at[2];
        if (!first) {
            part.scores(s, queries.q, lane);
            part.places(at, tile, r.first, r.last, lane);
        }
        part.fetch_keys(a8, next_rows, lane);
        if (first) {
            part.fetch_values(a8, next_rows, lane);
            dependency_wait();
            gather8<T>(queries, a, r.token, head, count, scale);
            __syncthreads();
            part.fetch_factors(queries.factor, lane);
            first = false;
            continue;
        }
        part.weigh(s, at);
        part.add(s);
        part.fetch_values(a8, next_rows, lane);
        rows = next_rows, tile = next;
    }
    leave<Mine::U>(shares, part, warp, lane, count, F::scaled ? 1.f : a8.v_scale);
    __syncthreads();
    finish<T, D, H>(shares, a, r, head, count);
}
