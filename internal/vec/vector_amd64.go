package vec

// expTable holds the constants of the vector exponential: the clamps beyond
// which the result is +Inf or 0, 1/ln 2, ln 2 in two parts, and e^r = 1 + r +
// r²·P(r) on |r| ≤ ln 2 / 2 with P from the highest coefficient down (Cephes).
//
//lint:ignore U1000 the assembly reads it
var expTable = [12]float32{
	89, -105, 1.44269504088896341,
	0.693147182464599609375, -1.904654299957767878541e-9,
	1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3,
	4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1,
	1,
}

//go:noescape
func expAVX512(dst, src *float32, n int)

//go:noescape
func siluAVX512(dst, src *float32, n int)

//go:noescape
func bf16ToF32AVX512(dst *float32, src *uint16, n int)

//go:noescape
func f16ToF32AVX512(dst *float32, src *uint16, n int)

//go:noescape
func f32ToBF16AVX512(dst *uint16, src *float32, n int)

//go:noescape
func f32ToF16AVX512(dst *uint16, src *float32, n int)

//go:noescape
func expSumAVX512(x *float32, max float32, n int) float32

//go:noescape
func dotAVX512(a, b *float32, n int) float32

//go:noescape
func axpyAVX512(y *float32, a float32, x *float32, n int)

//go:noescape
func sumAVX512(x *float32, n int) float32

//go:noescape
func centredSquaresAVX512(x *float32, mean float32, n int) float32

//go:noescape
func scanAVX512(y, state, b, c, x *float32, decay, dt float32, rows, n int)

//go:noescape
func expAVX2(dst, src *float32, n int)

//go:noescape
func siluAVX2(dst, src *float32, n int)

//go:noescape
func bf16ToF32AVX2(dst *float32, src *uint16, n int)

//go:noescape
func f16ToF32AVX2(dst *float32, src *uint16, n int)

//go:noescape
func f32ToBF16AVX2(dst *uint16, src *float32, n int)

//go:noescape
func f32ToF16AVX2(dst *uint16, src *float32, n int)

//go:noescape
func expSumAVX2(x *float32, max float32, n int) float32

//go:noescape
func dotAVX2(a, b *float32, n int) float32

//go:noescape
func axpyAVX2(y *float32, a float32, x *float32, n int)

//go:noescape
func sumAVX2(x *float32, n int) float32

//go:noescape
func centredSquaresAVX2(x *float32, mean float32, n int) float32

//go:noescape
func scanAVX2(y, state, b, c, x *float32, decay, dt float32, rows, n int)
