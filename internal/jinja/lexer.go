package jinja

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokEOF tokenKind = iota
	tokData
	tokVarBegin
	tokVarEnd
	tokBlockBegin
	tokBlockEnd
	tokName
	tokString
	tokInt
	tokFloat
	tokOp
)

// token is one lexical unit. text holds data, a name, an operator, the digits
// of a number or the unescaped string.
type token struct {
	kind tokenKind
	line int
	text string
}

func (t token) String() string {
	switch t.kind {
	case tokEOF:
		return "end of template"
	case tokData:
		return "template text"
	case tokVarBegin:
		return "{{"
	case tokVarEnd:
		return "}}"
	case tokBlockBegin:
		return "{%"
	case tokBlockEnd:
		return "%}"
	case tokString:
		return "string"
	case tokInt:
		return "integer"
	case tokFloat:
		return "float"
	}
	return t.text
}

// lexer cuts a template into tokens; whitespace control happens here.
type lexer struct {
	src   string
	pos   int
	line  int
	toks  []token
	stack []byte // closing brackets still owed inside a tag
}

// lex normalises newlines, drops one trailing newline as Jinja does, and
// returns the tokens, the last of which is tokEOF.
func lex(source string) ([]token, error) {
	if !utf8.ValidString(source) {
		return nil, &SyntaxError{1, "template is not valid UTF-8"}
	}
	source = normalizeNewlines(source)
	source = strings.TrimSuffix(source, "\n")
	l := &lexer{src: source, line: 1, toks: make([]token, 0, len(source)/8+4)}
	for l.pos < len(l.src) {
		if err := l.root(); err != nil {
			return nil, err
		}
	}
	l.emit(tokEOF, "")
	return l.toks, nil
}

func normalizeNewlines(s string) string {
	if strings.IndexByte(s, '\r') < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

func (l *lexer) emit(kind tokenKind, text string) {
	l.toks = append(l.toks, token{kind, l.line, text})
}

func (l *lexer) fail(format string, args ...any) error {
	return &SyntaxError{l.line, fmt.Sprintf(format, args...)}
}

// advance moves to pos and counts the lines passed.
func (l *lexer) advance(pos int) {
	l.line += strings.Count(l.src[l.pos:pos], "\n")
	l.pos = pos
}

// root reads text up to the next tag, and then that tag.
func (l *lexer) root() error {
	at := l.findTag()
	if at < 0 {
		l.emit(tokData, l.src[l.pos:])
		l.advance(len(l.src))
		return nil
	}
	kind := l.src[at+1]
	sign := l.signAt(at + 2)
	if text := l.stripBefore(l.src[l.pos:at], sign, kind != '{'); text != "" {
		l.emit(tokData, text)
	}
	l.advance(at)
	if kind == '%' {
		if end := l.matchRaw(at); end >= 0 {
			l.advance(end)
			return l.raw()
		}
	}
	after := at + 2
	if sign != 0 {
		after++
	}
	switch kind {
	case '#':
		l.advance(after)
		return l.comment()
	case '{':
		l.emit(tokVarBegin, "")
	default:
		l.emit(tokBlockBegin, "")
	}
	l.advance(after)
	return l.tag(kind == '{')
}

// findTag returns the offset of the next opening delimiter, or -1.
func (l *lexer) findTag() int {
	for i := l.pos; ; {
		j := strings.IndexByte(l.src[i:], '{')
		if j < 0 || i+j+1 >= len(l.src) {
			return -1
		}
		i += j
		if c := l.src[i+1]; c == '{' || c == '%' || c == '#' {
			return i
		}
		i++
	}
}

func (l *lexer) signAt(i int) byte {
	if i < len(l.src) && (l.src[i] == '-' || l.src[i] == '+') {
		return l.src[i]
	}
	return 0
}

// stripBefore applies the opening tag's whitespace control to the text before
// it: "-" takes all, lstrip_blocks takes the indentation of a tag that begins
// its line.
func (l *lexer) stripBefore(text string, sign byte, lstrip bool) string {
	if sign == '-' {
		return strings.TrimRightFunc(text, isSpace)
	}
	if sign == '+' || !lstrip {
		return text
	}
	start := strings.LastIndexByte(text, '\n') + 1
	lineStarts := start > 0 || l.pos == 0 || l.src[l.pos-1] == '\n'
	if lineStarts && strings.TrimLeftFunc(text[start:], isSpace) == "" {
		return text[:start]
	}
	return text
}

// skipSpace returns the offset of the first non-space at or after i.
func (l *lexer) skipSpace(i int) int {
	return len(l.src) - len(strings.TrimLeftFunc(l.src[i:], isSpace))
}

// matchRaw returns the offset after a {% raw %} tag at i, or -1.
func (l *lexer) matchRaw(i int) int {
	i += 2
	if l.signAt(i) != 0 {
		i++
	}
	i = l.skipSpace(i)
	if !strings.HasPrefix(l.src[i:], "raw") {
		return -1
	}
	i = l.skipSpace(i + 3)
	switch {
	case strings.HasPrefix(l.src[i:], "-%}"):
		return l.skipSpace(i + 3)
	case strings.HasPrefix(l.src[i:], "%}"):
		return i + 2
	}
	return -1
}

// raw emits everything up to {% endraw %} as text.
func (l *lexer) raw() error {
	for i := l.pos; ; i += 2 {
		j := strings.Index(l.src[i:], "{%")
		if j < 0 {
			return l.fail("missing {%% endraw %%}")
		}
		i += j
		k := i + 2
		sign := l.signAt(k)
		if sign != 0 {
			k++
		}
		k = l.skipSpace(k)
		if !strings.HasPrefix(l.src[k:], "endraw") {
			continue
		}
		end := l.blockEnd(l.skipSpace(k + len("endraw")))
		if end < 0 {
			continue
		}
		if text := l.stripBefore(l.src[l.pos:i], sign, true); text != "" {
			l.emit(tokData, text)
		}
		l.advance(end)
		return nil
	}
}

// blockEnd returns the offset after a closing %} at i with its whitespace
// control, or -1.
func (l *lexer) blockEnd(i int) int { return l.closing(i, "%}") }

func (l *lexer) closing(i int, mark string) int {
	rest := l.src[i:]
	switch {
	case strings.HasPrefix(rest, "-"+mark):
		return l.skipSpace(i + 3)
	case strings.HasPrefix(rest, "+"+mark):
		return i + 3
	case strings.HasPrefix(rest, mark+"\n"):
		return i + 3
	case strings.HasPrefix(rest, mark):
		return i + 2
	}
	return -1
}

// comment skips to the end of a comment.
func (l *lexer) comment() error {
	j := strings.Index(l.src[l.pos:], "#}")
	if j < 0 {
		return l.fail("missing end of comment")
	}
	i := l.pos + j
	if j > 0 && (l.src[i-1] == '-' || l.src[i-1] == '+') {
		i--
	}
	l.advance(l.closing(i, "#}"))
	return nil
}

// tag reads tokens until the tag closes with all brackets balanced.
func (l *lexer) tag(variable bool) error {
	l.stack = l.stack[:0]
	for {
		if l.pos = l.spaceInTag(); l.pos >= len(l.src) {
			return nil
		}
		if len(l.stack) == 0 && l.closeTag(variable) {
			return nil
		}
		if err := l.token(); err != nil {
			return err
		}
	}
}

func (l *lexer) spaceInTag() int {
	i := l.skipSpace(l.pos)
	l.line += strings.Count(l.src[l.pos:i], "\n")
	return i
}

func (l *lexer) closeTag(variable bool) bool {
	if !variable {
		end := l.blockEnd(l.pos)
		if end >= 0 {
			l.emit(tokBlockEnd, "")
			l.advance(end)
		}
		return end >= 0
	}
	rest := l.src[l.pos:]
	end := l.pos + 2
	if strings.HasPrefix(rest, "-}}") {
		end = l.skipSpace(l.pos + 3)
	} else if !strings.HasPrefix(rest, "}}") {
		return false
	}
	l.emit(tokVarEnd, "")
	l.advance(end)
	return true
}

// token reads one number, name, string or operator.
func (l *lexer) token() error {
	c := l.src[l.pos]
	switch {
	case c >= '0' && c <= '9':
		l.number()
		return nil
	case c == '\'' || c == '"':
		return l.str(c)
	case c == '_' || c >= utf8.RuneSelf || isASCIILetter(c):
		return l.name()
	}
	return l.operator()
}

func isASCIILetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func (l *lexer) name() error {
	i := l.pos
	for i < len(l.src) {
		r, n := utf8.DecodeRuneInString(l.src[i:])
		if r != '_' && !isAlnum(r) {
			break
		}
		i += n
	}
	if i == l.pos {
		r, _ := utf8.DecodeRuneInString(l.src[i:])
		return l.fail("unexpected character %q", r)
	}
	text := l.src[l.pos:i]
	for _, r := range text {
		if r >= utf8.RuneSelf && !unicode.IsLetter(r) && !unicode.Is(unicode.Nl, r) && !unicode.Is(unicode.Nd, r) {
			return l.fail("invalid character %q in name", r)
		}
	}
	l.emit(tokName, text)
	l.pos = i
	return nil
}

func (l *lexer) operator() error {
	c := l.src[l.pos]
	if l.pos+1 < len(l.src) {
		switch two := l.src[l.pos : l.pos+2]; two {
		case "//", "**", "==", "!=", ">=", "<=":
			l.emit(tokOp, two)
			l.pos += 2
			return nil
		}
	}
	if strings.IndexByte("+-*/%~[](){}<>=.:|,;", c) < 0 {
		return l.fail("unexpected character %q", rune(c))
	}
	switch c {
	case '(':
		l.stack = append(l.stack, ')')
	case '[':
		l.stack = append(l.stack, ']')
	case '{':
		l.stack = append(l.stack, '}')
	case ')', ']', '}':
		if err := l.pop(c); err != nil {
			return err
		}
	}
	l.emit(tokOp, l.src[l.pos:l.pos+1])
	l.pos++
	return nil
}

func (l *lexer) pop(c byte) error {
	n := len(l.stack)
	if n == 0 {
		return l.fail("unexpected '%c'", c)
	}
	want := l.stack[n-1]
	l.stack = l.stack[:n-1]
	if want != c {
		return l.fail("unexpected '%c', expected '%c'", c, want)
	}
	return nil
}
