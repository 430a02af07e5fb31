package kv

import "fmt"

// pool counts the holders of each page: sequences, and the tree.
type pool struct {
	holders []int32 // of each page
	owner   []*node // of the pages that the tree holds
	free    []int32
}

func newPool(pages int) pool {
	return pool{holders: make([]int32, pages), owner: make([]*node, pages), free: numbers(0, pages)}
}

// available returns how many pages can be had: free ones, and those that only
// the tree holds.
func (c *Cache) available() int { return len(c.pages.free) + c.tree.idle.len }

// take returns a page that nobody holds. Where none is free, the least
// recently used one of the tree goes. The caller has made sure that there is
// one.
func (c *Cache) take() int32 {
	p := &c.pages
	if len(p.free) == 0 {
		c.evict()
	}
	page := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	p.holders[page] = 1
	return page
}

// hold adds a holder to a page that has one.
func (c *Cache) hold(page int32) {
	p := &c.pages
	if p.holders[page] < 1 {
		panic(fmt.Sprintf("kv: page %d is held by nobody", page))
	}
	p.holders[page]++
	if n := p.owner[page]; n != nil {
		c.tree.idle.remove(&n.link)
	}
}

// drop takes a holder away. What only the tree holds then may be evicted.
func (c *Cache) drop(page int32) {
	p := &c.pages
	if p.holders[page] < 1 {
		panic(fmt.Sprintf("kv: page %d was given back too often", page))
	}
	p.holders[page]--
	switch n := p.owner[page]; {
	case p.holders[page] == 0:
		p.free = append(p.free, page)
	case p.holders[page] == 1 && n != nil && n.pins == 0:
		c.tree.idle.push(&n.link)
	}
}
