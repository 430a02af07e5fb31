package grammar

import (
	"fmt"
	"math/big"
	"slices"

	"github.com/godwit-llm/godwit/internal/regular"
)

// Schema is a JSON value that keeps a JSON schema. Errors wrap ErrSchema or
// ErrUnsupported and name the place; those about the parts of a schema come
// from Compile.
func Schema(data []byte) (Expr, error) {
	d, err := readSchema(data)
	if err != nil {
		return nil, err
	}
	return schemaExpr{d}, nil
}

type schemaExpr struct{ doc *document }

func (e schemaExpr) build(b *builder, next int32) int32 {
	return b.add(node{calls: []call{{newSchemas(b, e.doc).value([]*value{e.doc.root}), next}}})
}

// schemas builds the values of one document.
type schemas struct {
	*builder
	doc     *document
	part    int                // of the document in the grammar
	trial   bool               // find out whether anything fits; nothing will be written
	checked map[*keywords]bool // whose oneOf was looked at
}

// newSchemas starts with what is known of a document when it has been parsed,
// so that an expression can be built at several places at once.
func newSchemas(b *builder, d *document) *schemas {
	b.parts++
	own := &document{root: d.root, names: d.names, known: map[*value]*keywords{}}
	return &schemas{builder: b, doc: own, part: b.parts, checked: map[*keywords]bool{}}
}

// key makes a name for a part of this document.
func (s *schemas) key(kind string, of any) string { return fmt.Sprintf("%s %d %q", kind, s.part, of) }

// value returns the start of the values that fit all of some schemas.
func (s *schemas) value(all []*value) int32 {
	var paths []string
	for _, v := range all {
		paths = append(paths, v.path)
	}
	slices.Sort(paths)
	return s.once(s.key("value", slices.Compact(paths)), func(at int32) {
		forms, err := s.expand(all, nil)
		if err != nil {
			s.fail(err)
			return
		}
		var starts []int32
		for _, f := range forms {
			if start := s.form(f); !slices.Contains(starts, start) {
				starts = append(starts, start)
			}
		}
		s.nodes[at].free = starts
	})
}

// form returns the start of the values of a form.
func (s *schemas) form(f form) int32 {
	return s.once(s.key("form", f.key()), func(at int32) {
		types, enum := anything, []*value(nil)
		for _, k := range f {
			types &= k.types
			enum = common(enum, k.enum)
		}
		var starts []int32
		if enum != nil {
			starts = s.enum(f, types, enum)
		} else {
			starts = s.types(f, types)
		}
		s.nodes[at].free = starts
	})
}

// types returns a start for each type of value.
func (s *schemas) types(f form, types kinds) (starts []int32) {
	if types&aNull != 0 {
		starts = append(starts, s.literal("null", s.end))
	}
	if types&aBoolean != 0 {
		starts = append(starts, s.literal("true", s.end), s.literal("false", s.end))
	}
	if types&(anInteger|aNumber) != 0 {
		starts = append(starts, s.number(f, types&aNumber == 0))
	}
	if types&aString != 0 {
		starts = append(starts, s.string(f))
	}
	if types&anArray != 0 {
		starts = append(starts, s.array(f))
	}
	if types&anObject != 0 {
		starts = append(starts, s.object(f))
	}
	return starts
}

// enum returns a start for each listed value that keeps the other keywords.
func (s *schemas) enum(f form, types kinds, list []*value) (starts []int32) {
	for _, v := range list {
		ok, err := s.fits(f, types, v)
		if err != nil {
			s.fail(err)
			return nil
		}
		if ok {
			starts = append(starts, s.constant(v, s.end))
		}
	}
	return starts
}

// fits reports whether a listed value keeps a form's keywords.
func (s *schemas) fits(f form, types kinds, v *value) (bool, error) {
	kind := kinds(1) << slices.Index(kindNames, v.kind)
	if n := v.number(); kind == aNumber && n != nil && n.IsInt() {
		kind = anInteger
	}
	if types&kind == 0 {
		return false, nil
	}
	switch kind {
	case aString:
		d, err := stringAutomaton(f, regular.Plain)
		return err == nil && (d == nil || d.Match(v.text)) && f.fitsLength(len([]rune(v.text))), err
	case anInteger, aNumber:
		return f.fitsNumber(v)
	case anArray, anObject:
		for _, k := range f {
			if k.constrains(v.kind) {
				return false, unsupported(k.path, fmt.Sprintf("keywords about an %s beside enum or const are not supported", v.kind))
			}
		}
	}
	return true, nil
}

// constrains reports whether keywords say anything about arrays or objects.
func (k *keywords) constrains(kind string) bool {
	if kind == "array" {
		return k.prefix != nil || k.items != nil || k.leastItems > 0 || k.mostItems >= 0
	}
	return k.properties != nil || k.patternProperties != nil || k.additional != nil || k.names != nil || k.required != nil ||
		k.leastProperties > 0 || k.mostProperties >= 0
}

// length returns the limits of a string.
func (f form) length() (least, most int) {
	most = -1
	for _, k := range f {
		least, most = max(least, k.leastLength), fewer(most, k.mostLength)
	}
	return least, most
}

func (f form) fitsLength(n int) bool {
	least, most := f.length()
	return n >= least && (most < 0 || n <= most)
}

// bounds returns the limits of a number.
func (f form) bounds() (low, high regular.Bound, multiples []*big.Rat) {
	for _, k := range f {
		low, high = tighter(low, k.low, 1), tighter(high, k.high, -1)
		multiples = append(multiples, k.multiples...)
	}
	return low, high, multiples
}

func (f form) fitsNumber(v *value) (bool, error) {
	low, high, multiples := f.bounds()
	n := v.number()
	if n == nil {
		return false, fmt.Errorf("%w: %s: the number is too long", ErrSchema, v.path)
	}
	if low.At != nil && (n.Cmp(low.At) < 0 || low.Exclusive && n.Cmp(low.At) == 0) {
		return false, nil
	}
	if high.At != nil && (n.Cmp(high.At) > 0 || high.Exclusive && n.Cmp(high.At) == 0) {
		return false, nil
	}
	for _, m := range multiples {
		if m.Sign() <= 0 || !new(big.Rat).Quo(n, m).IsInt() {
			return false, nil
		}
	}
	return true, nil
}

// number returns the start of the numbers of a form. Those without a limit may
// have an exponent.
func (s *schemas) number(f form, integer bool) int32 {
	low, high, multiples := f.bounds()
	key := fmt.Sprint("number ", integer, low, high, multiples)
	return s.once(key, func(at int32) {
		d, err := numberAutomaton(low, high, multiples, integer)
		if err != nil {
			s.fail(unsupported(f[0].path, err.Error()))
			return
		}
		s.nodes[at].free = []int32{s.automaton(d, s.end)}
	})
}

func numberAutomaton(low, high regular.Bound, multiples []*big.Rat, integer bool) (*regular.DFA, error) {
	if !integer && low.At == nil && high.At == nil && multiples == nil {
		return regular.Numbers()
	}
	build := regular.Decimals
	if integer {
		build = regular.Integers
	}
	d, err := build(low, high)
	for _, m := range multiples {
		var of *regular.DFA
		if err == nil {
			of, err = regular.Multiples(m)
		}
		if err == nil {
			d, err = regular.Intersect(d, of)
		}
	}
	return d, err
}

// string returns the start of the strings of a form.
func (s *schemas) string(f form) int32 {
	least, most := f.length()
	d, err := stringAutomaton(f, regular.InJSON)
	if err == nil && d == nil {
		return s.freeString(least, most)
	}
	if err == nil {
		d, err = limited(d, least, most, regular.InJSON)
	}
	if err != nil {
		s.fail(unsupported(f[0].path, err.Error()))
		return s.dead
	}
	return s.literal(`"`, s.automaton(d, s.literal(`"`, s.end)))
}

// freeString returns the start of the strings of some length.
func (s *schemas) freeString(least, most int) int32 {
	return s.once(fmt.Sprint("string ", least, most), func(at int32) {
		if most < 0 || least <= most {
			text := s.text(least, most, s.end)
			s.nodes[at].edges = []edge{{'"', '"', text}}
		}
	})
}

// stringAutomaton joins the patterns and formats; nil if there are none.
func stringAutomaton(f form, w regular.Writing) (all *regular.DFA, err error) {
	with := func(d *regular.DFA, e error) {
		if err = e; err == nil && all != nil {
			d, err = regular.Intersect(all, d)
		}
		all = d
	}
	for _, k := range f {
		for _, p := range k.patterns {
			if err == nil {
				with(regular.Pattern(p, w))
			}
		}
		for _, name := range k.formats {
			if err == nil {
				with(regular.Format(name, w))
			}
		}
	}
	return all, err
}

// limited keeps the texts of some length.
func limited(d *regular.DFA, least, most int, w regular.Writing) (*regular.DFA, error) {
	if least == 0 && most < 0 {
		return d, nil
	}
	if most >= 0 && least > most {
		return regular.Subtract(d, d)
	}
	l, err := regular.Length(w, least, most)
	if err != nil {
		return nil, err
	}
	return regular.Intersect(d, l)
}
