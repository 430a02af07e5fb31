package bench

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/godwit-llm/godwit"
)

// trace is when things happened to one request.
type trace struct {
	start  time.Time
	tokens []time.Time
	ids    []int32
	first  func() // told of the first token; may be nil
}

// burst starts a request for each prompt at once and follows them to their
// ends. Each takes the most likely tokens and is as long as it may be.
func burst(ctx context.Context, m *godwit.Model, prompts [][]int32, decode int) ([]trace, error) {
	requests := make([]godwit.Request, len(prompts))
	for i, ids := range prompts {
		requests[i] = godwit.Request{IDs: ids, Sampling: &godwit.Sampling{}, MaxTokens: decode, IgnoreEOS: true}
	}
	return together(ctx, m, requests)
}

// together starts requests at once and follows them to their ends.
func together(ctx context.Context, m *godwit.Model, requests []godwit.Request) ([]trace, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	start := time.Now()
	running, err := m.StartTogether(ctx, requests)
	if err != nil {
		return nil, err
	}
	traces := make([]trace, len(requests))
	var first error
	var once sync.Once
	var readers sync.WaitGroup
	for i, g := range running {
		traces[i].start = start
		readers.Go(func() {
			if err := traces[i].follow(g, requests[i].MaxTokens); err != nil {
				once.Do(func() { first = err })
				cancel() // the others, whose errors say no more than that
			}
		})
	}
	readers.Wait()
	return traces, first
}

// follow reads the tokens. Their times are those of the steps that made them: a
// reader may be late.
func (t *trace) follow(g *godwit.Generation, want int) error {
	t.tokens = make([]time.Time, 0, want)
	for token := range g.Tokens() {
		if token.ID < 0 { // the rest of a text
			continue
		}
		t.ids = append(t.ids, token.ID)
		if t.tokens = append(t.tokens, token.Time); len(t.tokens) == 1 && t.first != nil {
			t.first()
		}
	}
	if len(t.tokens) < want {
		if err := g.Err(); err != nil {
			return err
		}
		return fmt.Errorf("a request ended after %d of %d tokens", len(t.tokens), want)
	}
	return nil
}

// sample is what one run of a batch shows.
type sample struct {
	first   float64 // seconds to a request's first token, the median
	last    float64 // seconds until all have theirs
	prompt  float64 // tokens/s
	decode  float64 // tokens/s
	context float64 // mean number of positions that a decode step saw of a sequence
}

// sampleOf looks at the requests of one run. Decoding is measured while all of
// them decode: from the moment when the last one has its first token to the
// moment when the first one has its last. Each request's rate is that of its
// own tokens in that time, from the first to the last of them.
func sampleOf(traces []trace, prompt int) (sample, error) {
	from, to := traces[0].tokens[0], traces[0].tokens[len(traces[0].tokens)-1]
	firsts := make([]float64, len(traces))
	for i, t := range traces {
		firsts[i] = t.tokens[0].Sub(t.start).Seconds()
		from = later(from, t.tokens[0])
		to = earlier(to, t.tokens[len(t.tokens)-1])
	}
	s := sample{first: spread(firsts).Median, last: from.Sub(traces[0].start).Seconds()}
	s.prompt = float64(len(traces)*prompt) / s.last
	tokens, positions := 0, 0
	for _, t := range traces {
		a, b := t.within(from, to)
		if b-a < 2 {
			return s, tooShort(traces, from, to)
		}
		s.decode += float64(b-a) / t.tokens[b].Sub(t.tokens[a]).Seconds()
		tokens += b - a
		for i := a + 1; i <= b; i++ {
			positions += prompt + i
		}
	}
	s.context = float64(positions) / float64(tokens)
	return s, nil
}

// tooShort is the error about requests that do not decode side by side. What
// would have been enough follows from how far the first one came until the last
// one had its first token.
func tooShort(traces []trace, from, to time.Time) error {
	begin := traces[0].tokens[0]
	for _, t := range traces {
		begin = earlier(begin, t.tokens[0])
	}
	have := len(traces[0].tokens)
	before := float64(have) * float64(from.Sub(begin)) / float64(max(to.Sub(begin), 1))
	return fmt.Errorf("a request has its %d new tokens before all %d have been decoding for two steps: want about %d", have, len(traces), int(before)+have)
}

// within returns the numbers of the first and the last token in a time.
func (t *trace) within(from, to time.Time) (first, last int) {
	order := func(a, b time.Time) int { return a.Compare(b) }
	first, _ = slices.BinarySearchFunc(t.tokens, from, order)
	last, found := slices.BinarySearchFunc(t.tokens, to, order)
	if !found {
		last--
	}
	return first, last
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
