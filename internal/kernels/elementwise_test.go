package kernels

import (
	"fmt"
	"testing"

	"github.com/godwit-llm/godwit/internal/ops"
)

// TestMultiply compares with the CPU. The device's exponential of an argument
// that was rounded before is off by up to 1e-5 where it is tiny.
func TestMultiply(t *testing.T) {
	for _, act := range activationTypes {
		t.Run(act.String(), func(t *testing.T) {
			c, now := compareWithCPU(t, act), oneIn(11)
			for _, f := range []ops.Activation{ops.Identity, ops.ReLU2, ops.SiLU, ops.GELU, ops.GELUTanh} {
				for _, cols := range []int{1, 9, 40, 1000, 9216} {
					for _, rows := range []int{1, 5, 70} {
						for _, margin := range []int{0, 3, 8} {
							if now() {
								c.multiply(f, rows, cols, margin)
							}
						}
					}
				}
			}
		})
	}
}

func (c *comparison) multiply(f ops.Activation, rows, cols, margin int) {
	c.Helper()
	c.rows(rows)
	act := c.opt.Act
	values := c.normal(rows * cols)
	for i := range values {
		values[i] *= 4
	}
	gate, up := c.place(act, rows, cols, margin, values), c.random(act, rows, cols, margin)
	out := c.random(act, rows, cols, 2*margin)
	c.Multiply(out.dev, gate.dev, up.dev, f)
	c.cpu.Multiply(out.cpu, gate.cpu, up.cpu, f)
	name := fmt.Sprintf("activation %d, %d x %d, margin %d", f, rows, cols, margin)
	c.close(name, out, 1e-5)
	c.Multiply(gate.dev, gate.dev, up.dev, f)
	c.cpu.Multiply(gate.cpu, gate.cpu, up.cpu, f)
	c.close(name+", in place", gate, 1e-5)
}

// TestGather: rows are copied exactly.
func TestGather(t *testing.T) {
	for _, act := range activationTypes {
		t.Run(act.String(), func(t *testing.T) {
			c := compareWithCPU(t, act)
			for _, cols := range []int{1, 33, 36, 3072} {
				for _, outputs := range [][]int32{{0}, {69}, {0, 3, 4, 69}} {
					for _, margin := range []int{0, 1, 4} {
						b := &ops.Batch{Tokens: make([]int32, 70), Positions: make([]int32, 70), Start: []int32{0, 70}, Slots: []int32{0}, Outputs: outputs}
						c.begin(b)
						x, out := c.random(ops.F32, 70, cols, margin), c.random(ops.F32, len(outputs), cols, 2*margin)
						c.Gather(out.dev, x.dev)
						c.cpu.Gather(out.cpu, x.cpu)
						c.close(fmt.Sprintf("%v of 70 x %d, margin %d", outputs, cols, margin), out, 0)
					}
				}
			}
		})
	}
}
