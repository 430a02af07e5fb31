package jinja

import "strings"

// execFor runs a loop where it stands.
func (r *run) execFor(n *forStmt, s *scope) error {
	v, err := r.eval(n.iter, s)
	if err != nil {
		return err
	}
	return r.loop(n, v, s, 0)
}

// loop runs the body for each item. depth counts recursive calls.
func (r *run) loop(n *forStmt, items Value, s *scope, depth int) error {
	if err := r.enter(); err != nil {
		return err
	}
	defer func() { r.depth-- }()
	next, err := r.iterate(items)
	if err != nil {
		return err
	}
	l := &loopState{run: r, stmt: n, scope: s, next: next, index: -1, size: -1, depth: depth}
	if n.test != nil {
		l.next = r.filtered(n, next, s)
	} else if size, ok := length(items); ok {
		l.size = size
	}
	// As in Jinja, only a turn that reaches its end keeps else from running.
	completed := false
	for {
		item, ok, err := l.advance()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		f, err := r.turn(n, l, item, s)
		if err != nil {
			return err
		}
		if f == flowBreak {
			break
		}
		completed = completed || f == flowNext
	}
	if completed {
		return nil
	}
	_, err = r.exec(n.other, newScope(s, n.elseUndef))
	return err
}

func (r *run) turn(n *forStmt, l *loopState, item Value, s *scope) (flow, error) {
	inner := newScope(s, n.undefs)
	if n.usesLoop {
		inner.set("loop", l)
	}
	if err := r.assign(n.target, item, inner); err != nil {
		return flowNext, err
	}
	return r.exec(n.body, inner)
}

// filtered passes on the items for which the loop's condition holds. It asks
// only when the loop wants an item: the condition sees what the body changed.
func (r *run) filtered(n *forStmt, next func() (Value, bool, error), s *scope) func() (Value, bool, error) {
	return func() (Value, bool, error) {
		for {
			item, ok, err := next()
			if !ok || err != nil {
				return nil, false, err
			}
			inner := newScope(s, nil)
			if err := r.assign(n.target, item, inner); err != nil {
				return nil, false, err
			}
			test, err := r.eval(n.test, inner)
			if err != nil {
				return nil, false, err
			}
			if truth(test) {
				v, err := r.retarget(n.target, inner, item)
				return v, true, err
			}
		}
	}
}

// retarget rebuilds the item from its target: a tuple where it was unpacked.
func (r *run) retarget(target expr, s *scope, item Value) (Value, error) {
	t, ok := target.(*tupleExpr)
	if !ok {
		return item, nil
	}
	out := make([]Value, len(t.items))
	for i, e := range t.items {
		v := Value(nil)
		if name, ok := e.(*nameExpr); ok {
			v = r.resolve(name.name, s)
		}
		v, err := r.retarget(e, s, v)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return &Tuple{items: out}, nil
}

// loopState is the variable loop: it looks one item ahead at most, and reads
// everything only when asked for the length.
type loopState struct {
	run   *run
	stmt  *forStmt
	scope *scope
	next  func() (Value, bool, error)
	index int // of the current item, from 0
	size  int // -1 while unknown
	depth int

	current, before Value
	after           Value
	peeked, ended   bool
	changed         Value // what loop.changed saw last; nil at first
}

func (l *loopState) advance() (Value, bool, error) {
	ok, err := l.peek()
	if !ok || err != nil {
		return nil, false, err
	}
	item := l.after
	l.peeked, l.after = false, nil
	l.index++
	l.before, l.current = l.current, item
	return item, true, nil
}

// peek makes the next item ready and reports whether there is one.
func (l *loopState) peek() (bool, error) {
	if l.peeked || l.ended {
		return l.peeked, nil
	}
	v, ok, err := l.next()
	if err != nil {
		return false, err
	}
	l.after, l.peeked, l.ended = v, ok, !ok
	return ok, nil
}

func (l *loopState) length() (int, error) {
	if l.size >= 0 {
		return l.size, nil
	}
	var rest []Value
	for {
		v, ok, err := l.next()
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
		if err := l.run.alloc(16); err != nil {
			return 0, err
		}
		rest = append(rest, v)
	}
	l.next = l.run.iterateN(len(rest), func(i int) Value { return rest[i] })
	l.size = len(rest) + l.index + 1
	if l.peeked {
		l.size++
	}
	return l.size, nil
}

// attr returns an attribute of the variable loop.
func (l *loopState) attr(name string) (Value, bool, error) {
	switch name {
	case "index":
		return int64(l.index + 1), true, nil
	case "index0":
		return int64(l.index), true, nil
	case "first":
		return l.index == 0, true, nil
	case "depth":
		return int64(l.depth + 1), true, nil
	case "depth0":
		return int64(l.depth), true, nil
	case "last", "nextitem":
		return l.ahead(name)
	case "previtem":
		if l.index == 0 {
			return &Undefined{msg: "there is no previous item"}, true, nil
		}
		return l.before, true, nil
	case "length", "revindex", "revindex0":
		return l.counted(name)
	case "cycle":
		return &method{loopCycle, l}, true, nil
	case "changed":
		return &method{loopChanged, l}, true, nil
	}
	return nil, false, nil
}

func (l *loopState) ahead(name string) (Value, bool, error) {
	more, err := l.peek()
	if err != nil || name == "last" {
		return !more, true, err
	}
	if !more {
		return &Undefined{msg: "there is no next item"}, true, nil
	}
	return l.after, true, nil
}

func (l *loopState) counted(name string) (Value, bool, error) {
	n, err := l.length()
	switch name {
	case "revindex":
		n -= l.index
	case "revindex0":
		n -= l.index + 1
	}
	return int64(n), true, err
}

// call renders the body again for nested items: loop(children).
func (l *loopState) call(r *run, args []Value, kw []kwarg) (Value, error) {
	if !l.stmt.recursive {
		return nil, typeErrorf("the loop must be marked recursive to be called")
	}
	if len(args) != 1 || len(kw) > 0 {
		return nil, typeErrorf("a recursive loop takes one argument")
	}
	outer := r.out
	r.out = &strings.Builder{}
	err := r.loop(l.stmt, args[0], l.scope, l.depth+1)
	text := r.out.String()
	r.out = outer
	if err == nil {
		err = r.alloc(len(text))
	}
	return text, err
}

var loopCycle = &function{name: "cycle", sig: parseSig("*args"), fn: func(_ *run, recv Value, a []Value) (Value, error) {
	l, args := recv.(*loopState), a[0].(*Tuple).items
	if len(args) == 0 {
		return nil, typeErrorf("no items for cycling given")
	}
	return args[max(l.index, 0)%len(args)], nil
}}

var loopChanged = &function{name: "changed", sig: parseSig("*args"), fn: func(r *run, recv Value, a []Value) (Value, error) {
	l := recv.(*loopState)
	if l.changed != nil {
		if eq, err := r.equal(l.changed, a[0]); eq || err != nil {
			return false, err
		}
	}
	l.changed = a[0]
	return true, nil
}}
