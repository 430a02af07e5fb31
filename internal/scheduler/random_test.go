package scheduler

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/godwit-llm/godwit/internal/kv"
)

// device is memory that holds, instead of keys, values and states, a hash of
// the ids that they come from: what is read can be checked.
type device struct {
	pageSize     int
	pages        [][]uint64
	states, host []uint64
}

func newDevice(c kv.Config) *device {
	d := &device{pageSize: c.PageSize, states: make([]uint64, c.Slots+c.Snapshots+c.Spares), host: make([]uint64, c.HostSnapshots)}
	for range c.Pages {
		d.pages = append(d.pages, make([]uint64, c.PageSize))
	}
	return d
}

func (d *device) move(m kv.Move) {
	switch m.Kind {
	case kv.CopyPage:
		copy(d.pages[m.To], d.pages[m.From])
	case kv.CopyState:
		d.states[m.To] = d.states[m.From]
	case kv.SaveState:
		d.host[m.To] = d.states[m.From]
	case kv.LoadState:
		d.states[m.To] = d.host[m.From]
	}
}

// prefixes returns a hash of each beginning of ids, the empty one first.
func prefixes(ids []int32) []uint64 {
	out := []uint64{1}
	for _, id := range ids {
		out = append(out, (out[len(out)-1]^uint64(id))*0x9E3779B97F4A7C15+1)
	}
	return out
}

// queued is a piece with what its sequence held when it was queued.
type queued struct {
	Piece
	slot  int32
	pages []int32
}

// compute reads everything that a piece depends on, and writes its results.
func (d *device) compute(p queued, recurrent bool) error {
	want := prefixes(slices.Concat(p.IDs, p.Drafted))
	for i := range p.From {
		if d.pages[p.pages[i/d.pageSize]][i%d.pageSize] != want[i+1] {
			return fmt.Errorf("position %d of [%d:%d) is not what was computed for it", i, p.From, p.To)
		}
	}
	if recurrent && p.From > 0 && d.states[p.slot] != want[p.From] {
		return fmt.Errorf("the state before [%d:%d) is not that of the ids before it", p.From, p.To)
	}
	d.states[p.slot] = want[p.From+p.Tokens()]
	return nil
}

// store writes a piece's positions. All pieces of a step read before or after
// all have written, as the layers of a model do.
func (d *device) store(p queued) {
	want := prefixes(slices.Concat(p.IDs, p.Drafted))
	for i := p.From; i < p.From+p.Tokens(); i++ {
		d.pages[p.pages[i/d.pageSize]][i%d.pageSize] = want[i+1]
	}
}

// load is a random load on a scheduler with a device that is checked.
type load struct {
	rng   *rand.Rand
	s     *Scheduler
	d     *device
	all   []*Sequence
	left  map[*Sequence]int // ids that it will be given
	stems [][]int32         // beginnings that requests share
	pins  []*kv.Pin
	next  map[*Sequence][]int32 // ids that it will be given next
	ended int
	right int // draft ids that were accepted
	wrong int // pieces with one that was not

	ahead  bool     // steps are planned before the ids of the one before are known
	flying []queued // pieces whose results are not known
	waste  int      // ids that were computed behind the last one of a sequence
}

func newLoad(seed uint64) *load {
	rng := rand.New(rand.NewPCG(seed, 5))
	c := Config{
		Config: kv.Config{
			PageSize: 1 + rng.IntN(6), Slots: 1 + rng.IntN(6), Recurrent: rng.IntN(2) == 0, Prefixes: rng.IntN(5) > 0,
			Snapshots: rng.IntN(6), HostSnapshots: rng.IntN(3), Least: rng.IntN(6), Spares: rng.IntN(4),
		},
		Tokens: 1 + rng.IntN(30), Budget: rng.IntN(12), Outputs: 1 + rng.IntN(8), Spacing: 1 + rng.IntN(12),
	}
	c.Pages = (60+c.PageSize)/c.PageSize + rng.IntN(60/c.PageSize+1)
	s := New(c)
	l := &load{rng: rng, s: s, d: newDevice(s.cache.Config), left: map[*Sequence]int{}, next: map[*Sequence][]int32{}, ahead: rng.IntN(2) == 0}
	for range 3 {
		l.stems = append(l.stems, l.ids(rng.IntN(25)))
	}
	return l
}

func (l *load) ids(n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(l.rng.IntN(3))
	}
	return out
}

// add submits a request whose beginning another one may have.
func (l *load) add() {
	q := &Sequence{Want: Next, Priority: l.rng.IntN(3)}
	stem := l.stems[l.rng.IntN(len(l.stems))]
	q.IDs = append(slices.Clone(stem[:l.rng.IntN(len(stem)+1)]), l.ids(1+l.rng.IntN(10))...)
	if l.rng.IntN(4) == 0 {
		q.Want = Want(l.rng.IntN(5))
	}
	if q.Want == Nothing && (!l.s.Prefixes || l.s.Room()-l.s.Need(len(q.IDs)) < l.s.Need(60)) {
		q.Want = Next
	}
	if l.rng.IntN(2) == 0 {
		q.Marks = []int{1 + l.rng.IntN(len(q.IDs))}
	}
	if q.Want == Next {
		l.left[q] = 1 + l.rng.IntN(min(20, 60-len(q.IDs)))
	}
	l.s.Add(q)
	l.all = append(l.all, q)
}

// draft sets ids to be verified, of which the first may be those that come.
func (l *load) draft() {
	for _, q := range l.all {
		if q.Draft = nil; l.rng.IntN(2) == 0 || q.Want != Next {
			continue
		}
		l.next[q] = l.ids(1 + l.rng.IntN(8))
		q.Draft = slices.Clone(l.next[q][:min(len(l.next[q]), l.left[q])])
		if at := l.rng.IntN(2 * len(q.Draft)); at < len(q.Draft) {
			q.Draft[at] = 3 // which no id is
		}
	}
}

func (l *load) step() error {
	if len(l.flying) == 0 {
		l.draft()
	}
	l.promise()
	before := len(l.flying)
	t := l.s.Next()
	for _, m := range t.Moves {
		l.d.move(m)
	}
	if err := l.check(t); err != nil {
		return err
	}
	var pieces []queued
	for _, p := range t.Pieces {
		pieces = append(pieces, queued{p, p.Slot(), slices.Clone(p.Pages())})
	}
	l.land()
	for _, p := range pieces {
		if p.state == gone {
			l.waste++
		}
		if err := l.d.compute(p, l.s.Recurrent); err != nil {
			return err
		}
	}
	for _, p := range pieces {
		l.d.store(p)
	}
	l.s.Computed()
	l.flying = pieces
	if !l.ahead || t.Drafted > 0 || l.rng.IntN(3) == 0 {
		l.land()
	}
	for _, q := range slices.Clone(t.Complete) {
		if q.Want != Nothing {
			return fmt.Errorf("a sequence of %d ids gets no result", len(q.IDs))
		}
		l.finish(q)
	}
	if _, running := l.s.Len(); before+len(pieces) == 0 && running > 0 && len(t.Complete) == 0 {
		return fmt.Errorf("%d sequences run, and the step is empty", running)
	}
	return l.s.Check()
}

// check looks at the size of a step.
func (l *load) check(t *Step) error {
	tokens, outputs := 0, 0
	most := l.s.Tokens
	for _, p := range t.Pieces {
		tokens += p.Tokens()
		if p.Decodes {
			most = l.s.Budget
		}
		outputs += len(p.Drafted)
		for i := p.From; i < p.To; i++ {
			if p.Wants(i) && !p.hidden() {
				outputs++
			}
		}
	}
	if tokens > most || outputs > l.s.Outputs || tokens != t.Tokens {
		return fmt.Errorf("a step has %d tokens and %d outputs, want at most %d and %d", tokens, outputs, most, l.s.Outputs)
	}
	return nil
}

// promise keeps places for the ids that are on their way.
func (l *load) promise() {
	for _, p := range l.flying {
		if q := p.Sequence; q.state != gone && q.Want == Next && p.To == len(q.IDs) && l.left[q] > 1 {
			q.IDs = append(q.IDs, -1)
		}
	}
}

// land gives the sequences of the step under way their results.
func (l *load) land() {
	for _, p := range l.flying {
		if p.state != gone {
			l.deliver(p.Piece)
		}
	}
	l.flying = nil
}

func (l *load) deliver(p Piece) {
	q := p.Sequence
	if p.To < len(q.IDs) && q.IDs[p.To] >= 0 || q.Want == Nothing || q.Want == Next && l.extend(p) {
		return
	}
	l.finish(q)
}

// extend gives a sequence its next id, and those of its draft that are right.
// It reports whether more are to come.
func (l *load) extend(p Piece) bool {
	q := p.Sequence
	next := append(l.next[q], l.ids(1)...)
	delete(l.next, q)
	if p.To < len(q.IDs) { // there is a place for it
		if q.IDs[p.To] = next[0]; l.rng.IntN(10) == 0 {
			return false
		}
		l.left[q]--
		return true
	}
	for i := range len(p.Drafted) + 1 {
		q.IDs = append(q.IDs, next[i])
		if l.left[q]--; l.left[q] == 0 {
			return false
		}
		if i < len(p.Drafted) && p.Drafted[i] != next[i] {
			l.wrong++
			break
		}
		if i < len(p.Drafted) {
			l.right++
		}
	}
	return true
}

func (l *load) finish(q *Sequence) {
	if q.Want == Nothing {
		l.pins = append(l.pins, l.s.Pin(q))
	}
	if q.Want == Next { // somebody may go on from here
		l.stems[l.rng.IntN(len(l.stems))] = q.IDs[:min(len(q.IDs), 40)]
	}
	l.s.Remove(q)
	l.all = slices.DeleteFunc(l.all, func(o *Sequence) bool { return o == q })
	l.ended++
}

// run makes a random schedule: requests come, are given up, and end.
func (l *load) run() error {
	requests := 4 + l.rng.IntN(12)
	for steps := 0; requests > 0 || len(l.all) > 0; steps++ {
		if steps > 5000 {
			return fmt.Errorf("after %d steps %d requests have not ended", steps, len(l.all))
		}
		for requests > 0 && l.rng.IntN(3) == 0 {
			l.add()
			requests--
		}
		if len(l.all) > 0 && l.rng.IntN(20) == 0 {
			q := l.all[l.rng.IntN(len(l.all))]
			l.s.Remove(q)
			l.all = slices.DeleteFunc(l.all, func(o *Sequence) bool { return o == q })
		}
		if len(l.pins) > 0 && l.rng.IntN(10) == 0 {
			l.s.Unpin(l.pins[0])
			l.pins = l.pins[1:]
		}
		if err := l.step(); err != nil {
			return err
		}
	}
	return l.settle()
}

// settle looks for what was left over.
func (l *load) settle() error {
	for _, p := range l.pins {
		l.s.Unpin(p)
	}
	u := l.s.Usage()
	if u.FreePages+u.CachedPages != u.Pages || u.FreeSlots != u.Slots || u.PinnedPages != 0 {
		return fmt.Errorf("in the end: %+v", u)
	}
	if !l.s.Prefixes && u.CachedPages > 0 {
		return fmt.Errorf("pages are kept without a prefix cache: %+v", u)
	}
	looked := l.s.Lookups()
	sum := uint64(0)
	for _, n := range looked.Reasons {
		sum += n
	}
	if looked.Reused > looked.Looked || l.s.Prefixes && sum == 0 && l.ended > 5 {
		return fmt.Errorf("lookups do not add up: %+v", looked)
	}
	return l.s.Check()
}

// TestRandomLoad runs random schedules against a device that knows what was
// computed for what.
func TestRandomLoad(t *testing.T) {
	schedules := 10000
	if testing.Short() {
		schedules = 2000
	}
	preempted, right, wrong, waste, reused := 0, 0, 0, 0, uint64(0)
	for seed := range uint64(schedules) {
		l := newLoad(seed)
		if err := l.run(); err != nil {
			t.Fatalf("schedule %d, %+v: %v", seed, l.s.Config, err)
		}
		reused += l.s.Lookups().Reused + l.s.Lookups().Skipped
		waste += l.waste
		preempted += l.s.preempted
		right, wrong = right+l.right, wrong+l.wrong
	}
	if preempted < schedules/20 || reused < uint64(schedules) || right < schedules || wrong < schedules || waste < schedules/10 {
		t.Errorf("%d schedules had %d preemptions, %d ids reused, %d draft ids accepted, %d pieces with a wrong one and %d ids too many: too few to mean something", schedules, preempted, reused, right, wrong, waste)
	}
	t.Logf("%d schedules, %d preemptions, %d ids reused, %d draft ids accepted, %d pieces with a wrong one, %d ids too many", schedules, preempted, reused, right, wrong, waste)
}
