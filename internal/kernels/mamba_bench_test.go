package kernels

import (
	"fmt"
	"slices"
	"testing"

	"github.com/godwit-llm/godwit/internal/ops"
)

// mambaShape is the mixer of a published model.
type mambaShape struct {
	name                          string
	heads, headDim, groups, state int
	kept                          ops.DType
}

var mambaShapes = []mambaShape{
	{"3-Nano", 64, 64, 8, 128, ops.F32},
	{"3-Nano", 64, 64, 8, 128, ops.F16},
	{"Nano-9B-v2", 128, 80, 8, 128, ops.F32},
}

// mambaWork is the mixer of some layers that take turns, as in a model, so that
// their states do not stay in the second-level cache.
type mambaWork struct {
	*timer
	*ops.Mamba
	states       []ops.MambaState
	element      int // bytes of the scan's state
	p, mixed, y  ops.Tensor
	sequences, n int
}

func newMambaWork(m *timer, d device, s mambaShape, sequences, tokens int) *mambaWork {
	m.Helper()
	got := func(x ops.Tensor, err error) ops.Tensor {
		m.Helper()
		m.must(err)
		return x
	}
	w := &mambaWork{timer: m, sequences: sequences, n: sequences * tokens, element: s.kept.Size()}
	w.Mamba = mixer(s.heads, s.headDim, s.groups, s.state, 4, func(n int, of func() float64) ops.Tensor {
		return got(m.Vector(slices.Repeat([]float32{float32(of())}, n)))
	}, func() float64 { return -1 })
	inner := w.Inner()
	for range max(1, min(16, (2<<30)/(sequences*inner*s.state*w.element))) {
		w.states = append(w.states, ops.MambaState{Window: got(m.State(ops.F32, sequences, 3*w.Convolved())), SSM: got(m.State(s.kept, sequences, inner*s.state))})
	}
	w.p, w.mixed, w.y = got(m.Activation(w.n, w.Projected())), got(m.Activation(w.n, w.Convolved())), got(m.Activation(w.n, inner))
	pattern := randomPattern(m, d)
	repeat(m, d, w.p, pattern)
	repeat(m, d, w.mixed, pattern)
	start := make([]int32, sequences+1)
	for i := range start {
		start[i] = int32(i * tokens)
	}
	m.must(m.Begin(batchOf(start, 64)))
	return w
}

// mambaPart is an operation with the bytes that it must move.
type mambaPart struct {
	name  string
	bytes float64
	run   func(i int)
}

func (w *mambaWork) parts() []mambaPart {
	inner, width := w.Inner(), w.Convolved()
	z, xbc, dt := w.Split(w.p)
	gated := w.mixed.Columns(0, inner)
	n, s := float64(w.n), float64(w.sequences)
	state := func(i int) ops.MambaState { return w.states[i%len(w.states)] }
	convolve := func(i int) { w.Convolve(w.mixed, xbc, &w.Conv, state(i).Window) }
	scan := func(i int) { w.Scan(w.y, w.mixed, dt, &w.SSM, state(i).SSM) }
	norm := func(int) { w.GatedNorm(gated, w.y, z, &w.Norm) }
	moved := s * float64(2*(4*3*width+w.element*inner*w.Mamba.State)) // windows and states
	out := []mambaPart{
		{"scan", n*float64(2*(width+inner+w.Heads)) + s*float64(2*w.element*inner*w.Mamba.State), scan},
		{"convolve", n*float64(4*width) + s*float64(4*2*3*width) + float64(20*width), convolve},
		{"gated norm", n * float64(6*inner), norm},
		{"in three", n*float64(2*(w.Projected()+inner)) + moved, func(i int) { convolve(i); scan(i); norm(i) }},
	}
	if w.mixes(w.Mamba, state(0)) {
		w.mamba.most = w.n
		one := func(i int) { w.timer.Mamba(gated, w.p, w.Mamba, state(i), w.mixed, w.y) }
		out = append(out, mambaPart{"in one", n*float64(2*(w.Projected()+inner)) + moved, one})
	}
	return out
}

// chunkOperations counts what the matrix form multiplies and adds for a token:
// chunks of 64 see 40 tokens of their own on average, 16 at a time.
func (w *mambaWork) chunkOperations() float64 {
	const seen = 40
	return float64(w.Heads) * float64(4*w.HeadDim*w.Mamba.State+2*seen*(w.Mamba.State+w.HeadDim))
}

// TestSpeedOfMamba prints times of the three operations between the projections
// of a Mamba-2 mixer, and of all together, in three kernels and in one, against
// the bytes that they must move if each is read and written once. It runs on request only: -test.run SpeedOfMamba -speed.
func TestSpeedOfMamba(t *testing.T) {
	if !*measuring {
		t.Skip("measures only with -speed")
	}
	t.Logf("%-12s %-4s %-12s %6s x %-6s %10s %8s %6s %8s", "", "", "", "seqs", "tokens", "µs", "GB/s", "floor", "TFLOP/s")
	for _, act := range []ops.DType{ops.BF16, ops.F32} {
		for _, s := range mambaShapes {
			for _, c := range [][2]int{{1, 1}, {8, 1}, {16, 1}, {32, 1}, {64, 1}, {256, 1}, {1, 512}, {1, 2048}, {1, 8192}, {1, 32768}, {16, 512}} {
				if act == ops.F32 && c[0]*c[1] > 8192 {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s %s/%dx%d", act, s.name, s.kept, c[0], c[1]), func(t *testing.T) { measureMamba(t, act, s, c[0], c[1]) })
			}
		}
	}
}

func measureMamba(t *testing.T, act ops.DType, s mambaShape, sequences, tokens int) {
	needsGPU(t)
	d := onDevice(t, Options{Act: act})
	m := newTimer(t, d.Backend)
	w := newMambaWork(m, d, s, sequences, tokens)
	const bandwidth = 4547e9 // of an H200
	for _, p := range w.parts() {
		times := 64
		if w.n > 1000 {
			times = 8
		}
		took := m.measure(times, p.run).Seconds()
		line := fmt.Sprintf("%-12s %-4s %-12s %6d x %-6d %10.2f %8.0f %5.0f%%", s.name, s.kept, p.name, sequences, tokens, took*1e6, p.bytes/took/1e9, 100*p.bytes/bandwidth/took)
		if p.name == "scan" && tokens > 1 {
			line += fmt.Sprintf(" %8.1f", float64(w.n)*w.chunkOperations()/took/1e12)
		}
		t.Log(line)
	}
}
