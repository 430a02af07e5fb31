package godwit

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/godwit-llm/godwit/internal/chat"
)

// Message is one turn of a conversation. In JSON it is a message of the OpenAI
// API, whose content may also be a list of text parts.
type Message struct {
	Role       string     // "system", "user", "assistant" or "tool"
	Content    string     //
	Reasoning  string     // of an assistant: what it thought before its content; reasoning_content in JSON
	ToolCalls  []ToolCall // of an assistant
	ToolCallID string     // of a tool: the call that it answers
	Name       string     // of the tool, or of who speaks; may be ""
}

// ToolCall is a model's wish to have a tool called.
type ToolCall struct {
	ID         string
	Name       string
	Arguments  string // a JSON object, as the model wrote it
	Incomplete bool   // cut off or broken (see Request.LiveCalls): Arguments is the beginning of one
}

// Tool is a function that the model may ask to have called. In JSON it is a
// tool of the OpenAI API.
type Tool struct {
	Name        string
	Description string
	Parameters  json.RawMessage // JSON schema of an object; nil where there are none
	Strict      bool
}

// Delta is a piece of a reply. The pieces of a call come in a row: one
// CallStart, any number of CallArguments, one CallEnd.
type Delta struct {
	Kind       DeltaKind
	Text       string
	Call       int    // which tool call of the reply, from 0
	ID, Name   string // of the call that starts
	Incomplete bool   // of the call that ends: see ToolCall
}

// DeltaKind tells deltas apart.
type DeltaKind int

// The kinds of deltas.
const (
	ReasoningText = DeltaKind(chat.ReasoningText) // Text is more of the reasoning
	ContentText   = DeltaKind(chat.ContentText)   // Text is more of the content
	CallStart     = DeltaKind(chat.CallStart)     // a tool call begins
	CallArguments = DeltaKind(chat.CallArguments) // Text is more of its arguments
	CallEnd       = DeltaKind(chat.CallEnd)       // it is over
)

// Formats returns the names of the ways to write reasoning and tool calls that
// are known.
func Formats() []string { return chat.Formats() }

// Format returns how the model writes reasoning and tool calls, as its chat
// template shows; "plain" where it has none.
func (m *Model) Format() string { return m.format().String() }

func (m *Model) format() chat.Format {
	if m.template == nil {
		return chat.Format{}
	}
	return m.template.Format()
}

// Reasons reports whether replies may hold reasoning apart from the content.
func (m *Model) Reasons() bool { return m.format().Reasoning() }

// SwitchesThinking reports whether the template argument enable_thinking turns
// the reasoning on and off.
func (m *Model) SwitchesThinking() bool { return m.template != nil && m.template.SwitchesThinking() }

// Render returns the prompt text of a request's Messages, with the generation
// prompt of the checkpoint's chat template at its end.
func (m *Model) Render(r Request) (string, error) {
	p, err := m.render(r)
	return p.Text, err
}

func (m *Model) render(r Request) (chat.Prompt, error) {
	if m.template == nil {
		return chat.Prompt{}, &Error{Class: ErrUnsupported, Err: errors.New("the checkpoint has no chat template")}
	}
	c, err := r.conversation()
	if err != nil {
		return chat.Prompt{}, &Error{Op: "render", Class: ErrRequest, Err: err}
	}
	p, err := m.template.Prompt(c)
	if err != nil {
		return p, &Error{Op: "render", Class: ErrRequest, Err: err}
	}
	return p, nil
}

// conversation is what the template is given.
func (r *Request) conversation() (chat.Conversation, error) {
	c := chat.Conversation{Continue: r.Continue}
	for _, m := range r.Messages {
		c.Messages = append(c.Messages, m.chat())
	}
	var err error
	if c.Tools, err = r.offered(); err != nil {
		return c, err
	}
	if len(r.TemplateArgs) > 0 {
		if c.Args, err = json.Marshal(r.TemplateArgs); err != nil {
			return c, fmt.Errorf("template arguments: %w", err)
		}
	}
	return c, nil
}

// offered returns the tools that the model is told of.
func (r *Request) offered() ([]chat.Tool, error) {
	if err := r.checkChoice(); err != nil || r.ToolChoice == "none" {
		return nil, err
	}
	var tools []chat.Tool
	for _, t := range r.Tools {
		tools = append(tools, chat.Tool(t))
	}
	return tools, nil
}

// read sets up what turns the ids of a generation into text and a reply.
func (g *Generation) read(m *Model, r Request, start chat.Start) error {
	if m.tokenizer == nil {
		return nil
	}
	if r.Messages == nil {
		g.text = newTextStream(m.tokenizer.NewStream(true), r.Stop)
		return nil
	}
	f, err := m.formatOf(r)
	if err != nil {
		return err
	}
	tools, err := r.offered()
	g.parser = chat.NewParser(f, chat.ParserOptions{Start: start, Tools: tools, Live: r.LiveCalls, Single: r.OneCall})
	g.text = newTextStream(m.tokenizer.NewStream(true, f.Markers()...), r.Stop)
	return err
}

// formatOf returns how a request's reply is taken apart.
func (m *Model) formatOf(r Request) (chat.Format, error) {
	if r.Format == "" {
		return m.format(), nil
	}
	f, err := chat.FormatByName(r.Format)
	if err != nil {
		return f, &Error{Op: "generate", Class: ErrRequest, Err: err}
	}
	return f, nil
}

// parse takes more of the text apart. It returns the pieces, and whether the
// generation is to end.
func (g *Generation) parse(text string, end bool) ([]Delta, bool) {
	if g.parser == nil {
		return nil, end
	}
	found := g.parser.Feed(text)
	if end = end || g.parser.Done(); end {
		found = append(found, g.parser.Close()...)
	}
	var deltas []Delta
	for _, d := range found {
		g.reply.Add(d)
		deltas = append(deltas, Delta{DeltaKind(d.Kind), d.Text, d.Call, d.ID, d.Name, d.Incomplete})
	}
	return deltas, end
}

func messageOf(r chat.Reply) Message {
	m := Message{Role: "assistant", Content: r.Content, Reasoning: r.Reasoning}
	for _, c := range r.ToolCalls {
		m.ToolCalls = append(m.ToolCalls, ToolCall(c))
	}
	return m
}

func (m Message) chat() chat.Message {
	out := chat.Message{Role: m.Role, Content: m.Content, Reasoning: m.Reasoning, ToolCallID: m.ToolCallID, Name: m.Name}
	for _, c := range m.ToolCalls {
		out.ToolCalls = append(out.ToolCalls, chat.ToolCall(c))
	}
	return out
}

// UnmarshalJSON reads a message of the OpenAI API. Parts other than text are
// refused by name.
func (m *Message) UnmarshalJSON(data []byte) error {
	var in chat.Message
	if err := in.UnmarshalJSON(data); err != nil {
		return err
	}
	*m = messageOf(chat.Reply{Reasoning: in.Reasoning, Content: in.Content, ToolCalls: in.ToolCalls})
	m.Role, m.ToolCallID, m.Name = in.Role, in.ToolCallID, in.Name
	return nil
}

// MarshalJSON writes a message of the OpenAI API, with reasoning_content.
func (m Message) MarshalJSON() ([]byte, error) { return m.chat().MarshalJSON() }

// UnmarshalJSON reads a tool of the OpenAI API.
func (t *Tool) UnmarshalJSON(data []byte) error { return (*chat.Tool)(t).UnmarshalJSON(data) }

// MarshalJSON writes a tool of the OpenAI API.
func (t Tool) MarshalJSON() ([]byte, error) { return chat.Tool(t).MarshalJSON() }
