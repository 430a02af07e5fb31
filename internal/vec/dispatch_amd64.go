package vec

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// level is an instruction set. A higher one includes the lower ones.
type level int

const (
	plain  level = iota
	avx2         // AVX2, FMA and F16C
	avx512       // also AVX-512 F, BW and VL
)

// active is the level in use. Only tests change it.
var active = detect()

// vbmi says that AVX-512 comes with byte permutations, as since Ice Lake and
// Zen 4. They widen bf16 in one step, to the same bits.
var vbmi = cpu.X86.HasAVX512VBMI

func detect() level {
	if !cpu.X86.HasAVX2 || !cpu.X86.HasFMA || !cpu.X86.HasF16C {
		return plain
	}
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL {
		return avx512
	}
	return avx2
}

func features() string { return [...]string{"plain go", "avx2", "avx512"}[active] }

func productBF16(out []float32, outStride int, w []uint16, x []float32, xStride, rows, cols, n int) {
	if active == plain {
		productBF16Plain(out, outStride, w, x, xStride, rows, cols, n)
		return
	}
	kernel{active, bf16Weights}.product(out, outStride, unsafe.Pointer(&w[0]), x, xStride, rows, cols, n)
}

func productF16(out []float32, outStride int, w []uint16, x []float32, xStride, rows, cols, n int) {
	if active == plain {
		productF16Plain(out, outStride, w, x, xStride, rows, cols, n)
		return
	}
	kernel{active, f16Weights}.product(out, outStride, unsafe.Pointer(&w[0]), x, xStride, rows, cols, n)
}

func productF32(out []float32, outStride int, w, x []float32, xStride, rows, cols, n int) {
	if active == plain {
		productF32Plain(out, outStride, w, x, xStride, rows, cols, n)
		return
	}
	kernel{active, f32Weights}.product(out, outStride, unsafe.Pointer(&w[0]), x, xStride, rows, cols, n)
}

func dot(a, b []float32) float32 {
	switch {
	case len(a) == 0:
		return 0
	case active == avx512:
		return dotAVX512(&a[0], &b[0], len(a))
	case active == avx2:
		return dotAVX2(&a[0], &b[0], len(a))
	default:
		return dotPlain(a, b)
	}
}

func sum(x []float32) float32 {
	switch {
	case len(x) == 0:
		return 0
	case active == avx512:
		return sumAVX512(&x[0], len(x))
	case active == avx2:
		return sumAVX2(&x[0], len(x))
	default:
		return sumPlain(x)
	}
}

func centredSquares(x []float32, mean float32) float32 {
	switch {
	case len(x) == 0:
		return 0
	case active == avx512:
		return centredSquaresAVX512(&x[0], mean, len(x))
	case active == avx2:
		return centredSquaresAVX2(&x[0], mean, len(x))
	default:
		return centredSquaresPlain(x, mean)
	}
}

func expSum(x []float32, max float32) float32 {
	switch {
	case len(x) == 0:
		return 0
	case active == avx512:
		return expSumAVX512(&x[0], max, len(x))
	case active == avx2:
		return expSumAVX2(&x[0], max, len(x))
	default:
		return expSumPlain(x, max)
	}
}

func exp(dst, src []float32) {
	switch {
	case len(src) == 0:
		return
	case active == avx512:
		expAVX512(&dst[0], &src[0], len(src))
	case active == avx2:
		expAVX2(&dst[0], &src[0], len(src))
	default:
		expPlain(dst, src)
	}
}

func silu(dst, src []float32) {
	switch {
	case len(src) == 0:
		return
	case active == avx512:
		siluAVX512(&dst[0], &src[0], len(src))
	case active == avx2:
		siluAVX2(&dst[0], &src[0], len(src))
	default:
		siluPlain(dst, src)
	}
}

func axpy(y []float32, a float32, x []float32) {
	switch {
	case len(x) == 0:
		return
	case active == avx512:
		axpyAVX512(&y[0], a, &x[0], len(x))
	case active == avx2:
		axpyAVX2(&y[0], a, &x[0], len(x))
	default:
		axpyPlain(y, a, x)
	}
}

func scan(y, state, b, c, x []float32, decay, dt float32) {
	switch {
	case len(state) == 0 || active == plain:
		scanPlain(y, state, b, c, x, decay, dt)
	case active == avx512:
		scanAVX512(&y[0], &state[0], &b[0], &c[0], &x[0], decay, dt, len(x), len(b))
	default:
		scanAVX2(&y[0], &state[0], &b[0], &c[0], &x[0], decay, dt, len(x), len(b))
	}
}

// The conversions round alike everywhere, so those that AVX2 cannot mask leave
// the last elements to plain Go.

func bf16ToF32(dst []float32, src []uint16) {
	if active == avx512 && len(src) > 0 {
		bf16ToF32AVX512(&dst[0], &src[0], len(src))
		return
	}
	whole := 0
	if active == avx2 && len(src) >= 8 {
		whole = len(src) &^ 7
		bf16ToF32AVX2(&dst[0], &src[0], whole)
	}
	bf16ToF32Plain(dst[whole:], src[whole:])
}

func f16ToF32(dst []float32, src []uint16) {
	if active == avx512 && len(src) > 0 {
		f16ToF32AVX512(&dst[0], &src[0], len(src))
		return
	}
	whole := 0
	if active == avx2 && len(src) >= 8 {
		whole = len(src) &^ 7
		f16ToF32AVX2(&dst[0], &src[0], whole)
	}
	f16ToF32Plain(dst[whole:], src[whole:])
}

func f32ToF16(dst []uint16, src []float32) {
	if active == avx512 && len(src) > 0 {
		f32ToF16AVX512(&dst[0], &src[0], len(src))
		return
	}
	whole := 0
	if active == avx2 && len(src) >= 8 {
		whole = len(src) &^ 7
		f32ToF16AVX2(&dst[0], &src[0], whole)
	}
	f32ToF16Plain(dst[whole:], src[whole:])
}

func f32ToBF16(dst []uint16, src []float32) {
	if active == avx512 && len(src) > 0 {
		f32ToBF16AVX512(&dst[0], &src[0], len(src))
		return
	}
	whole := 0
	if active == avx2 && len(src) >= 8 {
		whole = len(src) &^ 7
		f32ToBF16AVX2(&dst[0], &src[0], whole)
	}
	f32ToBF16Plain(dst[whole:], src[whole:])
}
