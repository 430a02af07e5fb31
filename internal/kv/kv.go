// Package kv hands out cache pages and recurrent-state slots to sequences.
// It counts; it holds no tensors, knows no device and takes no locks: the
// engine loop is its only caller.
package kv

import "fmt"

// Pool is a fixed number of pages and slots.
type Pool struct {
	pageSize int
	pages    []int32 // free ones
	slots    []int32 // free ones
	total    int
}

// Sequence is what one sequence holds: a slot, and the pages of its positions
// in order.
type Sequence struct {
	Slot  int32
	Pages []int32
}

// New returns a pool in which all pages and slots are free.
func New(pages, pageSize, slots int) *Pool {
	p := &Pool{pageSize: pageSize, total: pages}
	for i := pages - 1; i >= 0; i-- {
		p.pages = append(p.pages, int32(i))
	}
	for i := slots - 1; i >= 0; i-- {
		p.slots = append(p.slots, int32(i))
	}
	return p
}

// Need returns the number of pages that hold n positions.
func (p *Pool) Need(n int) int { return (n + p.pageSize - 1) / p.pageSize }

// Fits reports whether n positions would fit into an empty pool.
func (p *Pool) Fits(n int) bool { return p.Need(n) <= p.total }

// Free returns the number of free pages and slots.
func (p *Pool) Free() (pages, slots int) { return len(p.pages), len(p.slots) }

// Take reserves a slot and the pages for n positions, or nothing.
func (p *Pool) Take(n int) (Sequence, bool) {
	need := p.Need(n)
	if need > len(p.pages) || len(p.slots) == 0 {
		return Sequence{}, false
	}
	left := len(p.pages) - need
	s := Sequence{Slot: p.slots[len(p.slots)-1], Pages: append([]int32(nil), p.pages[left:]...)}
	p.pages = p.pages[:left]
	p.slots = p.slots[:len(p.slots)-1]
	return s, true
}

// Give takes a sequence's slot and pages back.
func (p *Pool) Give(s Sequence) {
	if len(p.pages)+len(s.Pages) > p.total {
		panic(fmt.Sprintf("kv: %d pages given back to a pool of %d that has %d free", len(s.Pages), p.total, len(p.pages)))
	}
	p.pages = append(p.pages, s.Pages...)
	p.slots = append(p.slots, s.Slot)
}
