package kernels

import (
	"fmt"
	"slices"
	"testing"
	"unsafe"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/cuda/cudatest"
	"github.com/godwit-llm/godwit/internal/ops"
)

// stale fills states of slots that nobody has used: it must not get into any
// result.
const stale = 1e30

// recurrentSlots is the number of rows of a state in these tests.
const recurrentSlots = 5

// brought says how many tokens the sequence in each slot has in a step; a
// negative number says that a new sequence begins there.
type brought [recurrentSlots]int

// mixedSteps are steps with pieces of several lengths beside single tokens,
// steps of single tokens, and new sequences in slots that others have left. The
// last slot stays unused.
var mixedSteps = []brought{
	{1, 11, 0, 0},
	{4, 2, 3, 0},
	{1, 1, 1, 0},
	{19, 1, 1, 5},
	{-3, 1, 9, 1},
	{1, 1, -1, 1},
	{0, 1, 1, 17},
}

// recurrent calls a function with the batch of each step. The order of the
// sequences is not that of their slots.
func (c *comparison) recurrent(steps []brought, run func(b *ops.Batch)) {
	c.Helper()
	var next [recurrentSlots]int
	for _, counts := range steps {
		b := &ops.Batch{Start: []int32{0}, MaxPages: 1}
		for i := range counts {
			slot := (i*3 + 1) % recurrentSlots
			n := counts[slot]
			if n == 0 {
				continue
			}
			if n < 0 {
				n, next[slot] = -n, 0
			}
			for range n {
				b.Tokens, b.Positions = append(b.Tokens, 0), append(b.Positions, int32(next[slot]))
				next[slot]++
			}
			b.Start, b.Slots, b.Pages = append(b.Start, int32(len(b.Tokens))), append(b.Slots, int32(slot)), append(b.Pages, 0)
		}
		b.Decoding = c.rng.IntN(2) == 0 // what it is said to be for does not matter
		c.begin(b)
		run(b)
	}
}

// staleState places a state that holds stale values.
func (c *comparison) staleState(kept ops.DType, cols int) both {
	c.Helper()
	return c.stateOf(kept, recurrentSlots, cols)
}

// stateOf places a state of so many sequences, of a type on both sides.
func (c *comparison) stateOf(kept ops.DType, slots, cols int) both {
	c.Helper()
	old := float32(stale)
	if kept == ops.F16 {
		old = 3e4 // a large one
	}
	values := slices.Repeat([]float32{old}, slots*cols)
	x := c.place(kept, slots, cols, 0, values)
	var err error
	x.cpu, err = c.cpu.State(kept, slots, cols)
	c.must(err)
	convert(hostBytes(x.cpu), kept, bytesOf(values), ops.F32)
	return x
}

// follow gives the CPU the device's state: where two sums are rounded to 16 bits
// they may part, by a unit in the last place.
func (c *comparison) follow(x both) {
	c.Helper()
	if x.dev.Type != ops.F32 {
		convert(hostBytes(x.cpu), x.dev.Type, bytesOf(c.read(x.dev)), ops.F32)
	}
}

// TestConvolve compares results and windows with the CPU. The terms of a sum may
// cancel, so the error is held against them: each of the additions and
// multiplications may round. Windows hold inputs as they were.
func TestConvolve(t *testing.T) {
	for _, act := range activationTypes {
		t.Run(act.String(), func(t *testing.T) {
			c, now := compareWithCPU(t, act), oneIn(7)
			for _, channels := range some([]int{1, 24, 131, 272, 6144}, 3) {
				for kernel := 2; kernel <= 5; kernel++ {
					for _, margin := range []int{0, 3, 8} {
						if now() {
							c.convolution(channels, kernel, margin, margin != 8)
						}
					}
				}
			}
		})
	}
}

func (c *comparison) convolution(channels, kernel, margin int, bias bool) {
	c.Helper()
	dev, cpu := &ops.Conv{Kernel: kernel}, &ops.Conv{Kernel: kernel}
	weights, biases := c.normal(channels*kernel), c.normal(channels)
	dev.Weight, cpu.Weight = c.vector(weights)
	if bias {
		dev.Bias, cpu.Bias = c.vector(biases)
	}
	window := c.staleState(ops.F32, (kernel-1)*channels)
	step, largest := 0, 0.0 // of all inputs: windows hold those of earlier steps
	c.recurrent(mixedSteps, func(b *ops.Batch) {
		x, out := c.random(c.opt.Act, len(b.Tokens), channels, margin), c.random(c.opt.Act, len(b.Tokens), channels, 2*margin)
		c.Convolve(out.dev, x.dev, dev, window.dev)
		c.cpu.Convolve(out.cpu, x.cpu, cpu, window.cpu)
		name := fmt.Sprintf("%d channels, %d taps, margin %d, step %d", channels, kernel, margin, step)
		largest = max(largest, magnitude(cuda.View[float32](hostBytes(x.cpu))))
		terms := float64(kernel)*magnitude(weights)*largest + magnitude(biases)
		c.within(name, out, 1e-5, float64(kernel+1)*epsilon(ops.F32)*terms)
		c.close(name+", windows", window, 0)
		step++
	})
}

// TestConvolveLaunches: steps of single tokens take one launch, others move the
// windows in a second one.
func TestConvolveLaunches(t *testing.T) {
	f := roomy(t)
	registerAll(t, f)
	var seen []string
	sizes := []int{int(unsafe.Sizeof(convolveArgs{})), int(unsafe.Sizeof(metadata{}))}
	for _, name := range []string{"convolve_step_bf16_4", "convolve_bf16_4", "convolve_any_bf16", "slide_bf16"} {
		f.Kernel(name, sizes, func(c *cudatest.Call) { seen = append(seen, fmt.Sprintf("%s %v %d", name, c.Grid, c.Block[0])) })
	}
	b := opened(t, f.Device(t), Options{Act: ops.BF16})
	for _, c := range []struct {
		kernel, channels int
		start            []int32
		want             []string
	}{
		{4, 6144, []int32{0, 1, 2, 3}, []string{"convolve_step_bf16_4 [12 3 1] 64"}},
		{4, 6144, []int32{0, 1, 2, 19}, []string{"convolve_bf16_4 [6 3 1] 128", "slide_bf16 [48 3 1] 128"}},
		{4, 130, []int32{0, 1, 2}, []string{"convolve_any_bf16 [2 2 1] 128", "slide_bf16 [2 2 1] 128"}},
		{1, 128, []int32{0, 1, 2}, []string{"convolve_any_bf16 [1 2 1] 128"}},
	} {
		n := int(c.start[len(c.start)-1])
		x, out, state := placed(t, b, ops.BF16, n, c.channels), placed(t, b, ops.BF16, n, c.channels), placed(t, b, ops.F32, 8, c.kernel*c.channels)
		begin(t, b, c.start)
		seen = nil
		conv := &ops.Conv{Kernel: c.kernel, Weight: placed(t, b, ops.F32, 1, c.kernel*c.channels)}
		b.Convolve(out, x, conv, state)
		if err := b.wait(); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(seen, c.want) {
			t.Errorf("%d taps, %d channels, %v: got %q, want %q", c.kernel, c.channels, c.start, seen, c.want)
		}
	}
}

func placed(t testing.TB, b *Backend, dtype ops.DType, rows, cols int) ops.Tensor {
	t.Helper()
	x, err := b.place(dtype, rows, cols)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// begin opens a step with sequences that have begun before.
func begin(t testing.TB, b *Backend, start []int32) {
	t.Helper()
	if err := b.Begin(batchOf(start, 7)); err != nil {
		t.Fatal(err)
	}
}

// batchOf returns a batch whose sequences have so many tokens already.
func batchOf(start []int32, past int) *ops.Batch {
	n := int(start[len(start)-1])
	b := &ops.Batch{Tokens: make([]int32, n), Start: start, MaxPages: 1}
	for s := range len(start) - 1 {
		for i := range start[s+1] - start[s] {
			b.Positions = append(b.Positions, int32(past)+i)
		}
		b.Slots, b.Pages = append(b.Slots, int32(s)), append(b.Pages, 0)
	}
	return b
}
