package godwit

import (
	"encoding/json"
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/cuda/cudatest"
	"github.com/godwit-llm/godwit/internal/kernels/emulated"
)

// hasGPU reports whether there is a GPU. Without one, tests run the kernels on
// the CPU, see internal/kernels/emulated: the same ones, on fewer checkpoints.
var hasGPU = sync.OnceValue(func() bool {
	driver, err := cuda.LoadDriver(cuda.Options{})
	if err != nil {
		return false
	}
	device, err := driver.Open(0)
	if err != nil {
		return !errors.Is(err, cuda.ErrNoDevice)
	}
	return device.Close() == nil
})

// onGPU returns options with an emulated GPU where they name one and there is
// none, or skips the test where there is no compiler for its kernels.
func onGPU(t testing.TB, opts Options) Options {
	t.Helper()
	if kind, _ := cutDevice(opts.Device); kind == "cuda" && !hasGPU() {
		f := cudatest.New(t, cudatest.Config{Late: true, NoBLASLt: true, Devices: []cudatest.Device{{Memory: 16 << 30, Dirty: true}}})
		emulated.Register(t, f, "internal/kernels", 1)
		opts.openLibrary = f.Open
	}
	return opts
}

// openCUDA opens a checkpoint on the first GPU, the built-in one where dir is
// "", or on an emulated one.
func openCUDA(t testing.TB, dir, dtype string) (*Model, error) {
	t.Helper()
	return openOn(t, dir, Options{Device: "cuda", DType: dtype})
}

// openOn opens a checkpoint for a few sequences.
func openOn(t testing.TB, dir string, opts Options) (*Model, error) {
	t.Helper()
	opts.MaxSequences, opts.Context, opts.Memory = 4, 256, 0.01
	opts = onGPU(t, opts)
	m, err := (*Model)(nil), error(nil)
	if dir == "" {
		m, err = OpenBuiltin(opts)
	} else {
		m, err = Open(dir, opts)
	}
	if err == nil {
		t.Cleanup(func() { m.Close() })
	}
	return m, err
}

// exactLimit bounds the difference of a log-probability in float32: the order
// of sums is what differs.
const exactLimit = 2e-3

// roundingShare is what rounding to 16 bits may cost on a GPU, as a multiple of
// what it costs transformers. With nothing but weights, activations and caches
// rounded it is at most 0.84 (TestRounding in internal/model); kernels round
// inside of operations, too.
const roundingShare = 1.5

// goldenRounding is what computing in 16 bits costs transformers itself on a
// golden checkpoint, see tools/goldens/rounding.py.
type goldenRounding struct {
	Stored   string     `json:"stored"`
	BFloat16 goldenCost `json:"bfloat16"`
	Float16  goldenCost `json:"float16"`
}

// goldenCost is the difference of log-probabilities from those in float32: of
// each position the largest, and of these the median and the largest.
type goldenCost struct {
	Median  float64 `json:"median"`
	Largest float64 `json:"largest"`
}

// lowType returns the 16-bit type that a checkpoint is stored in, bfloat16 for
// those in float32, and what it costs.
func (r *goldenRounding) lowType() (string, goldenCost) {
	if r.Stored == "float16" {
		return r.Stored, r.Float16
	}
	return "bfloat16", r.BFloat16
}

type goldenCase struct {
	IDs      []int32     `json:"ids"`
	LogProbs [][]float64 `json:"logprobs"`
	Greedy   []int32     `json:"greedy"`
	Margin   []float64   `json:"greedy_margin"`
}

// emulatedGoldens are those that are tried without a GPU, which takes seconds
// each; -cases tries all.
var emulatedGoldens = []string{"mistral-window", "nemotron-base", "nemotron-h-base", "nemotron-h-moe-groups", "nemotron-h-moe-latent", "qwen2-base"}

var allCases = flag.Bool("cases", false, "without a GPU: try all cases")

// TestCUDAGolden compares every golden checkpoint on a GPU with transformers,
// in float32, and in the 16-bit type they are stored in, or bfloat16. There they
// are held to what the type costs transformers; see docs/NUMERICS.md.
func TestCUDAGolden(t *testing.T) {
	paths, err := filepath.Glob("testdata/goldens/*/golden.json")
	if err != nil || len(paths) < 40 {
		t.Fatalf("got %d golden checkpoints (%v), want at least 40", len(paths), err)
	}
	var rounding struct{ Checkpoints map[string]goldenRounding }
	readJSON(t, "testdata/goldens/rounding.json", &rounding)
	for _, path := range paths {
		dir := filepath.Dir(path)
		name := filepath.Base(dir)
		if !hasGPU() && !*allCases && !slices.Contains(emulatedGoldens, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			if !hasGPU() {
				t.Parallel()
			}
			r, ok := rounding.Checkpoints[name]
			if !ok {
				t.Fatal("rounding.json does not have it; run tools/goldens/rounding.py")
			}
			var g struct{ Cases []goldenCase }
			readJSON(t, path, &g)
			t.Run("float32", func(t *testing.T) {
				compareGolden(t, dir, "float32", g.Cases, goldenCost{exactLimit, exactLimit})
			})
			dtype, cost := r.lowType()
			t.Run(dtype, func(t *testing.T) {
				compareGolden(t, dir, dtype, g.Cases, goldenCost{roundingShare * cost.Median, roundingShare * cost.Largest})
			})
		})
	}
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func compareGolden(t *testing.T, dir, dtype string, cases []goldenCase, limit goldenCost) {
	t.Helper()
	m, err := openCUDA(t, dir, dtype)
	if err != nil {
		t.Fatal(err)
	}
	if m.DType() != dtype {
		t.Fatalf("it computes in %s, want %s", m.DType(), dtype)
	}
	var worst []float64
	for i, c := range cases {
		worst = append(worst, compareScores(t, m, c)...)
		compareGreedy(t, m, i, c, 2*limit.Largest)
	}
	slices.Sort(worst)
	got := goldenCost{worst[len(worst)/2], worst[len(worst)-1]}
	if !(got.Median <= limit.Median && got.Largest <= limit.Largest) {
		t.Errorf("log-probabilities differ by %.2g in the median position and by at most %.2g, want %.2g and %.2g", got.Median, got.Largest, limit.Median, limit.Largest)
	}
	t.Logf("differences of log-probabilities: median %.2g of %.2g, largest %.2g of %.2g", got.Median, limit.Median, got.Largest, limit.Largest)
}

// compareScores returns the largest difference of a log-probability at each
// position.
func compareScores(t *testing.T, m *Model, c goldenCase) []float64 {
	t.Helper()
	s, err := m.Score(t.Context(), c.IDs, m.Vocabulary())
	if err != nil {
		t.Fatal(err)
	}
	worst := make([]float64, len(s.Top))
	if len(worst) != len(c.LogProbs) {
		t.Fatalf("got %d positions, want %d", len(worst), len(c.LogProbs))
	}
	for p, top := range s.Top {
		if len(top) != len(c.LogProbs[p]) {
			t.Fatalf("position %d has %d tokens, want %d", p, len(top), len(c.LogProbs[p]))
		}
		for _, token := range top {
			d := math.Abs(token.LogProb - c.LogProbs[p][token.ID])
			if math.IsNaN(d) {
				t.Fatalf("position %d: the log-probability of token %d is %g", p, token.ID, token.LogProb)
			}
			worst[p] = max(worst[p], d)
		}
	}
	return worst
}

// compareGreedy follows the golden continuation as far as its margins are
// beyond the rounding of activations.
func compareGreedy(t *testing.T, m *Model, i int, c goldenCase, margin float64) {
	t.Helper()
	r, err := m.Generate(t.Context(), Request{IDs: c.IDs, Sampling: greedy, MaxTokens: len(c.Greedy), IgnoreEOS: true})
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range c.Greedy {
		if c.Margin[k] < margin {
			return
		}
		if r.IDs[k] != want {
			t.Errorf("case %d: greedy token %d is %d, want %d (margin %g)", i, k, r.IDs[k], want, c.Margin[k])
			return
		}
	}
}

// TestCUDACacheTypes compares the trained checkpoints with the CPU, where both
// compute in float32 with a cache in 8 bits. Rounding is the same; what is on
// the border between two numbers may fall to either side.
func TestCUDACacheTypes(t *testing.T) {
	if !hasGPU() && !*allCases {
		t.Skip("takes minutes without a GPU")
	}
	for name, dir := range map[string]string{"tiny-dense": "testdata/tiny-dense", "tiny-hybrid": ""} {
		var g struct{ Cases []goldenCase }
		readJSON(t, filepath.Join("testdata", name, "golden.json"), &g)
		for cache, limit := range map[string]goldenCost{"int8": {0.02, 0.2}, "fp8": {0.06, 0.6}} {
			t.Run(name+"/"+cache, func(t *testing.T) {
				m, err := openOn(t, dir, Options{Device: "cuda", DType: "float32", CacheType: cache})
				if err != nil {
					t.Fatal(err)
				}
				cpu, err := openOn(t, dir, Options{Device: "cpu", CacheType: cache, Threads: 2})
				if err != nil {
					t.Fatal(err)
				}
				var worst []float64
				for _, c := range g.Cases {
					ids := append(c.IDs, c.Greedy...)
					worst = append(worst, compareScores(t, m, goldenCase{IDs: ids, LogProbs: scores(t, cpu, ids)})...)
				}
				slices.Sort(worst)
				if got := (goldenCost{worst[len(worst)/2], worst[len(worst)-1]}); !(got.Median <= limit.Median && got.Largest <= limit.Largest) {
					t.Errorf("log-probabilities differ by %.2g in the median position and by at most %.2g, want %.2g and %.2g", got.Median, got.Largest, limit.Median, limit.Largest)
				}
			})
		}
	}
}

// scores returns the log-probabilities of all tokens at each position.
func scores(t *testing.T, m *Model, ids []int32) [][]float64 {
	t.Helper()
	s, err := m.Score(t.Context(), ids, m.Vocabulary())
	if err != nil {
		t.Fatal(err)
	}
	out := make([][]float64, len(s.Top))
	for p, top := range s.Top {
		out[p] = make([]float64, len(top))
		for _, token := range top {
			out[p][token.ID] = token.LogProb
		}
	}
	return out
}

// TestCUDAText runs the trained checkpoints: in float32 they give their golden
// text, and in the checkpoint's own type the same ids, but that rounding may
// decide between two that are about equally likely.
func TestCUDAText(t *testing.T) {
	if !hasGPU() && !*allCases {
		t.Skip("takes minutes without a GPU")
	}
	for name, dir := range map[string]string{"tiny-dense": "testdata/tiny-dense", "tiny-hybrid": ""} {
		t.Run(name, func(t *testing.T) {
			exact, err := openCUDA(t, dir, "float32")
			if err != nil {
				t.Fatal(err)
			}
			rounded, err := openCUDA(t, dir, "auto")
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range goldenTexts(t, name) {
				r := Request{Prompt: c.Prompt, Sampling: greedy, MaxTokens: len(c.Greedy), IgnoreEOS: true}
				got, err := exact.Generate(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				if c.Prompt+got.Text != c.Text && got.Text != c.Text {
					t.Errorf("%q: got text %q, want %q", c.Prompt, got.Text, c.Text)
				}
				if got, err = rounded.Generate(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				sameButForTies(t, exact, c.IDs, got.IDs, c.Greedy)
			}
		})
	}
}

// sameButForTies compares what follows a prompt up to the first difference,
// where the model's two most likely ids must be close together.
func sameButForTies(t *testing.T, m *Model, prompt, got, want []int32) {
	t.Helper()
	const tie = 0.05 // between log-probabilities
	for i := range want {
		if got[i] == want[i] {
			continue
		}
		s, err := m.Score(t.Context(), slices.Concat(prompt, want[:i]), 2)
		if err != nil {
			t.Fatal(err)
		}
		top := s.Top[len(s.Top)-1]
		if margin := top[0].LogProb - top[1].LogProb; margin > tie {
			t.Errorf("after %d: got %d at %d, want %d, which is ahead by %.3f", prompt, got[i], i, want[i], margin)
		}
		return
	}
}

// TestCUDATinyStories runs a third-party checkpoint that is not part of this
// repository. GODWIT_CHECKPOINTS names the directory that holds it.
func TestCUDATinyStories(t *testing.T) {
	root := os.Getenv("GODWIT_CHECKPOINTS")
	if root == "" {
		t.Skip("GODWIT_CHECKPOINTS is not set")
	}
	dir := filepath.Join(root, "tinystories-656k")
	m, err := openCUDA(t, dir, "auto")
	if err != nil {
		t.Fatal(err)
	}
	var g struct {
		Prompt []int32 `json:"prompt_ids"`
		Greedy []int32 `json:"greedy_ids"` // with the prompt
	}
	readJSON(t, filepath.Join(dir, "golden.json"), &g)
	want := g.Greedy[len(g.Prompt):]
	r, err := m.Generate(t.Context(), Request{IDs: g.Prompt, Sampling: greedy, MaxTokens: len(want), IgnoreEOS: true})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(r.IDs, want) {
		t.Errorf("got %v, want %v", r.IDs, want)
	}
	t.Log(r.Text)
}
