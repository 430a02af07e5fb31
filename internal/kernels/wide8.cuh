// Attention of single tokens as wide.cuh has it, over caches in 8 bits: keys and
// values come through rings of shared memory as they are, and are widened to f16 on
// the way into the products, whatever the activations are. decode8.cuh says how
// queries and scales are dealt with.
//
// A product takes the 16 columns of a chunk in an order of its own. ldmatrix gives a
// lane four bytes of a key: columns 4t to 4t+3 of a chunk. Widened they are slots 2t,
// 2t+1, 2t+8 and 2t+9 of a product, and queries are laid out alike. Transposed, it
// gives two bytes of two values each: columns 2g and 2g+1 of positions 2t and 2t+1.
// They belong to two products, one of the even columns of a chunk and one of the odd
// ones, so that a lane ends with four columns side by side.
#pragma once
#include "decode8.cuh"
#include "wide.cuh"

constexpr int WIDE8_AHEAD = 2;                    // tiles whose keys and values are under way
constexpr int WIDE8_PLACES = 2 * WIDE8_AHEAD + 1; // of a warp's ring; attention.go knows of it

// Scales8 is the scales of a tile, of Int8: of keys; of values, as a logarithm and
// turned over.
struct Scales8 {
    float key[SPAN], log_value[SPAN], inverse[SPAN];

    __device__ __forceinline__ void put(uint32_t both, int lane) {
        const float l = __log2f(value_scale(both));
        key[lane] = key_scale(both), log_value[lane] = l, inverse[lane] = power2(-l);
    }
};

// Wide8 is what a warp holds of 16 query heads: sum[2c] is columns 4t and 4t+2 of
// chunk c, and sum[2c+1] columns 4t+1 and 4t+3.
template <class F, int D> struct Wide8 : WideSums<D> {
    using WideSums<D>::sum;

    static constexpr int PITCH = D, PLACE = SPAN * PITCH;

    uint32_t q[D / 16][4];
    float factor[2]; // of scores

    __device__ __forceinline__ void load_queries(const Queries<D, WIDE_HEADS> &from, int lane) {
        const int g = lane >> 2, t = lane & 3;
#pragma unroll
        for (int h = 0; h < 2; h++) {
            factor[h] = from.factor[g + 8 * h];
#pragma unroll
            for (int c = 0; c < D / 16; c++) {
                const uint2 v = *(const uint2 *)(from.q[g + 8 * h] + 16 * c + 4 * t);
                q[c][h] = v.x, q[c][2 + h] = v.y;
            }
        }
    }

    // row_of returns where chunk 0 of a lane's row of a place lies; that of chunk c
    // differs in the bits of 16·c.
    static __device__ __forceinline__ uint32_t row_of(uint32_t place, int lane) { return place + lane * PITCH + (turn<PITCH>(lane) << 4); }

    __device__ __forceinline__ void scores(float (&s)[SPAN / 8][4], uint32_t place, int lane) const {
#pragma unroll
        for (int j = 0; j < SPAN / 8; j++) s[j][0] = s[j][1] = s[j][2] = s[j][3] = 0.f;
        const uint32_t from = row_of(place, lane);
#pragma unroll
        for (int c = 0; c < D / 16; c++) {
            uint32_t k[SPAN / 8];
            load_matrices(k, from ^ (c << 4));
#pragma unroll
            for (int j = 0; j < SPAN / 8; j++) {
                uint32_t b0, b1;
                F::widen(k[j], b0, b1);
                accumulate<f16>(s[j], q[c][0], q[c][1], q[c][2], q[c][3], b0, b1);
            }
        }
    }

    // weigh turns scores of positions from p on into weights.
    __device__ __forceinline__ void weigh(float (&s)[SPAN / 8][4], const Scales8 &scales, int p, int first, int last, int lane) {
        if constexpr (F::scaled) {
            float2 inverse[SPAN / 8];
#pragma unroll
            for (int j = 0; j < SPAN / 8; j++) {
                const int at = 8 * j + 2 * (lane & 3);
                const float2 key = *(const float2 *)(scales.key + at), log_value = *(const float2 *)(scales.log_value + at);
                inverse[j] = *(const float2 *)(scales.inverse + at);
#pragma unroll
                for (int h = 0; h < 2; h++) {
                    s[j][2 * h] = fmaf(s[j][2 * h] * key.x, factor[h], log_value.x);
                    s[j][2 * h + 1] = fmaf(s[j][2 * h + 1] * key.y, factor[h], log_value.y);
                }
            }
            WideSums<D>::mask(s, p, first, last, lane);
            WideSums<D>::weigh(s, [&](int j, int i, float w) { return w * (i == 0 ? inverse[j].x : inverse[j].y); });
        } else {
#pragma unroll
            for (int j = 0; j < SPAN / 8; j++)
#pragma unroll
                for (int i = 0; i < 4; i++) s[j][i] *= factor[i / 2];
            WideSums<D>::mask(s, p, first, last, lane);
            WideSums<D>::weigh(s, [](int, int, float w) { return w; });
        }
    }

    __device__ __forceinline__ void add(const float (&s)[SPAN / 8][4], uint32_t place, int lane) {
        uint32_t p[SPAN / 16][4];
        WideSums<D>::template pack_weights<f16>(p, s);
        const uint32_t from = row_of(place, lane);
#pragma unroll
        for (int c = 0; c < D / 16; c++) {
            uint32_t v[SPAN / 8];
            load_transposed(v, from ^ (c << 4));
#pragma unroll
            for (int i = 0; i < SPAN / 16; i++) {
                uint32_t even0, odd0, even1, odd1;
                F::widen_apart(v[2 * i], even0, odd0);
                F::widen_apart(v[2 * i + 1], even1, odd1);
                accumulate<f16>(sum[2 * c], p[i][0], p[i][1], p[i][2], p[i][3], even0, even1);
                accumulate<f16>(sum[2 * c + 1], p[i][0], p[i][1], p[i][2], p[i][3], odd0, odd1);
            }
        }
    }

    // leave stores the sums, times a factor.
    __device__ __forceinline__ void leave(Shares<D, WIDE_HEADS> &to, int warp, int lane, int count, float factor) const {
        WideSums<D>::leave(to, warp, lane, count, [&](int h, float *at) {
#pragma unroll
            for (int c = 0; c < D / 16; c++) {
                const float *even = sum[2 * c] + 2 * h, *odd = sum[2 * c + 1] + 2 * h;
                *(float4 *)(at + 16 * c + 4 * (lane & 3)) = make_float4(even[0] * factor, odd[0] * factor, even[1] * factor, odd[1] * factor);
            }
        });
    }
};

template <class T, class F, int D> __device__ __forceinline__ void attend_wide8(const Attend8 &a8, const Step &step) {
    using Mine = Wide8<F, D>;
    constexpr int H = WIDE_HEADS, AHEAD = WIDE8_AHEAD, PLACES = WIDE8_PLACES;
    static_assert(sizeof(Shares<D, H>) <= DECODE_WARPS * PLACES * Mine::PLACE, "what warps leave is larger than their rings");
    const Attend &a = a8.a;
    extern __shared__ __align__(128) char places[]; // [warps, PLACES], and then a Shares
    __shared__ __align__(16) Queries<D, H> queries;
    __shared__ __align__(16) Scales8 scales_of[DECODE_WARPS];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const Heads of = heads_of<H>(a);
    const int kv_head = of.kv_head, head = of.head, count = of.count;
    dependency_launch();

    // As in attend_decode: what was stored before this step need not be waited for.
    const Range r = a8.rows ? range_of<SPAN, true>(a, step) : range_of<SPAN, false>(a, step);
    if ((int)blockIdx.z >= r.active) {
        if (blockIdx.z == 0) dependency_wait(); // one block of a grid suffices
        return;
    }
    const int *pages = step.pages + (long long)(a8.rows ? r.sequence : blockIdx.y) * step.counts[COUNT_PAGES];
    const int fresh = a8.rows ? r.fresh : r.last; // where the step's own positions begin
    int tile = r.begin + warp;
    // Where a position does not count, another one of the sequence stands. A page is
    // looked up a round before its rows are needed.
    auto position_of = [&](int tile) { return max(min(SPAN * min(tile, r.end - 1) + lane, r.last), r.first); };
    auto page_of = [&](int tile) { return pages[position_of(tile) / a.page_size]; };
    auto row_of = [&](int tile, int page) { return (page * a.kv_heads + kv_head) * a.page_size + position_of(tile) % a.page_size; };
    const uint32_t ring = shared_address(places) + warp * PLACES * Mine::PLACE;
    auto request = [&](uint32_t place, const void *cache, int tile, int row) {
        if (tile < r.end) request_tile<Mine::PITCH>(place, cache, row * (a.head_dim / 16), a.head_dim / 16, 16, lane);
        end_copies();
    };
    uint32_t scales[AHEAD]; // Int8: of position lane of the next tiles
    int page = page_of(tile);
#pragma unroll
    for (int i = 0; i < AHEAD; i++) {
        const int then = tile + i * DECODE_WARPS, row = row_of(then, page);
        page = page_of(then + DECODE_WARPS);
        if (SPAN * min(then, r.end - 1) + SPAN - 1 >= fresh) dependency_wait();
        if constexpr (F::scaled) scales[i] = __ldcg(a8.scales + row);
        request(ring + 2 * i * Mine::PLACE, a.k, then, row);
        request(ring + (2 * i + 1) * Mine::PLACE, a.v, then, row);
    }
    dependency_wait();
    gather8<T>(queries, a, r.token, head, count, a.scale * LOG2E * (F::scaled ? 1.f : a8.k_scale));
    __syncthreads();
    Mine part;
    part.clear();
    part.load_queries(queries, lane);
    int at = 0;                                              // the place of what comes next
    uint32_t place, done = ring + (PLACES - 1) * Mine::PLACE; // the one before it
    auto next = [&] {
        await_copies<PLACES - 2>();
        __syncwarp();
        place = ring + at * Mine::PLACE;
        at = at + 1 == PLACES ? 0 : at + 1;
    };
#pragma unroll 1
    for (; tile < r.end; tile += DECODE_WARPS) {
        const int then = tile + AHEAD * DECODE_WARPS, row = row_of(then, page);
        page = page_of(then + DECODE_WARPS);
        if constexpr (F::scaled) {
            scales_of[warp].put(scales[0], lane);
#pragma unroll
            for (int i = 1; i < AHEAD; i++) scales[i - 1] = scales[i];
            scales[AHEAD - 1] = __ldcg(a8.scales + row);
        }
        float s[SPAN / 8][4];

        next();
        request(done, a.k, then, row);
        part.scores(s, place, lane);
        part.weigh(s, scales_of[warp], SPAN * tile, r.first, r.last, lane);
        done = place;

        next();
        request(done, a.v, then, row);
        part.add(s, place, lane);
        done = place;
    }
    await_copies<0>();
    __syncthreads(); // rings are done with
    Shares<D, H> &shares = *(Shares<D, H> *)places;
    part.leave(shares, warp, lane, count, F::scaled ? 1.f : a8.v_scale);
    __syncthreads();
    finish<T, D, H>(shares, a, r, head, count);
}
