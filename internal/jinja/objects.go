package jinja

import (
	"fmt"
	"math"
	"math/big"
)

// dictMutators and listMutators are hidden by the immutable sandbox.
var (
	dictMutators = []string{"clear", "pop", "popitem", "setdefault", "update"}
	listMutators = []string{"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"}
)

func dictRows() []row {
	view := func(kind string) row {
		return row{kind, "/", func(_ *run, recv Value, _ []Value) (Value, error) {
			return &dictView{recv.(*Dict), kind}, nil
		}}
	}
	return []row{
		view("keys"), view("values"), view("items"),
		{"get", "/ key default?", func(r *run, recv Value, a []Value) (Value, error) {
			v, ok, err := recv.(*Dict).lookup(r, a[0])
			if err == nil && !ok {
				v = orElse(a[1], nil)
			}
			return v, err
		}},
		{"copy", "/", func(r *run, recv Value, _ []Value) (Value, error) {
			d := NewDict()
			d.copyFrom(recv.(*Dict))
			return d, r.allocItems(2 * d.Len())
		}},
		{"fromkeys", "/ keys value?", func(r *run, _ Value, a []Value) (Value, error) {
			keys, err := r.collect(a[0])
			d := NewDict()
			for _, k := range keys {
				if err := d.setValue(r, k, orElse(a[1], nil)); err != nil {
					return nil, err
				}
			}
			return d, err
		}},
	}
}

func listRows() []row {
	return []row{
		{"index", "/ value start? stop?", listIndex},
		{"count", "/ value", func(r *run, recv Value, a []Value) (Value, error) {
			items, _ := seqItems(recv)
			n := int64(0)
			for _, v := range items {
				eq, err := r.equal(v, a[0])
				if err != nil {
					return nil, err
				}
				if eq {
					n++
				}
			}
			return n, r.step(len(items))
		}},
		{"copy", "/", func(r *run, recv Value, _ []Value) (Value, error) {
			if _, ok := recv.(*Tuple); ok {
				return nil, typeErrorf("'tuple' object has no attribute 'copy'")
			}
			items, err := r.collect(recv)
			return &List{items}, err
		}},
	}
}

func listIndex(r *run, recv Value, a []Value) (Value, error) {
	items, _ := seqItems(recv)
	var parts [3]Value
	for i := range 2 {
		if given(a[1+i]) {
			if _, ok := asBig(a[1+i]); !ok {
				return nil, typeErrorf("slice indices must be integers")
			}
			parts[i] = a[1+i]
		}
	}
	start, _, count, err := sliceBounds(parts, len(items))
	if err != nil {
		return nil, err
	}
	for i := start; i < start+count; i++ {
		eq, err := r.equal(items[i], a[0])
		if err != nil {
			return nil, err
		}
		if eq {
			return int64(i), r.step(count)
		}
	}
	text, err := r.toRepr(a[0])
	if err != nil {
		return nil, err
	}
	return nil, valueErrorf("%s is not in list", clip(text))
}

// numberAttr returns the attributes of numbers that a template might read.
func numberAttr(v Value, name string) (Value, bool, error) {
	f, isFloat := v.(float64)
	b, _ := asBig(v)
	constant := func(x Value) (Value, bool, error) { return x, true, nil }
	nullary := func(x Value) (Value, bool, error) {
		fn := func(*run, Value, []Value) (Value, error) { return x, nil }
		return &method{&function{name, parseSig("/"), fn}, v}, true, nil
	}
	switch name {
	case "real":
		if isFloat {
			return constant(f)
		}
		return constant(normInt(b))
	case "imag":
		if isFloat {
			return constant(0.0)
		}
		return constant(int64(0))
	case "conjugate":
		return nullary(v)
	case "is_integer":
		if isFloat {
			return nullary(f == math.Trunc(f) && !math.IsInf(f, 0))
		}
	}
	if isFloat {
		return nil, false, nil
	}
	switch name {
	case "numerator":
		return constant(normInt(b))
	case "denominator":
		return constant(int64(1))
	case "bit_length":
		return nullary(int64(b.BitLen()))
	case "bit_count":
		n := 0
		for i := range b.BitLen() {
			n += int(new(big.Int).Abs(b).Bit(i))
		}
		return nullary(int64(n))
	}
	return nil, false, nil
}

func rangeAttr(x *rangeValue, name string) (Value, bool, error) {
	switch name {
	case "start":
		return x.start, true, nil
	case "stop":
		return x.stop, true, nil
	case "step":
		return x.step, true, nil
	case "count", "index":
		return &method{&function{name, parseSig("/ value"), func(r *run, recv Value, a []Value) (Value, error) {
			items, err := r.collect(recv)
			if err != nil {
				return nil, err
			}
			return listMethods[name].invoke(r, &List{items}, a, nil)
		}}, x}, true, nil
	}
	return nil, false, nil
}

// maxRange is the sandbox's bound on range().
const maxRange = 100_000

func globalTable() map[string]Value {
	g := map[string]Value{}
	for name, f := range table(globalRows) {
		g[name] = f
	}
	return g
}

func globalRows() []row {
	return []row{
		{"range", "/ a b? c?", globalRange},
		{"dict", "/ *args **kwargs", func(r *run, _ Value, a []Value) (Value, error) { return r.makeDict(a) }},
		{"namespace", "/ *args **kwargs", func(r *run, _ Value, a []Value) (Value, error) {
			d, err := r.makeDict(a)
			return &namespace{d}, err
		}},
		{"cycler", "/ *items", func(_ *run, _ Value, a []Value) (Value, error) {
			items := a[0].(*Tuple).items
			if len(items) == 0 {
				return nil, valueErrorf("at least one item has to be provided")
			}
			return &cycler{items: items}, nil
		}},
		{"joiner", "sep?", func(_ *run, _ Value, a []Value) (Value, error) {
			return &joiner{sep: orElse(a[0], ", ")}, nil
		}},
		{"lipsum", "*args **kwargs", func(*run, Value, []Value) (Value, error) {
			return nil, fmt.Errorf("function 'lipsum' is not supported")
		}},
		{"raise_exception", "message", func(r *run, _ Value, a []Value) (Value, error) {
			msg, err := r.toStr(a[0])
			if err != nil {
				return nil, err
			}
			return nil, &RaisedError{msg}
		}},
		{"strftime_now", "format", func(r *run, _ Value, a []Value) (Value, error) {
			format, err := strArg(a[0], "")
			if err != nil {
				return nil, err
			}
			if err := r.alloc(16 * len(format)); err != nil {
				return nil, err
			}
			return strftime(r.opt.Now(), format)
		}},
	}
}

func globalRange(_ *run, _ Value, a []Value) (Value, error) {
	var n [3]int64
	for i, v := range a {
		if v == missing {
			break
		}
		b, ok := asBig(v)
		if !ok {
			if u, ok := v.(*Undefined); ok {
				return nil, u.err()
			}
			return nil, typeErrorf("'%s' object cannot be interpreted as an integer", typeName(v))
		}
		n[i] = int64(clampBig(b))
	}
	x := &rangeValue{0, n[0], 1}
	if given(a[1]) {
		x.start, x.stop = n[0], n[1]
	}
	if given(a[2]) {
		if x.step = n[2]; x.step == 0 {
			return nil, valueErrorf("range() arg 3 must not be zero")
		}
	}
	if x.len() > maxRange {
		return nil, limitErrorf("range is longer than %d", maxRange)
	}
	return x, nil
}

// makeDict is Python's dict(): from a mapping or pairs, and keywords.
func (r *run) makeDict(a []Value) (*Dict, error) {
	args, kw := a[0].(*Tuple).items, a[1].(*Dict)
	d := NewDict()
	if len(args) > 1 {
		return nil, typeErrorf("dict expected at most 1 argument, got %d", len(args))
	}
	if len(args) == 1 {
		if src, ok := args[0].(*Dict); ok {
			if err := r.allocItems(2 * src.Len()); err != nil {
				return nil, err
			}
			d.copyFrom(src)
		} else if err := r.addPairs(d, args[0]); err != nil {
			return nil, err
		}
	}
	d.copyFrom(kw)
	return d, nil
}

func (r *run) addPairs(d *Dict, pairs Value) error {
	list, err := r.collect(pairs)
	if err != nil {
		return err
	}
	for i, p := range list {
		kv, err := r.collect(p)
		if err != nil {
			return typeErrorf("cannot convert dictionary update sequence element #%d to a sequence", i)
		}
		if len(kv) != 2 {
			return valueErrorf("dictionary update sequence element #%d has length %d; 2 is required", i, len(kv))
		}
		if err := d.setValue(r, kv[0], kv[1]); err != nil {
			return err
		}
	}
	return nil
}

// cycler returns its items in turn.
type cycler struct {
	items []Value
	at    int
}

func (c *cycler) attr(name string) (Value, bool, error) {
	nullary := func(fn func() Value) (Value, bool, error) {
		return &method{&function{name, parseSig("/"), func(*run, Value, []Value) (Value, error) { return fn(), nil }}, c}, true, nil
	}
	switch name {
	case "current":
		return c.items[c.at], true, nil
	case "pos":
		return int64(c.at), true, nil
	case "items":
		return &Tuple{items: c.items}, true, nil
	case "next":
		return nullary(func() Value {
			v := c.items[c.at]
			c.at = (c.at + 1) % len(c.items)
			return v
		})
	case "reset":
		return nullary(func() Value {
			c.at = 0
			return nil
		})
	}
	return nil, false, nil
}

// joiner is empty at its first call and its separator afterwards.
type joiner struct {
	sep  Value
	used bool
}

func (j *joiner) call(_ *run, args []Value, kw []kwarg) (Value, error) {
	if len(args)+len(kw) > 0 {
		return nil, typeErrorf("a joiner takes no arguments")
	}
	if !j.used {
		j.used = true
		return "", nil
	}
	return j.sep, nil
}
