package godwit

import (
	"context"

	"github.com/godwit-llm/godwit/internal/engine"
)

// Scores are the log-probabilities of given ids.
type Scores struct {
	IDs      []int32
	LogProbs []float64        // [len(IDs)-1] of IDs[i+1] after IDs[:i+1]
	Top      [][]TokenLogProb // [len(IDs)] most likely tokens after IDs[:i+1]
}

// Score computes the log-probability of each id after those before it, and
// the top most likely ids at each position.
func (m *Model) Score(ctx context.Context, ids []int32, top int) (*Scores, error) {
	stream, err := m.submit(ctx, engine.Request{IDs: ids, Score: true, Top: top})
	if err != nil {
		return nil, err
	}
	s := &Scores{IDs: ids, LogProbs: []float64{}}
	for {
		t, ok, err := stream.Next()
		if err != nil {
			return nil, &Error{Op: "score", Class: classOf(err), Err: err}
		}
		if !ok {
			s.LogProbs = s.LogProbs[:len(ids)-1] // nothing comes after the last id
			return s, nil
		}
		s.LogProbs = append(s.LogProbs, float64(t.LogProb))
		s.Top = append(s.Top, topOf(t))
	}
}
