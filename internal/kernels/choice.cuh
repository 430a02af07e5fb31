// The choice of a router: what a warp does with the scores of one token.
#pragma once
#include "common.cuh"

// Choice is choiceArgs in route.go.
struct Choice {
    const float *bias;  // [experts]
    int experts, top_k, groups, top_groups, normalize;
    float scale;
};

__device__ __forceinline__ float logistic(float v) { return (float)(1.0 / (1.0 + exp(-(double)v))); }

constexpr int MOST_EXPERTS = 512;  // mostExperts in route.go

constexpr uint32_t TAKEN = 0, NOT_A_NUMBER = 1;

// rank_of orders floats as integers.
__device__ __forceinline__ uint32_t rank_of(float v) {
    if (v != v) return NOT_A_NUMBER;
    const uint32_t u = __float_as_uint(v + 0.f);  // -0 becomes 0
    return u >> 31 ? ~u : u | 0x80000000u;
}

__device__ __forceinline__ uint32_t largest(uint32_t v) {
#if __CUDA_ARCH__ >= 800
    return __reduce_max_sync(0xffffffffu, v);
#else
#pragma unroll
    for (int m = 16; m; m >>= 1) v = max(v, __shfl_xor_sync(0xffffffffu, v, m));
    return v;
#endif
}

__device__ __forceinline__ uint32_t smallest(uint32_t v) { return ~largest(~v); }

// open_groups returns a bit for each group that stays in the choice. Lane g
// looks at group g.
__device__ __forceinline__ uint32_t open_groups(const Choice &c, const float *score, int lane) {
    if (c.top_groups >= c.groups) return 0xffffffffu;
    const int size = c.experts / c.groups;
    const float least = __int_as_float(0xff800000);
    float first = least, second = least;
    for (int i = 0; lane < c.groups && i < size; i++) {
        const int e = lane * size + i;
        const float v = score[e] + c.bias[e];
        if (v > first)
            second = first, first = v;
        else
            second = fmaxf(second, v);
    }
    const float total = size > 1 ? first + second : first;
    int better = 0;
    for (int g = 0; g < c.groups; g++) {
        const float other = __shfl_sync(0xffffffffu, total, g);
        better += other > total || (other == total && g < lane);
    }
    return __ballot_sync(0xffffffffu, lane < c.groups && better < c.top_groups);
}

// Ranks is a lane's experts, lane, lane+32, …, as far as they can still be
// chosen: code that repeats for each of them, with nothing to wait for.
template <int EACH> struct Ranks {
    uint32_t rank[EACH];
    uint32_t best, expert;  // the largest, the first of equals, and whose it is

    __device__ __forceinline__ void find(int lane) {
        best = TAKEN, expert = lane;
#pragma unroll
        for (int j = 0; j < EACH; j++)
            if (rank[j] > best) best = rank[j], expert = lane + 32 * j;
    }

    __device__ __forceinline__ void take(uint32_t e, int lane) {
#pragma unroll
        for (int j = 0; j < EACH; j++)
            if (lane + 32 * j == e) rank[j] = TAKEN;
        find(lane);
    }
};

// choose_of lets a warp choose for one token among up to 32·EACH experts, by
// their scores, or by logits. score is shared memory of the warp's own, a number
// an expert.
template <bool LOGITS, int EACH>
__device__ __forceinline__ void choose_of(const Choice &c, const float *scores, int *ids, float *weights, float *score, int lane) {
    float v[EACH];
#pragma unroll
    for (int j = 0; j < EACH; j++) v[j] = lane + 32 * j < c.experts ? __ldcg(scores + lane + 32 * j) : 0.f;
#pragma unroll
    for (int j = 0; j < EACH; j++)
        if (lane + 32 * j < c.experts) score[lane + 32 * j] = v[j];
    if (LOGITS) {
#pragma unroll 4
        for (int e = lane; e < c.experts; e += 32) score[e] = logistic(score[e]);
#pragma unroll
        for (int j = 0; j < EACH; j++)
            if (lane + 32 * j < c.experts) v[j] = score[lane + 32 * j];
    }
    __syncwarp();
    const uint32_t open = open_groups(c, score, lane);
    const int size = c.experts / c.groups;
    Ranks<EACH> ranks;
#pragma unroll
    for (int j = 0; j < EACH; j++) {
        const int e = lane + 32 * j;
        ranks.rank[j] = TAKEN;
        if (e < c.experts) ranks.rank[j] = open == 0xffffffffu || open >> (e / size) & 1 ? rank_of(v[j] + c.bias[e]) : NOT_A_NUMBER;
    }
    ranks.find(lane);
    float sum = 0.f, weight = 0.f;
    uint32_t id = 0;
#pragma unroll 1
    for (int k = 0; k < c.top_k; k++) {
        const uint32_t top = largest(ranks.best);
        const uint32_t e = smallest(ranks.best == top ? ranks.expert : 0xffffffffu);
        const float s = score[e];
        sum += s;
        if (lane == k) id = e, weight = s;
        ranks.take(e, lane);
    }
    if (lane >= c.top_k) return;
    if (c.normalize) weight = __fdiv_rn(weight, sum + 1e-20f);
    ids[lane] = (int)id;
    weights[lane] = weight * c.scale;
}

// choose is choose_of for any number of experts that there are kernels for.
template <bool LOGITS>
__device__ __forceinline__ void choose(const Choice &c, const float *scores, int *ids, float *weights, float *score, int lane) {
    if (c.experts <= 128)
        choose_of<LOGITS, 4>(c, scores, ids, weights, score, lane);
    else
        choose_of<LOGITS, MOST_EXPERTS / 32>(c, scores, ids, weights, score, lane);
}
