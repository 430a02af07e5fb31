package kernels

import (
	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// gemvArgs is Gemv in gemv.cu.
type gemvArgs struct {
	w, x, bias, out            cuda.DevicePtr
	normWeight, normBias, norm cuda.DevicePtr
	rows, cols                 int32
	act, add, wide             int32
	center                     int32
	eps                        float32
	segment, slots             int32
	share, rest                int32
	_                          int32
}

// Sizes of gemv.cu.
const (
	gemvWarps    = 8
	gemvThreads  = 32 * gemvWarps
	gemvColumns  = 12 * 256            // of a segment, at most
	gemvNorm     = 8 * 4 * gemvThreads // columns of a norm, at most
	gemvSlots    = 8                   // of a warp, at most
	gemvLeast    = 2                   // slots below which the ring is no ring
	gemvReserved = 1 << 10             // bytes of shared memory that are not the launch's to ask for
)

// gemv is the launch of gemv.cu for a matrix.
type gemv struct{ segment, slots, shared int }

// gemvPlan sizes the ring of a matrix with so many columns; there is none where
// columns cannot be cut into equal segments or do not fit.
func (c chip) gemvPlan(cols int) (g gemv, ok bool) {
	if !c.bulk() || cols%8 != 0 {
		return g, false
	}
	segments := ceil(cols, gemvColumns)
	for segments <= cols/8 && cols%(8*segments) != 0 {
		segments++
	}
	g.segment = cols / segments
	pitch := ceil(g.segment, 512) * 1024
	if g.segment < 512 && segments > 1 { // mostly gaps
		return g, false
	}
	const barrier = 8
	room := min(ringBytes, c.shared-gemvReserved-segments*pitch)
	g.slots = min(room/(gemvWarps*(pitch+barrier)), gemvSlots)
	g.shared = gemvWarps*g.slots*(pitch+barrier) + segments*pitch
	return g, g.slots >= gemvLeast
}

func (c chip) hasGemv(cols int) bool {
	_, ok := c.gemvPlan(cols)
	return ok
}

// gemv computes the product of one token, and before it the norm of x where
// there is one: args.x is the norm's input then.
func (b *Backend) gemv(p product, args gemmArgs, norm *operation) {
	plan, _ := b.linear.chip.gemvPlan(p.cols)
	a := gemvArgs{
		w: args.w, x: args.x, bias: args.bias, out: args.out, rows: args.rows, cols: args.cols,
		act: args.act, add: args.add, wide: args.wide, segment: int32(plan.segment), slots: int32(plan.slots),
	}
	if norm != nil {
		n := norm.norm
		a.x, a.norm, a.normWeight, a.normBias, a.eps = address(norm.in[0]), address(norm.out), address(n.Weight), address(n.Bias), n.Eps
		if n.Center {
			a.center = 1
		}
	}
	grid := min(b.linear.chip.processors, ceil(p.rows, gemvWarps))
	a.share, a.rest = int32(p.rows/(grid*gemvWarps)), int32(p.rows%(grid*gemvWarps))
	b.launch(b.linear.gemv, cuda.Dim{X: grid}, cuda.Dim{X: gemvThreads}, plan.shared, cuda.Struct(b.parameters(), a))
}

// canNorm reports whether gemv.cu can compute a norm on the way to a product.
func (b *Backend) canNorm(out, x ops.Tensor, n *ops.Norm) bool {
	return b.linear.gemv != nil && x.Rows == 1 && x.Type == ops.F32 && out.Type == b.opt.Act &&
		n.Weight.Cols == x.Cols && x.Cols%8 == 0 && x.Cols <= gemvNorm &&
		(address(x)|address(out)|address(n.Weight)|address(n.Bias))%16 == 0
}
