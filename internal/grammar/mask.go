package grammar

import (
	"bytes"
	"math/bits"
	"slices"
	"sync/atomic"
)

// Masks answers which tokens of a vocabulary may follow in a grammar. What a
// node allows is found out once and kept, for all matchers: the tokens that
// end before their part of the grammar does, and the places in the tree of
// tokens where the part ends within a token, which depend on the caller.
//
// It is safe for concurrent use.
type Masks struct {
	grammar    *Grammar
	vocabulary *Vocabulary
	kept       []atomic.Pointer[entry] // of each node
	size       atomic.Int64            // bytes kept
}

// maxKept is how much memory the kept answers may take.
const maxKept = 64 << 20

// entry is what a node allows.
type entry struct {
	class int32
	next  *entry // the same node in another class

	mask  []uint32 // either of them
	ids   []int32
	reach int32 // deepest nesting that was asked for

	tails  trie      // what is left of the tokens within which the part ends
	owners [][]int32 // the tokens of each tail
}

// NewMasks prepares for matching. It works out ahead what takes long: where
// many tokens are allowed, as within strings.
func NewMasks(g *Grammar, v *Vocabulary) *Masks {
	m := &Masks{grammar: g, vocabulary: v, kept: make([]atomic.Pointer[entry], len(g.nodes))}
	m.prepare()
	return m
}

// maxPrepared limits the work of prepare, in visited nodes of the tree.
const maxPrepared = 40_000_000

// prepare works out the nodes, those first at which most tokens are allowed.
func (m *Masks) prepare() {
	w := newWalker(m)
	for _, wanted := range []func(n *node) bool{
		func(n *node) bool { return n.kind == textNode },
		func(n *node) bool { return n.kind == plainNode && n.table != nil },
		func(n *node) bool { return n.kind == spaceNode || n.kind == insideText || n.table == nil },
	} {
		for i := range m.grammar.nodes {
			n := &m.grammar.nodes[i]
			if !wanted(n) || len(n.edges) == 0 && n.kind != spaceNode {
				continue
			}
			if w.visited > maxPrepared {
				return
			}
			m.entry(w, thread{node: int32(i)})
			for _, count := range n.usual() {
				m.entry(w, thread{node: int32(i), count: count})
			}
		}
	}
	m.prepareLimits(w)
}

// usual returns the counts that a node has most often. Odd ones, because
// tokens cut what indents a line at any place.
func (n *node) usual() []int32 {
	switch n.kind {
	case textNode:
		return []int32{n.text.least}
	case spaceNode:
		return []int32{
			1, newline, newline + 1, newline + 2, newline + 3, newline + 4, newline + 5, newline + 6, newline + 7, newline + 8,
			newline + 10, newline + 12, newline + 16,
		}
	}
	return nil
}

// prepareLimits works out the last characters of strings that have a limit.
func (m *Masks) prepareLimits(w *walker) {
	for i := range m.grammar.nodes {
		n := &m.grammar.nodes[i]
		if n.kind != textNode || n.text.most < 0 {
			continue
		}
		for count := max(0, n.text.most-m.vocabulary.longest); count <= n.text.most && w.visited < maxPrepared; count++ {
			m.entry(w, thread{node: int32(i), count: count})
		}
	}
}

// class tells the counts apart that a single token can make a difference for.
func (m *Masks) class(t thread) int32 {
	n := &m.grammar.nodes[t.node]
	switch n.kind {
	case spaceNode:
		return t.count
	case textNode, insideText:
		longest := m.vocabulary.longest
		room := longest
		if n.text.most >= 0 {
			room = min(n.text.most-t.count, longest)
		}
		return room<<16 | min(max(n.text.least-t.count, 0), longest)
	}
	return 0
}

// entry returns what a thread's node allows.
func (m *Masks) entry(w *walker, t thread) *entry {
	class := m.class(t)
	head := m.kept[t.node].Load()
	for e := head; e != nil; e = e.next {
		if e.class == class {
			return e
		}
	}
	e := m.explore(w, t)
	e.class = class
	if m.size.Add(e.size()) < maxKept {
		for {
			e.next = m.kept[t.node].Load()
			if m.kept[t.node].CompareAndSwap(e.next, e) {
				break
			}
		}
	}
	return e
}

// explore walks through the tree from a node without a caller.
func (m *Masks) explore(w *walker, t thread) *entry {
	v := m.vocabulary
	n := &m.grammar.nodes[t.node]
	e, tree := &entry{}, &v.all
	var exits []int32
	clear(w.scratch)
	if n.kind == textNode && !m.grammar.restricted {
		room := int32(maxPlain)
		if n.text.most >= 0 {
			room = min(n.text.most-t.count, maxPlain)
		}
		copy(w.scratch, v.plain[room])
		tree = &v.rest
	}
	w.run = run{nodes: m.grammar.nodes, frames: append(w.own[:0], frame{}), threads: append(w.threads[:0], thread{t.node, t.count, 0})}
	w.out, w.exits, w.owners = w.scratch, &exits, nil
	w.root(tree)
	e.reach, w.own = w.reach, w.frames
	e.keep(w.scratch)
	e.gather(v, tree, exits)
	return e
}

// size returns about how much memory an entry takes.
func (e *entry) size() int64 {
	return int64(4*(len(e.mask)+len(e.ids))+12*len(e.tails.nodes)+32*len(e.owners)) + 1200
}

// gather arranges what follows the exits: many tokens go on in the same way.
func (e *entry) gather(v *Vocabulary, tree *trie, exits []int32) {
	type cut struct {
		tail []byte
		id   int32
	}
	var cuts []cut
	for _, at := range exits {
		from := int(tree.nodes[at].depth) + 1
		for i := at + 1; i < tree.nodes[at].skip; i++ {
			if id := tree.nodes[i].token; id >= 0 {
				cuts = append(cuts, cut{v.bytes[id][from:], id})
			}
		}
	}
	if len(cuts) == 0 {
		return
	}
	slices.SortFunc(cuts, func(a, b cut) int { return bytes.Compare(a.tail, b.tail) })
	var (
		ids    = make([]int32, len(cuts))
		texts  [][]byte
		number []int32
	)
	for i, from := 0, 0; i < len(cuts); i++ {
		ids[i] = cuts[i].id
		if i+1 == len(cuts) || !bytes.Equal(cuts[i].tail, cuts[i+1].tail) {
			number = append(number, int32(len(texts)))
			texts, e.owners = append(texts, cuts[i].tail), append(e.owners, ids[from:i+1:i+1])
			from = i + 1
		}
	}
	e.tails = newTrie(number, texts)
}

// keep stores a mask as a list where that is shorter.
func (e *entry) keep(mask []uint32) {
	n := 0
	for _, word := range mask {
		n += bits.OnesCount32(word)
	}
	if n >= len(mask) {
		e.mask = append([]uint32(nil), mask...)
		return
	}
	e.ids = make([]int32, 0, n)
	for i, word := range mask {
		for ; word != 0; word &= word - 1 {
			e.ids = append(e.ids, int32(32*i+bits.TrailingZeros32(word)))
		}
	}
}

// addTo joins the entry's tokens with a mask's.
func (e *entry) addTo(mask []uint32) {
	if e.mask != nil {
		for i, word := range e.mask {
			mask[i] |= word
		}
		return
	}
	for _, id := range e.ids {
		mask[id/32] |= 1 << (id % 32)
	}
}

// walker goes through a tree of tokens and runs the automaton beside.
type walker struct {
	run
	vocabulary *Vocabulary
	levels     [maxToken + 2]level
	out        []uint32
	exits      *[]int32  // nodes, with others below, at which the part ends; nil: the callers are known
	owners     [][]int32 // not nil: the tree is one of tails
	scratch    []uint32
	own        []frame // room for the stacks of explore
	visited    int
}

// level says which threads there are after a number of bytes.
type level struct{ lo, hi, frames int32 }

func newWalker(m *Masks) *walker {
	return &walker{vocabulary: m.vocabulary, scratch: make([]uint32, m.vocabulary.Words())}
}

// root walks through the whole tree from the run's threads.
func (w *walker) root(t *trie) {
	hi := int32(len(w.threads))
	for b, at := range t.first {
		if at >= 0 && w.starts(0, hi, byte(b)) {
			w.walk(t, at, t.nodes[at].skip, 0, hi)
		}
	}
}

// starts reports whether a byte may lead one of the threads on.
func (w *walker) starts(lo, hi int32, b byte) bool {
	for _, t := range w.threads[lo:hi] {
		n := &w.nodes[t.node]
		if n.next(b) >= 0 || n.kind == spaceNode && (b == ' ' || b == '\n' || b == '\t') {
			return true
		}
	}
	return false
}

// advance is step, with a short cut for the most frequent case: one thread
// within a regular part.
func (w *walker) advance(l level, b byte) bool {
	if l.hi-l.lo != 1 {
		return w.step(l.lo, l.hi, b)
	}
	t := w.threads[l.lo]
	n := &w.nodes[t.node]
	if n.kind != plainNode || n.table == nil {
		return w.step(l.lo, l.hi, b)
	}
	w.ended = false
	to := n.table[b]
	if to < 0 {
		return false
	}
	if !w.nodes[to].simple {
		return w.step(l.lo, l.hi, b)
	}
	w.threads = append(w.threads, thread{to, 0, t.frame})
	return true
}

// mark sets a token, or those of a tail.
func (w *walker) mark(token int32) {
	if w.owners == nil {
		w.vocabulary.set(w.out, token)
		return
	}
	for _, id := range w.owners[token] {
		w.vocabulary.set(w.out, id)
	}
}

// walk visits the nodes [from, to) of a tree, brothers with all that is below
// them, and marks the tokens that the threads [lo, hi) allow.
func (w *walker) walk(t *trie, from, to, lo, hi int32) {
	base := t.nodes[from].depth
	w.levels[0] = level{lo, hi, int32(len(w.frames))}
	for i := from; i < to; {
		n := &t.nodes[i]
		l := w.levels[n.depth-base]
		w.threads, w.frames = w.threads[:l.hi], w.frames[:l.frames]
		w.visited++
		before := int32(len(w.threads))
		if !w.advance(l, n.label) {
			i = n.skip
			continue
		}
		if n.token >= 0 {
			w.mark(n.token)
		}
		if w.ended && w.exits != nil && n.skip > i+1 {
			*w.exits = append(*w.exits, i)
		}
		if int32(len(w.threads)) == before {
			i = n.skip
			continue
		}
		w.levels[n.depth-base+1] = level{before, int32(len(w.threads)), int32(len(w.frames))}
		i++
	}
	w.threads, w.frames = w.threads[:hi], w.frames[:w.levels[0].frames]
}
