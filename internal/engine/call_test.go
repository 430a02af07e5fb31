package engine

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/godwit-llm/godwit/internal/ops"
)

// TestDo runs functions between requests, never beside one, and hands their
// errors back.
func TestDo(t *testing.T) {
	e := start(t, "llama-base", roomy, 64)
	broken := errors.New("broken")
	if err := e.Do(t.Context(), func(ops.Backend) error { return broken }); err != broken {
		t.Errorf("got %v, want %v", err, broken)
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			s, err := e.Submit(t.Context(), Request{IDs: []int32{1, 2, 3}, MaxTokens: 5})
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := collect(t, s); len(got) != 5 || err != nil {
				t.Errorf("got %d tokens (%v), want 5", len(got), err)
			}
		})
		all.Go(func() {
			err := e.Do(t.Context(), func(b ops.Backend) error {
				if b != e.Backend || len(e.live) != 0 {
					return errors.New("requests are running")
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// TestDoEnds: a call does not outlive its context or the engine.
func TestDoEnds(t *testing.T) {
	e := start(t, "llama-base", roomy, 64)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ran := false
	never := func(ops.Backend) error { ran = true; return nil }
	if err := e.Do(ctx, never); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
	begun, release := make(chan bool), make(chan bool)
	go e.Do(t.Context(), func(ops.Backend) error { close(begun); <-release; return nil })
	<-begun
	waiting := make(chan error)
	go func() { waiting <- e.Do(t.Context(), never) }()
	until(e, func() bool { return len(e.calls) == 1 })
	closed := make(chan bool)
	go func() { e.Close(); close(closed) }()
	until(e, func() bool { return e.closed })
	close(release)
	if err := <-waiting; !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want %v", err, ErrClosed)
	}
	<-closed
	if err := e.Do(t.Context(), never); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want %v", err, ErrClosed)
	}
	if ran {
		t.Error("a call ran that had ended")
	}
}

// until waits for a state of the engine.
func until(e *Engine, reached func() bool) {
	for {
		e.mu.Lock()
		there := reached()
		e.mu.Unlock()
		if there {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
