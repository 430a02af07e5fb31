package main

import (
	"bytes"
	"errors"
	"testing"

	"github.com/godwit-llm/godwit"
)

func TestReplyPrinter(t *testing.T) {
	call := []godwit.Delta{
		{Kind: godwit.CallStart, ID: "1", Name: "f"},
		{Kind: godwit.CallArguments, Text: `{"a":`},
		{Kind: godwit.CallArguments, Text: ` "<b>"}`},
		{Kind: godwit.CallEnd},
	}
	text := func(kind godwit.DeltaKind, text string) godwit.Delta { return godwit.Delta{Kind: kind, Text: text} }
	for _, c := range []struct {
		name      string
		dim       bool
		deltas    []godwit.Delta
		out, side string
	}{
		{"nothing", false, nil, "", ""},
		{"content", false, []godwit.Delta{text(godwit.ContentText, "a"), text(godwit.ContentText, "b")}, "ab\n", ""},
		{"content with its newline", false, []godwit.Delta{text(godwit.ContentText, "a\n")}, "a\n", ""},
		{"reasoning", false, []godwit.Delta{text(godwit.ReasoningText, "r"), text(godwit.ReasoningText, "s"), text(godwit.ContentText, "a")}, "a\n", "rs\n\n"},
		{"reasoning on a terminal", true, []godwit.Delta{text(godwit.ReasoningText, "r"), text(godwit.ReasoningText, "s"), text(godwit.ContentText, "a")}, "a\n", "\x1b[2mrs\x1b[0m\n\n"},
		{"only reasoning", true, []godwit.Delta{text(godwit.ReasoningText, "r")}, "", "\x1b[2mr\x1b[0m\n\n"},
		{"calls", false, append(append([]godwit.Delta{text(godwit.ContentText, "a")}, call...), call...), "a\n" + `{"name":"f","arguments":{"a":"<b>"}}` + "\n" + `{"name":"f","arguments":{"a":"<b>"}}` + "\n", ""},
	} {
		var out, side bytes.Buffer
		p := &replyPrinter{out: &out, side: &side, dim: c.dim, lineStart: true}
		for _, d := range c.deltas {
			if err := p.print([]godwit.Delta{d}); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.end(); err != nil || out.String() != c.out || side.String() != c.side {
			t.Errorf("%s: got %q and %q, %v, want %q and %q", c.name, out.String(), side.String(), err, c.out, c.side)
		}
	}
}

type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, errClosedPipe }

var errClosedPipe = errors.New("closed")

func TestReplyPrinterError(t *testing.T) {
	p := &replyPrinter{out: closedPipe{}, side: closedPipe{}, lineStart: true}
	if err := p.print([]godwit.Delta{{Kind: godwit.ContentText, Text: "a"}}); !errors.Is(err, errClosedPipe) {
		t.Errorf("got %v", err)
	}
}
