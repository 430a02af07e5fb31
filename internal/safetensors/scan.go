package safetensors

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep values that are skipped may nest, as in the reference.
const maxDepth = 127

// scanner reads the little JSON that headers and indexes hold, without
// building values: strings are parts of src, except where they hold escapes.
// It keeps the first fault and then stands at the end of src, so that every
// loop over it ends.
type scanner struct {
	src string // valid UTF-8
	pos int
	err string // the first fault, "" if none
}

// fail notes that something else was wanted at the current position.
func (s *scanner) fail(want string) {
	if s.err != "" {
		return
	}
	s.err = fmt.Sprintf("JSON byte %d: want %s, got %s", s.pos, want, s.token())
	s.pos = len(s.src)
}

// token describes what stands at the current position.
func (s *scanner) token() string {
	rest := s.src[s.pos:]
	if rest == "" {
		return "the end"
	}
	n := len(bare(rest))
	if n == 0 {
		_, n = utf8.DecodeRuneInString(rest)
		return strconv.Quote(rest[:n])
	}
	return clip(rest[:n], 32)
}

// bare returns the number or literal that s begins with.
func bare(s string) string {
	n := strings.IndexFunc(s, func(r rune) bool {
		return r != '+' && r != '-' && r != '.' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
	if n < 0 {
		return s
	}
	return s[:n]
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	for ; s.pos < len(s.src); s.pos++ {
		switch c := s.src[s.pos]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// take reads the byte c.
func (s *scanner) take(c byte) {
	if s.peek() != c {
		s.fail(strconv.Quote(string(c)))
		return
	}
	s.pos++
}

// more reports whether an object or array has another element after n of them,
// and reads the comma before it, or else the closing byte.
func (s *scanner) more(n int, closing byte) bool {
	c := s.peek()
	switch {
	case s.err != "":
		return false
	case c == closing:
		s.pos++
		return false
	case n == 0:
		return true
	case c == ',':
		s.pos++
		return true
	}
	s.fail(fmt.Sprintf("',' or %q", closing))
	return false
}

// key reads an object's key and the colon.
func (s *scanner) key() string {
	k := s.string()
	s.take(':')
	return k
}

// string reads a string.
func (s *scanner) string() string {
	if s.peek() != '"' {
		s.fail("a string")
		return ""
	}
	s.pos++
	start := s.pos
	for ; s.pos < len(s.src); s.pos++ {
		switch c := s.src[s.pos]; {
		case c == '"':
			s.pos++
			return s.src[start : s.pos-1]
		case c == '\\':
			return s.escaped(start)
		case c < ' ':
			s.fail("no control character in a string")
			return ""
		}
	}
	s.fail("a closing quote")
	return ""
}

// escaped reads the rest of a string that began at start and holds an escape
// at the current position.
func (s *scanner) escaped(start int) string {
	var b strings.Builder
	b.WriteString(s.src[start:s.pos])
	for s.pos < len(s.src) {
		c := s.src[s.pos]
		switch {
		case c == '"':
			s.pos++
			return b.String()
		case c == '\\':
			b.WriteRune(s.escape())
		case c < ' ':
			s.fail("no control character in a string")
		default:
			b.WriteByte(c)
			s.pos++
		}
	}
	s.fail("a closing quote")
	return ""
}

// escape reads one escape, or two that are a surrogate pair.
func (s *scanner) escape() rune {
	const letters, values = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	if rest := s.src[s.pos+1:]; rest != "" {
		if i := strings.IndexByte(letters, rest[0]); i >= 0 {
			s.pos += 2
			return rune(values[i])
		}
	}
	r, ok := s.hex()
	if ok && utf16.IsSurrogate(r) {
		var low rune
		low, ok = s.hex()
		r = utf16.DecodeRune(r, low)
		ok = ok && r != utf8.RuneError
	}
	if !ok {
		s.fail("an escape of JSON")
	}
	return r
}

// hex reads \uXXXX.
func (s *scanner) hex() (rune, bool) {
	rest := s.src[s.pos:]
	if len(rest) < 6 || rest[:2] != `\u` {
		return 0, false
	}
	v, err := strconv.ParseUint(rest[2:6], 16, 16)
	if err != nil {
		return 0, false
	}
	s.pos += 6
	return rune(v), true
}

// int reads an integer from 0 to the largest that a file offset can be.
func (s *scanner) int() int64 {
	const want = "an integer from 0 to 2^63-1"
	s.peek()
	v, i := int64(0), s.pos
	for ; i < len(s.src) && s.src[i] >= '0' && s.src[i] <= '9'; i++ {
		d := int64(s.src[i] - '0')
		if v > (math.MaxInt64-d)/10 {
			s.fail(want)
			return 0
		}
		v = v*10 + d
	}
	digits := s.src[s.pos:i]
	if digits == "" || len(digits) > 1 && digits[0] == '0' || i < len(s.src) && bare(s.src[i:i+1]) != "" {
		s.fail(want)
		return 0
	}
	s.pos = i
	return v
}

// null reads null if it is there.
func (s *scanner) null() bool {
	if s.peek() == 'n' && bare(s.src[s.pos:]) == "null" {
		s.pos += len("null")
		return true
	}
	return false
}

// skip reads any value, at a depth of nesting.
func (s *scanner) skip(depth int) {
	switch c := s.peek(); {
	case c != '{' && c != '[':
		s.skipScalar(c)
	case depth >= maxDepth:
		s.fail(fmt.Sprintf("nesting of at most %d", maxDepth))
	case c == '{':
		s.pos++
		for n := 0; s.more(n, '}'); n++ {
			s.key()
			s.skip(depth + 1)
		}
	default:
		s.pos++
		for n := 0; s.more(n, ']'); n++ {
			s.skip(depth + 1)
		}
	}
}

func (s *scanner) skipScalar(c byte) {
	if c == '"' {
		s.string()
		return
	}
	v := bare(s.src[s.pos:])
	if !json.Valid([]byte(v)) {
		s.fail("a value")
		return
	}
	if _, err := strconv.ParseFloat(v, 64); errors.Is(err, strconv.ErrRange) {
		s.fail("a number that a float64 can hold")
		return
	}
	s.pos += len(v)
}

// end reads white space up to the end.
func (s *scanner) end() {
	if s.peek(); s.pos < len(s.src) {
		s.fail("the end")
	}
}
