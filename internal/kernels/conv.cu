// Convolve: out[t, c] = SiLU(bias[c] + Σ_k weight[c, k] · x[t-(K-1)+k, c]), over
// the tokens of each sequence. What lies before them stands in the sequence's
// window, a row of state: its last K-1 inputs, oldest first.
//
// convolve_step_A_K: one token of each sequence (y); moves the windows, too. V
// columns a thread, 64 threads.
// convolve_A_K: pieces of any length; TOKENS rows (y) and V columns a thread.
// convolve_any_A: any K, type and address; a row (y) and a column a thread.
// slide_A: moves the windows after the last two; a sequence (y) and a column
// a thread.
#include "common.cuh"
#include "rows.cuh"

struct Convolve {
    const void *x;
    void *out;
    const float *weight; // [cols, K], the last tap is the current token
    const float *bias;   // [cols] or null
    float *window;       // [slots, K-1, cols]
    int rows, cols, x_stride, out_stride, kernel;
};

constexpr int TOKENS = 8;

// Piece is where a row stands in its sequence.
struct Piece {
    int before;    // rows of the sequence in this step that come before it
    float *window; // null: the sequence begins here
};

__device__ __forceinline__ Piece piece_of(const Convolve &a, const Step &step, int sequence, int row) {
    const int first = step.start[sequence];
    if (step.positions[first] == 0) return {row - first, nullptr};
    return {row - first, a.window + (long long)step.slots[sequence] * (a.kernel - 1) * a.cols};
}

// Taps holds the constants of V columns.
template <int K, int V> struct Taps {
    float weight[V * K], bias[V];

    __device__ __forceinline__ void load(const Convolve &a, int c) {
        static_assert(V % 4 == 0, "whole 16-byte loads");
#pragma unroll
        for (int i = 0; i < V * K; i += 4)
            unpack<float>(load_weights(a.weight + (long long)c * K + i), reinterpret_cast<float(&)[4]>(weight[i]));
#pragma unroll
        for (int i = 0; i < V; i++) bias[i] = 0.f;
        if (a.bias)
#pragma unroll
            for (int i = 0; i < V; i += 4) unpack<float>(load_weights(a.bias + c + i), reinterpret_cast<float(&)[4]>(bias[i]));
    }

    // apply convolves the inputs before a row, oldest first, and its own.
    __device__ __forceinline__ void apply(float (&out)[V], const float (&past)[K - 1][V], const float (&own)[V]) const {
#pragma unroll
        for (int i = 0; i < V; i++) {
            float sum = bias[i];
#pragma unroll
            for (int k = 0; k < K - 1; k++) sum = fmaf(weight[i * K + k], past[k][i], sum);
            out[i] = activate(fmaf(weight[i * K + K - 1], own[i], sum), SILU);
        }
    }
};

template <class T, int K> __device__ __forceinline__ void convolve_step(const Convolve &a, const Step &step) {
    constexpr int V = per16<T>;
    const int c = (blockIdx.x * blockDim.x + threadIdx.x) * V, row = blockIdx.y;
    dependency_launch();
    if (c >= a.cols) {
        dependency_wait();
        return;
    }
    // The window was last written in an earlier step, which has ended: the
    // batch's copy to the device came in between.
    Taps<K, V> taps;
    taps.load(a, c);
    const Piece piece = piece_of(a, step, row, row);
    float past[K - 1][V], own[V], out[V];
#pragma unroll
    for (int k = 0; k < K - 1; k++) {
#pragma unroll
        for (int i = 0; i < V; i++) past[k][i] = 0.f;
        if (piece.window) load_values(past[k], piece.window + (long long)k * a.cols + c);
    }
    dependency_wait();
    load_values(own, (const T *)a.x + (long long)row * a.x_stride + c);
    taps.apply(out, past, own);
    store_values((T *)a.out + (long long)row * a.out_stride + c, out);
    float *window = a.window + (long long)step.slots[row] * (K - 1) * a.cols + c;
#pragma unroll
    for (int k = 0; k < K - 2; k++) store_values(window + (long long)k * a.cols, past[k + 1]);
    store_values(window + (long long)(K - 2) * a.cols, own);
}

// recall loads the K-1 inputs before a row.
template <class T, int K, int V>
__device__ __forceinline__ void recall(float (&past)[K - 1][V], const Convolve &a, const Piece &piece, int row, int c) {
#pragma unroll
    for (int k = 0; k < K - 1; k++) {
        const int lag = K - 1 - k;
#pragma unroll
        for (int i = 0; i < V; i++) past[k][i] = 0.f;
        if (lag <= piece.before) {
            load_values(past[k], (const T *)a.x + (long long)(row - lag) * a.x_stride + c);
        } else if (piece.window) {
            load_values(past[k], piece.window + (long long)(k + piece.before) * a.cols + c);
        }
    }
}

template <class T, int K> __device__ __forceinline__ void convolve(const Convolve &a, const Step &step) {
    constexpr int V = per16<T>;
    const int c = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    dependency_launch();
    dependency_wait();
    if (c >= a.cols) return;
    Taps<K, V> taps;
    taps.load(a, c);
    const int from = blockIdx.y * TOKENS;
    uint4 rows[TOKENS];
    int owner[TOKENS];
#pragma unroll
    for (int r = 0; r < TOKENS; r++) {
        const int row = min(from + r, a.rows - 1);
        rows[r] = load16((const T *)a.x + (long long)row * a.x_stride + c);
        owner[r] = step.owner[row];
    }
    float past[K - 1][V];
    recall<T, K, V>(past, a, piece_of(a, step, owner[0], from), from, c);
#pragma unroll
    for (int r = 0; r < TOKENS; r++) {
        if (from + r >= a.rows) return;
        if (r > 0 && owner[r] != owner[r - 1])
            recall<T, K, V>(past, a, piece_of(a, step, owner[r], from + r), from + r, c);
        float own[V], out[V];
        unpack<T>(rows[r], own);
        taps.apply(out, past, own);
        store_values((T *)a.out + (long long)(from + r) * a.out_stride + c, out);
#pragma unroll
        for (int k = 0; k < K - 1; k++)
#pragma unroll
            for (int i = 0; i < V; i++) past[k][i] = k < K - 2 ? past[min(k + 1, K - 2)][i] : own[i];
    }
}

template <class T> __device__ __forceinline__ void convolve_any(const Convolve &a, const Step &step) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    dependency_launch();
    dependency_wait();
    if (c >= a.cols) return;
    for (int row = blockIdx.y; row < a.rows; row += gridDim.y) {
        const Piece piece = piece_of(a, step, step.owner[row], row);
        const T *x = (const T *)a.x + c;
        float sum = a.bias ? a.bias[c] : 0.f;
        for (int k = 0; k < a.kernel; k++) {
            const int lag = a.kernel - 1 - k;
            float v = 0.f;
            if (lag <= piece.before) {
                v = to_float(x[(long long)(row - lag) * a.x_stride]);
            } else if (piece.window) {
                v = piece.window[(long long)(k + piece.before) * a.cols + c];
            }
            sum = fmaf(a.weight[(long long)c * a.kernel + k], v, sum);
        }
        ((T *)a.out)[(long long)row * a.out_stride + c] = from_float<T>(activate(sum, SILU));
    }
}

// slide: entry k becomes the input k tokens after the oldest that still counts.
// Entries are read before they are overwritten, since they only move down.
template <class T> __device__ __forceinline__ void slide(const Convolve &a, const Step &step) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    dependency_launch();
    dependency_wait();
    if (c >= a.cols) return;
    for (int s = blockIdx.y; s < step.counts[COUNT_SEQUENCES]; s += gridDim.y) {
        const int end = step.start[s + 1], count = end - step.start[s];
        if (count == 0) continue;
        const bool fresh = step.positions[end - count] == 0;
        float *window = a.window + (long long)step.slots[s] * (a.kernel - 1) * a.cols + c;
        for (int k = 0; k < a.kernel - 1; k++) {
            const int lag = a.kernel - 1 - k;
            float v = 0.f;
            if (lag <= count) {
                v = to_float(((const T *)a.x)[(long long)(end - lag) * a.x_stride + c]);
            } else if (!fresh) {
                v = window[(long long)(k + count) * a.cols];
            }
            window[(long long)k * a.cols] = v;
        }
    }
}

#define ANY(NAME, T)                                                                                                          \
    extern "C" __global__ void __launch_bounds__(128) convolve_any_##NAME(Convolve a, Step step) { convolve_any<T>(a, step); } \
    extern "C" __global__ void __launch_bounds__(128) slide_##NAME(Convolve a, Step step) { slide<T>(a, step); }
INSTANCES(ANY)

#define FAST(NAME, T, K)                                                                                                         \
    extern "C" __global__ void __launch_bounds__(64) convolve_step_##NAME##_##K(Convolve a, Step step) { convolve_step<T, K>(a, step); } \
    extern "C" __global__ void __launch_bounds__(128) convolve_##NAME##_##K(Convolve a, Step step) { convolve<T, K>(a, step); }
#define FASTS(NAME, T) FAST(NAME, T, 2) FAST(NAME, T, 3) FAST(NAME, T, 4)
INSTANCES(FASTS)
