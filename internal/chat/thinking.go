package chat

import (
	"fmt"
	"strings"

	"github.com/godwit-llm/godwit/internal/jinja"
)

// thinkingArgument is the template argument that turns reasoning on and off.
const thinkingArgument = "enable_thinking"

// thinkingSwitch is how a template is told whether the model is to reason.
type thinkingSwitch struct {
	argument string // of the template; "" where there is none
	on, off  string // words in the system message; "" where there are none
	first    bool   // the words stand at the start of the message
}

// findSwitch tries the switches that are known. The zero value stands for a
// template that has none; arguments then reach it as they are.
func (t *Template) findSwitch() thinkingSwitch {
	for _, name := range []string{thinkingArgument, "thinking"} {
		if t.switches(name) {
			return thinkingSwitch{argument: name}
		}
	}
	c := Conversation{Messages: []Message{{Role: "system", Content: "probe /no_think"}, {Role: "user", Content: "probe"}}}
	if text, err := t.probe(c, true); err == nil && !strings.Contains(text, "/no_think") && strings.Contains(text, "probe") {
		return thinkingSwitch{on: "/think", off: "/no_think"}
	}
	if p, err := t.pick(false); err == nil && strings.Contains(p.source, "detailed thinking") {
		return thinkingSwitch{on: "detailed thinking on", off: "detailed thinking off", first: true}
	}
	return thinkingSwitch{}
}

// switches reports whether an argument changes the prompt.
func (t *Template) switches(name string) bool {
	c := Conversation{Messages: []Message{{Role: "user", Content: "probe"}}}
	var texts [2]string
	for i, value := range []string{"true", "false"} {
		c.Args = []byte(`{"` + name + `": ` + value + `}`)
		var err error
		if texts[i], err = t.probe(c, true); err != nil {
			return false
		}
	}
	return texts[0] != texts[1]
}

// apply turns the argument enable_thinking of a request into what the template
// understands.
func (s thinkingSwitch) apply(req *request) error {
	if req.kwargs == nil || s.argument == thinkingArgument {
		return nil
	}
	v, given := req.kwargs.Get(thinkingArgument)
	on, isBool := v.(bool)
	switch {
	case !given || v == nil:
		return nil
	case !isBool:
		return fmt.Errorf("chat: chat_template_kwargs.%s must be a boolean", thinkingArgument)
	case s.argument != "":
		if _, ok := req.kwargs.Get(s.argument); !ok {
			req.kwargs.Set(s.argument, on)
		}
	case s.on != "":
		req.messages = s.inSystem(req.messages, on)
	}
	return nil
}

// inSystem puts the words for on or off into the system message, in the place
// of others, and makes one where there is none.
func (s thinkingSwitch) inSystem(list *jinja.List, on bool) *jinja.List {
	words := s.off
	if on {
		words = s.on
	}
	items := make([]jinja.Value, list.Len())
	for i := range items {
		items[i] = list.At(i)
	}
	system := items[0].(*jinja.Dict)
	if role, _ := text(system, "role"); role != "system" {
		system = jinja.NewDict()
		system.Set("role", "system")
		items = append([]jinja.Value{system}, items...)
	}
	content, _ := text(system, "content")
	content = trimSpace(strings.NewReplacer(s.off, "", s.on, "").Replace(content))
	parts := []string{content, words}
	if s.first {
		parts = []string{words, content}
	}
	items[0] = withField(system, "content", trimSpace(strings.Join(parts, "\n\n")))
	return jinja.NewList(items...)
}

// adapt writes calls that the template would leave out into the content.
func (t *traits) adapt(c Conversation) Conversation {
	if t.showsCalls || !t.format.Calls() || t.format.xml {
		return c
	}
	messages := append([]Message(nil), c.Messages...)
	for i := range messages {
		m := &messages[i]
		for _, call := range m.ToolCalls {
			if m.Content != "" {
				m.Content += "\n"
			}
			args := trimSpace(call.Arguments)
			if args == "" {
				args = "{}"
			}
			m.Content += t.format.CallPrefix(call.Name) + args + t.format.CallSuffix()
		}
		m.ToolCalls = nil
	}
	c.Messages = messages
	return c
}
