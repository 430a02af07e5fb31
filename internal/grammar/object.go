package grammar

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/godwit-llm/godwit/internal/regular"
)

// object returns the start of the objects of a form: the declared properties
// in their order, then others.
func (s *schemas) object(f form) int32 {
	o := &objectBuilder{schemas: s, form: f, most: -1, afters: map[[3]int]int32{}, tails: map[[2]int32][]int32{}, otherNames: map[[2]int][]int32{}}
	for _, k := range f {
		o.least, o.most = max(o.least, k.leastProperties), fewer(o.most, k.mostProperties)
	}
	if err := o.declare(); err != nil {
		s.fail(err)
		return s.dead
	}
	if s.full() {
		return s.dead
	}
	return s.literal("{", o.first())
}

type objectBuilder struct {
	*schemas
	form        form
	properties  []property
	others      []other
	least, most int
	afters      map[[3]int]int32
	tails       map[[2]int32][]int32 // the nodes of a name, by where it leads and its number
	otherNames  map[[2]int][]int32   // see namesOfOthers
}

// other is a kind of property that is not declared.
type other struct {
	name *regular.DFA // nil: any
	body int32
}

// maxProperties is the most declared properties of an object.
const maxProperties = 1000

// declare finds the properties.
func (o *objectBuilder) declare() error {
	patterns, err := o.patterns()
	if err != nil {
		return err
	}
	names := o.form.declared()
	if len(names) > maxProperties {
		return fmt.Errorf("%w: %s has %d properties, want at most %d", ErrTooLarge, o.form[0].path, len(names), maxProperties)
	}
	allowed, err := o.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		all := o.form.schemasOf(&name, func(p string) bool { return patterns[p].Match(regular.WriteJSON(name)) })
		body := o.dead
		if allowed == nil || allowed.Match(regular.WriteJSON(name)) {
			body = o.anyOrAll(all)
		}
		o.properties = append(o.properties, property{name, body, o.form.requires(name)})
	}
	if o.most >= 0 && o.most <= o.requiredFrom(0) {
		return o.checkLeast()
	}
	if err := o.addOthers(names, patterns, allowed); err != nil {
		return err
	}
	return o.checkLeast()
}

// checkLeast refuses a minProperties that only different names would reach:
// names of properties that are not declared may come twice.
func (o *objectBuilder) checkLeast() error {
	if len(o.others) > 0 && o.least > len(o.properties)+1 {
		return unsupported(o.form[0].path, fmt.Sprintf("minProperties is %d, want at most %d, one more than the declared properties", o.least, len(o.properties)+1))
	}
	return nil
}

func (f form) requires(name string) bool {
	return slices.ContainsFunc(f, func(k *keywords) bool { return slices.Contains(k.required, name) })
}

// requiredFrom counts the required properties from one on.
func (o *objectBuilder) requiredFrom(i int) (n int) {
	for _, p := range o.properties[i:] {
		if p.required {
			n++
		}
	}
	return n
}

// patterns compiles the names in patternProperties.
func (o *objectBuilder) patterns() (map[string]*regular.DFA, error) {
	out := map[string]*regular.DFA{}
	for _, k := range o.form {
		for _, p := range k.patternProperties {
			d, err := regular.Pattern(p.name, regular.InJSON)
			if err != nil {
				return nil, unsupported(k.path, "patternProperties: "+err.Error())
			}
			out[p.name] = d
		}
	}
	return out, nil
}

// names returns what propertyNames allows; nil is everything.
func (o *objectBuilder) names() (all *regular.DFA, err error) {
	for _, k := range o.form {
		if k.names == nil {
			continue
		}
		d, err := o.namesOf(k.names)
		if err == nil && all != nil {
			d, err = regular.Intersect(all, d)
		}
		if err != nil {
			return nil, err
		}
		all = d
	}
	return all, nil
}

// namesOf returns the strings that fit a schema.
func (o *objectBuilder) namesOf(v *value) (*regular.DFA, error) {
	forms, err := o.expand([]*value{v}, nil)
	if err != nil {
		return nil, err
	}
	all, err := regular.Texts(regular.InJSON)
	for _, f := range forms {
		var d *regular.DFA
		if err == nil {
			d, err = o.namesOfForm(f)
		}
		if err == nil {
			all, err = regular.Union(all, d)
		}
	}
	if err != nil {
		return nil, unsupported(v.path, err.Error())
	}
	return all, nil
}

func (o *objectBuilder) namesOfForm(f form) (*regular.DFA, error) {
	types, enum := anything, []*value(nil)
	for _, k := range f {
		types &= k.types
		enum = common(enum, k.enum)
	}
	if enum != nil || types&aString == 0 {
		var texts []string
		for _, v := range enum {
			ok, err := o.fits(f, types&aString, v)
			if err != nil {
				return nil, err
			}
			if ok {
				texts = append(texts, v.text)
			}
		}
		return regular.Texts(regular.InJSON, texts...)
	}
	d, err := stringAutomaton(f, regular.InJSON)
	if err == nil && d == nil {
		d, err = regular.Length(regular.InJSON, 0, -1)
	}
	if err != nil {
		return nil, err
	}
	least, most := f.length()
	return limited(d, least, most, regular.InJSON)
}

// maxPatterns is the most patterns in patternProperties: each set of them that
// a name may match is a kind of its own.
const maxPatterns = 6

// addOthers finds the kinds of properties that are not declared.
func (o *objectBuilder) addOthers(names []string, patterns map[string]*regular.DFA, allowed *regular.DFA) error {
	if len(names) == 0 && len(patterns) == 0 && allowed == nil {
		o.others = []other{{nil, o.anyOrAll(o.form.schemasOf(nil, nil))}}
		return nil
	}
	if o.closed() && len(patterns) == 0 || len(names) > 0 && !o.open() {
		return nil
	}
	if len(patterns) > maxPatterns {
		return fmt.Errorf("%w: %s has %d patterns in patternProperties, want at most %d", ErrTooLarge, o.form[0].path, len(patterns), maxPatterns)
	}
	rest, err := regular.Length(regular.InJSON, 0, -1)
	if allowed != nil {
		rest = allowed
	}
	var listed *regular.DFA
	if err == nil {
		listed, err = regular.Texts(regular.InJSON, names...)
	}
	if err == nil {
		rest, err = regular.Subtract(rest, listed)
	}
	if err == nil {
		err = o.split(rest, patterns, nil)
	}
	return err
}

// open reports whether the schemas speak of properties that they do not list.
// A schema that lists some and is silent about others allows them, but few
// mean it: they are not written.
func (o *objectBuilder) open() bool {
	return slices.ContainsFunc(o.form, func(k *keywords) bool { return k.additional != nil || k.patternProperties != nil })
}

// closed reports whether additionalProperties is false.
func (o *objectBuilder) closed() bool {
	return slices.ContainsFunc(o.form, func(k *keywords) bool { return k.additional != nil && k.additional.text == "false" })
}

// split cuts a set of names by which patterns they match.
func (o *objectBuilder) split(names *regular.DFA, patterns map[string]*regular.DFA, matched []string) error {
	if names.Empty() {
		return nil
	}
	if len(patterns) == 0 {
		all := o.form.schemasOf(nil, func(p string) bool { return slices.Contains(matched, p) })
		o.others = append(o.others, other{names, o.anyOrAll(all)})
		return nil
	}
	rest := map[string]*regular.DFA{}
	var first string
	for p := range patterns {
		if rest[p] = patterns[p]; first == "" || p < first {
			first = p
		}
	}
	delete(rest, first)
	in, err := regular.Intersect(names, patterns[first])
	if err == nil {
		err = o.split(in, rest, append(slices.Clone(matched), first))
	}
	var out *regular.DFA
	if err == nil {
		out, err = regular.Subtract(names, patterns[first])
	}
	if err == nil {
		err = o.split(out, rest, matched)
	}
	return err
}

// first returns the node behind the opening brace.
func (o *objectBuilder) first() int32 {
	var starts []int32
	if o.mayEnd(0, 0) {
		starts = append(starts, o.mark('}', o.end))
	}
	if o.most != 0 {
		starts = append(starts, o.space(node{free: o.nextNames(0, 0, 0)}))
	}
	return o.choice(starts...)
}

// mayEnd reports whether an object may end where the properties before i have
// been passed, with so many different names.
func (o *objectBuilder) mayEnd(i, different int) bool {
	return o.requiredFrom(min(i, len(o.properties))) == 0 && different >= o.least
}

// after returns the node behind a property: those before i have been passed;
// there are so many in all, and so many with different names for certain.
func (o *objectBuilder) after(i, count, different int) int32 {
	if o.most < 0 {
		count = 0
	}
	different = min(different, o.least)
	key := [3]int{i, count, different}
	if at, ok := o.afters[key]; ok || o.full() {
		return at
	}
	at := o.add(node{})
	o.afters[key] = at
	var edges []edge
	if o.most < 0 || count < o.most {
		edges = append(edges, edge{',', ',', o.space(node{free: o.nextNames(i, count, different)})})
	}
	if o.mayEnd(i, different) {
		edges = append(edges, edge{'}', '}', o.end})
		o.nodes[at].kind = spaceNode
	}
	o.nodes[at].edges = edges
	return at
}

// nextNames returns the starts of the names that may come next.
func (o *objectBuilder) nextNames(i, count, different int) (starts []int32) {
	var list []ending
	for j := i; j < len(o.properties); j++ {
		p := o.properties[j]
		if p.body != o.dead {
			to := o.literal(":", o.called(p.body, o.after(j+1, count+1, different+1)))
			list = append(list, ending{`"` + regular.WriteJSON(p.name) + `"`, j, to})
		}
		if p.required {
			return o.tree(list)
		}
	}
	if i <= len(o.properties) {
		different++ // the first one that is not declared; later ones may repeat its name
	}
	return append(o.tree(list), o.namesOfOthers(count+1, different)...)
}

// namesOfOthers returns the starts of the names that are not declared.
func (o *objectBuilder) namesOfOthers(count, different int) (starts []int32) {
	if o.most < 0 {
		count = 0
	}
	key := [2]int{count, min(different, o.least)}
	if starts, ok := o.otherNames[key]; ok {
		return starts
	}
	for _, other := range o.others {
		to := o.literal(":", o.called(other.body, o.after(len(o.properties)+1, count, different)))
		if other.name == nil {
			starts = append(starts, o.literal(`"`, o.text(0, -1, to)))
		} else {
			starts = append(starts, o.literal(`"`, o.automaton(other.name, o.literal(`"`, to))))
		}
	}
	o.otherNames[key] = starts
	return starts
}

// ending is a name with its quotes and where it leads.
type ending struct {
	text   string
	number int
	to     int32
}

// tree returns the node where the names start, as one with a branch wherever
// they part; none if there are no names.
func (o *objectBuilder) tree(list []ending) []int32 {
	if len(list) == 0 {
		return nil
	}
	slices.SortFunc(list, func(a, b ending) int { return strings.Compare(a.text, b.text) })
	return []int32{o.branch(list, 0)}
}

func (o *objectBuilder) branch(list []ending, at int) int32 {
	if len(list) == 1 {
		return o.tail(list[0], at)
	}
	var edges []edge
	for i := 0; i < len(list); {
		c, n := list[i].text[at], i
		for n < len(list) && list[n].text[at] == c {
			n++
		}
		edges = append(edges, edge{c, c, o.branch(list[i:n], at+1)})
		i = n
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Compare(a.lo, b.lo) })
	return o.add(node{edges: edges})
}

// tail returns the node within a name from which only that name can follow.
func (o *objectBuilder) tail(e ending, at int) int32 {
	key := [2]int32{e.to, int32(e.number)}
	nodes := o.tails[key]
	if nodes == nil {
		nodes = make([]int32, len(e.text)+1)
		next := e.to
		for i := len(e.text) - 1; i >= 0; i-- {
			nodes[i+1] = next
			next = o.add(node{edges: []edge{{e.text[i], e.text[i], next}}})
		}
		nodes[0] = next
		o.tails[key] = nodes
	}
	return nodes[at]
}
