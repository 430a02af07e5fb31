package grammar

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/godwit-llm/godwit/internal/regular"
)

// node is a state of the pushdown automaton. It is left by a byte, or without
// one: to another node, into a call, or, where its part of the grammar may
// end, back to the node that the caller wants next.
type node struct {
	edges  []edge      // disjoint, ascending
	table  *[256]int32 // the edges of a node that has many, -1 for none
	free   []int32     // nodes that stand in this one's place
	calls  []call      // parts to run through first
	count  *counted    // not nil: a repetition
	text   *textLimits // not nil: between two characters of a string
	kind   nodeKind    //
	final  bool        // the part may end here
	simple bool        // it is left by a byte only
	depth  int32       // least number of nested calls on the way to the end
}

type nodeKind uint8

const (
	plainNode  nodeKind = iota
	spaceNode           // white space may stand here first
	textNode            // between two characters of a string
	insideText          // within a character of a string
	markerNode          // of a special token
)

type edge struct {
	lo, hi byte
	to     int32
}

type call struct{ body, then int32 }

// counted repeats a part: the body is called up to most times, then the node
// continues with then. most below 0 is no limit.
type counted struct {
	body, then  int32
	least, most int32
}

// textLimits are a string's least and most characters; most below 0 is no limit.
type textLimits struct{ least, most int32 }

// The limits of a grammar.
const (
	MaxNodes  = 300_000 // nodes of an automaton
	MaxDepth  = 256     // nested calls while a text is matched
	maxIndent = 40      // spaces or tabs at the beginning of a line between the tokens of JSON
)

// ErrTooLarge is wrapped by the errors about grammars over a limit.
var ErrTooLarge = errors.New("grammar is too large")

// builder makes nodes from the back to the front: a part is built with the
// node that follows it.
type builder struct {
	nodes  []node
	end    int32            // the node at which every part ends
	dead   int32            // a node without a way on
	shared map[string]int32 // parts that end in end, by what they are
	parts  int              // documents so far
	err    error
}

func newBuilder() *builder {
	b := &builder{shared: map[string]int32{}}
	b.end = b.add(node{final: true})
	b.dead = b.add(node{})
	return b
}

func (b *builder) add(n node) int32 {
	if len(b.nodes) >= MaxNodes {
		b.fail(fmt.Errorf("%w: more than %d nodes", ErrTooLarge, MaxNodes))
		return 0
	}
	b.nodes = append(b.nodes, n)
	return int32(len(b.nodes) - 1)
}

// fail keeps the first fault.
func (b *builder) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// full reports whether building is of no use any more.
func (b *builder) full() bool { return b.err != nil }

// once builds a part that ends the part it is in, once for each key.
func (b *builder) once(key string, build func(at int32)) int32 {
	if at, ok := b.shared[key]; ok {
		return at
	}
	at := b.add(node{})
	b.shared[key] = at
	build(at)
	return at
}

// literal returns the node from which the bytes of a text lead to next.
func (b *builder) literal(text string, next int32) int32 {
	for i := len(text) - 1; i >= 0; i-- {
		next = b.add(node{edges: []edge{{text[i], text[i], next}}})
	}
	return next
}

// choice returns a node that stands for several.
func (b *builder) choice(starts ...int32) int32 {
	if len(starts) == 1 {
		return starts[0]
	}
	return b.add(node{free: starts})
}

// space returns a node where white space may come first.
func (b *builder) space(n node) int32 {
	n.kind = spaceNode
	return b.add(n)
}

// mark returns the node for white space and a character.
func (b *builder) mark(c byte, next int32) int32 {
	return b.space(node{edges: []edge{{c, c, next}}})
}

// called returns the node for white space and a part, called.
func (b *builder) called(body, next int32) int32 {
	return b.space(node{calls: []call{{body, next}}})
}

// automaton returns the start of a regular part in front of next.
func (b *builder) automaton(d *regular.DFA, next int32) int32 {
	if d.Empty() {
		return b.dead
	}
	first := int32(len(b.nodes))
	for s := range d.Len() {
		var n node
		if d.Accept(s) {
			n.free = []int32{next}
		}
		for c := 0; c < 256; c++ {
			to := d.Next(s, byte(c))
			if to < 0 {
				continue
			}
			lo := c
			for c < 255 && d.Next(s, byte(c+1)) == to {
				c++
			}
			n.edges = append(n.edges, edge{byte(lo), byte(c), first + int32(to)})
		}
		b.absorb(&n)
		if b.add(n); b.full() {
			return b.dead
		}
	}
	return first
}

// absorb takes over the edges of the node that stands in n's place, if there
// is one and no byte leads two ways then.
func (b *builder) absorb(n *node) {
	if len(n.free) == 0 {
		return
	}
	next := &b.nodes[n.free[0]]
	if next.kind != plainNode || len(next.edges) == 0 || next.final || len(next.free)+len(next.calls) > 0 || next.count != nil {
		return
	}
	edges := slices.Concat(n.edges, next.edges)
	slices.SortFunc(edges, func(x, y edge) int { return cmp.Compare(x.lo, y.lo) })
	for i := 1; i < len(edges); i++ {
		if edges[i].lo <= edges[i-1].hi {
			return
		}
	}
	n.edges, n.free = edges, nil
}

// text returns the start of the inside of a string of least to most
// characters, escapes in any form, and the quote that ends it.
func (b *builder) text(least, most int, next int32) int32 {
	limits := &textLimits{int32(least), int32(most)}
	at := b.add(node{text: limits, kind: textNode})
	in := func(edges ...edge) int32 { return b.add(node{edges: edges, text: limits, kind: insideText}) }
	tail := in(edge{0x80, 0xBF, at})
	tail2 := in(edge{0x80, 0xBF, tail})
	b.nodes[at].edges = []edge{
		{' ', '!', at},
		{'"', '"', next},
		{'#', '[', at},
		{'\\', '\\', escapes(in, at)},
		{']', 0x7F, at},
		{0xC2, 0xDF, tail},
		{0xE0, 0xE0, in(edge{0xA0, 0xBF, tail})},
		{0xE1, 0xEC, tail2},
		{0xED, 0xED, in(edge{0x80, 0x9F, tail})},
		{0xEE, 0xEF, tail2},
		{0xF0, 0xF0, in(edge{0x90, 0xBF, tail2})},
		{0xF1, 0xF3, in(edge{0x80, 0xBF, tail2})},
		{0xF4, 0xF4, in(edge{0x80, 0x8F, tail2})},
	}
	return at
}

// escapes returns the node after a backslash. The first half of a surrogate
// pair is followed by the second, which never stands alone.
func escapes(in func(...edge) int32, next int32) int32 {
	hex := func(next int32) int32 { return in(edge{'0', '9', next}, edge{'A', 'F', next}, edge{'a', 'f', next}) }
	two := hex(hex(next))
	three := hex(two)
	second := in(edge{'C', 'F', two}, edge{'c', 'f', two})
	second = in(edge{'\\', '\\', in(edge{'u', 'u', in(edge{'D', 'D', second}, edge{'d', 'd', second})})})
	first := hex(hex(second))
	afterD := in(edge{'0', '7', two}, edge{'8', '9', first}, edge{'A', 'B', first}, edge{'a', 'b', first})
	code := in(edge{'0', '9', three}, edge{'A', 'C', three}, edge{'D', 'D', afterD}, edge{'E', 'F', three},
		edge{'a', 'c', three}, edge{'d', 'd', afterD}, edge{'e', 'f', three})
	return in(edge{'"', '"', next}, edge{'/', '/', next}, edge{'\\', '\\', next}, edge{'b', 'b', next}, edge{'f', 'f', next},
		edge{'n', 'n', next}, edge{'r', 'r', next}, edge{'t', 't', next}, edge{'u', 'u', code})
}
