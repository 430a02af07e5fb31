package kernels

import (
	"fmt"
	"testing"

	"github.com/godwit-llm/godwit/internal/ops"
)

// TestGatedNorm compares with the CPU: group sizes of all published models, and
// odd ones.
func TestGatedNorm(t *testing.T) {
	for _, act := range activationTypes {
		t.Run(act.String(), func(t *testing.T) {
			c, now := compareWithCPU(t, act), oneIn(7)
			for _, width := range []int{1, 7, 8, 29, 96, 512, 960, 1024, 1280, 2048, 8192, 8208} {
				for _, groups := range []int{1, 3, 8} {
					for _, rows := range []int{1, 5, 70} {
						if now() {
							c.gatedNorm(rows, width, groups, 8*(rows%3))
						}
					}
					c.gatedNorm(2, width, groups, 3)
				}
			}
		})
	}
}

func (c *comparison) gatedNorm(rows, width, groups, margin int) {
	c.Helper()
	c.rows(rows)
	act, cols := c.opt.Act, width*groups
	y, z, out := c.random(act, rows, cols, margin), c.random(act, rows, cols, margin), c.random(act, rows, cols, 2*margin)
	dev, cpu := &ops.GatedNorm{Groups: groups, Eps: 1e-5}, &ops.GatedNorm{Groups: groups, Eps: 1e-5}
	dev.Weight, cpu.Weight = c.vector(c.normal(cols))
	c.GatedNorm(out.dev, y.dev, z.dev, dev)
	c.cpu.GatedNorm(out.cpu, y.cpu, z.cpu, cpu)
	c.close(fmt.Sprintf("%d rows of %d groups of %d, margin %d", rows, groups, width, margin), out, 1e-5)
}
