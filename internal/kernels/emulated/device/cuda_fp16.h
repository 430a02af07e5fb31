// The 16-bit format with 5 bits of exponent, as far as the kernels use it.
#pragma once

struct __half {
    unsigned short bits;
};
struct __attribute__((aligned(4))) __half2 {
    __half x, y;
};

inline float __half2float(__half v) {
    const unsigned sign = (unsigned)(v.bits & 0x8000) << 16, rest = v.bits & 0x7fff;
    if (rest >= 0x7c00) return __uint_as_float(sign | 0x7f800000 | (rest & 0x3ff) << 13);
    if (rest >= 0x400) return __uint_as_float(sign | ((rest << 13) + (112u << 23)));
    const float small = (float)rest * 0x1p-24f;
    return sign ? -small : small;
}

inline __half __float2half_rn(float v) {
    const unsigned u = __float_as_uint(v), sign = u >> 16 & 0x8000, rest = u & 0x7fffffff;
    if (rest > 0x7f800000) return {0x7fff};
    if (rest >= 0x477ff000) return {(unsigned short)(sign | 0x7c00)}; // rounds to 65536 and above
    if (rest >= 0x38800000) {
        const unsigned even = rest + 0xfff + (rest >> 13 & 1);
        return {(unsigned short)(sign | ((even - (112u << 23)) >> 13))};
    }
    // A multiple of 2^-24: adding 1/2 rounds to it.
    const float sum = __uint_as_float(rest) + 0.5f;
    return {(unsigned short)(sign | (__float_as_uint(sum) - 0x3f000000))};
}

inline __half2 __floats2half2_rn(float a, float b) { return {__float2half_rn(a), __float2half_rn(b)}; }
inline float2 __half22float2(__half2 v) { return {__half2float(v.x), __half2float(v.y)}; }
inline unsigned short __half_as_ushort(__half v) { return v.bits; }
inline __half __ushort_as_half(unsigned short v) { return {v}; }
inline __half2 __float2half2_rn(float v) { return __floats2half2_rn(v, v); }
inline __half2 __hsub2(__half2 a, __half2 b) { return __floats2half2_rn(__half2float(a.x) - __half2float(b.x), __half2float(a.y) - __half2float(b.y)); }
inline __half2 __hmul2(__half2 a, __half2 b) { return __floats2half2_rn(__half2float(a.x) * __half2float(b.x), __half2float(a.y) * __half2float(b.y)); }
