package kv

// Pin keeps the pages of a prefix, and the state behind it, until Unpin.
type Pin struct {
	node     *node
	snapshot *snapshot // nil where there is no recurrent state, or no room for it
	Pages    int       // that nobody else had pinned before
}

// Pin pins ids, all of which the sequence has computed.
func (c *Cache) Pin(s *Sequence, ids []int32) *Pin {
	p := &Pin{node: c.tail(s, ids)}
	for n := p.node; n != c.tree.root; n = n.parent {
		if n.pins++; n.pins == 1 {
			c.tree.pinned++
			c.tree.idle.remove(&n.link)
			p.Pages++
		}
	}
	c.Save(s, ids, true)
	after := p.node.parent
	if k := after.kept(ids[after.depth*c.PageSize:]); k != nil {
		if k.pins++; k.link.in != nil {
			k.link.in.remove(&k.link)
		}
		p.snapshot = k
	}
	return p
}

// Unpin lets the prefix go when its room is needed.
func (c *Cache) Unpin(p *Pin) {
	for n := p.node; n != c.tree.root; n = n.parent {
		if n.pins--; n.pins > 0 {
			continue
		}
		c.tree.pinned--
		if c.pages.holders[n.page] == 1 {
			c.tree.idle.push(&n.link)
		}
	}
	if k := p.snapshot; k != nil {
		k.pins--
		c.used(k)
	}
}
