package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/godwit-llm/godwit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tiny is a hybrid with every kind of layer.
const tiny = `{"model_type": "nemotron_h", "hybrid_override_pattern": "M*-E", "vocab_size": 512,
	"hidden_size": 64, "intermediate_size": 128, "max_position_embeddings": 256,
	"mamba_num_heads": 4, "mamba_head_dim": 16, "n_groups": 2, "ssm_state_size": 16, "conv_kernel": 4,
	"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
	"n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "moe_shared_expert_intermediate_size": 48}`

func open(t *testing.T, opts godwit.Options) *godwit.Model {
	t.Helper()
	opts.Device = "cpu"
	m, err := godwit.OpenRandom([]byte(tiny), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// rates is a device that reads faster the second time.
func rates() func(context.Context) (godwit.Rates, error) {
	calls := 0
	return func(context.Context) (godwit.Rates, error) {
		calls++
		return godwit.Rates{Read: 1e9 * float64(calls), Product: 3e9 / float64(calls), ProductBy: "nobody"}, nil
	}
}

// TestRun measures a small model: figures that follow from each other do.
func TestRun(t *testing.T) {
	var done []int
	o := Options{Prompt: 20, Decode: 30, Batches: []int{1, 4}, Repeat: 3, rates: rates(), Progress: func(n, total int) {
		if done = append(done, n); total != 8 {
			t.Errorf("got a total of %d, want 8", total)
		}
	}}
	m := open(t, o.Model())
	r, err := Run(t.Context(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Complete || len(r.Batches) != 2 || !slices.Equal(done, []int{1, 2, 3, 4, 5, 6, 7, 8}) {
		t.Fatalf("got %+v after runs %v", r, done)
	}
	if r.ReadRate != 2e9 || r.ProductRate != 3e9 || r.ProductBy != "nobody" {
		t.Errorf("got rates of %g and %g by %s, want the best", r.ReadRate, r.ProductRate, r.ProductBy)
	}
	for i, b := range r.Batches {
		n := float64(o.Batches[i])
		if b.Requests != o.Batches[i] || b.Context < 21 || b.Context > 50 {
			t.Errorf("batch %d: a context of %g, want one between 21 and 50", b.Requests, b.Context)
		}
		for _, s := range []Spread{b.FirstToken, b.LastFirstToken, b.PromptRate, b.DecodeRate} {
			if !(s.Least > 0 && s.Least <= s.Median && s.Median <= s.Most) {
				t.Errorf("batch %d: got a spread of %+v", b.Requests, s)
			}
		}
		near(t, "step", b.Step, n/b.DecodeRate.Median)
		near(t, "bytes", b.ByteRate*b.Step, float64(m.StepTraffic(b.Requests, b.Context).Total()))
		near(t, "share", b.FloorShare, b.ByteRate/r.ReadRate)
		near(t, "prompt", b.PromptOperations, n*m.PromptOperations(20))
		if b.PromptFloor < b.PromptOperations/r.ProductRate || b.PromptFloor < float64(b.PromptBytes)/r.ReadRate {
			t.Errorf("batch %d: a prompt floor of %g s is below one of its parts", b.Requests, b.PromptFloor)
		}
	}
	if r.Memory.Of != "" && (r.Memory.Peak < r.WeightBytes || r.Memory.Mean > r.Memory.Peak) || r.Memory.Planned <= r.WeightBytes {
		t.Errorf("got memory %+v", r.Memory)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

func near(t *testing.T, name string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 1e-6*want) {
		t.Errorf("%s: got %g, want %g", name, got, want)
	}
}

// TestRunWithoutFloors measures what can be measured where there is no room for
// the tests of the device.
func TestRunWithoutFloors(t *testing.T) {
	full := fmt.Errorf("%w: full", godwit.ErrOutOfMemory)
	o := Options{Prompt: 5, Decode: 8, Batches: []int{1}, Repeat: 1}
	o.rates = func(context.Context) (godwit.Rates, error) { return godwit.Rates{}, full }
	r, err := Run(t.Context(), open(t, o.Model()), o)
	if err != nil || !r.Complete || !slices.Equal(r.Notes, []string{"no floors: not enough memory: full"}) {
		t.Fatalf("got %+v (%v), want a note", r, err)
	}
	if b := r.Batches[0]; b.FloorRate != 0 || b.FloorShare != 0 || b.PromptFloor != 0 || b.ByteRate <= 0 {
		t.Errorf("got %+v, want no floor", b)
	}
}

// TestRunMeasures takes the device's own rates.
func TestRunMeasures(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 0.5 GB of memory")
	}
	o := Options{Prompt: 5, Decode: 8, Batches: []int{1}, Repeat: 1}
	if r, err := Run(t.Context(), open(t, o.Model()), o); err != nil || r.ReadRate <= 0 || r.Batches[0].FloorShare <= 0 {
		t.Errorf("got %+v (%v), want rates", r, err)
	}
}

// TestRunCancelled keeps the batches that were measured before.
func TestRunCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := Options{Prompt: 5, Decode: 8, Batches: []int{2, 3}, Repeat: 2, rates: rates(), Progress: func(n, _ int) {
		if n == 4 {
			cancel()
		}
	}}
	r, err := Run(ctx, open(t, o.Model()), o)
	if !errors.Is(err, godwit.ErrCancelled) || r == nil || len(r.Batches) != 1 || r.Complete {
		t.Errorf("got %+v (%v), want one batch and that it was cancelled", r, err)
	}
}

// TestRunRefuses what the model has no room for.
func TestRunRefuses(t *testing.T) {
	m := open(t, godwit.Options{Context: 40, MaxSequences: 2})
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Prompt: 30, Decode: 20, Batches: []int{1}, Repeat: 1}, "requests of 30 + 20 tokens need a context of 50, the model was opened with 40"},
		{Options{Prompt: 5, Decode: 5, Batches: []int{1, 3}, Repeat: 1}, "a batch is 3, the model was opened for 2 sequences"},
		{Options{Prompt: 5, Decode: 5, Batches: nil, Repeat: 1}, "there is no batch"},
	} {
		if _, err := Run(t.Context(), m, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

// TestCheck refuses what has no meaning.
func TestCheck(t *testing.T) {
	good := Options{Prompt: 1, Decode: 4, Batches: []int{1}, Repeat: 1}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for want, edit := range map[string]func(*Options){
		"the prompt has 0 tokens":                  func(o *Options) { o.Prompt = 0 },
		"3 new tokens are to be decoded":           func(o *Options) { o.Decode = 3 },
		"a batch is 0, want 1 to 65536":            func(o *Options) { o.Batches = []int{4, 0} },
		"a batch is -1":                            func(o *Options) { o.Batches = []int{-1} },
		"batch 4 is there twice":                   func(o *Options) { o.Batches = []int{4, 1, 4} },
		"there is no batch":                        func(o *Options) { o.Batches = nil },
		"the number of runs is 0, want 1 to 1000":  func(o *Options) { o.Repeat = 0 },
		"the number of runs is 1001, want 1 to 10": func(o *Options) { o.Repeat = 1001 },
	} {
		o := good
		edit(&o)
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestPromptsAreNew: no prompt begins as another does.
func TestPromptsAreNew(t *testing.T) {
	r := runner{m: open(t, godwit.Options{}), o: Options{Prompt: 12}}
	seen := map[string]bool{}
	for r.done = range 20 {
		for _, n := range []int{1, 3} {
			for _, ids := range r.prompts(n) {
				seen[fmt.Sprint(ids[:6])] = true
			}
		}
	}
	if len(seen) != 80 {
		t.Errorf("got %d beginnings of 80 prompts", len(seen))
	}
}

// traceOf has arrivals at milliseconds after a start.
func traceOf(start int, at ...int) trace {
	origin := time.Unix(1000, 0)
	t := trace{start: origin.Add(time.Duration(start) * time.Millisecond)}
	for _, ms := range at {
		t.tokens = append(t.tokens, origin.Add(time.Duration(ms)*time.Millisecond))
	}
	return t
}

// TestSampleOf works figures out by hand.
func TestSampleOf(t *testing.T) {
	for _, c := range []struct {
		name   string
		traces []trace
		want   sample
	}{
		{"one", []trace{traceOf(0, 10, 20, 30, 40)}, sample{first: 0.01, last: 0.01, prompt: 10000, decode: 100, context: 102}},
		{
			// the second one's prompt is read while the first one decodes
			"two",
			[]trace{traceOf(0, 10, 30, 40, 50, 60), traceOf(2, 30, 41, 50, 60, 70)},
			sample{first: 0.019, last: 0.03, prompt: 200 / 0.03, decode: 200, context: 102.5},
		},
	} {
		got, err := sampleOf(c.traces, 100)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for name, v := range map[string][2]float64{
			"first": {got.first, c.want.first}, "last": {got.last, c.want.last}, "prompt": {got.prompt, c.want.prompt},
			"decode": {got.decode, c.want.decode}, "context": {got.context, c.want.context},
		} {
			near(t, c.name+": "+name, v[0], v[1])
		}
	}
}

// TestSampleTooShort says how many tokens would have been enough.
func TestSampleTooShort(t *testing.T) {
	first := traceOf(0, 10, 20, 30, 40)
	for want, second := range map[string]trace{
		"want about 10": traceOf(0, 60, 70, 80, 90), // when the first one would have had six
		"want about 6":  traceOf(0, 30, 40, 50, 60),
		"want about 8":  traceOf(0, 41, 50, 60, 70),
	} {
		_, err := sampleOf([]trace{first, second}, 10)
		if err == nil || !strings.Contains(err.Error(), "a request has its 4 new tokens before all 2 have been decoding for two steps: "+want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   Spread
	}{
		{[]float64{3}, Spread{3, 3, 3}},
		{[]float64{3, 1}, Spread{2, 1, 3}},
		{[]float64{5, 1, 2}, Spread{2, 1, 5}},
		{[]float64{4, 8, 1, 2}, Spread{3, 1, 8}},
	} {
		if got := spread(slices.Clone(c.values)); got != c.want {
			t.Errorf("%v: got %+v, want %+v", c.values, got, c.want)
		}
	}
}

// TestMemory: what is over the plan is known where this process's memory on a
// GPU was looked at.
func TestMemory(t *testing.T) {
	for _, c := range []struct {
		use  godwit.MemoryUse
		over int64
	}{
		{godwit.MemoryUse{Peak: 110, Mean: 105, Own: true}, 10},
		{godwit.MemoryUse{Peak: 90, Mean: 90, Own: true}, 0},
		{godwit.MemoryUse{Peak: 110, Mean: 105}, 0},
	} {
		m := Memory{Planned: 100}
		m.take(c.use)
		if m.Over != c.over || m.Peak != c.use.Peak || m.Mean != c.use.Mean {
			t.Errorf("%+v: got %+v, want %d over the plan", c.use, m, c.over)
		}
	}
}
