package opstest

import (
	"fmt"
	"math"

	"github.com/godwit-llm/godwit/internal/ops"
)

// recurrent is three sequences over the slots of one state, as every test of a
// recurrent operation runs them: pieces of several lengths, beside single
// tokens, steps of nothing but these, and a new sequence in a slot that another
// one has left.
func recurrent(f *fixture, step func(b *ops.Batch)) {
	w := f.world(64, 16, 8)
	x, y, z := &sequence{slot: 3}, &sequence{slot: 0}, &sequence{slot: 2}
	reused := &sequence{slot: 3}
	for _, pieces := range [][]piece{
		{{x, 1}, {y, 1}},
		{{x, 1}, {y, 11}},
		{{y, 2}, {x, 1}},
		{{x, 4}, {z, 3}, {y, 1}},
		{{z, 19}, {x, 1}, {y, 1}},
		{{y, 1}, {reused, 2}, {z, 1}},
		{{z, 1}, {reused, 1}, {y, 1}},
		{{reused, 1}, {z, 6}},
	} {
		step(w.step(pieces...))
	}
}

// slots is the number of rows of a state; the last ones stay unused.
const slots = 5

// state returns memory that holds stale values.
func (f *fixture) state(kept ops.DType, cols int) (ops.Tensor, *matrix) {
	f.Helper()
	t, err := f.dev.State(kept, slots, cols)
	f.must(err)
	for _, v := range f.read(t).v {
		if v != 0 {
			f.Fatalf("new state holds %g", v)
		}
	}
	old := make([]float32, slots*cols)
	for i := range old {
		old[i] = stale
	}
	f.must(f.dev.Write(t, old))
	return t, f.read(t)
}

type convCase struct {
	channels, kernel int
	bias             bool
}

func convolve(f *fixture) {
	for _, channels := range []int{1, 10, 131, 512} {
		for kernel := 2; kernel <= 4; kernel++ {
			for _, bias := range []bool{false, true} {
				c := convCase{channels, kernel, bias}
				f.each(fmt.Sprintf("channels=%d,kernel=%d,bias=%v", channels, kernel, bias), func(f *fixture) { convolveBy(f, c) })
			}
		}
	}
}

func convolveBy(f *fixture, c convCase) {
	conv := &ops.Conv{Kernel: c.kernel}
	var weight []float64
	conv.Weight, weight = f.vector(f.normal(c.channels * c.kernel))
	bias := make([]float64, c.channels)
	if c.bias {
		conv.Bias, bias = f.vector(f.normal(c.channels))
	}
	state, held := f.state(ops.F32, (c.kernel-1)*c.channels)
	past := map[int32][][]float64{} // all inputs of a slot's sequence
	recurrent(f, func(b *ops.Batch) {
		f.must(f.dev.Begin(b))
		x, in := f.random(len(b.Tokens), c.channels)
		out := f.scratch(len(b.Tokens), c.channels)
		f.dev.Convolve(out.Tensor, x.Tensor, conv, state)
		want := newMatrix(len(b.Tokens), c.channels)
		for s, slot := range b.Slots {
			if b.Positions[b.Start[s]] == 0 {
				past[slot] = nil
			}
			for t := int(b.Start[s]); t < int(b.Start[s+1]); t++ {
				past[slot] = append(past[slot], in.row(t))
				filter(want, t, past[slot], weight, bias, c.kernel)
			}
			window(held.row(int(slot)), past[slot], c)
		}
		f.check(out, want)
		f.compare(state, held)
	})
}

// filter convolves the end of a sequence; inputs before its start are zero.
func filter(out *matrix, r int, past [][]float64, weight, bias []float64, kernel int) {
	for c := range bias {
		sum, size := bias[c], math.Abs(bias[c])
		for lag := range min(kernel, len(past)) {
			v := past[len(past)-1-lag][c] * weight[(c+1)*kernel-1-lag]
			sum += v
			size += math.Abs(v)
		}
		out.set(r, c, act(ops.SiLU, sum), size)
	}
}

// window writes the last inputs of a sequence, oldest first.
func window(dst []float64, past [][]float64, c convCase) {
	clear(dst)
	for lag := 1; lag < c.kernel && lag <= len(past); lag++ {
		copy(dst[(c.kernel-1-lag)*c.channels:], past[len(past)-lag])
	}
}

type scanCase struct {
	heads, headDim, groups, state int
	dtMin, dtMax                  float64
	shift                         float32 // added to the raw time steps
	kept                          ops.DType
}

func scan(f *fixture) {
	for _, c := range []scanCase{
		{heads: 1, headDim: 1, groups: 1, state: 1},
		{heads: 2, headDim: 4, groups: 1, state: 8},
		{heads: 4, headDim: 8, groups: 2, state: 16, shift: -3},
		{heads: 6, headDim: 5, groups: 6, state: 7},
		{heads: 8, headDim: 16, groups: 8, state: 32, shift: -4},
		{heads: 4, headDim: 64, groups: 2, state: 128, shift: -4},
		{heads: 2, headDim: 80, groups: 1, state: 64, shift: -2},
		{heads: 4, headDim: 8, groups: 2, state: 16, dtMin: 0.3, dtMax: 0.7},
		{heads: 4, headDim: 8, groups: 2, state: 16, dtMin: 0.001, dtMax: 0.1, shift: -4},
		{heads: 4, headDim: 8, groups: 2, state: 16, shift: 20},
		{heads: 6, headDim: 5, groups: 6, state: 7, kept: ops.F16},
		{heads: 8, headDim: 16, groups: 8, state: 32, shift: -4, kept: ops.F16},
		{heads: 4, headDim: 64, groups: 2, state: 128, shift: -4, kept: ops.F16},
		{heads: 2, headDim: 80, groups: 1, state: 64, shift: -2, kept: ops.F16},
		{heads: 4, headDim: 8, groups: 2, state: 256, shift: 20, kept: ops.F16},
	} {
		if c.dtMax == 0 {
			c.dtMax = math.Inf(1)
		}
		name := fmt.Sprintf("heads=%dx%d,groups=%d,state=%d %s,dt=%g:%g%+g", c.heads, c.headDim, c.groups, c.state, c.kept, c.dtMin, c.dtMax, c.shift)
		f.each(name, func(f *fixture) { scanBy(f, c) })
	}
}

// ssm is the recurrence by definition.
type ssm struct {
	scanCase
	a, d, bias []float64
}

func scanBy(f *fixture, c scanCase) {
	s := &ops.SSM{
		Heads: c.heads, HeadDim: c.headDim, Groups: c.groups, State: c.state,
		DtMin: float32(c.dtMin), DtMax: float32(c.dtMax),
	}
	ref := ssm{scanCase: c}
	decays := f.normal(c.heads)
	for i, v := range decays {
		decays[i] = float32(-math.Exp(float64(v)))
	}
	s.A, ref.a = f.vector(decays)
	s.D, ref.d = f.vector(f.normal(c.heads))
	s.DtBias, ref.bias = f.vector(f.normal(c.heads))
	inner, size := c.heads*c.headDim, c.headDim*c.state
	state, held := f.state(c.kept, c.heads*size)
	recurrent(f, func(b *ops.Batch) {
		n := len(b.Tokens)
		f.must(f.dev.Begin(b))
		xbc, in := f.random(n, inner+2*c.groups*c.state)
		raw := f.normal(n * c.heads)
		for i := range raw {
			raw[i] += c.shift
		}
		dt, steps := f.input(n, c.heads, raw)
		y := f.scratch(n, inner)
		f.dev.Scan(y.Tensor, xbc.Tensor, dt.Tensor, s, state)
		want := newMatrix(n, inner)
		for i, slot := range b.Slots {
			from, to := int(b.Start[i]), int(b.Start[i+1])
			row := held.row(int(slot))
			if b.Positions[from] == 0 {
				clear(row)
				held.size[slot] = 0
			}
			for h := range c.heads {
				part := row[h*size : (h+1)*size]
				before := append([]float64(nil), part...)
				grown := ref.sequential(want, in, steps, part, from, to, h)
				held.size[slot] = max(held.size[slot], grown)
				ref.checkChunked(f, want, in, steps, before, part, from, to, h)
			}
		}
		f.check(y, want)
		if c.kept == ops.F32 {
			f.compare(state, held)
			return
		}
		f.compareRounded(state, held)
		held.v = f.read(state).v // where two devices round to is not the same everywhere
	})
}

// compareRounded compares a state that is stored in 16 bits: it may be the one
// or the other of the two nearest numbers.
func (f *fixture) compareRounded(got ops.Tensor, want *matrix) {
	f.Helper()
	const spacing, least = 0x1p-10, 0x1p-24
	g := f.read(got)
	for r := range g.rows {
		for c, v := range g.row(r) {
			w := want.at(r, c)
			if !(math.Abs(v-w) <= spacing*math.Abs(w)+f.Tolerance*want.size[r]+least) {
				f.Fatalf("[%d, %d]: got %.9g, want %.9g rounded to 16 bits", r, c, v, w)
			}
		}
	}
}

// token returns what head h reads of row t.
func (s *ssm) token(in, steps *matrix, t, h int) (x, b, c []float64, dt float64) {
	row := in.row(t)
	inner, g := s.heads*s.headDim, h*s.groups/s.heads
	x = row[h*s.headDim:][:s.headDim]
	b = row[inner+g*s.state:][:s.state]
	c = row[inner+(s.groups+g)*s.state:][:s.state]
	v := steps.at(t, h) + s.bias[h]
	dt = math.Max(v, 0) + math.Log1p(math.Exp(-math.Abs(v))) // softplus
	return x, b, c, math.Min(math.Max(dt, float64(float32(s.dtMin))), float64(float32(s.dtMax)))
}

// sequential runs S ← exp(dt·A)·S + dt·x⊗B, y = S·C + D·x over rows [from, to)
// and returns the largest magnitude that went into the state.
func (s *ssm) sequential(y, in, steps *matrix, state []float64, from, to, h int) float64 {
	largest := 0.0
	for t := from; t < to; t++ {
		x, b, c, dt := s.token(in, steps, t, h)
		decay := math.Exp(dt * s.a[h])
		for p := range x {
			sum, size := s.d[h]*x[p], math.Abs(s.d[h]*x[p])
			for n := range b {
				at := &state[p*s.state+n]
				*at = decay**at + dt*x[p]*b[n]
				largest = max(largest, math.Abs(*at))
				sum += *at * c[n]
				size += math.Abs(*at * c[n])
			}
			y.set(t, h*s.headDim+p, sum, size)
		}
	}
	return largest
}

// chunk is the number of tokens that the matrix form takes at once: short, so
// that sequences span several.
const chunk = 8

// checkChunked computes rows [from, to) again in matrix form and compares y and
// the state left behind with those of the sequential form. In float64 the two
// agree to some 1e-15 of their terms; 1e-10 leaves room.
func (s *ssm) checkChunked(f *fixture, y, in, steps *matrix, before, after []float64, from, to, h int) {
	f.Helper()
	state := before
	for at := from; at < to; at += chunk {
		end := min(at+chunk, to)
		for t := at; t < end; t++ {
			for p, v := range s.intra(in, steps, state, at, t, h) {
				if w := y.at(t, h*s.headDim+p); math.Abs(v-w) > 1e-10*(1+y.size[t]) {
					f.Fatalf("row %d head %d: the matrix form gives %g, the sequential form %g", t, h, v, w)
				}
			}
		}
		state = s.leave(in, steps, state, at, end, h)
	}
	for i, v := range state {
		if math.Abs(v-after[i]) > 1e-10*(1+math.Abs(v)) {
			f.Fatalf("head %d: the matrix form leaves the state %g, the sequential form %g", h, v, after[i])
		}
	}
}

// fade returns exp(Σ dt·A) over rows (from, to].
func (s *ssm) fade(in, steps *matrix, from, to, h int) float64 {
	sum := 0.0
	for t := from + 1; t <= to; t++ {
		_, _, _, dt := s.token(in, steps, t, h)
		sum += dt * s.a[h]
	}
	return math.Exp(sum)
}

// intra returns y of row t of a chunk that begins at row first:
//
//	y_t = Σ_{u≤t} (C_t·B_u)·exp(a_t-a_u)·dt_u·x_u + exp(a_t)·(S·C_t) + D·x_t
func (s *ssm) intra(in, steps *matrix, state []float64, first, t, h int) []float64 {
	x, _, c, _ := s.token(in, steps, t, h)
	out := make([]float64, s.headDim)
	for p := range out {
		out[p] = s.d[h]*x[p] + s.fade(in, steps, first-1, t, h)*dot(state[p*s.state:][:s.state], c)
	}
	for u := first; u <= t; u++ {
		xu, bu, _, dt := s.token(in, steps, u, h)
		factor := dot(c, bu) * s.fade(in, steps, u, t, h) * dt
		for p := range out {
			out[p] += factor * xu[p]
		}
	}
	return out
}

// leave returns the state after a chunk:
//
//	S' = exp(a_last)·S + Σ_u exp(a_last-a_u)·dt_u·x_u⊗B_u
func (s *ssm) leave(in, steps *matrix, state []float64, first, end, h int) []float64 {
	out := make([]float64, len(state))
	all := s.fade(in, steps, first-1, end-1, h)
	for i, v := range state {
		out[i] = all * v
	}
	for u := first; u < end; u++ {
		x, b, _, dt := s.token(in, steps, u, h)
		factor := s.fade(in, steps, u, end-1, h) * dt
		for i := range out {
			out[i] += factor * x[i/s.state] * b[i%s.state]
		}
	}
	return out
}

func gatedNorm(f *fixture) {
	for _, c := range []struct{ rows, width, groups int }{
		{1, 1, 1}, {3, 8, 2}, {5, 66, 3}, {2, 130, 1}, {9, 512, 8}, {4, 7, 7},
	} {
		f.each(fmt.Sprintf("%dx%d,groups=%d", c.rows, c.width, c.groups), func(f *fixture) {
			f.rows(c.rows)
			y, ys := f.random(c.rows, c.width)
			z, zs := f.random(c.rows, c.width)
			out := f.scratch(c.rows, c.width)
			g := &ops.GatedNorm{Groups: c.groups, Eps: 1e-5}
			var weight []float64
			g.Weight, weight = f.vector(f.normal(c.width))
			f.dev.GatedNorm(out.Tensor, y.Tensor, z.Tensor, g)
			want := newMatrix(c.rows, c.width)
			size := c.width / c.groups
			for r := range c.rows {
				u := make([]float64, c.width)
				for i, v := range ys.row(r) {
					u[i] = v * act(ops.SiLU, zs.at(r, i))
				}
				for i, v := range u {
					_, root := moments(u[i/size*size:][:size], false, 1e-5)
					want.set(r, i, v/root*weight[i], 0)
				}
			}
			f.check(out, want)
		})
	}
}

// mamba compares the whole mixer with its three parts, which are tested on
// their own, on the same device: results and states.
func mamba(f *fixture) {
	for _, c := range []struct {
		heads, headDim, groups, state, kernel int
		kept                                  ops.DType
	}{
		{2, 4, 1, 8, 4, ops.F32},
		{6, 5, 6, 7, 3, ops.F32},
		{8, 64, 1, 128, 4, ops.F32},
		{12, 80, 1, 128, 4, ops.F32},
		{8, 96, 2, 128, 4, ops.F32},
		{8, 64, 1, 128, 2, ops.F32},
		{6, 5, 6, 7, 3, ops.F16},
		{8, 64, 1, 128, 4, ops.F16},
		{12, 80, 1, 128, 4, ops.F16},
	} {
		name := fmt.Sprintf("heads=%dx%d,groups=%d,state=%d %s,kernel=%d", c.heads, c.headDim, c.groups, c.state, c.kept, c.kernel)
		f.each(name, func(f *fixture) {
			m := &ops.Mamba{SSM: ops.SSM{Heads: c.heads, HeadDim: c.headDim, Groups: c.groups, State: c.state, DtMax: float32(math.Inf(1))}}
			decays := f.normal(c.heads)
			for i, v := range decays {
				decays[i] = float32(-math.Exp(float64(v)))
			}
			m.A, _ = f.vector(decays)
			m.D, _ = f.vector(f.normal(c.heads))
			m.DtBias, _ = f.vector(f.normal(c.heads))
			m.Conv.Kernel = c.kernel
			m.Conv.Weight, _ = f.vector(f.normal(c.kernel * m.Convolved()))
			m.Conv.Bias, _ = f.vector(f.normal(m.Convolved()))
			m.Norm = ops.GatedNorm{Groups: c.groups, Eps: 1e-5}
			m.Norm.Weight, _ = f.vector(f.normal(m.Inner()))
			mambaBy(f, m, c.kept)
		})
	}
}

func mambaBy(f *fixture, m *ops.Mamba, kept ops.DType) {
	var whole, parts ops.MambaState
	for _, s := range []*ops.MambaState{&whole, &parts} {
		s.Window, _ = f.state(ops.F32, (m.Conv.Kernel-1)*m.Convolved())
		s.SSM, _ = f.state(kept, m.Inner()*m.State)
	}
	recurrent(f, func(b *ops.Batch) {
		n := len(b.Tokens)
		f.must(f.dev.Begin(b))
		p, _ := f.random(n, m.Projected())
		mixed, y, out := f.scratch(n, m.Convolved()), f.scratch(n, m.Inner()), f.scratch(n, m.Inner())
		z, xbc, dt := m.Split(p.Tensor)
		f.dev.Convolve(mixed.Tensor, xbc, &m.Conv, parts.Window)
		f.dev.Scan(y.Tensor, mixed.Tensor, dt, &m.SSM, parts.SSM)
		f.dev.GatedNorm(out.Tensor, y.Tensor, z, &m.Norm)
		want := f.read(out.Tensor)
		f.dev.Mamba(mixed.Columns(0, m.Inner()), p.Tensor, m, whole, mixed.Tensor, y.Tensor)
		f.compare(mixed.Columns(0, m.Inner()), want)
		f.compare(whole.Window, f.read(parts.Window))
		if kept == ops.F32 {
			f.compare(whole.SSM, f.read(parts.SSM))
			return
		}
		f.compareRounded(whole.SSM, f.read(parts.SSM))
		for row := range slots {
			f.dev.Copy(parts.SSM, row, whole.SSM, row, 1)
		}
	})
}
