package ops

import (
	"slices"
	"time"

	"github.com/godwit-llm/godwit/internal/vec"
)

// Bandwidth measures how fast all threads together read n bytes of memory, in
// bytes/s: the faster of a sum and of a product with one column, each the
// median of a few runs. It takes that much memory for the time of the call.
func (b *CPU) Bandwidth(n int) (float64, error) {
	const cols, rows = 4096, 16 // of a piece, float32
	w := make([]float32, max(1, n/(4*cols*rows))*cols*rows)
	x, out := make([]float32, cols), make([]float32, len(w)/cols)
	pieces := len(w) / (cols * rows)
	b.pool.each(pieces, 1, func(_, from, to int) { // untouched memory is one page of zeros
		for i := from * cols * rows; i < to*cols*rows; i++ {
			w[i] = 1
		}
	})
	sum := b.timed(pieces, func(i int) {
		out[i*rows] = vec.Sum(w[i*cols*rows : (i+1)*cols*rows])
	})
	product := b.timed(pieces, func(i int) {
		vec.ProductF32(out[i*rows:(i+1)*rows], rows, w[i*cols*rows:(i+1)*cols*rows], x, cols, rows, 1, cols)
	})
	return float64(4*len(w)) / min(sum, product).Seconds(), nil
}

// timed returns the median time of a few loops over n pieces.
func (b *CPU) timed(n int, body func(i int)) time.Duration {
	times := make([]time.Duration, 5)
	for r := range times {
		start := time.Now()
		b.pool.each(n, 1, func(_, from, to int) {
			for i := from; i < to; i++ {
				body(i)
			}
		})
		times[r] = time.Since(start)
	}
	slices.Sort(times)
	return times[len(times)/2]
}

// productTokens is the number of rows that ProductRate multiplies with.
const productTokens = 256

// ProductRate measures the product of 256 tokens with an n x n matrix of BF16,
// in operations/s, two for each multiplication: the median of a few runs. by
// says whose product it was.
func (b *CPU) ProductRate(n int) (rate float64, by string, err error) {
	w := b.random(BF16, n, n, Random{Seed: 1, Scale: 1})
	x := b.random(F32, productTokens, n, Random{Seed: 2, Scale: 1})
	out := newFloats(productTokens, n)
	layer := &Linear{In: n, Out: n, Weight: []Tensor{w}}
	times := make([]time.Duration, 5)
	for r := range times {
		start := time.Now()
		b.Linear(out, x, layer, Epilogue{})
		times[r] = time.Since(start)
	}
	slices.Sort(times)
	return 2 * productTokens * float64(n) * float64(n) / times[len(times)/2].Seconds(), "own product, " + vec.Features(), nil
}
