package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/godwit-llm/godwit/internal/draft"
	"github.com/godwit-llm/godwit/internal/model"
	"github.com/godwit-llm/godwit/internal/ops"
)

// tinyDense and tinyHybrid are the smallest models that have everything.
func tinyDense(change map[string]any) map[string]any {
	return with(map[string]any{
		"model_type": "llama", "torch_dtype": "float32", "vocab_size": 24, "hidden_size": 8, "intermediate_size": 12,
		"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 128,
	}, change)
}

func tinyHybrid(pattern string) map[string]any {
	return map[string]any{
		"model_type": "nemotron_h", "torch_dtype": "float32", "hybrid_override_pattern": pattern, "num_hidden_layers": len(pattern),
		"vocab_size": 24, "hidden_size": 8, "intermediate_size": 12, "mlp_hidden_act": "relu2",
		"mamba_num_heads": 2, "mamba_head_dim": 4, "n_groups": 1, "ssm_state_size": 4, "conv_kernel": 4,
		"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4, "max_position_embeddings": 128,
		"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 6, "moe_shared_expert_intermediate_size": 6,
	}
}

func with(config, change map[string]any) map[string]any {
	for k, v := range change {
		config[k] = v
	}
	return config
}

var tinyModels = map[string]map[string]any{
	"dense":  tinyDense(nil),
	"window": tinyDense(map[string]any{"model_type": "mistral", "sliding_window": 7}),
	"hybrid": tinyHybrid("M*-M"),
	"mamba":  tinyHybrid("MM"),
	"moe":    tinyHybrid("ME*"),
}

// tiny is a model of random weights.
type tiny struct {
	*model.Definition
	cache ops.CacheFormat
}

func newTiny(t testing.TB, config map[string]any) tiny {
	t.Helper()
	data, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	d, err := model.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return tiny{Definition: d}
}

// start runs an engine on the model.
func (m tiny) start(t testing.TB, limits model.Limits, change func(*Loaded)) *Engine {
	t.Helper()
	weights, err := m.Random(3)
	if err != nil {
		t.Fatal(err)
	}
	limits.Cache = m.cache
	e, err := Start(func() (Loaded, error) {
		cpu := ops.NewCPU(1)
		loaded, err := m.Load(weights, cpu, limits)
		l := Loaded{Model: loaded, Backend: cpu, Context: 100}
		if change != nil {
			change(&l)
		}
		return l, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// result is everything that a request yields.
type result struct {
	tokens []Token
	vector []float32
}

// alone returns what each request yields when nothing else runs and nothing is
// kept.
func (m tiny) alone(t testing.TB, requests []Request) []result {
	t.Helper()
	e := m.start(t, model.Limits{Tokens: 128, Outputs: 128, Sequences: 1, Pages: 16, PageSize: 8}, func(l *Loaded) { l.NoPrefixes = true })
	defer e.Close()
	var all []result
	for _, r := range requests {
		all = append(all, answer(t, e, r))
	}
	return all
}

// answer sends a request and reads all that comes of it.
func answer(t testing.TB, e *Engine, r Request) result {
	t.Helper()
	s, err := e.Submit(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	out, err := gather(s, -1)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// gather reads a stream to its end, or cancels it after some tokens. It leaves
// out their times.
func gather(s *Stream, after int) (result, error) {
	var out result
	for {
		if len(out.tokens) == after {
			s.Cancel()
		}
		token, ok, err := s.Next()
		if !ok {
			out.vector = s.Outcome().Vector
			return out, err
		}
		token.Time = time.Time{}
		out.tokens = append(out.tokens, token)
	}
}

// mostTiny is the most ids of prompt and output.
const mostTiny = 70

// traffic makes requests that share beginnings: several system prompts, with
// questions; conversations that go on; and all else that can be asked for.
func (m tiny) traffic(t testing.TB, rng *rand.Rand, n int) ([]Request, []result) {
	t.Helper()
	var requests []Request
	var results []result
	stems := [][]int32{randomTiny(rng, 30), randomTiny(rng, 17), randomTiny(rng, 5)}
	for i := range n {
		stem := stems[rng.IntN(len(stems))]
		r := Request{IDs: append(slices.Clone(stem), randomTiny(rng, 1+rng.IntN(12))...)}
		r.MaxTokens = 1 + rng.IntN(min(20, mostTiny-len(r.IDs)))
		if rng.IntN(2) == 0 {
			r.Sampling = Sampling{Temperature: 1, TopP: 0.9, Seed: uint64(i), RepetitionPenalty: 1.2, FrequencyPenalty: 0.1}
		}
		if rng.IntN(3) == 0 {
			r.Top = 3
		}
		if rng.IntN(5) == 0 {
			r.Sampling.Bias = map[int32]float32{int32(i % 24): 1}
		}
		switch rng.IntN(8) {
		case 0:
			r.Score, r.Top = true, 2
		case 1:
			r.Pooling = MeanPooling
		case 2:
			r.Pooling = LastPooling
		case 3:
			r.Stop = []int32{int32(rng.IntN(24))}
		}
		if rng.IntN(2) == 0 {
			r.Marks = []int{len(stem)}
		}
		requests = append(requests, r)
		results = append(results, m.alone(t, []Request{r})...)
		if len(r.IDs) < 25 && r.generates() { // somebody goes on from here
			turn := slices.Clone(r.IDs)
			for _, token := range results[i].tokens {
				turn = append(turn, token.ID)
			}
			stems[rng.IntN(len(stems))] = turn
		}
	}
	return requests, results
}

func randomTiny(rng *rand.Rand, n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(rng.IntN(24))
	}
	return out
}

// randomEngine starts an engine of random sizes that holds one sequence at
// least.
func (m tiny) randomEngine(t testing.TB, rng *rand.Rand) *Engine {
	l := model.Limits{
		Tokens: 1 + rng.IntN(40), Outputs: 1 + rng.IntN(20), Sequences: 1 + rng.IntN(6), PageSize: 1 + rng.IntN(12),
		Snapshots: rng.IntN(8), HostSnapshots: rng.IntN(4), Spares: rng.IntN(4),
	}
	l.Pages = (mostTiny + l.PageSize - 1) / l.PageSize // as few as the longest request needs
	if rng.IntN(2) == 0 {
		l.Pages += rng.IntN(200/l.PageSize + 1)
	}
	return m.start(t, l, func(loaded *Loaded) {
		loaded.Context, loaded.Budget, loaded.Spacing = mostTiny, rng.IntN(20), 1+rng.IntN(20)
		loaded.NoPrefixes = rng.IntN(6) == 0
		loaded.Ahead, loaded.hopeful = rng.IntN(3) > 0, hoper(rng.Uint64())
		loaded.Speculate, loaded.lengths = rng.IntN(4) > 0, chooser(rng.Uint64())
	})
}

// hoper has steps wait for drafts now and then.
func hoper(seed uint64) func(int, draft.Draft) bool {
	rng := rand.New(rand.NewPCG(seed, 2))
	return func(int, draft.Draft) bool { return rng.IntN(3) == 0 }
}

// chooser has parts of drafts verified that do not depend on what is likely.
func chooser(seed uint64) func(int, int, []draft.Draft) []int {
	rng := rand.New(rand.NewPCG(seed, 1))
	return func(_, _ int, drafts []draft.Draft) []int {
		out := make([]int, len(drafts))
		for i, d := range drafts {
			out[i] = rng.IntN(len(d.IDs) + 1)
		}
		return out
	}
}

// schedule sends some of the requests to an engine, at random moments, and
// compares what they yield.
func (m tiny) schedule(t testing.TB, rng *rand.Rand, requests []Request, want []result) *Engine {
	e := m.randomEngine(t, rng)
	type running struct {
		which, after int
		stream       *Stream
	}
	var open []running
	finish := func(i int) error {
		r := open[i]
		open = slices.Delete(open, i, i+1)
		got, err := gather(r.stream, r.after)
		if errors.Is(err, ErrCancelled) && r.after >= 0 {
			err = nil
			want := want[r.which].tokens
			if len(got.tokens) > len(want) || !reflect.DeepEqual(got.tokens, want[:len(got.tokens):len(got.tokens)]) && len(got.tokens) > 0 {
				err = fmt.Errorf("request %d, cancelled: got %v, want the beginning of %v", r.which, got.tokens, want)
			}
			return err
		}
		if err == nil && !reflect.DeepEqual(got, want[r.which]) {
			err = fmt.Errorf("request %d: got %v, want %v", r.which, got, want[r.which])
		}
		return err
	}
	pinned := ""
	for range 3 + rng.IntN(10) {
		which := rng.IntN(len(requests))
		r := requests[which]
		r.Priority = rng.IntN(2)
		after := -1
		if rng.IntN(6) == 0 {
			after = rng.IntN(4)
		}
		s, err := e.Submit(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, running{which, after, s})
		if rng.IntN(10) == 0 && !e.NoPrefixes {
			pinned = m.pin(t, e, rng, pinned, r.IDs)
		}
		for rng.IntN(2) == 0 && len(open) > 0 {
			if err := finish(rng.IntN(len(open))); err != nil {
				t.Fatal(err)
			}
		}
	}
	for len(open) > 0 {
		if err := finish(0); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// pin pins a prefix in the place of another one, where there is room.
func (m tiny) pin(t testing.TB, e *Engine, rng *rand.Rand, old string, ids []int32) string {
	if old != "" {
		if err := e.Unpin(old); err != nil {
			t.Fatal(err)
		}
	}
	name := fmt.Sprint(rng.Uint64())
	s, err := e.Submit(context.Background(), Request{IDs: ids, Pin: name})
	if errors.Is(err, ErrRequest) {
		return "" // no room
	}
	if err != nil {
		t.Fatal(err)
	}
	if rng.IntN(2) == 0 {
		if _, err := gather(s, -1); err != nil {
			t.Fatal(err)
		}
	}
	return name
}

// TestSchedules: whatever the schedule – arrivals, lengths, cancellations,
// preemptions, shared prefixes, sizes of steps and pages, priorities – each
// request yields, to the last bit, what it yields alone.
func TestSchedules(t *testing.T) {
	schedules := 500 // of each model
	if testing.Short() {
		schedules = 60
	}
	formats := map[string]ops.CacheFormat{"dense": ops.Plain, "window": ops.INT8, "hybrid": ops.FP8, "moe": ops.INT8}
	for name, config := range tinyModels {
		t.Run(name, func(t *testing.T) {
			m := newTiny(t, config)
			m.cache = formats[name]
			rng := rand.New(rand.NewPCG(11, uint64(len(name))))
			requests, want := m.traffic(t, rng, 40)
			preempted, reused, saved := uint64(0), uint64(0), 0
			drafted, accepted, ahead := uint64(0), uint64(0), uint64(0)
			for range schedules {
				e := m.schedule(t, rng, requests, want)
				e.Close()
				if e.fault != nil {
					t.Fatal(e.fault)
				}
				if u := e.schedule.Usage(); u.FreeSlots != u.Slots && len(e.pins.named) == 0 {
					t.Fatalf("after all requests: %+v, want nothing held", u)
				}
				if err := e.schedule.Check(); err != nil {
					t.Fatal(err)
				}
				got := e.Metrics()
				preempted, reused, saved = preempted+got.Preempted, reused+got.ReusedTokens, saved+got.Snapshots
				drafted, accepted = drafted+got.DraftedTokens, accepted+got.AcceptedTokens
				ahead += got.Ahead
			}
			t.Logf("%d schedules: %d preemptions, %d tokens reused, %d snapshots, %d tokens drafted and %d accepted, %d steps ahead", schedules, preempted, reused, saved, drafted, accepted, ahead)
			if preempted == 0 || reused == 0 || ahead == 0 || accepted == 0 || drafted == accepted {
				t.Errorf("got %d preemptions, %d tokens reused, %d drafted and %d accepted: the schedules mean nothing", preempted, reused, drafted, accepted)
			}
		})
	}
}
