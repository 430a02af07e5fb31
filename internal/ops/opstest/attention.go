package opstest

import (
	"fmt"
	"math"

	"github.com/godwit-llm/godwit/internal/ops"
)

// stale fills the places of caches and states that nothing was stored in. A
// result that depends on it is off by orders of magnitude.
const stale = 300

type attentionCase struct {
	name                    string
	heads, kvHeads, headDim int
	pageSize, window        int
	rotary                  *ops.Rotary
	cached
}

func (c attentionCase) String() string {
	return fmt.Sprintf("%s/heads=%d:%d,dim=%d,page=%d,window=%d%s", c.name, c.heads, c.kvHeads, c.headDim, c.pageSize, c.window, c.cached)
}

// frequencies returns theta^(-i/half), computed by repeated multiplication.
func frequencies(theta float64, half int) []float32 {
	out := make([]float32, half)
	ratio := math.Exp(-math.Log(theta) / float64(half))
	v := 1.0
	for i := range out {
		out[i] = float32(v)
		v *= ratio
	}
	return out
}

func appendCases() []attentionCase {
	dynamic := &ops.Dynamic{Theta: 1e4, Factor: 3, Context: 7}
	return []attentionCase{
		{"none", 2, 1, 16, 4, 0, nil, plain},
		{"full", 4, 2, 8, 4, 0, &ops.Rotary{InvFreq: frequencies(1e4, 4), Scale: 1}, plain},
		{"full", 3, 3, 64, 16, 0, &ops.Rotary{InvFreq: frequencies(5e5, 32), Scale: 1}, plain},
		{"partial", 4, 1, 32, 8, 0, &ops.Rotary{InvFreq: frequencies(1e4, 8), Scale: 1}, plain},
		{"partial", 8, 2, 192, 16, 0, &ops.Rotary{InvFreq: frequencies(1e4, 48), Scale: 1}, plain},
		{"scaled", 2, 2, 24, 4, 0, &ops.Rotary{InvFreq: frequencies(1e4, 12), Scale: 1.25}, plain},
		{"dynamic", 2, 1, 16, 4, 0, &ops.Rotary{InvFreq: frequencies(1e4, 8), Scale: 1, Dynamic: dynamic}, plain},
		{"dynamic partial", 2, 1, 32, 4, 0, &ops.Rotary{InvFreq: frequencies(1e4, 8), Scale: 1, Dynamic: dynamic}, plain},
	}
}

func appendRotated(f *fixture) {
	for _, c := range inFormats(appendCases()) {
		f.each(c.String(), func(f *fixture) { newAttention(f, c, 32).run(false) })
	}
}

func attend(f *fixture) {
	for _, c := range inFormats(attendCases()) {
		f.each(c.String(), func(f *fixture) { newAttention(f, c, 32).run(true) })
	}
	for _, c := range inFormats([]attentionCase{{"long", 4, 1, 32, 16, 0, nil, plain}}) {
		f.each(c.String(), func(f *fixture) {
			a := newAttention(f, c, 320)
			s := &sequence{}
			a.step(true, piece{s, 300})
			a.step(true, piece{s, 1})
			a.step(true, piece{s, 17}, piece{&sequence{slot: 1}, 1})
		})
	}
}

func attendCases() []attentionCase {
	var out []attentionCase
	for _, ratio := range []int{1, 2, 4, 8} {
		for _, dim := range []int{8, 128} {
			out = append(out, attentionCase{"ratio", 2 * ratio, 2, dim, 8, 0, nil, plain})
		}
	}
	for _, window := range []int{1, 3, 8, 9, 20, 1000} {
		out = append(out, attentionCase{"window", 4, 2, 16, 8, window, nil, plain})
	}
	for _, page := range []int{1, 4, 16, 64} {
		out = append(out, attentionCase{"page", 6, 3, 40, page, 0, nil, plain})
	}
	return append(out,
		attentionCase{"wide", 4, 2, 192, 16, 0, &ops.Rotary{InvFreq: frequencies(1e4, 48), Scale: 1}, plain},
		attentionCase{"wide", 2, 1, 256, 16, 5, nil, plain})
}

// attention is one layer on the device and what its cache must hold.
type attention struct {
	*fixture
	attentionCase
	ops.Attention
	*world
	cache  ops.Cache
	k, v   map[int32][]*matrix // rows of each sequence, by the sequence's slot
	stored [2]map[int32][]kept // how the cache has those of keys, and of values
}

// newAttention returns a layer for three sequences of the given length.
func newAttention(f *fixture, c attentionCase, length int) *attention {
	f.Helper()
	maxPages := (length + c.pageSize - 1) / c.pageSize
	a := &attention{fixture: f, attentionCase: c, k: map[int32][]*matrix{}, v: map[int32][]*matrix{}}
	a.stored = [2]map[int32][]kept{{}, {}}
	a.Attention = ops.Attention{
		Heads: c.heads, KVHeads: c.kvHeads, HeadDim: c.headDim, Window: c.window,
		Scale: float32(1 / math.Sqrt(float64(c.headDim))), Rotary: c.rotary,
	}
	pages := 3 * maxPages
	a.world = f.world(pages, c.pageSize, maxPages)
	cache, err := f.dev.Cache(ops.CacheShape{
		Pages: pages, PageSize: c.pageSize, KVHeads: c.kvHeads, HeadDim: c.headDim, Format: c.format, KScale: c.kScale, VScale: c.vScale,
	})
	f.must(err)
	for _, t := range cache.Tensors() {
		old := make([]float32, t.Rows*t.Cols)
		for i := range old {
			old[i] = staleIn(t.Type)
		}
		f.must(f.dev.Write(t, old))
	}
	a.cache = cache
	return a
}

// run grows three sequences: prompts, pieces of prompts, single tokens and
// mixtures of them, across the borders of pages.
func (a *attention) run(attend bool) {
	x, y, z := &sequence{slot: 0}, &sequence{slot: 1}, &sequence{slot: 2}
	a.step(attend, piece{x, 5}, piece{y, 17})
	a.step(attend, piece{y, 1}, piece{x, 1})
	a.step(attend, piece{x, 3}, piece{z, 9}, piece{y, 1})
	a.step(attend, piece{z, 8}, piece{x, 1})
	a.step(attend, piece{z, 1}, piece{y, 1}, piece{x, 1})
}

// step appends a batch and checks the rotation and the cache, then attends.
func (a *attention) step(attend bool, pieces ...piece) {
	a.Helper()
	b := a.world.step(pieces...)
	a.must(a.dev.Begin(b))
	n := len(b.Tokens)
	nq, nkv := a.Heads*a.HeadDim, a.KVHeads*a.HeadDim
	qkv, in := a.random(n, nq+2*nkv)
	q, k, v := qkv.Columns(0, nq), qkv.Columns(nq, nq+nkv), qkv.Columns(nq+nkv, nq+2*nkv)
	if a.Rotary != nil {
		a.dev.Angles(a.Rotary)
	}
	a.dev.Append(q, k, v, &a.Attention, a.cache)
	want := newMatrix(n, nq+2*nkv)
	copy(want.v, in.v)
	if a.Rotary != nil {
		for i, p := range b.Positions {
			for at := 0; at < nq+nkv; at += a.HeadDim {
				rotate(want, i, at, int(p), a.Rotary)
			}
		}
	}
	a.check(qkv, want)
	now := a.read(qkv.Tensor)
	a.remember(b, now.columns(nq, nq+nkv), now.columns(nq+nkv, nq+2*nkv))
	a.checkCache(pieces)
	if attend {
		out := a.scratch(n, nq)
		a.dev.Attend(out.Tensor, q, &a.Attention, a.cache)
		a.check(out, a.softmax(b, now.columns(0, nq)))
	}
}

// rotate turns the pairs (i, i+half) of a head as complex numbers. The angle is
// a float32 product, as in the reference implementations.
func rotate(m *matrix, r, at, position int, rotary *ops.Rotary) {
	half := len(rotary.InvFreq)
	freq := rotary.InvFreq
	if d := rotary.Dynamic; d != nil && position >= d.Context {
		length, dim := float64(position+1), float64(2*half)
		theta := d.Theta * math.Pow(d.Factor*length/float64(d.Context)-(d.Factor-1), dim/(dim-2))
		freq = make([]float32, half)
		for i := range freq {
			freq[i] = float32(math.Pow(theta, -2*float64(i)/dim))
		}
	}
	row := m.row(r)[at:]
	for i, w := range freq {
		angle := float64(float32(position) * w)
		turn := complex(float64(rotary.Scale), 0) * complex(math.Cos(angle), math.Sin(angle))
		z := complex(row[i], row[i+half]) * turn
		row[i], row[i+half] = real(z), imag(z)
	}
}

// remember keeps what was stored, by sequence.
func (a *attention) remember(b *ops.Batch, k, v *matrix) {
	for s := range b.Sequences() {
		slot := b.Slots[s]
		for i := int(b.Start[s]); i < int(b.Start[s+1]); i++ {
			for which, kept := range []struct {
				to    map[int32][]*matrix
				from  *matrix
				scale float32
			}{{a.k, k, a.kScale}, {a.v, v, a.vScale}} {
				row := a.keep(kept.from.row(i), a.KVHeads, a.HeadDim, kept.scale)
				a.stored[which][slot] = append(a.stored[which][slot], row)
				kept.to[slot] = append(kept.to[slot], row.values())
			}
		}
	}
}

// checkCache compares all of the cache: what the sequences stored, and nothing
// anywhere else.
func (a *attention) checkCache(pieces []piece) {
	a.Helper()
	var scales *matrix
	if a.cache.Scales.Present() {
		scales = a.read(a.cache.Scales)
	}
	for which, stored := range []ops.Tensor{a.cache.K, a.cache.V} {
		got := a.read(stored)
		for _, p := range pieces {
			for at, want := range a.stored[which][p.slot] {
				page, place := int(p.pages[at/a.cache.PageSize]), at%a.cache.PageSize
				for h := range a.KVHeads {
					row := (page*a.KVHeads+h)*a.cache.PageSize + place
					a.close(got.row(row), want.numbers.row(h), "cached position %d of head %d", at, h)
					if scales != nil && scales.at(row, which) != want.scales[h] {
						a.Fatalf("the scale of position %d of head %d is %g, want %g", at, h, scales.at(row, which), want.scales[h])
					}
				}
			}
			last := (p.next - 1) % a.cache.PageSize
			page := int(p.pages[len(p.pages)-1])
			for place := last + 1; place < a.cache.PageSize; place++ {
				row := page*a.KVHeads*a.cache.PageSize + place
				if v := got.at(row, 0); v != float64(staleIn(stored.Type)) {
					a.Fatalf("place %d of page %d was overwritten with %g", place, page, v)
				}
				if scales != nil && scales.at(row, which) != stale {
					a.Fatalf("the scale of place %d of page %d was overwritten", place, page)
				}
			}
		}
	}
}

// close compares values that went through one rounding at most.
func (a *attention) close(got, want []float64, format string, args ...any) {
	a.Helper()
	for c, v := range got {
		if !(math.Abs(v-want[c]) <= a.Tolerance*max(math.Abs(want[c]), 1e-3)) {
			a.Fatalf(fmt.Sprintf(format, args...)+": column %d is %g, want %g", c, v, want[c])
		}
	}
}

// softmax attends by definition: all scores, then all weights, then the mean.
func (a *attention) softmax(b *ops.Batch, q *matrix) *matrix {
	out := newMatrix(q.rows, q.cols)
	ratio := a.Heads / a.KVHeads
	for s := range b.Sequences() {
		keys, values := a.k[b.Slots[s]], a.v[b.Slots[s]]
		for i := int(b.Start[s]); i < int(b.Start[s+1]); i++ {
			last := int(b.Positions[i])
			for h := range a.Heads {
				query := q.row(i)[h*a.HeadDim:][:a.HeadDim]
				weights := make([]float64, last+1)
				total := 0.0
				for p := range weights {
					if a.Window > 0 && last-p >= a.Window {
						continue
					}
					score := dot(query, keys[p].row(h/ratio)) * float64(a.Scale)
					weights[p] = math.Exp(score)
					total += weights[p]
				}
				for c := range a.HeadDim {
					sum, size := 0.0, 0.0
					for p, w := range weights {
						v := w / total * values[p].at(h/ratio, c)
						sum += v
						size += math.Abs(v)
					}
					out.set(i, h*a.HeadDim+c, sum, size)
				}
			}
		}
	}
	return out
}

func dot(a, b []float64) float64 {
	sum := 0.0
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}
