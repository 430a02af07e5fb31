// Multiply: out = act(gate) ⊙ up. Grid: x = pieces of a row, y = rows; 128
// threads of V columns each.
//
// Gather: out[i] = x[outputs[i]], in units of 16 bytes or of 2.
#include "common.cuh"
#include "rows.cuh"

struct Multiply {
    int rows, cols;
    int out_stride, gate_stride, up_stride;
    int act;
};

template <class T, int V>
__device__ __forceinline__ void multiply(T *out, const T *gate, const T *up, const Multiply &a) {
    dependency_launch();
    dependency_wait();
    const int c = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    if (c >= a.cols) return;
    for (long long r = blockIdx.y; r < a.rows; r += gridDim.y) {
        float g[V], u[V];
        load_values(g, gate + r * a.gate_stride + c);
        load_values(u, up + r * a.up_stride + c);
#pragma unroll
        for (int j = 0; j < V; j++) g[j] = activate(g[j], a.act) * u[j];
        store_values(out + r * a.out_stride + c, g);
    }
}

#define KERNEL(NAME, T)                                                                                          \
    extern "C" __global__ void __launch_bounds__(128)                                                            \
        multiply_##NAME(T *out, const T *gate, const T *up, Multiply a) {                                        \
        multiply<T, per16<T>>(out, gate, up, a);                                                                 \
    }                                                                                                            \
    extern "C" __global__ void __launch_bounds__(128)                                                            \
        multiply_any_##NAME(T *out, const T *gate, const T *up, Multiply a) {                                    \
        multiply<T, 1>(out, gate, up, a);                                                                        \
    }
INSTANCES(KERNEL)

// units of a row; strides in units.
template <class U>
__device__ __forceinline__ void gather(const Step &step, U *out, const U *x, int n, int units, int out_stride, int x_stride) {
    dependency_launch();
    dependency_wait();
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= units) return;
    for (int i = blockIdx.y; i < min(n, step.counts[COUNT_OUTPUTS]); i += gridDim.y)
        out[(long long)i * out_stride + c] = x[(long long)step.outputs[i] * x_stride + c];
}

extern "C" __global__ void __launch_bounds__(128)
    gather_16(Step step, uint4 *out, const uint4 *x, int n, int units, int out_stride, int x_stride) {
    gather(step, out, x, n, units, out_stride, x_stride);
}

extern "C" __global__ void __launch_bounds__(128)
    gather_2(Step step, uint16_t *out, const uint16_t *x, int n, int units, int out_stride, int x_stride) {
    gather(step, out, x, n, units, out_stride, x_stride);
}
