package godwit

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestCUDASpeculation: requests whose text repeats get the tokens with drafts
// that they get without, alone and side by side. A step that verifies runs other
// kernels than one of single tokens, so tokens may differ where the two best are
// closer than rounding.
func TestCUDASpeculation(t *testing.T) {
	names, count, tokens := []string{"llama-base", "nemotron-base", "nemotron-h-base", "nemotron-h-moe"}, 12, 60
	if !hasGPU() && !*allCases {
		names, count, tokens = names[2:3], 2, 16
	}
	for _, name := range names {
		for dtype, rounding := range map[string]float64{"float32": 4e-3, "bfloat16": 0.1} {
			t.Run(name+"/"+dtype, func(t *testing.T) { compareSpeculation(t, name, dtype, rounding, count, tokens) })
		}
	}
}

func compareSpeculation(t *testing.T, name, dtype string, rounding float64, count, tokens int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 4))
	var requests []Request
	for range count {
		few := randomIDs(rng, 2+rng.IntN(6))
		var ids []int32
		for len(ids) < 40 {
			ids = append(ids, few...)
		}
		// Biases that no token can overcome make the answer repeat them, too.
		bias := map[int32]float64{}
		for _, id := range few {
			bias[id] = 50
		}
		requests = append(requests, Request{IDs: ids, MaxTokens: tokens, Sampling: &Sampling{LogitBias: bias}, IgnoreEOS: true, TopLogs: 64}) // of them those that the bias makes likely, for compareTokens
	}
	opts := Options{Device: "cuda", DType: dtype, MaxSequences: 4, Context: 256, Memory: 0.01, NoPrefixCache: true}
	alone, _ := answers(t, name, opts, requests, 1)
	opts.Speculation = "auto"
	drafted, m := answers(t, name, opts, slices.Concat(requests, requests), 3)
	compareAnswers(t, drafted, alone, rounding, 0)
	if m.AcceptedTokens == 0 && hasGPU() { // elsewhere a slow machine may expect nothing of drafts
		t.Error("no draft was right")
	}
	t.Logf("%d tokens drafted, %d accepted", m.DraftedTokens, m.AcceptedTokens)
}
