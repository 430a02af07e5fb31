package engine

import (
	"cmp"
	"maps"
	"slices"

	"github.com/godwit-llm/godwit/internal/kv"
)

// pins are the prefixes that are kept by name.
type pins struct {
	named map[string]*pin
	gone  []*kv.Pin // that the loop has to let go
}

// pin is one of them. It is there from the moment it was asked for.
type pin struct {
	tokens, pages int
	held          *kv.Pin // nil while it is being computed
}

// Pinned describes a prefix that is kept by name.
type Pinned struct {
	Name   string
	Tokens int
	Ready  bool // it has been computed
}

// reserve makes room for a pinned prefix, or says why there is none. Room for a
// sequence of the whole context has to stay. e.mu is held.
func (e *Engine) reserve(q *sequence) error {
	l := e.Model.Limits
	need := func(n int) int { return (n + l.PageSize - 1) / l.PageSize }
	pages := need(len(q.IDs))
	left := l.Pages - need(e.Context)
	for _, p := range e.pins.named {
		left -= p.pages
	}
	switch {
	case e.NoPrefixes:
		return refuse("prefix %q cannot be pinned: the prefix cache is off", q.r.Pin)
	case e.pins.named[q.r.Pin] != nil:
		return refuse("prefix %q is pinned already", q.r.Pin)
	case pages > left:
		return refuse("prefix %q of %d tokens is to be pinned, want at most %d: the rest of the cache, which has %d, is for one sequence of the whole context, and for other pinned prefixes",
			q.r.Pin, len(q.IDs), max(left, 0)*l.PageSize, l.Pages*l.PageSize)
	}
	q.pin = &pin{tokens: len(q.IDs), pages: pages}
	e.pins.named[q.r.Pin] = q.pin
	return nil
}

// remove takes a pin out. e.mu is held.
func (p *pins) remove(name string, one *pin) {
	if one == nil || p.named[name] != one {
		return
	}
	delete(p.named, name)
	if one.held != nil {
		p.gone = append(p.gone, one.held)
	}
}

// complete ends a sequence whose ids are all computed: it is pinned.
func (e *Engine) complete(q *sequence) {
	held := e.schedule.Pin(&q.Sequence)
	e.mu.Lock()
	if e.pins.named[q.r.Pin] == q.pin {
		q.pin.held = held
	} else { // it was taken back meanwhile
		e.pins.gone = append(e.pins.gone, held)
	}
	e.mu.Unlock()
	q.end(Length, -1, nil)
	e.drop(q)
}

// Unpin lets a pinned prefix go when its room is needed.
func (e *Engine) Unpin(name string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.pins.named[name]
	if p == nil {
		return refuse("no prefix %q is pinned", name)
	}
	e.pins.remove(name, p)
	e.rouse()
	return nil
}

// Pinned lists the pinned prefixes by name.
func (e *Engine) Pinned() []Pinned {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []Pinned
	for name := range maps.Keys(e.pins.named) {
		p := e.pins.named[name]
		list = append(list, Pinned{Name: name, Tokens: p.tokens, Ready: p.held != nil})
	}
	slices.SortFunc(list, func(a, b Pinned) int { return cmp.Compare(a.Name, b.Name) })
	return list
}
