package kernels

import (
	"fmt"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// routing holds the kernels of Route.
type routing struct {
	score    map[ops.DType]*cuda.Function // by the type of the router's weights
	choose   *cuda.Function
	done     cuda.DevicePtr // counters of blocks, a tile of tokens each
	counters int
}

// Sizes of route.cu.
const (
	routeTokens  = 16
	routeExperts = 8
	routeWarps   = 8
	mostChoices  = 32 // of a row
	mostGroups   = 32
	mostExperts  = 512
)

// fewRouted is the most tokens that one launch scores and chooses for, unless
// there is no other way. More are scored by a linear layer's product.
const fewRouted = 256

func (k *routing) open(b *Backend) error {
	k.score = map[ops.DType]*cuda.Function{}
	for _, w := range weightTypes(b.opt.Act) {
		f, err := b.kernel("route", "route_"+suffix(w)+"_"+suffix(b.opt.Act))
		if err != nil {
			return err
		}
		k.score[w] = f
	}
	var err error
	k.choose, err = b.kernel("route", "route_choose")
	return err
}

func (k *routing) close() error { return nil }

// weightTypes are the types that weights may have beside activations of a type.
func weightTypes(act ops.DType) []ops.DType {
	if act == ops.F32 {
		return []ops.DType{ops.F32, ops.BF16, ops.F16}
	}
	return []ops.DType{act, ops.F32}
}

// routeShared returns the shared memory of a block that chooses.
func routeShared(experts int) int { return routeWarps * 4 * experts }

// routeArgs is RouteArgs in route.cu.
type routeArgs struct {
	w, x, scores, done, ids, weights cuda.DevicePtr
	choice                           choiceArgs
	n, experts, cols, xStride        int32
}

// choiceArgs is Choice in choice.cuh.
type choiceArgs struct {
	bias                                        cuda.DevicePtr
	experts, topK, groups, topGroups, normalize int32
	scale                                       float32
}

func choiceOf(r *ops.Router) choiceArgs {
	return choiceArgs{
		bias: address(r.Bias), experts: int32(r.Weight.Out), topK: int32(r.TopK),
		groups: int32(r.Groups), topGroups: int32(r.TopGroups), normalize: asFlag(r.Normalize), scale: r.ScalingFactor,
	}
}

// Route chooses experts for the rows of x [n, width]: for few rows in one
// launch, for many by a product and a launch.
func (b *Backend) Route(out ops.Routes, x ops.Tensor, r *ops.Router) {
	if b.later(&operation{kind: opRoute, routes: out, in: [3]ops.Tensor{x}, router: r}) {
		return
	}
	if x.Rows == 0 {
		return
	}
	w := r.Weight.Weight[0]
	kernel := b.routing.score[w.Type]
	if err := b.checkRoute(out, x, r, kernel); err != nil {
		b.fail(err)
		return
	}
	l := layoutScratch(x.Rows, r.TopK, r.Weight.Out, 0, 0, x.Type.Size())
	args := routeArgs{
		w: address(w), x: address(x), scores: address(out.Scratch) + l.scores, done: b.routing.done,
		ids: address(out.IDs), weights: address(out.Weights), choice: choiceOf(r),
		n: int32(x.Rows), experts: int32(r.Weight.Out), cols: int32(x.Cols), xStride: int32(x.Stride),
	}
	shared := routeShared(r.Weight.Out)
	grid := cuda.Dim{X: ceil(r.Weight.Out, routeExperts), Y: ceil(x.Rows, routeTokens)}
	if x.Rows > fewRouted && w.Type == b.opt.Act {
		scores := tensor(args.scores, ops.F32, x.Rows, r.Weight.Out)
		b.product(scores, x, w, ops.Tensor{}, ops.Epilogue{})
		kernel, grid = b.routing.choose, cuda.Dim{X: ceil(x.Rows, routeWarps)}
	}
	b.launch(kernel, grid, cuda.Dim{X: 32 * routeWarps}, shared, cuda.Struct(b.parameters(), args))
}

// checkRoute refuses what the kernels do not hold.
func (b *Backend) checkRoute(out ops.Routes, x ops.Tensor, r *ops.Router, kernel *cuda.Function) error {
	experts := r.Weight.Out
	switch {
	case x.Type != b.opt.Act || kernel == nil || len(r.Weight.Weight) != 1:
		return fmt.Errorf("kernels: route: got x %s and %d weights, the first %s, on a backend of %s", x, len(r.Weight.Weight), r.Weight.Weight[0], b.opt.Act)
	case experts > mostExperts || r.TopK > mostChoices || r.Groups > mostGroups:
		return fmt.Errorf("kernels: route: got %d of %d experts in %d groups, want at most %d of %d in %d", r.TopK, experts, r.Groups, mostChoices, mostExperts, mostGroups)
	case out.IDs.Stride != r.TopK || out.Weights.Stride != r.TopK:
		return fmt.Errorf("kernels: route: got rows of %d and %d choices, want %d", out.IDs.Stride, out.Weights.Stride, r.TopK)
	case ceil(x.Rows, routeTokens) > b.routing.counters:
		return fmt.Errorf("kernels: route: %d rows, want at most %d", x.Rows, b.routing.counters*routeTokens)
	}
	return layoutScratch(x.Rows, r.TopK, experts, 0, 0, x.Type.Size()).fits(out.Scratch)
}

// Routes reserves the routing of a mixture's rows, and scratch memory for its
// experts.
func (b *Backend) Routes(m ops.Mixture) (ops.Routes, error) {
	var r ops.Routes
	if err := b.need(mixtures); err != nil {
		return r, err
	}
	if m.Experts > mostExperts || m.TopK > mostChoices {
		return r, fmt.Errorf("kernels: %d of %d experts for a row, want at most %d of %d", m.TopK, m.Experts, mostChoices, mostExperts)
	}
	var err error
	if r.IDs, err = b.place(ops.I32, m.Rows, m.TopK); err != nil {
		return r, err
	}
	if r.Weights, err = b.place(ops.F32, m.Rows, m.TopK); err != nil {
		return r, err
	}
	size := layoutScratch(m.Rows, m.TopK, m.Experts, m.Width, m.Out, b.opt.Act.Size()).size
	if r.Scratch, err = b.place(ops.F32, 1, int(size/4)); err != nil {
		return r, err
	}
	return r, b.reserveCounters(ceil(m.Rows, routeTokens))
}

// reserveCounters makes room for the counters of so many tiles of tokens.
// Kernels leave them 0.
func (b *Backend) reserveCounters(n int) error {
	k := &b.routing
	if n <= k.counters {
		return nil
	}
	p, err := b.arena.take(int64(4 * n))
	if err != nil {
		return fmt.Errorf("kernels: counters of the router: %w", err)
	}
	k.done, k.counters = p, n
	return b.stream.Fill(p, 0, 4*n)
}

// scratchLayout says where things lie in Routes.Scratch, in bytes, while so many
// rows are routed.
type scratchLayout struct {
	scores cuda.DevicePtr // [rows, experts] F32
	count  cuda.DevicePtr // number of tiles
	order  cuda.DevicePtr // [choices] I32
	tiles  cuda.DevicePtr // of 16 bytes
	hidden cuda.DevicePtr // [choices, width]
	terms  cuda.DevicePtr // [choices, out]
	size   int64
}

func layoutScratch(rows, topK, experts, width, out, activation int) scratchLayout {
	var l scratchLayout
	choices := rows * topK
	next := func(bytes int) cuda.DevicePtr {
		at := l.size
		l.size = roundUp(at+int64(bytes), alignment)
		return cuda.DevicePtr(at)
	}
	l.scores = next(4 * rows * experts)
	l.count = next(4)
	l.order = next(4 * choices)
	l.tiles = next(16 * mostTiles(choices, experts))
	l.hidden = next(choices * width * activation)
	l.terms = next(choices * out * activation)
	return l
}

// mostTiles returns how many tiles choices can make, of the smallest size.
func mostTiles(choices, experts int) int { return min(choices, experts) + choices/dotPlaces }

// fits refuses scratch memory that is too small.
func (l scratchLayout) fits(t ops.Tensor) error {
	if got := int64(t.Cols) * 4; got < l.size {
		return fmt.Errorf("kernels: routing with scratch memory of %d bytes, want %d", got, l.size)
	}
	return nil
}

func asFlag(v bool) int32 {
	if v {
		return 1
	}
	return 0
}
