package kernels

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// linear holds the products for few tokens, whose cost is reading the weights.
// A kernel that the device cannot run, or that A has no instance of, is nil.
type linear struct {
	chip    chip
	gemv    map[gemvShape]*cuda.Function
	ring    *cuda.Function
	tile    [2]*cuda.Function // for up to 8 and up to 16 tokens
	plain   *cuda.Function
	readAll *cuda.Function
	forced  route // taken where set: tests compare all ways
}

// chip is what the choice of a kernel depends on.
type chip struct {
	capability cuda.Capability
	processors int // multiprocessors
	shared     int // bytes of shared memory that a block can ask for
	library    bool
}

func (l *linear) open(b *Backend) error {
	info := b.dev.Info()
	l.chip = chip{capability: info.Capability, processors: info.Multiprocessors, shared: max(info.SharedOptIn, info.SharedBlock)}
	var err error
	if l.plain, err = b.typed("linear", "linear_plain"); err != nil {
		return err
	}
	if l.readAll, err = b.kernel("linear", "read_floor"); err != nil {
		return err
	}
	if b.opt.Act == ops.F32 {
		return nil
	}
	if tensorCores(l.chip.capability) {
		for i, tokens := range []int{8, 16} {
			if l.tile[i], err = b.kernel("linear", fmt.Sprintf("linear_tile_%s_%d", suffix(b.opt.Act), tokens)); err != nil {
				return err
			}
		}
	}
	if !l.chip.bulk() {
		return nil
	}
	if l.ring, err = b.typed("linear", "linear_ring"); err != nil {
		return err
	}
	return errors.Join(streams(l.ring, l.chip.shared), l.openGemv(b))
}

func (l *linear) close() error { return nil }

// product is a linear layer's work in one step, or in a part of its rows.
type product struct {
	n, rows, cols int
	t             ops.DType // of x and W
	aligned       bool      // 16-byte accesses to all rows of x and W are possible
	act           ops.Activation
	add, bias     bool
	wide          bool // out is F32
}

// route is a way to compute a product.
type route uint8

const (
	auto       route = iota
	viaGemv          // gemv: one token, Hopper and later
	viaRing          // linear_ring: few tokens, Hopper and later
	viaTile          // linear_tile: few tokens, tensor cores
	viaPlain         // linear_plain: few tokens, anything
	viaGemm          // gemm: many tokens, tensor cores
	viaSlow          // gemm_plain: many tokens, anything
	viaLibrary       // cuBLASLt: many tokens
)

func (r route) String() string {
	return [...]string{"auto", "gemv", "ring", "tile", "plain", "gemm", "slow", "library"}[r]
}

// fewTokens is the most that the kernels for few tokens take.
const fewTokens = 16

// route chooses the way.
func (c chip) route(p product) route {
	if p.n > fewTokens {
		return c.manyRoute(p)
	}
	switch {
	case p.t == ops.F32 || !p.aligned || !tensorCores(c.capability):
		return viaPlain
	case p.n == 1 && c.hasGemv(p.cols):
		return viaGemv
	case c.bulk() && p.cols%pieceCols == 0 && c.ringPlan(p).stages >= 2:
		return viaRing
	default:
		return viaTile
	}
}

func (c chip) manyRoute(p product) route {
	switch {
	case c.library && p.aligned && libraryCan(p):
		return viaLibrary
	case p.t == ops.F32 || !p.aligned || !tensorCores(c.capability):
		return viaSlow
	default:
		return viaGemm
	}
}

// bulk reports whether the device has bulk copies and there is code that uses
// them.
func (c chip) bulk() bool { return ownCode(c.capability, 90) }

// few is the launch of a kernel for few tokens.
type few struct {
	grid, shared                   int
	segment, pitch, stages, groups int
}

// Sizes of the kernels for few tokens, as in linear.cu.
const (
	pieceCols   = 32
	fewWarps    = 8
	fewThreads  = 32 * fewWarps
	stageRows   = 8
	mostPieces  = 12 * fewWarps // of a segment
	mostOutputs = 8             // tokens times groups of rows, by 8: what a block adds up at once
	mostStages  = 16
	ringBytes   = 200 << 10 // of the stages: what is left lets small kernels run beside
)

// fewPlan plans a launch. The route is one for few tokens.
func (c chip) fewPlan(p product, r route) few {
	switch r {
	case viaRing:
		return c.ringPlan(p)
	case viaTile:
		blocks := c.processors
		if p.n <= 8 {
			blocks *= 2
		}
		return c.partials(p, few{grid: min(blocks, ceil(p.rows, stageRows)), segment: segment(p.cols)})
	default:
		return few{grid: min(ceil(p.rows, fewWarps), 16*c.processors)}
	}
}

// partials adds the partial sums to a plan: how many groups of rows are added
// up at once, and the memory for them.
func (c chip) partials(p product, f few) few {
	own := ceil(p.rows, f.grid) // rows of a block
	f.groups = max(1, min(8*mostOutputs/p.n, mostOutputs, ceil(own, stageRows)))
	f.shared = fewWarps * f.groups * stageRows * p.n * 4
	return f
}

// ringPlan sizes the ring. Rows of a stage lie 64 bytes beyond a multiple of
// 128 apart, so that a warp's reads meet no bank twice.
func (c chip) ringPlan(p product) few {
	f := c.partials(p, few{grid: min(c.processors, p.rows), segment: segment(p.cols)})
	f.pitch = 2*f.segment + 64
	if f.segment%64 != 0 {
		f.pitch = 2 * f.segment
	}
	stage := stageRows * f.pitch
	const barriers = 16 // bytes a stage
	f.stages = min(ringBytes/stage, (c.shared-f.shared)/(stage+barriers), mostStages)
	f.shared += f.stages * (stage + barriers)
	return f
}

// segment cuts columns into the fewest equal segments that warps can keep.
func segment(cols int) int {
	pieces := ceil(cols, pieceCols)
	return ceil(pieces, ceil(pieces, mostPieces)) * pieceCols
}

func ceil(n, by int) int { return (n + by - 1) / by }

// linearArgs is LinearArgs in linear.cu.
type linearArgs struct {
	gemmArgs
	segment, pitch, stages, groups int32
}

// Linear multiplies x [n, In] with the weights' parts, which are one matrix
// where they lie back to back, and stores act(x·Wᵀ + bias) in out [n, Out], or
// adds it.
func (b *Backend) Linear(out, x ops.Tensor, w *ops.Linear, e ops.Epilogue) {
	if b.later(&operation{kind: opLinear, out: out, in: [3]ops.Tensor{x}, linear: w, epilogue: e}) {
		return
	}
	if x.Rows == 0 {
		return
	}
	at := 0
	for i := 0; i < len(w.Weight); {
		whole, n := matrix(w.Weight[i:])
		i += n
		bias := w.Bias
		if bias.Present() {
			bias = bias.Columns(at, at+whole.Rows)
		}
		b.product(out.Columns(at, at+whole.Rows), x, whole, bias, e)
		at += whole.Rows
	}
}

// matrix returns the first parts of a layer that are one matrix, because they
// lie back to back, and their number.
func matrix(parts []ops.Tensor) (whole ops.Tensor, n int) {
	if len(parts) == 0 {
		return whole, 0
	}
	whole = parts[0]
	for n = 1; n < len(parts) && follows(whole, parts[n]); n++ {
		whole.Rows += parts[n].Rows
	}
	return whole, n
}

// follows reports whether the rows of next lie right behind those of t.
func follows(t, next ops.Tensor) bool {
	end := address(t) + cuda.DevicePtr(t.Rows*t.Cols*t.Type.Size())
	return address(next) == end && next.Cols == t.Cols && next.Type == t.Type
}

// product computes one matrix's part of a layer.
func (b *Backend) product(out, x, w, bias ops.Tensor, e ops.Epilogue) {
	if w.Rows == 0 {
		return
	}
	if !b.typesFit(out, x, w) {
		b.fail(fmt.Errorf("kernels: linear: got x %s, weight %s and out %s on a backend of %s", x, w, out, b.opt.Act))
		return
	}
	p := productOf(out, x, w, bias, e)
	r := b.linear.forced
	if r == auto {
		r = b.linear.chip.route(p)
	}
	args := argsOf(out, x, w, bias, e)
	switch r {
	case viaGemv:
		b.gemv(p, args, nil)
	case viaRing, viaTile, viaPlain:
		b.few(p, r, args)
	default:
		b.many(p, r, args)
	}
}

func (b *Backend) typesFit(out, x, w ops.Tensor) bool {
	return x.Type == b.opt.Act && w.Type == b.opt.Act && (out.Type == ops.F32 || out.Type == b.opt.Act)
}

func productOf(out, x, w, bias ops.Tensor, e ops.Epilogue) product {
	return product{
		n: x.Rows, rows: w.Rows, cols: w.Cols, t: w.Type,
		aligned: rowsAligned(x) && rowsAligned(w),
		act:     e.Act, add: e.Add, bias: bias.Present(), wide: out.Type == ops.F32,
	}
}

// rowsAligned reports whether every row of t begins and ends at a multiple of
// 16 bytes.
func rowsAligned(t ops.Tensor) bool {
	size := t.Type.Size()
	return (int(address(t))|t.Stride*size|t.Cols*size)%16 == 0
}

func argsOf(out, x, w, bias ops.Tensor, e ops.Epilogue) gemmArgs {
	a := gemmArgs{
		w: address(w), x: address(x), bias: address(bias), out: address(out),
		n: int32(x.Rows), rows: int32(w.Rows), cols: int32(w.Cols),
		xStride: int32(x.Stride), outStride: int32(out.Stride), act: int32(e.Act),
	}
	if e.Add {
		a.add = 1
	}
	if out.Type == ops.F32 {
		a.wide = 1
	}
	return a
}

// few launches a kernel for few tokens.
func (b *Backend) few(p product, r route, args gemmArgs) {
	f := b.linear.chip.fewPlan(p, r)
	kernel, threads := b.linear.plain, fewThreads
	switch r {
	case viaRing:
		kernel, threads = b.linear.ring, fewThreads+32
	case viaTile:
		kernel = b.linear.tile[(p.n-1)/8]
	}
	a := b.parameters()
	cuda.Struct(a, linearArgs{args, int32(f.segment), int32(f.pitch), int32(f.stages), int32(f.groups)})
	b.launch(kernel, cuda.Dim{X: f.grid}, cuda.Dim{X: threads}, f.shared, a)
}

// readMemory reads n bytes of device memory, a multiple of 16, and drops them:
// the floor for everything that reads as much. scratch is 4 bytes.
func (b *Backend) readMemory(from cuda.DevicePtr, n int, scratch cuda.DevicePtr) {
	a := b.parameters().Ptr(from).Int64(int64(n / 16)).Ptr(scratch)
	b.launch(b.linear.readAll, cuda.Dim{X: 2 * b.linear.chip.processors}, cuda.Dim{X: 512}, 0, a)
}

// Bandwidth measures how fast a plain kernel reads so many bytes of device
// memory, in bytes/s: the median of a few runs. It takes that much memory for
// the time of the call.
func (b *Backend) Bandwidth(n int) (float64, error) {
	data, err := b.dev.Alloc(n + 16)
	if err != nil {
		return 0, err
	}
	err = b.stream.Fill(data.Ptr(), 0x3c, n+16)
	times := make([]time.Duration, 0, 7)
	for range cap(times) {
		var t time.Duration
		if err == nil {
			t, err = b.timed(func() { b.readMemory(data.Ptr(), n, data.Ptr()+cuda.DevicePtr(n)) })
		}
		times = append(times, t)
	}
	slices.Sort(times)
	return float64(n) / times[len(times)/2].Seconds(), errors.Join(err, data.Close())
}

// timed returns how long the device takes for what run puts into the stream.
func (b *Backend) timed(run func()) (time.Duration, error) {
	from, err := b.dev.NewEvent(true)
	if err != nil {
		return 0, err
	}
	to, err := b.dev.NewEvent(true)
	if err != nil {
		return 0, errors.Join(err, from.Close())
	}
	b.fail(from.Record(b.stream))
	run()
	b.fail(to.Record(b.stream))
	if err := b.wait(); err != nil {
		return 0, errors.Join(err, from.Close(), to.Close())
	}
	t, err := to.Elapsed(from)
	return t, errors.Join(err, from.Close(), to.Close())
}
