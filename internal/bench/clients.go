package bench

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/godwit-llm/godwit"
)

// server answers a prompt with so many new tokens.
type server func(ctx context.Context, prompt []int32, decode int) (answer, error)

// answer is what came of a request.
type answer struct {
	ids    []int32
	tokens []time.Time
	stats  godwit.Stats
}

// generate is a model as a server. It takes the most likely tokens, and goes on
// at the end of a text. first is told of first tokens; it may be nil.
func generate(m *godwit.Model, first func()) server {
	return func(ctx context.Context, prompt []int32, decode int) (answer, error) {
		g, err := m.Start(ctx, godwit.Request{IDs: prompt, Sampling: &godwit.Sampling{}, MaxTokens: decode, IgnoreEOS: true})
		if err != nil {
			return answer{}, err
		}
		t := trace{first: first}
		if err := t.follow(g, decode); err != nil {
			return answer{}, err
		}
		r, err := g.Wait()
		if err != nil {
			return answer{}, err
		}
		return answer{r.IDs, t.tokens, r.Stats}, nil
	}
}

// outcome is when things happened to a request that was sent.
type outcome struct {
	arrived time.Time // when it was to be sent
	sent    time.Time // when there was a place for it in flight
	prompt  int       // tokens
	answer
	err error
}

// clients send a workload's requests and note what comes of them.
type clients struct {
	work  workload
	serve server
	limit int    // requests in flight; 0: none
	tell  func() // a request has ended

	places chan struct{}
	mu     sync.Mutex
	flying int
	load
}

// load is what clients have seen.
type load struct {
	start    time.Time
	outcomes []outcome
	peak     int // requests in flight at once
}

// run sends all requests and waits for their ends. It fails if ctx ends, or the
// model cannot go on.
func (c *clients) run(ctx context.Context) (load, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if c.limit > 0 {
		c.places = make(chan struct{}, c.limit)
	}
	c.start = time.Now()
	var talks sync.WaitGroup
	for i := range c.work.conversations {
		arrived, ok := c.arrive(ctx, i)
		if !ok {
			break
		}
		talks.Go(func() {
			if err := c.converse(ctx, i, arrived); err != nil {
				cancel(err)
			}
		})
	}
	talks.Wait()
	return c.load, context.Cause(ctx)
}

// arrive waits for a conversation's time: that of its arrival, or the moment
// when there is a place for it. It tells whether there was one.
func (c *clients) arrive(ctx context.Context, i int) (time.Time, bool) {
	if c.work.arrivals == nil {
		ok := c.enter(ctx)
		return time.Now(), ok
	}
	at := c.start.Add(c.work.arrivals[i])
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return at, ctx.Err() == nil
	case <-ctx.Done():
		return at, false
	}
}

// enter takes a place. Those that wait get one in the order in which they came.
func (c *clients) enter(ctx context.Context) bool {
	if c.places == nil || ctx.Err() != nil {
		return ctx.Err() == nil
	}
	select {
	case c.places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *clients) leave() {
	if c.places != nil {
		<-c.places
	}
}

// converse sends one request after another; the prompt of each goes on where
// the answer to the last one ended. A conversation keeps its place. The error
// is one that ends everything.
func (c *clients) converse(ctx context.Context, i int, arrived time.Time) error {
	if c.work.arrivals != nil && !c.enter(ctx) {
		return ctx.Err()
	}
	defer c.leave()
	prompt, rng := append([]int32(nil), c.work.prefix...), c.work.ids(i)
	for _, t := range c.work.conversations[i] {
		prompt = append(prompt, randomIDs(rng, t.prompt, c.work.vocabulary)...)
		o := outcome{arrived: arrived, sent: time.Now(), prompt: len(prompt)}
		c.fly(1)
		o.answer, o.err = c.serve(ctx, prompt, t.decode)
		c.fly(-1)
		if fatal(ctx, o.err) {
			return o.err
		}
		c.note(o)
		if o.err != nil {
			return nil // nothing can come behind it
		}
		prompt = append(prompt, o.ids...)
		arrived = time.Now()
	}
	return nil
}

// fatal tells errors of one request from those that all others will have too.
func fatal(ctx context.Context, err error) bool {
	return err != nil && (ctx.Err() != nil || errors.Is(err, godwit.ErrDevice) || errors.Is(err, godwit.ErrClosed))
}

func (c *clients) fly(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flying += n
	c.peak = max(c.peak, c.flying)
}

func (c *clients) note(o outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outcomes = append(c.outcomes, o)
	if c.tell != nil {
		c.tell()
	}
}
