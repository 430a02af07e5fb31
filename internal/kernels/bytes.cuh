// Caches of keys and values in 8 bits: whole numbers with a scale for each
// vector (Int8), or E4M3 numbers with one for a layer (Fp8). See Attend8.
#pragma once
#include "attend.cuh"

// Attend8 is attend8Args in attention8.go.
struct Attend8 {
    Attend a;
    const uint32_t *scales; // Int8: of each row of the cache, the key's and the value's, as two bf16
    float k_scale, v_scale; // Fp8
    bool rows;              // of attend_decode: y is a token, not a sequence
};

__device__ __forceinline__ bool is_f16(const f16 *) { return true; }
__device__ __forceinline__ bool is_f16(const bf16 *) { return false; }

// E4M3 numbers: a sign, four bits of exponent with a bias of 7, three of
// fraction; subnormals, no infinities, NaN where all bits but the sign are set.
// f16 holds all of them.

// widen_e4m3 widens four bytes to four f16.
__device__ __forceinline__ void widen_e4m3(uint32_t bytes, uint32_t &low, uint32_t &high) {
#if __CUDA_ARCH__ >= 890
    asm("{\n\t.reg .b16 l, h;\n\tmov.b32 {l, h}, %2;\n\tcvt.rn.f16x2.e4m3x2 %0, l;\n\tcvt.rn.f16x2.e4m3x2 %1, h;\n\t}" : "=r"(low), "=r"(high) : "r"(bytes));
#else
    // A byte in the upper half of its 16 bits, moved by one, has exponent and
    // fraction in place. They are 2^8 too small, as the biases differ by 8.
    auto pair = [](uint32_t wide) {
        const uint32_t size = wide >> 1 & 0x3f803f80u, nan = __vcmpeq2(size, 0x3f803f80u) & 0x7e007e00u;
        const __half2 v = __hmul2(*reinterpret_cast<const __half2 *>(&size), __float2half2_rn(256.f));
        return *reinterpret_cast<const uint32_t *>(&v) | nan | (wide & 0x80008000u);
    };
    low = pair(__byte_perm(bytes, 0, 0x1404)), high = pair(__byte_perm(bytes, 0, 0x3424));
#endif
}

// to_e4m3 rounds to nearest even; what is beyond ±448 becomes ±448, NaN 0x7f.
__device__ __forceinline__ uint32_t to_e4m3(float v) {
#if __CUDA_ARCH__ >= 890
    unsigned short r;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(r) : "f"(0.f), "f"(v));
    return r & 0xffu;
#else
    uint32_t b = __float_as_uint(v);
    const uint32_t sign = b >> 24 & 0x80u;
    b &= 0x7fffffffu;
    if (b > 0x7f800000u) return 0x7fu;
    if (b >= 0x43e00000u) return sign | 0x7eu;
    // Below 2^-6 in units of 2^-9: adding 2^14 rounds to them.
    if (b < 0x3c800000u) return sign | (__float_as_uint(__fadd_rn(__uint_as_float(b), 16384.f)) - 0x46800000u);
    b += 0x7ffffu + (b >> 20 & 1u);
    return sign | (b - 0x3c000000u) >> 20;
#endif
}

// to_int8 rounds to nearest even, and to ±127 what is beyond; NaN becomes 0.
__device__ __forceinline__ uint32_t to_int8(float v) {
    return v != v ? 0u : (uint32_t)min(127, max(-127, __float2int_rn(v))) & 0xffu;
}

// int8_scale is ops.Int8Scale: of a vector whose largest component has the
// magnitude most, given as bits so that NaN is the largest of all.
__device__ __forceinline__ float int8_scale(uint32_t most) {
    const float scale = __fdiv_rn(__uint_as_float(most), 127.f);
    if (scale < 0x1p-100f) return 0x1p-100f;
    return __uint_as_float(min(__float_as_uint(scale) + 0xffffu, 0x7fff0000u) & 0xffff0000u);
}

// The formats. widen spreads four bytes over four f16, exactly; widen_apart so that
// the first and the third come together.
struct Int8 {
    static constexpr bool scaled = true;

    // With the sign turned a byte is 128 more than its value; 1024 + n is
    // 0x6400 | n in f16.
    template <int LOW = 0x4140, int HIGH = 0x4342>
    static __device__ __forceinline__ void widen(uint32_t bytes, uint32_t &low, uint32_t &high) {
        const uint32_t v = bytes ^ 0x80808080u;
        const uint32_t a = __byte_perm(v, 0x64646464u, LOW), b = __byte_perm(v, 0x64646464u, HIGH);
        const __half2 bias = __float2half2_rn(1152.f);
        const __half2 x = __hsub2(*reinterpret_cast<const __half2 *>(&a), bias), y = __hsub2(*reinterpret_cast<const __half2 *>(&b), bias);
        low = *reinterpret_cast<const uint32_t *>(&x), high = *reinterpret_cast<const uint32_t *>(&y);
    }

    static __device__ __forceinline__ void widen_apart(uint32_t bytes, uint32_t &even, uint32_t &odd) { widen<0x4240, 0x4341>(bytes, even, odd); }
};

struct Fp8 {
    static constexpr bool scaled = false;

    static __device__ __forceinline__ void widen(uint32_t bytes, uint32_t &low, uint32_t &high) {
        widen_e4m3(bytes, low, high);
    }

    static __device__ __forceinline__ void widen_apart(uint32_t bytes, uint32_t &even, uint32_t &odd) {
        widen_e4m3(__byte_perm(bytes, 0, 0x3120), even, odd);
    }
};

// The scales of a row of the cache.
__device__ __forceinline__ float key_scale(uint32_t scales) { return __uint_as_float(scales << 16); }
__device__ __forceinline__ float value_scale(uint32_t scales) { return __uint_as_float(scales & 0xffff0000u); }
