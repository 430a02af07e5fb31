package kernels

import (
	"errors"
	"fmt"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// gemm holds the products for many tokens, which arithmetic limits.
type gemm struct {
	tiles   [len(tileShapes)]*cuda.Function // nil where the device or A has none
	slow    *cuda.Function
	finishA *cuda.Function // of A
	finishF *cuda.Function // of F32
	library library
}

// tileShape is a Tile in gemm.cu.
type tileShape struct {
	name         string
	tokens, rows int
	warps        int
	stages       int
	blocks       int // that a multiprocessor holds on the devices with the most shared memory
}

// The shapes, the one that reuses most of what it loads first.
var tileShapes = [...]tileShape{
	{"large", 128, 128, 8, 3, 2},
	{"medium", 128, 64, 8, 3, 2},
	{"small", 64, 64, 4, 4, 3},
}

const tileDepth = 64 // columns of a stage

func (s *tileShape) shared() int { return (s.tokens + s.rows) * tileDepth * 2 * s.stages }

// plainTile is the side of gemm_plain's tiles.
const plainTile = 64

// tile chooses a shape: the largest whose tiles keep the device busy, or the
// smallest.
func (c chip) tile(p product) int {
	for i := range tileShapes {
		s := &tileShapes[i]
		if s.shared() > c.shared {
			continue
		}
		if tiles := ceil(p.n, s.tokens) * ceil(p.rows, s.rows); 4*tiles >= 3*c.processors {
			return i
		}
	}
	return len(tileShapes) - 1
}

func (g *gemm) open(b *Backend) error {
	var err error
	if g.slow, err = b.typed("gemm", "gemm_plain"); err != nil {
		return err
	}
	if g.finishA, err = b.typed("gemm", "gemm_finish"); err != nil {
		return err
	}
	if g.finishF, err = b.kernel("gemm", "gemm_finish_f32"); err != nil {
		return err
	}
	c := &b.linear.chip
	if b.opt.Act != ops.F32 && tensorCores(c.capability) {
		for i := range tileShapes {
			if err := g.openTile(b, i); err != nil {
				return err
			}
		}
	}
	if err := g.library.open(b); err != nil {
		return err
	}
	c.library = g.library.blas != nil
	return nil
}

func (g *gemm) openTile(b *Backend, i int) error {
	s := &tileShapes[i]
	if s.shared() > b.linear.chip.shared {
		return nil
	}
	f, err := b.kernel("gemm", fmt.Sprintf("gemm_%s_%s", suffix(b.opt.Act), s.name))
	if err != nil {
		return err
	}
	g.tiles[i] = f
	return f.SetMaxShared(s.shared())
}

func (g *gemm) close() error { return g.library.close() }

// gemmArgs is GemmArgs in gemm.cu.
type gemmArgs struct {
	w, x, bias, out    cuda.DevicePtr
	n, rows, cols      int32
	xStride, outStride int32
	act, add, wide     int32
}

// many computes a product for many tokens.
func (b *Backend) many(p product, r route, args gemmArgs) {
	if r == viaLibrary {
		err := b.viaLibrary(p, args)
		if !errors.Is(err, cuda.ErrNotAvailable) {
			b.fail(err)
			return
		}
		c := b.linear.chip
		c.library = false
		r = c.manyRoute(p)
	}
	a := b.parameters()
	cuda.Struct(a, args)
	if r == viaSlow {
		grid := cuda.Dim{X: ceil(p.n, plainTile), Y: ceil(p.rows, plainTile)}
		b.launch(b.gemm.slow, grid, cuda.Dim{X: 256}, 0, a)
		return
	}
	i := b.linear.chip.tile(p)
	s := &tileShapes[i]
	grid := cuda.Dim{X: ceil(p.n, s.tokens), Y: ceil(p.rows, s.rows)}
	b.launch(b.gemm.tiles[i], grid, cuda.Dim{X: 32 * s.warps}, s.shared(), a)
}

// finish applies bias and activation to a product in place.
func (b *Backend) finish(args *gemmArgs) {
	kernel := b.gemm.finishA
	if args.wide != 0 {
		kernel = b.gemm.finishF
	}
	a := b.parameters().Ptr(args.out).Ptr(args.bias).Int32(args.rows).Int32(args.outStride).Int32(args.act)
	b.launch(kernel, cuda.Dim{X: int(args.n), Y: ceil(int(args.rows), 1024)}, cuda.Dim{X: 256}, 0, a)
}
