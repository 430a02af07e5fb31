package kernels

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/cuda/cudatest"
	"github.com/godwit-llm/godwit/internal/ops"
)

// mixer makes the constants of a Mamba-2 mixer.
func mixer(heads, headDim, groups, state, taps int, constants func(n int, of func() float64) ops.Tensor, normal func() float64) *ops.Mamba {
	m := &ops.Mamba{SSM: ops.SSM{Heads: heads, HeadDim: headDim, Groups: groups, State: state, DtMax: infinite}}
	m.A = constants(heads, func() float64 { return -math.Exp(normal()) })
	m.D, m.DtBias = constants(heads, normal), constants(heads, normal)
	m.Conv = ops.Conv{Kernel: taps, Weight: constants(taps*m.Convolved(), normal), Bias: constants(m.Convolved(), normal)}
	m.Norm = ops.GatedNorm{Groups: groups, Eps: 1e-5, Weight: constants(m.Inner(), normal)}
	return m
}

// tinyMamba is the Mamba-2 mixer of the layers of a tiny model.
type tinyMamba struct {
	*ops.Mamba
	in, out     *ops.Linear
	states      [tinyLayers]ops.MambaState
	p, mixed, y ops.Tensor
}

// addMamba gives a model mixers of this shape.
func (m *tiny) addMamba(heads, headDim, groups, state int) {
	m.Helper()
	x := &tinyMamba{}
	x.Mamba = mixer(heads, headDim, groups, state, 4, func(n int, of func() float64) ops.Tensor {
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(of())
		}
		return m.got(m.Vector(values))
	}, m.rng.NormFloat64)
	x.in, x.out = m.matrix(x.Projected(), tinyHidden), m.matrix(tinyHidden, x.Inner())
	sequences := len(m.ids)
	for i := range x.states {
		x.states[i] = ops.MambaState{Window: m.got(m.State(ops.F32, sequences, 3*x.Convolved())), SSM: m.got(m.State(ops.F32, sequences, x.Inner()*state))}
	}
	rows := sequences * tinyPrompt
	x.p, x.mixed, x.y = m.got(m.Activation(rows, x.Projected())), m.got(m.Activation(rows, x.Convolved())), m.got(m.Activation(rows, x.Inner()))
	m.mamba = x
}

func (x *tinyMamba) forward(m *tiny, layer int, to, h ops.Tensor) {
	p, mixed, y := x.p.Top(to.Rows), x.mixed.Top(to.Rows), x.y.Top(to.Rows)
	m.Norm(h, to, m.norm)
	m.Linear(p, h, x.in, ops.Epilogue{})
	out := mixed.Columns(0, x.Inner())
	m.Backend.Mamba(out, p, x.Mamba, x.states[layer], mixed, y)
	m.Linear(to, out, x.out, ops.Epilogue{Add: true})
}

// singleSteps are steps of single tokens; a negative number begins a sequence.
var singleSteps = []brought{{1, 1, 0, 1}, {1, 0, 1, 1}, {1, 1, 1, 1}, {-1, 1, 1, 0}, {1, 1, 1, 1}, {1, 1, -1, 1}, {1, 1, 1, 1}}

type mixerCase struct {
	heads, headDim, groups, state, taps int
	one                                 bool // kernel
}

// TestMamba compares decode steps of the mixers of published models, and of
// some that one kernel cannot take, with the CPU. One kernel rounds nothing
// between its parts; three round what passes from one to the next.
func TestMamba(t *testing.T) {
	for _, act := range activationTypes {
		t.Run(act.String(), func(t *testing.T) {
			c := compareWithCPU(t, act)
			for _, s := range some(affordable(1, []mixerCase{
				{64, 64, 8, 128, 4, true},  // 3-Nano
				{128, 80, 8, 128, 4, true}, // Nano-9B-v2
				{96, 80, 8, 128, 4, true},  // 3-Nano-4B
				{128, 64, 8, 128, 4, true}, // Nemotron-H-8B, Super
				{112, 64, 8, 128, 4, true}, // Nemotron-H-4B
				{8, 24, 1, 128, 4, true},
				{16, 80, 2, 128, 4, true},
				{256, 64, 8, 128, 4, false}, // Ultra
				{8, 64, 8, 128, 4, false},
				{8, 64, 1, 128, 3, false},
				{8, 64, 1, 64, 4, false},
			}, func(s mixerCase) int { return s.heads * s.headDim * s.state * 5 }), 4) {
				kinds := stateTypes
				if s.heads > 96 {
					kinds = kinds[:1] // other sizes of the same
				}
				for _, kept := range kinds {
					name := fmt.Sprintf("%d heads of %d in %d groups, state %d %s, %d taps", s.heads, s.headDim, s.groups, s.state, kept, s.taps)
					c.mixer(name, s.heads, s.headDim, s.groups, s.state, s.taps, kept, s.one)
				}
			}
		})
	}
}

func (c *comparison) mixer(name string, heads, headDim, groups, state, taps int, kept ops.DType, one bool) {
	c.Helper()
	var pairs [][2]ops.Tensor
	dev := mixer(heads, headDim, groups, state, taps, func(n int, of func() float64) ops.Tensor {
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(of())
		}
		d, h := c.vector(values)
		pairs = append(pairs, [2]ops.Tensor{d, h})
		return d
	}, c.rng.NormFloat64)
	cpu := *dev
	for _, t := range []*ops.Tensor{&cpu.A, &cpu.D, &cpu.DtBias, &cpu.Conv.Weight, &cpu.Conv.Bias, &cpu.Norm.Weight} {
		*t = pairs[slices.IndexFunc(pairs, func(p [2]ops.Tensor) bool { return p[0] == *t })][1]
	}
	window, ssm := c.staleState(ops.F32, (taps-1)*dev.Convolved()), c.staleState(kept, dev.Inner()*state)
	step := 0
	c.recurrent(singleSteps, func(b *ops.Batch) {
		n := len(b.Tokens)
		p, out := c.random(c.opt.Act, n, dev.Projected(), 8), c.random(c.opt.Act, n, dev.Inner(), 8)
		mixed, y := c.random(c.opt.Act, n, dev.Convolved(), 8), c.random(c.opt.Act, n, dev.Inner(), 8)
		if got := c.mixes(dev, ops.MambaState{Window: window.dev, SSM: ssm.dev}); got != (one && c.mamba.step != nil) {
			c.Fatalf("%s: in one kernel: %v", name, got)
		}
		c.Mamba(out.dev, p.dev, dev, ops.MambaState{Window: window.dev, SSM: ssm.dev}, mixed.dev, y.dev)
		extra, near := 2e-5, 1e-5
		if one {
			c.cpu.Mamba(out.cpu, p.cpu, &cpu, ops.MambaState{Window: window.cpu, SSM: ssm.cpu}, mixed.cpu, y.cpu)
		} else {
			c.roundingMixer(out.cpu, p.cpu, &cpu, ops.MambaState{Window: window.cpu, SSM: ssm.cpu}, mixed.cpu, y.cpu)
		}
		if !one && c.opt.Act != ops.F32 {
			extra, near = 8*epsilon(c.opt.Act), 8*epsilon(c.opt.Act)
		}
		name := fmt.Sprintf("%s, step %d", name, step)
		c.close(name, out, extra)
		c.close(name+", windows", window, 0)
		c.close(name+", states", ssm, near+halfUnit(kept))
		c.follow(ssm)
		step++
	})
}

// roundingMixer is CPU.Mamba that rounds what passes from one operation to the
// next, as three kernels do: what cancels later may make much of it.
func (c *comparison) roundingMixer(out, p ops.Tensor, m *ops.Mamba, state ops.MambaState, mixed, y ops.Tensor) {
	c.Helper()
	inner, end := m.Inner(), m.Inner()+m.Convolved()
	c.cpu.Convolve(mixed, p.Columns(inner, end), &m.Conv, state.Window)
	copyTo(mixed, round(c.opt.Act, c.readCPU(mixed)))
	c.cpu.Scan(y, mixed, p.Columns(end, end+m.Heads), &m.SSM, state.SSM)
	copyTo(y, round(c.opt.Act, c.readCPU(y)))
	c.cpu.GatedNorm(out, y, p.Columns(0, inner), &m.Norm)
}

// TestMambaGraphsComputeTheSame compares 20 decode steps of a hybrid model with
// and without graphs, bit by bit.
func TestMambaGraphsComputeTheSame(t *testing.T) {
	for _, act := range activationTypes {
		for i, shape := range [][4]int{{6, 12, 3, 10}, {8, 16, 2, 128}, {4, 64, 1, 64}, {8, 64, 1, 128}, {16, 80, 1, 128}} {
			if emulating && !*allCases && i != int(act)+1 {
				continue
			}
			t.Run(fmt.Sprintf("%s/%v", act, shape), func(t *testing.T) {
				var values [2][][]float32
				for i := range values {
					m := newTiny(t, onDevice(t, Options{Act: act, Eager: i == 0}).Backend, 5)
					m.addMamba(shape[0], shape[1], shape[2], shape[3])
					values[i], _ = m.generate(20, i == 1)
				}
				for step := range values[0] {
					if !slices.Equal(values[0][step], values[1][step]) {
						t.Fatalf("step %d: values differ", step)
					}
				}
			})
		}
	}
}

// TestMambaStepsBecomeGraphs: the operations of Mamba-2 are recorded and put
// off as all others are, whether one kernel runs them or three.
func TestMambaStepsBecomeGraphs(t *testing.T) {
	for _, c := range []struct{ headDim, most, kernels int }{{16, mostMixed, 6}, {64, mostMixed, 4}, {64, 2, 6}} {
		t.Run(fmt.Sprintf("%d/%d", c.headDim, c.most), func(t *testing.T) {
			f := roomy(t)
			m := newTiny(t, onFake(t, f, Options{Act: ops.BF16}), 3)
			m.Backend.mamba.most = c.most
			m.addMamba(8, c.headDim, 1, 128)
			kernels := tinyKernels + c.kernels*tinyLayers
			for i, want := range [][2]int{{kernels, 0}, {2 * kernels, 0}, {0, 1}, {0, 1}} {
				kernels, graphs := calls(f, func() { m.step(3) })
				ranAs(t, fmt.Sprintf("step %d", i), kernels, graphs, want[0], want[1])
			}
			if m.graphs.err != nil {
				t.Error(m.graphs.err)
			}
		})
	}
}

// TestMambaNeedsClusters: devices without them run three kernels.
func TestMambaNeedsClusters(t *testing.T) {
	for capability, want := range map[cuda.Capability]bool{75: false, 80: false, 89: false, 90: true, 100: true, 110: false, 120: true} {
		f := cudatest.New(t, cudatest.Config{NoBLASLt: true, Devices: []cudatest.Device{{Capability: capability}}})
		b := onFake(t, f, Options{Act: ops.BF16})
		if got := b.mamba.step != nil; got != want {
			t.Errorf("capability %s: one kernel: %v, want %v", capability, got, want)
		}
	}
}

// TestStateIsCleared: new states hold zeros, which one that is never begun
// keeps.
func TestStateIsCleared(t *testing.T) {
	b := onFake(t, cudatest.New(t, cudatest.Config{NoBLASLt: true}), Options{Act: ops.BF16})
	x, err := b.State(ops.F32, 3, 100)
	if err != nil {
		t.Fatal(err)
	}
	values := slices.Repeat([]float32{1}, 300)
	if err := b.Read(values, x); err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(values, func(v float32) bool { return v != 0 }); i >= 0 {
		t.Errorf("value %d is %g", i, values[i])
	}
}
