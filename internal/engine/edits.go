package engine

import (
	"maps"
	"slices"

	"github.com/godwit-llm/godwit/internal/ops"
)

// edits holds a request's penalties and bias as one edit a token. A new token
// changes one of them, so that a long output costs no more than a short one.
type edits struct {
	sampling  Sampling
	penalised bool // new tokens change something
	list      []ops.Edit
	at        map[int32]int // place of a token's edit in list
	seen      map[int32]int // occurrences in the output
}

// newEdits returns nil where there is nothing to edit.
func newEdits(s Sampling, prompt []int32) *edits {
	if s.RepetitionPenalty == 0 {
		s.RepetitionPenalty = 1
	}
	e := &edits{sampling: s, at: map[int32]int{}, seen: map[int32]int{}}
	e.penalised = s.RepetitionPenalty != 1 || s.PresencePenalty != 0 || s.FrequencyPenalty != 0
	if !e.penalised && len(s.Bias) == 0 {
		return nil
	}
	if s.RepetitionPenalty != 1 {
		for _, id := range prompt {
			e.set(ops.Edit{ID: id, Scale: s.RepetitionPenalty, Offset: s.Bias[id]})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.Bias)) {
		if _, there := e.at[id]; !there {
			e.set(ops.Edit{ID: id, Scale: 1, Offset: s.Bias[id]})
		}
	}
	return e
}

// set puts an edit in the place of the token's former one.
func (e *edits) set(edit ops.Edit) {
	i, there := e.at[edit.ID]
	if !there {
		i = len(e.list)
		e.at[edit.ID] = i
		e.list = append(e.list, edit)
	}
	e.list[i] = edit
}

// add takes a new token of the output into account.
func (e *edits) add(id int32) {
	if e == nil || !e.penalised {
		return
	}
	e.seen[id]++
	e.set(e.penalty(id, e.seen[id]))
}

// penalty returns the edit for a token that the output has so often.
func (e *edits) penalty(id int32, times int) ops.Edit {
	s := &e.sampling
	offset := -s.PresencePenalty - s.FrequencyPenalty*float32(times) + s.Bias[id]
	return ops.Edit{ID: id, Scale: s.RepetitionPenalty, Offset: offset}
}

// after returns the edits that will hold for the next token if the output goes
// on with these.
func (e *edits) after(ids []int32) []ops.Edit {
	if e == nil || !e.penalised || len(ids) == 0 {
		return e.current()
	}
	list := slices.Clone(e.list)
	times := map[int32]int{}
	for _, id := range ids {
		times[id]++
		edit := e.penalty(id, e.seen[id]+times[id])
		i, there := e.at[id]
		if !there {
			i = slices.IndexFunc(list, func(other ops.Edit) bool { return other.ID == id })
		}
		if i >= 0 {
			list[i] = edit
		} else {
			list = append(list, edit)
		}
	}
	return list
}

// current returns the edits that hold for the next token.
func (e *edits) current() []ops.Edit {
	if e == nil {
		return nil
	}
	return e.list
}
