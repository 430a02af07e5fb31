package godwit

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestReuse runs requests that share beginnings, side by side and with
// priorities, on a model that keeps pages and states, and compares them with the
// same requests one by one on a model that keeps nothing.
func TestReuse(t *testing.T) { compareReuse(t, "cpu", "float32", "float32", 0) }

// TestReuseRounded keeps states in 16 bits, on the device and in host memory.
// How a prompt is cut decides where they are rounded, so results are near.
func TestReuseRounded(t *testing.T) { compareReuse(t, "cpu", "float32", "float16", 0.05) }

// TestCUDAReuse is the same on a GPU. Kernels differ with the size of a step, so
// tokens may differ where the two best are closer than rounding; computing in
// float32 keeps that apart from mistakes.
func TestCUDAReuse(t *testing.T) { compareReuse(t, "cuda", "float32", "float32", 4e-3) }

// TestCUDAReuseRounded keeps states in 16 bits on a GPU.
func TestCUDAReuseRounded(t *testing.T) { compareReuse(t, "cuda", "float32", "float16", 0.05) }

// TestCUDAReuseBF16 computes in the type of most checkpoints. Rounding can make
// a router choose another expert, which changes a token by more than any
// tolerance: a few requests of mixtures may part wherever that comes about.
func TestCUDAReuseBF16(t *testing.T) { compareReuse(t, "cuda", "bfloat16", "float32", 0.15) }

func compareReuse(t *testing.T, device, dtype, states string, tolerance float64) {
	t.Helper()
	names := []string{"mistral-window", "nemotron-h-moe", "llama-base", "nemotron-base", "nemotron-h-base", "nemotron-h-mamba-only"}
	count, tokens := 24, 30
	if device == "cuda" && !hasGPU() && !*allCases {
		names, count, tokens = names[:2], 5, 8
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			var requests []Request
			stems := [][]int32{randomIDs(rng, 100), randomIDs(rng, 61), randomIDs(rng, 33)}
			for i := range count {
				ids := append(slices.Clone(stems[i%3]), randomIDs(rng, 1+rng.IntN(30))...)
				requests = append(requests, Request{
					IDs: ids, MaxTokens: tokens, Sampling: greedy, IgnoreEOS: true, TopLogs: 20, Priority: rng.IntN(2),
				})
			}
			opts := Options{Device: device, DType: dtype, StateType: states, MaxSequences: 2, Context: 256, Memory: 0.01, HostMemory: 1 << 20}
			opts.NoPrefixCache = true
			alone, _ := answers(t, name, opts, requests, 1)
			opts.NoPrefixCache, opts.SnapshotMemory = false, 1<<17 // few, so that some move to the host
			together, m := answers(t, name, opts, append(requests, requests...), 8)
			spared := 0
			if dtype == "bfloat16" && strings.Contains(name, "moe") {
				spared = len(together) / 8
			}
			compareAnswers(t, together, alone, tolerance, spared)
			if m.ReusedTokens == 0 {
				t.Error("nothing was reused")
			}
			t.Logf("%d tokens reused, %d preemptions, lookups %+v", m.ReusedTokens, m.Preempted, m.Prefixes)
		})
	}
}

func randomIDs(rng *rand.Rand, n int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(rng.IntN(40))
	}
	return ids
}

// answers opens a golden checkpoint and runs requests, some at the same time.
func answers(t *testing.T, name string, opts Options, requests []Request, atOnce int) ([][]Token, Metrics) {
	t.Helper()
	m, err := Open(filepath.Join("testdata/goldens", name), onGPU(t, opts))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	out := make([][]Token, len(requests))
	var all sync.WaitGroup
	slots := make(chan bool, atOnce)
	for i, r := range requests {
		slots <- true
		all.Go(func() {
			defer func() { <-slots }()
			g, err := m.Start(t.Context(), r)
			if err != nil {
				t.Error(err)
				return
			}
			out[i] = slices.Collect(g.Tokens())
			if err := g.Err(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	return out, m.Metrics()
}

// compareAnswers compares the answers to requests, which may have been asked
// several times, with those wanted, but for so many that differ.
func compareAnswers(t *testing.T, got, want [][]Token, tolerance float64, spared int) {
	t.Helper()
	var parted []string
	for i := range got {
		if err := compareTokens(got[i], want[i%len(want)], tolerance); err != nil {
			parted = append(parted, fmt.Sprintf("request %d: %v", i, err))
		}
	}
	if len(parted) > spared {
		t.Errorf("%d of %d answers differ, at most %d may:\n%s", len(parted), len(got), spared, strings.Join(parted, "\n"))
	} else if len(parted) > 0 {
		t.Logf("%d of %d answers differ:\n%s", len(parted), len(got), strings.Join(parted, "\n"))
	}
}

// compareTokens compares two answers up to where rounding may part them.
func compareTokens(got, want []Token, tolerance float64) error {
	if len(got) != len(want) {
		return fmt.Errorf("got %d tokens, want %d", len(got), len(want))
	}
	for k := range want {
		if got[k].ID != want[k].ID {
			if margin := aheadOf(want[k], got[k].ID); margin > tolerance {
				return fmt.Errorf("token %d: got %d, want %d, which is ahead by %.2g", k, got[k].ID, want[k].ID, margin)
			}
			return nil
		}
		if d := math.Abs(got[k].LogProb - want[k].LogProb); d > tolerance {
			return fmt.Errorf("token %d: log-probabilities differ by %.2g", k, d)
		}
	}
	return nil
}

// aheadOf returns by how much a token is more likely than another id, if that is
// among its most likely ones: infinitely, if not.
func aheadOf(token Token, id int32) float64 {
	for _, other := range token.Top {
		if other.ID == id {
			return token.LogProb - other.LogProb
		}
	}
	return math.Inf(1)
}
