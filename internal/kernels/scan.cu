// Scan, token by token, for each head
//
//   S ← exp(dt·A)·S + dt·x⊗B,   y = S·C + D·x
//
// A is the type of activations, S that of the state.
// scan_steps_A_S_N: a block of four warps for each 32 rows of a sequence's state
// (x: rows, y: sequence), eight rows of one head a warp, in registers. N is the
// state's size; heads are multiples of 8 rows. It reads and writes the state
// once, which is nearly all that a decoding step moves.
// scan_any_A_S: a block of four warps for each head and sequence; any type, size
// and address. A float32 state stays in memory; a row of an f16 one is held in
// shared memory, 4 bytes a column and warp, and rounded at the end.
//
// With single set, sequences of more than one token are left to chunks.cu.
#include "state.cuh"

constexpr int WARPS = 4;

template <class T, class S, int N> __device__ __forceinline__ void scan_steps(const Scan &a, const Step &step, int single) {
    const int lane = threadIdx.x & 31, row = (blockIdx.x * WARPS + (threadIdx.x >> 5)) * ROWS, sequence = blockIdx.y;
    const int inner = a.heads * a.head_dim, first = step.start[sequence], end = step.start[sequence + 1];
    dependency_launch();
    if (row >= inner || first == end || (single && end - first > 1)) {
        dependency_wait();
        return;
    }
    const int head = row / a.head_dim;
    const float decay_rate = a.a[head], d = a.d[head], bias = a.dt_bias[head];
    S *state = (S *)a.state + ((long long)step.slots[sequence] * inner + row) * N;
    // The state was last written in an earlier step, which has ended: the
    // batch's copy to the device came in between.
    Rows<N> held;
    if (step.positions[first] == 0) held.clear();
    else held.load(state, lane);
    dependency_wait();

    Inputs<N> in, next;
    in.template load<T>(a, first, head, row, lane);
    for (int t = first; t < end; t++) {
        if (t + 1 < end) next.template load<T>(a, t + 1, head, row, lane);
        const float dt = time_step(a, in.dt, bias);
        const float y = held.step(in, dt, expf(dt * decay_rate), d, lane);
        if ((lane & 3) == 0) ((T *)a.y)[(long long)t * a.y_stride + row + (lane >> 2)] = from_float<T>(y);
        in = next;
    }
    held.store(state, lane);
}

template <class T, class S> __device__ __forceinline__ void scan_any(const Scan &a, const Step &step, int single) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, head = blockIdx.x, sequence = blockIdx.y;
    dependency_launch();
    dependency_wait();
    const int first = step.start[sequence], end = step.start[sequence + 1];
    if (first == end || (single && end - first > 1)) return;
    const bool fresh = step.positions[first] == 0;
    const int inner = a.heads * a.head_dim, at = inner + head / (a.heads / a.groups) * a.size;
    for (int p = warp; p < a.head_dim; p += WARPS) {
        const int row = head * a.head_dim + p;
        S *const stored = (S *)a.state + ((long long)step.slots[sequence] * inner + row) * a.size;
        float *state;
        if constexpr (sizeof(S) == 4) {
            state = stored;
        } else {
            extern __shared__ float held[];
            state = held + warp * a.size;
            for (int n = lane; n < a.size; n += 32) state[n] = to_float(stored[n]);
        }
        for (int t = first; t < end; t++) {
            const T *xbc = (const T *)a.xbc + (long long)t * a.xbc_stride, *b = xbc + at, *c = b + a.groups * a.size;
            const float dt = time_step(a, to_float(((const T *)a.dt)[(long long)t * a.dt_stride + head]), a.dt_bias[head]);
            const float decay = expf(dt * a.a[head]), x = to_float(xbc[row]), dx = dt * x;
            float y = 0.f;
            for (int n = lane; n < a.size; n += 32) {
                const float old = fresh && t == first ? 0.f : state[n];
                const float s = fmaf(decay, old, dx * to_float(b[n]));
                state[n] = s;
                y = fmaf(s, to_float(c[n]), y);
            }
            y = warp_sum(y);
            if (lane == 0) ((T *)a.y)[(long long)t * a.y_stride + row] = from_float<T>(fmaf(a.d[head], x, y));
        }
        if constexpr (sizeof(S) == 2)
            for (int n = lane; n < a.size; n += 32) stored[n] = from_float<S>(state[n]);
    }
}

#define STEPS(NAME, T, STATE, S, N)                                                                                                       \
    extern "C" __global__ void __launch_bounds__(32 * WARPS) scan_steps_##NAME##_##STATE##_##N(Scan a, Step step, int single) {         \
        scan_steps<T, S, N>(a, step, single);                                                                                            \
    }
#define STATES(NAME, T, STATE, S)                                                                                                         \
    extern "C" __global__ void __launch_bounds__(32 * WARPS) scan_any_##NAME##_##STATE(Scan a, Step step, int single) {                 \
        scan_any<T, S>(a, step, single);                                                                                                 \
    }                                                                                                                                    \
    STEPS(NAME, T, STATE, S, 64) STEPS(NAME, T, STATE, S, 128) STEPS(NAME, T, STATE, S, 256)
#define KERNELS(NAME, T) STATES(NAME, T, f32, float) STATES(NAME, T, f16, f16)
INSTANCES(KERNELS)
