// Products of one token by rings of weights: what gemv.cu and moe_enter.cu share.
//
// What runs between the start of a block and its first copies is on the path of
// every token, and so is what runs behind the last copy. Both are short and
// straight: an instance holds the code of its width alone, because
// instructions come through the same queues as the weights.
//
// A row's dot product runs on the tensor cores, to leave the other units to
// the rest: a lane reads the same 16 bytes of y (as row g of A) and of W (as
// column g of B, lane = 4g + t), so that C[g][g] is the sum of four lanes.
//
// The norm is computed by every block for itself; each stores its share of it
// for whoever reads it later.
#pragma once
#include "mma.cuh"
#include "rows.cuh"

// Gemv is gemvArgs in gemv.go.
struct Gemv {
    const void *w;      // [rows, cols] without gaps
    const void *x;      // [cols], float32 with a norm
    const float *bias;  // [rows], or null
    void *out;          // [rows]
    const float *norm_weight, *norm_bias;  // [cols] or null
    void *norm_out;                        // [cols]
    int rows, cols;
    int act, add, wide;  // wide: out is float32
    int center;          // of the norm: LayerNorm
    float eps;
    int segment;   // columns of a slot: a divisor of cols, and a multiple of 8
    int slots;     // of a warp
    int share, rest;  // rows of a warp; warps that have one more
};

constexpr int WARPS = 8, THREADS = 32 * WARPS;
constexpr int ROWS = 4;  // that go through several segments together

// Shape is what an instance knows of its matrices: how many pieces a lane reads
// of a segment, whether a row has several segments, and of those, whether x is
// to be normalised. Slots lie PITCH bytes apart; what is behind a segment's end
// is 0 in W and y.
template <int PIECES, bool SEVERAL, bool NORM> struct Shape {
    static constexpr int P = PIECES, PITCH = 512 * P;
    static constexpr bool MANY = SEVERAL;
    static constexpr int BATCH = MANY ? ROWS : 32;  // rows whose results are stored together
    static __device__ __forceinline__ bool norms(const Gemv &a) { return MANY ? NORM : a.norm_weight != nullptr; }
    static constexpr int CHUNKS = MANY ? 8 : (P + 3) / 4;  // of four columns of a norm that a thread keeps
};

// Order goes through a warp's rows as they are multiplied. Of single segments
// it is the order in memory.
template <class S> struct Order {
    const char *w;
    int left, row, from;  // rows from the batch on; row of the batch; byte of the row
    int width, pitch;     // bytes of a segment and of a row

    __device__ __forceinline__ void next() {
        w += pitch;
        if constexpr (!S::MANY) {
            left--;
            return;
        }
        if (++row < S::BATCH && row < left) return;
        from += width;
        w += width - row * pitch;
        if (from == pitch) w += row * pitch - pitch, from = 0, left -= row;
        row = 0;
    }
};

// Ring is a warp's slots, filled by its first lane; a barrier each says when
// they are full.
template <class S> struct Ring {
    char *data;
    barrier_t *full;
    int at, slots;
    uint32_t parity;
    Order<S> order;
    uint64_t policy;

    __device__ __forceinline__ void fill(int slot) {
        if (order.left <= 0) return;
        barrier_expect(full + slot, order.width);
        copy_bulk(data + slot * S::PITCH, order.w, order.width, full + slot, policy);
        order.next();
    }

    __device__ __forceinline__ void next() {
        if (++at == slots) at = 0, parity ^= 1;
    }
};

// barriers_ready orders the barriers' initialisation ahead of copies that
// report to them. A fence of all memory would wait for the loads that are under
// way, too: a kernel's worth of time.
__device__ __forceinline__ void barriers_ready() {
#if __CUDA_ARCH__ >= 900
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}

template <class S> __device__ __forceinline__ Ring<S> start_ring(const Gemv &a, char *shared, int first, int count, int warp, int lane) {
    Ring<S> r;
    r.data = shared + warp * a.slots * S::PITCH;
    r.full = (barrier_t *)(shared + WARPS * a.slots * S::PITCH) + warp * a.slots;
    r.at = 0, r.slots = a.slots, r.parity = 0;
    r.order = {(const char *)a.w + 2ll * first * a.cols, count, 0, 0, 2 * a.segment, 2 * a.cols};
    r.policy = stream_policy();
    if (lane == 0) {
#pragma unroll 1
        for (int s = 0; s < a.slots; s++) barrier_init(r.full + s, 1);
        barriers_ready();
#pragma unroll 1
        for (int s = 0; s < a.slots; s++) r.fill(s);
    }
    return r;
}

// zero_gaps clears what lies behind the segments of n slots from p on.
template <class S> __device__ __forceinline__ void zero_gaps(const Gemv &a, char *p, int n, int lane, int lanes) {
    const int gap = (S::PITCH - 2 * a.segment) / 16;
#pragma unroll 1
    for (int s = 0; s < n; s++)
#pragma unroll 1
        for (int i = lane; i < gap; i += lanes) *(uint4 *)(p + s * S::PITCH + 2 * a.segment + 16 * i) = make_uint4(0, 0, 0, 0);
}

// place returns where column c of y lies among the segments; per_segment is
// 1/segment.
template <class S> __device__ __forceinline__ int place(const Gemv &a, float per_segment, int c) {
    if constexpr (!S::MANY) return c;
    const int s = int((c + 0.5f) * per_segment);  // exact for less than 2^20 columns
    return c + s * (S::PITCH / 2 - a.segment);
}

// load_input copies x to shared memory, CHUNKS pieces of a thread at a time:
// the time that counts is that from the end of the kernel ahead to the last one.
template <class T, class S> __device__ __forceinline__ void load_input(const Gemv &a, float per_segment, T *y) {
    constexpr int AT_ONCE = S::MANY ? 6 : (S::P + 7) / 8;
#pragma unroll 1
    for (int from = 8 * threadIdx.x; from < a.cols; from += 8 * THREADS * AT_ONCE) {
        uint4 v[AT_ONCE];
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++)
            if (from + 8 * THREADS * i < a.cols) v[i] = load16((const T *)a.x + from + 8 * THREADS * i);
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++)
            if (from + 8 * THREADS * i < a.cols) *(uint4 *)(y + place<S>(a, per_segment, from + 8 * THREADS * i)) = v[i];
    }
}

// Constants is a thread's part of what a norm needs beside x.
template <class S> struct Constants {
    float4 weight[S::CHUNKS], bias[S::CHUNKS];
    float count, each;  // values of the thread's warp, and 1/count
    float width;        // 1/cols
    int from, to;       // chunks that the block stores
};

template <class S> __device__ __forceinline__ void load_constants(Constants<S> &k, const Gemv &a) {
#pragma unroll
    for (int i = 0; i < S::CHUNKS; i++) {
        const int c = 4 * (threadIdx.x + i * THREADS);
        k.weight[i] = k.bias[i] = make_float4(0.f, 0.f, 0.f, 0.f);
        if (c < a.cols) k.weight[i] = __ldg((const float4 *)(a.norm_weight + c));
        if (c < a.cols && a.norm_bias) k.bias[i] = __ldg((const float4 *)(a.norm_bias + c));
    }
}

// share_norm finds out what does not depend on x.
template <class S> __device__ __forceinline__ void share_norm(Constants<S> &k, const Gemv &a) {
    const int chunks = a.cols / 4, first = threadIdx.x & ~31;
    int n = 0;
#pragma unroll
    for (int i = 0; i < S::CHUNKS; i++) n += min(max(chunks - first - i * THREADS, 0), 32);
    k.count = 4 * n;
    k.each = n > 0 ? __fdividef(1.f, k.count) : 0.f;
    k.width = __fdividef(1.f, (float)a.cols);
    const int own = (chunks + gridDim.x - 1) / gridDim.x;
    k.from = blockIdx.x * own, k.to = k.from + own;
}

// scale_of returns the mean of all threads' values (0 unless center) and
// rsqrt(mean((x - mean)²) + eps). Values beyond the columns are 0; center is
// the same for all.
template <class S>
__device__ __forceinline__ float2 scale_of(const float (&v)[S::CHUNKS][4], const Constants<S> &k, const Gemv &a) {
    __shared__ float4 part[WARPS];
    float sum = 0.f, mean = 0.f, squares = 0.f;
    if (a.center) {
#pragma unroll
        for (int i = 0; i < S::CHUNKS; i++) sum += (v[i][0] + v[i][1]) + (v[i][2] + v[i][3]);
        mean = warp_sum(sum) * k.each;
    }
#pragma unroll
    for (int i = 0; i < S::CHUNKS; i++)
        if (4 * (threadIdx.x + i * THREADS) < a.cols)
#pragma unroll
            for (int j = 0; j < 4; j++) squares = fmaf(v[i][j] - mean, v[i][j] - mean, squares);
    squares = warp_sum(squares);
    if ((threadIdx.x & 31) == 0) part[threadIdx.x >> 5] = make_float4(k.count, mean, squares, 0.f);
    __syncthreads();
    float4 p[WARPS];
    float whole = 0.f, about = 0.f;
#pragma unroll
    for (int w = 0; w < WARPS; w++) p[w] = part[w], whole = fmaf(p[w].x, p[w].y, whole);
    whole *= k.width;
#pragma unroll
    for (int w = 0; w < WARPS; w++) about += fmaf(p[w].x * (p[w].y - whole), p[w].y - whole, p[w].z);
    return make_float2(whole, rsqrtf(fmaf(about, k.width, a.eps)));
}

// normalise writes the norm of x to shared memory, and the block's share of it
// to norm_out.
template <class T, class S> __device__ __forceinline__ void normalise(const Gemv &a, const Constants<S> &k, float per_segment, T *y) {
    float v[S::CHUNKS][4] = {};
#pragma unroll
    for (int i = 0; i < S::CHUNKS; i++) {
        const int c = 4 * (threadIdx.x + i * THREADS);
        if (c < a.cols) load_values(v[i], (const float *)a.x + c);
    }
    const float2 s = scale_of<S>(v, k, a);
#pragma unroll
    for (int i = 0; i < S::CHUNKS; i++) {
        const int chunk = threadIdx.x + i * THREADS, c = 4 * chunk;
        if (c >= a.cols) break;
        const float *w = &k.weight[i].x, *b = &k.bias[i].x;
        float n[4];
#pragma unroll
        for (int j = 0; j < 4; j++) n[j] = fmaf((v[i][j] - s.x) * s.y, w[j], b[j]);
        const uint2 p = make_uint2(pack2<T>(n[0], n[1]), pack2<T>(n[2], n[3]));
        *(uint2 *)(y + place<S>(a, per_segment, c)) = p;
        if (chunk >= k.from && chunk < k.to) *(uint2 *)((T *)a.norm_out + c) = p;
    }
}

// dot returns a lane's part of the product of a segment of P pieces with y.
template <class T, int P> __device__ __forceinline__ float dot(const uint4 *w, const uint4 (&y)[P], int lane) {
    float c[4] = {}, d[4] = {}, e[4] = {}, f[4] = {};
    uint4 v[P];
#pragma unroll
    for (int i = 0; i < P; i++) v[i] = w[i * 32];
#pragma unroll
    for (int i = 0; i < P; i += 2) {
        accumulate<T>(c, y[i].x, 0, y[i].y, 0, v[i].x, v[i].y);
        accumulate<T>(d, y[i].z, 0, y[i].w, 0, v[i].z, v[i].w);
        accumulate<T>(e, y[i + 1].x, 0, y[i + 1].y, 0, v[i + 1].x, v[i + 1].y);
        accumulate<T>(f, y[i + 1].z, 0, y[i + 1].w, 0, v[i + 1].z, v[i + 1].w);
    }
    const int g = lane >> 2, t = lane & 3;
    const float even = (c[0] + d[0]) + (e[0] + f[0]), odd = (c[1] + d[1]) + (e[1] + f[1]);
    return t == g >> 1 ? (g & 1 ? odd : even) : 0.f;
}

// Added is what a lane's row of a batch gets beside the product.
struct Added {
    float bias, before;
};

template <class T> __device__ __forceinline__ float load_before(const Gemv &a, int row) {
    return a.wide ? __ldcg((const float *)a.out + row) : to_float(((const T *)a.out)[row]);
}

template <class T> __device__ __forceinline__ void store_result(const Gemv &a, int row, float sum, const Added &with) {
    float v = sum + with.bias;
    if (a.act == RELU2)
        v = activate(v, RELU2);
    else if (a.act != IDENTITY)
        v = activate(v, a.act);
    v += with.before;
    if (a.wide)
        ((float *)a.out)[row] = v;
    else
        ((T *)a.out)[row] = from_float<T>(v);
}

// multiply computes the rows of a warp: batches of rows, lane r of a warp
// keeping the sum of row r.
template <class T, class S>
__device__ __forceinline__ void multiply(const Gemv &a, Ring<S> &ring, const char *y, int first, int count, Added with, int lane) {
    constexpr int P = S::P;
    const int segments = S::MANY ? a.cols / a.segment : 1;
    uint4 piece[P];
#pragma unroll 1
    for (int from = 0; from < count; from += S::BATCH) {
        const int rows = min(S::BATCH, count - from), row = first + from + lane;
        if (from > 0 && lane < rows) {
            if (a.bias) with.bias = a.bias[row];
            if (a.add) with.before = load_before<T>(a, row);
        }
        float mine = 0.f, sum[ROWS] = {};
#pragma unroll 1
        for (int s = 0; s < segments; s++) {
            if (S::MANY || from == 0) {
#pragma unroll
                for (int i = 0; i < P; i++) piece[i] = ((const uint4 *)(y + s * S::PITCH))[lane + 32 * i];
            }
#pragma unroll 1
            for (int r = 0; r < rows; r++) {
                barrier_wait(ring.full + ring.at, ring.parity);
                const float d = dot<T, P>((const uint4 *)(ring.data + ring.at * S::PITCH) + lane, piece, lane);
                __syncwarp();
                if (lane == 0) ring.fill(ring.at);
                ring.next();
                if constexpr (S::MANY) {
#pragma unroll
                    for (int k = 0; k < ROWS; k++) sum[k] += k == r ? d : 0.f;
                } else {
                    const float all = warp_sum(d);
                    mine = lane == r ? all : mine;
                }
            }
        }
        if constexpr (S::MANY) {
            warp_sums(sum);
#pragma unroll
            for (int k = 0; k < ROWS; k++) mine = lane == k ? sum[k] : mine;
        }
        if (lane < rows) store_result<T>(a, row, mine, with);
    }
}

// Alone is the kernel without anything beside the product.
struct Alone {
    __device__ __forceinline__ void begin() {}
    template <class T> __device__ __forceinline__ void token(const T *) {}
};

// gemv is the kernel. beside is told when the block begins, ahead of its first
// copies, and when y is in shared memory, in the order of the columns unless
// rows have several segments.
template <class T, class S, class Beside> __device__ __forceinline__ void gemv(const Gemv &a, Beside beside) {
    extern __shared__ __align__(128) char shared[];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, worker = blockIdx.x * WARPS + warp;
    const int first = worker * a.share + min(worker, a.rest), count = a.share + (worker < a.rest);
    T *y = (T *)(shared + WARPS * a.slots * (S::PITCH + sizeof(barrier_t)));
    dependency_launch();
    Constants<S> constants;
    if (S::norms(a)) load_constants<S>(constants, a);  // behind the weights they would come late
    beside.begin();
    Ring<S> ring = start_ring<S>(a, shared, first, count, warp, lane);
    Added with = {0.f, 0.f};
    const bool mine = lane < min(S::BATCH, count);  // has a row of the first batch
    if (mine && a.bias) with.bias = a.bias[first + lane];
    zero_gaps<S>(a, ring.data, a.slots, lane, 32);
    zero_gaps<S>(a, (char *)y, S::MANY ? a.cols / a.segment : 1, threadIdx.x, THREADS);
    if (S::norms(a)) share_norm<S>(constants, a);
    const float per_segment = S::MANY ? __fdividef(1.f, (float)a.segment) : 0.f;
    __syncwarp();
    dependency_wait();
    if (mine && a.add) with.before = load_before<T>(a, first + lane);
    if (S::norms(a))
        normalise<T, S>(a, constants, per_segment, y);
    else
        load_input<T, S>(a, per_segment, y);
    __syncthreads();
    beside.token(y);
    multiply<T, S>(a, ring, (const char *)y, first, count, with, lane);
}

