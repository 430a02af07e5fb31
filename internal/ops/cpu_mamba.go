package ops

import (
	"math"

	"github.com/godwit-llm/godwit/internal/vec"
)

// Convolve computes out[t, c] = SiLU(bias[c] + Σ_k weight[c, k]·x[t-(K-1)+k, c]).
// A row of state holds a sequence's last K-1 inputs, oldest first.
func (b *CPU) Convolve(out, x Tensor, c *Conv, state Tensor) {
	cost := 2 * c.Kernel * x.Rows
	b.pool.each(x.Cols, max(64, grain(cost)), func(_, from, to int) {
		for s := range b.batch.Sequences() {
			window := state.row(int(b.batch.Slots[s]))
			if b.batch.fresh(s) {
				clearTaps(window, c.Kernel-1, x.Cols, from, to)
			}
			b.convolve(out, x, c, window, s, from, to)
			b.slide(x, c, window, s, from, to)
		}
	})
}

func clearTaps(window []float32, taps, channels, from, to int) {
	for k := range taps {
		clear(window[k*channels+from : k*channels+to])
	}
}

// convolve computes channels [from, to) of sequence s.
func (b *CPU) convolve(out, x Tensor, c *Conv, window []float32, s, from, to int) {
	first, end := int(b.batch.Start[s]), int(b.batch.Start[s+1])
	weight := c.Weight.row(0)
	for t := first; t < end; t++ {
		dst := out.row(t)[from:to]
		clear(dst)
		if c.Bias.Present() {
			copy(dst, c.Bias.row(0)[from:to])
		}
		for k := range c.Kernel {
			src := tap(x, window, first, t-(c.Kernel-1)+k, c.Kernel)[from:to]
			for i, v := range src {
				dst[i] += weight[(from+i)*c.Kernel+k] * v
			}
		}
		vec.SiLU(dst, dst)
	}
}

// tap returns the input row at time t, counted as the rows of x are: from x,
// or from the window where t lies before the sequence's first row.
func tap(x Tensor, window []float32, first, t, kernel int) []float32 {
	if t >= first {
		return x.row(t)
	}
	k := t - first + kernel - 1
	return window[k*x.Cols : (k+1)*x.Cols]
}

// slide moves the window of sequence s to the end of its rows. Oldest first:
// a row is read before it is overwritten.
func (b *CPU) slide(x Tensor, c *Conv, window []float32, s, from, to int) {
	first, end := int(b.batch.Start[s]), int(b.batch.Start[s+1])
	for k := range c.Kernel - 1 {
		src := tap(x, window, first, end-(c.Kernel-1)+k, c.Kernel)
		copy(window[k*x.Cols+from:k*x.Cols+to], src[from:to])
	}
}

// Scan runs the recurrence token by token, for each head
//
//	S ← exp(dt·A)·S + dt·x⊗B,   y = S·C + D·x.
func (b *CPU) Scan(y, xbc, dt Tensor, s *SSM, state Tensor) {
	items := b.batch.Sequences() * s.Heads
	tokens := max(1, xbc.Rows/max(1, b.batch.Sequences()))
	b.pool.each(items, grain(2*s.HeadDim*s.State*tokens), func(worker, from, to int) {
		for item := from; item < to; item++ {
			b.scan(y, xbc, dt, s, state, worker, item/s.Heads, item%s.Heads)
		}
	})
}

// scan runs head h of sequence seq.
func (b *CPU) scan(y, xbc, dt Tensor, s *SSM, state Tensor, worker, seq, h int) {
	size, slot := s.HeadDim*s.State, int(b.batch.Slots[seq])
	if state.Type == F32 {
		b.scanHeld(state.row(slot)[h*size:(h+1)*size], y, xbc, dt, s, seq, h)
		return
	}
	stored := state.halves(slot, slot+1)[h*size : (h+1)*size]
	held := grow(b.states[worker], size)
	b.states[worker] = held
	vec.F16ToF32(held, stored)
	b.scanHeld(held, y, xbc, dt, s, seq, h)
	vec.F32ToF16(stored, held)
}

// scanHeld runs head h of sequence seq on its state.
func (b *CPU) scanHeld(held []float32, y, xbc, dt Tensor, s *SSM, seq, h int) {
	if b.batch.fresh(seq) {
		clear(held)
	}
	group := h / (s.Heads / s.Groups)
	atB := s.Inner() + group*s.State
	atC := atB + s.Groups*s.State
	a, d := s.A.row(0)[h], s.D.row(0)[h]
	for t := int(b.batch.Start[seq]); t < int(b.batch.Start[seq+1]); t++ {
		row := xbc.row(t)
		x := row[h*s.HeadDim : (h+1)*s.HeadDim]
		out := y.row(t)[h*s.HeadDim : (h+1)*s.HeadDim]
		step := s.step(dt.row(t)[h], h)
		decay := float32(math.Exp(float64(step * a)))
		vec.Scan(out, held, row[atB:atB+s.State], row[atC:atC+s.State], x, decay, step)
		vec.Axpy(out, d, x)
	}
}

// step returns the time step of head h: softplus of the biased raw value,
// within its limits.
func (s *SSM) step(raw float32, h int) float32 {
	v := raw + s.DtBias.row(0)[h]
	if v <= 20 {
		v = float32(math.Log1p(math.Exp(float64(v))))
	}
	return min(max(v, s.DtMin), s.DtMax)
}

// GatedNorm gates first and normalises each group after.
func (b *CPU) GatedNorm(out, y, z Tensor, g *GatedNorm) {
	width := y.Cols / g.Groups
	weight := g.Weight.row(0)
	b.pool.each(y.Rows, grain(8*y.Cols), func(_, from, to int) {
		for r := from; r < to; r++ {
			dst, src := out.row(r), y.row(r)
			gated := dst[:len(src)]
			vec.SiLU(gated, z.row(r))
			for i, v := range src {
				gated[i] *= v
			}
			for c := 0; c < len(gated); c += width {
				part := gated[c : c+width]
				scale := inverseRoot(vec.SumSquares(part)/float32(width) + g.Eps)
				for i := range part {
					part[i] *= scale * weight[c+i]
				}
			}
		}
	})
}

// Mamba runs the three operations one after another.
func (b *CPU) Mamba(out, p Tensor, m *Mamba, state MambaState, mixed, y Tensor) {
	z, xbc, dt := m.Split(p)
	b.Convolve(mixed, xbc, &m.Conv, state.Window)
	b.Scan(y, mixed, dt, &m.SSM, state.SSM)
	b.GatedNorm(out, y, z, &m.Norm)
}
