package ops

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// TestRandomFill: a piece has the values that the whole has at its place, none
// is 0 or out of bounds, and mean and deviation are those of an even
// distribution.
func TestRandomFill(t *testing.T) {
	r := Random{Seed: 0x123456789abcdef, Scale: 0.25}
	whole := make([]float32, 1<<16)
	r.Fill(whole, 0)
	for _, from := range []int{0, 1, 7, 8, 9, 1003} {
		for _, n := range []int{0, 1, 6, 8, 31} {
			part := make([]float32, n)
			r.Fill(part, from)
			if !slices.Equal(part, whole[from:from+n]) {
				t.Errorf("%d values from %d on are not those of the whole", n, from)
			}
		}
	}
	var sum, squares float64
	for i, v := range whole {
		if v == 0 || math.Abs(float64(v)) >= 0.25 {
			t.Fatalf("value %d is %g, want one between 0 and 0.25 from it", i, v)
		}
		sum += float64(v)
		squares += float64(v) * float64(v)
	}
	n := float64(len(whole))
	if mean, dev := sum/n, math.Sqrt(squares/n); math.Abs(mean) > 4*dev/math.Sqrt(n) || math.Abs(dev/(0.25/math.Sqrt(3))-1) > 0.01 {
		t.Errorf("got mean %g and deviation %g, want 0 and %g", mean, dev, 0.25/math.Sqrt(3))
	}
	other := make([]float32, 64)
	Random{Seed: 1, Scale: 0.25}.Fill(other, 0)
	if slices.Equal(other, whole[:64]) {
		t.Error("another seed gives the same values")
	}
}

// TestRandomFixed pins the numbers: measurements of two versions shall have the
// same weights.
func TestRandomFixed(t *testing.T) {
	got := make([]float32, 8)
	Random{Seed: 42, Scale: 1 << 15}.Fill(got, 5)
	words := append(philoxHalves(42, 0), philoxHalves(42, 1)...)
	for i, v := range got {
		if want := float32(words[5+i] | 1); v != want {
			t.Errorf("value %d is %g, want %g", 5+i, v, want)
		}
	}
}

// philoxHalves are the eight halves of one block.
func philoxHalves(seed, block uint32) []int16 {
	var out []int16
	for _, w := range philox([4]uint32{block, 0, 0, 0}, seed, 0) {
		out = append(out, int16(w), int16(w>>16))
	}
	return out
}

// TestRandomWeights: matrices of every type hold the values, rounded, however
// many threads make them.
func TestRandomWeights(t *testing.T) {
	r := Random{Seed: 3, Scale: 2}
	for _, kind := range []DType{F32, BF16, F16} {
		for _, rows := range []int{0, 1, 77} {
			t.Run(fmt.Sprintf("%s/%d", kind, rows), func(t *testing.T) {
				const cols = 129
				want := make([]float32, rows*cols)
				r.Fill(want, 0)
				for _, threads := range []int{1, 3} {
					b := NewCPU(threads)
					defer b.Close()
					placed, err := b.Weights([]Stored{{Name: "w", Type: kind, Rows: rows, Cols: cols, Random: &r}})
					if err != nil {
						t.Fatal(err)
					}
					got := make([]float32, rows*cols)
					if err := b.Read(got, placed[0]); err != nil {
						t.Fatal(err)
					}
					for i := range want {
						if limit := map[DType]float64{F32: 0, BF16: 1.0 / 256, F16: 1.0 / 2048}[kind]; math.Abs(float64(got[i]/want[i])-1) > limit {
							t.Fatalf("value %d is %g, want %g", i, got[i], want[i])
						}
					}
				}
			})
		}
	}
}

func BenchmarkRandom(b *testing.B) {
	dst := make([]float32, 1<<16)
	b.SetBytes(2 << 16) // as bf16
	for b.Loop() {
		Random{Seed: 1, Scale: 1}.Fill(dst, 0)
	}
}
