package grammar

import (
	"fmt"
	"slices"
)

// Matcher follows one text, token by token. It is for one goroutine.
type Matcher struct {
	masks   *Masks
	ends    []int32 // ids that end the text
	walker  *walker
	run     run
	ended   bool // the text so far is whole
	closed  bool // an end has been accepted
	history []moment
	last    remembered
}

// remembered is what a thread has been found to allow: a text stays in the
// same string for many tokens.
type remembered struct {
	node, class, frame int32
	mask               []uint32 // empty: nothing
}

// manyTails is the number of tails from which it pays to remember.
const manyTails = 64

// moment is what a matcher was before a token.
type moment struct {
	threads       []thread
	frames        int
	ended, closed bool
}

// NewMatcher returns a matcher at the beginning of a text. The ids of ends are
// allowed where the text is whole, and nowhere else.
func (m *Masks) NewMatcher(ends []int32) *Matcher {
	x := &Matcher{masks: m, ends: slices.Clone(ends), walker: newWalker(m), run: newRun(m.grammar)}
	x.run.open(thread{node: m.grammar.start}, 0)
	x.ended = x.run.ended
	return x
}

// Clone returns a matcher that stands where x does and goes its own way.
func (x *Matcher) Clone() *Matcher {
	c := *x
	c.walker = newWalker(x.masks)
	c.run.frames, c.run.threads = slices.Clone(x.run.frames), slices.Clone(x.run.threads)
	c.history = slices.Clone(x.history)
	c.last = remembered{}
	return &c
}

// Whole reports whether the text may end here.
func (x *Matcher) Whole() bool { return x.ended }

// Done reports whether the text is whole and cannot go on.
func (x *Matcher) Done() bool { return x.closed || x.ended && len(x.run.threads) == 0 }

// Accepted returns the number of tokens.
func (x *Matcher) Accepted() int { return len(x.history) }

// Accept takes the next token. A token that is not allowed changes nothing.
func (x *Matcher) Accept(id int32) error {
	v := x.masks.vocabulary
	before := moment{slices.Clone(x.run.threads), len(x.run.frames), x.ended, x.closed}
	switch {
	case x.closed:
		return fmt.Errorf("grammar: token %d follows the end of the text", id)
	case slices.Contains(x.ends, id) && x.ended:
		x.closed = true
	case id < 0 || int(id) >= v.size || v.bytes[id] == nil:
		return fmt.Errorf("grammar: token %d is not allowed after %d tokens: it has no text", id, len(x.history))
	default:
		if n := x.advance(v.bytes[id]); n < len(v.bytes[id]) {
			x.restore(before)
			return fmt.Errorf("grammar: token %d, %q, is not allowed after %d tokens", id, v.bytes[id], len(x.history))
		}
	}
	x.history = append(x.history, before)
	return nil
}

// advance takes bytes and returns how many of them were allowed.
func (x *Matcher) advance(text []byte) int {
	r := &x.run
	for i, b := range text {
		hi := int32(len(r.threads))
		if !r.step(0, hi, b) {
			return i
		}
		x.ended = r.ended
		r.threads = append(r.threads[:0], r.threads[hi:]...)
	}
	return len(text)
}

func (x *Matcher) restore(m moment) {
	x.run.threads = append(x.run.threads[:0], m.threads...)
	x.run.frames = x.run.frames[:m.frames]
	x.ended, x.closed = m.ended, m.closed
	x.last.mask = x.last.mask[:0] // the number of its caller may come to stand for another
}

// Rollback takes the last n tokens back.
func (x *Matcher) Rollback(n int) error {
	if n < 0 || n > len(x.history) {
		return fmt.Errorf("grammar: roll back %d tokens: %d were accepted", n, len(x.history))
	}
	if n > 0 {
		x.restore(x.history[len(x.history)-n])
		x.history = x.history[:len(x.history)-n]
	}
	return nil
}

// Forced returns the text that must follow: as long as there is one way on.
func (x *Matcher) Forced() []byte {
	var text []byte
	c := x.Clone()
	for !c.ended && len(text) < 1<<10 {
		b, one := c.onlyByte()
		if !one {
			break
		}
		text = append(text, b)
		c.advance([]byte{b})
	}
	return text
}

// onlyByte returns the byte that must follow, if there is only one.
func (x *Matcher) onlyByte() (only byte, one bool) {
	for b := range 256 {
		hi, frames := int32(len(x.run.threads)), len(x.run.frames)
		ok := x.run.step(0, hi, byte(b))
		x.run.threads, x.run.frames = x.run.threads[:hi], x.run.frames[:frames]
		if ok && one {
			return 0, false
		}
		if ok {
			only, one = byte(b), true
		}
	}
	return only, one
}

// Mask sets the bits of the ids that may follow, and clears all others. dst
// has a word for each 32 ids; words beyond the vocabulary are cleared.
func (x *Matcher) Mask(dst []uint32) {
	clear(dst)
	if x.ended || x.closed {
		for _, id := range x.ends {
			if id >= 0 && int(id)/32 < len(dst) {
				dst[id/32] |= 1 << (id % 32)
			}
		}
	}
	if x.closed {
		return
	}
	for _, t := range x.run.threads {
		x.allow(dst, t)
	}
}

// allow adds what one thread allows.
func (x *Matcher) allow(dst []uint32, t thread) {
	e := x.masks.entry(x.walker, t)
	f := x.run.frames[t.frame]
	if f.depth+e.reach > MaxDepth {
		x.direct(dst, t)
		return
	}
	switch {
	case t.frame == 0 || len(e.owners) == 0:
		e.addTo(dst)
	case len(e.owners) < manyTails:
		e.addTo(dst)
		x.leave(dst, t, e)
	default:
		for i, word := range x.remember(t, e) {
			dst[i] |= word
		}
	}
}

// remember returns what a thread allows, if need be from the last time.
func (x *Matcher) remember(t thread, e *entry) []uint32 {
	m := &x.last
	if m.node != t.node || m.class != e.class || m.frame != t.frame || len(m.mask) == 0 {
		n := x.masks.vocabulary.Words()
		*m = remembered{t.node, e.class, t.frame, slices.Grow(m.mask[:0], n)[:n]}
		clear(m.mask)
		e.addTo(m.mask)
		x.leave(m.mask, t, e)
	}
	return m.mask
}

// leave adds the tokens within which a thread returns to its caller.
func (x *Matcher) leave(dst []uint32, t thread, e *entry) {
	w := x.borrow(dst)
	w.owners = e.owners
	w.run.leave(t.frame, 0)
	w.root(&e.tails)
}

// direct walks through the whole tree with the callers as they are.
func (x *Matcher) direct(dst []uint32, t thread) {
	w := x.borrow(dst)
	w.threads = append(w.threads[:0], t)
	w.root(&x.masks.vocabulary.all)
}

// borrow returns the walker with the matcher's stack. What it adds lies behind
// the matcher's own callers.
func (x *Matcher) borrow(dst []uint32) *walker {
	w := x.walker
	w.run = run{nodes: x.run.nodes, frames: x.run.frames, threads: w.threads[:0]}
	w.out, w.exits, w.owners = dst, nil, nil
	return w
}
