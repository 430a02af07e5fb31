package vec

import "math"

// MaxI8 is the largest whole number that F32ToI8 writes, and -MaxI8 the
// smallest.
const MaxI8 = 127

// MaxE4M3 is the largest E4M3 number. What is beyond it becomes ±MaxE4M3.
const MaxE4M3 = 448

// MaxAbs returns the largest |x[i]|, 0 for none, and NaN if there is one.
func MaxAbs(x []float32) float32 {
	most := uint32(0)
	for _, v := range x {
		most = max(most, math.Float32bits(v)&0x7fffffff) // NaN is above infinity
	}
	return math.Float32frombits(most)
}

// F32ToI8 rounds src[i]·factor to the nearest whole number, ties to even, and
// to ±127 what is beyond. NaN becomes 0.
func F32ToI8(dst []int8, src []float32, factor float32) {
	checkSame("F32ToI8", len(dst), len(src))
	for i, v := range src {
		dst[i] = toI8(v * factor)
	}
}

// I8ToF32 sets dst[i] to src[i]·scale.
func I8ToF32(dst []float32, src []int8, scale float32) {
	checkSame("I8ToF32", len(dst), len(src))
	i8ToF32(dst, src, scale)
}

// F32ToE4M3 rounds src[i]·factor to the nearest E4M3 number (a sign, four bits
// of exponent with a bias of 7, three of fraction; subnormals, no infinities),
// ties to even. What is beyond ±448, infinities included, becomes ±448; NaN
// becomes 0x7f. The hardware of compute capability 8.9 rounds alike.
func F32ToE4M3(dst []uint8, src []float32, factor float32) {
	checkSame("F32ToE4M3", len(dst), len(src))
	for i, v := range src {
		dst[i] = toE4M3(v * factor)
	}
}

// E4M3ToF32 sets dst[i] to the E4M3 number src[i] times scale.
func E4M3ToF32(dst []float32, src []uint8, scale float32) {
	checkSame("E4M3ToF32", len(dst), len(src))
	e4m3ToF32(dst, src, scale)
}

func toI8(v float32) int8 {
	switch {
	case v != v:
		return 0
	case v >= MaxI8:
		return MaxI8
	case v <= -MaxI8:
		return -MaxI8
	}
	return int8(math.RoundToEven(float64(v)))
}

func i8ToF32Plain(dst []float32, src []int8, scale float32) {
	for i, v := range src {
		dst[i] = float32(v) * scale
	}
}

func toE4M3(v float32) uint8 {
	b := math.Float32bits(v)
	sign := uint8(b >> 24 & 0x80)
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000:
		return 0x7f
	case b >= 0x43e00000: // 448
		return sign | 0x7e
	case b < 0x3c800000: // below 2^-6: subnormal, counted in 2^-9
		// Adding 2^14 puts the unit of the sum at 2^-9: the addition rounds.
		r := math.Float32frombits(b) + 0x1p14
		return sign | uint8(math.Float32bits(r)-0x46800000)
	}
	b += 0x7ffff + b>>20&1
	return sign | uint8((b-0x3c000000)>>20)
}

func e4m3(c uint8) float32 {
	sign, b := uint32(c&0x80)<<24, uint32(c&0x7f)
	switch {
	case b == 0x7f:
		return math.Float32frombits(sign | 0x7fc00000)
	case b < 8: // subnormal
		return math.Float32frombits(sign | math.Float32bits(float32(b)*0x1p-9))
	}
	return math.Float32frombits(sign | (b<<20 + 0x3c000000)) // the difference of the biases is 120
}

func e4m3ToF32Plain(dst []float32, src []uint8, scale float32) {
	for i, c := range src {
		dst[i] = e4m3(c) * scale
	}
}
