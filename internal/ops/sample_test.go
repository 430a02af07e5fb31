package ops_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/godwit-llm/godwit/internal/ops"
	"github.com/godwit-llm/godwit/internal/ops/opstest"
)

// TestPhilox: the known answers published with the generator.
func TestPhilox(t *testing.T) {
	for _, c := range []struct {
		counter [4]uint32
		key     [2]uint32
		want    [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{
			[4]uint32{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
			[2]uint32{0xffffffff, 0xffffffff},
			[4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
		},
		{
			[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
			[2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
		},
	} {
		if got := ops.Philox(c.counter, c.key[0], c.key[1]); got != c.want {
			t.Errorf("philox(%x, %x) = %x, want %x", c.counter, c.key, got, c.want)
		}
	}
}

// drawnLogits are of many kinds: spread and flat ones, equals, tokens that
// cannot be chosen. The largest is 0.
var drawnLogits = rapid.Custom(func(t *rapid.T) []float32 {
	n := rapid.IntRange(1, 300).Draw(t, "n")
	kinds := rapid.IntRange(1, 400).Draw(t, "values")
	spread := rapid.Float64Range(0, 30).Draw(t, "spread")
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(spread * math.Sin(float64(rng.IntN(kinds)*77)))
		if rng.IntN(8) == 0 {
			out[i] = float32(math.Inf(-1))
		}
	}
	out[rng.IntN(n)] = 1
	top := slices.Max(out)
	for i := range out {
		out[i] -= top
	}
	return out
})

// TestFilters compares the tokens that pass with the definition. Where a
// rounding decides (the sum of the probabilities comes within 1e-6 of TopP, a
// probability within 1e-6 of MinP) either side is right, so the definition is
// asked with slightly smaller and slightly larger limits.
func TestFilters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		logits := drawnLogits.Draw(t, "logits")
		p := &ops.Sampling{
			TopK: rapid.SampledFrom([]int{0, 1, 2, 5, 40, 299, 1000}).Draw(t, "top-k"),
			TopP: rapid.SampledFrom([]float32{0, 1e-6, 0.1, 0.5, 0.9, 0.95, 0.999, 1}).Draw(t, "top-p"),
			MinP: rapid.SampledFrom([]float32{0, 1e-4, 0.1, 0.5, 1}).Draw(t, "min-p"),
		}
		exact := make([]float64, len(logits))
		for i, v := range logits {
			exact[i] = float64(v)
		}
		few, many := *p, *p
		few.TopP, many.TopP = p.TopP*(1-1e-6), p.TopP*(1+1e-6)
		few.MinP, many.MinP = min(1, p.MinP*(1+1e-6)), p.MinP*(1-1e-6)
		least, most := opstest.Eligible(exact, &few), opstest.Eligible(exact, &many)
		got := ops.Kept(logits, p)
		for _, id := range least {
			if !slices.Contains(got, int32(id)) {
				t.Fatalf("token %d is missing: got %v, want %v", id, got, least)
			}
		}
		for _, id := range got {
			if !slices.Contains(most, int(id)) {
				t.Fatalf("token %d should not pass: got %v, want %v", id, got, most)
			}
		}
	})
}

// TestNoiseBound: the bound holds and is not loose.
func TestNoiseBound(t *testing.T) {
	const most = 1<<23 - 1
	rapid.Check(t, func(t *rapid.T) {
		r := rapid.Uint32Range(0, most).Draw(t, "r")
		if rapid.Bool().Draw(t, "large") {
			r = most - r>>rapid.IntRange(0, 23).Draw(t, "shift")
		}
		noise, bound := ops.Noise(r), ops.NoiseBound(r)
		if bound < noise {
			t.Fatalf("noise %v of %#x is above its bound %v", noise, r, bound)
		}
		if noise > 2 && bound > noise+1 {
			t.Fatalf("noise %v of %#x is far below its bound %v", noise, r, bound)
		}
	})
}

func TestKthLargest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := drawnLogits.Draw(t, "x")
		k := rapid.IntRange(1, len(x)).Draw(t, "k")
		sorted := slices.Sorted(slices.Values(x))
		slices.Reverse(sorted)
		got := ops.KthLargest(x, k)
		if got != sorted[k-1] {
			t.Fatalf("got %v, want %v", got, sorted[k-1])
		}
		if slices.Sort(x); !slices.Equal(x, slices.Sorted(slices.Values(sorted))) {
			t.Fatal("values were lost")
		}
	})
}

// sampleOne draws one token.
func sampleOne(b ops.Backend, logits []float32, p ops.Sampling) ops.Sampled {
	t, err := b.Float(1, len(logits))
	if err != nil {
		panic(err)
	}
	if err := (opstest.Host{Backend: b}).Write(t, logits); err != nil {
		panic(err)
	}
	var result [1]ops.Sampled
	if err := ops.Sample(b, result[:], t, []ops.Sampling{p}); err != nil {
		panic(err)
	}
	return result[0]
}

// TestDistribution draws many times, over seeds and over the steps of one
// seed, and compares the counts with the softmax over the tokens that pass.
func TestDistribution(t *testing.T) {
	logits := []float32{1, 0.5, -1, 2, 0, 0, -3, 1.5, float32(math.Inf(-1)), 0.25, -0.5, 1}
	for _, p := range []ops.Sampling{
		{Temperature: 1},
		{Temperature: 0.6},
		{Temperature: 3},
		{Temperature: 1, TopK: 5},
		{Temperature: 1, TopP: 0.8},
		{Temperature: 1, MinP: 0.15},
		{Temperature: 1.5, TopK: 9, TopP: 0.9, MinP: 0.1},
	} {
		for _, steps := range []bool{false, true} {
			name := fmt.Sprintf("T=%g,k=%d,p=%g,min=%g,steps=%v", p.Temperature, p.TopK, p.TopP, p.MinP, steps)
			t.Run(name, func(t *testing.T) { checkDistribution(t, logits, p, steps) })
		}
	}
}

func checkDistribution(t *testing.T, logits []float32, p ops.Sampling, steps bool) {
	const draws = 40000
	b := ops.NewCPU(1)
	defer b.Close()
	row, _ := b.Float(1, len(logits))
	if err := (opstest.Host{Backend: b}).Write(row, logits); err != nil {
		t.Fatal(err)
	}
	counts := make([]int, len(logits))
	var result [1]ops.Sampled
	for i := range uint64(draws) {
		if p.Step = i; !steps {
			p.Seed, p.Step = i, 0
		}
		if err := ops.Sample(b, result[:], row, []ops.Sampling{p}); err != nil {
			t.Fatal(err)
		}
		counts[result[0].ID]++
	}
	square, freedom := chiSquare(t, counts, shares(logits, p))
	// Wilson and Hilferty: the cube root is nearly normal. Four deviations are
	// exceeded by chance once in thirty thousand; seeds are fixed.
	f := float64(freedom)
	if z := (math.Cbrt(square/f) - 1 + 2/(9*f)) / math.Sqrt(2/(9*f)); z > 4 {
		t.Errorf("chi-square is %.1f with %d degrees of freedom: %v", square, freedom, counts)
	}
}

// shares returns the probability of each token by definition.
func shares(logits []float32, p ops.Sampling) []float64 {
	x, out := make([]float64, len(logits)), make([]float64, len(logits))
	for i, v := range logits {
		x[i] = float64(v) / float64(p.Temperature)
	}
	total := 0.0
	for _, id := range opstest.Eligible(x, &p) {
		out[id] = math.Exp(x[id])
		total += out[id]
	}
	for i := range out {
		out[i] /= total
	}
	return out
}

func chiSquare(t *testing.T, counts []int, shares []float64) (square float64, freedom int) {
	t.Helper()
	total := 0
	for _, n := range counts {
		total += n
	}
	freedom = -1
	for id, share := range shares {
		want := share * float64(total)
		if want == 0 {
			if counts[id] > 0 {
				t.Fatalf("token %d was drawn %d times and has probability 0", id, counts[id])
			}
			continue
		}
		square += (float64(counts[id]) - want) * (float64(counts[id]) - want) / want
		freedom++
	}
	return square, freedom
}

// TestDraws: single draws whose outcome is known.
func TestDraws(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		name   string
		logits []float32
		ops.Sampling
		want int32
	}{
		{"greedy", []float32{1, 3, 2}, ops.Sampling{}, 1},
		{"greedy tie", []float32{1, 3, 2, 3}, ops.Sampling{}, 1},
		{"negative", []float32{-5, -3, -4}, ops.Sampling{}, 1},
		{"one token", []float32{-2}, ops.Sampling{Temperature: 1}, 0},
		{"one possible", []float32{-inf, -inf, 4, -inf}, ops.Sampling{Temperature: 5, TopP: 0.99, MinP: 0.1, TopK: 3}, 2},
		{"top-k 1", []float32{1, 3, 2}, ops.Sampling{Temperature: 9, TopK: 1, Seed: 4}, 1},
		{"tiny top-p", []float32{1, 3, 2}, ops.Sampling{Temperature: 9, TopP: 1e-7, Seed: 4}, 1},
		{"min-p 1", []float32{1, 3, 2}, ops.Sampling{Temperature: 9, MinP: 1, Seed: 4}, 1},
		{"cold", []float32{1, 3, 2.9}, ops.Sampling{Temperature: 1e-3, Seed: 4}, 1},
		{"coldest", []float32{1, 2.9, 3}, ops.Sampling{Temperature: 1e-40, Seed: 4}, 2},
		{"coldest negative", []float32{-3, -2, -1}, ops.Sampling{Temperature: 1e-40, TopP: 0.5, MinP: 0.5, Seed: 4}, 2},
		{"bias", []float32{1, 3, 2}, ops.Sampling{Edits: []ops.Edit{{ID: 0, Scale: 1, Offset: 3}}}, 0},
		{"ban", []float32{1, 3, 2}, ops.Sampling{Edits: []ops.Edit{{ID: 1, Scale: 1, Offset: -inf}}}, 2},
		{"ban all but one", []float32{1, 3}, ops.Sampling{Temperature: 9, Edits: []ops.Edit{{ID: 1, Scale: 1, Offset: -inf}}}, 0},
		{"penalty", []float32{2, 3}, ops.Sampling{Edits: []ops.Edit{{ID: 1, Scale: 2}}}, 0},
		{"penalty of a small one", []float32{0.9, 0.6}, ops.Sampling{Edits: []ops.Edit{{ID: 0, Scale: 2}}}, 1},
		{"penalty of a negative", []float32{-4, -3}, ops.Sampling{Edits: []ops.Edit{{ID: 1, Scale: 2}}}, 0},
		{"score", []float32{1, 3, 2}, ops.Sampling{Score: true, Target: 2}, 2},
		{"allowed", []float32{1, 3, 2}, ops.Sampling{Allowed: []uint32{0b101}}, 2},
		{"one allowed", []float32{1, 3, 2}, ops.Sampling{Temperature: 9, TopP: 0.9, Allowed: []uint32{0b001}}, 0},
		{"allowed and banned", []float32{1, 3, 2}, ops.Sampling{Edits: []ops.Edit{{ID: 2, Scale: 1, Offset: -inf}}, Allowed: []uint32{0b100}}, 2},
		{"a bias does not allow", []float32{1, 3, 2}, ops.Sampling{Edits: []ops.Edit{{ID: 1, Scale: 1, Offset: 50}}, Allowed: []uint32{0b101}}, 2},
	} {
		b := ops.NewCPU(1)
		if got := sampleOne(b, c.logits, c.Sampling); got.ID != c.want || got.Invalid {
			t.Errorf("%s: got %+v, want token %d", c.name, got, c.want)
		}
		b.Close()
	}
}

// TestLogProb: log-probabilities are the model's, whatever is done to choose.
func TestLogProb(t *testing.T) {
	b := ops.NewCPU(1)
	defer b.Close()
	logits := []float32{1, 2, 3, float32(math.Inf(-1))}
	total := math.Log(math.Exp(1) + math.Exp(2) + math.Exp(3))
	for _, p := range []ops.Sampling{
		{Score: true, Target: 1},
		{Edits: []ops.Edit{{ID: 1, Scale: 1, Offset: 9}}},
		{Temperature: 7, Edits: []ops.Edit{{ID: 1, Scale: 1, Offset: 900}}},
	} {
		p.Top = 9
		got := sampleOne(b, logits, p)
		if want := 2 - total; got.ID != 1 || math.Abs(float64(got.LogProb)-want) > 1e-6 {
			t.Errorf("%+v: got token %d with %g, want 1 with %g", p, got.ID, got.LogProb, want)
		}
		if !slices.Equal(got.TopIDs, []int32{2, 1, 0, 3}) || !math.IsInf(float64(got.TopLogs[3]), -1) {
			t.Errorf("%+v: got %v with %v", p, got.TopIDs, got.TopLogs)
		}
	}
}

// TestSameSeed: a draw follows from seed and step alone, and all of their bits
// matter.
func TestSameSeed(t *testing.T) {
	b := ops.NewCPU(3)
	defer b.Close()
	flat := make([]float32, 5000)
	seen := map[int32]string{}
	for _, at := range [][2]uint64{{0, 0}, {1, 0}, {1 << 32, 0}, {1 << 63, 0}, {0, 1}, {0, 1 << 32}, {0, 1 << 63}, {1, 1}} {
		p := ops.Sampling{Temperature: 1, Seed: at[0], Step: at[1]}
		first, again := sampleOne(b, flat, p), sampleOne(b, flat, p)
		if first.ID != again.ID {
			t.Errorf("seed and step %v: got token %d, then %d", at, first.ID, again.ID)
		}
		if other, ok := seen[first.ID]; ok {
			t.Errorf("seed and step %v and %s choose the same of 5000 tokens", at, other)
		}
		seen[first.ID] = fmt.Sprint(at)
	}
}

func BenchmarkSample(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, spread := range []float64{1, 3} {
		logits := make([]float32, 131072)
		for i := range logits {
			logits[i] = float32(spread * rng.NormFloat64())
		}
		cpu := ops.NewCPU(1)
		defer cpu.Close()
		row, _ := cpu.Float(1, len(logits))
		if err := (opstest.Host{Backend: cpu}).Write(row, logits); err != nil {
			b.Fatal(err)
		}
		for _, c := range []struct {
			name string
			ops.Sampling
		}{
			{"greedy", ops.Sampling{}},
			{"top=20", ops.Sampling{Top: 20}},
			{"draw", ops.Sampling{Temperature: 0.8}},
			{"top-p=0.95", ops.Sampling{Temperature: 0.8, TopP: 0.95}},
			{"top-k=50", ops.Sampling{Temperature: 0.8, TopK: 50, TopP: 0.95}},
		} {
			b.Run(fmt.Sprintf("%s/spread=%g", c.name, spread), func(b *testing.B) {
				var result [1]ops.Sampled
				for i := 0; b.Loop(); i++ {
					c.Step = uint64(i)
					if err := ops.Sample(cpu, result[:], row, []ops.Sampling{c.Sampling}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
