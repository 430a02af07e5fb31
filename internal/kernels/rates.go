package kernels

import (
	"errors"
	"slices"
	"time"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// ProductRate measures the product of two n x n matrices of random values of
// the activation type, in operations/s, two for each multiplication: the median
// of a few runs. by says whose product it was. It takes memory for three such
// matrices for the time of the call.
func (b *Backend) ProductRate(n int) (rate float64, by string, err error) {
	size := n * n * b.opt.Act.Size()
	data, err := b.dev.Alloc(3 * size)
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	matrix := func(i int) ops.Tensor { return tensor(data.Ptr()+cuda.DevicePtr(i*size), b.opt.Act, n, n) }
	for i := range 2 {
		b.random(address(matrix(i)), n*n, ops.Random{Seed: uint64(i), Scale: 1})
	}
	x, w, out := matrix(0), matrix(1), matrix(2)
	layer := &ops.Linear{In: n, Out: n, Weight: []ops.Tensor{w}}
	times := make([]time.Duration, 0, 6)
	for range cap(times) {
		took, err := b.timed(func() { b.Linear(out, x, layer, ops.Epilogue{}) })
		if err != nil {
			return 0, "", err
		}
		times = append(times, took)
	}
	times = times[1:] // the first one chooses how
	slices.Sort(times)
	cube := float64(n) * float64(n) * float64(n)
	return 2 * cube / times[len(times)/2].Seconds(), b.productBy(productOf(out, x, w, ops.Tensor{}, ops.Epilogue{})), nil
}

// productBy names what computes a product.
func (b *Backend) productBy(p product) string {
	name, missing := b.Library()
	if missing != nil || b.linear.chip.route(p) != viaLibrary || len(b.gemm.library.refused) > 0 {
		return "own kernel"
	}
	return name
}
