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
// sequence (y) and split (z), four warps. D is the head size rounded up. A warp
// takes 16 positions at a time straight from memory into the registers of the
// tensor cores, without shared memory or barriers:
//
//   scores[16, 8] = k[16, D] · qᵀ[D, 8]       lane 4g+t reads 16 bytes of rows g and g+8
//   outᵀ[D, 8]   += vᵀ[D, 16] · p[16, 8]      lane 4g+t reads 16 bytes of rows 2t, 2t+1, 2t+8, 2t+9
//
// The order of the columns inside a product is free as long as both sides agree,
// so that 16 consecutive bytes of a lane make up two steps. The next keys are
// requested as soon as the scores are done, the next values after the sums.
//
// How the positions are split is computed from the step's positions, so that a
// launch depends on the number of sequences alone. The splits of a pair of key
// head and sequence are added up by their cluster where there are clusters,
// through shared memory; what is left of several, or of blocks without, by the
// last one to finish, through scratch memory.
//
// attend_rows_A_D_H: the same for each token (y) of a step, however many of them
// a sequence has.
//
// With new_k attend_decode does what append does, too: queries are rotated as they
// are read, and the block that has the token's own position stores its key and
// value in the cache.
#include "attend.cuh"
#include "cluster.cuh"

// ---- any type and size ----

constexpr int PLAIN_WARPS = 4, PLAIN_DIM = 256, PLAIN_ROWS = 4;

template <class T> __device__ void attend_plain(const Attend &a, const Step &step) {
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
                const T *k = (const T *)a.k + rows[r] * dim;
                for (int d = lane; d < dim; d += 32) s[r] = fmaf(q[d], to_float(k[d]), s[r]);
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
                const T *v = (const T *)a.v + rows[r] * dim;
#pragma unroll
                for (int j = 0; j < PER_LANE; j++)
                    if (lane + 32 * j < dim) sum[j] = fmaf(p, to_float(v[lane + 32 * j]), sum[j]);
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

#define PLAIN(NAME, T)                                                                                         \
    extern "C" __global__ void __launch_bounds__(32 * PLAIN_WARPS) attend_plain_##NAME(Attend a, Step step) { \
        attend_plain<T>(a, step);                                                                              \
    }
INSTANCES(PLAIN)

// ---- decoding ----

constexpr int DECODE_WARPS = 4, TILE = 16, MAX_SPLITS = 64, MAX_CLUSTER = 8;

// transpose returns an 8×8 matrix of 16-bit numbers, spread over the warp as
// the tensor cores have it, the other way round.
__device__ __forceinline__ uint32_t transpose(uint32_t v) {
    uint32_t r = 0;
#if __CUDA_ARCH__ >= 750
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(r) : "r"(v));
#endif
    return r;
}

// choose is b ? x : y, one register at a time, so that neither gets an address.
__device__ __forceinline__ uint4 choose(bool b, const uint4 &x, const uint4 &y) {
    return make_uint4(b ? x.x : y.x, b ? x.y : y.y, b ? x.z : y.z, b ? x.w : y.w);
}

__device__ __forceinline__ uint32_t word(const uint4 &v, int i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }

// Range is the work of one block.
struct Range {
    int token, first, last; // the token and the positions that it sees
    int sequence, fresh;    // of rows: the first of the positions that are the step's own
    int begin, end;         // tiles of this block
    int active;             // blocks that have work
    bool ends;              // the token's own position is among the block's
};

template <bool ROWS> __device__ __forceinline__ Range range_of(const Attend &a, const Step &step) {
    Range r = {};
    const int sequence = ROWS ? step.owner[blockIdx.y] : blockIdx.y;
    r.token = ROWS ? blockIdx.y : step.start[sequence];
    if (!ROWS && step.start[sequence + 1] - r.token != 1) return r;
    if (ROWS) r.sequence = sequence, r.fresh = step.positions[step.start[sequence]];
    r.last = step.positions[r.token];
    r.first = a.window > 0 ? max(0, r.last + 1 - a.window) : 0;
    const int from = r.first / TILE, tiles = r.last / TILE - from + 1;
    const int each = max(a.min_tiles, (tiles + a.splits - 1) / a.splits);
    r.active = (tiles + each - 1) / each;
    r.begin = from + (int)blockIdx.z * each;
    r.end = min(r.begin + each, from + tiles);
    r.ends = (int)blockIdx.z == r.active - 1;
    return r;
}

// Fresh is what this step adds: the queries of a block's heads, and the key and
// the value of its key head. Rows of queries lie 16 bytes apart from a multiple
// of 128, so that the lanes of a read meet no bank twice.
template <class T, int D, int H> struct Fresh {
    T q[H][D + 8], k[D], v[D];
};

// rotated reads 8 columns of a head and rotates them.
template <class T>
__device__ __forceinline__ uint4 rotated(const T *head, int column, int half, const float2 *angles) {
    const uint4 own = load16(head + column);
    if (column >= 2 * half) return own;
    const bool lower = column < half;
    const uint4 other = load16(head + (lower ? column + half : column - half));
    const float4 *at = (const float4 *)(angles + (lower ? column : column - half));
    float x[8], y[8];
    unpack<T>(own, x);
    unpack<T>(other, y);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const float4 a = __ldcg(at + i); // two pairs of cosine and sine
        x[2 * i] = x[2 * i] * a.x + (lower ? -y[2 * i] : y[2 * i]) * a.y;
        x[2 * i + 1] = x[2 * i + 1] * a.z + (lower ? -y[2 * i + 1] : y[2 * i + 1]) * a.w;
    }
    return pack<T>(x);
}

// gather reads a block's queries, and the key and the value that are new where
// the block has their position: those go to their row of the cache, too, if it
// has one.
template <class T, int D, int H>
__device__ __forceinline__ void gather(Fresh<T, D, H> &to, const Attend &a, int token, int head, int count, int kv_head, bool keeps, int row) {
    const int units = a.head_dim / 8, half = a.new_k ? a.half : 0;
    const float2 *angles = a.angles + (long long)token * half;
    for (int i = threadIdx.x; i < (count + (keeps ? 2 : 0)) * units; i += blockDim.x) {
        const int which = i / units, column = i % units * 8;
        if (which < count) {
            const T *q = (const T *)a.q + (long long)token * a.q_stride + (long long)(head + which) * a.head_dim;
            *(uint4 *)(to.q[which] + column) = rotated(q, column, half, angles);
            continue;
        }
        const bool key = which == count;
        const T *from = (key ? (const T *)a.new_k + (long long)token * a.k_stride : (const T *)a.new_v + (long long)token * a.v_stride) + kv_head * a.head_dim;
        const uint4 v = rotated(from, column, key ? half : 0, angles);
        *(uint4 *)((key ? to.k : to.v) + column) = v;
        if (row >= 0) *(uint4 *)((T *)(key ? a.k : a.v) + (long long)row * a.head_dim + column) = v;
    }
}

// Part is what a warp holds of N times 8 query heads. Lane 4g+t has heads 2t
// and 2t+1 of each 8; sum[n][4c+j] holds columns 64c + 8g + 2j, for both heads,
// and the columns after them, for both heads.
template <class T, int D, int N> struct Part {
    uint4 k[D / 32][2], v[D / 64][4], q[N][D / 32];
    float sum[N][D / 16][4], top[N][2], weight[N][2];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int n = 0; n < N; n++) {
#pragma unroll
            for (int i = 0; i < D / 16; i++) sum[n][i][0] = sum[n][i][1] = sum[n][i][2] = sum[n][i][3] = 0.f;
            top[n][0] = top[n][1] = minus_infinity();
            weight[n][0] = weight[n][1] = 0.f;
        }
    }

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

    __device__ __forceinline__ void fetch_queries(const Fresh<T, D, 8 * N> &from, int count, int dim, int lane) {
#pragma unroll
        for (int n = 0; n < N; n++) {
            const int row = 8 * n + (lane >> 2);
#pragma unroll
            for (int c = 0; c < D / 32; c++) {
                const int column = 32 * c + 8 * (lane & 3);
                q[n][c] = row < count && column < dim ? *(const uint4 *)(from.q[row] + column) : make_uint4(0, 0, 0, 0);
            }
        }
    }

    __device__ __forceinline__ void scores(float (&s)[N][4]) const {
#pragma unroll
        for (int n = 0; n < N; n++) {
            s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0.f;
#pragma unroll
            for (int c = 0; c < D / 32; c++) {
                accumulate<T>(s[n], k[c][0].x, k[c][1].x, k[c][0].y, k[c][1].y, q[n][c].x, q[n][c].y);
                accumulate<T>(s[n], k[c][0].z, k[c][1].z, k[c][0].w, k[c][1].w, q[n][c].z, q[n][c].w);
            }
        }
    }

    // weigh turns scores into weights relative to the largest score so far.
    // here and next say whether positions g and g+8 of the tile count.
    __device__ __forceinline__ void weigh(float (&s)[4], int n, float scale, bool here, bool next) {
#pragma unroll
        for (int j = 0; j < 2; j++) {
            const float x = here ? s[j] * scale : minus_infinity(), y = next ? s[2 + j] * scale : minus_infinity();
            float most = fmaxf(x, y);
#pragma unroll
            for (int m = 4; m < 32; m <<= 1) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, m));
            most = fmaxf(most, top[n][j]);
            const float base = most == minus_infinity() ? 0.f : most, shrink = exp2f(top[n][j] - base);
            top[n][j] = most;
            s[j] = exp2f(x - base);
            s[2 + j] = exp2f(y - base);
            weight[n][j] = weight[n][j] * shrink + (s[j] + s[2 + j]);
#pragma unroll
            for (int i = 0; i < D / 16; i++) sum[n][i][j] *= shrink, sum[n][i][2 + j] *= shrink;
        }
    }

    __device__ __forceinline__ void add(const float (&s)[N][4]) {
        uint32_t p[N][2];
#pragma unroll
        for (int n = 0; n < N; n++) {
            p[n][0] = transpose(pack2<T>(s[n][0], s[n][1]));
            p[n][1] = transpose(pack2<T>(s[n][2], s[n][3]));
        }
#pragma unroll
        for (int c = 0; c < D / 64; c++)
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const uint32_t w0 = word(v[c][0], j), w1 = word(v[c][1], j), w2 = word(v[c][2], j), w3 = word(v[c][3], j);
                const uint32_t a0 = __byte_perm(w0, w1, 0x5410), a1 = __byte_perm(w0, w1, 0x7632);
                const uint32_t a2 = __byte_perm(w2, w3, 0x5410), a3 = __byte_perm(w2, w3, 0x7632);
#pragma unroll
                for (int n = 0; n < N; n++) accumulate<T>(sum[n][4 * c + j], a0, a1, a2, a3, p[n][0], p[n][1]);
            }
    }
};

// Shares is what the warps of a block, and later its splits, leave for each
// other: the largest score, the sum of weights and the sum of values of heads.
template <int D, int H> struct Shares {
    float top[DECODE_WARPS][H], weight[DECODE_WARPS][H];
    union {
        float sum[DECODE_WARPS][H][D];
        float share[H][MAX_SPLITS]; // of splits, when the warps are added up
    };
    float slot[H * (D + 2)]; // of the block, for its cluster
    bool is_last;
};

template <class T, int D, int N>
__device__ __forceinline__ void leave(Shares<D, 8 * N> &to, Part<T, D, N> &part, int warp, int lane, int count) {
    const int g = lane >> 2, t = lane & 3;
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
        for (int j = 0; j < 2; j++) {
            float w = part.weight[n][j];
#pragma unroll
            for (int m = 4; m < 32; m <<= 1) w += __shfl_xor_sync(0xffffffffu, w, m);
            const int head = 8 * n + 2 * t + j;
            if (head >= count) continue;
            if (g == 0) to.top[warp][head] = part.top[n][j], to.weight[warp][head] = w;
#pragma unroll
            for (int c = 0; c < D / 64; c++) {
                float *at = &to.sum[warp][head][64 * c + 8 * g];
                const float(*s)[4] = &part.sum[n][4 * c];
                *(float4 *)at = make_float4(s[0][j], s[0][2 + j], s[1][j], s[1][2 + j]);
                *(float4 *)(at + 4) = make_float4(s[2][j], s[2][2 + j], s[3][j], s[3][2 + j]);
            }
        }
}

// join adds up the warps of the block and writes the result, or the block's
// slot: tops, weights and sums.
template <class T, int D, int H>
__device__ __forceinline__ void join(const Shares<D, H> &from, const Attend &a, T *out, float *slot, int count, bool alone) {
    for (int i = threadIdx.x; i < count * a.head_dim; i += blockDim.x) {
        const int head = i / a.head_dim, d = i % a.head_dim;
        float top = minus_infinity(), weight = 0.f, sum = 0.f;
#pragma unroll
        for (int w = 0; w < DECODE_WARPS; w++) top = fmaxf(top, from.top[w][head]);
#pragma unroll
        for (int w = 0; w < DECODE_WARPS; w++) {
            if (from.top[w][head] == minus_infinity()) continue;
            const float share = exp2f(from.top[w][head] - top);
            weight = fmaf(share, from.weight[w][head], weight);
            sum = fmaf(share, from.sum[w][head][d], sum);
        }
        if (alone) {
            out[i] = from_float<T>(sum / weight);
            continue;
        }
        if (d == 0) slot[head] = top, slot[H + head] = weight;
        slot[2 * H + i] = sum;
    }
}

// join_cluster adds up the slots of the blocks of a cluster: each block its part
// of the columns, into the result or the cluster's slot in scratch memory.
template <class T, int D, int H>
__device__ __forceinline__ void join_cluster(Shares<D, H> &s, const Attend &a, T *out, float *slot, int count, int active) {
    const int rank = blockIdx.z % a.cluster, mates = min(a.cluster, active - ((int)blockIdx.z - rank)), all = count * a.head_dim;
    cluster_arrive();
    cluster_wait();
    for (int i = all * rank / mates + threadIdx.x; i < all * (rank + 1) / mates; i += blockDim.x) {
        const int head = i / a.head_dim;
        float top[MAX_CLUSTER], weight[MAX_CLUSTER], sum[MAX_CLUSTER], most = minus_infinity();
#pragma unroll
        for (int m = 0; m < MAX_CLUSTER; m++) {
            const int from = min(m, mates - 1);
            top[m] = cluster_load(s.slot + head, from), weight[m] = cluster_load(s.slot + H + head, from), sum[m] = cluster_load(s.slot + 2 * H + i, from);
        }
#pragma unroll
        for (int m = 0; m < MAX_CLUSTER; m++) most = fmaxf(most, top[m]);
        float total = 0.f, value = 0.f;
#pragma unroll
        for (int m = 0; m < MAX_CLUSTER; m++) {
            const float share = m >= mates || top[m] == minus_infinity() ? 0.f : exp2f(top[m] - most);
            total = fmaf(share, weight[m], total);
            value = fmaf(share, sum[m], value);
        }
        if (active <= a.cluster) {
            out[i] = from_float<T>(value / total);
            continue;
        }
        if (i % a.head_dim == 0) slot[head] = most, slot[H + head] = total;
        slot[2 * H + i] = value;
    }
    cluster_arrive();
    cluster_wait(); // nobody leaves before all have read
}

// join_splits adds up the slots of all blocks of a pair.
template <class T, int D, int H>
__device__ __forceinline__ void join_splits(Shares<D, H> &s, const Attend &a, T *out, const float *slots, int size, int count, int active) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    for (int head = warp; head < count; head += DECODE_WARPS) {
        float top[2], weight[2], most, total = 0.f;
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int at = lane + 32 * i;
            top[i] = at < active ? __ldcg(slots + (long long)at * size + head) : minus_infinity();
            weight[i] = at < active ? __ldcg(slots + (long long)at * size + H + head) : 0.f;
        }
        most = warp_max(fmaxf(top[0], top[1]));
#pragma unroll
        for (int i = 0; i < 2; i++) {
            top[i] = top[i] == minus_infinity() ? 0.f : exp2f(top[i] - most);
            total = fmaf(top[i], weight[i], total);
        }
        total = warp_sum(total);
#pragma unroll
        for (int i = 0; i < 2; i++) s.share[head][lane + 32 * i] = top[i] / total;
    }
    __syncthreads();
    for (int i = 4 * threadIdx.x; i < count * a.head_dim; i += 4 * blockDim.x) {
        const float *share = s.share[i / a.head_dim], *from = slots + 2 * H + i;
        float4 sum = make_float4(0.f, 0.f, 0.f, 0.f);
#pragma unroll 4
        for (int k = 0; k < active; k++) {
            const float4 v = __ldcg((const float4 *)(from + (long long)k * size));
            const float w = share[k];
            sum.x = fmaf(w, v.x, sum.x), sum.y = fmaf(w, v.y, sum.y), sum.z = fmaf(w, v.z, sum.z), sum.w = fmaf(w, v.w, sum.w);
        }
        out[i] = from_float<T>(sum.x), out[i + 1] = from_float<T>(sum.y);
        out[i + 2] = from_float<T>(sum.z), out[i + 3] = from_float<T>(sum.w);
    }
}

template <class T, int D, int N, bool ROWS> __device__ void attend_decode(const Attend &a, const Step &step) {
    constexpr int H = 8 * N;
    // Large heads leave no registers for keys and values at the same time.
    constexpr bool ahead = D <= 128;
    __shared__ __align__(16) Shares<D, H> shares;
    __shared__ __align__(16) Fresh<T, D, H> fresh;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const int group = a.heads / a.kv_heads, parts = (group + H - 1) / H;
    const int kv_head = blockIdx.x / parts, part_of = blockIdx.x % parts;
    const int head = kv_head * group + part_of * H, count = min(H, group - part_of * H);
    dependency_launch();

    // The step's metadata were there before its first kernel, and all keys and
    // values but the step's own before it: they need not be waited for.
    const Range r = range_of<ROWS>(a, step);
    if ((int)blockIdx.z >= r.active) {
        if (blockIdx.z == 0) dependency_wait(); // one block of a grid suffices
        return;
    }
    const int *pages = step.pages + (long long)(ROWS ? r.sequence : blockIdx.y) * step.counts[COUNT_PAGES];
    Part<T, D, N> part;
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
        float s[N][4];
        if (!first) {
            if (tile == own) part.insert_key(fresh.k, place, a.head_dim, lane);
            part.scores(s);
        }
        if (ahead || first) part.fetch_keys(a, next_rows, lane);
        if (!ahead && !first) part.fetch_values(a, rows, lane);
        if (first) {
            if (ahead) part.fetch_values(a, next_rows, lane);
            dependency_wait();
            gather(fresh, a, r.token, head, count, kv_head, keeps, row);
            __syncthreads();
            part.fetch_queries(fresh, count, a.head_dim, lane);
            first = false;
            continue;
        }
        const int p = TILE * tile + (lane >> 2);
#pragma unroll
        for (int n = 0; n < N; n++)
            part.weigh(s[n], n, scale, p >= r.first && p <= r.last, p + 8 >= r.first && p + 8 <= r.last);
        if (tile == own) part.insert_value(fresh.v, place, a.head_dim, lane);
        part.add(s);
        if (ahead) part.fetch_values(a, next_rows, lane);
        else part.fetch_keys(a, next_rows, lane);
        rows = next_rows, tile = next;
    }
    leave(shares, part, warp, lane, count);
    __syncthreads();

    T *out = (T *)a.out + (long long)r.token * a.out_stride + (long long)head * a.head_dim;
    const int size = H * (a.head_dim + 2), pair = blockIdx.y * gridDim.x + blockIdx.x;
    float *slots = a.scratch + (long long)pair * a.splits * size;
    float *slot = a.cluster > 1 ? shares.slot : slots + (long long)blockIdx.z * size;
    join<T, D, H>(shares, a, out, slot, count, r.active == 1);
    if (r.active == 1) return;
    if (a.cluster > 1) {
        join_cluster<T, D, H>(shares, a, out, slots + (long long)(blockIdx.z / a.cluster) * size, count, r.active);
        if (r.active <= a.cluster) return;
    }
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        shares.is_last = atomicAdd(a.finished + pair, 1u) == (unsigned)r.active - 1;
        if (shares.is_last) a.finished[pair] = 0;
        __threadfence();
    }
    __syncthreads();
    if (shares.is_last) join_splits<T, D, H>(shares, a, out, slots, size, count, (r.active + a.cluster - 1) / a.cluster);
}

// BLOCKS is how many blocks a multiprocessor must be able to hold: those of
// a cluster begin together.
#define DECODE(NAME, T, D, N, BLOCKS)                                                                                  \
    extern "C" __global__ void __launch_bounds__(32 * DECODE_WARPS, BLOCKS) attend_decode_##NAME(Attend a, Step step) { \
        attend_decode<T, D, N, false>(a, step);                                                                        \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(32 * DECODE_WARPS, BLOCKS) attend_rows_##NAME(Attend a, Step step) {   \
        attend_decode<T, D, N, true>(a, step);                                                                         \
    }
DECODE(bf16_64_8, bf16, 64, 1, 4)
DECODE(bf16_64_16, bf16, 64, 2, 3)
DECODE(bf16_128_8, bf16, 128, 1, 3)
DECODE(bf16_128_16, bf16, 128, 2, 2)
DECODE(bf16_192_8, bf16, 192, 1, 2)
DECODE(bf16_256_8, bf16, 256, 1, 2)
DECODE(f16_64_8, f16, 64, 1, 4)
DECODE(f16_64_16, f16, 64, 2, 3)
DECODE(f16_128_8, f16, 128, 1, 3)
DECODE(f16_128_16, f16, 128, 2, 2)
DECODE(f16_192_8, f16, 192, 1, 2)
DECODE(f16_256_8, f16, 256, 1, 2)
