package jinja

// nameFn sees a name where it is read or set.
type nameFn func(name string, store bool)

// walkNodes calls f for e and what is inside it, in order of evaluation; f
// returns false to stay out of a node.
func walkNodes(e expr, f func(expr) bool) {
	if e == nil || !f(e) {
		return
	}
	for _, c := range children(e) {
		if c != nil {
			walkNodes(c, f)
		}
	}
}

func children(e expr) []expr {
	switch n := e.(type) {
	case *tupleExpr:
		return n.items
	case *listExpr:
		return n.items
	case *dictExpr:
		return append(n.keys[:len(n.keys):len(n.keys)], n.vals...)
	case *attrExpr:
		return []expr{n.node}
	case *itemExpr:
		return []expr{n.node, n.arg}
	case *sliceExpr:
		return []expr{n.start, n.stop, n.step}
	case *callExpr:
		return append([]expr{n.fn}, n.args.all()...)
	case *filterExpr:
		return append([]expr{n.node}, n.args.all()...)
	case *testExpr:
		return append([]expr{n.node}, n.args.all()...)
	case *condExpr:
		return []expr{n.test, n.then, n.other}
	case *boolExpr:
		return []expr{n.left, n.right}
	case *unaryExpr:
		return []expr{n.node}
	case *binExpr:
		return []expr{n.left, n.right}
	case *concatExpr:
		return n.items
	case *compareExpr:
		return append([]expr{n.first}, n.rest...)
	}
	return nil
}

func (a *callArgs) all() []expr {
	list := append(a.args[:len(a.args):len(a.args)], a.kwargs...)
	return append(list, a.dynArgs, a.dynKwargs)
}

// walkExpr reports the names that an expression reads.
func walkExpr(e expr, f nameFn) {
	walkNodes(e, func(e expr) bool {
		if n, ok := e.(*nameExpr); ok {
			f(n.name, false)
		}
		return true
	})
}

// walkTarget reports the names that a target sets; a namespace is only read.
func walkTarget(e expr, f nameFn) {
	walkNodes(e, func(e expr) bool {
		switch n := e.(type) {
		case *nameExpr:
			f(n.name, true)
		case *nsExpr:
			f(n.name, false)
		}
		return true
	})
}

// walkStmts reports the names of statements and of all that is inside them.
// Blocks stay out: they are functions of their own.
func walkStmts(body []stmt, f nameFn) {
	for _, st := range body {
		walkStmt(st, f)
	}
}

func walkStmt(st stmt, f nameFn) {
	switch n := st.(type) {
	case *printStmt:
		walkExpr(n.val, f)
	case *ifStmt:
		for i, t := range n.tests {
			walkExpr(t, f)
			walkStmts(n.bodies[i], f)
		}
		walkStmts(n.other, f)
	case *forStmt:
		walkTarget(n.target, f)
		walkExpr(n.iter, f)
		walkStmts(n.body, f)
		walkStmts(n.other, f)
		walkExpr(n.test, f)
	case *setStmt:
		walkTarget(n.target, f)
		walkExpr(n.val, f)
	case *setBlockStmt:
		walkTarget(n.target, f)
		walkExpr(n.filter, f)
		walkStmts(n.body, f)
	case *macroStmt:
		n.macroDef.walk(f)
	case *callStmt:
		walkExpr(n.call, f)
		n.macroDef.walk(f)
	case *filterStmt:
		walkStmts(n.body, f)
		walkExpr(n.filter, f)
	case *withStmt:
		for i, t := range n.targets {
			walkTarget(t, f)
			walkExpr(n.vals[i], f)
		}
		walkStmts(n.body, f)
	case *scopeStmt:
		if n.block == "" {
			walkStmts(n.body, f)
		}
	}
}

func (m *macroDef) walk(f nameFn) {
	for _, p := range m.params {
		f(p, true)
	}
	for _, d := range m.defaults {
		walkExpr(d, f)
	}
	walkStmts(m.body, f)
}
