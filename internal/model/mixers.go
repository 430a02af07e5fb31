package model

import "github.com/godwit-llm/godwit/internal/ops"

// A mixer adds its output for the normalised residual stream h [n, hidden] to
// the stream x [n, hidden].
type mixer interface {
	forward(s *step, x, h ops.Tensor)
	// allocate reserves what the mixer keeps between steps and says how wide
	// the scratch rows must be that it asks of a step.
	allocate(a *allocator)
}

// attention is grouped-query attention with an optional rotary encoding.
type attention struct {
	ops.Attention
	qkv          *ops.Linear // [Heads+2·KVHeads, HeadDim] rows
	qNorm, kNorm *ops.Norm   // of single heads; nil in most models
	out          *ops.Linear
	scales       [2]float32 // of keys and values in an FP8 cache; 0 where the checkpoint has none
	cache        ops.Cache
}

func (m *attention) widths() (q, kv int) { return m.Heads * m.HeadDim, m.KVHeads * m.HeadDim }

func (m *attention) allocate(a *allocator) {
	nq, nkv := m.widths()
	a.scratch(nq+2*nkv, nq)
	m.cache = a.cache(m)
}

func (m *attention) cacheShape(l Limits) ops.CacheShape {
	return ops.CacheShape{
		Pages: l.Pages, PageSize: l.PageSize, KVHeads: m.KVHeads, HeadDim: m.HeadDim,
		Format: l.Cache, KScale: m.scales[0], VScale: m.scales[1],
	}
}

func (m *attention) forward(s *step, x, h ops.Tensor) {
	nq, nkv := m.widths()
	qkv := s.scratch(0, nq+2*nkv)
	s.Linear(qkv, h, m.qkv, ops.Epilogue{})
	q, k, v := qkv.Columns(0, nq), qkv.Columns(nq, nq+nkv), qkv.Columns(nq+nkv, nq+2*nkv)
	if m.qNorm != nil {
		s.Norm(q, q, m.qNorm)
		s.Norm(k, k, m.kNorm)
	}
	s.Append(q, k, v, &m.Attention, m.cache)
	y := s.scratch(1, nq)
	s.Attend(y, q, &m.Attention, m.cache)
	s.Linear(x, y, m.out, ops.Epilogue{Add: true})
}

// mlp is down(act(up x)), or down(act(gate x) ⊙ up x) where up holds the gate's
// rows before its own.
type mlp struct {
	up, down *ops.Linear
	act      ops.Activation
	gated    bool
}

func (m *mlp) allocate(a *allocator) { a.scratch(m.up.Out) }

func (m *mlp) forward(s *step, x, h ops.Tensor) {
	u := s.scratch(0, m.up.Out)
	if !m.gated {
		s.Linear(u, h, m.up, ops.Epilogue{Act: m.act})
	} else {
		s.Linear(u, h, m.up, ops.Epilogue{})
		gate, up := u.Columns(0, m.down.In), u.Columns(m.down.In, m.up.Out)
		s.Multiply(gate, gate, up, m.act)
		u = gate
	}
	s.Linear(x, u, m.down, ops.Epilogue{Add: true})
}

// replaced is the single linear layer that an architecture search has put in
// the place of an attention or an MLP.
type replaced struct{ *ops.Linear }

func (m replaced) allocate(*allocator) {}

func (m replaced) forward(s *step, x, h ops.Tensor) {
	s.Linear(x, h, m.Linear, ops.Epilogue{Add: true})
}

// mamba is a Mamba-2 mixer. in's rows are z, x, B, C and dt.
type mamba struct {
	ops.Mamba
	in, out *ops.Linear
	state   ops.MambaState
}

func (m *mamba) allocate(a *allocator) {
	a.scratch(m.in.Out, m.Convolved(), m.Inner())
	m.state.Window = a.state(ops.F32, (m.Conv.Kernel-1)*m.Convolved())
	m.state.SSM = a.state(a.limits.StateType, m.Inner()*m.State)
}

func (m *mamba) forward(s *step, x, h ops.Tensor) {
	p, mixed, y := s.scratch(0, m.in.Out), s.scratch(1, m.Convolved()), s.scratch(2, m.Inner())
	s.Linear(p, h, m.in, ops.Epilogue{})
	out := s.scratch(1, m.Inner())
	s.Mamba(out, p, &m.Mamba, m.state, mixed, y)
	s.Linear(x, out, m.out, ops.Epilogue{Add: true})
}

// experts is a mixture of experts: the chosen ones, in a narrower latent space
// where the model has one, and the shared one that every token passes.
type experts struct {
	ops.MoE
	toLatent   *ops.Linear // nil: experts read h itself
	fromLatent *ops.Linear
}

func (m *experts) allocate(a *allocator) {
	if m.toLatent != nil {
		a.scratch(m.toLatent.Out, m.toLatent.Out)
	}
	a.scratch(m.sharedWidth())
	a.mixture(ops.Mixture{TopK: m.Router.TopK, Experts: m.Router.Weight.Out, Width: m.Experts.Width, Out: m.Experts.Down[0].Out})
}

// sharedWidth returns the width of the shared expert, 0 if there is none.
func (m *experts) sharedWidth() int {
	if m.Shared == nil {
		return 0
	}
	return m.Shared.Up.Out
}

func (m *experts) forward(s *step, x, h ops.Tensor) {
	routes := s.routes(m.Router.TopK)
	if m.toLatent == nil {
		s.MoE(x, h, &m.MoE, routes, s.scratch(0, m.sharedWidth()))
		return
	}
	s.Route(routes, h, m.Router)
	u, y := s.scratch(0, m.toLatent.Out), s.scratch(1, m.toLatent.Out)
	s.Linear(u, h, m.toLatent, ops.Epilogue{})
	s.Experts(y, u, routes, m.Experts, true)
	s.Linear(x, y, m.fromLatent, ops.Epilogue{Add: true})
	if m.Shared != nil {
		u := s.scratch(0, m.sharedWidth())
		s.Linear(u, h, m.Shared.Up, ops.Epilogue{Act: m.Experts.Act})
		s.Linear(x, u, m.Shared.Down, ops.Epilogue{Add: true})
	}
}
