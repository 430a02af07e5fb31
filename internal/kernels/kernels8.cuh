// The kernels of rotary.cu, attention.cu and prompt.cu for caches in 8 bits. Who
// includes this says first which format: FORMAT, its name in those of the kernels,
// and Number, its type in bytes.cuh.
#pragma once
#include "append8.cuh"
#include "decode8.cuh"
#include "plain8.cuh"
#include "prompt8.cuh"

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

#define DECODE(NAME, T, D, N, BLOCKS)                                                                               \
    extern "C" __global__ void __launch_bounds__(32 * DECODE_WARPS, BLOCKS) JOIN(attend_decode, FORMAT, NAME)(Attend8 a, Step step) { \
        attend_decode8<T, Number, D, N>(a, step);                                                                   \
    }
DECODE_INSTANCES(DECODE)

#define PROMPT(NAME, T, D)                                                                                          \
    extern "C" __global__ void __launch_bounds__(Shape<D>::threads) JOIN(attend_prompt, FORMAT, NAME)(Attend8 a, Step step) { \
        attend_prompt8<T, Number, D>(a, step);                                                                      \
    }
PROMPT_INSTANCES(PROMPT)
