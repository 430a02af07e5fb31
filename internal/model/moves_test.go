package model

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/godwit-llm/godwit/internal/ops"
)

// TestMoves runs the beginning of a prompt in one place, copies its pages and
// its state to another – directly, through a snapshot, through host memory –
// and goes on there: the logits have the same bits.
func TestMoves(t *testing.T) {
	for _, format := range []ops.CacheFormat{ops.Plain, ops.INT8, ops.FP8} {
		t.Run(format.String(), func(t *testing.T) { testMoves(t, format) })
	}
}

func testMoves(t *testing.T, format ops.CacheFormat) {
	limits := testLimits
	limits.Snapshots, limits.HostSnapshots, limits.Cache = 2, 3, format
	for _, name := range []string{"llama-base", "mistral-window", "nemotron-h-base", "nemotron-h-mamba-only", "nemotron-h-moe"} {
		t.Run(name, func(t *testing.T) {
			m := load(t, filepath.Join(goldens, name), limits)
			rng := rand.New(rand.NewPCG(2, 3))
			ids := randomIDs(rng, m.Vocab, 40)
			const cut = 21
			want := logits(t, m, piece{slot: 0, tokens: ids})
			stranger := func() { // overwrites what is not held
				logits(t, m, piece{slot: 1, tokens: randomIDs(rng, m.Vocab, 40)}, piece{slot: 2, tokens: randomIDs(rng, m.Vocab, 20)})
			}
			goOn := func(slot int) {
				t.Helper()
				got := logits(t, m, piece{slot: slot, position: cut, tokens: ids[cut:]})
				if err := sameRows(got, want[cut:]); err != nil {
					t.Fatal(err)
				}
			}
			logits(t, m, piece{slot: 0, tokens: ids[:cut]})
			snapshot, held := int32(limits.Sequences+1), int32(2)
			m.CopyState(0, snapshot)
			m.SaveState(snapshot, held)
			stranger()
			for slot := range limits.Sequences {
				for i := range (cut + limits.PageSize - 1) / limits.PageSize {
					m.CopyPage(int32(i*limits.Sequences), int32(i*limits.Sequences+slot))
				}
				switch slot {
				case 1:
					m.CopyState(snapshot, int32(slot))
				case 2:
					m.LoadState(held, int32(slot))
				case 3:
					m.CopyState(0, int32(slot))
				}
			}
			for slot := range limits.Sequences {
				goOn(slot)
			}
		})
	}
}

// TestHiddenStates multiplies hidden states by the head by hand: the logits
// come out. Rows whose logits are wanted come in the same step.
func TestHiddenStates(t *testing.T) {
	for _, name := range []string{"llama-base", "nemotron-h-tied"} {
		m := load(t, filepath.Join(goldens, name), testLimits)
		ids := randomIDs(rand.New(rand.NewPCG(1, 9)), m.Vocab, 9)
		want := logits(t, m, piece{tokens: ids})
		b := pack(m, piece{slot: 1, tokens: ids[:4]}, piece{slot: 2, tokens: ids})
		b.Hidden = len(ids)
		out, err := m.Forward(b)
		if err != nil {
			t.Fatal(err)
		}
		if out.Rows != 4 {
			t.Fatalf("%s: got %d rows of logits, want 4", name, out.Rows)
		}
		first := make([]float32, out.Rows*out.Cols)
		if err := m.backend.Read(first, out); err != nil {
			t.Fatal(err)
		}
		for i, v := range first {
			if v != want[i/m.Vocab][i%m.Vocab] {
				t.Fatalf("%s: logit %d beside hidden states is %g, want %g", name, i, v, want[i/m.Vocab][i%m.Vocab])
			}
		}
		states := make([]float32, len(ids)*m.Config.Hidden)
		if err := m.HiddenStates(states, b); err != nil {
			t.Fatal(err)
		}
		head := readAll(t, m, m.decoder.head.Weight[0])
		for p := range ids {
			for k := range m.Vocab {
				sum := 0.0
				for i, h := range states[p*m.Config.Hidden : (p+1)*m.Config.Hidden] {
					sum += float64(h) * float64(head[k*m.Config.Hidden+i])
				}
				if math.Abs(sum-float64(want[p][k])) > 1e-4*(1+math.Abs(sum)) {
					t.Fatalf("%s: position %d, token %d: got %g, want %g", name, p, k, sum, want[p][k])
				}
			}
		}
	}
}

func readAll(t *testing.T, m *Model, x ops.Tensor) []float32 {
	t.Helper()
	values := make([]float32, x.Rows*x.Cols)
	if err := m.backend.Read(values, x); err != nil {
		t.Fatal(err)
	}
	return values
}
