// What the kernels share that attend for tokens which come one a sequence: how
// the positions are split, and how the parts are added up.
//
// How the positions are split is computed from the step's positions, so that a
// launch depends on the number of sequences alone. The splits of a pair of key
// head and sequence are added up by their cluster where there are clusters,
// through shared memory; what is left of several, or of blocks without, by the
// last one to finish, through scratch memory.
#pragma once
#include "attend.cuh"
#include "cluster.cuh"

constexpr int DECODE_WARPS = 4, MAX_SPLITS = 64, MAX_CLUSTER = 8;

// transpose returns an 8×8 matrix of 16-bit numbers, spread over the warp as
// the tensor cores have it, the other way round.
__device__ __forceinline__ uint32_t transpose(uint32_t v) {
    uint32_t r = 0;
#if __CUDA_ARCH__ >= 750
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(r) : "r"(v));
#endif
    return r;
}

// power2 is 2^x, and 0 below 2^-126.
__device__ __forceinline__ float power2(float x) {
    float v;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(v) : "f"(x));
    return v;
}

// choose is b ? x : y, one register at a time, so that neither gets an address.
__device__ __forceinline__ uint4 choose(bool b, const uint4 &x, const uint4 &y) {
    return make_uint4(b ? x.x : y.x, b ? x.y : y.y, b ? x.z : y.z, b ? x.w : y.w);
}

__device__ __forceinline__ uint32_t word(const uint4 &v, int i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }

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

// Fresh is what this step adds: the queries of a block's heads, and the key and
// the value of its key head. Rows of queries lie 16 bytes apart from a multiple
// of 128, so that the lanes of a read meet no bank twice.
template <class T, int D, int H> struct Fresh {
    T q[H][D + 8], k[D], v[D];
};

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

// Heads is the query heads of a block: count from head on, the part_of-th of those
// of a key head.
struct Heads {
    int kv_head, part_of, head, count;
};

// heads_of returns those of block x, of which each has up to H.
template <int H> __device__ __forceinline__ Heads heads_of(const Attend &a) {
    const int group = a.heads / a.kv_heads, parts = (group + H - 1) / H;
    const int kv_head = blockIdx.x / parts, part_of = blockIdx.x % parts;
    return {kv_head, part_of, kv_head * group + part_of * H, min(H, group - part_of * H)};
}

// Range is the work of one block.
struct Range {
    int token, first, last; // the token and the positions that it sees
    int sequence, fresh;    // of rows: the first of the positions that are the step's own
    int begin, end;         // tiles of this block
    int active;             // blocks that have work
    bool ends;              // the token's own position is among the block's
};

// range_of counts in tiles of TILE positions. With ROWS, y is a token of the step,
// otherwise a sequence, which has work if it has one token.
template <int TILE, bool ROWS> __device__ __forceinline__ Range range_of(const Attend &a, const Step &step) {
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

// Sums is what a warp holds of 8 query heads. Lane 4g+t has heads 2t and 2t+1. U
// columns of a head lie together in a lane: sum[4c+j] holds two columns from
// columns_of<U>(c, g) + 2j on, each for both heads.
template <int D> struct Sums {
    float sum[D / 16][4], top[2], weight[2];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int i = 0; i < D / 16; i++) sum[i][0] = sum[i][1] = sum[i][2] = sum[i][3] = 0.f;
        top[0] = top[1] = minus_infinity();
        weight[0] = weight[1] = 0.f;
    }
};

// columns_of returns where 8 columns of a lane begin.
template <int U> __device__ __forceinline__ int columns_of(int c, int g) {
    return U == 8 ? 64 * c + 8 * g : 128 * (c / 2) + 16 * g + 8 * (c % 2);
}

// Shares is what the warps of a block, and later its splits, leave for each
// other: the largest score, the sum of weights and the sum of values of heads.
template <int D, int H> struct Shares {
    float top[DECODE_WARPS][H], weight[DECODE_WARPS][H];
    union {
        float sum[DECODE_WARPS][H][D + 8]; // rows apart, so that they meet no bank twice
        float share[H][MAX_SPLITS]; // of splits, when the warps are added up
    };
    float slot[H * (D + 2)]; // of the block, for its cluster
    bool is_last;
};

// leave stores a warp's sums, times a factor.
template <int U, int D>
__device__ __forceinline__ void leave(Shares<D, 8> &to, Sums<D> &part, int warp, int lane, int count, float factor) {
    const int g = lane >> 2, t = lane & 3;
#pragma unroll
    for (int j = 0; j < 2; j++) {
        float w = part.weight[j];
#pragma unroll
        for (int m = 4; m < 32; m <<= 1) w += __shfl_xor_sync(0xffffffffu, w, m);
        const int head = 2 * t + j;
        if (head >= count) continue;
        if (g == 0) to.top[warp][head] = part.top[j], to.weight[warp][head] = w;
#pragma unroll
        for (int c = 0; c < D / 64; c++) {
            float *at = &to.sum[warp][head][columns_of<U>(c, g)];
            const float(*s)[4] = &part.sum[4 * c];
            *(float4 *)at = make_float4(s[0][j] * factor, s[0][2 + j] * factor, s[1][j] * factor, s[1][2 + j] * factor);
            *(float4 *)(at + 4) = make_float4(s[2][j] * factor, s[2][2 + j] * factor, s[3][j] * factor, s[3][2 + j] * factor);
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

// finish adds up what the warps have left, the blocks of a cluster, and those of
// a pair of key head and sequence. Every thread of the block calls it, behind a
// barrier.
template <class T, int D, int H>
__device__ __forceinline__ void finish(Shares<D, H> &shares, const Attend &a, const Range &r, int head, int count) {
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
