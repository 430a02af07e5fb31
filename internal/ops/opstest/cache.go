package opstest

import (
	"fmt"
	"math"

	"github.com/godwit-llm/godwit/internal/ops"
)

// cached says how a layer's cache stores its keys and values.
type cached struct {
	format         ops.CacheFormat
	kScale, vScale float32
}

var plain = cached{}

func (c cached) String() string {
	if c.format == ops.Plain {
		return ""
	}
	return fmt.Sprintf(",%s,scales=%g,%g", c.format, c.kScale, c.vScale)
}

// inFormats returns the cases with each format of caches.
func inFormats(cases []attentionCase) []attentionCase {
	out := cases
	for i, c := range cases {
		c.cached = cached{format: ops.INT8}
		out = append(out, c)
		c.cached = cached{format: ops.FP8}
		if i%2 == 1 {
			c.cached = cached{ops.FP8, 0.0371, 1.3}
		}
		out = append(out, c)
	}
	return out
}

// staleIn is what stands for stale in a type.
func staleIn(t ops.DType) float32 {
	switch t {
	case ops.I8:
		return 99
	case ops.F8:
		return 320
	}
	return stale
}

// kept is how a cache has the vectors of one token.
type kept struct {
	numbers *matrix   // [heads, dim]
	scales  []float64 // [heads]
}

// values returns what is stored.
func (k kept) values() *matrix {
	out := newMatrix(k.numbers.rows, k.numbers.cols)
	for h, scale := range k.scales {
		for i, v := range k.numbers.row(h) {
			out.row(h)[i] = v * scale
		}
	}
	return out
}

// keep rounds the vectors of one token as the format says. The factor that they
// are divided by before is a float32 reciprocal.
func (c cached) keep(x []float64, heads, dim int, scale float32) kept {
	k := kept{newMatrix(heads, dim), make([]float64, heads)}
	copy(k.numbers.v, x)
	for h := range heads {
		k.scales[h] = 1
		row := k.numbers.row(h)
		switch c.format {
		case ops.INT8:
			s := int8Scale(row)
			for i, v := range row {
				row[i] = math.RoundToEven(float64(float32(v) * (1 / s)))
			}
			k.scales[h] = float64(s)
		case ops.FP8:
			if scale == 0 {
				scale = 1
			}
			for i, v := range row {
				row[i] = fromE4M3(toE4M3(float64(float32(v) * (1 / scale))))
			}
			k.scales[h] = float64(scale)
		}
	}
	return k
}

// int8Scale returns the smallest number of 8 significant bits that takes the
// largest component to 127 or less.
func int8Scale(x []float64) float32 {
	most := 0.0
	for _, v := range x {
		most = max(most, math.Abs(v))
	}
	if most == 0 {
		return 0x1p-100
	}
	fraction, exponent := math.Frexp(most / 127)
	return float32(math.Ldexp(math.Ceil(fraction*256), exponent-8))
}

// toE4M3 rounds to nearest even, by arithmetic: one unit in the last place is
// 2^(e-3), at least 2^-9. What is beyond the largest number becomes it.
func toE4M3(v float64) uint8 {
	x := min(math.Abs(v), 448)
	e := -6
	if x > 0 {
		_, e = math.Frexp(x)
		e = max(e-1, -6)
	}
	c := uint8(math.RoundToEven(math.Ldexp(x, 3-e))) + uint8(e+6)<<3 // carries into the exponent
	if math.Signbit(v) {
		c |= 0x80
	}
	return c
}

// fromE4M3 decodes a number that is not NaN.
func fromE4M3(c uint8) float64 {
	e, fraction := int(c>>3&15), float64(c&7)
	v := math.Ldexp(fraction, -9)
	if e > 0 {
		v = math.Ldexp(8+fraction, e-10)
	}
	if c >= 0x80 {
		return -v
	}
	return v
}
