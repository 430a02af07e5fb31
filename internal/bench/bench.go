// Package bench measures how fast a model generates. It starts requests through
// the public API, notes when they got their tokens, and holds the rates against
// what the device's memory and arithmetic allow.
//
// It knows requests and times. It knows neither how a model works nor how
// results are shown.
package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/godwit-llm/godwit"
)

// Options say what is measured: for each batch, so many requests that start
// together, with prompts of random tokens that are new each time.
type Options struct {
	Prompt   int                   // tokens of a prompt
	Decode   int                   // new tokens of a request
	Batches  []int                 // numbers of requests
	Repeat   int                   // measured runs of each batch, after one that is not
	Progress func(done, total int) // told of the runs; may be nil

	rates func(context.Context) (godwit.Rates, error) // nil: the model's
}

// Limits of Options.
const (
	leastDecode = 4 // of which the first comes with the prompt
	mostBatch   = 1 << 16
	mostRepeat  = 1000
)

// Check refuses options that have no meaning.
func (o *Options) Check() error {
	switch {
	case o.Prompt < 1:
		return fmt.Errorf("the prompt has %d tokens, want at least 1", o.Prompt)
	case o.Decode < leastDecode:
		return fmt.Errorf("%d new tokens are to be decoded, want at least %d", o.Decode, leastDecode)
	case o.Repeat < 1 || o.Repeat > mostRepeat:
		return fmt.Errorf("the number of runs is %d, want 1 to %d", o.Repeat, mostRepeat)
	case len(o.Batches) == 0:
		return errors.New("there is no batch, want at least one")
	}
	for i, n := range o.Batches {
		if n < 1 || n > mostBatch {
			return fmt.Errorf("a batch is %d, want 1 to %d requests", n, mostBatch)
		}
		if slices.Contains(o.Batches[:i], n) {
			return fmt.Errorf("batch %d is there twice", n)
		}
	}
	return nil
}

// Model returns the options to open a model with: room for the largest batch
// and no more.
func (o *Options) Model() godwit.Options {
	return godwit.Options{Context: o.Prompt + o.Decode, MaxSequences: slices.Max(o.Batches)}
}

// Run measures. When ctx ends first, or a batch fails, the report holds the
// batches before that, and Complete is not set.
func Run(ctx context.Context, m *godwit.Model, o Options) (*Report, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if err := o.fits(m); err != nil {
		return nil, err
	}
	r := &Report{Subject: newSubject(m), Course: newCourse(m), Prompt: o.Prompt, Decode: o.Decode, Repeat: o.Repeat, Batches: []Batch{}}
	runs := runner{ctx: ctx, m: m, o: o}
	err := r.around(ctx, m, &r.Course, o.rates, func() error {
		for _, n := range o.Batches {
			samples, err := runs.batch(n)
			if err != nil {
				return err
			}
			r.Batches = append(r.Batches, newBatch(m, n, o.Prompt, samples))
		}
		return nil
	})
	r.hold()
	return r, err
}

// fits refuses a batch that the model cannot run side by side.
func (o *Options) fits(m *godwit.Model) error {
	need, most := o.Prompt+o.Decode, slices.Max(o.Batches)
	p := m.Plan()
	switch {
	case need > p.Context:
		return fmt.Errorf("requests of %d + %d tokens need a context of %d, the model was opened with %d", o.Prompt, o.Decode, need, p.Context)
	case most > p.MaxSequences:
		return fmt.Errorf("a batch is %d, the model was opened for %d sequences", most, p.MaxSequences)
	case p.Cache > 0 && most*need > p.CacheTokens:
		return fmt.Errorf("a batch of %d requests of %d tokens needs a cache of %d tokens, memory was left for %d (%s): a smaller batch or shorter requests would fit",
			most, need, most*need, p.CacheTokens, godwit.Bytes(p.Cache))
	}
	return nil
}

// runner runs the batches one after another.
type runner struct {
	ctx  context.Context
	m    *godwit.Model
	o    Options
	done int // runs so far
}

// batch runs n requests at a time: once for caches, graphs and clocks to
// settle, then as often as was asked for.
func (r *runner) batch(n int) ([]sample, error) {
	var samples []sample
	for i := range r.o.Repeat + 1 {
		traces, err := burst(r.ctx, r.m, r.prompts(n), r.o.Decode)
		if err != nil {
			return nil, fmt.Errorf("batch %d: %w", n, err)
		}
		s, err := sampleOf(traces, r.o.Prompt)
		if err != nil {
			return nil, fmt.Errorf("batch %d: %w", n, err)
		}
		if i > 0 {
			samples = append(samples, s)
		}
		r.done++
		if r.o.Progress != nil {
			r.o.Progress(r.done, (r.o.Repeat+1)*len(r.o.Batches))
		}
	}
	return samples, nil
}

// prompts are new in each run: the model may remember the beginnings of those
// that it has seen.
func (r *runner) prompts(n int) [][]int32 {
	rng := rand.New(rand.NewPCG(uint64(n), uint64(r.done)))
	out := make([][]int32, n)
	for i := range out {
		out[i] = randomIDs(rng, r.o.Prompt, r.m.Vocabulary())
	}
	return out
}
