package model

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestTrained compares the trained checkpoints with what transformers computed
// for them. Weights are bf16, the arithmetic is float32 in both.
func TestTrained(t *testing.T) {
	// transformers clamps Mamba's time step where the published kernels do not,
	// which moves the hybrid's logits by up to 1.5e-3.
	const tolerance = 2e-3
	for name, dir := range map[string]string{"tiny-hybrid": "../builtin/model", "tiny-dense": "../../testdata/tiny-dense"} {
		t.Run(name, func(t *testing.T) {
			m := load(t, dir, testLimits)
			var g struct {
				Cases []struct {
					IDs    []int32     `json:"ids"`
					TopIDs [][]int32   `json:"top5_ids"`
					Top    [][]float32 `json:"top5_logits"`
					Greedy []int32     `json:"greedy"`
				} `json:"cases"`
			}
			readJSON(t, filepath.Join("../../testdata", name, "golden.json"), &g)
			for i, c := range g.Cases {
				rows := logits(t, m, piece{tokens: c.IDs})
				for p, ids := range c.TopIDs {
					for k, id := range ids {
						if d := math.Abs(float64(rows[p][id] - c.Top[p][k])); !(d <= tolerance) {
							t.Errorf("case %d, position %d, token %d: logit %g, want %g", i, p, id, rows[p][id], c.Top[p][k])
						}
					}
				}
				if got := greedy(t, m, c.IDs, len(c.Greedy)); !slices.Equal(got, c.Greedy) {
					t.Errorf("case %d: greedy continuation is %v, want %v", i, got, c.Greedy)
				}
			}
		})
	}
}

// TestTinyStories runs a third-party checkpoint that is not part of this
// repository: llama, tied embeddings of which only lm_head.weight is stored.
// GODWIT_CHECKPOINTS names the directory that holds it.
func TestTinyStories(t *testing.T) {
	root := os.Getenv("GODWIT_CHECKPOINTS")
	if root == "" {
		t.Skip("GODWIT_CHECKPOINTS is not set")
	}
	dir := filepath.Join(root, "tinystories-656k")
	limits := testLimits
	limits.Pages = 400
	m := load(t, dir, limits)
	var g struct {
		Prompt []int32 `json:"prompt_ids"`
		Greedy []int32 `json:"greedy_ids"` // with the prompt
	}
	readJSON(t, filepath.Join(dir, "golden.json"), &g)
	want := g.Greedy[len(g.Prompt):]
	if got := greedy(t, m, g.Prompt, len(want)); !slices.Equal(got, want) {
		t.Errorf("greedy continuation is %v, want %v", got, want)
	}
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// greedy returns the n most likely next ids, one step a token.
func greedy(t *testing.T, m *Model, prompt []int32, n int) []int32 {
	t.Helper()
	rows := logits(t, m, piece{tokens: prompt})
	var out []int32
	for i := range n {
		next := argmax(rows[len(rows)-1])
		out = append(out, next)
		rows = logits(t, m, piece{position: len(prompt) + i, tokens: []int32{next}})
	}
	return out
}

// TestNoOutputs reads a prompt in two steps, the first of which wants no
// logits, as that of a long prompt.
func TestNoOutputs(t *testing.T) {
	m := load(t, "../../testdata/tiny-dense", testLimits)
	ids := []int32{1, 78, 1800, 679, 290, 627}
	want := logits(t, m, piece{tokens: ids})
	first := pack(m, piece{slot: 1, tokens: ids[:4]})
	first.Outputs = nil
	if out, err := m.Forward(first); err != nil || out.Rows != 0 {
		t.Fatalf("got %v (%v), want no logits", out, err)
	}
	if err := sameRows(logits(t, m, piece{slot: 1, position: 4, tokens: ids[4:]}), want[4:]); err != nil {
		t.Error(err)
	}
}
