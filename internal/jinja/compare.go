package jinja

import (
	"cmp"
	"math"
	"math/big"
	"strings"
)

// equal is Python's ==.
func (r *run) equal(a, b Value) (bool, error) { return r.equalAt(a, b, 0) }

func (r *run) equalAt(a, b Value, depth int) (bool, error) {
	if depth > maxDepth {
		return false, limitErrorf("value is nested deeper than %d", maxDepth)
	}
	if err := r.step(1); err != nil {
		return false, err
	}
	if c, ok := compareNumbers(a, b); ok {
		return c == 0, nil
	}
	switch x := a.(type) {
	case nil:
		return b == nil, nil
	case string, markup:
		s, _ := asString(a)
		t, ok := asString(b)
		return ok && s == t, r.work(min(len(s), len(t)))
	case *List:
		y, ok := b.(*List)
		if !ok {
			return false, nil
		}
		return r.equalSeq(x.items, y.items, depth)
	case *Tuple:
		y, ok := b.(*Tuple)
		if !ok {
			return false, nil
		}
		return r.equalSeq(x.items, y.items, depth)
	case *Dict:
		y, ok := b.(*Dict)
		if !ok {
			return false, nil
		}
		return r.equalDict(x, y, depth)
	case *Undefined:
		_, ok := b.(*Undefined)
		return ok, nil
	case *dictView:
		return r.equalView(x, b, depth)
	case *rangeValue:
		y, ok := b.(*rangeValue)
		return ok && equalRange(x, y), nil
	}
	return sameObject(a, b), nil
}

// equalView compares keys and items as sets; values are never equal.
func (r *run) equalView(x *dictView, b Value, depth int) (bool, error) {
	y, ok := b.(*dictView)
	switch {
	case !ok || x.kind != y.kind || x.kind == "values" || x.dict.Len() != y.dict.Len():
		return x == b, nil
	case x.kind == "items":
		return r.equalDict(x.dict, y.dict, depth)
	}
	for _, e := range x.dict.entries {
		if y.dict.find(e.hash) < 0 {
			return false, nil
		}
	}
	return true, nil
}

func equalRange(x, y *rangeValue) bool {
	n := x.len()
	if n != y.len() {
		return false
	}
	return n == 0 || x.start == y.start && (n == 1 || x.step == y.step)
}

func (r *run) equalSeq(x, y []Value, depth int) (bool, error) {
	if len(x) != len(y) {
		return false, nil
	}
	for i := range x {
		if sameObject(x[i], y[i]) {
			continue
		}
		if eq, err := r.equalAt(x[i], y[i], depth+1); !eq || err != nil {
			return false, err
		}
	}
	return true, nil
}

func (r *run) equalDict(x, y *Dict, depth int) (bool, error) {
	if x.Len() != y.Len() {
		return false, nil
	}
	for _, e := range x.entries {
		i := y.find(e.hash)
		if i < 0 {
			return false, nil
		}
		if eq, err := r.equalAt(e.val, y.entries[i].val, depth+1); !eq || err != nil {
			return false, err
		}
	}
	return true, nil
}

// sameObject is Python's "is", as far as it can be told: constants of one
// kind and value are one object.
func sameObject(a, b Value) bool {
	switch x := a.(type) {
	case float64:
		y, ok := b.(float64)
		return ok && x == y
	case *big.Int:
		y, ok := b.(*big.Int)
		return ok && x.Cmp(y) == 0
	case *Tuple:
		y, ok := b.(*Tuple)
		return ok && (x == y || len(x.items) == 0 && len(y.items) == 0)
	}
	return a == b
}

// unordered is what compareNumbers returns where NaN is involved.
const unordered = 2

// compareNumbers orders two numbers exactly; ok is false if either is none.
func compareNumbers(a, b Value) (int, bool) {
	x, xok := asInt(a)
	y, yok := asInt(b)
	if xok && yok {
		return cmp.Compare(x, y), true
	}
	f, ff := a.(float64)
	g, gf := b.(float64)
	p, pok := asBig(a)
	q, qok := asBig(b)
	switch {
	case ff && gf:
		if f != f || g != g {
			return unordered, true
		}
		return cmp.Compare(f, g), true
	case ff && qok:
		c := compareBigFloat(q, f)
		if c == unordered {
			return c, true
		}
		return -c, true
	case pok && gf:
		return compareBigFloat(p, g), true
	case pok && qok:
		return p.Cmp(q), true
	}
	return 0, false
}

func compareBigFloat(i *big.Int, f float64) int {
	switch {
	case math.IsNaN(f):
		return unordered
	case math.IsInf(f, 1):
		return -1
	case math.IsInf(f, -1):
		return 1
	}
	return new(big.Float).SetInt(i).Cmp(big.NewFloat(f))
}

// less is Python's <, for sorting.
func (r *run) less(a, b Value) (bool, error) { return r.ordered("<", a, b, 0) }

// ordered evaluates <, <=, > or >=.
func (r *run) ordered(op string, a, b Value, depth int) (bool, error) {
	if depth > maxDepth {
		return false, limitErrorf("value is nested deeper than %d", maxDepth)
	}
	if c, ok := compareNumbers(a, b); ok {
		return c != unordered && holds(op, c), nil
	}
	if s, ok := asString(a); ok {
		if t, ok := asString(b); ok {
			return holds(op, strings.Compare(s, t)), nil
		}
	}
	if u := firstUndefined(a, b); u != nil {
		return false, u.err()
	}
	x, xok := seqItems(a)
	y, yok := seqItems(b)
	if xok && yok && typeName(a) == typeName(b) {
		return r.orderedSeq(op, x, y, depth)
	}
	if v, ok := a.(*dictView); ok {
		if w, ok := b.(*dictView); ok && v.kind != "values" && w.kind != "values" {
			return r.orderedViews(op, v, w)
		}
	}
	return false, typeErrorf("'%s' not supported between instances of '%s' and '%s'", op, typeName(a), typeName(b))
}

func holds(op string, c int) bool {
	switch op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	}
	return c >= 0
}

func (r *run) orderedSeq(op string, x, y []Value, depth int) (bool, error) {
	for i := 0; i < len(x) && i < len(y); i++ {
		eq, err := r.equalAt(x[i], y[i], depth+1)
		if err != nil {
			return false, err
		}
		if !eq && !sameObject(x[i], y[i]) {
			return r.ordered(op, x[i], y[i], depth+1)
		}
	}
	return holds(op, cmp.Compare(len(x), len(y))), nil
}

// orderedViews compares views as sets: less is a proper subset.
func (r *run) orderedViews(op string, x, y *dictView) (bool, error) {
	if op == ">" || op == ">=" {
		return r.orderedViews(map[string]string{">": "<", ">=": "<="}[op], y, x)
	}
	if x.kind != y.kind {
		return x.dict.Len() == 0 && (op == "<=" || y.dict.Len() > 0), nil
	}
	for _, e := range x.dict.entries {
		i := y.dict.find(e.hash)
		if i < 0 {
			return false, nil
		}
		if x.kind == "items" {
			if eq, err := r.equal(e.val, y.dict.entries[i].val); !eq || err != nil {
				return false, err
			}
		}
	}
	return op == "<=" || x.dict.Len() < y.dict.Len(), nil
}

func firstUndefined(vals ...Value) *Undefined {
	for _, v := range vals {
		if u, ok := v.(*Undefined); ok {
			return u
		}
	}
	return nil
}

// contains is Python's "item in seq".
func (r *run) contains(item, seq Value) (bool, error) {
	if s, ok := asString(seq); ok {
		t, ok := asString(item)
		if !ok {
			return false, typeErrorf("'in <string>' requires string as left operand, not %s", typeName(item))
		}
		return strings.Contains(s, t), r.work(len(s))
	}
	switch x := seq.(type) {
	case *Dict:
		_, ok, err := x.lookup(r, item)
		return ok, err
	case *dictView:
		if x.kind == "keys" {
			_, ok, err := x.dict.lookup(r, item)
			return ok, err
		}
	}
	next, err := r.iterate(seq)
	if err != nil {
		return false, typeErrorf("argument of type '%s' is not iterable", typeName(seq))
	}
	for {
		v, ok, err := next()
		if !ok || err != nil {
			return false, err
		}
		if sameObject(v, item) {
			return true, nil
		}
		if eq, err := r.equal(v, item); eq || err != nil {
			return eq, err
		}
	}
}
