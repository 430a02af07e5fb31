package jinja

import (
	"fmt"
	"strings"
)

// flow says how a list of statements ended.
type flow uint8

const (
	flowNext flow = iota
	flowBreak
	flowContinue
)

// exec runs statements in a scope.
func (r *run) exec(body []stmt, s *scope) (flow, error) {
	for _, st := range body {
		if err := r.step(1); err != nil {
			return flowNext, atLine(err, st.pos())
		}
		f, err := r.execOne(st, s)
		if err != nil {
			return flowNext, atLine(err, st.pos())
		}
		if f != flowNext {
			return f, nil
		}
	}
	return flowNext, nil
}

func (r *run) execOne(st stmt, s *scope) (flow, error) {
	switch n := st.(type) {
	case *textStmt:
		return flowNext, r.write(n.text)
	case *printStmt:
		return flowNext, r.print(n.val, s)
	case *ifStmt:
		return r.execIf(n, s)
	case *forStmt:
		return flowNext, r.execFor(n, s)
	case *setStmt:
		return flowNext, r.execSet(n, s)
	case *setBlockStmt:
		return r.execSetBlock(n, s)
	case *macroStmt:
		s.set(n.name, &macro{macroDef: n.macroDef, name: n.name, scope: s})
		return flowNext, nil
	case *callStmt:
		caller := &macro{macroDef: n.macroDef, scope: s}
		v, err := r.evalCall(n.call, s, caller)
		if err != nil {
			return flowNext, err
		}
		return flowNext, r.writeText(v)
	case *filterStmt:
		return r.execFilter(n, s)
	case *withStmt:
		return r.execWith(n, s)
	case *scopeStmt:
		if n.block != "" {
			s = r.root
		}
		return r.exec(n.body, newScope(s, n.undefs))
	case *breakStmt:
		return flowBreak, nil
	case *continueStmt:
		return flowContinue, nil
	}
	return flowNext, fmt.Errorf("statement %T is not supported", st)
}

func (r *run) print(e expr, s *scope) error {
	v, err := r.eval(e, s)
	if err != nil {
		return err
	}
	return r.printValue(v)
}

func (r *run) printValue(v Value) error {
	t, err := r.toStr(v)
	if err != nil {
		return err
	}
	return r.write(t)
}

// writeText writes the result of a filter or call block, which Jinja does not
// turn into text.
func (r *run) writeText(v Value) error {
	t, ok := asString(v)
	if !ok {
		return typeErrorf("the block must give a string, got %s", typeName(v))
	}
	return r.write(t)
}

func (r *run) execIf(n *ifStmt, s *scope) (flow, error) {
	for i, test := range n.tests {
		v, err := r.eval(test, s)
		if err != nil {
			return flowNext, err
		}
		if truth(v) {
			return r.exec(n.bodies[i], s)
		}
	}
	return r.exec(n.other, s)
}

func (r *run) execSet(n *setStmt, s *scope) error {
	if err := r.checkNamespaces(n.target, s); err != nil {
		return err
	}
	v, err := r.eval(n.val, s)
	if err != nil {
		return err
	}
	return r.assign(n.target, v, s)
}

// checkNamespaces refuses name.attr targets on anything but namespaces.
func (r *run) checkNamespaces(target expr, s *scope) error {
	switch t := target.(type) {
	case *nsExpr:
		if _, ok := r.resolve(t.name, s).(*namespace); !ok {
			return typeErrorf("cannot assign attribute '%s' on non-namespace object '%s'", t.attr, t.name)
		}
	case *tupleExpr:
		for _, e := range t.items {
			if err := r.checkNamespaces(e, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// assign stores v in a target, unpacking tuples.
func (r *run) assign(target expr, v Value, s *scope) error {
	switch t := target.(type) {
	case *nameExpr:
		s.set(t.name, v)
	case *nsExpr:
		ns, ok := r.resolve(t.name, s).(*namespace)
		if !ok {
			return typeErrorf("cannot assign attribute on non-namespace object '%s'", t.name)
		}
		ns.attrs.Set(t.attr, v)
	case *tupleExpr:
		return r.unpack(t, v, s)
	}
	return nil
}

func (r *run) unpack(t *tupleExpr, v Value, s *scope) error {
	next, err := r.iterate(v)
	if err != nil {
		return typeErrorf("cannot unpack non-iterable %s object", typeName(v))
	}
	vals := make([]Value, 0, len(t.items))
	for {
		item, ok, err := next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if len(vals) == len(t.items) {
			return valueErrorf("too many values to unpack (expected %d)", len(t.items))
		}
		vals = append(vals, item)
	}
	if len(vals) < len(t.items) {
		return valueErrorf("not enough values to unpack (expected %d, got %d)", len(t.items), len(vals))
	}
	for i, e := range t.items {
		if err := r.assign(e, vals[i], s); err != nil {
			return err
		}
	}
	return nil
}

// capture runs statements and returns what they wrote.
func (r *run) capture(body []stmt, s *scope) (string, flow, error) {
	outer := r.out
	r.out = &strings.Builder{}
	f, err := r.exec(body, s)
	text := r.out.String()
	r.out = outer
	if err == nil {
		err = r.alloc(len(text))
	}
	return text, f, err
}

func (r *run) execSetBlock(n *setBlockStmt, s *scope) (flow, error) {
	inner := newScope(s, n.undefs)
	text, f, err := r.capture(n.body, inner)
	if err != nil || f != flowNext {
		return f, err
	}
	var v Value = text
	if n.filter != nil {
		if v, err = r.evalFilters(n.filter, inner, text); err != nil {
			return flowNext, err
		}
	}
	if err := r.checkNamespaces(n.target, s); err != nil {
		return flowNext, err
	}
	return flowNext, r.assign(n.target, v, s)
}

func (r *run) execFilter(n *filterStmt, s *scope) (flow, error) {
	inner := newScope(s, n.undefs)
	text, f, err := r.capture(n.body, inner)
	if err != nil || f != flowNext {
		return f, err
	}
	v, err := r.evalFilters(n.filter, inner, text)
	if err != nil {
		return flowNext, err
	}
	return flowNext, r.writeText(v)
}

func (r *run) execWith(n *withStmt, s *scope) (flow, error) {
	inner := newScope(s, n.undefs)
	for i, e := range n.vals {
		v, err := r.eval(e, s)
		if err != nil {
			return flowNext, err
		}
		if err := r.assign(n.targets[i], v, inner); err != nil {
			return flowNext, err
		}
	}
	return r.exec(n.body, inner)
}
