// Attention of single tokens that few sequences bring: a step in which nothing
// else keeps the device busy, so that what counts is the time from the arrival
// of q, k and v to the end. The token is rotated and stored on the way.
//
//   out[i, h] = Σ_p softmax_p(Scale · q[i, h]·k[p]) · v[p],  p up to the token's position
//
// attend_cluster_T_D_W (Hopper and later; heads of D columns, pages of a power of
// two of at least 16 positions): a cluster of 8 blocks for each 8 query heads of
// a key head (y) and token (z), and more clusters (x) where there are more
// positions than the first can keep in flight. W warps a block; each takes tiles
// of 16 positions straight from memory into the registers of the tensor cores:
//
//   scores[16, 8] = k[16, D] · qᵀ[D, 8]       lane 4g+t reads 16 bytes of rows g and g+8
//   outᵀ[D, 8]   += vᵀ[D, 16] · p[16, 8]      lane 4g+t reads 16 bytes of rows 2t, 2t+1, 2t+8, 2t+9
//
// The order of the columns inside a product is free as long as both sides agree,
// so that 16 consecutive bytes of a lane make up two steps.
//
// All positions but the token's own have been in the cache since earlier steps,
// and the batch since before the step: a warp's first tile is read before the
// kernel waits for the one ahead. The token's own key and value never pass
// through a tile: they are one more part beside those of the warps, with one
// score a head and the weight 1.
//
// Parts are added up in a block through its shared memory, where two warps share
// a slot if there is no room for all; then each block sends every other its share
// of the columns, by stores that report to a barrier of the block that gets
// them: nobody waits for more than that. Clusters of a token and key head meet
// in scratch memory: of the blocks that have the same columns, the last one to
// finish adds them up.
// Launch: grid = [8·clusters, key heads · parts, tokens], block = 32·W, shared as clusterPlan in attend_cluster.go.
#include "decode.cuh"

// AttendCluster is clusterArgs in attend_cluster.go.
struct AttendCluster {
    const void *q, *new_k, *new_v;  // [n, heads or kv_heads, D]
    void *k, *v;                    // the cache
    void *out;                      // [n, heads, D]
    const float2 *angles;           // [n, half] cosine and sine
    const int *positions, *pages, *counts;  // of the step
    float *scratch;                 // a slot for each cluster
    unsigned int *finished;         // [tokens, key heads and their parts, blocks of a cluster], zero between launches
    int q_stride, k_stride, v_stride, out_stride;  // elements
    int group, parts, kv_heads;     // query heads of a key head, and by how many clusters
    int page_shift, window, half;
    int slots;                      // of sums in shared memory: W or W/2
    float scale;
};

constexpr int TILE = 16, HEADS = 8, CLUSTER_BLOCKS = 8;
constexpr int MOST_CLUSTERS = 8;  // of a token and key head
constexpr int TILES = 4;          // of a warp, before a second cluster helps
constexpr float LOWEST = -1e30f;  // below every score, and finite: -inf less this is no NaN

// barrier_known makes initialised barriers known to the cluster.
__device__ __forceinline__ void barrier_known() {
#if __CUDA_ARCH__ >= 900
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}

// cluster_enter arrives at the barrier of the cluster without making anything
// known but what a fence has.
__device__ __forceinline__ void cluster_enter() {
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
#endif
}

// await_cluster waits for the first phase of a barrier that other blocks' stores
// report to, and sees those.
__device__ __forceinline__ void await_cluster(barrier_t *b) {
#if __CUDA_ARCH__ >= 900
    uint32_t done;
    do {
        asm volatile(
                "{\n\t.reg .pred p;\n\tmbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], 0;\n\tselp.u32 %0, 1, 0, p;\n\t}"
                : "=r"(done)
                : "r"(shared_address(b))
                : "memory");
    } while (!done);
#endif
}

// send4 and send2 store to where p lies in the shared memory of another block,
// and report the bytes to the barrier that lies there where b does here.
__device__ __forceinline__ void send4(float4 *p, barrier_t *b, int rank, const float4 &v) {
#if __CUDA_ARCH__ >= 900
    asm volatile(
            "{\n\t.reg .u32 to, bar;\n\tmapa.shared::cluster.u32 to, %0, %2;\n\tmapa.shared::cluster.u32 bar, %1, %2;\n\t"
            "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [to], {%3, %4, %5, %6}, [bar];\n\t}" ::"r"(shared_address(p)),
            "r"(shared_address(b)), "r"(rank), "f"(v.x), "f"(v.y), "f"(v.z), "f"(v.w)
            : "memory");
#endif
}

__device__ __forceinline__ void send2(float2 *p, barrier_t *b, int rank, const float2 &v) {
#if __CUDA_ARCH__ >= 900
    asm volatile(
            "{\n\t.reg .u32 to, bar;\n\tmapa.shared::cluster.u32 to, %0, %2;\n\tmapa.shared::cluster.u32 bar, %1, %2;\n\t"
            "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [to], {%3, %4}, [bar];\n\t}" ::"r"(shared_address(p)),
            "r"(shared_address(b)), "r"(rank), "f"(v.x), "f"(v.y)
            : "memory");
#endif
}

// Work is what a block does: every tile from tile to end, blocks apart, one
// a warp in turn. Each holds a position that counts.
struct Work {
    int token, kv_head, head, count;  // the first of count query heads
    int first, last;                  // positions that the token sees; last is its own
    int block, blocks, clusters;      // of those with work
    int tile, end;
};

template <int W> __device__ __forceinline__ Work work_of(const AttendCluster &a) {
    Work w;
    w.token = blockIdx.z;
    w.kv_head = blockIdx.y / a.parts;
    const int part = (blockIdx.y - w.kv_head * a.parts) * HEADS;
    w.head = w.kv_head * a.group + part, w.count = min(HEADS, a.group - part);
    w.last = a.positions[w.token];
    w.first = a.window > 0 ? max(0, w.last + 1 - a.window) : 0;
    const int from = w.first / TILE;
    w.end = w.first < w.last ? (w.last + TILE - 1) / TILE : from;
    constexpr int most = CLUSTER_BLOCKS * W * TILES;
    w.clusters = min((int)gridDim.x / CLUSTER_BLOCKS, max(1, (w.end - from + most - 1) / most));
    w.block = blockIdx.x, w.blocks = w.clusters * CLUSTER_BLOCKS;
    w.tile = from + w.block;
    return w;
}

// Weight is the largest score of a head and the sum of the weights relative to it.
typedef float2 Weight;

// Share is what a block has in shared memory besides the warps' sums: the token
// itself, the weights of the warps' parts and, last, of the token's, and what
// the cluster's blocks sent for the block's columns. Rows of queries lie 16 bytes
// apart from a multiple of 128, so that the lanes of a read meet no bank twice.
template <class T, int D, int W> struct Share {
    T q[HEADS][D + 8], k[D], v[D];
    Weight part[W + 1][HEADS], sent[CLUSTER_BLOCKS][HEADS];
    __align__(16) float sums[CLUSTER_BLOCKS][HEADS][D / CLUSTER_BLOCKS];
    barrier_t arrived;
    bool is_last;
};

// ---- the token ----

__device__ __forceinline__ long long row_of(const AttendCluster &a, const int *pages, int kv_head, int position) {
    const int page = pages[position >> a.page_shift];
    return ((long long)(page * a.kv_heads + kv_head) << a.page_shift) + (position & ((1 << a.page_shift) - 1));
}

// gather reads the token: each thread 8 columns of a query, or of the key or the
// value, which the last block keeps and stores in the cache, at row.
template <class T, int D, int W>
__device__ __forceinline__ void gather(Share<T, D, W> &s, const AttendCluster &a, const Work &w, bool keeps, long long row) {
    constexpr int UNITS = D / 8;
    const float2 *angles = a.angles + (long long)w.token * a.half;
#pragma unroll 1
    for (int i = threadIdx.x; i < (w.count + (keeps ? 2 : 0)) * UNITS; i += 32 * W) {
        const int which = i / UNITS, column = i % UNITS * 8;
        const bool query = which < w.count, key = which == w.count;
        const T *from = query ? (const T *)a.q + (long long)w.token * a.q_stride + (w.head + which) * D
                        : key ? (const T *)a.new_k + (long long)w.token * a.k_stride + w.kv_head * D
                              : (const T *)a.new_v + (long long)w.token * a.v_stride + w.kv_head * D;
        const uint4 v = rotated(from, column, query || key ? a.half : 0, angles);
        *(uint4 *)((query ? s.q[which] : key ? s.k : s.v) + column) = v;
        if (!query && row >= 0) *(uint4 *)((T *)(key ? a.k : a.v) + row * D + column) = v;
    }
}

// clear_rest clears the queries of heads that there are not.
template <class T, int D, int W> __device__ __forceinline__ void clear_rest(Share<T, D, W> &s, int count) {
    constexpr int UNITS = D / 8;
#pragma unroll 1
    for (int i = count * UNITS + threadIdx.x; i < HEADS * UNITS; i += 32 * W) *(uint4 *)(s.q[i / UNITS] + i % UNITS * 8) = make_uint4(0, 0, 0, 0);
}

// own_scores scores the token's own key, a head a warp at a time, the warps that
// are least busy first.
template <class T, int D, int W>
__device__ __forceinline__ void own_scores(Share<T, D, W> &s, int count, float scale, int warp, int lane) {
#pragma unroll 1
    for (int head = W - 1 - warp; head < count; head += W) {
        float sum = 0.f;
#pragma unroll
        for (int d = 2 * lane; d < D; d += 64) {
            const float2 q = unpack2<T>(*(const uint32_t *)(s.q[head] + d)), k = unpack2<T>(*(const uint32_t *)(s.k + d));
            sum = fmaf(q.x, k.x, fmaf(q.y, k.y, sum));
        }
        sum = warp_sum(sum);
        if (lane == 0) s.part[W][head] = make_float2(sum * scale, 1.f);
    }
}

// ---- the cache ----

// Part is what a warp holds of 8 query heads. Lane 4g+t has heads 2t and 2t+1;
// sum[4c+j] holds columns 64c + 8g + 2j, for both heads, and the columns after
// them, for both heads.
template <class T, int D> struct Part {
    uint4 k[D / 32][2], v[D / 64][4];
    float sum[D / 16][4], top[2], weight[2];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int i = 0; i < D / 16; i++) sum[i][0] = sum[i][1] = sum[i][2] = sum[i][3] = 0.f;
        top[0] = top[1] = minus_infinity();
        weight[0] = weight[1] = 0.f;
    }

    // fetch_keys and fetch_values read a tile whose first position is in this row
    // of the cache, of it only the rows from low to high, which count: others may
    // never have been stored, or are stored right now. In the place of those
    // stand copies.
    __device__ __forceinline__ void fetch_keys(const void *cache, long long row, int low, int high, int lane) {
        const T *at = (const T *)cache + row * D + 8 * (lane & 3);
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const T *from = at + min(max((lane >> 2) + 8 * i, low), high) * D;
#pragma unroll
            for (int c = 0; c < D / 32; c++) k[c][i] = load16(from + 32 * c);
        }
    }

    __device__ __forceinline__ void fetch_values(const void *cache, long long row, int low, int high, int lane) {
        const T *at = (const T *)cache + row * D + 8 * (lane >> 2);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const T *from = at + min(max(2 * (lane & 3) + (i & 1) + 4 * (i & 2), low), high) * D;
#pragma unroll
            for (int c = 0; c < D / 64; c++) v[c][i] = load16(from + 64 * c);
        }
    }

    // scores are those of positions g and g+8 of the tile, for both heads.
    __device__ __forceinline__ void scores(float (&s)[4], const T (&q)[HEADS][D + 8], int lane) const {
        const T *at = q[lane >> 2] + 8 * (lane & 3);
        float even[4] = {}, odd[4] = {};
#pragma unroll
        for (int c = 0; c < D / 32; c++) {
            const uint4 x = *(const uint4 *)(at + 32 * c);
            accumulate<T>(even, k[c][0].x, k[c][1].x, k[c][0].y, k[c][1].y, x.x, x.y);
            accumulate<T>(odd, k[c][0].z, k[c][1].z, k[c][0].w, k[c][1].w, x.z, x.w);
        }
#pragma unroll
        for (int i = 0; i < 4; i++) s[i] = even[i] + odd[i];
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
            most = fmaxf(most, top[j]);  // finite: a tile has a position that counts
            const float shrink = power2(top[j] - most);
            top[j] = most;
            s[j] = power2(x - most), s[2 + j] = power2(y - most);
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

    // take adds what another warp has left; weights are spread over the lanes of
    // a head until leave.
    __device__ __forceinline__ void take(const float *sums, const Weight *weights, int count, int lane) {
        const int g = lane >> 2, t = lane & 3;
#pragma unroll
        for (int j = 0; j < 2; j++) {
            const int head = 2 * t + j;
            if (head >= count) continue;
            const Weight other = weights[head];
            const float most = fmaxf(fmaxf(top[j], other.x), LOWEST), own = power2(top[j] - most), share = power2(other.x - most);
            top[j] = most;
            weight[j] = fmaf(g == 0 ? other.y : 0.f, share, weight[j] * own);
#pragma unroll
            for (int c = 0; c < D / 64; c++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const float2 v = *(const float2 *)(sums + head * D + 64 * c + 8 * g + 2 * i);
                    float(&s)[4] = sum[4 * c + i];
                    s[j] = fmaf(v.x, share, s[j] * own), s[2 + j] = fmaf(v.y, share, s[2 + j] * own);
                }
        }
    }

    // leave writes the part to shared memory, sums [count, D].
    __device__ __forceinline__ void leave(float *sums, Weight *weights, int count, int lane) {
        const int g = lane >> 2, t = lane & 3;
#pragma unroll
        for (int j = 0; j < 2; j++) {
            const int head = 2 * t + j;
            float w = weight[j];
#pragma unroll
            for (int m = 4; m < 32; m <<= 1) w += __shfl_xor_sync(0xffffffffu, w, m);
            if (head >= count) continue;
            if (g == 0) weights[head] = make_float2(top[j], w);
#pragma unroll
            for (int c = 0; c < D / 64; c++) {
                float4 *at = (float4 *)(sums + head * D + 64 * c + 8 * g);
                const float(*s)[4] = &sum[4 * c];
                at[0] = make_float4(s[0][j], s[0][2 + j], s[1][j], s[1][2 + j]);
                at[1] = make_float4(s[2][j], s[2][2 + j], s[3][j], s[3][2 + j]);
            }
        }
    }
};

// ---- adding up ----

// Sum is a softmax of N columns that is not normalised. join adds another,
// whose weight is relative to a top that is at most this one's.
template <int N> struct Sum {
    float top, weight, value[N];

    __device__ __forceinline__ void join(const Weight &w, const float (&v)[N]) {
        const float share = power2(w.x - top);
        weight = fmaf(share, w.y, weight);
#pragma unroll
        for (int i = 0; i < N; i++) value[i] = fmaf(share, v[i], value[i]);
    }
};

// leave_all writes the parts of a block's warps to the slots: all of them, or
// first those of the second half, which the first half's warps then take and
// replace by the sum. One copy of the code serves both rounds.
template <class T, int D, int W>
__device__ __forceinline__ void leave_all(Share<T, D, W> &s, float *sums, Part<T, D> &part, int slots, int count, int warp, int lane) {
    const bool halves = slots < W, second = warp >= slots;
    const int slot = second ? warp - slots : warp;
    float *own = sums + slot * count * D;
#pragma unroll 1
    for (int round = halves ? 0 : 1; round < 2; round++) {
        if (second == (round == 0)) {
            if (halves && !second) {
                part.take(own, s.part[slot], count, lane);
                __syncwarp();
            }
            part.leave(own, s.part[slot], count, lane);
        }
        if (round == 0) __syncthreads();
    }
}

// send adds up the parts of a block, 4 columns a thread, and sends each block of
// the cluster its columns.
template <class T, int D, int W>
__device__ __forceinline__ void send(Share<T, D, W> &s, const float *sums, int slots, int count, bool keeps, int rank) {
    constexpr int OWN = D / CLUSTER_BLOCKS;
#pragma unroll 1
    for (int i = 4 * threadIdx.x; i < count * D; i += 4 * 32 * W) {
        const int head = i / D, d = i % D;
        Sum<4> r = {LOWEST};
#pragma unroll
        for (int w = 0; w < W; w++)
            if (w < slots) r.top = fmaxf(r.top, s.part[w][head].x);
        if (keeps) r.top = fmaxf(r.top, s.part[W][head].x);
#pragma unroll
        for (int w = 0; w < W; w++) {
            if (w >= slots) break;
            const float4 v = *(const float4 *)(sums + w * count * D + i);
            r.join(s.part[w][head], {v.x, v.y, v.z, v.w});
        }
        if (keeps) {
            const float2 a = unpack2<T>(*(const uint32_t *)(s.v + d)), b = unpack2<T>(*(const uint32_t *)(s.v + d + 2));
            r.join(s.part[W][head], {a.x, a.y, b.x, b.y});
        }
        send4((float4 *)&s.sums[rank][head][d % OWN], &s.arrived, d / OWN, make_float4(r.value[0], r.value[1], r.value[2], r.value[3]));
        if (d < 4 * CLUSTER_BLOCKS) send2(&s.sent[rank][head], &s.arrived, d / 4, make_float2(r.top, r.weight));
    }
}

// received adds up what the blocks of the cluster have sent of a column.
template <class T, int D, int W> __device__ __forceinline__ Sum<1> received(const Share<T, D, W> &s, int head, int d) {
    Sum<1> r = {LOWEST};
#pragma unroll
    for (int b = 0; b < CLUSTER_BLOCKS; b++) r.top = fmaxf(r.top, s.sent[b][head].x);
#pragma unroll
    for (int b = 0; b < CLUSTER_BLOCKS; b++) r.join(s.sent[b][head], {s.sums[b][head][d]});
    return r;
}

// join_clusters leaves a block's columns in scratch memory; the last block to do
// so of those with the same columns adds up all. Slots hold a Sum for each head
// and column.
template <class T, int D, int W>
__device__ __noinline__ void join_clusters(Share<T, D, W> &s, const AttendCluster &a, T *out, int count, int clusters, int rank) {
    constexpr int OWN = D / CLUSTER_BLOCKS, SIZE = HEADS * D;
    const int pair = blockIdx.z * gridDim.y + blockIdx.y;
    float4 *slots = (float4 *)a.scratch + (long long)pair * (gridDim.x / CLUSTER_BLOCKS) * SIZE;
    float4 *slot = slots + (blockIdx.x / CLUSTER_BLOCKS) * SIZE;
    unsigned int *finished = a.finished + pair * CLUSTER_BLOCKS + rank;
    for (int i = threadIdx.x; i < count * OWN; i += 32 * W) {
        const int head = i / OWN, d = i % OWN;
        const Sum<1> r = received<T, D, W>(s, head, d);
        slot[head * D + rank * OWN + d] = make_float4(r.top, r.weight, r.value[0], 0.f);
    }
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        s.is_last = atomicAdd(finished, 1u) == (unsigned)clusters - 1;
        if (s.is_last) *finished = 0;
        __threadfence();
    }
    __syncthreads();
    if (!s.is_last) return;
    for (int i = threadIdx.x; i < count * OWN; i += 32 * W) {
        const int at = i / OWN * D + rank * OWN + i % OWN;
        float4 v[MOST_CLUSTERS];  // read together: each takes its time
#pragma unroll
        for (int c = 0; c < MOST_CLUSTERS; c++) v[c] = c < clusters ? __ldcg(slots + c * SIZE + at) : make_float4(LOWEST, 0.f, 0.f, 0.f);
        Sum<1> r = {LOWEST};
#pragma unroll
        for (int c = 0; c < MOST_CLUSTERS; c++) r.top = fmaxf(r.top, v[c].x);
#pragma unroll
        for (int c = 0; c < MOST_CLUSTERS; c++) r.join(make_float2(v[c].x, v[c].y), {v[c].z});
        out[at] = from_float<T>(__fdividef(r.value[0], r.weight));
    }
}

template <class T, int D, int W> __device__ void attend_cluster(const AttendCluster &a) {
    extern __shared__ __align__(16) float sums[];  // [slots, count, D]
    __shared__ __align__(16) Share<T, D, W> s;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, rank = cluster_rank();
    dependency_launch();
    Work w = work_of<W>(a);
    if (w.block >= w.blocks) return;  // others wait for the kernel ahead
    if (threadIdx.x == 0) {
        barrier_init(&s.arrived, 1);
        barrier_known();
        barrier_expect(&s.arrived, CLUSTER_BLOCKS * w.count * (D / CLUSTER_BLOCKS * sizeof(float) + sizeof(Weight)));
    }
    cluster_enter();
    const int *pages = a.pages + (long long)w.token * a.counts[COUNT_PAGES];
    const bool keeps = w.block == w.blocks - 1;
    const float scale = a.scale * LOG2E;
    Part<T, D> part;
    int tile = w.tile + warp * w.blocks;
    const int stride = W * w.blocks;
    auto fetch_keys = [&](int tile) {
        const int p = TILE * tile;
        part.fetch_keys(a.k, row_of(a, pages, w.kv_head, p), max(w.first - p, 0), min(w.last - 1 - p, TILE - 1), lane);
    };
    auto fetch_values = [&](int tile) {
        const int p = TILE * tile;
        part.fetch_values(a.v, row_of(a, pages, w.kv_head, p), max(w.first - p, 0), min(w.last - 1 - p, TILE - 1), lane);
    };
    if (tile < w.end) fetch_keys(tile), fetch_values(tile);
    clear_rest<T, D, W>(s, w.count);
    const bool stores = keeps && w.head == w.kv_head * a.group;
    const long long row = stores ? row_of(a, pages, w.kv_head, w.last) : -1;
    dependency_wait();
    gather<T, D, W>(s, a, w, keeps, row);
    __syncthreads();
    part.clear();
#pragma unroll 1
    while (tile < w.end) {
        const int p = TILE * tile + (lane >> 2), next = tile + stride;
        float x[4];
        part.scores(x, s.q, lane);
        if (next < w.end) fetch_keys(next);
        part.weigh(x, scale, p >= w.first && p < w.last, p + 8 >= w.first && p + 8 < w.last);
        part.add(x);
        if (next < w.end) fetch_values(next);
        tile = next;
    }
    leave_all<T, D, W>(s, sums, part, a.slots, w.count, warp, lane);
    if (keeps) own_scores<T, D, W>(s, w.count, scale, warp, lane);
    __syncthreads();
    cluster_wait();  // all blocks of the cluster are there, and their barriers
    send<T, D, W>(s, sums, a.slots, w.count, keeps, rank);
    await_cluster(&s.arrived);

    constexpr int OWN = D / CLUSTER_BLOCKS;
    T *out = (T *)a.out + (long long)w.token * a.out_stride + (long long)w.head * D;
    if (w.clusters > 1) return join_clusters<T, D, W>(s, a, out, w.count, w.clusters, rank);
#pragma unroll 1
    for (int i = threadIdx.x; i < w.count * OWN; i += 32 * W) {
        const int head = i / OWN, d = i % OWN;
        const Sum<1> r = received<T, D, W>(s, head, d);
        out[head * D + rank * OWN + d] = from_float<T>(__fdividef(r.value[0], r.weight));
    }
}

// REGISTERS lets a block run beside one of gemv.cu, the kernel ahead and the one
// behind.
#define ATTEND_CLUSTER(NAME, T, D, W, REGISTERS) \
    extern "C" __global__ void __maxnreg__(REGISTERS) attend_cluster_##NAME##_##D##_##W(const __grid_constant__ AttendCluster a) { attend_cluster<T, D, W>(a); }
#if __CUDA_ARCH__ >= 900
ATTEND_CLUSTER(bf16, bf16, 64, 4, 160)
ATTEND_CLUSTER(bf16, bf16, 64, 8, 128)
ATTEND_CLUSTER(bf16, bf16, 128, 4, 160)
ATTEND_CLUSTER(bf16, bf16, 128, 8, 144)
ATTEND_CLUSTER(f16, f16, 64, 4, 160)
ATTEND_CLUSTER(f16, f16, 64, 8, 128)
ATTEND_CLUSTER(f16, f16, 128, 4, 160)
ATTEND_CLUSTER(f16, f16, 128, 8, 144)
#endif
