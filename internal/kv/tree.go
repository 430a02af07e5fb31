package kv

import "slices"

// tree finds pages by the ids that led to them. A node is a page, its path
// from the root the ids before it, so equal content is found wherever it was
// computed. Only full pages have children; a leaf may be filled in part.
type tree struct {
	root   *node
	idle   list[*node] // nodes whose pages nobody else holds: may be evicted
	pinned int         // nodes
	gone   ghosts
}

// node is a page whose content is known.
//
// A sequence that holds a node's page holds those of all nodes above, too. So
// nodes become idle from the leaves up, and the first of the idle ones has no
// children.
type node struct {
	parent    *node
	depth     int     // pages from the beginning to here, this one included
	ids       []int32 // of the page's positions
	page      int32
	children  []*node     // ordered by ids
	snapshots []*snapshot // within the page behind this one, ordered by ids
	lost      int         // ids of this page behind which a snapshot had to go; 0: none
	hash      uint64      // of all ids from the root, where the page is full
	pins      int
	link      link[*node]
}

func newTree(ghosts int) tree {
	return tree{root: &node{hash: 14695981039346656037}, gone: newGhosts(ghosts)}
}

// chain continues a hash (FNV-1a over the bytes of ids).
func chain(h uint64, ids []int32) uint64 {
	for _, id := range ids {
		for shift := 0; shift < 32; shift += 8 {
			h = (h ^ uint64(uint8(id>>shift))) * 1099511628211
		}
	}
	return h
}

// common returns the length of the common prefix.
func common(a, b []int32) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// find returns the child that has most in common with the beginning of ids,
// and how much that is. Children are ordered, so it is one of the two that ids
// would stand between.
func (n *node) find(ids []int32) (child *node, length int) {
	i, _ := n.search(ids)
	for _, k := range []int{i - 1, i} {
		if k >= 0 && k < len(n.children) {
			if c := common(n.children[k].ids, ids); c > length {
				child, length = n.children[k], c
			}
		}
	}
	return child, length
}

// search returns the place of ids among the children.
func (n *node) search(ids []int32) (at int, there bool) {
	return slices.BinarySearchFunc(n.children, ids, func(c *node, ids []int32) int {
		return slices.Compare(c.ids, ids)
	})
}

// record tells the tree what a sequence's pages hold: ids were computed. A page
// that somebody else has computed before takes the place of the sequence's own.
func (c *Cache) record(s *Sequence, ids []int32) {
	if !c.Prefixes {
		return
	}
	for size := c.PageSize; ; {
		at := s.last.depth * size
		if at+size > len(ids) {
			return
		}
		n := c.insert(s.last, ids[at:at+size], s.Pages[s.last.depth])
		if own := s.Pages[s.last.depth]; own != n.page {
			c.hold(n.page)
			c.drop(own)
			s.Pages[s.last.depth] = n.page
		}
		s.last = n
	}
}

// tail records the last page of ids, which need not be full, and returns its
// node. Where somebody else has computed the same, the sequence keeps its own
// page nevertheless, to go on writing there.
func (c *Cache) tail(s *Sequence, ids []int32) *node {
	c.record(s, ids)
	at := s.last.depth * c.PageSize
	if at == len(ids) {
		return s.last
	}
	return c.insert(s.last, ids[at:], s.Pages[s.last.depth])
}

// insert returns the child whose page begins with ids. If there is none, page
// becomes one, or takes the place of one that holds less.
func (c *Cache) insert(parent *node, ids []int32, page int32) *node {
	n, length := parent.find(ids)
	switch {
	case n != nil && length == len(ids):
		return n
	case n != nil && length == len(n.ids):
		c.replace(n, page)
	default:
		n = &node{parent: parent, depth: parent.depth + 1}
		n.link.of = n
		at, _ := parent.search(ids)
		parent.children = slices.Insert(parent.children, at, n)
		c.attach(n, page)
	}
	n.ids = append(n.ids[:0], ids...)
	if len(ids) == c.PageSize {
		n.hash = chain(parent.hash, ids)
	}
	return n
}

// attach makes the tree a holder of a page that a sequence holds.
func (c *Cache) attach(n *node, page int32) {
	n.page = page
	c.pages.holders[page]++
	c.pages.owner[page] = n
}

// replace gives a node another page, which holds more.
func (c *Cache) replace(n *node, page int32) {
	if n.page == page {
		return
	}
	c.tree.idle.remove(&n.link)
	c.pages.owner[n.page] = nil
	c.drop(n.page)
	c.attach(n, page)
}

// evict frees the page that was not used for longest.
func (c *Cache) evict() {
	n := c.tree.idle.first.of
	if len(n.children) > 0 {
		panic("kv: a page with pages behind it is to be evicted")
	}
	c.tree.idle.remove(&n.link)
	if len(n.ids) == c.PageSize {
		c.tree.gone.add(n.hash)
	}
	n.parent.remove(n)
	c.pages.owner[n.page] = nil
	c.drop(n.page)
	for length := len(n.ids); length > 0 && len(n.parent.snapshots) > 0; length-- {
		k := n.parent.kept(n.ids[:length])
		if k == nil {
			continue
		}
		if _, still := n.parent.find(k.ids); still < length { // no other page begins like that
			c.forget(k)
		}
	}
}

// touch puts off the eviction of an idle node.
func (c *Cache) touch(n *node) {
	if n.link.in != nil {
		c.tree.idle.push(&n.link)
	}
}

func (n *node) remove(child *node) {
	at, _ := n.search(child.ids)
	n.children = slices.Delete(n.children, at, at+1)
}

// ghosts remembers which full pages were evicted, the newest only.
type ghosts struct {
	set  map[uint64]int // how often a hash stands in the ring
	ring []uint64
	next int
}

func newGhosts(n int) ghosts { return ghosts{set: map[uint64]int{}, ring: make([]uint64, max(n, 1))} }

func (g *ghosts) add(hash uint64) {
	old := g.ring[g.next]
	if g.set[old]--; g.set[old] <= 0 {
		delete(g.set, old)
	}
	g.ring[g.next] = hash
	g.set[hash]++
	g.next = (g.next + 1) % len(g.ring)
}

func (g *ghosts) has(hash uint64) bool { return g.set[hash] > 0 }
