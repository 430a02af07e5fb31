package jinja

import "strings"

// nativeFn is the Go body of a built-in: recv is the filtered value or the
// object of a method, a the bound arguments.
type nativeFn = func(r *run, recv Value, a []Value) (Value, error)

// The tables of built-ins. They are filled once by init, since some of their
// functions look into the tables themselves.
var (
	filters     map[string]*function
	tests       map[string]*function
	globals     map[string]Value
	strMethods  map[string]*function
	dictMethods map[string]*function
	listMethods map[string]*function
)

func init() {
	filters = table(filterRows)
	tests = table(testRows)
	strMethods = table(strRows)
	dictMethods = table(dictRows)
	listMethods = table(listRows)
	globals = globalTable()
}

// row declares built-ins: one or more names, a signature and a body.
type row struct {
	names string
	sig   string
	fn    nativeFn
}

func table(rows func() []row) map[string]*function {
	t := map[string]*function{}
	for _, w := range rows() {
		sig := parseSig(w.sig)
		for _, name := range strings.Fields(w.names) {
			t[name] = &function{name, sig, w.fn}
		}
	}
	return t
}

// given reports whether an argument was passed.
func given(v Value) bool { return v != missing }

// orElse returns v, or def if the argument is absent.
func orElse(v, def Value) Value {
	if v == missing {
		return def
	}
	return v
}

// intArg returns an integer argument, or def if it is absent.
func intArg(v Value, def int) (int, error) {
	if v == missing {
		return def, nil
	}
	b, ok := asBig(v)
	if !ok {
		return 0, typeErrorf("'%s' object cannot be interpreted as an integer", typeName(v))
	}
	return clampBig(b), nil
}

// strArg returns a string argument, or def if it is absent.
func strArg(v Value, def string) (string, error) {
	if v == missing {
		return def, nil
	}
	s, ok := asString(v)
	if !ok {
		return "", typeErrorf("expected a string, got %s", typeName(v))
	}
	return s, nil
}

// isNone reports an argument that is absent or None.
func isNone(v Value) bool { return v == missing || v == nil }

// generator makes an iterator whose next is built when it is first asked, as
// a Python generator runs nothing before.
func generator(name string, start func() (func() (Value, bool, error), error)) *iterator {
	var next func() (Value, bool, error)
	return &iterator{name: name, next: func() (Value, bool, error) {
		if next == nil {
			var err error
			if next, err = start(); err != nil {
				return nil, false, err
			}
		}
		return next()
	}}
}
