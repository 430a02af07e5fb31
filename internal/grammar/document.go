package grammar

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// document is a schema with everything that it can refer to.
type document struct {
	root  *value
	known map[*value]*keywords
	names map[string]*value // by $id, and by $id#$anchor
	all   *value            // see free
}

// readSchema parses a schema and looks at its first level.
func readSchema(data []byte) (*document, error) {
	root, err := parseJSON(data)
	if err != nil {
		return nil, fmt.Errorf("grammar: %w", err)
	}
	d := &document{root: root, known: map[*value]*keywords{}, names: map[string]*value{}}
	d.findNames(root, "")
	if _, err := d.read(root); err != nil {
		return nil, fmt.Errorf("grammar: %w", err)
	}
	return d, nil
}

// findNames enters what references may name.
func (d *document) findNames(v *value, base string) {
	if id := v.get("$id"); id != nil && id.kind == "string" {
		base = strings.TrimSuffix(id.text, "#")
		d.names[base] = v
	}
	if a := v.get("$anchor"); a != nil && a.kind == "string" {
		d.names[base+"#"+a.text] = v
		if _, taken := d.names["#"+a.text]; !taken {
			d.names["#"+a.text] = v
		}
	}
	for _, f := range v.fields {
		if f.name != "enum" && f.name != "const" && f.name != "default" && f.name != "examples" {
			d.findNames(f.value, base)
		}
	}
	for _, item := range v.items {
		d.findNames(item, base)
	}
}

// resolve finds what a reference refers to: in this document, or nowhere.
func (d *document) resolve(path, ref string) (*value, error) {
	if to, ok := d.names[strings.TrimSuffix(ref, "#")]; ok && ref != "#" && ref != "" {
		return to, nil
	}
	base, pointer, _ := strings.Cut(ref, "#")
	at := d.root
	if base != "" {
		if at = d.names[base]; at == nil {
			return nil, unsupported(path, fmt.Sprintf("reference %q leads out of the schema", ref))
		}
	}
	if pointer == "" {
		return at, nil
	}
	for _, step := range strings.Split(strings.TrimPrefix(pointer, "/"), "/") {
		if at = at.at(pointerUnescapes.Replace(unpercent(step))); at == nil || pointer[0] != '/' {
			return nil, fmt.Errorf("%w: %s: nothing is at %q", ErrSchema, path, ref)
		}
	}
	return at, nil
}

// at returns a field or an item.
func (v *value) at(step string) *value {
	if v.kind == "array" {
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(v.items) {
			return v.items[i]
		}
		return nil
	}
	return v.get(step)
}

func unpercent(s string) string {
	for i := 0; i+2 < len(s); i++ {
		if s[i] != '%' {
			continue
		}
		if b, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
			s = s[:i] + string([]byte{byte(b)}) + s[i+3:]
		}
	}
	return s
}

// maxAlternatives is the most combinations of anyOf and oneOf in one place.
const maxAlternatives = 256

// form is a set of keywords that must all be kept, without further choices.
type form []*keywords

// key identifies a form.
func (f form) key() string {
	ids := make([]int, len(f))
	for i, k := range f {
		ids[i] = k.id
	}
	slices.Sort(ids)
	return fmt.Sprint(ids)
}

// join returns a form with the keywords of both.
func (f form) join(other form) form {
	out := slices.Clone(f)
	for _, k := range other {
		if !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	return out
}

// expand writes schemas that must all be kept as a choice of forms.
func (s *schemas) expand(all []*value, path []*value) ([]form, error) {
	forms := []form{nil}
	for _, v := range all {
		if slices.Contains(path, v) {
			return nil, fmt.Errorf("%w: %s refers to itself without an end", ErrSchema, v.path)
		}
		own, err := s.expandOne(v, append(path, v))
		if err != nil {
			return nil, err
		}
		if forms, err = cross(forms, own, v.path); err != nil {
			return nil, err
		}
	}
	return forms, nil
}

func (s *schemas) expandOne(v *value, path []*value) ([]form, error) {
	k, err := s.doc.read(v)
	if err != nil {
		return nil, err
	}
	forms := []form{{k}}
	more, err := s.expand(k.all, path)
	if err == nil {
		forms, err = cross(forms, more, v.path)
	}
	if err == nil && k.hasOne {
		err = s.checkOneOf(k)
	}
	for i, list := range [][]*value{k.any, k.one} {
		if err != nil || !(i == 0 && k.hasAny || i == 1 && k.hasOne) {
			continue
		}
		var some []form
		for _, way := range list {
			var one []form
			if one, err = s.expand([]*value{way}, path); err != nil {
				return nil, err
			}
			some = append(some, one...)
		}
		forms, err = cross(forms, some, v.path)
	}
	return forms, err
}

// cross joins each form of a with each of b.
func cross(a, b []form, path string) ([]form, error) {
	if len(a)*len(b) > maxAlternatives {
		return nil, fmt.Errorf("%w: %s has more than %d combinations of anyOf and oneOf", ErrTooLarge, path, maxAlternatives)
	}
	var out []form
	for _, x := range a {
		for _, y := range b {
			out = append(out, x.join(y))
		}
	}
	return out, nil
}

// checkOneOf refuses a oneOf of which two schemas may fit the same value.
// Whether they may is found out by building what fits both.
func (s *schemas) checkOneOf(k *keywords) error {
	if s.trial || s.checked[k] {
		return nil
	}
	s.checked[k] = true
	for i, a := range k.one {
		for j, b := range k.one[:i] {
			t := &schemas{builder: newBuilder(), doc: s.doc, trial: true, checked: s.checked}
			start := t.value([]*value{b, a})
			if t.err == nil {
				t.measure()
			}
			if t.err != nil || t.nodes[start].depth < endless {
				why := fmt.Sprintf("oneOf: the schemas %d and %d may fit the same value, use anyOf", j, i)
				if t.err != nil {
					why += fmt.Sprintf(" (%v)", t.err)
				}
				return unsupported(k.path, why)
			}
		}
	}
	return nil
}
