package jinja

import (
	"math/big"
	"slices"
	"strings"
	"unicode/utf8"
)

// getAttr is obj.name: an attribute, or else the item of that name.
func (r *run) getAttr(obj Value, name string) (Value, error) {
	if v, ok, err := attribute(obj, name); ok || err != nil {
		return v, err
	}
	v, err := r.index(obj, name)
	if err == nil || !isTypeError(err) {
		return v, err
	}
	return &Undefined{msg: "'" + describe(obj) + "' has no attribute '" + name + "'"}, nil
}

// getItem is obj[key]: an item, or else the attribute of that name.
func (r *run) getItem(obj, key Value) (Value, error) {
	v, err := r.index(obj, key)
	if err == nil || !isTypeError(err) {
		return v, err
	}
	name, ok := asString(key)
	if !ok {
		text, err := r.toRepr(key)
		return &Undefined{msg: describe(obj) + " has no element " + text}, err
	}
	if v, ok, err := attribute(obj, name); ok || err != nil {
		return v, err
	}
	return &Undefined{msg: "'" + describe(obj) + "' has no attribute '" + name + "'"}, nil
}

// index is Python's obj[key]; a *typeError means TypeError or LookupError.
func (r *run) index(obj, key Value) (Value, error) {
	switch x := obj.(type) {
	case *Dict:
		v, ok, err := x.lookup(r, key)
		if err == nil && !ok {
			err = &typeError{"key not found"}
		}
		return v, err
	case *Undefined:
		return nil, x.err()
	case string, markup, *List, *Tuple, *rangeValue:
		i, ok := asInt(key)
		if !ok {
			return nil, typeErrorf("%s indices must be integers or slices, not %s", typeName(obj), typeName(key))
		}
		if s, ok := asString(obj); ok {
			if err := r.work(len(s)); err != nil {
				return nil, err
			}
		}
		return indexSeq(obj, i)
	}
	return nil, typeErrorf("'%s' object is not subscriptable", typeName(obj))
}

func indexSeq(obj Value, i int64) (Value, error) {
	n, _ := length(obj)
	if i < 0 {
		i += int64(n)
	}
	if i < 0 || i >= int64(n) {
		return nil, typeErrorf("%s index out of range", typeName(obj))
	}
	switch x := obj.(type) {
	case *List:
		return x.items[i], nil
	case *Tuple:
		return x.items[i], nil
	case *rangeValue:
		return x.at(int(i)), nil
	}
	s, _ := asString(obj)
	return sameKind(runeAt(s, int(i), n), obj), nil
}

// runeAt returns character i of s, which has n of them.
func runeAt(s string, i, n int) string {
	if n == len(s) {
		return s[i : i+1]
	}
	for ; i > 0; i-- {
		_, w := utf8.DecodeRuneInString(s)
		s = s[w:]
	}
	_, w := utf8.DecodeRuneInString(s)
	return s[:w]
}

// attribute finds a Python attribute. The sandbox hides names with a leading
// underscore and methods that change their object.
func attribute(obj Value, name string) (Value, bool, error) {
	if u, ok := obj.(*Undefined); ok {
		return nil, false, u.err()
	}
	if strings.HasPrefix(name, "__") && slices.Contains(objectAttrs, name) {
		return unsafeAttr(obj, name), true, nil
	}
	switch x := obj.(type) {
	case string, markup:
		if m, ok := strMethods[name]; ok {
			return &method{m, obj}, true, nil
		}
	case *Dict:
		return methodOrUnsafe(obj, name, dictMethods, dictMutators)
	case *List:
		return methodOrUnsafe(obj, name, listMethods, listMutators)
	case *Tuple:
		if i := slices.Index(x.names, name); i >= 0 {
			return x.items[i], true, nil
		}
		return methodOrUnsafe(obj, name, listMethods, nil)
	case int64, bool, *big.Int, float64:
		return numberAttr(obj, name)
	case *rangeValue:
		return rangeAttr(x, name)
	case *namespace:
		v, ok := x.attrs.Get(name)
		return v, ok, nil
	case *loopState:
		return x.attr(name)
	case *macro:
		return x.attr(name)
	case *cycler:
		return x.attr(name)
	case *iterator:
		if name == "send" || name == "throw" || name == "close" {
			return &Undefined{msg: "generator methods are not supported", unsafe: true}, true, nil
		}
	}
	return nil, false, nil
}

// objectAttrs are attributes that every Python object has.
var objectAttrs = []string{
	"__class__", "__doc__", "__dir__", "__eq__", "__format__", "__getattribute__", "__hash__",
	"__init__", "__init_subclass__", "__new__", "__reduce__", "__reduce_ex__", "__repr__",
	"__setattr__", "__sizeof__", "__str__", "__subclasshook__", "__ne__", "__lt__", "__le__",
	"__gt__", "__ge__", "__delattr__",
}

func unsafeAttr(obj Value, name string) Value {
	return &Undefined{
		msg:    "access to attribute '" + name + "' of '" + typeName(obj) + "' object is unsafe",
		unsafe: true,
	}
}

func methodOrUnsafe(obj Value, name string, methods map[string]*function, unsafe []string) (Value, bool, error) {
	if m, ok := methods[name]; ok {
		return &method{m, obj}, true, nil
	}
	if slices.Contains(unsafe, name) {
		return unsafeAttr(obj, name), true, nil
	}
	return nil, false, nil
}

func (r *run) evalItem(n *itemExpr, s *scope) (Value, error) {
	obj, err := r.eval(n.node, s)
	if err != nil {
		return nil, err
	}
	if sl, ok := n.arg.(*sliceExpr); ok {
		return r.evalSlice(obj, sl, s)
	}
	key, err := r.eval(n.arg, s)
	if err != nil {
		return nil, err
	}
	return r.getItem(obj, key)
}

func (r *run) evalSlice(obj Value, n *sliceExpr, s *scope) (Value, error) {
	var parts [3]Value
	for i, e := range []expr{n.start, n.stop, n.step} {
		if e == nil {
			continue
		}
		v, err := r.eval(e, s)
		if err != nil {
			return nil, err
		}
		parts[i] = v
	}
	if u, ok := obj.(*Undefined); ok {
		return nil, u.err()
	}
	size, ok := length(obj)
	if _, isDict := obj.(*Dict); !ok || isDict {
		return nil, typeErrorf("'%s' object cannot be sliced", typeName(obj))
	}
	start, step, count, err := sliceBounds(parts, size)
	if err != nil {
		return nil, err
	}
	return r.slice(obj, start, step, count)
}

// sliceBounds resolves start:stop:step against a length as Python does and
// returns the first index, the step and the number of items.
func sliceBounds(parts [3]Value, size int) (start, step, count int, err error) {
	var nums [3]int
	for i, p := range parts {
		if p == nil {
			continue
		}
		b, ok := asBig(p)
		if !ok {
			return 0, 0, 0, typeErrorf("slice indices must be integers or None, not %s", typeName(p))
		}
		nums[i] = clampBig(b)
	}
	step = 1
	if parts[2] != nil {
		if step = nums[2]; step == 0 {
			return 0, 0, 0, valueErrorf("slice step cannot be zero")
		}
	}
	low, high := 0, size
	if step < 0 {
		low, high = -1, size-1
	}
	bound := func(i, absent int) int {
		if parts[i] == nil {
			return absent
		}
		n := nums[i]
		if n < 0 {
			n += size
		}
		return min(max(n, low), high)
	}
	start, stop := bound(0, low), bound(1, high)
	if step < 0 {
		start, stop = bound(0, high), bound(1, low)
		if stop < start {
			count = (start-stop-1)/-step + 1
		}
	} else if start < stop {
		count = (stop-start-1)/step + 1
	}
	return start, step, count, nil
}

// clampBig bounds an index so that adding lengths to it cannot overflow.
func clampBig(b *big.Int) int {
	const limit = 1 << 40
	if !b.IsInt64() {
		return limit * b.Sign()
	}
	return int(min(max(b.Int64(), -limit), limit))
}

func (r *run) slice(obj Value, start, step, count int) (Value, error) {
	if x, ok := obj.(*rangeValue); ok {
		first := x.start + int64(start)*x.step
		st := x.step * int64(step)
		return &rangeValue{first, first + int64(count)*st, st}, nil
	}
	if items, ok := seqItems(obj); ok {
		if err := r.allocItems(count); err != nil {
			return nil, err
		}
		out := make([]Value, count)
		for i := range out {
			out[i] = items[start+i*step]
		}
		return likeSeq(obj, out), nil
	}
	s, ok := asString(obj)
	if !ok {
		return nil, typeErrorf("'%s' object cannot be sliced", typeName(obj))
	}
	if err := r.alloc(len(s)); err != nil {
		return nil, err
	}
	return sameKind(sliceString(s, start, step, count), obj), nil
}

func sliceString(s string, start, step, count int) string {
	if step == 1 {
		from := byteOffset(s, start)
		return s[from : from+byteOffset(s[from:], count)]
	}
	runes := []rune(s)
	out := make([]rune, count)
	for i := range out {
		out[i] = runes[start+i*step]
	}
	return string(out)
}

// byteOffset returns where character n of s starts.
func byteOffset(s string, n int) int {
	if n <= 0 {
		return 0
	}
	for i := range s {
		if n == 0 {
			return i
		}
		n--
	}
	return len(s)
}

// iterate is Python's iter(): next returns false at the end.
func (r *run) iterate(v Value) (func() (Value, bool, error), error) {
	switch x := v.(type) {
	case *List:
		return r.iterateN(len(x.items), func(i int) Value { return x.items[i] }), nil
	case *Tuple:
		return r.iterateN(len(x.items), func(i int) Value { return x.items[i] }), nil
	case *Dict:
		return r.iterateN(x.Len(), func(i int) Value { return x.entries[i].key }), nil
	case *dictView:
		return r.iterateN(x.dict.Len(), x.at), nil
	case *rangeValue:
		return r.iterateN(x.len(), x.at), nil
	case *Undefined:
		return r.iterateN(0, nil), nil
	case *iterator:
		return x.next, nil
	case string, markup:
		s, _ := asString(v)
		return func() (Value, bool, error) {
			if s == "" {
				return nil, false, nil
			}
			_, n := utf8.DecodeRuneInString(s)
			c := s[:n]
			s = s[n:]
			return c, true, r.step(1) // markup gives plain characters, as in Python
		}, nil
	}
	return nil, typeErrorf("'%s' object is not iterable", typeName(v))
}

func (r *run) iterateN(n int, at func(int) Value) func() (Value, bool, error) {
	i := 0
	return func() (Value, bool, error) {
		if i >= n {
			return nil, false, nil
		}
		i++
		return at(i - 1), true, r.step(1)
	}
}

// collect is Python's list().
func (r *run) collect(v Value) ([]Value, error) {
	if items, ok := seqItems(v); ok {
		return items, r.allocItems(len(items))
	}
	next, err := r.iterate(v)
	if err != nil {
		return nil, err
	}
	var items []Value
	for {
		v, ok, err := next()
		if !ok || err != nil {
			return items, err
		}
		if err := r.alloc(16); err != nil {
			return nil, err
		}
		items = append(items, v)
	}
}
