package opstest

import "github.com/godwit-llm/godwit/internal/ops"

// sequence is a growing sequence with its pages and its slot.
type sequence struct {
	next  int // position of the next token
	slot  int32
	pages []int32
}

// world hands out pages in scrambled order.
type world struct {
	pageSize, maxPages int
	free               []int32
}

func (f *fixture) world(pages, pageSize, maxPages int) *world {
	w := &world{pageSize: pageSize, maxPages: maxPages}
	for _, p := range f.rng.Perm(pages) {
		w.free = append(w.free, int32(p))
	}
	return w
}

// piece is the next tokens of one sequence.
type piece struct {
	*sequence
	tokens int
}

// step packs the pieces into a batch, takes the pages they need and moves the
// sequences on. Page tables end in -1.
func (w *world) step(pieces ...piece) *ops.Batch {
	b := &ops.Batch{Start: []int32{0}, MaxPages: w.maxPages}
	for _, p := range pieces {
		for range p.tokens {
			b.Tokens = append(b.Tokens, 0)
			b.Positions = append(b.Positions, int32(p.next))
			p.next++
		}
		for len(p.pages)*w.pageSize < p.next {
			p.pages = append(p.pages, w.free[0])
			w.free = w.free[1:]
		}
		for i := range w.maxPages {
			page := int32(-1)
			if i < len(p.pages) {
				page = p.pages[i]
			}
			b.Pages = append(b.Pages, page)
		}
		b.Start = append(b.Start, int32(len(b.Tokens)))
		b.Slots = append(b.Slots, p.slot)
	}
	return b
}
