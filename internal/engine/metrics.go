package engine

import (
	"slices"
	"sync"
	"time"

	"github.com/godwit-llm/godwit/internal/kv"
)

// Metrics is what an engine does and has done, as plain values. Counters only
// grow.
type Metrics struct {
	Queued  int // requests that wait
	Running int // requests that share the steps

	Pages, FreePages         int // of the cache; FreePages hold nothing
	CachedPages              int // hold what nobody uses now, and go when room is needed
	PinnedPages              int
	Slots, FreeSlots         int // places for running sequences
	Snapshots, HostSnapshots int // of recurrent states, on the device and in host memory

	Submitted uint64 // requests, without those that were refused
	Refused   uint64 // because the queue was full
	Finished  uint64 // ended by a stop or by length
	Cancelled uint64
	Failed    uint64

	Steps          uint64
	Ahead          uint64 // of them, those that were queued while another one was under way
	Preempted      uint64 // times that a sequence had to give way
	PromptTokens   uint64 // computed in prompt passes
	ReusedTokens   uint64 // of prompts, that were computed before
	OutputTokens   uint64 // sampled
	Drafts         uint64 // that were verified
	DraftedTokens  uint64 // ids of them
	AcceptedTokens uint64 // of those; they are among the output

	PromptRate float64 // tokens/s over the last ten seconds
	OutputRate float64

	Lookups kv.Lookups

	StepTime   Histogram // of one step
	QueueTime  Histogram // from submission to admission
	FirstToken Histogram // from submission to the first token
	InterToken Histogram // from one token of a request to its next
}

// Histogram counts durations, in seconds.
type Histogram struct {
	Bounds []float64 // upper bounds of all buckets but the last, ascending
	Counts []uint64  // [len(Bounds)+1]
	Sum    float64
}

// newHistogram has two buckets a doubling, from least on.
func newHistogram(least float64, buckets int) Histogram {
	h := Histogram{Bounds: make([]float64, buckets), Counts: make([]uint64, buckets+1)}
	for i := range h.Bounds {
		h.Bounds[i] = least * float64(int(1)<<(i/2))
		if i%2 == 1 {
			h.Bounds[i] *= 1.5
		}
	}
	return h
}

func (h *Histogram) observe(d time.Duration) {
	v := d.Seconds()
	i, _ := slices.BinarySearch(h.Bounds, v)
	h.Counts[i]++
	h.Sum += v
}

func (h *Histogram) clone() Histogram {
	return Histogram{Bounds: h.Bounds, Counts: slices.Clone(h.Counts), Sum: h.Sum}
}

// meter gathers the metrics. The loop writes it once or twice a step; anybody
// may read it.
type meter struct {
	mu     sync.Mutex
	m      Metrics
	prompt rate
	output rate
}

func newMeter() *meter {
	return &meter{m: Metrics{
		StepTime: newHistogram(100e-6, 30), QueueTime: newHistogram(1e-3, 34),
		FirstToken: newHistogram(1e-3, 34), InterToken: newHistogram(250e-6, 30),
	}}
}

// add changes the metrics.
func (m *meter) add(change func(*Metrics)) {
	m.mu.Lock()
	change(&m.m)
	m.mu.Unlock()
}

// step counts a step that has ended. Ids of the output that are computed once
// more, because their pages had to go, count as prompt.
func (m *meter) step(f *flight, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.m.Steps++
	if f.ahead {
		m.m.Ahead++
	}
	m.m.Preempted += uint64(f.preempted)
	m.m.StepTime.observe(now.Sub(f.queued))
	m.m.PromptTokens += uint64(f.prompt)
	m.prompt.add(now, f.prompt)
}

// tokens counts the new tokens of a step's rows, whose sequences do not know of
// them yet.
func (m *meter) tokens(rows []outputRow, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for i, row := range rows {
		q := row.owner
		if !q.r.generates() || q.ended {
			continue
		}
		n++
		if q.first.IsZero() {
			m.m.FirstToken.observe(now.Sub(q.queued))
		} else if i > 0 && rows[i-1].owner == q {
			m.m.InterToken.observe(0)
		} else {
			m.m.InterToken.observe(now.Sub(q.lastToken))
		}
	}
	m.m.OutputTokens += uint64(n)
	m.output.add(now, n)
}

// ended counts a request that has ended.
func (m *meter) ended(q *sequence) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch q.reason {
	case Cancelled:
		m.m.Cancelled++
	case Failed:
		m.m.Failed++
	default:
		m.m.Finished++
	}
}

// read returns a copy as of now.
func (m *meter) read(now time.Time) Metrics {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.m
	for _, h := range []*Histogram{&out.StepTime, &out.QueueTime, &out.FirstToken, &out.InterToken} {
		*h = h.clone()
	}
	out.PromptRate, out.OutputRate = m.prompt.at(now), m.output.at(now)
	return out
}

// rate counts events by second over the last ten.
type rate struct {
	counts [window + 1]uint64
	second int64 // Unix time of the newest count
}

const window = 10 // seconds

func (r *rate) add(now time.Time, n int) {
	r.move(now.Unix())
	r.counts[r.second%int64(len(r.counts))] += uint64(n)
}

// move forgets what is older than the window.
func (r *rate) move(second int64) {
	if second-r.second > window {
		clear(r.counts[:])
		r.second = second
	}
	for r.second < second {
		r.second++
		r.counts[r.second%int64(len(r.counts))] = 0
	}
}

// at returns events a second, over the whole seconds of the window and the
// part of the one that has begun.
func (r *rate) at(now time.Time) float64 {
	r.move(now.Unix())
	sum := uint64(0)
	for _, n := range r.counts {
		sum += n
	}
	return float64(sum) / (window + float64(now.Nanosecond())/1e9)
}
