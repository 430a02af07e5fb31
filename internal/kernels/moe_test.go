package kernels

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/godwit-llm/godwit/internal/cuda/cudatest"
	"github.com/godwit-llm/godwit/internal/ops"
)

// moeCase is a mixture with a shared expert of so many columns, or without.
type moeCase struct {
	cols, width, shared int
	act                 ops.Activation
	router              ops.Router
	experts             int
	stored              ops.DType // of the router; I32: that of the activations
}

var moeCases = []moeCase{
	{cols: 192, width: 136, shared: 272, experts: 16, act: ops.ReLU2, stored: ops.I32, router: ops.Router{TopK: 6, Groups: 1, TopGroups: 1, Normalize: true, ScalingFactor: 2.5}},
	{cols: 40, width: 24, experts: 5, act: ops.SiLU, stored: ops.I32, router: ops.Router{TopK: 3, Groups: 1, TopGroups: 1, ScalingFactor: 1}},
	{cols: 64, width: 72, shared: 8, experts: 200, act: ops.ReLU2, stored: ops.F32, router: ops.Router{TopK: 22, Groups: 8, TopGroups: 5, Normalize: true, ScalingFactor: 5}},
	{cols: 4096, width: 8, shared: 16, experts: 9, act: ops.GELU, stored: ops.I32, router: ops.Router{TopK: 1, Groups: 1, TopGroups: 1, ScalingFactor: 1}},
	{cols: 2560, width: 16, shared: 24, experts: 9, act: ops.GELUTanh, stored: ops.F32, router: ops.Router{TopK: 2, Groups: 1, TopGroups: 1, ScalingFactor: 1}},
	{cols: 104, width: 200, shared: 600, experts: 33, act: ops.ReLU2, stored: ops.F32, router: ops.Router{TopK: 32, Groups: 1, TopGroups: 1, Normalize: true, ScalingFactor: 1}},
	{cols: 2688, width: 1856, shared: 3712, experts: 8, act: ops.ReLU2, stored: ops.I32, router: ops.Router{TopK: 6, Groups: 1, TopGroups: 1, Normalize: true, ScalingFactor: 2.5}},
}

// String names the case.
func (m moeCase) String() string {
	return fmt.Sprintf("%d of %d,%d to %d and %d", m.router.TopK, m.experts, m.cols, m.width, m.shared)
}

// place puts a mixture on both sides. steep makes the choice depend on the bias
// alone, so that rounding does not change it.
func (m moeCase) place(c *comparison, steep bool) (dev, cpu *ops.MoE) {
	c.Helper()
	dev, cpu = &ops.MoE{}, &ops.MoE{}
	dev.Experts, cpu.Experts = c.mixtures(m.experts, m.cols, m.width, m.cols, m.act)
	stored := m.stored
	if stored == ops.I32 {
		stored = c.opt.Act
	}
	dev.Router, cpu.Router = c.routers(m.router, m.experts, m.cols, stored)
	if steep {
		order := c.rng.Perm(m.experts)
		bias := make([]float32, m.experts)
		for i, at := range order {
			bias[i] = 4 * float32(at)
		}
		c.must(c.Write(dev.Router.Bias, bias))
		copyTo(cpu.Router.Bias, bias)
	}
	if m.shared > 0 {
		both, host := c.mixtures(1, m.cols, m.shared, m.cols, m.act)
		dev.Shared = &ops.Shared{Up: &both.Up[0], Down: &both.Down[0]}
		cpu.Shared = &ops.Shared{Up: &host.Up[0], Down: &host.Down[0]}
	}
	return dev, cpu
}

// TestMoE compares a mixture of one token, with and without the norm in front
// of it, with the CPU's operations.
func TestMoE(t *testing.T) {
	for _, act := range activationTypes {
		for _, m := range some(moeCases, 3) {
			if act == ops.F16 && m.cols > 1000 || emulating && !*allCases && m.cols*m.width > 1<<20 {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s", act, m), func(t *testing.T) {
				c := compareWithCPU(t, act)
				c.moe(m)
				for _, center := range []bool{false, true} {
					c.normMoE(m, center)
				}
			})
		}
	}
}

// moe runs a mixture whose logits are exact several times, in a graph too: the
// choice must be the CPU's, and the bits the same.
func (c *comparison) moe(m moeCase) {
	c.Helper()
	act := c.opt.Act
	dev, cpu := m.place(c, false)
	c.rows(1)
	x := c.place(act, 1, m.cols, 8, c.quarters(m.cols))
	before := c.normal(m.cols)
	out := c.place(ops.F32, 1, m.cols, 8, before)
	hidden := c.random(act, 1, max(m.shared, 8), 8)
	got, want := c.bothRoutes(ops.Mixture{Rows: 3, TopK: m.router.TopK, Experts: m.experts, Width: m.width, Out: m.cols})
	got, want = got.Top(1), want.Top(1)
	c.cpu.MoE(out.cpu, x.cpu, cpu, want, hidden.cpu.Columns(0, m.shared))
	run := func() { c.MoE(out.dev, x.dev, dev, got, hidden.dev.Columns(0, m.shared)) }
	run()
	c.sameRoutes(got, want)
	c.close(m.String(), out, 1.5*mixtureTolerance(act))
	first := c.read(out.dev)
	for i := range 4 {
		c.must(c.Write(out.dev, before))
		if i%2 == 0 {
			run()
		} else {
			c.inGraph(run)
		}
		if again := c.read(out.dev); !slices.Equal(again, first) {
			c.Fatalf("%s: run %d: other bits", m, i)
		}
	}
	c.untouched(m.String(), hidden)
}

// normMoE runs a mixture of the norm of out itself, as a model does.
func (c *comparison) normMoE(m moeCase, center bool) {
	c.Helper()
	act := c.opt.Act
	dev, cpu := m.place(c, true)
	norm, host := &ops.Norm{Center: center, Eps: 1e-5}, &ops.Norm{Center: center, Eps: 1e-5}
	norm.Weight, host.Weight = c.vector(c.normal(m.cols))
	if center {
		norm.Bias, host.Bias = c.vector(c.normal(m.cols))
	}
	c.rows(1)
	out, h := c.random(ops.F32, 1, m.cols, 8), c.random(act, 1, m.cols, 8)
	hidden := c.random(act, 1, max(m.shared, 8), 8)
	got, want := c.bothRoutes(ops.Mixture{Rows: 1, TopK: m.router.TopK, Experts: m.experts, Width: m.width, Out: m.cols})
	c.Norm(h.dev, out.dev, norm)
	c.MoE(out.dev, h.dev, dev, got, hidden.dev.Columns(0, m.shared))
	c.cpu.Norm(h.cpu, out.cpu, host)
	c.cpu.MoE(out.cpu, h.cpu, cpu, want, hidden.cpu.Columns(0, m.shared))
	name := fmt.Sprintf("%s, center=%v", m, center)
	if ids, wanted := c.read(got.IDs), c.readCPU(want.IDs); !slices.Equal(ids, wanted) {
		c.Fatalf("%s: chose %v, want %v", name, ids, wanted)
	}
	c.close(name+": norm", h, 1e-6)
	c.close(name, out, 2*mixtureTolerance(act))
}

// TestMoEPlan holds which mixtures have kernels, and the rings of their
// launches, against a table.
func TestMoEPlan(t *testing.T) {
	for _, c := range []struct {
		chip                               string
		cols, width, shared, experts, topK int
		want                               string
	}{
		{"H200", 2688, 1856, 3712, 128, 6, "3 slots and 153792 bytes, 2 slots of 7424 and 133000 bytes, 4 slots and 141816 bytes"},
		{"H200", 2688, 1856, 0, 128, 6, "2 slots and 104576 bytes, 3 slots of 5376 and 135880 bytes, 4 slots and 141816 bytes"},
		{"H200", 1024, 2688, 0, 512, 22, "none"}, // more experts than blocks score
		{"H200", 4096, 1856, 0, 128, 6, "none"},  // rows of several segments
		{"H200", 2688, 1857, 0, 128, 6, "none"},
	} {
		p, ok := chips[c.chip].moePlan(c.cols, c.width, c.shared, c.experts, c.topK)
		got := "none"
		if ok {
			got = fmt.Sprintf("%d slots and %d bytes, %d slots of %d and %d bytes, %d slots and %d bytes",
				p.enter.slots, p.enter.shared, p.up.slots, 2*max(c.cols, c.shared), p.up.shared, p.down.slots, p.down.shared)
		}
		if got != c.want {
			t.Errorf("%+v: got %s", c, got)
		}
	}
}

// TestMoELaunches: one token of a mixture is three launches with the norm in
// front of it, several are the operations that a mixture consists of.
func TestMoELaunches(t *testing.T) {
	f := roomy(t)
	registerAll(t, f)
	var seen []string
	for _, source := range []string{"norm", "moe_enter", "moe_up", "route", "experts", "gemv", "linear"} {
		for _, name := range kernelsOf(t, source) {
			f.Kernel(name, nil, func(c *cudatest.Call) { seen = append(seen, fmt.Sprint(name, c.Grid)) })
		}
	}
	b := opened(t, f.Device(t), Options{Act: ops.BF16})
	const cols, width, shared = 64, 40, 80
	must := func(x ops.Tensor, err error) ops.Tensor {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	layer := func(rows, cols int) *ops.Linear {
		return &ops.Linear{In: cols, Out: rows, Weight: []ops.Tensor{must(b.Activation(rows, cols))}}
	}
	m := &ops.MoE{
		Router:  &ops.Router{Weight: layer(8, cols), Bias: must(b.Vector(make([]float32, 8))), TopK: 2, Groups: 1, TopGroups: 1},
		Experts: fakeExperts(t, b, 8, cols, width),
		Shared:  &ops.Shared{Up: layer(shared, cols), Down: layer(cols, shared)},
	}
	norm := &ops.Norm{Weight: must(b.Vector(make([]float32, cols))), Eps: 1e-5}
	for n, want := range map[int][]string{
		1: {"moe_enter_bf16_bf16_2[4 1 1]", "moe_up_bf16[4 1 1]", "experts_down_bf16[4 1 1]"},
		2: {
			"norm_f32_bf16[2 1 1]", "route_bf16_bf16[1 1 1]", "experts_sort[1 1 1]", "experts_tile_bf16_32[4 1 1]", "experts_tile_bf16_32[4 1 1]",
			"experts_sum_bf16[1 2 1]", "linear_ring_bf16[4 1 1]", "linear_tile_bf16_8[8 1 1]",
		},
	} {
		x, h := must(b.Float(n, cols)), must(b.Activation(n, cols))
		_, _, routes := fakeRouted(t, b, n, 2, m.Experts, false)
		seen = nil
		b.Norm(h, x, norm)
		b.MoE(x, h, m, routes, must(b.Activation(n, shared)))
		if err := b.wait(); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(seen, want) {
			t.Errorf("%d rows:\n got %v\nwant %v", n, seen, want)
		}
	}
}

// TestMoEOfNaN: a token of NaN makes a result of NaN, and the kernel ends.
func TestMoEOfNaN(t *testing.T) {
	c := compareWithCPU(t, ops.BF16)
	m := moeCases[0]
	dev, _ := m.place(c, false)
	c.rows(1)
	x := c.place(ops.BF16, 1, m.cols, 0, slices.Repeat([]float32{float32(math.NaN())}, m.cols))
	out, hidden := c.random(ops.F32, 1, m.cols, 0), c.random(ops.BF16, 1, m.shared, 0)
	got, _ := c.bothRoutes(ops.Mixture{Rows: 1, TopK: m.router.TopK, Experts: m.experts, Width: m.width, Out: m.cols})
	c.MoE(out.dev, x.dev, dev, got, hidden.dev)
	for i, v := range c.read(out.dev) {
		if v == v {
			t.Fatalf("column %d: got %g, want NaN", i, v)
		}
	}
}
