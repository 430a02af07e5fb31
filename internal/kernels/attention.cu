// Attention over cached keys and values, for tokens that come one a sequence
// (decoding), and a plain kernel for all types and sizes.
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
// launch depends on the number of sequences alone. The last block of a pair of
// key head and sequence to finish adds up what the others have left in scratch.
#include "attend.cuh"

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

constexpr int DECODE_WARPS = 4, TILE = 16, MAX_SPLITS = 64;

// transpose returns an 8×8 matrix of 16-bit numbers, spread over the warp as
// the tensor cores have it, the other way round.
__device__ __forceinline__ uint32_t transpose(uint32_t v) {
    uint32_t r = 0;
#if __CUDA_ARCH__ >= 750
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(r) : "r"(v));
#endif
    return r;
}

__device__ __forceinline__ uint32_t word(const uint4 &v, int i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }

// Range is the work of one block.
struct Range {
    int token, first, last; // the token and the positions that it sees
    int begin, end;         // tiles of this block
    int active;             // blocks that have work
};

__device__ __forceinline__ Range range_of(const Attend &a, const Step &step) {
    Range r = {};
    const int sequence = blockIdx.y;
    r.token = step.start[sequence];
    if (step.start[sequence + 1] - r.token != 1) return r;
    r.last = step.positions[r.token];
    r.first = a.window > 0 ? max(0, r.last + 1 - a.window) : 0;
    const int from = r.first / TILE, tiles = r.last / TILE - from + 1;
    const int each = max(a.min_tiles, (tiles + a.splits - 1) / a.splits);
    r.active = (tiles + each - 1) / each;
    r.begin = from + (int)blockIdx.z * each;
    r.end = min(r.begin + each, from + tiles);
    return r;
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

    static __device__ __forceinline__ uint4 fetch(const T *from, int row, int column, int dim) {
        return row >= 0 && column < dim ? load16(from + (long long)row * dim + column) : make_uint4(0, 0, 0, 0);
    }

    // Rows of the cache: lane i < 16 gives the row of position i of the tile.
    __device__ __forceinline__ void fetch_keys(const Attend &a, int rows, int lane) {
        const int g = lane >> 2, t = lane & 3;
        const int r0 = __shfl_sync(0xffffffffu, rows, g), r1 = __shfl_sync(0xffffffffu, rows, g + 8);
#pragma unroll
        for (int c = 0; c < D / 32; c++) {
            k[c][0] = fetch((const T *)a.k, r0, 32 * c + 8 * t, a.head_dim);
            k[c][1] = fetch((const T *)a.k, r1, 32 * c + 8 * t, a.head_dim);
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
            for (int i = 0; i < 4; i++) v[c][i] = fetch((const T *)a.v, r[i], 64 * c + 8 * g, a.head_dim);
    }

    __device__ __forceinline__ void fetch_queries(const Attend &a, int token, int head, int count, int lane) {
        const T *from = (const T *)a.q + (long long)token * a.q_stride + (long long)head * a.head_dim;
#pragma unroll
        for (int n = 0; n < N; n++) {
            const int row = 8 * n + (lane >> 2) < count ? 8 * n + (lane >> 2) : -1;
#pragma unroll
            for (int c = 0; c < D / 32; c++) q[n][c] = fetch(from, row, 32 * c + 8 * (lane & 3), a.head_dim);
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
    float top[DECODE_WARPS][H], weight[DECODE_WARPS][H], sum[DECODE_WARPS][H][D];
    float share[H][MAX_SPLITS];
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
#pragma unroll 16
        for (int k = 0; k < active; k++) {
            const float4 v = __ldcg((const float4 *)(from + (long long)k * size));
            const float w = share[k];
            sum.x = fmaf(w, v.x, sum.x), sum.y = fmaf(w, v.y, sum.y), sum.z = fmaf(w, v.z, sum.z), sum.w = fmaf(w, v.w, sum.w);
        }
        out[i] = from_float<T>(sum.x), out[i + 1] = from_float<T>(sum.y);
        out[i + 2] = from_float<T>(sum.z), out[i + 3] = from_float<T>(sum.w);
    }
}

template <class T, int D, int N> __device__ void attend_decode(const Attend &a, const Step &step) {
    constexpr int H = 8 * N;
    // Large heads leave no registers for keys and values at the same time.
    constexpr bool ahead = D <= 128;
    __shared__ __align__(16) Shares<D, H> shares;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const int group = a.heads / a.kv_heads, parts = (group + H - 1) / H;
    const int kv_head = blockIdx.x / parts, part_of = blockIdx.x % parts;
    const int head = kv_head * group + part_of * H, count = min(H, group - part_of * H);
    dependency_launch();

    // The step's metadata were there before its first kernel, and all keys and
    // values but the token's own before the step: they need not be waited for.
    const Range r = range_of(a, step);
    if ((int)blockIdx.z >= r.active) {
        dependency_wait();
        return;
    }
    const int *pages = step.pages + (long long)blockIdx.y * step.counts[COUNT_PAGES];
    Part<T, D, N> part;
    part.clear();
    int tile = r.begin + warp;
    int rows = tile < r.end ? cache_row(a, pages, kv_head, TILE * tile + (lane & 15), r.first, r.last) : -1;
    const bool old = TILE * tile + TILE - 1 < r.last;
    if (old) part.fetch_keys(a, rows, lane);
    if (old && ahead) part.fetch_values(a, rows, lane);
    dependency_wait();
    part.fetch_queries(a, r.token, head, count, lane);
    if (!old) part.fetch_keys(a, rows, lane);
    if (!old && ahead) part.fetch_values(a, rows, lane);

    const float scale = a.scale * LOG2E;
    for (; tile < r.end; tile += DECODE_WARPS) {
        const int next = tile + DECODE_WARPS;
        const int next_rows = next < r.end ? cache_row(a, pages, kv_head, TILE * next + (lane & 15), r.first, r.last) : -1;
        float s[N][4];
        part.scores(s);
        if (ahead) part.fetch_keys(a, next_rows, lane);
        else part.fetch_values(a, rows, lane);
        const int p = TILE * tile + (lane >> 2);
#pragma unroll
        for (int n = 0; n < N; n++)
            part.weigh(s[n], n, scale, p >= r.first && p <= r.last, p + 8 >= r.first && p + 8 <= r.last);
        part.add(s);
        if (ahead) part.fetch_values(a, next_rows, lane);
        else part.fetch_keys(a, next_rows, lane);
        rows = next_rows;
    }
    leave(shares, part, warp, lane, count);
    __syncthreads();

    T *out = (T *)a.out + (long long)r.token * a.out_stride + (long long)head * a.head_dim;
    const int size = H * (a.head_dim + 2), pair = blockIdx.y * gridDim.x + blockIdx.x;
    float *slots = a.scratch + (long long)pair * a.splits * size;
    join<T, D, H>(shares, a, out, slots + (long long)blockIdx.z * size, count, r.active == 1);
    if (r.active == 1) return;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        shares.is_last = atomicAdd(a.finished + pair, 1u) == (unsigned)r.active - 1;
        if (shares.is_last) a.finished[pair] = 0;
        __threadfence();
    }
    __syncthreads();
    if (shares.is_last) join_splits<T, D, H>(shares, a, out, slots, size, count, r.active);
}

#define DECODE(NAME, T, D, N)                                                                                       \
    extern "C" __global__ void __launch_bounds__(32 * DECODE_WARPS) attend_decode_##NAME(Attend a, Step step) { \
        attend_decode<T, D, N>(a, step);                                                                            \
    }
DECODE(bf16_64_8, bf16, 64, 1)
DECODE(bf16_64_16, bf16, 64, 2)
DECODE(bf16_128_8, bf16, 128, 1)
DECODE(bf16_128_16, bf16, 128, 2)
DECODE(bf16_192_8, bf16, 192, 1)
DECODE(bf16_256_8, bf16, 256, 1)
DECODE(f16_64_8, f16, 64, 1)
DECODE(f16_64_16, f16, 64, 2)
DECODE(f16_128_8, f16, 128, 1)
DECODE(f16_128_16, f16, 128, 2)
DECODE(f16_192_8, f16, 192, 1)
DECODE(f16_256_8, f16, 256, 1)
