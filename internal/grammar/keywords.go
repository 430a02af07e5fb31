package grammar

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/godwit-llm/godwit/internal/regular"
)

// ErrSchema is wrapped by the errors about schemas that are none.
var ErrSchema = errors.New("invalid schema")

// ErrUnsupported is wrapped by the errors about schemas that cannot be kept
// exactly. They name the keyword.
var ErrUnsupported = errors.New("unsupported schema")

// kinds are types as bits.
type kinds uint8

var kindNames = []string{"null", "boolean", "integer", "number", "string", "array", "object"}

const (
	aNull kinds = 1 << iota
	aBoolean
	anInteger
	aNumber // with a fraction, or not
	aString
	anArray
	anObject
	anything = aNull | aBoolean | anInteger | aNumber | aString | anArray | anObject
)

// keywords are what one object of a schema says by itself.
type keywords struct {
	id    int
	path  string
	types kinds
	enum  []*value // nil: anything

	leastLength, mostLength int // characters; most -1: any
	patterns, formats       []string
	low, high               regular.Bound
	multiples               []*big.Rat

	prefix                []*value
	items                 *value
	leastItems, mostItems int

	properties                      []field
	patternProperties               []field
	additional, names               *value
	required                        []string
	leastProperties, mostProperties int

	all, any, one []*value // ways to go on: all of them; one of any; one of one, which exclude each other
	hasAny        bool
	hasOne        bool
}

// reader fills keywords and keeps the first fault.
type reader struct {
	doc *document
	k   *keywords
	err error
}

// refuse records a keyword that is malformed.
func (r *reader) refuse(v *value, want string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s is %s, want %s", ErrSchema, v.path, describe(v), want)
	}
}

func describe(v *value) string {
	if text := v.text; v.kind != "string" && text != "" {
		return text[:min(len(text), 40)]
	}
	return v.kind
}

// unsupported records a keyword that cannot be kept.
func (r *reader) unsupported(v *value, why string) {
	if r.err == nil {
		r.err = unsupported(v.path, why)
	}
}

func unsupported(path, why string) error { return fmt.Errorf("%w: %s: %s", ErrUnsupported, path, why) }

// handlers read the keywords. A keyword without one, and not in ignored, is
// refused.
var handlers map[string]func(r *reader, v *value)

var ignored = []string{
	"title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly", "discriminator",
	"$comment", "$schema", "$id", "$anchor", "$defs", "definitions", "$vocabulary", "contentMediaType", "contentEncoding",
}

func init() {
	k := func(r *reader) *keywords { return r.k }
	handlers = map[string]func(r *reader, v *value){
		"type":  (*reader).readTypes,
		"enum":  func(r *reader, v *value) { r.readEnum(v, r.list(v)) },
		"const": func(r *reader, v *value) { r.readEnum(v, []*value{v}) },

		"minLength": func(r *reader, v *value) { r.least(v, &k(r).leastLength) },
		"maxLength": func(r *reader, v *value) { r.most(v, &k(r).mostLength) },
		"pattern":   func(r *reader, v *value) { k(r).patterns = append(k(r).patterns, r.text(v)) },
		"format":    (*reader).readFormat,

		"minimum":          func(r *reader, v *value) { k(r).low = tighter(k(r).low, r.bound(v, false), 1) },
		"exclusiveMinimum": func(r *reader, v *value) { k(r).low = tighter(k(r).low, r.bound(v, true), 1) },
		"maximum":          func(r *reader, v *value) { k(r).high = tighter(k(r).high, r.bound(v, false), -1) },
		"exclusiveMaximum": func(r *reader, v *value) { k(r).high = tighter(k(r).high, r.bound(v, true), -1) },
		"multipleOf":       func(r *reader, v *value) { k(r).multiples = append(k(r).multiples, r.bound(v, false).At) },

		"prefixItems": func(r *reader, v *value) { k(r).prefix = r.list(v) },
		"items":       (*reader).readItems,
		"minItems":    func(r *reader, v *value) { r.least(v, &k(r).leastItems) },
		"maxItems":    func(r *reader, v *value) { r.most(v, &k(r).mostItems) },
		"uniqueItems": (*reader).readUnique,

		"properties":           func(r *reader, v *value) { k(r).properties = r.object(v) },
		"patternProperties":    func(r *reader, v *value) { k(r).patternProperties = r.object(v) },
		"additionalProperties": func(r *reader, v *value) { k(r).additional = v },
		"propertyNames":        func(r *reader, v *value) { k(r).names = v },
		"required":             (*reader).readRequired,
		"minProperties":        func(r *reader, v *value) { r.least(v, &k(r).leastProperties) },
		"maxProperties":        func(r *reader, v *value) { r.most(v, &k(r).mostProperties) },

		"$ref":  (*reader).readRef,
		"allOf": func(r *reader, v *value) { k(r).all = append(k(r).all, r.list(v)...) },
		"anyOf": func(r *reader, v *value) { k(r).any, k(r).hasAny = r.list(v), true },
		"oneOf": func(r *reader, v *value) { k(r).one, k(r).hasOne = r.list(v), true },
	}
}

// read interprets one object of a schema, or true or false.
func (d *document) read(v *value) (*keywords, error) {
	if k, ok := d.known[v]; ok {
		return k, nil
	}
	k := &keywords{id: len(d.known), path: v.path, types: anything, mostLength: -1, mostItems: -1, mostProperties: -1}
	r := &reader{doc: d, k: k}
	switch {
	case v.kind == "boolean":
		if v.text == "false" {
			k.types = 0
		}
	case v.kind != "object":
		r.refuse(v, "an object, true or false")
	}
	for _, f := range v.fields {
		switch h := handlers[f.name]; {
		case h != nil:
			h(r, f.value)
		case !slices.Contains(ignored, f.name) && !strings.HasPrefix(f.name, "x-"):
			r.unsupported(f.value, fmt.Sprintf("keyword %q is not supported", f.name))
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	d.known[v] = k
	return k, nil
}

func (r *reader) readTypes(v *value) {
	list := v.items
	if v.kind == "string" {
		list = []*value{v}
	}
	if len(list) == 0 {
		r.refuse(v, "a type or a list of types")
	}
	r.k.types = 0
	for _, t := range list {
		i := slices.Index(kindNames, t.text)
		if t.kind != "string" || i < 0 {
			r.refuse(t, "one of "+strings.Join(kindNames, ", "))
			return
		}
		r.k.types |= 1 << i
	}
	if r.k.types&aNumber != 0 {
		r.k.types |= anInteger
	}
}

// readEnum keeps what an earlier enum or const allows as well.
func (r *reader) readEnum(v *value, list []*value) {
	if len(list) == 0 {
		r.refuse(v, "at least one value")
	}
	r.k.enum = common(r.k.enum, list)
}

// common returns the values in both lists; nil is all values.
func common(a, b []*value) []*value {
	if a == nil || b == nil {
		return append(a, b...)
	}
	out := []*value{}
	for _, x := range a {
		if slices.ContainsFunc(b, func(y *value) bool { return equal(x, y) }) {
			out = append(out, x)
		}
	}
	return out
}

func (r *reader) readFormat(v *value) {
	if name := r.text(v); !slices.Contains(regular.Formats(), name) {
		r.unsupported(v, fmt.Sprintf("format %q is not supported, want one of %s", name, strings.Join(regular.Formats(), ", ")))
	}
	r.k.formats = append(r.k.formats, v.text)
}

// readItems takes the list of the older drafts, too.
func (r *reader) readItems(v *value) {
	if v.kind == "array" {
		r.unsupported(v, "a list of items is not supported, use prefixItems")
	}
	r.k.items = v
}

func (r *reader) readUnique(v *value) {
	switch {
	case v.kind != "boolean":
		r.refuse(v, "true or false")
	case v.text == "true":
		r.unsupported(v, `keyword "uniqueItems" is not supported`)
	}
}

func (r *reader) readRequired(v *value) {
	for _, name := range r.list(v) {
		r.k.required = append(r.k.required, r.text(name))
	}
}

func (r *reader) readRef(v *value) {
	to, err := r.doc.resolve(v.path, r.text(v))
	if err != nil {
		if r.err == nil {
			r.err = err
		}
		return
	}
	r.k.all = append(r.k.all, to)
}

func (r *reader) list(v *value) []*value {
	if v.kind != "array" {
		r.refuse(v, "an array")
	}
	return v.items
}

func (r *reader) object(v *value) []field {
	if v.kind != "object" {
		r.refuse(v, "an object")
	}
	return v.fields
}

func (r *reader) text(v *value) string {
	if v.kind != "string" {
		r.refuse(v, "a string")
	}
	return v.text
}

// maxCount is the largest count of items or characters in a schema.
const maxCount = 1 << 30

func (r *reader) count(v *value) int {
	n := v.number()
	if n == nil || !n.IsInt() || n.Sign() < 0 || n.Cmp(big.NewRat(maxCount, 1)) > 0 {
		r.refuse(v, fmt.Sprintf("a count up to %d", maxCount))
		return 0
	}
	return int(n.Num().Int64())
}

func (r *reader) least(v *value, to *int) { *to = max(*to, r.count(v)) }

func (r *reader) most(v *value, to *int) { *to = fewer(*to, r.count(v)) }

// fewer returns the smaller of two upper limits, of which -1 is none.
func fewer(a, b int) int {
	if a < 0 || b >= 0 && b < a {
		return b
	}
	return a
}

func (r *reader) bound(v *value, exclusive bool) regular.Bound {
	n := v.number()
	if n == nil {
		r.refuse(v, "a number of less than 400 digits")
		n = new(big.Rat)
	}
	return regular.Bound{At: n, Exclusive: exclusive}
}

// tighter returns the bound that leaves less; sign is 1 for lower bounds.
func tighter(a, b regular.Bound, sign int) regular.Bound {
	if a.At == nil || b.At == nil {
		if a.At == nil {
			return b
		}
		return a
	}
	switch c := a.At.Cmp(b.At) * sign; {
	case c > 0 || c == 0 && a.Exclusive:
		return a
	}
	return b
}
