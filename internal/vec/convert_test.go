package vec

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestWiden converts all 65,536 values, at two alignments.
func TestWiden(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		src := make([]uint16, 1<<16+3)
		for i := range src {
			src[i] = uint16(i)
		}
		dst := make([]float32, len(src))
		BF16ToF32(dst, src)
		for i, h := range src {
			if got := math.Float32bits(dst[i]); got != uint32(h)<<16 {
				t.Fatalf("BF16ToF32(%04x) = %08x", h, got)
			}
		}
		F16ToF32(dst, src)
		for i, h := range src {
			if want := half64(h); want != want {
				if dst[i] == dst[i] || math.Signbit(float64(dst[i])) != (h>>15 == 1) {
					t.Fatalf("F16ToF32(%04x) = %v, want NaN of its sign", h, dst[i])
				}
			} else if float64(dst[i]) != want || math.Signbit(float64(dst[i])) != math.Signbit(want) {
				t.Fatalf("F16ToF32(%04x) = %v, want %v", h, dst[i], want)
			}
		}
	})
}

// half64 decodes IEEE half precision by its definition.
func half64(h uint16) float64 {
	sign, e, m := 1.0, int(h>>10&31), float64(h&0x3ff)
	if h>>15 == 1 {
		sign = -1
	}
	switch {
	case e == 31 && m != 0:
		return math.NaN()
	case e == 31:
		return sign * math.Inf(1)
	case e == 0:
		return math.Copysign(math.Ldexp(m, -24), sign)
	}
	return sign * math.Ldexp(1024+m, e-25)
}

// TestNarrow checks that the neighbours of a rounded value are no nearer, that
// ties go to the even one, and that all implementations agree.
func TestNarrow(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	src := []float32{0, 65504, 65519.99, 65520, 1e30, 5.9604645e-8, 2.9802322e-8, 2.98023224e-8, 6.1e-5, math.MaxFloat32}
	for range 100000 {
		src = append(src, math.Float32frombits(rng.Uint32()), float32(rng.NormFloat64()*0.001),
			math.Float32frombits(rng.Uint32()&0xffff0000|0x8000), // bf16 ties
			math.Float32frombits(0x38000000+rng.Uint32N(0x10000)<<12))
	}
	for i, v := range []float64{math.Inf(1), math.Inf(-1), math.NaN()} {
		src[20+i] = float32(v)
	}
	src[30] = math.Float32frombits(0x7f800001) // a NaN with low bits only
	eachLevel(t, func(t *testing.T) {
		dst := make([]uint16, len(src))
		F32ToBF16(dst, src)
		checkNarrow(t, "F32ToBF16", src, dst, bf16, toBF16)
		F32ToF16(dst, src)
		checkNarrow(t, "F32ToF16", src, dst, f16, toF16)
	})
}

func checkNarrow(t *testing.T, op string, src []float32, dst []uint16, widen func(uint16) float32, plain func(float32) uint16) {
	t.Helper()
	for i, v := range src {
		got := widen(dst[i])
		if dst[i] != plain(v) {
			t.Fatalf("%s(%08x) = %04x, plain %04x", op, math.Float32bits(v), dst[i], plain(v))
		}
		if v != v {
			if got == got {
				t.Fatalf("%s(NaN) = %04x", op, dst[i])
			}
			continue
		}
		if math.Signbit(float64(got)) != math.Signbit(float64(v)) {
			t.Fatalf("%s(%v) = %v", op, v, got)
		}
		if math.IsInf(float64(got), 0) {
			continue // the values next to infinity are in the list, against plain
		}
		err := math.Abs(float64(got) - float64(v))
		for _, d := range []uint16{1, 0xffff} {
			if dst[i]&0x7fff == 0 && d == 0xffff {
				continue // below zero comes the other sign
			}
			near := math.Abs(float64(widen(dst[i]+d)) - float64(v))
			if near < err || near == err && dst[i]&1 == 1 {
				t.Fatalf("%s(%v) = %v, but %v is nearer or even", op, v, got, widen(dst[i]+d))
			}
		}
	}
}
