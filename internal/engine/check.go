package engine

import (
	"errors"
	"fmt"
)

// ErrRequest is wrapped by the errors about requests that can never run.
var ErrRequest = errors.New("invalid request")

// ErrTooLong is wrapped, beside ErrRequest, by the refusal of a prompt that
// does not fit the context.
var ErrTooLong = errors.New("the prompt is longer than the context")

func refuse(format string, args ...any) error {
	return fmt.Errorf("engine: %w: "+format, append([]any{ErrRequest}, args...)...)
}

// tooLong adds ErrTooLong to a refusal that says it in numbers.
type tooLong struct{ error }

func (e tooLong) Unwrap() []error { return []error{ErrTooLong, e.error} }

// check refuses what can never run, and cuts MaxTokens to the context.
func (e *Engine) check(r *Request) error {
	if len(r.IDs) == 0 {
		return refuse("the prompt is empty, want at least one token")
	}
	room := e.Context - len(r.IDs)
	if r.generates() && r.MaxTokens < 1 {
		return refuse("the maximum of new tokens is %d, want at least 1", r.MaxTokens)
	}
	if !r.generates() {
		room++ // nothing comes after the prompt
		r.MaxTokens = 0
	}
	if room < 1 {
		return tooLong{refuse("the prompt has %d tokens, want less than the context of %d", len(r.IDs), e.Context)}
	}
	r.MaxTokens = min(r.MaxTokens, room)
	if n, l := len(r.IDs)+r.MaxTokens, e.Model.Limits; n > l.Pages*l.PageSize {
		return refuse("%d tokens need room in the cache, which has %d", n, l.Pages*l.PageSize)
	}
	return e.checkIDs(r)
}

func (e *Engine) checkIDs(r *Request) error {
	vocab := e.Model.Vocab
	for i, id := range r.IDs {
		if id < 0 || int(id) >= vocab {
			return refuse("token %d of the prompt is %d, want an id from 0 to %d", i, id, vocab-1)
		}
	}
	for id := range r.Sampling.Bias {
		if id < 0 || int(id) >= vocab {
			return refuse("logit bias for id %d, want an id from 0 to %d", id, vocab-1)
		}
	}
	for i, m := range r.Marks {
		if m < 1 || m > len(r.IDs) || i > 0 && m <= r.Marks[i-1] {
			return refuse("marks are %v, want ascending numbers from 1 to %d", r.Marks, len(r.IDs))
		}
	}
	return nil
}
