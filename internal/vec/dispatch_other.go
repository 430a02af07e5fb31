//go:build !amd64

package vec

func features() string { return "plain go" }

func productBF16(out []float32, outStride int, w []uint16, x []float32, xStride, rows, cols, n int) {
	productBF16Plain(out, outStride, w, x, xStride, rows, cols, n)
}

func productF16(out []float32, outStride int, w []uint16, x []float32, xStride, rows, cols, n int) {
	productF16Plain(out, outStride, w, x, xStride, rows, cols, n)
}

func productF32(out []float32, outStride int, w, x []float32, xStride, rows, cols, n int) {
	productF32Plain(out, outStride, w, x, xStride, rows, cols, n)
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
func i8ToF32(dst []float32, src []int8, scale float32)    { i8ToF32Plain(dst, src, scale) }
func e4m3ToF32(dst []float32, src []uint8, scale float32) { e4m3ToF32Plain(dst, src, scale) }
