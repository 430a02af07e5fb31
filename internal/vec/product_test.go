package vec

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// stored is a weight type under test.
type stored struct {
	name    string
	product func(out []float32, outStride int, w []float32, x []float32, xStride, rows, cols, n int)
	round   func(w []float32) // to the values that the type can hold
}

var storedTypes = []stored{
	{"bf16", func(out []float32, outStride int, w, x []float32, xStride, rows, cols, n int) {
		ProductBF16(out, outStride, narrow(toBF16, w), x, xStride, rows, cols, n)
	}, func(w []float32) { roundTo(w, toBF16, bf16) }},
	{"f16", func(out []float32, outStride int, w, x []float32, xStride, rows, cols, n int) {
		ProductF16(out, outStride, narrow(toF16, w), x, xStride, rows, cols, n)
	}, func(w []float32) { roundTo(w, toF16, f16) }},
	{"f32", func(out []float32, outStride int, w, x []float32, xStride, rows, cols, n int) {
		ProductF32(out, outStride, w, x, xStride, rows, cols, n)
	}, func([]float32) {}},
}

func narrow(to func(float32) uint16, w []float32) []uint16 {
	h := make([]uint16, len(w))
	for i, v := range w {
		h[i] = to(v)
	}
	return h
}

func roundTo(w []float32, to func(float32) uint16, from func(uint16) float32) {
	for i, v := range w {
		w[i] = from(to(v))
	}
}

func normals(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

// TestProduct compares random shapes with sums in float64, and checks that
// nothing but the outputs is written.
func TestProduct(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		for trial := range 300 {
			for _, s := range storedTypes {
				rows, cols, n := 1+rng.IntN(21), 1+rng.IntN(20), rng.IntN(301)
				if trial%3 == 0 {
					cols = 1
				}
				checkAgainstFloat64(t, rng, s, rows, cols, n)
			}
		}
	})
}

func checkAgainstFloat64(t *testing.T, rng *rand.Rand, s stored, rows, cols, n int) {
	t.Helper()
	const untouched = float32(-12345)
	xStride, outStride := n+rng.IntN(5), rows+rng.IntN(5)
	w, x := normals(rng, rows*n), normals(rng, cols*xStride)
	s.round(w)
	out := make([]float32, cols*outStride+3)
	for i := range out {
		out[i] = untouched
	}
	s.product(out, outStride, w, x, xStride, rows, cols, n)
	for at, got := range out {
		i, j := at%outStride, at/outStride
		if i >= rows || j >= cols {
			if got != untouched {
				t.Fatalf("%s %d×%d×%d: wrote out[%d] outside the outputs", s.name, rows, cols, n, at)
			}
			continue
		}
		want, scale := dot64(w[i*n:][:n], x[j*xStride:][:n])
		if math.Abs(float64(got)-want) > 1e-6*scale {
			t.Fatalf("%s %d×%d×%d: out[%d,%d] = %v, want %v", s.name, rows, cols, n, j, i, got, want)
		}
	}
}

// dot64 returns Σ a·b and Σ |a·b|.
func dot64(a, b []float32) (sum, abs float64) {
	for i := range a {
		p := float64(a[i]) * float64(b[i])
		sum += p
		abs += math.Abs(p)
	}
	return sum, abs
}

// TestProductBatchInvariance computes a product whole and then any part of it,
// from slices of any alignment: every output keeps its bits.
func TestProductBatchInvariance(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 4))
		for range 60 {
			for _, s := range storedTypes {
				checkParts(t, rng, s)
			}
		}
	})
}

func checkParts(t *testing.T, rng *rand.Rand, s stored) {
	t.Helper()
	rows, cols, n := 1+rng.IntN(40), 1+rng.IntN(30), rng.IntN(301)
	w, x := normals(rng, rows*n), normals(rng, cols*n)
	s.round(w)
	whole := make([]float32, rows*cols)
	s.product(whole, rows, w, x, n, rows, cols, n)
	for range 12 {
		i, j := rng.IntN(rows), rng.IntN(cols)
		r, c := 1+rng.IntN(rows-i), 1+rng.IntN(cols-j)
		wAt, xAt, outAt := rng.IntN(17), rng.IntN(17), rng.IntN(17)
		xStride, outStride := n+rng.IntN(9), r+rng.IntN(9)
		px := make([]float32, xAt+c*xStride)
		for k := range c {
			copy(px[xAt+k*xStride:], x[(j+k)*n:][:n])
		}
		pw := append(make([]float32, wAt), w[i*n:(i+r)*n]...)
		out := make([]float32, outAt+c*outStride)
		s.product(out[outAt:], outStride, pw[wAt:], px[xAt:], xStride, r, c, n)
		for k := range r * c {
			a, b := i+k%r, j+k/r
			got, want := out[outAt+k/r*outStride+k%r], whole[b*rows+a]
			if math.Float32bits(got) != math.Float32bits(want) {
				t.Fatalf("%s: row %d, column %d of %d×%d×%d is %x, alone in %d×%d it is %x",
					s.name, a, b, rows, cols, n, math.Float32bits(want), r, c, math.Float32bits(got))
			}
		}
	}
}

// TestProductBlocks is large enough for several weight blocks.
func TestProductBlocks(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 6))
		for _, cols := range []int{8, minColumns + 2} {
			checkBlocks(t, rng, 75, cols, blockBytes/4/32)
		}
	})
}

func checkBlocks(t *testing.T, rng *rand.Rand, rows, cols, n int) {
	t.Helper()
	h := narrow(toBF16, normals(rng, rows*n))
	x := normals(rng, cols*n)
	out, one := make([]float32, rows*cols), make([]float32, 1)
	ProductBF16(out, rows, h, x, n, rows, cols, n)
	for at, want := range out {
		ProductBF16(one, 1, h[at%rows*n:], x[at/rows*n:], n, 1, 1, n)
		if one[0] != want {
			t.Fatalf("row %d, column %d: %v alone, %v in the product", at%rows, at/rows, one[0], want)
		}
	}
}

// TestProductAllocates nothing, with operands on the stack.
func TestProductAllocates(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		allocs := testing.AllocsPerRun(10, func() {
			var w [64]uint16
			var x, out [16]float32
			ProductBF16(out[:], 8, w[:], x[:], 8, 8, 2, 8)
			ProductBF16(out[:], 3, w[:], x[:], 8, 3, 2, 8)
			Exp(out[:], x[:])
			out[0] = Dot(out[:], x[:])
		})
		if allocs != 0 {
			t.Errorf("%v allocations", allocs)
		}
	})
}

func TestProductPanics(t *testing.T) {
	w, x, out := make([]uint16, 32), make([]float32, 16), make([]float32, 8)
	for _, c := range []struct{ outStride, xStride, rows, cols, n int }{
		{4, 8, 5, 1, 8},  // weights
		{4, 8, 4, 3, 8},  // inputs
		{5, 8, 4, 2, 8},  // outputs
		{3, 8, 4, 2, 8},  // outStride
		{4, 7, 4, 2, 8},  // xStride
		{4, 8, -1, 1, 8}, // rows
		{4, 8, 1, -1, 8}, // cols
		{4, 8, 1, 1, -8}, // n
		{4, math.MaxInt, 4, 2, 8},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			ProductBF16(out, c.outStride, w, x, c.xStride, c.rows, c.cols, c.n)
		})
	}
	ProductBF16(nil, 0, nil, nil, 0, 0, 4, 8)
	ProductBF16(nil, 0, nil, nil, 0, 4, 0, 8)
	ProductBF16(out, 4, w, x, 8, 4, 2, 8)
	out[3] = 1
	if ProductBF16(out, 4, nil, nil, 0, 4, 2, 0); out[3] != 0 {
		t.Error("a product of length 0 is not zero")
	}
}
