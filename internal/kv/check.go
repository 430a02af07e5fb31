package kv

import (
	"fmt"
	"slices"
)

// Check looks for what must never be, given all running sequences: pages,
// slots or rows that are lost or held twice, and a tree that is out of order.
// It is meant for tests.
func (c *Cache) Check(running []*Sequence) error {
	k := checker{Cache: c, holders: make([]int32, c.Config.Pages), rows: map[[2]int32]string{}, rank: map[*node]int{}}
	for at := c.tree.idle.first; at != nil; at = at.next {
		k.rank[at.of] = len(k.rank) + 1
	}
	for i, s := range running {
		k.use([2]int32{0, s.Slot}, fmt.Sprintf("sequence %d", i))
		if s.guarded {
			k.use([2]int32{0, s.spare}, fmt.Sprintf("the copy of sequence %d", i))
		}
		for _, page := range s.Pages {
			k.holders[page]++
		}
	}
	for _, slot := range c.slots {
		k.use([2]int32{0, slot}, "the free slots")
	}
	for _, row := range c.spares {
		k.use([2]int32{0, row}, "the spare rows")
	}
	k.node(c.tree.root)
	k.pages()
	k.snapshots()
	return k.err
}

type checker struct {
	*Cache
	holders []int32 // as counted
	rows    map[[2]int32]string
	rank    map[*node]int // of the idle nodes, from 1
	pinned  int
	err     error
}

func (k *checker) fail(format string, args ...any) {
	if k.err == nil {
		k.err = fmt.Errorf("kv: "+format, args...)
	}
}

// use notes who has a row of the device (0) or of the host (1).
func (k *checker) use(row [2]int32, who string) {
	if other, taken := k.rows[row]; taken {
		k.fail("row %v belongs to %s and to %s", row, other, who)
	}
	k.rows[row] = who
}

func (k *checker) node(n *node) {
	for _, s := range n.snapshots {
		k.snapshot(n, s)
	}
	for i, child := range n.children {
		if i > 0 && slices.Compare(n.children[i-1].ids, child.ids) >= 0 {
			k.fail("children %v and %v are out of order", n.children[i-1].ids, child.ids)
		}
		if child.parent != n || child.depth != n.depth+1 || len(child.ids) == 0 || len(child.ids) > k.PageSize {
			k.fail("node %v is not a child of its parent", child.ids)
		}
		if len(child.ids) > 0 && slices.Min(child.ids) < 0 {
			k.fail("page %d is found by %v, want ids", child.page, child.ids)
		}
		if len(child.children) > 0 && len(child.ids) < k.PageSize {
			k.fail("page %d holds %d ids and has children", child.page, len(child.ids))
		}
		k.holders[child.page]++
		if k.Cache.pages.owner[child.page] != child {
			k.fail("page %d does not know its node", child.page)
		}
		idle := k.Cache.pages.holders[child.page] == 1 && child.pins == 0
		if idle != (k.rank[child] > 0) {
			k.fail("page %d: idle is %v, in the list of idle pages %v", child.page, idle, k.rank[child] > 0)
		}
		if up := k.rank[n]; up > 0 && k.rank[child] > up || up > 0 && !idle {
			k.fail("page %d would be evicted before page %d behind it", n.page, child.page)
		}
		if child.pins > 0 {
			k.pinned++
		}
		k.node(child)
	}
}

func (k *checker) snapshot(n *node, s *snapshot) {
	tier := int32(0)
	if s.host {
		tier = 1
	}
	k.use([2]int32{tier, s.row}, fmt.Sprintf("the snapshot behind %v", s.ids))
	if _, length := n.find(s.ids); s.after != n || length != len(s.ids) {
		k.fail("there is no page for the snapshot behind %v", s.ids)
	}
	if (s.link.in == nil) != (s.pins > 0) {
		k.fail("the snapshot behind %v has %d pins and is in a list: %v", s.ids, s.pins, s.link.in != nil)
	}
}

func (k *checker) pages() {
	p := k.Cache.pages
	for _, page := range p.free {
		if p.holders[page] != 0 || p.owner[page] != nil {
			k.fail("page %d is free and held", page)
		}
	}
	free := 0
	for page, n := range k.holders {
		if p.holders[page] != n {
			k.fail("page %d has %d holders, counted as %d", page, n, p.holders[page])
		}
		if n == 0 {
			free++
		}
	}
	if free != len(p.free) {
		k.fail("%d pages are free, %d in the list", free, len(p.free))
	}
	if k.pinned != k.tree.pinned {
		k.fail("%d pages are pinned, counted as %d", k.pinned, k.tree.pinned)
	}
}

func (k *checker) snapshots() {
	s := &k.Cache.snapshots
	for _, row := range s.device {
		k.use([2]int32{0, row}, "the free rows")
	}
	for _, row := range s.host {
		k.use([2]int32{1, row}, "the free rows of the host")
	}
	if want := k.Slots + k.Snapshots + k.Spares + k.HostSnapshots; len(k.rows) != want {
		k.fail("%d rows are accounted for, want %d", len(k.rows), want)
	}
}
