// Reading and writing V values of a row at once: 16 bytes of the narrower type
// in the fast kernels, one value in those that take any address.
#pragma once
#include "common.cuh"

template <class T, int V> __device__ __forceinline__ void load_values(float (&v)[V], const T *p) {
    if constexpr (V == 1) {
        v[0] = to_float(*p);
    } else {
        static_assert(V % per16<T> == 0, "whole 16-byte accesses");
#pragma unroll
        for (int k = 0; k < V; k += per16<T>) unpack<T>(load16(p + k), reinterpret_cast<float(&)[per16<T>]>(v[k]));
    }
}

template <class T, int V> __device__ __forceinline__ void store_values(T *p, const float (&v)[V]) {
    if constexpr (V == 1) {
        *p = from_float<T>(v[0]);
    } else {
        static_assert(V % per16<T> == 0, "whole 16-byte accesses");
#pragma unroll
        for (int k = 0; k < V; k += per16<T>)
            store16(p + k, pack<T>(reinterpret_cast<const float(&)[per16<T>]>(v[k])));
    }
}
