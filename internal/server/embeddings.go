package server

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"math"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/errgroup"

	"github.com/godwit-llm/godwit"
)

// embeddingRequest is the body of POST /v1/embeddings.
type embeddingRequest struct {
	commonFields
	Input          prompts `json:"input"`
	EncodingFormat string  `json:"encoding_format,omitzero" doc:"How the vectors are written; base64 holds little-endian float32." enum:"float,base64"`
	Dimensions     *int    `json:"dimensions,omitzero" doc:"Keep the first ones only, of models that were trained for it." minimum:"1"`
	Pooling        string  `json:"pooling,omitzero" doc:"How the tokens' states become one vector; absent for what the checkpoint says." enum:"mean,last"`
	Normalize      *bool   `json:"normalize,omitzero" doc:"Scale the vectors to length 1; absent means true."`
}

// embeddingList is the answer.
type embeddingList struct {
	Object string         `json:"object" enum:"list"`
	Data   []embedding    `json:"data"`
	Model  string         `json:"model"`
	Usage  embeddingUsage `json:"usage"`
}

type embedding struct {
	Object    string `json:"object" enum:"embedding"`
	Index     int    `json:"index"`
	Embedding vector `json:"embedding"`
}

type embeddingUsage struct {
	PromptTokens int `json:"prompt_tokens"`
	TotalTokens  int `json:"total_tokens"`
}

// vector is a list of numbers, or their bytes as text.
type vector struct {
	values []float32
	packed bool
}

// MarshalJSONTo writes either form.
func (v vector) MarshalJSONTo(e *jsontext.Encoder) error {
	if !v.packed {
		return json.MarshalEncode(e, v.values)
	}
	data := make([]byte, 0, 4*len(v.values))
	for _, x := range v.values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(x))
	}
	return e.WriteToken(jsontext.String(base64.StdEncoding.EncodeToString(data)))
}

func (vector) schema(*document) schema {
	return anyOf(schema{"type": "array", "items": schema{"type": "number"}}, schema{"type": "string", "contentEncoding": "base64"})
}

func (s *Server) embed(x *exchange, m *godwit.Model) error {
	var body embeddingRequest
	if err := s.readBody(x, x.request, &body); err != nil {
		return err
	}
	name, err := s.modelName(body.Model)
	if err != nil {
		return err
	}
	requests, err := body.requests(s.opts.MaxInputs)
	if err != nil {
		return err
	}
	vectors, err := embedAll(x.ctx, m, requests)
	if err != nil {
		return err
	}
	out := embeddingList{Object: "list", Model: name}
	for i, v := range vectors {
		out.Data = append(out.Data, embedding{Object: "embedding", Index: i, Embedding: vector{v.Vector, body.EncodingFormat == "base64"}})
		out.Usage.PromptTokens += v.PromptTokens
	}
	out.Usage.TotalTokens = out.Usage.PromptTokens
	x.log("prompt_tokens", out.Usage.PromptTokens)
	writeJSON(x, http.StatusOK, out)
	return nil
}

// requests checks the body and returns a request for each input.
func (b *embeddingRequest) requests(most int) ([]godwit.EmbedRequest, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	switch n := len(b.Input); {
	case n == 0:
		return nil, invalid("input", "input is missing, want a text or token ids")
	case n > most:
		return nil, invalid("input", "input has %d texts, want at most %d", n, most)
	}
	base := godwit.EmbedRequest{Pooling: b.Pooling, Raw: b.Normalize != nil && !*b.Normalize}
	if b.Dimensions != nil {
		if base.Dimensions = *b.Dimensions; base.Dimensions < 1 {
			return nil, invalid("dimensions", "dimensions is %d, want at least 1", base.Dimensions)
		}
	}
	list := make([]godwit.EmbedRequest, len(b.Input))
	for i, in := range b.Input {
		if in.text == "" && len(in.ids) == 0 {
			return nil, invalid("input", "input %d is empty", i)
		}
		list[i] = base
		list[i].Text, list[i].IDs = in.text, in.ids
	}
	return list, nil
}

func (b *embeddingRequest) check() error {
	switch b.EncodingFormat {
	case "", "float", "base64":
		return b.commonFields.check()
	}
	return invalid("encoding_format", "encoding_format is %q, want float or base64", b.EncodingFormat)
}

// embedAll computes the vectors side by side, so that they share steps.
func embedAll(ctx context.Context, m *godwit.Model, requests []godwit.EmbedRequest) ([]*godwit.Embedding, error) {
	out := make([]*godwit.Embedding, len(requests))
	all, ctx := errgroup.WithContext(ctx)
	for i, r := range requests {
		all.Go(func() (err error) {
			out[i], err = m.Embed(ctx, r)
			return err
		})
	}
	return out, all.Wait()
}
