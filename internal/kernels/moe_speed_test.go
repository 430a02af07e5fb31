package kernels

import (
	"slices"
	"testing"
	"time"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

const nanoShared = 3712

// TestMoESpeed prints what a mixture of Nemotron 3 Nano takes for one token, as
// a chain of dependent launches in one graph over distinct weights, with the
// norm in front of it: in its own kernels, and by the operations that it
// consists of.
func TestMoESpeed(t *testing.T) {
	s := newSpeed(t)
	layers := s.nanoMixtures(3)
	bytes := 2 * nanoHidden * (2*nanoTopK*nanoWidth + 2*nanoShared + nanoExperts)
	floor := float64(bytes) / 4547e9 * 1e6
	up := s.moe.up
	for _, apart := range []bool{false, true} {
		s.moe.up = up
		if apart {
			s.moe.up = nil
		}
		us := float64(s.mixtureChain(layers).Nanoseconds()) / 1e3
		t.Logf("apart=%-5v %6.2f us a layer, %3.0f%% of %.2f us", apart, us, 100*floor/us, floor)
	}
}

// nanoMixture is one layer.
type nanoMixture struct {
	ops.MoE
	norm   *ops.Norm
	routes ops.Routes
}

// nanoMixtures places layers of random weights in the memory.
func (s *speed) nanoMixtures(n int) []*nanoMixture {
	s.Helper()
	at := s.memory.Ptr()
	matrix := func(rows, cols int) *ops.Linear {
		w := tensor(at, ops.BF16, rows, cols)
		at += cuda.DevicePtr(2 * rows * cols)
		return &ops.Linear{In: cols, Out: rows, Weight: []ops.Tensor{w}}
	}
	vector := func(n int, v float32) ops.Tensor {
		x, err := s.Vector(slices.Repeat([]float32{v}, n))
		s.must(err)
		return x
	}
	var layers []*nanoMixture
	for range n {
		l := &nanoMixture{norm: &ops.Norm{Weight: vector(nanoHidden, 0.05), Eps: 1e-5}}
		l.Experts = &ops.Experts{Act: ops.ReLU2, Width: nanoWidth}
		for range nanoExperts {
			l.Experts.Up = append(l.Experts.Up, *matrix(nanoWidth, nanoHidden))
		}
		for range nanoExperts {
			l.Experts.Down = append(l.Experts.Down, *matrix(nanoHidden, nanoWidth))
		}
		l.Shared = &ops.Shared{Up: matrix(nanoShared, nanoHidden), Down: matrix(nanoHidden, nanoShared)}
		l.Router = &ops.Router{
			Weight: matrix(nanoExperts, nanoHidden), Bias: vector(nanoExperts, 0),
			TopK: nanoTopK, Groups: 1, TopGroups: 1, Normalize: true, ScalingFactor: 2.5,
		}
		var err error
		l.routes, err = s.Backend.Routes(ops.Mixture{Rows: 1, TopK: nanoTopK, Experts: nanoExperts, Width: nanoWidth, Out: nanoHidden})
		s.must(err)
		layers = append(layers, l)
	}
	if at > s.memory.Ptr()+speedMemory {
		s.Fatalf("%d mixtures take %d bytes", n, at-s.memory.Ptr())
	}
	return layers
}

// mixtureChain returns the time of a layer.
func (s *speed) mixtureChain(layers []*nanoMixture) time.Duration {
	s.Helper()
	const times = 24
	x, err := s.Float(1, nanoHidden)
	s.must(err)
	h, err := s.Activation(1, nanoHidden)
	s.must(err)
	hidden, err := s.Activation(1, nanoShared)
	s.must(err)
	start := make([]float32, nanoHidden)
	for i := range start {
		start[i] = float32(i%17) - 8
	}
	s.must(s.Write(x, start))
	run := func() error {
		for i := range times {
			l := layers[i%len(layers)]
			s.Norm(h, x, l.norm)
			s.MoE(x, h, &l.MoE, l.routes, hidden)
		}
		s.release()
		return s.err
	}
	return s.graphTime(run) / times
}
