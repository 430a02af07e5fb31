package jinja

// expr is a node of an expression.
type expr interface{ pos() int }

// at is the line of a node.
type at int

func (l at) pos() int { return int(l) }

type (
	constExpr struct {
		at
		val Value
	}
	nameExpr struct {
		at
		name string
	}
	// nsExpr is name.attr as an assignment target.
	nsExpr struct {
		at
		name, attr string
	}
	tupleExpr struct {
		at
		items []expr
	}
	listExpr struct {
		at
		items []expr
	}
	dictExpr struct {
		at
		keys, vals []expr
	}
	attrExpr struct {
		at
		node expr
		name string
	}
	itemExpr struct {
		at
		node, arg expr
	}
	// sliceExpr is the start:stop:step of a subscript; nil parts are absent.
	sliceExpr struct {
		at
		start, stop, step expr
	}
	callExpr struct {
		at
		fn   expr
		args *callArgs
	}
	// filterExpr applies a filter; node is nil where a block's output is meant.
	filterExpr struct {
		at
		node expr
		name string
		args *callArgs
	}
	testExpr struct {
		at
		node expr
		name string
		args *callArgs
	}
	condExpr struct {
		at
		test, then, other expr // other is nil without else
	}
	boolExpr struct {
		at
		or          bool
		left, right expr
	}
	unaryExpr struct {
		at
		op   string // "not", "-", "+"
		node expr
	}
	binExpr struct {
		at
		op          string
		left, right expr
	}
	concatExpr struct {
		at
		items []expr
	}
	compareExpr struct {
		at
		first expr
		ops   []string
		rest  []expr
	}
)

// callArgs are the arguments of a call, a filter or a test.
type callArgs struct {
	args      []expr
	names     []string // of kwargs
	kwargs    []expr
	dynArgs   expr // after *, or nil
	dynKwargs expr // after **, or nil
}

// stmt is a node of the template's body.
type stmt interface{ pos() int }

type (
	textStmt struct {
		at
		text string
	}
	printStmt struct {
		at
		val expr
	}
	ifStmt struct {
		at
		tests  []expr
		bodies [][]stmt
		other  []stmt
	}
	forStmt struct {
		at
		target    expr
		iter      expr
		test      expr // nil without a filter
		recursive bool
		body      []stmt
		other     []stmt
		usesLoop  bool
		undefs    []string
		elseUndef []string
	}
	setStmt struct {
		at
		target, val expr
	}
	setBlockStmt struct {
		at
		target expr
		filter expr // nil without one
		body   []stmt
		undefs []string
	}
	macroStmt struct {
		at
		name string
		*macroDef
	}
	callStmt struct {
		at
		call *callExpr
		*macroDef
	}
	filterStmt struct {
		at
		filter expr
		body   []stmt
		undefs []string
	}
	withStmt struct {
		at
		targets, vals []expr
		body          []stmt
		undefs        []string
	}
	// scopeStmt is a block or generation tag: a body in a scope of its own.
	scopeStmt struct {
		at
		block  string // the name of a block tag, or ""
		body   []stmt
		undefs []string
	}
	breakStmt    struct{ at }
	continueStmt struct{ at }
)

// macroDef is the part that macros and call blocks share.
type macroDef struct {
	params   []string
	defaults []expr // of the last params
	body     []stmt
	undefs   []string
	// caller, kwargs and varargs say whether the body reads those names.
	caller, kwargs, varargs bool
}
