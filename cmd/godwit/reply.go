package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/godwit-llm/godwit"
)

// replyPrinter prints a model's reply while it comes: content and tool calls,
// one JSON object a line, to out; the reasoning to the side, dimmed on a
// terminal, so that a pipe gets the answer alone.
type replyPrinter struct {
	out, side io.Writer
	dim       bool
	state     godwit.DeltaKind // of the last delta, once there was one
	begun     bool
	lineStart bool // of out
	call      godwit.ToolCall
	err       error // the first of a write
}

func newReplyPrinter(c *console) *replyPrinter {
	return &replyPrinter{out: c.out, side: c.err, dim: isTerminal(c.err), lineStart: true}
}

// print takes the deltas of one token.
func (p *replyPrinter) print(deltas []godwit.Delta) error {
	for _, d := range deltas {
		p.turn(d.Kind)
		switch d.Kind {
		case godwit.ReasoningText:
			p.write(p.side, d.Text)
		case godwit.ContentText:
			p.write(p.out, d.Text)
			p.lineStart = strings.HasSuffix(d.Text, "\n")
		case godwit.CallStart:
			p.call = godwit.ToolCall{Name: d.Name}
		case godwit.CallArguments:
			p.call.Arguments += d.Text
		case godwit.CallEnd:
			p.printCall()
		}
	}
	return p.err
}

// turn writes what stands between reasoning and the rest.
func (p *replyPrinter) turn(kind godwit.DeltaKind) {
	was := p.begun && p.state == godwit.ReasoningText
	is := kind == godwit.ReasoningText
	if is && !was && p.dim {
		p.write(p.side, "\x1b[2m")
	}
	if was && !is {
		p.endReasoning()
	}
	p.begun, p.state = true, kind
}

func (p *replyPrinter) endReasoning() {
	end := "\n\n"
	if p.dim {
		end = "\x1b[0m" + end
	}
	p.write(p.side, end)
}

func (p *replyPrinter) printCall() {
	if !p.lineStart {
		p.write(p.out, "\n")
	}
	p.lineStart = true
	var line strings.Builder
	err := printJSON(&line, struct {
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	}{p.call.Name, json.RawMessage(p.call.Arguments)})
	if err != nil && p.err == nil {
		p.err = err
	}
	p.write(p.out, line.String())
}

// end closes what is open.
func (p *replyPrinter) end() error {
	if p.begun && p.state == godwit.ReasoningText {
		p.endReasoning()
	}
	if !p.lineStart {
		p.write(p.out, "\n")
	}
	return p.err
}

func (p *replyPrinter) write(w io.Writer, text string) {
	if _, err := io.WriteString(w, text); err != nil && p.err == nil {
		p.err = fmt.Errorf("write the reply: %w", err)
	}
}
