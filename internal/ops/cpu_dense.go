package ops

import (
	"math"

	"github.com/godwit-llm/godwit/internal/vec"
)

// Embed copies table rows, converted to float32.
func (b *CPU) Embed(out, table Tensor) {
	for i, id := range b.batch.Tokens {
		if row, given := Given(id); !given {
			id = b.sampler.results[row].ID
		}
		toFloats(out.row(i), table, int(id))
	}
}

// toFloats converts row r of a matrix of any type.
func toFloats(dst []float32, t Tensor, r int) {
	switch t.Type {
	case BF16:
		vec.BF16ToF32(dst, t.halves(r, r+1))
	case F16:
		vec.F16ToF32(dst, t.halves(r, r+1))
	case I32:
		for i, v := range t.ints(r) {
			dst[i] = float32(v)
		}
	default:
		copy(dst, t.row(r))
	}
}

// Norm normalises each row, or each group of the weight's width in it.
func (b *CPU) Norm(out, x Tensor, norm *Norm) {
	width := norm.Weight.Cols
	b.pool.each(x.Rows, grain(4*x.Cols), func(_, from, to int) {
		for r := from; r < to; r++ {
			src, dst := x.row(r), out.row(r)
			for c := 0; c < len(src); c += width {
				norm.apply(dst[c:c+width], src[c:c+width])
			}
		}
	})
}

func (n *Norm) apply(dst, src []float32) {
	weight := n.Weight.row(0)
	mean := float32(0)
	if n.Center {
		mean = vec.Sum(src) / float32(len(src))
	}
	square := vec.SumSquares(src)
	if n.Center {
		square = vec.CentredSquares(src, mean)
	}
	scale := inverseRoot(square/float32(len(src)) + n.Eps)
	for i, v := range src {
		dst[i] = (v - mean) * scale * weight[i]
	}
	if n.Bias.Present() {
		for i, v := range n.Bias.row(0) {
			dst[i] += v
		}
	}
}

func inverseRoot(v float32) float32 { return float32(1 / math.Sqrt(float64(v))) }

// Linear multiplies part by part; the cores share the rows of the weights.
func (b *CPU) Linear(out, x Tensor, w *Linear, e Epilogue) {
	at := 0
	for _, part := range w.Weight {
		first := at
		target, stride := b.target(out, e)
		b.pool.each(part.Rows, productGrain(part.Cols*x.Rows), func(_, from, to int) {
			lo, hi := first+from, first+to
			multiply(target[lo:], stride, part, from, to, x)
			b.finish(out, target, stride, w, e, lo, hi)
		})
		at += part.Rows
	}
}

// productGrain returns how many weight rows make a piece of work: never so few
// that the tiles of a product with many columns stay unfilled.
func productGrain(cost int) int { return max(48, grain(cost)) }

// target returns where products go before the epilogue: to out itself, unless
// they are added to it.
func (b *CPU) target(out Tensor, e Epilogue) ([]float32, int) {
	if !e.Add {
		return out.flat(), out.Stride
	}
	b.product = grow(b.product, out.Rows*out.Cols)
	return b.product, out.Cols
}

// multiply writes rows [from, to) of w times each row of x: column j of the
// result goes to out[j*stride:].
func multiply(out []float32, stride int, w Tensor, from, to int, x Tensor) {
	switch w.Type {
	case BF16:
		vec.ProductBF16(out, stride, w.halves(from, to), x.flat(), x.Stride, to-from, x.Rows, w.Cols)
	case F16:
		vec.ProductF16(out, stride, w.halves(from, to), x.flat(), x.Stride, to-from, x.Rows, w.Cols)
	default:
		vec.ProductF32(out, stride, w.singles(from, to), x.flat(), x.Stride, to-from, x.Rows, w.Cols)
	}
}

// finish applies bias, activation and residual to columns [lo, hi).
func (b *CPU) finish(out Tensor, target []float32, stride int, w *Linear, e Epilogue, lo, hi int) {
	if !w.Bias.Present() && e.Act == Identity && !e.Add {
		return
	}
	for r := range out.Rows {
		values := target[r*stride+lo : r*stride+hi]
		if w.Bias.Present() {
			for i, v := range w.Bias.row(0)[lo:hi] {
				values[i] += v
			}
		}
		activate(values, e.Act)
		if e.Add {
			for i, v := range values {
				out.row(r)[lo+i] += v
			}
		}
	}
}

// Multiply computes act(gate) ⊙ up.
func (b *CPU) Multiply(out, gate, up Tensor, act Activation) {
	b.pool.each(out.Rows, grain(8*out.Cols), func(_, from, to int) {
		for r := from; r < to; r++ {
			dst := out.row(r)
			copy(dst, gate.row(r))
			activate(dst, act)
			for i, v := range up.row(r) {
				dst[i] *= v
			}
		}
	})
}

// activate applies act in place.
func activate(x []float32, act Activation) {
	switch act {
	case ReLU2:
		for i, v := range x {
			v = max(v, 0)
			x[i] = v * v
		}
	case SiLU:
		vec.SiLU(x, x)
	case GELU:
		for i, v := range x {
			x[i] = float32(0.5 * float64(v) * (1 + math.Erf(float64(v)/math.Sqrt2)))
		}
	case GELUTanh:
		for i, v := range x {
			u := float64(v)
			x[i] = float32(0.5 * u * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(u+0.044715*u*u*u))))
		}
	}
}

// Gather copies the rows whose logits are wanted.
func (b *CPU) Gather(out, x Tensor) {
	for i, r := range b.batch.Outputs {
		copy(out.row(i), x.row(int(r)))
	}
}
