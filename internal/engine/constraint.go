package engine

import (
	"fmt"
	"slices"
)

// Constraint narrows the choice of a request's new tokens. The engine's loop
// is its only caller from the moment that the request is submitted.
type Constraint interface {
	// Mask sets the bits of the ids that may come next and clears all others:
	// a bit for each id that the model has logits for, 32 to a word.
	Mask(dst []uint32)
	// Accept takes the id that was chosen. The ids that end the generation are
	// not given to it.
	Accept(id int32) error
	// Done reports whether nothing can come next, which ends the generation.
	Done() bool
}

// allowed returns the mask of the ids that may come next, of a vocabulary of so
// many; nil if there is no constraint.
func (q *sequence) allowed(vocab int) []uint32 {
	if q.r.Constraint == nil {
		return nil
	}
	words := (vocab + 31) / 32
	q.mask = slices.Grow(q.mask[:0], words)[:words]
	q.r.Constraint.Mask(q.mask)
	return q.mask
}

// constrained gives the newest id to the constraint, which may end the
// sequence.
func (q *sequence) constrained(id int32) {
	if q.r.Constraint == nil {
		return
	}
	if err := q.r.Constraint.Accept(id); err != nil {
		q.end(Failed, -1, fmt.Errorf("engine: constraint after %d tokens: %w", len(q.IDs)-q.prompt, err))
	} else if q.r.Constraint.Done() {
		q.end(Stopped, -1, nil)
	}
}
