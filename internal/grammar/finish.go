package grammar

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// ErrEmpty is returned for grammars that no text fits.
var ErrEmpty = errors.New("no text fits the grammar")

// endless is the depth of a node from which there is no way to the end.
const endless = math.MaxInt32

// finish turns the nodes into a grammar: without bytes that cannot be written,
// and without any way that does not lead to the end.
func (b *builder) finish(start int32, writable *[256]bool) (*Grammar, error) {
	if b.err != nil {
		return nil, b.err
	}
	if err := b.checkLoops(); err != nil {
		return nil, err
	}
	if writable != nil {
		b.restrict(writable)
	}
	b.measure()
	for b.starved() {
		b.measure()
	}
	switch depth := b.nodes[start].depth; {
	case depth == endless:
		return nil, ErrEmpty
	case depth > MaxDepth:
		return nil, fmt.Errorf("%w: every text nests %d levels, want at most %d", ErrTooLarge, depth, MaxDepth)
	}
	b.prune()
	g := &Grammar{nodes: b.nodes, start: start, restricted: writable != nil}
	g.index()
	return g, nil
}

// restrict takes out the bytes that cannot be written.
func (b *builder) restrict(writable *[256]bool) {
	for i := range b.nodes {
		if b.nodes[i].kind == markerNode {
			continue
		}
		var kept []edge
		for _, e := range b.nodes[i].edges {
			for c := int(e.lo); c <= int(e.hi); c++ {
				if !writable[c] {
					continue
				}
				lo := c
				for c < int(e.hi) && writable[c+1] {
					c++
				}
				kept = append(kept, edge{byte(lo), byte(c), e.to})
			}
		}
		b.nodes[i].edges = kept
	}
}

// measure finds each node's depth: the least over its ways to the end of the
// most calls that are nested on the way.
func (b *builder) measure() {
	for i := range b.nodes {
		b.nodes[i].depth = endless
	}
	for changed := true; changed; {
		changed = false
		for i := range b.nodes {
			if d := b.depth(&b.nodes[i]); d < b.nodes[i].depth {
				b.nodes[i].depth, changed = d, true
			}
		}
	}
}

func (b *builder) depth(n *node) int32 {
	if n.final {
		return 0
	}
	best := int32(endless)
	for _, e := range n.edges {
		best = min(best, b.nodes[e.to].depth)
	}
	for _, to := range n.free {
		best = min(best, b.nodes[to].depth)
	}
	for _, c := range n.calls {
		best = min(best, b.through(c.body, c.then))
	}
	if c := n.count; c != nil && c.least == 0 {
		best = min(best, b.nodes[c.then].depth)
	} else if c != nil {
		best = min(best, b.through(c.body, c.then))
	}
	return best
}

// through returns the depth of a call.
func (b *builder) through(body, then int32) int32 {
	if b.nodes[body].depth == endless {
		return endless
	}
	return max(b.nodes[body].depth+1, b.nodes[then].depth)
}

// starved finds strings that must not end yet and have no character to go on
// with, and takes their end away.
func (b *builder) starved() bool {
	found := false
	for i := range b.nodes {
		n := &b.nodes[i]
		if n.kind != textNode || n.text.least == 0 || n.depth == endless {
			continue
		}
		alive := func(e edge) bool { return e.lo != '"' && b.nodes[e.to].depth < endless }
		if !slices.ContainsFunc(n.edges, alive) {
			n.edges, found = nil, true
		}
	}
	return found
}

// prune takes out the ways that do not lead to the end.
func (b *builder) prune() {
	alive := func(at int32) bool { return b.nodes[at].depth < endless }
	for i := range b.nodes {
		n := &b.nodes[i]
		n.edges = slices.DeleteFunc(n.edges, func(e edge) bool { return !alive(e.to) })
		n.free = slices.DeleteFunc(n.free, func(to int32) bool { return !alive(to) })
		n.calls = slices.DeleteFunc(n.calls, func(c call) bool { return !alive(c.body) || !alive(c.then) })
		if c := n.count; c != nil && !alive(c.body) {
			n.count = nil
			n.free = append(n.free, c.then) // alive: otherwise the node is not
		}
	}
}

// checkLoops refuses parts that begin with themselves: nothing would ever be
// written before the next call.
func (b *builder) checkLoops() error {
	empty := b.nullable()
	for i := range b.nodes {
		if c := b.nodes[i].count; c != nil && empty[c.body] {
			return errors.New("a repeated part may be empty")
		}
	}
	state := make([]uint8, len(b.nodes)) // 1: on the path, 2: done
	var visit func(at int32) bool
	visit = func(at int32) bool {
		if state[at] != 0 {
			return state[at] == 1
		}
		state[at] = 1
		for _, to := range b.firsts(at, empty) {
			if visit(to) {
				return true
			}
		}
		state[at] = 2
		return false
	}
	for i := range b.nodes {
		if visit(int32(i)) {
			return errors.New("it refers to itself without an end")
		}
	}
	return nil
}

// firsts returns the nodes that are reached from a node without a byte.
func (b *builder) firsts(at int32, empty []bool) []int32 {
	n := &b.nodes[at]
	out := slices.Clone(n.free)
	for _, c := range n.calls {
		if out = append(out, c.body); empty[c.body] {
			out = append(out, c.then)
		}
	}
	if n.count != nil {
		out = append(out, n.count.body, n.count.then)
	}
	return out
}

// nullable reports which nodes may end their part at once.
func (b *builder) nullable() []bool {
	empty := make([]bool, len(b.nodes))
	for changed := true; changed; {
		changed = false
		for i := range b.nodes {
			n := &b.nodes[i]
			if empty[i] {
				continue
			}
			is := n.final
			for _, to := range n.free {
				is = is || empty[to]
			}
			for _, c := range n.calls {
				is = is || empty[c.body] && empty[c.then]
			}
			is = is || n.count != nil && n.count.least == 0 && empty[n.count.then]
			if is {
				empty[i], changed = true, true
			}
		}
	}
	return empty
}

// Grammar is an automaton that accepts certain texts: a start, nodes, and
// calls that give it a stack. It does not change, and is safe for concurrent
// use.
type Grammar struct {
	nodes      []node
	start      int32
	restricted bool // to the bytes that a vocabulary can write
}

// manyEdges is the number of edges from which a node gets a table.
const manyEdges = 4

// index prepares the nodes for matching.
func (g *Grammar) index() {
	for i := range g.nodes {
		n := &g.nodes[i]
		n.simple = len(n.free) == 0 && len(n.calls) == 0 && n.count == nil && !n.final
		if len(n.edges) <= manyEdges {
			continue
		}
		n.table = new([256]int32)
		for b := range n.table {
			n.table[b] = -1
		}
		for _, e := range n.edges {
			for b := int(e.lo); b <= int(e.hi); b++ {
				n.table[b] = e.to
			}
		}
	}
}

// Len returns the number of nodes.
func (g *Grammar) Len() int { return len(g.nodes) }
