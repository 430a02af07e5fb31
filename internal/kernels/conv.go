package kernels

import (
	"fmt"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// convolution holds the kernels of conv.cu.
type convolution struct {
	steps, pieces [convKernels + 1]*cuda.Function // by the number of taps
	any, slide    *cuda.Function
}

// Constants of conv.cu.
const (
	convKernels     = 4 // taps of the fast kernels, at most
	convTokens      = 8 // rows a thread
	convThreads     = 128
	convStepThreads = 64
)

func (k *convolution) open(b *Backend) (err error) {
	for taps := 2; taps <= convKernels; taps++ {
		name := fmt.Sprintf("_%s_%d", suffix(b.opt.Act), taps)
		if k.steps[taps], err = b.kernel("conv", "convolve_step"+name); err != nil {
			return err
		}
		if k.pieces[taps], err = b.kernel("conv", "convolve"+name); err != nil {
			return err
		}
	}
	if k.any, err = b.typed("conv", "convolve_any"); err != nil {
		return err
	}
	k.slide, err = b.typed("conv", "slide")
	return err
}

func (k *convolution) close() error { return nil }

// convolveArgs is Convolve in conv.cu.
type convolveArgs struct {
	x, out, weight, bias, window           cuda.DevicePtr
	rows, cols, xStride, outStride, kernel int32
	_                                      int32
}

// Convolve writes SiLU(causal convolution of x) to out, both [n, channels] of
// the activation type, and moves the windows, rows of state, to the end of
// each sequence's tokens. It may be called once a step for each state.
func (b *Backend) Convolve(out, x ops.Tensor, c *ops.Conv, state ops.Tensor) {
	if b.later(&operation{kind: opConvolve, out: out, in: [3]ops.Tensor{x, state}, conv: c}) {
		return
	}
	if !b.expect("convolve", b.opt.Act, out) || !b.expect("convolve", b.opt.Act, x) || !b.expect("convolve", ops.F32, state) {
		return
	}
	if x.Rows == 0 {
		return
	}
	args := convolveArgs{
		x: address(x), out: address(out), weight: address(c.Weight), bias: address(c.Bias), window: address(state),
		rows: int32(x.Rows), cols: int32(x.Cols), xStride: int32(x.Stride), outStride: int32(out.Stride), kernel: int32(c.Kernel),
	}
	k, v := &b.convolution, 16/x.Type.Size()
	fast := c.Kernel >= 2 && c.Kernel <= convKernels && divides(v, x) && divides(v, out) &&
		address(c.Weight)%16 == 0 && address(c.Bias)%16 == 0 && address(state)%16 == 0
	switch {
	case fast && b.singles():
		columns := v * convStepThreads
		b.convolve(k.steps[c.Kernel], &args, cuda.Dim{X: (x.Cols + columns - 1) / columns, Y: x.Rows}, convStepThreads)
		return
	case fast:
		columns := v * convThreads
		b.convolve(k.pieces[c.Kernel], &args, cuda.Dim{X: (x.Cols + columns - 1) / columns, Y: (x.Rows + convTokens - 1) / convTokens}, convThreads)
	default:
		b.convolve(k.any, &args, overRows(x.Rows, x.Cols, convThreads), convThreads)
	}
	if c.Kernel > 1 {
		b.convolve(k.slide, &args, overRows(b.step.s, x.Cols, convThreads), convThreads)
	}
}

func (b *Backend) convolve(f *cuda.Function, args *convolveArgs, grid cuda.Dim, threads int) {
	p := cuda.Struct(cuda.Struct(b.parameters(), *args), b.step.metadata)
	b.launch(f, grid, cuda.Dim{X: threads}, 0, p)
}

// singles reports whether the step holds one token of each sequence.
func (b *Backend) singles() bool { return b.step.pieces == 1 && b.step.s == b.step.n }
