package opstest

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/godwit-llm/godwit/internal/ops"
)

type routeCase struct {
	experts, topK     int
	groups, topGroups int
	normalize         bool
	scale             float32
	ties              int // this many experts in a row have the same weights and bias; 0: one
	biased            float32
}

func route(f *fixture) {
	for _, c := range []routeCase{
		{experts: 1, topK: 1, groups: 1, topGroups: 1, scale: 1},
		{experts: 8, topK: 2, groups: 1, topGroups: 1, scale: 1, normalize: true},
		{experts: 8, topK: 8, groups: 1, topGroups: 1, scale: 2.5, normalize: true, biased: 1},
		{experts: 128, topK: 6, groups: 1, topGroups: 1, scale: 2.5, normalize: true, biased: 0.2},
		{experts: 128, topK: 6, groups: 1, topGroups: 1, scale: 2.5, biased: 0.2},
		{experts: 512, topK: 22, groups: 1, topGroups: 1, scale: 5, normalize: true, biased: 0.2},
		{experts: 16, topK: 4, groups: 4, topGroups: 2, scale: 1, normalize: true, biased: 0.5},
		{experts: 12, topK: 3, groups: 4, topGroups: 1, scale: 1, biased: 3},
		{experts: 6, topK: 2, groups: 6, topGroups: 3, scale: 1, normalize: true},
		{experts: 16, topK: 5, groups: 1, topGroups: 1, scale: 1, normalize: true, ties: 2},
		{experts: 16, topK: 3, groups: 4, topGroups: 4, scale: 1, ties: 2, biased: 0.5},
		{experts: 16, topK: 3, groups: 4, topGroups: 1, scale: 1, ties: 8, biased: 0.5},
		{experts: 16, topK: 6, groups: 4, topGroups: 3, scale: 1, ties: 16},
	} {
		for _, d := range []ops.DType{ops.BF16, ops.F32} {
			name := fmt.Sprintf("%d of %d,groups=%d of %d,normalize=%v,scale=%g,ties=%d,bias=%g/%s", c.topK, c.experts, c.topGroups, c.groups, c.normalize, c.scale, c.ties, c.biased, d)
			f.each(name, func(f *fixture) { routeBy(f, c, d) })
		}
	}
}

// quarters returns n random multiples of 1/4: their products are exact on every
// device, so that all devices see the same logits and the same ties.
func (f *fixture) quarters(n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(f.rng.IntN(9)-4) / 4
	}
	return out
}

func routeBy(f *fixture, c routeCase, d ops.DType) {
	const rows, width = 9, 24
	f.rows(rows)
	values := f.quarters(c.experts * width)
	bias := f.quarters(c.experts)
	for i := range bias {
		bias[i] *= c.biased
	}
	for e := range c.experts {
		first := e - e%max(c.ties, 1)
		copy(values[e*width:][:width], values[first*width:])
		bias[e] = bias[first]
	}
	w := newWeight(d, c.experts, width, values)
	tensors, err := f.dev.Weights([]ops.Stored{w.stored})
	f.must(err)
	r := &ops.Router{
		Weight: &ops.Linear{In: width, Out: c.experts, Weight: tensors},
		TopK:   c.topK, Groups: c.groups, TopGroups: c.topGroups,
		Normalize: c.normalize, ScalingFactor: c.scale,
	}
	var biases []float64
	r.Bias, biases = f.vector(bias)
	x, in := f.input(rows, width, f.quarters(rows*width))
	routes, err := f.dev.Routes(ops.Mixture{Rows: rows + 3, TopK: c.topK, Experts: c.experts})
	f.must(err)
	f.dev.Route(routes.Top(rows), x.Tensor, r)
	ids, weights := f.read(routes.IDs.Top(rows)), newMatrix(rows, c.topK)
	for i := range rows {
		want, shares := chosen(product(&matrix{1, width, in.row(i), nil}, w.m, make([]float64, c.experts), ops.Identity).row(0), biases, r)
		for k, e := range want {
			if got := int(ids.at(i, k)); got != e {
				f.Fatalf("row %d: choice %d is expert %d, want %d of %v", i, k, got, e, want)
			}
			weights.set(i, k, shares[k], 0)
		}
	}
	f.compare(routes.Weights.Top(rows), weights)
}

// chosen sorts the experts by their biased scores; experts of the groups that
// are left out come last. Of equals the first is chosen.
func chosen(logits, bias []float64, r *ops.Router) (ids []int, weights []float64) {
	scores, biased := make([]float64, len(logits)), make([]float64, len(logits))
	for e, v := range logits {
		scores[e] = 1 / (1 + math.Exp(-v))
		biased[e] = float64(float32(scores[e]) + float32(bias[e]))
	}
	open := openGroups(biased, r)
	for e := range logits {
		if slices.Contains(open, e*r.Groups/len(logits)) {
			ids = append(ids, e)
		}
	}
	slices.SortStableFunc(ids, func(a, b int) int { return cmp.Compare(biased[b], biased[a]) })
	ids = ids[:r.TopK]
	sum := 0.0
	for _, e := range ids {
		sum += scores[e]
	}
	for _, e := range ids {
		w := scores[e] * float64(r.ScalingFactor)
		if r.Normalize {
			w /= sum
		}
		weights = append(weights, w)
	}
	return ids, weights
}

// openGroups returns the TopGroups groups with the largest sums of their two
// best biased scores.
func openGroups(biased []float64, r *ops.Router) []int {
	size := len(biased) / r.Groups
	groups, score := make([]int, r.Groups), make([]float64, r.Groups)
	for g := range groups {
		groups[g] = g
		part := slices.Sorted(slices.Values(biased[g*size : (g+1)*size]))
		slices.Reverse(part)
		for _, v := range part[:min(2, size)] {
			score[g] += v
		}
	}
	slices.SortStableFunc(groups, func(a, b int) int { return cmp.Compare(score[b], score[a]) })
	return groups[:r.TopGroups]
}

type expertsCase struct {
	name               string
	rows, topK         int
	in, width, experts int
	act                ops.Activation
	ids                func(row, k int) int
}

func experts(f *fixture) {
	spread := func(n int) func(int, int) int {
		return func(row, k int) int { return (row*7 + k*3) % n }
	}
	for i, c := range []expertsCase{
		{"one", 1, 1, 8, 8, 1, ops.ReLU2, spread(1)},
		{"decode", 1, 6, 40, 33, 16, ops.ReLU2, spread(16)},
		{"spread", 9, 3, 24, 70, 10, ops.ReLU2, spread(10)},
		{"some unused", 12, 2, 33, 16, 40, ops.SiLU, func(row, k int) int { return 39 - 30*k - row%3 }},
		{"all the same", 40, 2, 16, 24, 4, ops.ReLU2, func(_, k int) int { return 3 - k }},
		{"descending", 7, 5, 64, 96, 8, ops.ReLU2, func(_, k int) int { return 7 - k }},
		{"wide", 12, 3, 128, 200, 8, ops.ReLU2, spread(8)},
	} {
		for k, set := range []bool{false, true} {
			d := weightTypes[(i+k)%len(weightTypes)]
			f.each(fmt.Sprintf("%s/set=%v/%s", c.name, set, d), func(f *fixture) { expertsBy(f, c, d, set) })
		}
	}
}

func expertsBy(f *fixture, c expertsCase, d ops.DType, set bool) {
	f.rows(c.rows)
	e := &ops.Experts{Act: c.act, Width: c.width}
	up, upValues := f.experts(d, c.experts, c.in, c.width)
	down, downValues := f.experts(d, c.experts, c.width, c.in)
	e.Up, e.Down = up, down
	x, in := f.random(c.rows, c.in)
	out, before := f.random(c.rows, c.in)
	routes, err := f.dev.Routes(ops.Mixture{Rows: c.rows, TopK: c.topK, Experts: c.experts, Width: c.width, Out: c.in})
	f.must(err)
	ids := make([]float32, c.rows*c.topK)
	for i := range ids {
		ids[i] = float32(c.ids(i/c.topK, i%c.topK))
	}
	f.must(f.dev.Write(routes.IDs, ids))
	f.must(f.dev.Write(routes.Weights, f.normal(len(ids))))
	weights := f.read(routes.Weights)
	f.dev.Experts(out.Tensor, x.Tensor, routes, e, set)
	want := newMatrix(c.rows, c.in)
	if !set {
		for i, v := range before.v {
			want.set(i/c.in, i%c.in, v, 0)
		}
	}
	for i, id := range ids {
		r := i / c.topK
		addExpert(want, r, weights.at(r, i%c.topK), in.row(r), upValues[int(id)], downValues[int(id)], c.act)
	}
	f.check(out, want)
}

// experts places the matrices of n experts in one stack and returns each.
func (f *fixture) experts(d ops.DType, n, in, out int) ([]ops.Linear, []*matrix) {
	f.Helper()
	tensors, all := f.weights(d, in, slices.Repeat([]int{out}, n)...)
	layers, values := make([]ops.Linear, n), make([]*matrix, n)
	for e := range n {
		layers[e] = ops.Linear{In: in, Out: out, Weight: tensors[e : e+1]}
		values[e] = &matrix{out, in, all.v[e*out*in : (e+1)*out*in], nil}
	}
	return layers, values
}

// addExpert adds weight·down(act(up x)) to row r.
func addExpert(out *matrix, r int, weight float64, x []float64, up, down *matrix, a ops.Activation) {
	mid, size := make([]float64, up.rows), make([]float64, up.rows)
	for o := range mid {
		terms := 0.0
		for k, v := range x {
			terms += math.Abs(v * up.at(o, k))
		}
		u := dot(x, up.row(o))
		mid[o], size[o] = act(a, u), terms
		if a == ops.ReLU2 {
			size[o] *= 1 + 2*math.Abs(u)
		}
	}
	for c := range out.cols {
		terms := 0.0
		for o, v := range size {
			terms += math.Abs(weight * v * down.at(c, o))
		}
		out.set(r, c, out.at(r, c)+weight*dot(mid, down.row(c)), terms)
	}
}
