package godwit

import (
	"context"

	"github.com/godwit-llm/godwit/internal/engine"
	"github.com/godwit-llm/godwit/internal/kv"
)

// Metrics is what a model's engine does and has done since Open, as plain
// values. Counters only grow.
type Metrics struct {
	Queued  int // requests that wait
	Running int // requests that share the steps

	Pages, FreePages         int // of the key/value cache, of 16 tokens each; FreePages hold nothing
	CachedPages              int // hold what no request uses now, and go when room is needed
	PinnedPages              int
	Slots, FreeSlots         int // places for running requests
	Snapshots, HostSnapshots int // kept recurrent states, on the device and in host memory

	Submitted uint64 // requests, without those that were refused
	Refused   uint64 // because the queue was full
	Finished  uint64 // ended by a stop or by length
	Cancelled uint64
	Failed    uint64

	Steps        uint64
	Ahead        uint64 // of them, those that were queued while another one ran (Options.NoAhead)
	Preempted    uint64 // times that a request had to give way to others
	PromptTokens uint64 // computed in prompt passes
	ReusedTokens uint64 // of prompts, that were computed before
	OutputTokens uint64 // sampled

	Drafts         uint64 // guesses of what follows that were verified (Options.Speculation)
	DraftedTokens  uint64 // of them
	AcceptedTokens uint64 // of those, that the model chose; they are among OutputTokens

	PromptRate float64 // tokens/s over the last ten seconds
	OutputRate float64

	Prefixes PrefixLookups

	StepTime   Histogram // of one step
	QueueTime  Histogram // from Start to admission
	FirstToken Histogram // from Start to the first token
	InterToken Histogram // from one token of a request to its next
}

// PrefixLookups counts what came of looking for the beginnings of prompts among
// what was computed before. Each lookup has one reason.
type PrefixLookups struct {
	Hit        uint64 // the request started behind all that it shares with an earlier one
	Partial    uint64 // behind a part of it: there was no snapshot of the recurrent state at its end
	NoSnapshot uint64 // at its beginning: there was no snapshot within what it shares
	Evicted    uint64 // what would have helped more had been evicted
	TooShort   uint64 // the prompt is too short to be looked up
	Miss       uint64 // nothing with that beginning was computed before
	Tokens     uint64 // that were looked up
}

// Histogram counts durations, in seconds.
type Histogram struct {
	Bounds []float64 // upper bounds of all buckets but the last, ascending
	Counts []uint64  // [len(Bounds)+1]
	Sum    float64
}

// Count returns the number of durations.
func (h Histogram) Count() uint64 {
	n := uint64(0)
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// Quantile estimates the duration, in seconds, that a share q of all does not
// exceed, as if they were spread evenly within their bucket. It is 0 where
// nothing was counted, and the largest bound where more is not known.
func (h Histogram) Quantile(q float64) float64 {
	rank, below, low := q*float64(h.Count()), 0.0, 0.0
	if rank == 0 {
		return 0
	}
	for i, bound := range h.Bounds {
		n := float64(h.Counts[i])
		if below+n >= rank {
			return low + (bound-low)*(rank-below)/n
		}
		below, low = below+n, bound
	}
	return low
}

// Metrics returns the engine's metrics as of now.
func (m *Model) Metrics() Metrics {
	e := m.engine.Metrics()
	return Metrics{
		Queued: e.Queued, Running: e.Running,
		Pages: e.Pages, FreePages: e.FreePages, CachedPages: e.CachedPages, PinnedPages: e.PinnedPages,
		Slots: e.Slots, FreeSlots: e.FreeSlots, Snapshots: e.Snapshots, HostSnapshots: e.HostSnapshots,
		Submitted: e.Submitted, Refused: e.Refused, Finished: e.Finished, Cancelled: e.Cancelled, Failed: e.Failed,
		Steps: e.Steps, Ahead: e.Ahead, Preempted: e.Preempted,
		PromptTokens: e.PromptTokens, ReusedTokens: e.ReusedTokens, OutputTokens: e.OutputTokens,
		Drafts: e.Drafts, DraftedTokens: e.DraftedTokens, AcceptedTokens: e.AcceptedTokens,
		Prefixes:   prefixLookups(e.Lookups),
		PromptRate: e.PromptRate, OutputRate: e.OutputRate,
		StepTime: histogram(e.StepTime), QueueTime: histogram(e.QueueTime),
		FirstToken: histogram(e.FirstToken), InterToken: histogram(e.InterToken),
	}
}

func prefixLookups(l kv.Lookups) PrefixLookups {
	r := l.Reasons
	return PrefixLookups{
		Hit: r[kv.Hit], Partial: r[kv.Partial], NoSnapshot: r[kv.NoSnapshot],
		Evicted: r[kv.Evicted], TooShort: r[kv.TooShort], Miss: r[kv.Miss], Tokens: l.Looked,
	}
}

func histogram(h engine.Histogram) Histogram { return Histogram(h) }

// Drain refuses new requests from now on, with ErrClosed, and waits until
// those that wait or run have ended, or ctx has. It does not close the model.
func (m *Model) Drain(ctx context.Context) error {
	if err := m.engine.Drain(ctx); err != nil {
		return &Error{Op: "drain", Class: classOf(err), Err: err}
	}
	return nil
}
