package model

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/godwit-llm/godwit/internal/ops"
	"github.com/godwit-llm/godwit/internal/safetensors"
)

const goldens = "../../testdata/goldens"

// golden is what transformers computed for a checkpoint, see tools/goldens.
type golden struct {
	Cases  []goldenCase  `json:"cases"`
	Layers [][][]float32 `json:"layers"` // [1+layers+…][position][hidden]
}

type goldenCase struct {
	IDs      []int32     `json:"ids"`
	LogProbs [][]float32 `json:"logprobs"` // [position][vocabulary]
	Greedy   []int32     `json:"greedy"`
	Margin   []float32   `json:"greedy_margin"`
}

func variants(t *testing.T) []string {
	paths, err := filepath.Glob(filepath.Join(goldens, "*", "golden.json"))
	if err != nil || len(paths) < 40 {
		t.Fatalf("got %d golden checkpoints in %s, want at least 40 (%v)", len(paths), goldens, err)
	}
	for i, p := range paths {
		paths[i] = filepath.Dir(p)
	}
	return paths
}

func readGolden(t *testing.T, dir string) golden {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// testLimits leave room for several sequences at once.
var testLimits = Limits{Tokens: 64, Outputs: 64, Sequences: 4, Pages: 64, PageSize: 8}

func load(t testing.TB, dir string, limits Limits) *Model {
	t.Helper()
	cpu := ops.NewCPU(2)
	t.Cleanup(func() { cpu.Close() })
	return loadOn(t, dir, cpu, limits)
}

// loadOn loads a checkpoint on a backend, which outlives the model.
func loadOn(t testing.TB, dir string, backend ops.Backend, limits Limits) *Model {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	ck, err := safetensors.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ck.Close() })
	m, err := d.Load(ck, backend, limits)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// piece is a run of tokens of one sequence, which owns a slot and every page
// whose number is its slot modulo the number of sequences.
type piece struct {
	slot, position int
	tokens         []int32
}

// pack builds a batch that wants the logits of every row.
func pack(m *Model, pieces ...piece) *ops.Batch {
	pages := m.Limits.Pages / m.Limits.Sequences
	b := &ops.Batch{Start: []int32{0}, MaxPages: pages}
	for _, p := range pieces {
		for i, id := range p.tokens {
			b.Outputs = append(b.Outputs, int32(len(b.Tokens)))
			b.Tokens = append(b.Tokens, id)
			b.Positions = append(b.Positions, int32(p.position+i))
		}
		b.Start = append(b.Start, int32(len(b.Tokens)))
		b.Slots = append(b.Slots, int32(p.slot))
		for i := range pages {
			b.Pages = append(b.Pages, int32(i*m.Limits.Sequences+p.slot))
		}
	}
	return b
}

// logits runs a batch and returns its rows.
func logits(t testing.TB, m *Model, pieces ...piece) [][]float32 {
	t.Helper()
	out, err := m.Forward(pack(m, pieces...))
	if err != nil {
		t.Fatal(err)
	}
	flat := make([]float32, out.Rows*out.Cols)
	if err := m.backend.Read(flat, out); err != nil {
		t.Fatal(err)
	}
	rows := make([][]float32, out.Rows)
	for i := range rows {
		rows[i] = flat[i*out.Cols : (i+1)*out.Cols]
	}
	return rows
}

func logSoftmax(x []float32) []float32 {
	top := math.Inf(-1)
	for _, v := range x {
		top = max(top, float64(v))
	}
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(float64(v) - top)
	}
	norm := top + math.Log(sum)
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(float64(v) - norm)
	}
	return out
}

func argmax(x []float32) int32 {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return int32(best)
}

// TestGolden compares log-probabilities at every position and greedy
// continuations with transformers.
func TestGolden(t *testing.T) {
	const tolerance = 1e-3
	worst, where := 0.0, ""
	for _, dir := range variants(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			m := load(t, dir, testLimits)
			for i, c := range readGolden(t, dir).Cases {
				diff := compareCase(t, m, c)
				if diff > tolerance {
					t.Errorf("case %d (%d tokens): log-probabilities differ by %g, want at most %g", i, len(c.IDs), diff, tolerance)
				}
				if diff > worst {
					worst, where = diff, filepath.Base(dir)
				}
			}
		})
	}
	t.Logf("largest difference of a log-probability: %.2g (%s)", worst, where)
}

func compareCase(t *testing.T, m *Model, c goldenCase) float64 {
	t.Helper()
	diff := 0.0
	rows := logits(t, m, piece{tokens: c.IDs})
	for p, want := range c.LogProbs {
		for k, v := range logSoftmax(rows[p]) {
			if d := math.Abs(float64(v - want[k])); !(d <= diff) {
				diff = d
			}
		}
	}
	next := argmax(rows[len(rows)-1])
	for i, want := range c.Greedy {
		if next != want {
			t.Errorf("greedy token %d after %d: got %d, want %d (margin %g)", i, len(c.IDs), next, want, c.Margin[i])
			break
		}
		next = argmax(logits(t, m, piece{position: len(c.IDs) + i, tokens: []int32{want}})[0])
	}
	return diff
}

// TestGoldenLayers compares the residual stream layer by layer, so that the
// first wrong layer is named.
func TestGoldenLayers(t *testing.T) {
	families := map[string]bool{}
	for _, dir := range variants(t) {
		g := readGolden(t, dir)
		if g.Layers == nil {
			continue
		}
		t.Run(filepath.Base(dir), func(t *testing.T) {
			m := load(t, dir, testLimits)
			families[m.Architecture] = true
			got := streams(t, m, g.Cases[0].IDs)
			for layer := -1; layer < m.Layers; layer++ {
				values, seen := got[layer]
				if !seen {
					continue // a layer with neither attention nor MLP
				}
				compareLayer(t, layer, values, g.Layers[layer+1])
			}
		})
	}
	if len(families) < len(Architectures()) {
		t.Errorf("layers of %v are covered, want all of %v", families, Architectures())
	}
}

// streams returns the residual stream after each layer.
func streams(t *testing.T, m *Model, ids []int32) map[int][]float32 {
	t.Helper()
	got := map[int][]float32{}
	_, err := m.Observe(pack(m, piece{tokens: ids}), func(layer int, x ops.Tensor) {
		values := make([]float32, x.Rows*x.Cols)
		if err := m.backend.Read(values, x); err != nil {
			t.Fatal(err)
		}
		got[layer] = values
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func compareLayer(t *testing.T, layer int, got []float32, want [][]float32) {
	t.Helper()
	for p, row := range want {
		for k, v := range row {
			g := got[p*len(row)+k]
			if d := math.Abs(float64(g - v)); !(d <= 1e-4*(1+math.Abs(float64(v)))) {
				t.Fatalf("layer %d, position %d, column %d: got %g, want %g", layer, p, k, g, v)
			}
		}
	}
}

// TestCutsAndCompany proves that logits are the same to the last bit however a
// prompt is cut into steps and whatever else is in the batch.
func TestCutsAndCompany(t *testing.T) {
	for i, dir := range variants(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			limits := testLimits
			limits.Cache = []ops.CacheFormat{ops.Plain, ops.INT8, ops.FP8}[i%3]
			m := load(t, dir, limits)
			ids := longest(readGolden(t, dir))
			want := logits(t, m, piece{slot: 0, tokens: ids})
			rng := rand.New(rand.NewPCG(1, uint64(len(dir))))
			for range 3 {
				got := inPieces(t, m, ids, rng)
				if err := sameRows(got, want); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func longest(g golden) []int32 {
	var ids []int32
	for _, c := range g.Cases {
		if len(c.IDs) > len(ids) {
			ids = c.IDs
		}
	}
	return ids
}

// inPieces runs ids in slot 1, cut at random, beside other sequences.
func inPieces(t *testing.T, m *Model, ids []int32, rng *rand.Rand) [][]float32 {
	t.Helper()
	var out [][]float32
	other := 0
	for at := 0; at < len(ids); {
		n := min(1+rng.IntN(12), len(ids)-at)
		mine := piece{slot: 1, position: at, tokens: ids[at : at+n]}
		stranger := piece{slot: 2, position: other, tokens: randomIDs(rng, m.Vocab, 1+rng.IntN(5))}
		other += len(stranger.tokens)
		passing := piece{slot: 3, tokens: randomIDs(rng, m.Vocab, 1+rng.IntN(9))}
		rows := logits(t, m, passing, mine, stranger)
		out = append(out, rows[len(passing.tokens):len(passing.tokens)+n]...)
		at += n
	}
	return out
}

func randomIDs(rng *rand.Rand, vocab, n int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(rng.IntN(vocab))
	}
	return ids
}

func sameRows(got, want [][]float32) error {
	for p := range want {
		for k, v := range want[p] {
			if math.Float32bits(got[p][k]) != math.Float32bits(v) {
				return fmt.Errorf("position %d, token %d: got %v, want %v", p, k, got[p][k], v)
			}
		}
	}
	return nil
}
