// Angles: cos and sin of position·frequency for every token of the batch.
// A thread a frequency; grid: x = pieces of 64, y = tokens.
//
// Append: q and k are rotated in place – column i of a head together with
// column i+half, by the token's angle i – and k and v stored in the pages of
// the token's sequence. A thread takes one unit of V columns: a pair of units
// of q, a pair or a single one of k, a single one of v. Grid: x = pieces of 128
// units, y = tokens.
#include "common.cuh"
#include "rows.cuh"

struct Angles {
    const float *frequency;  // [half]
    float2 *angles;          // [n, half] cosine and sine
    int n, half;
    float scale;
    int context;  // dynamic scaling: where it begins; 0: never
    double theta, factor;
};

// frequency_at is the frequency that holds at a position beyond the context.
__device__ double grown_frequency(const Angles &a, int position, int i) {
    const double dim = 2.0 * a.half;
    const double growth = a.factor * (position + 1) / a.context - (a.factor - 1);
    return 1.0 / pow(a.theta * pow(growth, dim / (dim - 2)), 2.0 * i / dim);
}

extern "C" __global__ void __launch_bounds__(64) rotary_angles(Step step, Angles a) {
    dependency_launch();
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const float usual = i < a.half ? a.frequency[i] : 0.f;
    dependency_wait();
    if (i >= a.half) return;
    for (int t = blockIdx.y; t < min(a.n, step.counts[COUNT_TOKENS]); t += gridDim.y) {
        const int position = step.positions[t];
        float f = usual;
        if (a.context > 0 && position >= a.context) f = (float)grown_frequency(a, position, i);
        float sine, cosine;
        sincosf(__fmul_rn((float)position, f), &sine, &cosine);
        a.angles[(long long)t * a.half + i] = make_float2(cosine * a.scale, sine * a.scale);
    }
}

struct Append {
    void *q, *k;
    const void *v;
    void *keys, *values;     // the cache: [pages, kv_heads, page, dim]
    const float2 *angles;    // [n, half]
    int n, q_stride, k_stride, v_stride;
    int heads, kv_heads, dim, half, page;
};

// rotate turns the pair of units at p and p+half.
template <class T, int V>
__device__ __forceinline__ void rotate(float (&lower)[V], float (&upper)[V], const T *p, int half, const float2 *angle) {
    load_values(lower, p);
    load_values(upper, p + half);
#pragma unroll
    for (int j = 0; j < V; j++) {
        const float2 a = angle[j];
        const float x = lower[j], y = upper[j];
        lower[j] = x * a.x - y * a.y;
        upper[j] = y * a.x + x * a.y;
    }
}

template <class T, int V>
__device__ __forceinline__ void append(const Step &step, const Append &a, int t, int unit) {
    const int pairs = a.half / V, singles = (a.dim - 2 * a.half) / V;  // of a head
    const float2 *angles = a.angles + (long long)t * a.half;
    float lower[V], upper[V];
    if (unit < a.heads * pairs) {  // q
        const int i = unit % pairs * V;
        T *q = (T *)a.q + (long long)t * a.q_stride + unit / pairs * a.dim + i;
        rotate(lower, upper, q, a.half, angles + i);
        store_values(q, lower);
        store_values(q + a.half, upper);
        return;
    }
    unit -= a.heads * pairs;
    const int position = step.positions[t];
    const int page = step.pages[(long long)step.owner[t] * step.counts[COUNT_PAGES] + position / a.page];
    if (page < 0) return;
    const int place = position % a.page;
    const bool is_key = unit < a.kv_heads * (pairs + singles);
    if (!is_key) unit -= a.kv_heads * (pairs + singles);
    const int units = is_key ? pairs + singles : a.dim / V;
    const int head = unit / units, in_head = unit % units;
    const long long row = (((long long)page * a.kv_heads + head) * a.page + place) * a.dim;
    if (!is_key) {
        load_values(lower, (const T *)a.v + (long long)t * a.v_stride + head * a.dim + in_head * V);
        store_values((T *)a.values + row + in_head * V, lower);
        return;
    }
    T *k = (T *)a.k + (long long)t * a.k_stride + head * a.dim;
    T *to = (T *)a.keys + row;
    if (in_head < pairs) {
        const int i = in_head * V;
        rotate(lower, upper, k + i, a.half, angles + i);
        store_values(k + i, lower);
        store_values(k + i + a.half, upper);
        store_values(to + i, lower);
        store_values(to + i + a.half, upper);
    } else {
        const int i = 2 * a.half + (in_head - pairs) * V;
        load_values(lower, k + i);
        store_values(to + i, lower);
    }
}

template <class T, int V> __device__ __forceinline__ void append_tokens(const Step &step, const Append &a) {
    dependency_launch();
    dependency_wait();
    const int units = (a.heads * a.half + a.kv_heads * (a.dim - a.half) + a.kv_heads * a.dim) / V;
    const int unit = blockIdx.x * blockDim.x + threadIdx.x;
    if (unit >= units) return;
    for (int t = blockIdx.y; t < min(a.n, step.counts[COUNT_TOKENS]); t += gridDim.y) append<T, V>(step, a, t, unit);
}

#define KERNEL(NAME, T)                                                                                          \
    extern "C" __global__ void __launch_bounds__(128) append_##NAME(Step step, Append a) {                       \
        append_tokens<T, per16<T>>(step, a);                                                                     \
    }                                                                                                            \
    extern "C" __global__ void __launch_bounds__(128) append_any_##NAME(Step step, Append a) {                   \
        append_tokens<T, 1>(step, a);                                                                            \
    }
INSTANCES(KERNEL)
