package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/godwit-llm/godwit"
)

// LoadOptions say what load is put on a model. Without a Rate the loop is
// closed: so many clients each send a request, wait for its end and send the
// next one. With a Rate it is open: requests arrive whether earlier ones have
// ended or not.
type LoadOptions struct {
	Concurrency  []int   // requests in flight at most, one level after another; 0, with a Rate, means no limit
	Requests     int     // measured at each level; 0 means 8 for each in flight, and 16 at least
	Warmup       int     // requests of each level before those; 0 means as many as run at a time, less than 0 none
	Prompt       Lengths // tokens of a prompt, behind those of SharedPrefix
	Decode       Lengths // new tokens of a request
	SharedPrefix int     // tokens that all prompts begin with
	Turns        int     // requests of a conversation, each with all before it as its beginning; 0 means 1
	Rate         float64 // conversations a second, a Poisson process; 0 means a closed loop
	Seed         uint64  // of lengths, ids and arrivals
	MaxSequences int     // that the model runs at a time; 0 means the largest Concurrency, or 256

	Progress func(done, total int) // told of the requests; may be nil

	rates func(context.Context) (godwit.Rates, error) // nil: the model's
}

// Limits of LoadOptions.
const (
	mostRequests = 1 << 20
	mostTurns    = 1 << 10
	mostRate     = 1e6
	leastMeasure = 16  // requests of a level, where nobody says how many
	unlimited    = 256 // sequences, and requests of a level, without a limit in flight
)

// Check refuses options that have no meaning.
func (o *LoadOptions) Check() error {
	switch {
	case o.Prompt.draw == nil || o.Decode.draw == nil:
		return errors.New("there are no lengths of prompts and of what is decoded, want both")
	case o.Requests < 0 || o.Requests > mostRequests:
		return fmt.Errorf("the number of requests is %d, want 1 to %d", o.Requests, mostRequests)
	case o.Warmup > mostRequests:
		return fmt.Errorf("the number of requests to warm up is %d, want at most %d", o.Warmup, mostRequests)
	case o.SharedPrefix < 0 || o.SharedPrefix > mostTokens:
		return fmt.Errorf("the shared prefix has %d tokens, want 0 to %d", o.SharedPrefix, mostTokens)
	case o.Turns < 0 || o.Turns > mostTurns:
		return fmt.Errorf("a conversation has %d turns, want 1 to %d", o.Turns, mostTurns)
	case !(o.Rate >= 0 && o.Rate <= mostRate):
		return fmt.Errorf("the rate is %g requests/s, want more than 0 and at most %g", o.Rate, mostRate)
	case o.MaxSequences < 0 || o.MaxSequences > mostBatch:
		return fmt.Errorf("the number of sequences is %d, want 1 to %d", o.MaxSequences, mostBatch)
	case len(o.Concurrency) == 0:
		return errors.New("there is no concurrency, want at least one")
	}
	for i, c := range o.Concurrency {
		if err := o.checkLevel(c); err != nil {
			return err
		}
		if slices.Contains(o.Concurrency[:i], c) {
			return fmt.Errorf("concurrency %d is there twice", c)
		}
	}
	return nil
}

func (o *LoadOptions) checkLevel(c int) error {
	least := 1
	if o.Rate > 0 {
		least = 0
	}
	if c < least || c > mostBatch {
		return fmt.Errorf("a concurrency is %d, want %d to %d", c, least, mostBatch)
	}
	if need := c * max(o.Turns, 1); o.Rate == 0 && o.requests(c) < need {
		return fmt.Errorf("%d requests do not keep %d in flight, want at least %d", o.Requests, c, need)
	}
	return nil
}

// requests returns how many are measured at a level.
func (o *LoadOptions) requests(c int) int {
	switch {
	case o.Requests > 0:
		return o.Requests
	case c == 0:
		return unlimited
	}
	return max(leastMeasure, c*max(8, 2*o.Turns))
}

// warmups returns how many requests go before them.
func (o *LoadOptions) warmups(c int) int {
	switch {
	case o.Warmup < 0:
		return 0
	case o.Warmup > 0:
		return o.Warmup
	}
	return min(o.sideBySide(c), o.requests(c))
}

// sequences returns how many requests the model is to run at a time.
func (o *LoadOptions) sequences() int {
	most := 0
	for _, c := range o.Concurrency {
		if c == 0 {
			c = min(unlimited, o.requests(c))
		}
		most = max(most, c)
	}
	if o.MaxSequences > 0 {
		return o.MaxSequences
	}
	return most
}

// sideBySide returns how many requests of a level run at a time at most.
func (o *LoadOptions) sideBySide(c int) int {
	if c == 0 {
		return o.sequences()
	}
	return min(c, o.sequences())
}

// Model returns the options to open a model with: room for the longest
// conversation, and for a queue that refuses none.
func (o *LoadOptions) Model() godwit.Options {
	longest, queue := 0, 0
	for level := range o.Concurrency {
		for _, w := range []workload{o.measured(level, 1), o.warmUp(level, 1)} {
			longest, queue = max(longest, w.longest()), max(queue, w.requests())
		}
	}
	return godwit.Options{Context: longest, MaxSequences: o.sequences(), QueueLimit: queue}
}

// RunLoad puts load on a model, one level after another. When ctx ends first,
// or a level fails, the report holds the levels before that, and Complete is
// not set.
func RunLoad(ctx context.Context, m *godwit.Model, o LoadOptions) (*LoadReport, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if need, have := o.Model().Context, m.Plan().Context; need > have {
		return nil, fmt.Errorf("the longest conversation needs a context of %d, the model was opened with %d", need, have)
	}
	r := newLoadReport(m, &o)
	l := loader{m: m, o: &o}
	err := r.around(ctx, m, &r.Course, o.rates, func() error {
		for k, c := range o.Concurrency {
			level, err := l.level(ctx, k)
			if err != nil {
				return fmt.Errorf("concurrency %d: %w", c, err)
			}
			r.Levels = append(r.Levels, level)
		}
		return nil
	})
	for i := range r.Levels {
		r.Levels[i].hold(&r.Subject)
	}
	return r, err
}

// loader runs the levels one after another.
type loader struct {
	m    *godwit.Model
	o    *LoadOptions
	done int // requests so far
}

// level warms up and measures.
func (l *loader) level(ctx context.Context, k int) (Level, error) {
	c := l.o.Concurrency[k]
	warm := l.o.warmUp(k, l.m.Vocabulary())
	if _, err := l.run(ctx, warm, l.o.sideBySide(c), nil); err != nil {
		return Level{}, err
	}
	work := l.o.measured(k, l.m.Vocabulary())
	pages := gauge{m: l.m}
	before, stop := l.m.Metrics(), pages.watch()
	seen, err := l.run(ctx, work, c, pages.look)
	peak := stop()
	if err != nil {
		return Level{}, err
	}
	batch := 0 // of an open loop, what it comes to
	if l.o.Rate == 0 {
		batch = l.o.sideBySide(c)
	}
	v, err := newLevel(l.m, seen, work.requests(), batch)
	v.Concurrency, v.Warmup, v.PeakPages = c, warm.requests(), peak
	v.count(before, l.m.Metrics())
	return v, err
}

func (l *loader) run(ctx context.Context, w workload, limit int, first func()) (load, error) {
	c := clients{work: w, serve: generate(l.m, first), limit: limit, tell: func() {
		l.done++
		if l.o.Progress != nil {
			l.o.Progress(l.done, l.o.total())
		}
	}}
	return c.run(ctx)
}

// total returns how many requests there are at all levels.
func (o *LoadOptions) total() int {
	n := 0
	for _, c := range o.Concurrency {
		n += o.warmups(c) + o.requests(c)
	}
	return n
}

// gauge knows the most pages that were in use.
type gauge struct {
	m    *godwit.Model
	mu   sync.Mutex
	most int
}

// look is called again and again, and when a request has its first token.
func (g *gauge) look() {
	v := g.m.Metrics()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.most = max(g.most, v.Pages-v.FreePages-v.CachedPages)
}

// watch looks until stop is called, which returns the most that it saw.
func (g *gauge) watch() (stop func() int) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				g.look()
			case <-end:
				return
			}
		}
	}()
	return func() int { close(end); <-ended; return g.most }
}
