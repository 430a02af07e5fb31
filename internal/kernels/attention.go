package kernels

import (
	"errors"
	"fmt"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// attention holds the kernels of attention.cu.
type attention struct {
	plain      *cuda.Function
	decode     map[decodeShape]*cuda.Function // none for F32, nor before compute capability 8.0
	rows       map[decodeShape]*cuda.Function // of the same shapes
	processors int
	clusters   bool           // blocks can form clusters
	scratch    cuda.DevicePtr // what splits leave for each other; reserved when first needed
	finished   cuda.DevicePtr // a counter a pair of key head and sequence
}

// decodeShape names an instance of attend_decode and of attend_rows: heads of up
// to dim columns, so many query heads a block.
type decodeShape struct{ dim, heads int }

var decodeShapes = []decodeShape{{64, 16}, {128, 16}, {192, 8}, {256, 8}}

// Constants of attention.cu.
const (
	plainThreads  = 128
	plainDim      = 256 // columns of a head, at most
	decodeThreads = 128
	decodeWarps   = 4
	tilePositions = 16
	maxSplits     = 64
	maxCluster    = 8

	wideSpan    = 32  // of wide.cuh: positions of a tile
	wideDim     = 128 // columns of a head, at most
	widePlaces  = 3   // of a warp's ring
	wide8Places = 5   // of wide8.cuh
)

// tensorCores reports whether kernels can use them as they do: from Ampere on.
func tensorCores(c cuda.Capability) bool { return ownCode(c, 80) }

// slotFloats is the most that one block of attend_decode leaves: the largest
// score, the sum of weights and the sum of values of each of its heads.
const slotFloats = max(8*(256+2), 16*(128+2))

// slotsPer is the number of blocks that share sequences a multiprocessor, at
// most. It bounds the scratch memory: 8.8 MB on a device of 132.
const slotsPer = 8

func (k *attention) open(b *Backend) error {
	info := b.dev.Info()
	k.processors = info.Multiprocessors
	k.clusters = ownCode(info.Capability, clusters)
	var err error
	if k.plain, err = b.typed("attention", "attend_plain"); err != nil {
		return err
	}
	if b.opt.Act == ops.F32 || !tensorCores(info.Capability) {
		return nil
	}
	if k.decode, err = b.decodeKernels("attention", "attend_decode", 2); err != nil {
		return err
	}
	k.rows, err = b.decodeKernels("attention", "attend_rows", 2)
	return err
}

// wideShared returns the bytes of the rings of a block of wide.cuh, or, for caches of
// one byte a number, of wide8.cuh. Those of wide.cuh have two places a warp where
// three, and what the block has besides, are more than most.
func wideShared(dim, size, most int) int {
	place := decodeWarps * wideSpan * size * dim
	if size == 1 {
		return wide8Places * place
	}
	besides := 2 * (16*(dim+8) + 2*dim)
	if widePlaces*place+besides > most {
		return 2 * place
	}
	return widePlaces * place
}

// decodeKernels finds the instances of a kernel for caches of so many bytes a number
// by their shapes.
func (b *Backend) decodeKernels(source, name string, size int) (map[decodeShape]*cuda.Function, error) {
	kernels := map[decodeShape]*cuda.Function{}
	for _, s := range decodeShapes {
		f, err := b.kernel(source, fmt.Sprintf("%s_%s_%d_%d", name, suffix(b.opt.Act), s.dim, s.heads))
		if err != nil {
			return nil, err
		}
		if s.dim <= wideDim {
			if err := errors.Join(f.SetMaxShared(wideShared(s.dim, size, b.linear.chip.shared)), f.SetCarveout(100)); err != nil {
				return nil, err
			}
		}
		kernels[s] = f
	}
	return kernels, nil
}

func (k *attention) close() error { return nil }

// attendArgs is Attend in attend.cuh.
type attendArgs struct {
	q, k, v, out, scratch, finished cuda.DevicePtr
	qStride, outStride              int32
	heads, kvHeads, headDim         int32
	pageSize, window                int32
	splits, minTiles, cluster       int32
	scale                           float32

	newK, newV, angles     cuda.DevicePtr // attend_decode with append
	kStride, vStride, half int32
	_                      int32
}

// attending is one Attend: its parameters, and what caches in 8 bits need besides.
type attending struct {
	args    attendArgs
	bytes   attendBytes
	kernels *cacheKernels // nil: those for caches in the type of activations
}

func (b *Backend) attending(out, q ops.Tensor, a *ops.Attention, c ops.Cache) attending {
	return attending{
		args: attendArgs{
			q: address(q), k: address(c.K), v: address(c.V), out: address(out),
			qStride: int32(q.Stride), outStride: int32(out.Stride),
			heads: int32(a.Heads), kvHeads: int32(a.KVHeads), headDim: int32(a.HeadDim),
			pageSize: int32(c.PageSize), window: int32(a.Window), scale: a.Scale,
		},
		bytes:   attendBytes{scales: address(c.Scales), kScale: c.KScale, vScale: c.VScale},
		kernels: b.cacheKernels(c.Format),
	}
}

// parameters returns those of a launch.
func (t *attending) parameters(b *Backend) *cuda.Args {
	list := b.parameters()
	if t.kernels == nil {
		list = cuda.Struct(list, t.args)
	} else {
		list = cuda.Struct(list, attend8Args{t.args, t.bytes})
	}
	return cuda.Struct(list, b.step.metadata)
}

// Attend leaves sequences of one token to attend_decode and pieces of prompts
// to attend_prompt; a batch may hold both. A step that verifies drafts goes
// to attend_rows, which reads a sequence's keys once for each of its tokens
// but is split along the sequence. Types, sizes and addresses that the
// tensor cores cannot take go to attend_plain.
func (b *Backend) Attend(out, q ops.Tensor, a *ops.Attention, c ops.Cache) {
	if b.later(&operation{kind: opAttend, out: out, in: [3]ops.Tensor{q}, attention: a, cache: c}) {
		return
	}
	if q.Rows == 0 {
		return
	}
	t := b.attending(out, q, a, c)
	if b.attention.decode == nil || !regular(out, q, a) || t.kernels != nil && a.HeadDim%16 != 0 {
		b.attendPlain(&t, q.Rows, a)
		return
	}
	if b.verifies() {
		b.attendSplit(&t, true, b.step.n, a)
		return
	}
	single, tiles := true, 0
	if b.step.pieces > 1 { // a decode step may be put off beyond its batch
		single, tiles = workOf(b.step.batch.Start, promptShapeOf(a.HeadDim).queries)
	}
	if single {
		b.attendSplit(&t, false, b.step.s, a)
	}
	if tiles > 0 {
		b.attendPrompt(&t, tiles, a)
	}
}

// canAppend reports whether attend_decode can rotate and store what an append
// would: in steps of single tokens, with 16-byte accesses to everything, and in
// the type of activations.
func (b *Backend) canAppend(o *operation) bool {
	q, k, v, a := o.in[0], o.in[1], o.in[2], o.attention
	if o.cache.Format != ops.Plain || b.attention.decode == nil || b.step.pieces != 1 || q.Rows == 0 || !regular(k, q, a) || !regular(v, q, a) {
		return false
	}
	return a.Rotary == nil || b.rotary.table != nil && b.rotary.half%8 == 0
}

// appendAttend attends and appends in one launch.
func (b *Backend) appendAttend(held, o *operation) bool {
	if !regular(o.out, o.in[0], o.attention) || b.err != nil {
		return false
	}
	k, v := held.in[1], held.in[2]
	t := b.attending(o.out, o.in[0], o.attention, o.cache)
	args := &t.args
	args.newK, args.newV, args.kStride, args.vStride = address(k), address(v), int32(k.Stride), int32(v.Stride)
	if o.attention.Rotary != nil {
		args.half, args.angles = int32(b.rotary.half), b.rotary.table.Ptr()
	}
	if !b.attendCluster(args, o.attention, o.cache.PageSize) {
		b.attendSplit(&t, false, b.step.s, o.attention)
	}
	return true
}

// regular reports whether 16-byte accesses to all heads of all rows are
// possible.
func regular(out, q ops.Tensor, a *ops.Attention) bool {
	aligned := func(t ops.Tensor) bool { return address(t)%16 == 0 && t.Stride%8 == 0 }
	return a.HeadDim%8 == 0 && a.HeadDim <= plainDim && aligned(out) && aligned(q)
}

// workOf says whether sequences of one token are in a batch, and how many tiles
// of so many queries the others make.
func workOf(start []int32, queries int) (single bool, tiles int) {
	for s := range len(start) - 1 {
		switch n := int(start[s+1] - start[s]); {
		case n == 1:
			single = true
		case n > 1:
			tiles += (n + queries - 1) / queries
		}
	}
	return single, tiles
}

func (b *Backend) attendPlain(t *attending, tokens int, a *ops.Attention) {
	if a.HeadDim > plainDim {
		b.fail(fmt.Errorf("kernels: attention heads of %d columns, want at most %d", a.HeadDim, plainDim))
		return
	}
	f := b.attention.plain
	if t.kernels != nil {
		f = t.kernels.plain
	}
	p := t.parameters(b)
	b.launch(f, cuda.Dim{X: a.Heads, Y: tokens}, cuda.Dim{X: plainThreads}, 0, p)
}

// attendSplit launches attend_decode for so many sequences, or attend_rows for
// so many tokens.
func (b *Backend) attendSplit(t *attending, byRows bool, rows int, a *ops.Attention) {
	k, args := &b.attention, &t.args
	shape, parts := decodeShapeOf(a)
	pairs := a.KVHeads * parts
	f, size := k.decode[shape], 2
	switch {
	case t.kernels != nil:
		f, size, t.bytes.rows = t.kernels.decode[shape], 1, byRows
	case byRows:
		f = k.rows[shape]
	}
	plan, shared := k.splitPlan(pairs*rows), 0
	if shape.dim <= wideDim {
		plan, shared = k.widePlan(pairs*rows, size), wideShared(shape.dim, size, b.linear.chip.shared)
	}
	if plan.splits > 1 {
		if err := b.reserveSplits(); err != nil {
			b.fail(err)
			return
		}
	}
	args.scratch, args.finished = k.scratch, k.finished
	args.splits, args.minTiles, args.cluster = int32(plan.splits), int32(plan.minTiles), int32(plan.cluster)
	p := t.parameters(b)
	l := cuda.Launch{Grid: cuda.Dim{X: pairs, Y: rows, Z: plan.splits}, Block: cuda.Dim{X: decodeThreads}, Shared: shared, Overlap: true}
	if plan.cluster > 1 {
		l.Cluster = cuda.Dim{Z: plan.cluster}
	}
	b.start(f, l, p)
}

// reserveSplits takes the memory that blocks which share a sequence need.
func (b *Backend) reserveSplits() error {
	k := &b.attention
	if k.scratch != 0 {
		return nil
	}
	slots := slotsPer * k.processors
	finished, err := b.arena.take(int64(4 * slots))
	if err != nil {
		return fmt.Errorf("kernels: counters of attention: %w", err)
	}
	if err := b.stream.Fill(finished, 0, 4*slots); err != nil {
		return err
	}
	scratch, err := b.arena.take(int64(4 * slots * slotFloats))
	if err != nil {
		return fmt.Errorf("kernels: scratch memory of attention: %w", err)
	}
	k.finished, k.scratch = finished, scratch
	return nil
}

// decodeShapeOf returns the instance of attend_decode for an attention layer,
// and the number of blocks that the query heads of a key head take.
func decodeShapeOf(a *ops.Attention) (s decodeShape, parts int) {
	s = decodeShape{dim: (a.HeadDim + 63) / 64 * 64, heads: 8}
	if s.dim <= wideDim {
		s.heads = 16
	}
	return s, (a.Heads/a.KVHeads + s.heads - 1) / s.heads
}

// splitPlan says into how many blocks the positions of a sequence may be split,
// how many of them form a cluster, and how many tiles of positions each takes at
// least. It depends on the number of pairs of key head and sequence and on the
// device alone, so that a recorded step stays right while sequences grow.
type splitPlan struct{ splits, cluster, minTiles int }

// splitPlan plans for tiles of 16 positions that pass through registers. Two
// blocks a multiprocessor keep the memory busy. Where the pairs alone are that many,
// a few splits are left for a batch whose lengths differ much.
func (k *attention) splitPlan(pairs int) splitPlan {
	p := splitPlan{splits: max(2*k.processors/pairs, min(4, slotsPer*k.processors/pairs)), cluster: 1}
	p.splits = min(max(p.splits, 1), maxSplits)
	if k.clusters && p.splits >= maxCluster {
		p.splits, p.cluster = p.splits/maxCluster*maxCluster, maxCluster
	}
	p.minTiles = min(max(pairs/16, decodeWarps), 32)
	return p
}

// widePlan plans for wide.cuh and wide8.cuh, whose numbers have size bytes. A block
// a multiprocessor has enough under way: more of them make the last ones late. Only
// over caches in 8 bits, whose numbers have to be widened, do two compute faster,
// if no cluster binds them: where they leave the last block not too many parts to
// add up, and have enough to do in short contexts, too.
func (k *attention) widePlan(pairs, size int) splitPlan {
	p := splitPlan{splits: min(max((k.processors+pairs/2)/pairs, 1), maxSplits), cluster: 1, minTiles: decodeWarps}
	if two := 2 * k.processors / pairs; size == 1 && 20 <= two && two <= 40 {
		p.splits = two
		return p
	}
	for k.clusters && 2*p.cluster <= min(p.splits, maxCluster) {
		p.cluster *= 2
	}
	p.splits -= p.splits % p.cluster
	return p
}
