package kernels

import (
	"fmt"
	"strings"
	"testing"

	"github.com/godwit-llm/godwit/internal/ops"
)

// manyCases are products for many tokens.
func manyCases() []productCase {
	var out []productCase
	for _, n := range []int{17, 40, 64, 130, 257} {
		for i, s := range [][2]int{{1, 1}, {7, 3}, {16, 64}, {70, 130}, {129, 8}, {300, 96}, {513, 416}, {64, 3104}} {
			margin := []int{0, 8, 16, 3}[(n+i)%4]
			out = append(out, productCase{n: n, parts: []int{s[0]}, cols: s[1], margin: margin, wide: (n+i)%3 == 0, add: (n+i)%3 == 0})
		}
	}
	out = append(out, epilogues(productCase{n: 70, parts: []int{150, 4, 13}, cols: 128, margin: 8})...)
	out = append(out, epilogues(productCase{n: 33, parts: []int{19}, cols: 33, margin: 1})...)
	return append(out,
		productCase{n: 200, parts: []int{3072, 1024, 1024}, cols: 3072},
		productCase{n: 65, parts: []int{3072}, cols: 9216, wide: true, add: true},
		productCase{n: 129, parts: []int{2688}, cols: 1856, act: ops.ReLU2})
}

// TestGemm compares all ways for many tokens with the CPU.
func TestGemm(t *testing.T) {
	for _, act := range activationTypes {
		t.Run(act.String(), func(t *testing.T) {
			c := compareWithCPU(t, act)
			if c.gemm.library.blas == nil {
				t.Logf("without cuBLASLt: %v", c.gemm.library.missing)
			}
			processors := c.linear.chip.processors
			for _, p := range some(affordable(3, manyCases(), productCase.work), 7) {
				c.products(p, auto, viaSlow, viaLibrary, viaGemm)
				c.linear.chip.processors = 1 // every tile keeps it busy: the largest
				c.products(p, viaGemm)
				c.linear.chip.processors = 1 << 20 // no tile does: the smallest
				c.products(p, viaGemm)
				c.linear.chip.processors = processors
			}
			c.mediumTiles()
		})
	}
}

// mediumTiles compares the shape between the largest and the smallest.
func (c *comparison) mediumTiles() {
	c.Helper()
	processors := c.linear.chip.processors
	defer func() { c.linear.chip.processors = processors }()
	for _, p := range some(affordable(2, manyCases(), productCase.work), 7) {
		rows := 0
		for _, n := range p.parts {
			rows += n
		}
		m := &tileShapes[1]
		c.linear.chip.processors = 4 * ceil(p.n, m.tokens) * ceil(rows, m.rows) / 3
		shape := product{n: p.n, rows: rows, cols: p.cols}
		if c.linear.chip.tile(shape) == 1 {
			c.products(p, viaGemm)
		}
	}
}

// TestGemmSpeed prints TFLOP/s of products for many tokens.
func TestGemmSpeed(t *testing.T) {
	s := newSpeed(t)
	for _, shape := range [][2]int{{5120, 3072}, {9216, 3072}, {3072, 9216}} {
		rows, cols := shape[0], shape[1]
		for _, way := range []route{viaGemm, viaLibrary} {
			if way == viaLibrary && s.gemm.library.blas == nil {
				continue
			}
			var line strings.Builder
			for _, n := range []int{32, 64, 128, 512, 2048} {
				e := ops.Epilogue{Add: rows == 3072}
				if rows == 9216 {
					e.Act = ops.ReLU2
				}
				took := s.measure(n, rows, cols, e, way)
				rate := 2 * float64(n) * float64(rows) * float64(cols) / took.Seconds()
				fmt.Fprintf(&line, "  n=%-4d %7.1f us %5.0f TF/s", n, float64(took.Nanoseconds())/1e3, rate/1e12)
			}
			t.Logf("%-7s %5dx%-5d%s", way, rows, cols, line.String())
		}
	}
}
