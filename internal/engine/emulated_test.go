package engine

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/cuda/cudatest"
	"github.com/godwit-llm/godwit/internal/kernels"
	"github.com/godwit-llm/godwit/internal/kernels/emulated"
	"github.com/godwit-llm/godwit/internal/model"
	"github.com/godwit-llm/godwit/internal/ops"
)

// emulatedGPU is a backend that closes its device after itself.
type emulatedGPU struct {
	*kernels.Backend
	device *cuda.Device
}

func (g emulatedGPU) Close() error { return errors.Join(g.Backend.Close(), g.device.Close()) }

// emulate runs an engine on the CUDA kernels, which a CPU computes.
func (m tiny) emulate(t *testing.T, limits model.Limits, opt kernels.Options, change func(*Loaded)) *Engine {
	t.Helper()
	weights, err := m.Random(3)
	if err != nil {
		t.Fatal(err)
	}
	e, err := Start(func() (Loaded, error) {
		f := cudatest.New(t, cudatest.Config{Devices: []cudatest.Device{{Memory: 16 << 30}}})
		emulated.Register(t, f, "../kernels", 1)
		device := f.Device(t)
		b, err := kernels.New(device, opt)
		if err != nil {
			return Loaded{}, err
		}
		loaded, err := m.Load(weights, b, limits)
		l := Loaded{Model: loaded, Backend: emulatedGPU{b, device}, Context: 100, Spacing: 16}
		change(&l)
		return l, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestAheadOnKernels: on CUDA's kernels, steps that run ahead yield what steps one
// by one do, to the last bit as long as steps have the same sizes, with graphs and
// without.
func TestAheadOnKernels(t *testing.T) {
	limits := model.Limits{Tokens: 24, Outputs: 12, Sequences: 3, Pages: 24, PageSize: 16, Snapshots: 4, HostSnapshots: 2}
	for _, name := range []string{"dense", "hybrid", "moe"} {
		t.Run(name, func(t *testing.T) {
			m := newTiny(t, tinyModels[name])
			var want []result
			for _, c := range []struct{ ahead, eager bool }{{false, true}, {true, true}, {true, false}} {
				e := m.emulate(t, limits, kernels.Options{Act: ops.F32, Eager: c.eager}, func(l *Loaded) { l.Ahead = c.ahead })
				got := m.oneByOne(t, e)
				m.together(t, e)
				if ahead := e.Metrics().Ahead; c.ahead != (ahead > 30) {
					t.Errorf("%+v: %d of %d steps ran ahead", c, ahead, e.Metrics().Steps)
				}
				e.Close()
				if want == nil {
					want = got
				}
				for i := range want {
					if !reflect.DeepEqual(got[i], want[i]) {
						t.Errorf("%+v, request %d: got %v, want %v", c, i, got[i], want[i])
					}
				}
			}
		})
	}
}

// oneByOne sends requests of all kinds that share a beginning.
func (m tiny) oneByOne(t *testing.T, e *Engine) (all []result) {
	t.Helper()
	rng := rand.New(rand.NewPCG(4, 4))
	stem := randomTiny(rng, 18)
	for i := range 5 {
		r := Request{IDs: slices.Concat(stem, randomTiny(rng, 3+i)), MaxTokens: 8, Top: 2}
		switch i {
		case 1:
			r.Sampling = Sampling{Temperature: 1, TopP: 0.9, Seed: 3, RepetitionPenalty: 1.2, FrequencyPenalty: 0.3}
		case 2:
			r.Stop = []int32{all[0].tokens[3].ID}
		case 3:
			r.Score = true
		}
		all = append(all, answer(t, e, r))
	}
	return all
}

// together sends requests that share steps: all of their tokens come.
func (m tiny) together(t *testing.T, e *Engine) {
	t.Helper()
	rng := rand.New(rand.NewPCG(5, 5))
	var open []*Stream
	for i := range 4 {
		s, err := e.Submit(t.Context(), Request{IDs: randomTiny(rng, 5+7*i), MaxTokens: 6 + i})
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, s)
	}
	for i, s := range open {
		if out, err := gather(s, -1); err != nil || len(out.tokens) != 6+i {
			t.Errorf("request %d: got %d tokens and %v, want %d", i, len(out.tokens), err, 6+i)
		}
	}
}
