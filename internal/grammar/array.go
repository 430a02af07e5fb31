package grammar

import "slices"

// array returns the start of the arrays of a form.
func (s *schemas) array(f form) int32 {
	a := &arrayBuilder{schemas: s, form: f, most: -1}
	for _, k := range f {
		a.least, a.most = max(a.least, k.leastItems), fewer(a.most, k.mostItems)
		a.prefix = max(a.prefix, len(k.prefix))
	}
	if a.most >= 0 && a.least > a.most {
		return s.dead
	}
	return s.literal("[", a.first())
}

type arrayBuilder struct {
	*schemas
	form        form
	least, most int
	prefix      int // items with schemas of their own
}

// item returns the start of the item at a place; all from prefix on are alike.
func (a *arrayBuilder) item(i int) int32 {
	var all []*value
	for _, k := range a.form {
		if i < len(k.prefix) {
			all = append(all, k.prefix[i])
		} else if k.items != nil {
			all = append(all, k.items)
		}
	}
	return a.anyOrAll(all)
}

// anyOrAll returns the start of what fits some schemas, of which there may be
// none.
func (s *schemas) anyOrAll(all []*value) int32 {
	if len(all) == 0 {
		all = []*value{s.doc.free()}
	}
	return s.value(all)
}

// free returns the schema that everything fits.
func (d *document) free() *value {
	if d.all == nil {
		d.all = &value{kind: "boolean", text: "true", path: "any"}
	}
	return d.all
}

// first returns the node behind the bracket.
func (a *arrayBuilder) first() int32 {
	var starts []int32
	if a.least == 0 {
		starts = append(starts, a.mark(']', a.end))
	}
	if a.most != 0 {
		starts = append(starts, a.element(0))
	}
	return a.choice(starts...)
}

// element returns the node before the item at a place, in front of what follows.
func (a *arrayBuilder) element(i int) int32 {
	if a.full() {
		return a.dead
	}
	return a.called(a.item(i), a.after(i+1))
}

// after returns the node behind n items.
func (a *arrayBuilder) after(n int) int32 {
	if n >= a.prefix {
		return a.rest(n)
	}
	var starts []int32
	if n >= a.least {
		starts = append(starts, a.mark(']', a.end))
	}
	if a.most < 0 || n < a.most {
		starts = append(starts, a.literal(",", a.element(n)))
	}
	return a.choice(starts...)
}

// rest returns the node behind n items, where all that follow are alike.
func (a *arrayBuilder) rest(n int) int32 {
	item := a.item(n)
	if a.most < 0 && n >= a.least {
		loop := a.space(node{})
		next := a.called(item, loop)
		a.nodes[loop].edges = []edge{{',', ',', next}, {']', ']', a.end}}
		return loop
	}
	most := a.most
	if most >= 0 {
		most = max(0, most-n)
	}
	body := a.literal(",", a.called(item, a.end))
	return a.add(node{count: &counted{body, a.mark(']', a.end), int32(max(0, a.least-n)), int32(most)}})
}

// property is a declared property of a form.
type property struct {
	name     string
	body     int32
	required bool
}

// schemasOf returns the schemas of a property by its name, or, without one, of
// those that are not declared and match certain patterns.
func (f form) schemasOf(name *string, matches func(pattern string) bool) (all []*value) {
	for _, k := range f {
		found := false
		for _, p := range k.properties {
			if name != nil && p.name == *name {
				all, found = append(all, p.value), true
			}
		}
		for _, p := range k.patternProperties {
			if matches(p.name) {
				all, found = append(all, p.value), true
			}
		}
		if !found && k.additional != nil {
			all = append(all, k.additional)
		}
	}
	return all
}

// declared returns the names that a form's keywords list, in their order:
// those of properties first, then those that are only required.
func (f form) declared() (names []string) {
	enter := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, k := range f {
		for _, p := range k.properties {
			enter(p.name)
		}
	}
	for _, k := range f {
		for _, name := range k.required {
			enter(name)
		}
	}
	return names
}
