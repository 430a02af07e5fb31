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
}

var mambaShapes = []mambaShape{
	{"3-Nano", 64, 64, 8, 128},
	{"Nano-9B-v2", 128, 80, 8, 128},
}

// mambaWork is the mixer of some layers that take turns, as in a model, so that
// their states do not stay in the second-level cache.
type mambaWork struct {
	*timer
	ssm          *ops.SSM
	conv         *ops.Conv
	norm         *ops.GatedNorm
	windows, old []ops.Tensor
	p, mixed, y  ops.Tensor
	sequences, n int
}

func newMambaWork(m *timer, d device, pattern ops.Tensor, s mambaShape, sequences, tokens int) *mambaWork {
	m.Helper()
	got := func(x ops.Tensor, err error) ops.Tensor {
		m.Helper()
		m.must(err)
		return x
	}
	constant := func(n int, v float32) ops.Tensor { return got(m.Vector(slices.Repeat([]float32{v}, n))) }
	w := &mambaWork{timer: m, sequences: sequences, n: sequences * tokens}
	w.ssm = &ops.SSM{Heads: s.heads, HeadDim: s.headDim, Groups: s.groups, State: s.state, DtMax: infinite}
	w.ssm.A, w.ssm.D, w.ssm.DtBias = constant(s.heads, -1), constant(s.heads, 1), constant(s.heads, -3)
	inner, width := w.ssm.Inner(), w.ssm.Inner()+2*s.groups*s.state
	w.conv = &ops.Conv{Kernel: 4, Weight: constant(4*width, 0.3), Bias: constant(width, 0.1)}
	w.norm = &ops.GatedNorm{Groups: s.groups, Eps: 1e-5, Weight: constant(inner, 1)}
	layers := max(1, min(16, (2<<30)/(sequences*inner*s.state*4)))
	for range layers {
		w.windows = append(w.windows, got(m.State(sequences, 3*width)))
		w.old = append(w.old, got(m.State(sequences, inner*s.state)))
	}
	w.p, w.mixed, w.y = got(m.Activation(w.n, inner+width+s.heads)), got(m.Activation(w.n, width)), got(m.Activation(w.n, inner))
	repeat(m, d, w.p, pattern)
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
	inner, width := w.ssm.Inner(), w.mixed.Cols
	z, xbc, dt := w.p.Columns(0, inner), w.p.Columns(inner, inner+width), w.p.Columns(inner+width, w.p.Cols)
	gated := w.mixed.Columns(0, inner)
	n, s := float64(w.n), float64(w.sequences)
	convolve := func(i int) { w.Convolve(w.mixed, xbc, w.conv, w.windows[i%len(w.windows)]) }
	scan := func(i int) { w.Scan(w.y, w.mixed, dt, w.ssm, w.old[i%len(w.old)]) }
	norm := func(int) { w.GatedNorm(gated, w.y, z, w.norm) }
	out := []mambaPart{
		{"convolve", n*float64(4*width) + s*float64(2*3*4*width) + float64(16*width), convolve},
		{"scan", n*float64(2*(width+inner+dt.Cols)) + s*float64(2*4*inner*w.ssm.State), scan},
		{"gated norm", n * float64(6*inner), norm},
	}
	all := 0.0
	for _, p := range out {
		all += p.bytes
	}
	return append(out, mambaPart{"all three", all, func(i int) { convolve(i); scan(i); norm(i) }})
}

// chunkOperations counts what the matrix form multiplies and adds for a token:
// chunks of 64 see 40 tokens of their own on average, 16 at a time.
func (w *mambaWork) chunkOperations() float64 {
	const seen = 40
	return float64(w.ssm.Heads) * float64(4*w.ssm.HeadDim*w.ssm.State+2*seen*(w.ssm.State+w.ssm.HeadDim))
}

// TestSpeedOfMamba prints times of the three operations between the projections
// of a Mamba-2 mixer, and of the three together, against the bytes that they
// must move. It runs on request only: -test.run SpeedOfMamba -speed.
func TestSpeedOfMamba(t *testing.T) {
	if !*measuring {
		t.Skip("measures only with -speed")
	}
	t.Logf("%-12s %-12s %6s x %-6s %10s %8s %6s %8s", "", "", "seqs", "tokens", "µs", "GB/s", "floor", "TFLOP/s")
	for _, act := range []ops.DType{ops.BF16, ops.F32} {
		for _, s := range mambaShapes {
			for _, c := range [][2]int{{1, 1}, {8, 1}, {64, 1}, {256, 1}, {1, 512}, {1, 2048}, {1, 8192}, {1, 32768}, {16, 512}} {
				if act == ops.F32 && c[0]*c[1] > 8192 {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%dx%d", act, s.name, c[0], c[1]), func(t *testing.T) { measureMamba(t, act, s, c[0], c[1]) })
			}
		}
	}
}

func measureMamba(t *testing.T, act ops.DType, s mambaShape, sequences, tokens int) {
	d := onDevice(t, Options{Act: act})
	m := newTimer(t, d.Backend)
	w := newMambaWork(m, d, randomPattern(t, d), s, sequences, tokens)
	const bandwidth = 4547e9 // of an H200
	for _, p := range w.parts() {
		times := 64
		if w.n > 1000 {
			times = 8
		}
		took := m.measure(times, p.run).Seconds()
		line := fmt.Sprintf("%-12s %-12s %6d x %-6d %10.2f %8.0f %5.0f%%", s.name, p.name, sequences, tokens, took*1e6, p.bytes/took/1e9, 100*p.bytes/bandwidth/took)
		if p.name == "scan" && tokens > 1 {
			line += fmt.Sprintf(" %8.1f", float64(w.n)*w.chunkOperations()/took/1e12)
		}
		t.Log(line)
	}
}
