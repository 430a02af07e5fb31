// Package opstest holds the tests that every backend of package ops must pass.
// Each operation is compared with a plain float64 computation that shares no
// code with any backend.
//
// The package is imported by tests only.
package opstest

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/godwit-llm/godwit/internal/ops"
)

// Device is a backend under test.
type Device interface {
	ops.Backend

	// Write stores values in t, rows back to back, rounded to t's type.
	Write(t ops.Tensor, values []float32) error
}

// Options say what is tested and how closely.
type Options struct {
	// Open returns a new device. The tests close it.
	Open func(t testing.TB) Device

	// Tolerance is the largest error allowed, as a share of the largest sum of
	// absolute terms in the row that a value stands in.
	Tolerance float64

	// Align is what the first column and the width of views inside wider rows
	// are multiples of; 0 means 1.
	Align int

	// Without names groups of tests whose operations the device does not have.
	Without []string
}

// Run tests all operations.
func Run(t *testing.T, o Options) {
	for _, group := range []struct {
		name string
		run  func(*fixture)
	}{
		{"Embed", embed},
		{"Norm", norm},
		{"Linear", linear},
		{"Multiply", multiply},
		{"Gather", gather},
		{"Append", appendRotated},
		{"Attend", attend},
		{"Convolve", convolve},
		{"Scan", scan},
		{"GatedNorm", gatedNorm},
		{"Mamba", mamba},
		{"Route", route},
		{"Experts", experts},
		{"Copy", copies},
		{"Sample", sample},
	} {
		t.Run(group.name, func(t *testing.T) {
			if slices.Contains(o.Without, group.name) {
				t.Skip("the device does not have these operations")
			}
			group.run(&fixture{T: t, Options: o})
		})
	}
}

// fixture is one test on one device. Its random numbers are the same in each
// run.
type fixture struct {
	*testing.T
	Options
	dev Device
	rng *rand.Rand
}

// each runs a subtest on a fresh device.
func (f *fixture) each(name string, run func(*fixture)) {
	f.T.Run(name, func(t *testing.T) {
		sub := &fixture{T: t, Options: f.Options, dev: f.Open(t), rng: rand.New(rand.NewPCG(1, 2))}
		t.Cleanup(func() { sub.must(sub.dev.Close()) })
		run(sub)
	})
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// matrix is a result in float64. size[r] is the largest sum of absolute terms
// in row r, which rounding errors are measured by.
type matrix struct {
	rows, cols int
	v          []float64
	size       []float64
}

func newMatrix(rows, cols int) *matrix {
	return &matrix{rows, cols, make([]float64, rows*cols), make([]float64, rows)}
}

func (m *matrix) row(r int) []float64 { return m.v[r*m.cols : (r+1)*m.cols] }

func (m *matrix) at(r, c int) float64 { return m.v[r*m.cols+c] }

// set stores a value that was computed from terms of the given absolute sum.
func (m *matrix) set(r, c int, v, size float64) {
	m.v[r*m.cols+c] = v
	m.size[r] = max(m.size[r], size, math.Abs(v))
}

// columns returns a copy of columns [from, to).
func (m *matrix) columns(from, to int) *matrix {
	out := newMatrix(m.rows, to-from)
	for r := range m.rows {
		copy(out.row(r), m.row(r)[from:to])
	}
	return out
}

// normal returns n standard normal values.
func (f *fixture) normal(n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(f.rng.NormFloat64())
	}
	return out
}

// guard fills the columns around a view. It is exact in every type.
const guard = 96

// view is a range of columns inside wider rows, surrounded by guards.
type view struct {
	ops.Tensor
	whole      ops.Tensor
	left, wide int
}

// scratch returns an activation [rows, cols] that is part of wider rows.
func (f *fixture) scratch(rows, cols int) view {
	f.Helper()
	align := max(f.Align, 1)
	v := view{left: 3 * align, wide: (cols+align-1)/align*align + 8*align}
	whole, err := f.dev.Activation(rows, v.wide)
	f.must(err)
	values := make([]float32, rows*v.wide)
	for i := range values {
		values[i] = guard
	}
	f.must(f.dev.Write(whole, values))
	v.whole, v.Tensor = whole, whole.Columns(v.left, v.left+cols)
	return v
}

// input returns an activation that holds values as the device rounds them.
func (f *fixture) input(rows, cols int, values []float32) (view, *matrix) {
	f.Helper()
	v := f.scratch(rows, cols)
	f.must(f.dev.Write(v.Tensor, values))
	return v, f.read(v.Tensor)
}

// random returns an activation of standard normal values.
func (f *fixture) random(rows, cols int) (view, *matrix) {
	f.Helper()
	return f.input(rows, cols, f.normal(rows*cols))
}

// vector places values; as holds them in float64.
func (f *fixture) vector(values []float32) (t ops.Tensor, as []float64) {
	f.Helper()
	t, err := f.dev.Vector(values)
	f.must(err)
	return t, float64s(values)
}

func float64s(values []float32) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = float64(v)
	}
	return out
}

func (f *fixture) read(t ops.Tensor) *matrix {
	f.Helper()
	values := make([]float32, t.Rows*t.Cols)
	f.must(f.dev.Read(values, t))
	m := newMatrix(t.Rows, t.Cols)
	m.v = float64s(values)
	return m
}

// check compares a view with what was expected in it and looks for writes
// beside it.
func (f *fixture) check(got view, want *matrix) {
	f.Helper()
	f.compare(got.Tensor, want)
	whole := f.read(got.whole)
	for r := range whole.rows {
		for c, v := range whole.row(r) {
			if inside := c >= got.left && c < got.left+got.Cols; !inside && v != guard {
				f.Fatalf("row %d: column %d beside the view [%d:%d) was overwritten with %g", r, c, got.left, got.left+got.Cols, v)
			}
		}
	}
}

// compare compares a tensor with what was expected in it.
func (f *fixture) compare(got ops.Tensor, want *matrix) {
	f.Helper()
	g := f.read(got)
	if g.rows != want.rows || g.cols != want.cols {
		f.Fatalf("got %d x %d, want %d x %d", g.rows, g.cols, want.rows, want.cols)
	}
	for r := range g.rows {
		size := want.size[r]
		for _, v := range want.row(r) {
			size = max(size, math.Abs(v))
		}
		for c, v := range g.row(r) {
			if w := want.at(r, c); !(math.Abs(v-w) <= f.Tolerance*size) {
				f.Fatalf("[%d, %d]: got %.9g, want %.9g, error %.2g of %.3g", r, c, v, w, math.Abs(v-w)/size, size)
			}
		}
	}
}

// same compares bits.
func (f *fixture) same(got ops.Tensor, want *matrix) {
	f.Helper()
	for i, v := range f.read(got).v {
		if v != want.v[i] {
			f.Fatalf("[%d, %d]: got %v, want %v exactly", i/want.cols, i%want.cols, v, want.v[i])
		}
	}
}

// rows opens a step of n tokens of one sequence, for operations that look at
// rows alone.
func (f *fixture) rows(n int) *ops.Batch {
	f.Helper()
	b := &ops.Batch{
		Tokens: make([]int32, n), Positions: make([]int32, n), Start: []int32{0, int32(n)},
		Pages: make([]int32, n), MaxPages: n, Slots: []int32{0},
	}
	for i := range n {
		b.Positions[i] = int32(i)
		b.Pages[i] = int32(i)
	}
	f.must(f.dev.Begin(b))
	return b
}
