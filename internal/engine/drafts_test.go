package engine

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/godwit-llm/godwit/internal/draft"
	"github.com/godwit-llm/godwit/internal/model"
)

// prophet drafts what it was told will come, with some ids changed.
type prophet struct {
	rng   *rand.Rand
	comes []int32
	every int // one id of so many is wrong, on average; 0: none
}

func (p *prophet) Add(ids ...int32) { p.comes = p.comes[min(len(ids), len(p.comes)):] }

func (p *prophet) Draft(most int) draft.Draft {
	d := draft.Draft{IDs: slices.Clone(p.comes[:min(most, len(p.comes))])}
	for i := range d.IDs {
		if p.every > 0 && p.rng.IntN(p.every) == 0 {
			d.IDs[i] = (d.IDs[i] + 1) % 24
		}
		d.Accepted = append(d.Accepted, 0.9)
	}
	return d
}

// all has as much of drafts verified as there is.
func all(_, _ int, drafts []draft.Draft) []int {
	var n []int
	for _, d := range drafts {
		n = append(n, len(d.IDs))
	}
	return n
}

// foretold starts an engine whose drafters know what comes.
func (m tiny) foretold(t *testing.T, limits model.Limits, comes []int32, every int, change ...func(*Loaded)) *Engine {
	return m.start(t, limits, func(l *Loaded) {
		for _, c := range change {
			c(l)
		}
		l.Speculate, l.lengths = true, all
		l.drafter = func([]int32) draft.Drafter {
			return &prophet{rng: rand.New(rand.NewPCG(1, 2)), comes: comes, every: every}
		}
	})
}

func idsOf(r result) []int32 {
	var out []int32
	for _, t := range r.tokens {
		out = append(out, t.ID)
	}
	return out
}

// TestDraftsChangeNothing but the number of steps: whether drafts are right, or
// wrong here and there or everywhere, requests yield what they yield alone,
// with their log-probabilities.
func TestDraftsChangeNothing(t *testing.T) {
	limits := model.Limits{Tokens: 64, Outputs: 32, Sequences: 2, Pages: 32, PageSize: 4, Spares: 1, Snapshots: 4}
	for name, config := range tinyModels {
		t.Run(name, func(t *testing.T) {
			m, rng := newTiny(t, config), rand.New(rand.NewPCG(8, 1))
			for _, s := range []Sampling{
				{},
				{Temperature: 1, Seed: 3},
				{Temperature: 0.9, TopK: 8, TopP: 0.8, MinP: 0.01, Seed: 4, RepetitionPenalty: 1.3, PresencePenalty: 0.2, FrequencyPenalty: 0.3, Bias: map[int32]float32{3: 2}},
				{RepetitionPenalty: 1.1, FrequencyPenalty: 0.5},
			} {
				r := Request{IDs: randomTiny(rng, 11), MaxTokens: 40, Sampling: s, Top: 3}
				want := m.alone(t, []Request{r})[0]
				for _, every := range []int{0, 1, 2, 5} {
					e := m.foretold(t, limits, idsOf(want), every)
					stream, err := e.Submit(t.Context(), r)
					if err != nil {
						t.Fatal(err)
					}
					got, err := gather(stream, -1)
					if err != nil || !reflect.DeepEqual(got, want) {
						t.Fatalf("%+v, one wrong of %d: got %v (%v), want %v", s, every, got, err, want)
					}
					o, metrics := stream.Outcome(), e.Metrics()
					e.Close()
					checkDraftCounts(t, o, metrics, every)
				}
			}
		})
	}
}

func checkDraftCounts(t *testing.T, o Outcome, m Metrics, every int) {
	t.Helper()
	if uint64(o.DraftedTokens) != m.DraftedTokens || uint64(o.AcceptedTokens) != m.AcceptedTokens || m.Drafts == 0 || m.OutputTokens != 40 || o.DecodedTokens != 39 {
		t.Errorf("counts do not agree: %+v, %+v", o, m)
	}
	if between := m.InterToken; sum(between.Counts) != 39 {
		t.Errorf("got %d times between tokens, want 39", sum(between.Counts))
	}
	switch accepted := o.AcceptedTokens; {
	case every == 0 && (accepted != o.DraftedTokens || m.Steps > 7):
		t.Errorf("drafts that are right: %d of %d accepted in %d steps", accepted, o.DraftedTokens, m.Steps)
	case every == 1 && (accepted != 0 || m.Steps < 40):
		t.Errorf("drafts that are wrong: %d accepted in %d steps", accepted, m.Steps)
	case every > 1 && (accepted == 0 || accepted == o.DraftedTokens):
		t.Errorf("drafts that are partly right: %d of %d accepted", accepted, o.DraftedTokens)
	}
}

func sum(counts []uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// TestDraftsEnd: a stop id within what was foretold ends the request there, and
// so does its length. What comes behind it starts behind what it left.
func TestDraftsEnd(t *testing.T) {
	limits := model.Limits{Tokens: 64, Outputs: 32, Sequences: 2, Pages: 32, PageSize: 4, Spares: 2, Snapshots: 4}
	for name, config := range tinyModels {
		t.Run(name, func(t *testing.T) {
			m := newTiny(t, config)
			r := Request{IDs: randomTiny(rand.New(rand.NewPCG(2, 6)), 20), MaxTokens: 30, Sampling: Sampling{Temperature: 1, Seed: 5}}
			comes := idsOf(m.alone(t, []Request{r})[0])
			for n := 1; n < 12; n++ {
				e := m.foretold(t, limits, comes, 0)
				short, stopped := r, r
				short.MaxTokens = n
				stopped.Stop = []int32{comes[n]}
				first := slices.Index(comes, comes[n])
				for _, c := range []struct {
					r    Request
					want []int32
				}{{short, comes[:n]}, {stopped, comes[:first]}, {r, comes}} {
					s, err := e.Submit(t.Context(), c.r)
					if err != nil {
						t.Fatal(err)
					}
					got, err := gather(s, -1)
					if err != nil || !slices.Equal(idsOf(got), c.want) {
						t.Fatalf("%d tokens: got %v (%v), want %v", n, idsOf(got), err, c.want)
					}
				}
				// The next turn.
				turn := Request{IDs: slices.Concat(r.IDs, comes[:n], []int32{1, 2, 3}), MaxTokens: 5}
				s, err := e.Submit(t.Context(), turn)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := gather(s, -1); err != nil || !reflect.DeepEqual(got, m.alone(t, []Request{turn})[0]) {
					t.Fatalf("the turn after %d tokens: got %v (%v)", n, got, err)
				}
				e.Close()
				if err := e.schedule.Check(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestNoDrafts: requests that do not want drafts, or cannot have them, have
// none.
func TestNoDrafts(t *testing.T) {
	m := newTiny(t, tinyDense(nil))
	limits := model.Limits{Tokens: 64, Outputs: 32, Sequences: 2, Pages: 32, PageSize: 4}
	r := Request{IDs: randomTiny(rand.New(rand.NewPCG(4, 4)), 9), MaxTokens: 10}
	comes := idsOf(m.alone(t, []Request{r})[0])
	e := m.foretold(t, limits, comes, 0)
	defer e.Close()
	unwanted, constrained := r, r
	unwanted.NoDrafts = true
	constrained.Constraint = &scripted{lists: slices.Repeat([][]int32{{1, 2}}, 10)}
	for _, r := range []Request{unwanted, constrained, {IDs: r.IDs, Score: true}, {IDs: r.IDs, Pooling: LastPooling}} {
		s, err := e.Submit(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := gather(s, -1); err != nil {
			t.Fatal(err)
		}
	}
	if got := e.Metrics(); got.Drafts != 0 {
		t.Errorf("got %d drafts, want none", got.Drafts)
	}
	if got := generate(t, e, r); !slices.Equal(got, comes) || e.Metrics().Drafts == 0 {
		t.Errorf("got %v with %d drafts, want %v", got, e.Metrics().Drafts, comes)
	}
}

// TestMeasuredDrafts: with the real drafter and the real policy, whatever times
// they see, a text that repeats itself is what it is without.
func TestMeasuredDrafts(t *testing.T) {
	for name, config := range tinyModels {
		t.Run(name, func(t *testing.T) {
			m := newTiny(t, config)
			passage := randomTiny(rand.New(rand.NewPCG(9, 9)), 12)
			r := Request{IDs: slices.Concat(passage, passage, passage[:5]), MaxTokens: 60}
			want := m.alone(t, []Request{r})[0]
			limits := model.Limits{Tokens: 64, Outputs: 32, Sequences: 2, Pages: 32, PageSize: 8, Spares: 2}
			e := m.start(t, limits, func(l *Loaded) { l.Speculate = true })
			defer e.Close()
			for range 3 {
				s, err := e.Submit(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := gather(s, -1); err != nil || !reflect.DeepEqual(got, want) {
					t.Fatalf("got %v (%v), want %v", got, err, want)
				}
			}
			t.Logf("%d of %d tokens accepted", e.Metrics().AcceptedTokens, e.Metrics().DraftedTokens)
		})
	}
}
