package jinja

import (
	"math/big"
	"strings"
	"unicode/utf8"
)

// Value is a value of the template language. What callers pass in is one of
//
//	nil, bool, int64, *big.Int, float64, string, *List, *Dict
//
// as FromJSON makes them; a *big.Int lies outside the range of int64. Other
// types arise only while a template runs.
type Value any

// List is a list. Templates cannot change one.
type List struct{ items []Value }

// NewList returns a list of the items, which it keeps.
func NewList(items ...Value) *List { return &List{items} }

// Len returns the number of items.
func (l *List) Len() int { return len(l.items) }

// At returns item i.
func (l *List) At(i int) Value { return l.items[i] }

// Tuple is Python's tuple; only templates make them.
type Tuple struct {
	items []Value
	names []string // of a named tuple's fields, as groupby makes them
}

// markup is a string that was escaped: joining it with others escapes those.
type markup string

// Undefined is what looking up something absent gives. It prints as nothing,
// is false and empty, and refuses everything else with its message.
type Undefined struct {
	msg    string
	unsafe bool // the sandbox refused it
}

func (u *Undefined) err() error {
	if u.unsafe {
		return &SecurityError{u.msg}
	}
	return &UndefinedError{u.msg}
}

// missingType marks names that a scope will set later, and absent arguments.
type missingType struct{}

var missing = &missingType{}

// iterator is a generator: it runs once. next returns false at its end.
type iterator struct {
	name string
	next func() (Value, bool, error)
}

// dictView is what keys(), values() and items() return.
type dictView struct {
	dict *Dict
	kind string // "keys", "values" or "items"
}

func (v *dictView) at(i int) Value {
	e := v.dict.entries[i]
	switch v.kind {
	case "keys":
		return e.key
	case "values":
		return e.val
	}
	return &Tuple{items: []Value{e.key, e.val}}
}

// rangeValue is Python's range.
type rangeValue struct{ start, stop, step int64 }

func (r *rangeValue) len() int {
	if r.step > 0 && r.start < r.stop {
		return int((uint64(r.stop-r.start)-1)/uint64(r.step)) + 1
	}
	if r.step < 0 && r.start > r.stop {
		return int((uint64(r.start-r.stop)-1)/uint64(-r.step)) + 1
	}
	return 0
}

func (r *rangeValue) at(i int) Value { return r.start + int64(i)*r.step }

// namespace is the one thing that templates can change.
type namespace struct{ attrs *Dict }

// asString returns the text of a string or of markup.
func asString(v Value) (string, bool) {
	switch s := v.(type) {
	case string:
		return s, true
	case markup:
		return string(s), true
	}
	return "", false
}

// sameKind gives s the type of like: markup stays markup.
func sameKind(s string, like Value) Value {
	if _, ok := like.(markup); ok {
		return markup(s)
	}
	return s
}

// seqItems returns the items of a list or a tuple.
func seqItems(v Value) ([]Value, bool) {
	switch s := v.(type) {
	case *List:
		return s.items, true
	case *Tuple:
		return s.items, true
	}
	return nil, false
}

// truth is Python's bool().
func truth(v Value) bool {
	switch x := v.(type) {
	case nil:
		return false
	case bool:
		return x
	case int64:
		return x != 0
	case float64:
		return x != 0
	case string:
		return x != ""
	case markup:
		return x != ""
	case *Undefined:
		return false
	}
	if n, ok := length(v); ok {
		return n > 0
	}
	return true
}

// length is Python's len(); ok is false where there is none.
func length(v Value) (int, bool) {
	switch x := v.(type) {
	case string:
		return utf8.RuneCountInString(x), true
	case markup:
		return utf8.RuneCountInString(string(x)), true
	case *List:
		return len(x.items), true
	case *Tuple:
		return len(x.items), true
	case *Dict:
		return x.Len(), true
	case *dictView:
		return x.dict.Len(), true
	case *rangeValue:
		return x.len(), true
	case *Undefined:
		return 0, true
	}
	return 0, false
}

// typeName is the name that Python gives the type of v.
func typeName(v Value) string {
	switch x := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64, *big.Int:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case markup:
		return "Markup"
	case *List:
		return "list"
	case *Tuple:
		return "tuple"
	case *Dict:
		return "dict"
	case *dictView:
		return "dict_" + x.kind
	case *rangeValue:
		return "range"
	case *Undefined:
		return "Undefined"
	case *iterator:
		return x.name
	case *namespace:
		return "Namespace"
	case *macro:
		return "Macro"
	case *loopState:
		return "LoopContext"
	}
	return "function"
}

// describe names the object of a failed lookup as Jinja does.
func describe(v Value) string {
	if v == nil {
		return "None"
	}
	return typeName(v) + " object"
}

// normInt returns an int64 where v fits one, else v.
func normInt(v *big.Int) Value {
	if v.IsInt64() {
		return v.Int64()
	}
	return v
}

// asInt returns v as an int64 if it is an integer, or a boolean, in range.
func asInt(v Value) (int64, bool) {
	switch x := v.(type) {
	case int64:
		return x, true
	case bool:
		if x {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

// asBig returns v as a big integer if it is an integer or a boolean.
func asBig(v Value) (*big.Int, bool) {
	if b, ok := v.(*big.Int); ok {
		return b, true
	}
	if i, ok := asInt(v); ok {
		return big.NewInt(i), true
	}
	return nil, false
}

func isInt(v Value) bool {
	switch v.(type) {
	case int64, bool, *big.Int:
		return true
	}
	return false
}

// asFloat returns a number as a float64; a big integer may overflow to ±Inf.
func asFloat(v Value) (float64, bool) {
	switch x := v.(type) {
	case float64:
		return x, true
	case *big.Int:
		f, _ := new(big.Float).SetInt(x).Float64()
		return f, true
	}
	i, ok := asInt(v)
	return float64(i), ok
}

// isSpace is Python's str.isspace for one character.
func isSpace(r rune) bool {
	switch {
	case r >= 9 && r <= 13, r >= 0x1c && r <= 0x20, r == 0x85, r == 0xa0:
		return true
	case r < 0x1680:
		return false
	case r >= 0x2000 && r <= 0x200a:
		return true
	}
	switch r {
	case 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000:
		return true
	}
	return false
}

// repeat is strings.Repeat with negative counts as Python takes them.
func repeat(s string, n int) string { return strings.Repeat(s, max(n, 0)) }
