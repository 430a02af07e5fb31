package kernels

import (
	"errors"
	"fmt"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// graphs holds decode steps – a token of each sequence, or a few of one – as CUDA
// graphs: one launch takes the place of hundreds.
//
// The first step of a size runs as usual, and reserves what it needs. So does
// the second, whose operations are noted; Sample then has the driver record
// them while the device still works on them. In later steps the operations are
// compared with the notes and put off, and Sample launches the graph. Whatever
// is not as noted – another operation, other operands, a Read in the middle –
// launches what was put off, one by one, and goes on as usual: a graph can be
// slow to come, never wrong.
//
// A graph holds addresses and launch shapes. Of the batch, they depend on the
// numbers of tokens, sequences and outputs, and on how far a context is; the
// rest of the batch lies on the device. What else they depend on is in place
// after the first step of a size, or replaced under step.moved, which makes all
// graphs void.
type graphs struct {
	mode    mode
	current *recorded // unless the mode is plain
	next    int       // operation of current that is expected, in replaying
	moved   int       // step.moved of the entries
	clock   int       // decode steps so far
	entries []*recorded
	err     error // the first that kept a step from being a graph
}

// mode says what becomes of the operations of the open step.
type mode uint8

const (
	plain     mode = iota // launched
	noting                // launched and noted
	replaying             // put off
)

// mostGraphs bounds the entries, and so the memory that the driver takes for
// graphs.
const mostGraphs = 96

// stepSize is what the launches of a decode step depend on.
type stepSize struct {
	tokens, sequences, outputs int
	far                        int // see Backend.far
}

// recorded is what is known of the decode steps of a size.
type recorded struct {
	stepSize
	used    int // clock of the last step
	refused bool
	notes   []operation
	exec    *cuda.Exec // nil: not yet
}

// operation is a call of one of the backend's operations with its operands.
type operation struct {
	kind      kind
	act       ops.Activation
	epilogue  ops.Epilogue
	out       ops.Tensor
	in        [3]ops.Tensor
	norm      *ops.Norm
	linear    *ops.Linear
	rotary    *ops.Rotary
	attention *ops.Attention
	cache     ops.Cache
	conv      *ops.Conv
	ssm       *ops.SSM
	gated     *ops.GatedNorm
	router    *ops.Router
	experts   *ops.Experts
	routes    ops.Routes
	set       bool
	mamba     *ops.Mamba
	state     ops.MambaState
	moe       *ops.MoE
}

type kind uint8

const (
	opNone kind = iota
	opEmbed
	opNorm
	opLinear
	opMultiply
	opAngles
	opAppend
	opAttend
	opGather
	opConvolve
	opScan
	opGatedNorm
	opRoute
	opExperts
	opMamba
	opMoE
)

// same reports whether two operations are of one kind and have the same
// operands. It looks at those that the kind has: comparing whole structs was
// half of what an operation that is put off costs the host.
func (o *operation) same(p *operation) bool {
	if o.kind != p.kind || o.out != p.out || o.in[0] != p.in[0] {
		return false
	}
	switch o.kind {
	case opEmbed, opGather:
		return true
	case opNorm:
		return o.norm == p.norm
	case opLinear:
		return o.linear == p.linear && o.epilogue == p.epilogue
	case opMultiply:
		return o.in[1] == p.in[1] && o.act == p.act
	case opAngles:
		return o.rotary == p.rotary
	case opAppend:
		return o.in == p.in && o.attention == p.attention && o.cache == p.cache
	case opAttend:
		return o.attention == p.attention && o.cache == p.cache
	case opConvolve:
		return o.in[1] == p.in[1] && o.conv == p.conv
	case opScan:
		return o.in == p.in && o.ssm == p.ssm
	case opGatedNorm:
		return o.in[1] == p.in[1] && o.gated == p.gated
	case opRoute:
		return o.routes == p.routes && o.router == p.router
	case opExperts:
		return o.routes == p.routes && o.experts == p.experts && o.set == p.set
	case opMamba:
		return o.in == p.in && o.mamba == p.mamba && o.state == p.state
	case opMoE:
		return o.in[1] == p.in[1] && o.routes == p.routes && o.moe == p.moe
	}
	return *o == *p
}

// run calls the operation.
func (o *operation) run(b *Backend) {
	switch o.kind {
	case opEmbed:
		b.Embed(o.out, o.in[0])
	case opNorm:
		b.Norm(o.out, o.in[0], o.norm)
	case opLinear:
		b.Linear(o.out, o.in[0], o.linear, o.epilogue)
	case opMultiply:
		b.Multiply(o.out, o.in[0], o.in[1], o.act)
	case opAngles:
		b.Angles(o.rotary)
	case opAppend:
		b.Append(o.in[0], o.in[1], o.in[2], o.attention, o.cache)
	case opAttend:
		b.Attend(o.out, o.in[0], o.attention, o.cache)
	case opGather:
		b.Gather(o.out, o.in[0])
	case opConvolve:
		b.Convolve(o.out, o.in[0], o.conv, o.in[1])
	case opScan:
		b.Scan(o.out, o.in[0], o.in[1], o.ssm, o.in[2])
	case opGatedNorm:
		b.GatedNorm(o.out, o.in[0], o.in[1], o.gated)
	case opRoute:
		b.Route(o.routes, o.in[0], o.router)
	case opExperts:
		b.Experts(o.out, o.in[0], o.routes, o.experts, o.set)
	case opMamba:
		b.Mamba(o.out, o.in[0], o.mamba, o.state, o.in[1], o.in[2])
	case opMoE:
		b.MoE(o.out, o.in[0], o.moe, o.routes, o.in[1])
	}
}

// later begins every operation: it notes the operation where a step is noted,
// and reports whether the operation is put off, or done.
func (b *Backend) later(o *operation) bool {
	g := &b.graphs
	switch g.mode {
	case plain:
		return b.fuse(o)
	case noting:
		g.current.notes = append(g.current.notes, *o)
		return b.fuse(o)
	}
	if notes := g.current.notes; g.next < len(notes) && notes[g.next].same(o) {
		g.next++
		return true
	}
	b.deviate()
	return b.fuse(o)
}

// errDeviated is why a size has no graph although one could be recorded.
var errDeviated = errors.New("a step's operations are not those of an earlier step of its size")

// deviate goes on as usual with a step that is not as noted.
func (b *Backend) deviate() {
	b.graphs.refuse(errDeviated)
	b.catchUp()
}

// catchUp launches what was put off, one by one.
func (b *Backend) catchUp() {
	g := &b.graphs
	g.mode = plain
	for i := range g.current.notes[:g.next] {
		g.current.notes[i].run(b)
	}
}

// Launch puts all operations of the step into the stream.
func (b *Backend) Launch() { b.settle() }

// settle puts into the stream what was put off. It ends neither the step nor
// its noting.
func (b *Backend) settle() {
	g := &b.graphs
	if g.mode != replaying {
		b.release()
		return
	}
	if g.next < len(g.current.notes) {
		b.catchUp()
		b.release()
		return
	}
	g.mode, b.step.loaded = plain, false
	err := g.current.exec.Launch(b.stream)
	switch {
	case err == nil:
	case b.dev.Fault() != nil:
		b.fail(err)
	default:
		g.refuse(err)
		b.catchUp()
		b.release()
	}
}

// choose sets the mode of the step that Begin opens.
func (b *Backend) choose() error {
	g, st := &b.graphs, &b.step
	g.mode, g.current, g.next = plain, nil, 0
	if b.opt.Eager || st.r == 0 || st.batch.Hidden > 0 || !b.singles() && !(b.verifies() && st.s == 1) {
		return nil
	}
	if g.moved != st.moved {
		if err := g.clear(); err != nil {
			return err
		}
		g.moved = st.moved
	}
	e, err := g.entry(stepSize{st.n, st.s, st.r, b.far()})
	if err != nil {
		return err
	}
	g.clock++
	first := e.used == 0
	e.used, g.current = g.clock, e
	switch {
	case e.exec != nil && !e.refused:
		g.mode = replaying
	case !first && !e.refused:
		g.mode, e.notes = noting, e.notes[:0]
	}
	return nil
}

// entry finds or makes the entry of a size. Beyond the most there may be, the
// one that was not used for longest goes.
func (g *graphs) entry(s stepSize) (*recorded, error) {
	oldest := 0
	for i, e := range g.entries {
		if e.stepSize == s {
			return e, nil
		}
		if e.used < g.entries[oldest].used {
			oldest = i
		}
	}
	e := &recorded{stepSize: s}
	if len(g.entries) < mostGraphs {
		g.entries = append(g.entries, e)
		return e, nil
	}
	err := g.entries[oldest].close()
	g.entries[oldest] = e
	return e, err
}

// record makes a graph of a step that was noted to its end. Errors are kept for
// tests to see: steps of this size go on as usual.
func (b *Backend) record() {
	g := &b.graphs
	if g.mode != noting {
		return
	}
	g.mode = plain
	if b.err != nil || g.moved != b.step.moved || len(g.current.notes) == 0 {
		return
	}
	if err := b.capture(g.current); err != nil {
		g.refuse(fmt.Errorf("kernels: record a step of %d tokens: %w", g.current.tokens, err))
	}
}

func (b *Backend) capture(e *recorded) error {
	graph, err := b.stream.Capture(func() error {
		for i := range e.notes {
			e.notes[i].run(b)
		}
		b.release()
		return b.err
	})
	b.err = nil // the step itself has none
	if err != nil {
		return err
	}
	exec, err := graph.Instantiate()
	err = errors.Join(err, graph.Close())
	if err != nil {
		if exec != nil {
			err = errors.Join(err, exec.Close())
		}
		return err
	}
	e.exec = exec
	return exec.Prepare(b.stream)
}

// refuse leaves the steps of the current size without a graph.
func (g *graphs) refuse(err error) {
	g.current.refused = true
	if g.err == nil {
		g.err = err
	}
}

// clear drops all entries.
func (g *graphs) clear() error {
	var errs []error
	for _, e := range g.entries {
		errs = append(errs, e.close())
	}
	clear(g.entries)
	g.entries = g.entries[:0]
	return errors.Join(errs...)
}

func (e *recorded) close() error {
	if e.exec == nil {
		return nil
	}
	exec := e.exec
	e.exec = nil
	return exec.Close()
}
