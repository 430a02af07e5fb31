package chat

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMessageJSON(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Message
	}{
		{`{"role":"user","content":"Hi"}`, Message{Role: "user", Content: "Hi"}},
		{`{"role":"user","content":[{"type":"text","text":"a"},{"type":"input_text","text":"b"}]}`, Message{Role: "user", Content: "ab"}},
		{`{"role":"assistant","content":[{"type":"refusal","refusal":"no"}]}`, Message{Role: "assistant", Content: "no"}},
		{`{"role":"assistant","content":null,"reasoning":"r"}`, Message{Role: "assistant", Reasoning: "r"}},
		{`{"role":"assistant","reasoning":"r","reasoning_content":"s"}`, Message{Role: "assistant", Reasoning: "s"}},
		{`{"role":"tool","tool_call_id":"1","name":"f","content":"x"}`, Message{Role: "tool", ToolCallID: "1", Name: "f", Content: "x"}},
		{`{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},{"function":{"name":"g","arguments":{"b": [2]}}}]}`, Message{
			Role:      "assistant",
			ToolCalls: []ToolCall{{ID: "1", Name: "f", Arguments: `{"a":1}`}, {Name: "g", Arguments: `{"b": [2]}`}},
		}},
	} {
		var got Message
		if err := json.Unmarshal([]byte(c.in), &got); err != nil || !cmp.Equal(got, c.want) {
			t.Errorf("%s: %v\n%s", c.in, err, cmp.Diff(c.want, got))
		}
		data, err := json.Marshal(got)
		var again Message
		if err != nil || json.Unmarshal(data, &again) != nil || !cmp.Equal(again, got) {
			t.Errorf("%s: written as %s, %v", c.in, data, err)
		}
	}
}

func TestMessageJSONErrors(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`{"content":"Hi"}`, "role is missing"},
		{`{"role":"user","content":5}`, "content must be a string, a list of parts or null"},
		{`{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}`, `content[0] is of type "image_url", want text: the model reads text only`},
		{`{"role":"user","content":[{"type":"text","text":"a"},{"type":"input_audio"}]}`, `content[1] is of type "input_audio", want text: the model reads text only`},
		{`{"role":"assistant","tool_calls":[{"type":"custom"}]}`, `tool call of type "custom", want function`},
		{`{"role":"assistant","tool_calls":[{"function":{}}]}`, "tool call without function.name"},
	} {
		var m Message
		if err := json.Unmarshal([]byte(c.in), &m); err == nil || err.Error() != c.want {
			t.Errorf("%s\n got %v\nwant %s", c.in, err, c.want)
		}
	}
	for _, in := range []string{`{"role":5}`, `{"role":"user","content":["text"]}`, `{"role":"assistant","tool_calls":[5]}`} {
		if err := json.Unmarshal([]byte(in), new(Message)); err == nil {
			t.Errorf("no error for %s", in)
		}
	}
}

func TestToolJSON(t *testing.T) {
	want := Tool{Name: "f", Description: "d <e>", Parameters: json.RawMessage(`{"type":"object"}`), Strict: true}
	for _, in := range []string{
		`{"type":"function","function":{"name":"f","description":"d <e>","parameters":{"type":"object"},"strict":true}}`,
		`{"type":"function","name":"f","description":"d <e>","parameters":{"type":"object"},"strict":true}`,
	} {
		var got Tool
		if err := json.Unmarshal([]byte(in), &got); err != nil || !cmp.Equal(got, want) {
			t.Errorf("%s: %v\n%s", in, err, cmp.Diff(want, got))
		}
	}
	data, err := want.MarshalJSON()
	if got := string(data); err != nil || got != `{"type":"function","function":{"name":"f","description":"d <e>","parameters":{"type":"object"},"strict":true}}` {
		t.Errorf("written as %s, %v", got, err)
	}
	for in, want := range map[string]string{
		`{"type":"web_search"}`:             `tool of type "web_search", want function`,
		`{"type":"function","function":{}}`: "tool without function.name",
	} {
		if err := json.Unmarshal([]byte(in), new(Tool)); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", in, err, want)
		}
	}
}

// TestPrompt renders all that a message can hold.
func TestPrompt(t *testing.T) {
	tmpl, err := Load([]byte(`{"bos_token":"<s>"}`), []byte(`{{ bos_token }}{{ tools | tojson if tools else '' }}{% for m in messages %}{{ '\n' }}{{ m | tojson }}{% endfor %}{{ ' go' if add_generation_prompt }}{{ x }}`))
	if err != nil {
		t.Fatal(err)
	}
	c := Conversation{
		Messages: []Message{
			{Role: "user", Content: "Hi", Name: "ann"},
			{Role: "assistant", Reasoning: "r", ToolCalls: []ToolCall{{ID: "1", Name: "f", Arguments: `{"z": 1.50, "a": [true, null]}`}, {Name: "g"}}},
			{Role: "tool", Content: "x", ToolCallID: "1"},
		},
		Tools: []Tool{{Name: "f", Description: "d", Parameters: json.RawMessage(`{"z": {}, "a": 1}`), Strict: true}, {Name: "g"}},
		Args:  []byte(`{"x": 1}`),
	}
	want := `<s>[{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"z": {}, "a": 1}, "strict": true}}, {"type": "function", "function": {"name": "g"}}]
{"role": "user", "content": "Hi", "name": "ann"}
{"role": "assistant", "content": "", "reasoning_content": "r", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": {"z": 1.5, "a": [true, null]}}}, {"type": "function", "function": {"name": "g", "arguments": {}}}]}
{"role": "tool", "content": "x", "tool_call_id": "1"} go1`
	if p, err := tmpl.Prompt(c); err != nil || p.Text != want {
		t.Errorf("%v\n%s", err, cmp.Diff(want, p.Text))
	}
}

func TestPromptErrors(t *testing.T) {
	tmpl := mustParse(t, plain)
	user := Message{Role: "user", Content: "Hi"}
	for _, c := range []struct {
		in   Conversation
		want string
	}{
		{Conversation{}, "chat: messages is empty"},
		{Conversation{Messages: []Message{user, {Role: "assistant", ToolCalls: []ToolCall{{Name: "f", Arguments: "[1]"}}}}}, `chat: messages[1].tool_calls[0].arguments are "[1]", want a JSON object`},
		{Conversation{Messages: []Message{{Role: "assistant", ToolCalls: []ToolCall{{Name: "f", Arguments: "{"}}}}}, "chat: messages[0].tool_calls[0].arguments: jinja: JSON at offset 1: expected a property name in double quotes"},
		{Conversation{Messages: []Message{user}, Tools: []Tool{{}}}, "chat: tools[0] has no name"},
		{Conversation{Messages: []Message{user}, Tools: []Tool{{Name: "f", Parameters: []byte("7")}}}, `chat: tools[0].parameters are "7", want a JSON object`},
		{Conversation{Messages: []Message{user}, Tools: []Tool{{Name: "f", Parameters: []byte("{")}}}, "chat: tools[0].parameters: jinja: JSON at offset 1: expected a property name in double quotes"},
		{Conversation{Messages: []Message{user}, Args: []byte("[]")}, "chat: chat_template_kwargs must be an object"},
		{Conversation{Messages: []Message{user}, Args: []byte("{")}, "chat: chat_template_kwargs: jinja: JSON at offset 1: expected a property name in double quotes"},
	} {
		if _, err := tmpl.Prompt(c.in); err == nil || err.Error() != c.want {
			t.Errorf("got %v\nwant %s", err, c.want)
		}
	}
}

// TestContinue goes on with the last message, in its reasoning or its content.
func TestContinue(t *testing.T) {
	tmpl := mustParse(t, plain)
	for content, want := range map[string]Start{"Once": InContent, "<think>Once": InReasoning, "<think>Once</think>upon": InContent} {
		p, err := tmpl.Prompt(Conversation{Messages: []Message{{Role: "user", Content: "Hi"}, {Role: "assistant", Content: content}}, Continue: true})
		if err != nil || p.Text != "<user>Hi<assistant>"+content || p.Start != want {
			t.Errorf("%q: got %+v, %v", content, p, err)
		}
	}
}
