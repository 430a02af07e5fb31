package engine

import (
	"context"
	"slices"
	"testing"

	"github.com/godwit-llm/godwit/internal/ops"
)

// TestPenalties checks that each token has one edit that holds everything that
// applies to it.
func TestPenalties(t *testing.T) {
	q := newSequence(context.Background(), Request{IDs: []int32{1, 2, 2}, Sampling: Sampling{
		RepetitionPenalty: 1.5, PresencePenalty: 0.5, FrequencyPenalty: 0.25,
		Bias: map[int32]float32{2: 10, 7: -3, 9: 4},
	}})
	defer q.stream.cancel()
	q.seen[7] = 2
	q.seen[8] = 1
	got := slices.Clone(q.penalties())
	slices.SortFunc(got, func(a, b ops.Edit) int { return int(a.ID - b.ID) })
	want := []ops.Edit{
		{ID: 1, Scale: 1.5},
		{ID: 2, Scale: 1.5, Offset: 10},
		{ID: 7, Scale: 1.5, Offset: -0.5 - 2*0.25 - 3},
		{ID: 8, Scale: 1.5, Offset: -0.75},
		{ID: 9, Scale: 1, Offset: 4},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
