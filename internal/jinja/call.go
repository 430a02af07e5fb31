package jinja

import (
	"fmt"
	"slices"
	"strings"
)

type kwarg struct {
	name string
	val  Value
}

// callable is anything that can be called.
type callable interface {
	call(r *run, args []Value, kw []kwarg) (Value, error)
}

// function is a built-in function, filter, test or method with its signature.
// For a filter, a test and a method, recv is the object.
type function struct {
	name string
	sig  *signature
	fn   func(r *run, recv Value, a []Value) (Value, error)
}

func (f *function) call(r *run, args []Value, kw []kwarg) (Value, error) {
	return f.invoke(r, nil, args, kw)
}

func (f *function) invoke(r *run, recv Value, args []Value, kw []kwarg) (Value, error) {
	a, err := f.sig.bind(args, kw)
	if err != nil {
		return nil, fmt.Errorf("%s(): %w", f.name, err)
	}
	return f.fn(r, recv, a)
}

// method is a function bound to its object.
type method struct {
	*function
	recv Value
}

func (m *method) call(r *run, args []Value, kw []kwarg) (Value, error) {
	return m.invoke(r, m.recv, args, kw)
}

// signature says which arguments a function takes.
type signature struct {
	names    []string
	required int
	posOnly  bool // no names may be given
	varargs  bool // the last two bound values are a tuple and a dictionary
	kwargs   bool
}

// parseSig reads a signature: names in order, "?" after optional ones, "/"
// first where names cannot be given, "*args" and "**kwargs" last.
func parseSig(text string) *signature {
	s := &signature{}
	for _, f := range strings.Fields(text) {
		switch {
		case f == "/":
			s.posOnly = true
		case strings.HasPrefix(f, "**"):
			s.kwargs = true
		case strings.HasPrefix(f, "*"):
			s.varargs = true
		default:
			name := strings.TrimSuffix(f, "?")
			if name == f {
				s.required++
			}
			s.names = append(s.names, name)
		}
	}
	return s
}

// bind puts arguments in the order of the signature; absent ones are the
// value missing. A tuple follows for *args and a dictionary for **kwargs.
func (s *signature) bind(args []Value, kw []kwarg) ([]Value, error) {
	out := make([]Value, len(s.names), len(s.names)+2)
	for i := range out {
		out[i] = missing
	}
	n := copy(out, args)
	if n < len(args) && !s.varargs {
		return nil, typeErrorf("takes at most %d arguments, got %d", len(s.names), len(args))
	}
	extra := NewDict()
	for _, k := range kw {
		i := slices.Index(s.names, k.name)
		switch {
		case i >= 0 && !s.posOnly && out[i] == missing:
			out[i] = k.val
		case i < 0 && s.kwargs:
			extra.Set(k.name, k.val)
		case i >= 0 && !s.posOnly:
			return nil, typeErrorf("got two values for argument '%s'", k.name)
		default:
			return nil, typeErrorf("got an unexpected argument '%s'", k.name)
		}
	}
	for i := range s.required {
		if out[i] == missing {
			return nil, typeErrorf("argument '%s' is missing", s.names[i])
		}
	}
	if s.varargs {
		out = append(out, &Tuple{items: args[n:]})
	}
	if s.kwargs {
		out = append(out, extra)
	}
	return out, nil
}

// evalArgs evaluates the arguments of a call, with * and ** spread.
func (r *run) evalArgs(c *callArgs, s *scope) ([]Value, []kwarg, error) {
	var args []Value
	var err error
	if len(c.args) > 0 {
		if args, err = r.evalAll(c.args, s); err != nil {
			return nil, nil, err
		}
	}
	var kw []kwarg
	for i, e := range c.kwargs {
		v, err := r.eval(e, s)
		if err != nil {
			return nil, nil, err
		}
		kw = append(kw, kwarg{c.names[i], v})
	}
	if c.dynArgs != nil {
		v, err := r.eval(c.dynArgs, s)
		if err != nil {
			return nil, nil, err
		}
		more, err := r.collect(v)
		if err != nil {
			return nil, nil, err
		}
		args = append(args, more...)
	}
	if c.dynKwargs != nil {
		kw, err = r.spreadKwargs(c.dynKwargs, kw, s)
	}
	return args, kw, err
}

func (r *run) spreadKwargs(e expr, kw []kwarg, s *scope) ([]kwarg, error) {
	v, err := r.eval(e, s)
	if err != nil {
		return nil, err
	}
	d, ok := v.(*Dict)
	if !ok {
		return nil, typeErrorf("argument after ** must be a mapping, not %s", typeName(v))
	}
	if err := r.allocItems(d.Len()); err != nil {
		return nil, err
	}
	for _, en := range d.entries {
		name, ok := asString(en.key)
		if !ok {
			return nil, typeErrorf("keywords must be strings")
		}
		if slices.ContainsFunc(kw, func(k kwarg) bool { return k.name == name }) {
			return nil, typeErrorf("got multiple values for keyword argument '%s'", name)
		}
		kw = append(kw, kwarg{name, en.val})
	}
	return kw, nil
}

// evalCall calls; caller is the body of a call block, or nil.
func (r *run) evalCall(n *callExpr, s *scope, caller *macro) (Value, error) {
	fn, err := r.eval(n.fn, s)
	if err != nil {
		return nil, err
	}
	args, kw, err := r.evalArgs(n.args, s)
	if err != nil {
		return nil, err
	}
	if caller != nil {
		if slices.ContainsFunc(kw, func(k kwarg) bool { return k.name == "caller" }) {
			return nil, typeErrorf("got multiple values for keyword argument 'caller'")
		}
		kw = append(kw, kwarg{"caller", caller})
	}
	v, err := r.callValue(fn, args, kw)
	if err != nil {
		return nil, atLine(err, n.pos())
	}
	return v, nil
}

func (r *run) callValue(fn Value, args []Value, kw []kwarg) (Value, error) {
	if u, ok := fn.(*Undefined); ok {
		return nil, u.err()
	}
	c, ok := fn.(callable)
	if !ok {
		return nil, typeErrorf("'%s' object is not callable", typeName(fn))
	}
	return c.call(r, args, kw)
}

// evalFilter applies one filter. A filter block's chain starts from input,
// where the expression has no node.
func (r *run) evalFilter(n *filterExpr, s *scope, input Value) (Value, error) {
	v := input
	if n.node != nil {
		var err error
		if f, ok := n.node.(*filterExpr); ok && input != nil {
			v, err = r.evalFilter(f, s, input)
		} else {
			v, err = r.eval(n.node, s)
		}
		if err != nil {
			return nil, err
		}
	}
	args, kw, err := r.evalArgs(n.args, s)
	if err != nil {
		return nil, err
	}
	return r.applyFilter(n.name, v, args, kw)
}

// evalFilters applies the filters of a block to its text.
func (r *run) evalFilters(e expr, s *scope, text string) (Value, error) {
	v, err := r.evalFilter(e.(*filterExpr), s, text)
	return v, atLine(err, e.pos())
}

func (r *run) applyFilter(name string, v Value, args []Value, kw []kwarg) (Value, error) {
	f, ok := filters[name]
	if !ok {
		return nil, fmt.Errorf("no filter named '%s'", name)
	}
	return f.invoke(r, v, args, kw)
}

func (r *run) evalTest(n *testExpr, s *scope) (Value, error) {
	v, err := r.eval(n.node, s)
	if err != nil {
		return nil, err
	}
	args, kw, err := r.evalArgs(n.args, s)
	if err != nil {
		return nil, err
	}
	return r.applyTest(n.name, v, args, kw)
}

func (r *run) applyTest(name string, v Value, args []Value, kw []kwarg) (Value, error) {
	f, ok := tests[name]
	if !ok {
		return nil, fmt.Errorf("no test named '%s'", name)
	}
	return f.invoke(r, v, args, kw)
}

// macro is a macro, or the body of a call block, with the scope around it.
type macro struct {
	*macroDef
	name  string
	scope *scope
}

// call runs the macro's body and returns its text.
func (m *macro) call(r *run, args []Value, kw []kwarg) (Value, error) {
	if err := r.enter(); err != nil {
		return nil, err
	}
	defer func() { r.depth-- }()
	s := newScope(m.scope, nil)
	if err := m.bind(r, s, args, kw); err != nil {
		return nil, err
	}
	for _, n := range m.undefs {
		s.set(n, missing)
	}
	text, _, err := r.capture(m.body, s)
	return text, err
}

// bind sets the parameters, the defaults of absent ones, and the special
// names that the body reads.
func (m *macro) bind(r *run, s *scope, args []Value, kw []kwarg) error {
	take := func(name string) (Value, bool) {
		i := slices.IndexFunc(kw, func(k kwarg) bool { return k.name == name })
		if i < 0 {
			return missing, false
		}
		v := kw[i].val
		kw = slices.Delete(slices.Clone(kw), i, i+1)
		return v, true
	}
	for i, name := range m.params {
		if i < len(args) {
			s.set(name, args[i])
		} else {
			v, _ := take(name)
			s.set(name, v)
		}
	}
	if m.caller && !slices.Contains(m.params, "caller") {
		v, ok := take("caller")
		if !ok || v == nil {
			v = &Undefined{msg: "No caller defined"}
		}
		s.set("caller", v)
	}
	if err := m.bindRest(s, args, kw); err != nil {
		return err
	}
	return m.bindDefaults(r, s)
}

// bindRest sets kwargs and varargs, or refuses what is left over.
func (m *macro) bindRest(s *scope, args []Value, kw []kwarg) error {
	if m.kwargs {
		d := NewDict()
		for _, k := range kw {
			d.Set(k.name, k.val)
		}
		s.set("kwargs", d)
	} else if len(kw) > 0 {
		return typeErrorf("macro '%s' takes no keyword argument '%s'", m.name, kw[0].name)
	}
	if m.varargs {
		s.set("varargs", &Tuple{items: args[min(len(m.params), len(args)):]})
	} else if len(args) > len(m.params) {
		return typeErrorf("macro '%s' takes not more than %d argument(s)", m.name, len(m.params))
	}
	return nil
}

func (m *macro) bindDefaults(r *run, s *scope) error {
	first := len(m.params) - len(m.defaults)
	for i, name := range m.params {
		if s.vals[i] != missing {
			continue
		}
		if i < first {
			s.set(name, &Undefined{msg: "parameter '" + name + "' was not provided"})
			continue
		}
		v, err := r.eval(m.defaults[i-first], s)
		if err != nil {
			return err
		}
		s.set(name, v)
	}
	return nil
}

func (m *macro) attr(name string) (Value, bool, error) {
	switch name {
	case "name":
		if m.name == "" {
			return nil, true, nil
		}
		return m.name, true, nil
	case "arguments":
		t := &Tuple{}
		for _, p := range m.params {
			t.items = append(t.items, p)
		}
		return t, true, nil
	case "catch_kwargs":
		return m.kwargs, true, nil
	case "catch_varargs":
		return m.varargs, true, nil
	case "caller":
		return m.caller, true, nil
	}
	return nil, false, nil
}
