package kv

// Reason says what came of a lookup.
type Reason uint8

// The reasons. Each lookup has one.
const (
	Hit        Reason = iota // the sequence starts behind all that was computed before
	Partial                  // behind a part: there is no snapshot at the end of what matches
	NoSnapshot               // at the beginning, although something matches: no snapshot there
	Evicted                  // what would have helped more was evicted
	TooShort                 // the prompt is shorter than what is worth looking up
	Miss                     // nothing like it was computed
	reasons
)

func (r Reason) String() string {
	return [...]string{"hit", "partial", "no snapshot", "evicted", "too short", "miss"}[r]
}

// Lookups counts them by reason.
type Lookups struct {
	Reasons [reasons]uint64
	Looked  uint64 // ids that were looked up
	Reused  uint64 // of them, ids that sequences started behind
	Skipped uint64 // ids that sequences passed over later, because another one had computed them
}

// Lookups returns the lookups of all sequences that were admitted.
func (c *Cache) Lookups() Lookups { return c.lookups }

// match is what a lookup found.
type match struct {
	tokens   int // ids that were computed before
	start    int // ids that need not be computed again
	snapshot *snapshot
	reason   Reason
}

// lookup finds the longest beginning of ids that was computed before, given
// that ids up to the end of a node were. The sequence will start behind at most
// most of them. The nodes behind the given one are left in c.path.
func (c *Cache) lookup(full *node, ids []int32, most int) match {
	m, lost := match{tokens: full.depth * c.PageSize}, 0
	c.path = c.path[:0]
	for at := full; ; at = full {
		n, length := at.find(ids[m.tokens:])
		if n == nil {
			break
		}
		c.path = append(c.path, n)
		if k := at.deepest(ids[m.tokens:][:min(length, max(0, most-m.tokens))]); k != nil {
			m.snapshot = k
		}
		if n.lost > 0 && n.lost <= length && m.tokens+n.lost <= most {
			lost = m.tokens + n.lost
		}
		m.tokens += length
		if length < c.PageSize {
			break
		}
		full = n
	}
	m.start = min(m.tokens, most)
	if c.Recurrent {
		m.start = 0
		if m.snapshot != nil {
			m.start = m.snapshot.position(c.PageSize)
		}
	}
	if m.start < c.Least {
		m.start = 0
	}
	m.reason = c.reason(m, most, lost, c.goneAfter(full, ids))
	return m
}

// goneAfter reports whether the page that would follow a node was evicted.
func (c *Cache) goneAfter(n *node, ids []int32) bool {
	at := n.depth * c.PageSize
	return at+c.PageSize <= len(ids) && c.tree.gone.has(chain(n.hash, ids[at:at+c.PageSize]))
}

func (c *Cache) reason(m match, most, lost int, gone bool) Reason {
	useful := min(m.tokens, most)
	switch {
	case most < c.Least:
		return TooShort
	case lost > m.start || gone && m.start == useful || gone && useful < c.Least:
		return Evicted
	case useful < c.Least:
		return Miss
	case m.start == useful:
		return Hit
	case m.start > 0:
		return Partial
	default:
		return NoSnapshot
	}
}

// Admit gives a slot, and pages for ids, to a sequence that will compute them
// and does not need the results of the first most: it starts behind those that
// were computed before. At least headroom pages stay available. It reports
// false, and changes nothing, where there is too little.
//
// Branch is where what was computed before ends, if the state there should be
// saved when the sequence comes by; it is 0 otherwise.
func (c *Cache) Admit(s *Sequence, ids []int32, most, headroom int) (start, branch int, ok bool) {
	if len(c.slots) == 0 {
		return 0, 0, false
	}
	var m match
	c.path = c.path[:0]
	search := c.Prefixes && most > 0
	if search {
		m = c.lookup(c.tree.root, ids, most)
	}
	shared := m.start / c.PageSize
	for _, n := range c.path[:shared] {
		c.hold(n.page)
	}
	need := c.Need(len(ids))
	if c.available() < need-shared+headroom {
		for i := shared - 1; i >= 0; i-- {
			c.drop(c.path[i].page)
		}
		return 0, 0, false
	}
	s.Slot, s.Pages, s.last = pop(&c.slots), s.Pages[:0], c.tree.root
	c.begin(s, m, shared)
	for len(s.Pages) < need {
		s.Pages = append(s.Pages, c.take())
	}
	if search {
		c.lookups.Reasons[m.reason]++
		c.lookups.Looked += uint64(len(ids))
		c.lookups.Reused += uint64(m.start)
	}
	if useful := min(m.tokens, most); c.Recurrent && useful >= c.Least && useful > m.start {
		branch = useful
	}
	return m.start, branch, true
}

// Advance lets a sequence that has computed fed ids pass over those that
// another one has computed since, and returns how many it has then. It does
// not need the results of the first most.
func (c *Cache) Advance(s *Sequence, ids []int32, fed, most int) int {
	if !c.Prefixes {
		return fed
	}
	own := s.last.depth
	m := c.lookup(s.last, ids, most)
	if m.start <= fed {
		return fed
	}
	if c.Recurrent {
		c.restore(m.snapshot, s.Slot)
	}
	for _, n := range c.path[:m.start/c.PageSize-own] {
		c.hold(n.page)
		c.drop(s.Pages[n.depth-1])
		s.Pages[n.depth-1] = n.page
		s.last = n
	}
	if at := m.start / c.PageSize; m.start%c.PageSize > 0 && c.path[at-own].page != s.Pages[at] {
		c.move(CopyPage, c.path[at-own].page, s.Pages[at])
	}
	c.lookups.Skipped += uint64(m.start - fed)
	return m.start
}

// begin gives a sequence the pages that it shares, a copy of the one that it
// shares in part, and the state.
func (c *Cache) begin(s *Sequence, m match, shared int) {
	if m.start == 0 {
		return
	}
	if c.Recurrent {
		c.restore(m.snapshot, s.Slot)
	}
	for _, n := range c.path[:shared] {
		s.Pages = append(s.Pages, n.page)
		s.last = n
	}
	if m.start%c.PageSize == 0 {
		return
	}
	from := c.path[shared].page
	to := c.take()
	if to != from { // which was evicted just now, its content still there
		c.move(CopyPage, from, to)
	}
	s.Pages = append(s.Pages, to)
}

// Grow gives a sequence pages for n positions, or reports that there are too
// few.
func (c *Cache) Grow(s *Sequence, n int) bool {
	need := c.Need(n) - len(s.Pages)
	if need > c.available() {
		return false
	}
	for range need {
		s.Pages = append(s.Pages, c.take())
	}
	return true
}

// Computed tells that a sequence has computed ids: full pages can be found from
// now on.
func (c *Cache) Computed(s *Sequence, ids []int32) { c.record(s, ids) }

// Release takes back what a sequence holds that has computed ids. They can be
// found until the room is needed.
func (c *Cache) Release(s *Sequence, ids []int32) {
	if c.Prefixes && len(ids) > 0 {
		c.touch(c.tail(s, ids))
	}
	for i := len(s.Pages) - 1; i >= 0; i-- {
		c.drop(s.Pages[i])
	}
	c.Unguard(s)
	c.slots = append(c.slots, s.Slot)
	*s = Sequence{Pages: s.Pages[:0]}
}
