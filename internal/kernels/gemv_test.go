package kernels

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// normLinearCase is a norm of one token and the product that reads it.
type normLinearCase struct {
	rows, cols   int
	center, bias bool
	wide         bool
	shift        float32
}

var normLinearCases = []normLinearCase{
	{rows: 1, cols: 8},
	{rows: 7, cols: 40, center: true, bias: true},
	{rows: 129, cols: 264, wide: true},
	{rows: 50, cols: 776, center: true, bias: true},
	{rows: 50, cols: 1536},
	{rows: 1000, cols: 1848, center: true, shift: 3},
	{rows: 270, cols: 2552, bias: true}, // a second batch of rows on a device of one processor
	{rows: 39, cols: 3080, center: true},
	{rows: 39, cols: 3096, bias: true},
	{rows: 5120, cols: 3072, center: true, bias: true, shift: 3},
	{rows: 10304, cols: 2688, bias: true},
	{rows: 300, cols: 4480, center: true, bias: true, shift: -20},
	{rows: 77, cols: 6144},
	{rows: 1057, cols: 8192, wide: true},
	{rows: 40, cols: 8200}, // more than the kernel takes in
	{rows: 40, cols: 31},   // not aligned
}

// TestGemvShapes looks whether the cases reach every instance.
func TestGemvShapes(t *testing.T) {
	left := map[gemvShape]bool{}
	for _, s := range gemvShapes() {
		left[s] = true
	}
	h200 := chip{capability: 90, processors: 132, shared: 227 << 10}
	for _, c := range normLinearCases {
		if g, ok := h200.gemvPlan(c.cols); ok {
			delete(left, g.shape(c.cols, true))
			delete(left, g.shape(c.cols, false)) // apart
		}
	}
	if len(left) > 0 {
		t.Errorf("not reached: %v", left)
	}
}

// TestNormLinear compares a norm and its product, launched together and apart,
// with the CPU. Both leave the norm for others to read.
func TestNormLinear(t *testing.T) {
	for _, act := range []ops.DType{ops.BF16, ops.F16} {
		t.Run(act.String(), func(t *testing.T) {
			c := compareWithCPU(t, act)
			for _, n := range affordable(1, normLinearCases, func(n normLinearCase) int { return n.rows * n.cols }) {
				for _, apart := range []bool{false, true} {
					c.opt.Unfused = apart
					c.normLinear(n, fmt.Sprintf("%+v, apart: %v", n, apart))
				}
			}
		})
	}
}

func (c *comparison) normLinear(n normLinearCase, name string) {
	c.Helper()
	c.rows(1)
	values := c.normal(n.cols)
	for i := range values {
		values[i] += n.shift
	}
	x, h := c.place(ops.F32, 1, n.cols, 0, values), c.random(c.opt.Act, 1, n.cols, 0)
	norm, cpuNorm := &ops.Norm{Center: n.center, Eps: 1e-5}, &ops.Norm{Center: n.center, Eps: 1e-5}
	norm.Weight, cpuNorm.Weight = c.vector(c.normal(n.cols))
	if n.bias {
		norm.Bias, cpuNorm.Bias = c.vector(c.normal(n.cols))
	}
	p := productCase{n: 1, parts: []int{n.rows}, cols: n.cols, wide: n.wide}
	w, cpuW := c.layer(p)
	to := c.opt.Act
	if n.wide {
		to = ops.F32
	}
	out := c.place(to, 1, n.rows, 0, c.normal(n.rows))

	c.Norm(h.dev, x.dev, norm)
	c.Linear(out.dev, h.dev, w, ops.Epilogue{})
	c.cpu.Norm(h.cpu, x.cpu, cpuNorm)
	// The device's product reads the norm as its type rounds it.
	got := make([]float32, n.cols)
	c.must(c.Read(got, h.dev))
	c.close(name+": norm", h, 4e-6*(1+math.Abs(float64(n.shift))))
	copyTo(h.cpu, got)
	c.cpu.Linear(out.cpu, h.cpu, cpuW, ops.Epilogue{})
	c.close(name+": product", out, 2e-5)
}

// TestDecodeChainSpeed prints what a layer of decoding takes, as a chain of
// dependent launches over distinct weights in one graph: the products, norms
// and attention of a dense layer at 512 tokens of context, against the time
// that reading its weights takes.
func TestDecodeChainSpeed(t *testing.T) {
	s := newSpeed(t)
	for _, c := range []struct {
		name                         string
		hidden, heads, kv, dim, wide int
	}{{"Mini-4B", 3072, 24, 8, 128, 9216}, {"15B", 6144, 48, 8, 128, 24576}, {"Nano-9B attention", 4480, 40, 8, 128, 15680}} {
		var line strings.Builder
		for _, unfused := range []bool{false, true} {
			s.opt.Unfused = unfused
			took, bytes := s.chain(c.hidden, c.heads, c.kv, c.dim, c.wide, 512)
			floor := float64(bytes) / 4547e9 * 1e6
			fmt.Fprintf(&line, "  unfused=%-5v %6.2f us a layer, %3.0f%% of %.2f us", unfused, float64(took.Nanoseconds())/1e3, 100*floor/(float64(took.Nanoseconds())/1e3), floor)
		}
		t.Logf("%-18s%s", c.name, line.String())
	}
}

// chain returns the time of a layer and the bytes of its weights and cache.
func (s *speed) chain(hidden, heads, kv, dim, wide, context int) (time.Duration, int) {
	s.Helper()
	qkv := (heads + 2*kv) * dim
	at := s.memory.Ptr()
	matrix := func(rows, cols int) *ops.Linear {
		w := tensor(at, ops.BF16, rows, cols)
		at += cuda.DevicePtr(2 * rows * cols)
		return &ops.Linear{In: cols, Out: rows, Weight: []ops.Tensor{w}}
	}
	take := func(t ops.DType, rows, cols int) ops.Tensor {
		x, err := s.place(t, rows, cols)
		s.must(err)
		s.must(s.stream.Fill(address(x), 0x3c, rows*cols*t.Size()))
		return x
	}
	weight := take(ops.F32, 1, hidden)
	norm := &ops.Norm{Weight: weight, Bias: weight, Center: true, Eps: 1e-5}
	x, h := take(ops.F32, 1, hidden), take(ops.BF16, 1, hidden)
	y, u := take(ops.BF16, 1, max(qkv, heads*dim)), take(ops.BF16, 1, wide)
	p := take(ops.BF16, 1, qkv)
	rotary := &ops.Rotary{InvFreq: make([]float32, dim/4), Scale: 1}
	attention := &ops.Attention{Heads: heads, KVHeads: kv, HeadDim: dim, Scale: 0.1, Rotary: rotary}
	pages := (context + 63) / 64
	batch := &ops.Batch{
		Tokens: []int32{1}, Positions: []int32{int32(context - 1)}, Start: []int32{0, 1},
		MaxPages: pages, Slots: []int32{0}, Outputs: []int32{0},
	}
	for i := range pages {
		batch.Pages = append(batch.Pages, int32(i))
	}
	s.must(s.Begin(batch))
	s.Angles(rotary)
	layers := 24
	if bytes := 2 * hidden * (qkv + heads*dim + 2*wide); layers*bytes > speedMemory*9/10 {
		layers = speedMemory * 9 / 10 / bytes
	}
	run := func() error {
		at = s.memory.Ptr()
		for range layers {
			cache := ops.Cache{K: tensor(at, ops.BF16, pages*kv*64, dim), PageSize: 64}
			at += cuda.DevicePtr(2 * pages * kv * 64 * dim)
			cache.V = tensor(at, ops.BF16, pages*kv*64, dim)
			at += cuda.DevicePtr(2 * pages * kv * 64 * dim)
			s.Norm(h, x, norm)
			s.Linear(p, h, matrix(qkv, hidden), ops.Epilogue{})
			q, k, v := p.Columns(0, heads*dim), p.Columns(heads*dim, (heads+kv)*dim), p.Columns((heads+kv)*dim, qkv)
			s.Append(q, k, v, attention, cache)
			o := y.Columns(0, heads*dim)
			s.Attend(o, q, attention, cache)
			s.Linear(x, o, matrix(hidden, heads*dim), ops.Epilogue{Add: true})
			s.Norm(h, x, norm)
			s.Linear(u, h, matrix(wide, hidden), ops.Epilogue{Act: ops.ReLU2})
			s.Linear(x, u, matrix(hidden, wide), ops.Epilogue{Add: true})
		}
		s.release()
		return s.err
	}
	s.must(run())
	s.must(s.wait())
	bytes := int(at-s.memory.Ptr()) / layers
	if int(at-s.memory.Ptr()) > speedMemory {
		s.Fatalf("%d bytes of weights, want at most %d", at-s.memory.Ptr(), speedMemory)
	}
	return s.graphTime(run) / time.Duration(layers), bytes
}
