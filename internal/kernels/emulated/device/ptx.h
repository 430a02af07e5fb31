// Instructions of PTX. rewrite.go turns each of an asm statement into a call of
// the function of its name – with '_' for what is no letter or digit, and
// without hints to the caches – and its operands in order, without brackets and
// braces.
#pragma once

// sink is the operand _.
struct ptx_sink {
    template <class T> void operator=(T) {}
};

namespace ptx {

using emulated::operands;
using emulated::Thread;

// ---- memory ----

template <class P> const char *aligned(P p, unsigned n) {
    const unsigned long long at = (unsigned long long)p;
    if (at % n) emulated::fail("an access of %u bytes at %#llx, which is not aligned", n, at);
    return (const char *)at;
}

template <class R, class P> void load4(R &x, R &y, R &z, R &w, P p) {
    const R *at = (const R *)aligned(p, 4 * sizeof(R));
    x = at[0], y = at[1], z = at[2], w = at[3];
}
template <class R, class P> void load2(R &x, R &y, P p) {
    const R *at = (const R *)aligned(p, 2 * sizeof(R));
    x = at[0], y = at[1];
}
template <class R, class P> void load1(R &x, P p) { x = *(const R *)aligned(p, sizeof(R)); }

#define LOADS(NAME)                                                                                    \
    template <class R, class P> void NAME##_v4_u32(R &x, R &y, R &z, R &w, P p) { load4(x, y, z, w, p); } \
    template <class R, class P> void NAME##_v4_f32(R &x, R &y, R &z, R &w, P p) { load4(x, y, z, w, p); } \
    template <class R, class P> void NAME##_v2_u32(R &x, R &y, P p) { load2(x, y, p); }                  \
    template <class R, class P> void NAME##_v2_f32(R &x, R &y, P p) { load2(x, y, p); }                  \
    template <class R, class P> void NAME##_u32(R &x, P p) { load1(x, p); }                              \
    template <class R, class P> void NAME##_f32(R &x, P p) { load1(x, p); }                              \
    template <class R, class P> void NAME##_u64(R &x, P p) { load1(x, p); }
LOADS(ld_global)
LOADS(ld_global_nc)
LOADS(ld_global_cg)
LOADS(ld_global_ca)
LOADS(ld_volatile_global)
LOADS(ld_relaxed_gpu_global)
#undef LOADS

// ---- conversions ----

template <class L, class R> void mov_b32(L &low, L &high, R v) { low = (L)(v & 0xffff), high = (L)(v >> 16); }

// e4m3 decodes a number of a sign, 4 bits of exponent and 3 of fraction.
inline float e4m3(unsigned v) {
    const unsigned exponent = v >> 3 & 15, fraction = v & 7;
    float x = exponent ? ldexpf(8 + fraction, (int)exponent - 10) : ldexpf(fraction, -9);
    if ((v & 0x7f) == 0x7f) x = NAN;
    return v & 0x80 ? -x : x;
}

template <class R> void cvt_rn_f16x2_e4m3x2(R &to, unsigned short v) {
    to = __float2half_rn(e4m3(v & 255)).bits | (unsigned)__float2half_rn(e4m3(v >> 8)).bits << 16;
}

// to_e4m3 finds the nearest number, of two the even one.
inline unsigned to_e4m3(float v) {
    if (v != v) return 0x7f;
    unsigned best = 0;
    for (unsigned c = 1; c < 0x7f; c++) {
        const double d = fabs(fabs((double)v) - e4m3(c)), least = fabs(fabs((double)v) - e4m3(best));
        if (d < least || (d == least && c % 2 == 0)) best = c;
    }
    if (fabsf(v) > 448) best = 0x7e;
    return best | (std::signbit(v) ? 0x80 : 0);
}

template <class R> void cvt_rn_satfinite_e4m3x2_f32(R &to, float high, float low) { to = (R)(to_e4m3(high) << 8 | to_e4m3(low)); }

inline void ex2_approx_ftz_f32(float &to, float v) {
    to = exp2f(v);
    if (to < 0x1p-126f) to = 0;
}

// Whoever reads with acquire waits for others.
template <class R, class P> void ld_acquire_gpu_global_u32(R &x, P p) {
    load1(x, p);
    emulated::spin();
}
template <class R, class P> void ld_acquire_gpu_global_u64(R &x, P p) {
    load1(x, p);
    emulated::spin();
}
template <class P, class R> void st_release_gpu_global_u32(P p, R v) {
    *(unsigned *)aligned(p, 4) = v;
    emulated::pause();
}
template <class P, class R> void red_release_gpu_global_add_u32(P p, R v) {
    emulated::pause();
    *(unsigned *)aligned(p, 4) += v;
    emulated::pause();
}
template <class P> void red_global_add_f32(P p, float v) {
    emulated::pause();
    *(float *)aligned(p, 4) += v;
    emulated::pause();
}

inline void createpolicy_fractional_b64(unsigned long long &policy, float) { policy = 0; }
template <class... P> void prefetch_global(P...) {}
inline void fence_proxy_async() {}
inline void fence_mbarrier_init_release_cluster() {}
inline void fence_acq_rel_cluster() {}

// ---- clusters ----

inline unsigned cluster_ctarank() { return emulated::current->block->rank; }
inline unsigned laneid() { return emulated::current->lane; }
inline void mapa_shared_cluster_u32(unsigned &to, unsigned address, int rank) { to = emulated::shared_of_rank(address, rank); }

template <class T> T &cluster_place(unsigned address) {
    emulated::pause();
    return *(T *)emulated::shared_pointer(address, sizeof(T), sizeof(T));
}
template <class R> void st_shared_v4_u32(unsigned to, R x, R y, R z, R w) {
    unsigned *at = (unsigned *)emulated::shared_pointer(to, 16, 16);
    at[0] = x, at[1] = y, at[2] = z, at[3] = w;
}

inline void st_shared_cluster_f32(unsigned address, float v) { cluster_place<float>(address) = v; }
inline void st_shared_cluster_u32(unsigned address, unsigned v) { cluster_place<unsigned>(address) = v; }
inline void ld_shared_cluster_f32(float &v, unsigned address) { v = cluster_place<float>(address); }
inline void ld_shared_cluster_u32(unsigned &v, unsigned address) { v = cluster_place<unsigned>(address); }

inline void barrier_cluster_arrive_release_aligned() { emulated::cluster_barrier_arrive(); }
inline void barrier_cluster_arrive_relaxed_aligned() { emulated::cluster_barrier_arrive(); }
inline void barrier_cluster_wait_acquire_aligned() { emulated::cluster_barrier_wait(); }

// ---- blocks ----

inline void bar_sync(int number) { emulated::barrier(number, 0, false); }
inline void bar_sync(int number, int threads) { emulated::barrier(number, threads, false); }
inline void bar_arrive(int number, int threads) { emulated::barrier_arrive(number, threads); }

// ---- kernels: they run one after another ----

inline void griddepcontrol_wait() {}
inline void griddepcontrol_launch_dependents() {}

// ---- copies in the background ----

inline void cp_async_cg_shared_global(unsigned to, const void *from, int bytes, int present) {
    char *place = emulated::shared_pointer(to, bytes, bytes);
    if (present != 0 && present != bytes) emulated::fail("cp.async of %d bytes of %d", present, bytes);
    emulated::copy_async(place, present ? aligned(from, bytes) : nullptr, bytes);
}
inline void cp_async_cg_shared_global(unsigned to, const void *from, int bytes) { cp_async_cg_shared_global(to, from, bytes, bytes); }
inline void cp_async_ca_shared_global(unsigned to, const void *from, int bytes, int present) { cp_async_cg_shared_global(to, from, bytes, present); }
inline void cp_async_ca_shared_global(unsigned to, const void *from, int bytes) { cp_async_cg_shared_global(to, from, bytes, bytes); }
inline void cp_async_commit_group() { emulated::copy_commit(); }
inline void cp_async_wait_group(int n) { emulated::copy_wait(n); }
inline void cp_async_wait_all() { emulated::copy_commit(), emulated::copy_wait(0); }

inline unsigned long long *phase_at(unsigned address) { return (unsigned long long *)emulated::shared_pointer(address, 8, 8); }

inline void mbarrier_init_shared_cta_b64(unsigned b, unsigned arrivals) { emulated::phase_init(phase_at(b), arrivals); }
template <class S> void mbarrier_arrive_shared_cta_b64(S, unsigned b) { emulated::phase_arrive(phase_at(b), 1, 0); }
template <class S> void mbarrier_arrive_expect_tx_shared_cta_b64(S, unsigned b, unsigned bytes) { emulated::phase_arrive(phase_at(b), 1, bytes); }
// try_wait may wait for a while: it waits to the end.
inline void mbarrier_try_wait_parity_shared_cta_b64(bool &done, unsigned b, unsigned parity) {
    emulated::phase_wait(phase_at(b), parity);
    done = true;
}
inline void mbarrier_try_wait_parity_acquire_cluster_shared_cta_b64(bool &done, unsigned b, unsigned parity) {
    mbarrier_try_wait_parity_shared_cta_b64(done, b, parity);
}
inline void mbarrier_test_wait_parity_shared_cta_b64(bool &done, unsigned b, unsigned parity) {
    done = emulated::phase_test(phase_at(b), parity);
    emulated::spin();
}
inline void selp_u32(unsigned &to, unsigned a, unsigned b, bool p) { to = p ? a : b; }

inline void cp_async_bulk_shared_cluster_global_mbarrier_complete_tx_bytes_L2_cache_hint(unsigned to, const void *from, unsigned bytes, unsigned b, unsigned long long) {
    emulated::copy_bulk(emulated::shared_pointer(to, bytes, 16), (const char *)from, bytes, phase_at(b));
}
inline void cp_async_bulk_shared_cluster_global_mbarrier_complete_tx_bytes(unsigned to, const void *from, unsigned bytes, unsigned b) {
    emulated::copy_bulk(emulated::shared_pointer(to, bytes, 16), (const char *)from, bytes, phase_at(b));
}

// Stores that report to a barrier where they go.
inline void st_async_weak_shared_cluster_mbarrier_complete_tx_bytes_v4_f32(unsigned to, float x, float y, float z, float w, unsigned b) {
    const float v[4] = {x, y, z, w};
    emulated::store_async(emulated::shared_pointer(to, 16, 16), v, 16, phase_at(b));
}
inline void st_async_weak_shared_cluster_mbarrier_complete_tx_bytes_v2_f32(unsigned to, float x, float y, unsigned b) {
    const float v[2] = {x, y};
    emulated::store_async(emulated::shared_pointer(to, 8, 8), v, 8, phase_at(b));
}

// ---- matrices ----
//
// A 16×16, B 16×8 and C 16×8 lie in the registers of a warp as the PTX manual
// says: with lane = 4g + t, registers hold rows g (and g+8) at columns 2t and
// 2t+1 (and eight on).

struct BF16 {
    static float value(unsigned bits) { return __uint_as_float(bits << 16); }
};
struct F16 {
    static float value(unsigned bits) { return __half2float({(unsigned short)bits}); }
};

// Product is D = A·B + C. The products are exact and their sum is rounded once;
// the hardware rounds somewhere in between, too.
template <class T> struct Product {
    unsigned a[4], b[2];
    float c[4];

    __attribute__((optimize("O3"))) static void resolve(Thread *const *lanes, unsigned members) {
        if (members != 0xffffffffu) emulated::fail("mma of lanes %08x", members);
        float a[16][16], b[16][8];
        double c[16][8];
        for (int lane = 0; lane < 32; lane++) {
            const Product &op = operands<Product>(lanes, lane);
            const int g = lane / 4, t = 2 * (lane % 4);
            for (int i = 0; i < 8; i++) a[g + i / 2 % 2 * 8][t + i / 4 * 8 + i % 2] = T::value(op.a[i / 2] >> i % 2 * 16 & 0xffff);
            for (int i = 0; i < 4; i++) b[t + i / 2 * 8 + i % 2][g] = T::value(op.b[i / 2] >> i % 2 * 16 & 0xffff);
            for (int i = 0; i < 4; i++) c[g + i / 2 * 8][t + i % 2] = op.c[i];
        }
        for (int row = 0; row < 16; row++)
            for (int k = 0; k < 16; k++)
                for (int column = 0; column < 8; column++) c[row][column] += (double)a[row][k] * b[k][column];
        for (int lane = 0; lane < 32; lane++)
            for (int i = 0; i < 4; i++) operands<Product>(lanes, lane).c[i] = (float)c[lane / 4 + i / 2 * 8][2 * (lane % 4) + i % 2];
    }
};

template <class T>
void product(float &d0, float &d1, float &d2, float &d3, unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0, unsigned b1, float c0,
             float c1, float c2, float c3) {
    Product<T> op = {{a0, a1, a2, a3}, {b0, b1}, {c0, c1, c2, c3}};
    emulated::meet(0xffffffffu, Product<T>::resolve, &op, "mma");
    d0 = op.c[0], d1 = op.c[1], d2 = op.c[2], d3 = op.c[3];
}
template <class... R> void mma_sync_aligned_m16n8k16_row_col_f32_bf16_bf16_f32(R &&...r) { product<BF16>(r...); }
template <class... R> void mma_sync_aligned_m16n8k16_row_col_f32_f16_f16_f32(R &&...r) { product<F16>(r...); }

// Matrices is four 8×8 matrices of 16-bit numbers, row by row from the
// addresses of 8 lanes each.
template <int N, bool TRANSPOSED> struct Matrices {
    unsigned address, r[N];

    static void resolve(Thread *const *lanes, unsigned members) {
        if (members != 0xffffffffu) emulated::fail("ldmatrix of lanes %08x", members);
        const unsigned short *rows[8 * N];
        for (int i = 0; i < 8 * N; i++) rows[i] = (const unsigned short *)emulated::shared_pointer(operands<Matrices>(lanes, i).address, 16, 16);
        for (int lane = 0; lane < 32; lane++)
            for (int i = 0; i < N; i++) {
                const int g = lane / 4, t = 2 * (lane % 4);
                const unsigned low = TRANSPOSED ? rows[8 * i + t][g] : rows[8 * i + g][t];
                const unsigned high = TRANSPOSED ? rows[8 * i + t + 1][g] : rows[8 * i + g][t + 1];
                operands<Matrices>(lanes, lane).r[i] = low | high << 16;
            }
    }
};

template <int N, bool TRANSPOSED> Matrices<N, TRANSPOSED> load_matrices(unsigned address) {
    Matrices<N, TRANSPOSED> op = {address, {}};
    emulated::meet(0xffffffffu, Matrices<N, TRANSPOSED>::resolve, &op, "ldmatrix");
    return op;
}
template <bool TRANSPOSED> void load_4(unsigned &r0, unsigned &r1, unsigned &r2, unsigned &r3, unsigned address) {
    const auto m = load_matrices<4, TRANSPOSED>(address);
    r0 = m.r[0], r1 = m.r[1], r2 = m.r[2], r3 = m.r[3];
}
template <bool TRANSPOSED> void load_2(unsigned &r0, unsigned &r1, unsigned address) {
    const auto m = load_matrices<2, TRANSPOSED>(address);
    r0 = m.r[0], r1 = m.r[1];
}
template <class... R> void ldmatrix_sync_aligned_m8n8_x4_shared_b16(R &&...r) { load_4<false>(r...); }
template <class... R> void ldmatrix_sync_aligned_m8n8_x4_trans_shared_b16(R &&...r) { load_4<true>(r...); }
template <class... R> void ldmatrix_sync_aligned_m8n8_x2_shared_b16(R &&...r) { load_2<false>(r...); }
template <class... R> void ldmatrix_sync_aligned_m8n8_x2_trans_shared_b16(R &&...r) { load_2<true>(r...); }

// Transposition is of one 8×8 matrix in registers.
struct Transposition {
    unsigned v, r;
    static void resolve(Thread *const *lanes, unsigned members) {
        if (members != 0xffffffffu) emulated::fail("movmatrix of lanes %08x", members);
        unsigned short m[8][8];
        for (int lane = 0; lane < 32; lane++) {
            const unsigned v = operands<Transposition>(lanes, lane).v;
            m[lane / 4][2 * (lane % 4)] = v, m[lane / 4][2 * (lane % 4) + 1] = v >> 16;
        }
        for (int lane = 0; lane < 32; lane++) operands<Transposition>(lanes, lane).r = m[2 * (lane % 4)][lane / 4] | (unsigned)m[2 * (lane % 4) + 1][lane / 4] << 16;
    }
};
inline void movmatrix_sync_aligned_m8n8_trans_b16(unsigned &to, unsigned v) {
    Transposition op = {v, 0};
    emulated::meet(0xffffffffu, Transposition::resolve, &op, "movmatrix");
    to = op.r;
}

} // namespace ptx
