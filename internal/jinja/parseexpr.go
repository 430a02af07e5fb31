package jinja

import (
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// tupleOpts say what an expression list may hold and where it ends.
type tupleOpts struct {
	cond      bool   // conditional expressions are allowed
	simple    bool   // only primary expressions: assignment targets
	namespace bool   // name.attr is a target
	parens    bool   // inside parentheses, where nothing is the empty tuple
	end       string // a name that ends the list
}

// tuple parses expressions separated by commas: one without a comma is
// itself, everything else a tuple.
func (p *parser) tuple(o tupleOpts) (expr, error) {
	line := p.line()
	var items []expr
	comma := false
	for {
		if len(items) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
		}
		if p.tupleEnds(o) {
			break
		}
		e, err := p.tupleItem(o)
		if err != nil {
			return nil, err
		}
		items = append(items, e)
		if !p.isOp(",") {
			break
		}
		comma = true
	}
	if !comma && len(items) == 1 {
		return items[0], nil
	}
	if len(items) == 0 && !o.parens {
		return nil, p.expected("an expression")
	}
	return &tupleExpr{line, items}, nil
}

func (p *parser) tupleItem(o tupleOpts) (expr, error) {
	switch {
	case o.simple:
		return p.primary(o.namespace)
	case o.cond:
		return p.expression()
	}
	return p.or()
}

func (p *parser) tupleEnds(o tupleOpts) bool {
	t := p.cur()
	return t.kind == tokVarEnd || t.kind == tokBlockEnd || p.isOp(")") ||
		o.end != "" && p.isName(o.end)
}

// expression parses with conditional expressions, the lowest precedence.
func (p *parser) expression() (expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	line := p.line()
	e, err := p.or()
	for n := 0; err == nil && p.skipName("if"); n++ {
		if n > maxChain {
			return nil, p.fail("expression is too long")
		}
		c := &condExpr{at: line, then: e}
		if c.test, err = p.or(); err != nil {
			return nil, err
		}
		if p.skipName("else") {
			c.other, err = p.expression()
		}
		e, line = c, p.line()
	}
	return e, err
}

// leftAssoc parses operators of one precedence that group to the left.
func (p *parser) leftAssoc(match func() bool, operand func() (expr, error), join func(op token, l, r expr) expr) (expr, error) {
	left, err := operand()
	for n := 0; err == nil && match(); n++ {
		if n > maxChain {
			return nil, p.fail("expression is too long")
		}
		op := p.next()
		var right expr
		if right, err = operand(); err == nil {
			left = join(op, left, right)
		}
	}
	return left, err
}

func (p *parser) or() (expr, error) {
	return p.leftAssoc(func() bool { return p.isName("or") }, p.and, func(t token, l, r expr) expr {
		return &boolExpr{at(t.line), true, l, r}
	})
}

func (p *parser) and() (expr, error) {
	return p.leftAssoc(func() bool { return p.isName("and") }, p.not, func(t token, l, r expr) expr {
		return &boolExpr{at(t.line), false, l, r}
	})
}

func (p *parser) not() (expr, error) {
	if !p.isName("not") {
		return p.compare()
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	line := at(p.next().line)
	e, err := p.not()
	return &unaryExpr{line, "not", e}, err
}

var comparisons = []string{"==", "!=", "<", "<=", ">", ">="}

// compareOp consumes a comparison operator and returns it, or "".
func (p *parser) compareOp() string {
	t := p.cur()
	switch {
	case t.kind == tokOp && slices.Contains(comparisons, t.text):
		p.next()
		return t.text
	case p.skipName("in"):
		return "in"
	case p.isName("not") && p.look().kind == tokName && p.look().text == "in":
		p.next()
		p.next()
		return "not in"
	}
	return ""
}

func (p *parser) compare() (expr, error) {
	line := p.line()
	first, err := p.sum()
	if err != nil {
		return nil, err
	}
	c := &compareExpr{at: line, first: first}
	for op := p.compareOp(); op != ""; op = p.compareOp() {
		e, err := p.sum()
		if err != nil {
			return nil, err
		}
		c.ops, c.rest = append(c.ops, op), append(c.rest, e)
	}
	if len(c.ops) == 0 {
		return first, nil
	}
	return c, nil
}

func (p *parser) binary(operand func() (expr, error), ops ...string) (expr, error) {
	match := func() bool {
		t := p.cur()
		return t.kind == tokOp && slices.Contains(ops, t.text)
	}
	return p.leftAssoc(match, operand, func(t token, l, r expr) expr {
		return &binExpr{at(t.line), t.text, l, r}
	})
}

func (p *parser) sum() (expr, error)     { return p.binary(p.concat, "+", "-") }
func (p *parser) product() (expr, error) { return p.binary(p.power, "*", "/", "//", "%") }
func (p *parser) power() (expr, error) {
	return p.binary(func() (expr, error) { return p.unary(true) }, "**")
}

// concat parses "~", which in Jinja binds tighter than "+".
func (p *parser) concat() (expr, error) {
	line := p.line()
	e, err := p.product()
	if err != nil || !p.isOp("~") {
		return e, err
	}
	c := &concatExpr{line, []expr{e}}
	for p.skipOp("~") {
		e, err := p.product()
		if err != nil {
			return nil, err
		}
		c.items = append(c.items, e)
	}
	return c, nil
}

// unary parses signs, then a primary with what follows it. Filters bind to
// the whole, but not below a sign.
func (p *parser) unary(withFilter bool) (expr, error) {
	t := p.cur()
	var e expr
	var err error
	if t.kind == tokOp && (t.text == "-" || t.text == "+") {
		if err := p.enter(); err != nil {
			return nil, err
		}
		p.next()
		if e, err = p.unary(false); err != nil {
			return nil, err
		}
		p.leave()
		e = &unaryExpr{at(t.line), t.text, e}
	} else if e, err = p.primary(false); err != nil {
		return nil, err
	}
	if e, err = p.postfix(e); err != nil || !withFilter {
		return e, err
	}
	return p.filterChain(e)
}

// primary parses a name, a literal or something in brackets.
func (p *parser) primary(namespace bool) (expr, error) {
	t := p.cur()
	line := at(t.line)
	switch t.kind {
	case tokName:
		p.next()
		return p.nameOrConst(t, namespace)
	case tokString:
		var b strings.Builder
		for p.cur().kind == tokString {
			b.WriteString(p.next().text)
		}
		return &constExpr{line, b.String()}, nil
	case tokInt:
		p.next()
		v, ok := new(big.Int).SetString(t.text, 0)
		if !ok || len(t.text) > maxDigits {
			return nil, &SyntaxError{t.line, "invalid integer"}
		}
		return &constExpr{line, normInt(v)}, nil
	case tokFloat:
		p.next()
		v, _ := strconv.ParseFloat(t.text, 64) // out of range is infinite, as in Python
		return &constExpr{line, v}, nil
	case tokOp:
		switch t.text {
		case "(":
			return p.parenthesis()
		case "[":
			return p.list()
		case "{":
			return p.dict()
		}
	}
	return nil, p.expected("an expression")
}

func (p *parser) nameOrConst(t token, namespace bool) (expr, error) {
	line := at(t.line)
	switch t.text {
	case "true", "True":
		return &constExpr{line, true}, nil
	case "false", "False":
		return &constExpr{line, false}, nil
	case "none", "None":
		return &constExpr{line, nil}, nil
	}
	if namespace && p.skipOp(".") {
		attr, err := p.ident()
		return &nsExpr{line, t.text, attr}, err
	}
	return &nameExpr{line, t.text}, nil
}

func (p *parser) parenthesis() (expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	p.next()
	e, err := p.tuple(tupleOpts{cond: true, parens: true})
	if err != nil {
		return nil, err
	}
	return e, p.expectOp(")")
}

func (p *parser) list() (expr, error) {
	n := &listExpr{at: at(p.next().line)}
	for !p.isOp("]") {
		if len(n.items) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
			if p.isOp("]") {
				break
			}
		}
		e, err := p.expression()
		if err != nil {
			return nil, err
		}
		n.items = append(n.items, e)
	}
	p.next()
	return n, nil
}

func (p *parser) dict() (expr, error) {
	n := &dictExpr{at: at(p.next().line)}
	for !p.isOp("}") {
		if len(n.keys) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
			if p.isOp("}") {
				break
			}
		}
		k, err := p.expression()
		if err != nil {
			return nil, err
		}
		if err = p.expectOp(":"); err != nil {
			return nil, err
		}
		v, err := p.expression()
		if err != nil {
			return nil, err
		}
		n.keys, n.vals = append(n.keys, k), append(n.vals, v)
	}
	p.next()
	return n, nil
}

// postfix parses attributes, subscripts and calls.
func (p *parser) postfix(e expr) (expr, error) {
	var err error
	for n := 0; err == nil; n++ {
		switch {
		case n > maxChain:
			return nil, p.fail("expression is too long")
		case p.isOp("."):
			e, err = p.attribute(e)
		case p.isOp("["):
			e, err = p.subscript(e)
		case p.isOp("("):
			e, err = p.call(e)
		default:
			return e, nil
		}
	}
	return nil, err
}

func (p *parser) filterChain(e expr) (expr, error) {
	var err error
	for n := 0; err == nil; n++ {
		switch {
		case n > maxChain:
			return nil, p.fail("expression is too long")
		case p.isOp("|"):
			e, err = p.filters(e)
		case p.isName("is"):
			e, err = p.test(e)
		case p.isOp("("):
			e, err = p.call(e)
		default:
			return e, nil
		}
	}
	return nil, err
}

func (p *parser) attribute(e expr) (expr, error) {
	line := at(p.next().line)
	t := p.next()
	switch t.kind {
	case tokName:
		return &attrExpr{line, e, t.text}, nil
	case tokInt:
		v, ok := new(big.Int).SetString(t.text, 0)
		if ok {
			return &itemExpr{line, e, &constExpr{line, normInt(v)}}, nil
		}
	}
	return nil, &SyntaxError{t.line, "expected a name or a number after '.'"}
}

func (p *parser) subscript(e expr) (expr, error) {
	line := at(p.next().line)
	var args []expr
	for !p.isOp("]") {
		if len(args) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
		}
		a, err := p.subscriptArg()
		if err != nil {
			return nil, err
		}
		args = append(args, a)
	}
	p.next()
	if len(args) == 1 {
		return &itemExpr{line, e, args[0]}, nil
	}
	for _, a := range args {
		if _, ok := a.(*sliceExpr); ok {
			return nil, &SyntaxError{int(line), "a slice inside a tuple is not supported"}
		}
	}
	return &itemExpr{line, e, &tupleExpr{line, args}}, nil
}

// subscriptArg parses an index or a slice.
func (p *parser) subscriptArg() (expr, error) {
	line := p.line()
	var parts [3]expr
	for i := range parts {
		if !p.isOp(":") && !p.isOp("]") && !p.isOp(",") {
			e, err := p.expression()
			if err != nil {
				return nil, err
			}
			parts[i] = e
		}
		if i == 2 {
			break
		}
		if !p.skipOp(":") {
			if i == 0 {
				if parts[0] == nil {
					return nil, p.expected("an expression")
				}
				return parts[0], nil
			}
			break
		}
	}
	return &sliceExpr{line, parts[0], parts[1], parts[2]}, nil
}

func (p *parser) call(e expr) (expr, error) {
	line := p.line()
	args, err := p.callArgs()
	return &callExpr{line, e, args}, err
}

// callArgs parses (a, b, name=c, *d, **e).
func (p *parser) callArgs() (*callArgs, error) {
	line := p.next().line
	a := &callArgs{}
	for first := true; !p.isOp(")"); first = false {
		if !first {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
			if p.isOp(")") {
				break
			}
		}
		if err := p.callArg(a, line); err != nil {
			return nil, err
		}
	}
	p.next()
	return a, nil
}

func (p *parser) callArg(a *callArgs, line int) error {
	var err error
	ok := true
	switch t := p.cur(); {
	case p.skipOp("*"):
		ok = a.dynArgs == nil && a.dynKwargs == nil
		a.dynArgs, err = p.expression()
	case p.skipOp("**"):
		ok = a.dynKwargs == nil
		a.dynKwargs, err = p.expression()
	case t.kind == tokName && p.look().kind == tokOp && p.look().text == "=":
		p.next()
		p.next()
		ok = a.dynKwargs == nil && !slices.Contains(a.names, t.text)
		var e expr
		e, err = p.expression()
		a.names, a.kwargs = append(a.names, t.text), append(a.kwargs, e)
	default:
		ok = a.dynArgs == nil && a.dynKwargs == nil && len(a.names) == 0
		var e expr
		e, err = p.expression()
		a.args = append(a.args, e)
	}
	if err == nil && !ok {
		return &SyntaxError{line, "arguments of the call are out of order or repeated"}
	}
	return err
}

// filters parses "|name(…)" as often as it comes.
func (p *parser) filters(e expr) (expr, error) {
	for n := 0; p.skipOp("|"); n++ {
		if n > maxChain {
			return nil, p.fail("expression is too long")
		}
		f, err := p.filter(e)
		if err != nil {
			return nil, err
		}
		e = f
	}
	return e, nil
}

func (p *parser) filter(e expr) (expr, error) {
	line := p.line()
	name, args, err := p.nameAndArgs()
	return &filterExpr{line, e, name, args}, err
}

func (p *parser) nameAndArgs() (string, *callArgs, error) {
	name, err := p.ident()
	for err == nil && p.skipOp(".") {
		var part string
		part, err = p.ident()
		name += "." + part
	}
	if err != nil || !p.isOp("(") {
		return name, &callArgs{}, err
	}
	args, err := p.callArgs()
	return name, args, err
}

// test parses "is [not] name [argument]".
func (p *parser) test(e expr) (expr, error) {
	line := at(p.next().line)
	negated := p.skipName("not")
	name, args, err := p.nameAndArgs()
	if err != nil {
		return nil, err
	}
	if p.toks[p.i-1].text != ")" && p.startsTestArg() {
		if p.isName("is") {
			return nil, p.fail("tests cannot be chained with 'is'")
		}
		arg, err := p.primary(false)
		if err != nil {
			return nil, err
		}
		if arg, err = p.postfix(arg); err != nil {
			return nil, err
		}
		args = &callArgs{args: []expr{arg}}
	}
	var n expr = &testExpr{line, e, name, args}
	if negated {
		n = &unaryExpr{line, "not", n}
	}
	return n, nil
}

// startsTestArg reports whether a test's argument without parentheses comes.
func (p *parser) startsTestArg() bool {
	t := p.cur()
	switch t.kind {
	case tokName:
		return t.text != "else" && t.text != "or" && t.text != "and"
	case tokString, tokInt, tokFloat:
		return true
	}
	return p.isOp("[") || p.isOp("{")
}
