package kernels

import (
	"fmt"
	"math"
	"testing"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// TestAppendAttend compares attention that rotates and stores on the way with
// the CPU's two operations, and looks at what it left in the cache.
func TestAppendAttend(t *testing.T) {
	for _, act := range []ops.DType{ops.BF16, ops.F16} {
		t.Run(act.String(), func(t *testing.T) {
			c := compareSplit(t, act)
			for _, a := range some(affordable(4, attendCases(), attendCase.work), 11) {
				for _, s := range a.spans {
					if s.tokens != 1 {
						a.spans = nil
						break
					}
				}
				if a.spans == nil {
					continue
				}
				halves := []int{0, a.dim / 4 / 8 * 8, a.dim / 2}
				clusters := c.clusters.kernels
				if clusters != nil {
					c.appendAttend(a, halves[1])
				}
				c.clusters.kernels = nil // attend_decode takes all
				for _, half := range halves {
					c.appendAttend(a, half)
				}
				c.clusters.kernels = clusters
			}
		})
	}
}

func (c *comparison) appendAttend(a attendCase, half int) {
	c.Helper()
	name := fmt.Sprintf("%s, half=%d", a, half)
	batch := a.batch(c.rng.Perm)
	c.begin(batch)
	dev, cpu := c.caches(a, batch)
	shape := a.shape()
	if half > 0 {
		shape.Rotary = &ops.Rotary{InvFreq: ops.InverseFrequencies(1e4, 2*half), Scale: 1.25}
		c.Angles(shape.Rotary)
		c.cpu.Angles(shape.Rotary)
	}
	n, act := len(batch.Tokens), c.opt.Act
	q, out := c.random(act, n, a.heads*a.dim, a.margin), c.random(act, n, a.heads*a.dim, a.margin)
	k, v := c.random(act, n, a.kvHeads*a.dim, a.margin), c.random(act, n, a.kvHeads*a.dim, a.margin)
	c.Append(q.dev, k.dev, v.dev, shape, dev)
	c.Attend(out.dev, q.dev, shape, dev)
	c.cpu.Append(q.cpu, k.cpu, v.cpu, shape, cpu)
	c.cpu.Attend(out.cpu, q.cpu, shape, cpu)
	c.close(name, out, 2*attendTolerance(act)) // q is rounded a second time
	c.stored(name+": keys", a, batch, dev.K, cpu.K)
	c.stored(name+": values", a, batch, dev.V, cpu.V)
}

// stored compares the rows of the cache that a step wrote.
func (c *comparison) stored(name string, a attendCase, batch *ops.Batch, dev, cpu ops.Tensor) {
	c.Helper()
	for s, p := range batch.Positions {
		page := int(batch.Pages[s*batch.MaxPages+int(p)/a.page])
		for head := range a.kvHeads {
			row := (page*a.kvHeads+head)*a.page + int(p)%a.page
			got, want := make([]float32, a.dim), make([]float32, a.dim)
			at := dev
			at.Addr, at.Rows = pointer(address(dev)+cuda.DevicePtr(row*a.dim*dev.Type.Size())), 1
			c.must(c.Read(got, at))
			host := cpu
			host.Addr, host.Rows = pointer(address(cpu)+cuda.DevicePtr(row*a.dim*4)), 1
			c.must(c.cpu.Read(want, host))
			for i := range want {
				if d := math.Abs(float64(got[i] - want[i])); !(d <= 1.01*epsilon(dev.Type)*math.Abs(float64(want[i]))+1e-5) {
					c.Fatalf("%s: sequence %d, head %d, column %d: got %g, want %g", name, s, head, i, got[i], want[i])
				}
			}
		}
	}
}
