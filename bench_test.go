package godwit

import "testing"

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
