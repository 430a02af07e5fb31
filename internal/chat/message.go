package chat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/godwit-llm/godwit/internal/jinja"
)

// Message is one turn of a conversation.
type Message struct {
	Role       string
	Content    string
	Reasoning  string     // of an assistant's turn
	ToolCalls  []ToolCall // of an assistant's turn
	ToolCallID string     // which call a tool's turn answers
	Name       string     // of the tool, or of who speaks
}

// Tool is a function that the model may call.
type Tool struct {
	Name        string
	Description string
	Parameters  json.RawMessage // JSON schema of an object; nil for none
	Strict      bool
}

// UnmarshalJSON reads a message as the OpenAI API has it. Content is a text,
// null, or a list of text parts, which are put together; other kinds of parts
// are refused by name. The reasoning is "reasoning_content" or "reasoning".
func (m *Message) UnmarshalJSON(data []byte) error {
	var in struct {
		Role       *string         `json:"role"`
		Content    json.RawMessage `json:"content"`
		Reasoning  *string         `json:"reasoning_content"`
		Short      *string         `json:"reasoning"`
		ToolCalls  []ToolCall      `json:"tool_calls"`
		ToolCallID string          `json:"tool_call_id"`
		Name       string          `json:"name"`
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	if in.Role == nil {
		return errors.New("role is missing")
	}
	content, err := contentText(in.Content)
	if err != nil {
		return fmt.Errorf("content%w", err)
	}
	*m = Message{Role: *in.Role, Content: content, ToolCalls: in.ToolCalls, ToolCallID: in.ToolCallID, Name: in.Name}
	for _, r := range []*string{in.Short, in.Reasoning} {
		if r != nil {
			m.Reasoning = *r
		}
	}
	return nil
}

// contentText puts the parts of a content together.
func contentText(data json.RawMessage) (string, error) {
	data = bytes.TrimSpace(data)
	switch {
	case len(data) == 0 || string(data) == "null":
		return "", nil
	case data[0] == '"':
		var s string
		err := json.Unmarshal(data, &s)
		return s, err
	case data[0] != '[':
		return "", errors.New(" must be a string, a list of parts or null")
	}
	var parts []struct {
		Type    string `json:"type"`
		Text    string `json:"text"`
		Refusal string `json:"refusal"`
	}
	if err := json.Unmarshal(data, &parts); err != nil {
		return "", fmt.Errorf(": %w", err)
	}
	var b strings.Builder
	for i, part := range parts {
		switch part.Type {
		case "text", "input_text", "output_text":
			b.WriteString(part.Text)
		case "refusal":
			b.WriteString(part.Refusal)
		default:
			return "", fmt.Errorf("[%d] is of type %q, want text: the model reads text only", i, part.Type)
		}
	}
	return b.String(), nil
}

// jsonToolCall is a call as the OpenAI API has it.
type jsonToolCall struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Function struct {
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	} `json:"function"`
}

// UnmarshalJSON reads a call as the OpenAI API has it. The arguments are JSON
// in a string, or an object.
func (c *ToolCall) UnmarshalJSON(data []byte) error {
	var in jsonToolCall
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	if in.Type != "" && in.Type != "function" {
		return fmt.Errorf("tool call of type %q, want function", in.Type)
	}
	if in.Function.Name == "" {
		return errors.New("tool call without function.name")
	}
	*c = ToolCall{ID: in.ID, Name: in.Function.Name, Arguments: string(in.Function.Arguments)}
	if strings.HasPrefix(c.Arguments, `"`) {
		return json.Unmarshal(in.Function.Arguments, &c.Arguments)
	}
	return nil
}

// MarshalJSON writes a call as the OpenAI API has it.
func (c ToolCall) MarshalJSON() ([]byte, error) {
	out := jsonToolCall{ID: c.ID, Type: "function"}
	out.Function.Name, out.Function.Arguments = c.Name, appendQuoted(nil, c.Arguments)
	return marshal(out)
}

// marshal leaves <, > and & as they are.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// UnmarshalJSON reads a tool as the OpenAI API has it; the function may also
// stand by itself.
func (t *Tool) UnmarshalJSON(data []byte) error {
	type function struct {
		Name        string          `json:"name"`
		Description string          `json:"description"`
		Parameters  json.RawMessage `json:"parameters"`
		Strict      bool            `json:"strict"`
	}
	var in struct {
		Type     string    `json:"type"`
		Function *function `json:"function"`
		function
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	if in.Type != "" && in.Type != "function" {
		return fmt.Errorf("tool of type %q, want function", in.Type)
	}
	if in.Function == nil {
		in.Function = &in.function
	}
	if in.Function.Name == "" {
		return errors.New("tool without function.name")
	}
	*t = Tool(*in.Function)
	return nil
}

// value returns the message as templates expect it.
func (m Message) value() (*jinja.Dict, error) {
	d := jinja.NewDict()
	d.Set("role", m.Role)
	d.Set("content", m.Content)
	if m.Reasoning != "" {
		d.Set("reasoning_content", m.Reasoning)
	}
	if m.Name != "" {
		d.Set("name", m.Name)
	}
	if m.ToolCallID != "" {
		d.Set("tool_call_id", m.ToolCallID)
	}
	if len(m.ToolCalls) == 0 {
		return d, nil
	}
	calls := make([]jinja.Value, len(m.ToolCalls))
	for i, c := range m.ToolCalls {
		call, err := c.value()
		if err != nil {
			return nil, fmt.Errorf("tool_calls[%d]%w", i, err)
		}
		calls[i] = call
	}
	d.Set("tool_calls", jinja.NewList(calls...))
	return d, nil
}

// value returns the call with its arguments as an object, in their order.
func (c ToolCall) value() (*jinja.Dict, error) {
	text := c.Arguments
	if trimSpace(text) == "" {
		text = "{}"
	}
	args, err := jinja.FromJSON([]byte(text))
	if err != nil {
		return nil, fmt.Errorf(".arguments: %w", err)
	}
	if _, ok := args.(*jinja.Dict); !ok {
		return nil, fmt.Errorf(".arguments are %s, want a JSON object", clipText(text))
	}
	fn, call := jinja.NewDict(), jinja.NewDict()
	fn.Set("name", c.Name)
	fn.Set("arguments", args)
	if c.ID != "" {
		call.Set("id", c.ID)
	}
	call.Set("type", "function")
	call.Set("function", fn)
	return call, nil
}

func clipText(s string) string {
	if len(s) > 60 {
		return fmt.Sprintf("%q…", s[:60])
	}
	return fmt.Sprintf("%q", s)
}

// value returns the tool as templates expect it.
func (t Tool) value() (*jinja.Dict, error) {
	if t.Name == "" {
		return nil, errors.New(" has no name")
	}
	fn, d := jinja.NewDict(), jinja.NewDict()
	fn.Set("name", t.Name)
	if t.Description != "" {
		fn.Set("description", t.Description)
	}
	if len(t.Parameters) > 0 {
		v, err := jinja.FromJSON(t.Parameters)
		if err != nil {
			return nil, fmt.Errorf(".parameters: %w", err)
		}
		if _, ok := v.(*jinja.Dict); !ok && v != nil {
			return nil, fmt.Errorf(".parameters are %s, want a JSON object", clipText(string(t.Parameters)))
		}
		fn.Set("parameters", v)
	}
	if t.Strict {
		fn.Set("strict", true)
	}
	d.Set("type", "function")
	d.Set("function", fn)
	return d, nil
}

// MarshalJSON writes a message as the OpenAI API has it.
func (m Message) MarshalJSON() ([]byte, error) {
	return marshal(struct {
		Role       string     `json:"role"`
		Content    string     `json:"content"`
		Reasoning  string     `json:"reasoning_content,omitempty"`
		ToolCalls  []ToolCall `json:"tool_calls,omitempty"`
		ToolCallID string     `json:"tool_call_id,omitempty"`
		Name       string     `json:"name,omitempty"`
	}{m.Role, m.Content, m.Reasoning, m.ToolCalls, m.ToolCallID, m.Name})
}

// MarshalJSON writes a tool as the OpenAI API has it.
func (t Tool) MarshalJSON() ([]byte, error) {
	type function struct {
		Name        string          `json:"name"`
		Description string          `json:"description,omitempty"`
		Parameters  json.RawMessage `json:"parameters,omitempty"`
		Strict      bool            `json:"strict,omitempty"`
	}
	return marshal(struct {
		Type     string   `json:"type"`
		Function function `json:"function"`
	}{"function", function(t)})
}
