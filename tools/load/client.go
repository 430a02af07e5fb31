package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/godwit-llm/godwit"
)

// load is what all clients share.
type load struct {
	m     *godwit.Model
	exact bool
	stems [][]int32 // beginnings of prompts

	mu   sync.Mutex
	seen map[string][]int32 // what prompts led to
	err  error
}

func newLoad(m *godwit.Model, exact bool) *load {
	l := &load{m: m, exact: exact, seen: map[string][]int32{}}
	rng := rand.New(rand.NewPCG(7, 7))
	for _, n := range []int{20, 64, 130, 300, 300} {
		l.stems = append(l.stems, l.random(rng, n))
	}
	return l
}

func (l *load) random(rng *rand.Rand, n int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(rng.IntN(l.m.Vocabulary()))
	}
	return ids
}

func (l *load) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// client makes requests until ctx ends or something is wrong.
func (l *load) client(ctx context.Context, stop func(), seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 9))
	for ctx.Err() == nil {
		err := l.one(ctx, rng)
		switch {
		case err == nil, errors.Is(err, godwit.ErrQueueFull), ctx.Err() != nil && errors.Is(err, godwit.ErrCancelled):
			continue
		}
		l.mu.Lock()
		l.err = errors.Join(l.err, err)
		l.mu.Unlock()
		stop()
	}
}

// one does one of the things that clients do.
func (l *load) one(ctx context.Context, rng *rand.Rand) error {
	prompt := append(slices.Clone(l.stems[rng.IntN(len(l.stems))]), l.random(rng, 1+rng.IntN(40))...)
	switch rng.IntN(12) {
	case 0:
		_, err := l.m.Embed(ctx, godwit.EmbedRequest{IDs: prompt, Pooling: []string{"mean", "last"}[rng.IntN(2)]})
		return err
	case 1:
		_, err := l.m.Score(ctx, prompt[:min(len(prompt), 100)], 2)
		return err
	case 2:
		return l.giveUp(ctx, rng, prompt)
	case 3:
		return l.pin(ctx, rng, prompt)
	case 4, 5, 6:
		return l.converse(ctx, rng, prompt)
	case 7:
		return l.known(ctx, rng)
	}
	_, err := l.generate(ctx, rng, prompt, rng.IntN(60)+1)
	return err
}

// generate runs a request to its end.
func (l *load) generate(ctx context.Context, rng *rand.Rand, ids []int32, tokens int) (*godwit.Result, error) {
	r := godwit.Request{IDs: ids, MaxTokens: tokens, IgnoreEOS: true, Priority: rng.IntN(3) / 2, Sampling: &godwit.Sampling{}}
	if rng.IntN(3) == 0 {
		r.Sampling = &godwit.Sampling{Temperature: 0.8, TopP: 0.9, RepetitionPenalty: 1.1}
	}
	return l.m.Generate(ctx, r)
}

// converse makes some turns, each with the one before as its beginning.
func (l *load) converse(ctx context.Context, rng *rand.Rand, ids []int32) error {
	for range 1 + rng.IntN(5) {
		r, err := l.generate(ctx, rng, ids, 1+rng.IntN(30))
		if err != nil {
			return err
		}
		ids = append(append(ids, r.IDs...), l.random(rng, 1+rng.IntN(20))...)
	}
	return nil
}

// giveUp cancels a request after some tokens.
func (l *load) giveUp(ctx context.Context, rng *rand.Rand, ids []int32) error {
	g, err := l.m.Start(ctx, godwit.Request{IDs: ids, MaxTokens: 200, IgnoreEOS: true})
	if err != nil {
		return err
	}
	after := rng.IntN(20)
	for range g.Tokens() {
		if after--; after < 0 {
			break
		}
	}
	g.Cancel()
	if _, err := g.Wait(); err != nil && !errors.Is(err, godwit.ErrCancelled) {
		return err
	}
	return nil
}

// pin keeps a prefix for a while.
func (l *load) pin(ctx context.Context, rng *rand.Rand, ids []int32) error {
	name := fmt.Sprint("prefix ", rng.Uint64())
	err := l.m.Pin(ctx, name, godwit.Request{IDs: ids})
	if errors.Is(err, godwit.ErrRequest) {
		return nil // no room beside those of others
	}
	if err != nil {
		return err
	}
	_, err = l.generate(ctx, rng, append(slices.Clone(ids), l.random(rng, 5)...), 5)
	return errors.Join(err, l.m.Unpin(name))
}

// known asks one of a few questions again: the answer must be the same.
func (l *load) known(ctx context.Context, rng *rand.Rand) error {
	which := rng.IntN(40)
	own := rand.New(rand.NewPCG(3, uint64(which)))
	ids := append(slices.Clone(l.stems[which%len(l.stems)]), l.random(own, 1+own.IntN(30))...)
	r, err := l.m.Generate(ctx, godwit.Request{IDs: ids, MaxTokens: 40, IgnoreEOS: true, Sampling: &godwit.Sampling{}})
	if err != nil || !l.exact {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	key := fmt.Sprint(which)
	before, asked := l.seen[key]
	l.seen[key] = r.IDs
	if asked && !slices.Equal(before, r.IDs) {
		return fmt.Errorf("request %d: got %v, before %v", which, r.IDs, before)
	}
	return nil
}
