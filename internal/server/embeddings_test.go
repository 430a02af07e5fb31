package server

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/godwit-llm/godwit"
)

// vectors is an answer as a client reads it.
type vectors[V any] struct {
	Data []struct {
		Index     int
		Embedding V
	}
	Usage embeddingUsage
}

// TestEmbeddings: each text gets the model's vector, in either form.
func TestEmbeddings(t *testing.T) {
	ts := startBuiltin(t, Options{})
	doc := compile(ts)
	var got vectors[[]float32]
	ts.call("POST", "/v1/embeddings", `{"input":["The river","A door"]}`, 200, &got)
	for i, text := range []string{"The river", "A door"} {
		want, err := testModel(t).Embed(t.Context(), godwit.EmbedRequest{Text: text})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.Vector, got.Data[i].Embedding); diff != "" || got.Data[i].Index != i {
			t.Errorf("%s: %s", text, diff)
		}
		got.Usage.PromptTokens -= want.PromptTokens
	}
	if got.Usage.PromptTokens != 0 {
		t.Errorf("got %+v tokens too many", got.Usage)
	}
	answer := readAll(t, ts.do("POST", "/v1/embeddings", `{"input":"The river","encoding_format":"base64"}`))
	if err := doc.check("EmbeddingList", answer); err != nil {
		t.Error(err)
	}
	var packed vectors[string]
	ts.call("POST", "/v1/embeddings", `{"input":"The river","encoding_format":"base64"}`, 200, &packed)
	data, err := base64.StdEncoding.DecodeString(packed.Data[0].Embedding)
	if err != nil || len(data) != 4*len(got.Data[0].Embedding) {
		t.Fatalf("got %d bytes and %v", len(data), err)
	}
	for i, want := range got.Data[0].Embedding {
		if x := math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:])); x != want {
			t.Fatalf("number %d: got %g, want %g", i, x, want)
		}
	}
	var short vectors[[]float32]
	ts.call("POST", "/v1/embeddings", `{"input":[[5,6],[7]],"dimensions":8,"pooling":"mean","normalize":false}`, 200, &short)
	if len(short.Data) != 2 || len(short.Data[1].Embedding) != 8 || short.Usage.TotalTokens != 3 {
		t.Errorf("got %+v, want two vectors of 8", short)
	}
}
