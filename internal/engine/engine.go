// Package engine runs many requests on one model: it queues them, packs their
// tokens into steps, samples, and delivers ids. Requests arrive at any time,
// share steps and end independently.
//
// It sees ids only. Text, templates and files are its callers' business.
package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/godwit-llm/godwit/internal/kv"
	"github.com/godwit-llm/godwit/internal/model"
	"github.com/godwit-llm/godwit/internal/ops"
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
	model   *model.Model
	backend ops.Backend
	pool    *kv.Pool
	context int
	waiting int // most requests in the queue
	meter   *meter

	mu       sync.Mutex
	queue    []*sequence // submitted, not yet admitted
	calls    []*call     // for times without requests
	fault    error       // ended the engine
	closed   bool
	draining bool
	wake     chan struct{}
	drained  chan struct{} // closed when the last request of a draining engine has ended
	done     chan struct{}

	active  []*sequence // admitted, oldest first; the loop's own
	batch   ops.Batch
	packed  []*sequence // in the batch, in its order
	rows    []outputRow
	params  []ops.Sampling
	results []ops.Sampled
}

// outputRow says whose logits a row of the step holds.
type outputRow struct {
	owner    *sequence
	position int
}

// Loaded is a model that is ready to run, and the backend that it is on.
type Loaded struct {
	Model   *model.Model
	Backend ops.Backend
	Context int // most positions of one sequence
	Queue   int // most requests that may wait; 0 means 1024
}

// Start runs load on the engine's own goroutine and returns when it has ended.
// From then on nobody else may touch the backend: a GPU belongs to the thread
// that opened it. The engine closes the backend.
func Start(load func() (Loaded, error)) (*Engine, error) {
	e := &Engine{
		wake: make(chan struct{}, 1), drained: make(chan struct{}), done: make(chan struct{}), meter: newMeter(),
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
	l := loaded.Model.Limits
	e.model, e.backend, e.context = loaded.Model, loaded.Backend, loaded.Context
	e.pool = kv.New(l.Pages, l.PageSize, l.Sequences)
	e.results = make([]ops.Sampled, l.Outputs)
	if e.waiting = loaded.Queue; e.waiting == 0 {
		e.waiting = 1024
	}
}

// Submit queues a request. Its tokens come out of the stream.
func (e *Engine) Submit(ctx context.Context, r Request) (*Stream, error) {
	if err := e.check(&r); err != nil {
		return nil, err
	}
	q := newSequence(ctx, r)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.fault != nil:
		return nil, e.fault
	case e.closed:
		return nil, ErrClosed
	case e.draining:
		return nil, fmt.Errorf("engine: draining: %w", ErrClosed)
	case len(e.queue) >= e.waiting:
		e.meter.add(func(m *Metrics) { m.Refused++ })
		return nil, fmt.Errorf("engine: %w: %d requests wait, want fewer than %d", ErrQueueFull, len(e.queue), e.waiting)
	}
	e.queue = append(e.queue, q)
	e.meter.add(func(m *Metrics) { m.Submitted++ })
	context.AfterFunc(q.ctx, e.rouse)
	e.rouse()
	return q.stream, nil
}

// check refuses what can never run, and cuts MaxTokens to the context.
func (e *Engine) check(r *Request) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("engine: %w: "+format, append([]any{ErrRequest}, args...)...)
	}
	if len(r.IDs) == 0 {
		return refuse("the prompt is empty, want at least one token")
	}
	room := e.context - len(r.IDs)
	if r.Score {
		room++ // nothing comes after the prompt
		r.MaxTokens = 0
	} else if r.MaxTokens < 1 {
		return refuse("the maximum of new tokens is %d, want at least 1", r.MaxTokens)
	}
	if room < 1 {
		return refuse("the prompt has %d tokens, want less than the context of %d", len(r.IDs), e.context)
	}
	r.MaxTokens = min(r.MaxTokens, room)
	for i, id := range r.IDs {
		if id < 0 || int(id) >= e.model.Vocab {
			return refuse("token %d of the prompt is %d, want an id from 0 to %d", i, id, e.model.Vocab-1)
		}
	}
	for id := range r.Sampling.Bias {
		if id < 0 || int(id) >= e.model.Vocab {
			return refuse("logit bias for id %d, want an id from 0 to %d", id, e.model.Vocab-1)
		}
	}
	if n := len(r.IDs) + r.MaxTokens; !e.pool.Fits(n) {
		return refuse("%d tokens need room in the cache, which has %d", n, e.model.Limits.Pages*e.model.Limits.PageSize)
	}
	return nil
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
	if e.fault != nil {
		return e.fault
	}
	return nil // closed: nothing is left
}

// Metrics returns what the engine does and has done.
func (e *Engine) Metrics() Metrics {
	m := e.meter.read(time.Now())
	e.mu.Lock()
	m.Queued = len(e.queue)
	e.mu.Unlock()
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

func (e *Engine) loop() {
	for {
		if e.stopping() {
			return
		}
		e.admit()
		e.active = e.dropCancelled(e.active, e.pool)
		e.count()
		if len(e.active) == 0 {
			if !e.answer() {
				e.rest()
			}
			continue
		}
		e.pack()
		if err := e.step(); err != nil {
			e.fail(err)
		}
	}
}

// rest waits until something changes.
func (e *Engine) rest() {
	e.mu.Lock()
	if idle := len(e.queue) == 0; idle && e.draining {
		select {
		case <-e.drained:
		default:
			close(e.drained)
		}
	}
	e.mu.Unlock()
	<-e.wake
}

// count puts the state of the engine into its metrics.
func (e *Engine) count() {
	pages, slots := e.pool.Free()
	e.meter.add(func(m *Metrics) {
		m.Running = len(e.active)
		m.Pages, m.Slots, m.FreePages, m.FreeSlots = e.model.Limits.Pages, e.model.Limits.Sequences, pages, slots
	})
}

// stopping ends everything once the engine is closed or at fault.
func (e *Engine) stopping() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed && e.fault == nil {
		return false
	}
	reason, err := Failed, e.fault
	if err == nil {
		reason, err = Cancelled, fmt.Errorf("engine: %w: %w", ErrCancelled, ErrClosed)
	}
	for _, q := range append(e.active, e.queue...) {
		q.end(reason, -1, err)
		e.meter.ended(q)
	}
	for _, c := range e.calls {
		c.done <- err
	}
	e.active, e.queue, e.calls = nil, nil, nil
	return true
}

func (e *Engine) fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fault = fmt.Errorf("engine: step failed: %w", err)
}

// admit moves requests from the queue into the running set, in the order of
// their arrival, as long as there are pages and a slot for all the positions
// that they may come to need.
func (e *Engine) admit() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queue = e.dropCancelled(e.queue, nil)
	for len(e.queue) > 0 {
		q := e.queue[0]
		held, ok := e.pool.Take(q.positions())
		if !ok {
			return
		}
		q.held, q.admitted = held, time.Now()
		e.meter.add(func(m *Metrics) { m.QueueTime.observe(q.admitted.Sub(q.queued)) })
		e.active = append(e.active, q)
		e.queue = e.queue[1:]
	}
}

// dropCancelled ends the sequences whose context is done.
func (e *Engine) dropCancelled(list []*sequence, pool *kv.Pool) []*sequence {
	kept := list[:0]
	for _, q := range list {
		if q.ctx.Err() == nil {
			kept = append(kept, q)
			continue
		}
		if pool != nil {
			pool.Give(q.held)
		}
		q.cancelled()
		e.meter.ended(q)
	}
	clear(list[len(kept):])
	return kept
}

// pack builds the next step: a token for every sequence that decodes, then
// pieces of prompts in the order of arrival, up to the limits of a step.
func (e *Engine) pack() {
	b := &e.batch
	b.Tokens, b.Positions, b.Slots = b.Tokens[:0], b.Positions[:0], b.Slots[:0]
	b.Outputs, b.Start = b.Outputs[:0], append(b.Start[:0], 0)
	e.rows, e.params, e.packed = e.rows[:0], e.params[:0], e.packed[:0]
	for _, prompts := range []bool{false, true} {
		for _, q := range e.active {
			if q.decoding() != prompts {
				e.add(q)
			}
		}
	}
	e.packPages()
}

// packPages writes the page table, as wide as the longest sequence needs.
func (e *Engine) packPages() {
	b := &e.batch
	b.Pages, b.MaxPages = b.Pages[:0], 1
	for _, q := range e.packed {
		b.MaxPages = max(b.MaxPages, e.pool.Need(q.fed))
	}
	for _, q := range e.packed {
		have := q.held.Pages[:min(b.MaxPages, len(q.held.Pages))]
		b.Pages = append(b.Pages, have...)
		for range b.MaxPages - len(have) {
			b.Pages = append(b.Pages, -1)
		}
	}
}

// add appends as many of q's next tokens as the step still has room for.
func (e *Engine) add(q *sequence) {
	l, b := e.model.Limits, &e.batch
	n := min(len(q.ids)-q.fed, l.Tokens-len(b.Tokens))
	switch room := l.Outputs - len(b.Outputs); {
	case q.Score:
		n = min(n, room)
	case room == 0:
		n = min(n, len(q.ids)-q.fed-1) // the row that is sampled has to wait
	}
	if n <= 0 {
		return
	}
	for i := range n {
		p := q.fed + i
		if q.Score || p == len(q.ids)-1 {
			b.Outputs = append(b.Outputs, int32(len(b.Tokens)))
			e.rows = append(e.rows, outputRow{q, p})
			e.params = append(e.params, q.sampling(p))
		}
		b.Tokens = append(b.Tokens, q.ids[p])
		b.Positions = append(b.Positions, int32(p))
	}
	q.fed += n
	b.Start = append(b.Start, int32(len(b.Tokens)))
	b.Slots = append(b.Slots, q.held.Slot)
	e.packed = append(e.packed, q)
}

// step runs the packed batch and hands out the sampled tokens.
func (e *Engine) step() error {
	start := time.Now()
	logits, err := e.model.Forward(&e.batch)
	if err != nil {
		return err
	}
	results := e.results[:len(e.params)]
	if err := e.backend.Sample(results, logits, e.params); err != nil {
		return err
	}
	now := time.Now()
	prompt := 0
	for i, q := range e.packed {
		prompt += q.promptPart(int(e.batch.Start[i+1] - e.batch.Start[i]))
	}
	e.meter.step(now.Sub(start), prompt, now)
	for i, row := range e.rows {
		q := row.owner
		if q.ended {
			continue
		}
		if !q.Score {
			e.meter.token(q, now)
		}
		if results[i].Invalid {
			q.end(Failed, -1, fmt.Errorf("engine: %w after %d tokens", ErrLogits, row.position+1))
		} else {
			q.accept(row.position, results[i], now)
		}
		if q.ended {
			e.release(q)
			e.meter.ended(q)
		}
	}
	return nil
}

// release takes a sequence that has ended out of the running set.
func (e *Engine) release(q *sequence) {
	for i, other := range e.active {
		if other == q {
			e.pool.Give(q.held)
			e.active = append(e.active[:i], e.active[i+1:]...)
			return
		}
	}
}
