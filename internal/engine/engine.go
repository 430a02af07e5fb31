// Package engine runs many requests on one model: it queues them, has the
// scheduler decide what each step holds, runs the steps, samples, and delivers
// ids. Requests arrive at any time, share steps and end independently.
//
// It sees ids only. Text, templates and files are its callers' business.
package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/godwit-llm/godwit/internal/draft"
	"github.com/godwit-llm/godwit/internal/kv"
	"github.com/godwit-llm/godwit/internal/model"
	"github.com/godwit-llm/godwit/internal/ops"
	"github.com/godwit-llm/godwit/internal/scheduler"
)

// ErrClosed is returned for requests to an engine that was closed.
var ErrClosed = errors.New("engine is closed")

// ErrQueueFull is wrapped by the refusal of a request while as many wait as
// may.
var ErrQueueFull = errors.New("the queue is full")

// ErrLogits is wrapped by the error of a request whose logits cannot be used:
// the weights are broken, or a number overflowed.
var ErrLogits = errors.New("the model's logits are not numbers")

// Engine owns a model. Its loop is the only caller of the model's backend.
type Engine struct {
	Loaded
	meter *meter

	mu        sync.Mutex
	queued    int         // requests that were submitted and not admitted
	submitted []*sequence // that the loop has not seen
	cancelled []*sequence // whose contexts have ended
	calls     []*call     // for times without requests
	pins      pins
	fault     error // ended the engine
	closed    bool
	draining  bool
	wake      chan struct{}
	drained   chan struct{} // closed when the last request of a draining engine has ended
	done      chan struct{}

	// The loop's own.
	schedule *scheduler.Scheduler
	live     map[*sequence]bool // all that the scheduler has
	batch    ops.Batch
	flights  [2]flight
	flying   *flight   // under way: its results have not been handed out
	landed   time.Time // when those of the step before were
	waited   bool      // the next step waits for the results of the one before, for the sake of drafts
	drafts   drafts
	params   []ops.Sampling
	results  []ops.Sampled
	out      outbox
	hidden   []float32
}

// Loaded is a model that is ready to run, the backend that it is on, and how
// requests share them.
type Loaded struct {
	Model      *model.Model
	Backend    ops.Backend
	Context    int  // most positions of one sequence
	Queue      int  // most requests that may wait; 0 means 1024
	Budget     int  // tokens of a step in which requests decode; 0 means as many as a step can hold
	Spacing    int  // fewest ids between two snapshots in the middle of a prompt; 0 means 256
	NoPrefixes bool // keep nothing of requests that have ended
	Speculate  bool // verify drafts where they bring tokens faster
	Ahead      bool // queue steps while others run, for a backend that computes beside the program

	drafter func(ids []int32) draft.Drafter                         // nil: draft.NewLookup
	lengths func(sequences, tokens int, drafts []draft.Draft) []int // nil: a draft.Policy
	hopeful func(sequences int, d draft.Draft) bool                 // nil: the same
}

// Start runs load on the engine's own goroutine and returns when it has ended.
// From then on nobody else may touch the backend: a GPU belongs to the thread
// that opened it. The engine closes the backend.
func Start(load func() (Loaded, error)) (*Engine, error) {
	e := &Engine{
		wake: make(chan struct{}, 1), drained: make(chan struct{}), done: make(chan struct{}),
		meter: newMeter(), live: map[*sequence]bool{}, pins: pins{named: map[string]*pin{}},
	}
	loaded := make(chan error)
	go func() {
		defer close(e.done)
		l, err := load()
		if err != nil {
			loaded <- err
			return
		}
		e.take(l)
		loaded <- nil
		e.loop()
		l.Backend.Close()
	}()
	if err := <-loaded; err != nil {
		<-e.done
		return nil, err
	}
	return e, nil
}

func (e *Engine) take(loaded Loaded) {
	e.Loaded = loaded
	if e.Queue == 0 {
		e.Queue = 1024
	}
	l := loaded.Model.Limits
	e.schedule = scheduler.New(scheduler.Config{
		Config: kv.Config{
			Pages: l.Pages, PageSize: l.PageSize, Slots: l.Sequences,
			Recurrent: loaded.Model.Recurrent(), Prefixes: !loaded.NoPrefixes,
			Snapshots: l.Snapshots, HostSnapshots: l.HostSnapshots, Spares: l.Spares, Least: min(l.PageSize, leastReuse),
		},
		Tokens: l.Tokens, Budget: loaded.Budget, Outputs: l.Outputs, Spacing: loaded.Spacing,
	})
	e.results = make([]ops.Sampled, l.Outputs)
	e.drafts.policy.Recurrent = loaded.Model.Recurrent()
	if e.lengths == nil {
		e.lengths = e.drafts.policy.Choose
	}
	if e.hopeful == nil {
		e.hopeful = e.drafts.policy.Hopeful
	}
	if e.drafter == nil {
		e.drafter = func(ids []int32) draft.Drafter { return draft.NewLookup(ids, &e.drafts.experience) }
	}
	e.count()
}

// leastReuse is the number of ids that are worth starting behind.
const leastReuse = 16

// Submit queues a request. Its tokens come out of the stream.
func (e *Engine) Submit(ctx context.Context, r Request) (*Stream, error) {
	if err := e.check(&r); err != nil {
		return nil, err
	}
	q := newSequence(ctx, r, &e.out)
	if e.Speculate && r.generates() && r.Constraint == nil && !r.NoDrafts {
		q.drafter = e.drafter(r.IDs)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.accepts(q); err != nil {
		q.stream.cancel()
		return nil, err
	}
	e.queued++
	e.submitted = append(e.submitted, q)
	e.meter.add(func(m *Metrics) { m.Submitted++ })
	q.unwatch = context.AfterFunc(q.ctx, func() { e.forget(q) })
	e.rouse()
	return q.stream, nil
}

// accepts says why a request that could run is not taken. e.mu is held.
func (e *Engine) accepts(q *sequence) error {
	switch {
	case e.fault != nil:
		return e.fault
	case e.closed:
		return ErrClosed
	case e.draining:
		return fmt.Errorf("engine: draining: %w", ErrClosed)
	case e.queued >= e.Queue:
		e.meter.add(func(m *Metrics) { m.Refused++ })
		return fmt.Errorf("engine: %w: %d requests wait, want fewer than %d", ErrQueueFull, e.queued, e.Queue)
	case q.r.Pin != "":
		return e.reserve(q)
	}
	return nil
}

// forget has the loop drop a sequence whose context has ended.
func (e *Engine) forget(q *sequence) {
	e.mu.Lock()
	e.cancelled = append(e.cancelled, q)
	e.mu.Unlock()
	e.rouse()
}

func (e *Engine) rouse() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Drain refuses new requests from now on and waits until those that are there
// have ended, or ctx has. What is left then runs on until Close.
func (e *Engine) Drain(ctx context.Context) error {
	e.mu.Lock()
	e.draining = true
	e.mu.Unlock()
	e.rouse()
	select {
	case <-e.drained:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("engine: drain: %w: %w", ErrCancelled, context.Cause(ctx))
	case <-e.done:
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.fault // nil if the engine was closed: nothing is left
}

// Metrics returns what the engine does and has done.
func (e *Engine) Metrics() Metrics {
	m := e.meter.read(time.Now())
	e.mu.Lock()
	defer e.mu.Unlock()
	m.Queued = e.queued
	return m
}

// Close ends all requests as cancelled and waits for the loop to stop.
func (e *Engine) Close() {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.rouse()
	<-e.done
}
