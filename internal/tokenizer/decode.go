package tokenizer

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// A decoder is a chain of stages through which tokens flow as text. A token
// may come in parts, each of whole characters, so that the stages behind one
// that joins all tokens to one need not wait for its end. A stage holds back
// only what later tokens may still change: the same chain serves Decode, which
// feeds it everything, and Stream, which asks after every token what has come out.
type stage interface {
	write(part string) // a part of the present token
	end()              // the present token is complete
	flush()            // no token follows
}

// decoder is one step of the file's decoder: it builds its stage, and says
// what a token stands for on its own, wherever it is.
type decoder interface {
	build(next stage) stage
	// bytes returns the text of a token; done ends the chain early.
	bytes(token []byte) (text []byte, done bool)
}

// sink is the end of every chain.
type sink struct{ out []byte }

func (s *sink) write(part string) { s.out = append(s.out, part...) }
func (s *sink) end()              {}
func (s *sink) flush()            {}

// take returns what has come out since the last call.
func (s *sink) take() string {
	text := string(s.out)
	s.out = s.out[:0]
	return text
}

// each is a decoder that treats every token on its own, knowing its index only.
type each func(index int, token string) string

func (f each) build(next stage) stage { return &eachStage{f: f, next: next} }

func (f each) bytes(token []byte) ([]byte, bool) { return []byte(f(1, string(token))), false }

type eachStage struct {
	f     each
	next  stage
	token []byte
	index int
}

func (s *eachStage) write(part string) { s.token = append(s.token, part...) }

func (s *eachStage) end() {
	s.next.write(s.f(s.index, string(s.token)))
	s.next.end()
	s.token = s.token[:0]
	s.index++
}

func (s *eachStage) flush() { s.next.flush() }

// fuse joins all tokens to one.
type fuse struct{}

func (fuse) build(next stage) stage { return &fuseStage{next} }

func (fuse) bytes(token []byte) ([]byte, bool) { return token, true }

type fuseStage struct{ next stage }

func (s *fuseStage) write(part string) { s.next.write(part) }
func (s *fuseStage) end()              {}

func (s *fuseStage) flush() {
	s.next.end()
	s.next.flush()
}

// joinBytes is the ByteLevel decoder: it turns characters back into bytes and
// joins all tokens to one. Bytes that are no UTF-8 become U+FFFD, as many as
// lossy has it.
type joinBytes struct{}

func (joinBytes) build(next stage) stage { return &bytesStage{next: next} }

func (joinBytes) bytes(token []byte) ([]byte, bool) { return appendCharBytes(nil, string(token)), true }

type bytesStage struct {
	next    stage
	token   []byte
	pending []byte // bytes of a character that is not complete yet
}

func (s *bytesStage) write(part string) { s.token = append(s.token, part...) }

func (s *bytesStage) end() {
	s.pending = appendCharBytes(s.pending, string(s.token))
	s.token = s.token[:0]
	keep := incomplete(s.pending)
	if whole := len(s.pending) - keep; whole > 0 {
		s.next.write(lossy(s.pending[:whole]))
		s.pending = append(s.pending[:0], s.pending[whole:]...)
	}
}

func (s *bytesStage) flush() {
	if len(s.pending) > 0 {
		s.next.write(lossy(s.pending))
	}
	s.next.end()
	s.next.flush()
}

// fallback is the ByteFallback decoder: runs of tokens such as <0xE2> become
// one token of text if they are UTF-8 as a whole, else one U+FFFD for each.
type fallback struct{}

func (fallback) build(next stage) stage { return &fallbackStage{next: next} }

func (fallback) bytes(token []byte) ([]byte, bool) {
	if b, ok := fallbackByte(string(token)); ok {
		return []byte{b}, true
	}
	return token, false
}

type fallbackStage struct {
	next    stage
	token   []byte
	run     []byte
	checked int  // bytes of run that are whole characters
	broken  bool // the run cannot become UTF-8 any more; nothing of it is held
}

func (s *fallbackStage) write(part string) { s.token = append(s.token, part...) }

func (s *fallbackStage) end() {
	token := string(s.token)
	s.token = s.token[:0]
	b, ok := fallbackByte(token)
	if !ok {
		s.endRun()
		s.next.write(token)
		s.next.end()
		return
	}
	s.run = append(s.run, b)
	for !s.broken && s.checked < len(s.run) && utf8.FullRune(s.run[s.checked:]) {
		r, n := utf8.DecodeRune(s.run[s.checked:])
		s.broken = r == utf8.RuneError && n == 1
		s.checked += n
	}
	if s.broken {
		s.replace()
	}
}

// replace emits U+FFFD for every byte held.
func (s *fallbackStage) replace() {
	for range s.run {
		s.next.write("\uFFFD")
		s.next.end()
	}
	s.run = s.run[:0]
}

// endRun emits what is held of a run.
func (s *fallbackStage) endRun() {
	if s.checked < len(s.run) {
		s.replace()
	} else if len(s.run) > 0 {
		s.next.write(string(s.run))
		s.next.end()
	}
	s.run, s.checked, s.broken = s.run[:0], 0, false
}

func (s *fallbackStage) flush() {
	s.endRun()
	s.next.flush()
}

// fallbackByte reads a token of the form <0xE2>. A plus sign may stand for the
// first digit, as in the reference.
func fallbackByte(token string) (byte, bool) {
	if len(token) != 6 || token[:3] != "<0x" || token[5] != '>' {
		return 0, false
	}
	v, err := strconv.ParseUint(strings.TrimPrefix(token[3:5], "+"), 16, 8)
	return byte(v), err == nil
}

// trim is the Strip decoder: it takes up to start times a character from the
// start of every token and up to stop times from its end.
type trim struct {
	char        rune
	start, stop int
}

func (d trim) build(next stage) stage { return &trimStage{trim: d, next: next, left: d.start} }

func (d trim) bytes(token []byte) ([]byte, bool) {
	var s sink
	t := d.build(&s)
	t.write(string(token))
	t.end()
	return s.out, false
}

type trimStage struct {
	trim
	next stage
	left int // how many may still be taken from the start; 0 after another character
	held int // how many stand at the end so far, up to stop
}

func (s *trimStage) write(part string) {
	for i, r := range part {
		switch {
		case r == s.char && s.left > 0:
			s.left--
		case r == s.char && s.held < s.stop:
			s.held++
			s.left = 0
		case r == s.char && s.stop > 0: // one of those held turns out to stay
			s.next.write(string(r))
		case s.stop == 0 && s.left == 0: // nothing can be taken any more
			s.next.write(part[i:])
			return
		default:
			s.next.write(strings.Repeat(string(s.char), s.held) + string(r))
			s.held, s.left = 0, 0
		}
	}
}

func (s *trimStage) end() {
	s.left, s.held = s.trim.start, 0
	s.next.end()
}

func (s *trimStage) flush() { s.next.flush() }

// wordEnd is the BPEDecoder: a suffix becomes a space, but nothing in the last token.
type wordEnd struct{ suffix string }

func (d wordEnd) build(next stage) stage { return &wordEndStage{wordEnd: d, next: next} }

func (d wordEnd) bytes(token []byte) ([]byte, bool) {
	return []byte(strings.ReplaceAll(string(token), d.suffix, " ")), false
}

type wordEndStage struct {
	wordEnd
	next  stage
	token []byte
	last  string // the token before, which may be the last
	have  bool
}

func (s *wordEndStage) write(part string) { s.token = append(s.token, part...) }

func (s *wordEndStage) end() {
	s.release(" ")
	s.last, s.have = string(s.token), true
	s.token = s.token[:0]
}

func (s *wordEndStage) release(space string) {
	if s.have {
		s.next.write(strings.ReplaceAll(s.last, s.suffix, space))
		s.next.end()
	}
	s.have = false
}

func (s *wordEndStage) flush() {
	s.release("")
	s.next.flush()
}

// incomplete returns the length of the start of a character at the end of b.
func incomplete(b []byte) int {
	for n := 1; n <= min(3, len(b)); n++ {
		if tail := b[len(b)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}

// lossy makes bytes UTF-8. Every byte that cannot go on becomes U+FFFD, the
// start of a character that breaks off becomes one for all its bytes.
func lossy(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var out strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			for n < len(b) && n < 4 && !utf8.FullRune(b[:n]) && started(b[:n+1]) {
				n++
			}
		}
		out.WriteRune(r)
		b = b[n:]
	}
	return out.String()
}

// started reports whether bytes that follow a started character still belong
// to a character: either it is complete or it can go on.
func started(b []byte) bool {
	r, n := utf8.DecodeRune(b)
	return !utf8.FullRune(b) || r != utf8.RuneError || n > 1
}

// metaspaceDecoder turns the replacement into spaces, but in the first token
// into nothing, where the pre-tokenizer has put one.
func metaspaceDecoder(m metaspace) decoder {
	return each(func(index int, token string) string {
		if index == 0 && m.prepend != prependNever {
			return strings.ReplaceAll(token, m.replacement, "")
		}
		return strings.ReplaceAll(token, m.replacement, " ")
	})
}

// pieceDecoder is the WordPiece decoder.
func pieceDecoder(prefix string, cleanup bool) decoder {
	steps := []string{
		" .", ".", " ?", "?", " !", "!", " ,", ",", " ' ", "'", " n't", "n't", " 'm", "'m",
		" do not", " don't", " 's", "'s", " 've", "'ve", " 're", "'re",
	}
	return each(func(index int, token string) string {
		if index > 0 {
			if rest, ok := strings.CutPrefix(token, prefix); ok {
				token = rest
			} else {
				token = " " + token
			}
		}
		if cleanup { // one after the other: a later rule sees what an earlier one made
			for i := 0; i < len(steps); i += 2 {
				token = strings.ReplaceAll(token, steps[i], steps[i+1])
			}
		}
		return token
	})
}

// spaced stands for a missing decoder: tokens with spaces between them.
type spaced struct{}

func (spaced) build(next stage) stage {
	return each(func(index int, token string) string {
		if index > 0 {
			token = " " + token
		}
		return token
	}).build(next)
}

func (spaced) bytes(token []byte) ([]byte, bool) { return token, true }

// readDecoders reads "decoder", flattened.
func readDecoders(n *node) ([]decoder, error) {
	if n.isNull() {
		return []decoder{spaced{}}, nil
	}
	return readDecoder(n, nil)
}

// readDecoder reads one decoder and appends its steps.
func readDecoder(n *node, out []decoder) ([]decoder, error) {
	r, kind := kindOf(n)
	if r.err != nil {
		return nil, r.err
	}
	if len(out) > maxSteps {
		return nil, n.errorf("more than %d steps", maxSteps)
	}
	var d decoder
	switch kind {
	case "Sequence":
		for _, child := range r.list("decoders") {
			var err error
			if out, err = readDecoder(&child, out); err != nil {
				return nil, err
			}
		}
		return out, r.done()
	case "ByteLevel":
		for _, key := range []string{"add_prefix_space", "trim_offsets", "use_regex"} {
			r.flagOr(key, true) // about encoding
		}
		d = joinBytes{}
	case "Metaspace":
		d = metaspaceDecoder(readMetaspace(r))
	case "ByteFallback":
		d = fallback{}
	case "Fuse":
		d = fuse{}
	case "Strip":
		d = trim{r.char("content"), r.count("start", 1<<20), r.count("stop", 1<<20)}
	case "Replace":
		rule := replace{readPattern(r, "pattern"), r.str("content"), maxToken}
		d = each(func(_ int, token string) string {
			text, _ := rule.normalize(token)
			return text
		})
	case "BPEDecoder":
		d = wordEnd{r.str("suffix")}
	case "WordPiece":
		d = pieceDecoder(r.str("prefix"), r.flag("cleanup"))
	default:
		return nil, n.errorf("type %q is not known to us", clip(kind))
	}
	return append(out, d), r.done()
}
