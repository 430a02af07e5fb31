package ops_test

import (
	"math"
	"testing"

	"github.com/godwit-llm/godwit/internal/ops"
)

// TestCacheShapeBytes: at heads of 128 columns INT8 takes 0.51 of 16 bits.
func TestCacheShapeBytes(t *testing.T) {
	s := ops.CacheShape{Pages: 3, PageSize: 16, KVHeads: 8, HeadDim: 128}
	full := s.Bytes(ops.BF16)
	if full != 2*2*3*16*8*128 {
		t.Errorf("got %d bytes in 16 bits", full)
	}
	s.Format = ops.FP8
	if got := s.Bytes(ops.BF16); 2*got != full {
		t.Errorf("FP8 takes %d of %d bytes, want half", got, full)
	}
	s.Format = ops.INT8
	if got := s.Bytes(ops.BF16); float64(got) > 0.51*float64(full) || got != full/256*130 {
		t.Errorf("INT8 takes %d of %d bytes, want 130/256", got, full)
	}
}

// TestInt8Scale: the scale is a BF16 number, takes the largest component to 127
// and none beyond, and is finite unless that is not.
func TestInt8Scale(t *testing.T) {
	for _, most := range []float32{0, 1e-45, 1e-38, 1e-30, 0.1, 1, 126.99, 127, 127.01, 254, 3e4, math.MaxFloat32} {
		scale := ops.Int8Scale(most)
		if math.Float32bits(scale)&0xffff != 0 {
			t.Errorf("the scale of %g is %g, no BF16 number", most, scale)
		}
		if n := most * (1 / scale); n > 127.0001 || most > 1e-26 && n < 126 {
			t.Errorf("the scale of %g is %g: the component becomes %g", most, scale, n)
		}
	}
	if got := ops.Int8Scale(float32(math.Inf(1))); !math.IsInf(float64(got), 1) {
		t.Errorf("the scale of infinity is %g", got)
	}
	for _, bits := range []uint32{0x7fc00000, 0x7f800001, 0x7fffffff} {
		if got := ops.Int8Scale(math.Float32frombits(bits)); got == got {
			t.Errorf("the scale of NaN %08x is %g", bits, got)
		}
	}
}
