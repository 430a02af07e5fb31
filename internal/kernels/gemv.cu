// Linear layers for one token: out[rows] = act(W·y + bias), or out += that,
// where y is x, or the norm of a float32 x that this kernel computes on the way.
// All that counts is how early and how steadily the weights are read.
//
// gemv_* (Hopper and later; cols a multiple of 8): a block a multiprocessor,
// eight warps, each with rows of its own and a ring of slots in shared memory,
// a slot a segment of a row. One lane fills them by bulk copies, the first time
// before the kernel waits for the one ahead.
//
// A row's dot product runs on the tensor cores, to leave the other units to
// the rest: a lane reads the same 16 bytes of y (as row g of A) and of W (as
// column g of B, lane = 4g + t), so that C[g][g] is the sum of four lanes. What
// counts is the time from the last row's arrival to its result: all reads of
// a row go ahead of its products, and the sums of GROUP rows are added together.
//
// The norm is computed by every block for itself; each stores its share of it
// for whoever reads it later.
// Launch: grid = multiprocessors, block = 256, shared as gemvPlan in gemv.go.
#include "mma.cuh"
#include "moments.cuh"
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
constexpr int GROUP = 4;    // rows that share a pass over the segments
constexpr int INPUTS = 6;   // of 8 columns of x that a thread reads at once
constexpr int NORM_CHUNKS = 8;  // of four columns of x that a thread keeps

// Segments lie in shared memory at multiples of 1 KB: the lanes read pairs of
// pieces, and what lies behind a segment's end is 0 in W and y.
__device__ __forceinline__ int pitch(const Gemv &a) { return (a.segment + 511) / 512 * 1024; }

// Order goes through a warp's rows as they are multiplied: GROUP rows of a
// segment, then the same rows of the next segment. It is what stands between
// the start of a kernel and its first copies: no products, no divisions.
struct Order {
    const char *w;
    int left, row, from;  // rows from the group on; row of the group; byte of the row
    int width, pitch;     // bytes of a segment and of a row

    __device__ __forceinline__ void next() {
        w += pitch;
        if (++row < GROUP && row < left) return;
        from += width;
        if (from == pitch) {  // w is the next row, and that the next group
            w -= from - width;
            from = 0, left -= GROUP;
        } else {
            for (; row > 0; row--) w -= pitch;
            w += width;
        }
        row = 0;
    }
};

// Ring is a warp's slots, filled by its first lane; a barrier each says when
// they are full.
struct Ring {
    char *data;
    barrier_t *full;
    int at;
    uint32_t parity;
    Order order;
    uint64_t policy;

    __device__ __forceinline__ void fill(const Gemv &a, int slot) {
        if (order.left <= 0) return;
        barrier_expect(full + slot, order.width);
        copy_bulk(data + slot * pitch(a), order.w, order.width, full + slot, policy);
        order.next();
    }

    __device__ __forceinline__ void next(const Gemv &a) {
        if (++at == a.slots) at = 0, parity ^= 1;
    }
};

__device__ __forceinline__ Ring start_ring(const Gemv &a, char *shared, int first, int count, int warp, int lane) {
    Ring r;
    r.data = shared + warp * a.slots * pitch(a);
    r.full = (barrier_t *)(shared + WARPS * a.slots * pitch(a)) + warp * a.slots;
    r.at = 0, r.parity = 0;
    r.order = {(const char *)a.w + 2ll * first * a.cols, count, 0, 0, 2 * a.segment, 2 * a.cols};
    r.policy = stream_policy();
    if (lane == 0) {
        for (int s = 0; s < a.slots; s++) barrier_init(r.full + s, 1);
        barrier_publish();
        for (int s = 0; s < a.slots; s++) r.fill(a, s);
    }
    return r;
}

// zero_gaps clears what lies behind the segments of n rows from p on.
__device__ __forceinline__ void zero_gaps(const Gemv &a, char *p, int n, int lane, int lanes) {
    if (2 * a.segment == pitch(a)) return;
    for (int s = 0; s < n; s++)
        for (int i = 2 * a.segment + 16 * lane; i < pitch(a); i += 16 * lanes) *(uint4 *)(p + s * pitch(a) + i) = make_uint4(0, 0, 0, 0);
}

// place returns where column c of y lies among the segments.
__device__ __forceinline__ int place(const Gemv &a, int c) {
    const int from = a.segment == a.cols ? 0 : c / a.segment;
    return c + from * (pitch(a) / 2 - a.segment);
}

// load_input copies x to shared memory, INPUTS pieces of a thread at a time:
// the time that counts is that from the end of the kernel ahead to the last one.
template <class T> __device__ __forceinline__ void load_input(const Gemv &a, T *y) {
    for (int from = 8 * threadIdx.x; from < a.cols; from += 8 * THREADS * INPUTS) {
        uint4 v[INPUTS];
#pragma unroll
        for (int i = 0; i < INPUTS; i++)
            if (from + 8 * THREADS * i < a.cols) v[i] = load16((const T *)a.x + from + 8 * THREADS * i);
#pragma unroll
        for (int i = 0; i < INPUTS; i++)
            if (from + 8 * THREADS * i < a.cols) *(uint4 *)(y + place(a, from + 8 * THREADS * i)) = v[i];
    }
}

// Constants is a thread's part of the norm's weights.
struct Constants {
    float4 weight[NORM_CHUNKS], bias[NORM_CHUNKS];
};

__device__ __forceinline__ void load_constants(Constants &k, const Gemv &a) {
#pragma unroll
    for (int i = 0; i < NORM_CHUNKS; i++) {
        const int c = 4 * (threadIdx.x + i * THREADS);
        k.bias[i] = make_float4(0.f, 0.f, 0.f, 0.f);
        if (c >= a.cols) continue;
        k.weight[i] = __ldg((const float4 *)(a.norm_weight + c));
        if (a.norm_bias) k.bias[i] = __ldg((const float4 *)(a.norm_bias + c));
    }
}

// normalise writes the norm of x to shared memory, and the block's share of it
// to norm_out.
template <class T> __device__ __forceinline__ void normalise(const Gemv &a, const Constants &k, T *y) {
    float v[NORM_CHUNKS][4];
#pragma unroll
    for (int i = 0; i < NORM_CHUNKS; i++) {
        const int c = 4 * (threadIdx.x + i * THREADS);
        if (c < a.cols) load_values(v[i], (const float *)a.x + c);
    }
    const float2 s = block_scale(v, a.cols / 4, a.cols, a.center, a.eps, THREADS);
#pragma unroll
    for (int i = 0; i < NORM_CHUNKS; i++) {
        const int chunk = threadIdx.x + i * THREADS, c = 4 * chunk;
        if (c >= a.cols) break;
        const float *w = &k.weight[i].x, *b = &k.bias[i].x;
        float n[4];
#pragma unroll
        for (int j = 0; j < 4; j++) n[j] = (v[i][j] - s.x) * s.y * w[j] + b[j];
        const uint2 p = make_uint2(pack2<T>(n[0], n[1]), pack2<T>(n[2], n[3]));
        *(uint2 *)(y + place(a, c)) = p;
        if (chunk % gridDim.x == blockIdx.x) *(uint2 *)((T *)a.norm_out + c) = p;
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

// store_result stores what a lane has of a row: lane r the sum of row r.
template <class T> __device__ __forceinline__ void store_result(const Gemv &a, int row, float sum, float bias, float before) {
    const float v = activate(sum + bias, a.act) + before;
    if (a.wide)
        ((float *)a.out)[row] = v;
    else
        ((T *)a.out)[row] = from_float<T>(v);
}

template <class T> __device__ __forceinline__ float load_before(const Gemv &a, int row) {
    return a.wide ? __ldcg((const float *)a.out + row) : to_float(((const T *)a.out)[row]);
}

// multiply computes rows [first, last) by one warp, in segments of P pieces.
template <class T, int P>
__device__ __forceinline__ void multiply(const Gemv &a, Ring &ring, const char *y, int first, int last, float bias, float before, int lane) {
    const int segments = a.cols / a.segment;
    uint4 piece[P];
    for (int row = first; row < last; row += GROUP) {
        const int count = min(GROUP, last - row);
        if (row != first && lane < count) {
            if (a.bias) bias = a.bias[row + lane];
            if (a.add) before = load_before<T>(a, row + lane);
        }
        float sum[GROUP] = {};
        for (int s = 0; s < segments; s++) {
            if (segments > 1 || row == first) {
                const uint4 *from = (const uint4 *)(y + s * pitch(a)) + lane;
#pragma unroll
                for (int i = 0; i < P; i++) piece[i] = from[32 * i];
            }
#pragma unroll
            for (int r = 0; r < GROUP; r++) {
                if (r >= count) break;
                barrier_wait(ring.full + ring.at, ring.parity);
                sum[r] += dot<T, P>((const uint4 *)(ring.data + ring.at * pitch(a)) + lane, piece, lane);
                __syncwarp();
                if (lane == 0) ring.fill(a, ring.at);
                ring.next(a);
            }
        }
        warp_sums(sum);
        float mine = sum[0];
#pragma unroll
        for (int r = 1; r < GROUP; r++) mine = lane == r ? sum[r] : mine;
        if (lane < count) store_result<T>(a, row + lane, mine, bias, before);
    }
}

template <class T> __device__ __forceinline__ void gemv(const Gemv &a) {
    extern __shared__ __align__(128) char shared[];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, worker = blockIdx.x * WARPS + warp;
    const int first = worker * a.share + min(worker, a.rest), last = first + a.share + (worker < a.rest);
    T *y = (T *)(shared + WARPS * a.slots * (pitch(a) + sizeof(barrier_t)));
    dependency_launch();
    Constants constants;
    if (a.norm_weight) load_constants(constants, a);  // behind the weights they would come late
    float bias = 0.f, before = 0.f;
    const bool mine = lane < min(GROUP, last - first);  // has a row of the first group
    if (mine && a.bias) bias = a.bias[first + lane];
    Ring ring = start_ring(a, shared, first, last - first, warp, lane);
    zero_gaps(a, ring.data, a.slots, lane, 32);
    zero_gaps(a, (char *)y, a.cols / a.segment, threadIdx.x, THREADS);
    __syncwarp();
    dependency_wait();
    if (mine && a.add) before = load_before<T>(a, first + lane);
    if (a.norm_weight)
        normalise<T>(a, constants, y);
    else
        load_input<T>(a, y);
    __syncthreads();
    const char *in = (const char *)y;
    switch ((a.segment + 511) / 512) {
    case 1: return multiply<T, 2>(a, ring, in, first, last, bias, before, lane);
    case 2: return multiply<T, 4>(a, ring, in, first, last, bias, before, lane);
    case 3: return multiply<T, 6>(a, ring, in, first, last, bias, before, lane);
    case 4: return multiply<T, 8>(a, ring, in, first, last, bias, before, lane);
    case 5: return multiply<T, 10>(a, ring, in, first, last, bias, before, lane);
    case 6: return multiply<T, 12>(a, ring, in, first, last, bias, before, lane);
    }
}

#if __CUDA_ARCH__ >= 900
extern "C" __global__ void __launch_bounds__(THREADS, 1) gemv_bf16(const __grid_constant__ Gemv a) { gemv<bf16>(a); }
extern "C" __global__ void __launch_bounds__(THREADS, 1) gemv_f16(const __grid_constant__ Gemv a) { gemv<f16>(a); }
#endif
