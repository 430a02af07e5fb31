package engine

import (
	"slices"
	"time"

	"github.com/godwit-llm/godwit/internal/draft"
)

// drafts is what the loop needs to have drafts verified. Sampling is
// deterministic given logits, seed and the number of the draw, so a draft is
// verified by sampling each of its rows as if the ids before it had come one by
// one: it is right as far as the samples are its ids, and the first that is not
// is the next id in its place. Requests yield what they yield without drafts,
// whether they are greedy or sampled.
type drafts struct {
	policy     draft.Policy
	experience draft.Experience
	last       time.Time // when the step before ended; zero: the loop has rested since
	list       []draft.Draft
}

// draft has the next step verify what is worth it, unless it is planned before the
// ids are known that drafts would follow.
func (e *Engine) draft() {
	if !e.Speculate || e.flying != nil {
		return
	}
	d := &e.drafts
	decoding := e.schedule.Decoding()
	tokens, some := 0, false
	d.list = d.list[:0]
	for _, s := range decoding {
		tokens += s.Behind()
		next := s.Owner.(*sequence).draft()
		some = some || len(next.IDs) > 0
		d.list = append(d.list, next)
	}
	if !some {
		return
	}
	for i, n := range e.lengths(len(decoding), tokens, d.list) {
		decoding[i].Draft = d.list[i].IDs[:n]
	}
}

// draft returns what may follow, as far as it is of use: up to the length that
// was asked for, and up to an id that ends the generation.
func (q *sequence) draft() draft.Draft {
	if q.drafter == nil {
		return draft.Draft{}
	}
	left := q.r.MaxTokens - (len(q.IDs) - q.prompt)
	d := q.drafter.Draft(max(0, min(left-1, draft.Longest+1-q.Behind())))
	if stop := slices.IndexFunc(d.IDs, func(id int32) bool { return slices.Contains(q.r.Stop, id) }); stop >= 0 {
		d = d.Cut(stop)
	}
	return d
}

// verify takes out the rows that come behind a wrong id of a draft. It returns
// how many of the others lead on from the output.
func (e *Engine) verify(f *flight) (got int) {
	rows, n := f.rows, f.chosen
	f.rows = f.rows[:0]
	drafts, drafted, accepted := 0, 0, 0
	for i := 0; i < n; i++ {
		q, draft := rows[i].owner, rows[i].draft
		right := 0
		for right < len(draft) && e.results[i+right].ID == draft[right] {
			right++
		}
		for k := range right + 1 {
			e.results[len(f.rows)] = e.results[i+k]
			f.rows = append(f.rows, rows[i+k])
		}
		i += len(draft)
		if len(draft) > 0 {
			drafts, drafted, accepted = drafts+1, drafted+len(draft), accepted+right
			q.drafted, q.accepted = q.drafted+len(draft), q.accepted+right
		}
		got += right + 1
	}
	f.chosen = len(f.rows)
	f.rows = append(f.rows, rows[n:]...)
	if drafts > 0 {
		e.meter.add(func(m *Metrics) {
			m.Drafts += uint64(drafts)
			m.DraftedTokens += uint64(drafted)
			m.AcceptedTokens += uint64(accepted)
		})
	}
	return got
}

// measure tells the policy of a step that is not delayed by prompts, and of the
// new tokens that it brought.
func (e *Engine) measure(f *flight, got int, now time.Time) {
	d := &e.drafts
	since := d.last
	if d.last = now; since.IsZero() || !e.Speculate || !f.decodes {
		return
	}
	d.policy.Measured(draft.Step{
		Sequences: f.sequences, Tokens: f.tokens, Got: got, Waited: f.waited, Seconds: now.Sub(since).Seconds(),
	})
}
