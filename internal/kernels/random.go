package kernels

import (
	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// random holds the kernel that makes up weights.
type random struct {
	fill *cuda.Function
	made bool // since the last Flush
}

func (k *random) open(b *Backend) (err error) {
	k.fill, err = b.typed("random", "random")
	return err
}

func (k *random) close() error { return nil }

// randomArgs is Random in random.cu.
type randomArgs struct {
	seed    uint64
	n       int64
	factor  float32
	vectors int32
}

const (
	randomThreads = 256
	randomBlock   = 8 // values of a thread at a time
)

// random fills n values of the activation type, which lie anywhere.
func (b *Backend) random(at cuda.DevicePtr, n int, r ops.Random) {
	if n == 0 {
		return
	}
	if err := b.need(randomWeights); err != nil {
		b.fail(err)
		return
	}
	a := randomArgs{seed: r.Seed, n: int64(n), factor: r.Scale / (1 << 15)}
	if at%16 == 0 {
		a.vectors = 1
	}
	grid := min(ceil(n, randomBlock*randomThreads), 8*b.linear.chip.processors)
	args := cuda.Struct(b.parameters().Ptr(at), a)
	b.launch(b.making.fill, cuda.Dim{X: grid}, cuda.Dim{X: randomThreads}, 0, args)
	b.making.made = true
}
