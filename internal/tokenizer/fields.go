package tokenizer

import (
	"fmt"
	"math"
	"unicode/utf8"
)

// reader takes the fields of one JSON object by name. The first error sticks;
// done reports it, or else the fields that nobody asked for: an option that we
// do not know may change every token, so it is refused by name.
type reader struct {
	n   *node
	err error
}

// open starts reading an object.
func open(n *node) *reader {
	r := &reader{n: n}
	if n.kind != "an object" {
		r.err = n.errorf("got %s, want an object", n.kind)
	}
	return r
}

// errorf returns an error that names the file and the value's path in it.
func (n *node) errorf(format string, args ...any) error {
	return fmt.Errorf("tokenizer.json: %s%s", n.path, fmt.Sprintf(format, args...))
}

// isNull reports whether the value is null or absent.
func (n *node) isNull() bool { return n == nil || n.kind == "" || n.kind == "null" }

// optional returns a field, nil where it is missing or null.
func (r *reader) optional(key string) *node {
	if r.err != nil {
		return nil
	}
	for i := range r.n.fields {
		if f := &r.n.fields[i]; f.key == key {
			f.used = true
			if f.value.isNull() {
				return nil
			}
			return &f.value
		}
	}
	return nil
}

// required returns a field that must be there and not be null.
func (r *reader) required(key, want string) *node {
	v := r.optional(key)
	if v == nil && r.err == nil {
		r.err = r.n.errorf("%s is missing, want %s", key, want)
	}
	return v
}

// typed checks a value's kind.
func (r *reader) typed(v *node, want string) bool {
	if v == nil || r.err != nil {
		return false
	}
	if v.kind != want {
		r.err = v.errorf("got %s, want %s", v.kind, want)
		return false
	}
	return true
}

// str reads a required string.
func (r *reader) str(key string) string {
	if v := r.required(key, "a string"); r.typed(v, "a string") {
		return v.text
	}
	return ""
}

// strOr reads a string that may be missing or null.
func (r *reader) strOr(key, otherwise string) string {
	if v := r.optional(key); r.typed(v, "a string") {
		return v.text
	}
	return otherwise
}

// char reads a required string of one character.
func (r *reader) char(key string) rune {
	s := r.str(key)
	if r.err != nil {
		return 0
	}
	c, n := utf8.DecodeRuneInString(s)
	if n == 0 || n != len(s) {
		r.err = r.n.errorf("%s: got %q, want one character", key, clip(s))
	}
	return c
}

// flag reads a required boolean.
func (r *reader) flag(key string) bool {
	v := r.required(key, "a boolean")
	return r.typed(v, "a boolean") && v.boolean
}

// flagOr reads a boolean that may be missing or null.
func (r *reader) flagOr(key string, otherwise bool) bool {
	if v := r.optional(key); r.typed(v, "a boolean") {
		return v.boolean
	}
	return otherwise
}

// count reads a required whole number from 0 to below limit.
func (r *reader) count(key string, limit int) int {
	v := r.required(key, "a number")
	if !r.typed(v, "a number") {
		return 0
	}
	if v.number < 0 || v.number >= float64(limit) || v.number != math.Trunc(v.number) {
		r.err = v.errorf("got %v, want a whole number from 0 to %d", v.number, limit-1)
		return 0
	}
	return int(v.number)
}

// list reads a required array.
func (r *reader) list(key string) []node {
	if v := r.required(key, "an array"); r.typed(v, "an array") {
		return v.list
	}
	return nil
}

// done returns the first error, or names a field that nobody asked for.
func (r *reader) done() error {
	if r.err != nil {
		return r.err
	}
	for i := range r.n.fields {
		if f := &r.n.fields[i]; !f.used {
			return f.value.errorf("this field is not known to us")
		}
	}
	return nil
}

// kindOf opens an object and reads its "type".
func kindOf(n *node) (*reader, string) {
	r := open(n)
	return r, r.str("type")
}
