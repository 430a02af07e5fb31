package jinja

import (
	"fmt"
	"slices"
)

// analyze checks what Jinja's compiler checks and works out the names that
// each scope sets without having read them first: reading such a name before
// it is set gives undefined, even if a variable of that name was passed in.
func analyze(t *Template) error {
	c := &checker{blocks: map[string]bool{}}
	if err := c.stmts(t.body, checkCtx{}); err != nil {
		return err
	}
	root := newSymbols(nil)
	root.stmts(t.body)
	t.undefs = root.undefs()
	descend(t.body, root)
	return nil
}

// symbols are the names of one scope.
type symbols struct {
	parent *symbols
	refs   map[string]bool // known here; true if set before it was read
	stores map[string]bool
}

func newSymbols(parent *symbols) *symbols {
	return &symbols{parent, map[string]bool{}, map[string]bool{}}
}

func (s *symbols) known(name string) bool {
	for ; s != nil; s = s.parent {
		if _, ok := s.refs[name]; ok {
			return true
		}
	}
	return false
}

func (s *symbols) load(name string) {
	if !s.known(name) {
		s.refs[name] = false
	}
}

func (s *symbols) store(name string) {
	s.stores[name] = true
	if _, ok := s.refs[name]; !ok {
		s.refs[name] = s.parent == nil || !s.parent.known(name)
	}
}

func (s *symbols) param(name string) {
	s.stores[name] = true
	s.refs[name] = false
}

func (s *symbols) undefs() []string {
	var list []string
	for name, undef := range s.refs {
		if undef {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

func (s *symbols) expr(e expr) {
	walkExpr(e, func(name string, store bool) {
		if store {
			s.store(name)
		} else {
			s.load(name)
		}
	})
}

func (s *symbols) params(target expr) {
	walkTarget(target, func(name string, store bool) {
		if store {
			s.param(name)
		} else {
			s.load(name)
		}
	})
}

// stmts visits statements of this scope; inner scopes are left out.
func (s *symbols) stmts(body []stmt) {
	for _, st := range body {
		switch n := st.(type) {
		case *printStmt:
			s.expr(n.val)
		case *ifStmt:
			s.branches(n)
		case *forStmt:
			s.expr(n.iter)
		case *setStmt:
			s.expr(n.val)
			walkTarget(n.target, s.touch)
		case *setBlockStmt:
			walkTarget(n.target, s.touch)
		case *macroStmt:
			s.store(n.name)
		case *callStmt:
			s.expr(n.call)
		case *filterStmt:
			s.expr(n.filter)
		case *withStmt:
			for _, v := range n.vals {
				s.expr(v)
			}
		}
	}
}

func (s *symbols) touch(name string, store bool) {
	if store {
		s.store(name)
	} else {
		s.load(name)
	}
}

// branches visits an if: a name set first in a branch may come from outside.
func (s *symbols) branches(n *ifStmt) {
	copyOf := func() *symbols {
		c := newSymbols(s.parent)
		for k, v := range s.refs {
			c.refs[k] = v
		}
		for k := range s.stores {
			c.stores[k] = true
		}
		return c
	}
	s.expr(n.tests[0])
	var all []*symbols
	for i, body := range append(slices.Clone(n.bodies), n.other) {
		c := copyOf()
		if i > 0 && i < len(n.tests) {
			c.expr(n.tests[i])
		}
		c.stmts(body)
		all = append(all, c)
	}
	stored := map[string]bool{}
	for _, c := range all {
		for k := range c.stores {
			stored[k] = stored[k] || !s.stores[k]
		}
	}
	for _, c := range all {
		for k, v := range c.refs {
			s.refs[k] = v
		}
	}
	for k, fresh := range stored {
		if fresh {
			s.refs[k] = false
		}
		s.stores[k] = true
	}
}

// descend analyses the scopes inside body.
func descend(body []stmt, s *symbols) {
	for _, st := range body {
		switch n := st.(type) {
		case *ifStmt:
			for _, b := range n.bodies {
				descend(b, s)
			}
			descend(n.other, s)
		case *forStmt:
			n.usesLoop = n.recursive || reads(n.body, "loop")
			in := newSymbols(s)
			if n.usesLoop {
				in.param("loop")
			}
			in.params(n.target)
			n.undefs = in.scope(n.body)
			n.elseUndef = newSymbols(s).scope(n.other)
		case *setBlockStmt:
			n.undefs = newSymbols(s).scope(n.body)
		case *filterStmt:
			in := newSymbols(s)
			in.stmts(n.body)
			in.expr(n.filter)
			n.undefs = in.scope(n.body)
		case *macroStmt:
			n.macroDef.analyze(s)
		case *callStmt:
			n.macroDef.analyze(s)
		case *withStmt:
			in := newSymbols(s)
			for _, t := range n.targets {
				in.params(t)
			}
			n.undefs = in.scope(n.body)
		case *scopeStmt:
			outer := s
			if n.block != "" {
				outer = nil
			}
			n.undefs = newSymbols(outer).scope(n.body)
		}
	}
}

// scope visits a body as the content of this scope and returns its undefs.
func (s *symbols) scope(body []stmt) []string {
	s.stmts(body)
	descend(body, s)
	return s.undefs()
}

func (m *macroDef) analyze(s *symbols) {
	in := newSymbols(s)
	for _, p := range m.params {
		in.param(p)
	}
	for _, d := range m.defaults {
		in.expr(d)
	}
	m.caller = reads(m.body, "caller")
	m.kwargs = reads(m.body, "kwargs") && !slices.Contains(m.params, "kwargs")
	m.varargs = reads(m.body, "varargs") && !slices.Contains(m.params, "varargs")
	for name, used := range map[string]bool{"caller": m.caller, "kwargs": m.kwargs, "varargs": m.varargs} {
		if used {
			in.param(name)
		}
	}
	m.undefs = in.scope(m.body)
}

// reads reports whether body, inner scopes included, reads name before it
// sets it.
func reads(body []stmt, name string) bool {
	found, hidden := false, false
	walkStmts(body, func(n string, store bool) {
		switch {
		case n != name:
		case store:
			hidden = true
		case !hidden:
			found = true
		}
	})
	return found
}

// checker refuses what Jinja's compiler refuses.
type checker struct{ blocks map[string]bool }

// checkCtx is where a statement stands.
type checkCtx struct {
	soft bool // inside an if: unknown filters and tests fail only when used
	loop bool // break and continue are allowed
}

func (c *checker) stmts(body []stmt, ctx checkCtx) error {
	for _, st := range body {
		if err := c.stmt(st, ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) stmt(st stmt, ctx checkCtx) error {
	hard := checkCtx{loop: ctx.loop}
	switch n := st.(type) {
	case *printStmt:
		return c.expr(n.val, ctx.soft)
	case *ifStmt:
		ctx.soft = true
		for i, t := range n.tests {
			if err := firstErr(c.expr(t, true), c.stmts(n.bodies[i], ctx)); err != nil {
				return err
			}
		}
		return c.stmts(n.other, ctx)
	case *forStmt:
		return c.forStmt(n, ctx)
	case *setStmt:
		return c.expr(n.val, ctx.soft)
	case *setBlockStmt:
		return firstErr(c.expr(n.filter, false), c.stmts(n.body, hard))
	case *macroStmt:
		return c.macro(n.macroDef, n.pos())
	case *callStmt:
		return firstErr(c.macro(n.macroDef, n.pos()), c.expr(n.call, ctx.soft))
	case *filterStmt:
		return firstErr(c.stmts(n.body, hard), c.expr(n.filter, false))
	case *withStmt:
		for _, v := range n.vals {
			if err := c.expr(v, ctx.soft); err != nil {
				return err
			}
		}
		return c.stmts(n.body, hard)
	case *scopeStmt:
		if n.block != "" && c.blocks[n.block] {
			return &SyntaxError{n.pos(), fmt.Sprintf("block '%s' defined twice", n.block)}
		}
		c.blocks[n.block] = true
		return c.stmts(n.body, checkCtx{})
	case *breakStmt:
		return outsideLoop("break", n.pos(), ctx)
	case *continueStmt:
		return outsideLoop("continue", n.pos(), ctx)
	}
	return nil
}

func outsideLoop(tag string, line int, ctx checkCtx) error {
	if ctx.loop {
		return nil
	}
	return &SyntaxError{line, fmt.Sprintf("'%s' outside a loop", tag)}
}

func (c *checker) forStmt(n *forStmt, ctx checkCtx) error {
	sets := false
	mark := func(name string, store bool) { sets = sets || store && name == "loop" }
	walkTarget(n.target, mark)
	walkStmts(n.body, mark)
	walkStmts(n.other, mark)
	if sets {
		return &SyntaxError{n.pos(), "the special variable 'loop' cannot be set inside a for"}
	}
	if n.recursive {
		ctx.loop = false // the body is a function of its own
	}
	return firstErr(c.expr(n.iter, ctx.soft), c.expr(n.test, false),
		c.stmts(n.body, checkCtx{loop: true}), c.stmts(n.other, checkCtx{loop: ctx.loop}))
}

func (c *checker) macro(m *macroDef, line int) error {
	if i := slices.Index(m.params, "caller"); i >= 0 && i < len(m.params)-len(m.defaults) && reads(m.body, "caller") {
		return &SyntaxError{line, "the special parameter 'caller' needs a default"}
	}
	for _, d := range m.defaults {
		if err := c.expr(d, false); err != nil {
			return err
		}
	}
	return c.stmts(m.body, checkCtx{})
}

func firstErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// expr finds unknown filters and tests. Inside an inline if they fail only
// when used.
func (c *checker) expr(e expr, soft bool) error {
	if e == nil || soft {
		return nil
	}
	var failed error
	walkNodes(e, func(e expr) bool {
		switch n := e.(type) {
		case *condExpr:
			return false
		case *filterExpr:
			if filters[n.name] == nil && failed == nil {
				failed = &SyntaxError{n.pos(), fmt.Sprintf("no filter named '%s'", n.name)}
			}
		case *testExpr:
			if tests[n.name] == nil && failed == nil {
				failed = &SyntaxError{n.pos(), fmt.Sprintf("no test named '%s'", n.name)}
			}
		}
		return true
	})
	return failed
}
