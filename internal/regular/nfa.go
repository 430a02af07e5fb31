package regular

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// MaxStates is the most states that an automaton of this package may have.
const MaxStates = 10000

// ErrTooLarge is wrapped by the errors about automata with too many states.
var ErrTooLarge = errors.New("automaton is too large")

func errTooLarge(what string, n int) error {
	return fmt.Errorf("%w: %s has more than %d states", ErrTooLarge, what, n)
}

// nfa is built backwards: a part is made with the state that follows it.
type nfa struct{ states []nfaState }

type nfaState struct {
	edges []byteEdge
	free  []int32 // states reached without a byte
	begin []int32 // the same, at the beginning of the text only
	end   []int32 // the same, at the end of the text only
}

type byteEdge struct {
	lo, hi byte
	to     int32
}

// add returns a new state with ways that cost no byte.
func (n *nfa) add(free ...int32) int32 {
	n.states = append(n.states, nfaState{free: free})
	return int32(len(n.states) - 1)
}

// edge returns a new state from which the bytes lo to hi lead to a state.
func (n *nfa) edge(lo, hi byte, to int32) int32 {
	s := n.add()
	n.states[s].edges = []byteEdge{{lo, hi, to}}
	return s
}

// text returns a new state from which the bytes of a text lead to a state.
func (n *nfa) text(text string, to int32) int32 {
	for i := len(text) - 1; i >= 0; i-- {
		to = n.edge(text[i], text[i], to)
	}
	return to
}

// loop returns a state that leads on, or through a part back to itself.
func (n *nfa) loop(next int32, part func(back int32) int32) int32 {
	l := n.add(next)
	n.states[l].free = append(n.states[l].free, part(l))
	return l
}

// subsets is the state of the subset construction.
type subsets struct {
	n      *nfa
	match  int32
	ids    map[string]int32
	sets   [][]int32
	out    *DFA
	bounds []byte // first byte of each class
	alive  []bool // states that lead to match from the middle of a text
	seen   []int  // stamp of the last closure that met a state
	stamp  int
}

// determinize returns the automaton of the texts that lead from start to
// match, with no state that cannot reach the end.
func (n *nfa) determinize(start, match int32) (*DFA, error) {
	if len(n.states) > 20*MaxStates {
		return nil, errTooLarge("a pattern", 20*MaxStates)
	}
	s := &subsets{n: n, match: match, ids: map[string]int32{}, out: &DFA{}, seen: make([]int, len(n.states)), alive: n.alive(match)}
	s.classes()
	s.id(s.closure([]int32{start}, true, false))
	for i := 0; i < len(s.sets); i++ {
		if len(s.sets) > MaxStates {
			return nil, errTooLarge("a pattern", MaxStates)
		}
		for c, b := range s.bounds {
			to := int32(-1)
			if targets := s.move(s.sets[i], b); len(targets) > 0 {
				to = s.id(s.closure(targets, false, false))
			}
			s.out.next[i*s.out.width+c] = to
		}
	}
	return s.out.minimize(), nil
}

// alive reports which states lead to match without passing the beginning of
// the text. Those that do not, such as what an anchored pattern may never skip,
// need not be carried along.
func (n *nfa) alive(match int32) []bool {
	before := make([][]int32, len(n.states))
	for i, s := range n.states {
		for _, e := range s.edges {
			before[e.to] = append(before[e.to], int32(i))
		}
		for _, to := range slices.Concat(s.free, s.end) {
			before[to] = append(before[to], int32(i))
		}
	}
	alive := make([]bool, len(n.states))
	alive[match] = true
	for queue := []int32{match}; len(queue) > 0; {
		at := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, p := range before[at] {
			if !alive[p] {
				alive[p] = true
				queue = append(queue, p)
			}
		}
	}
	return alive
}

// classes finds the bytes that no edge tells apart.
func (s *subsets) classes() {
	var first [257]bool
	first[0] = true
	for _, st := range s.n.states {
		for _, e := range st.edges {
			first[e.lo], first[int(e.hi)+1] = true, true
		}
	}
	for b := range 256 {
		if first[b] {
			s.bounds = append(s.bounds, byte(b))
		}
		s.out.class[b] = uint8(len(s.bounds) - 1)
	}
	s.out.width = len(s.bounds)
}

// move returns the states that a byte leads to.
func (s *subsets) move(set []int32, b byte) []int32 {
	var to []int32
	for _, id := range set {
		for _, e := range s.n.states[id].edges {
			if e.lo <= b && b <= e.hi {
				to = append(to, e.to)
			}
		}
	}
	return to
}

// closure adds the states that are reached without a byte, and sorts.
func (s *subsets) closure(set []int32, begin, end bool) []int32 {
	s.stamp++
	var out []int32
	visit := func(ids []int32) {
		for _, id := range ids {
			if s.seen[id] != s.stamp && (begin || s.alive[id]) {
				s.seen[id] = s.stamp
				out = append(out, id)
			}
		}
	}
	visit(set)
	for i := 0; i < len(out); i++ {
		st := &s.n.states[out[i]]
		visit(st.free)
		if begin {
			visit(st.begin)
		}
		if end {
			visit(st.end)
		}
	}
	slices.Sort(out)
	return out
}

// id returns the number of a set of states. The first set may stand at the
// beginning of the text, so that it is unlike the same set further on.
func (s *subsets) id(set []int32) int32 {
	key := make([]byte, 0, 4*len(set)+1)
	for _, v := range set {
		key = binary.LittleEndian.AppendUint32(key, uint32(v))
	}
	first := len(s.sets) == 0
	if first {
		key = append(key, 1)
	}
	if id, ok := s.ids[string(key)]; ok {
		return id
	}
	id := int32(len(s.sets))
	s.ids[string(key)] = id
	s.sets = append(s.sets, set)
	s.out.next = append(s.out.next, make([]int32, s.out.width)...)
	s.out.accept = append(s.out.accept, slices.Contains(s.closure(set, first, true), s.match))
	return id
}
