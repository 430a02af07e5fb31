// Attention over caches in 8 bits without tensor cores.
#pragma once
#include "bytes.cuh"
#include "plain.cuh"

// Row8 is a key or a value in 8 bits.
template <class F> struct Row8 {
    const unsigned char *at;
    float scale;
    __device__ __forceinline__ float operator[](int d) const {
        uint32_t low, high;
        F::widen(at[d], low, high);
        return unpack2<f16>(low).x * scale;
    }
};

// Bytes is a cache in 8 bits.
template <class F> struct Bytes {
    const Attend8 &a;
    __device__ __forceinline__ Row8<F> key(long long row) const {
        return {(const unsigned char *)a.a.k + row * a.a.head_dim, F::scaled ? key_scale(a.scales[row]) : a.k_scale};
    }
    __device__ __forceinline__ Row8<F> value(long long row) const {
        return {(const unsigned char *)a.a.v + row * a.a.head_dim, F::scaled ? value_scale(a.scales[row]) : a.v_scale};
    }
};
