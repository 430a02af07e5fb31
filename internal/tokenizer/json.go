package tokenizer

import (
	"bytes"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds the nesting of a tokenizer.json; published files stay below ten.
const maxDepth = 64

// maxFields bounds the objects read as trees, which search their fields in order.
const maxFields = 1 << 12

// scanner reads JSON from front to back, without building a tree: a vocabulary
// of a quarter of a million entries is read once and lands in its final place.
// The first error sticks, every later call then returns a zero value.
type scanner struct {
	data  []byte
	pos   int
	path  []step
	depth int
	buf   []byte // holds an unescaped string until the next call
	err   error
}

// step is one part of the path to the value being read: a key or an index.
type step struct {
	key   []byte
	index int
}

// fail records the first error, with the path of the value being read.
func (s *scanner) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("tokenizer.json: %s%s", s.where(), fmt.Sprintf(format, args...))
	}
}

// want fails with what stands at the position and what the format asks for.
func (s *scanner) want(what string) {
	s.fail("got %s, want %s", s.kind(), what)
}

// where returns the path of the value being read as "a.b[3]: ".
func (s *scanner) where() string {
	var b strings.Builder
	for i, p := range s.path {
		switch {
		case p.key == nil:
			fmt.Fprintf(&b, "[%d]", p.index)
		case i == 0:
			b.WriteString(clip(string(p.key)))
		default:
			b.WriteString("." + clip(string(p.key)))
		}
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	return b.String()
}

// clip shortens a text of the file for an error message.
func clip(s string) string {
	if len(s) > 60 {
		s = s[:60] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// next skips white space and returns the byte at the position, 0 at the end.
func (s *scanner) next() byte {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// kind names the value at the position for error messages.
func (s *scanner) kind() string {
	c := s.next()
	switch {
	case s.pos >= len(s.data):
		return "the end of the file"
	case c == '{':
		return "an object"
	case c == '[':
		return "an array"
	case c == '"':
		return "a string"
	case c == 't' || c == 'f':
		return "a boolean"
	case c == 'n':
		return "null"
	case c == '-' || c >= '0' && c <= '9':
		return "a number"
	}
	return strconv.QuoteRune(rune(c))
}

// eat takes one byte of punctuation.
func (s *scanner) eat(c byte) bool {
	if s.err != nil || s.next() != c || s.pos >= len(s.data) {
		return false
	}
	s.pos++
	return true
}

// enter opens an object or array and bounds the nesting.
func (s *scanner) enter(c byte, what string) bool {
	if s.err != nil {
		return false
	}
	if !s.eat(c) {
		s.want(what)
		return false
	}
	if s.depth++; s.depth > maxDepth {
		s.fail("nested deeper than %d", maxDepth)
		return false
	}
	return true
}

// object calls each for every member of the object at the position; each reads
// the value. The key is valid during the call only.
func (s *scanner) object(each func(key []byte)) {
	if !s.enter('{', "an object") {
		return
	}
	defer func() { s.depth-- }()
	if s.eat('}') {
		return
	}
	var key []byte // each may overwrite the scanner's buffer
	for s.err == nil {
		if s.next() != '"' {
			s.want("a key or }")
			return
		}
		key = append(key[:0], s.bytes()...)
		if !s.eat(':') {
			s.want("a colon")
			return
		}
		s.path = append(s.path, step{key: key})
		each(key)
		s.path = s.path[:len(s.path)-1]
		if s.eat('}') {
			return
		}
		if !s.eat(',') {
			s.want("a comma or }")
		}
	}
}

// array calls each for every element of the array at the position.
func (s *scanner) array(each func(i int)) {
	if !s.enter('[', "an array") {
		return
	}
	defer func() { s.depth-- }()
	if s.eat(']') {
		return
	}
	for i := 0; s.err == nil; i++ {
		s.path = append(s.path, step{index: i})
		each(i)
		s.path = s.path[:len(s.path)-1]
		if s.eat(']') {
			return
		}
		if !s.eat(',') {
			s.want("a comma or ]")
		}
	}
}

// bytes reads a string. The result is valid until the next call.
func (s *scanner) bytes() []byte {
	if s.err != nil {
		return nil
	}
	if s.next() != '"' || s.pos >= len(s.data) {
		s.want("a string")
		return nil
	}
	start := s.pos + 1
	for i := start; i < len(s.data); i++ {
		switch c := s.data[i]; {
		case c == '"':
			s.pos = i + 1
			return s.checked(s.data[start:i])
		case c == '\\':
			return s.checked(s.escaped(start, i))
		case c < ' ':
			s.fail("control character %#x in a string", c)
			return nil
		}
	}
	s.pos = len(s.data)
	s.fail("a string without an end")
	return nil
}

// checked passes a string on if it is UTF-8.
func (s *scanner) checked(b []byte) []byte {
	if s.err == nil && !utf8.Valid(b) {
		s.fail("a string that is not UTF-8")
		return nil
	}
	return b
}

// escaped finishes a string whose first escape is at i.
func (s *scanner) escaped(start, i int) []byte {
	s.buf = append(s.buf[:0], s.data[start:i]...)
	for i < len(s.data) {
		c := s.data[i]
		i++
		switch {
		case c == '"':
			s.pos = i
			return s.buf
		case c < ' ':
			s.fail("control character %#x in a string", c)
			return nil
		case c != '\\':
			s.buf = append(s.buf, c)
		default:
			n := s.escape(s.data[i:])
			if n == 0 {
				s.fail("an escape that JSON does not have")
				return nil
			}
			i += n
		}
	}
	s.fail("a string without an end")
	return nil
}

// escape appends the character of the escape whose backslash stands before
// rest, and returns the bytes it took, 0 for none. A lone surrogate is none.
func (s *scanner) escape(rest []byte) int {
	if len(rest) == 0 {
		return 0
	}
	if i := strings.IndexByte(`"\/bfnrt`, rest[0]); i >= 0 {
		s.buf = append(s.buf, "\"\\/\b\f\n\r\t"[i])
		return 1
	}
	r, ok := hex4(rest)
	if !ok {
		return 0
	}
	n := 5
	if utf16.IsSurrogate(r) {
		low, ok := rune(0), false
		if len(rest) > 5 && rest[5] == '\\' {
			low, ok = hex4(rest[6:])
		}
		if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
			return 0
		}
		n = 11
	}
	s.buf = utf8.AppendRune(s.buf, r)
	return n
}

// hex4 reads "uXXXX".
func hex4(b []byte) (rune, bool) {
	if len(b) < 5 || b[0] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[1:5]), 16, 16)
	return rune(n), err == nil
}

// number takes the bytes of a number, checked against JSON's grammar.
func (s *scanner) number() []byte {
	if s.err != nil {
		return nil
	}
	c := s.next()
	if c != '-' && (c < '0' || c > '9') {
		s.want("a number")
		return nil
	}
	start := s.pos
	for s.pos < len(s.data) && bytes.IndexByte([]byte("+-.eE0123456789"), s.data[s.pos]) >= 0 {
		s.pos++
	}
	b := s.data[start:s.pos]
	if !validNumber(b) {
		s.fail("%q is not a number", clip(string(b)))
		return nil
	}
	return b
}

// validNumber reports whether b is a number in JSON's grammar.
func validNumber(b []byte) bool {
	digits := func() bool {
		n := 0
		for n < len(b) && b[n] >= '0' && b[n] <= '9' {
			n++
		}
		b = b[n:]
		return n > 0
	}
	if b[0] == '-' {
		b = b[1:]
	}
	if len(b) > 1 && b[0] == '0' && b[1] >= '0' && b[1] <= '9' || !digits() {
		return false
	}
	if len(b) > 0 && b[0] == '.' {
		if b = b[1:]; !digits() {
			return false
		}
	}
	if len(b) > 0 && (b[0] == 'e' || b[0] == 'E') {
		if b = b[1:]; len(b) > 0 && (b[0] == '+' || b[0] == '-') {
			b = b[1:]
		}
		return digits() && len(b) == 0
	}
	return len(b) == 0
}

// id reads a token id: a whole number from 0 to below limit.
func (s *scanner) id(limit int) int32 {
	s.next()
	n, start := 0, s.pos
	for s.pos < len(s.data) && s.data[s.pos]-'0' < 10 && n < limit {
		n = n*10 + int(s.data[s.pos]-'0')
		s.pos++
	}
	end := s.pos
	s.pos = start
	b := s.number() // checks the grammar, and the digits that the loop left
	if s.err != nil {
		return 0
	}
	if s.pos != end || n >= limit {
		s.fail("got %s, want a token id from 0 to %d", clip(string(b)), limit-1)
		return 0
	}
	return int32(n)
}

// float reads a number; one beyond float64 is an error.
func (s *scanner) float() float64 {
	b := s.number()
	if s.err != nil {
		return 0
	}
	f := quickFloat(b)
	if math.IsInf(f, 0) {
		s.fail("%s does not fit 64 bits", clip(string(b)))
	}
	return f
}

// quickFloat converts a number as the reference's JSON reader does: digits that
// fit 64 bits as one integer, then one division or multiplication by a power
// of ten. That can be a unit in the last place beside the nearest float, and
// decides between cuts of a word whose scores are equal but for that.
func quickFloat(b []byte) float64 {
	negative := b[0] == '-'
	if negative {
		b = b[1:]
	}
	significand, exponent, i := uint64(0), 0, 0
	push := func(c byte) bool {
		hi, lo := bits.Mul64(significand, 10)
		sum, carry := bits.Add64(lo, uint64(c-'0'), 0)
		if hi+carry > 0 {
			return false
		}
		significand = sum
		return true
	}
	digit := func() bool { return i < len(b) && b[i] >= '0' && b[i] <= '9' }
	for ; digit() && push(b[i]); i++ {
	}
	for ; digit(); i++ { // more than 64 bits
		exponent++
	}
	if i < len(b) && b[i] == '.' {
		for i++; digit() && push(b[i]); i++ {
			exponent--
		}
		for ; digit(); i++ {
		}
	}
	if i < len(b) { // the "e" of an exponent
		n, err := strconv.Atoi(string(b[i+1:]))
		if err != nil || n > 1<<20 || n < -1<<20 {
			n = map[bool]int{true: -1 << 20, false: 1 << 20}[b[i+1] == '-']
		}
		exponent += n
	}
	f := scaled(float64(significand), exponent)
	if negative {
		return -f
	}
	return f
}

// scaled multiplies f by a power of ten, beyond 308 in steps.
func scaled(f float64, exponent int) float64 {
	for exponent < -308 && f != 0 {
		f /= 1e308
		exponent += 308
	}
	if f == 0 {
		return 0
	}
	if exponent > 308 {
		return math.Inf(1)
	}
	power, _ := strconv.ParseFloat("1e"+strconv.Itoa(max(exponent, -exponent)), 64)
	if exponent < 0 {
		return f / power
	}
	return f * power
}

// word takes a literal such as null.
func (s *scanner) word(w string) bool {
	s.next()
	if s.err == nil && bytes.HasPrefix(s.data[s.pos:], []byte(w)) {
		s.pos += len(w)
		return true
	}
	return false
}

// node is a JSON value as a tree: for the parts of the file that are small and
// whose meaning depends on a "type" that may stand anywhere in the object.
type node struct {
	path    string // as in "decoder.decoders[1].pattern: "
	kind    string // as scanner.kind names it
	text    string // of a string
	number  float64
	boolean bool
	list    []node
	fields  []field
}

type field struct {
	key   string
	value node
	used  bool
}

// node reads any value as a tree.
func (s *scanner) node() node {
	n := node{path: s.where(), kind: s.kind()}
	switch s.next() {
	case '{':
		s.object(func(key []byte) {
			k := string(key)
			if len(n.fields) == maxFields {
				s.fail("the object has more than %d fields", maxFields)
			}
			for _, f := range n.fields {
				if f.key == k {
					s.fail("appears twice")
				}
			}
			n.fields = append(n.fields, field{key: k, value: s.node()})
		})
	case '[':
		s.array(func(int) { n.list = append(n.list, s.node()) })
	case '"':
		n.text = string(s.bytes())
	case 't', 'f', 'n':
		n.boolean = s.word("true")
		if !n.boolean && !s.word("false") && !s.word("null") {
			s.want("a JSON value")
		}
	default:
		n.number = s.float()
	}
	return n
}

// skip passes over any value and checks its grammar.
func (s *scanner) skip() {
	switch s.next() {
	case '{':
		s.object(func([]byte) { s.skip() })
	case '[':
		s.array(func(int) { s.skip() })
	case '"':
		s.bytes()
	case 't', 'f', 'n':
		if !s.word("true") && !s.word("false") && !s.word("null") {
			s.want("a JSON value")
		}
	default:
		s.number()
	}
}
