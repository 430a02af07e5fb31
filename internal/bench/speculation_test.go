package bench

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-llm/godwit"
)

// TestRunSpeculation measures a small model: outputs are the same with and
// without, and text that repeats its prompt stays within a few ids.
func TestRunSpeculation(t *testing.T) {
	var done []int
	s := Speculation{Options{Prompt: 60, Decode: 50, Batches: []int{1, 3}, Repeat: 2, rates: rates(), Progress: func(n, total int) {
		if done = append(done, n); total != 24 {
			t.Errorf("got a total of %d, want 24", total)
		}
	}}}
	m := open(t, s.Model())
	r, err := RunSpeculation(t.Context(), m, s)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Complete || len(r.Texts) != 4 || !slices.Equal(done, []int{2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24}) {
		t.Fatalf("got %+v after %v", r, done)
	}
	for i, v := range r.Texts {
		if v.Requests != s.Batches[i/2] || v.Text != []string{repeats, fresh}[i%2] {
			t.Errorf("text %d: got %+v", i, v)
		}
		if v.Same != v.Compared || v.Compared != 2*v.Requests || v.Decoded != 2*49*v.Requests || v.Accepted > v.Drafted {
			t.Errorf("text %d: got %+v, want the same outputs", i, v)
		}
		if v.Without.Least <= 0 || v.With.Least <= 0 || v.Speedup.Least <= 0 || v.Speedup.Most < v.Speedup.Median {
			t.Errorf("text %d: got %+v", i, v)
		}
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

// TestSpeculationTexts: prompts repeat a passage, or nothing.
func TestSpeculationTexts(t *testing.T) {
	r := runner{m: open(t, godwit.Options{}), o: Options{Prompt: 130, Decode: 10}}
	for _, q := range r.requests(3, repeats) {
		if len(q.IDs) != 130 || !slices.Equal(q.IDs[:passage], q.IDs[passage:2*passage]) || !slices.Equal(q.IDs[:34], q.IDs[96:]) {
			t.Errorf("got %v, want a passage that is repeated", q.IDs)
		}
		for _, id := range q.IDs {
			if q.Sampling.LogitBias[id] != bias {
				t.Errorf("id %d has no bias of %v", id, q.Sampling.LogitBias)
			}
		}
	}
	for _, q := range r.requests(3, fresh) {
		if len(q.IDs) != 130 || q.Sampling.Temperature != 1 || q.Sampling.LogitBias != nil {
			t.Errorf("got %+v, want random ids", q)
		}
	}
	r.o.Prompt = 5
	if q := r.requests(1, repeats)[0]; len(q.IDs) != 5 {
		t.Errorf("got %d ids, want 5", len(q.IDs))
	}
}

// TestRunSpeculationFails keeps what was measured before.
func TestRunSpeculationFails(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := Speculation{Options{Prompt: 6, Decode: 9, Batches: []int{2}, Repeat: 1, rates: rates(), Progress: func(n, _ int) {
		if n == 4 {
			cancel()
		}
	}}}
	m := open(t, s.Model())
	r, err := RunSpeculation(ctx, m, s)
	if !errors.Is(err, godwit.ErrCancelled) || r == nil || len(r.Texts) != 1 || r.Complete {
		t.Errorf("got %+v (%v), want one text and that it was cancelled", r, err)
	}
	s.Batches = []int{1, 5}
	if _, err := RunSpeculation(t.Context(), m, s); err == nil || !strings.Contains(err.Error(), "a batch is 5, the model was opened for 2 sequences") {
		t.Errorf("got %v, want that there is no room", err)
	}
	s.Repeat = 0
	if _, err := RunSpeculation(t.Context(), m, s); err == nil {
		t.Error("no runs at all were accepted")
	}
}
