package kernels

import (
	"fmt"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// moe holds the kernels of moe_enter.cu and moe_up.cu, which begin with Hopper.
// With experts_down behind them they are a mixture of one token.
type moe struct {
	enter map[moeShape]*cuda.Function
	up    *cuda.Function
}

// moeShape names an instance of moe_enter.cu: the type of the router's weights,
// and the pieces of a row that a lane reads.
type moeShape struct {
	router ops.DType
	pieces int
}

// Sizes of moe_enter.cu and moe_up.cu.
const (
	moeScored  = 2 // experts that a block scores, at most
	moeThreads = gemvThreads + 32
)

func (k *moe) open(b *Backend) error {
	if b.opt.Act == ops.F32 || !b.linear.chip.bulk() {
		return nil
	}
	k.enter = map[moeShape]*cuda.Function{}
	for _, w := range weightTypes(b.opt.Act) {
		for _, s := range gemvShapes() {
			if s.many {
				continue
			}
			f, err := b.kernel("moe_enter", fmt.Sprintf("moe_enter_%s_%s_%d", suffix(w), suffix(b.opt.Act), s.pieces))
			if err != nil {
				return err
			}
			if err := streams(f, b.linear.chip.shared-gemvReserved); err != nil {
				return err
			}
			k.enter[moeShape{w, s.pieces}] = f
		}
	}
	var err error
	if k.up, err = b.typed("moe_up", "moe_up"); err != nil {
		return err
	}
	return streams(k.up, b.linear.chip.shared)
}

func (k *moe) close() error { return nil }

// moeEnterArgs is Enter in moe_enter.cu.
type moeEnterArgs struct {
	shared         gemvArgs
	router, scores cuda.DevicePtr
	experts, _     int32
}

// moeUpArgs is Up in moe_up.cu.
type moeUpArgs struct {
	up, sharedDown, h, sharedHidden cuda.DevicePtr
	hidden, out, scores             cuda.DevicePtr
	ids, weights                    cuda.DevicePtr
	choice                          choiceArgs
	cols, width, shared             int32
	slots, slot, act                int32
}

// MoE adds a mixture of experts' output for the rows of x to out: for one token
// in three launches, otherwise by the operations that it consists of.
func (b *Backend) MoE(out, x ops.Tensor, m *ops.MoE, routes ops.Routes, hidden ops.Tensor) {
	if _, ok := b.moePlan(out, x, m, hidden); !ok {
		m.Separately(b, out, x, routes, hidden)
		return
	}
	if b.later(&operation{kind: opMoE, out: out, in: [3]ops.Tensor{x, hidden}, moe: m, routes: routes}) {
		return
	}
	b.launchMoE(out, x, m, routes, hidden, nil)
}

// moePlan is the launches of a mixture of one token.
type moePlan struct {
	enter gemv
	up    onePlan // its slots hold rows of both matrices
	down  onePlan
}

// moePlan plans the launches, if there are kernels for the mixture.
func (b *Backend) moePlan(out, x ops.Tensor, m *ops.MoE, hidden ops.Tensor) (p moePlan, ok bool) {
	e, act := m.Experts, b.opt.Act
	if m.Router.Groups > mostGroups || len(e.Up) > mostExperts || m.Shared != nil && hidden.Type != act {
		return p, false // Route and Linear say what is wrong
	}
	if x.Rows != 1 || b.moe.up == nil || b.opt.Unfused || x.Type != act || out.Type != ops.F32 || x.Cols != out.Cols || e.Up[0].Weight[0].Type != act {
		return p, false
	}
	w, n := matrix(m.Router.Weight.Weight)
	if n != len(m.Router.Weight.Weight) || w.Type != act && w.Type != ops.F32 {
		return p, false
	}
	bits := address(x) | address(w) | address(e.Up[0].Weight[0]) | address(e.Down[0].Weight[0])
	shared := 0
	if s := m.Shared; s != nil {
		if len(s.Up.Weight) != 1 || len(s.Down.Weight) != 1 || s.Up.Bias.Present() || s.Down.Bias.Present() || s.Up.Weight[0].Type != act || s.Down.Weight[0].Type != act {
			return p, false
		}
		shared = s.Up.Out
		bits |= address(hidden) | address(s.Up.Weight[0]) | address(s.Down.Weight[0])
	}
	if bits%16 != 0 {
		return p, false
	}
	return b.linear.chip.moePlan(x.Cols, e.Width, shared, len(e.Up), m.Router.TopK)
}

// moePlan sizes the rings.
func (c chip) moePlan(cols, width, shared, experts, topK int) (p moePlan, ok bool) {
	if width%8 != 0 || shared%8 != 0 || cols > gemvColumns || experts > moeScored*c.processors || topK > mostChoices {
		return p, false
	}
	if p.enter, ok = c.gemvPlan(cols); !ok {
		return p, false
	}
	p.enter = p.enter.leave(shared, cols, c.processors)
	p.up = c.onePlan(c.processors, max(cols, shared), 2*(cols+shared)+8+4*(2*mostChoices+2*experts))
	p.down = c.downPlan(mixture{n: 1, topK: topK, experts: experts, in: cols, width: width, out: cols})
	return p, p.up.slots >= 2 && p.down.slots >= 2
}

// launchMoE computes a mixture for one token, and before it the norm of x where
// there is one.
func (b *Backend) launchMoE(out, x ops.Tensor, m *ops.MoE, routes ops.Routes, hidden ops.Tensor, norm *operation) {
	shape, err := b.mixtureOf(out, x, routes, m.Experts)
	if err != nil {
		b.fail(err)
		return
	}
	p, _ := b.moePlan(out, x, m, hidden)
	l := layoutScratch(1, shape.topK, shape.experts, shape.width, shape.out, shape.act.Size())
	b.moeEnter(p, l, x, m, routes, hidden, norm)
	b.moeUp(p, l, out, x, m, routes, hidden)
	b.expertDown(shape, l, out, routes, m.Experts, false)
}

// moeEnter computes the norm, the router's scores and the shared expert's first
// product.
func (b *Backend) moeEnter(p moePlan, l scratchLayout, x ops.Tensor, m *ops.MoE, routes ops.Routes, hidden ops.Tensor, norm *operation) {
	router := m.Router.Weight.Weight[0]
	a := moeEnterArgs{
		shared: gemvArgs{x: address(x), out: address(hidden), cols: int32(x.Cols), act: int32(m.Experts.Act), segment: int32(p.enter.segment), slots: int32(p.enter.slots)},
		router: address(router), scores: address(routes.Scratch) + l.scores, experts: int32(m.Router.Weight.Out),
	}
	if s := m.Shared; s != nil {
		a.shared.w, a.shared.rows = address(s.Up.Weight[0]), int32(s.Up.Out)
	}
	a.shared.normalise(norm)
	grid := b.linear.chip.processors
	a.shared.spread(grid)
	f := b.moe.enter[moeShape{router.Type, p.enter.shape(x.Cols, norm != nil).pieces}]
	b.launch(f, cuda.Dim{X: grid}, cuda.Dim{X: gemvThreads}, p.enter.shared, cuda.Struct(b.parameters(), a))
}

// moeUp chooses, computes the chosen experts' first products and adds the shared
// expert's output.
func (b *Backend) moeUp(p moePlan, l scratchLayout, out, x ops.Tensor, m *ops.MoE, routes ops.Routes, hidden ops.Tensor) {
	a := moeUpArgs{
		up: address(m.Experts.Up[0].Weight[0]), h: address(x), hidden: address(routes.Scratch) + l.hidden, out: address(out),
		scores: address(routes.Scratch) + l.scores, ids: address(routes.IDs), weights: address(routes.Weights), choice: choiceOf(m.Router),
		cols: int32(x.Cols), width: int32(m.Experts.Width), slots: int32(p.up.slots), slot: int32(2 * x.Cols), act: int32(m.Experts.Act),
	}
	if s := m.Shared; s != nil {
		a.sharedDown, a.sharedHidden, a.shared = address(s.Down.Weight[0]), address(hidden), int32(s.Up.Out)
		a.slot = max(a.slot, 2*a.shared)
	}
	b.launch(b.moe.up, cuda.Dim{X: p.up.grid}, cuda.Dim{X: moeThreads}, p.up.shared, cuda.Struct(b.parameters(), a))
}
