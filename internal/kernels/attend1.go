package kernels

import (
	"fmt"
	"math/bits"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// single holds the kernels of attend1.cu: attention of the tokens of few
// sequences, one each, with their rotation and their way into the cache.
type single struct {
	kernels map[singleShape]*cuda.Function // none before Hopper, nor for F32
	enabled bool
	narrow  bool // blocks of four warps
}

// singleShape names an instance: heads of dim columns, so many warps a block.
type singleShape struct{ dim, warps int }

var singleShapes = []singleShape{{64, 4}, {64, 8}, {128, 4}, {128, 8}}

// Constants of attend1.cu.
const (
	singleHeads    = 8 // query heads of a cluster, at most
	singleBlocks   = 8 // of a cluster
	singleClusters = 8 // of a token and key head, at most

	// What blocks of eight warps may take for their sums: a block of gemv.cu
	// must fit beside.
	singleSums = 16 << 10
)

func (k *single) open(b *Backend) error {
	if b.opt.Act == ops.F32 || !b.linear.chip.bulk() {
		return nil
	}
	k.kernels = map[singleShape]*cuda.Function{}
	for _, s := range singleShapes {
		f, err := b.kernel("attend1", fmt.Sprintf("attend1_%s_%d_%d", suffix(b.opt.Act), s.dim, s.warps))
		if err != nil {
			return err
		}
		k.kernels[s] = f
	}
	return nil
}

func (k *single) close() error { return nil }

// singleArgs is Single in attend1.cu.
type singleArgs struct {
	q, newK, newV, k, v, out             cuda.DevicePtr
	angles                               cuda.DevicePtr
	positions, pages, counts             cuda.DevicePtr
	scratch, finished                    cuda.DevicePtr
	qStride, kStride, vStride, outStride int32
	group, parts, kvHeads                int32
	pageShift, window, half              int32
	scale                                float32
	_                                    int32
}

// singlePlan is a launch of attend1.cu.
type singlePlan struct {
	shape                         singleShape
	parts, clusters, sums, blocks int
}

// singlePlan plans the launch for so many tokens, each the only one of its
// sequence. There is none where the batch keeps the device busy anyhow, nor for
// other sizes of heads and pages.
func (c chip) singlePlan(tokens int, a *ops.Attention, pageSize int) (p singlePlan, ok bool) {
	if a.HeadDim != 64 && a.HeadDim != 128 || pageSize < tilePositions || pageSize&(pageSize-1) != 0 {
		return p, false
	}
	group := a.Heads / a.KVHeads
	p.parts = ceil(group, singleHeads)
	blocks := singleBlocks * a.KVHeads * p.parts * tokens
	if blocks > 2*c.processors {
		return p, false
	}
	p.clusters = min(max(c.processors/blocks, 1), singleClusters)
	p.blocks = blocks * p.clusters
	p.shape = singleShape{a.HeadDim, 8}
	sums := func() int { return 4 * p.shape.warps * min(group, singleHeads) * a.HeadDim }
	if sums() > singleSums {
		p.shape.warps = 4
	}
	p.sums = sums()
	return p, true
}

// attendSingle attends and appends where attend1.cu can, and reports whether it
// did. args are those of attend_decode.
func (b *Backend) attendSingle(args *attendArgs, a *ops.Attention, pageSize int) bool {
	st, k := &b.step, &b.single
	if !k.enabled || k.kernels == nil || st.s != st.n {
		return false
	}
	p, ok := b.linear.chip.singlePlan(st.n, a, pageSize)
	if !ok {
		return false
	}
	if k.narrow {
		p.sums = p.sums / p.shape.warps * 4
		p.shape.warps = 4
	}
	if p.clusters > 1 {
		if err := b.reserveSplits(); err != nil {
			b.fail(err)
			return true
		}
	}
	s := singleArgs{
		q: args.q, newK: args.newK, newV: args.newV, k: args.k, v: args.v, out: args.out, angles: args.angles,
		positions: st.positions, pages: st.pages, counts: st.counts,
		scratch: b.attention.scratch, finished: b.attention.finished,
		qStride: args.qStride, kStride: args.kStride, vStride: args.vStride, outStride: args.outStride,
		group: args.heads / args.kvHeads, parts: int32(p.parts), kvHeads: args.kvHeads,
		pageShift: int32(bits.TrailingZeros(uint(pageSize))), window: args.window, half: args.half, scale: args.scale,
	}
	b.start(k.kernels[p.shape], cuda.Launch{
		Grid:    cuda.Dim{X: singleBlocks * p.clusters, Y: a.KVHeads * p.parts, Z: st.n},
		Block:   cuda.Dim{X: 32 * p.shape.warps},
		Cluster: cuda.Dim{X: singleBlocks},
		Shared:  p.sums, Overlap: true,
	}, cuda.Struct(b.parameters(), s))
	return true
}
