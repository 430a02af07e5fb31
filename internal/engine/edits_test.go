package engine

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/godwit-llm/godwit/internal/ops"
)

func sorted(list []ops.Edit) []ops.Edit {
	out := slices.Clone(list)
	slices.SortFunc(out, func(a, b ops.Edit) int { return int(a.ID - b.ID) })
	return out
}

// TestEdits checks that each token has one edit that holds everything that
// applies to it.
func TestEdits(t *testing.T) {
	e := newEdits(Sampling{
		RepetitionPenalty: 1.5, PresencePenalty: 0.5, FrequencyPenalty: 0.25,
		Bias: map[int32]float32{2: 10, 7: -3, 9: 4},
	}, []int32{1, 2, 2})
	for _, id := range []int32{7, 8, 7} {
		e.add(id)
	}
	want := []ops.Edit{
		{ID: 1, Scale: 1.5},
		{ID: 2, Scale: 1.5, Offset: 10},
		{ID: 7, Scale: 1.5, Offset: -0.5 - 2*0.25 - 3},
		{ID: 8, Scale: 1.5, Offset: -0.75},
		{ID: 9, Scale: 1, Offset: 4},
	}
	if got := sorted(e.current()); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if newEdits(Sampling{RepetitionPenalty: 1}, []int32{1}).current() != nil {
		t.Error("a request without penalties has edits")
	}
}

// TestEditsGrow compares edits that grew token by token, or as if the last tokens
// had come, with edits that are computed from the whole text.
func TestEditsGrow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.SampledFrom([]float32{0, 0.5, 1, 1.25})
		id := rapid.Int32Range(0, 5)
		s := Sampling{
			RepetitionPenalty: number.Draw(t, "repetition"), PresencePenalty: number.Draw(t, "presence"),
			FrequencyPenalty: number.Draw(t, "frequency"), Bias: rapid.MapOf(id, rapid.Float32Range(-3, 3)).Draw(t, "bias"),
		}
		prompt, output := rapid.SliceOf(id).Draw(t, "prompt"), rapid.SliceOf(id).Draw(t, "output")
		e := newEdits(s, prompt)
		known := rapid.IntRange(0, len(output)).Draw(t, "known")
		for _, id := range output[:known] {
			e.add(id)
		}
		if got, want := sorted(e.after(output[known:])), computed(s, prompt, output); !slices.Equal(got, want) {
			t.Fatalf("after %v: got %+v, want %+v", output[known:], got, want)
		}
		for _, id := range output[known:] {
			e.add(id)
		}
		if got, want := sorted(e.current()), computed(s, prompt, output); !slices.Equal(got, want) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}

// computed is what penalties and bias mean, token by token.
func computed(s Sampling, prompt, output []int32) []ops.Edit {
	var list []ops.Edit
	repeat := s.RepetitionPenalty
	if repeat == 0 {
		repeat = 1
	}
	penalised := repeat != 1 || s.PresencePenalty != 0 || s.FrequencyPenalty != 0
	for id := range int32(6) {
		n := 0
		for _, other := range output {
			if other == id {
				n++
			}
		}
		bias, biased := s.Bias[id]
		edit := ops.Edit{ID: id, Scale: 1, Offset: bias}
		written := n > 0 && penalised
		repeated := repeat != 1 && slices.Contains(prompt, id)
		if written || repeated {
			edit.Scale = repeat
		}
		if written {
			edit.Offset = -s.PresencePenalty - s.FrequencyPenalty*float32(n) + bias
		}
		if written || repeated || biased {
			list = append(list, edit)
		}
	}
	return list
}

// BenchmarkEdits adds a token to an output of a thousand.
func BenchmarkEdits(b *testing.B) {
	e := newEdits(Sampling{RepetitionPenalty: 1.1}, nil)
	for id := range int32(1000) {
		e.add(id)
	}
	for b.Loop() {
		e.add(7)
		e.current()
	}
}
