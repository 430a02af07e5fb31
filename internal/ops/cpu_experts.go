package ops

import "math"

// expertScratch holds the rows of a step sorted by expert, on their way
// through the experts. A place is one chosen expert of one row.
type expertScratch struct {
	logits []float32 // [rows, experts] of the router
	scores []float32 // [experts] of one row
	choice []float32 // [experts] scores that selection looks at
	groups []float32 // [groups of experts] their scores
	order  []int32   // [places] the row of in, mid and out that a place was given
	first  []int32   // [experts+2] expert e owns rows first[e] to first[e+1]
	blocks []block
	in     []float32 // [places, width of x]
	mid    []float32 // [places, expert width]
	out    []float32 // [places, width of out]
}

// block is a range of one expert's weight rows: a unit of work.
type block struct{ expert, from, to int }

// blockRows is the number of weight rows in a unit of work.
const blockRows = 32

// Route scores with a sigmoid; the bias takes part in the choice alone.
func (b *CPU) Route(out Routes, x Tensor, r *Router) {
	experts := r.Weight.Out
	s := &b.experts
	s.logits = grow(s.logits, x.Rows*experts)
	b.Linear(viewFloats(s.logits, experts), x, r.Weight, Epilogue{})
	s.scores, s.choice = grow(s.scores, experts), grow(s.choice, experts)
	for i := range x.Rows {
		for e, v := range s.logits[i*experts : (i+1)*experts] {
			s.scores[e] = float32(1 / (1 + math.Exp(-float64(v))))
			s.choice[e] = s.scores[e] + r.Bias.row(0)[e]
		}
		r.restrict(s)
		r.choose(out.IDs.ints(i), out.Weights.row(i), s)
	}
}

// restrict takes the experts outside the best TopGroups groups out of the
// choice.
func (r *Router) restrict(s *expertScratch) {
	if r.Groups <= 1 || r.TopGroups >= r.Groups {
		return
	}
	size := len(s.choice) / r.Groups
	s.groups = grow(s.groups, r.Groups)
	for g := range s.groups {
		s.groups[g] = bestTwo(s.choice[g*size : (g+1)*size])
	}
	for range r.Groups - r.TopGroups {
		worst := 0
		for g, v := range s.groups {
			if v <= s.groups[worst] {
				worst = g
			}
		}
		s.groups[worst] = float32(math.Inf(1))
		for e := range size {
			s.choice[worst*size+e] = float32(math.Inf(-1))
		}
	}
}

// bestTwo returns a group's score: the sum of its two largest values.
func bestTwo(x []float32) float32 {
	if len(x) == 1 {
		return x[0]
	}
	first, second := max(x[0], x[1]), min(x[0], x[1])
	for _, v := range x[2:] {
		if v > second {
			first, second = max(first, v), min(first, v)
		}
	}
	return first + second
}

// choose takes the TopK best and computes their weights.
func (r *Router) choose(ids []int32, weights []float32, s *expertScratch) {
	sum := float32(0)
	for k := range ids {
		best := 0
		for e, v := range s.choice {
			if v > s.choice[best] {
				best = e
			}
		}
		ids[k], weights[k] = int32(best), s.scores[best]
		sum += s.scores[best]
		s.choice[best] = float32(math.Inf(-1))
	}
	for k := range weights {
		if r.Normalize {
			weights[k] /= sum + 1e-20
		}
		weights[k] *= r.ScalingFactor
	}
}

// Experts sorts the rows by expert, so that each chosen expert's weights are
// read once, and sums each row's results in the order of its routing.
func (b *CPU) Experts(out, x Tensor, routes Routes, e *Experts, set bool) {
	s := &b.experts
	s.sort(routes, x, len(e.Up))
	places, topK := len(s.order), routes.IDs.Cols
	s.mid = grow(s.mid, places*e.Width)
	s.out = grow(s.out, places*out.Cols)
	b.expertProducts(e.Up, s.in, x.Cols, s.mid, e.Width, e.Act)
	b.expertProducts(e.Down, s.mid, e.Width, s.out, out.Cols, Identity)
	b.pool.each(x.Rows, grain(2*topK*out.Cols), func(_, from, to int) {
		for i := from; i < to; i++ {
			if set {
				clear(out.row(i))
			}
			s.sum(out.row(i), routes.Weights.row(i), i*topK)
		}
	})
}

// MoE routes, and runs the chosen experts and the shared one.
func (b *CPU) MoE(out, x Tensor, m *MoE, routes Routes, hidden Tensor) {
	m.Separately(b, out, x, routes, hidden)
}

// sort gives each place a row, expert by expert, and gathers x there. Counts
// stand two entries ahead: filling expert e's rows moves first[e+1] from its
// first row to its end.
func (s *expertScratch) sort(routes Routes, x Tensor, experts int) {
	topK := routes.IDs.Cols
	places := x.Rows * topK
	s.first = grow(s.first, experts+2)
	clear(s.first)
	for i := range x.Rows {
		for _, e := range routes.IDs.ints(i) {
			s.first[e+2]++
		}
	}
	for e := range experts {
		s.first[e+2] += s.first[e+1]
	}
	s.order = grow(s.order, places)
	s.in = grow(s.in, places*x.Cols)
	for i := range x.Rows {
		for k, e := range routes.IDs.ints(i) {
			at := s.first[e+1]
			s.first[e+1]++
			s.order[i*topK+k] = at
			copy(s.in[int(at)*x.Cols:], x.row(i))
		}
	}
}

// expertProducts computes act(W_e·in) for the rows of every chosen expert.
func (b *CPU) expertProducts(w []Linear, in []float32, inCols int, out []float32, outCols int, act Activation) {
	s := &b.experts
	s.blocks = s.blocks[:0]
	most := 1
	for e := range w {
		rows := int(s.first[e+1] - s.first[e])
		most = max(most, rows)
		for from := 0; rows > 0 && from < outCols; from += blockRows {
			s.blocks = append(s.blocks, block{e, from, min(from+blockRows, outCols)})
		}
	}
	b.pool.each(len(s.blocks), grain(blockRows*inCols*most), func(_, from, to int) {
		for _, k := range s.blocks[from:to] {
			first, end := int(s.first[k.expert]), int(s.first[k.expert+1])
			x := viewFloats(in[first*inCols:end*inCols], inCols)
			y := out[first*outCols+k.from:]
			multiply(y, outCols, w[k.expert].Weight[0], k.from, k.to, x)
			for r := range end - first {
				activate(y[r*outCols:r*outCols+k.to-k.from], act)
			}
		}
	})
}

// sum adds the weighted results of the places from first on to dst.
func (s *expertScratch) sum(dst, weights []float32, first int) {
	for k, w := range weights {
		at := int(s.order[first+k]) * len(dst)
		for c, v := range s.out[at : at+len(dst)] {
			dst[c] += w * v
		}
	}
}
