package model

import "github.com/godwit-llm/godwit/internal/ops"

// decoder is a decoder-only language model: every family of this package is
// one, with mixers of its own. A layer of a dense model is two sublayers, its
// attention and its MLP.
type decoder struct {
	embed     ops.Tensor  // [vocabulary, hidden]
	rotary    *ops.Rotary // shared by all attention layers; nil: none
	sublayers []sublayer
	norm      *ops.Norm
	head      *ops.Linear // [vocabulary, hidden]
}

// sublayer is x ← x + mixer(norm(x)).
type sublayer struct {
	norm  *ops.Norm
	mixer mixer
	layer int // of the checkpoint
}

// forward computes the logits of the batch's output rows.
func (d *decoder) forward(s *step) ops.Tensor {
	x, h := s.x.Top(s.n), s.h.Top(s.n)
	s.Embed(x, d.embed)
	s.see(-1, x)
	if d.rotary != nil {
		s.Angles(d.rotary)
	}
	for i := range d.sublayers {
		l := &d.sublayers[i]
		s.Norm(h, x, l.norm)
		l.mixer.forward(s, x, h)
		s.see(l.layer, x)
	}
	logits := s.logits.Top(s.outputs - s.hidden)
	if s.outputs == 0 {
		return logits // a piece of a prompt that is not its end
	}
	h = s.h.Top(s.outputs)
	if s.outputs < s.n || s.hidden > 0 {
		last := s.last.Top(s.outputs)
		s.Gather(last, x)
		x = last
	}
	s.Norm(h, x, d.norm)
	if logits.Rows > 0 {
		s.Linear(logits, h.Top(logits.Rows), d.head, ops.Epilogue{})
	}
	return logits
}

// step is one pass over one batch: a backend and the scratch memory that all
// layers share.
type step struct {
	ops.Backend
	*memory
	n, outputs int
	hidden     int // of the outputs
	observe    func(layer int, x ops.Tensor)
}

func (s *step) see(layer int, x ops.Tensor) {
	if s.observe != nil {
		s.observe(layer, x)
	}
}

// scratch returns the i-th scratch buffer as n rows of the given width. A
// mixer's buffers do not outlive its forward.
func (s *step) scratch(i, width int) ops.Tensor {
	t := s.buffers[i]
	t.Rows, t.Cols, t.Stride = s.n, width, width
	return t
}

func (s *step) routes(topK int) ops.Routes {
	r := s.routing.Top(s.n)
	r.IDs.Cols, r.IDs.Stride = topK, topK
	r.Weights.Cols, r.Weights.Stride = topK, topK
	return r
}

// Limits are the sizes that memory is allocated for, and the type of states.
type Limits struct {
	Tokens    int // of one step
	Outputs   int // rows of one step whose logits are wanted
	Sequences int // with a recurrent state
	Pages     int // of the cache, in each attention layer
	PageSize  int // positions in a page

	Snapshots     int // rows of recurrent state behind those of the sequences
	Spares        int // rows behind those, for states that may have to be put back
	HostSnapshots int // rows of recurrent state in host memory

	StateType ops.DType // of the states of Mamba-2's recurrences: F32 or F16
}

// memory is what a model needs besides its weights.
type memory struct {
	x       ops.Tensor // [tokens, hidden] residual stream, float32
	h       ops.Tensor // [tokens, hidden] its norm
	last    ops.Tensor // [outputs, hidden] rows of x whose results are wanted
	logits  ops.Tensor // [outputs, vocabulary]
	buffers []ops.Tensor
	routing ops.Routes
	kept
}

// kept is what lasts from one step to the next, of all layers: rows by page,
// and by slot or snapshot.
type kept struct {
	caches []ops.Cache
	states []ops.Tensor // [sequences+snapshots+spares, width]
	host   []ops.Tensor // [host snapshots, width], for each of states
}

// allocator hands out a model's memory and keeps the first fault.
type allocator struct {
	to     ops.Memory
	limits Limits
	widths []int // of the scratch buffers
	kept   kept
	most   ops.Mixture
	err    error
}

// scratch asks for buffers 0, 1, … with rows of at least these widths.
func (a *allocator) scratch(widths ...int) {
	for i, w := range widths {
		if i == len(a.widths) {
			a.widths = append(a.widths, 0)
		}
		a.widths[i] = max(a.widths[i], w)
	}
}

// mixture asks for the routing of a mixture of at least this size.
func (a *allocator) mixture(m ops.Mixture) {
	a.most = ops.Mixture{
		Rows: a.limits.Tokens, TopK: max(a.most.TopK, m.TopK), Experts: max(a.most.Experts, m.Experts),
		Width: max(a.most.Width, m.Width), Out: max(a.most.Out, m.Out),
	}
}

func (a *allocator) cache(kvHeads, headDim int) ops.Cache {
	c := get(a, func() (ops.Cache, error) {
		return a.to.Cache(a.limits.Pages, a.limits.PageSize, kvHeads, headDim)
	})
	a.kept.caches = append(a.kept.caches, c)
	return c
}

// state reserves a row of the given width for each sequence, snapshot and spare.
func (a *allocator) state(kind ops.DType, width int) ops.Tensor {
	l := a.limits
	t := get(a, func() (ops.Tensor, error) { return a.to.State(kind, l.Sequences+l.Snapshots+l.Spares, width) })
	a.kept.states = append(a.kept.states, t)
	if l.HostSnapshots > 0 {
		h := get(a, func() (ops.Tensor, error) { return a.to.HostState(kind, l.HostSnapshots, width) })
		a.kept.host = append(a.kept.host, h)
	}
	return t
}

func (a *allocator) activation(rows, cols int) ops.Tensor {
	return get(a, func() (ops.Tensor, error) { return a.to.Activation(rows, cols) })
}

func (a *allocator) float(rows, cols int) ops.Tensor {
	return get(a, func() (ops.Tensor, error) { return a.to.Float(rows, cols) })
}

// get calls from unless something failed before.
func get[T any](a *allocator, from func() (T, error)) T {
	var out T
	if a.err == nil {
		out, a.err = from()
	}
	return out
}

// allocate reserves all memory of the decoder.
func (d *decoder) allocate(to ops.Memory, limits Limits) (*memory, error) {
	a := &allocator{to: to, limits: limits}
	for i := range d.sublayers {
		d.sublayers[i].mixer.allocate(a)
	}
	hidden, vocab := d.head.In, d.head.Out
	m := &memory{
		x:      a.float(limits.Tokens, hidden),
		h:      a.activation(max(limits.Tokens, limits.Outputs), hidden),
		last:   a.float(max(limits.Tokens, limits.Outputs), hidden),
		logits: a.float(limits.Outputs, vocab),
	}
	for _, width := range a.widths {
		m.buffers = append(m.buffers, a.activation(limits.Tokens, width))
	}
	if a.most.TopK > 0 {
		m.routing = get(a, func() (ops.Routes, error) { return to.Routes(a.most) })
	}
	m.kept = a.kept
	return m, a.err
}
