package kernels

import (
	"fmt"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// cacheKernels holds the kernels of int8.cu or fp8.cu: what rotary.cu,
// attention.cu and prompt.cu are for caches in the type of activations.
type cacheKernels struct {
	append, plain *cuda.Function
	decode        map[decodeShape]*cuda.Function // none for F32, nor before compute capability 8.0
	prompt        map[int]*cuda.Function         // by the columns of a head, rounded up
}

// cacheKernels returns those for a format; nil where there are none of its own.
func (b *Backend) cacheKernels(f ops.CacheFormat) *cacheKernels {
	switch f {
	case ops.INT8:
		return &b.int8
	case ops.FP8:
		return &b.fp8
	}
	return nil
}

func (k *cacheKernels) open(b *Backend) (err error) {
	name := "int8"
	if k == &b.fp8 {
		name = "fp8"
	}
	if k.append, err = b.typed(name, "append_"+name); err != nil {
		return err
	}
	if k.plain, err = b.typed(name, "attend_plain_"+name); err != nil {
		return err
	}
	if b.attention.decode == nil {
		return nil
	}
	if k.decode, err = b.decodeKernels(name, "attend_decode_"+name, 1); err != nil {
		return err
	}
	k.prompt, err = b.promptKernels(name, "attend_prompt_"+name)
	return err
}

func (k *cacheKernels) close() error { return nil }

// attend8Args is Attend8 in bytes.cuh.
type attend8Args struct {
	attendArgs
	attendBytes
}

// attendBytes is what caches in 8 bits need besides.
type attendBytes struct {
	scales         cuda.DevicePtr // INT8
	kScale, vScale float32        // FP8
	rows           bool           // attend_decode: a block's y is a token, not a sequence
	_              [7]byte
}

// append8Args is Append8 in append8.cuh.
type append8Args struct {
	q, k, v, keys, values, scales, angles cuda.DevicePtr
	n, qStride, kStride, vStride          int32
	heads, kvHeads, dim, half, page       int32
	kFactor, vFactor                      float32
	_                                     int32
}

// append8Warps is the number of heads that a block of append8 does.
const append8Warps = 4

// append8 is Append for caches in 8 bits.
func (b *Backend) append8(q, k, v ops.Tensor, a *ops.Attention, c ops.Cache) {
	if a.HeadDim > plainDim {
		b.fail(fmt.Errorf("kernels: attention heads of %d columns, want at most %d", a.HeadDim, plainDim))
		return
	}
	p := append8Args{
		q: address(q), k: address(k), v: address(v), keys: address(c.K), values: address(c.V), scales: address(c.Scales),
		n: int32(q.Rows), qStride: int32(q.Stride), kStride: int32(k.Stride), vStride: int32(v.Stride),
		heads: int32(a.Heads), kvHeads: int32(a.KVHeads), dim: int32(a.HeadDim), page: int32(c.PageSize),
	}
	if c.Format == ops.FP8 {
		p.kFactor, p.vFactor = 1/c.KScale, 1/c.VScale
	}
	if a.Rotary != nil {
		p.half, p.angles = int32(b.rotary.half), b.rotary.table.Ptr()
	}
	heads := a.Heads + 2*a.KVHeads
	grid := overRows(q.Rows, heads, append8Warps)
	b.launch(b.cacheKernels(c.Format).append, grid, cuda.Dim{X: 32 * append8Warps}, 0, cuda.Struct(b.stepParameters(), p))
}
