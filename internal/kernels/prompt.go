package kernels

import (
	"fmt"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// prompt holds the kernels of prompt.cu by the columns of a head, rounded up.
type prompt struct {
	kernels map[int]*cuda.Function
}

var promptDims = []int{64, 128, 192, 256}

// promptShape is Shape in prompt.cu.
type promptShape struct {
	dim           int // columns of a head, rounded up
	threads       int
	queries, keys int // of a tile
}

func promptShapeOf(headDim int) promptShape {
	s := promptShape{dim: (headDim + 63) / 64 * 64, threads: 256, queries: 128, keys: 64}
	if s.dim > 128 {
		s.threads, s.queries, s.keys = 128, 64, 32
	}
	return s
}

// shared returns the bytes of queries, and of two places for keys and values.
func (s promptShape) shared() int { return 2 * s.dim * (s.queries + 2*2*s.keys) }

func (k *prompt) open(b *Backend) error {
	if b.opt.Act == ops.F32 || !tensorCores(b.dev.Info().Capability) {
		return nil
	}
	var err error
	k.kernels, err = b.promptKernels("prompt", "attend_prompt")
	return err
}

// promptKernels finds the instances of a kernel by the columns of a head.
func (b *Backend) promptKernels(source, name string) (map[int]*cuda.Function, error) {
	kernels := map[int]*cuda.Function{}
	for _, dim := range promptDims {
		f, err := b.kernel(source, fmt.Sprintf("%s_%s_%d", name, suffix(b.opt.Act), dim))
		if err != nil {
			return nil, err
		}
		if err := f.SetMaxShared(promptShapeOf(dim).shared()); err != nil {
			return nil, err
		}
		kernels[dim] = f
	}
	return kernels, nil
}

func (k *prompt) close() error { return nil }

func (b *Backend) attendPrompt(t *attending, tiles int, a *ops.Attention) {
	s := promptShapeOf(a.HeadDim)
	f := b.prompt.kernels[s.dim]
	if t.kernels != nil {
		f = t.kernels.prompt[s.dim]
	}
	p := t.parameters(b)
	b.launch(f, cuda.Dim{X: a.Heads, Y: tiles}, cuda.Dim{X: s.threads}, s.shared(), p)
}
