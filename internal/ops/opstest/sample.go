package opstest

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/godwit-llm/godwit/internal/ops"
)

// sampleCases name what a row of a batch may ask for.
var sampleCases = []struct {
	name string
	ops.Sampling
}{
	{"greedy", ops.Sampling{Top: 5}},
	{"edits", ops.Sampling{Edits: []ops.Edit{{ID: 3, Scale: 1, Offset: 100}, {ID: 5, Scale: 2}}}},
	{"scale", ops.Sampling{Temperature: 0.5, Seed: 3, Edits: []ops.Edit{{ID: 0, Scale: 1.3}, {ID: 1, Scale: 1.3, Offset: -0.5}}}},
	{"draw", ops.Sampling{Temperature: 1, Seed: 1 << 40, Step: 1 << 35}},
	{"draw", ops.Sampling{Temperature: 1.7, Seed: 5, Step: 2}},
	{"top-k", ops.Sampling{Temperature: 1, TopK: 3, Seed: 8}},
	{"top-k", ops.Sampling{Temperature: 1, TopK: 1, Seed: 8, Top: 1}},
	{"top-k all", ops.Sampling{Temperature: 1, TopK: 1 << 30, Seed: 9, Top: 1 << 20}},
	{"top-p", ops.Sampling{Temperature: 0.8, TopP: 0.9, Seed: 10}},
	{"top-p", ops.Sampling{Temperature: 0.8, TopP: 0.2, Seed: 11}},
	{"min-p", ops.Sampling{Temperature: 1, MinP: 0.1, Seed: 12}},
	{"together", ops.Sampling{Temperature: 1, TopK: 40, TopP: 0.8, MinP: 0.05, Seed: 13, Step: 7, Top: 3}},
	{"score", ops.Sampling{Score: true, Target: 4, Top: 2, Temperature: 1}},
	{"allowed", ops.Sampling{Top: 5, Allowed: everyThird}},
	{"allowed and edits", ops.Sampling{Temperature: 1, Seed: 14, Edits: []ops.Edit{{ID: 1, Scale: 1, Offset: 100}, {ID: 3, Scale: 2}}, Allowed: everyThird}},
	{"allowed and filters", ops.Sampling{Temperature: 0.9, TopK: 20, TopP: 0.7, MinP: 0.02, Seed: 15, Step: 3, Allowed: everyThird}},
	{"one allowed", ops.Sampling{Temperature: 2, TopP: 0.9, Seed: 16, Allowed: onlyFour}},
	{"one allowed that cannot be", ops.Sampling{Temperature: 2, Edits: []ops.Edit{{ID: 4, Scale: 1, Offset: float32(math.Inf(-1))}}, Allowed: onlyFour}},
	{"allowed in a score", ops.Sampling{Score: true, Target: 5, Allowed: onlyFour}},
}

// Masks of the tokens that may be chosen, for vocabularies of up to 4096.
var (
	everyThird = mask(func(id int) bool { return id%3 == 0 })
	onlyFour   = mask(func(id int) bool { return id == 4 })
)

func mask(allowed func(id int) bool) []uint32 {
	words := make([]uint32, 128)
	for id := range 32 * len(words) {
		if allowed(id) {
			words[id/32] |= 1 << (id % 32)
		}
	}
	return words
}

// allowed reports whether a token may be chosen.
func allowed(p *ops.Sampling, id int) bool {
	return p.Allowed == nil || p.Allowed[id/32]>>(id%32)&1 != 0
}

// sample compares whole batches with the definition of the draw.
func sample(f *fixture) {
	for _, vocab := range []int{6, 100, 2053} {
		for _, flat := range []bool{false, true} {
			f.each(fmt.Sprintf("vocab=%d,flat=%v", vocab, flat), func(f *fixture) { sampleBatch(f, vocab, flat) })
		}
	}
	f.each("invalid", invalid)
}

// sampleBatch samples all cases at once. Flat logits hold only four values, so
// that the filters cut between equals.
func sampleBatch(f *fixture, vocab int, flat bool) {
	rows := len(sampleCases)
	values := f.normal(rows * vocab)
	for i := range values {
		if flat {
			values[i] = float32(f.rng.IntN(4))
		}
		if f.rng.IntN(10) == 0 {
			values[i] = float32(math.Inf(-1))
		}
	}
	logits, err := f.dev.Float(rows, vocab)
	f.must(err)
	f.must(f.dev.Write(logits, values))
	f.rows(rows)
	params := make([]ops.Sampling, rows)
	for i, c := range sampleCases {
		if params[i] = c.Sampling; c.Allowed != nil {
			params[i].Allowed = c.Allowed[:(vocab+31)/32]
		}
	}
	results := make([]ops.Sampled, rows)
	f.must(ops.Sample(f.dev, results, logits, params))
	for i, c := range sampleCases {
		row := float64s(values[i*vocab:][:vocab])
		if want := pick(row, &c.Sampling); int(results[i].ID) != want {
			f.Fatalf("%s, row %d: got token %d, want %d", c.name, i, results[i].ID, want)
		}
		f.checkLogs(row, &c.Sampling, results[i])
	}
}

// checkLogs compares the log-probabilities of the model. They are differences
// of float32 numbers of some units, whatever the tolerance of activations.
func (f *fixture) checkLogs(logits []float64, p *ops.Sampling, got ops.Sampled) {
	f.Helper()
	total := 0.0
	for _, v := range logits {
		total += math.Exp(v)
	}
	near := func(what string, got float32, id int) {
		f.Helper()
		if want := logits[id] - math.Log(total); float64(got) != want && !(math.Abs(float64(got)-want) <= 1e-5) {
			f.Fatalf("%s of token %d: got log-probability %g, want %g", what, id, got, want)
		}
	}
	near("choice", got.LogProb, int(got.ID))
	best := ranked(logits)[:min(p.Top, len(logits))]
	if len(got.TopIDs) != len(best) || len(got.TopLogs) != len(best) {
		f.Fatalf("got %d and %d most likely tokens, want %d", len(got.TopIDs), len(got.TopLogs), len(best))
	}
	for k, id := range best {
		if int(got.TopIDs[k]) != id {
			f.Fatalf("most likely token %d: got %d, want %d", k, got.TopIDs[k], id)
		}
		near("list", got.TopLogs[k], id)
	}
}

// ranked returns all tokens from the most to the least likely, the first of
// equals first.
func ranked(logits []float64) []int {
	ids := make([]int, len(logits))
	for i := range ids {
		ids[i] = i
	}
	slices.SortStableFunc(ids, func(a, b int) int { return cmp.Compare(logits[b], logits[a]) })
	return ids
}

// pick chooses a token by the definition: edits, temperature, top-k, top-p,
// min-p, then the largest sum of logit and noise.
func pick(logits []float64, p *ops.Sampling) int {
	if p.Score {
		return int(p.Target)
	}
	x := slices.Clone(logits)
	for _, e := range p.Edits {
		scale := float64(e.Scale)
		if x[e.ID] > 0 {
			scale = 1 / scale
		}
		x[e.ID] = x[e.ID]*scale + float64(e.Offset)
	}
	best, most := -1, math.Inf(-1)
	for id := range x {
		if !allowed(p, id) {
			x[id] = math.Inf(-1)
		} else if best < 0 {
			best = id // where nothing that is allowed is possible
		}
	}
	if first := ranked(x)[0]; p.Temperature == 0 && !math.IsInf(x[first], -1) {
		return first
	}
	for i := range x {
		x[i] /= float64(p.Temperature)
	}
	for _, id := range Eligible(x, p) {
		if v := x[id] + Gumbel(p.Seed, p.Step, id); v > most {
			best, most = id, v
		}
	}
	return best
}

// Eligible returns the tokens that pass the filters, the most likely first:
// the TopK best; of those the best until their share reaches TopP; of those the
// ones with at least MinP times the probability of the best.
func Eligible(logits []float64, p *ops.Sampling) []int {
	ids := ranked(logits)
	if p.TopK > 0 && p.TopK < len(ids) {
		ids = ids[:p.TopK]
	}
	share := func(id int) float64 { return math.Exp(logits[id] - logits[ids[0]]) }
	if p.TopP > 0 && p.TopP < 1 {
		total, sum := 0.0, 0.0
		for _, id := range ids {
			total += share(id)
		}
		for k, id := range ids {
			if sum += share(id); sum >= float64(p.TopP)*total {
				ids = ids[:k+1]
				break
			}
		}
	}
	return slices.DeleteFunc(ids, func(id int) bool { return share(id) < float64(p.MinP) })
}

// Gumbel returns a token's noise: lane id%4 of Philox4x32-10 with the key seed
// and the counter (id/4, step, 0), its upper 23 bits as the middle of an
// interval of (0, 1).
func Gumbel(seed, step uint64, id int) float64 {
	c := [4]uint32{uint32(id / 4), uint32(step), uint32(step >> 32), 0}
	k := [2]uint32{uint32(seed), uint32(seed >> 32)}
	for round := range uint32(10) {
		p0, p1 := uint64(0xD2511F53)*uint64(c[0]), uint64(0xCD9E8D57)*uint64(c[2])
		c = [4]uint32{
			uint32(p1>>32) ^ c[1] ^ (k[0] + round*0x9E3779B9), uint32(p1),
			uint32(p0>>32) ^ c[3] ^ (k[1] + round*0xBB67AE85), uint32(p0),
		}
	}
	u := (math.Floor(float64(c[id%4])/512) + 0.5) / 8388608
	return -math.Log(-math.Log(u))
}

// invalid: rows without a largest finite logit are reported, others in the same
// batch are not touched by them.
func invalid(f *fixture) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	rows := [][]float32{
		{0, nan, 1, 2},
		{nan, 0, 0, 0},
		{0, 1, 2, nan},
		{0, inf, 1, 2},
		{-inf, -inf, -inf, -inf},
		{-inf, 5, -inf, 1},
	}
	logits, err := f.dev.Float(len(rows), 4)
	f.must(err)
	f.must(f.dev.Write(logits, slices.Concat(rows...)))
	f.rows(len(rows))
	for _, temperature := range []float32{0, 1} {
		params := make([]ops.Sampling, len(rows))
		for i := range params {
			params[i] = ops.Sampling{Temperature: temperature, TopP: 0.9, Top: 2}
		}
		results := make([]ops.Sampled, len(rows))
		f.must(ops.Sample(f.dev, results, logits, params))
		for i, r := range results {
			if want := i < len(rows)-1; r.Invalid != want {
				f.Errorf("logits %v: invalid is %v, want %v", rows[i], r.Invalid, want)
			}
		}
		if id := results[len(rows)-1].ID; id != 1 {
			f.Errorf("logits %v: got token %d, want 1", rows[len(rows)-1], id)
		}
	}
}
