package kernels

import (
	"fmt"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// experts holds the kernels of Experts. Those that the device cannot run, or
// that A has no instance of, are nil.
type experts struct {
	sort     *cuda.Function
	tiles    [len(expertShapes)]*cuda.Function
	dot      map[ops.DType]*cuda.Function // by the type of the weights
	sum, any *cuda.Function
	up, down *cuda.Function
	forced   expertsWay // taken where set: tests compare all ways
}

// expertShape is a Tile in experts.cu.
type expertShape struct {
	places, rows  int
	warps, stages int
	average       int // places of an expert up to which the shape is taken
}

var expertShapes = [...]expertShape{
	{places: 32, rows: 64, warps: 4, stages: 8, average: 24},
	{places: 64, rows: 128, warps: 4, stages: 4, average: 48},
	{places: 128, rows: 128, warps: 4, stages: 3},
}

func (s *expertShape) shared() int { return (s.rows + s.places) * tileDepth * 2 * s.stages }

// Sizes of experts.cu.
const (
	sortThreads = 1024
	sortWarps   = 32
	dotPlaces   = 8
	dotWarps    = 8
	sumThreads  = 128
	oneWarps    = 8
	oneSlots    = 8 // of a warp's ring, at most

	// expertRing is the bytes of a block's rings that suffice. With longer ones
	// a mixture is slower: what the first blocks to start request holds up the
	// last ones of the kernel ahead.
	expertRing = 128 << 10
)

func (k *experts) open(b *Backend) error {
	var err error
	if k.sort, err = b.kernel("experts", "experts_sort"); err != nil {
		return err
	}
	if k.sum, k.any, err = b.both("experts", "experts_sum"); err != nil {
		return err
	}
	if err := k.openDots(b); err != nil {
		return err
	}
	if b.opt.Act == ops.F32 || !tensorCores(b.linear.chip.capability) {
		return nil
	}
	if err := k.openTiles(b); err != nil || !b.linear.chip.bulk() {
		return err
	}
	if k.up, err = b.typed("experts", "experts_up"); err != nil {
		return err
	}
	if k.down, err = b.typed("experts", "experts_down"); err != nil {
		return err
	}
	most := b.linear.chip.shared
	if err := streams(k.up, most); err != nil {
		return err
	}
	return streams(k.down, most)
}

func (k *experts) openDots(b *Backend) error {
	k.dot = map[ops.DType]*cuda.Function{}
	for _, w := range weightTypes(b.opt.Act) {
		if w.Size() > b.opt.Act.Size() {
			continue // experts are stored in the activation type, or in a narrower one
		}
		f, err := b.kernel("experts", "experts_dot_"+suffix(w)+"_"+suffix(b.opt.Act))
		if err != nil {
			return err
		}
		k.dot[w] = f
	}
	return nil
}

func (k *experts) openTiles(b *Backend) error {
	for i := range expertShapes {
		s := &expertShapes[i]
		if s.shared() > b.linear.chip.shared {
			continue
		}
		f, err := b.kernel("experts", fmt.Sprintf("experts_tile_%s_%d", suffix(b.opt.Act), s.places))
		if err != nil {
			return err
		}
		if err := f.SetMaxShared(s.shared()); err != nil {
			return err
		}
		k.tiles[i] = f
	}
	return nil
}

func (k *experts) close() error { return nil }

// mixture is the work of Experts in one step.
type mixture struct {
	n, topK, experts int
	in, width, out   int       // columns
	w, act           ops.DType // types of weights and activations
	activation       ops.Activation
	aligned          bool // x and the weights begin at multiples of 16 bytes, rows of x too
	wide             bool // out is F32
}

func (m mixture) choices() int { return m.n * m.topK }

// expertsWay is a way to compute a mixture.
type expertsWay uint8

const (
	anyWay  expertsWay = iota
	byRings            // experts_up and experts_down: one token, Hopper and later
	byTiles            // experts_tile: tensor cores
	byDots             // experts_dot: anything
)

func (w expertsWay) String() string { return [...]string{"any", "rings", "tiles", "dots"}[w] }

// way chooses the way.
func (c chip) way(m mixture) expertsWay {
	regular := m.aligned && m.in%8 == 0 && m.width%8 == 0 && m.out%8 == 0
	switch {
	case m.act == ops.F32 || m.w != m.act || !regular || !tensorCores(c.capability) || m.activation == ops.GELU:
		return byDots
	case m.n == 1 && c.bulk() && m.topK <= mostChoices && c.upPlan(m).slots >= 2 && c.downPlan(m).slots >= 2:
		return byRings
	case m.n == 1:
		return byDots
	default:
		return byTiles
	}
}

// shape chooses the tiles: the smallest that most experts' places fit in.
func (c chip) shape(m mixture) int {
	average := m.choices() / min(m.choices(), m.experts)
	for i := range expertShapes {
		if next := i + 1; next == len(expertShapes) || average <= expertShapes[i].average || expertShapes[next].shared() > c.shared {
			return i
		}
	}
	return 0
}

// onePlan is the launch of a kernel for one token.
type onePlan struct{ grid, slots, shared int }

func (c chip) upPlan(m mixture) onePlan {
	return c.onePlan(min(c.processors, m.topK*m.width), m.in, 2*m.in)
}

func (c chip) downPlan(m mixture) onePlan {
	grid := min(c.processors, m.out)
	return c.onePlan(grid, m.width, 2*m.topK*m.width+4*m.topK*ceil(m.out, grid))
}

// onePlan sizes the warps' rings. besides is what the block needs behind them.
func (c chip) onePlan(grid, cols, besides int) onePlan {
	slot := slotBytes(2 * cols)
	slots := min(oneSlots, max(expertRing/slot, 2), (c.shared-besides)/slot)
	return onePlan{grid: grid, slots: slots, shared: slots*slot + besides}
}

// Experts adds Σ weight·down(act(up x)) over each row's choices to out, or
// stores it. The matrices of Up lie one behind the other, and those of Down.
func (b *Backend) Experts(out, x ops.Tensor, routes ops.Routes, e *ops.Experts, set bool) {
	if b.later(&operation{kind: opExperts, out: out, in: [3]ops.Tensor{x}, routes: routes, experts: e, set: set}) {
		return
	}
	if x.Rows == 0 {
		return
	}
	m, err := b.mixtureOf(out, x, routes, e)
	if err != nil {
		b.fail(err)
		return
	}
	way := b.experts.forced
	if way == anyWay {
		way = b.linear.chip.way(m)
	}
	l := layoutScratch(m.n, m.topK, m.experts, m.width, m.out, m.act.Size())
	if way == byRings {
		b.expertUp(m, l, x, routes, e)
		b.expertDown(m, l, out, routes, e, set)
		return
	}
	b.expertPlaces(m, l, way, x, routes, e)
	b.sumExperts(m, l, out, routes, set)
}

// mixtureOf describes the work, or says what cannot be done with it.
func (b *Backend) mixtureOf(out, x ops.Tensor, routes ops.Routes, e *ops.Experts) (mixture, error) {
	up, down := e.Up[0].Weight[0], e.Down[0].Weight[0]
	m := mixture{
		n: x.Rows, topK: routes.IDs.Cols, experts: len(e.Up), in: x.Cols, width: e.Width, out: out.Cols,
		w: up.Type, act: b.opt.Act, activation: e.Act, aligned: rowsAligned(x) && address(up)%16 == 0 && address(down)%16 == 0, wide: out.Type == ops.F32,
	}
	switch {
	case x.Type != m.act || b.experts.dot[m.w] == nil || down.Type != m.w || (!m.wide && out.Type != m.act):
		return m, fmt.Errorf("kernels: experts: got x %s, weights %s and %s, out %s on a backend of %s", x, up, down, out, m.act)
	case m.experts > mostExperts:
		return m, fmt.Errorf("kernels: experts: got %d, want at most %d", m.experts, mostExperts)
	case !stacked(e.Up) || !stacked(e.Down):
		return m, fmt.Errorf("kernels: the matrices of %d experts do not lie one behind the other", m.experts)
	case routes.IDs.Stride != m.topK || routes.Weights.Stride != m.topK:
		return m, fmt.Errorf("kernels: experts: got rows of %d and %d choices, want %d", routes.IDs.Stride, routes.Weights.Stride, m.topK)
	}
	return m, layoutScratch(m.n, m.topK, m.experts, m.width, m.out, m.act.Size()).fits(routes.Scratch)
}

// stacked reports whether the layers' matrices lie one behind the other.
func stacked(layers []ops.Linear) bool {
	for i := range layers {
		if len(layers[i].Weight) != 1 || i > 0 && !follows(layers[i-1].Weight[0], layers[i].Weight[0]) {
			return false
		}
	}
	return true
}

// oneArgs is OneArgs in experts.cu.
type oneArgs struct {
	w, x, out, ids, weights cuda.DevicePtr
	rows, cols, topK, slots int32
	act, add, wide, _       int32
}

// expertUp computes the hidden rows of one token's choices.
func (b *Backend) expertUp(m mixture, l scratchLayout, x ops.Tensor, routes ops.Routes, e *ops.Experts) {
	p := b.linear.chip.upPlan(m)
	b.launchOne(b.experts.up, p, oneArgs{
		w: address(e.Up[0].Weight[0]), x: address(x), out: address(routes.Scratch) + l.hidden, ids: address(routes.IDs),
		rows: int32(m.width), cols: int32(m.in), topK: int32(m.topK), slots: int32(p.slots), act: int32(e.Act),
	})
}

// expertDown multiplies them and adds them up. It must follow expertUp or moeUp,
// which have the choice in place when they let it begin.
func (b *Backend) expertDown(m mixture, l scratchLayout, out ops.Tensor, routes ops.Routes, e *ops.Experts, set bool) {
	p := b.linear.chip.downPlan(m)
	b.launchOne(b.experts.down, p, oneArgs{
		w: address(e.Down[0].Weight[0]), x: address(routes.Scratch) + l.hidden, out: address(out),
		ids: address(routes.IDs), weights: address(routes.Weights),
		rows: int32(m.out), cols: int32(m.width), topK: int32(m.topK), slots: int32(p.slots), add: asFlag(!set), wide: asFlag(m.wide),
	})
}

func (b *Backend) launchOne(f *cuda.Function, p onePlan, a oneArgs) {
	b.launch(f, cuda.Dim{X: p.grid}, cuda.Dim{X: 32 * oneWarps}, p.shared, cuda.Struct(b.parameters(), a))
}

// expertArgs is ExpertArgs in experts.cu.
type expertArgs struct {
	w, x, out, order, tiles, count    cuda.DevicePtr
	rows, cols, xStride, topK, act, _ int32
}

// expertPlaces sorts the choices and computes both products for all of them.
func (b *Backend) expertPlaces(m mixture, l scratchLayout, way expertsWay, x ops.Tensor, routes ops.Routes, e *ops.Experts) {
	launch, places := b.placesOf(m, way)
	b.sortChoices(m, l, routes, places)
	launch(m, upArgs(m, l, x, routes, e))
	launch(m, downArgs(m, l, routes, e))
}

// placesOf returns how a way launches a product, and the most places of its
// tiles.
func (b *Backend) placesOf(m mixture, way expertsWay) (launch func(mixture, expertArgs), places int) {
	if way == byTiles {
		return b.tileProducts, expertShapes[b.linear.chip.shape(m)].places
	}
	return b.dotProducts, dotPlaces
}

// upArgs is the product of the rows of x that choices were made for.
func upArgs(m mixture, l scratchLayout, x ops.Tensor, routes ops.Routes, e *ops.Experts) expertArgs {
	at := address(routes.Scratch)
	return expertArgs{
		w: address(e.Up[0].Weight[0]), x: address(x), out: at + l.hidden, order: at + l.order, tiles: at + l.tiles, count: at + l.count,
		rows: int32(m.width), cols: int32(m.in), xStride: int32(x.Stride), topK: int32(m.topK), act: int32(e.Act),
	}
}

// downArgs is the product of the hidden rows.
func downArgs(m mixture, l scratchLayout, routes ops.Routes, e *ops.Experts) expertArgs {
	at := address(routes.Scratch)
	return expertArgs{
		w: address(e.Down[0].Weight[0]), x: at + l.hidden, out: at + l.terms, order: at + l.order, tiles: at + l.tiles, count: at + l.count,
		rows: int32(m.out), cols: int32(m.width), xStride: int32(m.width), act: int32(ops.Identity),
	}
}

// sortArgs is SortArgs in experts.cu.
type sortArgs struct {
	ids, order, tiles, count      cuda.DevicePtr
	choices, experts, tile, warps int32
}

// sortChoices brings the choices into the order of their experts and cuts them
// into tiles of so many places.
func (b *Backend) sortChoices(m mixture, l scratchLayout, routes ops.Routes, places int) {
	const room = 40 << 10 // of shared memory, for counters
	warps := min(sortWarps, ceil(m.choices(), 32), room/(4*m.experts))
	at := address(routes.Scratch)
	a := sortArgs{
		ids: address(routes.IDs), order: at + l.order, tiles: at + l.tiles, count: at + l.count,
		choices: int32(m.choices()), experts: int32(m.experts), tile: int32(places), warps: int32(warps),
	}
	b.launch(b.experts.sort, cuda.Dim{X: 1}, cuda.Dim{X: sortThreads}, 4*warps*m.experts, cuda.Struct(b.parameters(), a))
}

// tileProducts computes one product of all tiles in tensor cores. The blocks
// are no more than there can be work for.
func (b *Backend) tileProducts(m mixture, a expertArgs) {
	c := b.linear.chip
	i := c.shape(m)
	s := &expertShapes[i]
	resident := c.processors * max(1, c.shared/s.shared())
	tiles := min(m.choices(), m.experts) + m.choices()/s.places
	grid := min(resident, tiles*ceil(int(a.rows), s.rows))
	b.launch(b.experts.tiles[i], cuda.Dim{X: grid}, cuda.Dim{X: 32 * s.warps}, s.shared(), cuda.Struct(b.parameters(), a))
}

// dotProducts computes one product of all tiles, of any type.
func (b *Backend) dotProducts(m mixture, a expertArgs) {
	const blocks = 8 // a multiprocessor
	items := mostTiles(m.choices(), m.experts) * int(a.rows)
	grid := min(blocks*b.linear.chip.processors, ceil(items, dotWarps))
	b.launch(b.experts.dot[m.w], cuda.Dim{X: grid}, cuda.Dim{X: 32 * dotWarps}, 0, cuda.Struct(b.parameters(), a))
}

// sumArgs is SumArgs in experts.cu.
type sumArgs struct {
	terms, weights, out      cuda.DevicePtr
	n, cols, topK, outStride int32
	add, wide                int32
}

// sumExperts adds up the terms of each row.
func (b *Backend) sumExperts(m mixture, l scratchLayout, out ops.Tensor, routes ops.Routes, set bool) {
	a := sumArgs{
		terms: address(routes.Scratch) + l.terms, weights: address(routes.Weights), out: address(out),
		n: int32(m.n), cols: int32(m.out), topK: int32(m.topK), outStride: int32(out.Stride), add: asFlag(!set), wide: asFlag(m.wide),
	}
	f, unit := b.experts.any, 1
	if v := 16 / m.act.Size(); m.out%v == 0 && divides(v, out) {
		f, unit = b.experts.sum, v
	}
	b.launch(f, overRows(m.n, m.out, sumThreads*unit), cuda.Dim{X: sumThreads}, 0, cuda.Struct(b.parameters(), a))
}
