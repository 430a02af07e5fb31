package kernels

import (
	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// gatedNorm holds the kernels of gated.cu.
type gatedNorm struct{ fast, any *cuda.Function }

// Sizes of gated.cu.
const (
	gatedThreads = 1024 // of a block, at most
	gatedWarps   = 8    // of a block of gated_any
)

func (k *gatedNorm) open(b *Backend) (err error) {
	k.fast, k.any, err = b.both("gated", "gated")
	return err
}

func (k *gatedNorm) close() error { return nil }

// gatedArgs is Gated in gated.cu.
type gatedArgs struct {
	y, z, out, weight           cuda.DevicePtr
	width, groups, rows         int32
	yStride, zStride, outStride int32
	eps                         float32
	_                           int32
}

// GatedNorm writes RMSNorm(y ⊙ SiLU(z)) by groups of columns to out, all [n,
// width] of the activation type.
func (b *Backend) GatedNorm(out, y, z ops.Tensor, g *ops.GatedNorm) {
	if b.later(&operation{kind: opGatedNorm, out: out, in: [3]ops.Tensor{y, z}, gated: g}) {
		return
	}
	for _, t := range [...]ops.Tensor{out, y, z} {
		if !b.expect("gated norm", b.opt.Act, t) {
			return
		}
	}
	if y.Rows == 0 {
		return
	}
	width := y.Cols / g.Groups
	args := gatedArgs{
		y: address(y), z: address(z), out: address(out), weight: address(g.Weight),
		width: int32(width), groups: int32(g.Groups), rows: int32(y.Rows),
		yStride: int32(y.Stride), zStride: int32(z.Stride), outStride: int32(out.Stride), eps: g.Eps,
	}
	p := cuda.Struct(b.parameters(), args)
	v := 16 / y.Type.Size()
	fits := width%v == 0 && width/v <= gatedThreads && address(g.Weight)%16 == 0
	if fits && divides(v, y) && divides(v, z) && divides(v, out) {
		threads := (width/v + 31) / 32 * 32
		b.launch(b.gatedNorm.fast, cuda.Dim{X: y.Rows * g.Groups}, cuda.Dim{X: threads}, 0, p)
		return
	}
	blocks := (y.Rows*g.Groups + gatedWarps - 1) / gatedWarps
	b.launch(b.gatedNorm.any, cuda.Dim{X: blocks}, cuda.Dim{X: 32 * gatedWarps}, 0, p)
}
