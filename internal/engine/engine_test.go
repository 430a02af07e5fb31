package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/godwit-llm/godwit/internal/model"
	"github.com/godwit-llm/godwit/internal/ops"
	"github.com/godwit-llm/godwit/internal/safetensors"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs an engine on a golden checkpoint. Its steps run ahead, though the CPU
// gains nothing from that: nobody should see a difference.
func start(t *testing.T, name string, limits model.Limits, contextSize int) *Engine {
	t.Helper()
	return startOn(t, name, limits, contextSize, func(b ops.Backend) ops.Backend { return b })
}

// startOn puts something between the engine and the CPU.
func startOn(t *testing.T, name string, limits model.Limits, contextSize int, wrap func(ops.Backend) ops.Backend) *Engine {
	t.Helper()
	dir := filepath.Join("../../testdata/goldens", name)
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := model.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	ck, err := safetensors.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	e, err := Start(func() (Loaded, error) {
		cpu := ops.NewCPU(2)
		m, err := d.Load(ck, cpu, limits)
		return Loaded{Model: m, Backend: wrap(cpu), Context: contextSize, Ahead: true}, err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.Close()
		ck.Close()
	})
	return e
}

var (
	roomy = model.Limits{Tokens: 64, Outputs: 64, Sequences: 8, Pages: 128, PageSize: 8}
	tight = model.Limits{Tokens: 7, Outputs: 4, Sequences: 3, Pages: 14, PageSize: 8}
)

// collect reads a stream to its end. It leaves out the tokens' times.
func collect(t *testing.T, s *Stream) ([]Token, error) {
	t.Helper()
	var out []Token
	for {
		token, ok, err := s.Next()
		if !ok {
			return out, err
		}
		token.Time = time.Time{}
		out = append(out, token)
	}
}

func ids(tokens []Token) []int32 {
	var out []int32
	for _, t := range tokens {
		out = append(out, t.ID)
	}
	return out
}

func generate(t *testing.T, e *Engine, r Request) []int32 {
	t.Helper()
	s, err := e.Submit(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := collect(t, s)
	if err != nil {
		t.Fatal(err)
	}
	return ids(tokens)
}

func randomPrompt(rng *rand.Rand, n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(rng.IntN(48))
	}
	return out
}

// TestCompany submits many requests at random moments to an engine with little
// room. Each must get what it gets alone.
func TestCompany(t *testing.T) {
	for _, name := range []string{"nemotron-base", "nemotron-h-moe", "mistral-window"} {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(7, 7))
			alone := start(t, name, roomy, 100)
			together := start(t, name, tight, 100)
			var requests []Request
			var streams []*Stream
			for i := range 24 {
				r := Request{IDs: randomPrompt(rng, 1+rng.IntN(40)), MaxTokens: 1 + rng.IntN(20)}
				if i%3 == 0 {
					r.Sampling = Sampling{Temperature: 1, TopP: 0.9, Seed: uint64(i), RepetitionPenalty: 1.2}
				}
				s, err := together.Submit(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				requests, streams = append(requests, r), append(streams, s)
				if rng.IntN(4) == 0 {
					time.Sleep(time.Millisecond)
				}
			}
			for i, r := range requests {
				tokens, err := collect(t, streams[i])
				if err != nil {
					t.Fatal(err)
				}
				if want := generate(t, alone, r); !slices.Equal(ids(tokens), want) {
					t.Errorf("request %d: got %v in company, %v alone", i, ids(tokens), want)
				}
			}
			together.Close()
			nothingHeld(t, together)
		})
	}
}

// nothingHeld looks for what an engine without requests still holds.
func nothingHeld(t *testing.T, e *Engine) {
	t.Helper()
	if u := e.schedule.Usage(); u.FreePages+u.CachedPages != u.Pages || u.FreeSlots != u.Slots {
		t.Errorf("after all requests: %+v, want nothing held", u)
	}
	if err := e.schedule.Check(); err != nil {
		t.Error(err)
	}
}

func TestStopAndLength(t *testing.T) {
	e := start(t, "llama-base", roomy, 100)
	prompt := []int32{5, 6, 7}
	all := generate(t, e, Request{IDs: prompt, MaxTokens: 10})
	if len(all) != 10 {
		t.Fatalf("got %d tokens, want 10", len(all))
	}
	s, err := e.Submit(t.Context(), Request{IDs: prompt, MaxTokens: 10, Stop: []int32{all[4]}})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := collect(t, s)
	first := slices.Index(all, all[4])
	if err != nil || !slices.Equal(ids(tokens), all[:first]) {
		t.Errorf("got %v (%v), want %v", ids(tokens), err, all[:first])
	}
	if o := s.Outcome(); o.Reason != Stopped || o.StopID != all[4] || o.DecodedTokens != first {
		t.Errorf("got outcome %+v, want stop at %d after %d decoded tokens", o, all[4], first)
	}
}

func TestContextIsTheLimit(t *testing.T) {
	e := start(t, "llama-base", roomy, 12)
	if got := generate(t, e, Request{IDs: randomPrompt(rand.New(rand.NewPCG(1, 1)), 9), MaxTokens: 50}); len(got) != 3 {
		t.Errorf("got %d tokens after a prompt of 9 in a context of 12, want 3", len(got))
	}
	for _, c := range []struct {
		request Request
		want    string
	}{
		{Request{MaxTokens: 1}, "engine: invalid request: the prompt is empty, want at least one token"},
		{Request{IDs: make([]int32, 12), MaxTokens: 1}, "engine: invalid request: the prompt has 12 tokens, want less than the context of 12"},
		{Request{IDs: []int32{1}}, "engine: invalid request: the maximum of new tokens is 0, want at least 1"},
		{Request{IDs: []int32{1, -1}, MaxTokens: 1}, "engine: invalid request: token 1 of the prompt is -1, want an id from 0 to 95"},
		{Request{IDs: []int32{96}, MaxTokens: 1}, "engine: invalid request: token 0 of the prompt is 96, want an id from 0 to 95"},
		{Request{IDs: []int32{1}, MaxTokens: 1, Sampling: Sampling{Bias: map[int32]float32{96: 1}}}, "engine: invalid request: logit bias for id 96, want an id from 0 to 95"},
	} {
		_, err := e.Submit(t.Context(), c.request)
		if err == nil || err.Error() != c.want || !errors.Is(err, ErrRequest) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

func TestCancel(t *testing.T) {
	e := start(t, "nemotron-h-base", model.Limits{Tokens: 16, Outputs: 4, Sequences: 1, Pages: 40000, PageSize: 8}, 300000)
	ctx, cancel := context.WithCancelCause(t.Context())
	running, err := e.Submit(ctx, Request{IDs: []int32{1}, MaxTokens: 290000})
	if err != nil {
		t.Fatal(err)
	}
	waiting, err := e.Submit(t.Context(), Request{IDs: []int32{1}, MaxTokens: 290000})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := running.Next(); !ok || err != nil {
		t.Fatalf("got no first token: %v", err)
	}
	waiting.Cancel()
	if got, err := collect(t, waiting); len(got) != 0 || !errors.Is(err, ErrCancelled) {
		t.Errorf("a queued request: got %d tokens and %v, want none and ErrCancelled", len(got), err)
	}
	because := errors.New("the user went away")
	cancel(because)
	got, err := collect(t, running)
	if !errors.Is(err, ErrCancelled) || !errors.Is(err, because) || running.Outcome().Reason != Cancelled {
		t.Errorf("got %v and reason %s, want ErrCancelled with its cause", err, running.Outcome().Reason)
	}
	t.Logf("%d tokens were kept", len(got)+1)
	if n := len(generate(t, e, Request{IDs: []int32{2}, MaxTokens: 3})); n != 3 {
		t.Errorf("after a cancelled request: got %d tokens, want 3", n)
	}
}

func TestClose(t *testing.T) {
	e := start(t, "llama-base", roomy, 1000)
	s, err := e.Submit(t.Context(), Request{IDs: []int32{1}, MaxTokens: 900})
	if err != nil {
		t.Fatal(err)
	}
	e.Close()
	if _, err := collect(t, s); err != nil && !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	if _, err := e.Submit(t.Context(), Request{IDs: []int32{1}, MaxTokens: 1}); !errors.Is(err, ErrClosed) {
		t.Errorf("submit after close: got %v, want ErrClosed", err)
	}
}

// TestScore cuts a long prompt into steps with few output rows.
func TestScore(t *testing.T) {
	prompt := randomPrompt(rand.New(rand.NewPCG(3, 3)), 50)
	scored := func(l model.Limits) []Token {
		e := start(t, "qwen3-base", l, 100)
		s, err := e.Submit(t.Context(), Request{IDs: prompt, Score: true, Top: 3})
		if err != nil {
			t.Fatal(err)
		}
		tokens, err := collect(t, s)
		if err != nil {
			t.Fatal(err)
		}
		return tokens
	}
	a, b := scored(roomy), scored(tight)
	if len(a) != len(prompt) || len(b) != len(prompt) {
		t.Fatalf("got %d and %d positions, want %d", len(a), len(b), len(prompt))
	}
	for i := range a {
		if a[i].LogProb != b[i].LogProb || !slices.Equal(a[i].TopIDs, b[i].TopIDs) || len(a[i].TopLogs) != 3 {
			t.Errorf("position %d: got %+v in small steps, want %+v", i, b[i], a[i])
		}
		if i+1 < len(prompt) && a[i].ID != prompt[i+1] {
			t.Errorf("position %d: scored id %d, want %d", i, a[i].ID, prompt[i+1])
		}
	}
}

func TestStartFails(t *testing.T) {
	if _, err := Start(func() (Loaded, error) { return Loaded{}, errDevice }); !errors.Is(err, errDevice) {
		t.Errorf("got %v, want the error of loading", err)
	}
}

// failing is a backend whose n-th step fails, as a device does that has fallen
// off the bus.
type failing struct {
	ops.Backend
	left int
}

var errDevice = errors.New("device lost")

func (f *failing) Collect(r []ops.Sampled) error {
	if f.left--; f.left < 0 {
		return errDevice
	}
	return f.Backend.Collect(r)
}

func TestFault(t *testing.T) {
	broken := startOn(t, "llama-base", roomy, 100, func(b ops.Backend) ops.Backend { return &failing{b, 3} })
	s, err := broken.Submit(t.Context(), Request{IDs: []int32{1}, MaxTokens: 50})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := collect(t, s)
	if len(tokens) != 3 || !errors.Is(err, errDevice) {
		t.Errorf("got %d tokens and %v, want 3 and the device's error", len(tokens), err)
	}
	if _, err := broken.Submit(t.Context(), Request{IDs: []int32{1}, MaxTokens: 1}); !errors.Is(err, errDevice) {
		t.Errorf("submit after the fault: got %v, want the device's error", err)
	}
}
