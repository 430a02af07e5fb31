// Attention of single tokens over keys and values of up to 128 columns: what
// attend_decode and attend_rows of those sizes are. Up to 16 query heads of a key
// head are the rows of the tensor cores' products, however few there are:
//
//   scores[16, 32] = q[16, D] · kᵀ[D, 32]
//   out[16, D]    += p[16, 32] · v[32, D]     p: the weights, as they come out of the scores
//
// A warp takes tiles of 32 positions through a ring of its own in shared memory:
// keys, values, the next keys and so on, by copies in the background, so that one
// or two places are under way while one is worked on. Weights need no way from lane
// to lane, and sums are rescaled only where a larger score came: a position takes
// half of the instructions that it takes with keys as the rows.
//
// The chunks of 16 bytes of a place's rows are exchanged, so that neither copies nor
// ldmatrix meet a bank twice.
#pragma once
#include "decode.cuh"

constexpr int SPAN = 32;       // positions of a tile
constexpr int WIDE_HEADS = 16;

// wide_places is the number of places of a warp's ring: two where a block has no
// more than 99 KiB of shared memory. attention.go knows of it.
template <int D> constexpr int wide_places() {
#if __CUDA_ARCH__ == 860 || __CUDA_ARCH__ == 890 || __CUDA_ARCH__ >= 1200
    return D > 64 ? 2 : 3;
#else
    return 3;
#endif
}

// A place is rows of PITCH bytes. Chunk c of row r lies at r·PITCH + 16·(c ^ turn(r));
// the bits that differ between the accesses of a lane are exchanged on the way.
template <int PITCH> __device__ __forceinline__ int turn(int row) { return PITCH == 64 ? row >> 1 & 3 : row & 7; }

// request copies a tile of keys or values to a place. Lane i gives where position
// i's row begins in the cache, in chunks, of which a row has so many; bytes is 16,
// or 0 for zeros.
template <int PITCH> __device__ __forceinline__ void request_tile(uint32_t place, const void *cache, int row, int chunks, int bytes, int lane) {
    constexpr int CHUNKS = PITCH / 16, AT_ONCE = 32 / CHUNKS;
    const int chunk = lane % CHUNKS, first = lane / CHUNKS;
    const bool inside = chunk < chunks;
    const char *from = (const char *)cache + (inside ? 16 * chunk : 0);
    if (!inside) bytes = 0;
    const uint32_t to = place + first * PITCH + ((chunk ^ turn<PITCH>(first)) << 4);
#pragma unroll
    for (int i = 0; i < SPAN; i += AT_ONCE)
        copy_chunk((to ^ (turn<PITCH>(i) << 4)) + i * PITCH, from + 16ll * __shfl_sync(0xffffffffu, row, i + first), bytes);
}

// WideSums is the sums that a warp holds of 16 query heads. Lane 4g+t has some
// columns of heads g and g+8: sum[j] is two of g, then of g+8.
template <int D> struct WideSums {
    float sum[D / 8][4], top[2], weight[2];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int j = 0; j < D / 8; j++) sum[j][0] = sum[j][1] = sum[j][2] = sum[j][3] = 0.f;
        top[0] = top[1] = minus_infinity();
        weight[0] = weight[1] = 0.f;
    }

    // Scores s[j] are of positions 8j+2t and 8j+2t+1 of a tile, of head g, then of g+8.

    // mask takes out positions that do not count. The tile begins at p.
    static __device__ __forceinline__ void mask(float (&s)[SPAN / 8][4], int p, int first, int last, int lane) {
        if (p >= first && p + SPAN - 1 <= last) return;
#pragma unroll
        for (int j = 0; j < SPAN / 8; j++)
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const int at = p + 8 * j + 2 * (lane & 3) + i;
                if (at < first || at > last) s[j][i] = s[j][2 + i] = minus_infinity();
            }
    }

    // weigh turns scores into weights relative to the largest so far. share(j, i, w)
    // is what a weight of position 8j+2t+i counts in the sum of weights.
    template <class Share> __device__ __forceinline__ void weigh(float (&s)[SPAN / 8][4], Share share) {
        float shrink[2];
        bool higher = false;
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float most = top[h];
#pragma unroll
            for (int j = 0; j < SPAN / 8; j++) most = fmaxf(most, fmaxf(s[j][2 * h], s[j][2 * h + 1]));
            most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
            most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
            const float base = most == minus_infinity() ? 0.f : most;
            higher |= most != top[h];
            shrink[h] = power2(top[h] - base);
            top[h] = most;
            float total = 0.f;
#pragma unroll
            for (int j = 0; j < SPAN / 8; j++) {
                s[j][2 * h] = power2(s[j][2 * h] - base), s[j][2 * h + 1] = power2(s[j][2 * h + 1] - base);
                total += share(j, 0, s[j][2 * h]) + share(j, 1, s[j][2 * h + 1]);
            }
            weight[h] = fmaf(weight[h], shrink[h], total);
        }
        if (!__any_sync(0xffffffffu, higher)) return; // after the first tiles most of the time
#pragma unroll
        for (int j = 0; j < D / 8; j++) sum[j][0] *= shrink[0], sum[j][1] *= shrink[0], sum[j][2] *= shrink[1], sum[j][3] *= shrink[1];
    }

    // pack_weights rounds weights: p[i] is what a product takes of 16 positions.
    template <class T> static __device__ __forceinline__ void pack_weights(uint32_t (&p)[SPAN / 16][4], const float (&s)[SPAN / 8][4]) {
#pragma unroll
        for (int i = 0; i < SPAN / 16; i++) {
            p[i][0] = pack2<T>(s[2 * i][0], s[2 * i][1]), p[i][1] = pack2<T>(s[2 * i][2], s[2 * i][3]);
            p[i][2] = pack2<T>(s[2 * i + 1][0], s[2 * i + 1][1]), p[i][3] = pack2<T>(s[2 * i + 1][2], s[2 * i + 1][3]);
        }
    }

    // leave leaves the largest scores and the sums of weights of heads below count,
    // and calls store for each: with its sums, which begin at sum[0][2h], and where
    // they go.
    template <class Store> __device__ __forceinline__ void leave(Shares<D, WIDE_HEADS> &to, int warp, int lane, int count, Store store) const {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float w = weight[h];
            w += __shfl_xor_sync(0xffffffffu, w, 1);
            w += __shfl_xor_sync(0xffffffffu, w, 2);
            const int head = (lane >> 2) + 8 * h;
            if (head >= count) continue;
            if ((lane & 3) == 0) to.top[warp][head] = top[h], to.weight[warp][head] = w;
            store(h, to.sum[warp][head]);
        }
    }
};

// Wide is what a warp holds of 16 query heads: sum[j] is columns 8j+2t and 8j+2t+1.
template <class T, int D> struct Wide : WideSums<D> {
    using WideSums<D>::sum;

    static constexpr int PITCH = D * (int)sizeof(T), PLACE = SPAN * PITCH, CHUNKS = D / 8;

    uint32_t q[D / 16][4];

    // insert puts the token's own key or value, which is not in the cache yet, in
    // its place among those of the tile.
    static __device__ __forceinline__ void insert(uint32_t place, const T *own, int position, int dim, int lane) {
        if (lane < CHUNKS) {
            const uint4 v = 8 * lane < dim ? *(const uint4 *)(own + 8 * lane) : make_uint4(0, 0, 0, 0);
            store_shared(place + position * PITCH + ((lane ^ turn<PITCH>(position)) << 4), v);
        }
        __syncwarp();
    }

    __device__ __forceinline__ void load_queries(const T (&from)[WIDE_HEADS][D + 8], int lane) {
        const T *at = from[lane & 15] + 8 * (lane >> 4);
#pragma unroll
        for (int i = 0; i < D / 16; i++) load_matrices(q[i], shared_address(at + 16 * i));
    }

    // scores: s[j] is positions 8j+2t and 8j+2t+1, of row g, then of g+8.
    __device__ __forceinline__ void scores(float (&s)[SPAN / 8][4], uint32_t place, int lane) const {
#pragma unroll
        for (int j = 0; j < SPAN / 8; j++) s[j][0] = s[j][1] = s[j][2] = s[j][3] = 0.f;
        const uint32_t from = place + (lane & 7) * PITCH + (((lane >> 3) ^ (lane & 7)) << 4);
#pragma unroll
        for (int c = 0; c < D / 32; c++) // four chunks of eight rows
#pragma unroll
            for (int j = 0; j < SPAN / 8; j++) {
                uint32_t k[4];
                load_matrices(k, (from ^ ((c & 1) << 6)) + (c >> 1) * 128 + 8 * j * PITCH);
                accumulate<T>(s[j], q[2 * c][0], q[2 * c][1], q[2 * c][2], q[2 * c][3], k[0], k[1]);
                accumulate<T>(s[j], q[2 * c + 1][0], q[2 * c + 1][1], q[2 * c + 1][2], q[2 * c + 1][3], k[2], k[3]);
            }
    }

    // weigh turns scores of positions from p on into weights.
    __device__ __forceinline__ void weigh(float (&s)[SPAN / 8][4], float scale, int p, int first, int last, int lane) {
#pragma unroll
        for (int j = 0; j < SPAN / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) s[j][i] *= scale;
        WideSums<D>::mask(s, p, first, last, lane);
        WideSums<D>::weigh(s, [](int, int, float w) { return w; });
    }

    __device__ __forceinline__ void add(const float (&s)[SPAN / 8][4], uint32_t place, int lane) {
        uint32_t p[SPAN / 16][4];
        WideSums<D>::template pack_weights<T>(p, s);
        const uint32_t from = place + (lane & 15) * PITCH + (((lane >> 4) ^ (lane & 7)) << 4);
#pragma unroll
        for (int c = 0; c < D / 16; c++) // two chunks of sixteen rows
#pragma unroll
            for (int i = 0; i < SPAN / 16; i++) {
                uint32_t v[4];
                load_transposed(v, (from ^ ((c & 3) << 5)) + (c >> 2) * 128 + 16 * i * PITCH);
                accumulate<T>(sum[2 * c], p[i][0], p[i][1], p[i][2], p[i][3], v[0], v[1]);
                accumulate<T>(sum[2 * c + 1], p[i][0], p[i][1], p[i][2], p[i][3], v[2], v[3]);
            }
    }

    __device__ __forceinline__ void leave(Shares<D, WIDE_HEADS> &to, int warp, int lane, int count) const {
        WideSums<D>::leave(to, warp, lane, count, [&](int h, float *at) {
#pragma unroll
            for (int j = 0; j < D / 8; j++) *(float2 *)(at + 8 * j + 2 * (lane & 3)) = make_float2(sum[j][2 * h], sum[j][2 * h + 1]);
        });
    }
};

template <class T, int D, bool ROWS> __device__ __forceinline__ void attend_wide(const Attend &a, const Step &step) {
    using Mine = Wide<T, D>;
    constexpr int H = WIDE_HEADS, PLACES = wide_places<D>();
    extern __shared__ __align__(128) char places[]; // [warps, PLACES], and then a Shares
    __shared__ __align__(16) Fresh<T, D, H> fresh;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const Heads of = heads_of<H>(a);
    const int kv_head = of.kv_head, part_of = of.part_of, head = of.head, count = of.count;
    dependency_launch();

    // As in attend_decode: what was stored before this step need not be waited for.
    const Range r = range_of<SPAN, ROWS>(a, step);
    if ((int)blockIdx.z >= r.active) {
        if (blockIdx.z == 0) dependency_wait(); // one block of a grid suffices
        return;
    }
    const int *pages = step.pages + (long long)(ROWS ? r.sequence : blockIdx.y) * step.counts[COUNT_PAGES];
    const bool keeps = !ROWS && a.new_k && r.ends;
    const int own = keeps ? r.last / SPAN : -1, position = r.last % SPAN; // where the new one belongs
    const int stored = keeps ? r.last - 1 : r.last;                       // the last position in the cache
    int tile = r.begin + warp;
    // Where a position does not count, another one of the sequence stands, or 0
    // where the cache has none yet. A page is looked up a round before its rows are
    // needed.
    const int bytes = stored >= r.first ? 16 : 0;
    auto position_of = [&](int tile) { return max(min(SPAN * min(tile, r.end - 1) + lane, stored), r.first); };
    auto page_of = [&](int tile) { return pages[position_of(tile) / a.page_size]; };
    auto row_of = [&](int tile, int page) {
        return ((page * a.kv_heads + kv_head) * a.page_size + position_of(tile) % a.page_size) * (a.head_dim / 8);
    };
    const uint32_t ring = shared_address(places) + warp * PLACES * Mine::PLACE;
    int at = 0; // the place of what comes next
    auto next = [&] {
        const uint32_t place = ring + at * Mine::PLACE;
        at = at + 1 == PLACES ? 0 : at + 1;
        return place;
    };
    int to = 0;
    auto request = [&](const void *cache, int tile, int row) {
        if (tile < r.end) request_tile<Mine::PITCH>(ring + to * Mine::PLACE, cache, row, a.head_dim / 8, bytes, lane);
        end_copies();
        to = to + 1 == PLACES ? 0 : to + 1;
    };
    const int row = keeps && part_of == 0 ? cache_row(a, pages, kv_head, r.last, r.first, r.last) : -1;
    if (!keeps && SPAN * tile + SPAN - 1 >= (ROWS ? r.fresh : r.last)) dependency_wait();
    int now = row_of(tile, page_of(tile)), page = page_of(tile + DECODE_WARPS);
    request(a.k, tile, now);
    if (PLACES == 3) request(a.v, tile, now);
    for (int i = threadIdx.x; i < H * (D / 8); i += blockDim.x) {
        const int head = i / (D / 8), column = i % (D / 8) * 8;
        if (head >= count || column >= a.head_dim) *(uint4 *)(fresh.q[head] + column) = make_uint4(0, 0, 0, 0);
    }
    dependency_wait();
    gather(fresh, a, r.token, head, count, kv_head, keeps, row);
    __syncthreads();
    Mine part;
    part.clear();
    part.load_queries(fresh.q, lane);
    const float scale = a.scale * LOG2E;
#pragma unroll 1
    for (; tile < r.end; tile += DECODE_WARPS) {
        const int then = tile + DECODE_WARPS, rows = row_of(then, page);
        page = page_of(then + DECODE_WARPS);
        float s[SPAN / 8][4];

        await_copies<PLACES - 2>();
        __syncwarp();
        uint32_t place = next();
        if (PLACES == 3) request(a.k, then, rows);
        else request(a.v, tile, now);
        if (tile == own) Mine::insert(place, fresh.k, position, a.head_dim, lane);
        part.scores(s, place, lane);
        part.weigh(s, scale, SPAN * tile, r.first, r.last, lane);

        await_copies<PLACES - 2>();
        __syncwarp();
        place = next();
        if (PLACES == 3) request(a.v, then, rows);
        else request(a.k, then, rows);
        if (tile == own) Mine::insert(place, fresh.v, position, a.head_dim, lane);
        part.add(s, place, lane);
        now = rows;
    }
    await_copies<0>();
    __syncthreads(); // rings are done with
    Shares<D, H> &shares = *(Shares<D, H> *)places;
    part.leave(shares, warp, lane, count);
    __syncthreads();
    finish<T, D, H>(shares, a, r, head, count);
}
