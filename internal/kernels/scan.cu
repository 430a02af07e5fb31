// Scan, token by token, for each head
//
//   S ← exp(dt·A)·S + dt·x⊗B,   y = S·C + D·x
//
// scan_steps_A_N: a block of four warps for each 32 rows of a sequence's state
// (x: rows, y: sequence), eight rows of one head a warp, in registers. N is the
// state's size; heads are multiples of 8 rows. It reads and writes the state
// once, which is nearly all that a decoding step moves.
// scan_any_A: a block of four warps for each head and sequence; any type, size
// and address. The state stays in memory.
//
// With single set, sequences of more than one token are left to chunks.cu.
#include "scan.cuh"
#include "rows.cuh"

constexpr int WARPS = 4, ROWS = 8;

// Inputs are what a warp reads of a token: its rows of x, and N/32 columns of B
// and C a lane.
template <class T, int N> struct Inputs {
    static constexpr int W = N / 32;
    float x[ROWS], b[W], c[W], dt;

    // Columns of a lane: W in a row, or four of each 128.
    static __device__ __forceinline__ int column(int lane, int i) {
        return W <= 4 ? lane * W + i : 4 * lane + 128 * (i / 4) + i % 4;
    }

    static __device__ __forceinline__ void columns(float (&v)[W], const T *p, int lane) {
        constexpr int unit = W < 4 ? W : 4; // columns in one access
#pragma unroll
        for (int i = 0; i < W; i += unit) {
            const T *from = p + column(lane, i);
            if constexpr (sizeof(T) == 4 && unit == 4) {
                unpack<float>(load16(from), reinterpret_cast<float(&)[4]>(v[i]));
            } else if constexpr (sizeof(T) == 4) {
                const float2 two = __ldcg((const float2 *)from);
                v[i] = two.x, v[i + 1] = two.y;
            } else {
#pragma unroll
                for (int k = 0; k < unit; k += 2) {
                    const float2 two = unpack2<T>(__ldcg((const unsigned int *)(from + k)));
                    v[i + k] = two.x, v[i + k + 1] = two.y;
                }
            }
        }
    }

    __device__ __forceinline__ void load(const Scan &a, long long token, int head, int row, int lane) {
        const T *xbc = (const T *)a.xbc + token * a.xbc_stride;
        const int inner = a.heads * a.head_dim, at = inner + head / (a.heads / a.groups) * N;
        dt = to_float(((const T *)a.dt)[token * a.dt_stride + head]);
        load_values(x, xbc + row);
        columns(b, xbc + at, lane);
        columns(c, xbc + at + a.groups * N, lane);
    }
};

// Rows is a warp's part of the state.
template <int N> struct Rows {
    static constexpr int W = N / 32;
    float s[ROWS][W];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int r = 0; r < ROWS; r++)
#pragma unroll
            for (int i = 0; i < W; i++) s[r][i] = 0.f;
    }

    // load and store pass the state through: it is used again a step later.
    __device__ __forceinline__ void load(const float *from, int lane) {
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            if constexpr (W == 2) {
                const float2 v = __ldcs((const float2 *)(from + r * N) + lane);
                s[r][0] = v.x, s[r][1] = v.y;
            } else {
#pragma unroll
                for (int i = 0; i < W; i += 4) {
                    const float4 v = __ldcs((const float4 *)(from + r * N + 32 * i) + lane);
                    s[r][i] = v.x, s[r][i + 1] = v.y, s[r][i + 2] = v.z, s[r][i + 3] = v.w;
                }
            }
    }

    __device__ __forceinline__ void store(float *to, int lane) const {
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            if constexpr (W == 2) {
                __stcs((float2 *)(to + r * N) + lane, make_float2(s[r][0], s[r][1]));
            } else {
#pragma unroll
                for (int i = 0; i < W; i += 4)
                    __stcs((float4 *)(to + r * N + 32 * i) + lane, make_float4(s[r][i], s[r][i + 1], s[r][i + 2], s[r][i + 3]));
            }
    }

    // step takes a token in. Lane l gets y of row l/4.
    template <class T> __device__ __forceinline__ float step(const Inputs<T, N> &in, float dt, float decay, float d, int lane) {
        float y[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            const float dx = dt * in.x[r];
            y[r] = lane == 0 ? d * in.x[r] : 0.f;
#pragma unroll
            for (int i = 0; i < W; i++) {
                s[r][i] = fmaf(decay, s[r][i], dx * in.b[i]);
                y[r] = fmaf(s[r][i], in.c[i], y[r]);
            }
        }
        // Halve the rows and the lanes of a row at a time.
#pragma unroll
        for (int half = ROWS / 2, m = 16; half; half >>= 1, m >>= 1)
#pragma unroll
            for (int r = 0; r < half; r++) {
                const bool upper = lane & m;
                const float mine = upper ? y[half + r] : y[r], other = upper ? y[r] : y[half + r];
                y[r] = mine + __shfl_xor_sync(0xffffffffu, other, m);
            }
        y[0] += __shfl_xor_sync(0xffffffffu, y[0], 2);
        return y[0] + __shfl_xor_sync(0xffffffffu, y[0], 1);
    }
};

template <class T, int N> __device__ __forceinline__ void scan_steps(const Scan &a, const Step &step, int single) {
    const int lane = threadIdx.x & 31, row = (blockIdx.x * WARPS + (threadIdx.x >> 5)) * ROWS, sequence = blockIdx.y;
    const int inner = a.heads * a.head_dim, first = step.start[sequence], end = step.start[sequence + 1];
    dependency_launch();
    if (row >= inner || first == end || (single && end - first > 1)) {
        dependency_wait();
        return;
    }
    const int head = row / a.head_dim;
    const float decay_rate = a.a[head], d = a.d[head], bias = a.dt_bias[head];
    float *state = a.state + ((long long)step.slots[sequence] * inner + row) * N;
    // The state was last written in an earlier step, which has ended: the
    // batch's copy to the device came in between.
    Rows<N> held;
    if (step.positions[first] == 0) held.clear();
    else held.load(state, lane);
    dependency_wait();

    Inputs<T, N> in, next;
    in.load(a, first, head, row, lane);
    for (int t = first; t < end; t++) {
        if (t + 1 < end) next.load(a, t + 1, head, row, lane);
        const float dt = time_step(a, in.dt, bias);
        const float y = held.step(in, dt, expf(dt * decay_rate), d, lane);
        if ((lane & 3) == 0) ((T *)a.y)[(long long)t * a.y_stride + row + (lane >> 2)] = from_float<T>(y);
        in = next;
    }
    held.store(state, lane);
}

template <class T> __device__ __forceinline__ void scan_any(const Scan &a, const Step &step, int single) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, head = blockIdx.x, sequence = blockIdx.y;
    dependency_launch();
    dependency_wait();
    const int first = step.start[sequence], end = step.start[sequence + 1];
    if (first == end || (single && end - first > 1)) return;
    const bool fresh = step.positions[first] == 0;
    const int inner = a.heads * a.head_dim, at = inner + head / (a.heads / a.groups) * a.size;
    for (int p = warp; p < a.head_dim; p += WARPS) {
        const int row = head * a.head_dim + p;
        float *state = a.state + ((long long)step.slots[sequence] * inner + row) * a.size;
        for (long long t = first; t < end; t++) {
            const T *xbc = (const T *)a.xbc + t * a.xbc_stride, *b = xbc + at, *c = b + a.groups * a.size;
            const float dt = time_step(a, to_float(((const T *)a.dt)[t * a.dt_stride + head]), a.dt_bias[head]);
            const float decay = expf(dt * a.a[head]), x = to_float(xbc[row]), dx = dt * x;
            float y = 0.f;
            for (int n = lane; n < a.size; n += 32) {
                const float old = fresh && t == first ? 0.f : state[n];
                const float s = fmaf(decay, old, dx * to_float(b[n]));
                state[n] = s;
                y = fmaf(s, to_float(c[n]), y);
            }
            y = warp_sum(y);
            if (lane == 0) ((T *)a.y)[t * a.y_stride + row] = from_float<T>(fmaf(a.d[head], x, y));
        }
    }
}

#define KERNELS(NAME, T)                                                                                                         \
    extern "C" __global__ void __launch_bounds__(32 * WARPS) scan_any_##NAME(Scan a, Step step, int single) {                   \
        scan_any<T>(a, step, single);                                                                                            \
    }                                                                                                                            \
    extern "C" __global__ void __launch_bounds__(32 * WARPS) scan_steps_##NAME##_64(Scan a, Step step, int single) {            \
        scan_steps<T, 64>(a, step, single);                                                                                      \
    }                                                                                                                            \
    extern "C" __global__ void __launch_bounds__(32 * WARPS) scan_steps_##NAME##_128(Scan a, Step step, int single) {           \
        scan_steps<T, 128>(a, step, single);                                                                                     \
    }                                                                                                                            \
    extern "C" __global__ void __launch_bounds__(32 * WARPS) scan_steps_##NAME##_256(Scan a, Step step, int single) {           \
        scan_steps<T, 256>(a, step, single);                                                                                     \
    }
INSTANCES(KERNELS)
