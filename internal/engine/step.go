package engine

import (
	"fmt"
	"slices"
	"time"

	"github.com/godwit-llm/godwit/internal/scheduler"
)

// run makes a step and hands out its results.
func (e *Engine) run(t *scheduler.Step) error {
	e.makeMoves(t.Moves)
	if len(t.Pieces) > 0 {
		start := time.Now()
		e.pack(t)
		if err := e.compute(); err != nil {
			return err
		}
		now := time.Now()
		e.schedule.Computed()
		e.meter.step(t, now.Sub(start), now)
		e.measure(t, e.verify(), now)
		e.deliver(now)
	}
	for _, s := range t.Complete {
		e.complete(s.Owner.(*sequence))
	}
	return nil
}

// pack builds the batch of the step.
func (e *Engine) pack(t *scheduler.Step) {
	b := &e.batch
	b.Tokens, b.Positions, b.Slots = b.Tokens[:0], b.Positions[:0], b.Slots[:0]
	b.Outputs, b.Start, b.Hidden = b.Outputs[:0], append(b.Start[:0], 0), 0
	e.rows, e.params = e.rows[:0], e.params[:0]
	for i := range t.Pieces {
		p := &t.Pieces[i]
		e.packRows(p)
		b.Tokens = append(append(b.Tokens, p.IDs[p.From:p.To]...), p.Drafted...)
		for at := p.From; at < p.From+p.Tokens(); at++ {
			b.Positions = append(b.Positions, int32(at))
		}
		b.Start = append(b.Start, int32(len(b.Tokens)))
		b.Slots = append(b.Slots, p.Slot())
	}
	e.packPages(t)
}

// packRows notes which rows of a piece have results that are wanted.
func (e *Engine) packRows(p *scheduler.Piece) {
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
		before := max(0, at+1-p.To) // ids of the draft
		e.rows = append(e.rows, outputRow{q, at, p.Drafted[before:]})
		if q.r.Pooling != NoPooling {
			b.Hidden++
		} else {
			e.params = append(e.params, q.sampling(at, p.Drafted[:before]))
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

// compute runs the batch.
func (e *Engine) compute() error {
	logits, err := e.Model.Forward(&e.batch)
	if err != nil {
		return err
	}
	e.constrain()
	if err := e.Backend.Sample(e.results[:len(e.params)], logits, e.params); err != nil {
		return err
	}
	if e.batch.Hidden == 0 {
		return nil
	}
	n := e.batch.Hidden * e.Model.Hidden
	e.hidden = slices.Grow(e.hidden[:0], n)[:n]
	return e.Model.HiddenStates(e.hidden, &e.batch)
}

// deliver hands the results to the sequences.
func (e *Engine) deliver(now time.Time) {
	width := e.Model.Hidden
	e.meter.tokens(e.rows[:len(e.params)], now)
	for i, row := range e.rows {
		q := row.owner
		if q.ended {
			continue
		}
		switch at := i - len(e.params); {
		case at >= 0:
			q.pool(row.position, e.hidden[at*width:(at+1)*width], now)
		case e.results[i].Invalid:
			q.end(Failed, -1, fmt.Errorf("engine: %w after %d tokens", ErrLogits, row.position+1))
		default:
			q.accept(row.position, e.results[i], now)
		}
		if q.ended {
			e.drop(q)
		}
	}
}
