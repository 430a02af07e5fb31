package vec

//go:noescape
func i8ToF32AVX512(dst *float32, src *int8, scale float32, n int)

//go:noescape
func e4m3ToF32AVX512(dst *float32, src *uint8, scale float32, n int)

//go:noescape
func i8ToF32AVX2(dst *float32, src *int8, scale float32, n int)

//go:noescape
func e4m3ToF32AVX2(dst *float32, src *uint8, scale float32, n int)

// The assembly takes whole vectors. Widening rounds at most once, in the
// product, so that the last elements come out of plain Go alike.

func i8ToF32(dst []float32, src []int8, scale float32) {
	whole := 0
	switch {
	case active == avx512 && len(src) >= 16:
		whole = len(src) &^ 15
		i8ToF32AVX512(&dst[0], &src[0], scale, whole)
	case active != plain && len(src) >= 8:
		whole = len(src) &^ 7
		i8ToF32AVX2(&dst[0], &src[0], scale, whole)
	}
	i8ToF32Plain(dst[whole:], src[whole:], scale)
}

func e4m3ToF32(dst []float32, src []uint8, scale float32) {
	whole := 0
	switch {
	case active == avx512 && len(src) >= 16:
		whole = len(src) &^ 15
		e4m3ToF32AVX512(&dst[0], &src[0], scale, whole)
	case active != plain && len(src) >= 8:
		whole = len(src) &^ 7
		e4m3ToF32AVX2(&dst[0], &src[0], scale, whole)
	}
	e4m3ToF32Plain(dst[whole:], src[whole:], scale)
}
