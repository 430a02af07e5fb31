package ops

import (
	"math"

	"github.com/godwit-llm/godwit/internal/vec"
)

// angles are the cosines and sines of a step's positions, [n, half] each.
type angles struct {
	cos, sin []float32
	half     int
}

// Angles computes the angle as a float32 product, as the reference
// implementations do: at long contexts its rounding matters.
func (b *CPU) Angles(r *Rotary) {
	half := len(r.InvFreq)
	n := len(b.batch.Positions)
	a := &b.angles
	a.half = half
	a.cos, a.sin = grow(a.cos, n*half), grow(a.sin, n*half)
	for i, p := range b.batch.Positions {
		freq := r.at(int(p))
		for k, f := range freq {
			sin, cos := math.Sincos(float64(float32(p) * f))
			a.cos[i*half+k] = float32(cos) * r.Scale
			a.sin[i*half+k] = float32(sin) * r.Scale
		}
	}
}

// at returns the frequencies that hold at a position.
func (r *Rotary) at(position int) []float32 {
	d := r.Dynamic
	if d == nil || position < d.Context {
		return r.InvFreq
	}
	dim := float64(2 * len(r.InvFreq))
	growth := d.Factor*float64(position+1)/float64(d.Context) - (d.Factor - 1)
	return InverseFrequencies(d.Theta*math.Pow(growth, dim/(dim-2)), int(dim))
}

// InverseFrequencies returns theta^(-2i/dim) for i < dim/2.
func InverseFrequencies(theta float64, dim int) []float32 {
	out := make([]float32, dim/2)
	for i := range out {
		out[i] = float32(1 / math.Pow(theta, float64(2*i)/float64(dim)))
	}
	return out
}

// Append rotates queries and keys and stores keys and values.
func (b *CPU) Append(q, k, v Tensor, a *Attention, cache Cache) {
	b.cache = cache // a copy that the loop's body need not allocate
	c := &b.cache
	b.pool.each(q.Rows, grain(2*(q.Cols+k.Cols)), func(_, from, to int) {
		for i := from; i < to; i++ {
			if a.Rotary != nil {
				b.angles.rotate(q.row(i), i, a.HeadDim)
				b.angles.rotate(k.row(i), i, a.HeadDim)
			}
			page, place := b.locate(i, c.PageSize)
			for h := range a.KVHeads {
				from, to := h*a.HeadDim, (h+1)*a.HeadDim
				c.store(c.row(page, h, a.KVHeads)+place, k.row(i)[from:to], v.row(i)[from:to])
			}
		}
	})
}

// locate returns the page of token i and its place there.
func (b *CPU) locate(i, pageSize int) (page, place int) {
	p := int(b.batch.Positions[i])
	table := int(b.owner[i]) * b.batch.MaxPages
	return int(b.batch.Pages[table+p/pageSize]), p % pageSize
}

// row returns the first row of a head's part of a page.
func (c *Cache) row(page, head, kvHeads int) int { return (page*kvHeads + head) * c.PageSize }

// rotate turns the heads of one row by the angles of token i.
func (a *angles) rotate(row []float32, i, headDim int) {
	cos, sin := a.cos[i*a.half:(i+1)*a.half], a.sin[i*a.half:(i+1)*a.half]
	for at := 0; at < len(row); at += headDim {
		lower, upper := row[at:at+a.half], row[at+a.half:at+2*a.half]
		for k, c := range cos {
			x, y := lower[k], upper[k]
			lower[k] = x*c - y*sin[k]
			upper[k] = y*c + x*sin[k]
		}
	}
}

// attending is the scratch memory of one worker's attention.
type attending struct {
	scores []float32 // of the query heads that share a key head, one behind the other
	scales []float32 // of the query heads
	rows   []float32 // keys or values of a page, widened
}

// Attend computes each token's heads over the pages of its sequence. The query
// heads that share a key head are computed together.
func (b *CPU) Attend(out, q Tensor, a *Attention, cache Cache) {
	b.cache = cache
	c := &b.cache
	longest := 0
	for _, p := range b.batch.Positions {
		longest = max(longest, int(p)+1)
	}
	group := a.Heads / a.KVHeads
	for w := range b.attending {
		m := &b.attending[w]
		m.scores = grow(m.scores, group*(longest+c.PageSize))
		m.scales = grow(m.scales, group)
		if c.Format != Plain {
			m.rows = grow(m.rows, c.PageSize*a.HeadDim)
		}
	}
	items := q.Rows * a.KVHeads
	b.pool.each(items, grain(2*group*a.HeadDim*(longest+8)), func(worker, from, to int) {
		for item := from; item < to; item++ {
			b.attend(out, q, a, c, item/a.KVHeads, item%a.KVHeads, &b.attending[worker])
		}
	})
}

// attend computes the query heads of token i that share key head h.
func (b *CPU) attend(out, q Tensor, a *Attention, c *Cache, i, h int, m *attending) {
	group := a.Heads / a.KVHeads
	last := int(b.batch.Positions[i])
	first := 0
	if a.Window > 0 {
		first = max(0, last+1-a.Window)
	}
	n := last + 1 - first
	queries := q.row(i)[h*group*a.HeadDim : (h+1)*group*a.HeadDim]
	b.eachPage(i, first, last, c, func(at, page, place, count int) {
		row := c.row(page, h, a.KVHeads) + place
		keys := c.keys(row, row+count, m.rows)
		vec.ProductF32(m.scores[at:], n, keys, queries, a.HeadDim, count, group, a.HeadDim)
	})
	for g := range group {
		m.scales[g] = 1 / softmax(m.scores[g*n:(g+1)*n], a.Scale)
	}
	target := out.row(i)[h*group*a.HeadDim : (h+1)*group*a.HeadDim]
	clear(target)
	b.eachPage(i, first, last, c, func(at, page, place, count int) {
		row := c.row(page, h, a.KVHeads) + place
		values := c.values(row, row+count, m.rows)
		for g := range group {
			dst := target[g*a.HeadDim : (g+1)*a.HeadDim]
			for k, w := range m.scores[g*n+at : g*n+at+count] {
				vec.Axpy(dst, w, values[k*a.HeadDim:(k+1)*a.HeadDim])
			}
		}
	})
	for g, scale := range m.scales {
		for d := range a.HeadDim {
			target[g*a.HeadDim+d] *= scale
		}
	}
}

// eachPage calls f for the runs of positions [first, last] of token i's
// sequence that share a page: at counts from first.
func (b *CPU) eachPage(i, first, last int, c *Cache, f func(at, page, place, count int)) {
	table := b.batch.Pages[int(b.owner[i])*b.batch.MaxPages:]
	for p := first; p <= last; {
		place := p % c.PageSize
		count := min(c.PageSize-place, last+1-p)
		f(p-first, int(table[p/c.PageSize]), place, count)
		p += count
	}
}

// softmax replaces x by exp(scale·x - max) and returns the sum.
func softmax(x []float32, scale float32) float32 {
	top := float32(math.Inf(-1))
	for i := range x {
		x[i] *= scale
		top = max(top, x[i])
	}
	return vec.ExpSum(x, top)
}
