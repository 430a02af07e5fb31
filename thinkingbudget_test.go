package godwit

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-llm/godwit/internal/chat"
	"github.com/godwit-llm/godwit/internal/tokenizer"
)

// openThinking opens the built-in model with prompts that end in the given
// text, such as <think>.
func openThinking(t *testing.T, prompt string) *Model {
	t.Helper()
	m := openBuiltin(t, Options{Device: "cpu"})
	var err error
	m.template, err = chat.ParseTemplate(`{% for m in messages %}{{ m.content }}{% endfor %}{{ "` + prompt + `" if add_generation_prompt }}`)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// musing is a request in whose reply the model does not close the reasoning
// itself.
func musing(m *Model, tokens int) Request {
	end, _ := m.tokenizer.ID("</think>")
	return Request{
		Messages: []Message{{Role: "user", Content: "Once upon a time"}}, Format: "reasoning", IgnoreEOS: true, MaxTokens: tokens,
		Sampling: &Sampling{LogitBias: map[int32]float64{end: -1000}},
	}
}

// thought returns the number of tokens before the closing text, or -1.
func thought(m *Model, ids []int32) int {
	closing, err := closingIDs(m.tokenizer, m.config.Vocab, m.format())
	for i := range ids {
		if err == nil && len(ids)-i >= len(closing) && slices.Equal(ids[i:i+len(closing)], closing) {
			return i
		}
	}
	return -1
}

// TestThinkingBudget: reasoning has as many tokens as its budget, those that it
// would have without one, and content follows.
func TestThinkingBudget(t *testing.T) {
	m := openThinking(t, "<think>")
	r := musing(m, 40)
	free, err := m.Generate(t.Context(), r)
	if err != nil || free.Message.Content != "" || len(free.IDs) != 40 {
		t.Fatalf("got %+v, %v, want nothing but reasoning", free, err)
	}
	for _, budget := range []int{1, 2, 7, 20} {
		r.ThinkingBudget = budget
		got, err := m.Generate(t.Context(), r)
		if err != nil || len(got.IDs) != 40 || thought(m, got.IDs) != budget || !slices.Equal(got.IDs[:budget], free.IDs[:budget]) {
			t.Fatalf("budget %d: got %v, %v, want %v and the end", budget, got.IDs, err, free.IDs[:budget])
		}
		reasoning, content, _ := strings.Cut(got.Text, "\n</think>\n\n")
		if msg := got.Message; msg.Reasoning != strings.TrimSpace(reasoning) || strings.TrimSpace(msg.Content) != strings.TrimSpace(content) || msg.Content == "" {
			t.Errorf("budget %d: got %+v of %q", budget, msg, got.Text)
		}
	}
	r.ThinkingBudget = 38 // what is left is less than the closing text
	if got, err := m.Generate(t.Context(), r); err != nil || len(got.IDs) != 40 || got.FinishReason != "length" || got.Message.Content != "" {
		t.Errorf("got %+v, %v, want MaxTokens to hold", got, err)
	}
}

// TestThinkingBudgetUnused: where the budget is not reached, or there is no
// reasoning, it changes nothing.
func TestThinkingBudgetUnused(t *testing.T) {
	for _, c := range []struct {
		name, prompt, begun string
		budget              int
	}{
		{"not reached", "<think>", "", 31},
		{"closed by the prompt", "<think></think>", "", 1},
		{"reasoning that does not open", "", "", 1},
		{"closed by the message that goes on", "<think>", "<think>So.</think>Well", 1},
	} {
		m := openThinking(t, c.prompt)
		for seed := range uint64(2) {
			r := musing(m, 30)
			r.Seed, r.Sampling.Temperature = &seed, float64(seed)
			if c.begun != "" {
				r.Messages, r.Continue = append(r.Messages, Message{Role: "assistant", Content: c.begun}), true
			}
			want, err := m.Generate(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			r.ThinkingBudget = c.budget
			if got, err := m.Generate(t.Context(), r); err != nil || !slices.Equal(got.IDs, want.IDs) {
				t.Errorf("%s: got %v, %v, want %v", c.name, got.IDs, err, want.IDs)
			}
		}
	}
}

// TestThinkingBudgetOfOpened: the model opens the reasoning, which does not
// count.
func TestThinkingBudgetOfOpened(t *testing.T) {
	m := openThinking(t, "")
	g, err := m.JSONObject()
	if err != nil {
		t.Fatal(err)
	}
	open, _ := m.tokenizer.ID("<think>")
	r := musing(m, 60)
	r.Grammar, r.ThinkingBudget = g, 5
	r.Sampling.LogitBias[open] = 1000
	got, err := m.Generate(t.Context(), r)
	if err != nil || got.IDs[0] != open || !strings.Contains(got.Text, "\n</think>\n\n{") {
		t.Fatalf("got %q, %v", got.Text, err)
	}
	if n := thought(m, got.IDs); n != 6 {
		t.Errorf("got %d tokens, want <think> and 5", n)
	}
}

// TestThinkingBudgetAndSchema: behind the forced end the grammar holds.
func TestThinkingBudgetAndSchema(t *testing.T) {
	m := openThinking(t, "<think>")
	g, err := m.JSONSchema([]byte(bird))
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(4) {
		r := musing(m, 600)
		r.Grammar, r.ThinkingBudget, r.Seed = g, 1+3*int(seed), &seed
		r.Sampling.Temperature, r.Sampling.TopP = float64(seed), 0.99
		got, err := m.Generate(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		// A token of an incomplete character is waited for.
		if n := thought(m, got.IDs); n < r.ThinkingBudget || n > r.ThinkingBudget+3 || strings.Contains(got.Text, "\ufffd") {
			t.Errorf("seed %d: reasoning has %d tokens, want %d: %q", seed, n, r.ThinkingBudget, got.Text)
		}
		if got.FinishReason != "stop" || !json.Valid([]byte(got.Message.Content)) {
			t.Errorf("seed %d: got %s and %q, want JSON", seed, got.FinishReason, got.Message.Content)
		}
	}
}

// TestThinkingBudgetDeltas: the reasoning comes first, then the content, and
// neither holds the closing text.
func TestThinkingBudgetDeltas(t *testing.T) {
	m := openThinking(t, "<think>")
	r := musing(m, 30)
	r.ThinkingBudget = 8
	run, err := m.Start(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	texts, at, last := map[DeltaKind]string{}, 0, ReasoningText
	for token := range run.Tokens() {
		at++
		for _, d := range token.Deltas {
			if d.Kind < last || (d.Kind == ReasoningText) != (at <= 8) {
				t.Errorf("token %d: got %+v after %v", at, d, last)
			}
			last = d.Kind
			texts[d.Kind] += d.Text
		}
	}
	got, err := run.Wait()
	if err != nil || got.Message.Reasoning != texts[ReasoningText] || got.Message.Content != texts[ContentText] || texts[ContentText] == "" || strings.Contains(texts[ReasoningText]+texts[ContentText], "think>") {
		t.Errorf("got %v and %+v, %v", texts, got, err)
	}
}

// TestThinkingBudgetCharacters: the end is not put into a character.
func TestThinkingBudgetCharacters(t *testing.T) {
	for text, want := range map[string]bool{"": false, "a": false, "é": false, "\xc3": true, "a\xf0\x9f\x90": true, "\xf0\x9f\x90\xa6": false, "\x90\x90": false, "\xff": false} {
		if got := cutsCharacter([]byte(text)); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
	m := openThinking(t, "<think>")
	f, err := chat.FormatByName("reasoning")
	if err != nil {
		t.Fatal(err)
	}
	closing, err := closingIDs(m.tokenizer, m.config.Vocab, f)
	if err != nil {
		t.Fatal(err)
	}
	l := &thinkingLimit{
		tokenizer: m.tokenizer, text: m.tokenizer.NewStream(true),
		budget: chat.NewBudget(f, chat.ParserOptions{Start: chat.InReasoning}, 1), closing: closing,
	}
	ids := m.tokenizer.Encode("🐦", false)
	if len(ids) < 2 {
		t.Fatalf("got %d tokens, want a character of several", len(ids))
	}
	for i, id := range ids {
		if err := l.Accept(id); err != nil || l.forcing != (i == len(ids)-1) {
			t.Errorf("token %d of %d: forcing is %v, %v", i, len(ids), l.forcing, err)
		}
	}
	if err := l.Accept(ids[0]); err == nil || !strings.Contains(err.Error(), "thinking budget: got token") {
		t.Errorf("got %v, want that another token is due", err)
	}
}

// TestThinkingBudgetClosing writes the end of the reasoning with several
// tokenizers.
func TestThinkingBudgetClosing(t *testing.T) {
	const mark = `"added_tokens":[{"id":90,"content":"</think>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],`
	const letters = `"model":{"type":"BPE","merges":[],"vocab":{"Ċ":1,"<":2,"/":3,"t":4,"h":5,"i":6,"n":7,"k":8,">":9,"Ġ":10}}}`
	const metaspace = `"pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":true},` +
		`"decoder":{"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":true},"model":{"type":"BPE","merges":[],"vocab":{"\n":1,"▁":2}}}`
	const bytes = `"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true},"decoder":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true},`
	f, err := chat.FormatByName("reasoning")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, json string
		vocab      int
		want       []int32
	}{
		{"special", `{` + mark + bytes + letters, 100, []int32{1, 90, 1, 1}},
		{"letters", `{` + bytes + letters, 100, []int32{1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 1}},
		{"spaces before each piece", `{` + mark + metaspace, 100, []int32{90}},
		{"beyond the model", `{` + mark + bytes + letters, 90, nil},
		{"no letters", `{` + metaspace, 100, nil},
	} {
		tok, err := tokenizer.Parse([]byte(c.json))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		got, err := closingIDs(tok, c.vocab, f)
		if !slices.Equal(got, c.want) || (err == nil) != (c.want != nil) || err != nil && (!errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), `tokens for "</think>" spell "`)) {
			t.Errorf("%s: got %v, %v, want %v", c.name, got, err, c.want)
		}
	}
}

// TestThinkingBudgetAndCall: a forced call follows the forced end.
func TestThinkingBudgetAndCall(t *testing.T) {
	m := openThinking(t, "<think>")
	r := musing(m, 200)
	r.Format, r.ThinkingBudget = "hermes", 4
	r.Tools, r.ToolChoice = []Tool{{Name: "get_weather", Parameters: json.RawMessage(`{"type":"object","properties":{"days":{"enum":[1,2]}},"required":["days"],"additionalProperties":false}`)}}, "required"
	got, err := m.Generate(t.Context(), r)
	if err != nil || thought(m, got.IDs) != 4 || len(got.Message.ToolCalls) != 1 || got.Message.ToolCalls[0].Name != "get_weather" || got.Message.Reasoning == "" {
		t.Errorf("got %+v, %v, want 4 tokens of reasoning and a call", got, err)
	}
	r.ToolChoice = "" // and one may follow that is not forced
	if got, err = m.Generate(t.Context(), r); err != nil || thought(m, got.IDs) != 4 || got.Message.Content == "" {
		t.Errorf("got %+v, %v, want 4 tokens of reasoning and content", got, err)
	}
}

func TestThinkingBudgetErrors(t *testing.T) {
	m := openBuiltin(t, Options{Device: "cpu"})
	user := []Message{{Role: "user", Content: "Hi"}}
	for _, c := range []struct {
		r    Request
		want string
	}{
		{Request{Messages: user, ThinkingBudget: -1}, "generate: thinking budget is -1, want 0 or more tokens"},
		{Request{Prompt: "Hi", ThinkingBudget: 1}, "got no messages"},
		{Request{Messages: user, ThinkingBudget: 1, Format: "plain"}, `thinking budget: the format "plain" of the model's replies has no reasoning`},
		{Request{Messages: user, ThinkingBudget: 1, Format: "xml"}, `format "xml"`},
	} {
		if _, err := m.Generate(t.Context(), c.r); !errors.Is(err, ErrRequest) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}
