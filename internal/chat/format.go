package chat

import (
	"fmt"
	"slices"
	"strings"
)

const (
	thinkOpen  = "<think>"
	thinkClose = "</think>"
	xmlOpen    = "<function="
	whitespace = " \t\r\n"
)

// Format says how a model writes reasoning and tool calls. The zero value is
// the format "plain": all text is content.
type Format struct {
	name        string
	open, close string // around calls; "" for calls that stand bare
	xml         bool   // writes calls as <function=…>; JSON is read as well
	list        bool   // writes the calls of a turn as one JSON array
	bare        bool   // a JSON object at the start of the content may be a call
	argsKey     string // of the JSON object of a call
	reasoning   bool   // reasoning stands between <think> and </think>
}

// formats are all of them by name; the names are part of the public API.
var formats = []Format{
	{name: "nemotron3", open: "<tool_call>", close: "</tool_call>", xml: true, argsKey: "arguments", reasoning: true},
	{name: "hermes", open: "<tool_call>", close: "</tool_call>", argsKey: "arguments", reasoning: true},
	{name: "nemotron2", open: "<TOOLCALL>", close: "</TOOLCALL>", list: true, argsKey: "arguments", reasoning: true},
	{name: "mini", open: "<toolcall>", close: "</toolcall>", argsKey: "arguments", reasoning: true},
	{name: "llama3", open: "<|python_tag|>", bare: true, argsKey: "parameters", reasoning: true},
	{name: "reasoning", reasoning: true},
	{name: "plain"},
}

// Formats returns the names that FormatByName knows.
func Formats() []string {
	var names []string
	for _, f := range formats {
		names = append(names, f.name)
	}
	return names
}

// FormatByName returns one of Formats.
func FormatByName(name string) (Format, error) {
	i := slices.IndexFunc(formats, func(f Format) bool { return f.name == name })
	if i < 0 {
		return Format{}, fmt.Errorf("chat: format %q, want %s", name, strings.Join(Formats(), ", "))
	}
	return formats[i], nil
}

func mustFormat(name string) Format {
	f, err := FormatByName(name)
	if err != nil {
		panic(err)
	}
	return f
}

// String returns the format's name.
func (f Format) String() string {
	if f.name == "" {
		return "plain"
	}
	return f.name
}

// Calls reports whether the format has tool calls.
func (f Format) Calls() bool { return f.open != "" }

// Reasoning reports whether the format tells reasoning from content.
func (f Format) Reasoning() bool { return f.reasoning }

// Markers returns the texts that have a meaning in the format. Where a
// tokenizer holds one of them as a special token, it must not be left out of
// the text that the parser is fed.
func (f Format) Markers() []string {
	var m []string
	if f.reasoning {
		m = append(m, thinkOpen, thinkClose)
	}
	if f.open != "" {
		m = append(m, f.open)
	}
	if f.close != "" {
		m = append(m, f.close)
	}
	if f.xml {
		m = append(m, xmlOpen, "</function>", "<parameter=", "</parameter>")
	}
	return m
}

// ReasoningEnd returns the text that closes reasoning that has not come to an
// end by itself; "" where the format has none.
func (f Format) ReasoningEnd() string {
	if !f.reasoning {
		return ""
	}
	return "\n" + thinkClose + "\n\n"
}

// CallPrefix returns the text with which a call of a tool begins, up to its
// arguments: with it a model is made to call that tool. Without a name the
// text goes as far as the name. CallSuffix returns what ends a call behind the
// arguments. Arguments are a JSON object, except that in "nemotron3" they are
// <parameter=…> elements.
func (f Format) CallPrefix(name string) string {
	switch {
	case !f.Calls():
		return ""
	case f.xml && name == "":
		return f.open + "\n" + xmlOpen
	case f.xml:
		return f.open + "\n" + xmlOpen + name + ">\n"
	}
	head := map[string]string{"<TOOLCALL>": "<TOOLCALL>[", "<toolcall>": "<toolcall> ", "<|python_tag|>": ""}
	start, ok := head[f.open]
	if !ok {
		start = f.open + "\n"
	}
	start += `{"name": `
	if name == "" {
		return start
	}
	return start + string(appendQuoted(nil, name)) + `, "` + f.argsKey + `": `
}

// CallSuffix returns what follows the arguments of the last call of a turn.
func (f Format) CallSuffix() string {
	switch {
	case f.xml:
		return "</function>\n" + f.close
	case !f.Calls():
		return ""
	case f.bare:
		return "}"
	case f.list:
		return "}]" + f.close
	case f.name == "mini":
		return "} " + f.close
	}
	return "}\n" + f.close
}

// ParameterMarks returns what stands around each argument of a call, in formats
// that write arguments as elements and not as a JSON object.
func (f Format) ParameterMarks() (before func(name string) string, after string, ok bool) {
	return func(name string) string { return "<parameter=" + name + ">\n" }, "\n</parameter>\n", f.xml
}

// ThinkMarkers returns what stands around the reasoning in every format that
// has it.
func ThinkMarkers() (open, end string) { return thinkOpen, thinkClose }

// Start says where a generation begins.
type Start int

// The places where a generation can begin.
const (
	AtStart     Start = iota // of a turn: the model may open the reasoning itself
	InReasoning              // the prompt has opened the reasoning
	InContent                // the prompt has closed the reasoning
)

// StartOf derives from the end of a rendered prompt where the model goes on.
func (f Format) StartOf(prompt string) Start {
	prompt = strings.TrimRight(prompt, whitespace)
	switch {
	case !f.reasoning:
		return AtStart
	case strings.HasSuffix(prompt, thinkOpen):
		return InReasoning
	case strings.HasSuffix(prompt, thinkClose):
		return InContent
	}
	return AtStart
}

// startWithin derives the same from the text of a last message that goes on.
func (f Format) startWithin(text string) Start {
	open, end := strings.LastIndex(text, thinkOpen), strings.LastIndex(text, thinkClose)
	switch {
	case !f.reasoning:
		return AtStart
	case open > end:
		return InReasoning
	}
	return InContent
}

// openers are the texts that begin a block of calls anywhere in the text.
func (f Format) openers() []string {
	switch {
	case f.open == "":
		return nil
	case f.xml:
		return []string{f.open, xmlOpen}
	}
	return []string{f.open}
}
