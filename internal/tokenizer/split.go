package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// piece is a part of the text on its way to the model.
type piece struct {
	text  string
	first bool // it starts where the text that the user gave starts
}

// splitter cuts pieces into smaller ones or rewrites them. It appends what
// becomes of p, which is not empty; empty pieces vanish afterwards.
type splitter interface {
	split(p piece, out []piece) []piece
}

// matcher finds the matches of a pattern in a text, from left to right.
type matcher interface {
	matches(text string, out []span) []span
}

// literal matches a text; the empty one matches between any two characters.
type literal string

func (l literal) matches(text string, out []span) []span {
	if l == "" {
		for i := range text {
			out = append(out, span{uint32(i), uint32(i)})
		}
		return append(out, span{uint32(len(text)), uint32(len(text))})
	}
	for at := 0; ; {
		i := strings.Index(text[at:], string(l))
		if i < 0 {
			return out
		}
		out = append(out, span{uint32(at + i), uint32(at + i + len(l))})
		at += i + len(l)
	}
}

// oneOf matches every character that a predicate holds for.
type oneOf func(rune) bool

func (f oneOf) matches(text string, out []span) []span {
	for i, r := range text {
		if f(r) {
			out = append(out, span{uint32(i), uint32(i + utf8.RuneLen(r))})
		}
	}
	return out
}

// matches makes the words of a splitRule the matches, which cover the text.
func (r *splitRule) matches(text string, out []span) []span {
	c := classes()
	for i := 0; i < len(text); {
		end := r.scan(c, text, i)
		out = append(out, span{uint32(i), uint32(end)})
		i = end
	}
	return out
}

// behavior says what becomes of the matches of a pattern and of what is
// between them.
type behavior int

const (
	isolated behavior = iota
	removed
	mergedWithPrevious
	mergedWithNext
	contiguous
)

var behaviors = map[string]behavior{
	"Isolated": isolated, "Removed": removed, "MergedWithPrevious": mergedWithPrevious,
	"MergedWithNext": mergedWithNext, "Contiguous": contiguous,
}

// pattern is a splitter by the matches of a pattern.
type pattern struct {
	matcher
	behavior behavior
	invert   bool // matches and what is between them change places
}

// part is a range of a text that is a match or not.
type part struct {
	start, end uint32
	match      bool
}

func (s pattern) split(p piece, out []piece) []piece {
	parts := s.parts(p.text)
	switch s.behavior {
	case contiguous:
		parts = joinAlike(parts)
	case mergedWithPrevious:
		parts = joinPrevious(parts)
	case mergedWithNext:
		parts = joinNext(parts)
	}
	for _, q := range parts {
		if s.behavior != removed || !q.match {
			out = append(out, piece{p.text[q.start:q.end], p.first && q.start == 0})
		}
	}
	return out
}

// parts covers a text with matches and what is between them.
func (s pattern) parts(text string) []part {
	spans := s.matches(text, nil)
	parts := make([]part, 0, 2*len(spans)+1)
	at := uint32(0)
	for _, m := range spans {
		if m.start > at {
			parts = append(parts, part{at, m.start, s.invert})
		}
		parts = append(parts, part{m.start, m.end, !s.invert})
		at = m.end
	}
	if int(at) < len(text) {
		parts = append(parts, part{at, uint32(len(text)), s.invert})
	}
	return parts
}

// joinAlike joins neighbours that are both matches or both not. The first part
// joins an imaginary one that is not.
func joinAlike(parts []part) []part {
	out, was := parts[:0], false
	for _, p := range parts {
		if p.match == was && len(out) > 0 {
			out[len(out)-1].end = p.end
		} else {
			out = append(out, p)
		}
		was = p.match
	}
	return out
}

// joinPrevious joins every match that does not follow a match to what is before it.
func joinPrevious(parts []part) []part {
	out, was := parts[:0], false
	for _, p := range parts {
		if p.match && !was && len(out) > 0 {
			out[len(out)-1].end = p.end
		} else {
			out = append(out, p)
		}
		was = p.match
	}
	return out
}

// joinNext joins every match that no match follows to what is behind it.
func joinNext(parts []part) []part {
	var out []part
	was := false
	for i := len(parts) - 1; i >= 0; i-- {
		p := parts[i]
		if p.match && !was && len(out) > 0 {
			out[len(out)-1].start = p.start
		} else {
			out = append(out, p)
		}
		was = p.match
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}

// words is the Whitespace pre-tokenizer: runs of word characters and runs of
// what is neither word character nor white space.
type words struct{}

func (words) split(p piece, out []piece) []piece {
	c := classes()
	kind := func(class uint32) int {
		switch {
		case class&clsWord != 0:
			return 1
		case class&clsSpace != 0:
			return 0
		}
		return 2
	}
	for i := 0; i < len(p.text); {
		class, n := c.at(p.text, i)
		start, want := i, kind(class)
		for i += n; i < len(p.text); i += n {
			if class, n = c.at(p.text, i); kind(class) != want {
				break
			}
		}
		if want != 0 {
			out = append(out, piece{p.text[start:i], p.first && start == 0})
		}
	}
	return out
}

// byteLevel is the ByteLevel pre-tokenizer: a splitter, and the change of every
// byte into a character, which the model does itself when it comes last.
type byteLevel struct {
	prefixSpace bool
	rule        *splitRule // nil for none
	change      bool
}

func (b byteLevel) split(p piece, out []piece) []piece {
	start := len(out)
	out = append(out, b.prefixed(p))
	if b.rule != nil {
		whole := out[start]
		out = pattern{matcher: b.rule}.split(whole, out[:start])
	}
	if b.change {
		for i := range out[start:] {
			text := &out[start+i].text
			*text = string(appendByteChars(nil, *text))
		}
	}
	return out
}

// prefixed puts a space before a piece that has none.
func (b byteLevel) prefixed(p piece) piece {
	if b.prefixSpace && !strings.HasPrefix(p.text, " ") {
		p.text = " " + p.text
	}
	return p
}

// prependScheme says before which pieces Metaspace puts its character.
type prependScheme int

const (
	prependAlways prependScheme = iota
	prependFirst
	prependNever
)

// metaspace is the Metaspace pre-tokenizer.
type metaspace struct {
	replacement string // one character
	prepend     prependScheme
	cut         bool // before every replacement
}

func (m metaspace) split(p piece, out []piece) []piece {
	p.text = strings.ReplaceAll(p.text, " ", m.replacement)
	wanted := m.prepend == prependAlways || m.prepend == prependFirst && p.first
	if wanted && !strings.HasPrefix(p.text, m.replacement) {
		p.text = m.replacement + p.text
	}
	if !m.cut {
		return append(out, p)
	}
	return pattern{matcher: literal(m.replacement), behavior: mergedWithNext}.split(p, out)
}

// fixedLength cuts pieces of a number of characters.
type fixedLength int

func (f fixedLength) split(p piece, out []piece) []piece {
	start, n := 0, 0
	for i := range p.text {
		if n == int(f) {
			out = append(out, piece{p.text[start:i], p.first && start == 0})
			start, n = i, 0
		}
		n++
	}
	return append(out, piece{p.text[start:], p.first && start == 0})
}
