package vec

import "math"

func bf16ToF32Plain(dst []float32, src []uint16) {
	for i, h := range src {
		dst[i] = bf16(h)
	}
}

func f16ToF32Plain(dst []float32, src []uint16) {
	for i, h := range src {
		dst[i] = f16(h)
	}
}

func f32ToBF16Plain(dst []uint16, src []float32) {
	for i, v := range src {
		dst[i] = toBF16(v)
	}
}

func f32ToF16Plain(dst []uint16, src []float32) {
	for i, v := range src {
		dst[i] = toF16(v)
	}
}

// bf16 widens the upper half of a float32.
func bf16(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

func toBF16(v float32) uint16 {
	b := math.Float32bits(v)
	if v != v {
		return uint16(b>>16) | 0x40 // quiet, so that no NaN loses all its bits
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// f16 moves exponent and fraction into place and multiplies by 2^112, the
// difference of the biases. The product is exact, for subnormals as well.
func f16(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	b := uint32(h&0x7fff) << 13
	if b >= 0x7c00<<13 {
		b |= 0x7f800000
		if b&0x7fffff != 0 {
			b |= 0x400000 // quiet NaN, as the processor's conversion
		}
		return math.Float32frombits(sign | b)
	}
	v := math.Float32frombits(b) * 0x1p112
	return math.Float32frombits(sign | math.Float32bits(v))
}

func toF16(v float32) uint16 {
	b := math.Float32bits(v)
	sign := uint16(b >> 16 & 0x8000)
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000:
		return sign | 0x7e00 | uint16(b>>13&0x3ff)
	case b >= 0x477ff000: // 65520 and above round to infinity
		return sign | 0x7c00
	case b < 0x38800000: // below 2^-14: subnormal, counted in 2^-24
		// Adding 0.5 puts the unit of the sum at 2^-24: the addition rounds.
		r := math.Float32frombits(b) + 0.5
		return sign | uint16(math.Float32bits(r)-0x3f000000)
	}
	b += 0xfff + b>>13&1
	return sign | uint16((b-0x38000000)>>13)
}
