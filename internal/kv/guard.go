package kv

// A step that verifies a draft leaves the recurrent state behind all of it,
// right or wrong. So the state is copied before, to a row of its own, and put
// back when the draft was wrong. Positions need no such care: what was stored
// for wrong ids is overwritten.

// Guard keeps a copy of the sequence's state, unless one is there or there is
// no state. It reports false where no row is left for it.
func (c *Cache) Guard(s *Sequence) bool {
	if !c.Recurrent || s.guarded {
		return true
	}
	if len(c.spares) == 0 {
		return false
	}
	s.spare, s.guarded = pop(&c.spares), true
	c.move(CopyState, s.Slot, s.spare)
	return true
}

// Restore puts the copy back. It stays, for another try.
func (c *Cache) Restore(s *Sequence) {
	if s.guarded {
		c.move(CopyState, s.spare, s.Slot)
	}
}

// Unguard gives up the copy.
func (c *Cache) Unguard(s *Sequence) {
	if s.guarded {
		c.spares = append(c.spares, s.spare)
		s.guarded = false
	}
}

// Shrink takes back the pages behind n positions. Nothing that others could
// find is in them.
func (c *Cache) Shrink(s *Sequence, n int) {
	for need := c.Need(n); len(s.Pages) > need; {
		c.drop(s.Pages[len(s.Pages)-1])
		s.Pages = s.Pages[:len(s.Pages)-1]
	}
}
