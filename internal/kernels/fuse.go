package kernels

// fuse computes an operation together with the one before it, or holds it back
// for the next one. It reports whether that was done: nothing is left to launch
// then.
//
// Three pairs are worth a kernel of their own in a step of single tokens: a norm
// and the product behind it, a norm and the mixture of experts behind it, and
// the rotation of q and k with the attention behind it. Whatever else comes
// after an operation that is held back has it launched alone: results do not
// depend on it but for rounding.
func (b *Backend) fuse(o *operation) bool {
	held := b.held
	if held.kind != opNone {
		b.held.kind = opNone
		if b.launchPair(&held, o) {
			return true
		}
		b.launchHeld(&held)
	}
	if b.opt.Unfused || !b.holds(o) {
		return false
	}
	b.held = *o
	return true
}

// holds reports whether the next operation may take this one in.
func (b *Backend) holds(o *operation) bool {
	switch o.kind {
	case opNorm:
		return b.canNorm(o.out, o.in[0], o.norm)
	case opAppend:
		return b.canAppend(o)
	}
	return false
}

// launchPair launches two operations as one, if there is a kernel for them.
func (b *Backend) launchPair(held, o *operation) bool {
	switch {
	case held.kind == opNorm && o.kind == opLinear && o.in[0] == held.out:
		return b.normLinear(held, o)
	case held.kind == opNorm && o.kind == opMoE && o.in[0] == held.out:
		b.launchMoE(o.out, o.in[0], o.moe, o.routes, o.in[1], held)
		return true
	case held.kind == opAppend && o.kind == opAttend && o.in[0] == held.in[0] && o.cache == held.cache:
		return b.appendAttend(held, o)
	}
	return false
}

// release launches what is held back: the next thing in the stream needs it,
// or is none of the operations.
func (b *Backend) release() {
	if held := b.held; held.kind != opNone {
		b.held.kind = opNone
		b.launchHeld(&held)
	}
}

func (b *Backend) launchHeld(o *operation) {
	switch o.kind {
	case opNorm:
		b.launchNorm(o.out, o.in[0], o.norm)
	case opAppend:
		b.launchAppend(o.in[0], o.in[1], o.in[2], o.attention, o.cache)
	}
}

// normLinear computes a norm in the product that reads it.
func (b *Backend) normLinear(norm, o *operation) bool {
	w, n := matrix(o.linear.Weight)
	if n == 0 || n < len(o.linear.Weight) || b.linear.forced != auto || !b.typesFit(o.out, o.in[0], w) {
		return false
	}
	p := productOf(o.out, o.in[0], w, o.linear.Bias, o.epilogue)
	if b.linear.chip.route(p) != viaGemv {
		return false
	}
	b.gemv(p, argsOf(o.out, o.in[0], w, o.linear.Bias, o.epilogue), norm)
	return true
}
