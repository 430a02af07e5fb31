package jinja

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// getter reads an attribute path such as "a.0.b" off an item. An integer is
// an index. ignoreCase lowers strings, as sorting does.
type getter struct {
	parts      []Value
	ignoreCase bool
	def        Value // instead of undefined; nil for none
}

func newGetter(attr Value, ignoreCase bool) (*getter, error) {
	g := &getter{ignoreCase: ignoreCase}
	if isNone(attr) {
		return g, nil
	}
	path, ok := asString(attr)
	if !ok {
		g.parts = []Value{attr}
		return g, nil
	}
	for _, p := range strings.Split(path, ".") {
		if n, err := strconv.ParseInt(p, 10, 64); err == nil && n >= 0 && p[0] != '+' {
			g.parts = append(g.parts, n)
		} else {
			g.parts = append(g.parts, p)
		}
	}
	return g, nil
}

func (g *getter) get(r *run, v Value) (Value, error) {
	for _, p := range g.parts {
		var err error
		if v, err = r.getItem(v, p); err != nil {
			return nil, err
		}
		if _, ok := v.(*Undefined); ok && g.def != nil {
			v = g.def
		}
	}
	if g.ignoreCase {
		if s, ok := asString(v); ok {
			return pyLower(s), nil
		}
	}
	return v, nil
}

// caseless reads the case_sensitive argument.
func caseless(v Value) bool { return !given(v) || !truth(v) }

// sortKeyed sorts items by keys, stable; reverse keeps the order of equals.
func (r *run) sortKeyed(items, keys []Value, reverse bool) ([]Value, error) {
	order := make([]int, len(items))
	for i := range order {
		order[i] = i
	}
	var failed error
	compare := func(a, b int) int {
		if failed != nil {
			return 0
		}
		if failed = r.step(1); failed != nil {
			return 0
		}
		if reverse {
			a, b = b, a
		}
		lt, err := r.less(keys[a], keys[b])
		if err == nil && lt {
			return -1
		}
		gt := false
		if err == nil {
			gt, err = r.less(keys[b], keys[a])
		}
		failed = err
		if gt {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(order, compare)
	out := make([]Value, len(items))
	for i, j := range order {
		out[i] = items[j]
	}
	return out, failed
}

func filterSort(r *run, v Value, a []Value) (Value, error) {
	items, err := r.collect(v)
	if err != nil {
		return nil, err
	}
	getters, err := multiGetter(a[2], caseless(a[1]))
	if err != nil {
		return nil, err
	}
	keys := make([]Value, len(items))
	for i, item := range items {
		key := &Tuple{}
		for _, g := range getters {
			k, err := g.get(r, item)
			if err != nil {
				return nil, err
			}
			key.items = append(key.items, k)
		}
		keys[i] = key
	}
	items, err = r.sortKeyed(items, keys, given(a[0]) && truth(a[0]))
	return &List{items}, err
}

// multiGetter reads several attributes, separated by commas.
func multiGetter(attr Value, ignoreCase bool) ([]*getter, error) {
	attrs := []Value{attr}
	if s, ok := asString(attr); ok {
		attrs = attrs[:0]
		for _, part := range strings.Split(s, ",") {
			attrs = append(attrs, part)
		}
	}
	var list []*getter
	for _, at := range attrs {
		g, err := newGetter(at, ignoreCase)
		if err != nil {
			return nil, err
		}
		list = append(list, g)
	}
	return list, nil
}

func filterDictsort(r *run, v Value, a []Value) (Value, error) {
	by, err := strArg(a[1], "key")
	if err != nil {
		return nil, err
	}
	if by != "key" && by != "value" {
		return nil, typeErrorf("dictsort sorts by \"key\" or \"value\", not %s", by)
	}
	d, err := mapping("dictsort", v)
	if err != nil {
		return nil, err
	}
	items := make([]Value, d.Len())
	keys := make([]Value, d.Len())
	for i, e := range d.entries {
		items[i] = &Tuple{items: []Value{e.key, e.val}}
		keys[i] = e.key
		if by == "value" {
			keys[i] = e.val
		}
		if s, ok := asString(keys[i]); ok && caseless(a[0]) {
			keys[i] = pyLower(s)
		}
	}
	items, err = r.sortKeyed(items, keys, given(a[2]) && truth(a[2]))
	return &List{items}, err
}

// mapping returns v as a dictionary, or says which filter needs one.
func mapping(filter string, v Value) (*Dict, error) {
	switch d := v.(type) {
	case *Dict:
		return d, nil
	case *Undefined:
		return nil, d.err()
	}
	return nil, typeErrorf("%s needs a mapping, got %s", filter, typeName(v))
}

func filterUnique(r *run, v Value, a []Value) (Value, error) {
	g, err := newGetter(a[1], caseless(a[0]))
	if err != nil {
		return nil, err
	}
	return generator("generator", func() (func() (Value, bool, error), error) {
		seen := NewDict()
		next, err := r.iterate(v)
		return func() (Value, bool, error) {
			for {
				item, ok, err := next()
				if !ok || err != nil {
					return nil, false, err
				}
				key, err := g.get(r, item)
				if err != nil {
					return nil, false, err
				}
				n := seen.Len()
				if err := seen.setValue(r, key, nil); err != nil {
					return nil, false, err
				}
				if seen.Len() > n {
					return item, true, nil
				}
			}
		}, err
	}), nil
}

// extreme makes the filters min and max.
func extreme(largest bool) nativeFn {
	return func(r *run, v Value, a []Value) (Value, error) {
		g, err := newGetter(a[1], caseless(a[0]))
		if err != nil {
			return nil, err
		}
		items, err := r.collect(v)
		if err != nil {
			return nil, err
		}
		if len(items) == 0 {
			return &Undefined{msg: "no aggregated item, sequence was empty"}, nil
		}
		var best, bestKey Value
		for i, item := range items {
			key, err := g.get(r, item)
			if err != nil {
				return nil, err
			}
			better := i == 0
			if i > 0 {
				x, y := key, bestKey
				if largest {
					x, y = y, x
				}
				if better, err = r.less(x, y); err != nil {
					return nil, err
				}
			}
			if better {
				best, bestKey = item, key
			}
		}
		return best, nil
	}
}

func filterGroupby(r *run, v Value, a []Value) (Value, error) {
	g, err := newGetter(a[0], caseless(a[2]))
	if err != nil {
		return nil, err
	}
	if !isNone(a[1]) {
		g.def = a[1]
	}
	items, err := r.collect(v)
	if err != nil {
		return nil, err
	}
	keys := make([]Value, len(items))
	for i, item := range items {
		if keys[i], err = g.get(r, item); err != nil {
			return nil, err
		}
	}
	if items, err = r.sortKeyed(items, keys, false); err != nil {
		return nil, err
	}
	return r.groups(items, g)
}

// groups cuts sorted items where the key changes. The key shown is the one of
// the first item, in its own case.
func (r *run) groups(items []Value, g *getter) (Value, error) {
	out := &List{}
	var last Value
	var group *List
	for i, item := range items {
		key, err := g.get(r, item)
		if err != nil {
			return nil, err
		}
		same := false
		if i > 0 {
			if same, err = r.equal(last, key); err != nil {
				return nil, err
			}
		}
		last = key
		if !same {
			shown, err := (&getter{parts: g.parts, def: g.def}).get(r, item)
			if err != nil {
				return nil, err
			}
			group = &List{}
			out.items = append(out.items, &Tuple{items: []Value{shown, group}, names: []string{"grouper", "list"}})
		}
		group.items = append(group.items, item)
	}
	return out, nil
}

func filterSum(r *run, v Value, a []Value) (Value, error) {
	items, err := r.collect(v)
	if err != nil {
		return nil, err
	}
	g, err := newGetter(a[0], false)
	if err != nil {
		return nil, err
	}
	sum := orElse(a[1], int64(0))
	if _, ok := asString(sum); ok {
		return nil, typeErrorf("sum() can't sum strings")
	}
	for _, item := range items {
		if item, err = g.get(r, item); err != nil {
			return nil, err
		}
		if sum, err = r.binary("+", sum, item); err != nil {
			return nil, err
		}
	}
	return sum, nil
}

func filterJoin(r *run, v Value, a []Value) (Value, error) {
	g, err := newGetter(a[1], false)
	if err != nil {
		return nil, err
	}
	sep, err := r.str(orElse(a[0], ""))
	if err != nil {
		return nil, err
	}
	next, err := r.iterate(v)
	if err != nil {
		return nil, err
	}
	return r.joinAll(sep, next, func(v Value) (string, error) {
		v, err := g.get(r, v)
		if err != nil {
			return "", err
		}
		return r.toStr(v)
	})
}

// joinAll joins the texts of the items.
func (r *run) joinAll(sep string, next func() (Value, bool, error), text func(Value) (string, error)) (string, error) {
	var b strings.Builder
	for i := 0; ; i++ {
		v, ok, err := next()
		if !ok || err != nil {
			return b.String(), err
		}
		s, err := text(v)
		if err != nil {
			return "", err
		}
		if i > 0 {
			b.WriteString(sep)
		}
		b.WriteString(s)
		if err := r.alloc(len(s) + len(sep)); err != nil {
			return "", err
		}
		if b.Len() > r.opt.MaxOutput {
			return "", limitErrorf("string is longer than %d bytes", r.opt.MaxOutput)
		}
	}
}

// filterMap looks up an attribute of each item or applies a filter to each.
func filterMap(r *run, v Value, a []Value) (Value, error) {
	args, kw := a[0].(*Tuple).items, a[1].(*Dict)
	return generator("generator", func() (func() (Value, bool, error), error) {
		if !truth(v) {
			return r.iterateN(0, nil), nil
		}
		apply, err := r.mapper(args, kw)
		if err != nil {
			return nil, err
		}
		next, err := r.iterate(v)
		return func() (Value, bool, error) {
			item, ok, err := next()
			if !ok || err != nil {
				return nil, false, err
			}
			item, err = apply(item)
			return item, err == nil, err
		}, err
	}), nil
}

func (r *run) mapper(args []Value, kw *Dict) (func(Value) (Value, error), error) {
	attr, ok := kw.Get("attribute")
	if len(args) == 0 && ok {
		for _, k := range kw.Keys() {
			if k != "attribute" && k != "default" {
				return nil, typeErrorf("unexpected keyword argument '%s'", k)
			}
		}
		g, err := newGetter(attr, false)
		if err != nil {
			return nil, err
		}
		g.def, _ = kw.Get("default")
		return func(v Value) (Value, error) { return g.get(r, v) }, nil
	}
	if len(args) == 0 {
		return nil, typeErrorf("map requires a filter argument")
	}
	name, ok := asString(args[0])
	if !ok {
		return nil, fmt.Errorf("no filter named %s", typeName(args[0]))
	}
	return func(v Value) (Value, error) { return r.applyFilter(name, v, args[1:], kwargsOf(kw)) }, nil
}

func kwargsOf(d *Dict) []kwarg {
	kw := make([]kwarg, 0, d.Len())
	for _, e := range d.entries {
		name, _ := asString(e.key)
		kw = append(kw, kwarg{name, e.val})
	}
	return kw
}

// chooser makes select, reject, selectattr and rejectattr.
func chooser(name string, keep, byAttr bool) nativeFn {
	return func(r *run, v Value, a []Value) (Value, error) {
		args, kw := a[0].(*Tuple).items, kwargsOf(a[1].(*Dict))
		return generator("generator", func() (func() (Value, bool, error), error) {
			if !truth(v) {
				return r.iterateN(0, nil), nil
			}
			test, err := r.chooseTest(name, args, kw, byAttr)
			if err != nil {
				return nil, err
			}
			next, err := r.iterate(v)
			return func() (Value, bool, error) {
				for {
					item, ok, err := next()
					if !ok || err != nil {
						return nil, false, err
					}
					pass, err := test(item)
					if err != nil {
						return nil, false, err
					}
					if pass == keep {
						return item, true, nil
					}
				}
			}, err
		}), nil
	}
}

func (r *run) chooseTest(filter string, args []Value, kw []kwarg, byAttr bool) (func(Value) (bool, error), error) {
	g := &getter{}
	if byAttr {
		if len(args) == 0 {
			return nil, typeErrorf("%s needs an attribute name", filter)
		}
		var err error
		if g, err = newGetter(args[0], false); err != nil {
			return nil, err
		}
		args = args[1:]
	}
	if len(args) == 0 {
		return func(v Value) (bool, error) {
			v, err := g.get(r, v)
			return truth(v), err
		}, nil
	}
	name, ok := asString(args[0])
	if !ok {
		return nil, fmt.Errorf("no test named %s", typeName(args[0]))
	}
	return func(v Value) (bool, error) {
		v, err := g.get(r, v)
		if err != nil {
			return false, err
		}
		v, err = r.applyTest(name, v, args[1:], kw)
		return truth(v), err
	}, nil
}

func filterBatch(r *run, v Value, a []Value) (Value, error) {
	return generator("generator", func() (func() (Value, bool, error), error) {
		items, err := r.collect(v)
		if err != nil {
			return nil, err
		}
		n, ok := asInt(a[0])
		if !ok {
			n = -1 // as in Python, no length equals it
		}
		var out []Value
		var row *List
		for _, item := range items {
			if row != nil && int64(len(row.items)) == n || row == nil {
				row = &List{}
				out = append(out, row)
			}
			row.items = append(row.items, item)
		}
		if row != nil && !isNone(a[1]) {
			if err := r.allocItems(int(min(max(n, 0), 1<<40))); err != nil {
				return nil, err
			}
			for int64(len(row.items)) < n {
				row.items = append(row.items, a[1])
			}
		}
		if n == 0 && len(out) > 0 { // the first comparison already cuts
			out = append([]Value{&List{}}, out...)
		}
		return r.iterateN(len(out), func(i int) Value { return out[i] }), nil
	}), nil
}

func filterSlice(r *run, v Value, a []Value) (Value, error) {
	return generator("generator", func() (func() (Value, bool, error), error) {
		items, err := r.collect(v)
		if err != nil {
			return nil, err
		}
		n, err := intArg(a[0], 0)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, errDivision
		}
		if err := r.allocItems(max(n, 0)); err != nil {
			return nil, err
		}
		return r.iterateN(max(n, 0), func(i int) Value { return sliceColumn(items, n, i, a[1]) }), nil
	}), nil
}

// sliceColumn returns column i of n of nearly equal length.
func sliceColumn(items []Value, n, i int, fill Value) Value {
	per, extra := len(items)/n, len(items)%n
	start := i*per + min(i, extra)
	end := start + per
	if i < extra {
		end++
	}
	col := slices.Clone(items[start:end])
	if !isNone(fill) && i >= extra {
		col = append(col, fill)
	}
	return &List{col}
}
