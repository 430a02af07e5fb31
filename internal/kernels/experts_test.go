package kernels

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/cuda/cudatest"
	"github.com/godwit-llm/godwit/internal/ops"
)

// TestExpertsWays holds the choice of kernels and their shapes against a table.
func TestExpertsWays(t *testing.T) {
	nano := mixture{topK: 6, experts: 128, in: 2688, width: 1856, out: 2688, w: ops.BF16, act: ops.BF16, activation: ops.ReLU2, aligned: true}
	super := mixture{topK: 22, experts: 512, in: 1024, width: 2688, out: 1024, w: ops.BF16, act: ops.BF16, activation: ops.ReLU2, aligned: true}
	change := func(m mixture, n int, f func(*mixture)) mixture {
		m.n = n
		if f != nil {
			f(&m)
		}
		return m
	}
	for _, c := range []struct {
		chip string
		m    mixture
		want string
	}{
		{"H200", change(nano, 1, nil), "rings up=132/3 slots/134592 down=132/4 slots/141816"},
		{"H200", change(super, 1, nil), "rings up=132/7 slots/117184 down=132/2 slots/205120"},
		{"H200", change(nano, 2, nil), "tiles 32"},
		{"H200", change(nano, 64, nil), "tiles 32"},
		{"H200", change(nano, 512, nil), "tiles 32"},
		{"H200", change(nano, 1024, nil), "tiles 64"},
		{"H200", change(nano, 2048, nil), "tiles 128"},
		{"H200", change(super, 2048, nil), "tiles 128"},
		{"H200", change(nano, 64, func(m *mixture) { m.act, m.w = ops.F32, ops.F32 }), "dots"},
		{"H200", change(nano, 64, func(m *mixture) { m.act = ops.F32 }), "dots"},
		{"H200", change(nano, 64, func(m *mixture) { m.width = 1857 }), "dots"},
		{"H200", change(nano, 64, func(m *mixture) { m.aligned = false }), "dots"},
		{"H200", change(nano, 64, func(m *mixture) { m.activation = ops.GELU }), "dots"},
		{"A100", change(nano, 1, nil), "dots"},
		{"A100", change(nano, 2048, nil), "tiles 128"},
		{"L4", change(nano, 2048, nil), "tiles 128"},
		{"T4", change(nano, 64, func(m *mixture) { m.act, m.w = ops.F16, ops.F16 }), "dots"},
		{"5090", change(nano, 1, nil), "rings up=170/2 slots/91520 down=170/2 slots/82176"},
	} {
		if got := describeMixture(chips[c.chip], c.m); got != c.want {
			t.Errorf("%s, %+v:\n got %s\nwant %s", c.chip, c.m, got, c.want)
		}
	}
}

// describeMixture writes down how a mixture is computed.
func describeMixture(c chip, m mixture) string {
	switch way := c.way(m); way {
	case byTiles:
		return fmt.Sprintf("%s %d", way, expertShapes[c.shape(m)].places)
	case byRings:
		u, d := c.upPlan(m), c.downPlan(m)
		return fmt.Sprintf("%s up=%d/%d slots/%d down=%d/%d slots/%d", way, u.grid, u.slots, u.shared, d.grid, d.slots, d.shared)
	default:
		return way.String()
	}
}

// TestScratchFits: what Routes reserves is never more than the plan says.
func TestScratchFits(t *testing.T) {
	for _, m := range []ops.Mixture{
		{Rows: 1, TopK: 1, Experts: 1, Width: 1, Out: 1},
		{Rows: 3, TopK: 2, Experts: 500, Width: 8, Out: 8},
		{Rows: 17, TopK: 6, Experts: 128, Width: 33, Out: 7},
		{Rows: 2048, TopK: 6, Experts: 128, Width: 1856, Out: 2688},
		{Rows: 8192, TopK: 22, Experts: 512, Width: 2688, Out: 1024},
	} {
		for _, act := range activationTypes {
			l := layoutScratch(m.Rows, m.TopK, m.Experts, m.Width, m.Out, act.Size())
			counters := roundUp(int64(4*ceil(m.Rows, routeTokens)), alignment)
			if got, most := l.size+counters, m.Scratch(act.Size()); got > most || most > got+got/8+8192+64*int64(m.Experts) {
				t.Errorf("%+v in %s: the kernels take %d bytes, the plan says %d", m, act, got, most)
			}
		}
	}
}

// mixtures places experts on both sides, with values that the activation type
// holds.
func (c *comparison) mixtures(experts, in, width, out int, act ops.Activation) (dev, cpu *ops.Experts) {
	c.Helper()
	up, down := make([]ops.Stored, experts), make([]ops.Stored, experts)
	matrix := func(rows, cols int) ops.Stored {
		values := c.normal(rows * cols)
		for i := range values {
			values[i] /= float32(math.Sqrt(float64(cols)))
		}
		return ops.Stored{Name: "expert", Type: ops.F32, Rows: rows, Cols: cols, Data: bytesOf(round(c.opt.Act, values))}
	}
	for e := range experts {
		up[e], down[e] = matrix(width, in), matrix(out, width)
	}
	place := func(m ops.Memory) *ops.Experts {
		return &ops.Experts{Up: c.layers(m, up), Down: c.layers(m, down), Act: act, Width: width}
	}
	return place(c.Backend), place(c.cpu)
}

func (c *comparison) layers(m ops.Memory, parts []ops.Stored) []ops.Linear {
	c.Helper()
	tensors, err := m.Weights(parts)
	c.must(err)
	out := make([]ops.Linear, len(parts))
	for i, p := range parts {
		out[i] = ops.Linear{In: p.Cols, Out: p.Rows, Weight: tensors[i : i+1]}
	}
	return out
}

// choices say which experts rows get.
var choices = []struct {
	name string
	of   func(c *comparison, row, topK, experts int) []int
}{
	{"spread", func(c *comparison, _, topK, experts int) []int { return c.rng.Perm(experts)[:topK] }},
	{"the same for all", func(_ *comparison, _, topK, experts int) []int { return ascending(experts)[experts-topK:] }},
	{"one for most", func(c *comparison, row, topK, experts int) []int {
		ids := c.rng.Perm(experts)[:topK]
		if row%7 != 0 && !slices.Contains(ids, 1%experts) {
			ids[0] = 1 % experts
		}
		return ids
	}},
}

func ascending(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// fillRoutes writes choices and weights to both sides.
func (c *comparison) fillRoutes(dev, cpu ops.Routes, of func(row int) []int) {
	c.Helper()
	n, k := cpu.IDs.Rows, cpu.IDs.Cols
	ids, weights := make([]float32, 0, n*k), c.normal(n*k)
	for row := range n {
		for _, e := range of(row) {
			ids = append(ids, float32(e))
		}
	}
	c.must(c.Write(dev.IDs, ids))
	c.must(c.Write(dev.Weights, weights))
	for i, v := range ids {
		cuda.View[int32](hostBytes(cpu.IDs))[i] = int32(v)
	}
	copyTo(cpu.Weights, weights)
}

// mixtureTolerance is the error of rounding the experts' hidden rows and terms
// to a type, as a share of the largest value of a row.
func mixtureTolerance(act ops.DType) float64 {
	if act == ops.F32 {
		return 1e-5
	}
	return 6 * epsilon(act)
}

// TestExperts compares all ways with the CPU.
func TestExperts(t *testing.T) {
	for _, c := range some([]struct {
		experts, topK, in, width, out int
		act                           ops.Activation
		rows                          []int
	}{
		{16, 6, 192, 136, 192, ops.ReLU2, []int{1, 2, 3, 7, 16, 17, 64, 100}},
		{8, 2, 72, 200, 72, ops.ReLU2, []int{1, 5, 100, 1000}},
		{40, 3, 33, 17, 33, ops.ReLU2, []int{1, 2, 17, 100}},
		{128, 6, 64, 24, 64, ops.SiLU, []int{1, 64, 300}},
		{512, 22, 64, 40, 64, ops.ReLU2, []int{1, 3, 40}},
		{1, 1, 40, 8, 24, ops.GELUTanh, []int{1, 9, 150}},
		{9, 4, 40, 64, 24, ops.GELU, []int{1, 33}},
		{8, 4, 2688, 1856, 2688, ops.ReLU2, []int{1, 2, 33}},
	}, 3) {
		for _, act := range activationTypes {
			if act == ops.F16 && c.in > 1000 {
				continue
			}
			name := fmt.Sprintf("%s/%d of %d,%d to %d to %d", act, c.topK, c.experts, c.in, c.width, c.out)
			t.Run(name, func(t *testing.T) {
				rows := affordable(2, c.rows, func(n int) int { return n * c.topK * c.width * (c.in + c.out) })
				if len(rows) == 0 {
					t.Skip("takes long without a GPU")
				}
				m := compareWithCPU(t, act)
				dev, cpu := m.mixtures(c.experts, c.in, c.width, c.out, c.act)
				for _, n := range rows {
					for i, choice := range choices {
						set := (n+i)%2 == 0
						m.experts(fmt.Sprintf("%d rows,%s,set=%v", n, choice.name, set), dev, cpu, n, c.topK, c.in, c.out, set, func(row int) []int {
							return choice.of(m, row, c.topK, c.experts)
						})
					}
				}
			})
		}
	}
}

// experts runs one mixture in each way that the device has for it.
func (c *comparison) experts(name string, dev, cpu *ops.Experts, n, topK, in, out int, set bool, of func(row int) []int) {
	c.Helper()
	act := c.opt.Act
	c.rows(n)
	x := c.random(act, n, in, 8)
	to := ops.F32
	if set {
		to = act // a latent space
	}
	before := c.normal(n * out)
	want := c.place(to, n, out, 8, before)
	got, host := c.bothRoutes(ops.Mixture{Rows: n + 3, TopK: topK, Experts: len(dev.Up), Width: dev.Width, Out: out})
	got, host = got.Top(n), host.Top(n)
	c.fillRoutes(got, host, of)
	c.cpu.Experts(want.cpu, x.cpu, host, cpu, set)
	shape, err := c.mixtureOf(want.dev, x.dev, got, dev)
	c.must(err)
	for _, way := range c.ways(shape) {
		y := want
		if way != byDots {
			y.dev, y.whole = c.again(want, before)
		}
		c.Backend.experts.forced = way
		c.Experts(y.dev, x.dev, got, dev, set)
		c.close(fmt.Sprintf("%s,%s", name, way), y, mixtureTolerance(act))
	}
	c.Backend.experts.forced = anyWay
}

// again places another output on the device.
func (c *comparison) again(like both, values []float32) (dev, whole ops.Tensor) {
	c.Helper()
	b := c.place(like.dev.Type, like.dev.Rows, like.dev.Cols, like.left, values)
	return b.dev, b.whole
}

// ways lists how a mixture can be computed, the last resort first.
func (c *comparison) ways(m mixture) []expertsWay {
	out := []expertsWay{byDots}
	if way := c.linear.chip.way(m); way != byDots {
		out = append(out, way)
	}
	if one := m; m.n == 1 && c.Backend.experts.tiles[0] != nil {
		one.n = 2
		if c.linear.chip.way(one) == byTiles {
			out = append(out, byTiles)
		}
	}
	return out
}

// TestExpertsOfNarrowWeights: weights of 16 bits beside float32 activations.
func TestExpertsOfNarrowWeights(t *testing.T) {
	for _, stored := range []ops.DType{ops.BF16, ops.F16} {
		for _, in := range []int{64, 33} {
			m := compareWithCPU(t, ops.F32)
			const experts, topK, width, n = 8, 3, 40, 21
			dev, cpu := m.mixtures(experts, in, width, in, ops.ReLU2)
			for _, layers := range [][2][]ops.Linear{{dev.Up, cpu.Up}, {dev.Down, cpu.Down}} {
				m.narrow(stored, layers[0], layers[1])
			}
			router, host := m.routers(ops.Router{TopK: topK, Groups: 1, TopGroups: 1, Normalize: true, ScalingFactor: 1}, experts, in, ops.F32)
			narrow, err := m.device.place(stored, experts, in)
			m.must(err)
			m.must(m.Write(narrow, m.readCPU(host.Weight.Weight[0])))
			router.Weight.Weight[0] = narrow
			m.rows(n)
			x := m.place(ops.F32, n, in, 4, m.quarters(n*in))
			out := m.random(ops.F32, n, in, 4)
			got, want := m.bothRoutes(ops.Mixture{Rows: n, TopK: topK, Experts: experts, Width: width, Out: in})
			m.Route(got, x.dev, router)
			m.cpu.Route(want, x.cpu, host)
			m.sameRoutes(got, want)
			m.Experts(out.dev, x.dev, got, dev, false)
			m.cpu.Experts(out.cpu, x.cpu, want, cpu, false)
			m.close(fmt.Sprintf("%s weights, %d columns", stored, in), out, mixtureTolerance(ops.F32))
		}
	}
}

// narrow rounds layers to a type on both sides and stores them so on the device.
func (c *comparison) narrow(t ops.DType, dev, cpu []ops.Linear) {
	c.Helper()
	rows, cols := cpu[0].Out, cpu[0].In
	whole, err := c.device.place(t, len(dev)*rows, cols)
	c.must(err)
	for e := range dev {
		values := round(t, c.readCPU(cpu[e].Weight[0]))
		copyTo(cpu[e].Weight[0], values)
		dev[e].Weight = []ops.Tensor{rowsOf(whole, e*rows, rows)}
		c.must(c.Write(dev[e].Weight[0], values))
	}
}

// TestExpertsRepeat: the same input gives the same bits, in a graph too.
func TestExpertsRepeat(t *testing.T) {
	m := compareWithCPU(t, ops.BF16)
	const experts, topK, in, width = 32, 4, 256, 136
	dev, _ := m.mixtures(experts, in, width, in, ops.ReLU2)
	router, _ := m.routers(ops.Router{TopK: topK, Groups: 1, TopGroups: 1, Normalize: true, ScalingFactor: 2.5}, experts, in, ops.BF16)
	for _, n := range some(affordable(1, []int{1, 2, 17, 64, 300, 1000}, func(n int) int { return 2e5 * n }), 3) {
		x := m.random(ops.BF16, n, in, 0)
		routes, err := m.Backend.Routes(ops.Mixture{Rows: n, TopK: topK, Experts: experts, Width: width, Out: in})
		m.must(err)
		out, err := m.Float(n, in)
		m.must(err)
		m.rows(n)
		run := func() {
			m.Route(routes, x.dev, router)
			m.Experts(out, x.dev, routes, dev, true)
			for range 3 { // adds the same three times
				m.Experts(out, x.dev, routes, dev, false)
			}
		}
		run()
		want := m.read(out)
		for i := range 4 {
			m.must(m.Write(out, make([]float32, n*in)))
			if i%2 == 0 {
				run()
			} else {
				m.inGraph(run)
			}
			if got := m.read(out); !slices.Equal(got, want) {
				t.Fatalf("%d rows, run %d: other bits", n, i)
			}
		}
	}
}

// inGraph records what run launches, and launches the graph.
func (c *comparison) inGraph(run func()) {
	c.Helper()
	graph, err := c.stream.Capture(func() error {
		run()
		return c.err
	})
	c.must(err)
	exec, err := graph.Instantiate()
	c.must(err)
	c.must(exec.Launch(c.stream))
	c.must(c.wait())
	c.must(exec.Close())
	c.must(graph.Close())
}

// TestExpertsLaunches holds the launches of a step of each size.
func TestExpertsLaunches(t *testing.T) {
	f := roomy(t)
	registerAll(t, f)
	var seen []string
	for _, name := range kernelsOf(t, "experts") {
		f.Kernel(name, nil, func(c *cudatest.Call) { seen = append(seen, fmt.Sprint(name, c.Grid, c.Overlap)) })
	}
	b := opened(t, f.Device(t), Options{Act: ops.BF16})
	e := fakeExperts(t, b, 16, 64, 40)
	for _, c := range []struct {
		n    int
		set  bool
		want []string
	}{
		{1, false, []string{"experts_up_bf16[4 1 1] true", "experts_down_bf16[4 1 1] true"}},
		{2, false, []string{"experts_sort[1 1 1] true", "experts_tile_bf16_32[4 1 1] true", "experts_tile_bf16_32[4 1 1] true", "experts_sum_bf16[1 2 1] true"}},
		{500, true, []string{"experts_sort[1 1 1] true", "experts_tile_bf16_128[8 1 1] true", "experts_tile_bf16_128[8 1 1] true", "experts_sum_bf16[1 500 1] true"}},
	} {
		seen = nil
		x, out, routes := fakeRouted(t, b, c.n, 2, e, c.set)
		b.Experts(out, x, routes, e, c.set)
		if err := b.wait(); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(seen, c.want) {
			t.Errorf("%d rows:\n got %v\nwant %v", c.n, seen, c.want)
		}
	}
}

// fakeExperts places experts without content.
func fakeExperts(t *testing.T, b *Backend, experts, in, width int) *ops.Experts {
	t.Helper()
	e := &ops.Experts{Act: ops.ReLU2, Width: width}
	up, err := b.Activation(experts*width, in)
	if err != nil {
		t.Fatal(err)
	}
	down, err := b.Activation(experts*in, width)
	if err != nil {
		t.Fatal(err)
	}
	for i := range experts {
		e.Up = append(e.Up, ops.Linear{In: in, Out: width, Weight: []ops.Tensor{rowsOf(up, i*width, width)}})
		e.Down = append(e.Down, ops.Linear{In: width, Out: in, Weight: []ops.Tensor{rowsOf(down, i*in, in)}})
	}
	return e
}

// rowsOf returns n rows of a dense matrix.
func rowsOf(t ops.Tensor, from, n int) ops.Tensor {
	size := t.Type.Size()
	return tensor(address(t)+cuda.DevicePtr(from*t.Stride*size), t.Type, n, t.Cols)
}

// fakeRouted reserves what a mixture of n rows reads and writes.
func fakeRouted(t *testing.T, b *Backend, n, topK int, e *ops.Experts, set bool) (x, out ops.Tensor, r ops.Routes) {
	t.Helper()
	in := e.Up[0].In
	x, err := b.Activation(n, in)
	if err != nil {
		t.Fatal(err)
	}
	if out, err = b.Float(n, in); set {
		out, err = b.Activation(n, in)
	}
	if err != nil {
		t.Fatal(err)
	}
	if r, err = b.Routes(ops.Mixture{Rows: n, TopK: topK, Experts: len(e.Up), Width: e.Width, Out: in}); err != nil {
		t.Fatal(err)
	}
	return x, out, r
}

// TestExpertsRefuse holds the messages about what the kernels cannot do.
func TestExpertsRefuse(t *testing.T) {
	b := onFake(t, roomy(t), Options{Act: ops.BF16})
	e := fakeExperts(t, b, 4, 64, 40)
	x, out, routes := fakeRouted(t, b, 3, 2, e, false)
	apart := *e
	apart.Up = slices.Clone(e.Up)
	apart.Up[1], apart.Up[2] = apart.Up[2], apart.Up[1]
	wide, err := b.Float(3, 64)
	if err != nil {
		t.Fatal(err)
	}
	small, err := b.Routes(ops.Mixture{Rows: 3, TopK: 2, Experts: 4})
	if err != nil {
		t.Fatal(err)
	}
	one, err := b.Routes(ops.Mixture{Rows: 3, TopK: 4, Experts: 4, Width: 40, Out: 64})
	if err != nil {
		t.Fatal(err)
	}
	one.IDs.Cols, one.Weights.Cols = 2, 2
	for _, c := range []struct {
		x      ops.Tensor
		routes ops.Routes
		e      *ops.Experts
		want   string
	}{
		{x, routes, e, ""},
		{x, routes, &apart, "the matrices of 4 experts do not lie one behind the other"},
		{wide, routes, e, "experts: got x F32[3, 64], weights BF16[40, 64] and BF16[64, 40], out F32[3, 64] on a backend of BF16"},
		{x, small, e, "routing with scratch memory of"},
		{x, one, e, "experts: got rows of 4 and 4 choices, want 2"},
	} {
		b.Experts(out, c.x, c.routes, c.e, false)
		err := b.wait()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

// mixture places a small one without a shared expert, and the scratch of up to
// nine rows.
func (m *tiny) mixture(t *testing.T) (*ops.MoE, ops.Routes) {
	t.Helper()
	const experts, topK, width = 8, 2, 40
	routes, err := m.Backend.Routes(ops.Mixture{Rows: 9, TopK: topK, Experts: experts, Width: width, Out: tinyHidden})
	m.must(err)
	return &ops.MoE{
		Router:  &ops.Router{Weight: m.matrix(experts, tinyHidden), Bias: m.got(m.Vector(make([]float32, experts))), TopK: topK, Groups: 1, TopGroups: 1},
		Experts: fakeExperts(t, m.Backend, experts, tinyHidden, width),
	}, routes
}

// TestMixtureInGraphs: decode steps with experts become graphs, and graphs
// compute what kernels launched one by one do.
func TestMixtureInGraphs(t *testing.T) {
	f := roomy(t)
	m := newTiny(t, onFake(t, f, Options{Act: ops.BF16}), 3)
	moe, routes := m.mixture(t)
	m.middle = func(int) {
		n := len(m.batch.Tokens)
		m.Route(routes.Top(n), m.h.Top(n), moe.Router)
		m.Experts(m.x.Top(n), m.h.Top(n), routes.Top(n), moe.Experts, false)
	}
	const launches = tinyKernels + tinyLayers*5
	for i, want := range [][2]int{{launches, 0}, {2 * launches, 0}, {0, 1}, {0, 1}} {
		kernels, graphs := calls(f, func() { m.step(3) })
		ranAs(t, fmt.Sprintf("step %d", i), kernels, graphs, want[0], want[1])
	}
}
