package godwit

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/godwit-llm/godwit/internal/ops"
)

// openCUDA opens a checkpoint on the first GPU, the built-in one where dir is
// "", and skips the test where there is none.
func openCUDA(t testing.TB, dir string) (*Model, error) {
	t.Helper()
	opts := Options{Device: "cuda", MaxSequences: 4, Context: 256, Memory: 0.01}
	m, err := (*Model)(nil), error(nil)
	if dir == "" {
		m, err = OpenBuiltin(opts)
	} else {
		m, err = Open(dir, opts)
	}
	if errors.Is(err, ErrNoDevice) {
		t.Skip(err)
	}
	if err == nil {
		t.Cleanup(func() { m.Close() })
	}
	return m, err
}

// tolerances of a log-probability: the reference computes in float32, a GPU
// rounds activations to the type of the weights. The random weights of the
// golden checkpoints amplify that more than trained ones do.
var tolerances = map[ops.DType]float64{ops.F32: 2e-3, ops.F16: 0.05, ops.BF16: 0.6}

type goldenCase struct {
	IDs      []int32     `json:"ids"`
	LogProbs [][]float64 `json:"logprobs"`
	Greedy   []int32     `json:"greedy"`
	Margin   []float64   `json:"greedy_margin"`
}

// TestCUDAGolden compares every golden checkpoint on a GPU with transformers.
func TestCUDAGolden(t *testing.T) {
	paths, err := filepath.Glob("testdata/goldens/*/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		dir := filepath.Dir(path)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			m, err := openCUDA(t, dir)
			if err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var g struct{ Cases []goldenCase }
			if err := json.Unmarshal(data, &g); err != nil {
				t.Fatal(err)
			}
			tolerance := tolerances[m.account.WeightType()]
			worst := 0.0
			for i, c := range g.Cases {
				worst = max(worst, compareScores(t, m, c))
				compareGreedy(t, m, i, c, 2*tolerance)
			}
			if worst > tolerance {
				t.Errorf("log-probabilities differ by %.2g, want at most %g", worst, tolerance)
			}
			t.Logf("largest difference of a log-probability %.2g", worst)
		})
	}
}

func compareScores(t *testing.T, m *Model, c goldenCase) float64 {
	t.Helper()
	s, err := m.Score(t.Context(), c.IDs, m.Vocabulary())
	if err != nil {
		t.Fatal(err)
	}
	worst := 0.0
	for p, top := range s.Top {
		if len(top) != len(c.LogProbs[p]) {
			t.Fatalf("position %d has %d tokens, want %d", p, len(top), len(c.LogProbs[p]))
		}
		for _, token := range top {
			if d := math.Abs(token.LogProb - c.LogProbs[p][token.ID]); !(d <= worst) {
				worst = d
			}
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

// TestCUDAText runs the trained checkpoints.
func TestCUDAText(t *testing.T) {
	for name, dir := range map[string]string{"tiny-dense": "testdata/tiny-dense", "tiny-hybrid": ""} {
		t.Run(name, func(t *testing.T) {
			m, err := openCUDA(t, dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range goldenTexts(t, name) {
				r, err := m.Generate(t.Context(), Request{Prompt: c.Prompt, Sampling: greedy, MaxTokens: len(c.Greedy), IgnoreEOS: true})
				if err != nil {
					t.Fatal(err)
				}
				if got := c.Prompt + r.Text; got != c.Text && r.Text != c.Text {
					t.Errorf("%q: got text %q, want %q", c.Prompt, got, c.Text)
				}
			}
		})
	}
}
