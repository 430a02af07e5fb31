package kernels

import (
	"fmt"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// embedding holds the kernels of Embed.
type embedding struct{ fast, any *cuda.Function }

func (k *embedding) open(b *Backend) (err error) {
	k.fast, k.any, err = b.both("embed", "embed")
	return err
}

func (k *embedding) close() error { return nil }

// Embed writes row Tokens[i] of table [vocabulary, width], of the activation
// type, to out[i] [width], float32. Ids that Sample has chosen are taken from
// where its kernel left them.
func (b *Backend) Embed(out, table ops.Tensor) {
	if b.later(&operation{kind: opEmbed, out: out, in: [3]ops.Tensor{table}}) {
		return
	}
	if !b.expect("embed", ops.F32, out) || !b.expect("embed", b.opt.Act, table) {
		return
	}
	n := b.step.n
	f, unit := b.embedding.any, 1
	if v := 16 / table.Type.Size(); divides(v, out) && divides(v, table) {
		f, unit = b.embedding.fast, v
	}
	args := b.stepParameters().Ptr(b.sampler.chosen()).Ptr(address(out)).Ptr(address(table)).Int(n).Int(out.Cols).Int(out.Stride)
	b.launch(f, overRows(n, out.Cols, 128*unit), cuda.Dim{X: 128}, 0, args)
}

// both finds the two instances of a kernel for the activation type: the fast
// one and the one that takes any size and address.
func (b *Backend) both(source, name string) (fast, other *cuda.Function, err error) {
	if fast, err = b.typed(source, name); err != nil {
		return nil, nil, err
	}
	other, err = b.typed(source, name+"_any")
	return fast, other, err
}

// expect checks the type of an operand, which only a mistake in this module
// can get wrong.
func (b *Backend) expect(op string, want ops.DType, t ops.Tensor) bool {
	if t.Type != want {
		b.fail(fmt.Errorf("kernels: %s: got a tensor %s, want type %s", op, t, want))
	}
	return t.Type == want
}

// divides reports whether a tensor can be read and written in 16-byte accesses
// of units of v columns.
func divides(v int, t ops.Tensor) bool {
	size := t.Type.Size()
	return t.Cols%v == 0 && address(t)%16 == 0 && (t.Rows <= 1 || t.Stride*size%16 == 0)
}

// overRows is a grid of blocks that take so many columns of one row each. Rows
// beyond what a grid can have are for the kernel to loop over.
func overRows(rows, cols, columns int) cuda.Dim {
	return cuda.Dim{X: (cols + columns - 1) / columns, Y: min(rows, 65535)}
}

// stepParameters returns the list for the parameters of the next launch, which
// begins with the batch.
func (b *Backend) stepParameters() *cuda.Args { return cuda.Struct(b.parameters(), b.step.metadata) }
