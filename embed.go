package godwit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"

	"github.com/godwit-llm/godwit/internal/engine"
)

// EmbedRequest asks for a vector that stands for a text, or for token ids.
type EmbedRequest struct {
	Text string // the tokenizer's special ids are put around it
	IDs  []int32

	Pooling    string // "mean" or "last" token; "" means what the checkpoint says, or last
	Raw        bool   // do not scale the vector to length 1
	Dimensions int    // keep the first ones only, of models that were trained for it; 0 means all
	Priority   int
}

// Embedding is the vector of a text.
type Embedding struct {
	Vector       []float32
	PromptTokens int
	ReusedTokens int // of them, that an earlier request had computed
}

// Embed computes a vector from the hidden states behind the last layer. Texts
// that are embedded at the same time share steps.
func (m *Model) Embed(ctx context.Context, r EmbedRequest) (*Embedding, error) {
	refuse := func(err error) error { return &Error{Op: "embed", Class: ErrRequest, Err: err} }
	pooling, err := m.embedding.choose(r.Pooling)
	if err != nil {
		return nil, refuse(err)
	}
	if r.Dimensions < 0 || r.Dimensions > m.config.Hidden {
		return nil, refuse(fmt.Errorf("%d dimensions, want 1 to %d", r.Dimensions, m.config.Hidden))
	}
	ids := r.IDs
	if r.Text != "" {
		if ids != nil {
			return nil, refuse(errors.New("got a text and ids, want one"))
		}
		if ids, err = m.Encode(r.Text, true); err != nil {
			return nil, err
		}
	}
	stream, err := m.submit(ctx, engine.Request{IDs: ids, Pooling: pooling, Priority: r.Priority})
	if err != nil {
		return nil, err
	}
	if _, _, err := stream.Next(); err != nil {
		return nil, &Error{Op: "embed", Class: classOf(err), Err: err}
	}
	o := stream.Outcome()
	return &Embedding{Vector: r.finish(o.Vector), PromptTokens: len(ids), ReusedTokens: o.ReusedTokens}, nil
}

// finish cuts and scales a vector.
func (r *EmbedRequest) finish(v []float32) []float32 {
	if r.Dimensions > 0 {
		v = slices.Clone(v[:r.Dimensions])
	}
	if r.Raw {
		return v
	}
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	if sum > 0 {
		for i := range v {
			v[i] = float32(float64(v[i]) / math.Sqrt(sum))
		}
	}
	return v
}

// embeddingConfig is what 1_Pooling/config.json says, the file in which
// sentence-transformers keeps how vectors are made.
type embeddingConfig struct {
	pooling engine.Pooling
	unknown string // a way of pooling that is not supported
}

// choose returns the way of pooling that a request asks for.
func (c embeddingConfig) choose(name string) (engine.Pooling, error) {
	switch name {
	case "mean":
		return engine.MeanPooling, nil
	case "last":
		return engine.LastPooling, nil
	case "":
		if c.unknown != "" {
			return 0, fmt.Errorf("1_Pooling/config.json asks for %s, want pooling_mode_mean_tokens or pooling_mode_lasttoken; the request may name one", c.unknown)
		}
		return c.pooling, nil
	}
	return 0, fmt.Errorf("pooling %q, want mean or last", name)
}

// readEmbedding reads 1_Pooling/config.json, which may be absent.
func readEmbedding(fsys fs.FS) (embeddingConfig, error) {
	c := embeddingConfig{pooling: engine.LastPooling}
	data, err := optional(fsys, "1_Pooling/config.json")
	if err != nil || data == nil {
		return c, err
	}
	var modes map[string]json.RawMessage
	if err := json.Unmarshal(data, &modes); err != nil {
		return c, &Error{Class: ErrInvalid, Err: fmt.Errorf("1_Pooling/config.json: %w", err)}
	}
	for _, mode := range []struct {
		name    string
		pooling engine.Pooling
	}{
		{"pooling_mode_mean_tokens", engine.MeanPooling},
		{"pooling_mode_lasttoken", engine.LastPooling},
		{"pooling_mode_cls_token", engine.NoPooling},
		{"pooling_mode_max_tokens", engine.NoPooling},
		{"pooling_mode_mean_sqrt_len_tokens", engine.NoPooling},
		{"pooling_mode_weightedmean_tokens", engine.NoPooling},
	} {
		if string(modes[mode.name]) != "true" {
			continue
		}
		if mode.pooling == engine.NoPooling {
			c.unknown = mode.name
		} else {
			c.pooling = mode.pooling
		}
	}
	return c, nil
}
