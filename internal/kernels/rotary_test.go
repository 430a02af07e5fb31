package kernels

import (
	"fmt"
	"testing"

	"github.com/godwit-llm/godwit/internal/ops"
)

type appendCase struct {
	heads, kvHeads, dim, half int
	page                      int
	dynamic                   bool
	margin                    int
	positions                 []int32 // of the first token of each sequence
	tokens                    int     // of each sequence
}

func (c appendCase) String() string {
	return fmt.Sprintf("heads %d:%d, dim %d, half %d, page %d, dynamic %v, margin %d, %d tokens from %v",
		c.heads, c.kvHeads, c.dim, c.half, c.page, c.dynamic, c.margin, c.tokens, c.positions)
}

var appendCases = []appendCase{
	{heads: 24, kvHeads: 8, dim: 128, half: 32, page: 16, positions: []int32{0}, tokens: 40},
	{heads: 24, kvHeads: 8, dim: 128, half: 32, page: 16, positions: []int32{511, 0, 77}, tokens: 1},
	{heads: 32, kvHeads: 8, dim: 128, half: 64, page: 16, positions: []int32{100_000, 1_000_000}, tokens: 2},
	{heads: 48, kvHeads: 8, dim: 192, half: 48, page: 16, positions: []int32{3, 9}, tokens: 3},
	{heads: 3, kvHeads: 1, dim: 12, half: 3, page: 5, positions: []int32{0, 4}, tokens: 7, margin: 1},
	{heads: 2, kvHeads: 2, dim: 8, half: 4, page: 4, positions: []int32{2}, tokens: 3},
	{heads: 4, kvHeads: 2, dim: 64, half: 0, page: 16, positions: []int32{2}, tokens: 3},
	{heads: 2, kvHeads: 1, dim: 40, half: 12, page: 8, positions: []int32{0}, tokens: 30, dynamic: true},
	{heads: 2, kvHeads: 1, dim: 64, half: 32, page: 8, positions: []int32{30}, tokens: 9, dynamic: true, margin: 8},
}

// TestAppend compares q, k and both caches with the CPU's. Sine and cosine are
// exact to two units; their errors grow with dynamic scaling, whose frequencies
// the device computes.
func TestAppend(t *testing.T) {
	for _, act := range activationTypes {
		t.Run(act.String(), func(t *testing.T) {
			c := compareWithCPU(t, act)
			for _, a := range appendCases {
				c.append(a)
			}
		})
	}
}

// batch packs the case's sequences into a step, with scrambled pages.
func (a appendCase) batch() (b *ops.Batch, pages int) {
	b = &ops.Batch{Start: []int32{0}, MaxPages: 1}
	for _, p := range a.positions {
		b.MaxPages = max(b.MaxPages, (int(p)+a.tokens-1)/a.page+3)
	}
	// Only the pages that are written exist: the last ones of each sequence.
	for s, p := range a.positions {
		row := make([]int32, b.MaxPages)
		for i := range row {
			switch last := (int(p) + a.tokens - 1) / a.page; {
			case i > last:
				row[i] = -1
			case i >= int(p)/a.page:
				row[i] = int32(pages)
				pages++
			}
		}
		b.Pages = append(b.Pages, row...)
		for i := range a.tokens {
			b.Tokens = append(b.Tokens, 0)
			b.Positions = append(b.Positions, p+int32(i))
		}
		b.Start = append(b.Start, int32(len(b.Tokens)))
		b.Slots = append(b.Slots, int32(s))
	}
	for i, p := range b.Pages {
		if p >= 0 {
			b.Pages[i] = int32(pages) - 1 - p
		}
	}
	return b, pages
}

// rotating returns the attention layer of a case, and has both sides compute the
// angles of the open step.
func (c *comparison) rotating(a appendCase) *ops.Attention {
	c.Helper()
	attention := &ops.Attention{Heads: a.heads, KVHeads: a.kvHeads, HeadDim: a.dim}
	if a.half > 0 {
		attention.Rotary = &ops.Rotary{InvFreq: ops.InverseFrequencies(1e4, 2*a.half), Scale: 1.25}
		if a.dynamic {
			attention.Rotary.Dynamic = &ops.Dynamic{Theta: 1e4, Factor: 3, Context: 7}
		}
		c.Angles(attention.Rotary)
		c.cpu.Angles(attention.Rotary)
	}
	return attention
}

func (c *comparison) append(a appendCase) {
	c.Helper()
	b, pages := a.batch()
	c.begin(b)
	n := len(b.Tokens)
	attention := c.rotating(a)
	act := c.opt.Act
	q := c.random(act, n, a.heads*a.dim, a.margin)
	k, v := c.random(act, n, a.kvHeads*a.dim, a.margin), c.random(act, n, a.kvHeads*a.dim, a.margin)
	dev, err := c.Cache(ops.CacheShape{Pages: pages, PageSize: a.page, KVHeads: a.kvHeads, HeadDim: a.dim})
	c.must(err)
	cpu, err := c.cpu.Cache(ops.CacheShape{Pages: pages, PageSize: a.page, KVHeads: a.kvHeads, HeadDim: a.dim})
	c.must(err)
	c.Append(q.dev, k.dev, v.dev, attention, dev)
	c.cpu.Append(q.cpu, k.cpu, v.cpu, attention, cpu)
	// A float32 angle of 1e6 is a multiple of 1/16: both sides round the same
	// product. Two rounded products are added.
	extra := 1e-6
	if a.dynamic {
		extra = 1e-5
	}
	c.close("q: "+a.String(), q, extra)
	c.close("k: "+a.String(), k, extra)
	c.close("v: "+a.String(), v, 0)
	c.close("keys: "+a.String(), both{dev.K, cpu.K, dev.K, 0}, extra)
	c.close("values: "+a.String(), both{dev.V, cpu.V, dev.V, 0}, 0)
}
