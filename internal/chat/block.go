package chat

import "strings"

// block is a run of calls behind one marker.
type block struct {
	from    parserState // where the marker stood
	pending []byte      // text since the last call; it is prose if no call follows
	calls   int         // so far
	list    listState
	parted  bool // a separator stands behind the last call
}

type listState int

const (
	noList listState = iota
	openList
	closedList
)

// openBlock begins a block at its marker, which is the start of the buffer; ""
// for a call that stands bare.
func (p *Parser) openBlock(marker string) {
	p.block = block{from: p.state}
	p.state = inBlock
	if marker == xmlOpen {
		p.beginXML(p.buf)
		return
	}
	p.skip(p.buf, len(marker))
}

// skip moves the buffer up to n bytes into rest, a tail of it, to what is
// pending.
func (p *Parser) skip(rest string, n int) {
	n += len(p.buf) - len(rest)
	p.block.pending = append(p.block.pending, p.buf[:n]...)
	p.buf = p.buf[n:]
}

// stepBlock reads what stands around the calls of a block. What cannot stand
// there ends it.
func (p *Parser) stepBlock() bool {
	rest := strings.TrimLeft(p.buf, whitespace)
	b, f := &p.block, p.format
	switch {
	case rest == "" && !p.closing:
		return false
	case p.endsBlock(rest):
		p.buf = strings.TrimPrefix(rest, f.close)
		b.pending = nil
		if p.closing && p.buf == rest { // half a marker
			p.buf = ""
		}
		p.leaveBlock()
	case f.xml && strings.HasPrefix(rest, xmlOpen):
		p.beginXML(rest)
	case !p.closing && (mayBecome(rest, f.close) || f.xml && mayBecome(rest, xmlOpen)):
		return false
	case strings.HasPrefix(rest, "{") && b.list != closedList:
		p.skip(rest, 0)
		p.beginJSON(f.bare && b.calls > 0)
	default:
		p.stepSeparator(rest)
	}
	return true
}

// endsBlock reports whether the marker behind the calls is next, or its first
// half at the end of the text.
func (p *Parser) endsBlock(rest string) bool {
	if p.format.close == "" || p.block.calls == 0 && p.block.list != closedList {
		return false
	}
	return strings.HasPrefix(rest, p.format.close) || p.closing && rest != "" && strings.HasPrefix(p.format.close, rest)
}

// stepSeparator reads the punctuation of a list of calls.
func (p *Parser) stepSeparator(rest string) {
	b := &p.block
	c := (rest + "\x00")[0]
	switch {
	case c == '[' && b.calls == 0 && b.list == noList && p.format.open != "" && !p.format.bare:
		b.list = openList
	case c == ']' && b.list == openList:
		b.list = closedList
	case (c == ',' || c == ';' && p.format.bare) && b.calls > 0 && !b.parted && b.list != closedList:
		b.parted = true
	default:
		p.leaveBlock()
		return
	}
	p.skip(rest, 1)
	if b.list == closedList && b.calls > 0 {
		b.pending = nil
	}
}

// leaveBlock goes on with prose, of which what is pending is a part.
func (p *Parser) leaveBlock() {
	if p.state = p.block.from; p.block.calls > 0 {
		p.state = inText
	}
	p.prose().add(string(p.block.pending))
	p.block.pending = nil
}

// prose returns what text belongs to that is no call.
func (p *Parser) prose() *prose {
	if p.state == inThought {
		return &p.reasoning
	}
	return &p.content
}

// openCall is the call being read.
type openCall struct {
	reader interface {
		read(text string, closing bool) (int, progress)
	}
	name string
	args []byte // not passed on yet
	told bool   // that the call has begun
}

func (p *Parser) beginJSON(strict bool) {
	p.call = openCall{reader: &jsonCall{sink: p, strict: strict}}
	p.state, p.block.parted = inCall, false
}

// beginXML begins a call whose <function= is the start of rest.
func (p *Parser) beginXML(rest string) {
	p.skip(rest, len(xmlOpen))
	p.call = openCall{reader: &xmlCall{sink: p, tools: p.tools, close: p.format.close}}
	p.state, p.block.parted = inCall, false
}

// stepCall reads on in a call. One that stands in the reasoning cannot go on
// behind the reasoning's end, unless it was told already.
func (p *Parser) stepCall() bool {
	text, told := p.buf, p.call.told
	cut := false
	if p.block.from == inThought && p.block.calls == 0 && !told {
		held := p.buf
		var marker string
		text, marker = p.find([]string{thinkClose})
		p.buf, cut = held, marker != ""
	}
	n, got := p.call.reader.read(text, p.closing && !cut)
	if !p.call.told {
		p.block.pending = append(p.block.pending, p.buf[:n]...)
	}
	p.buf = p.buf[n:]
	if p.call.told {
		p.tellArguments()
	}
	switch {
	case got == done:
		p.endCall()
	case got == broken, cut && !p.call.told:
		p.dropCall()
	default:
		return told != p.call.told
	}
	return true
}

// callName implements callSink.
func (p *Parser) callName(name string) {
	p.call.name = name
	p.tellEarly()
}

// callArguments implements callSink.
func (p *Parser) callArguments(text []byte) {
	p.call.args = append(p.call.args, text...)
	p.tellEarly()
}

// tellEarly tells of a call as soon as it can be nothing else.
func (p *Parser) tellEarly() {
	if p.opts.Live && !p.call.told && p.call.name != "" && len(p.call.args) > 0 {
		p.tellStart()
	}
}

func (p *Parser) tellStart() {
	p.call.told = true
	p.unclosed = p.unclosed || p.block.from == inThought
	p.content.trim = true
	p.block.pending = nil
	p.out = append(p.out, Delta{Kind: CallStart, Call: p.calls, ID: p.opts.NewID(), Name: p.call.name})
}

func (p *Parser) tellArguments() {
	if len(p.call.args) > 0 {
		p.out = append(p.out, Delta{Kind: CallArguments, Call: p.calls, Text: string(p.call.args)})
		p.call.args = nil
	}
}

// endCall passes on a call that is whole.
func (p *Parser) endCall() {
	if !p.call.told {
		p.tellStart()
		p.tellArguments()
	}
	p.tellEnd(false)
	p.state = inBlock
	if p.opts.Single {
		p.state = ended
	}
}

func (p *Parser) tellEnd(incomplete bool) {
	p.out = append(p.out, Delta{Kind: CallEnd, Call: p.calls, Incomplete: incomplete})
	p.calls++
	p.block.calls++
	p.block.pending = nil
}

// dropCall gives up a call that is cut off or broken: it is prose, as it was
// written, unless its start has been told.
func (p *Parser) dropCall() {
	if p.call.told {
		p.tellEnd(true)
		if p.closing {
			p.buf = "" // white space and half a marker
		}
	}
	p.leaveBlock()
}
