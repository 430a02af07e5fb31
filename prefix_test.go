package godwit

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/godwit-llm/godwit/internal/builtin"
)

// both runs a test on a dense and on a hybrid model.
func both(t *testing.T, opts Options, run func(t *testing.T, m *Model)) {
	t.Helper()
	t.Run("dense", func(t *testing.T) {
		m, err := Open("testdata/tiny-dense", opts)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		run(t, m)
	})
	t.Run("hybrid", func(t *testing.T) { run(t, openBuiltin(t, opts)) })
}

func someIDs(m *Model, seed uint64, n int) []int32 {
	rng := rand.New(rand.NewPCG(seed, 1))
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(rng.IntN(m.Vocabulary()))
	}
	return ids
}

// run generates greedily and returns the whole result.
func run(t *testing.T, m *Model, r Request) *Result {
	t.Helper()
	r.Sampling, r.IgnoreEOS = greedy, true
	out, err := m.Generate(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestConversation has ten turns. Each computes its new tokens alone: what the
// user added, and the last token of the reply before, which nothing came after.
func TestConversation(t *testing.T) {
	both(t, Options{Device: "cpu", Context: 512, MaxSequences: 2}, func(t *testing.T, m *Model) {
		whole := someIDs(m, 1, 37)
		for turn := range 10 {
			before := m.Metrics()
			r := run(t, m, Request{IDs: whole, MaxTokens: 5 + turn})
			got := m.Metrics()
			computed := int(got.PromptTokens - before.PromptTokens)
			if want := 9; turn > 0 && computed != want || computed+r.Stats.ReusedTokens != len(whole) {
				t.Errorf("turn %d: computed %d of %d tokens and reused %d, want to compute %d", turn, computed, len(whole), r.Stats.ReusedTokens, want)
			}
			whole = append(append(whole, r.IDs...), someIDs(m, uint64(turn)+2, 8)...)
		}
		if p := m.Metrics().Prefixes; p.Hit != 9 || p.Miss != 1 || p.Hit+p.Miss+p.Partial+p.NoSnapshot+p.Evicted+p.TooShort != 10 {
			t.Errorf("got %+v, want 9 hits and a miss", p)
		}
	})
}

// TestConversationText is the same with a chat template, which shows the reply
// otherwise than it was written: without what the model thought. Each turn
// computes what its prompt adds to that of the turn before.
func TestConversationText(t *testing.T) {
	both(t, Options{Device: "cpu", Context: 1024, MaxSequences: 2}, func(t *testing.T, m *Model) {
		if m.template == nil {
			t.Skip("the model has no chat template")
		}
		messages := []Message{{Role: "system", Content: strings.Repeat("You are a bird. ", 12)}}
		other := append(slices.Clone(messages), Message{Role: "user", Content: "Whereto?"})
		var last []int32
		for turn := range 6 {
			messages = append(messages, Message{Role: "user", Content: fmt.Sprintf("Where is nest %d?", turn)})
			r := run(t, m, Request{Messages: messages, MaxTokens: 6})
			shared := 0
			for shared < min(len(last), len(r.PromptIDs)) && last[shared] == r.PromptIDs[shared] {
				shared++
			}
			if got := r.Stats.ReusedTokens; got < shared-1 {
				t.Errorf("turn %d: reused %d tokens of %d, %d of which the turn before had", turn, got, len(r.PromptIDs), shared)
			}
			last = r.PromptIDs
			messages = append(messages, Message{Role: "assistant", Content: "In the reed."})
		}
		if r := run(t, m, Request{Messages: other, MaxTokens: 1}); r.Stats.ReusedTokens < len(r.PromptIDs)*2/3 {
			t.Errorf("another conversation with the same system prompt reused %d of %d tokens", r.Stats.ReusedTokens, len(r.PromptIDs))
		}
	})
}

// thinkingTemplate is a template that asks the model to think, and leaves out of
// earlier turns what it thought.
const thinkingTemplate = `{% for m in messages %}<|{{ m.role }}|>
{{ m.content }}<|end|>
{% endfor %}{% if add_generation_prompt %}<|assistant|>
<think>
{% endif %}`

// TestMarks: where the reply begins otherwise in the next turn's prompt than it
// was asked for, each turn of a hybrid model starts at just that place, and
// another conversation behind the system prompt.
func TestMarks(t *testing.T) {
	files := fstest.MapFS{"chat_template.jinja": &fstest.MapFile{Data: []byte(thinkingTemplate)}}
	for _, name := range []string{"config.json", "model.safetensors", "tokenizer.json"} {
		data, err := fs.ReadFile(builtin.FS(), name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: data}
	}
	m, err := OpenFS(files, Options{Device: "cpu", Context: 1024, MaxSequences: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	messages := []Message{{Role: "system", Content: strings.Repeat("You are a bird. ", 12)}}
	ask := func(messages []Message) *Result { return run(t, m, Request{Messages: messages, MaxTokens: 6}) }
	var last []int32
	for turn := range 4 {
		messages = append(messages, Message{Role: "user", Content: fmt.Sprintf("Where is nest %d?", turn)})
		r := ask(messages)
		shared := 0
		for shared < min(len(last), len(r.PromptIDs)) && last[shared] == r.PromptIDs[shared] {
			shared++
		}
		if got := r.Stats.ReusedTokens; got != shared {
			t.Errorf("turn %d: reused %d tokens, want the %d that the turn before had", turn, got, shared)
		}
		if turn > 0 && (shared == len(last) || shared < len(last)*3/4) {
			t.Errorf("turn %d shares %d tokens with the %d of the turn before: the test means nothing", turn, shared, len(last))
		}
		last = r.PromptIDs
		messages = append(messages, Message{Role: "assistant", Content: "In the reed."})
	}
	r := ask([]Message{messages[0], {Role: "user", Content: "Whereto?"}})
	if got := r.Stats.ReusedTokens; got < len(r.PromptIDs)*2/3 {
		t.Errorf("another conversation with the same system prompt reused %d of %d tokens", got, len(r.PromptIDs))
	}
}

// TestSharedPrefix: the second request with a long prefix takes at most a tenth
// of the first one's time to its first token.
func TestSharedPrefix(t *testing.T) {
	both(t, Options{Device: "cpu", Context: 1200, MaxSequences: 2}, func(t *testing.T, m *Model) {
		const long = 1024
		best := 1.0
		for attempt := range uint64(5) { // the machine may be busy
			prefix := someIDs(m, attempt+50, long)
			first := run(t, m, Request{IDs: append(slices.Clone(prefix), 7, 8, 9), MaxTokens: 1})
			second := run(t, m, Request{IDs: append(slices.Clone(prefix), 10, 11, 12), MaxTokens: 1})
			if got := second.Stats.ReusedTokens; got < long*9/10 {
				t.Fatalf("the second request reused %d tokens of %d", got, long)
			}
			best = min(best, second.Stats.PromptSeconds/first.Stats.PromptSeconds)
			if best <= 0.1 {
				break
			}
		}
		t.Logf("the second request's first token took %.1f %% of the first one's time", 100*best)
		if best > 0.1 {
			t.Errorf("the second request's first token took %.1f %% of the first one's time, want at most 10 %%", 100*best)
		}
	})
}

// TestPin keeps a prefix through a load that evicts everything else.
func TestPin(t *testing.T) {
	both(t, Options{Device: "cpu", Context: 256, MaxSequences: 2}, func(t *testing.T, m *Model) {
		prefix := someIDs(m, 4, 100)
		if err := m.Pin(t.Context(), "handbook", Request{IDs: prefix}); err != nil {
			t.Fatal(err)
		}
		want := []PinnedPrefix{{"handbook", 100, true}}
		if got := m.Pinned(); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		flood := func() {
			for i := range uint64(14) {
				run(t, m, Request{IDs: someIDs(m, 100+i, 200), MaxTokens: 1})
			}
		}
		ask := func() int {
			return run(t, m, Request{IDs: append(slices.Clone(prefix), someIDs(m, 1, 5)...), MaxTokens: 1}).Stats.ReusedTokens
		}
		flood()
		if got := ask(); got != 100 {
			t.Errorf("reused %d tokens of the pinned prefix, want 100", got)
		}
		if err := m.Unpin("handbook"); err != nil {
			t.Fatal(err)
		}
		flood()
		if got := ask(); got == 100 {
			t.Error("the prefix survived although it is not pinned")
		}
		if p := m.Metrics(); p.PinnedPages != 0 || p.Prefixes.Evicted == 0 {
			t.Errorf("got %+v, want no pinned pages and a lookup of what was evicted", p)
		}
	})
}

func TestPinErrors(t *testing.T) {
	m := openBuiltin(t, Options{Context: 256, MaxSequences: 1})
	if err := m.Pin(t.Context(), "a", Request{IDs: someIDs(m, 1, 50)}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"no name", m.Pin(t.Context(), "", Request{IDs: []int32{1}}), "pin: the name is empty"},
		{"twice", m.Pin(t.Context(), "a", Request{IDs: []int32{1}}), `engine: invalid request: prefix "a" is pinned already`},
		{"unknown", m.Unpin("b"), `unpin: engine: invalid request: no prefix "b" is pinned`},
	} {
		if c.err == nil || c.err.Error() != c.want || !errors.Is(c.err, ErrRequest) {
			t.Errorf("%s: got %v, want %s", c.name, c.err, c.want)
		}
	}
	err := error(nil)
	for i := range 20 {
		if err = m.Pin(t.Context(), fmt.Sprint(i), Request{IDs: someIDs(m, uint64(i), 200)}); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrRequest) || !strings.Contains(err.Error(), "is to be pinned, want at most") {
		t.Errorf("too many pins: got %v, want ErrRequest", err)
	}
	if n := len(run(t, m, Request{IDs: someIDs(m, 99, 200), MaxTokens: 56}).IDs); n != 56 {
		t.Errorf("beside all pins: got %d tokens, want 56", n)
	}
	off := openBuiltin(t, Options{NoPrefixCache: true})
	if err := off.Pin(t.Context(), "a", Request{IDs: []int32{1}}); !errors.Is(err, ErrRequest) {
		t.Errorf("without a prefix cache: got %v, want ErrRequest", err)
	}
}
