package godwit

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestCacheTypeOnCPU opens a model with each type of cache: it says so, takes
// less memory, and goes on where another request ended as one alone does.
func TestCacheTypeOnCPU(t *testing.T) {
	prompt := []int32{1, 78, 1800, 679, 290, 627, 12, 99, 400, 31, 7, 88, 1200, 5, 61, 300, 41, 8, 9}
	perToken := map[string]int64{}
	for _, name := range []string{"", "auto", "float32", "int8", "fp8"} {
		said := ""
		m, err := OpenBuiltin(Options{Device: "cpu", CacheType: name, Context: 128, OnEvent: func(e Event) {
			if e.Kind == Info {
				said = e.Message
			}
		}})
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		defer m.Close()
		want, ending := "float32", ", in float32"
		if name == "int8" || name == "fp8" {
			want, ending = name, ", in float32, keys and values in "+name
		}
		if m.CacheType() != want || !strings.HasSuffix(said, ending) {
			t.Errorf("%q: the cache is %s, and it says %q; want %s", name, m.CacheType(), said, want)
		}
		p := m.Plan()
		perToken[m.CacheType()] = p.Cache / int64(p.CacheTokens)
		first := ids(t, m, prompt, 24)
		longer := append(slices.Clone(prompt), first[:4]...)
		if rest := ids(t, m, longer, 20); !slices.Equal(rest, first[4:]) || m.Metrics().ReusedTokens == 0 {
			t.Errorf("%q: got %v behind %d tokens of an earlier request, want %v", name, rest, m.Metrics().ReusedTokens, first[4:])
		}
	}
	if full := perToken["float32"]; perToken["fp8"]*4 != full || perToken["int8"] <= full/4 || perToken["int8"] > full*28/100 {
		t.Errorf("got bytes per token %v", perToken)
	}
}

// ids returns a greedy continuation of n tokens.
func ids(t *testing.T, m *Model, prompt []int32, n int) []int32 {
	t.Helper()
	r, err := m.Generate(t.Context(), Request{IDs: prompt, MaxTokens: n, Sampling: &Sampling{}})
	if err != nil {
		t.Fatal(err)
	}
	return r.IDs
}

func TestCacheTypeRefused(t *testing.T) {
	for name, want := range map[string]string{
		"int4":     `open model: cache type "int4", want auto, float32, bfloat16, float16, int8 or fp8`,
		"bfloat16": "open model: the model computes in float32, got cache type bfloat16, want auto, float32, int8 or fp8",
	} {
		if _, err := OpenBuiltin(Options{Device: "cpu", CacheType: name}); !errors.Is(err, ErrRequest) || err.Error() != want {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
}

// TestCacheTypeInPlans: on a GPU the cache takes half of what it takes in 16
// bits, and with INT8 the scales besides.
func TestCacheTypeInPlans(t *testing.T) {
	dir := filepath.Join("testdata", "tiny-dense")
	plan := func(cache string) *Report {
		t.Helper()
		r, err := Inspect(dir, InspectOptions{DType: "bfloat16", CacheType: cache, Context: 64})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	full, fp8, int8 := plan("auto"), plan("fp8"), plan("int8")
	if full.Plan.CacheType != "bfloat16" || fp8.Plan.CacheType != "fp8" || int8.Plan.CacheType != "int8" {
		t.Errorf("got plans for %s, %s and %s", full.Plan.CacheType, fp8.Plan.CacheType, int8.Plan.CacheType)
	}
	if 2*fp8.Plan.Cache != full.Plan.Cache || 2*fp8.CachePerToken != full.CachePerToken {
		t.Errorf("FP8 takes %d of %d bytes, want half", fp8.Plan.Cache, full.Plan.Cache)
	}
	if d := int8.Plan.Cache - fp8.Plan.Cache; d <= 0 || d*16 > fp8.Plan.Cache {
		t.Errorf("INT8 takes %d bytes, FP8 %d: the scales are a sixteenth at most", int8.Plan.Cache, fp8.Plan.Cache)
	}
	if full.Plan.Weights != int8.Plan.Weights || full.Plan.Scratch != int8.Plan.Scratch {
		t.Errorf("the cache's type changes other parts of the plan: %+v and %+v", full.Plan, int8.Plan)
	}
	if _, err := Inspect(dir, InspectOptions{DType: "bfloat16", CacheType: "float16"}); !errors.Is(err, ErrRequest) {
		t.Errorf("a float16 cache in bfloat16: got %v, want ErrRequest", err)
	}
}
