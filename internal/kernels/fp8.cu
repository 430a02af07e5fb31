// Attention with keys and values in a cache of E4M3 numbers with a scale for each layer:
// the kernels of rotary.cu, attention.cu and prompt.cu for one format.
#include "append8.cuh"
#include "decode8.cuh"
#include "plain8.cuh"
#include "prompt8.cuh"

#define EACH(NAME, T)                                                                                                  \
    extern "C" __global__ void __launch_bounds__(32 * APPEND_WARPS) append_fp8_##NAME(Step step, Append8 a) {            \
        append8_tokens<T, Fp8>(step, a);                                                                               \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(32 * PLAIN_WARPS) attend_plain_fp8_##NAME(Attend8 a, Step step) {       \
        attend_plain<T>(a.a, Bytes<Fp8>{a}, step);                                                                     \
    }
INSTANCES(EACH)

#define DECODE(NAME, T, D, N, BLOCKS)                                                                                       \
    extern "C" __global__ void __launch_bounds__(32 * DECODE_WARPS, BLOCKS) attend_decode_fp8_##NAME(Attend8 a, Step step) { \
        attend_decode8<T, Fp8, D, N>(a, step);                                                                              \
    }
DECODE(bf16_64_8, bf16, 64, 1, 4)
DECODE(bf16_64_16, bf16, 64, 2, 3)
DECODE(bf16_128_8, bf16, 128, 1, 3)
DECODE(bf16_128_16, bf16, 128, 2, 2)
DECODE(bf16_192_8, bf16, 192, 1, 2)
DECODE(bf16_256_8, bf16, 256, 1, 2)
DECODE(f16_64_8, f16, 64, 1, 4)
DECODE(f16_64_16, f16, 64, 2, 3)
DECODE(f16_128_8, f16, 128, 1, 3)
DECODE(f16_128_16, f16, 128, 2, 2)
DECODE(f16_192_8, f16, 192, 1, 2)
DECODE(f16_256_8, f16, 256, 1, 2)

#define PROMPT(NAME, T, D)                                                                                                \
    extern "C" __global__ void __launch_bounds__(Shape<D>::threads) attend_prompt_fp8_##NAME(Attend8 a, Step step) { \
        attend_prompt8<T, Fp8, D>(a, step);                                                                              \
    }
PROMPT(bf16_64, bf16, 64)
PROMPT(bf16_128, bf16, 128)
PROMPT(bf16_192, bf16, 192)
PROMPT(bf16_256, bf16, 256)
PROMPT(f16_64, f16, 64)
PROMPT(f16_128, f16, 128)
PROMPT(f16_192, f16, 192)
PROMPT(f16_256, f16, 256)
