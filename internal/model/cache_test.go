package model

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"unsafe"

	"github.com/godwit-llm/godwit/internal/ops"
	"github.com/godwit-llm/godwit/internal/safetensors"
)

// quantised are the formats of caches in 8 bits, with what they may cost: the
// difference of log-probabilities from those with a float32 cache.
var quantised = []struct {
	format  ops.CacheFormat
	trained cost    // of a trained checkpoint, over all tokens of a position
	next    float64 // the mean difference of the text's own next token, there
	goldens float64 // of a golden checkpoint, the median position
}{
	{ops.INT8, cost{0.2, 0.6}, 0.02, 0.13},
	{ops.FP8, cost{0.8, 3.5}, 0.08, 0.65},
}

// costs returns, of each position, the largest difference of a log-probability
// and that of the next token of the text.
func costs(t *testing.T, exact, rounded *Model, ids []int32) (largest, next []float64) {
	t.Helper()
	want, got := logits(t, exact, piece{tokens: ids}), logits(t, rounded, piece{tokens: ids})
	for p := range want {
		a, b := logSoftmax(got[p]), logSoftmax(want[p])
		largest = append(largest, largestDifference(t, a, b))
		if p+1 < len(ids) {
			next = append(next, math.Abs(float64(a[ids[p+1]]-b[ids[p+1]])))
		}
	}
	slices.Sort(largest)
	return largest, next
}

// TestQuantisedCacheTrained measures what caches in 8 bits cost the trained
// checkpoints on the texts of their goldens, and for comparison what one in
// BF16 costs.
func TestQuantisedCacheTrained(t *testing.T) {
	limits := Limits{Tokens: 256, Outputs: 256, Sequences: 1, Pages: 32, PageSize: 8}
	for name, dir := range map[string]string{"tiny-hybrid": "../builtin/model", "tiny-dense": "../../testdata/tiny-dense"} {
		ids := trainedText(t, name)
		exact := load(t, dir, limits)
		cpu := ops.NewCPU(2)
		t.Cleanup(func() { cpu.Close() })
		report(t, name+"/BF16", exact, loadOn(t, dir, cacheRounder{&rounder{CPU: cpu, act: ops.BF16}}, limits), ids)
		for _, q := range quantised {
			t.Run(name+"/"+q.format.String(), func(t *testing.T) {
				small := limits
				small.Cache = q.format
				got, mean := report(t, name+"/"+q.format.String(), exact, load(t, dir, small), ids)
				if !(got.Median <= q.trained.Median && got.Largest <= q.trained.Largest && mean <= q.next) {
					t.Errorf("want no more than %.3g, %.3g and %.3g", q.trained.Median, q.trained.Largest, q.next)
				}
				if got.Median == 0 {
					t.Error("nothing was rounded")
				}
			})
		}
	}
}

// report returns what a cache costs a text: over all tokens of a position, and
// of the next token in the mean.
func report(t *testing.T, name string, exact, rounded *Model, ids []int32) (all cost, mean float64) {
	t.Helper()
	largest, next := costs(t, exact, rounded, ids)
	all = cost{largest[len(largest)/2], largest[len(largest)-1]}
	for _, d := range next {
		mean += d / float64(len(next))
	}
	t.Logf("%s: log-probabilities differ by %.2g in the median position and by at most %.2g, those of the next token by %.2g in the mean", name, all.Median, all.Largest, mean)
	return all, mean
}

// cacheRounder is a CPU that rounds nothing but keys and values.
type cacheRounder struct{ *rounder }

func (c cacheRounder) Append(q, k, v ops.Tensor, a *ops.Attention, cache ops.Cache) {
	c.CPU.Append(q, k, v, a, cache)
	for _, t := range cache.Tensors() {
		c.round(unsafe.Slice((*float32)(t.Addr), t.Rows*t.Cols))
	}
}

func (c cacheRounder) Weights(parts []ops.Stored) ([]ops.Tensor, error) { return c.CPU.Weights(parts) }

func (c cacheRounder) Activation(rows, cols int) (ops.Tensor, error) {
	return c.CPU.Activation(rows, cols)
}

// trainedText joins the texts of a trained checkpoint's goldens.
func trainedText(t *testing.T, name string) []int32 {
	t.Helper()
	var g struct {
		Cases []struct {
			IDs    []int32 `json:"ids"`
			Greedy []int32 `json:"greedy"`
		} `json:"cases"`
	}
	readJSON(t, filepath.Join("../../testdata", name, "golden.json"), &g)
	var ids []int32
	for _, c := range g.Cases {
		ids = append(append(ids, c.IDs...), c.Greedy...)
	}
	return ids
}

// TestQuantisedCacheGoldens does so for the random checkpoints of all
// architectures.
func TestQuantisedCacheGoldens(t *testing.T) {
	for _, q := range quantised {
		worst, most, where := 0.0, 0.0, ""
		for _, dir := range variants(t) {
			exact := load(t, dir, testLimits)
			limits := testLimits
			limits.Cache = q.format
			rounded := load(t, dir, limits)
			var all []float64
			for _, c := range readGolden(t, dir).Cases {
				largest, _ := costs(t, exact, rounded, c.IDs)
				all = append(all, largest...)
			}
			slices.Sort(all)
			median := all[len(all)/2]
			if attends := len(rounded.memory.caches) > 0; attends != (median > 0) {
				t.Errorf("%s, %s: log-probabilities differ by %.3g in the median position", filepath.Base(dir), q.format, median)
			}
			if median > q.goldens {
				t.Errorf("%s, %s: log-probabilities differ by %.3g in the median position, want no more than %.3g", filepath.Base(dir), q.format, median, q.goldens)
			}
			if median > worst {
				worst, where = median, filepath.Base(dir)
			}
			most = max(most, all[len(all)-1])
		}
		t.Logf("%s: log-probabilities differ by at most %.3g in the median position (%s) and by %.3g anywhere", q.format, worst, where, most)
	}
}

// TestCacheScales binds the scales that a checkpoint has for an FP8 cache: they
// divide keys and values before these are stored.
func TestCacheScales(t *testing.T) {
	for _, c := range []struct{ golden, key, value string }{
		{"llama-base", "model.layers.1.self_attn.k_proj.k_scale", "model.layers.1.self_attn.v_proj.v_scale"},
		{"nemotron-h-base", "backbone.layers.3.mixer.k_proj.k_scale", "backbone.layers.3.mixer.v_proj.v_scale"},
	} {
		with := func(k, v float32) (*Model, error) {
			from := &extended{Weights: checkpoint(t, c.golden)}
			from.add(c.key, []int{}, k)
			from.add(c.value, []int{1}, v)
			data, err := os.ReadFile(filepath.Join(goldens, c.golden, "config.json"))
			if err != nil {
				t.Fatal(err)
			}
			d, err := Decode(data)
			if err != nil {
				t.Fatal(err)
			}
			cpu := ops.NewCPU(1)
			t.Cleanup(func() { cpu.Close() })
			limits := testLimits
			limits.Cache = ops.FP8
			return d.Load(from, cpu, limits)
		}
		m, err := with(0.25, 3)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, cache := range m.memory.caches {
			if cache.KScale == 0.25 && cache.VScale == 3 {
				found++
			} else if cache.KScale != 1 || cache.VScale != 1 {
				t.Errorf("%s: a cache has the scales %g and %g", c.golden, cache.KScale, cache.VScale)
			}
		}
		if found != 1 {
			t.Errorf("%s: %d caches have the scales, want 1", c.golden, found)
		}
		for _, bad := range []float32{0, -1, float32(math.NaN()), float32(math.Inf(1))} {
			if _, err := with(bad, 1); !errors.Is(err, ErrInvalid) {
				t.Errorf("%s: a scale of %g: got %v, want ErrInvalid", c.golden, bad, err)
			}
		}
	}
}

// checkpoint opens a golden's tensors.
func checkpoint(t *testing.T, golden string) *safetensors.Checkpoint {
	t.Helper()
	ck, err := safetensors.Open(filepath.Join(goldens, golden))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ck.Close() })
	return ck
}

// extended is a checkpoint with further tensors.
type extended struct {
	Weights
	more []safetensors.Tensor
}

func (e *extended) add(name string, shape []int, value float32) {
	data := math.Float32bits(value)
	e.more = append(e.more, safetensors.NewTensor(name, safetensors.F32, shape, []byte{byte(data), byte(data >> 8), byte(data >> 16), byte(data >> 24)}))
}

func (e *extended) Tensors() []safetensors.Tensor { return append(e.Weights.Tensors(), e.more...) }

func (e *extended) Lookup(name string) (safetensors.Tensor, bool) {
	for _, t := range e.more {
		if t.Name == name {
			return t, true
		}
	}
	return e.Weights.Lookup(name)
}
