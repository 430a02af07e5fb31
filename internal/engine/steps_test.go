package engine

import (
	"math/rand/v2"
	"testing"
)

// TestOneStepAToken: a request alone takes a step for each of its tokens and not
// one more, since it is known in advance which of them is the last.
func TestOneStepAToken(t *testing.T) {
	for _, name := range []string{"nemotron-base", "nemotron-h-moe"} {
		e := start(t, name, roomy, 40)
		generate(t, e, Request{IDs: randomPrompt(rand.New(rand.NewPCG(3, 4)), 5), MaxTokens: 7})
		e.Close()
		if m := e.Metrics(); m.Steps != 7 || m.PromptTokens != 5 {
			t.Errorf("%s: got %d steps and %d prompt tokens, want 7 and 5", name, m.Steps, m.PromptTokens)
		}
	}
}
