package ops_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

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
