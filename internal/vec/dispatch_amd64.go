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

func dot(a, b []float32) float32                          { return dotPlain(a, b) }
func axpy(y []float32, a float32, x []float32)            { axpyPlain(y, a, x) }
func scan(y, state, b, c, x []float32, decay, dt float32) { scanPlain(y, state, b, c, x, decay, dt) }
func exp(dst, src []float32)                              { expPlain(dst, src) }
func silu(dst, src []float32)                             { siluPlain(dst, src) }
func expSum(x []float32, max float32) float32             { return expSumPlain(x, max) }
func sum(x []float32) float32                             { return sumPlain(x) }
func centredSquares(x []float32, mean float32) float32    { return centredSquaresPlain(x, mean) }
func bf16ToF32(dst []float32, src []uint16)               { bf16ToF32Plain(dst, src) }
func f16ToF32(dst []float32, src []uint16)                { f16ToF32Plain(dst, src) }
func f32ToBF16(dst []uint16, src []float32)               { f32ToBF16Plain(dst, src) }
func f32ToF16(dst []uint16, src []float32)                { f32ToF16Plain(dst, src) }
