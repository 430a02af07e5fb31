// Scan in matrix form, for pieces of prompts: chunks of Q tokens on the tensor
// cores. With a_t the sum of dt·A over the tokens of the chunk up to t, and S
// the state before the chunk, each head computes
//
//   y_t = Σ_{u≤t} (C_t·B_u) · exp(a_t-a_u) · dt_u · x_u  +  exp(a_t) · S·C_t  +  D·x_t
//   S  ← exp(a_last) · S  +  Σ_u exp(a_last-a_u) · dt_u · x_u ⊗ B_u
//
// Time steps, sums, decays and the state are float32; factors are rounded to
// 16 bits where they enter a product. Only differences a_t-a_u ≤ 0 are
// exponentiated. Sequences of a single token are left to scan.cu.
//
// A block of four warps takes up to 16·TILES rows of a head's state (x) through
// a segment of a sequence (y), chunk by chunk, and keeps them in registers: warp
// w holds columns w·N/4 to (w+1)·N/4, and computes y of tokens 16w to 16w+15 of
// each chunk. While a chunk is computed, the next one is copied to shared memory.
//
// Long pieces are cut into segments where heads alone would leave
// multiprocessors idle. Three kernels then run one after another:
//
//   chunk_states  what each segment adds to the state, and how far it decays
//   chunk_join    the state before each segment
//   chunk_scan    y, and the state after the last segment
//
// and chunk_scan alone where no piece has more than one. The names of the last
// two end in the type of the state in memory, float32 or f16.
#include "mma.cuh"
#include "scan.cuh"

constexpr int Q = 64, THREADS = 128;

// Segments says how pieces are cut and where the states of segments lie.
struct Segments {
    int length;     // tokens of a segment, a multiple of Q
    int slices;     // blocks that share a head
    float *states;  // [segments of cut pieces, heads, head_dim, size]
    float *decays;  // [segments of cut pieces, heads], as powers of two
};

// What a sequence counts as in a search.
enum Kind { ALL, CUT, SEQUENCES }; // its segments; those of cut pieces only; one, if it is cut

struct Segment {
    int sequence, first, count; // its tokens; count is 0 past the end
    int index, of;              // number in its piece, and their number
    int slot;                   // of its state, if the piece is cut
};

// find returns number want of what the sequences of the batch count as.
__device__ __forceinline__ Segment find(const Step &step, int length, Kind kind, int want, int lane) {
    const int sequences = step.counts[COUNT_SEQUENCES];
    int slots = 0;
    for (int base = 0; base < sequences; base += 32) {
        const int s = base + lane;
        const int from = s < sequences ? step.start[s] : 0, count = s < sequences ? step.start[s + 1] - from : 0;
        const int n = count > 1 ? (count + length - 1) / length : 0, cut = n > 1 ? n : 0;
        const int mine = kind == ALL ? n : kind == CUT ? cut : (cut > 0);
        int upto = mine, taken = cut;
#pragma unroll
        for (int m = 1; m < 32; m <<= 1) {
            const int before = __shfl_up_sync(0xffffffffu, upto, m), others = __shfl_up_sync(0xffffffffu, taken, m);
            if (lane >= m) upto += before, taken += others;
        }
        const unsigned beyond = __ballot_sync(0xffffffffu, upto > want);
        if (beyond == 0) {
            want -= __shfl_sync(0xffffffffu, upto, 31);
            slots += __shfl_sync(0xffffffffu, taken, 31);
            continue;
        }
        const int at = __ffs(beyond) - 1;
        Segment r;
        r.sequence = base + at;
        r.index = want - __shfl_sync(0xffffffffu, upto - mine, at);
        r.of = __shfl_sync(0xffffffffu, n, at);
        r.slot = slots + __shfl_sync(0xffffffffu, taken - cut, at) + r.index;
        r.first = __shfl_sync(0xffffffffu, from, at) + r.index * length;
        r.count = min(length, __shfl_sync(0xffffffffu, from + count, at) - r.first);
        return r;
    }
    return {0, 0, 0, 0, 0, 0};
}

// Shared is the shared memory of a block. Rows of 16-byte chunks lie so that
// neither copies nor matrix loads meet in a bank: permuted where a row is a
// multiple of 128 bytes, an odd number of chunks apart otherwise.
template <int N, int TILES, bool OUTPUTS> struct Shared {
    static constexpr int columns = N / 8, rows = 2 * TILES; // chunks of a row of B or C, of x
    static constexpr int row_stride = rows % 8 == 0 ? rows : rows | 1;
    uint4 b[2][Q * columns], x[2][Q * row_stride];
    uint4 c[OUTPUTS ? 2 : 1][OUTPUTS ? Q * columns : 1], state[OUTPUTS ? 16 * TILES * columns : 1];
    float dt[2][Q], sum[2][Q]; // time steps, and their sums times A as powers of two

    static __device__ __forceinline__ int wide(int row, int chunk) { return row * columns + (chunk ^ (row & 7)); }
    static __device__ __forceinline__ int narrow(int row, int chunk) {
        return row * row_stride + (rows % 8 == 0 ? chunk ^ (row & 7) : chunk);
    }
};

// Work is what a block computes.
struct Work {
    int head, row, rows; // rows of the state, from row on
    float rate, d, bias; // A·log2(e), D and the bias of time steps
};

__device__ __forceinline__ Work work_of(const Scan &a, int slices, int tiles) {
    Work w;
    w.head = blockIdx.x / slices;
    const int at = blockIdx.x % slices * 16 * tiles;
    w.row = w.head * a.head_dim + at;
    w.rows = min(16 * tiles, a.head_dim - at);
    w.rate = a.a[w.head] * LOG2E, w.d = a.d[w.head], w.bias = a.dt_bias[w.head];
    return w;
}

// copy starts the copies of a chunk of count tokens; what lies beyond is zero.
template <int N, int TILES, bool OUTPUTS>
__device__ __forceinline__ void copy(Shared<N, TILES, OUTPUTS> &to, int at, const Scan &a, const Work &w, long long first, int count) {
    using S = Shared<N, TILES, OUTPUTS>;
    const bf16 *xbc = (const bf16 *)a.xbc + first * a.xbc_stride;
    const int b = a.heads * a.head_dim + w.head / (a.heads / a.groups) * N, c = b + a.groups * N;
    for (int i = threadIdx.x; i < Q * S::columns; i += THREADS) {
        const int r = i / S::columns, k = i % S::columns;
        const bool present = r < count;
        const bf16 *row = xbc + (present ? (long long)r * a.xbc_stride + 8 * k : 0);
        copy_chunk(shared_address(&to.b[at][S::wide(r, k)]), row + b, present);
        if constexpr (OUTPUTS) copy_chunk(shared_address(&to.c[at][S::wide(r, k)]), row + c, present);
    }
    for (int i = threadIdx.x; i < Q * S::rows; i += THREADS) {
        const int r = i / S::rows, k = i % S::rows;
        const bool present = r < count && 8 * k < w.rows;
        const bf16 *from = xbc + w.row + (present ? (long long)r * a.xbc_stride + 8 * k : 0);
        copy_chunk(shared_address(&to.x[at][S::narrow(r, k)]), from, present);
    }
    end_copies();
}

// Raw holds the raw time steps of a chunk: lane l of a warp has tokens 2l and
// 2l+1.
struct Raw {
    float v[2];

    __device__ __forceinline__ void load(const Scan &a, const Work &w, long long first, int count, int lane) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int t = 2 * lane + i;
            v[i] = t < count ? to_float(((const bf16 *)a.dt)[(first + t) * a.dt_stride + w.head]) : 0.f;
        }
    }

    // leave writes the time steps, 0 beyond the chunk, and the sums.
    __device__ __forceinline__ void leave(float *dt, float *sum, const Scan &a, const Work &w, int count, int lane) const {
        float s[2];
#pragma unroll
        for (int i = 0; i < 2; i++) s[i] = 2 * lane + i < count ? time_step(a, v[i], w.bias) : 0.f;
        *(float2 *)(dt + 2 * lane) = make_float2(s[0], s[1]);
        const float first = s[0] * w.rate;
        float upto = first + s[1] * w.rate;
        const float own = upto;
#pragma unroll
        for (int m = 1; m < 32; m <<= 1) {
            const float before = __shfl_up_sync(0xffffffffu, upto, m);
            if (lane >= m) upto += before;
        }
        const float before = __shfl_up_sync(0xffffffffu, upto, 1);
        *(float2 *)(sum + 2 * lane) = make_float2(lane > 0 ? before + first : first, lane > 0 ? upto : own);
    }
};

// Outputs are a warp's 16 tokens of y. Lane 4g+t has tokens g and g+8, at
// columns 8i + 2t and the next one.
template <int N, int TILES> struct Outputs {
    using S = Shared<N, TILES, true>;
    uint32_t c[N / 16][4];
    float y[2 * TILES][4];

    // carry computes what the state before the chunk contributes.
    __device__ __forceinline__ void carry(const S &from, int at, int warp, int lane) {
#pragma unroll
        for (int k = 0; k < N / 16; k++)
            load_matrices(c[k], shared_address(&from.c[at][S::wide(16 * warp + (lane & 15), 2 * k + (lane >> 4))]));
#pragma unroll
        for (int i = 0; i < 2 * TILES; i++) y[i][0] = y[i][1] = y[i][2] = y[i][3] = 0.f;
#pragma unroll
        for (int k = 0; k < N / 16; k++)
#pragma unroll
            for (int i = 0; i < TILES; i++) {
                uint32_t s[4];
                load_matrices(s, shared_address(&from.state[S::wide(16 * i + (lane >> 4) * 8 + (lane & 7), 2 * k + (lane >> 3 & 1))]));
                accumulate<bf16>(y[2 * i], c[k][0], c[k][1], c[k][2], c[k][3], s[0], s[1]);
                accumulate<bf16>(y[2 * i + 1], c[k][0], c[k][1], c[k][2], c[k][3], s[2], s[3]);
            }
        const float first = exp2f(from.sum[at][16 * warp + (lane >> 2)]), second = exp2f(from.sum[at][16 * warp + (lane >> 2) + 8]);
#pragma unroll
        for (int i = 0; i < 2 * TILES; i++) y[i][0] *= first, y[i][1] *= first, y[i][2] *= second, y[i][3] *= second;
    }

    // meet adds what the tokens 16j to 16j+15 of the chunk contribute.
    __device__ __forceinline__ void meet(const S &from, int at, int j, int warp, int lane) {
        float p[2][4] = {};
#pragma unroll
        for (int k = 0; k < N / 16; k++) {
            uint32_t b[4];
            load_matrices(b, shared_address(&from.b[at][S::wide(16 * j + (lane >> 4) * 8 + (lane & 7), 2 * k + (lane >> 3 & 1))]));
            accumulate<bf16>(p[0], c[k][0], c[k][1], c[k][2], c[k][3], b[0], b[1]);
            accumulate<bf16>(p[1], c[k][0], c[k][1], c[k][2], c[k][3], b[2], b[3]);
        }
        const int row = 16 * warp + (lane >> 2);
        const float own[2] = {from.sum[at][row], from.sum[at][row + 8]};
#pragma unroll
        for (int n = 0; n < 2; n++) {
            const int u = 16 * j + 8 * n + 2 * (lane & 3);
            const float2 sum = *(const float2 *)&from.sum[at][u], dt = *(const float2 *)&from.dt[at][u];
#pragma unroll
            for (int h = 0; h < 2; h++) {
                p[n][2 * h] *= u <= row + 8 * h ? exp2f(own[h] - sum.x) * dt.x : 0.f;
                p[n][2 * h + 1] *= u + 1 <= row + 8 * h ? exp2f(own[h] - sum.y) * dt.y : 0.f;
            }
        }
        const uint32_t p0 = pack2<bf16>(p[0][0], p[0][1]), p1 = pack2<bf16>(p[0][2], p[0][3]);
        const uint32_t p2 = pack2<bf16>(p[1][0], p[1][1]), p3 = pack2<bf16>(p[1][2], p[1][3]);
#pragma unroll
        for (int i = 0; i < TILES; i++) {
            uint32_t x[4];
            load_transposed(x, shared_address(&from.x[at][S::narrow(16 * j + (lane & 15), 2 * i + (lane >> 4))]));
            accumulate<bf16>(y[2 * i], p0, p1, p2, p3, x[0], x[1]);
            accumulate<bf16>(y[2 * i + 1], p0, p1, p2, p3, x[2], x[3]);
        }
    }

    __device__ __forceinline__ void write(const S &from, int at, const Scan &a, const Work &w, long long first, int count, int warp, int lane) const {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const int r = 16 * warp + (lane >> 2) + 8 * h;
            if (r >= count) continue;
            bf16 *out = (bf16 *)a.y + (first + r) * a.y_stride + w.row + 2 * (lane & 3);
#pragma unroll
            for (int i = 0; i < 2 * TILES; i++) {
                if (8 * i >= w.rows) continue;
                const float2 x = unpack2<bf16>(((const uint32_t *)&from.x[at][S::narrow(r, i)])[lane & 3]);
                *(uint32_t *)(out + 8 * i) = pack2<bf16>(fmaf(w.d, x.x, y[i][2 * h]), fmaf(w.d, x.y, y[i][2 * h + 1]));
            }
        }
    }
};

// load_two and load_four read neighbouring values of a state, store_two writes
// them.
__device__ __forceinline__ float2 load_two(const float *p) { return __ldcg((const float2 *)p); }
__device__ __forceinline__ float2 load_two(const f16 *p) { return unpack2<f16>(__ldcg((const unsigned int *)p)); }
__device__ __forceinline__ float4 load_four(const float *p) { return __ldcg((const float4 *)p); }
__device__ __forceinline__ float4 load_four(const f16 *p) {
    const uint2 u = __ldcg((const uint2 *)p);
    const float2 low = unpack2<f16>(u.x), high = unpack2<f16>(u.y);
    return make_float4(low.x, low.y, high.x, high.y);
}
__device__ __forceinline__ void store_two(float *p, float a, float b) { *(float2 *)p = make_float2(a, b); }
__device__ __forceinline__ void store_two(f16 *p, float a, float b) { *(uint32_t *)p = pack2<f16>(a, b); }

// State is a warp's columns of the block's rows of the state. Lane 4g+t has
// rows 16i + g and 8 on, at columns 8j + 2t and the next one of the warp's.
template <int N, int TILES> struct State {
    static constexpr int COLUMNS = N / 32; // groups of 8 columns
    float s[TILES][COLUMNS][4];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int i = 0; i < TILES; i++)
#pragma unroll
            for (int j = 0; j < COLUMNS; j++) s[i][j][0] = s[i][j][1] = s[i][j][2] = s[i][j][3] = 0.f;
    }

    // at returns the place of two values, or null beyond the rows.
    template <class H> static __device__ __forceinline__ H *at(H *base, const Work &w, int i, int j, int h, int warp, int lane) {
        const int row = 16 * i + (lane >> 2) + 8 * h;
        return row < w.rows ? base + (long long)(w.row + row) * N + warp * (N / 4) + 8 * j + 2 * (lane & 3) : nullptr;
    }

    template <class H> __device__ __forceinline__ void load(H *base, const Work &w, int warp, int lane) {
#pragma unroll
        for (int i = 0; i < TILES; i++)
#pragma unroll
            for (int j = 0; j < COLUMNS; j++)
#pragma unroll
                for (int h = 0; h < 2; h++) {
                    const H *from = at(base, w, i, j, h, warp, lane);
                    const float2 v = from ? load_two(from) : make_float2(0.f, 0.f);
                    s[i][j][2 * h] = v.x, s[i][j][2 * h + 1] = v.y;
                }
    }

    template <class H> __device__ __forceinline__ void store(H *base, const Work &w, int warp, int lane) const {
#pragma unroll
        for (int i = 0; i < TILES; i++)
#pragma unroll
            for (int j = 0; j < COLUMNS; j++)
#pragma unroll
                for (int h = 0; h < 2; h++)
                    if (H *to = at(base, w, i, j, h, warp, lane)) store_two(to, s[i][j][2 * h], s[i][j][2 * h + 1]);
    }

    // publish leaves the state for the products of the next chunk.
    __device__ __forceinline__ void publish(Shared<N, TILES, true> &to, int warp, int lane) const {
        using S = Shared<N, TILES, true>;
#pragma unroll
        for (int i = 0; i < TILES; i++)
#pragma unroll
            for (int j = 0; j < COLUMNS; j++)
#pragma unroll
                for (int h = 0; h < 2; h++)
                    ((uint32_t *)&to.state[S::wide(16 * i + (lane >> 2) + 8 * h, warp * COLUMNS + j)])[lane & 3] =
                            pack2<bf16>(s[i][j][2 * h], s[i][j][2 * h + 1]);
    }

    // take takes a chunk of count tokens in.
    template <bool OUTPUTS> __device__ __forceinline__ void take(const Shared<N, TILES, OUTPUTS> &from, int at, int count, int warp, int lane) {
        using S = Shared<N, TILES, OUTPUTS>;
        const float last = from.sum[at][Q - 1], decay = exp2f(last);
#pragma unroll
        for (int i = 0; i < TILES; i++)
#pragma unroll
            for (int j = 0; j < COLUMNS; j++) s[i][j][0] *= decay, s[i][j][1] *= decay, s[i][j][2] *= decay, s[i][j][3] *= decay;
#pragma unroll
        for (int k = 0; k < Q / 16; k++) {
            if (16 * k >= count) break;
            float weight[4]; // of tokens 2t, 2t+1, 2t+8 and 2t+9
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const int u = 16 * k + 8 * h + 2 * (lane & 3);
                const float2 sum = *(const float2 *)&from.sum[at][u], dt = *(const float2 *)&from.dt[at][u];
                weight[2 * h] = exp2f(last - sum.x) * dt.x, weight[2 * h + 1] = exp2f(last - sum.y) * dt.y;
            }
            uint32_t b[COLUMNS][2];
#pragma unroll
            for (int j = 0; j < COLUMNS; j += 2) {
                uint32_t v[4];
                load_transposed(v, shared_address(&from.b[at][S::wide(16 * k + (lane & 15), warp * COLUMNS + j + (lane >> 4))]));
#pragma unroll
                for (int h = 0; h < 4; h++) {
                    const float2 f = unpack2<bf16>(v[h]);
                    b[j + h / 2][h % 2] = pack2<bf16>(f.x * weight[2 * (h % 2)], f.y * weight[2 * (h % 2) + 1]);
                }
            }
#pragma unroll
            for (int i = 0; i < TILES; i++) {
                uint32_t x[4];
                load_transposed(x, shared_address(&from.x[at][S::narrow(16 * k + (lane >> 4) * 8 + (lane & 7), 2 * i + (lane >> 3 & 1))]));
#pragma unroll
                for (int j = 0; j < COLUMNS; j++) accumulate<bf16>(s[i][j], x[0], x[1], x[2], x[3], b[j][0], b[j][1]);
            }
        }
    }
};

template <int N, int TILES, bool OUTPUTS, class H>
__device__ __forceinline__ void chunk_scan(const Scan &a, const Step &step, const Segments &cut) {
    using S = Shared<N, TILES, OUTPUTS>;
    extern __shared__ __align__(128) unsigned char memory[];
    S &shared = *(S *)memory;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    dependency_launch();
    const Segment segment = find(step, cut.length, OUTPUTS ? ALL : CUT, blockIdx.y, lane);
    const bool ends = segment.index == segment.of - 1;
    if (segment.count == 0 || (!OUTPUTS && ends)) {
        dependency_wait();
        return;
    }
    const Work w = work_of(a, cut.slices, TILES);
    const long long size = (long long)a.heads * a.head_dim * N;
    H *const own = (H *)a.state + step.slots[segment.sequence] * size;
    float *const split = cut.states + segment.slot * size;
    State<N, TILES> state;
    state.clear();
    dependency_wait();

    long long first = segment.first;
    int left = segment.count;
    copy(shared, 0, a, w, first, min(left, Q));
    Raw raw; // of the next chunk, in warp 0
    if (warp == 0) {
        raw.load(a, w, first, min(left, Q), lane);
        raw.leave(shared.dt[0], shared.sum[0], a, w, min(left, Q), lane);
        if (left > Q) raw.load(a, w, first + Q, min(left - Q, Q), lane);
    }
    if constexpr (OUTPUTS) {
        if (segment.of > 1) state.load(split, w, warp, lane);
        else if (step.positions[segment.first] != 0) state.load(own, w, warp, lane);
        state.publish(shared, warp, lane);
    }
    float decayed = 0.f;
    for (int at = 0; left > 0; at ^= 1, first += Q, left -= Q) {
        const int count = min(left, Q);
        await_copies<0>();
        __syncthreads();
        if (left > Q) {
            copy(shared, at ^ 1, a, w, first + Q, min(left - Q, Q));
            if (warp == 0) {
                raw.leave(shared.dt[at ^ 1], shared.sum[at ^ 1], a, w, min(left - Q, Q), lane);
                if (left > 2 * Q) raw.load(a, w, first + 2 * Q, min(left - 2 * Q, Q), lane);
            }
        }
        if constexpr (OUTPUTS) {
            Outputs<N, TILES> out;
            if (16 * warp < count) out.carry(shared, at, warp, lane);
            __syncthreads(); // everybody has read the state
            if (16 * warp < count) {
                for (int j = 0; j <= warp; j++) out.meet(shared, at, j, warp, lane);
                out.write(shared, at, a, w, first, count, warp, lane);
            }
        }
        state.take(shared, at, count, warp, lane);
        decayed += shared.sum[at][Q - 1];
        if constexpr (OUTPUTS) state.publish(shared, warp, lane);
    }
    if (OUTPUTS && !ends) return;
    if constexpr (OUTPUTS) state.store(own, w, warp, lane);
    else state.store(split, w, warp, lane);
    if (!OUTPUTS && threadIdx.x == 0) cut.decays[segment.slot * a.heads + w.head] = decayed;
}

// chunk_join: a thread for four columns of a state (x), a sequence whose piece
// is cut (y). What the segments have added becomes the states before them.
template <class H> __device__ __forceinline__ void chunk_join(const Scan &a, const Step &step, const Segments &cut) {
    dependency_launch();
    const Segment segment = find(step, cut.length, SEQUENCES, blockIdx.y, threadIdx.x & 31);
    dependency_wait();
    const long long size = (long long)a.heads * a.head_dim * a.size, i = 4ll * (blockIdx.x * THREADS + threadIdx.x);
    if (segment.count == 0 || i >= size) return;
    const int head = int(i / ((long long)a.head_dim * a.size));
    float4 run = make_float4(0.f, 0.f, 0.f, 0.f);
    if (step.positions[segment.first] != 0) run = load_four((const H *)a.state + step.slots[segment.sequence] * size + i);
    for (int k = 0; k < segment.of; k++) {
        float4 *const at = (float4 *)(cut.states + (segment.slot + k) * size + i);
        const bool more = k + 1 < segment.of;
        const float4 added = more ? __ldcg(at) : run;
        *at = run;
        if (!more) return;
        const float decay = exp2f(__ldcg(cut.decays + (segment.slot + k) * a.heads + head));
        run.x = fmaf(decay, run.x, added.x), run.y = fmaf(decay, run.y, added.y);
        run.z = fmaf(decay, run.z, added.z), run.w = fmaf(decay, run.w, added.w);
    }
}

#define JOIN(STATE, H) \
    extern "C" __global__ void __launch_bounds__(THREADS) chunk_join_##STATE(Scan a, Step step, Segments cut) { chunk_join<H>(a, step, cut); }
JOIN(f32, float)
JOIN(f16, f16)

#define CHUNK_SCAN(N, TILES, STATE, H)                                                                                                 \
    extern "C" __global__ void __launch_bounds__(THREADS, 2) chunk_scan_##N##_##TILES##_##STATE(Scan a, Step step, Segments cut) {   \
        chunk_scan<N, TILES, true, H>(a, step, cut);                                                                                   \
    }
#define CHUNKS(N, TILES)                                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS, 2) chunk_states_##N##_##TILES(Scan a, Step step, Segments cut) {           \
        chunk_scan<N, TILES, false, float>(a, step, cut);                                                                            \
    }                                                                                                                                \
    CHUNK_SCAN(N, TILES, f32, float)                                                                                                 \
    CHUNK_SCAN(N, TILES, f16, f16)
CHUNKS(64, 4)
CHUNKS(128, 4)
CHUNKS(128, 5)
CHUNKS(256, 2)
