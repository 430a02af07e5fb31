package server

import (
	"github.com/godwit-llm/godwit"
)

// reply collects what one choice of a conversation answers.
type reply struct {
	thinking        bool // the last token belonged to the reasoning
	reasoningTokens int
}

// delta merges the pieces of a reply that came with one token.
func (r *reply) delta(t godwit.Token) chatDelta {
	var out chatDelta
	for _, d := range t.Deltas {
		r.thinking = d.Kind == godwit.ReasoningText
		switch d.Kind {
		case godwit.ReasoningText:
			out.ReasoningContent += d.Text
		case godwit.ContentText:
			text := d.Text
			if out.Content != nil {
				text = *out.Content + text
			}
			out.Content = &text
		case godwit.CallStart:
			out.ToolCalls = append(out.ToolCalls, toolCall{Index: new(d.Call), ID: d.ID, Type: "function", Function: functionCall{Name: d.Name}})
		case godwit.CallArguments:
			out.addArguments(d)
		}
	}
	if r.thinking && t.ID >= 0 {
		r.reasoningTokens++
	}
	return out
}

// addArguments appends to the call that is being written.
func (c *chatDelta) addArguments(d godwit.Delta) {
	if n := len(c.ToolCalls); n > 0 && *c.ToolCalls[n-1].Index == d.Call {
		c.ToolCalls[n-1].Function.Arguments += d.Text
		return
	}
	c.ToolCalls = append(c.ToolCalls, toolCall{Index: new(d.Call), Function: functionCall{Arguments: d.Text}})
}

func (c *chatDelta) empty() bool {
	return c.Content == nil && c.ReasoningContent == "" && c.ToolCalls == nil
}

// finishReason says that there are calls to be made.
func finishReason(r *godwit.Result) string {
	if r.FinishReason == "stop" && len(r.Message.ToolCalls) > 0 {
		return "tool_calls"
	}
	return r.FinishReason
}

// message is a whole reply.
func newChatMessage(m godwit.Message) chatMessage {
	out := chatMessage{Role: "assistant", Content: &m.Content, ReasoningContent: m.Reasoning}
	for _, c := range m.ToolCalls {
		out.ToolCalls = append(out.ToolCalls, toolCall{ID: c.ID, Type: "function", Function: functionCall{Name: c.Name, Arguments: c.Arguments}})
	}
	if m.Content == "" && out.ToolCalls != nil {
		out.Content = nil
	}
	return out
}

// conversation turns messages into the model's.
func conversation(list []message) ([]godwit.Message, error) {
	if len(list) == 0 {
		return nil, invalid("messages", "messages is empty, want at least one message")
	}
	out := make([]godwit.Message, len(list))
	for i := range list {
		var err error
		if out[i], err = list[i].model(indexed("messages", i)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// model checks a message, which stands at a place of the request.
func (m *message) model(at string) (godwit.Message, error) {
	out := godwit.Message{Role: m.Role, Name: m.Name, Reasoning: m.ReasoningContent, ToolCallID: m.ToolCallID}
	if m.Content != nil {
		out.Content = m.Content.Text
	}
	if m.Content == nil && m.Role != "assistant" {
		return out, invalid(at+".content", "%s.content is missing, want a text", at)
	}
	switch m.Role {
	case "developer":
		out.Role = "system" // its newer name, which templates do not know
	case "system", "user":
	case "assistant":
		return out, m.addCalls(&out, at)
	case "tool":
		if m.ToolCallID == "" {
			return out, invalid(at+".tool_call_id", "%s.tool_call_id is missing, want the id of the call that it answers", at)
		}
	default:
		return out, invalid(at+".role", "%s.role is %q, want system, developer, user, assistant or tool", at, m.Role)
	}
	if m.ToolCalls != nil || m.ReasoningContent != "" {
		return out, invalid(at, "%s has tool_calls or reasoning_content, which belong to an assistant's message, not a %s's", at, m.Role)
	}
	return out, nil
}

func (m *message) addCalls(out *godwit.Message, at string) error {
	if m.Refusal != nil && *m.Refusal != "" {
		return unsupported(at+".refusal", "%s.refusal is not supported: say it in content", at)
	}
	for i, c := range m.ToolCalls {
		if c.Function.Name == "" || c.Type != "function" && c.Type != "" {
			at := indexed(at+".tool_calls", i)
			return invalid(at, "%s is of type %q with the name %q, want a function and its name", at, c.Type, c.Function.Name)
		}
		out.ToolCalls = append(out.ToolCalls, godwit.ToolCall{ID: c.ID, Name: c.Function.Name, Arguments: c.Function.Arguments})
	}
	return nil
}
