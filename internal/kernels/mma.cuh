// Tensor-core products and the copies that feed them: thin names for single
// instructions. What an architecture lacks is left out; kernels that need it
// are not started there.
#pragma once
#include "common.cuh"

// accumulate adds A[16, 16]·B[16, 8] to c. With lane = 4·g + t, a lane holds
// A[g], A[g+8] (a0, a1) at columns 2t and 2t+1, the same rows (a2, a3) eight
// columns on, B rows 2t and 2t+1 (b0) and eight rows on (b1) of column g, and
// C[g] and C[g+8] at columns 2t and 2t+1.
template <class T>
__device__ __forceinline__ void accumulate(float (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1);

template <>
__device__ __forceinline__ void accumulate<bf16>(float (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                              : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                              : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
#endif
}

template <>
__device__ __forceinline__ void accumulate<f16>(float (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                              : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                              : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
#endif
}

// load_matrices loads four 8×8 matrices of 16-bit numbers; lane 8i+r gives the
// address of row r of matrix i.
__device__ __forceinline__ void load_matrices(uint32_t (&r)[4], uint32_t address) {
#if __CUDA_ARCH__ >= 750
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
#endif
}

// load_transposed does so, each the other way round.
__device__ __forceinline__ void load_transposed(uint32_t (&r)[4], uint32_t address) {
#if __CUDA_ARCH__ >= 750
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
#endif
}

// store_shared writes 16 bytes to an address in shared memory.
__device__ __forceinline__ void store_shared(uint32_t to, const uint4 &v) {
    asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}

// copy_chunk copies 16 bytes to shared memory in the background, or, with
// bytes 0, writes zeros there.
__device__ __forceinline__ void copy_chunk(uint32_t to, const void *from, int bytes) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
#endif
}

__device__ __forceinline__ void copy_chunk(uint32_t to, const void *from, bool present) { copy_chunk(to, from, present ? 16 : 0); }

// end_copies closes a group of copies; await_copies waits until at most N
// groups are under way.
__device__ __forceinline__ void end_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

template <int N>
__device__ __forceinline__ void await_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
}

// Barriers in shared memory. A phase ends when all arrivals have come and all
// announced bytes have landed; barrier_wait waits for the end of the phase with
// the given parity, the first one being 0.
typedef uint64_t barrier_t;

__device__ __forceinline__ void barrier_init(barrier_t *b, int arrivals) {
#if __CUDA_ARCH__ >= 900
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(b)), "r"(arrivals) : "memory");
#endif
}

// barrier_publish makes initialised barriers known to the copy engine.
__device__ __forceinline__ void barrier_publish() {
#if __CUDA_ARCH__ >= 900
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async;" ::: "memory");
#endif
}

__device__ __forceinline__ void barrier_arrive(barrier_t *b) {
#if __CUDA_ARCH__ >= 900
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(b)) : "memory");
#endif
}

// barrier_expect arrives and announces bytes that copies will bring.
__device__ __forceinline__ void barrier_expect(barrier_t *b, uint32_t bytes) {
#if __CUDA_ARCH__ >= 900
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(b)), "r"(bytes) : "memory");
#endif
}

__device__ __forceinline__ void barrier_wait(barrier_t *b, uint32_t parity) {
#if __CUDA_ARCH__ >= 900
    uint32_t done;
    do {
        asm volatile(
                "{\n\t.reg .pred p;\n\tmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n\tselp.u32 %0, 1, 0, p;\n\t}"
                : "=r"(done)
                : "r"(shared_address(b)), "r"(parity)
                : "memory");
    } while (!done);
#endif
}

// stream_policy tells the second-level cache that data is read once.
__device__ __forceinline__ uint64_t stream_policy() {
    uint64_t policy = 0;
#if __CUDA_ARCH__ >= 900
    asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
#endif
    return policy;
}

// copy_bulk copies a multiple of 16 bytes, aligned to 16 bytes at both ends,
// to shared memory and reports them to the barrier.
__device__ __forceinline__ void copy_bulk(void *to, const void *from, uint32_t bytes, barrier_t *b, uint64_t policy) {
#if __CUDA_ARCH__ >= 900
    asm volatile(
            "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;" ::"r"(shared_address(to)),
            "l"(from), "r"(bytes), "r"(shared_address(b)), "l"(policy)
            : "memory");
#endif
}
