package hub

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	attempts      = 6                // in a row without a byte of progress
	firstAttempts = 3                // at a server that has not answered yet
	longest       = 10 * time.Minute // that a server may ask us to wait
)

// retry calls attempt until it succeeds, fails for good, or fails so often in a
// row. An attempt that got something counts as the first again. What names the
// work in messages.
func (s *session) retry(ctx context.Context, what string, limit int, attempt func() (progress bool, err error)) error {
	failures := 0
	for {
		progress, err := attempt()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if progress {
			failures = 0
		}
		if failures++; failures >= limit || !temporary(err) {
			return err
		}
		wait, asked := s.backoff(failures, err)
		if wait > longest {
			return fmt.Errorf("%w, to be tried again in %v", err, wait)
		}
		if asked || failures == 2 {
			s.notice("%s: %v; trying again in %v", what, err, wait.Round(100*time.Millisecond))
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// backoff doubles from try to try, spread a little so that many clients do not
// come back at once, unless the server says when.
func (s *session) backoff(n int, err error) (wait time.Duration, asked bool) {
	var status *statusError
	if errors.As(err, &status) && status.wait > 0 {
		return status.wait, true
	}
	first := s.pause
	if first == 0 {
		first = time.Second
	}
	wait = min(first<<(n-1), 30*time.Second)
	return wait - time.Duration(rand.Float64()*0.3*float64(wait)), false
}
