// The middle of a mixture of experts for one token, between moe_enter.cu and
// experts_down: the choice of experts, their first products, and the second
// product of the expert that all tokens share.
//
//   ids, weights = the router's choice (choice.cuh),   hidden[k] = act(up[ids[k]]·h)
//   out += shared_down·shared_hidden
//
// moe_up_X (Hopper and later): reading weights is all that counts. Eight warps
// of each block stream rows through rings of their own. Those of the shared
// expert come first: they are on their way before the kernel waits for the one
// ahead, and while a ninth warp chooses. Every block chooses for itself; the
// first one leaves the choice for experts_down, which begins when that is done.
// Launch: grid = multiprocessors, block = 288, shared as in moe.go.
#include "choice.cuh"
#include "stream.cuh"

// Up is moeUpArgs in moe.go.
struct Up {
    const void *up, *shared_down;     // [experts, width, cols] without gaps, [cols, shared]
    const void *h, *shared_hidden;    // [cols], [shared]
    void *hidden;                     // [top_k, width]
    float *out;                       // [cols]
    const float *scores;              // [experts]
    int *ids;                         // [top_k]
    float *weights;                   // [top_k]
    Choice choice;
    int cols, width, shared;  // shared: 0 without that expert
    int slots, slot;          // of a warp's ring; bytes
    int act;
};

constexpr int MOST_CHOICES = 32;

extern __shared__ __align__(128) char shared_memory[];

// Block is what a block works on, and where things lie in its shared memory.
template <class T> struct Block {
    int first, own;          // rows of out
    int first_up, own_up;    // of the rows of all chosen experts
    barrier_t *chosen;       // 32 lanes arrive when they have chosen
    T *h, *shared_hidden;
    int *ids;                // [MOST_CHOICES]
    float *weights;          // [MOST_CHOICES]
    float *score, *bias;     // [experts]

    __device__ __forceinline__ Block(const Up &a) {
        first = own = 0;
        if (a.shared > 0) first = share(a.cols, blockIdx.x, gridDim.x), own = share(a.cols, blockIdx.x + 1, gridDim.x) - first;
        const int rows = a.choice.top_k * a.width;
        first_up = share(rows, blockIdx.x, gridDim.x), own_up = share(rows, blockIdx.x + 1, gridDim.x) - first_up;
        h = (T *)Ring::end(shared_memory, a.slots, a.slot);
        shared_hidden = h + a.cols;
        chosen = (barrier_t *)(shared_hidden + a.shared);
        ids = (int *)(chosen + 1), weights = (float *)(ids + MOST_CHOICES);
        score = weights + MOST_CHOICES, bias = score + a.choice.experts;
    }
};

// decide is the part of the ninth warp.
template <class T> __device__ __forceinline__ void decide(const Up &a, const Block<T> &block, int lane) {
    if (blockIdx.x != 0) dependency_launch();
#pragma unroll 1
    for (int e = lane; e < a.choice.experts; e += 32) block.bias[e] = a.choice.bias[e];
    Choice choice = a.choice;
    choice.bias = block.bias;
    __syncwarp();
    dependency_wait();
    choose<false>(choice, a.scores, block.ids, block.weights, block.score, lane);
    barrier_arrive(block.chosen);  // each lane has left its part
    if (blockIdx.x != 0) return;
    if (lane < choice.top_k) a.ids[lane] = block.ids[lane], a.weights[lane] = block.weights[lane];
    __threadfence();
    __syncwarp();
    dependency_launch();
}

// Stream is a warp that streams: rows of the block in turn, those of the shared
// expert ahead of the others.
template <class T> struct Stream {
    const Up &a;
    const Block<T> &block;
    Ring ring;
    int warp, lane;
    int all;      // rows of the warp
    int fetched;  // of them
    int into;     // slot of the next
    bool known;   // the choice

    __device__ __forceinline__ Stream(const Up &args, const Block<T> &b, int w, int l)
        : a(args), block(b), ring(shared_memory, args.slots, args.slot, w, l), warp(w), lane(l), fetched(0), into(0), known(false) {
        all = count(block.own + block.own_up);
    }

    // count returns how many of the block's first n rows are the warp's.
    __device__ __forceinline__ int count(int n) const { return max(0, (n - warp + WARPS - 1) / WARPS); }

    // fill requests rows up to the last as long as there is room behind those
    // that have been taken.
    __device__ __forceinline__ void fill(int taken, int last) {
        if (lane != 0) return;
        const int end = min(last, taken + ring.slots);
#pragma unroll 1
        for (; fetched < end; fetched++) {
            const int i = warp + fetched * WARPS, j = i - block.own;
            if (j < 0) {
                ring.fetch(into, (const T *)a.shared_down + (long long)(block.first + i) * a.shared, a.shared * (int)sizeof(T));
            } else {
                if (!known) barrier_wait(block.chosen, 0), known = true;
                const int row = block.first_up + j, k = row / a.width;
                ring.fetch(into, (const T *)a.up + ((long long)block.ids[k] * a.width + (row - k * a.width)) * a.cols, a.cols * (int)sizeof(T));
            }
            if (++into == ring.slots) into = 0;
        }
    }

    // take multiplies the warp's row i.
    __device__ __forceinline__ float take(int i) {
        const bool up = warp + i * WARPS >= block.own;
        barrier_wait(ring.full + ring.at, ring.parity);
        const float part = dot_row<T>(
            (const uint4 *)(ring.data + ring.at * ring.bytes), (const uint4 *)(up ? block.h : block.shared_hidden), (up ? a.cols : a.shared) / 8, lane);
        __syncwarp();
        fill(i + 1, all);
        ring.next();
        return warp_sum(part);
    }

    // run takes all rows, 32 results at a time, a lane each.
    __device__ __forceinline__ void run() {
        const int known_rows = count(block.own);
        fill(0, known_rows);
        dependency_wait();
        copy_all((char *)block.h, a.h, a.cols / 8);
        copy_all((char *)block.shared_hidden, a.shared_hidden, a.shared / 8);
        int row = warp + lane * WARPS;  // of the block, the lane's
        float before = row < block.own ? __ldcg(a.out + block.first + row) : 0.f;
        await_copies<0>();
        asm volatile("bar.sync 1, %0;" ::"n"(THREADS) : "memory");
        fill(0, all);
#pragma unroll 1
        for (int from = 0; from < all; from += 32) {
            if (from > 0) {
                row = warp + (from + lane) * WARPS;
                before = row < block.own ? __ldcg(a.out + block.first + row) : 0.f;
            }
            const int n = min(32, all - from);
            float mine = 0.f;
#pragma unroll 1
            for (int i = 0; i < n; i++) {
                const float v = take(from + i);
                mine = lane == i ? v : mine;
            }
            if (lane >= n) continue;
            if (row < block.own)
                a.out[block.first + row] = before + mine;
            else
                ((T *)a.hidden)[block.first_up + row - block.own] = from_float<T>(activate(mine, a.act));
        }
    }
};

template <class T> __device__ __forceinline__ void moe_up(const Up &a) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const Block<T> block(a);
    if (threadIdx.x == 0) {
        barrier_init(block.chosen, 32);
        barrier_publish();
    }
    __syncthreads();
    if (warp == WARPS)
        decide<T>(a, block, lane);
    else
        Stream<T>(a, block, warp, lane).run();
}

#if __CUDA_ARCH__ >= 900
extern "C" __global__ void __launch_bounds__(THREADS + 32, 1) moe_up_bf16(const __grid_constant__ Up a) { moe_up<bf16>(a); }
extern "C" __global__ void __launch_bounds__(THREADS + 32, 1) moe_up_f16(const __grid_constant__ Up a) { moe_up<f16>(a); }
#endif
