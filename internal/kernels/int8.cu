// Attention with keys and values in a cache of whole numbers with a scale for each
// vector: the kernels of kernels8.cuh for one format.
#include "bytes.cuh"

#define FORMAT int8
typedef Int8 Number;
#include "kernels8.cuh"
