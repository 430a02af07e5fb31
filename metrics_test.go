package godwit

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	h := Histogram{Bounds: []float64{1, 2, 4}, Counts: []uint64{2, 0, 2, 0}}
	for q, want := range map[float64]float64{0: 0, 0.25: 0.5, 0.5: 1, 0.75: 3, 1: 4} {
		if got := h.Quantile(q); math.Abs(got-want) > 1e-12 {
			t.Errorf("quantile %g: got %g, want %g", q, got, want)
		}
	}
	h.Counts[3] = 100
	if got := h.Quantile(0.9); got != 4 {
		t.Errorf("beyond the bounds: got %g, want the largest, 4", got)
	}
	if got := (Histogram{Bounds: []float64{1}, Counts: []uint64{0, 0}}).Quantile(0.5); got != 0 {
		t.Errorf("of nothing: got %g, want 0", got)
	}
}

// TestQueueLimit fills the queue behind a long request.
func TestQueueLimit(t *testing.T) {
	m := openBuiltin(t, Options{MaxSequences: 1, QueueLimit: 2})
	long := Request{IDs: []int32{1}, MaxTokens: 8000, IgnoreEOS: true}
	first, err := m.Start(t.Context(), long)
	if err != nil {
		t.Fatal(err)
	}
	for range first.Tokens() {
		break // it runs, and is cancelled
	}
	running, err := m.Start(t.Context(), long)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := running.next(); !ok {
		t.Fatal(running.Err())
	}
	for range 2 {
		if _, err := m.Start(t.Context(), long); err != nil {
			t.Fatal(err)
		}
	}
	_, err = m.Start(t.Context(), long)
	if want := "engine: the queue is full: 2 requests wait, want fewer than 2"; !errors.Is(err, ErrQueueFull) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if got := m.Metrics(); got.Queued != 2 || got.Running != 1 || got.Refused != 1 || got.Submitted != 4 || got.Cancelled != 1 {
		t.Errorf("got %+v, want 2 queued, 1 running, 1 refused, 4 submitted, 1 cancelled", got)
	}
}

// TestDrain lets a request end and refuses another.
func TestDrain(t *testing.T) {
	m := openBuiltin(t, Options{})
	g, err := m.Start(t.Context(), Request{IDs: []int32{1, 2}, MaxTokens: 300, IgnoreEOS: true})
	if err != nil {
		t.Fatal(err)
	}
	soon, cancel := context.WithTimeout(t.Context(), time.Microsecond)
	defer cancel()
	if err := m.Drain(soon); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrCancelled) {
		t.Errorf("got %v, want ErrCancelled and the deadline", err)
	}
	if _, err := m.Start(t.Context(), Request{IDs: []int32{1}}); !errors.Is(err, ErrClosed) {
		t.Errorf("start while draining: got %v, want ErrClosed", err)
	}
	if err := m.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r, err := g.Wait(); err != nil || len(r.IDs) != 300 {
		t.Errorf("got %d tokens (%v), want 300", len(r.IDs), err)
	}
	got := m.Metrics()
	if got.Finished != 1 || got.OutputTokens != 300 || got.PromptTokens != 2 || got.Running != 0 || got.FreeSlots != got.Slots || got.FreePages+got.CachedPages != got.Pages {
		t.Errorf("got %+v, want one finished request and nothing held", got)
	}
	if got.FirstToken.Count() != 1 || got.InterToken.Count() != 299 || got.StepTime.Count() != got.Steps || got.OutputRate <= 0 {
		t.Errorf("got %+v, want one first token, 299 others and a rate", got)
	}
	if err := m.Drain(t.Context()); err != nil {
		t.Errorf("a second drain: %v", err)
	}
	m.Close()
	if err := m.Drain(t.Context()); err != nil {
		t.Errorf("after close: %v", err)
	}
}
