// The routed experts of a mixture: Σ weight·down(act(up x)) over the choices of
// each row. A choice is one expert of one row, number row·TopK + k. Sorted by
// expert, and by number within an expert, choices stand at places; a tile is up
// to TOKENS neighbouring places of one expert.
//
// experts_sort: order of the choices, and the tiles. Each warp counts its part
// of the choices by expert, then all begin where the counts say: the order does
// not depend on timing. Launch: one block of 1024, shared = 4 bytes for each
// expert and counting warp.
//
// experts_tile_{bf16,f16}_{32,64,128} (compute capability 8.0 and later; rows,
// cols and the stride of x multiples of 8, addresses of 16; any activation but
// GELU): the products of all
// tiles with their experts' weights, by m16n8k16 with W as A and tokens as B.
// Blocks stay and take every gridDim-th pair of a tile and ROWS rows of W;
// pieces of 64 columns come through a ring of stages, swizzled as in gemm.cu,
// that runs on from one pair to the next. Groups of 16 places that a tile does
// not fill cost nothing. Launch: grid = blocks that fit the device, block and
// shared as in experts.go.
//
// experts_dot_W_X: the same for any type, size and alignment, a warp a row of a
// tile of at most 8. Launch: grid = any, block = 256.
//
// experts_sum_A: out = Σ weight·term of each row's choices, in order, or
// out += that. Launch: grid = (columns / (128·V), n), block = 128, of V columns
// each: 16 bytes of A, or 1 in experts_sum_any_A.
//
// experts_up_{bf16,f16}, experts_down_{bf16,f16} (Hopper and later; one token;
// cols a multiple of 8): reading weights is all that counts. Each warp streams
// rows of W through a ring of its own in shared memory by bulk copies.
// experts_down begins to fill its ring while experts_up, which follows the
// routing, still runs. A block adds the parts of its rows in order.
// Launch: grid = multiprocessors, block = 256, shared as in experts.go.
#include "mma.cuh"
#include "rows.cuh"
#include "stream.cuh"

constexpr unsigned int ALL = 0xffffffffu;

extern __shared__ __align__(1024) char shared[];

// ---- order ----

// SortArgs is sortArgs in experts.go.
struct SortArgs {
    const int *ids;  // [choices] experts
    int *order;      // [places] choices
    int4 *tiles;     // expert, first place, places
    int *count;      // tiles
    int choices, experts;
    int tile;   // places of a tile, at most
    int warps;  // that count
};

constexpr int SORT_WARPS = 32, AHEAD = 8;

// each_batch calls visit with the choices of a warp's part, 32 at a time: the
// choice and its expert, -1 past the end.
template <class F> __device__ __forceinline__ void each_batch(const SortArgs &a, int from, int to, int lane, F visit) {
    for (int i = from; i < to; i += 32 * AHEAD) {
        int expert[AHEAD];
#pragma unroll
        for (int j = 0; j < AHEAD; j++) {
            const int choice = i + 32 * j + lane;
            expert[j] = choice < to ? __ldcg(a.ids + choice) : -1;
        }
#pragma unroll
        for (int j = 0; j < AHEAD; j++)
            if (i + 32 * j < to) visit(i + 32 * j + lane, expert[j]);
    }
}

// advance adds the lanes' experts to a warp's counters, and returns what the
// counter of a lane's expert was before it in the order of lanes.
__device__ __forceinline__ int advance(int *counters, int expert, int lane) {
    const unsigned int same = __match_any_sync(ALL, expert);
    const int before = __popc(same & ((1u << lane) - 1)), base = expert < 0 ? 0 : counters[expert];
    __syncwarp();
    if (before == 0 && expert >= 0) counters[expert] = base + __popc(same);
    __syncwarp();
    return base + before;
}

// scan_block returns the sum of v over the threads before this one. The block
// has 32 warps; v is two numbers in one.
__device__ __forceinline__ uint64_t scan_block(uint64_t v, uint64_t *sums, int warp, int lane) {
    uint64_t sum = v;
#pragma unroll
    for (int d = 1; d < 32; d *= 2) {
        const uint64_t other = __shfl_up_sync(ALL, sum, d);
        if (lane >= d) sum += other;
    }
    if (lane == 31) sums[warp] = sum;
    __syncthreads();
    uint64_t before = 0;
    for (int w = 0; w < warp; w++) before += sums[w];
    return before + sum - v;
}

extern "C" __global__ void __launch_bounds__(32 * SORT_WARPS) experts_sort(const __grid_constant__ SortArgs a) {
    __shared__ uint64_t sums[SORT_WARPS];
    int *counters = (int *)shared;  // [warps, experts]
    const int tid = threadIdx.x, lane = tid & 31, warp = tid >> 5;
    dependency_launch();
    dependency_wait();
    for (int i = tid; i < a.warps * a.experts; i += 32 * SORT_WARPS) counters[i] = 0;
    __syncthreads();
    const int part = ((a.choices + a.warps - 1) / a.warps + 31) & ~31;
    const int from = min(a.choices, warp * part), to = warp < a.warps ? min(a.choices, from + part) : from;
    int *own = counters + warp * a.experts;
    each_batch(a, from, to, lane, [&](int, int expert) { advance(own, expert, lane); });
    __syncthreads();
    int total = 0;
    for (int w = 0; w < a.warps && tid < a.experts; w++) {
        const int n = counters[w * a.experts + tid];
        counters[w * a.experts + tid] = total;
        total += n;
    }
    const int tiles = (total + a.tile - 1) / a.tile;
    const uint64_t before = scan_block((uint64_t)total << 32 | tiles, sums, warp, lane);
    const int place = (int)(before >> 32), tile = (int)(uint32_t)before;
    for (int w = 0; w < a.warps && tid < a.experts; w++) counters[w * a.experts + tid] += place;
    for (int i = 0; i < tiles; i++)
        a.tiles[tile + i] = make_int4(tid, place + i * a.tile, min(a.tile, total - i * a.tile), 0);
    if (tid == 32 * SORT_WARPS - 1) *a.count = tile + tiles;
    __syncthreads();
    each_batch(a, from, to, lane, [&](int choice, int expert) {
        const int at = advance(own, expert, lane);
        if (expert >= 0) a.order[at] = choice;
    });
}

// ---- products ----

// ExpertArgs is expertArgs in experts.go.
struct ExpertArgs {
    const void *w;     // [experts, rows, cols] without gaps
    const void *x;     // [n, cols], or [places, cols]
    void *out;         // [places, rows], or [choices, rows], of the type of x
    const int *order;  // [places] choices
    const int4 *tiles;
    const int *count;  // tiles
    int rows, cols;
    int x_stride;  // elements
    int top_k;     // choices of a row of x; 0: x has a row a place, and out a row a choice
    int act;
    int unused;
};

// source_row returns the row of x for a place, target_row that of out.
__device__ __forceinline__ int source_row(const ExpertArgs &a, int place) { return a.top_k ? __ldcg(a.order + place) / a.top_k : place; }
__device__ __forceinline__ int target_row(const ExpertArgs &a, int place) { return a.top_k ? place : __ldcg(a.order + place); }

constexpr int DEPTH = 64;  // columns of a stage

// Tile is the shape of a block's work: a warp computes MR·16 rows for NT·8
// places.
template <int WARPS_R, int WARPS_T, int MR, int NT, int STAGES> struct Tile {
    static constexpr int warps_r = WARPS_R, warps_t = WARPS_T, mr = MR, nt = NT, stages = STAGES;
    static constexpr int rows = WARPS_R * MR * 16, tokens = WARPS_T * NT * 8;
    static constexpr int threads = 32 * WARPS_R * WARPS_T;
    static constexpr int bytes = (rows + tokens) * DEPTH * 2;  // of a stage
    static constexpr int step = threads / 8;                   // rows that one copy of each thread covers
    static_assert(rows % step == 0 && tokens % step == 0 && NT % 2 == 0, "whole copies");
};

// swizzled returns where chunk c of row r of a stage lies.
__device__ __forceinline__ uint32_t swizzled(int r, int c) { return r * (DEPTH * 2) + ((c ^ (r & 7)) << 4); }

// copy_weights is copy_chunk that has the second-level cache fetch what follows.
__device__ __forceinline__ void copy_weights(uint32_t to, const void *from, bool present) {
#if __CUDA_ARCH__ >= 800
    const int bytes = present ? 16 : 0;
    asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
#endif
}

// transpose swaps rows and columns of an 8×8 matrix of 16-bit numbers, of which
// lane 4·g + t holds columns 2t and 2t+1 of row g.
__device__ __forceinline__ uint32_t transpose(uint32_t v) {
    uint32_t r = v;
#if __CUDA_ARCH__ >= 750
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(r) : "r"(v));
#endif
    return r;
}

// KEPT is the number of tiles whose copies may be under way, at least stages.
constexpr int KEPT = 16;

// Source starts the copies of a block's stages, one after the other.
template <class T, class S> struct Source {
    const ExpertArgs &a;
    int4 *tiles;  // [KEPT] of the pairs: those that are multiplied come later
    uint32_t base;
    int items, row_tiles, pieces;
    int item, piece, stage, opened;
    int row, places;
    const T *w;
    int from[S::tokens / S::step];  // rows of x

    __device__ __forceinline__ Source(const ExpertArgs &args, int4 *kept, uint32_t stages) : a(args), tiles(kept), base(stages) {
        row_tiles = (a.rows + S::rows - 1) / S::rows, pieces = (a.cols + DEPTH - 1) / DEPTH;
        items = __ldcg(a.count) * row_tiles;
        item = blockIdx.x, piece = stage = opened = 0;
    }

    // open looks up what the next pair is made of.
    __device__ __forceinline__ void open() {
        const int4 tile = __ldcg(a.tiles + item / row_tiles);
        if (threadIdx.x == 0) tiles[opened % KEPT] = tile;
        opened++;
        row = item % row_tiles * S::rows, places = tile.z;
        w = (const T *)a.w + ((long long)tile.x * a.rows + row) * a.cols;
#pragma unroll
        for (int i = 0; i < S::tokens / S::step; i++) {
            const int r = (threadIdx.x >> 3) + i * S::step;
            from[i] = r < places ? source_row(a, tile.y + r) : -1;
        }
    }

    // copy starts the copies of the next stage, if there is one.
    __device__ __forceinline__ void copy() {
        if (item < items) {
            if (piece == 0) open();
            const int r = threadIdx.x >> 3, c = threadIdx.x & 7, k = piece * DEPTH + 8 * c;
            const uint32_t to = base + stage * S::bytes;
#pragma unroll
            for (int i = 0; i < S::rows / S::step; i++) {
                const int at = r + i * S::step;
                const bool present = row + at < a.rows && k < a.cols;
                copy_weights(to + swizzled(at, c), present ? w + (long long)at * a.cols + k : w, present);
            }
#pragma unroll
            for (int i = 0; i < S::tokens / S::step; i++) {
                const int at = r + i * S::step;
                if ((at & ~15) >= places) continue;  // of a group that nothing is multiplied with
                const bool present = from[i] >= 0 && k < a.cols;
                const T *x = (const T *)a.x;
                copy_chunk(to + swizzled(S::rows + at, c), present ? x + (long long)from[i] * a.x_stride + k : x, present);
            }
            if (++piece == pieces) piece = 0, item += gridDim.x;
            if (++stage == S::stages) stage = 0;
        }
        end_copies();
    }
};

// multiply_stage adds the products of one stage to a warp's sums, for so many
// groups of 16 places; FULL: for all.
template <class T, class S, bool FULL>
__device__ __forceinline__ void multiply_stage(float (&sum)[S::mr][S::nt][4], uint32_t w, uint32_t x, int groups, int lane) {
    const int m = lane & 15, half = lane >> 4;                           // W: row and chunk a lane points at
    const int n = (lane & 7) + ((lane >> 4) << 3), odd = lane >> 3 & 1;  // x: the same
#pragma unroll
    for (int k = 0; k < DEPTH / 16; k++) {
        uint32_t p[S::mr][4];
#pragma unroll
        for (int i = 0; i < S::mr; i++) load_matrices(p[i], w + swizzled(16 * i + m, 2 * k + half));
#pragma unroll
        for (int j = 0; j < S::nt / 2; j++) {
            if (!FULL && j >= groups) break;
            uint32_t q[4];
            load_matrices(q, x + swizzled(16 * j + n, 2 * k + odd));
#pragma unroll
            for (int i = 0; i < S::mr; i++) {
                accumulate<T>(sum[i][2 * j], p[i][0], p[i][1], p[i][2], p[i][3], q[0], q[1]);
                accumulate<T>(sum[i][2 * j + 1], p[i][0], p[i][1], p[i][2], p[i][3], q[2], q[3]);
            }
        }
    }
}

// shaped is activate without GELU, which is too long to stand in a kernel a
// hundred times.
__device__ __forceinline__ float shaped(float v, int act) {
    if (act == IDENTITY) return v;
    if (act == RELU2) return activate(v, RELU2);
    return v * sigmoid(act == SILU ? v : 1.5957691216057308f * (v + 0.044715f * v * v * v));
}

// store_tile applies the activation and stores a warp's sums, from place and
// row on. A lane holds two places of a row and stores two rows of a place.
template <class T, class S>
__device__ __forceinline__ void store_tile(const ExpertArgs &a, const float (&sum)[S::mr][S::nt][4], int row, int place, int places, int lane) {
#pragma unroll
    for (int j = 0; j < S::nt; j++) {
        if (8 * j >= places) break;
        const int own = 8 * j + (lane >> 2);
        const int target = own < places ? target_row(a, place + own) : 0;
        T *out = (T *)a.out + (long long)target * a.rows;
#pragma unroll
        for (int i = 0; i < S::mr; i++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const uint32_t v = transpose(pack2<T>(shaped(sum[i][j][2 * h], a.act), shaped(sum[i][j][2 * h + 1], a.act)));
                const int r = row + 16 * i + 8 * h + 2 * (lane & 3);
                if (own < places && r < a.rows) *(uint32_t *)(out + r) = v;
            }
    }
}

template <class T, class S> __device__ __forceinline__ void experts_tile(const ExpertArgs &a) {
    __shared__ int4 tiles[KEPT];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const int wr = warp % S::warps_r * S::mr * 16, wt = warp / S::warps_r * S::nt * 8;  // the warp's rows and places of a tile
    const uint32_t base = shared_address(shared);
    dependency_launch();
    dependency_wait();
    Source<T, S> source(a, tiles, base);
    for (int i = 0; i < S::stages - 1; i++) source.copy();
    int stage = 0, seen = 0;
    for (int item = blockIdx.x; item < source.items; item += gridDim.x) {
        float sum[S::mr][S::nt][4] = {};
        int4 tile = make_int4(0, 0, 0, 0);
        for (int piece = 0; piece < source.pieces; piece++) {
            await_copies<S::stages - 2>();
            __syncthreads();
            if (piece == 0) tile = tiles[seen++ % KEPT];
            source.copy();  // over the stage that all warps have left
            const uint32_t w = base + stage * S::bytes, x = w + (S::rows + wt) * DEPTH * 2;
            const int groups = (tile.z - wt + 15) / 16;
            if (groups >= S::nt / 2)
                multiply_stage<T, S, true>(sum, w + wr * DEPTH * 2, x, groups, lane);
            else
                multiply_stage<T, S, false>(sum, w + wr * DEPTH * 2, x, groups, lane);
            if (++stage == S::stages) stage = 0;
        }
        store_tile<T, S>(a, sum, item % source.row_tiles * S::rows + wr, tile.y + wt, tile.z - wt, lane);
    }
}

#if __CUDA_ARCH__ >= 800
#define TILE(NAME, T, SHAPE, BLOCKS, ...)                                                              \
    extern "C" __global__ void __launch_bounds__(Tile<__VA_ARGS__>::threads, BLOCKS)                   \
        experts_tile_##NAME##_##SHAPE(const __grid_constant__ ExpertArgs a) {                          \
        experts_tile<T, Tile<__VA_ARGS__>>(a);                                                         \
    }
#define SHAPES(NAME, T)                   \
    TILE(NAME, T, 32, 2, 4, 1, 1, 4, 8)   \
    TILE(NAME, T, 64, 2, 4, 1, 2, 8, 4)   \
    TILE(NAME, T, 128, 2, 2, 2, 4, 8, 3)
SHAPES(bf16, bf16)
SHAPES(f16, f16)
#endif

// ---- any type ----

constexpr int DOTS = 8;  // places of a tile

// dot_tile adds the products of one row of W with up to eight rows of x, each
// lane its part of the columns. Lane i holds the number of row i.
template <class W, class X>
__device__ __forceinline__ void dot_tile(float (&sum)[DOTS], const ExpertArgs &a, const W *w, int from, int n, bool vectors, int lane) {
    const X *x[DOTS];
#pragma unroll
    for (int i = 0; i < DOTS; i++) x[i] = (const X *)a.x + (long long)__shfl_sync(ALL, from, i) * a.x_stride;
    if (vectors) {
        for (int k = lane * 8; k < a.cols; k += 256) {
            float v[8], y[8];
            load_values<W, 8>(v, w + k);
#pragma unroll
            for (int i = 0; i < DOTS; i++) {
                if (i >= n) break;
                load_values<X, 8>(y, x[i] + k);
#pragma unroll
                for (int j = 0; j < 8; j++) sum[i] += v[j] * y[j];
            }
        }
        return;
    }
    for (int k = lane; k < a.cols; k += 32) {
        const float v = to_float(w[k]);
#pragma unroll
        for (int i = 0; i < DOTS; i++)
            if (i < n) sum[i] += v * to_float(x[i][k]);
    }
}

template <class W, class X> __device__ __forceinline__ void experts_dot(const ExpertArgs &a) {
    const int lane = threadIdx.x & 31;
    dependency_launch();
    dependency_wait();
    const bool vectors = a.cols % 8 == 0 && aligned16(a.w) && aligned16(a.x, (long long)a.x_stride * sizeof(X));
    const int items = __ldcg(a.count) * a.rows;
    for (int item = blockIdx.x * 8 + (threadIdx.x >> 5); item < items; item += gridDim.x * 8) {
        const int4 tile = __ldcg(a.tiles + item / a.rows);
        const int row = item % a.rows;
        const int from = lane < tile.z ? source_row(a, tile.y + lane) : 0;
        float sum[DOTS] = {};
        dot_tile<W, X>(sum, a, (const W *)a.w + ((long long)tile.x * a.rows + row) * a.cols, from, tile.z, vectors, lane);
        warp_sums(sum);
        float v = sum[0];
#pragma unroll
        for (int i = 1; i < DOTS; i++) v = lane == i ? sum[i] : v;
        if (lane < tile.z) ((X *)a.out)[(long long)target_row(a, tile.y + lane) * a.rows + row] = from_float<X>(activate(v, a.act));
    }
}

#define DOT(W_NAME, W, X_NAME, X)                                                                                           \
    extern "C" __global__ void __launch_bounds__(256) experts_dot_##W_NAME##_##X_NAME(const __grid_constant__ ExpertArgs a) { \
        experts_dot<W, X>(a);                                                                                               \
    }
DOT(f32, float, f32, float)
DOT(bf16, bf16, bf16, bf16)
DOT(f16, f16, f16, f16)
DOT(bf16, bf16, f32, float)
DOT(f16, f16, f32, float)

// ---- sum ----

// SumArgs is sumArgs in experts.go.
struct SumArgs {
    const void *terms;     // [n·top_k, cols]
    const float *weights;  // [n, top_k]
    void *out;             // [n, cols]
    int n, cols, top_k, out_stride;
    int add, wide;  // wide: out is float32, whatever the type of the terms
};

template <class O, int V> __device__ __forceinline__ void put(O *out, float (&v)[V], bool add) {
    if (add) {
        float before[V];
        load_values(before, out);
#pragma unroll
        for (int i = 0; i < V; i++) v[i] += before[i];
    }
    store_values(out, v);
}

template <class T, int V> __device__ __forceinline__ void experts_sum(const SumArgs &a) {
    const int c = (blockIdx.x * 128 + threadIdx.x) * V;
    dependency_launch();
    dependency_wait();
    if (c >= a.cols) return;
    for (long long row = blockIdx.y; row < a.n; row += gridDim.y) {
        const T *term = (const T *)a.terms + row * a.top_k * a.cols + c;
        const float *weight = a.weights + row * a.top_k;
        float sum[V] = {};
#pragma unroll 4
        for (int k = 0; k < a.top_k; k++) {
            float v[V];
            load_values(v, term + (long long)k * a.cols);
            const float w = __ldcg(weight + k);
#pragma unroll
            for (int i = 0; i < V; i++) sum[i] += w * v[i];
        }
        if (a.wide)
            put((float *)a.out + row * a.out_stride + c, sum, a.add);
        else
            put((T *)a.out + row * a.out_stride + c, sum, a.add);
    }
}

#define SUM(NAME, T)                                                                                                                       \
    extern "C" __global__ void __launch_bounds__(128) experts_sum_##NAME(const __grid_constant__ SumArgs a) { experts_sum<T, per16<T>>(a); } \
    extern "C" __global__ void __launch_bounds__(128) experts_sum_any_##NAME(const __grid_constant__ SumArgs a) { experts_sum<T, 1>(a); }
INSTANCES(SUM)

// ---- one token ----

// OneArgs is oneArgs in experts.go.
struct OneArgs {
    const void *w;         // [experts, rows, cols] without gaps
    const void *x;         // up: [cols]; down: [top_k, cols]
    void *out;             // up: [top_k, rows]; down: [rows]
    const int *ids;        // [top_k]
    const float *weights;  // [top_k]
    int rows, cols, top_k;
    int slots;  // of a warp's ring, a row each
    int act, add, wide;
    int unused;
};

// stream takes units first, first+step, … of the warp through its ring: source
// gives the address of a unit's row of W, take its product with the row of x
// that operand gives. begin is called once the first copies are under way.
template <class T, class Source, class Begin, class Operand, class Take>
__device__ __forceinline__ void stream(Ring &ring, int cols, int first, int last, int step, int lane, Source source, Begin begin, Operand operand, Take take) {
    int ahead = first;
    for (int i = 0; i < ring.slots && ahead < last; i++, ahead += step) {
        const void *row = source(ahead);
        if (lane == 0) ring.fetch(i, row, ring.bytes);
    }
    begin();
    for (int unit = first; unit < last; unit += step) {
        barrier_wait(ring.full + ring.at, ring.parity);
        const float part = dot_row<T>((const uint4 *)(ring.data + ring.at * ring.bytes), (const uint4 *)operand(unit), cols / 8, lane);
        __syncwarp();
        if (ahead < last) {
            const void *row = source(ahead);
            if (lane == 0) ring.fetch(ring.at, row, ring.bytes);
            ahead += step;
        }
        ring.next();
        take(unit, warp_sum(part));
    }
}

template <class T> __device__ __forceinline__ void experts_up(const OneArgs &a) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    char *x = Ring::end(shared, a.slots, 2 * a.cols);
    Ring ring(shared, a.slots, 2 * a.cols, warp, lane);
    dependency_wait();
    dependency_launch();  // not before: experts_down relies on what is complete now
    const int id = lane < a.top_k ? __ldcg(a.ids + lane) : 0;
    copy_all(x, a.x, a.cols / 8);
    const int total = a.top_k * a.rows, part = warp * gridDim.x + blockIdx.x, parts = WARPS * gridDim.x;
    const T *w = (const T *)a.w;
    stream<T>(
        ring, a.cols, share(total, part, parts), share(total, part + 1, parts), 1, lane,
        [&](int unit) {
            const int k = unit / a.rows;
            return (const void *)(w + ((long long)__shfl_sync(ALL, id, k) * a.rows + (unit - k * a.rows)) * a.cols);
        },
        [&] {
            await_copies<0>();
            __syncthreads();
        },
        [&](int) { return x; },
        [&](int unit, float v) {
            if (lane == 0) ((T *)a.out)[unit] = from_float<T>(activate(v, a.act));
        });
}

template <class T> __device__ __forceinline__ void experts_down(const OneArgs &a) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const int first = share(a.rows, blockIdx.x, gridDim.x), own = share(a.rows, blockIdx.x + 1, gridDim.x) - first;
    char *x = Ring::end(shared, a.slots, 2 * a.cols);
    float *parts = (float *)(x + 2 * a.top_k * a.cols);  // [top_k, own]
    Ring ring(shared, a.slots, 2 * a.cols, warp, lane);
    dependency_launch();
    const int id = lane < a.top_k ? __ldcg(a.ids + lane) : 0;  // complete since the kernel ahead let this one begin
    const T *w = (const T *)a.w;
    stream<T>(
        ring, a.cols, warp, a.top_k * own, WARPS, lane,
        [&](int unit) {
            const int k = unit / own;
            return (const void *)(w + ((long long)__shfl_sync(ALL, id, k) * a.rows + first + (unit - k * own)) * a.cols);
        },
        [&] {
            dependency_wait();
            copy_all(x, a.x, a.top_k * a.cols / 8);
            await_copies<0>();
            __syncthreads();
        },
        [&](int unit) { return x + 2 * (unit / own) * a.cols; },
        [&](int unit, float v) {
            if (lane == 0) parts[unit] = v;
        });
    __syncthreads();
    for (int r = threadIdx.x; r < own; r += THREADS) {
        float sum[1] = {};
        for (int k = 0; k < a.top_k; k++) sum[0] += __ldcg(a.weights + k) * parts[k * own + r];
        if (a.wide)
            put((float *)a.out + first + r, sum, a.add);
        else
            put((T *)a.out + first + r, sum, a.add);
    }
}

#if __CUDA_ARCH__ >= 900
#define ONE(NAME, T)                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(THREADS, 1) experts_up_##NAME(const __grid_constant__ OneArgs a) { experts_up<T>(a); } \
    extern "C" __global__ void __launch_bounds__(THREADS, 1) experts_down_##NAME(const __grid_constant__ OneArgs a) { experts_down<T>(a); }
ONE(bf16, bf16)
ONE(f16, f16)
#endif
