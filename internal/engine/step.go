package engine

import (
	"fmt"
	"slices"
	"time"

	"github.com/godwit-llm/godwit/internal/ops"
	"github.com/godwit-llm/godwit/internal/scheduler"
)

// flight is a step that the device has been given: whose results it brings, and
// what the metrics want to know of it.
type flight struct {
	rows    []outputRow
	chosen  int // of the rows, the first ones, that a token is chosen for; the others want hidden states
	logits  ops.Tensor
	drafted bool // some rows verify drafts

	queued    time.Time
	tokens    int
	sequences int
	prompt    int  // of the tokens, those of prompts, and of outputs that are computed again
	preempted int  // sequences that gave way to it
	decodes   bool // it holds nothing but pieces that decode
	ahead     bool // it was queued while another one was under way
	waited    bool // it was not queued behind another one, for the sake of drafts
}

// outputRow says whose result a row of the step holds.
type outputRow struct {
	owner    *sequence
	position int
	behind   []int32 // ids before it that are only guessed
	draft    []int32 // what is guessed to come from here on: the row verifies the first of it
}

// turn plans a step and has the device queue it. Then it hands out the results of
// the step before, if that was still under way, and has tokens be chosen for the
// new one. What the next turn cannot go on without, it waits for.
func (e *Engine) turn() error {
	e.draft()
	e.promise()
	t := e.schedule.Next()
	e.admitted(t)
	next, err := e.queue(t)
	if err != nil {
		return err
	}
	if err := e.land(); err != nil {
		return err
	}
	if err := e.choose(next); err != nil {
		return err
	}
	e.schedule.Computed()
	if !e.ahead() {
		if err := e.land(); err != nil {
			return err
		}
	}
	for _, s := range t.Complete {
		e.complete(s.Owner.(*sequence))
	}
	return nil
}

// queue gives the device a step, up to its logits. It returns nil for a step
// without tokens.
func (e *Engine) queue(t *scheduler.Step) (*flight, error) {
	e.makeMoves(t.Moves)
	if len(t.Pieces) == 0 {
		return nil, nil
	}
	f := e.next()
	f.queued = time.Now()
	e.pack(f, t)
	logits, err := e.Model.Forward(&e.batch)
	if err != nil {
		return nil, err
	}
	e.Backend.Launch()
	f.logits = logits
	return f, nil
}

// next returns the flight that is not under way, empty.
func (e *Engine) next() *flight {
	f := &e.flights[0]
	if f == e.flying {
		f = &e.flights[1]
	}
	*f = flight{rows: f.rows[:0], ahead: e.flying != nil, waited: e.waited}
	return f
}

// pack builds the batch of the step.
func (e *Engine) pack(f *flight, t *scheduler.Step) {
	b := &e.batch
	b.Tokens, b.Positions, b.Slots = b.Tokens[:0], b.Positions[:0], b.Slots[:0]
	b.Outputs, b.Start, b.Hidden = b.Outputs[:0], append(b.Start[:0], 0), 0
	f.tokens, f.prompt, f.sequences = t.Tokens, t.Tokens-t.Drafted, len(t.Pieces)
	f.drafted, f.preempted = t.Drafted > 0, t.Preempted
	for i := range t.Pieces {
		p := &t.Pieces[i]
		e.packRows(f, p)
		b.Tokens = append(append(b.Tokens, p.IDs[p.From:p.To]...), p.Drafted...)
		for at := p.From; at < p.From+p.Tokens(); at++ {
			b.Positions = append(b.Positions, int32(at))
		}
		b.Start = append(b.Start, int32(len(b.Tokens)))
		b.Slots = append(b.Slots, p.Slot())
		if p.Decodes {
			f.prompt--
		}
	}
	f.chosen = len(f.rows) - b.Hidden
	e.packPages(t)
	f.decodes = b.Decoding
}

// packRows notes which rows of a piece have results that are wanted.
func (e *Engine) packRows(f *flight, p *scheduler.Piece) {
	b, q := &e.batch, p.Owner.(*sequence)
	from := p.From
	if q.r.generates() {
		from = p.To - 1 // no other can be wanted
	}
	for at := from; at < p.From+p.Tokens(); at++ {
		if at < p.To && !p.Wants(at) {
			continue
		}
		b.Outputs = append(b.Outputs, int32(len(b.Tokens)+at-p.From))
		guessed := max(0, at+1-p.To)
		f.rows = append(f.rows, outputRow{q, at, p.Drafted[:guessed], p.Drafted[guessed:]})
		if q.r.Pooling != NoPooling {
			b.Hidden++
		}
	}
}

// packPages writes the page table, as wide as the longest sequence needs, and
// notes whether there are pieces of prompts.
func (e *Engine) packPages(t *scheduler.Step) {
	b := &e.batch
	b.Pages, b.MaxPages, b.Decoding = b.Pages[:0], 1, true
	for i := range t.Pieces {
		p := &t.Pieces[i]
		b.MaxPages = max(b.MaxPages, e.schedule.Need(p.From+p.Tokens()))
		b.Decoding = b.Decoding && p.Decodes
	}
	for i := range t.Pieces {
		pages := t.Pieces[i].Pages()
		have := pages[:min(b.MaxPages, len(pages))]
		b.Pages = append(b.Pages, have...)
		for range b.MaxPages - len(have) {
			b.Pages = append(b.Pages, -1)
		}
	}
}

// choose has the device choose the tokens of a step that it has been given. All
// ids before them are known: penalties and masks are worked out while it computes.
func (e *Engine) choose(f *flight) error {
	if e.flying = f; f == nil {
		return nil
	}
	e.params = e.params[:0]
	for i := range f.rows[:f.chosen] {
		e.params = append(e.params, e.sampling(&f.rows[i]))
	}
	return e.Backend.Sample(f.logits, e.params)
}

// sampling returns how the token of a row is chosen.
func (e *Engine) sampling(row *outputRow) ops.Sampling {
	q := row.owner
	if q.ended {
		return ops.Sampling{} // whatever it is, nobody will see it
	}
	s := q.sampling(row.position, row.behind)
	if q.r.generates() {
		s.Allowed = q.allowed(e.Model.Vocab)
	}
	return s
}

// land waits for the step that is under way, if one is, and hands out its results.
func (e *Engine) land() error {
	f := e.flying
	if f == nil {
		return nil
	}
	if err := e.Backend.Collect(e.results[:f.chosen]); err != nil {
		return err
	}
	if hidden := len(f.rows) - f.chosen; hidden > 0 {
		n := hidden * e.Model.Hidden
		e.hidden = slices.Grow(e.hidden[:0], n)[:n]
		if err := e.Model.HiddenStates(e.hidden, &e.batch); err != nil {
			return err
		}
	}
	now := time.Now()
	if f.queued.Before(e.landed) {
		f.queued = e.landed // the device was busy until then
	}
	e.flying, e.landed = nil, now
	e.meter.step(f, now)
	e.measure(f, e.verify(f), now)
	e.deliver(f, now)
	return nil
}

// deliver hands the results to the sequences. A sequence that ended while the step
// was under way has no use for its own.
func (e *Engine) deliver(f *flight, now time.Time) {
	width := e.Model.Hidden
	e.meter.tokens(f.rows[:f.chosen], now)
	for i, row := range f.rows {
		q := row.owner
		if q.ended {
			continue
		}
		switch at := i - f.chosen; {
		case at >= 0:
			q.pool(row.position, e.hidden[at*width:(at+1)*width], now)
		case e.results[i].Invalid:
			q.fill(row.position, e.results[i].ID)
			q.end(Failed, -1, fmt.Errorf("engine: %w after %d tokens", ErrLogits, row.position+1))
		default:
			q.accept(row.position, e.results[i], now)
		}
		if q.ended {
			e.drop(q)
		}
	}
}
