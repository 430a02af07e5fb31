package model

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/godwit-llm/godwit/internal/ops"
)

// statePair is a model with its states in float32, and in 16 bits.
type statePair struct{ exact, rounded *Model }

func loadStates(t *testing.T, dir string, limits Limits) statePair {
	t.Helper()
	p := statePair{exact: load(t, dir, limits)}
	limits.StateType = ops.F16
	p.rounded = load(t, dir, limits)
	return p
}

// step returns the log-probabilities behind a token of both.
func (s statePair) step(t *testing.T, position int, id int32) (exact, rounded []float32) {
	t.Helper()
	next := piece{position: position, tokens: []int32{id}}
	return logSoftmax(logits(t, s.exact, next)[0]), logSoftmax(logits(t, s.rounded, next)[0])
}

// TestStateRounding computes random prompts token by token, so that the states
// are rounded behind each of them, and holds 16-bit states to a part of what
// computing in float16 costs transformers: half of it in the median position.
func TestStateRounding(t *testing.T) {
	var table struct{ Checkpoints map[string]rounding }
	readJSON(t, filepath.Join(goldens, "rounding.json"), &table)
	recurrent := 0
	var median, largest float64
	for _, dir := range variants(t) {
		name := filepath.Base(dir)
		t.Run(name, func(t *testing.T) {
			s := loadStates(t, dir, testLimits)
			if len(s.exact.memory.states) == 0 {
				return
			}
			recurrent++
			rng := rand.New(rand.NewPCG(1, 2))
			var worst []float64
			for range 8 {
				for p, id := range randomIDs(rng, s.exact.Vocab, 41) {
					exact, rounded := s.step(t, p, id)
					worst = append(worst, largestDifference(t, rounded, exact))
				}
			}
			slices.Sort(worst)
			got, limit := cost{worst[len(worst)/2], worst[len(worst)-1]}, table.Checkpoints[name].Float16
			if !(got.Median > 0 && got.Median <= limit.Median/2 && got.Largest <= limit.Largest) {
				t.Errorf("log-probabilities differ by %.3g in the median position and by at most %.3g, want at most %.3g and %.3g, and not 0", got.Median, got.Largest, limit.Median/2, limit.Largest)
			}
			median, largest = max(median, got.Median), max(largest, got.Largest)
		})
	}
	if recurrent < 40 {
		t.Errorf("got %d checkpoints with recurrences, want at least 40", recurrent)
	}
	t.Logf("of %d checkpoints: %.2g in the median position at most, %.2g in any", recurrent, median, largest)
}

// TestStateRoundingOfText goes on a trained model's own text: the errors of
// many steps must not pile up.
func TestStateRoundingOfText(t *testing.T) {
	const tokens, part = 768, 256
	limits := testLimits
	limits.Pages, limits.Sequences = tokens/limits.PageSize, 1
	s := loadStates(t, "../builtin/model", limits)
	rng := rand.New(rand.NewPCG(9, 0))
	id, sum, largest := int32(1), 0.0, 0.0
	for p := range tokens {
		exact, rounded := s.step(t, p, id)
		id = draw(exact, rng.Float64())
		d := math.Abs(float64(exact[id] - rounded[id]))
		sum, largest = sum+d, max(largest, d)
		if p%part < part-1 {
			continue
		}
		if mean := sum / part; !(mean > 0 && mean <= 1e-3 && largest <= 0.05) {
			t.Errorf("%d tokens up to %d: the log-probability of a token differs by %.3g on average and by at most %.3g", part, p+1, mean, largest)
		}
		sum, largest = 0, 0
	}
}

// draw takes a token by its probability.
func draw(logProbs []float32, u float64) int32 {
	for id, v := range logProbs {
		if u -= math.Exp(float64(v)); u < 0 {
			return int32(id)
		}
	}
	return 0
}
