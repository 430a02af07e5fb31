package godwit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"strings"
	"sync"
	"testing"
	"time"
)

// smallConfig is a hybrid with every kind of layer.
var smallConfig = map[string]any{
	"model_type": "nemotron_h", "hybrid_override_pattern": "M*-E", "num_hidden_layers": 4, "vocab_size": 512,
	"hidden_size": 64, "intermediate_size": 128, "mlp_hidden_act": "relu2", "max_position_embeddings": 256,
	"mamba_num_heads": 4, "mamba_head_dim": 16, "n_groups": 2, "ssm_state_size": 16, "conv_kernel": 4,
	"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "layer_norm_epsilon": 1e-5,
	"n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "moe_shared_expert_intermediate_size": 48,
}

// changed returns a config with some fields set; nil takes one out.
func changed(config map[string]any, fields map[string]any) []byte {
	config = maps.Clone(config)
	for name, v := range fields {
		if config[name] = v; v == nil {
			delete(config, name)
		}
	}
	data, err := json.Marshal(config)
	if err != nil {
		panic(err)
	}
	return data
}

func openRandom(t testing.TB, config []byte, opts Options) *Model {
	t.Helper()
	m, err := OpenRandom(config, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// TestOpenRandom: a model of made-up weights generates, the same each time, and
// tells of its making.
func TestOpenRandom(t *testing.T) {
	var last Event
	opts := Options{Device: "cpu", OnEvent: func(e Event) {
		if e.Kind == Progress {
			last = e
		}
	}}
	var texts [2]string
	for i := range texts {
		m := openRandom(t, changed(smallConfig, nil), opts)
		r, err := m.Generate(t.Context(), Request{IDs: []int32{1, 2, 3}, MaxTokens: 20, IgnoreEOS: true, Sampling: greedy})
		if err != nil {
			t.Fatal(err)
		}
		if texts[i] = fmt.Sprint(r.IDs); len(r.IDs) != 20 {
			t.Errorf("got %d tokens, want 20", len(r.IDs))
		}
		if w := m.Plan().Weights; w != 2*m.Parameters() || last.Done != w || last.Total != w {
			t.Errorf("%d parameters in %d bytes, of which %d of %d were reported", m.Parameters(), w, last.Done, last.Total)
		}
		if !strings.HasPrefix(m.Device(), "CPU") || m.WeightSeconds() <= 0 || m.WeightSeconds() > m.LoadSeconds() {
			t.Errorf("on %q, weights in %g of %g s", m.Device(), m.WeightSeconds(), m.LoadSeconds())
		}
	}
	if texts[0] != texts[1] {
		t.Errorf("got %s and %s of the same model", texts[0], texts[1])
	}
}

// TestOpenRandomRefuses names the field, or what is missing of the memory.
func TestOpenRandomRefuses(t *testing.T) {
	for _, c := range []struct {
		fields map[string]any
		opts   Options
		class  error
		want   string
	}{
		{map[string]any{"hidden_size": nil}, Options{}, ErrInvalid, "open random model: config.json: hidden_size is missing"},
		{map[string]any{"model_type": "gpt2"}, Options{}, ErrUnsupported, `config.json: model_type is "gpt2", want one of `},
		{map[string]any{"torch_dtype": "float8"}, Options{}, ErrUnsupported, `torch_dtype is "float8", want bfloat16, float16 or float32`},
		{map[string]any{"vocab_size": 1 << 26, "hidden_size": 1 << 16}, Options{}, ErrOutOfMemory, "not enough memory: the weights need 17592."},
		{nil, Options{Device: "tpu"}, ErrRequest, `device "tpu", want auto`},
	} {
		c.opts.Memory = 0.5
		_, err := OpenRandom(changed(smallConfig, c.fields), c.opts)
		if !errors.Is(err, c.class) || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%v: got %v, want %q", c.fields, err, c.want)
		}
	}
}

// TestStepTraffic: the parts of a step grow as they must.
func TestStepTraffic(t *testing.T) {
	m := openRandom(t, changed(smallConfig, nil), Options{Device: "cpu"})
	one, four := m.StepTraffic(1, 100), m.StepTraffic(4, 100)
	const position, state = 2 * 2 * 16 * 4, 2 * 4 * 64 * 16
	if one.Cache != 100*position || four.Cache != 400*position || one.State != state || four.State != 4*state {
		t.Errorf("got %+v and %+v, want a cache of %d a position and a state of %d", one, four, position, state)
	}
	experts := 8 * 2 * 32 * 64 * 2 * (1 - math.Pow(0.75, 4) - 0.25) // that four tokens choose and one does not
	if got, want := float64(four.Weights-one.Weights), experts+3*64*2; math.Abs(got-want) > 2 {
		t.Errorf("four tokens read %.0f bytes of weights more than one, want %.0f", got, want)
	}
	if one.Total() != one.Weights+one.Cache+one.State {
		t.Errorf("got %+v, in all %d", one, one.Total())
	}
	if a, b := m.PromptOperations(10), m.PromptOperations(20); !(a > 0 && b > 1.9*a && b < 2.2*a) {
		t.Errorf("got %g operations for 10 tokens, %g for 20", a, b)
	}
}

// TestMeasureRates tests the CPU while requests come and go.
func TestMeasureRates(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 0.5 GB of memory")
	}
	m := openRandom(t, changed(smallConfig, nil), Options{Device: "cpu"})
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := m.Generate(t.Context(), Request{IDs: []int32{1}, MaxTokens: 50, IgnoreEOS: true}); err != nil {
			t.Error(err)
		}
	})
	r, err := m.MeasureRates(t.Context())
	if err != nil || !(r.Read > 1e8) || !(r.Product > 1e8) || !strings.HasPrefix(r.ProductBy, "own product") {
		t.Errorf("got %+v (%v)", r, err)
	}
	all.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.MeasureRates(ctx); !errors.Is(err, ErrCancelled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
	m.Close()
	if _, err := m.MeasureRates(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want that it is closed", err)
	}
}

// TestStartTogether: requests share all their steps, or none begins.
func TestStartTogether(t *testing.T) {
	m := openRandom(t, changed(smallConfig, nil), Options{Device: "cpu"})
	requests := make([]Request, 4)
	for i := range requests {
		requests[i] = Request{IDs: []int32{int32(i)}, MaxTokens: 5, IgnoreEOS: true, Sampling: greedy}
	}
	all, err := m.StartTogether(t.Context(), requests)
	if err != nil {
		t.Fatal(err)
	}
	var times [5][]time.Time
	for _, g := range all {
		n := 0
		for token := range g.Tokens() {
			times[n] = append(times[n], token.Time)
			n++
		}
	}
	for step, of := range times {
		if len(of) != 4 || of[0] != of[1] || of[0] != of[2] || of[0] != of[3] {
			t.Errorf("step %d made tokens at %v, want four at one time", step, of)
		}
	}
	requests[3].IDs = []int32{-1}
	if _, err := m.StartTogether(t.Context(), requests); !errors.Is(err, ErrRequest) {
		t.Errorf("got %v, want that a request is refused", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.StartTogether(ctx, requests[:3]); err != nil && !errors.Is(err, ErrCancelled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
	m.Close()
	if _, err := m.StartTogether(t.Context(), requests[:3]); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want that it is closed", err)
	}
}

// TestWatchMemory sees what is allocated while it looks.
func TestWatchMemory(t *testing.T) {
	m := openBuiltin(t, Options{Device: "cpu"})
	stop, err := m.WatchMemory(time.Millisecond)
	if errors.Is(err, ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Generate(t.Context(), Request{Prompt: "Once", MaxTokens: 30}); err != nil {
		t.Fatal(err)
	}
	use := stop()
	if use.Samples < 2 || use.Peak < m.Plan().Weights || use.Mean > use.Peak || use.Mean <= 0 || use.Of != "this process" {
		t.Errorf("got %+v, want more than the %d bytes of weights", use, m.Plan().Weights)
	}
}
