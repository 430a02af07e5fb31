package engine

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/godwit-llm/godwit/internal/draft"
	"github.com/godwit-llm/godwit/internal/model"
	"github.com/godwit-llm/godwit/internal/ops"
)

// watched notes what the engine asks of its backend, besides operations, which come
// from the model. It may fail.
type watched struct {
	ops.Backend
	mu    sync.Mutex
	calls strings.Builder
	fails string // the call that fails
	after int    // times that it does not
}

// note returns the error of a call.
func (w *watched) note(call string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls.WriteString(call + " ")
	if call != w.fails {
		return nil
	}
	if w.after--; w.after >= 0 {
		return nil
	}
	return errDevice
}

func (w *watched) said() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.TrimSpace(w.calls.String())
}

func (w *watched) Launch() {
	w.note("launch")
	w.Backend.Launch()
}

func (w *watched) Sample(logits ops.Tensor, params []ops.Sampling) error {
	return errors.Join(w.note("sample"), w.Backend.Sample(logits, params))
}

func (w *watched) Collect(r []ops.Sampled) error {
	return errors.Join(w.note("collect"), w.Backend.Collect(r))
}

// watch starts an engine whose backend is watched.
func (m tiny) watch(t *testing.T, w *watched, limits model.Limits, change func(*Loaded)) *Engine {
	return m.start(t, limits, func(l *Loaded) {
		w.Backend = l.Backend
		change(l)
		l.Backend = w
	})
}

// TestAheadOrder: the device has the next step before it is asked for the results
// of the one before, unless steps do not run ahead.
func TestAheadOrder(t *testing.T) {
	m := newTiny(t, tinyDense(nil))
	limits := model.Limits{Tokens: 8, Outputs: 4, Sequences: 2, Pages: 32, PageSize: 4}
	for ahead, want := range map[bool]string{
		// A piece of the prompt, the rest of it, and two tokens.
		true:  "launch sample launch collect sample launch collect sample launch collect sample collect",
		false: "launch sample collect launch sample collect launch sample collect launch sample collect",
	} {
		w := &watched{}
		e := m.watch(t, w, limits, func(l *Loaded) { l.Ahead = ahead })
		r := Request{IDs: randomTiny(rand.New(rand.NewPCG(1, 1)), 11), MaxTokens: 3, Sampling: Sampling{FrequencyPenalty: 0.5, Temperature: 1}}
		generate(t, e, r)
		got := e.Metrics()
		e.Close()
		if calls := w.said(); calls != want {
			t.Errorf("ahead=%v: got\n%s, want\n%s", ahead, calls, want)
		}
		if wantAhead := map[bool]uint64{true: 3}[ahead]; got.Ahead != wantAhead || got.Steps != 4 {
			t.Errorf("ahead=%v: %d of %d steps ran ahead, want %d of 4", ahead, got.Ahead, got.Steps, wantAhead)
		}
	}
}

// TestAheadWithEverything: penalties, lists and constraints, which depend on ids
// that are on their way, do not keep a step from running ahead.
func TestAheadWithEverything(t *testing.T) {
	limits := model.Limits{Tokens: 64, Outputs: 32, Sequences: 4, Pages: 32, PageSize: 4, Snapshots: 4}
	for name, config := range tinyModels {
		t.Run(name, func(t *testing.T) {
			m := newTiny(t, config)
			e := m.start(t, limits, func(l *Loaded) { l.Ahead = true })
			defer e.Close()
			r := Request{IDs: randomTiny(rand.New(rand.NewPCG(3, 1)), 9), MaxTokens: 20, Top: 3, Sampling: Sampling{Temperature: 0.8, TopP: 0.9, RepetitionPenalty: 1.4, FrequencyPenalty: 0.6, Seed: 7}}
			want := m.alone(t, []Request{r})[0]
			s, err := e.Submit(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := gather(s, -1); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %v (%v), want %v", got, err, want)
			}
			c := &scripted{lists: slices.Repeat([][]int32{{1, 2}, {7}, {3, 5, 9}}, 4)}
			r.Constraint = c
			if got := generate(t, e, r); !slices.Equal(got, c.got) || len(got) != len(c.lists) {
				t.Errorf("constrained: got %v, the constraint saw %v", got, c.got)
			}
			// The last step of the constrained request was queued in vain.
			if err := e.Do(t.Context(), func(ops.Backend) error { return nil }); err != nil {
				t.Fatal(err)
			}
			if m := e.Metrics(); m.Ahead != m.Steps-2 || m.Steps < 20+12+1 {
				t.Errorf("%d of %d steps ran ahead, want all but 2 of 33 at least", m.Ahead, m.Steps)
			}
		})
	}
}

// TestAheadStops: an id that ends a request has been computed when that is known.
// Whoever goes on from there, with it or without it, starts behind what is right.
func TestAheadStops(t *testing.T) {
	limits := model.Limits{Tokens: 64, Outputs: 32, Sequences: 2, Pages: 40, PageSize: 4, Snapshots: 8}
	for name, config := range tinyModels {
		t.Run(name, func(t *testing.T) {
			m := newTiny(t, config)
			r := Request{IDs: randomTiny(rand.New(rand.NewPCG(2, 6)), 20), MaxTokens: 30, Sampling: Sampling{Temperature: 1, Seed: 5}}
			comes := idsOf(m.alone(t, []Request{r})[0])
			for n := 1; n < 12; n++ {
				e := m.start(t, limits, func(l *Loaded) { l.Ahead = true })
				stopped := r
				stopped.Stop = []int32{comes[n]}
				first := slices.Index(comes, comes[n])
				if got := generate(t, e, stopped); !slices.Equal(got, comes[:first]) {
					t.Fatalf("got %v, want %v", got, comes[:first])
				}
				with := Request{IDs: slices.Concat(r.IDs, comes[:first+1], []int32{1, 2, 3}), MaxTokens: 5}
				without := Request{IDs: slices.Concat(r.IDs, comes[:first], []int32{4, 2, 3}), MaxTokens: 5}
				for _, turn := range []Request{with, without, r} {
					s, err := e.Submit(t.Context(), turn)
					if err != nil {
						t.Fatal(err)
					}
					if got, err := gather(s, -1); err != nil || !reflect.DeepEqual(got, m.alone(t, []Request{turn})[0]) {
						t.Fatalf("behind %d tokens: got %v (%v)", first, got, err)
					}
					if reused := s.Outcome().ReusedTokens; &turn.IDs[0] == &with.IDs[0] && first > 0 && reused != len(r.IDs)+first+1 {
						t.Errorf("behind %d tokens and the id that ended them: %d ids reused, want %d", first, reused, len(r.IDs)+first+1)
					}
				}
				e.Close()
				if err := e.schedule.Check(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestAheadFaults: whichever call fails, and when, every request gets the cause,
// and those of its tokens that were there.
func TestAheadFaults(t *testing.T) {
	m := newTiny(t, tinyHybrid("M*"))
	limits := model.Limits{Tokens: 8, Outputs: 4, Sequences: 2, Pages: 32, PageSize: 4}
	for _, call := range []string{"sample", "collect"} {
		for after := range 5 {
			w := &watched{fails: call, after: after}
			e := m.watch(t, w, limits, func(l *Loaded) { l.Ahead = true })
			s, err := e.Submit(t.Context(), Request{IDs: []int32{1, 2}, MaxTokens: 20})
			if err != nil {
				t.Fatal(err)
			}
			got, err := gather(s, -1)
			if len(got.tokens) != after || !errors.Is(err, errDevice) {
				t.Errorf("%s fails after %d: got %d tokens and %v, want as many and the device's error", call, after, len(got.tokens), err)
			}
			if _, err := e.Submit(t.Context(), Request{IDs: []int32{1}, MaxTokens: 1}); !errors.Is(err, errDevice) {
				t.Errorf("submit after the fault: got %v, want the device's error", err)
			}
			e.Close()
		}
	}
}

// TestAheadWaitsForDrafts: where a draft is hoped for, the next step waits for the
// ids that it would follow; where none is, no step waits.
func TestAheadWaitsForDrafts(t *testing.T) {
	limits := model.Limits{Tokens: 64, Outputs: 32, Sequences: 2, Pages: 32, PageSize: 4, Spares: 1, Snapshots: 4}
	for name, config := range tinyModels {
		t.Run(name, func(t *testing.T) {
			m := newTiny(t, config)
			r := Request{IDs: randomTiny(rand.New(rand.NewPCG(8, 1)), 11), MaxTokens: 40, Sampling: Sampling{Temperature: 1, Seed: 3}}
			want := m.alone(t, []Request{r})[0]
			for _, hope := range []bool{true, false} {
				e := m.foretold(t, limits, idsOf(want), 2, func(l *Loaded) {
					l.Ahead, l.hopeful = true, func(int, draft.Draft) bool { return hope }
				})
				s, err := e.Submit(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := gather(s, -1); err != nil || !reflect.DeepEqual(got, want) {
					t.Fatalf("got %v (%v), want %v", got, err, want)
				}
				got := e.Metrics()
				e.Close()
				if hope && (got.Drafts == 0 || got.Ahead > 2) || !hope && (got.Drafts > 1 || got.Ahead+got.Drafts < 39) {
					t.Errorf("hoping=%v: %d drafts, %d of %d steps ran ahead", hope, got.Drafts, got.Ahead, got.Steps)
				}
			}
		})
	}
}
