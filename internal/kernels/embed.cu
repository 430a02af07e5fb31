// What a step begins with.
//
// load_batch: words of pinned host memory, copied to the device: the batch. A copy
// of the stream would do the same by a copy engine, and takes longer to begin and
// to end than these few KB to move; while single tokens are decoded, nothing else
// stands between two steps. The host's memory is read before the kernel ahead has
// ended: no kernel writes it. What comes next begins when this has ended (step.loaded
// in batch.go), so that kernels may read the batch, and what earlier steps have
// left, before they wait. Grid: n / 256; 256 threads, of which each copies 16 bytes.
//
// Embed: out[i, c] = table[tokens[i], c], converted to float32. A token below 0
// is the id that row -1 - tokens[i] of the step before has chosen: the first of
// the four words of a Result in sample.cu.
//
// Grid: x = pieces of a row, y = tokens; 128 threads. A thread copies V
// columns: 16 bytes of the table where addresses allow it, else one value.
#include "common.cuh"
#include "rows.cuh"

extern "C" __global__ void __launch_bounds__(256) load_batch(uint4 *to, const uint4 *from, int n) {
    const int i = blockIdx.x * 256 + threadIdx.x;
    uint4 v = make_uint4(0, 0, 0, 0);
    if (i < n) v = __ldcv(from + i);
    dependency_wait(); // what is replaced may still be read
    if (i < n) to[i] = v;
}

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
