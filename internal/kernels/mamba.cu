// All of a Mamba-2 mixer between its projections, for one token of each
// sequence: convolution, recurrence, gate and norm in one launch.
//
//   (x, B, C) = SiLU(convolution of the projected x, B, C with the window)
//   S ← exp(dt·A)·S + dt·x⊗B,   y = S·C + D·x
//   u = y · SiLU(z),            out = u · rsqrt(mean(u²) + eps) · weight
//
// mamba_step_A_S, A the type of activations and S that of the state: a cluster of SPLIT blocks for each group of heads (x) and
// sequence (y). Groups of B and C are those of the norm. Each block takes the
// same number of rows of the group's state, eight a warp, as scan.cu does, and
// convolves its rows of x, and all of the group's B and C, itself. The blocks
// add up the squares of their rows in each other's shared memory. State and
// window are requested before the projection has ended.
#include "cluster.cuh"
#include "state.cuh"

constexpr int SPLIT = 8, N = 128, TAPS = 4, MOST = 640;
constexpr int ROUNDS = 3; // channels a thread, at most

// Mixer is mixerArgs in mamba.go. The scan's xbc is what the projection gives
// (z, x, B, C, dt), its y the mixer's output.
struct Mixer {
    Scan scan;
    const float *weight, *bias; // of the convolution, [channels, TAPS] and [channels] or null
    float *window;              // [slots, TAPS-1, channels]
    const float *norm;          // [inner]
    float eps;
};

// Memory is the shared memory of a block.
struct Memory {
    float bc[2 * N], x[MOST / 4], y[MOST / 4];
    float part[SPLIT]; // sums of squares of the blocks of the cluster
    float scratch[32];
};

// Channel is one channel of the convolution: its inputs and constants.
struct Channel {
    int column;                // of x, B and C; -1: none
    float past[TAPS - 1], own; // oldest first
    float weight[TAPS], bias;

    // place finds channel i of a block: its rows of x, then the group's B and C.
    __device__ __forceinline__ void place(const Scan &a, int i, int group, int row, int rows) {
        const int inner = a.heads * a.head_dim, j = i - rows;
        column = j < 0 ? row + i : inner + group * N + (j < N ? j : a.groups * N + j - N);
        if (j >= 2 * N) column = -1;
    }

    __device__ __forceinline__ void prefetch(const Mixer &a, const float *window, bool fresh, int channels) {
        if (column < 0) return;
        const uint4 w = load_weights(a.weight + (long long)column * TAPS);
        unpack<float>(w, weight);
        bias = a.bias ? a.bias[column] : 0.f;
#pragma unroll
        for (int k = 0; k < TAPS - 1; k++) past[k] = fresh ? 0.f : __ldcg(window + (long long)k * channels + column);
    }

    __device__ __forceinline__ float convolve() const {
        float sum = bias;
#pragma unroll
        for (int k = 0; k < TAPS - 1; k++) sum = fmaf(weight[k], past[k], sum);
        return activate(fmaf(weight[TAPS - 1], own, sum), SILU);
    }

    __device__ __forceinline__ void slide(float *window, int channels) const {
#pragma unroll
        for (int k = 0; k < TAPS - 1; k++) window[(long long)k * channels + column] = k < TAPS - 2 ? past[k + 1 < TAPS - 1 ? k + 1 : 0] : own;
    }
};

// from_shared loads values in units of 16 bytes.
template <int V> __device__ __forceinline__ void from_shared(float (&v)[V], const float *p) {
#pragma unroll
    for (int i = 0; i < V; i += 4) unpack<float>(*(const uint4 *)(p + i), reinterpret_cast<float(&)[4]>(v[i]));
}

template <class T, class S> __device__ __forceinline__ void mamba_step(const Mixer &mixer, const Step &step) {
    extern __shared__ __align__(16) unsigned char memory[];
    Memory &shared = *(Memory *)memory;
    const Scan &a = mixer.scan;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, rank = cluster_rank();
    const int group = blockIdx.x / SPLIT, token = blockIdx.y, slot = step.slots[token];
    const int inner = a.heads * a.head_dim, rows = inner / a.groups / SPLIT, first = (group * SPLIT + rank) * rows;
    const int channels = inner + 2 * a.groups * N;
    const bool fresh = step.positions[token] == 0;
    dependency_launch();
    cluster_arrive(); // that the block runs

    // State and window were last written in an earlier step, which has ended:
    // the batch's copy to the device came in between.
    const int row = first + warp * ROWS, head = row / a.head_dim;
    S *const state = (S *)a.state + ((long long)slot * inner + row) * N;
    float *const window = mixer.window + (long long)slot * (TAPS - 1) * channels;
    Rows<N> held;
    if (fresh) held.clear();
    else held.load(state, lane);
    Channel channel[ROUNDS];
#pragma unroll
    for (int r = 0; r < ROUNDS; r++) {
        channel[r].place(a, threadIdx.x + r * blockDim.x, group, first, rows);
        channel[r].prefetch(mixer, window, fresh, channels);
    }
    const float rate = a.a[head], d = a.d[head], bias = a.dt_bias[head];
    const bool norms = threadIdx.x < rows; // a row a thread
    const float weight = norms ? mixer.norm[first + threadIdx.x] : 0.f;
    dependency_wait();

    const T *p = (const T *)a.xbc + (long long)token * a.xbc_stride;
    const float raw = to_float(p[inner + channels + head]);
    const float z = norms ? to_float(p[first + threadIdx.x]) : 0.f;
#pragma unroll
    for (int r = 0; r < ROUNDS; r++)
        if (channel[r].column >= 0) channel[r].own = to_float(p[inner + channel[r].column]);
#pragma unroll
    for (int r = 0; r < ROUNDS; r++) {
        if (channel[r].column < 0) continue;
        const int i = threadIdx.x + r * blockDim.x;
        (i < rows ? shared.x[i] : shared.bc[i - rows]) = channel[r].convolve();
    }
    __syncthreads();
    Inputs<N> in;
    from_shared(in.x, shared.x + warp * ROWS);
    from_shared(in.b, shared.bc + Inputs<N>::column(lane, 0));
    from_shared(in.c, shared.bc + N + Inputs<N>::column(lane, 0));
    const float dt = time_step(a, raw, bias);
    const float y = held.step(in, dt, expf(dt * rate), d, lane);
    if ((lane & 3) == 0) shared.y[warp * ROWS + (lane >> 2)] = y;
    __syncthreads();

    const float u = norms ? shared.y[threadIdx.x] * activate(z, SILU) : 0.f;
    const float squares = block_sum(u * u, shared.scratch);
    cluster_wait();
    if (threadIdx.x < SPLIT) cluster_store(&shared.part[rank], threadIdx.x, squares);
    cluster_arrive();
    held.store(state, lane);
    cluster_wait(); // all blocks have read the window, and left their sums
#pragma unroll
    for (int r = 0; r < ROUNDS; r++) {
        const int i = threadIdx.x + r * blockDim.x, j = i - rows;
        if (channel[r].column >= 0 && (j < 0 || j / (2 * N / SPLIT) == rank)) channel[r].slide(window, channels);
    }
    if (!norms) return;
    float total = 0.f;
#pragma unroll
    for (int k = 0; k < SPLIT; k++) total += shared.part[k];
    ((T *)a.y)[(long long)token * a.y_stride + first + threadIdx.x] = from_float<T>(u * rsqrtf(total / (rows * SPLIT) + mixer.eps) * weight);
}

#define STATE(NAME, T, STATE_NAME, S)                                                                                     \
    extern "C" __global__ void CLUSTER(SPLIT) __launch_bounds__(MOST) mamba_step_##NAME##_##STATE_NAME(Mixer a, Step step) { \
        mamba_step<T, S>(a, step);                                                                                           \
    }
#define KERNEL(NAME, T) STATE(NAME, T, f32, float) STATE(NAME, T, f16, f16)
INSTANCES(KERNEL)
