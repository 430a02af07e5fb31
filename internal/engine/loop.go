package engine

import (
	"fmt"
	"time"

	"github.com/godwit-llm/godwit/internal/kv"
	"github.com/godwit-llm/godwit/internal/scheduler"
)

func (e *Engine) loop() {
	for {
		if e.stopping() {
			return
		}
		e.receive()
		e.handOut()
		if err := e.turn(); err != nil {
			e.fail(err)
			continue
		}
		e.handOut()
		if len(e.live) > 0 {
			continue
		}
		if err := e.land(); err != nil { // its sequences had ended when it was queued
			e.fail(err)
		} else if !e.answer() {
			e.rest()
		}
	}
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
	for _, q := range e.submitted {
		e.live[q] = true
	}
	for q := range e.live {
		q.end(reason, -1, err)
		e.meter.ended(q)
	}
	for _, c := range e.calls {
		c.done <- err
	}
	e.submitted, e.calls, e.queued = nil, nil, 0
	clear(e.live)
	e.out.flush()
	return true
}

func (e *Engine) fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fault = fmt.Errorf("engine: step failed: %w", err)
}

// receive takes what has come since the last step: requests, and the news that
// somebody gave one up.
func (e *Engine) receive() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, q := range e.submitted {
		e.live[q] = true
		e.schedule.Add(&q.Sequence)
	}
	for _, q := range e.cancelled {
		if !e.live[q] {
			continue
		}
		if q.admitted.IsZero() {
			e.queued--
		}
		q.giveUp()
		e.drop(q)
		e.pins.remove(q.r.Pin, q.pin)
	}
	for _, p := range e.pins.gone {
		e.schedule.Unpin(p)
	}
	e.pins.gone = nil
	clear(e.submitted)
	clear(e.cancelled)
	e.submitted, e.cancelled = e.submitted[:0], e.cancelled[:0]
}

// drop takes a sequence that has ended out of the schedule.
func (e *Engine) drop(q *sequence) {
	delete(e.live, q)
	e.schedule.Remove(&q.Sequence)
	e.meter.ended(q)
}

// admitted notes which sequences run now.
func (e *Engine) admitted(t *scheduler.Step) {
	if len(t.Admitted) == 0 {
		return
	}
	now := time.Now()
	for _, s := range t.Admitted {
		q := s.Owner.(*sequence)
		q.admitted = now
		e.meter.add(func(m *Metrics) { m.QueueTime.observe(now.Sub(q.queued)) })
	}
	e.mu.Lock()
	e.queued -= len(t.Admitted)
	e.mu.Unlock()
}

// rest waits until something changes.
func (e *Engine) rest() {
	e.mu.Lock()
	if e.draining && len(e.submitted) == 0 {
		select {
		case <-e.drained:
		default:
			close(e.drained)
		}
	}
	e.mu.Unlock()
	<-e.wake
	e.drafts.last = time.Time{}
}

// handOut puts the state of the engine into its metrics, and gives the readers of
// streams what there is for them.
func (e *Engine) handOut() {
	e.count()
	e.out.flush()
}

// count puts the state of the engine into its metrics.
func (e *Engine) count() {
	_, running := e.schedule.Len()
	u, looked := e.schedule.Usage(), e.schedule.Lookups()
	e.meter.add(func(m *Metrics) {
		m.Running = running
		m.Pages, m.FreePages, m.CachedPages, m.PinnedPages = u.Pages, u.FreePages, u.CachedPages, u.PinnedPages
		m.Slots, m.FreeSlots = u.Slots, u.FreeSlots
		m.Snapshots, m.HostSnapshots = u.Snapshots, u.HostSaved
		m.Lookups, m.ReusedTokens = looked, looked.Reused+looked.Skipped
	})
}

// makeMoves has the device copy what the scheduler wants copied.
func (e *Engine) makeMoves(moves []kv.Move) {
	for _, m := range moves {
		switch m.Kind {
		case kv.CopyPage:
			e.Model.CopyPage(m.From, m.To)
		case kv.CopyState:
			e.Model.CopyState(m.From, m.To)
		case kv.SaveState:
			e.Model.SaveState(m.From, m.To)
		case kv.LoadState:
			e.Model.LoadState(m.From, m.To)
		}
	}
}
