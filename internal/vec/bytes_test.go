package vec

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestWidenBytes converts all values at every length up to some vectors.
func TestWidenBytes(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		const scale = 0.3
		small, wide := make([]int8, 300), make([]uint8, 300)
		for i := range small {
			small[i], wide[i] = int8(i), uint8(i)
		}
		for n := range small {
			for _, from := range []int{0, min(n, 1), max(n-37, 0)} {
				dst := make([]float32, n-from)
				I8ToF32(dst, small[from:n], scale)
				for i, v := range small[from:n] {
					if want := float32(v) * scale; dst[i] != want {
						t.Fatalf("I8ToF32(%d) = %v, want %v", v, dst[i], want)
					}
				}
				E4M3ToF32(dst, wide[from:n], scale)
				for i, c := range wide[from:n] {
					want := float32(e4m3By(c)) * scale
					if want != want && dst[i] != dst[i] {
						continue
					}
					if dst[i] != want || math.Signbit(float64(dst[i])) != (c >= 0x80) {
						t.Fatalf("E4M3ToF32(%02x) = %v, want %v", c, dst[i], want)
					}
				}
			}
		}
	})
}

// e4m3By decodes E4M3 by its definition.
func e4m3By(c uint8) float64 {
	sign, e, m := 1.0, int(c>>3&15), float64(c&7)
	if c >= 0x80 {
		sign = -1
	}
	switch {
	case c&0x7f == 0x7f:
		return math.NaN()
	case e == 0:
		return math.Copysign(math.Ldexp(m, -9), sign)
	}
	return sign * math.Ldexp(8+m, e-10)
}

// TestE4M3 rounds every value that lies on or half-way between two numbers, its
// neighbours, and random ones, and looks for a number that is nearer.
func TestE4M3(t *testing.T) {
	var src []float32
	add := func(v float64) {
		f := float32(v)
		src = append(src, f, -f, math.Nextafter32(f, 0), math.Nextafter32(f, 1000), -math.Nextafter32(f, 1000))
	}
	for c := range uint8(0x7e) {
		a, b := e4m3By(c), e4m3By(c+1)
		add(a)
		add((a + b) / 2)
	}
	add(448)
	rng := rand.New(rand.NewPCG(4, 1))
	for range 100000 {
		src = append(src, float32(rng.NormFloat64()), math.Float32frombits(rng.Uint32N(0x44000000)), 1e-3*float32(rng.NormFloat64()))
	}
	dst := make([]uint8, len(src))
	F32ToE4M3(dst, src, 1)
	for i, v := range src {
		got := dst[i]
		if math.Signbit(float64(v)) != (got >= 0x80) {
			t.Fatalf("F32ToE4M3(%v) = %02x has another sign", v, got)
		}
		err := math.Abs(e4m3By(got) - float64(v))
		for _, d := range []uint8{1, 0xff} {
			near := got + d
			if near&0x7f == 0x7f || got&0x7f == 0 && d == 0xff {
				continue // NaN, and the other sign
			}
			if e := math.Abs(e4m3By(near) - float64(v)); e < err || e == err && got&1 == 1 {
				t.Fatalf("F32ToE4M3(%v) = %v, but %v is nearer or even", v, e4m3By(got), e4m3By(near))
			}
		}
	}
}

// TestE4M3Beyond: what is out of range saturates, NaN stays NaN, and the factor
// comes first.
func TestE4M3Beyond(t *testing.T) {
	inf := float32(math.Inf(1))
	src := []float32{448, 449, 464, 480, 1e30, inf, -449, -inf, float32(math.NaN()), 0, float32(math.Copysign(0, -1))}
	want := []uint8{0x7e, 0x7e, 0x7e, 0x7e, 0x7e, 0x7e, 0xfe, 0xfe, 0x7f, 0, 0x80}
	dst := make([]uint8, len(src))
	F32ToE4M3(dst, src, 1)
	for i, v := range src {
		if dst[i] != want[i] {
			t.Errorf("F32ToE4M3(%v) = %02x, want %02x", v, dst[i], want[i])
		}
	}
	F32ToE4M3(dst[:2], []float32{2000, 3}, 0.125)
	if got := [2]float64{e4m3By(dst[0]), e4m3By(dst[1])}; got != [2]float64{256, 0.375} {
		t.Errorf("250 and 0.375 became %v, want 256 and 0.375", got)
	}
}

func TestF32ToI8(t *testing.T) {
	inf := float32(math.Inf(1))
	src := []float32{0, 0.5, 1.5, 2.5, -0.5, -1.5, 126.5, 126.6, 127, 300, -300, inf, -inf, float32(math.NaN()), 2.4999998}
	want := []int8{0, 0, 2, 2, 0, -2, 126, 127, 127, 127, -127, 127, -127, 0, 2}
	dst := make([]int8, len(src))
	F32ToI8(dst, src, 1)
	for i, v := range src {
		if dst[i] != want[i] {
			t.Errorf("F32ToI8(%v) = %d, want %d", v, dst[i], want[i])
		}
	}
	F32ToI8(dst[:1], []float32{10}, 0.75)
	if dst[0] != 8 {
		t.Errorf("F32ToI8(7.5) = %d, want 8", dst[0])
	}
}

func TestMaxAbs(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for _, c := range []struct {
		x    []float32
		want float32
	}{
		{nil, 0},
		{[]float32{-3, 2}, 3},
		{[]float32{1, inf, 2}, -inf},
	} {
		if got := MaxAbs(c.x); got != c.want {
			t.Errorf("MaxAbs(%v) = %v, want %v", c.x, got, c.want)
		}
	}
	if got := MaxAbs([]float32{1, nan, inf}); got == got {
		t.Errorf("MaxAbs with NaN = %v", got)
	}
}

// BenchmarkWidenBytes reads numbers that lie in the first cache.
func BenchmarkWidenBytes(b *testing.B) {
	const n = 4096
	dst, small, wide := make([]float32, n), make([]int8, n), make([]uint8, n)
	for i := range small {
		small[i], wide[i] = int8(i), uint8(i)&0x77
	}
	b.Run("I8", func(b *testing.B) {
		b.SetBytes(n)
		for b.Loop() {
			I8ToF32(dst, small, 0.5)
		}
	})
	b.Run("E4M3", func(b *testing.B) {
		b.SetBytes(n)
		for b.Loop() {
			E4M3ToF32(dst, wide, 0.5)
		}
	})
}
