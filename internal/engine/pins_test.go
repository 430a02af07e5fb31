package engine

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/godwit-llm/godwit/internal/model"
	"github.com/godwit-llm/godwit/internal/ops"
)

// TestPinGivenUp: a pin whose computation is cancelled, or that is taken back
// before it has ended, leaves nothing behind.
func TestPinGivenUp(t *testing.T) {
	m := newTiny(t, tinyHybrid("M*"))
	e := m.start(t, model.Limits{Tokens: 4, Outputs: 4, Sequences: 1, Pages: 60, PageSize: 8, Snapshots: 4}, nil)
	defer e.Close()
	long := make([]int32, 90)
	for i, name := range []string{"cancelled", "taken back", "kept"} {
		long[0] = int32(i)
		s, err := e.Submit(t.Context(), Request{IDs: long, Pin: name})
		if err != nil {
			t.Fatal(err)
		}
		switch name {
		case "cancelled":
			s.Cancel()
			_, err := gather(s, -1)
			if err == nil { // it was faster
				err = e.Unpin(name)
			}
			if err != nil && !errors.Is(err, ErrCancelled) {
				t.Errorf("got %v, want ErrCancelled", err)
			}
		case "taken back":
			if err := e.Unpin(name); err != nil {
				t.Fatal(err)
			}
			if _, err := gather(s, -1); err != nil {
				t.Error(err)
			}
		default:
			if _, err := gather(s, -1); err != nil {
				t.Error(err)
			}
		}
	}
	if got, want := e.Pinned(), []Pinned{{"kept", 90, true}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	comeRound(t, e)
	if p := e.Metrics().PinnedPages; p != 12 {
		t.Errorf("%d pages are pinned, want the 12 of one prefix", p)
	}
	if err := e.Unpin("kept"); err != nil {
		t.Fatal(err)
	}
	comeRound(t, e)
	if p := e.Metrics().PinnedPages; p != 0 {
		t.Errorf("%d pages are pinned, want none", p)
	}
	e.Close()
	nothingHeld(t, e)
}

// comeRound returns when the loop has seen everything that was said before: it
// looks once between two calls.
func comeRound(t *testing.T, e *Engine) {
	t.Helper()
	for range 2 {
		if err := e.Do(t.Context(), func(ops.Backend) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDisplaced: a request of high priority does not wait for one of low
// priority, which loses nothing.
func TestDisplaced(t *testing.T) {
	m := newTiny(t, tinyDense(nil))
	e := m.start(t, model.Limits{Tokens: 16, Outputs: 4, Sequences: 1, Pages: 16, PageSize: 8}, nil)
	defer e.Close()
	low := Request{IDs: []int32{1, 2, 3}, MaxTokens: 90}
	want := m.alone(t, []Request{low})[0]
	first, err := e.Submit(context.Background(), low)
	if err != nil {
		t.Fatal(err)
	}
	var got []Token
	for range 5 {
		token, _, err := first.Next()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, token)
	}
	generate(t, e, Request{IDs: []int32{4}, MaxTokens: 2, Priority: 1})
	rest, err := collect(t, first)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(ids(append(got, rest...)), ids(want.tokens)) {
		t.Errorf("got %v, want %v", ids(append(got, rest...)), ids(want.tokens))
	}
	comeRound(t, e)
	if n := e.Metrics().Preempted; n > 1 {
		t.Errorf("got %d preemptions, want one at most", n)
	}
}

// TestOff keeps nothing where the prefix cache is off.
func TestOff(t *testing.T) {
	m := newTiny(t, tinyHybrid("M*"))
	e := m.start(t, model.Limits{Tokens: 16, Outputs: 4, Sequences: 2, Pages: 40, PageSize: 8, Snapshots: 4}, func(l *Loaded) { l.NoPrefixes = true })
	defer e.Close()
	for range 3 {
		generate(t, e, Request{IDs: make([]int32, 50), MaxTokens: 3})
	}
	comeRound(t, e)
	if got := e.Metrics(); got.ReusedTokens != 0 || got.Snapshots != 0 || got.PromptTokens != 150 {
		t.Errorf("got %+v, want nothing kept", got)
	}
	e.Close()
	if u := e.schedule.Usage(); u.FreePages != u.Pages {
		t.Errorf("got %+v, want all pages free", u)
	}
}
