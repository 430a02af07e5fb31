package chat

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"strings"
)

// ParserOptions says what a Parser looks for. The zero value finds reasoning
// but no calls.
type ParserOptions struct {
	Start Start  // from Format.StartOf
	Tools []Tool // of the request; without any, calls are content
	// Live passes the arguments of a call on while it is being written. Without
	// it a call comes out when it is whole, and one that is cut off or broken is
	// content, as it was written.
	Live bool
	// Single ends the reply after its first call, for parallel_tool_calls: false.
	Single bool
	// NewID makes the ids of calls; nil means "call_" and 24 random digits.
	NewID func() string
}

// Parser takes the text that a model generates apart: reasoning, content and
// tool calls. It is fed pieces of any length, of whole characters, and what
// comes out does not depend on where they are cut. It holds back white space
// and what may be the beginning of a marker. It is for one goroutine.
type Parser struct {
	format Format
	opts   ParserOptions
	tools  toolSet // nil where calls are not looked for

	state   parserState
	buf     string // not yet understood
	closing bool   // nothing comes after buf
	out     []Delta

	reasoning, content prose
	block              block
	call               openCall
	calls              int  // finished, or given up after their start was told
	unclosed           bool // the reasoning ended by a call: a </think> may still come
}

type parserState int

const (
	beforeText parserState = iota // a <think> may come
	inThought                     // up to </think>
	inText                        // content
	inBlock                       // behind the marker of a block of calls, or behind a call
	inCall
	ended // by a call that is to be the only one
)

// NewParser returns a parser of one reply.
func NewParser(f Format, opts ParserOptions) *Parser {
	p := &Parser{format: f, opts: opts}
	p.reasoning = prose{p: p, kind: ReasoningText, trim: true}
	p.content = prose{p: p, kind: ContentText, trim: opts.Start == InContent}
	if p.opts.NewID == nil {
		p.opts.NewID = newCallID
	}
	if f.Calls() && len(opts.Tools) > 0 {
		p.tools = newToolSet(opts.Tools)
	}
	if !f.reasoning {
		p.state = inText
	}
	return p
}

func newCallID() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails
	return "call_" + hex.EncodeToString(b[:])
}

// Feed takes more text and returns what has become certain with it.
func (p *Parser) Feed(text string) []Delta {
	p.buf += text
	return p.run()
}

// Close ends the text and returns what was held back.
func (p *Parser) Close() []Delta {
	p.closing = true
	return p.run()
}

// InReasoning reports whether the text so far ends in the reasoning.
func (p *Parser) InReasoning() bool {
	return p.state == inThought || p.state == beforeText && p.opts.Start == InReasoning
}

// inMark reports whether the text so far ends in what may be the beginning of
// a marker. White space is not: it only waits for what it belongs to.
func (p *Parser) inMark() bool { return strings.TrimLeft(p.buf, whitespace) != "" }

// settled reports whether no reasoning can come any more.
func (p *Parser) settled() bool { return p.state == inText || p.state == ended }

// Done reports whether nothing more can come: the only call of the reply is
// over. What is fed then is dropped.
func (p *Parser) Done() bool { return p.state == ended }

func (p *Parser) run() []Delta {
	for p.step() {
	}
	if p.closing && p.calls == 0 {
		p.content.flush()
	}
	out := p.out
	p.out = nil
	return out
}

// step goes on in the text; it returns false when more is needed.
func (p *Parser) step() bool {
	switch p.state {
	case beforeText:
		return p.stepBefore()
	case inThought:
		return p.stepThought()
	case inText:
		return p.stepText()
	case inBlock:
		return p.stepBlock()
	case inCall:
		return p.stepCall()
	}
	p.buf = ""
	return false
}

// stepBefore looks for a <think> at the start of the text, which may repeat
// the prompt's.
func (p *Parser) stepBefore() bool {
	rest := strings.TrimLeft(p.buf, whitespace)
	opened := p.opts.Start == InReasoning
	switch {
	case strings.HasPrefix(rest, thinkOpen):
		p.buf, opened = rest[len(thinkOpen):], true
	case mayBecome(rest, thinkOpen) && !p.closing:
		return false
	}
	p.state = inText
	if opened {
		p.content.trim, p.state = true, inThought
	}
	return true
}

// stepThought passes on text up to the end of the reasoning. A block of calls
// at the start of a line ends it too.
func (p *Parser) stepThought() bool {
	markers := []string{thinkClose}
	if p.tools != nil {
		markers = append(markers, p.format.open)
	}
	head, marker := p.find(markers)
	p.reasoning.add(head)
	switch {
	case marker == "":
		return false
	case marker == thinkClose:
		p.buf = p.buf[len(marker):]
		p.state = inText
	case !p.reasoning.atLineStart():
		p.reasoning.add(marker)
		p.buf = p.buf[len(marker):]
	default:
		p.openBlock(marker)
	}
	return true
}

// stepText passes on content up to a block of calls.
func (p *Parser) stepText() bool {
	if p.tools == nil {
		p.content.add(p.buf)
		p.content.flush()
		p.buf = ""
		return false
	}
	if p.format.bare && !p.content.said && p.calls == 0 {
		rest := strings.TrimLeft(p.buf, whitespace)
		p.content.add(p.buf[:len(p.buf)-len(rest)])
		p.buf = rest
		if strings.HasPrefix(rest, "{") {
			p.openBlock("")
			p.beginJSON(true)
			return true
		}
	}
	markers := p.format.openers()
	if p.unclosed {
		markers = append(markers, thinkClose)
	}
	head, marker := p.find(markers)
	p.content.add(head)
	switch marker {
	case "":
		return false
	case thinkClose:
		p.buf, p.unclosed = p.buf[len(marker):], false
	default:
		p.openBlock(marker)
	}
	return true
}

// find takes the text before the first marker from the buffer; without one,
// all that cannot be the beginning of one. Markers begin with <.
func (p *Parser) find(markers []string) (head, marker string) {
	at := 0
	for ; ; at++ {
		n := strings.IndexByte(p.buf[at:], '<')
		if n < 0 {
			at = len(p.buf)
			break
		}
		at += n
		if marker = prefixOf(p.buf[at:], markers); marker != "" {
			break
		}
		if !p.closing && mayBecome(p.buf[at:], markers...) {
			break
		}
	}
	head, p.buf = p.buf[:at], p.buf[at:]
	return head, marker
}

// prefixOf returns the marker that text begins with, or "".
func prefixOf(text string, markers []string) string {
	for _, m := range markers {
		if strings.HasPrefix(text, m) {
			return m
		}
	}
	return ""
}

// mayBecome reports whether text is the beginning of one of the markers.
func mayBecome(text string, markers ...string) bool {
	for _, m := range markers {
		if len(text) < len(m) && strings.HasPrefix(m, text) {
			return true
		}
	}
	return false
}

// prose passes on running text. White space at its end is held back until it
// is known whether something follows: next to markers it belongs to them.
type prose struct {
	p    *Parser
	kind DeltaKind
	trim bool // drop white space at the start
	said bool // something was passed on
	gap  []byte
}

func (t *prose) add(text string) {
	if t.trim && !t.said {
		t.gap = nil
		text = strings.TrimLeft(text, whitespace)
	}
	solid := strings.TrimRight(text, whitespace)
	if solid != "" {
		t.pass(string(t.gap) + solid)
		t.gap = nil
	}
	t.gap = append(t.gap, text[len(solid):]...)
}

// flush passes on the white space at the end.
func (t *prose) flush() {
	t.pass(string(t.gap))
	t.gap = nil
}

func (t *prose) pass(text string) {
	if text != "" {
		t.said = true
		t.p.out = append(t.p.out, Delta{Kind: t.kind, Text: text})
	}
}

// atLineStart reports whether what comes next stands at the start of a line.
func (t *prose) atLineStart() bool { return !t.said || bytes.ContainsRune(t.gap, '\n') }
