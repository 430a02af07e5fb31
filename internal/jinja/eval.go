package jinja

import (
	"fmt"
	"strings"
)

// eval evaluates an expression in a scope.
func (r *run) eval(e expr, s *scope) (Value, error) {
	if err := r.step(1); err != nil {
		return nil, atLine(err, e.pos())
	}
	switch n := e.(type) { // what cannot fail
	case *constExpr:
		return n.val, nil
	case *nameExpr:
		return r.resolve(n.name, s), nil
	}
	if err := r.enter(); err != nil {
		return nil, atLine(err, e.pos())
	}
	v, err := r.evalNode(e, s)
	r.depth--
	if err != nil {
		return nil, atLine(err, e.pos())
	}
	return v, nil
}

func (r *run) evalNode(e expr, s *scope) (Value, error) {
	switch n := e.(type) {
	case *attrExpr:
		v, err := r.eval(n.node, s)
		if err != nil {
			return nil, err
		}
		return r.getAttr(v, n.name)
	case *itemExpr:
		return r.evalItem(n, s)
	case *callExpr:
		return r.evalCall(n, s, nil)
	case *filterExpr:
		return r.evalFilter(n, s, nil)
	case *testExpr:
		return r.evalTest(n, s)
	case *condExpr:
		return r.evalCond(n, s)
	case *boolExpr:
		v, err := r.eval(n.left, s)
		if err != nil || truth(v) == n.or {
			return v, err
		}
		return r.eval(n.right, s)
	case *unaryExpr:
		return r.evalUnary(n, s)
	case *binExpr:
		return r.evalBinary(n, s)
	case *concatExpr:
		return r.evalConcat(n, s)
	case *compareExpr:
		return r.evalCompare(n, s)
	case *tupleExpr:
		items, err := r.evalAll(n.items, s)
		return &Tuple{items: items}, err
	case *listExpr:
		items, err := r.evalAll(n.items, s)
		return &List{items}, err
	case *dictExpr:
		return r.evalDict(n, s)
	}
	return nil, fmt.Errorf("expression %T is not supported", e)
}

func (r *run) evalAll(list []expr, s *scope) ([]Value, error) {
	if err := r.allocItems(len(list)); err != nil {
		return nil, err
	}
	vals := make([]Value, len(list))
	for i, e := range list {
		v, err := r.eval(e, s)
		if err != nil {
			return nil, err
		}
		vals[i] = v
	}
	return vals, nil
}

func (r *run) evalDict(n *dictExpr, s *scope) (Value, error) {
	if err := r.allocItems(len(n.keys)); err != nil {
		return nil, err
	}
	d := NewDict()
	for i := range n.keys {
		k, err := r.eval(n.keys[i], s)
		if err != nil {
			return nil, err
		}
		v, err := r.eval(n.vals[i], s)
		if err != nil {
			return nil, err
		}
		if err := d.setValue(r, k, v); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (r *run) evalCond(n *condExpr, s *scope) (Value, error) {
	test, err := r.eval(n.test, s)
	if err != nil {
		return nil, err
	}
	switch {
	case truth(test):
		return r.eval(n.then, s)
	case n.other != nil:
		return r.eval(n.other, s)
	}
	return &Undefined{msg: fmt.Sprintf("the inline if of line %d was false and has no else", n.pos())}, nil
}

func (r *run) evalUnary(n *unaryExpr, s *scope) (Value, error) {
	v, err := r.eval(n.node, s)
	if err != nil {
		return nil, err
	}
	switch n.op {
	case "not":
		return !truth(v), nil
	case "-":
		return negate(v)
	}
	switch x := v.(type) {
	case *Undefined:
		return nil, x.err()
	case bool:
		i, _ := asInt(x)
		return i, nil
	}
	if _, ok := asFloat(v); !ok {
		return nil, typeErrorf("bad operand type for unary +: '%s'", typeName(v))
	}
	return v, nil
}

func (r *run) evalConcat(n *concatExpr, s *scope) (Value, error) {
	var b strings.Builder
	for _, e := range n.items {
		v, err := r.eval(e, s)
		if err != nil {
			return nil, err
		}
		t, err := r.str(v)
		if err != nil {
			return nil, err
		}
		if err := r.alloc(len(t)); err != nil {
			return nil, err
		}
		if b.Len()+len(t) > r.opt.MaxOutput {
			return nil, limitErrorf("string is longer than %d bytes", r.opt.MaxOutput)
		}
		b.WriteString(t)
	}
	return b.String(), nil
}

func (r *run) evalCompare(n *compareExpr, s *scope) (Value, error) {
	left, err := r.eval(n.first, s)
	if err != nil {
		return nil, err
	}
	for i, op := range n.ops {
		right, err := r.eval(n.rest[i], s)
		if err != nil {
			return nil, err
		}
		ok, err := r.compare(op, left, right)
		if err != nil || !ok {
			return ok, err
		}
		left = right
	}
	return true, nil
}

func (r *run) compare(op string, a, b Value) (bool, error) {
	switch op {
	case "==":
		return r.equal(a, b)
	case "!=":
		eq, err := r.equal(a, b)
		return !eq, err
	case "in":
		return r.contains(a, b)
	case "not in":
		in, err := r.contains(a, b)
		return !in, err
	}
	return r.ordered(op, a, b, 0)
}

func (r *run) evalBinary(n *binExpr, s *scope) (Value, error) {
	a, err := r.eval(n.left, s)
	if err != nil {
		return nil, err
	}
	b, err := r.eval(n.right, s)
	if err != nil {
		return nil, err
	}
	return r.binary(n.op, a, b)
}

// binary evaluates an arithmetic operator on any two values.
func (r *run) binary(op string, a, b Value) (Value, error) {
	if v, ok, err := arith(op, a, b); ok {
		return v, err
	}
	if op == "%" {
		if format, ok := asString(a); ok {
			return r.percent(format, a, b)
		}
	}
	if u := firstUndefined(a, b); u != nil {
		return nil, u.err()
	}
	var v Value
	var err error
	switch op {
	case "+":
		v, err = r.add(a, b)
	case "*":
		v, err = r.times(a, b)
	}
	if v == nil && err == nil {
		err = typeErrorf("unsupported operand type(s) for %s: '%s' and '%s'", op, typeName(a), typeName(b))
	}
	return v, err
}

// add joins strings, lists or tuples; nil means that it cannot.
func (r *run) add(a, b Value) (Value, error) {
	if x, ok := asString(a); ok {
		y, ok := asString(b)
		if !ok {
			return nil, typeErrorf("can only concatenate str (not \"%s\") to str", typeName(b))
		}
		_, am := a.(markup)
		_, bm := b.(markup)
		if am != bm {
			if am {
				y = escapeHTML(y)
			} else {
				x = escapeHTML(x)
			}
		}
		if err := r.alloc(len(x) + len(y)); err != nil {
			return nil, err
		}
		if am || bm {
			return markup(x + y), nil
		}
		return x + y, nil
	}
	x, ok := seqItems(a)
	y, ok2 := seqItems(b)
	if !ok || !ok2 || typeName(a) != typeName(b) {
		return nil, nil
	}
	if err := r.allocItems(len(x) + len(y)); err != nil {
		return nil, err
	}
	items := append(append(make([]Value, 0, len(x)+len(y)), x...), y...)
	return likeSeq(a, items), nil
}

func likeSeq(like Value, items []Value) Value {
	if _, ok := like.(*Tuple); ok {
		return &Tuple{items: items}
	}
	return &List{items}
}

// times repeats a string, list or tuple; nil means that it cannot.
func (r *run) times(a, b Value) (Value, error) {
	n, ok := asInt(b)
	if !ok {
		if n, ok = asInt(a); !ok {
			return nil, nil
		}
		a = b
	}
	n = max(n, 0)
	if s, ok := asString(a); ok {
		if len(s) > 0 && n > int64(r.opt.MaxOutput) {
			return nil, limitErrorf("string is longer than %d bytes", r.opt.MaxOutput)
		}
		if err := r.alloc(len(s) * int(n)); err != nil {
			return nil, err
		}
		return sameKind(strings.Repeat(s, min(int(n), r.opt.MaxOutput)), a), nil
	}
	items, ok := seqItems(a)
	if !ok {
		return nil, nil
	}
	if len(items) == 0 {
		n = 0
	}
	if n > int64(r.opt.MaxOutput) {
		return nil, limitErrorf("list is longer than %d items", r.opt.MaxOutput)
	}
	if err := r.allocItems(len(items) * int(n)); err != nil {
		return nil, err
	}
	all := make([]Value, 0, len(items)*int(n))
	for range n {
		all = append(all, items...)
	}
	return likeSeq(a, all), nil
}
