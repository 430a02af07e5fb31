package kernels

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/godwit-llm/godwit/internal/cuda/cudatest"
	"github.com/godwit-llm/godwit/internal/ops"
)

// tinyMamba is the Mamba-2 mixer of the layers of a tiny model.
type tinyMamba struct {
	ssm         *ops.SSM
	conv        *ops.Conv
	norm        *ops.GatedNorm
	in, out     *ops.Linear
	window, old [tinyLayers]ops.Tensor
	p, mixed, y ops.Tensor
}

// addMamba gives a model mixers of this shape.
func (m *tiny) addMamba(heads, headDim, groups, state int) {
	m.Helper()
	constants := func(n int, of func() float64) ops.Tensor {
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(of())
		}
		return m.got(m.Vector(values))
	}
	s := &ops.SSM{Heads: heads, HeadDim: headDim, Groups: groups, State: state, DtMax: infinite}
	s.A = constants(heads, func() float64 { return -math.Exp(m.rng.NormFloat64()) })
	s.D, s.DtBias = constants(heads, m.rng.NormFloat64), constants(heads, m.rng.NormFloat64)
	inner, width := s.Inner(), s.Inner()+2*groups*state
	x := &tinyMamba{ssm: s, conv: &ops.Conv{Kernel: 4}, norm: &ops.GatedNorm{Groups: groups, Eps: 1e-5}}
	x.conv.Weight, x.conv.Bias = constants(4*width, m.rng.NormFloat64), constants(width, m.rng.NormFloat64)
	x.norm.Weight = constants(inner, m.rng.NormFloat64)
	x.in, x.out = m.matrix(inner+width+heads, tinyHidden), m.matrix(tinyHidden, inner)
	sequences := len(m.ids)
	for i := range tinyLayers {
		x.window[i], x.old[i] = m.got(m.State(sequences, 3*width)), m.got(m.State(sequences, inner*state))
	}
	rows := sequences * tinyPrompt
	x.p, x.mixed, x.y = m.got(m.Activation(rows, x.in.Out)), m.got(m.Activation(rows, width)), m.got(m.Activation(rows, inner))
	m.mamba = x
}

func (x *tinyMamba) forward(m *tiny, layer int, to, h ops.Tensor) {
	n, inner := to.Rows, x.ssm.Inner()
	p, mixed, y := x.p.Top(n), x.mixed.Top(n), x.y.Top(n)
	m.Norm(h, to, m.norm)
	m.Linear(p, h, x.in, ops.Epilogue{})
	m.Convolve(mixed, p.Columns(inner, inner+mixed.Cols), x.conv, x.window[layer])
	m.Scan(y, mixed, p.Columns(inner+mixed.Cols, p.Cols), x.ssm, x.old[layer])
	gated := mixed.Columns(0, inner)
	m.GatedNorm(gated, y, p.Columns(0, inner), x.norm)
	m.Linear(to, gated, x.out, ops.Epilogue{Add: true})
}

// TestMambaGraphsComputeTheSame compares 20 decode steps of a hybrid model with
// and without graphs, bit by bit.
func TestMambaGraphsComputeTheSame(t *testing.T) {
	for _, act := range activationTypes {
		for _, shape := range [][4]int{{6, 12, 3, 10}, {8, 16, 2, 128}, {4, 64, 1, 64}} {
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
// off as all others are.
func TestMambaStepsBecomeGraphs(t *testing.T) {
	f := roomy(t)
	m := newTiny(t, onFake(t, f, Options{Act: ops.BF16}), 3)
	m.addMamba(8, 16, 2, 128)
	const more = tinyKernels + 6*tinyLayers
	for i, want := range [][2]int{{more, 0}, {2 * more, 0}, {0, 1}, {0, 1}} {
		kernels, graphs := calls(f, func() { m.step(3) })
		ranAs(t, fmt.Sprintf("step %d", i), kernels, graphs, want[0], want[1])
	}
	if m.graphs.err != nil {
		t.Error(m.graphs.err)
	}
}

// TestStateIsCleared: new states hold zeros, which one that is never begun
// keeps.
func TestStateIsCleared(t *testing.T) {
	b := onFake(t, cudatest.New(t, cudatest.Config{NoBLASLt: true}), Options{Act: ops.BF16})
	x, err := b.State(3, 100)
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
