package opstest

import "github.com/godwit-llm/godwit/internal/ops"

// copies moves rows about: within a state, within a cache, and to host memory
// and back.
func copies(f *fixture) {
	for _, kept := range []ops.DType{ops.F32, ops.F16} {
		f.each("state "+kept.String(), func(f *fixture) { copyRows(f, kept, 9, 70) })
		f.each("host "+kept.String(), func(f *fixture) { copyHost(f, kept) })
	}
	f.each("cache", func(f *fixture) {
		for _, headDim := range []int{1, 12, 128} {
			c, err := f.dev.Cache(4, 5, 3, headDim)
			f.must(err)
			copyBlock(f, c.K, 15)
			copyBlock(f, c.V, 15)
		}
	})
	f.each("between steps", copyBetween)
}

// filled writes random values into a tensor, and returns them as it holds them.
func (f *fixture) filled(t ops.Tensor) *matrix {
	f.Helper()
	f.must(f.dev.Write(t, f.normal(t.Rows*t.Cols)))
	return f.read(t)
}

func copyRows(f *fixture, kept ops.DType, rows, cols int) {
	t, err := f.dev.State(kept, rows, cols)
	f.must(err)
	want := f.filled(t)
	for _, m := range [][2]int{{0, 1}, {8, 0}, {1, 8}, {3, 4}} {
		f.dev.Copy(t, m[1], t, m[0], 1)
		copy(want.row(m[1]), want.row(m[0]))
	}
	f.same(t, want)
}

// copyBlock copies the second of the pages of n rows to the last one.
func copyBlock(f *fixture, t ops.Tensor, n int) {
	want := f.filled(t)
	f.dev.Copy(t, t.Rows-n, t, n, n)
	for i := range n {
		copy(want.row(t.Rows-n+i), want.row(n+i))
	}
	f.same(t, want)
}

// copyHost saves rows of two states and loads them into other rows.
func copyHost(f *fixture, kept ops.DType) {
	for _, cols := range []int{1, 33, 4096} {
		t, err := f.dev.State(kept, 5, cols)
		f.must(err)
		h, err := f.dev.HostState(kept, 3, cols)
		f.must(err)
		want := f.filled(t)
		first, second := append([]float64(nil), want.row(0)...), append([]float64(nil), want.row(1)...)
		f.dev.Copy(h, 2, t, 0, 1)
		f.dev.Copy(h, 0, t, 1, 1)
		f.dev.Copy(t, 0, t, 4, 1) // what was saved stays
		f.dev.Copy(t, 3, h, 2, 1)
		f.dev.Copy(t, 1, h, 2, 1)
		f.dev.Copy(t, 2, h, 0, 1)
		copy(want.row(0), want.row(4))
		copy(want.row(3), first)
		copy(want.row(1), first)
		copy(want.row(2), second)
		f.same(t, want)
	}
}

// copyBetween copies what a step has stored ahead of the next one, which reads
// it.
func copyBetween(f *fixture) {
	const dim = 8
	a := &ops.Attention{Heads: 2, KVHeads: 1, HeadDim: dim, Scale: 0.3}
	c, err := f.dev.Cache(4, 4, 1, dim)
	f.must(err)
	step := func(page int32) *ops.Batch {
		return &ops.Batch{
			Tokens: make([]int32, 3), Positions: []int32{0, 1, 2}, Start: []int32{0, 3},
			Pages: []int32{page}, MaxPages: 1, Slots: []int32{0},
		}
	}
	k, _ := f.random(3, dim)
	v, _ := f.random(3, dim)
	q, _ := f.random(3, 2*dim)
	f.must(f.dev.Begin(step(1)))
	f.dev.Append(q.Tensor, k.Tensor, v.Tensor, a, c)
	out := f.scratch(3, 2*dim)
	f.dev.Attend(out.Tensor, q.Tensor, a, c)
	want := f.read(out.Tensor)
	f.dev.Copy(c.K, 3*4, c.K, 1*4, 4)
	f.dev.Copy(c.V, 3*4, c.V, 1*4, 4)
	f.must(f.dev.Begin(step(3)))
	again := f.scratch(3, 2*dim)
	f.dev.Attend(again.Tensor, q.Tensor, a, c)
	f.same(again.Tensor, want)
}
