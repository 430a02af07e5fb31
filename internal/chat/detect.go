package chat

import (
	"strings"

	"github.com/godwit-llm/godwit/internal/jinja"
)

// The probe is a conversation whose words no template has in itself.
const (
	probeName  = "probe_function"
	probeKey   = "probe_key"
	probeValue = "probe_value"
)

// Format returns how the model writes reasoning and calls, told from what the
// template makes of a conversation with a call; where it makes nothing of it,
// from the words in it. Detection renders a few short conversations, once.
func (t *Template) Format() Format {
	t.detect.Do(func() { t.format = t.detectFormat() })
	return t.format
}

func (t *Template) detectFormat() Format {
	p, err := t.pick(true)
	if err != nil {
		return Format{}
	}
	call := t.probeCall()
	source := p.source
	switch {
	case strings.Contains(call, xmlOpen+probeName):
		return mustFormat("nemotron3")
	case follows(call, "<tool_call>", "{"):
		return mustFormat("hermes")
	case follows(call, "<TOOLCALL>", "["):
		return mustFormat("nemotron2")
	case follows(call, "<toolcall>", "{"):
		return mustFormat("mini")
	case call != "" && strings.Contains(call, `"name": "`+probeName+`", "parameters": {`):
		return mustFormat("llama3")
	}
	for _, sign := range []struct{ words, format string }{
		{xmlOpen, "nemotron3"},
		{"<TOOLCALL>", "nemotron2"},
		{"<toolcall>", "mini"},
		{"<extra_id_1>", "mini"}, // its template shows no calls, only tools
		{"<tool_call>", "hermes"},
		{"<|python_tag|>", "llama3"},
		{`"parameters": dictionary`, "llama3"},
	} {
		if strings.Contains(source, sign.words) {
			return mustFormat(sign.format)
		}
	}
	if strings.Contains(source, thinkClose) || strings.Contains(source, thinkOpen) {
		return mustFormat("reasoning")
	}
	return mustFormat("reasoning")
}

// follows reports whether first, white space and second stand in text.
func follows(text, first, second string) bool {
	for {
		_, rest, ok := strings.Cut(text, first)
		if !ok {
			return false
		}
		if strings.HasPrefix(strings.TrimLeft(rest, whitespace), second) {
			return true
		}
		text = rest
	}
}

// probeCall returns what the template adds for an assistant's turn with a
// call; "" if it refuses the turn, or leaves the call out.
func (t *Template) probeCall() string {
	call := ToolCall{ID: "probe0001", Name: probeName, Arguments: `{"` + probeKey + `": "` + probeValue + `"}`}
	user := Message{Role: "user", Content: "Hi"}
	c := Conversation{
		Messages: []Message{user, {Role: "assistant", ToolCalls: []ToolCall{call}}},
	}
	req, err := c.request()
	if err != nil {
		return ""
	}
	req.prompt = false
	with, err := t.render(req)
	if err != nil || !strings.Contains(with, probeName) {
		return ""
	}
	req.messages = jinja.NewList(req.messages.At(0))
	without, err := t.render(req)
	if err != nil {
		return with
	}
	return strings.TrimPrefix(with, without)
}
