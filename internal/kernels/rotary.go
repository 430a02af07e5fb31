package kernels

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// rotary holds the kernels of Angles and Append and the angles of the step.
type rotary struct {
	angles      *cuda.Function
	append, any *cuda.Function
	frequencies map[*ops.Rotary]cuda.DevicePtr
	table       *cuda.Buffer // [n, half] cosine and sine
	half        int
}

func (k *rotary) open(b *Backend) (err error) {
	k.frequencies = map[*ops.Rotary]cuda.DevicePtr{}
	if k.angles, err = b.kernel("rotary", "rotary_angles"); err != nil {
		return err
	}
	k.append, k.any, err = b.both("rotary", "append")
	return err
}

func (k *rotary) close() error {
	if k.table == nil {
		return nil
	}
	err := k.table.Close()
	k.table = nil
	return err
}

// angleParameters is Angles in rotary.cu.
type angleParameters struct {
	frequency, angles cuda.DevicePtr
	n, half           int32
	scale             float32
	context           int32
	theta, factor     float64
}

// Angles computes the table [n, len(InvFreq)] of cosines and sines that the
// Append operations of this step use.
func (b *Backend) Angles(r *ops.Rotary) {
	if b.later(&operation{kind: opAngles, rotary: r}) {
		return
	}
	k := &b.rotary
	k.half = len(r.InvFreq)
	if b.err != nil || b.step.n == 0 || k.half == 0 {
		return
	}
	if err := b.prepareAngles(r); err != nil {
		b.fail(fmt.Errorf("kernels: rotary angles: %w", err))
		return
	}
	p := angleParameters{
		frequency: k.frequencies[r], angles: k.table.Ptr(), n: int32(b.step.n), half: int32(k.half), scale: r.Scale,
	}
	if d := r.Dynamic; d != nil {
		p.context, p.theta, p.factor = int32(d.Context), d.Theta, d.Factor
	}
	args := cuda.Struct(b.stepParameters(), p)
	b.launch(k.angles, overRows(b.step.n, k.half, 64), cuda.Dim{X: 64}, 0, args)
}

// prepareAngles places the frequencies and makes room for the angles, in the
// first steps of a size.
func (b *Backend) prepareAngles(r *ops.Rotary) error {
	k := &b.rotary
	if k.frequencies[r] == 0 {
		t, err := b.Vector(r.InvFreq)
		if err != nil {
			return err
		}
		k.frequencies[r] = address(t)
	}
	need := 8 * b.step.n * k.half
	if k.table != nil && k.table.Size() >= need {
		return nil
	}
	if k.table != nil {
		b.step.moved++
	}
	if err := b.stream.Synchronize(); err != nil {
		return err
	}
	if err := k.close(); err != nil {
		return err
	}
	var err error
	k.table, err = b.dev.Alloc(1 << bits.Len(uint(need-1)))
	return err
}

// appendParameters is Append in rotary.cu.
type appendParameters struct {
	q, k, v, keys, values, angles   cuda.DevicePtr
	n, qStride, kStride, vStride    int32
	heads, kvHeads, dim, half, page int32
	_                               int32
}

// Append rotates q [n, Heads·HeadDim] and k [n, KVHeads·HeadDim] in place and
// stores k and v in the cache.
func (b *Backend) Append(q, k, v ops.Tensor, a *ops.Attention, c ops.Cache) {
	if b.later(&operation{kind: opAppend, in: [3]ops.Tensor{q, k, v}, attention: a, cache: c}) {
		return
	}
	b.launchAppend(q, k, v, a, c)
}

func (b *Backend) launchAppend(q, k, v ops.Tensor, a *ops.Attention, c ops.Cache) {
	if !b.expect("append", b.opt.Act, q) || q.Rows == 0 || b.err != nil {
		return
	}
	if a.Rotary != nil && b.rotary.table == nil {
		b.fail(errors.New("kernels: append: the step has no angles"))
		return
	}
	if c.Format != ops.Plain {
		b.append8(q, k, v, a, c)
		return
	}
	p := appendParameters{
		q: address(q), k: address(k), v: address(v), keys: address(c.K), values: address(c.V),
		n: int32(q.Rows), qStride: int32(q.Stride), kStride: int32(k.Stride), vStride: int32(v.Stride),
		heads: int32(a.Heads), kvHeads: int32(a.KVHeads), dim: int32(a.HeadDim), page: int32(c.PageSize),
	}
	if a.Rotary != nil {
		p.half, p.angles = int32(b.rotary.half), b.rotary.table.Ptr()
	}
	f, unit := b.rotary.any, 1
	size := 16 / q.Type.Size()
	if int(p.half)%size == 0 && a.HeadDim%size == 0 && divides(size, q) && divides(size, k) && divides(size, v) {
		f, unit = b.rotary.append, size
	}
	half := int(p.half)
	work := a.Heads*half + a.KVHeads*(a.HeadDim-half) + a.KVHeads*a.HeadDim
	b.launch(f, overRows(q.Rows, work/unit, 128), cuda.Dim{X: 128}, 0, cuda.Struct(b.stepParameters(), p))
}
