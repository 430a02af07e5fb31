package kernels

import (
	"fmt"
	"testing"

	"github.com/godwit-llm/godwit/internal/ops"
)

// singleCases are what attend1.cu takes: lengths around the borders of tiles,
// pages and clusters, groups of one and of two parts, windows.
func singleCases() []attendCase {
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
		attendCase{3, 1, 128, 64, 0, 0, []span{{4096, 1}}},
		attendCase{3, 1, 128, 64, 0, 0, []span{{4112, 1}, {20, 1}}}, // two clusters
		attendCase{16, 1, 64, 64, 0, 0, []span{{9000, 1}}})
}

// TestSingle compares attention of single tokens on clusters of its own with the
// CPU's two operations, and looks at what it left in the cache.
func TestSingle(t *testing.T) {
	for _, act := range []ops.DType{ops.BF16, ops.F16} {
		for _, narrow := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, narrow: %v", act, narrow), func(t *testing.T) {
				c := compareWithCPU(t, act)
				c.single.enabled, c.single.narrow = true, narrow
				c.linear.chip.processors, c.attention.processors = 132, 132 // or there are no plans
				for _, a := range singleCases() {
					if _, ok := c.linear.chip.singlePlan(len(a.spans), a.shape(), a.page); !ok && c.single.kernels != nil {
						t.Fatalf("%s: no plan", a)
					}
					for _, half := range []int{0, a.dim / 4, a.dim / 2} {
						c.appendAttend(a, half)
					}
				}
			})
		}
	}
}

func TestSinglePlan(t *testing.T) {
	c := chip{capability: 90, processors: 132, shared: 227 << 10}
	for _, p := range []struct {
		tokens, heads, kvHeads, dim, page int
		want                              singlePlan
		ok                                bool
	}{
		{1, 24, 8, 128, 16, singlePlan{singleShape{128, 8}, 1, 2, 12288, 128}, true},
		{1, 48, 8, 128, 64, singlePlan{singleShape{128, 4}, 1, 2, 12288, 128}, true},
		{1, 32, 2, 128, 16, singlePlan{singleShape{128, 4}, 2, 4, 16384, 128}, true},
		{4, 24, 8, 128, 16, singlePlan{singleShape{128, 8}, 1, 1, 12288, 256}, true},
		{1, 1, 1, 64, 16, singlePlan{singleShape{64, 8}, 1, 8, 2048, 64}, true},
		{5, 24, 8, 128, 16, singlePlan{}, false},
		{1, 24, 8, 96, 16, singlePlan{}, false},
		{1, 24, 8, 128, 8, singlePlan{}, false},
		{1, 24, 8, 128, 48, singlePlan{}, false},
	} {
		a := &ops.Attention{Heads: p.heads, KVHeads: p.kvHeads, HeadDim: p.dim}
		got, ok := c.singlePlan(p.tokens, a, p.page)
		if ok != p.ok || ok && got != p.want {
			t.Errorf("%d tokens, %d:%d heads of %d, pages of %d: got %+v, %v; want %+v, %v", p.tokens, p.heads, p.kvHeads, p.dim, p.page, got, ok, p.want, p.ok)
		}
	}
}
