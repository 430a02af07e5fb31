// What the kernels of the Mamba-2 recurrence share.
#pragma once
#include "common.cuh"

// Scan is scanArgs in scan.go. State is [slots, heads, head_dim, size], of the
// type that the kernel's name ends in: float32, or f16, to which it is rounded
// when a step stores it.
struct Scan {
    const void *xbc, *dt;
    void *y;
    const float *a, *d, *dt_bias; // [heads]
    void *state;
    int xbc_stride, dt_stride, y_stride; // elements
    int heads, head_dim, groups, size;
    float dt_min, dt_max;
};

constexpr float LOG2E = 1.4426950408889634f;

// time_step returns the time step of a head: softplus of the raw value and its
// bias, within its limits.
__device__ __forceinline__ float time_step(const Scan &a, float raw, float bias) {
    const float v = raw + bias;
    return fminf(fmaxf(v > 20.f ? v : log1pf(expf(v)), a.dt_min), a.dt_max);
}

// load_held reads neighbouring values of a state, the lane-th so many from p on;
// store_held writes them. What is read was written a step ago, what is written is
// used in a step: it passes the first-level cache by, and the second one if need
// be.
__device__ __forceinline__ void load_held(float (&v)[2], const float *p, int lane) {
    const float2 f = __ldcg((const float2 *)p + lane);
    v[0] = f.x, v[1] = f.y;
}
__device__ __forceinline__ void load_held(float (&v)[4], const float *p, int lane) {
    const float4 f = __ldcg((const float4 *)p + lane);
    v[0] = f.x, v[1] = f.y, v[2] = f.z, v[3] = f.w;
}
__device__ __forceinline__ void load_held(float (&v)[2], const f16 *p, int lane) {
    const float2 f = unpack2<f16>(__ldcg((const unsigned int *)p + lane));
    v[0] = f.x, v[1] = f.y;
}
__device__ __forceinline__ void load_held(float (&v)[4], const f16 *p, int lane) {
    const uint2 u = __ldcg((const uint2 *)p + lane);
    const float2 low = unpack2<f16>(u.x), high = unpack2<f16>(u.y);
    v[0] = low.x, v[1] = low.y, v[2] = high.x, v[3] = high.y;
}
__device__ __forceinline__ void store_held(float *p, const float (&v)[2], int lane) { __stcs((float2 *)p + lane, make_float2(v[0], v[1])); }
__device__ __forceinline__ void store_held(float *p, const float (&v)[4], int lane) {
    __stcs((float4 *)p + lane, make_float4(v[0], v[1], v[2], v[3]));
}
__device__ __forceinline__ void store_held(f16 *p, const float (&v)[2], int lane) { __stcs((unsigned int *)p + lane, pack2<f16>(v[0], v[1])); }
__device__ __forceinline__ void store_held(f16 *p, const float (&v)[4], int lane) {
    __stcs((uint2 *)p + lane, make_uint2(pack2<f16>(v[0], v[1]), pack2<f16>(v[2], v[3])));
}
