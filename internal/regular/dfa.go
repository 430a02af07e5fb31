// Package regular builds deterministic automata over bytes: of patterns, of
// formats such as dates, of numbers within bounds, and of their intersections.
//
// It knows bytes, characters and how JSON writes them. It knows no schemas, no
// nesting and no tokens.
package regular

import (
	"encoding/binary"
	"slices"
)

// DFA is a deterministic automaton. Its start is state 0; from each of its
// states a text can come to an end, unless the automaton is Empty.
type DFA struct {
	class  [256]uint8 // bytes that behave alike
	width  int        // number of classes
	next   []int32    // [states, width], -1 for none
	accept []bool     // [states]
}

// Len returns the number of states.
func (d *DFA) Len() int { return len(d.accept) }

// Empty reports whether no text is accepted.
func (d *DFA) Empty() bool { return len(d.accept) == 0 }

// Accept reports whether a text may end in a state.
func (d *DFA) Accept(state int) bool { return d.accept[state] }

// Next returns the state after a byte, -1 if there is none.
func (d *DFA) Next(state int, b byte) int {
	return int(d.next[state*d.width+int(d.class[b])])
}

// Match reports whether a text is accepted.
func (d *DFA) Match(text string) bool {
	if d.Empty() {
		return false
	}
	state := 0
	for i := range len(text) {
		if state = d.Next(state, text[i]); state < 0 {
			return false
		}
	}
	return d.accept[state]
}

// Intersect returns the automaton of the texts that both accept.
func Intersect(a, b *DFA) (*DFA, error) {
	return product(a, b, func(x, y bool) bool { return x && y })
}

// Subtract returns the automaton of the texts that a accepts and b does not.
func Subtract(a, b *DFA) (*DFA, error) {
	return product(a, b, func(x, y bool) bool { return x && !y })
}

// Union returns the automaton of the texts that one of both accepts.
func Union(a, b *DFA) (*DFA, error) {
	return product(a, b, func(x, y bool) bool { return x || y })
}

// product runs both automata side by side. A state of -1 has stopped.
func product(a, b *DFA, accept func(x, y bool) bool) (*DFA, error) {
	p := &pairs{ids: map[[2]int32]int32{}, out: &DFA{}}
	bounds := p.classes(a, b)
	first := func(d *DFA) int32 {
		if d.Empty() {
			return -1
		}
		return 0
	}
	p.id(first(a), first(b))
	for i := 0; i < len(p.list); i++ {
		if len(p.list) > MaxStates {
			return nil, errTooLarge("an intersection", MaxStates)
		}
		x, y := p.list[i][0], p.list[i][1]
		p.out.accept = append(p.out.accept, accept(x >= 0 && a.accept[x], y >= 0 && b.accept[y]))
		for _, c := range bounds {
			p.out.next = append(p.out.next, p.id(a.after(x, c), b.after(y, c)))
		}
	}
	return p.out.minimize(), nil
}

func (d *DFA) after(state int32, b byte) int32 {
	if state < 0 {
		return -1
	}
	return d.next[int(state)*d.width+int(d.class[b])]
}

type pairs struct {
	ids  map[[2]int32]int32
	list [][2]int32
	out  *DFA
}

// id returns the number of a pair of states.
func (p *pairs) id(x, y int32) int32 {
	if x < 0 && y < 0 {
		return -1
	}
	key := [2]int32{x, y}
	id, ok := p.ids[key]
	if !ok {
		id = int32(len(p.list))
		p.ids[key] = id
		p.list = append(p.list, key)
	}
	return id
}

// classes joins the classes of both and returns a byte of each.
func (p *pairs) classes(a, b *DFA) (bounds []byte) {
	known := map[[2]uint8]uint8{}
	for c := range 256 {
		key := [2]uint8{a.class[c], b.class[c]}
		id, ok := known[key]
		if !ok {
			id = uint8(len(bounds))
			known[key] = id
			bounds = append(bounds, byte(c))
		}
		p.out.class[c] = id
	}
	p.out.width = len(bounds)
	return bounds
}

// minimize returns the smallest automaton of the same texts, without the
// states that cannot reach an end.
func (d *DFA) minimize() *DFA {
	live := d.live()
	if d.Empty() || !live[0] {
		return &DFA{width: 1}
	}
	group, groups := make([]int32, d.Len()), 0
	for s := range group {
		if group[s] = -1; live[s] {
			group[s] = 0
			if d.accept[s] {
				group[s] = 1
			}
		}
	}
	for {
		next, n := d.refine(group)
		if group = next; n == groups {
			break
		}
		groups = n
	}
	return d.quotient(group, groups)
}

// live reports which states can reach an end.
func (d *DFA) live() []bool {
	before := make([][]int32, d.Len())
	for s := range d.accept {
		for _, to := range d.next[s*d.width:][:d.width] {
			if to >= 0 {
				before[to] = append(before[to], int32(s))
			}
		}
	}
	live := slices.Clone(d.accept)
	var queue []int32
	for s, ok := range live {
		if ok {
			queue = append(queue, int32(s))
		}
	}
	for len(queue) > 0 {
		s := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, p := range before[s] {
			if !live[p] {
				live[p] = true
				queue = append(queue, p)
			}
		}
	}
	return live
}

// refine splits groups of states by the groups that their bytes lead to.
func (d *DFA) refine(group []int32) (next []int32, n int) {
	next = make([]int32, len(group))
	ids := map[string]int32{}
	var key []byte
	for s, g := range group {
		if next[s] = -1; g < 0 {
			continue
		}
		key = binary.LittleEndian.AppendUint32(key[:0], uint32(g))
		for _, to := range d.next[s*d.width:][:d.width] {
			at := int32(-1)
			if to >= 0 {
				at = group[to]
			}
			key = binary.LittleEndian.AppendUint32(key, uint32(at))
		}
		id, ok := ids[string(key)]
		if !ok {
			id = int32(len(ids))
			ids[string(key)] = id
		}
		next[s] = id
	}
	return next, len(ids)
}

// quotient returns the automaton of the groups. The start, being the first
// state, is in group 0.
func (d *DFA) quotient(group []int32, groups int) *DFA {
	out := &DFA{class: d.class, width: d.width, next: make([]int32, groups*d.width), accept: make([]bool, groups)}
	for s, g := range group {
		if g < 0 {
			continue
		}
		out.accept[g] = d.accept[s]
		for c, to := range d.next[s*d.width:][:d.width] {
			at := int32(-1)
			if to >= 0 {
				at = group[to]
			}
			out.next[int(g)*d.width+c] = at
		}
	}
	return out
}
