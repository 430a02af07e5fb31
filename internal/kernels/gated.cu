// Gated norm: u = y · SiLU(z), out = u · rsqrt(mean(u²) + eps) · weight over
// groups of width columns.
//
// gated: a block a group, V columns a thread in registers; width is a multiple
// of V, at most 1024·V, addresses are aligned.
// gated_any: a warp a group of any width and address; 8 warps a block.
#include "common.cuh"
#include "rows.cuh"

struct Gated {
    const void *y, *z;
    void *out;
    const float *weight; // [groups·width]
    int width, groups, rows;
    int y_stride, z_stride, out_stride;
    float eps;
};

template <class T> __device__ __forceinline__ void gated(const Gated &a) {
    constexpr int V = per16<T>;
    __shared__ float scratch[32];
    dependency_launch();
    const int row = blockIdx.x / a.groups, c = threadIdx.x * V;
    const int at = blockIdx.x % a.groups * a.width + c;
    const bool in = c < a.width;
    float w[V] = {}, u[V] = {}, z[V] = {};
    if (in) load_values(w, a.weight + at);
    dependency_wait();
    if (in) {
        load_values(z, (const T *)a.z + (long long)row * a.z_stride + at);
        load_values(u, (const T *)a.y + (long long)row * a.y_stride + at);
    }
    float squares = 0.f;
#pragma unroll
    for (int i = 0; i < V; i++) {
        u[i] *= activate(z[i], SILU);
        squares = fmaf(u[i], u[i], squares);
    }
    const float scale = rsqrtf(block_sum(squares, scratch) / a.width + a.eps);
    if (!in) return;
#pragma unroll
    for (int i = 0; i < V; i++) u[i] *= scale * w[i];
    store_values((T *)a.out + (long long)row * a.out_stride + at, u);
}

template <class T> __device__ __forceinline__ void gated_any(const Gated &a) {
    dependency_launch();
    dependency_wait();
    const int lane = threadIdx.x & 31;
    const long long group = (long long)blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5);
    if (group >= (long long)a.rows * a.groups) return;
    const long long row = group / a.groups;
    const int at = int(group % a.groups) * a.width;
    const T *y = (const T *)a.y + row * a.y_stride + at, *z = (const T *)a.z + row * a.z_stride + at;
    T *out = (T *)a.out + row * a.out_stride + at;
    float squares = 0.f;
    for (int i = lane; i < a.width; i += 32) {
        const float u = to_float(y[i]) * activate(to_float(z[i]), SILU);
        squares = fmaf(u, u, squares);
    }
    const float scale = rsqrtf(warp_sum(squares) / a.width + a.eps);
    for (int i = lane; i < a.width; i += 32)
        out[i] = from_float<T>(to_float(y[i]) * activate(to_float(z[i]), SILU) * (scale * a.weight[at + i]));
}

#define KERNEL(NAME, T)                                                                                \
    extern "C" __global__ void __launch_bounds__(1024, 1) gated_##NAME(Gated a) { gated<T>(a); }      \
    extern "C" __global__ void __launch_bounds__(256) gated_any_##NAME(Gated a) { gated_any<T>(a); }
INSTANCES(KERNEL)
