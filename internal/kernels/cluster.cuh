// Clusters: blocks that run at the same time and reach each other's shared
// memory. Compute capability 9.0 and later; kernels that need them are not
// started elsewhere.
#pragma once
#include "common.cuh"

// CLUSTER gives a kernel's clusters their number of blocks.
#if __CUDA_ARCH__ >= 900
#define CLUSTER(n) __cluster_dims__(n)
#else
#define CLUSTER(n)
#endif

__device__ __forceinline__ int cluster_rank() {
    uint32_t r = 0;
#if __CUDA_ARCH__ >= 900
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
#endif
    return r;
}

// cluster_arrive and cluster_wait are the halves of a barrier of all threads of
// the cluster: what a thread wrote before it arrived is seen after the wait.
__device__ __forceinline__ void cluster_arrive() {
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#endif
}

__device__ __forceinline__ void cluster_wait() {
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}

// cluster_store writes to where p lies in the shared memory of another block.
__device__ __forceinline__ void cluster_store(float *p, int rank, float v) {
#if __CUDA_ARCH__ >= 900
    asm volatile("{\n\t.reg .u32 at;\n\tmapa.shared::cluster.u32 at, %0, %1;\n\tst.shared::cluster.f32 [at], %2;\n\t}" ::"r"(shared_address(p)),
                 "r"(rank), "f"(v)
                 : "memory");
#endif
}

// cluster_load reads what stands at p in the shared memory of another block.
__device__ __forceinline__ float cluster_load(const float *p, int rank) {
    float v = 0.f;
#if __CUDA_ARCH__ >= 900
    uint32_t at;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(at) : "r"(shared_address(p)), "r"(rank));
    asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(v) : "r"(at));  // many may be under way
#endif
    return v;
}
