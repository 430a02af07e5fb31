package kernels

import (
	"fmt"
	"math"
	"testing"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// clusterCases are what attend_cluster.cu takes: lengths around the borders of
// tiles, pages and clusters, groups of one and of two parts, windows.
func clusterCases() []attendCase {
	var out []attendCase
	for _, dim := range []int{64, 128} {
		for _, group := range []int{1, 3, 5, 8, 12} {
			for _, page := range []int{16, 64} {
				out = append(out, attendCase{2 * group, 2, dim, page, 0, 8, []span{{0, 1}, {15, 1}, {16, 1}, {17, 1}}})
			}
			out = append(out, attendCase{group, 1, dim, 32, 0, 0, []span{{300, 1}, {512, 1}}})
		}
		for _, window := range []int{1, 2, 16, 17, 100} {
			out = append(out, attendCase{3, 1, dim, 16, window, 0, []span{{0, 1}, {16, 1}, {31, 1}, {150, 1}}})
		}
	}
	return append(out,
		attendCase{24, 8, 128, 16, 0, 0, []span{{576, 1}}},
		attendCase{32, 2, 128, 16, 0, 0, []span{{777, 1}}},
		attendCase{40, 8, 128, 64, 0, 0, []span{{513, 1}}},
		attendCase{3, 1, 128, 64, 0, 0, []span{{4096, 1}}},
		attendCase{3, 1, 128, 64, 0, 0, []span{{4112, 1}, {20, 1}}}, // two clusters
		attendCase{7, 1, 128, 64, 0, 0, []span{{4200, 1}, {1, 1}}},
		attendCase{16, 1, 64, 64, 0, 0, []span{{9000, 1}}})
}

// everywhere lets clusters attend contexts of any length, as long as the test runs.
func everywhere(t *testing.T) {
	reaches := clusterReaches
	t.Cleanup(func() { clusterReaches = reaches })
	for i := range clusterReaches {
		clusterReaches[i] = math.MaxInt
	}
}

// TestFar: what keeps graphs apart is what decides between the kernels.
func TestFar(t *testing.T) {
	b := onFake(t, roomy(t), Options{Act: ops.BF16})
	b.linear.chip.processors = 132
	for _, c := range []struct {
		tokens, sequences, longest int
		clusters                   bool
		want                       int
	}{
		{1, 1, 4096, true, 0},
		{1, 1, 4097, true, 1},
		{8, 8, 16384, true, 1},
		{1, 1, 16385, true, 2},
		{33, 33, 16385, true, 2},
		{34, 34, 16385, true, 0}, // too many for clusters
		{4, 1, 16385, true, 0},   // a draft
		{1, 1, 16385, false, 0},
	} {
		b.clusters.kernels = nil
		if c.clusters {
			b.clusters.kernels = map[clusterShape]*cuda.Function{}
		}
		b.step.n, b.step.s, b.step.longest = c.tokens, c.sequences, c.longest
		if got := b.far(); got != c.want {
			t.Errorf("%+v: got %d", c, got)
		}
	}
}

// TestAttendCluster compares attention of single tokens in clusters with the
// CPU's two operations, and looks at what it left in the cache: on a device that
// has a multiprocessor for each block, and on one where two share one.
func TestAttendCluster(t *testing.T) {
	for _, act := range []ops.DType{ops.BF16, ops.F16} {
		t.Run(act.String(), func(t *testing.T) {
			c := compareWithCPU(t, act)
			if c.clusters.kernels == nil {
				t.Skip("a device without clusters")
			}
			everywhere(t)
			done := map[clusterPlan]bool{}
			for _, a := range some(clusterCases(), 5) {
				tokens, shape := len(a.spans), a.shape()
				blocks := clusterBlocks * a.kvHeads * ceil(a.heads/a.kvHeads, clusterHeads) * tokens
				for i, processors := range []int{132, (blocks + 1) / 2} {
					c.linear.chip.processors = processors
					p, ok := c.linear.chip.clusterPlan(tokens, 0, shape, a.page)
					if i == 0 && !ok {
						continue // faster by attend_decode
					}
					if !ok || i == 1 && p.shape.warps != 4 {
						t.Fatalf("%s on %d multiprocessors: got %+v, %v", a, processors, p, ok)
					}
					halves := []int{0, a.dim / 4, a.dim / 2}
					if done[p] {
						halves = halves[1:2]
					}
					done[p] = true
					for _, half := range halves {
						c.appendAttend(a, half)
					}
				}
			}
		})
	}
}

// TestClusterPlanLeavesRoom: blocks of the products ahead and behind fit into
// a multiprocessor of compute capability 9.0 beside those of the attention.
func TestClusterPlanLeavesRoom(t *testing.T) {
	const all, system, static = 228 << 10, 1 << 10, 8 << 10 // shared memory; of it each block's, and that of attend_cluster.cu's variables
	c := chip{capability: 90, processors: 132, shared: 227 << 10}
	for _, m := range []struct{ hidden, heads, kvHeads int }{{3072, 24, 8}, {2688, 32, 2}, {4096, 32, 8}, {4480, 40, 8}, {6144, 48, 8}} {
		p, ok := c.clusterPlan(1, 0, &ops.Attention{Heads: m.heads, KVHeads: m.kvHeads, HeadDim: 128}, 16)
		for _, cols := range []int{m.hidden, 128 * m.heads} {
			g, _ := c.gemvPlan(cols)
			if used := g.shared + p.sums + static + 2*system; !ok || used > all {
				t.Errorf("%+v: attention takes %d bytes (%v), a product of %d columns %d: %d more than there are", m, p.sums, ok, cols, g.shared, used-all)
			}
		}
	}
}

// TestSpeedOfClusters prints what attention of few tokens takes that rotates and
// stores on the way, in clusters and by attend_decode.
func TestSpeedOfClusters(t *testing.T) {
	if testing.Short() {
		t.Skip("measures")
	}
	needsGPU(t)
	d := onDevice(t, Options{Act: ops.BF16})
	everywhere(t)
	for _, way := range newTimer(t, d.Backend).ways() {
		way.begin()
		clusters := d.clusters.kernels
		t.Logf("%-8s %9s %9s %12s %12s %10s  %s", "heads", "sequences", "context", "clusters, µs", "decode, µs", "MB", way.name)
		for _, heads := range [][2]int{{24, 8}, {48, 8}, {32, 2}} {
			for _, c := range []speedCase{
				{"decode", 1, 512, 1},
				{"decode", 1, 2048, 1},
				{"decode", 1, 4096, 1},
				{"decode", 1, 8192, 1},
				{"decode", 1, 16384, 1},
				{"decode", 1, 32768, 1},
				{"decode", 1, 131072, 1},
				{"decode", 2, 4096, 1},
				{"decode", 4, 512, 1},
				{"decode", 4, 4096, 1},
				{"decode", 4, 32768, 1},
				{"decode", 8, 512, 1},
				{"decode", 8, 4096, 1},
				{"decode", 8, 32768, 1},
			} {
				in, bytes := c.timeAppended(t, d, heads[0], heads[1])
				d.clusters.kernels = nil
				without, _ := c.timeAppended(t, d, heads[0], heads[1])
				d.clusters.kernels = clusters
				t.Logf("%-8s %9d %9d %12.2f %12.2f %10.1f", fmt.Sprintf("%d:%d", heads[0], heads[1]), c.sequences, c.context, in, without, float64(bytes)/1e6)
			}
		}
		way.end()
	}
}

// timeAppended is the time of an Append and an Attend together.
func (c speedCase) timeAppended(t *testing.T, d device, heads, kvHeads int) (µs float64, bytes int64) {
	t.Helper()
	random := comparison{rng: newRand()}
	var own [2]ops.Tensor // keys and values
	for i := range own {
		var err error
		if own[i], err = d.Activation(c.sequences, kvHeads*128); err != nil {
			t.Fatal(err)
		}
		if err := d.Write(own[i], random.normal(c.sequences*kvHeads*128)); err != nil {
			t.Fatal(err)
		}
	}
	return c.timeOf(t, d, heads, kvHeads, ops.Plain, func(out, q ops.Tensor, a *ops.Attention, cache ops.Cache) {
		d.Append(q, own[0], own[1], a, cache)
		d.Attend(out, q, a, cache)
	})
}

func TestClusterPlan(t *testing.T) {
	c := chip{capability: 90, processors: 132, shared: 227 << 10}
	for _, p := range []struct {
		tokens, heads, kvHeads, dim, page int
		far                               int
		want                              clusterPlan
		ok                                bool
	}{
		{1, 24, 8, 128, 16, 0, clusterPlan{clusterShape{128, 8}, 1, 2, 8, 12288}, true},
		{1, 32, 8, 128, 16, 0, clusterPlan{clusterShape{128, 8}, 1, 2, 8, 16384}, true},
		{1, 40, 8, 128, 16, 0, clusterPlan{clusterShape{128, 8}, 1, 2, 4, 10240}, true},
		{1, 48, 8, 128, 64, 0, clusterPlan{clusterShape{128, 8}, 1, 2, 4, 12288}, true},
		{1, 32, 2, 128, 16, 0, clusterPlan{clusterShape{128, 8}, 2, 4, 4, 16384}, true},
		{4, 32, 2, 128, 16, 0, clusterPlan{clusterShape{128, 8}, 2, 1, 4, 16384}, true},
		{8, 32, 2, 128, 16, 0, clusterPlan{clusterShape{128, 4}, 2, 1, 4, 16384}, true},
		{2, 24, 8, 128, 16, 0, clusterPlan{}, false},
		{1, 24, 8, 128, 16, 1, clusterPlan{}, false},
		{1, 32, 2, 128, 16, 1, clusterPlan{clusterShape{128, 8}, 2, 4, 4, 16384}, true},
		{1, 32, 2, 128, 16, 2, clusterPlan{}, false},
		{4, 32, 2, 128, 16, 1, clusterPlan{}, false},
		{4, 24, 8, 128, 16, 0, clusterPlan{clusterShape{128, 4}, 1, 1, 4, 6144}, true},
		{1, 1, 1, 64, 16, 0, clusterPlan{clusterShape{64, 8}, 1, 8, 8, 2048}, true},
		{5, 24, 8, 128, 16, 0, clusterPlan{}, false},
		{1, 24, 8, 96, 16, 0, clusterPlan{}, false},
		{1, 24, 8, 128, 8, 0, clusterPlan{}, false},
		{1, 24, 8, 128, 48, 0, clusterPlan{}, false},
	} {
		a := &ops.Attention{Heads: p.heads, KVHeads: p.kvHeads, HeadDim: p.dim}
		got, ok := c.clusterPlan(p.tokens, p.far, a, p.page)
		if ok != p.ok || ok && got != p.want {
			t.Errorf("%d tokens, %d:%d heads of %d, pages of %d: got %+v, %v; want %+v, %v", p.tokens, p.heads, p.kvHeads, p.dim, p.page, got, ok, p.want, p.ok)
		}
	}
}
