package vec

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestSums compares the sums at every length with float64.
func TestSums(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 1))
		for n := range 300 {
			a, b := normals(rng, n+3)[3:], normals(rng, n+1)[1:]
			mean := float32(rng.NormFloat64())
			var sums, squares, centred, scale, centredScale float64
			for _, v := range a {
				d := float64(v) - float64(mean)
				sums += float64(v)
				squares += float64(v) * float64(v)
				centred += d * d
				scale += math.Abs(float64(v))
				centredScale += d * d
			}
			dots, dotScale := dot64(a, b)
			near(t, "Sum", n, Sum(a), sums, scale)
			near(t, "SumSquares", n, SumSquares(a), squares, squares)
			near(t, "CentredSquares", n, CentredSquares(a, mean), centred, centredScale)
			near(t, "Dot", n, Dot(a, b), dots, dotScale)
		}
	})
}

func near(t *testing.T, op string, n int, got float32, want, scale float64) {
	t.Helper()
	if !(math.Abs(float64(got)-want) <= 1e-6*scale) {
		t.Fatalf("%s of %d elements = %v, want %v", op, n, got, want)
	}
}

func TestAxpy(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 3))
		for n := range 100 {
			x, y, a := normals(rng, n+1)[1:], normals(rng, n+2), float32(rng.NormFloat64())
			want := append([]float32(nil), y...)
			Axpy(y[1:n+1], a, x)
			for i, v := range y {
				w := float64(want[i])
				if i > 0 && i <= n {
					w += float64(a) * float64(x[i-1])
				}
				near(t, "Axpy", n, v, w, math.Abs(w)+1)
			}
		}
	})
}

func TestScan(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 4))
		for _, shape := range [][2]int{{64, 128}, {1, 1}, {3, 16}, {5, 7}, {6, 33}, {9, 8}, {4, 15}, {7, 100}, {2, 0}, {0, 3}} {
			checkScan(t, rng, shape[0], shape[1])
		}
	})
}

func checkScan(t *testing.T, rng *rand.Rand, rows, n int) {
	t.Helper()
	state, b, c, x := normals(rng, rows*n), normals(rng, n), normals(rng, n), normals(rng, rows)
	was, y := append([]float32(nil), state...), make([]float32, rows)
	const decay, dt = 0.9, 0.3
	Scan(y, state, b, c, x, decay, dt)
	for p := range rows {
		var sum, scale float64
		for i := range n {
			s := float64(float32(decay))*float64(was[p*n+i]) + float64(float32(dt))*float64(x[p])*float64(b[i])
			near(t, "Scan state", n, state[p*n+i], s, math.Abs(float64(was[p*n+i]))+math.Abs(s)+1)
			sum += s * float64(c[i])
			scale += math.Abs(s * float64(c[i]))
		}
		near(t, "Scan", n, y[p], sum, scale+0.1)
	}
	// Each row alone gives the same bits.
	for p := range rows {
		row, one := append([]float32(nil), was[p*n:][:n]...), make([]float32, 1)
		Scan(one, row, b, c, x[p:p+1], decay, dt)
		if one[0] != y[p] {
			t.Fatalf("Scan of %d×%d: row %d is %v among others and %v alone", rows, n, p, y[p], one[0])
		}
		for i, v := range row {
			if v != state[p*n+i] {
				t.Fatalf("Scan of %d×%d: state[%d,%d] is %v among others and %v alone", rows, n, p, i, state[p*n+i], v)
			}
		}
	}
}

// TestExp walks through all exponents with the tolerance in ulp.
func TestExp(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		inf := float32(math.Inf(1))
		src := []float32{
			0, float32(math.Copysign(0, -1)), inf, -inf, float32(math.NaN()), 88.72283, 88.72284, 89, 1e30,
			-87.33655, -100, -103.2, -103.9, -103.98, -104, -1e30, 1e-40, -1e-40,
		}
		rng := rand.New(rand.NewPCG(1, 5))
		for range 200000 {
			src = append(src, float32(rng.Float64()*195-105))
		}
		for range 20000 {
			src = append(src, float32(rng.NormFloat64()))
		}
		dst, worst := make([]float32, len(src)), int64(0)
		Exp(dst, src)
		for i, x := range src {
			want := float32(math.Exp(float64(x)))
			d := ulps(dst[i], want)
			worst = max(worst, d)
			if d > 2 {
				t.Fatalf("Exp(%v) = %v, want %v", x, dst[i], want)
			}
		}
		t.Logf("worst error %d ulp", worst)
	})
}

// ulps counts the floats from a to b. NaN equals NaN.
func ulps(a, b float32) int64 {
	if a != a || b != b {
		if a != a && b != b {
			return 0
		}
		return math.MaxInt64
	}
	order := func(v float32) int64 {
		i := int64(math.Float32bits(v))
		if i >= 1<<31 {
			return 1<<31 - i
		}
		return i
	}
	d := order(a) - order(b)
	return max(d, -d)
}

func TestSiLU(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 6))
		src := []float32{0, 1e30, -1e30, float32(math.Inf(1)), float32(math.NaN()), 1e-40}
		for range 50000 {
			src = append(src, float32(rng.NormFloat64()*30))
		}
		dst := make([]float32, len(src))
		SiLU(dst, src)
		for i, x := range src {
			want := float64(x) / (1 + math.Exp(-float64(x)))
			// Where e^-x overflows, the result is 0 instead of some -1e-37.
			if ulps(dst[i], float32(want)) > 4 && math.Abs(float64(dst[i])-want) > 1e-36 {
				t.Fatalf("SiLU(%v) = %v, want %v", x, dst[i], want)
			}
		}
	})
}

func TestExpSum(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 7))
		for n := range 130 {
			x := normals(rng, n+1)
			src := append([]float32(nil), x...)
			got := ExpSum(x[:n], 1.5)
			var want float64
			for i, v := range src[:n] {
				e := float32(math.Exp(float64(v - 1.5)))
				if ulps(x[i], e) > 2 {
					t.Fatalf("ExpSum: e^(%v-1.5) = %v, want %v", v, x[i], e)
				}
				want += float64(e)
			}
			near(t, "ExpSum", n, got, want, want)
			if x[n] != src[n] {
				t.Fatalf("ExpSum of %d elements wrote one more", n)
			}
		}
	})
}

// TestElementwisePlace computes slices whole, in parts and in place: no
// element depends on where it stands.
func TestElementwisePlace(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 8))
		src := normals(rng, 100)
		for name, f := range map[string]func(dst, src []float32){"Exp": Exp, "SiLU": SiLU} {
			whole := make([]float32, len(src))
			f(whole, src)
			for n := range 40 {
				at := rng.IntN(len(src) - n)
				part := append([]float32(nil), src...)
				f(part[at:at+n], part[at:at+n])
				for i, v := range part {
					want := src[i]
					if i >= at && i < at+n {
						want = whole[i]
					}
					if v != want {
						t.Fatalf("%s of [%d:%d]: element %d is %v, want %v", name, at, at+n, i, v, want)
					}
				}
			}
		}
	})
}

func TestShortSlicesPanic(t *testing.T) {
	f, h := make([]float32, 4), make([]uint16, 4)
	for name, call := range map[string]func(){
		"Dot":       func() { Dot(f, f[:3]) },
		"Axpy":      func() { Axpy(f[:3], 1, f) },
		"Exp":       func() { Exp(f[:3], f) },
		"SiLU":      func() { SiLU(f[:3], f) },
		"Scan":      func() { Scan(f[:2], f[:3], f[:2], f[:2], f[:2], 1, 1) },
		"BF16ToF32": func() { BF16ToF32(f[:3], h) },
		"F16ToF32":  func() { F16ToF32(f[:3], h) },
		"F32ToBF16": func() { F32ToBF16(h[:3], f) },
		"F32ToF16":  func() { F32ToF16(h[:3], f) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s of slices too short: no panic", name)
				}
			}()
			call()
		}()
	}
}
