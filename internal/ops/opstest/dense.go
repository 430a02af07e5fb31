package opstest

import (
	"fmt"
	"math"

	"github.com/godwit-llm/godwit/internal/ops"
)

var weightTypes = []ops.DType{ops.BF16, ops.F16, ops.F32}

// embed looks rows up, the first, the last and some twice.
func embed(f *fixture) {
	for _, d := range weightTypes {
		for _, width := range []int{1, 24, 67, 256} {
			f.each(fmt.Sprintf("%s/width=%d", d, width), func(f *fixture) {
				const vocab = 23
				tables, values := f.weights(d, width, vocab)
				b := f.rows(7)
				copy(b.Tokens, []int32{0, vocab - 1, 5, 5, 11, 1, 0})
				f.must(f.dev.Begin(b))
				out := f.scratch(7, width)
				f.dev.Embed(out.Tensor, tables[0])
				want := newMatrix(7, width)
				for i, id := range b.Tokens {
					copy(want.row(i), values.row(int(id)))
				}
				f.check(out, want)
				f.embedChosen(tables[0], values)
			})
		}
	}
}

// embedChosen embeds ids that the step before has chosen, before the host asks for
// them, beside some that are given.
func (f *fixture) embedChosen(table ops.Tensor, values *matrix) {
	f.Helper()
	ids := []int{6, 0, values.rows - 1}
	logits := make([]float32, len(ids)*values.rows)
	for r, id := range ids {
		logits[r*values.rows+id] = 1
	}
	t, err := f.dev.Float(len(ids), values.rows)
	f.must(err)
	f.must(f.dev.Write(t, logits))
	f.rows(len(ids))
	f.must(f.dev.Sample(t, make([]ops.Sampling, len(ids))))
	b := f.rows(5)
	copy(b.Tokens, []int32{ops.Chosen(2), 5, ops.Chosen(0), ops.Chosen(1), 7})
	f.must(f.dev.Begin(b))
	out := f.scratch(5, values.cols)
	f.dev.Embed(out.Tensor, table)
	f.dev.Launch()
	results := make([]ops.Sampled, len(ids))
	f.must(f.dev.Collect(results))
	want := newMatrix(5, values.cols)
	for i, id := range []int{ids[2], 5, ids[0], ids[1], 7} {
		copy(want.row(i), values.row(id))
	}
	f.check(out, want)
	for r, id := range ids {
		if results[r].ID != int32(id) {
			f.Errorf("row %d: %d was chosen, want %d", r, results[r].ID, id)
		}
	}
}

type normCase struct {
	rows, width, groups int
	center, bias        bool
	inPlace             bool
	shift               float32 // mean of the input
}

func norm(f *fixture) {
	for _, c := range []normCase{
		{rows: 1, width: 1, groups: 1},
		{rows: 3, width: 8, groups: 1},
		{rows: 5, width: 67, groups: 1, inPlace: true},
		{rows: 2, width: 2688, groups: 1},
		{rows: 40, width: 256, groups: 1, shift: 3},
		{rows: 3, width: 64, groups: 5},
		{rows: 3, width: 16, groups: 4, inPlace: true},
		{rows: 1, width: 96, groups: 1, center: true, bias: true},
		{rows: 4, width: 131, groups: 1, center: true, bias: true, shift: -5, inPlace: true},
		{rows: 4, width: 33, groups: 1, center: true, shift: 20},
	} {
		name := fmt.Sprintf("%dx%dx%d,center=%v,bias=%v,inplace=%v", c.rows, c.groups, c.width, c.center, c.bias, c.inPlace)
		f.each(name, func(f *fixture) { normalise(f, c) })
	}
}

func normalise(f *fixture, c normCase) {
	f.rows(c.rows)
	values := f.normal(c.rows * c.width * c.groups)
	for i := range values {
		values[i] += c.shift
	}
	x, in := f.input(c.rows, c.width*c.groups, values)
	n := &ops.Norm{Center: c.center, Eps: 1e-5}
	var weight, bias []float64
	n.Weight, weight = f.vector(f.normal(c.width))
	bias = make([]float64, c.width)
	if c.bias {
		n.Bias, bias = f.vector(f.normal(c.width))
	}
	out := x
	if !c.inPlace {
		out = f.scratch(c.rows, c.width*c.groups)
	}
	f.dev.Norm(out.Tensor, x.Tensor, n)
	want := newMatrix(c.rows, c.width*c.groups)
	for r := range c.rows {
		for g := range c.groups {
			mean, deviation := moments(in.row(r)[g*c.width:][:c.width], c.center, 1e-5)
			for i := range c.width {
				x := in.at(r, g*c.width+i)
				v := (x - mean) / deviation * weight[i]
				size := (math.Abs(x)+math.Abs(mean))/deviation*math.Abs(weight[i]) + math.Abs(bias[i])
				want.set(r, g*c.width+i, v+bias[i], size)
			}
		}
	}
	f.check(out, want)
}

// moments returns the mean (0 unless centred) and the root of the mean square
// around it plus eps.
func moments(x []float64, center bool, eps float64) (mean, deviation float64) {
	n := float64(len(x))
	sum, squares := 0.0, 0.0
	for _, v := range x {
		sum += v
	}
	if center {
		mean = sum / n
	}
	for _, v := range x {
		squares += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(squares/n + float64(float32(eps)))
}

var activations = []ops.Activation{ops.Identity, ops.ReLU2, ops.SiLU, ops.GELU, ops.GELUTanh}

// act is an activation in another form than the usual one: sigmoid by tanh, Φ
// by erfc, tanh by exp.
func act(a ops.Activation, x float64) float64 {
	switch a {
	case ops.ReLU2:
		return x * math.Abs(x) * (1 + sign(x)) / 2
	case ops.SiLU:
		return x * sigmoid(x)
	case ops.GELU:
		return x * math.Erfc(-x/math.Sqrt2) / 2
	case ops.GELUTanh:
		return x * sigmoid(2*math.Sqrt(2/math.Pi)*(x+0.044715*math.Pow(x, 3)))
	}
	return x
}

func sigmoid(x float64) float64 { return (1 + math.Tanh(x/2)) / 2 }

func sign(x float64) float64 { return math.Copysign(1, x) }

type linearCase struct {
	dtype  ops.DType
	rows   int // of x
	in     int
	parts  []int
	bias   bool
	act    ops.Activation
	add    bool
	logits bool // out is a float32 buffer for logits
}

func (c linearCase) String() string {
	return fmt.Sprintf("%s/%dx%d,parts=%v,bias=%v,act=%d,add=%v,logits=%v", c.dtype, c.rows, c.in, c.parts, c.bias, c.act, c.add, c.logits)
}

func linear(f *fixture) {
	for _, c := range linearCases() {
		f.each(c.String(), func(f *fixture) { multiplyBy(f, c) })
	}
}

func linearCases() []linearCase {
	var out []linearCase
	for _, d := range weightTypes {
		for _, rows := range []int{1, 2, 5, 33} {
			for _, shape := range [][2]int{{1, 1}, {7, 3}, {16, 64}, {70, 130}, {129, 8}} {
				out = append(out, linearCase{dtype: d, rows: rows, in: shape[1], parts: []int{shape[0]}})
			}
		}
		for _, a := range activations {
			out = append(out,
				linearCase{dtype: d, rows: 1, in: 40, parts: []int{19}, act: a},
				linearCase{dtype: d, rows: 3, in: 65, parts: []int{8, 5}, bias: true, act: a},
				linearCase{dtype: d, rows: 9, in: 24, parts: []int{6, 1, 9}, bias: true, act: a, add: true})
		}
		out = append(out,
			linearCase{dtype: d, rows: 1, in: 256, parts: []int{512, 64, 64}, bias: true},
			linearCase{dtype: d, rows: 70, in: 96, parts: []int{300, 13}, add: true},
			linearCase{dtype: d, rows: 4, in: 128, parts: []int{777}, logits: true})
	}
	return out
}

func multiplyBy(f *fixture, c linearCase) {
	f.rows(c.rows)
	tensors, w := f.weights(c.dtype, c.in, c.parts...)
	l := &ops.Linear{In: c.in, Out: w.rows, Weight: tensors}
	bias := make([]float64, w.rows)
	if c.bias {
		l.Bias, bias = f.vector(f.normal(w.rows))
	}
	x, in := f.random(c.rows, c.in)
	out, before := f.random(c.rows, w.rows)
	if c.logits {
		t, err := f.dev.Float(c.rows, w.rows)
		f.must(err)
		out.Tensor = t
	}
	f.dev.Linear(out.Tensor, x.Tensor, l, ops.Epilogue{Act: c.act, Add: c.add})
	want := product(in, w, bias, c.act)
	for i, v := range before.v {
		if c.add {
			want.set(i/want.cols, i%want.cols, want.v[i]+v, math.Abs(v))
		}
	}
	f.compare(out.Tensor, want)
	if !c.logits {
		f.check(out, want)
	}
}

// product returns act(x·wᵀ + bias). The activations grow at most as the square
// of their argument.
func product(x, w *matrix, bias []float64, a ops.Activation) *matrix {
	out := newMatrix(x.rows, w.rows)
	for r := range x.rows {
		for o := range w.rows {
			sum, size := bias[o], math.Abs(bias[o])
			for k, v := range x.row(r) {
				sum += v * w.at(o, k)
				size += math.Abs(v * w.at(o, k))
			}
			if a == ops.ReLU2 {
				size *= 2 * (1 + math.Abs(sum))
			}
			out.set(r, o, act(a, sum), size)
		}
	}
	return out
}

// multiply is done in place in gate, as models do, and into other rows.
func multiply(f *fixture) {
	for _, a := range activations {
		for _, width := range []int{1, 9, 130, 1000} {
			for _, inPlace := range []bool{false, true} {
				f.each(fmt.Sprintf("act=%d,width=%d,inplace=%v", a, width, inPlace), func(f *fixture) {
					const rows = 5
					f.rows(rows)
					gate, g := f.random(rows, width)
					up, u := f.random(rows, width)
					out := gate
					if !inPlace {
						out = f.scratch(rows, width)
					}
					f.dev.Multiply(out.Tensor, gate.Tensor, up.Tensor, a)
					want := newMatrix(rows, width)
					for i, v := range g.v {
						want.set(i/width, i%width, act(a, v)*u.v[i], math.Abs(v*u.v[i]))
					}
					f.check(out, want)
				})
			}
		}
	}
}

func gather(f *fixture) {
	for _, outputs := range [][]int32{{0}, {9}, {0, 3, 4, 9}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}} {
		for _, width := range []int{1, 33, 128} {
			f.each(fmt.Sprintf("%d of 10,width=%d", len(outputs), width), func(f *fixture) {
				b := f.rows(10)
				b.Outputs = outputs
				f.must(f.dev.Begin(b))
				x, in := f.random(10, width)
				out := f.scratch(len(outputs), width)
				f.dev.Gather(out.Tensor, x.Tensor)
				want := newMatrix(len(outputs), width)
				for i, r := range outputs {
					copy(want.row(i), in.row(int(r)))
				}
				f.same(out.Tensor, want)
				f.check(out, want)
			})
		}
	}
}
