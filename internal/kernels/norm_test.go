package kernels

import (
	"fmt"
	"testing"

	"github.com/godwit-llm/godwit/internal/ops"
)

type normCase struct {
	rows, width, groups int
	center, bias        bool
	shift               float32 // mean of the input
	margin              int     // columns beside the tensors
}

func (c normCase) String() string {
	return fmt.Sprintf("%dx%dx%d,center=%v,bias=%v,shift=%g,margin=%d", c.rows, c.groups, c.width, c.center, c.bias, c.shift, c.margin)
}

var normCases = []normCase{
	{rows: 1, width: 1, groups: 1},
	{rows: 3, width: 12, groups: 5, margin: 3},
	{rows: 2, width: 29, groups: 1, center: true, bias: true, margin: 1},
	{rows: 5, width: 128, groups: 24, margin: 8},
	{rows: 3, width: 8, groups: 3},
	{rows: 1, width: 264, groups: 1, center: true},
	{rows: 1, width: 3072, groups: 1, center: true, bias: true, shift: 3},
	{rows: 70, width: 3072, groups: 1, center: true, bias: true},
	{rows: 33, width: 4096, groups: 1},
	{rows: 2, width: 3072, groups: 1, margin: 1},
	{rows: 2, width: 8192, groups: 1, center: true, bias: true, shift: -8},
	{rows: 2, width: 18432, groups: 1, center: true, bias: true},
	{rows: 2, width: 24584, groups: 1, center: true, bias: true}, // more than a block holds
}

// TestNorm compares with the CPU in all combinations of types and in place.
// Sums of float32 in another order differ by some 1e-6 of the largest value.
func TestNorm(t *testing.T) {
	for _, act := range activationTypes {
		t.Run(act.String(), func(t *testing.T) {
			c := compareWithCPU(t, act)
			for _, n := range normCases {
				for _, types := range [][2]ops.DType{{ops.F32, act}, {act, act}, {act, ops.F32}, {ops.F32, ops.F32}} {
					c.norm(n, types[0], types[1], false)
				}
				c.norm(n, act, act, true)
			}
		})
	}
}

func (c *comparison) norm(n normCase, from, to ops.DType, inPlace bool) {
	c.Helper()
	c.rows(n.rows)
	cols := n.width * n.groups
	values := c.normal(n.rows * cols)
	for i := range values {
		values[i] += n.shift
	}
	x := c.place(from, n.rows, cols, n.margin, values)
	out := x
	if !inPlace {
		out = c.random(to, n.rows, cols, n.margin)
	}
	dev, cpu := &ops.Norm{Center: n.center, Eps: 1e-5}, &ops.Norm{Center: n.center, Eps: 1e-5}
	dev.Weight, cpu.Weight = c.vector(c.normal(n.width))
	if n.bias {
		dev.Bias, cpu.Bias = c.vector(c.normal(n.width))
	}
	c.Norm(out.dev, x.dev, dev)
	c.cpu.Norm(out.cpu, x.cpu, cpu)
	c.close(fmt.Sprintf("%s to %s, in place %v, %s", from, to, inPlace, n), out, 2e-6*float64(1+abs(n.shift)))
}

func abs(v float32) float32 { return max(v, -v) }
