// The kernels of rotary.cu, attention.cu and prompt.cu for caches in 8 bits. Who
// includes this says first which format: FORMAT, its name in those of the kernels,
// and Number, its type in bytes.cuh.
#pragma once
#include "append8.cuh"
#include "decode8.cuh"
#include "plain8.cuh"
#include "prompt8.cuh"
#include "wide8.cuh"

#define JOIN_NAMES(KERNEL, FORMAT, NAME) KERNEL##_##FORMAT##_##NAME
#define JOIN(KERNEL, FORMAT, NAME) JOIN_NAMES(KERNEL, FORMAT, NAME)

#define EACH(NAME, T)                                                                                               \
    extern "C" __global__ void __launch_bounds__(32 * APPEND_WARPS) JOIN(append, FORMAT, NAME)(Step step, Append8 a) { \
        append8_tokens<T, Number>(step, a);                                                                         \
    }                                                                                                               \
    extern "C" __global__ void __launch_bounds__(32 * PLAIN_WARPS) JOIN(attend_plain, FORMAT, NAME)(Attend8 a, Step step) { \
        attend_plain<T>(a.a, Bytes<Number>{a}, step);                                                               \
    }
INSTANCES(EACH)

#define DECODE(NAME, ATTEND, T, D)                                                                                  \
    extern "C" __global__ void __launch_bounds__(32 * DECODE_WARPS, 2) JOIN(attend_decode, FORMAT, NAME)(Attend8 a, Step step) { \
        ATTEND<T, Number, D>(a, step);                                                                              \
    }
DECODE(bf16_64_16, attend_wide8, bf16, 64)
DECODE(bf16_128_16, attend_wide8, bf16, 128)
DECODE(bf16_192_8, attend_decode8, bf16, 192)
DECODE(bf16_256_8, attend_decode8, bf16, 256)
DECODE(f16_64_16, attend_wide8, f16, 64)
DECODE(f16_128_16, attend_wide8, f16, 128)
DECODE(f16_192_8, attend_decode8, f16, 192)
DECODE(f16_256_8, attend_decode8, f16, 256)

#define PROMPT(NAME, T, D)                                                                                          \
    extern "C" __global__ void __launch_bounds__(Shape<D>::threads) JOIN(attend_prompt, FORMAT, NAME)(Attend8 a, Step step) { \
        attend_prompt8<T, Number, D>(a, step);                                                                      \
    }
PROMPT_INSTANCES(PROMPT)
