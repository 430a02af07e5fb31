// Package scheduler decides, step by step, which tokens of which requests a
// model computes: who is admitted, what a step holds, who has to give way.
//
// It sees ids and counts. It holds no tensors, runs nothing, takes no locks and
// never looks at a clock: the same calls lead to the same decisions.
//
// The rules. Requests of higher priority go first; among equals, those that
// came first. In each step every request that decodes gets its token, so that
// none stands still; prompts share what is left of the step's budget. A prompt
// takes at most half of what is left while prompts of its priority wait behind
// it, so that a long one does not keep short ones waiting; what they leave goes
// round again from the front. Drafts of what follows are verified in the same
// step, as far as nobody else needs the room. When pages run out, the request
// that came last among those of the lowest priority gives way: its pages can be
// found by their content until they are needed, and what is gone is computed
// again. A request that cannot be admitted otherwise displaces requests of lower
// priority. Low priorities can starve: priority is strict.
package scheduler

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/godwit-llm/godwit/internal/kv"
)

// Config says how much there is to share.
type Config struct {
	kv.Config
	Tokens  int // most of one step
	Budget  int // of a step in which requests decode; 0 means Tokens
	Outputs int // most rows of logits of one step
	Spacing int // fewest ids between two snapshots in the middle of a prompt; 0 means 256
}

// Want says which results of a sequence are wanted.
type Want uint8

// What can be wanted.
const (
	Next       Want = iota // logits of the last id, again and again as ids are added
	Logits                 // of all ids
	LastHidden             // the hidden state of the last id
	Hidden                 // the hidden states of all ids
	Nothing                // the ids shall be computed and pinned
)

// Sequence is a request as the scheduler sees it. The last of its ids may be one
// that is on its way: below 0 while Next decides, known when Computed is called.
type Sequence struct {
	IDs      []int32
	Want     Want
	Priority int     // the higher goes first
	Marks    []int   // numbers of ids, ascending, after which the state is likely to be wanted again
	Owner    any     // the caller's
	First    int     // with Logits and Hidden: the first position whose result no step has given yet
	Draft    []int32 // what may follow IDs, for the next step to verify as far as there is room

	Fed         int // ids that are computed once the step is
	Reused      int // of them, ids that it started behind when it was admitted first
	Preemptions int

	prompt  int // ids that it came with
	arrival uint64
	state   state
	held    kv.Sequence
	cuts    []int // where prompt passes end, to save the state; ascending
	spacing int
	drafted []int32 // what the step that was decided last verifies
	base    int     // Fed before that step, if it has any
	again   int     // ids behind Fed that are computed again, behind a state that was put back
}

type state uint8

const (
	waiting state = iota
	running
	gone
)

// Wants reports whether the result at a position is wanted.
func (q *Sequence) Wants(position int) bool {
	switch q.Want {
	case Next, LastHidden:
		return position == len(q.IDs)-1
	case Logits, Hidden:
		return position >= q.First
	}
	return false
}

// Running reports whether the sequence has been admitted.
func (q *Sequence) Running() bool { return q.state == running }

// Slot returns the row of its recurrent state.
func (q *Sequence) Slot() int32 { return q.held.Slot }

// Pages returns the pages of its positions.
func (q *Sequence) Pages() []int32 { return q.held.Pages }

// hidden reports whether it wants hidden states instead of logits.
func (q *Sequence) hidden() bool { return q.Want == Hidden || q.Want == LastHidden }

// unneeded returns how many ids at the beginning have results that nobody
// wants.
func (q *Sequence) unneeded() int {
	switch q.Want {
	case Logits, Hidden:
		return q.First
	case Nothing:
		return len(q.IDs)
	}
	return len(q.IDs) - 1
}

// decoding reports whether the last id is left to compute, which leads to the
// next, and besides it only ids that have to be computed again.
func (q *Sequence) decoding() bool { return q.Want == Next && q.Fed+q.again == len(q.IDs)-1 }

// Piece is a run of a sequence's ids: [From, To).
type Piece struct {
	*Sequence
	From, To int
	Drafted  []int32 // what may follow them: computed as well, to verify it
	Decodes  bool    // it belongs to the output and leads to its next id, or to several
}

// Tokens returns how many ids the piece computes.
func (p *Piece) Tokens() int { return p.To - p.From + len(p.Drafted) }

// Step is what a model computes at once. It is valid until the next one.
type Step struct {
	Moves     []kv.Move   // to be made before
	Pieces    []Piece     // those that want hidden states last
	Admitted  []*Sequence // for the first time
	Complete  []*Sequence // nothing is left to compute for them, without being in the step
	Preempted int         // sequences that had to give way
	Tokens    int
	Drafted   int // of the tokens, those of drafts
}

// Scheduler holds all requests that have not ended.
type Scheduler struct {
	Config
	cache     *kv.Cache
	waiting   []*Sequence // in the order of admission
	running   []*Sequence // in the same order
	arrivals  uint64
	blocked   bool // the first that waits was refused, and nothing was given back since
	preempted int  // so far
	step      Step
	prompts   []Piece
	decoding  []*Sequence // as listed last
}

// New returns a scheduler without requests.
func New(c Config) *Scheduler {
	if c.Budget == 0 {
		c.Budget = c.Tokens
	}
	if c.Spacing == 0 {
		c.Spacing = 256
	}
	c.Slots = min(c.Slots, c.Tokens, c.Outputs) // each gets a token and an output in each step
	c.Budget = min(max(c.Budget, c.Slots), c.Tokens)
	return &Scheduler{Config: c, cache: kv.New(c.Config)}
}

// before orders sequences: those that go first.
func before(a, b *Sequence) int {
	if a.Priority != b.Priority {
		return cmp.Compare(b.Priority, a.Priority)
	}
	return cmp.Compare(a.arrival, b.arrival)
}

func insert(list []*Sequence, q *Sequence) []*Sequence {
	at, _ := slices.BinarySearchFunc(list, q, before)
	return slices.Insert(list, at, q)
}

func remove(list []*Sequence, q *Sequence) []*Sequence {
	at, found := slices.BinarySearchFunc(list, q, before)
	if !found {
		panic("scheduler: a sequence is not where it should be")
	}
	return slices.Delete(list, at, at+1)
}

// Add puts a new sequence among those that wait. Its ids and what they can grow
// to must fit into Room.
func (s *Scheduler) Add(q *Sequence) {
	s.arrivals++
	q.arrival, q.prompt = s.arrivals, len(q.IDs)
	q.spacing = s.Spacing
	for len(q.IDs)/q.spacing > 16 {
		q.spacing *= 2
	}
	s.waiting = insert(s.waiting, q)
	s.blocked = s.blocked && s.waiting[0] != q
}

// Fits reports whether a sequence of n ids can be computed if it is alone.
func (s *Scheduler) Fits(n int) bool { return s.cache.Need(n) <= s.cache.Room() }

// Remove takes a sequence out, whether it has ended or is given up. What it has
// computed can be found until the room is needed.
func (s *Scheduler) Remove(q *Sequence) {
	switch q.state {
	case waiting:
		s.waiting = remove(s.waiting, q)
		s.blocked = false
	case running:
		s.running = remove(s.running, q)
		s.giveBack(q, q.Fed >= q.prompt)
	}
	q.state = gone
}

func (s *Scheduler) giveBack(q *Sequence, likely bool) {
	s.settle(q)
	ids := q.IDs[:q.Fed]
	s.cache.Save(&q.held, ids, likely)
	s.cache.Release(&q.held, ids)
	s.blocked = false
}

// preempt makes a running sequence wait again.
func (s *Scheduler) preempt(q *Sequence) {
	s.running = remove(s.running, q)
	s.giveBack(q, true)
	q.state, q.Fed, q.again, q.Draft = waiting, 0, 0, nil
	q.Preemptions++
	s.waiting = insert(s.waiting, q)
	s.step.Preempted++
	s.preempted++
}

// Pin keeps the pages of a sequence, all of whose ids are computed, and the
// state behind them.
func (s *Scheduler) Pin(q *Sequence) *kv.Pin { return s.cache.Pin(&q.held, q.IDs) }

// Unpin lets a prefix go when its room is needed.
func (s *Scheduler) Unpin(p *kv.Pin) {
	s.cache.Unpin(p)
	s.blocked = false
}

// Room returns the number of pages that one sequence can come to hold.
func (s *Scheduler) Room() int { return s.cache.Room() }

// Need returns the number of pages that n positions take.
func (s *Scheduler) Need(n int) int { return s.cache.Need(n) }

// Len returns how many sequences wait and run.
func (s *Scheduler) Len() (waiting, running int) { return len(s.waiting), len(s.running) }

// Usage returns what is in use.
func (s *Scheduler) Usage() kv.Usage { return s.cache.Usage() }

// Lookups returns what came of the lookups of prefixes.
func (s *Scheduler) Lookups() kv.Lookups { return s.cache.Lookups() }

// Check looks for what must never be. It is meant for tests.
func (s *Scheduler) Check() error {
	var held []*kv.Sequence
	for _, q := range s.running {
		held = append(held, &q.held)
		if have, need := len(q.held.Pages), s.cache.Need(q.Fed); have < need {
			return fmt.Errorf("scheduler: a sequence has %d pages for %d positions, want %d", have, q.Fed, need)
		}
	}
	for _, list := range [][]*Sequence{s.waiting, s.running} {
		if !slices.IsSortedFunc(list, before) {
			return fmt.Errorf("scheduler: %d sequences are out of order", len(list))
		}
	}
	return s.cache.Check(held)
}
