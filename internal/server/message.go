package server

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// message is one turn of a conversation as a client sends it.
type message struct {
	Role             string      `json:"role" enum:"system,developer,user,assistant,tool"`
	Content          *content    `json:"content,omitzero"`
	Name             string      `json:"name,omitzero" doc:"Who speaks; passed to the template."`
	ReasoningContent string      `json:"reasoning_content,omitzero" doc:"An assistant's reasoning, as it was received."`
	Refusal          *string     `json:"refusal,omitzero" doc:"Accepted from an earlier answer; only null or empty."`
	Annotations      annotations `json:"annotations,omitzero" doc:"Of an earlier answer; not used."`
	Audio            nothing     `json:"audio,omitzero"`
	FunctionCall     nothing     `json:"function_call,omitzero"`
	ToolCalls        []toolCall  `json:"tool_calls,omitzero" doc:"An assistant's calls, as they were received."`
	ToolCallID       string      `json:"tool_call_id,omitzero" doc:"The call that a tool's message answers."`
}

// toolCall is one call of a tool.
type toolCall struct {
	Index    *int         `json:"index,omitzero" doc:"Position among the calls of an answer that streams."`
	ID       string       `json:"id,omitzero"`
	Type     string       `json:"type,omitzero" enum:"function"`
	Function functionCall `json:"function"`
}

type functionCall struct {
	Name      string `json:"name,omitzero"`
	Arguments string `json:"arguments" doc:"A JSON object as text; in a stream, the next piece of it."`
}

// annotations are what another server's tools say of a text.
type annotations []jsontext.Value

// content is a text or a list of parts.
type content struct {
	Text string
}

type contentPart struct {
	Type        string           `json:"type" enum:"text,input_text,output_text,reasoning_text"`
	Text        string           `json:"text"`
	Annotations annotations      `json:"annotations,omitzero" doc:"Of an earlier answer; not used."`
	Logprobs    []jsontext.Value `json:"logprobs,omitzero" doc:"Of an earlier answer; not used."`
}

// UnmarshalJSONFrom reads either form. Parts of text are joined as they are.
func (c *content) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if err := expect(d, `"[n`, "a string or a list of parts"); err != nil {
		return err
	}
	if d.PeekKind() != '[' {
		return json.UnmarshalDecode(d, &c.Text)
	}
	var parts []contentPart
	if err := json.UnmarshalDecode(d, &parts); err != nil {
		return err
	}
	var text strings.Builder
	for i, p := range parts {
		switch p.Type {
		case "text", "input_text", "output_text", "reasoning_text":
			text.WriteString(p.Text)
		default:
			at := fmt.Sprintf("%s[%d].type", fieldPath(d.StackPointer()), i)
			return unsupported(at, "%s is %q, want text: models here only read text", at, p.Type)
		}
	}
	c.Text = text.String()
	return nil
}
