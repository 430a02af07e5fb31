package jinja

import (
	"strings"
	"time"
)

// Options bound and feed one rendering. The zero value has sensible bounds.
type Options struct {
	MaxSteps  int              // nodes evaluated and items visited; 0 means 20 million
	MaxOutput int              // bytes of the result and of any string on the way; 0 means 32 MiB
	Now       func() time.Time // the clock of strftime_now; nil means time.Now
}

const (
	defaultSteps  = 20_000_000
	defaultOutput = 32 << 20
	// maxCalls bounds the nesting of expressions and macro calls at run time.
	maxCalls = 4000
	// stepBytes is how many bytes copied or scanned count as one step.
	stepBytes = 64
	// memoryFactor times MaxOutput is what all strings and lists made during
	// one rendering may take together.
	memoryFactor = 32
)

// run is the state of one rendering.
type run struct {
	opt    Options
	vars   *Dict
	root   *scope
	out    *strings.Builder
	steps  int
	memory int
	depth  int
}

// Render runs the template with the variables, which it does not change; nil
// means none. Errors are *RenderError around the cause: a *RaisedError where
// the template refuses its input, a *LimitError where it runs away.
func (t *Template) Render(vars *Dict, opt Options) (string, error) {
	if opt.MaxSteps <= 0 {
		opt.MaxSteps = defaultSteps
	}
	if opt.MaxOutput <= 0 {
		opt.MaxOutput = defaultOutput
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if vars == nil {
		vars = NewDict()
	}
	r := &run{opt: opt, vars: vars, out: &strings.Builder{}}
	r.root = newScope(nil, t.undefs)
	if _, err := r.exec(t.body, r.root); err != nil {
		return "", atLine(err, 1)
	}
	return r.out.String(), nil
}

// step counts n units of work.
func (r *run) step(n int) error {
	if r == nil { // outside a rendering
		return nil
	}
	if r.steps += n; r.steps > r.opt.MaxSteps {
		return limitErrorf("template ran more than %d steps", r.opt.MaxSteps)
	}
	return nil
}

// work counts the scanning of n bytes.
func (r *run) work(n int) error { return r.step(1 + n/stepBytes) }

// alloc counts n bytes that the template makes, before they are made.
func (r *run) alloc(n int) error {
	if n > r.opt.MaxOutput {
		return limitErrorf("template made a value of more than %d bytes", r.opt.MaxOutput)
	}
	if r.memory += n; r.memory/memoryFactor > r.opt.MaxOutput {
		return limitErrorf("template made values of more than %d times %d bytes", memoryFactor, r.opt.MaxOutput)
	}
	return r.work(n)
}

// allocItems counts a list of n items.
func (r *run) allocItems(n int) error {
	if n > r.opt.MaxOutput/16 {
		return limitErrorf("template made a list of %d items", n)
	}
	return r.alloc(16 * n)
}

func (r *run) write(s string) error {
	if r.out.Len()+len(s) > r.opt.MaxOutput {
		return limitErrorf("output is longer than %d bytes", r.opt.MaxOutput)
	}
	r.out.WriteString(s)
	return nil
}

// str is toStr within the memory bound.
func (r *run) str(v Value) (string, error) {
	s, err := r.toStr(v)
	if err != nil {
		return "", err
	}
	if _, ok := v.(string); !ok {
		err = r.alloc(len(s))
	}
	return s, err
}

// enter counts one level of nesting; the caller leaves with r.depth--.
func (r *run) enter() error {
	if r.depth++; r.depth > maxCalls {
		return limitErrorf("calls and expressions are nested deeper than %d", maxCalls)
	}
	return nil
}

// scope holds the variables of one frame: the template, a macro call, one
// turn of a loop, a with or a block.
type scope struct {
	names  []string
	vals   []Value
	parent *scope
}

// newScope returns a scope in which undefs exist without a value: names that
// are set later and hide nothing of the same name outside.
func newScope(parent *scope, undefs []string) *scope {
	s := &scope{parent: parent}
	for _, n := range undefs {
		s.set(n, missing)
	}
	return s
}

func (s *scope) set(name string, v Value) {
	for i, n := range s.names {
		if n == name {
			s.vals[i] = v
			return
		}
	}
	s.names = append(s.names, name)
	s.vals = append(s.vals, v)
}

// resolve looks a name up: scopes from the inside, then the variables of the
// rendering, then the globals.
func (r *run) resolve(name string, s *scope) Value {
	for ; s != nil; s = s.parent {
		for i, n := range s.names {
			if n == name {
				if s.vals[i] == missing {
					return undefinedName(name)
				}
				return s.vals[i]
			}
		}
	}
	if v, ok := r.vars.Get(name); ok {
		return v
	}
	if v, ok := globals[name]; ok {
		return v
	}
	return undefinedName(name)
}

func undefinedName(name string) *Undefined {
	return &Undefined{msg: "'" + name + "' is undefined"}
}
