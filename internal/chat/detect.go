package chat

import "strings"

// The probe is a conversation whose words no template has in itself.
const (
	probeName  = "probe_function"
	probeKey   = "probe_key"
	probeValue = "probe_value"
)

// traits is what a template shows of its model.
type traits struct {
	format     Format
	showsCalls bool // the calls of an assistant's turn are in the prompt
	thinking   thinkingSwitch
}

// Format returns how the model writes reasoning and calls, told from what the
// template makes of a conversation with a call; where it makes nothing of it,
// from the words in it. The first use renders a few short conversations.
func (t *Template) Format() Format { return t.shown().format }

// SwitchesThinking reports whether the argument enable_thinking turns the
// model's reasoning on and off.
func (t *Template) SwitchesThinking() bool { return t.shown().thinking != thinkingSwitch{} }

func (t *Template) shown() *traits {
	t.detect.Do(func() {
		call := t.probeCall()
		t.traits = traits{format: t.formatOf(call), showsCalls: call != "", thinking: t.findSwitch()}
	})
	return &t.traits
}

// formatOf tells the format from the rendering of a call.
func (t *Template) formatOf(call string) Format {
	switch {
	case follows(call, "<tool_call>", xmlOpen+probeName):
		return mustFormat("nemotron3")
	case follows(call, "<tool_call>", "{"), follows(call, "<tool_call>", "["):
		return mustFormat("hermes")
	case follows(call, "<TOOLCALL>", "["), follows(call, "<TOOLCALL>", "{"):
		return mustFormat("nemotron2")
	case follows(call, "<toolcall>", "{"):
		return mustFormat("mini")
	case strings.Contains(call, `{"name": "`+probeName+`", "parameters": {`):
		return mustFormat("llama3")
	case call != "": // in a way that no parser here knows
		return mustFormat("reasoning")
	}
	source := ""
	if p, err := t.pick(true); err == nil {
		source = p.source + t.probeTurn()
	}
	for _, sign := range []struct{ words, format string }{
		{xmlOpen, "nemotron3"},
		{"<TOOLCALL>", "nemotron2"},
		{"<AVAILABLE_TOOLS>", "nemotron2"},
		{"<toolcall>", "mini"},
		{"<extra_id_1>", "mini"}, // its template shows tools, but no calls
		{"<tool_call>", "hermes"},
		{"<|python_tag|>", "llama3"},
	} {
		if strings.Contains(source, sign.words) {
			return mustFormat(sign.format)
		}
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

// probe is a conversation whose words no template has in itself.
func probe(turns ...Message) Conversation {
	tool := Tool{Name: probeName, Description: "Probe.", Parameters: []byte(`{"type": "object", "properties": {"` + probeKey + `": {"type": "string", "description": "Probe."}}, "required": ["` + probeKey + `"]}`)}
	return Conversation{Messages: append([]Message{{Role: "user", Content: "probe"}}, turns...), Tools: []Tool{tool}}
}

// probeCall returns what the template adds for an assistant's turn with a
// call; "" if it refuses the turn, or leaves the call out.
func (t *Template) probeCall() string {
	call := ToolCall{ID: "probe0001", Name: probeName, Arguments: `{"` + probeKey + `": "` + probeValue + `"}`}
	for _, tools := range []bool{true, false} {
		c := probe(Message{Role: "assistant", ToolCalls: []ToolCall{call}})
		if !tools {
			c.Tools = nil
		}
		with, err := t.probe(c, false)
		if err != nil || !strings.Contains(with, probeValue) {
			continue
		}
		c.Messages = c.Messages[:1]
		if without, err := t.probe(c, false); err == nil {
			return afterCommon(with, without)
		}
	}
	return ""
}

// afterCommon returns text without the beginning that it shares with other.
func afterCommon(text, other string) string {
	i := 0
	for i < min(len(text), len(other)) && text[i] == other[i] {
		i++
	}
	return text[i:]
}

// probeTurn returns the prompt of a plain conversation.
func (t *Template) probeTurn() string {
	text, _ := t.probe(Conversation{Messages: []Message{{Role: "user", Content: "probe"}}}, true)
	return text
}

// probe renders a conversation with or without the generation prompt.
func (t *Template) probe(c Conversation, prompt bool) (string, error) {
	req, err := c.request()
	if err != nil {
		return "", err
	}
	req.prompt = prompt
	return t.render(req)
}
