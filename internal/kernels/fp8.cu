// Attention with keys and values in a cache of E4M3 numbers with a scale for each
// layer: the kernels of kernels8.cuh for one format.
#include "bytes.cuh"

#define FORMAT fp8
typedef Fp8 Number;
#include "kernels8.cuh"
