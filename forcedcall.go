package godwit

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/godwit-llm/godwit/internal/chat"
	"github.com/godwit-llm/godwit/internal/grammar"
)

// forcesCall reports whether the reply must be a call of a tool.
func (r *Request) forcesCall() bool {
	return r.ToolChoice != "" && r.ToolChoice != "auto" && r.ToolChoice != "none"
}

// checkChoice refuses a choice of what is not there.
func (r *Request) checkChoice() error {
	switch {
	case !r.forcesCall():
		return nil
	case len(r.Tools) == 0:
		return fmt.Errorf("tool choice %q without tools", r.ToolChoice)
	case r.ToolChoice == "required" || slices.ContainsFunc(r.Tools, func(t Tool) bool { return t.Name == r.ToolChoice }):
		return nil
	}
	return fmt.Errorf("tool choice %q, want auto, none, required or the name of a tool", r.ToolChoice)
}

// callGrammar returns the grammar of one call of the tool that the request
// names, or of any of its tools. It is remembered like those of schemas.
func (m *Model) callGrammar(r *Request) (*Grammar, error) {
	f, err := m.formatOf(*r)
	if err != nil {
		return nil, err
	}
	if !f.Calls() {
		return nil, &Error{Op: "generate", Class: ErrUnsupported, Err: fmt.Errorf("tool choice %q: the format %q of the model's replies has no tool calls", r.ToolChoice, f)}
	}
	key, err := json.Marshal([]any{"call", f.String(), r.ToolChoice, r.Tools})
	if err != nil {
		return nil, &Error{Op: "generate", Class: ErrRequest, Err: fmt.Errorf("tools: %w", err)}
	}
	return m.remembered(string(key), func() (grammar.Expr, error) {
		var calls []grammar.Expr
		for i := range r.Tools {
			if t := &r.Tools[i]; r.ToolChoice == "required" || r.ToolChoice == t.Name {
				call, err := callOf(f, t)
				if err != nil {
					return nil, fmt.Errorf("tool %q: %w", t.Name, err)
				}
				calls = append(calls, call)
			}
		}
		return grammar.Choice(calls...), nil
	})
}

// callOf is a call of one tool in a format.
func callOf(f chat.Format, t *Tool) (grammar.Expr, error) {
	schema := []byte(t.Parameters)
	if len(schema) == 0 {
		schema = []byte(`{"type":"object","properties":{},"additionalProperties":false}`)
	}
	var arguments grammar.Expr
	var err error
	if before, after, elements := f.ParameterMarks(); elements {
		arguments, err = grammar.Parameters(schema, before, after)
	} else {
		arguments, err = grammar.Schema(schema)
	}
	if err != nil {
		return nil, err
	}
	return grammar.Sequence(marked(f.CallPrefix(t.Name), f.Markers()), arguments, marked(f.CallSuffix(), f.Markers())), nil
}

// marked is a text whose markers may come as special tokens.
func marked(text string, markers []string) grammar.Expr {
	var parts []grammar.Expr
	for text != "" {
		at, mark := len(text), ""
		for _, m := range markers {
			if i := strings.Index(text, m); i >= 0 && i < at {
				at, mark = i, m
			}
		}
		if at > 0 {
			parts = append(parts, grammar.Literal(text[:at]))
		}
		if mark != "" {
			parts = append(parts, grammar.Marker(mark))
		}
		text = text[at+len(mark):]
	}
	return grammar.Sequence(parts...)
}

var errTwoGrammars = &Error{Op: "generate", Class: ErrRequest, Err: errors.New("a grammar and a tool choice that forces a call exclude each other")}

// grammarOf returns what limits the reply, or nil.
func (m *Model) grammarOf(r *Request) (*Grammar, error) {
	switch {
	case r.Messages == nil || !r.forcesCall():
		return r.Grammar, nil
	case r.Grammar != nil:
		return nil, errTwoGrammars
	}
	return m.callGrammar(r)
}
