package engine

import (
	"context"
	"fmt"

	"github.com/godwit-llm/godwit/internal/ops"
)

// call is a function that waits for a time without requests.
type call struct {
	ctx  context.Context
	run  func(ops.Backend) error
	done chan error // has room for one
}

// Do runs f on the engine's goroutine, which alone may touch the backend, once
// no request runs; those that come meanwhile wait. It returns f's error. When
// ctx ends first, f runs to its end if it has begun, and never otherwise.
func (e *Engine) Do(ctx context.Context, f func(ops.Backend) error) error {
	c := &call{ctx: ctx, run: f, done: make(chan error, 1)}
	e.mu.Lock()
	switch {
	case e.fault != nil:
		e.mu.Unlock()
		return e.fault
	case e.closed:
		e.mu.Unlock()
		return ErrClosed
	}
	e.calls = append(e.calls, c)
	e.mu.Unlock()
	e.rouse()
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("engine: %w: %w", ErrCancelled, context.Cause(ctx))
	}
}

// answer runs the next call. It reports whether there was one.
func (e *Engine) answer() bool {
	e.mu.Lock()
	if len(e.calls) == 0 {
		e.mu.Unlock()
		return false
	}
	c := e.calls[0]
	e.calls = e.calls[1:]
	e.mu.Unlock()
	if err := c.ctx.Err(); err != nil {
		c.done <- err
	} else {
		c.done <- c.run(e.Backend)
	}
	return true
}
