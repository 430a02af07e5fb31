// Norm: out = (x - mean) · rsqrt(mean((x - mean)²) + eps) · weight + bias over
// groups of width columns; without centring the mean counts as 0.
//
// norm: a block a group, 8 columns a thread at a time, values in registers;
// width is a multiple of 8, at most 8·1024·CHUNKS, addresses are aligned.
// norm_any: a warp a group of any width and address; 8 warps a block.
#include "moments.cuh"
#include "rows.cuh"

struct Norm {
    const float *weight;  // [width]
    const float *bias;    // [width] or null
    int width, groups;    // of a row
    int rows, x_stride, out_stride;
    int center;
    float eps;
};

constexpr int V = 8;
constexpr int CHUNKS = 3;

template <class In, class Out>
__device__ __forceinline__ void norm(const In *x, Out *out, const Norm &a) {
    dependency_launch();
    const int chunks = a.width / V;
    float w[V], bias[V] = {}, v[CHUNKS][V];
    const int first = threadIdx.x * V;
    // The first chunk's constants come while the kernel before this one ends;
    // rows of at most 8192 columns have no other.
    if (threadIdx.x < chunks) {
        load_values(w, a.weight + first);
        if (a.bias) load_values(bias, a.bias + first);
    }
    dependency_wait();
    const int row = blockIdx.x / a.groups, at = blockIdx.x % a.groups * a.width;
    x += (long long)row * a.x_stride + at;
    out += (long long)row * a.out_stride + at;
#pragma unroll
    for (int k = 0; k < CHUNKS; k++) {
        const int i = threadIdx.x + k * blockDim.x;
        if (i < chunks) load_values(v[k], x + i * V);
    }
    const float2 s = block_scale(v, chunks, a.width, a.center, a.eps, blockDim.x);
#pragma unroll
    for (int k = 0; k < CHUNKS; k++) {
        const int i = threadIdx.x + k * blockDim.x;
        if (i >= chunks) return;
        if (k > 0) {
            load_values(w, a.weight + i * V);
            if (a.bias) load_values(bias, a.bias + i * V);
        }
#pragma unroll
        for (int j = 0; j < V; j++) v[k][j] = (v[k][j] - s.x) * s.y * w[j] + bias[j];
        store_values(out + i * V, v[k]);
    }
}

template <class In, class Out>
__device__ __forceinline__ void norm_any(const In *x, Out *out, const Norm &a) {
    dependency_launch();
    dependency_wait();
    const int lane = threadIdx.x & 31;
    const long long group = (long long)blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5);
    if (group >= (long long)a.rows * a.groups) return;
    const long long row = group / a.groups;
    const int at = int(group % a.groups) * a.width;
    x += row * a.x_stride + at;
    out += row * a.out_stride + at;
    float mean = 0.f, squares = 0.f;
    if (a.center) {
        for (int i = lane; i < a.width; i += 32) mean += to_float(x[i]);
        mean = warp_sum(mean) / a.width;
    }
    for (int i = lane; i < a.width; i += 32) {
        const float d = to_float(x[i]) - mean;
        squares += d * d;
    }
    const float scale = rsqrtf(warp_sum(squares) / a.width + a.eps);
    for (int i = lane; i < a.width; i += 32)
        out[i] = from_float<Out>((to_float(x[i]) - mean) * scale * a.weight[i] + (a.bias ? a.bias[i] : 0.f));
}

#define PAIR(NAME, In, Out)                                                                                      \
    extern "C" __global__ void __launch_bounds__(1024, 1) norm_##NAME(const In *x, Out *out, Norm a) {           \
        norm<In, Out>(x, out, a);                                                                                \
    }                                                                                                            \
    extern "C" __global__ void __launch_bounds__(256) norm_any_##NAME(const In *x, Out *out, Norm a) {           \
        norm_any<In, Out>(x, out, a);                                                                            \
    }
PAIR(f32_f32, float, float)
PAIR(f32_bf16, float, bf16)
PAIR(bf16_bf16, bf16, bf16)
PAIR(bf16_f32, bf16, float)
PAIR(f32_f16, float, f16)
PAIR(f16_f16, f16, f16)
PAIR(f16_f32, f16, float)
