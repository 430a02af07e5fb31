// Kernels with one mistake each, and what is right beside it: the emulator's
// test says what it must find.
#include "../../mma.cuh"
#include "../../cluster.cuh"

// ---- memory ----

extern "C" __global__ void past_the_end(float *out, int n) { out[threadIdx.x + blockIdx.x * blockDim.x + n] = 1.f; }

extern "C" __global__ void misaligned(float *out) { *(float4 *)(out + threadIdx.x) = make_float4(0.f, 0.f, 0.f, 0.f); }

extern "C" __global__ void past_shared(float *out) {
    extern __shared__ float memory[];
    memory[threadIdx.x + 1] = 1.f;
    out[threadIdx.x] = memory[threadIdx.x];
}

extern "C" __global__ void index_too_large(float *out, int i) {
    __shared__ float values[32];
    values[threadIdx.x + i] = 1.f;
    out[threadIdx.x] = values[threadIdx.x];
}

// ---- barriers ----

// reversed turns a block's values round, with or without the barrier that it
// takes.
extern "C" __global__ void reversed(float *out, int waits) {
    __shared__ float values[256];
    values[threadIdx.x] = (float)threadIdx.x;
    if (waits) __syncthreads();
    out[threadIdx.x] = values[blockDim.x - 1 - threadIdx.x];
}

// reversed_warp is the same within a warp.
extern "C" __global__ void reversed_warp(float *out, int waits) {
    __shared__ float values[32];
    values[threadIdx.x] = (float)threadIdx.x;
    if (waits) __syncwarp();
    out[threadIdx.x] = values[31 - threadIdx.x];
}

extern "C" __global__ void barrier_of_some(float *out) {
    if (threadIdx.x < 32) asm volatile("bar.sync 1, 64;" ::: "memory");
    out[threadIdx.x] = 1.f;
}

extern "C" __global__ void shuffle_of_some(float *out) {
    float v = 1.f;
    if (threadIdx.x & 1) v = __shfl_xor_sync(0xffffffffu, v, 1);
    else __syncwarp();
    out[threadIdx.x] = v;
}

extern "C" __global__ void waits_for_ever(unsigned int *flag) {
    while (atomicAdd(flag, 0u) == 0) __nanosleep(1);
}

// ---- copies ----

// copied copies through shared memory in the background.
extern "C" __global__ void copied(const float *in, float *out, int waits) {
    __shared__ __align__(16) float values[4 * 32];
    copy_chunk(shared_address(values + 4 * threadIdx.x), in + 4 * threadIdx.x, true);
    end_copies();
    if (waits) await_copies<0>();
    for (int i = 0; i < 4; i++) out[4 * threadIdx.x + i] = values[4 * threadIdx.x + i];
}

extern "C" __global__ void copied_in_bulk(const float *in, float *out, int waits) {
    __shared__ __align__(16) float values[256];
    __shared__ barrier_t full;
    if (threadIdx.x == 0) {
        barrier_init(&full, 1);
        barrier_publish();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        barrier_expect(&full, sizeof values);
        copy_bulk(values, in, sizeof values, &full, stream_policy());
    }
    if (waits) barrier_wait(&full, 0);
    out[threadIdx.x] = values[threadIdx.x];
    barrier_wait(&full, 0);
}

extern "C" __global__ void too_many_bytes(const float *in, float *out) {
    __shared__ __align__(16) float values[64];
    __shared__ barrier_t full;
    if (threadIdx.x == 0) {
        barrier_init(&full, 1);
        barrier_publish();
        barrier_expect(&full, sizeof values + 16);
        copy_bulk(values, in, sizeof values, &full, stream_policy());
    }
    __syncthreads();
    barrier_wait(&full, 0);
    out[threadIdx.x] = values[threadIdx.x];
}

// ---- clusters ----

// sent stores to the other block of the cluster, and reports to a barrier there.
// Nobody may do so before the barrier is there, nor end before all has come.
extern "C" __global__ void CLUSTER(2) sent(float *out, int waits) {
    __shared__ __align__(16) float2 value;
    __shared__ barrier_t arrived;
    if (threadIdx.x == 0) {
        barrier_init(&arrived, 1);
        barrier_expect(&arrived, sizeof value);
    }
    if (waits > 0) cluster_arrive(), cluster_wait();
    if (threadIdx.x == 0) {
        const float v = blockIdx.x, one = 1.f;
        const int rank = 1 - cluster_rank();
        asm volatile(
                "{\n\t.reg .u32 to, bar;\n\tmapa.shared::cluster.u32 to, %0, %2;\n\tmapa.shared::cluster.u32 bar, %1, %2;\n\t"
                "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [to], {%3, %4}, [bar];\n\t}" ::"r"(shared_address(&value)),
                "r"(shared_address(&arrived)), "r"(rank), "f"(v), "f"(one)
                : "memory");
    }
    if (waits > 1) barrier_wait(&arrived, 0);
    if (threadIdx.x == 0) out[blockIdx.x] = value.x * value.y;
}

// neighbours reads what the other block of the cluster has in shared memory.
extern "C" __global__ void CLUSTER(2) neighbours(float *out, int waits) {
    __shared__ float value;
    if (threadIdx.x == 0) value = (float)blockIdx.x;
    if (waits > 0) cluster_arrive(), cluster_wait();
    if (threadIdx.x == 0) out[blockIdx.x] = cluster_load(&value, 1 - cluster_rank());
    if (waits > 1) cluster_arrive(), cluster_wait();
}

// ---- products ----

// product multiplies A[16, 16] and B[16, 8], both of BF16, by rows: columns of B
// lie in rows.
extern "C" __global__ void product(const bf16 *a, const bf16 *b, float *out) {
    __shared__ __align__(16) bf16 rows[16][16];
    const int lane = threadIdx.x, g = lane / 4, t = 2 * (lane % 4);
    for (int i = lane; i < 256; i += 32) rows[i / 16][i % 16] = a[i];
    __syncwarp();
    uint32_t r[4];
    load_matrices(r, shared_address(&rows[lane % 16][lane / 16 * 8]));
    float c[4] = {};
    accumulate<bf16>(c, r[0], r[1], r[2], r[3], *(const uint32_t *)(b + 16 * g + t), *(const uint32_t *)(b + 16 * g + t + 8));
    for (int i = 0; i < 4; i++) out[8 * (g + i / 2 * 8) + t + i % 2] = c[i];
}
