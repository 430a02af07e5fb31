package godwit

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
)

// TestEmbed: the mean vector is the mean of the last vectors of all beginnings,
// whatever else is embedded at the same time.
func TestEmbed(t *testing.T) {
	both(t, Options{Device: "cpu", Context: 256}, func(t *testing.T, m *Model) {
		ids := someIDs(m, 3, 40)
		embed := func(ids []int32, pooling string) []float32 {
			e, err := m.Embed(t.Context(), EmbedRequest{IDs: ids, Pooling: pooling, Raw: true})
			if err != nil {
				t.Error(err)
				return nil
			}
			if e.PromptTokens != len(ids) {
				t.Errorf("got %d prompt tokens, want %d", e.PromptTokens, len(ids))
			}
			return e.Vector
		}
		last := make([][]float32, len(ids))
		var mean []float32
		var all sync.WaitGroup
		for i := range ids {
			all.Go(func() { last[i] = embed(ids[:i+1], "last") })
		}
		all.Go(func() { mean = embed(ids, "mean") })
		all.Wait()
		for k := range mean {
			sum := 0.0
			for _, v := range last {
				sum += float64(v[k])
			}
			if got, want := mean[k], float32(sum/float64(len(ids))); got != want {
				t.Fatalf("column %d: got %g, want %g", k, got, want)
			}
		}
		if again := embed(ids, "mean"); !slices.Equal(again, mean) {
			t.Error("the same ids have another vector the second time")
		}
	})
}

func TestEmbedOptions(t *testing.T) {
	m := openBuiltin(t, Options{})
	whole, err := m.Embed(t.Context(), EmbedRequest{Text: "The sea was calm."})
	if err != nil {
		t.Fatal(err)
	}
	short, err := m.Embed(t.Context(), EmbedRequest{Text: "The sea was calm.", Dimensions: 10})
	if err != nil {
		t.Fatal(err)
	}
	if len(whole.Vector) != m.config.Hidden || len(short.Vector) != 10 {
		t.Errorf("got %d and %d dimensions, want %d and 10", len(whole.Vector), len(short.Vector), m.config.Hidden)
	}
	for _, v := range [][]float32{whole.Vector, short.Vector} {
		sum := 0.0
		for _, x := range v {
			sum += float64(x) * float64(x)
		}
		if math.Abs(sum-1) > 1e-5 {
			t.Errorf("got length² %g, want 1", sum)
		}
	}
	for _, c := range []struct {
		request EmbedRequest
		want    string
	}{
		{EmbedRequest{Text: "a", IDs: []int32{1}}, "embed: got a text and ids, want one"},
		{EmbedRequest{Text: "a", Pooling: "max"}, `embed: pooling "max", want mean or last`},
		{EmbedRequest{}, "engine: invalid request: the prompt is empty, want at least one token"},
		{EmbedRequest{Text: "a", Dimensions: -1}, "embed: -1 dimensions, want 1 to 256"},
	} {
		_, err := m.Embed(t.Context(), c.request)
		if err == nil || err.Error() != c.want || !errors.Is(err, ErrRequest) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// TestPooling reads what the checkpoint says.
func TestPooling(t *testing.T) {
	files := fstest.MapFS{}
	for _, name := range []string{"config.json", "model.safetensors", "tokenizer.json"} {
		data, err := os.ReadFile(filepath.Join("testdata/tiny-dense", name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: data}
	}
	vector := func(config, pooling string) ([]float32, error) {
		delete(files, "1_Pooling/config.json")
		if config != "" {
			files["1_Pooling/config.json"] = &fstest.MapFile{Data: []byte(config)}
		}
		m, err := OpenFS(files, Options{Device: "cpu", Context: 64})
		if err != nil {
			return nil, err
		}
		defer m.Close()
		e, err := m.Embed(t.Context(), EmbedRequest{IDs: []int32{1, 2, 3}, Pooling: pooling})
		if err != nil {
			return nil, err
		}
		return e.Vector, nil
	}
	mean, _ := vector("", "mean")
	last, _ := vector("", "last")
	if slices.Equal(mean, last) || mean == nil {
		t.Fatal("mean and last are the same")
	}
	for config, want := range map[string][]float32{
		"":                                    last,
		`{"pooling_mode_mean_tokens": true}`:  mean,
		`{"pooling_mode_lasttoken": true}`:    last,
		`{"pooling_mode_mean_tokens": false}`: last,
	} {
		if got, err := vector(config, ""); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got another vector (%v)", config, err)
		}
	}
	if _, err := vector(`{"pooling_mode_cls_token": true}`, ""); !errors.Is(err, ErrRequest) || !strings.Contains(err.Error(), "pooling_mode_cls_token") {
		t.Errorf("got %v, want ErrRequest and the mode's name", err)
	}
	if _, err := vector(`{`, ""); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "1_Pooling/config.json") {
		t.Errorf("got %v, want ErrInvalid and the file's name", err)
	}
}
