// Made-up weights: out[i] = scale·(h|1)/2^15, h the half i%8, a signed number,
// of Philox with the seed as its key and i/8 as its counter: ops.Random, to the
// bit before the rounding to the type of out.
//
// Grid: as many blocks of 256 threads as the device holds, or fewer; a thread
// takes every so manieth eight values.
#include "common.cuh"
#include "philox.cuh"

// Random is randomArgs in random.go.
struct Random {
    uint64_t seed;
    long long n;
    float factor;  // scale/2^15
    int vectors;   // out can be written in 16-byte accesses
};

__device__ __forceinline__ float odd(uint32_t half, float factor) { return (float)((short)half | 1) * factor; }

template <class T> __device__ __forceinline__ void random(T *out, const Random &a) {
    dependency_launch();
    dependency_wait();
    const long long all = (long long)gridDim.x * blockDim.x;
    for (long long block = (long long)blockIdx.x * blockDim.x + threadIdx.x; 8 * block < a.n; block += all) {
        uint32_t c[4];
        philox(c, a.seed, (uint64_t)block >> 32, (uint32_t)block);
        float v[8];
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] = odd(c[i / 2] >> (16 * (i % 2)), a.factor);
        T *to = out + 8 * block;
        if (a.vectors && 8 * block + 8 <= a.n) {
#pragma unroll
            for (int i = 0; i < 8; i += per16<T>) {
                float w[per16<T>];
#pragma unroll
                for (int j = 0; j < per16<T>; j++) w[j] = v[i + j];
                store16(to + i, pack<T>(w));
            }
        } else {
#pragma unroll
            for (int i = 0; i < 8; i++)
                if (8 * block + i < a.n) to[i] = from_float<T>(v[i]);
        }
    }
}

#define KERNEL(NAME, T) \
    extern "C" __global__ void __launch_bounds__(256) random_##NAME(T *out, Random a) { random<T>(out, a); }
INSTANCES(KERNEL)
