package kernels

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-llm/godwit/internal/cuda/cudatest"
	"github.com/godwit-llm/godwit/internal/ops"
)

// quarters returns small multiples of 1/4, whose products and sums are exact in
// any order: both sides see the same logits, and the same ties.
func (c *comparison) quarters(n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(c.rng.IntN(9)-4) / 4
	}
	return out
}

// routers places a router on both sides. Its weights are stored in a type.
func (c *comparison) routers(r ops.Router, experts, width int, stored ops.DType) (dev, cpu *ops.Router) {
	c.Helper()
	weights := c.quarters(experts * width)
	bias := c.quarters(experts)
	for i := range bias {
		bias[i] /= 4
	}
	place := func(m ops.Memory) *ops.Router {
		var err error
		out := r
		out.Weight = &ops.Linear{In: width, Out: experts}
		if stored == ops.F32 && c.opt.Act != ops.F32 { // kept as it is
			var t ops.Tensor
			t, err = m.Vector(weights)
			t.Rows, t.Cols, t.Stride = experts, width, width
			out.Weight.Weight = []ops.Tensor{t}
		} else {
			out.Weight.Weight, err = m.Weights([]ops.Stored{{Name: "router", Type: ops.F32, Rows: experts, Cols: width, Data: bytesOf(weights)}})
		}
		c.must(err)
		out.Bias, err = m.Vector(bias)
		c.must(err)
		return &out
	}
	return place(c.Backend), place(c.cpu)
}

// bothRoutes reserves the routing of a mixture on both sides.
func (c *comparison) bothRoutes(m ops.Mixture) (dev, cpu ops.Routes) {
	c.Helper()
	dev, err := c.Backend.Routes(m)
	c.must(err)
	cpu, err = c.cpu.Routes(m)
	c.must(err)
	return dev, cpu
}

func (c *comparison) read(t ops.Tensor) []float32 {
	c.Helper()
	out := make([]float32, t.Rows*t.Cols)
	c.must(c.Read(out, t))
	return out
}

func (c *comparison) readCPU(t ops.Tensor) []float32 {
	c.Helper()
	out := make([]float32, t.Rows*t.Cols)
	c.must(c.cpu.Read(out, t))
	return out
}

// TestRoute compares choices exactly, and weights closely, with the CPU's.
func TestRoute(t *testing.T) {
	for _, act := range activationTypes {
		for _, c := range some([]struct {
			n, experts, width int
			router            ops.Router
			stored            ops.DType
		}{
			{1, 128, 2688, ops.Router{TopK: 6, Groups: 1, TopGroups: 1, Normalize: true, ScalingFactor: 2.5}, act},
			{2, 128, 2688, ops.Router{TopK: 6, Groups: 1, TopGroups: 1, Normalize: true, ScalingFactor: 2.5}, ops.F32},
			{3, 8, 40, ops.Router{TopK: 2, Groups: 1, TopGroups: 1, ScalingFactor: 1}, act},
			{7, 130, 33, ops.Router{TopK: 7, Groups: 1, TopGroups: 1, Normalize: true, ScalingFactor: 1}, act},
			{16, 512, 104, ops.Router{TopK: 22, Groups: 1, TopGroups: 1, Normalize: true, ScalingFactor: 5}, act},
			{17, 9, 64, ops.Router{TopK: 9, Groups: 1, TopGroups: 1, ScalingFactor: 1}, ops.F32},
			{64, 64, 4096, ops.Router{TopK: 4, Groups: 8, TopGroups: 3, Normalize: true, ScalingFactor: 1}, act},
			{100, 36, 200, ops.Router{TopK: 5, Groups: 12, TopGroups: 5, Normalize: true, ScalingFactor: 1}, ops.F32},
			{1000, 128, 192, ops.Router{TopK: 6, Groups: 1, TopGroups: 1, Normalize: true, ScalingFactor: 2.5}, act},
			{1000, 20, 35, ops.Router{TopK: 3, Groups: 5, TopGroups: 2, Normalize: true, ScalingFactor: 2.5}, act},
			{500, 128, 64, ops.Router{TopK: 6, Groups: 1, TopGroups: 1, Normalize: true, ScalingFactor: 2.5}, ops.F32},
		}, 3) {
			t.Run(fmt.Sprintf("%s/%d rows of %d,%d of %d,%s", act, c.n, c.width, c.router.TopK, c.experts, c.stored), func(t *testing.T) {
				m := compareWithCPU(t, act)
				dev, cpu := m.routers(c.router, c.experts, c.width, c.stored)
				m.rows(c.n)
				x := m.place(act, c.n, c.width, 8, m.quarters(c.n*c.width))
				size := ops.Mixture{Rows: c.n, TopK: c.router.TopK, Experts: c.experts}
				got, want := m.bothRoutes(size)
				for range 2 { // counters must be left as they were
					m.Route(got, x.dev, dev)
				}
				m.cpu.Route(want, x.cpu, cpu)
				m.sameRoutes(got, want)
			})
		}
	}
}

func (c *comparison) sameRoutes(got, want ops.Routes) {
	c.Helper()
	ids, wantIDs := c.read(got.IDs), c.readCPU(want.IDs)
	weights, wantWeights := c.read(got.Weights), c.readCPU(want.Weights)
	k := want.IDs.Cols
	for i := range ids {
		if ids[i] != wantIDs[i] {
			c.Fatalf("row %d: got %v, want %v", i/k, ids[i-i%k:][:k], wantIDs[i-i%k:][:k])
		}
		if d := math.Abs(float64(weights[i] - wantWeights[i])); d > 1e-6*math.Abs(float64(wantWeights[i])) {
			c.Fatalf("row %d, choice %d: got weight %g, want %g", i/k, i%k, weights[i], wantWeights[i])
		}
	}
}

// TestRouteOfNaN: a row that holds NaN gets experts that exist and weights that
// are NaN; the other rows get theirs.
func TestRouteOfNaN(t *testing.T) {
	m := compareWithCPU(t, ops.BF16)
	const n, experts, width = 18, 40, 64
	dev, cpu := m.routers(ops.Router{TopK: 6, Groups: 4, TopGroups: 2, Normalize: true, ScalingFactor: 1}, experts, width, ops.BF16)
	m.rows(n)
	values := m.quarters(n * width)
	x := m.place(ops.BF16, n, width, 0, values)
	got, want := m.bothRoutes(ops.Mixture{Rows: n, TopK: 6, Experts: experts})
	m.cpu.Route(want, x.cpu, cpu)
	values[3*width+5] = float32(math.NaN())
	m.must(m.Write(x.dev, values))
	m.Route(got, x.dev, dev)
	ids, weights := m.read(got.IDs), m.read(got.Weights)
	wantIDs := m.readCPU(want.IDs)
	for i := range ids {
		switch row := i / 6; {
		case row != 3 && ids[i] != wantIDs[i]:
			t.Fatalf("row %d: got expert %g, want %g", row, ids[i], wantIDs[i])
		case row == 3 && (!(ids[i] >= 0 && ids[i] < experts) || weights[i] == weights[i]):
			t.Fatalf("row of NaN: got expert %g with weight %g", ids[i], weights[i])
		}
	}
}

// TestRouteRefuses holds the messages about what the kernels cannot do.
func TestRouteRefuses(t *testing.T) {
	b := onFake(t, roomy(t), Options{Act: ops.BF16})
	place := func(t ops.DType, rows, cols int) ops.Tensor {
		out, err := b.place(t, rows, cols)
		if err != nil {
			panic(err)
		}
		return out
	}
	router := func(experts, topK int, kind ops.DType) *ops.Router {
		w := place(kind, experts, 64)
		return &ops.Router{Weight: &ops.Linear{In: 64, Out: experts, Weight: []ops.Tensor{w}}, Bias: place(ops.F32, 1, experts), TopK: topK, Groups: 1, TopGroups: 1}
	}
	routes := func(rows, topK, experts int) ops.Routes {
		r, err := b.Routes(ops.Mixture{Rows: rows, TopK: topK, Experts: experts})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	x := place(ops.BF16, 40, 64)
	for _, c := range []struct {
		routes ops.Routes
		x      ops.Tensor
		r      *ops.Router
		want   string
	}{
		{routes(40, 2, 16), x, router(16, 2, ops.BF16), ""},
		{routes(40, 2, 16), x, router(16, 2, ops.F32), ""},
		{routes(40, 2, 16), x, router(16, 2, ops.F16), "route: got x BF16[40, 64] and 1 weights, the first F16[16, 64], on a backend of BF16"},
		{routes(40, 2, 16), place(ops.F32, 4, 64), router(16, 2, ops.BF16), "route: got x F32[4, 64]"},
		{routes(40, 2, 16), x, router(600, 2, ops.BF16), "route: got 2 of 600 experts in 1 groups, want at most 32 of 512 in 32"},
		{routes(40, 3, 16), x, router(16, 2, ops.BF16), "route: got rows of 3 and 3 choices, want 2"},
		{routes(40, 2, 16), place(ops.BF16, 3000, 64), router(16, 2, ops.BF16), "route: 3000 rows, want at most 48"},
		{routes(4, 2, 16), x, router(16, 2, ops.BF16), "routing with scratch memory of"},
	} {
		b.Route(c.routes, c.x, c.r)
		err := b.wait()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	for _, m := range []ops.Mixture{{Rows: 1, TopK: 2, Experts: 513}, {Rows: 1, TopK: 33, Experts: 64}} {
		if _, err := b.Routes(m); err == nil || !strings.Contains(err.Error(), "want at most 32 of 512") {
			t.Errorf("%+v: got %v", m, err)
		}
	}
}

// TestRouteLaunches: one launch for few rows, a product and one for many.
func TestRouteLaunches(t *testing.T) {
	f := roomy(t)
	registerAll(t, f)
	var seen []string
	for _, source := range []string{"route", "gemm", "linear"} {
		for _, name := range kernelsOf(t, source) {
			f.Kernel(name, nil, func(c *cudatest.Call) { seen = append(seen, fmt.Sprint(name, c.Grid, c.Overlap)) })
		}
	}
	b := opened(t, f.Device(t), Options{Act: ops.BF16})
	for _, c := range []struct {
		n    int
		w    ops.DType
		want []string
	}{
		{1, ops.BF16, []string{"route_bf16_bf16[16 1 1] true"}},
		{256, ops.BF16, []string{"route_bf16_bf16[16 16 1] true"}},
		{257, ops.BF16, []string{"gemm_bf16_large[3 1 1] true", "route_choose[33 1 1] true"}},
		{257, ops.F32, []string{"route_f32_bf16[16 17 1] true"}},
	} {
		seen = nil
		w, err := b.place(c.w, 128, 64)
		if err != nil {
			t.Fatal(err)
		}
		x, err := b.Activation(c.n, 64)
		if err != nil {
			t.Fatal(err)
		}
		routes, err := b.Routes(ops.Mixture{Rows: c.n, TopK: 6, Experts: 128})
		if err != nil {
			t.Fatal(err)
		}
		b.gemm.library.blas = nil
		b.linear.chip.library = false
		b.Route(routes, x, &ops.Router{Weight: &ops.Linear{In: 64, Out: 128, Weight: []ops.Tensor{w}}, TopK: 6, Groups: 1, TopGroups: 1})
		if err := b.wait(); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(seen, c.want) {
			t.Errorf("%d rows, weights %s: got %v, want %v", c.n, c.w, seen, c.want)
		}
	}
}
