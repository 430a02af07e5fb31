package grammar

import (
	"fmt"
	"slices"

	"github.com/godwit-llm/godwit/internal/regular"
)

// parameters writes an object's declared properties in their order.
type parameters struct {
	doc    *document
	before func(name string) string
	after  string
}

func (p parameters) build(b *builder, next int32) int32 {
	s := newSchemas(b, p.doc)
	forms, err := s.expand([]*value{p.doc.root}, nil)
	if err != nil {
		b.fail(err)
		return next
	}
	if len(forms) != 1 || forms[0].types()&anObject == 0 {
		b.fail(unsupported(p.doc.root.path, "parameters want one object schema without anyOf and oneOf"))
		return next
	}
	f := forms[0]
	names := f.declared()
	for i := len(names) - 1; i >= 0 && !b.full(); i-- {
		all := f.schemasOf(&names[i], func(string) bool { return false })
		start := b.literal(p.before(names[i]), p.value(s, all, b.literal(p.after, next)))
		if !f.requires(names[i]) {
			start = b.choice(start, next)
		}
		next = start
	}
	return next
}

func (f form) types() kinds {
	types := anything
	for _, k := range f {
		types &= k.types
	}
	return types
}

// value returns the start of one parameter's text.
func (p parameters) value(s *schemas, all []*value, next int32) int32 {
	if len(all) == 0 {
		all = []*value{s.doc.free()}
	}
	forms, err := s.expand(all, nil)
	if err != nil {
		s.fail(err)
		return next
	}
	var starts []int32
	for _, f := range forms {
		if f.types()&aString != 0 {
			starts = append(starts, p.plain(s, f, next))
		}
		starts = append(starts, s.add(node{calls: []call{{s.withoutStrings(f), next}}}))
	}
	return s.choice(starts...)
}

// withoutStrings returns the start of a form's other values.
func (s *schemas) withoutStrings(f form) int32 {
	types, enum := f.types(), []*value(nil)
	for _, k := range f {
		enum = common(enum, k.enum)
	}
	if enum != nil {
		return s.choice(append(s.enum(f, types&^aString, enum), s.dead)...)
	}
	return s.choice(append(s.types(f, types&^aString), s.dead)...)
}

// plain returns the start of a form's strings as they are.
func (p parameters) plain(s *schemas, f form, next int32) int32 {
	d, err := p.texts(s, f)
	if err != nil {
		s.fail(unsupported(f[0].path, err.Error()))
		return next
	}
	return s.automaton(d, next)
}

func (p parameters) texts(s *schemas, f form) (*regular.DFA, error) {
	var enum []*value
	for _, k := range f {
		enum = common(enum, k.enum)
	}
	d, err := regular.Without(p.after)
	if err != nil {
		return nil, err
	}
	var of *regular.DFA
	if enum != nil {
		enum = slices.DeleteFunc(enum, func(v *value) bool { return v.kind != "string" })
		var texts []string
		for _, v := range enum {
			ok, err := s.fits(f, aString, v)
			if err != nil {
				return nil, err
			}
			if ok {
				texts = append(texts, v.text)
			}
		}
		of, err = regular.Texts(regular.Plain, texts...)
	} else {
		of, err = stringAutomaton(f, regular.Plain)
	}
	if err != nil {
		return nil, err
	}
	if of != nil {
		if d, err = regular.Intersect(d, of); err != nil {
			return nil, fmt.Errorf("text without %q: %w", p.after, err)
		}
	}
	least, most := f.length()
	return limited(d, least, most, regular.Plain)
}
