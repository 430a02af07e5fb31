package kernels

import (
	"fmt"
	"testing"

	"github.com/godwit-llm/godwit/internal/ops"
)

// TestEmbed: rows are copied exactly, whatever their width and the type that
// the table is stored in.
func TestEmbed(t *testing.T) {
	const vocab = 97
	for _, act := range activationTypes {
		for _, from := range activationTypes {
			t.Run(fmt.Sprintf("%s from %s", act, from), func(t *testing.T) {
				c := compareWithCPU(t, act)
				for _, width := range []int{1, 29, 64, 67, 256, 3072} {
					for _, n := range []int{1, 5, 300} {
						table, values := storedMatrix(c.rng, from, vocab, width)
						placed, err := c.Weights([]ops.Stored{table})
						c.must(err)
						out := c.place(ops.F32, n, width, 4*(width%2), make([]float32, n*width))
						b := &ops.Batch{Tokens: make([]int32, n), Positions: make([]int32, n), Start: []int32{0, int32(n)}}
						for i := range b.Tokens {
							b.Tokens[i] = int32((i*31 + vocab - 1) % vocab)
						}
						b.Slots = []int32{0}
						c.begin(b)
						c.Embed(out.dev, placed[0])
						want := make([]float32, n*width)
						rounded := round(act, values)
						for i, id := range b.Tokens {
							copy(want[i*width:], rounded[int(id)*width:(int(id)+1)*width])
						}
						copyTo(out.cpu, want)
						c.close(fmt.Sprintf("%d x %d", n, width), out, 0)
					}
				}
			})
		}
	}
}
