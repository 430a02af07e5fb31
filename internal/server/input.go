package server

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/godwit-llm/godwit"
)

// inputItems are what came before: a text, or items.
type inputItems []inputItem

// inputItem is a message, reasoning, a call of a tool or its output. A message
// needs no type.
type inputItem struct {
	Type             string        `json:"type,omitzero" enum:"message,reasoning,function_call,function_call_output"`
	ID               string        `json:"id,omitzero" doc:"Accepted and not used."`
	Status           string        `json:"status,omitzero" doc:"Accepted and not used."`
	Phase            string        `json:"phase,omitzero" doc:"Accepted and not used."`
	Role             string        `json:"role,omitzero" enum:"system,developer,user,assistant"`
	Content          *content      `json:"content,omitzero"`
	Summary          []summaryPart `json:"summary,omitzero" doc:"Of reasoning; not used."`
	EncryptedContent *string       `json:"encrypted_content,omitzero" doc:"Only null."`
	CallID           string        `json:"call_id,omitzero"`
	Name             string        `json:"name,omitzero"`
	Arguments        string        `json:"arguments,omitzero"`
	Output           *content      `json:"output,omitzero"`
}

type summaryPart struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// UnmarshalJSONFrom reads either form.
func (in *inputItems) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if err := expect(d, `"[`, "a string or a list of items"); err != nil {
		return err
	}
	if d.PeekKind() == '"' {
		item := inputItem{Role: "user", Content: &content{}}
		*in = inputItems{item}
		return json.UnmarshalDecode(d, &item.Content.Text)
	}
	return json.UnmarshalDecode(d, (*[]inputItem)(in))
}

// conversation turns the instructions and items into messages. What an
// assistant said, thought and called between two others is one message.
func (b *responseRequest) conversation() ([]godwit.Message, error) {
	var list []message
	if b.Instructions != "" {
		list = append(list, message{Role: "system", Content: &content{b.Instructions}})
	}
	if len(b.Input) == 0 {
		return nil, invalid("input", "input is empty, want a text or items")
	}
	for i := range b.Input {
		var err error
		if list, err = b.Input[i].appendTo(list, indexed("input", i)); err != nil {
			return nil, err
		}
	}
	out := make([]godwit.Message, len(list))
	for i := range list {
		var err error
		if out[i], err = list[i].model("input"); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// appendTo adds the item to the messages before it.
func (in *inputItem) appendTo(list []message, at string) ([]message, error) {
	if in.EncryptedContent != nil && *in.EncryptedContent != "" {
		return nil, unsupported(at+".encrypted_content", "%s.encrypted_content is not supported: nothing here can read it", at)
	}
	switch in.Type {
	case "", "message":
		if in.Content == nil {
			return nil, invalid(at+".content", "%s.content is missing", at)
		}
		if in.Role != "assistant" {
			return append(list, message{Role: in.Role, Content: in.Content}), nil
		}
		list, m := assistant(list, func(m *message) bool { return m.Content == nil && m.ToolCalls == nil })
		m.Content = in.Content
		return list, nil
	case "reasoning":
		list, m := assistant(list, func(*message) bool { return false })
		if in.Content != nil {
			m.ReasoningContent = in.Content.Text
		}
		return list, nil
	case "function_call":
		list, m := assistant(list, func(*message) bool { return true })
		m.ToolCalls = append(m.ToolCalls, toolCall{ID: in.CallID, Type: "function", Function: functionCall{Name: in.Name, Arguments: in.Arguments}})
		return list, nil
	case "function_call_output":
		if in.Output == nil {
			return nil, invalid(at+".output", "%s.output is missing", at)
		}
		return append(list, message{Role: "tool", ToolCallID: in.CallID, Content: in.Output}), nil
	}
	return nil, unsupported(at+".type", "%s.type is %q, want message, reasoning, function_call or function_call_output", at, in.Type)
}

// assistant returns the assistant's message at the end of the list: the one
// that is there, if it fits, or a new one.
func assistant(list []message, fits func(*message) bool) ([]message, *message) {
	if n := len(list); n > 0 && list[n-1].Role == "assistant" && fits(&list[n-1]) {
		return list, &list[n-1]
	}
	list = append(list, message{Role: "assistant"})
	return list, &list[len(list)-1]
}
