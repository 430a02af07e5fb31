// Embed: out[i, c] = table[tokens[i], c], converted to float32. A token below 0
// is the id that row -1 - tokens[i] of the step before has chosen: the first of
// the four words of a Result in sample.cu.
//
// Grid: x = pieces of a row, y = tokens; 128 threads. A thread copies V
// columns: 16 bytes of the table where addresses allow it, else one value.
#include "common.cuh"
#include "rows.cuh"

template <class T, int V>
__device__ __forceinline__ void embed(Step step, const int *chosen, float *out, const T *table, int n, int width,
                                      int stride) {
    dependency_launch();
    dependency_wait();
    const int c = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    for (int i = blockIdx.y; i < min(n, step.counts[COUNT_TOKENS]); i += gridDim.y) {
        if (c >= width) return;
        const int token = step.tokens[i];
        const int id = token < 0 ? __ldcg(chosen + 4 * (-1 - token)) : token;
        float v[V];
        load_values(v, table + (long long)id * width + c);
        store_values(out + (long long)i * stride + c, v);
    }
}

#define KERNEL(NAME, T)                                                                                          \
    extern "C" __global__ void __launch_bounds__(128)                                                            \
        embed_##NAME(Step step, const int *chosen, float *out, const T *table, int n, int width, int stride) {   \
        embed<T, per16<T>>(step, chosen, out, table, n, width, stride);                                          \
    }                                                                                                            \
    extern "C" __global__ void __launch_bounds__(128)                                                            \
        embed_any_##NAME(Step step, const int *chosen, float *out, const T *table, int n, int width, int stride) { \
        embed<T, 1>(step, chosen, out, table, n, width, stride);                                                 \
    }
INSTANCES(KERNEL)
