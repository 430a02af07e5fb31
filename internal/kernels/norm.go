package kernels

import (
	"fmt"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// norm holds the kernels of Norm, by whether input and output are of the
// activation type (1) or float32 (0).
type norm struct{ fast, any [2][2]*cuda.Function }

// Sizes of norm.cu.
const (
	normColumns = 8    // of a thread at a time
	normThreads = 1024 // of a block, at most
	normChunks  = 3    // of columns a thread, at most
	normWarps   = 8    // of a block of norm_any
)

func (k *norm) open(b *Backend) (err error) {
	types := [2]ops.DType{ops.F32, b.opt.Act}
	for i, in := range types {
		for o, out := range types {
			pair := suffix(in) + "_" + suffix(out)
			if k.fast[i][o], err = b.kernel("norm", "norm_"+pair); err != nil {
				return err
			}
			if k.any[i][o], err = b.kernel("norm", "norm_any_"+pair); err != nil {
				return err
			}
		}
	}
	return nil
}

func (k *norm) close() error { return nil }

// normParameters is Norm in norm.cu.
type normParameters struct {
	weight, bias                            cuda.DevicePtr
	width, groups, rows, xStride, outStride int32
	center                                  int32
	eps                                     float32
	_                                       int32
}

// Norm normalises the groups of x [n, groups·width] of norm's width.
func (b *Backend) Norm(out, x ops.Tensor, n *ops.Norm) {
	if b.later(&operation{kind: opNorm, out: out, in: [3]ops.Tensor{x}, norm: n}) {
		return
	}
	b.launchNorm(out, x, n)
}

func (b *Backend) launchNorm(out, x ops.Tensor, n *ops.Norm) {
	in, to, ok := b.normTypes(x, out)
	if !ok || x.Rows == 0 {
		return
	}
	width := n.Weight.Cols
	groups := x.Cols / width
	p := normParameters{
		weight: address(n.Weight), bias: address(n.Bias), width: int32(width), groups: int32(groups),
		rows: int32(x.Rows), xStride: int32(x.Stride), outStride: int32(out.Stride), eps: n.Eps,
	}
	if n.Center {
		p.center = 1
	}
	args := cuda.Struct(b.parameters().Ptr(address(x)).Ptr(address(out)), p)
	chunks := width / normColumns
	fits := width%normColumns == 0 && chunks <= normThreads*normChunks && address(n.Weight)%16 == 0 && address(n.Bias)%16 == 0
	if fits && divides(normColumns, x) && divides(normColumns, out) {
		threads := min(normThreads, (chunks+31)/32*32)
		b.launch(b.norm.fast[in][to], cuda.Dim{X: x.Rows * groups}, cuda.Dim{X: threads}, 0, args)
		return
	}
	blocks := (x.Rows*groups + normWarps - 1) / normWarps
	b.launch(b.norm.any[in][to], cuda.Dim{X: blocks}, cuda.Dim{X: 32 * normWarps}, 0, args)
}

// normTypes returns the kernel's place in the tables.
func (b *Backend) normTypes(x, out ops.Tensor) (in, to int, ok bool) {
	of := func(t ops.Tensor) int {
		if t.Type == ops.F32 {
			return 0
		}
		ok = ok && t.Type == b.opt.Act
		return 1
	}
	ok = true
	in, to = of(x), of(out)
	if !ok {
		b.fail(fmt.Errorf("kernels: norm: got %s to %s, want types %s or F32", x, out, b.opt.Act))
	}
	return in, to, ok
}
