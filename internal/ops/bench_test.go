package ops_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/godwit-llm/godwit/internal/ops"
)

// BenchmarkLinear reports the bandwidth of the weights.
func BenchmarkLinear(b *testing.B) {
	for _, shape := range [][2]int{{256, 1544}, {2688, 10304}} {
		for _, rows := range []int{1, 8} {
			b.Run(fmt.Sprintf("%d to %d/rows=%d", shape[0], shape[1], rows), func(b *testing.B) {
				m := &mixed{CPU: ops.NewCPU(0)}
				defer m.Close()
				w := m.linear(rand.New(rand.NewPCG(1, 1)), shape[0], shape[1])
				x, _ := m.Activation(rows, shape[0])
				out, _ := m.Activation(rows, shape[1])
				b.SetBytes(int64(2 * shape[0] * shape[1]))
				for b.Loop() {
					m.Linear(out, x, w, ops.Epilogue{})
				}
			})
		}
	}
}

// BenchmarkStep is a decoding step of the tiny model: what small operations
// cost beside their arithmetic.
func BenchmarkStep(b *testing.B) {
	for _, sequences := range []int{1, maxSlots} {
		b.Run(fmt.Sprintf("sequences=%d", sequences), func(b *testing.B) {
			m := build(0)
			defer m.Close()
			step := decoding(m, sequences)
			b.ReportAllocs()
			for b.Loop() {
				step()
			}
		})
	}
}

// BenchmarkAttend is the attention of one token behind a long context, by the
// format of the cache.
func BenchmarkAttend(b *testing.B) {
	const context, page, heads, kvHeads, dim = 8192, 16, 24, 8, 128
	for _, format := range []ops.CacheFormat{ops.Plain, ops.INT8, ops.FP8} {
		b.Run(format.String(), func(b *testing.B) {
			m := ops.NewCPU(0)
			defer m.Close()
			shape := ops.CacheShape{Pages: context / page, PageSize: page, KVHeads: kvHeads, HeadDim: dim, Format: format}
			c, err := m.Cache(shape)
			if err != nil {
				b.Fatal(err)
			}
			batch := &ops.Batch{Start: []int32{0, context}, Slots: []int32{0}, MaxPages: context / page}
			for p := range context {
				batch.Tokens, batch.Positions = append(batch.Tokens, 0), append(batch.Positions, int32(p))
			}
			for p := range batch.MaxPages {
				batch.Pages = append(batch.Pages, int32(p*37%batch.MaxPages))
			}
			a := &ops.Attention{Heads: heads, KVHeads: kvHeads, HeadDim: dim, Scale: 0.09}
			x, _ := m.Activation(context, heads*dim)
			out, _ := m.Activation(1, heads*dim)
			rng := rand.New(rand.NewPCG(5, 6))
			for r := range context {
				row := unsafe.Slice((*float32)(x.From(r).Addr), heads*dim)
				for i := range row {
					row[i] = float32(rng.NormFloat64())
				}
			}
			kv := kvHeads * dim
			if err := m.Begin(batch); err != nil {
				b.Fatal(err)
			}
			m.Append(x, x.Columns(0, kv), x.Columns(kv, 2*kv), a, c)
			batch.Tokens, batch.Positions, batch.Start = batch.Tokens[:1], batch.Positions[context-1:], []int32{0, 1}
			if err := m.Begin(batch); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(shape.Bytes(ops.F32))
			for b.Loop() {
				m.Attend(out, x.Top(1), a, c)
			}
		})
	}
}
