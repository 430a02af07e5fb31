package emulated

import (
	"strings"
	"testing"
)

// TestRewrite: what becomes of CUDA's own syntax.
func TestRewrite(t *testing.T) {
	for in, want := range map[string]string{
		`asm volatile("griddepcontrol.wait;" ::: "memory");`:                                                                   `{ ptx::griddepcontrol_wait(); };`,
		`asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(f(a, b)));`:  `{ ptx::ld_global_nc_v2_u32((v.x), (v.y), (f(a, b))); };`,
		`asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");`:                                                         `{ ptx::cp_async_wait_group((N)); };`,
		`asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));`:                                                            `{ (r) = ptx::cluster_ctarank(); };`,
		"asm(\"{\\n\\t.reg .pred p;\\n\\t\" \"test.p p, [%1+16];\\n\\tselp.u32 %0, 1, 0, p;\\n\\t}\" : \"=r\"(d) : \"r\"(b));": `{ { bool p; ptx::test_p(p, (b)+16); ptx::selp_u32((d), 1, 0, p); } };`,
		`asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(b));`:                                                   `{ ptx::mbarrier_arrive_shared_cta_b64(ptx_sink(), (b)); };`,
		`__shared__ float q[N], s[2][N + 1];`: `static emulated::Variable q_variable = {sizeof(float [N]), alignof(float), 0}; auto &q = *(emulated::Same<float [N]> *)emulated::static_shared(&q_variable); ` +
			`static emulated::Variable s_variable = {sizeof(float [2][N + 1]), alignof(float), 0}; auto &s = *(emulated::Same<float [2][N + 1]> *)emulated::static_shared(&s_variable); `,
		`extern __shared__ __attribute__((aligned(128))) unsigned char m[];`: `static const emulated::DynamicShared<unsigned char, 128> m; `,
	} {
		got, kernels, err := rewrite(in)
		if err != nil || got != want || len(kernels) != 0 {
			t.Errorf("%s\n got %s (%v)\nwant %s", in, got, err, want)
		}
	}
}

// TestRewriteKernels finds kernels and their bounds.
func TestRewriteKernels(t *testing.T) {
	got, kernels, err := rewrite("extern \"C\" __global__ void __cluster_dims__(8) __launch_bounds__(Tile<1, 2>::threads, 2)\n    add(int a) { }\n")
	if err != nil || len(kernels) != 1 || kernels[0] != (entry{"add", "Tile<1, 2>::threads", "8"}) {
		t.Errorf("got %+v, %v", kernels, err)
	}
	if want := `static emulated::Register emulated_kernel_add("add", &add, (Tile<1, 2>::threads), (8));`; !strings.Contains(got, want) || strings.Contains(got, "__") {
		t.Errorf("got %s, want it to contain %s", got, want)
	}
}

// TestRewriteRefuses: what the emulator cannot do is an error that quotes it.
func TestRewriteRefuses(t *testing.T) {
	for _, in := range []string{
		`asm volatile("loop: bra loop;");`, `asm volatile("{ .reg .b128 v; }");`, `asm volatile(text);`, `asm volatile("add"`, `__global__ 3;`,
	} {
		if got, _, err := rewrite(in); err == nil {
			t.Errorf("%s became %s", in, got)
		}
	}
}
