package jinja

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// number reads an integer or a float in Python's notation, underscores
// included.
func (l *lexer) number() {
	i := digits(l.src, l.pos)
	float := false
	if l.pos == 0 || l.src[l.pos-1] != '.' {
		if j := i + 1; i < len(l.src) && l.src[i] == '.' && digits(l.src, j) > j {
			i, float = digits(l.src, j), true
		}
		if j := exponent(l.src, i); j > i {
			i, float = j, true
		}
	}
	kind := tokFloat
	if !float {
		kind, i = tokInt, integerEnd(l.src, l.pos)
	}
	l.emit(kind, strings.ReplaceAll(l.src[l.pos:i], "_", ""))
	l.pos = i
}

// digits returns the end of decimal digits with single underscores between.
func digits(s string, i int) int { return digitsOf(s, i, isDecimal) }

func digitsOf(s string, i int, ok func(byte) bool) int {
	for i < len(s) && ok(s[i]) {
		i++
		if i+1 < len(s) && s[i] == '_' && ok(s[i+1]) {
			i++
		}
	}
	return i
}

func isDecimal(c byte) bool { return c >= '0' && c <= '9' }

func exponent(s string, i int) int {
	if i >= len(s) || s[i]|0x20 != 'e' {
		return i
	}
	j := i + 1
	if j < len(s) && (s[j] == '+' || s[j] == '-') {
		j++
	}
	if end := digits(s, j); end > j {
		return end
	}
	return i
}

// integerEnd returns the end of an integer literal that starts at i. A
// leading zero stands alone, as in Python.
func integerEnd(s string, i int) int {
	if s[i] != '0' {
		return digits(s, i)
	}
	if i+1 < len(s) {
		var ok func(byte) bool
		switch s[i+1] | 0x20 {
		case 'b':
			ok = func(c byte) bool { return c == '0' || c == '1' }
		case 'o':
			ok = func(c byte) bool { return c >= '0' && c <= '7' }
		case 'x':
			ok = func(c byte) bool { return isDecimal(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }
		}
		if ok != nil {
			start := i + 2
			if start < len(s) && s[start] == '_' {
				start++
			}
			if end := digitsOf(s, start, ok); end > start {
				return end
			}
		}
	}
	return digitsOf(s, i, func(c byte) bool { return c == '0' })
}

// str reads a quoted string with Python's escapes.
func (l *lexer) str(quote byte) error {
	i := l.pos + 1
	escaped := false
	for i < len(l.src) && l.src[i] != quote {
		if l.src[i] == '\\' {
			escaped = true
			i++
		}
		i++
	}
	if i >= len(l.src) {
		return l.fail("string does not end")
	}
	text := l.src[l.pos+1 : i]
	if escaped {
		var err error
		if text, err = unescape(text); err != nil {
			return l.fail("%v", err)
		}
	}
	l.emit(tokString, text)
	l.advance(i + 1)
	return nil
}

var simpleEscapes = map[byte]string{
	'\n': "", '\\': "\\", '\'': "'", '"': "\"", 'a': "\a", 'b': "\b",
	'f': "\f", 'n': "\n", 'r': "\r", 't': "\t", 'v': "\v",
}

// unescape resolves Python's escapes; an unknown one keeps its backslash.
func unescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] != '\\' || i+1 >= len(s) {
			b.WriteByte(s[i])
			i++
			continue
		}
		n, err := unescapeOne(&b, s[i:])
		if err != nil {
			return "", err
		}
		i += n
	}
	return b.String(), nil
}

// unescapeOne writes the escape at the start of s and returns its length.
func unescapeOne(b *strings.Builder, s string) (int, error) {
	c := s[1]
	if rep, ok := simpleEscapes[c]; ok {
		b.WriteString(rep)
		return 2, nil
	}
	switch {
	case c >= '0' && c <= '7':
		n := 2
		for n < len(s) && n < 4 && s[n] >= '0' && s[n] <= '7' {
			n++
		}
		v, _ := strconv.ParseUint(s[1:n], 8, 32)
		b.WriteRune(rune(v))
		return n, nil
	case c == 'x':
		return hexEscape(b, s, 2)
	case c == 'u':
		return hexEscape(b, s, 4)
	case c == 'U':
		return hexEscape(b, s, 8)
	case c == 'N':
		return 0, fmt.Errorf("escape \\N{…} is not supported")
	case c >= utf8.RuneSelf:
		r, n := utf8.DecodeRuneInString(s[1:])
		b.WriteString("\\" + pythonHex(r))
		return 1 + n, nil
	}
	b.WriteString(s[:2])
	return 2, nil
}

// pythonHex is the hexadecimal escape of r without its backslash.
func pythonHex(r rune) string {
	switch {
	case r < 0x100:
		return fmt.Sprintf("x%02x", r)
	case r < 0x10000:
		return fmt.Sprintf("u%04x", r)
	}
	return fmt.Sprintf("U%08x", r)
}

func hexEscape(b *strings.Builder, s string, width int) (int, error) {
	if len(s) < 2+width {
		return 0, fmt.Errorf("truncated \\%c escape", s[1])
	}
	v, err := strconv.ParseUint(s[2:2+width], 16, 32)
	if err != nil || v > utf8.MaxRune {
		return 0, fmt.Errorf("invalid escape %s", s[:2+width])
	}
	if v >= 0xd800 && v < 0xe000 {
		return 0, fmt.Errorf("escape %s is half of a surrogate pair", s[:2+width])
	}
	b.WriteRune(rune(v))
	return 2 + width, nil
}
