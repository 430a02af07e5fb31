package grammar

// thread is one way in which the text so far fits: a node, how often a
// repetition has run or how long a string or a run of spaces is, and the
// caller to return to.
type thread struct{ node, count, frame int32 }

// frame is a caller: where it goes on, what its own count is, and its caller.
// Frame 0 is the bottom of the stack.
type frame struct{ then, count, parent, depth int32 }

// maxThreads is the most ways that are followed at the same time. Each of them
// leads to an end, so that leaving some out narrows the choice and breaks
// nothing.
const maxThreads = 64

// run advances threads. Callers and threads live in two slices that only grow
// until their user cuts them back.
type run struct {
	nodes   []node
	frames  []frame
	threads []thread
	ended   bool  // the last step came to the bottom
	reach   int32 // deepest nesting that a call has asked for
}

func newRun(g *Grammar) run { return run{nodes: g.nodes, frames: make([]frame, 1, 16)} }

// newline is what a line end adds to a thread's count of white space.
const newline = 1 << 16

// after returns where a byte leads a thread.
func (r *run) after(t thread, b byte) (thread, bool) {
	n := &r.nodes[t.node]
	to := n.next(b)
	if to < 0 {
		return t, n.kind == spaceNode && skipSpace(&t, b)
	}
	if n.kind == spaceNode && t.count > 0 && b == ',' {
		return t, false // white space may only stand before the bracket here
	}
	if n.kind == textNode && !n.text.allows(b, t.count) {
		return t, false
	}
	count := int32(0)
	if n.kind == textNode || n.kind == insideText {
		switch r.nodes[to].kind {
		case textNode:
			count = n.text.more(t.count)
		case insideText:
			count = t.count
		}
	}
	return thread{to, count, t.frame}, true
}

// next returns where a byte leads, -1 for nowhere.
func (n *node) next(b byte) int32 {
	if n.table != nil {
		return n.table[b]
	}
	for _, e := range n.edges {
		if e.lo <= b && b <= e.hi {
			return e.to
		}
	}
	return -1
}

// skipSpace counts a byte of white space: one space, or a line end and what
// indents the next line.
func skipSpace(t *thread, b byte) bool {
	switch {
	case b == '\n' && t.count == 0:
		t.count = newline
		return true
	case b == ' ' && t.count == 0:
		t.count = 1
		return true
	case b == ' ' || b == '\t':
		t.count++
		return t.count > newline && t.count <= newline+maxIndent
	}
	return false
}

// allows reports whether a string of n characters may go on with a byte.
func (l *textLimits) allows(b byte, n int32) bool {
	if b == '"' {
		return n >= l.least
	}
	return l.most < 0 || n < l.most
}

// more counts a character, as long as it makes a difference.
func (l *textLimits) more(n int32) int32 {
	if l.most < 0 {
		return min(n+1, l.least)
	}
	return n + 1
}

// step moves the threads [lo, hi) over a byte and appends where they come to.
// It reports whether there is any, or an end.
func (r *run) step(lo, hi int32, b byte) bool {
	from := len(r.threads)
	r.ended = false
	for i := lo; i < hi; i++ {
		if t, ok := r.after(r.threads[i], b); ok {
			r.open(t, from)
		}
	}
	return len(r.threads) > from || r.ended
}

// open appends the threads that wait for a byte where t stands.
func (r *run) open(t thread, from int) {
	n := &r.nodes[t.node]
	if n.simple {
		r.add(t, from)
		return
	}
	for _, to := range n.free {
		r.open(thread{to, 0, t.frame}, from)
	}
	for _, c := range n.calls {
		if at, ok := r.push(t.frame, c.body, c.then, 0); ok {
			r.open(thread{c.body, 0, at}, from)
		}
	}
	if n.count != nil {
		r.repeat(n.count, t, from)
	}
	if n.final {
		r.leave(t.frame, from)
	}
	if len(n.edges) > 0 || n.kind == spaceNode {
		r.add(t, from)
	}
}

// leave returns to the caller.
func (r *run) leave(at int32, from int) {
	if at == 0 {
		r.ended = true
		return
	}
	f := r.frames[at]
	r.open(thread{f.then, f.count, f.parent}, from)
}

// repeat calls the body once more, and goes on without.
func (r *run) repeat(c *counted, t thread, from int) {
	if t.count >= c.least {
		r.open(thread{c.then, 0, t.frame}, from)
	}
	if c.most >= 0 && t.count >= c.most {
		return
	}
	count := t.count + 1
	if c.most < 0 {
		count = min(count, c.least)
	}
	if at, ok := r.push(t.frame, c.body, t.node, count); ok {
		r.open(thread{c.body, 0, at}, from)
	}
}

// push adds a caller, unless the way to the end from there is nested too deep.
func (r *run) push(parent, body, then, count int32) (int32, bool) {
	depth := r.frames[parent].depth + 1
	reach := max(depth+r.nodes[body].depth, depth-1+r.nodes[then].depth)
	r.reach = max(r.reach, reach)
	if reach > MaxDepth {
		return 0, false
	}
	r.frames = append(r.frames, frame{then, count, parent, depth})
	return int32(len(r.frames) - 1), true
}

// add appends a thread that is not there yet.
func (r *run) add(t thread, from int) {
	list := r.threads[from:]
	for _, other := range list {
		if other.node == t.node && other.count == t.count && r.same(other.frame, t.frame) {
			return
		}
	}
	if len(list) < maxThreads {
		r.threads = append(r.threads, t)
	}
}

// same compares two stacks.
func (r *run) same(a, b int32) bool {
	for a != b {
		f, g := r.frames[a], r.frames[b]
		if f.then != g.then || f.count != g.count || f.depth != g.depth {
			return false
		}
		a, b = f.parent, g.parent
	}
	return true
}
