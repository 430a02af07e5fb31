// The choice of a token for each row of logits.
//
//   token = argmax over the kept tokens of x[t] + g(seed, step, t),  x = (edited logit - largest) / temperature
//
// with Gumbel noise g from Philox, which is a draw from the softmax over the
// kept tokens; internal/ops/sample.go is the definition. Kept are the tokens
// that pass top-k, top-p and min-p: with tokens ranked by x, then by id, each
// of them keeps a beginning of the list, and so do all together.
//
// sample: one cooperative launch of groups·blocks blocks of 512 threads. Each
// group of blocks takes rows in turn and meets at barriers in device memory;
// each block passes over its share of the row, which comes from the second-level
// cache after the first time. Passes:
//
//   1. largest logit and Σ exp: the log-probabilities. A greedy row ends here.
//   2. with edits: apply them in place; with those or a mask, find the largest
//      again, of the tokens that are allowed; all others count as -inf from here on
//   3. top-k: the rank of the last token, by a radix selection on (x, id) with
//      counts of 2048 digits, at most five of them
//   4. the token that wins among those that pass top-k and min-p, and Σ exp(x)
//   5. top-p: Σ exp(x) of the tokens ranked before the winner. Below TopP of the
//      total it is kept, and the winner. If not, no token from it on is kept:
//      the winner among those before it, found in the same pass, is tried next.
//
// Pass 5 runs about once: the first winner is kept with the probability TopP.
// Sums of probabilities are off by some 1e-7 of the total, so that a token whose
// rank puts it that close to TopP may be kept here and not on the CPU. Noisy
// values that float32 cannot tell apart are compared in float64.
//
// greedy: the same where every row wants its most likely token and nothing else.
// One pass by rows·blocks blocks of 512 threads, of which none waits for others:
// the last of a row to arrive joins what all of them found.
//
// Results go to device memory, where the next step finds its tokens, and straight
// to the host's. Both kernels stand between the logits and the next step, with
// nothing but launches around them: a copy there would cost more than it moves.
#include "common.cuh"
#include "philox.cuh"

constexpr int THREADS = 512, DIGITS = 2048, LISTED = 64, FEW = 64;

// Row is samplingRow in sample.go.
struct Row {
    uint64_t seed, step;
    float temperature, top_p, least; // least x that passes min-p; -inf: all
    int top_k, target, score, listed;
    int edits, edit_count; // where in the list of edits
    int allowed;           // where in the masks, -1: every token is
};

// Few holds the rows of a launch that has no more than these.
struct Few {
    Row rows[FEW];
};

// Edit is samplingEdit in sample.go.
struct Edit {
    int id;
    float scale, offset, saved;
};

// Result is samplingResult in sample.go.
struct __align__(16) Result {
    int id, invalid;
    float log_prob, norm;
};

// Summary is what a pass finds out about a share of a row: the largest value,
// the sum of exp relative to it, and whether there is NaN; or the winner with
// its noise and the sum of the probabilities.
struct Summary {
    double mass;
    float value, x, sum;
    int id, bad, unused;
};
constexpr int WORDS = sizeof(Summary) / 4;

// Workspace is a group's memory. Barriers and digits are zero between launches.
struct Workspace {
    unsigned int arrived, generation, listed, unused;
    uint64_t list[LISTED];
    unsigned int digits[3][DIGITS];
};

// Sample is sampleArgs in sample.go.
struct Sample {
    float *logits;
    const Row *rows; // null: they are in Few
    Edit *edits;
    const uint32_t *masks; // a bit for each token
    Result *results;
    Result *host;       // the same in host memory, as are the lists
    int *top_ids;       // [rows, LISTED]
    float *top_logs;    // [rows, LISTED]
    Workspace *groups;  // [groups]
    Summary *summaries; // [groups, 2, blocks]
    int stride, count, vocab, blocks, group_count;
};

__device__ __forceinline__ float minus_infinity() { return __int_as_float(0xff800000); }
constexpr int NOBODY = 0x7fffffff;
constexpr uint64_t EVERYTHING = ~0ull;

// ---- noise ----

__device__ __forceinline__ float noise(uint32_t bits) {
    const float u = ((float)(bits >> 9) + 0.5f) * 0x1p-23f; // exact
    return -logf(-logf(u));
}

// exact returns a token's noisy value in float64.
__device__ __noinline__ double exact(float x, int id, uint64_t seed, uint64_t step) {
    uint32_t c[4];
    philox(c, seed, step, (uint32_t)id / 4);
    const uint32_t lane = id & 3, bits = lane == 0 ? c[0] : lane == 1 ? c[1] : lane == 2 ? c[2] : c[3];
    const double u = ((double)(bits >> 9) + 0.5) * 0x1p-23;
    return (double)x - log(-log(u));
}

// The largest noise is -log(-log(1 - 2^-24)) = 16.64. NEAR is above what the
// noisy values of two tokens are off in float32: 2^-23 of at most 17 each for
// the logarithm and the sum, and 2^-23 for the logarithm inside.
constexpr float MOST_NOISE = 16.7f, NEAR = 1e-5f;

// ---- summaries ----

struct ByValue {
    __device__ __forceinline__ Summary none() const { return {0., minus_infinity(), 0.f, 0.f, NOBODY, 0, 0}; }
    __device__ __forceinline__ Summary join(const Summary &a, const Summary &b) const {
        Summary r = a.value > b.value || (a.value == b.value && a.id < b.id) ? a : b;
        const float base = r.value == minus_infinity() ? 0.f : r.value;
        r.sum = a.sum * expf(a.value - base) + b.sum * expf(b.value - base);
        r.bad = a.bad | b.bad;
        return r;
    }
};

struct ByNoise {
    uint64_t seed, step;
    __device__ __forceinline__ Summary none() const { return {0., minus_infinity(), 0.f, 0.f, NOBODY, 0, 0}; }
    __device__ __forceinline__ bool better(const Summary &a, const Summary &b) const {
        if (b.id == NOBODY || a.id == NOBODY) return b.id == NOBODY;
        if (fabsf(a.value - b.value) > NEAR || a.id == b.id) return a.value > b.value;
        const double x = exact(a.x, a.id, seed, step), y = exact(b.x, b.id, seed, step);
        return x > y || (x == y && a.id < b.id);
    }
    __device__ __forceinline__ Summary join(const Summary &a, const Summary &b) const {
        Summary r = better(a, b) ? a : b;
        r.mass = a.mass + b.mass;
        return r;
    }
};

__device__ __forceinline__ Summary shuffle(Summary v, int mask) {
    uint32_t *w = (uint32_t *)&v;
#pragma unroll
    for (int i = 0; i < WORDS; i++) w[i] = __shfl_xor_sync(0xffffffffu, w[i], mask);
    return v;
}

// join_block joins the threads' summaries; all threads get the result.
template <class By> __device__ __forceinline__ Summary join_block(const By &by, Summary v, Summary *scratch) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
#pragma unroll 1
    for (int m = 16; m; m >>= 1) v = by.join(v, shuffle(v, m));
    __syncthreads(); // scratch may still be read
    if (lane == 0) scratch[warp] = v;
    __syncthreads();
    v = lane < THREADS / 32 ? scratch[lane] : by.none();
#pragma unroll 1
    for (int m = 16; m; m >>= 1) v = by.join(v, shuffle(v, m));
    return v;
}

// ---- a group of blocks ----

__device__ __forceinline__ unsigned int load_acquire(const unsigned int *p) {
    unsigned int v;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
    return v;
}

// Group is a block's view of the work of its group on a row.
struct Group {
    const Sample &a;
    Workspace *at;
    Summary *summaries, *scratch;
    unsigned int *digits; // [DIGITS] in shared memory
    int *chosen;          // [THREADS / 32] in shared memory
    int block, turn, selections;

    // meet waits for all blocks of the group; what they wrote is seen after it.
    __device__ __forceinline__ void meet() {
        __syncthreads();
        if (threadIdx.x == 0 && a.blocks > 1) {
            const unsigned int now = load_acquire(&at->generation);
            __threadfence();
            if (atomicAdd(&at->arrived, 1u) == (unsigned)a.blocks - 1) {
                at->arrived = 0;
                __threadfence();
                atomicAdd(&at->generation, 1u);
            } else {
                while (load_acquire(&at->generation) == now) {}
            }
            __threadfence();
        }
        __syncthreads();
    }

    // share joins the summaries of all threads of the group. Two places for
    // them take turns: those of the last time are not needed any more when
    // everybody has met for this one.
    template <class By> __device__ __forceinline__ Summary share(const By &by, Summary v) {
        v = join_block(by, v, scratch);
        if (a.blocks == 1) return v;
        uint32_t *all = (uint32_t *)(summaries + turn * a.blocks), *w = (uint32_t *)&v;
        turn ^= 1;
        if (threadIdx.x == 0)
            for (int i = 0; i < WORDS; i++) all[block * WORDS + i] = w[i];
        meet();
        v = by.none();
        for (int i = threadIdx.x; i < a.blocks; i += THREADS) {
            Summary o;
            for (int k = 0; k < WORDS; k++) ((uint32_t *)&o)[k] = __ldcg(all + i * WORDS + k);
            v = by.join(v, o);
        }
        return join_block(by, v, scratch);
    }
};

// ---- values of a row ----

// Values is how a row is looked at: the logits, or those relative to the
// largest and divided by the temperature.
struct Values {
    const float *logits;
    const uint32_t *allowed; // null: every token is
    int vocab;
    float top, temperature; // 0: the logits themselves

    __device__ __forceinline__ float of(float logit) const {
        return temperature > 0.f ? __fdiv_rn(__fsub_rn(logit, top), temperature) : logit;
    }

    // load reads up to four values from i on and returns how many there are.
    __device__ __forceinline__ int load(int i, float (&v)[4]) const {
        const int n = min(4, vocab - i);
        if (n == 4 && ((uintptr_t)(logits + i) & 15) == 0) {
            const float4 f = __ldcg((const float4 *)(logits + i));
            v[0] = f.x, v[1] = f.y, v[2] = f.z, v[3] = f.w;
        } else {
            for (int k = 0; k < 4; k++) v[k] = k < n ? __ldcg(logits + i + k) : minus_infinity();
        }
#pragma unroll
        for (int k = 0; k < 4; k++) v[k] = of(v[k]);
        if (allowed) {
            const uint32_t bits = __ldg(allowed + (i >> 5)) >> (i & 31);
#pragma unroll
            for (int k = 0; k < 4; k++) v[k] = bits >> k & 1 ? v[k] : minus_infinity();
        }
        return n;
    }
};

// rank_of orders values and ids: what comes first has the smaller rank.
__device__ __forceinline__ uint64_t rank_of(float v, int id) {
    const uint32_t u = __float_as_uint(v + 0.f); // -0 becomes 0
    return (uint64_t)(u >> 31 ? u : 0x7fffffffu - u) << 32 | (uint32_t)id;
}

// each calls f(values, first id, count) for the block's share of a row.
template <class F> __device__ __forceinline__ void each(const Group &g, const Values &values, F f) {
    const int all = g.a.blocks * THREADS;
    for (int i = 4 * (g.block * THREADS + (int)threadIdx.x); i < values.vocab; i += 4 * all) {
        float v[4];
        const int n = values.load(i, v);
        f(v, i, n);
    }
}

// largest finds the first of the largest values, Σ exp and NaN.
__device__ __forceinline__ Summary largest(Group &g, const Values &values) {
    const ByValue by;
    Summary s = by.none();
    each(g, values, [&](const float(&v)[4], int i, int n) {
        const float most = fmaxf(fmaxf(v[0], v[1]), fmaxf(v[2], v[3]));
        if (most > s.value || s.id == NOBODY) {
            const float base = most == minus_infinity() ? 0.f : most;
            s.sum *= s.id == NOBODY ? 0.f : expf(s.value - base);
            s.value = most;
            s.id = i + (v[0] == most ? 0 : v[1] == most ? 1 : v[2] == most ? 2 : 3);
        }
        const float base = s.value == minus_infinity() ? 0.f : s.value;
#pragma unroll
        for (int k = 0; k < 4; k++) {
            s.sum += expf(v[k] - base);
            s.bad |= v[k] != v[k];
        }
    });
    return g.share(by, s);
}

// count adds the digits of the ranks that agree with prefix above them.
__device__ __forceinline__ void count(Group &g, const Values &values, uint64_t prefix, int shift, int bits) {
    for (int i = threadIdx.x; i < DIGITS; i += THREADS) g.digits[i] = 0;
    __syncthreads();
    const uint64_t high = shift + bits < 64 ? prefix >> (shift + bits) : 0;
    each(g, values, [&](const float(&v)[4], int i, int n) {
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const uint64_t r = rank_of(v[k], i + k);
            if (k < n && (shift + bits == 64 || r >> (shift + bits) == high))
                atomicAdd(g.digits + ((uint32_t)(r >> shift) & (DIGITS - 1) & ((1u << bits) - 1)), 1u);
        }
    });
    __syncthreads();
    unsigned int *sums = g.at->digits[g.selections % 3];
    for (int i = threadIdx.x; i < DIGITS; i += THREADS)
        if (g.digits[i]) atomicAdd(sums + i, g.digits[i]);
    g.meet();
    // Everybody has read the sums of the time before: make them zero again.
    unsigned int *old = g.at->digits[(g.selections + 2) % 3];
    for (int i = g.block * THREADS + threadIdx.x; i < DIGITS; i += g.a.blocks * THREADS) old[i] = 0;
    for (int i = threadIdx.x; i < DIGITS; i += THREADS) g.digits[i] = __ldcg(sums + i);
    g.selections++;
    __syncthreads();
}

// cross finds the digit at which the count reaches want, the count before it
// and its own. The digits are counted in shared memory.
__device__ __forceinline__ void cross(Group &g, int want, int &digit, int &before, int &own) {
    constexpr int EACH = DIGITS / THREADS;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    int n[EACH], sum = 0;
    for (int k = 0; k < EACH; k++) sum += n[k] = g.digits[EACH * threadIdx.x + k];
    int upto = sum;
    for (int m = 1; m < 32; m <<= 1) {
        const int o = __shfl_up_sync(0xffffffffu, upto, m);
        if (lane >= m) upto += o;
    }
    if (lane == 31) g.chosen[warp] = upto;
    __syncthreads();
    int at = upto - sum;
    for (int w = 0; w < warp; w++) at += g.chosen[w];
    __syncthreads(); // all have read what is written now
    for (int k = 0; k < EACH; k++) {
        if (at < want && at + n[k] >= want) g.chosen[0] = EACH * threadIdx.x + k, g.chosen[1] = at, g.chosen[2] = n[k];
        at += n[k];
    }
    __syncthreads();
    digit = g.chosen[0], before = g.chosen[1], own = g.chosen[2];
    __syncthreads();
}

// select returns the rank that exactly n tokens do not exceed: n is at least 1
// and below the size of the vocabulary. Digits of 11, 11 and 10 bits of the
// value come first, then two of 11 bits of the id, which decide among equals.
__device__ __noinline__ uint64_t select(Group &g, const Values &values, int n) {
    uint64_t prefix = 0;
    int shift = 64, bits = 11;
    for (int level = 0;; level++) {
        bits = level == 2 ? 10 : 11;
        shift = level == 3 ? 11 : shift - bits;
        int digit, before, own;
        count(g, values, prefix, shift, bits);
        cross(g, n, digit, before, own);
        prefix |= (uint64_t)digit << shift;
        n -= before;
        if (own == n || shift == 0) return prefix | ((1ull << shift) - 1);
    }
}

// draw finds the winner among the tokens whose rank is at most limit and whose
// value is at least least, and the sum of the probabilities of the former.
__device__ __forceinline__ Summary draw(Group &g, const Values &values, const Row &row, uint64_t limit, float least) {
    const ByNoise by = {row.seed, row.step};
    Summary s = by.none();
    each(g, values, [&](const float(&v)[4], int i, int n) {
        float sum = 0.f, most = minus_infinity();
        unsigned in = 0;
#pragma unroll
        for (int k = 0; k < 4; k++) {
            if (k >= n || rank_of(v[k], i + k) > limit) continue;
            sum += expf(v[k]);
            if (v[k] >= least && v[k] > minus_infinity()) in |= 1u << k, most = fmaxf(most, v[k]);
        }
        s.mass += (double)sum;
        if (in == 0 || most + MOST_NOISE < s.value) return;
        uint32_t c[4];
        philox(c, row.seed, row.step, (uint32_t)i / 4);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            if (!(in >> k & 1)) continue;
            const Summary o = {0., v[k] + noise(c[k]), v[k], 0.f, i + k, 0, 0};
            if (!by.better(o, s)) continue;
            s.value = o.value, s.x = o.x, s.id = o.id;
        }
    });
    return g.share(by, s);
}

// choose returns the token of a row whose largest edited logit is known.
__device__ __forceinline__ int choose(Group &g, const Values &raw, const Row &row, const Summary &top) {
    if (row.temperature <= 0.f || isinf(top.value)) return top.id;
    const Values values = {raw.logits, raw.allowed, raw.vocab, top.value, row.temperature};
    uint64_t limit = EVERYTHING;
    if (row.top_k > 0 && row.top_k < raw.vocab) limit = select(g, values, row.top_k);
    Summary s = draw(g, values, row, limit, row.least);
    if (!(row.top_p > 0.f && row.top_p < 1.f)) return s.id;
    const double kept = (double)row.top_p * s.mass;
    for (;;) {
        if (s.id == NOBODY) return top.id;
        const Summary before = draw(g, values, row, rank_of(s.x, s.id) - 1, row.least);
        if (before.mass < kept || before.id == NOBODY) return s.id;
        s = before;
    }
}

// list writes the most likely tokens, best first.
__device__ __noinline__ void list(Group &g, const Values &raw, int n, int row, float norm) {
    const uint64_t limit = n < raw.vocab ? select(g, raw, n) : EVERYTHING;
    each(g, raw, [&](const float(&v)[4], int i, int m) {
        for (int k = 0; k < m; k++) {
            const uint64_t r = rank_of(v[k], i + k);
            if (r > limit) continue;
            g.at->list[atomicAdd(&g.at->listed, 1u)] = r;
        }
    });
    g.meet();
    if (g.block != 0) return;
    if ((int)threadIdx.x < n) {
        const uint64_t own = __ldcg(g.at->list + threadIdx.x);
        int place = 0;
        for (int k = 0; k < n; k++) place += __ldcg(g.at->list + k) < own;
        const int id = (int)(uint32_t)own;
        g.a.top_ids[row * LISTED + place] = id;
        g.a.top_logs[row * LISTED + place] = __ldcg(raw.logits + id) - norm;
    }
    if (threadIdx.x == 0) g.at->listed = 0;
}

// edit applies the edits of a row; with undo, it takes them back.
__device__ __forceinline__ void edit(Group &g, float *logits, const Row &row, bool undo) {
    g.meet();
    for (int i = g.block * THREADS + threadIdx.x; i < row.edit_count; i += g.a.blocks * THREADS) {
        Edit *e = g.a.edits + row.edits + i;
        if (undo) {
            logits[e->id] = e->saved;
            continue;
        }
        const float old = __ldcg(logits + e->id);
        e->saved = old;
        logits[e->id] = __fadd_rn(old > 0.f ? __fdiv_rn(old, e->scale) : __fmul_rn(old, e->scale), e->offset);
    }
    g.meet();
}

// first_allowed is the choice where all that are allowed are as unlikely as can
// be. It is rare enough for every thread to look.
__device__ __noinline__ int first_allowed(const Values &values) {
    for (int i = 0; i < (values.vocab + 31) / 32; i++) {
        const uint32_t bits = __ldg(values.allowed + i);
        if (bits) return 32 * i + __ffs(bits) - 1;
    }
    return 0;
}

__device__ __forceinline__ Result sample_row(Group &g, const Row &row, int number) {
    float *logits = g.a.logits + (long long)number * g.a.stride;
    const Values raw = {logits, nullptr, g.a.vocab, 0.f, 0.f};
    Summary top = largest(g, raw);
    Result r = {0, top.bad || isinf(top.value), 0.f, top.value + logf(top.sum)};
    if (r.invalid) return r;
    if (row.listed > 0) list(g, raw, min(row.listed, g.a.vocab), number, r.norm);
    r.id = row.target;
    if (!row.score) {
        if (row.edit_count > 0) edit(g, logits, row, false);
        const Values some = {logits, row.allowed < 0 ? nullptr : g.a.masks + row.allowed, g.a.vocab, 0.f, 0.f};
        if (row.edit_count > 0 || some.allowed) top = largest(g, some);
        r.id = some.allowed && top.value == minus_infinity() ? first_allowed(some) : choose(g, some, row, top);
        if (row.edit_count > 0) edit(g, logits, row, true);
    }
    r.log_prob = __ldcg(logits + r.id) - r.norm;
    return r;
}

__device__ __forceinline__ void store(const Sample &a, int row, const Result &r) {
    a.results[row] = r;
    a.host[row] = r;
}

extern "C" __global__ void __launch_bounds__(THREADS, 2) sample(const __grid_constant__ Sample a, const __grid_constant__ Few few) {
    __shared__ Summary scratch[THREADS / 32];
    __shared__ unsigned int digits[DIGITS];
    __shared__ int chosen[THREADS / 32];
    dependency_launch();
    dependency_wait();
    const int group = blockIdx.x / a.blocks;
    Group g = {a, a.groups + group, a.summaries + 2ll * group * a.blocks, scratch, digits, chosen, (int)blockIdx.x % a.blocks, 0, 0};
    for (int number = group; number < a.count; number += a.group_count) {
        const Row row = a.rows ? a.rows[number] : few.rows[number];
        const Result r = sample_row(g, row, number);
        if (g.block == 0 && threadIdx.x == 0) store(a, number, r);
    }
    if (g.selections == 0) return;
    g.meet();
    for (int i = g.block * THREADS + threadIdx.x; i < 3 * DIGITS; i += a.blocks * THREADS) g.at->digits[i / DIGITS][i % DIGITS] = 0;
}

// ---- greedy ----

// Most is what is known of a share of a row: the first of the largest values, and
// Σ exp relative to it, which is NaN where a value is.
struct Most {
    float value, sum;
    int id, unused;

    __device__ __forceinline__ float base() const { return value == minus_infinity() ? 0.f : value; }
};

constexpr int AHEAD = 4; // loads of a thread that are under way together

// look finds the Most of a thread's share of a row.
__device__ __forceinline__ Most look(const Values &values, int first, int step) {
    Most m = {minus_infinity(), 0.f, NOBODY, 0};
    for (; first < values.vocab; first += AHEAD * step) {
        float v[AHEAD][4];
#pragma unroll
        for (int j = 0; j < AHEAD; j++)
            if (first + j * step < values.vocab) values.load(first + j * step, v[j]);
#pragma unroll
        for (int j = 0; j < AHEAD; j++) {
            const int i = first + j * step;
            if (i >= values.vocab) break;
            const float most = fmaxf(fmaxf(v[j][0], v[j][1]), fmaxf(v[j][2], v[j][3]));
            if (most > m.value) {
                m.sum *= expf(m.value - most); // of 0 values, or of -inf alone, 0
                m.value = most;
                m.id = i + (v[j][0] == most ? 0 : v[j][1] == most ? 1 : v[j][2] == most ? 2 : 3);
            }
#pragma unroll
            for (int k = 0; k < 4; k++) m.sum += expf(v[j][k] - m.base());
        }
    }
    return m;
}

// join makes one of what the threads of a block have; all get it.
__device__ __forceinline__ Most join(const Most &m, float (&scratch)[3][32]) {
    Most r = {block_max(m.value, scratch[0]), 0.f, NOBODY, 0};
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    int id = m.value == r.value ? m.id : NOBODY;
    float sum = warp_sum(m.sum * expf(m.value - r.base()));
#pragma unroll
    for (int k = 16; k; k >>= 1) id = min(id, __shfl_xor_sync(0xffffffffu, id, k));
    if (lane == 0) scratch[1][warp] = sum, scratch[2][warp] = __int_as_float(id);
    __syncthreads();
    r.sum = warp_sum(lane < THREADS / 32 ? scratch[1][lane] : 0.f);
    id = lane < THREADS / 32 ? __float_as_int(scratch[2][lane]) : NOBODY;
#pragma unroll
    for (int k = 16; k; k >>= 1) id = min(id, __shfl_xor_sync(0xffffffffu, id, k));
    r.id = id;
    return r;
}

// last leaves what a block has found for the one of its row that arrives last,
// and reports whether this is it.
__device__ __forceinline__ bool last(const Sample &a, Workspace *at, Most *places, int block, const Most &m) {
    __shared__ int arrived;
    if (threadIdx.x == 0) {
        __stcg((float4 *)(places + block), make_float4(m.value, m.sum, __int_as_float(m.id), 0.f));
        __threadfence();
        arrived = atomicAdd(&at->arrived, 1u);
        __threadfence();
    }
    __syncthreads();
    return arrived == a.blocks - 1;
}

// gather returns what the blocks of a row have left, a thread's part of it.
__device__ __forceinline__ Most gather(const Sample &a, const Most *places) {
    Most m = {minus_infinity(), 0.f, NOBODY, 0};
    for (int i = threadIdx.x; i < a.blocks; i += THREADS) {
        const float4 f = __ldcg((const float4 *)(places + i));
        const Most o = {f.x, f.y, __float_as_int(f.z), 0};
        const bool better = o.value > m.value || (o.value == m.value && o.id < m.id);
        const Most &top = better ? o : m;
        const float base = top.base();
        m = {top.value, m.sum * expf(m.value - base) + o.sum * expf(o.value - base), top.id, 0};
    }
    return m;
}

extern "C" __global__ void __launch_bounds__(THREADS, 2) greedy(const __grid_constant__ Sample a) {
    __shared__ float scratch[3][32];
    dependency_launch();
    dependency_wait();
    const int row = blockIdx.x / a.blocks, block = blockIdx.x % a.blocks;
    const Values values = {a.logits + (long long)row * a.stride, nullptr, a.vocab, 0.f, 0.f};
    Most m = join(look(values, 4 * (block * THREADS + (int)threadIdx.x), 4 * a.blocks * THREADS), scratch);
    if (a.blocks > 1) {
        Workspace *at = a.groups + row;
        Most *places = (Most *)a.summaries + (long long)row * a.blocks;
        if (!last(a, at, places, block, m)) return;
        m = join(gather(a, places), scratch);
        if (threadIdx.x == 0) at->arrived = 0;
    }
    if (threadIdx.x != 0) return;
    const float norm = m.value + logf(m.sum);
    const bool invalid = m.sum != m.sum || isinf(m.value);
    store(a, row, invalid ? Result{0, 1, 0.f, norm} : Result{m.id, 0, m.value - norm, norm});
}
