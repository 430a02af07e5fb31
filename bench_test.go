package godwit

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"
)

// BenchmarkDecode decodes with the built-in model, one request at a time.
func BenchmarkDecode(b *testing.B) {
	m, err := OpenBuiltin(Options{Device: "cpu"})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	tokens, seconds := 0, 0.0
	for b.Loop() {
		r, err := m.Generate(b.Context(), Request{Prompt: "Once upon a time", Sampling: &Sampling{}, MaxTokens: 200, IgnoreEOS: true})
		if err != nil {
			b.Fatal(err)
		}
		tokens += r.Stats.DecodeTokens
		seconds += r.Stats.DecodeSeconds
	}
	b.ReportMetric(float64(tokens)/seconds, "tokens/s")
}

// BenchmarkConcurrent runs the checkpoint that GODWIT_MODEL names: 1 to 64
// requests at once, prompts of 512 random ids, 128 new tokens each.
func BenchmarkConcurrent(b *testing.B) {
	dir := os.Getenv("GODWIT_MODEL")
	if dir == "" {
		b.Skip("GODWIT_MODEL is not set")
	}
	m, err := Open(dir, Options{MaxSequences: 64})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	for _, n := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("%d", n), func(b *testing.B) {
			concurrent(b, m, n, 512, 128) // warm up
			var decode, prompt float64
			for b.Loop() {
				p, d := concurrent(b, m, n, 512, 128)
				prompt += p
				decode += d
			}
			b.ReportMetric(float64(n*512*b.N)/prompt, "prompt-tokens/s")
			b.ReportMetric(prompt/float64(b.N)*1e3, "ms-to-all-first-tokens")
			b.ReportMetric(float64(n*127*b.N)/decode, "decode-tokens/s")
		})
	}
}

// concurrent starts n requests together. It returns the seconds until the last
// one has its first token, and those from then to the end of all.
func concurrent(b *testing.B, m *Model, n, prompt, decode int) (first, rest float64) {
	b.Helper()
	start := time.Now()
	var ready, done sync.WaitGroup
	ready.Add(n)
	for i := range n {
		ids := make([]int32, prompt)
		rng := rand.New(rand.NewPCG(1, uint64(i)))
		for k := range ids {
			ids[k] = int32(rng.IntN(m.Vocabulary()))
		}
		g, err := m.Start(b.Context(), Request{IDs: ids, Sampling: &Sampling{}, MaxTokens: decode, IgnoreEOS: true})
		if err != nil {
			b.Fatal(err)
		}
		done.Go(func() {
			got := 0
			for range g.Tokens() {
				if got++; got == 1 {
					ready.Done()
				}
			}
			if got < decode {
				b.Errorf("request %d: got %d tokens, want %d (%v)", i, got, decode, g.Err())
			}
		})
	}
	ready.Wait()
	first = time.Since(start).Seconds()
	done.Wait()
	return first, time.Since(start).Seconds() - first
}
