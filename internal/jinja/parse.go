package jinja

import (
	"fmt"
	"slices"
	"strings"
)

// Bounds of the parser. Python gives up at about 60 nested brackets.
const (
	maxSource  = 4 << 20 // bytes of template text
	maxNesting = 200     // brackets and blocks inside each other
	maxChain   = 2000    // operators in a row, which nest to the left
)

// Template is a parsed template. It is immutable: any number of goroutines
// may render it at once.
type Template struct {
	body   []stmt
	undefs []string
}

// Parse reads a template. A *SyntaxError carries the line and what was
// expected there.
func Parse(source string) (*Template, error) {
	if len(source) > maxSource {
		return nil, &SyntaxError{1, fmt.Sprintf("template has %d bytes, at most %d are allowed", len(source), maxSource)}
	}
	toks, err := lex(source)
	if err != nil {
		return nil, err
	}
	p := &parser{toks: toks}
	body, err := p.statements("")
	if err != nil {
		return nil, err
	}
	t := &Template{body: body}
	if err := analyze(t); err != nil {
		return nil, err
	}
	return t, nil
}

// parser is a recursive descent over the tokens.
type parser struct {
	toks  []token
	i     int
	depth int
	open  []openTag // the tags that wait for their end
}

type openTag struct {
	name string
	line int
}

func (p *parser) cur() token  { return p.toks[p.i] }
func (p *parser) look() token { return p.toks[min(p.i+1, len(p.toks)-1)] }

func (p *parser) next() token {
	t := p.toks[p.i]
	if p.i < len(p.toks)-1 {
		p.i++
	}
	return t
}

func (p *parser) line() at { return at(p.cur().line) }

func (p *parser) isOp(op string) bool {
	t := p.toks[p.i]
	return t.kind == tokOp && t.text == op
}

func (p *parser) isName(name string) bool {
	t := p.toks[p.i]
	return t.kind == tokName && t.text == name
}

func (p *parser) skipOp(op string) bool {
	if !p.isOp(op) {
		return false
	}
	p.next()
	return true
}

func (p *parser) skipName(name string) bool {
	if !p.isName(name) {
		return false
	}
	p.next()
	return true
}

func (p *parser) fail(format string, args ...any) error {
	return &SyntaxError{p.cur().line, fmt.Sprintf(format, args...)}
}

func (p *parser) expected(what string) error {
	if t := p.cur(); t.kind != tokEOF || len(p.open) == 0 {
		return p.fail("expected %s, got %s", what, t)
	}
	o := p.open[len(p.open)-1]
	return p.fail("expected %s, got end of template ({%% %s %%} of line %d is open)", what, o.name, o.line)
}

func (p *parser) expectOp(op string) error {
	if !p.skipOp(op) {
		return p.expected("'" + op + "'")
	}
	return nil
}

func (p *parser) expectName(name string) error {
	if !p.skipName(name) {
		return p.expected("'" + name + "'")
	}
	return nil
}

func (p *parser) ident() (string, error) {
	if p.cur().kind != tokName {
		return "", p.expected("a name")
	}
	return p.next().text, nil
}

func (p *parser) blockEnd() error {
	if p.cur().kind != tokBlockEnd {
		return p.expected("'%}'")
	}
	p.next()
	return nil
}

func (p *parser) enter() error {
	if p.depth++; p.depth > maxNesting {
		return p.fail("nested deeper than %d", maxNesting)
	}
	return nil
}

func (p *parser) leave() { p.depth-- }

// statements parses until one of the end tags (separated by spaces), which it
// leaves as the current token; "" means the end of the template.
func (p *parser) statements(ends string) ([]stmt, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	var body []stmt
	for {
		t := p.cur()
		switch t.kind {
		case tokEOF:
			if ends != "" {
				return nil, p.expected(endTags(ends))
			}
			return body, nil
		case tokData:
			p.next()
			body = append(body, &textStmt{at(t.line), t.text})
		case tokVarBegin:
			s, err := p.print()
			if err != nil {
				return nil, err
			}
			body = append(body, s)
		default:
			p.next()
			if n := p.cur(); n.kind == tokName && slices.Contains(strings.Fields(ends), n.text) {
				return body, nil
			}
			list, err := p.statement(ends)
			if err != nil {
				return nil, err
			}
			body = append(body, list...)
		}
	}
}

func endTags(ends string) string {
	names := strings.Fields(ends)
	for i, n := range names {
		names[i] = "{% " + n + " %}"
	}
	return strings.Join(names, " or ")
}

// print parses a {{ … }} tag.
func (p *parser) print() (stmt, error) {
	line := at(p.next().line)
	val, err := p.tuple(tupleOpts{cond: true})
	if err != nil {
		return nil, err
	}
	if p.cur().kind != tokVarEnd {
		return nil, p.expected("'}}'")
	}
	p.next()
	return &printStmt{line, val}, nil
}

var unsupportedTags = []string{
	"include", "import", "from", "extends", "autoescape", "do", "trans", "debug",
}

// statement parses one {% … %} tag and what belongs to it, its "%}" included.
func (p *parser) statement(ends string) ([]stmt, error) {
	t := p.cur()
	if t.kind != tokName {
		return nil, p.expected("a tag name")
	}
	p.open = append(p.open, openTag{t.text, t.line})
	list, err := p.tag(t, ends)
	if err != nil {
		return nil, err
	}
	p.open = p.open[:len(p.open)-1]
	return list, p.blockEnd()
}

func (p *parser) tag(t token, ends string) ([]stmt, error) {
	if slices.Contains(unsupportedTags, t.text) {
		return nil, p.fail("tag '%s' is not supported", t.text)
	}
	parse := p.tagParser(t.text)
	line := at(t.line)
	switch {
	case parse != nil:
		p.next()
		s, err := parse()
		return []stmt{s}, err
	case t.text == "print":
		p.next()
		return p.printTag(line)
	case t.text == "break":
		p.next()
		return []stmt{&breakStmt{line}}, nil
	case t.text == "continue":
		p.next()
		return []stmt{&continueStmt{line}}, nil
	}
	msg := fmt.Sprintf("unknown tag '%s'", t.text)
	if ends != "" {
		o := p.open[len(p.open)-2]
		msg += fmt.Sprintf(", expected %s ({%% %s %%} of line %d is open)", endTags(ends), o.name, o.line)
	}
	return nil, &SyntaxError{t.line, msg}
}

// tagParser returns the parser of a tag that makes one statement, or nil.
func (p *parser) tagParser(name string) func() (stmt, error) {
	switch name {
	case "if":
		return p.ifTag
	case "for":
		return p.forTag
	case "set":
		return p.setTag
	case "macro":
		return p.macroTag
	case "call":
		return p.callTag
	case "filter":
		return p.filterTag
	case "with":
		return p.withTag
	case "block":
		return p.blockTag
	case "generation":
		return p.generationTag
	}
	return nil
}

// body parses the "%}" of an opening tag and everything up to its end tag,
// whose name it consumes.
func (p *parser) body(end string) ([]stmt, error) {
	list, err := p.branch(end)
	if err == nil {
		p.next()
	}
	return list, err
}

// branch is body without consuming the end tag's name.
func (p *parser) branch(ends string) ([]stmt, error) {
	p.skipOp(":") // Python's habit is allowed
	if err := p.blockEnd(); err != nil {
		return nil, err
	}
	return p.statements(ends)
}

func (p *parser) prev() at { return at(p.toks[p.i-1].line) }

func (p *parser) ifTag() (stmt, error) {
	n := &ifStmt{at: p.prev()}
	for {
		test, err := p.tuple(tupleOpts{})
		if err != nil {
			return nil, err
		}
		body, err := p.branch("elif else endif")
		if err != nil {
			return nil, err
		}
		n.tests, n.bodies = append(n.tests, test), append(n.bodies, body)
		switch p.next().text {
		case "elif":
			continue
		case "else":
			n.other, err = p.body("endif")
		}
		return n, err
	}
}

func (p *parser) forTag() (stmt, error) {
	n := &forStmt{at: p.prev()}
	var err error
	if n.target, err = p.target(tupleOpts{end: "in"}); err != nil {
		return nil, err
	}
	if err = p.expectName("in"); err != nil {
		return nil, err
	}
	if n.iter, err = p.tuple(tupleOpts{end: "recursive"}); err != nil {
		return nil, err
	}
	if p.skipName("if") {
		if n.test, err = p.expression(); err != nil {
			return nil, err
		}
	}
	n.recursive = p.skipName("recursive")
	if n.body, err = p.branch("else endfor"); err != nil {
		return nil, err
	}
	if p.next().text == "else" {
		n.other, err = p.body("endfor")
	}
	return n, err
}

func (p *parser) setTag() (stmt, error) {
	line := p.prev()
	target, err := p.target(tupleOpts{namespace: true})
	if err != nil {
		return nil, err
	}
	if p.skipOp("=") {
		val, err := p.tuple(tupleOpts{cond: true})
		return &setStmt{line, target, val}, err
	}
	n := &setBlockStmt{at: line, target: target}
	if p.isOp("|") {
		if n.filter, err = p.filters(nil); err != nil {
			return nil, err
		}
	}
	n.body, err = p.body("endset")
	return n, err
}

func (p *parser) macroTag() (stmt, error) {
	n := &macroStmt{at: p.prev(), macroDef: &macroDef{}}
	var err error
	if n.name, err = p.ident(); err != nil {
		return nil, err
	}
	if err = p.signature(n.macroDef); err != nil {
		return nil, err
	}
	n.body, err = p.body("endmacro")
	return n, err
}

// signature parses the parameters of a macro or a call block.
func (p *parser) signature(m *macroDef) error {
	if err := p.expectOp("("); err != nil {
		return err
	}
	for !p.isOp(")") {
		if len(m.params) > 0 {
			if err := p.expectOp(","); err != nil {
				return err
			}
		}
		name, err := p.ident()
		if err != nil {
			return err
		}
		if slices.Contains(m.params, name) {
			return p.fail("duplicate parameter '%s'", name)
		}
		m.params = append(m.params, name)
		if p.skipOp("=") {
			def, err := p.expression()
			if err != nil {
				return err
			}
			m.defaults = append(m.defaults, def)
		} else if len(m.defaults) > 0 {
			return p.fail("parameter '%s' without a default follows one with a default", name)
		}
	}
	p.next()
	return nil
}

func (p *parser) callTag() (stmt, error) {
	n := &callStmt{at: p.prev(), macroDef: &macroDef{}}
	if p.isOp("(") {
		if err := p.signature(n.macroDef); err != nil {
			return nil, err
		}
	}
	e, err := p.expression()
	if err != nil {
		return nil, err
	}
	call, ok := e.(*callExpr)
	if !ok {
		return nil, &SyntaxError{n.pos(), "expected a call after 'call'"}
	}
	n.call = call
	n.body, err = p.body("endcall")
	return n, err
}

func (p *parser) filterTag() (stmt, error) {
	n := &filterStmt{at: p.prev()}
	f, err := p.filter(nil)
	if err != nil {
		return nil, err
	}
	if n.filter, err = p.filters(f); err != nil {
		return nil, err
	}
	n.body, err = p.body("endfilter")
	return n, err
}

func (p *parser) withTag() (stmt, error) {
	n := &withStmt{at: p.prev()}
	for p.cur().kind != tokBlockEnd {
		if len(n.targets) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
		}
		target, err := p.target(tupleOpts{})
		if err != nil {
			return nil, err
		}
		if err = p.expectOp("="); err != nil {
			return nil, err
		}
		val, err := p.expression()
		if err != nil {
			return nil, err
		}
		n.targets, n.vals = append(n.targets, target), append(n.vals, val)
	}
	var err error
	n.body, err = p.body("endwith")
	return n, err
}

func (p *parser) generationTag() (stmt, error) {
	n := &scopeStmt{at: p.prev()}
	var err error
	n.body, err = p.body("endgeneration")
	return n, err
}

func (p *parser) blockTag() (stmt, error) {
	n := &scopeStmt{at: p.prev()}
	var err error
	if n.block, err = p.ident(); err != nil {
		return nil, err
	}
	p.skipName("scoped")
	if p.isName("required") {
		return nil, p.fail("required blocks are not supported")
	}
	if n.body, err = p.body("endblock"); err == nil {
		p.skipName(n.block)
	}
	return n, err
}

func (p *parser) printTag(line at) ([]stmt, error) {
	var list []stmt
	for p.cur().kind != tokBlockEnd {
		if len(list) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
		}
		val, err := p.expression()
		if err != nil {
			return nil, err
		}
		list = append(list, &printStmt{line, val})
	}
	return list, nil
}

// target parses what can be assigned to: names, tuples of them and, with
// namespace, name.attr.
func (p *parser) target(o tupleOpts) (expr, error) {
	o.simple = true
	line := p.cur().line
	e, err := p.tuple(o)
	if err != nil {
		return nil, err
	}
	if !assignable(e) {
		return nil, &SyntaxError{line, "can't assign to this expression"}
	}
	return e, nil
}

func assignable(e expr) bool {
	switch n := e.(type) {
	case *nameExpr, *nsExpr:
		return true
	case *tupleExpr:
		return !slices.ContainsFunc(n.items, func(e expr) bool { return !assignable(e) })
	}
	return false
}
