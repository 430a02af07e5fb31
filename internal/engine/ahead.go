package engine

import (
	"slices"

	"github.com/godwit-llm/godwit/internal/draft"
	"github.com/godwit-llm/godwit/internal/ops"
)

// The device need not wait for the host between two steps. While it computes one,
// the next is planned and queued behind it, before the ids that the first chooses
// are known: they have places in their sequences already, and the batch says which
// row of the step before each comes from. Only the choice of the new step's tokens
// waits until those ids are here, since penalties and masks depend on them; the
// device computes the logits meanwhile.
//
// A sequence that turns out to have ended, by a stop id or because it was given
// up, has one more id in the step that was queued. What was computed for it counts
// as computed, for the id that it was computed for, and its result is dropped. A
// device makes steps and copies in order, so what the sequence held can be given
// away at once.
//
// One step runs ahead at most.

// ahead reports whether the next step can be planned and queued while the step
// that was queued last is under way. Hidden states are read from where the next
// step would write its own; how far a draft is right says which id comes next. A
// long step of prompts hides nothing worth it, and what comes meanwhile should not
// have to wait for two.
func (e *Engine) ahead() bool {
	f := e.flying
	if e.waited = false; f == nil || !e.Ahead || f.drafted || f.chosen < len(f.rows) || f.tokens > e.schedule.Budget {
		return false
	}
	e.waited = e.Speculate && slices.ContainsFunc(f.rows, e.hopes)
	return !e.waited
}

// hopes reports whether the id that comes out of a row is likely to be followed by
// some that a draft knows. It takes the id itself to verify them, so the next step
// waits for it.
func (e *Engine) hopes(row outputRow) bool {
	q := row.owner
	if q.ended || q.drafter == nil {
		return false
	}
	d := q.draft()
	if len(d.IDs) < 2 {
		return false
	}
	return e.hopeful(e.flying.sequences, draft.Draft{IDs: d.IDs[1:], Accepted: d.Accepted[1:]})
}

// promise keeps places for the ids that the step under way will choose. The last
// id of a sequence gets none: nothing is computed for it.
func (e *Engine) promise() {
	if e.flying == nil {
		return
	}
	for i, row := range e.flying.rows {
		q := row.owner
		if q.ended || !q.r.generates() || len(q.IDs)+1-q.prompt >= q.r.MaxTokens {
			continue
		}
		q.IDs = append(q.IDs, ops.Chosen(i))
	}
}

// fill puts the id that comes after a position into the place that was kept for
// it. It reports whether there was one.
func (q *sequence) fill(position int, id int32) bool {
	if position+1 == len(q.IDs) || q.IDs[position+1] >= 0 {
		return false
	}
	q.IDs[position+1] = id
	return true
}
