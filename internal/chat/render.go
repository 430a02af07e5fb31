package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/godwit-llm/godwit/internal/jinja"
)

// Conversation is what a prompt is made of.
type Conversation struct {
	Messages []Message
	Tools    []Tool
	Args     json.RawMessage // options of the template, by name: chat_template_kwargs; may be nil
	Continue bool            // the last message goes on, instead of a new turn
}

// Prompt is a rendered conversation.
type Prompt struct {
	Text  string
	Start Start // whether the model goes on with reasoning or content
}

// Prompt renders a conversation. Arguments of tool calls reach the template as
// objects.
//
// The argument enable_thinking works with every template that has a switch: one
// that knows it by another name gets that, one that looks for words in the
// system message gets those. Calls that the template would leave out are put
// into the content, in the model's format.
func (t *Template) Prompt(c Conversation) (Prompt, error) {
	shown := t.shown()
	req, err := shown.adapt(c).request()
	if err == nil {
		err = shown.thinking.apply(req)
	}
	if err != nil {
		return Prompt{}, err
	}
	text, err := t.render(req)
	if err != nil {
		return Prompt{}, err
	}
	f := shown.format
	if c.Continue {
		return Prompt{text, f.startWithin(c.Messages[len(c.Messages)-1].Content)}, nil
	}
	return Prompt{text, f.StartOf(text)}, nil
}

// request builds what Render would read.
func (c Conversation) request() (*request, error) {
	if len(c.Messages) == 0 {
		return nil, errors.New("chat: messages is empty")
	}
	messages := make([]jinja.Value, len(c.Messages))
	for i, m := range c.Messages {
		d, err := m.value()
		if err != nil {
			return nil, fmt.Errorf("chat: messages[%d].%w", i, err)
		}
		messages[i] = d
	}
	req := &request{messages: jinja.NewList(messages...), prompt: !c.Continue}
	if c.Continue {
		req.field = "content"
	}
	tools := make([]jinja.Value, len(c.Tools))
	for i, tool := range c.Tools {
		d, err := tool.value()
		if err != nil {
			return nil, fmt.Errorf("chat: tools[%d]%w", i, err)
		}
		tools[i] = d
	}
	if len(tools) > 0 {
		req.tools = jinja.NewList(tools...)
	}
	return req, req.readArgs(c.Args)
}

// readArgs reads chat_template_kwargs.
func (req *request) readArgs(args json.RawMessage) error {
	if len(args) == 0 {
		return nil
	}
	v, err := jinja.FromJSON(args)
	if err != nil {
		return fmt.Errorf("chat: chat_template_kwargs: %w", err)
	}
	var ok bool
	if req.kwargs, ok = v.(*jinja.Dict); !ok && v != nil {
		return errors.New("chat: chat_template_kwargs must be an object")
	}
	return nil
}

// Render makes the prompt of a request: a JSON object with messages and, each
// optional, tools, documents, chat_template_kwargs, add_generation_prompt
// (default true) and continue_final_message (default false). Other fields of a
// chat completion, such as model, are not looked at. Errors of validation name
// the field; those of the template are *jinja.RenderError, with the template's
// own refusal as *jinja.RaisedError inside.
func (t *Template) Render(requestJSON []byte) (string, error) {
	v, err := jinja.FromJSON(requestJSON)
	if err != nil {
		return "", fmt.Errorf("chat: request: %w", err)
	}
	d, ok := v.(*jinja.Dict)
	if !ok {
		return "", errors.New("chat: request is not a JSON object")
	}
	req, err := readRequest(d)
	if err != nil {
		return "", err
	}
	return t.render(req)
}

// request is a checked request.
type request struct {
	messages  *jinja.List
	tools     jinja.Value // *jinja.List or nil
	documents jinja.Value // *jinja.List or nil
	kwargs    *jinja.Dict // nil for none
	prompt    bool
	field     string // of the last message to continue, or ""
}

func readRequest(d *jinja.Dict) (*request, error) {
	req := &request{}
	v, _ := d.Get("messages")
	list, ok := v.(*jinja.List)
	switch {
	case !ok:
		return nil, errors.New("chat: messages must be a list")
	case list.Len() == 0:
		return nil, errors.New("chat: messages is empty")
	}
	req.messages = list
	if err := checkMessages(list); err != nil {
		return nil, err
	}
	var err error
	if req.tools, err = objects(d, "tools"); err != nil {
		return nil, err
	}
	if req.documents, err = objects(d, "documents"); err != nil {
		return nil, err
	}
	kwargs, _ := d.Get("chat_template_kwargs")
	if req.kwargs, ok = kwargs.(*jinja.Dict); !ok && kwargs != nil {
		return nil, errors.New("chat: chat_template_kwargs must be an object")
	}
	return req, req.readFlags(d)
}

// readFlags reads what happens after the last message.
func (req *request) readFlags(d *jinja.Dict) error {
	v, _ := d.Get("continue_final_message")
	switch x := v.(type) {
	case nil:
	case bool:
		if x {
			req.field = "content"
		}
	case string:
		req.field = x
	default:
		return errors.New("chat: continue_final_message must be a boolean or the name of a field")
	}
	v, given := d.Get("add_generation_prompt")
	req.prompt = req.field == ""
	if given && v != nil {
		var ok bool
		if req.prompt, ok = v.(bool); !ok {
			return errors.New("chat: add_generation_prompt must be a boolean")
		}
	}
	if req.prompt && req.field != "" {
		return errors.New("chat: add_generation_prompt and continue_final_message exclude each other")
	}
	return nil
}

// checkMessages asks for objects with a role; content is text, parts, null or
// absent.
func checkMessages(list *jinja.List) error {
	for i := range list.Len() {
		m, ok := list.At(i).(*jinja.Dict)
		if !ok {
			return fmt.Errorf("chat: messages[%d] must be an object", i)
		}
		if _, ok := text(m, "role"); !ok {
			return fmt.Errorf("chat: messages[%d].role must be a string", i)
		}
		content, _ := m.Get("content")
		if err := checkContent(content); err != nil {
			return fmt.Errorf("chat: messages[%d].content%w", i, err)
		}
		calls, _ := m.Get("tool_calls")
		if _, ok := calls.(*jinja.List); !ok && calls != nil {
			return fmt.Errorf("chat: messages[%d].tool_calls must be a list", i)
		}
	}
	return nil
}

// checkContent allows an object too: tools may return one.
func checkContent(v jinja.Value) error {
	switch x := v.(type) {
	case nil, string, *jinja.Dict:
		return nil
	case *jinja.List:
		for i := range x.Len() {
			switch x.At(i).(type) {
			case string, *jinja.Dict:
			default:
				return fmt.Errorf("[%d] must be an object or a string", i)
			}
		}
		return nil
	}
	return errors.New(" must be a string, a list of parts or null")
}

// objects returns a list of objects, or nil if the field is absent or null.
func objects(d *jinja.Dict, name string) (jinja.Value, error) {
	v, _ := d.Get(name)
	if v == nil {
		return nil, nil
	}
	list, ok := v.(*jinja.List)
	if !ok {
		return nil, fmt.Errorf("chat: %s must be a list", name)
	}
	for i := range list.Len() {
		if _, ok := list.At(i).(*jinja.Dict); !ok {
			return nil, fmt.Errorf("chat: %s[%d] must be an object", name, i)
		}
	}
	return list, nil
}

// render passes the variables in the order of transformers: what comes later
// wins.
func (t *Template) render(req *request) (string, error) {
	p, err := t.pick(req.tools != nil)
	if err != nil {
		return "", err
	}
	vars := jinja.NewDict()
	for _, name := range t.tokens.Keys() {
		v, _ := t.tokens.Get(name)
		vars.Set(name, v)
	}
	messages, final := req.messages, ""
	if t.ParseArguments {
		messages = parseArguments(messages)
	}
	if req.field != "" {
		if messages, final, err = markFinal(messages, req.field); err != nil {
			return "", err
		}
		if !strings.Contains(p.source, req.field) {
			return "", fmt.Errorf("chat: continue_final_message: the template does not read %q", req.field)
		}
	}
	vars.Set("messages", messages)
	vars.Set("tools", req.tools)
	vars.Set("documents", req.documents)
	vars.Set("add_generation_prompt", req.prompt)
	if err := addKwargs(vars, req.kwargs); err != nil {
		return "", err
	}
	out, err := p.tmpl.Render(vars, jinja.Options{Now: t.Now})
	if err != nil {
		return "", fmt.Errorf("chat: %w", err)
	}
	if req.field != "" {
		return cutFinal(out, final)
	}
	return out, nil
}

// addKwargs sets each option as a variable of its own. Those that a request
// carries as fields cannot be options as well.
func addKwargs(vars, kwargs *jinja.Dict) error {
	if kwargs == nil {
		return nil
	}
	for _, name := range kwargs.Keys() {
		switch name {
		case "messages", "tools", "documents", "add_generation_prompt":
			return fmt.Errorf("chat: chat_template_kwargs.%s belongs into the request itself", name)
		}
		v, _ := kwargs.Get(name)
		vars.Set(name, v)
	}
	return nil
}
