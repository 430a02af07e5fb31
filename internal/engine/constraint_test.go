package engine

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// scripted allows certain ids after each number of tokens, and no more tokens
// than it has lists.
type scripted struct {
	lists [][]int32
	got   []int32
	fails int // Accept fails at this token; 0: never
}

func (s *scripted) Mask(dst []uint32) {
	clear(dst)
	for _, id := range s.lists[len(s.got)] {
		dst[id/32] |= 1 << (id % 32)
	}
}

func (s *scripted) Accept(id int32) error {
	if s.got = append(s.got, id); len(s.got) == s.fails {
		return errors.New("no more")
	}
	return nil
}

func (s *scripted) Done() bool { return len(s.got) == len(s.lists) }

func script(rng *rand.Rand, n int) *scripted {
	s := &scripted{}
	for range n {
		s.lists = append(s.lists, []int32{int32(rng.IntN(48)), int32(rng.IntN(96))})
	}
	return s
}

// TestConstraint: constrained requests beside others, in little room, keep
// their constraints and leave the others what they are.
func TestConstraint(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 9))
	e := start(t, "nemotron-base", tight, 100)
	free := Request{IDs: randomPrompt(rng, 9), MaxTokens: 12}
	alone := generate(t, e, free)
	var scripts []*scripted
	var streams []*Stream
	for i := range 8 {
		s := script(rng, 1+rng.IntN(15))
		scripts = append(scripts, s)
		r := Request{IDs: randomPrompt(rng, 1+rng.IntN(20)), MaxTokens: 50, Constraint: s, Sampling: Sampling{Temperature: float32(i % 2), TopP: 0.9, Seed: uint64(i)}}
		stream, err := e.Submit(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, stream)
	}
	if got := generate(t, e, free); !slices.Equal(got, alone) {
		t.Errorf("a request beside constrained ones: got %v, want %v", got, alone)
	}
	for i, stream := range streams {
		tokens, err := collect(t, stream)
		if err != nil || stream.Outcome().Reason != Stopped || !slices.Equal(ids(tokens), scripts[i].got) {
			t.Fatalf("request %d: got %v, %v, %v, want the ids of its constraint, %v", i, ids(tokens), err, stream.Outcome().Reason, scripts[i].got)
		}
		for k, token := range tokens {
			if !slices.Contains(scripts[i].lists[k], token.ID) {
				t.Errorf("request %d, token %d: got %d, want one of %v", i, k, token.ID, scripts[i].lists[k])
			}
		}
	}
}

func TestConstraintEnds(t *testing.T) {
	e := start(t, "nemotron-base", roomy, 100)
	s := &scripted{lists: [][]int32{{5}, {6}, {7}}, fails: 2}
	stream, err := e.Submit(t.Context(), Request{IDs: []int32{1}, MaxTokens: 9, Constraint: s})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := collect(t, stream); err == nil || !strings.Contains(err.Error(), "constraint after 2 tokens: no more") || stream.Outcome().Reason != Failed {
		t.Errorf("got %v, %v", err, stream.Outcome().Reason)
	}
	s = &scripted{lists: [][]int32{{5}, {6}, {7}}}
	stream, err = e.Submit(t.Context(), Request{IDs: []int32{1}, MaxTokens: 9, Constraint: s, Stop: []int32{6}})
	if err != nil {
		t.Fatal(err)
	}
	if tokens, err := collect(t, stream); err != nil || len(tokens) != 1 || len(s.got) != 1 || stream.Outcome().StopID != 6 {
		t.Errorf("got %v, %v, %+v", ids(tokens), err, stream.Outcome())
	}
	s = &scripted{lists: [][]int32{{5}, {6}, {7}}}
	if got := generate(t, e, Request{IDs: []int32{1}, MaxTokens: 2, Constraint: s}); !slices.Equal(got, []int32{5, 6}) {
		t.Errorf("got %v, want as many as asked for", got)
	}
}
