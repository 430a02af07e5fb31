package kernels

import (
	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// elements holds the kernels of Multiply and Gather.
type elements struct {
	multiply, any     *cuda.Function
	gather16, gather2 *cuda.Function
}

func (k *elements) open(b *Backend) (err error) {
	if k.multiply, k.any, err = b.both("elementwise", "multiply"); err != nil {
		return err
	}
	if k.gather16, err = b.kernel("elementwise", "gather_16"); err != nil {
		return err
	}
	k.gather2, err = b.kernel("elementwise", "gather_2")
	return err
}

func (k *elements) close() error { return nil }

// multiplyParameters is Multiply in elementwise.cu.
type multiplyParameters struct {
	rows, cols, outStride, gateStride, upStride, act int32
}

// Multiply writes act(gate) ⊙ up to out, all [n, cols] of the activation type.
// out may be gate or up.
func (b *Backend) Multiply(out, gate, up ops.Tensor, act ops.Activation) {
	if b.later(&operation{kind: opMultiply, out: out, in: [3]ops.Tensor{gate, up}, act: act}) {
		return
	}
	if !b.expect("multiply", b.opt.Act, out) || !b.expect("multiply", b.opt.Act, gate) || !b.expect("multiply", b.opt.Act, up) {
		return
	}
	if out.Rows == 0 {
		return
	}
	p := multiplyParameters{
		rows: int32(out.Rows), cols: int32(out.Cols),
		outStride: int32(out.Stride), gateStride: int32(gate.Stride), upStride: int32(up.Stride), act: int32(act),
	}
	f, unit := b.elements.any, 1
	if v := 16 / out.Type.Size(); divides(v, out) && divides(v, gate) && divides(v, up) {
		f, unit = b.elements.multiply, v
	}
	args := cuda.Struct(b.parameters().Ptr(address(out)).Ptr(address(gate)).Ptr(address(up)), p)
	b.launch(f, overRows(out.Rows, out.Cols, 128*unit), cuda.Dim{X: 128}, 0, args)
}

// Gather copies rows Outputs[i] of x [n, cols] to out[i], of any one type.
func (b *Backend) Gather(out, x ops.Tensor) {
	if b.later(&operation{kind: opGather, out: out, in: [3]ops.Tensor{x}}) {
		return
	}
	if !b.expect("gather", x.Type, out) || b.step.r == 0 {
		return
	}
	size := x.Type.Size()
	f, bytes := b.elements.gather2, 2
	if v := 16 / size; divides(v, out) && divides(v, x) {
		f, bytes = b.elements.gather16, 16
	}
	in := func(n int) int { return n * size / bytes }
	args := b.stepParameters().Ptr(address(out)).Ptr(address(x)).Int(b.step.r).Int(in(out.Cols)).Int(in(out.Stride)).Int(in(x.Stride))
	b.launch(f, overRows(b.step.r, in(out.Cols), 128), cuda.Dim{X: 128}, 0, args)
}
