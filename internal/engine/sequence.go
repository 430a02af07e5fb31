package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/godwit-llm/godwit/internal/draft"
	"github.com/godwit-llm/godwit/internal/ops"
	"github.com/godwit-llm/godwit/internal/scheduler"
)

// sequence is a request on its way through the engine.
type sequence struct {
	scheduler.Sequence // ids of prompt and output
	r                  Request
	ctx                context.Context
	stream             *Stream
	out                *outbox
	unwatch            func() bool // stops looking at ctx

	prompt    int
	edits     *edits
	drafter   draft.Drafter // nil: none
	mask      []uint32      // with r.Constraint, of the ids that may come next
	pin       *pin          // with r.Pin
	sums      []float64     // with mean pooling, of the hidden states so far
	vector    []float32
	queued    time.Time
	admitted  time.Time
	first     time.Time
	decoded   int
	drafted   int // ids of drafts that were verified
	accepted  int // of them
	lastToken time.Time
	ended     bool
	reason    Reason
}

func newSequence(ctx context.Context, r Request, out *outbox) *sequence {
	ctx, cancel := context.WithCancel(ctx)
	q := &sequence{
		r: r, ctx: ctx, out: out, prompt: len(r.IDs), queued: time.Now(),
		edits:  newEdits(r.Sampling, r.IDs),
		stream: &Stream{signal: make(chan struct{}, 1), cancel: cancel},
	}
	q.Sequence = scheduler.Sequence{
		IDs: slices.Clone(r.IDs), Want: r.want(), Priority: r.Priority, Marks: slices.Clone(r.Marks), Owner: q,
	}
	return q
}

func (r *Request) want() scheduler.Want {
	switch {
	case r.Score:
		return scheduler.Logits
	case r.Pooling == MeanPooling:
		return scheduler.Hidden
	case r.Pooling == LastPooling:
		return scheduler.LastHidden
	case r.Pin != "":
		return scheduler.Nothing
	}
	return scheduler.Next
}

// sampling returns how the row at a position is to be sampled, where some of the
// ids before it are a draft's.
func (q *sequence) sampling(position int, drafted []int32) ops.Sampling {
	if q.r.Score {
		s := ops.Sampling{Score: true, Top: q.r.Top}
		if position+1 < len(q.IDs) {
			s.Target = q.IDs[position+1]
		}
		return s
	}
	s := &q.r.Sampling
	return ops.Sampling{
		Temperature: s.Temperature, TopK: s.TopK, TopP: s.TopP, MinP: s.MinP,
		Edits: q.edits.after(drafted), Seed: s.Seed, Step: uint64(len(q.IDs) + len(drafted) - q.prompt), Top: q.r.Top,
	}
}

// accept takes a sampled row at a position, which may end the sequence.
func (q *sequence) accept(position int, r ops.Sampled, now time.Time) {
	t := Token{ID: r.ID, LogProb: r.LogProb, TopIDs: r.TopIDs, TopLogs: r.TopLogs, Time: now}
	if q.r.Score {
		q.out.token(q.stream, t)
		q.lastOf(position, now)
		return
	}
	if q.first.IsZero() {
		q.first = now
	} else {
		q.decoded++
	}
	q.lastToken = now
	kept := q.fill(position, r.ID)
	if slices.Contains(q.r.Stop, r.ID) {
		q.end(Stopped, r.ID, nil)
		return
	}
	if !kept {
		q.IDs = append(q.IDs, r.ID)
	}
	q.edits.add(r.ID)
	if q.drafter != nil {
		q.drafter.Add(r.ID)
	}
	q.out.token(q.stream, t)
	if q.constrained(r.ID); q.ended {
		return
	}
	if len(q.IDs)-q.prompt >= q.r.MaxTokens {
		q.end(Length, -1, nil)
	}
}

// lastOf ends the sequence if nothing comes after the position.
func (q *sequence) lastOf(position int, now time.Time) {
	if position+1 == len(q.IDs) {
		q.first, q.lastToken = now, now
		q.end(Length, -1, nil)
	}
}

// pool takes the hidden state at a position.
func (q *sequence) pool(position int, state []float32, now time.Time) {
	if q.r.Pooling == LastPooling {
		q.vector = slices.Clone(state)
		q.lastOf(position, now)
		return
	}
	if q.sums == nil {
		q.sums = make([]float64, len(state))
	}
	for i, v := range state {
		q.sums[i] += float64(v)
	}
	if position+1 == len(q.IDs) {
		q.vector = make([]float32, len(state))
		for i, sum := range q.sums {
			q.vector[i] = float32(sum / float64(len(q.IDs)))
		}
	}
	q.lastOf(position, now)
}

// giveUp ends a sequence whose context is done.
func (q *sequence) giveUp() {
	q.end(Cancelled, -1, fmt.Errorf("engine: %w: %w", ErrCancelled, context.Cause(q.ctx)))
}

func (q *sequence) end(reason Reason, stop int32, err error) {
	q.ended, q.reason = true, reason
	q.unwatch()
	o := Outcome{
		Reason: reason, StopID: stop, DecodedTokens: q.decoded,
		DraftedTokens: q.drafted, AcceptedTokens: q.accepted,
		ReusedTokens: q.Reused, Preemptions: q.Preemptions, Vector: q.vector,
	}
	if !q.admitted.IsZero() {
		o.Queued = q.admitted.Sub(q.queued)
	}
	if !q.first.IsZero() {
		o.PromptTime = q.first.Sub(q.admitted)
		o.DecodeTime = q.lastToken.Sub(q.first)
	}
	q.out.end(q.stream, o, err)
}
