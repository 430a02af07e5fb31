package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/godwit-llm/godwit"
)

// Speculation says how speculation is measured: for each batch and each kind of
// text, the same requests with and without, in turn.
type Speculation struct {
	Options
}

// Kinds of text.
const (
	// repeats is text that repeats its prompt: a passage, again and again, and
	// an output whose ids are those few that the passage consists of. From so few
	// the most likely ones soon go in circles, whatever the weights.
	repeats = "repeats"
	// fresh is text that repeats nothing but by chance: random ids, and an output
	// sampled from all there are.
	fresh = "new"
)

const (
	passage = 48  // ids of a passage
	choices = 12  // that it consists of
	bias    = 1e4 // of their logits
)

// Model returns the options to open a model with.
func (s *Speculation) Model() godwit.Options {
	opts := s.Options.Model()
	opts.Speculation, opts.NoPrefixCache = "auto", true // prompts come twice
	return opts
}

// SpeculationReport is what was measured.
type SpeculationReport struct {
	Subject

	Prompt int           `json:"prompt_tokens"` // of a request
	Decode int           `json:"decode_tokens"`
	Repeat int           `json:"runs"` // of each text
	Texts  []Speculative `json:"texts"`

	Course
}

// Speculative is what so many requests at a time showed with one kind of text.
type Speculative struct {
	Requests int    `json:"requests"`
	Text     string `json:"text"`

	Without Spread `json:"without_tokens_per_second"` // decoding, all requests together
	With    Spread `json:"with_tokens_per_second"`
	Speedup Spread `json:"speedup"` // of the pairs of runs

	Drafted  int `json:"drafted_tokens"` // in all runs
	Accepted int `json:"accepted_tokens"`
	Decoded  int `json:"decoded_tokens"`
	Same     int `json:"same_outputs"` // requests whose output was the same with and without
	Compared int `json:"compared_outputs"`
}

// RunSpeculation measures. When ctx ends first, or a batch fails, the report
// holds what was measured before that, and Complete is not set.
func RunSpeculation(ctx context.Context, m *godwit.Model, s Speculation) (*SpeculationReport, error) {
	if err := errors.Join(s.Check(), s.fits(m)); err != nil {
		return nil, err
	}
	r := &SpeculationReport{Subject: newSubject(m), Course: newCourse(m), Prompt: s.Prompt, Decode: s.Decode, Repeat: s.Repeat, Texts: []Speculative{}}
	runs := runner{ctx: ctx, m: m, o: s.Options}
	err := r.around(ctx, m, &r.Course, s.rates, func() error {
		for _, n := range s.Batches {
			for _, text := range []string{repeats, fresh} {
				t, err := runs.speculative(n, text)
				if err != nil {
					return fmt.Errorf("batch %d, text that %s: %w", n, text, err)
				}
				r.Texts = append(r.Texts, t)
			}
		}
		return nil
	})
	return r, err
}

// speculative runs n requests at a time with one kind of text: first for what
// there is to learn, then as often as was asked for.
func (r *runner) speculative(n int, text string) (Speculative, error) {
	out := Speculative{Requests: n, Text: text}
	var without, with, speedup []float64
	for i := range r.o.Repeat + 1 {
		requests := r.requests(n, text)
		plain, err := r.pass(requests, true)
		if err != nil {
			return out, err
		}
		before := r.m.Metrics()
		drafted, err := r.pass(requests, false)
		if err != nil {
			return out, err
		}
		after := r.m.Metrics()
		r.progress(2 * 2 * (r.o.Repeat + 1) * len(r.o.Batches))
		if i == 0 {
			continue
		}
		without, with = append(without, plain.rate), append(with, drafted.rate)
		speedup = append(speedup, drafted.rate/plain.rate)
		out.Drafted += int(after.DraftedTokens - before.DraftedTokens)
		out.Accepted += int(after.AcceptedTokens - before.AcceptedTokens)
		out.Decoded += n * (r.o.Decode - 1)
		for k := range plain.ids {
			out.Compared++
			if slices.Equal(plain.ids[k], drafted.ids[k]) {
				out.Same++
			}
		}
	}
	out.Without, out.With, out.Speedup = spread(without), spread(with), spread(speedup)
	return out, nil
}

// requests are new in each run.
func (r *runner) requests(n int, text string) []godwit.Request {
	rng := rand.New(rand.NewPCG(uint64(n), uint64(r.done)))
	out := make([]godwit.Request, n)
	for i := range out {
		seed := rng.Uint64()
		q := godwit.Request{MaxTokens: r.o.Decode, IgnoreEOS: true, Seed: &seed, Sampling: &godwit.Sampling{}}
		switch text {
		case repeats:
			few := randomIDs(rng, choices, r.m.Vocabulary())
			q.Sampling.LogitBias = map[int32]float64{}
			for _, id := range few {
				q.Sampling.LogitBias[id] = bias
			}
			for k := range passage {
				if q.IDs = append(q.IDs, few[rng.IntN(choices)]); k+1 == r.o.Prompt {
					break
				}
			}
			for len(q.IDs) < r.o.Prompt {
				q.IDs = append(q.IDs, q.IDs[len(q.IDs)-passage])
			}
		default:
			q.IDs = randomIDs(rng, r.o.Prompt, r.m.Vocabulary())
			q.Sampling.Temperature = 1
		}
		out[i] = q
	}
	return out
}

// pass is one run of a batch.
type pass struct {
	rate float64 // of decoding, all requests together
	ids  [][]int32
}

func (r *runner) pass(requests []godwit.Request, plain bool) (pass, error) {
	for i := range requests {
		requests[i].NoSpeculation = plain
	}
	traces, err := together(r.ctx, r.m, requests)
	if err != nil {
		return pass{}, err
	}
	var p pass
	first, last, tokens := traces[0].tokens[0], traces[0].tokens[0], 0
	for _, t := range traces {
		first, last = later(first, t.tokens[0]), later(last, t.tokens[len(t.tokens)-1])
		p.ids = append(p.ids, t.ids)
	}
	for _, t := range traces { // those that came while all had begun
		for _, at := range t.tokens {
			if at.After(first) {
				tokens++
			}
		}
	}
	if r.done++; tokens == 0 {
		return p, fmt.Errorf("all %d new tokens had come before all requests had their first", r.o.Decode)
	}
	p.rate = float64(tokens) / last.Sub(first).Seconds()
	return p, nil
}

func (r *runner) progress(total int) {
	if r.o.Progress != nil {
		r.o.Progress(r.done, total)
	}
}
