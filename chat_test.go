package godwit

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/godwit-llm/godwit/internal/chat"
)

var weather = Tool{Name: "get_weather", Parameters: json.RawMessage(`{"properties": {"days": {"type": "integer"}}}`)}

// reply feeds the ids of a text to what reads a generation, one by one.
func reply(t *testing.T, m *Model, r Request, start chat.Start, text string) (Message, []Delta) {
	t.Helper()
	g := &Generation{}
	if err := g.read(m, r, start); err != nil {
		t.Fatal(err)
	}
	ids, err := m.Encode(text, false)
	if err != nil {
		t.Fatal(err)
	}
	var all []Delta
	for _, id := range ids {
		piece, stopped := g.text.add(id)
		deltas, end := g.parse(piece, stopped)
		all = append(all, deltas...)
		if end {
			return messageOf(g.reply.Reply()), all
		}
	}
	deltas, _ := g.parse(g.text.flush(), true)
	return messageOf(g.reply.Reply()), append(all, deltas...)
}

// TestReply takes texts apart whose markers are special tokens.
func TestReply(t *testing.T) {
	m := openBuiltin(t, Options{})
	const output = "I think.\n</think>\n\nLook.\n<tool_call>\n<function=get_weather>\n<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=get_weather>\n</function>\n</tool_call>"
	r := Request{Messages: []Message{{Role: "user", Content: "Weather?"}}, Tools: []Tool{weather}, Format: "nemotron3"}
	got, deltas := reply(t, m, r, chat.InReasoning, output)
	ids := clearIDs(&got)
	want := Message{Role: "assistant", Reasoning: "I think.", Content: "Look.", ToolCalls: []ToolCall{{Name: "get_weather", Arguments: `{"days": 3}`}, {Name: "get_weather", Arguments: "{}"}}}
	if !cmp.Equal(got, want) {
		t.Errorf("%s", cmp.Diff(want, got))
	}
	if len(ids) != 2 || ids[0] == ids[1] || !strings.HasPrefix(ids[0], "call_") || len(ids[0]) != len("call_")+24 {
		t.Errorf("ids %q", ids)
	}
	if len(deltas) < 8 || deltas[len(deltas)-1].Kind != CallEnd {
		t.Errorf("deltas %+v", deltas)
	}
	r.OneCall = true
	if got, _ := reply(t, m, r, chat.InReasoning, output); len(got.ToolCalls) != 1 {
		t.Errorf("one call: %+v", got)
	}
	r.OneCall, r.ToolChoice = false, "none"
	if got, _ := reply(t, m, r, chat.InReasoning, output); len(got.ToolCalls) != 0 || !strings.Contains(got.Content, "<tool_call>") {
		t.Errorf("no choice: %+v", got)
	}
	r.ToolChoice, r.LiveCalls = "auto", true
	if got, _ := reply(t, m, r, chat.InReasoning, output[:60]); len(got.ToolCalls) != 1 || !got.ToolCalls[0].Incomplete {
		t.Errorf("cut live: %+v", got)
	}
	r.Format = "plain"
	if got, _ := reply(t, m, r, chat.InReasoning, output); !strings.HasPrefix(got.Content, "I think.\n\n\nLook.\n\n<function=") {
		t.Errorf("plain, without special tokens: %+v", got)
	}
}

func clearIDs(m *Message) (ids []string) {
	for i := range m.ToolCalls {
		ids = append(ids, m.ToolCalls[i].ID)
		m.ToolCalls[i].ID = ""
	}
	return ids
}

// TestGenerateReply runs the model: what it is made to say is taken apart.
func TestGenerateReply(t *testing.T) {
	m := openBuiltin(t, Options{})
	if got := m.Format(); got != "reasoning" {
		t.Errorf("format %s", got)
	}
	end, err := m.Encode("</think>", false)
	if err != nil || len(end) != 1 {
		t.Fatalf("</think> is %v, %v", end, err)
	}
	r := Request{Messages: []Message{{Role: "user", Content: "Hi"}}, MaxTokens: 6, Sampling: greedy}
	plain, err := m.Generate(t.Context(), r)
	if err != nil || plain.Message.Role != "assistant" || strings.TrimSpace(plain.Message.Content) != strings.TrimSpace(plain.Text) || plain.Text == "" {
		t.Errorf("got %+v, %v", plain, err)
	}
	r.Sampling = &Sampling{LogitBias: map[int32]float64{end[0]: 1e4}}
	forced, err := m.Generate(t.Context(), r)
	if want := strings.Repeat("</think>", 6); err != nil || forced.Text != want || forced.Message.Content != want {
		t.Errorf("got %+v, %v: the markers must be in the text", forced, err)
	}
	r.Continue = true
	r.Messages = append(r.Messages, Message{Role: "assistant", Content: "<think>Once"})
	if forced, err = m.Generate(t.Context(), r); err != nil || forced.Message.Content != strings.Repeat("</think>", 5) {
		t.Errorf("got %+v, %v: the first marker ends the reasoning", forced, err)
	}
	prompt := Request{Prompt: "Hi", MaxTokens: 2, Sampling: r.Sampling}
	if got, err := m.Generate(t.Context(), prompt); err != nil || got.Text != "" || got.Message.Role != "" {
		t.Errorf("got %+v, %v: a prompt has no reply", got, err)
	}
}

// TestDeltas adds up the deltas of a stream.
func TestDeltas(t *testing.T) {
	m := openBuiltin(t, Options{})
	g, err := m.Start(t.Context(), Request{Messages: []Message{{Role: "user", Content: "Tell me."}}, MaxTokens: 20, Stop: []string{"zzz"}})
	if err != nil {
		t.Fatal(err)
	}
	content := ""
	for token := range g.Tokens() {
		for _, d := range token.Deltas {
			if d.Kind != ContentText {
				t.Errorf("%+v", d)
			}
			content += d.Text
		}
	}
	if r, err := g.Wait(); err != nil || content == "" || r.Message.Content != content {
		t.Errorf("got %q, want %q, %v", content, r.Message.Content, err)
	}
}

func TestChatRequestErrors(t *testing.T) {
	m := openBuiltin(t, Options{})
	user := []Message{{Role: "user", Content: "Hi"}}
	for _, c := range []struct {
		request Request
		want    string
	}{
		{Request{Messages: user, Format: "xml"}, `generate: chat: format "xml", want nemotron3, hermes, nemotron2, mini, llama3, reasoning, plain`},
		{Request{Messages: user, ToolChoice: "maybe"}, `render: tool choice "maybe" without tools`},
		{Request{Messages: user, Tools: []Tool{{Name: "rain"}}, ToolChoice: "maybe"}, `render: tool choice "maybe", want auto, none, required or the name of a tool`},
		{Request{Messages: user, Tools: []Tool{{}}}, "render: chat: tools[0] has no name"},
		{Request{Messages: user, TemplateArgs: map[string]any{"x": func() {}}}, "render: template arguments: json: unsupported type: func()"},
		{Request{Messages: []Message{}}, "render: chat: messages is empty"},
	} {
		_, err := m.Generate(t.Context(), c.request)
		if !errors.Is(err, ErrRequest) || err.Error() != c.want {
			t.Errorf("got %v\nwant %s", err, c.want)
		}
	}
}

func TestMessageJSON(t *testing.T) {
	const data = `[{"role":"assistant","content":"a <b>","reasoning_content":"r","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"x\": 1.50}"}}]},{"role":"tool","content":"4","tool_call_id":"1","name":"f"}]`
	want := []Message{
		{Role: "assistant", Content: "a <b>", Reasoning: "r", ToolCalls: []ToolCall{{ID: "1", Name: "f", Arguments: `{"x": 1.50}`}}},
		{Role: "tool", Content: "4", ToolCallID: "1", Name: "f"},
	}
	var got []Message
	if err := json.Unmarshal([]byte(data), &got); err != nil || !cmp.Equal(got, want) {
		t.Errorf("%v\n%s", err, cmp.Diff(want, got))
	}
	written, err := json.Marshal(got)
	var again []Message
	if err != nil || json.Unmarshal(written, &again) != nil || !cmp.Equal(again, want) {
		t.Errorf("written as %s, %v", written, err)
	}
	var tools []Tool
	if err := json.Unmarshal([]byte(`[{"type":"function","function":{"name":"f"}}]`), &tools); err != nil || tools[0].Name != "f" {
		t.Errorf("%+v, %v", tools, err)
	}
	if data, err := json.Marshal(tools); err != nil || string(data) != `[{"type":"function","function":{"name":"f"}}]` {
		t.Errorf("written as %s, %v", data, err)
	}
	if err := json.Unmarshal([]byte(`[{"content":""}]`), &got); err == nil || !strings.Contains(err.Error(), "role is missing") {
		t.Errorf("got %v", err)
	}
}
