// What all kernels share: element types, 16-byte loads, reductions, dependent
// launch and the step's metadata. Included by every .cu; it defines no kernel.
//
// Conventions. Kernels are extern "C", named operation_type (norm_bf16), with
// one instance for each activation type A: f32, bf16, f16. Sizes are int;
// offsets of rows are computed in long long, because caches and logits exceed
// 2^31 elements. Sums are float32.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
typedef unsigned long long uintptr_t;
typedef __nv_bfloat16 bf16;
typedef __half f16;

// Values of ops.Activation.
enum Activation { IDENTITY = 0, RELU2 = 1, SILU = 2, GELU = 3, GELU_TANH = 4 };

// Step is the batch in device memory: see batch.go. The addresses stay the same
// from step to step; counts holds what changes.
struct Step {
    const int *tokens;     // [n] ids
    const int *positions;  // [n] in their sequences
    const int *owner;      // [n] sequence of each token
    const int *start;      // [s+1] sequence i owns tokens start[i] to start[i+1]
    const int *slots;      // [s]
    const int *outputs;    // [r] rows whose logits are wanted
    const int *pages;      // [s * counts[3]] page tables, -1 past the end
    const int *counts;     // n, s, r, pages of a row of the table
};
enum { COUNT_TOKENS = 0, COUNT_SEQUENCES = 1, COUNT_OUTPUTS = 2, COUNT_PAGES = 3 };

// ---- conversions ----

__device__ __forceinline__ float to_float(float v) { return v; }
__device__ __forceinline__ float to_float(bf16 v) { return __bfloat162float(v); }
__device__ __forceinline__ float to_float(f16 v) { return __half2float(v); }

template <class T> __device__ __forceinline__ T from_float(float v);
template <> __device__ __forceinline__ float from_float<float>(float v) { return v; }
template <> __device__ __forceinline__ bf16 from_float<bf16>(float v) { return __float2bfloat16_rn(v); }
template <> __device__ __forceinline__ f16 from_float<f16>(float v) { return __float2half_rn(v); }

// Two values packed in 32 bits, the first in the lower half.
template <class T> __device__ __forceinline__ float2 unpack2(uint32_t v);
template <> __device__ __forceinline__ float2 unpack2<bf16>(uint32_t v) {
    return make_float2(__uint_as_float(v << 16), __uint_as_float(v & 0xffff0000u));
}
template <> __device__ __forceinline__ float2 unpack2<f16>(uint32_t v) {
    return __half22float2(*reinterpret_cast<__half2 *>(&v));
}

template <class T> __device__ __forceinline__ uint32_t pack2(float a, float b);
template <> __device__ __forceinline__ uint32_t pack2<bf16>(float a, float b) {
    __nv_bfloat162 v = __floats2bfloat162_rn(a, b);
    return *reinterpret_cast<uint32_t *>(&v);
}
template <> __device__ __forceinline__ uint32_t pack2<f16>(float a, float b) {
    __half2 v = __floats2half2_rn(a, b);
    return *reinterpret_cast<uint32_t *>(&v);
}

// Number of values in 16 bytes.
template <class T> constexpr int per16 = 16 / int(sizeof(T));

// unpack spreads 16 bytes over float32 values; pack rounds them back.
template <class T> __device__ __forceinline__ void unpack(const uint4 &v, float (&out)[per16<T>]) {
    if constexpr (sizeof(T) == 4) {
        out[0] = __uint_as_float(v.x), out[1] = __uint_as_float(v.y);
        out[2] = __uint_as_float(v.z), out[3] = __uint_as_float(v.w);
    } else {
        float2 a = unpack2<T>(v.x), b = unpack2<T>(v.y), c = unpack2<T>(v.z), d = unpack2<T>(v.w);
        out[0] = a.x, out[1] = a.y, out[2] = b.x, out[3] = b.y;
        out[4] = c.x, out[5] = c.y, out[6] = d.x, out[7] = d.y;
    }
}

template <class T> __device__ __forceinline__ uint4 pack(const float (&v)[per16<T>]) {
    if constexpr (sizeof(T) == 4) {
        return make_uint4(__float_as_uint(v[0]), __float_as_uint(v[1]), __float_as_uint(v[2]), __float_as_uint(v[3]));
    } else {
        return make_uint4(pack2<T>(v[0], v[1]), pack2<T>(v[2], v[3]), pack2<T>(v[4], v[5]), pack2<T>(v[6], v[7]));
    }
}

// ---- memory ----

// load_weights reads 16 bytes that are read once a step and never written
// while kernels run. It may be called before dependency_wait.
__device__ __forceinline__ uint4 load_weights(const void *p) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
    return v;
}

// load16 reads 16 bytes of activations: past the first-level cache, whose
// lines may be older than a kernel that ran just before.
__device__ __forceinline__ uint4 load16(const void *p) {
    uint4 v;
    asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p) : "memory");
    return v;
}

__device__ __forceinline__ void store16(void *p, const uint4 &v) { *reinterpret_cast<uint4 *>(p) = v; }

// aligned16 reports whether an address and a row stride of bytes allow 16-byte
// accesses in every row.
__device__ __forceinline__ bool aligned16(const void *p, long long stride_bytes = 0) {
    return ((reinterpret_cast<uintptr_t>(p) | (uintptr_t)stride_bytes) & 15) == 0;
}

__device__ __forceinline__ uint32_t shared_address(const void *p) { return (uint32_t)__cvta_generic_to_shared(p); }

// ---- reductions ----

__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
    for (int m = 16; m; m >>= 1) v += __shfl_xor_sync(0xffffffffu, v, m);
    return v;
}

__device__ __forceinline__ float warp_max(float v) {
#pragma unroll
    for (int m = 16; m; m >>= 1) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, m));
    return v;
}

// warp_sums adds N values at once, which hides the latency of the shuffles.
template <int N> __device__ __forceinline__ void warp_sums(float (&v)[N]) {
#pragma unroll
    for (int m = 16; m; m >>= 1)
#pragma unroll
        for (int i = 0; i < N; i++) v[i] += __shfl_xor_sync(0xffffffffu, v[i], m);
}

// block_sum returns the sum over all threads of the block, to all of them. The
// block is one-dimensional, of whole warps; scratch holds 32 floats and can be
// used again after the next barrier only.
__device__ __forceinline__ float block_sum(float v, float *scratch) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    v = warp_sum(v);
    if (warps == 1) return v;
    if (lane == 0) scratch[warp] = v;
    __syncthreads();
    return warp_sum(lane < warps ? scratch[lane] : 0.f);
}

__device__ __forceinline__ float block_max(float v, float *scratch) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    v = warp_max(v);
    if (warps == 1) return v;
    if (lane == 0) scratch[warp] = v;
    __syncthreads();
    return warp_max(scratch[lane < warps ? lane : 0]);
}

// ---- dependent launch ----
//
// Kernels are launched so that one begins while the one before it ends. Every
// thread of every kernel calls dependency_wait before it touches anything that
// another kernel reads or writes – before its first return, too: a kernel that
// does not wait lets the next one overtake the one before. Earlier may be read
// what no kernel of the step writes: weights, constants, the batch, and what
// earlier steps have left, because the first kernel of a step waits for all of
// that by its launch. dependency_launch says that the next kernel may be put on
// the device; call it early, unless the next one reads early what this one
// writes (moe_up.cu) or has seen written (experts_up).

__device__ __forceinline__ void dependency_wait() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

__device__ __forceinline__ void dependency_launch() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// ---- activations ----

__device__ __forceinline__ float sigmoid(float v) { return 1.f / (1.f + __expf(-v)); }

__device__ __forceinline__ float activate(float v, int act) {
    switch (act) {
    case RELU2: {
        const float r = fmaxf(v, 0.f);
        return v != v ? v : r * r;
    }
    case SILU: return v * sigmoid(v);
    case GELU: return 0.5f * v * erfcf(v * -0.70710678118654752f);
    case GELU_TANH: return v * sigmoid(1.5957691216057308f * (v + 0.044715f * v * v * v));
    }
    return v;
}

// INSTANCES defines a kernel for each activation type from a macro that takes
// the name's suffix and the type.
#define INSTANCES(KERNEL) KERNEL(f32, float) KERNEL(bf16, bf16) KERNEL(f16, f16)
