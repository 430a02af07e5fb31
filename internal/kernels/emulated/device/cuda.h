// What the CUDA compiler has built in: qualifiers, vector types, indices,
// barriers, operations of warps, atomics and mathematical functions.
#pragma once
#include "runtime.h"
#include <math.h>
#include <string.h>
#include <type_traits>

// The kernels define these themselves, as the CUDA compiler's types.
#define uint64_t emulated_uint64_t
#define uintptr_t emulated_uintptr_t

#define __CUDA_ARCH__ 900
#define EMULATED 1

// ---- qualifiers ----
//
// __global__, __launch_bounds__, __cluster_dims__ and __shared__ are left to
// rewrite.go.

#define __device__
#define __host__
#define __constant__ const
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __restrict__
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))

// ---- vector types, with the alignment that accesses to them need ----

#define VECTORS(T, NAME, A1, A2, A4)                                                                                   \
    struct __align__(A1) NAME##1 { T x; };                                                                             \
    struct __align__(A2) NAME##2 { T x, y; };                                                                          \
    struct NAME##3 { T x, y, z; };                                                                                     \
    struct __align__(A4) NAME##4 { T x, y, z, w; };                                                                    \
    inline NAME##2 make_##NAME##2(T x, T y) { return {x, y}; }                                                         \
    inline NAME##3 make_##NAME##3(T x, T y, T z) { return {x, y, z}; }                                                 \
    inline NAME##4 make_##NAME##4(T x, T y, T z, T w) { return {x, y, z, w}; }
VECTORS(signed char, char, 1, 2, 4)
VECTORS(unsigned char, uchar, 1, 2, 4)
VECTORS(short, short, 2, 4, 8)
VECTORS(unsigned short, ushort, 2, 4, 8)
VECTORS(int, int, 4, 8, 16)
VECTORS(unsigned int, uint, 4, 8, 16)
VECTORS(float, float, 4, 8, 16)
VECTORS(long long, longlong, 8, 16, 16)
VECTORS(unsigned long long, ulonglong, 8, 16, 16)
VECTORS(double, double, 8, 16, 16)
#undef VECTORS

struct dim3 {
    unsigned x, y, z;
};

// ---- indices ----

#define threadIdx (emulated::current->index)
#define blockIdx (emulated::current->block->index)
#define blockDim (emulated::block_size)
#define gridDim (emulated::grid_size)
constexpr int warpSize = 32;

// ---- bits of numbers ----

template <class To, class From> inline To emulated_bits(From v) {
    static_assert(sizeof(To) == sizeof(From), "of the same size");
    To r;
    memcpy(&r, &v, sizeof r);
    return r;
}
inline float __uint_as_float(unsigned v) { return emulated_bits<float>(v); }
inline float __int_as_float(int v) { return emulated_bits<float>(v); }
inline unsigned __float_as_uint(float v) { return emulated_bits<unsigned>(v); }
inline int __float_as_int(float v) { return emulated_bits<int>(v); }
inline long long __double_as_longlong(double v) { return emulated_bits<long long>(v); }
inline double __longlong_as_double(long long v) { return emulated_bits<double>(v); }

inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
inline int __clz(int v) { return v ? __builtin_clz((unsigned)v) : 32; }
inline int __clzll(long long v) { return v ? __builtin_clzll((unsigned long long)v) : 64; }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline int __ffsll(long long v) { return __builtin_ffsll(v); }
inline unsigned __brev(unsigned v) {
    unsigned r = 0;
    for (int i = 0; i < 32; i++) r |= (v >> i & 1) << (31 - i);
    return r;
}
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned s) {
    const unsigned long long all = (unsigned long long)b << 32 | a;
    unsigned r = 0;
    for (int i = 0; i < 4; i++) {
        const unsigned pick = s >> 4 * i & 15;
        unsigned byte = all >> 8 * (pick & 7) & 255;
        if (pick & 8) byte = byte & 128 ? 255 : 0;
        r |= byte << 8 * i;
    }
    return r;
}
inline unsigned __vcmpeq2(unsigned a, unsigned b) { return ((a ^ b) & 0xffff ? 0 : 0xffffu) | ((a ^ b) >> 16 ? 0 : 0xffff0000u); }
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned n) { return ((unsigned long long)high << 32 | low) << (n & 31) >> 32; }
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned n) { return (unsigned)(((unsigned long long)high << 32 | low) >> (n & 31)); }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned long long)a * b >> 32; }
inline int __mulhi(int a, int b) { return (long long)a * b >> 32; }
inline int __dp4a(int a, int b, int c) {
    for (int i = 0; i < 4; i++) c += (signed char)(a >> 8 * i) * (signed char)(b >> 8 * i);
    return c;
}

// ---- mathematics ----
//
// The C library's functions, mostly exact to half a unit; CUDA's are off by up
// to two, those that begin with __ by more.

template <class A, class B> inline typename std::common_type<A, B>::type min(A a, B b) {
    typedef typename std::common_type<A, B>::type T;
    return (T)b < (T)a ? (T)b : (T)a;
}
template <class A, class B> inline typename std::common_type<A, B>::type max(A a, B b) {
    typedef typename std::common_type<A, B>::type T;
    return (T)a < (T)b ? (T)b : (T)a;
}
inline float rsqrtf(float v) { return (float)(1. / sqrt((double)v)); }
inline float rsqrt(float v) { return rsqrtf(v); }
inline double rsqrt(double v) { return 1. / sqrt(v); }
inline float __expf(float v) { return expf(v); }
inline float __exp10f(float v) { return powf(10.f, v); }
inline float __logf(float v) { return logf(v); }
inline float __log2f(float v) { return log2f(v); }
inline float __powf(float a, float b) { return powf(a, b); }
inline float __sinf(float v) { return sinf(v); }
inline float __cosf(float v) { return cosf(v); }
inline float __tanhf(float v) { return tanhf(v); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float v) { return 1.f / v; }
inline float __fsqrt_rn(float v) { return sqrtf(v); }
inline float __saturatef(float v) { return v > 0.f ? v < 1.f ? v : 1.f : 0.f; }
// Compiled without contraction, so that plain operators round once.
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }

// Conversions to integers saturate, and NaN becomes 0.
inline int emulated_to_int(float v) { return v != v ? 0 : v >= 0x1p31f ? 0x7fffffff : v < -0x1p31f ? -0x7fffffff - 1 : (int)v; }
inline int __float2int_rn(float v) { return emulated_to_int(rintf(v)); }
inline int __float2int_rz(float v) { return emulated_to_int(truncf(v)); }
inline int __float2int_rd(float v) { return emulated_to_int(floorf(v)); }
inline int __float2int_ru(float v) { return emulated_to_int(ceilf(v)); }
inline unsigned __float2uint_rn(float v) { return v != v || v <= 0.f ? 0 : v >= 0x1p32f ? 0xffffffffu : (unsigned)rintf(v); }
inline float __int2float_rn(int v) { return (float)v; }
inline float __uint2float_rn(unsigned v) { return (float)v; }

#include "cuda_bf16.h"
#include "cuda_fp16.h"

// ---- memory ----

template <class T> inline T emulated_load(const T *p) {
    if ((size_t)p % alignof(T)) emulated::fail("a load of %d bytes from %p, which is not aligned", (int)sizeof(T), (const void *)p);
    return *p;
}
template <class T> inline void emulated_store(T *p, T v) {
    if ((size_t)p % alignof(T)) emulated::fail("a store of %d bytes to %p, which is not aligned", (int)sizeof(T), (const void *)p);
    *p = v;
}
#define LOAD(NAME) \
    template <class T> inline T NAME(const T *p) { return emulated_load(p); }
LOAD(__ldg) LOAD(__ldca) LOAD(__ldcg) LOAD(__ldcs) LOAD(__ldcv) LOAD(__ldlu)
#undef LOAD
#define STORE(NAME) \
    template <class T> inline void NAME(T *p, T v) { emulated_store(p, v); }
STORE(__stwb) STORE(__stcg) STORE(__stcs) STORE(__stwt)
#undef STORE

inline void __threadfence_block() { emulated::pause(); }
inline void __threadfence() { emulated::pause(); }
inline void __threadfence_system() { emulated::pause(); }
inline void __nanosleep(unsigned) { emulated::spin(); }
inline unsigned long long __cvta_generic_to_shared(const void *p) { return emulated::shared_offset(p); }
inline long long clock64() { return emulated::clock(); }
inline void __trap() { emulated::fail("__trap"); }

// ---- atomics: others may go on before and after ----

#define ATOMIC(NAME, NEXT)                                                            \
    template <class T> inline T NAME(T *p, typename std::common_type<T>::type v) {    \
        emulated::pause();                                                            \
        const T old = emulated_load(p);                                               \
        emulated_store<T>(p, NEXT);                                                   \
        emulated::pause();                                                            \
        return old;                                                                   \
    }
ATOMIC(atomicAdd, old + v)
ATOMIC(atomicSub, old - v)
ATOMIC(atomicExch, v)
ATOMIC(atomicMin, v < old ? v : old)
ATOMIC(atomicMax, v > old ? v : old)
ATOMIC(atomicAnd, old &v)
ATOMIC(atomicOr, old | v)
ATOMIC(atomicXor, old ^ v)
ATOMIC(atomicInc, old >= v ? 0 : old + 1)
#undef ATOMIC

template <class T> inline T atomicCAS(T *p, typename std::common_type<T>::type expected, typename std::common_type<T>::type v) {
    emulated::pause();
    const T old = emulated_load(p);
    if (old == expected) emulated_store<T>(p, v);
    emulated::pause();
    return old;
}

// ---- barriers ----

inline void __syncthreads() { emulated::barrier(0, 0, false); }
inline int __syncthreads_count(int p) { return emulated::barrier(0, 0, p != 0); }
inline int __syncthreads_or(int p) { return emulated::barrier(0, 0, p != 0) > 0; }
inline int __syncthreads_and(int p) { return emulated::barrier(0, 0, p == 0) == 0; }

// ---- operations of warps ----
//
// Each is a struct of a lane's operands and result, and a function that the last
// lane calls with all of them.

namespace emulated {

template <class Op> Op &operands(Thread *const *lanes, int lane) { return *(Op *)lanes[lane]->operands; }

#define FOR_LANES(l, members) \
    for (unsigned left_ = (members), l = 0; left_ && ((l = __builtin_ctz(left_)), true); left_ &= left_ - 1)

struct Nothing {
    static void resolve(Thread *const *, unsigned) {}
};

template <class T> struct Shuffle {
    T value;
    int source;
    T result;
    static void resolve(Thread *const *lanes, unsigned members) {
        FOR_LANES(l, members) {
            Shuffle &op = operands<Shuffle>(lanes, l);
            if (members >> op.source & 1) op.result = operands<Shuffle>(lanes, op.source).value;
            else memset((void *)&op.result, 0xff, sizeof(T)); // of a lane that is not there
        }
    }
};

template <class T> T shuffle(unsigned members, T v, int source, int width, bool inside) {
    const int lane = current->lane;
    if (!inside) source = lane;
    (void)width;
    Shuffle<T> op = {v, source, v};
    meet(members, Shuffle<T>::resolve, &op, "a shuffle");
    return op.result;
}

struct Vote {
    bool value;
    unsigned result;
    static void resolve(Thread *const *lanes, unsigned members) {
        unsigned votes = 0;
        FOR_LANES(l, members) votes |= (unsigned)operands<Vote>(lanes, l).value << l;
        FOR_LANES(l, members) operands<Vote>(lanes, l).result = votes;
    }
};

inline unsigned ballot(unsigned members, bool v) {
    Vote op = {v, 0};
    meet(members, Vote::resolve, &op, "a vote");
    return op.result;
}

template <class T> struct Match {
    T value;
    unsigned result;
    static void resolve(Thread *const *lanes, unsigned members) {
        FOR_LANES(l, members) {
            Match &op = operands<Match>(lanes, l);
            op.result = 0;
            FOR_LANES(k, members) op.result |= (unsigned)!memcmp(&operands<Match>(lanes, k).value, &op.value, sizeof(T)) << k;
        }
    }
};

// Reduce joins the values of all members with F::join.
template <class T, class F> struct Reduce {
    T value, result;
    static void resolve(Thread *const *lanes, unsigned members) {
        T all = operands<Reduce>(lanes, __builtin_ctz(members)).value;
        FOR_LANES(l, members & (members - 1)) all = F::join(all, operands<Reduce>(lanes, l).value);
        FOR_LANES(l, members) operands<Reduce>(lanes, l).result = all;
    }
};

template <class F, class T> T reduce(unsigned members, T v) {
    Reduce<T, F> op = {v, v};
    meet(members, Reduce<T, F>::resolve, &op, "a reduction");
    return op.result;
}

} // namespace emulated

inline void __syncwarp(unsigned members = 0xffffffffu) { emulated::meet(members, emulated::Nothing::resolve, nullptr, "__syncwarp"); }
inline unsigned __activemask() { emulated::fail("__activemask: what is active depends on the hardware"); }

template <class T> inline T __shfl_sync(unsigned members, T v, int source, int width = 32) {
    const int lane = emulated::current->lane;
    return emulated::shuffle(members, v, (lane & ~(width - 1)) + (source & (width - 1)), width, true);
}
template <class T> inline T __shfl_up_sync(unsigned members, T v, unsigned n, int width = 32) {
    const int lane = emulated::current->lane, source = lane - (int)n;
    return emulated::shuffle(members, v, source, width, source >= (lane & ~(width - 1)));
}
template <class T> inline T __shfl_down_sync(unsigned members, T v, unsigned n, int width = 32) {
    const int lane = emulated::current->lane, source = lane + (int)n;
    return emulated::shuffle(members, v, source, width, source <= (lane | (width - 1)));
}
template <class T> inline T __shfl_xor_sync(unsigned members, T v, int mask, int width = 32) {
    const int lane = emulated::current->lane, source = lane ^ mask;
    return emulated::shuffle(members, v, source, width, source <= (lane | (width - 1)));
}

inline unsigned __ballot_sync(unsigned members, int p) { return emulated::ballot(members, p != 0); }
inline int __any_sync(unsigned members, int p) { return emulated::ballot(members, p != 0) != 0; }
inline int __all_sync(unsigned members, int p) { return emulated::ballot(members, p == 0) == 0; }
template <class T> inline unsigned __match_any_sync(unsigned members, T v) {
    emulated::Match<T> op = {v, 0};
    emulated::meet(members, emulated::Match<T>::resolve, &op, "a match");
    return op.result;
}

#define REDUCE(NAME, EXPRESSION)                                     \
    struct emulated_##NAME {                                         \
        template <class T> static T join(T a, T b) { return EXPRESSION; } \
    };                                                               \
    template <class T> inline T __reduce_##NAME##_sync(unsigned members, T v) { return emulated::reduce<emulated_##NAME>(members, v); }
REDUCE(add, a + b)
REDUCE(min, a < b ? a : b)
REDUCE(max, a < b ? b : a)
REDUCE(and, a &b)
REDUCE(or, a | b)
REDUCE(xor, a ^ b)
#undef REDUCE

#include "ptx.h"
