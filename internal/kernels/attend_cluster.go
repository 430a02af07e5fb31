package kernels

import (
	"fmt"
	"math/bits"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// clusterAttention holds the kernels of attend_cluster.cu: attention of the
// tokens of few sequences, one each, with their rotation and their way into the
// cache.
type clusterAttention struct {
	kernels map[clusterShape]*cuda.Function // none before Hopper, nor for F32
}

// clusterShape names an instance: heads of dim columns, so many warps a block.
type clusterShape struct{ dim, warps int }

var clusterShapes = []clusterShape{{64, 4}, {64, 8}, {128, 4}, {128, 8}}

// Constants of attend_cluster.cu.
const (
	clusterHeads  = 8 // query heads of a cluster, at most
	clusterBlocks = 8 // of a cluster
	mostClusters  = 8 // of a token and the query heads of one

	// What blocks may take for their sums: a block of gemv.cu must fit beside.
	clusterSums = 16 << 10
)

func (k *clusterAttention) open(b *Backend) error {
	if b.opt.Act == ops.F32 || !b.linear.chip.bulk() {
		return nil
	}
	k.kernels = map[clusterShape]*cuda.Function{}
	for _, s := range clusterShapes {
		f, err := b.kernel("attend_cluster", fmt.Sprintf("attend_cluster_%s_%d_%d", suffix(b.opt.Act), s.dim, s.warps))
		if err != nil {
			return err
		}
		k.kernels[s] = f
	}
	return nil
}

func (k *clusterAttention) close() error { return nil }

// clusterArgs is AttendCluster in attend_cluster.cu.
type clusterArgs struct {
	q, newK, newV, k, v, out             cuda.DevicePtr
	angles                               cuda.DevicePtr
	positions, pages, counts             cuda.DevicePtr
	scratch, finished                    cuda.DevicePtr
	qStride, kStride, vStride, outStride int32
	group, parts, kvHeads                int32
	pageShift, window, half              int32
	slots                                int32
	scale                                float32
}

// clusterPlan is a launch of attend_cluster.cu.
type clusterPlan struct {
	shape    clusterShape
	parts    int // clusters that share the query heads of a key head
	clusters int // that share the positions of a token
	slots    int // for the sums of a block's warps
	sums     int // bytes of shared memory
}

// clusterPlan plans the launch for so many tokens, each the only one of its
// sequence. There is none where the batch keeps the device busy anyhow, nor for
// other sizes of heads and pages.
//
// It depends on the device, the number of tokens and how far the longest of
// their sequences is, so that a recorded step stays right while sequences
// grow: the kernel itself finds out how many of the clusters have work.
// Measurements say where attend_decode is faster.
func (c chip) clusterPlan(tokens, far int, a *ops.Attention, pageSize int) (p clusterPlan, ok bool) {
	if a.HeadDim != 64 && a.HeadDim != 128 || pageSize < tilePositions || pageSize&(pageSize-1) != 0 {
		return p, false
	}
	group := a.Heads / a.KVHeads
	p.parts = ceil(group, clusterHeads)
	blocks := clusterBlocks * a.KVHeads * p.parts * tokens
	if far > 1 || far > 0 && (p.parts == 1 || tokens > 2) || blocks > 2*c.processors {
		return p, false
	}
	p.clusters = min(max(c.processors/blocks, 1), mostClusters)
	if p.clusters == 1 && p.parts == 1 && blocks <= c.processors {
		return p, false // a cluster a key head leaves it too few bytes under way
	}
	p.shape = clusterShape{a.HeadDim, 8}
	if blocks > c.processors { // two share a multiprocessor and its registers
		p.shape.warps = 4
	}
	slot := 4 * min(group, clusterHeads) * a.HeadDim
	p.slots = p.shape.warps
	if p.slots*slot > clusterSums {
		p.slots /= 2
	}
	p.sums = p.slots * slot
	return p, true
}

// clusterReaches are about where attend_decode begins to be faster than
// attend_cluster.cu, in positions: in general, and where one or two tokens have more
// than 8 query heads a key head.
var clusterReaches = [...]int{4096, 16384}

// far says how many of clusterReaches the step's longest sequence exceeds, if
// attend_cluster.cu might attend its tokens: few of them, one a sequence.
func (b *Backend) far() (n int) {
	if b.clusters.kernels == nil || b.step.s != b.step.n || b.step.n*clusterBlocks > 2*b.linear.chip.processors {
		return 0
	}
	for n < len(clusterReaches) && b.step.longest > clusterReaches[n] {
		n++
	}
	return n
}

// attendCluster attends and appends where attend_cluster.cu can, and reports
// whether it did. args are those of attend_decode.
func (b *Backend) attendCluster(args *attendArgs, a *ops.Attention, pageSize int) bool {
	st, k := &b.step, &b.clusters
	if k.kernels == nil || st.s != st.n {
		return false
	}
	p, ok := b.linear.chip.clusterPlan(st.n, b.far(), a, pageSize)
	if !ok {
		return false
	}
	if p.clusters > 1 {
		if err := b.reserveSplits(); err != nil {
			b.fail(err)
			return true
		}
	}
	c := clusterArgs{
		q: args.q, newK: args.newK, newV: args.newV, k: args.k, v: args.v, out: args.out, angles: args.angles,
		positions: st.positions, pages: st.pages, counts: st.counts,
		scratch: b.attention.scratch, finished: b.attention.finished,
		qStride: args.qStride, kStride: args.kStride, vStride: args.vStride, outStride: args.outStride,
		group: args.heads / args.kvHeads, parts: int32(p.parts), kvHeads: args.kvHeads,
		pageShift: int32(bits.TrailingZeros(uint(pageSize))), window: args.window, half: args.half,
		slots: int32(p.slots), scale: args.scale,
	}
	b.start(k.kernels[p.shape], cuda.Launch{
		Grid:    cuda.Dim{X: clusterBlocks * p.clusters, Y: a.KVHeads * p.parts, Z: st.n},
		Block:   cuda.Dim{X: 32 * p.shape.warps},
		Cluster: cuda.Dim{X: clusterBlocks},
		Shared:  p.sums, Overlap: true,
	}, cuda.Struct(b.parameters(), c))
	return true
}
