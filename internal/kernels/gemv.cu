// Linear layers for one token: out[rows] = act(W·y + bias), or out += that,
// where y is x, or the norm of a float32 x that this kernel computes on the way.
// All that counts is how early and how steadily the weights are read.
//
// gemv_T_P, gemv_T_P_many and gemv_T_P_many_norm (Hopper and later; cols a
// multiple of 8): a block a multiprocessor, eight warps, each with consecutive
// rows of its own and a ring of slots in shared memory, a slot a segment of a
// row. One lane fills them by bulk copies, the first time before the kernel
// waits for the one ahead. P is the number of pieces of 16 bytes that a lane
// reads of a segment. A row is one segment, and rows are a plain stream; or it
// is many, and ROWS rows go through the segments together. Of many, what a norm
// needs takes so many registers that it has an instance of its own.
// Launch: grid = multiprocessors, block = 256, shared as gemvPlan in gemv.go.
#include "gemv.cuh"

#if __CUDA_ARCH__ >= 900
// Blocks of 112 registers, which those without a bound do not exceed either, have
// room beside those of attend_cluster.cu.
#define GEMV_ONE(NAME, T, P)                                                                                     \
    extern "C" __global__ void __launch_bounds__(THREADS, 1) gemv_##NAME##_##P(const __grid_constant__ Gemv a) { \
        gemv<T, Shape<P, false, false>>(a, Alone());                                                                      \
    }
#define GEMV(NAME, T, P)                                                                                                   \
    GEMV_ONE(NAME, T, P)                                                                                                   \
    extern "C" __global__ void __maxnreg__(112) gemv_##NAME##_##P##_many(const __grid_constant__ Gemv a) {                 \
        gemv<T, Shape<P, true, false>>(a, Alone());                                                                                 \
    }                                                                                                                      \
    extern "C" __global__ void __launch_bounds__(THREADS, 1) gemv_##NAME##_##P##_many_norm(const __grid_constant__ Gemv a) { \
        gemv<T, Shape<P, true, true>>(a, Alone());                                                                                  \
    }
#define WIDTHS(NAME, T) GEMV_ONE(NAME, T, 2) GEMV(NAME, T, 4) GEMV(NAME, T, 6) GEMV(NAME, T, 8) GEMV(NAME, T, 10) GEMV(NAME, T, 12)
WIDTHS(bf16, bf16)
WIDTHS(f16, f16)
#endif
