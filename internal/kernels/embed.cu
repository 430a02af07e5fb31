// Embed: out[i, c] = table[tokens[i], c], converted to float32.
//
// Grid: x = pieces of a row, y = tokens; 128 threads. A thread copies V
// columns: 16 bytes of the table where addresses allow it, else one value.
#include "common.cuh"
#include "rows.cuh"

template <class T, int V>
__device__ __forceinline__ void embed(Step step, float *out, const T *table, int n, int width, int stride) {
    dependency_launch();
    dependency_wait();
    const int c = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    for (int i = blockIdx.y; i < min(n, step.counts[COUNT_TOKENS]); i += gridDim.y) {
        if (c >= width) return;
        float v[V];
        load_values(v, table + (long long)step.tokens[i] * width + c);
        store_values(out + (long long)i * stride + c, v);
    }
}

#define KERNEL(NAME, T)                                                                                          \
    extern "C" __global__ void __launch_bounds__(128)                                                            \
        embed_##NAME(Step step, float *out, const T *table, int n, int width, int stride) {                      \
        embed<T, per16<T>>(step, out, table, n, width, stride);                                                  \
    }                                                                                                            \
    extern "C" __global__ void __launch_bounds__(128)                                                            \
        embed_any_##NAME(Step step, float *out, const T *table, int n, int width, int stride) {                  \
        embed<T, 1>(step, out, table, n, width, stride);                                                         \
    }
INSTANCES(KERNEL)
