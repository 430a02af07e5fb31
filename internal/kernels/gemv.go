package kernels

import (
	"errors"
	"fmt"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// gemvArgs is Gemv in gemv.cuh.
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

// Sizes of gemv.cuh.
const (
	gemvWarps    = 8
	gemvThreads  = 32 * gemvWarps
	gemvPitch    = 2 * 256             // columns that a warp reads as two pieces a lane: slots are multiples of it
	gemvColumns  = 6 * gemvPitch       // of a segment, at most
	gemvNorm     = 8 * 4 * gemvThreads // columns of a norm, at most
	gemvSlots    = 8                   // of a warp, at most
	gemvLeast    = 2                   // slots below which the ring is no ring
	gemvReserved = 1 << 10             // bytes of shared memory that are not the launch's to ask for
)

// gemv is the launch of gemv.cu for a matrix.
type gemv struct{ segment, slots, shared int }

// gemvShape names an instance of gemv.cu: how many pieces of 16 bytes a lane
// reads of a segment, whether a row has several segments, which are wider than
// gemvPitch then, and of those, whether there is a norm.
type gemvShape struct {
	pieces     int
	many, norm bool
}

// pitch returns the bytes from one slot to the next.
func (g gemv) pitch() int { return ceil(g.segment, gemvPitch) * 2 * gemvPitch }

func (g gemv) shape(cols int, norm bool) gemvShape {
	many := cols > g.segment
	return gemvShape{2 * ceil(g.segment, gemvPitch), many, many && norm}
}

func gemvShapes() (list []gemvShape) {
	for pieces := 2; pieces <= 2*gemvColumns/gemvPitch; pieces += 2 {
		list = append(list, gemvShape{pieces: pieces})
		if pieces > 2 {
			list = append(list, gemvShape{pieces, true, false}, gemvShape{pieces, true, true})
		}
	}
	return list
}

// name returns that of the instance for activations of a type.
func (s gemvShape) name(act ops.DType) string {
	name := fmt.Sprintf("gemv_%s_%d", suffix(act), s.pieces)
	if s.many {
		name += "_many"
	}
	if s.norm {
		name += "_norm"
	}
	return name
}

// openGemv finds the instances of gemv.cu.
func (l *linear) openGemv(b *Backend) error {
	l.gemv = map[gemvShape]*cuda.Function{}
	for _, s := range gemvShapes() {
		f, err := b.kernel("gemv", s.name(b.opt.Act))
		if err != nil {
			return err
		}
		if err := streams(f, l.chip.shared-gemvReserved); err != nil {
			return err
		}
		l.gemv[s] = f
	}
	return nil
}

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
	pitch := g.pitch()
	if g.segment <= gemvPitch && segments > 1 { // mostly gaps
		return g, false
	}
	room := min(ringBytes, c.shared-gemvReserved-segments*pitch)
	g.slots = min(room/slotBytes(pitch), gemvSlots)
	g.shared = g.slots*slotBytes(pitch) + segments*pitch
	return g, g.slots >= gemvLeast
}

// slotBytes returns what a slot of each warp takes, with its barriers.
func slotBytes(pitch int) int { return gemvWarps * (pitch + 8) }

// leave shortens the ring to three fifths of what a warp of so many blocks
// reads. The first copies of a small matrix would otherwise hold up the loads of
// the kernel ahead, for whose end this one has to wait: a layer of 3072 columns
// gains a microsecond.
func (g gemv) leave(rows, cols, blocks int) gemv {
	units := ceil(rows, blocks*gemvWarps) * (cols / g.segment)
	if most := max(ceil(3*units, 5), gemvLeast); g.slots > most {
		g.shared -= (g.slots - most) * slotBytes(g.pitch())
		g.slots = most
	}
	return g
}

func (c chip) hasGemv(cols int) bool {
	_, ok := c.gemvPlan(cols)
	return ok
}

// gemv computes the product of one token, and before it the norm of x where
// there is one: args.x is the norm's input then.
func (b *Backend) gemv(p product, args gemmArgs, norm *operation) {
	plan, _ := b.linear.chip.gemvPlan(p.cols)
	grid := min(b.linear.chip.processors, ceil(p.rows, gemvWarps))
	plan = plan.leave(p.rows, p.cols, grid)
	a := gemvArgs{
		w: args.w, x: args.x, bias: args.bias, out: args.out, rows: args.rows, cols: args.cols,
		act: args.act, add: args.add, wide: args.wide, segment: int32(plan.segment), slots: int32(plan.slots),
	}
	a.normalise(norm)
	a.spread(grid)
	b.launch(b.linear.gemv[plan.shape(p.cols, norm != nil)], cuda.Dim{X: grid}, cuda.Dim{X: gemvThreads}, plan.shared, cuda.Struct(b.parameters(), a))
}

// streams lets a kernel that streams weights through shared memory ask for so
// many bytes of it. All of them have the first-level cache split the same way:
// a multiprocessor changes the split only when nothing runs on it, and the next
// kernel's blocks are to start while the last ones of this run.
func streams(f *cuda.Function, bytes int) error {
	return errors.Join(f.SetMaxShared(bytes), f.SetCarveout(100))
}

// normalise makes a norm, nil for none, part of the product.
func (a *gemvArgs) normalise(norm *operation) {
	if norm == nil {
		return
	}
	n := norm.norm
	a.x, a.norm, a.normWeight, a.normBias = address(norm.in[0]), address(norm.out), address(n.Weight), address(n.Bias)
	a.center, a.eps = asFlag(n.Center), n.Eps
}

// spread gives the warps of so many blocks their rows.
func (a *gemvArgs) spread(blocks int) {
	warps := int32(blocks * gemvWarps)
	a.share, a.rest = a.rows/warps, a.rows%warps
}

// canNorm reports whether gemv.cu can compute a norm on the way to a product.
func (b *Backend) canNorm(out, x ops.Tensor, n *ops.Norm) bool {
	return b.linear.gemv != nil && x.Rows == 1 && x.Type == ops.F32 && out.Type == b.opt.Act &&
		n.Weight.Cols == x.Cols && x.Cols%8 == 0 && x.Cols <= gemvNorm &&
		(address(x)|address(out)|address(n.Weight)|address(n.Bias))%16 == 0
}
