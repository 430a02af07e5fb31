// Random numbers, as internal/ops makes them.
#pragma once
#include "common.cuh"

// philox is Philox4x32-10 with the seed as its key and (block, step) as its
// counter, see internal/ops/sample.go.
__device__ __forceinline__ void philox(uint32_t (&c)[4], uint64_t seed, uint64_t step, uint32_t block) {
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    c[0] = block, c[1] = (uint32_t)step, c[2] = (uint32_t)(step >> 32), c[3] = 0;
#pragma unroll
    for (int i = 0; i < 10; i++) {
        const uint64_t a = (uint64_t)c[0] * 0xD2511F53u, b = (uint64_t)c[2] * 0xCD9E8D57u;
        c[0] = (uint32_t)(b >> 32) ^ c[1] ^ k0, c[1] = (uint32_t)b;
        c[2] = (uint32_t)(a >> 32) ^ c[3] ^ k1, c[3] = (uint32_t)a;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
}
