// Attention of pieces of prompts: tiles of queries against tiles of keys, on
// the tensor cores, with an online softmax.
//
//   out[i, h] = Σ_p softmax_p(Scale · q[i, h]·k[p]) · v[p],  p up to the token's position
//
// attend_prompt_A_D: a block for each query head (x) and tile of tokens (y), the
// last tiles first, since they see the most positions. A tile holds tokens of
// one sequence; sequences of a single token are left to attend_decode. D is the
// head size rounded up. Each warp owns 16 tokens of the tile. Keys and values go
// through a ring of two places in shared memory, filled while the tile before is
// computed. Rows are stored with their 16-byte chunks permuted (chunk c of row r
// at c ^ r%8), so that neither copies nor matrix loads meet in a bank.
#include "prompt.cuh"

// copy_rows starts copies of keys and values to shared memory; rows outside of
// the cache become zero.
template <class T, int D>
__device__ __forceinline__ void copy_rows(T *keys, T *values, const Attend &a, const int *rows) {
    using S = Shape<D>;
    for (int i = threadIdx.x; i < S::keys * S::chunks; i += S::threads) {
        const int r = i / S::chunks, c = i % S::chunks, row = rows[r];
        const bool present = row >= 0 && 8 * c < a.head_dim;
        const long long at = present ? (long long)row * a.head_dim + 8 * c : 0;
        copy_chunk(shared_address(place<T, D>(keys, r, c)), (const T *)a.k + at, present);
        copy_chunk(shared_address(place<T, D>(values, r, c)), (const T *)a.v + at, present);
    }
}

template <class T, int D> __device__ void attend_prompt(const Attend &a, const Step &step) {
    using S = Shape<D>;
    extern __shared__ __align__(128) unsigned char memory[];
    __shared__ int rows[2][S::keys];
    T *const queries = (T *)memory, *const ring = queries + S::ring;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, head = blockIdx.x;
    const int kv_head = head / (a.heads / a.kv_heads);
    dependency_launch();
    dependency_wait();
    const Tile tile = find<S::queries>(step, step.counts[COUNT_SEQUENCES], gridDim.y - 1 - blockIdx.y, lane);
    if (tile.count == 0) return;
    const int *pages = step.pages + (long long)tile.sequence * step.counts[COUNT_PAGES];
    const int head_position = step.positions[tile.token], last = step.positions[tile.token + tile.count - 1];
    const int first = a.window > 0 ? max(0, head_position + 1 - a.window) : 0;
    const int begin = first / S::keys, end = last / S::keys + 1;
    auto locate = [&](int at, int block) {
        if (threadIdx.x >= S::keys) return;
        rows[at][threadIdx.x] = cache_row(a, pages, kv_head, block * S::keys + threadIdx.x, first, last);
    };

    Rows<T, D> own;
    own.clear();
    int own_first = 0x7fffffff, own_last = -1; // positions of the warp's rows
    for (int h = 0; h < 2; h++) {
        const int row = 16 * warp + (lane >> 2) + 8 * h;
        own.position[h] = row < tile.count ? step.positions[tile.token + row] : -1;
    }
    if (16 * warp < tile.count) {
        own_first = step.positions[tile.token + 16 * warp];
        own_last = step.positions[tile.token + min(16 * warp + 16, tile.count) - 1];
    }
    copy_queries<T, D>(queries, a, tile, head);
    locate(0, begin);
    __syncthreads();
    copy_rows<T, D>(ring, ring + S::place, a, rows[0]);
    end_copies();
    locate(1, begin + 1);

    const float scale = a.scale * LOG2E;
    for (int block = begin, at = 0; block < end; block++, at ^= 1) {
        await_copies<0>();
        __syncthreads();
        if (block + 1 < end) {
            copy_rows<T, D>(ring + 2 * (at ^ 1) * S::place, ring + (2 * (at ^ 1) + 1) * S::place, a, rows[at ^ 1]);
            end_copies();
            locate(at, block + 2);
        }
        if (Rows<T, D>::keep && block == begin)
#pragma unroll
            for (int k = 0; k < D / 16; k++) Rows<T, D>::query(own.q[Rows<T, D>::keep ? k : 0], queries, warp, lane, k);
        const int from = block * S::keys;
        if (from > own_last) continue; // nothing for this warp
        own.scores(queries, ring + 2 * at * S::place, warp, lane);
        if (from + S::keys - 1 > own_first || a.window > 0 || own_last - own_first != 15) own.hide(from, a.window, lane);
        own.weigh(scale);
        own.add(ring + (2 * at + 1) * S::place, lane);
    }
    own.write(a, tile, head, warp, lane, 1.f);
}

#define PROMPT(NAME, T, D)                                                                                          \
    extern "C" __global__ void __launch_bounds__(Shape<D>::threads) attend_prompt_##NAME(Attend a, Step step) { \
        attend_prompt<T, D>(a, step);                                                                               \
    }
PROMPT_INSTANCES(PROMPT)
