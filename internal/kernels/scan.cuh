// What the kernels of the Mamba-2 recurrence share.
#pragma once
#include "common.cuh"

// Scan is scanArgs in scan.go. State is [slots, heads, head_dim, size].
struct Scan {
    const void *xbc, *dt;
    void *y;
    const float *a, *d, *dt_bias; // [heads]
    float *state;
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
