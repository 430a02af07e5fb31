package kv

import (
	"testing"

	"pgregory.net/rapid"
)

// TestPool takes and gives at random: no page or slot is ever held twice or
// lost, and a request that fits is granted.
func TestPool(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pages, size, slots := rapid.IntRange(0, 20).Draw(t, "pages"), rapid.IntRange(1, 5).Draw(t, "size"), rapid.IntRange(1, 6).Draw(t, "slots")
		p := New(pages, size, slots)
		var held []Sequence
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			if len(held) > 0 && rapid.Bool().Draw(t, "give") {
				i := rapid.IntRange(0, len(held)-1).Draw(t, "which")
				p.Give(held[i])
				held = append(held[:i], held[i+1:]...)
			} else {
				n := rapid.IntRange(0, 60).Draw(t, "positions")
				freePages, freeSlots := p.Free()
				s, ok := p.Take(n)
				if want := p.Need(n) <= freePages && freeSlots > 0; ok != want {
					t.Fatalf("take %d of %d pages and %d slots: got %v, want %v", n, freePages, freeSlots, ok, want)
				}
				if ok {
					held = append(held, s)
				}
			}
			checkHeld(t, p, held, pages, slots)
		}
	})
}

func checkHeld(t *rapid.T, p *Pool, held []Sequence, pages, slots int) {
	seenPages, seenSlots := map[int32]bool{}, map[int32]bool{}
	for _, s := range held {
		if seenSlots[s.Slot] {
			t.Fatalf("slot %d is held twice", s.Slot)
		}
		seenSlots[s.Slot] = true
		for _, page := range s.Pages {
			if seenPages[page] {
				t.Fatalf("page %d is held twice", page)
			}
			seenPages[page] = true
		}
	}
	freePages, freeSlots := p.Free()
	if freePages+len(seenPages) != pages || freeSlots+len(seenSlots) != slots {
		t.Fatalf("got %d free and %d held pages of %d, %d free and %d held slots of %d", freePages, len(seenPages), pages, freeSlots, len(seenSlots), slots)
	}
}
