package chat

import "fmt"

// maxNesting is how deep a JSON value may be nested.
const maxNesting = 1000

// progress says how far the reading of something has come.
type progress int

const (
	more   progress = iota // what came belongs to it, and it is not at its end
	done                   // what came last was its end
	before                 // it had ended before what came last
	broken                 // what came last cannot stand there
)

// jsonValue checks one JSON value byte by byte, by the grammar of RFC 8259,
// except that it lets control characters stand in strings. The zero value
// waits for the first byte, which must not be white space.
type jsonValue struct {
	stack []byte // '{' and '[' of the containers that are open
	at    jsonState
	key   bool   // the string being read is a key
	rest  string // what is missing of a literal
	hex   int    // digits missing of \uXXXX
}

type jsonState int

const (
	atValue      jsonState = iota // a value must begin
	atFirstItem                   // a value, or the end of an array
	atFirstKey                    // a key, or the end of an object
	atKey                         // a key
	atColon                       //
	atAfter                       // , or the end of a container
	inString                      //
	inEscape                      // after a backslash
	inHex                         //
	inLiteral                     //
	afterMinus                    // a digit must follow
	afterZero                     // no digit may follow
	inInteger                     //
	afterPoint                    // a digit must follow
	inFraction                    //
	afterE                        // a sign or a digit must follow
	afterExpSign                  // a digit must follow
	inExponent                    //
)

// next takes one more byte.
func (v *jsonValue) next(c byte) progress {
	switch v.at {
	case inString, inEscape, inHex:
		return v.nextInString(c)
	case inLiteral:
		if c != v.rest[0] {
			return broken
		}
		if v.rest = v.rest[1:]; v.rest != "" {
			return more
		}
		return v.complete()
	case afterMinus, afterZero, inInteger, afterPoint, inFraction, afterE, afterExpSign, inExponent:
		return v.nextInNumber(c)
	}
	if len(v.stack) > 0 && isSpace(c) {
		return more
	}
	return v.nextToken(c)
}

// nextToken takes a byte outside strings, numbers and literals.
func (v *jsonValue) nextToken(c byte) progress {
	switch v.at {
	case atValue:
		return v.begin(c)
	case atFirstItem:
		if c == ']' {
			return v.pop()
		}
		return v.begin(c)
	case atFirstKey, atKey:
		switch {
		case c == '"':
			v.at, v.key = inString, true
			return more
		case c == '}' && v.at == atFirstKey:
			return v.pop()
		}
		return broken
	case atColon:
		v.at = atValue
		return is(c == ':')
	}
	inObject := v.stack[len(v.stack)-1] == '{'
	switch {
	case c == ',' && inObject:
		v.at = atKey
	case c == ',':
		v.at = atValue
	case c == '}' && inObject, c == ']' && !inObject:
		return v.pop()
	default:
		return broken
	}
	return more
}

func is(ok bool) progress {
	if ok {
		return more
	}
	return broken
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// begin takes the first byte of a value.
func (v *jsonValue) begin(c byte) progress {
	switch {
	case c == '{' || c == '[':
		v.stack = append(v.stack, c)
		v.at = atFirstItem
		if c == '{' {
			v.at = atFirstKey
		}
		return is(len(v.stack) <= maxNesting)
	case c == '"':
		v.at, v.key = inString, false
	case c == '-':
		v.at = afterMinus
	case c == '0':
		v.at = afterZero
	case isDigit(c):
		v.at = inInteger
	case c == 't':
		v.at, v.rest = inLiteral, "rue"
	case c == 'f':
		v.at, v.rest = inLiteral, "alse"
	case c == 'n':
		v.at, v.rest = inLiteral, "ull"
	default:
		return broken
	}
	return more
}

func (v *jsonValue) pop() progress {
	v.stack = v.stack[:len(v.stack)-1]
	return v.complete()
}

// complete ends a value: the whole, or a member of a container.
func (v *jsonValue) complete() progress {
	v.at = atAfter
	if len(v.stack) == 0 {
		return done
	}
	return more
}

func (v *jsonValue) nextInString(c byte) progress {
	switch v.at {
	case inEscape:
		v.at = inString
		switch c {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			return more
		case 'u':
			v.at, v.hex = inHex, 4
			return more
		}
		return broken
	case inHex:
		if v.hex--; v.hex == 0 {
			v.at = inString
		}
		return is(isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f')
	}
	switch {
	case c == '\\':
		v.at = inEscape
	case c == '"' && v.key:
		v.at = atColon
	case c == '"':
		return v.complete()
	}
	return more
}

// nextInNumber takes a byte after the first of a number.
func (v *jsonValue) nextInNumber(c byte) progress {
	switch v.at {
	case afterMinus:
		v.at = inInteger
		if c == '0' {
			v.at = afterZero
		}
		return is(isDigit(c))
	case afterPoint:
		v.at = inFraction
		return is(isDigit(c))
	case afterE:
		v.at = inExponent
		if c == '+' || c == '-' {
			v.at = afterExpSign
			return more
		}
		return is(isDigit(c))
	case afterExpSign:
		v.at = inExponent
		return is(isDigit(c))
	}
	switch {
	case isDigit(c) && v.at != afterZero:
	case c == '.' && (v.at == inInteger || v.at == afterZero):
		v.at = afterPoint
	case (c == 'e' || c == 'E') && v.at != inExponent:
		v.at = afterE
	default:
		return v.endNumber(c)
	}
	return more
}

// endNumber ends a number before c, which has no length of its own to tell.
func (v *jsonValue) endNumber(c byte) progress {
	if v.complete() == done {
		return before
	}
	return v.next(c)
}

// ended reports whether the value is whole if nothing follows.
func (v *jsonValue) ended() bool {
	switch v.at {
	case afterZero, inInteger, inFraction, inExponent, atAfter:
		return len(v.stack) == 0
	}
	return false
}

// inText reports whether the next byte belongs to a string.
func (v *jsonValue) inText() bool { return v.at == inString }

// appendJSON appends a byte of a JSON text to dst; a control character, which
// could only stand in a string, is written as its escape.
func appendJSON(dst []byte, c byte, inText bool) []byte {
	if c >= 0x20 || !inText {
		return append(dst, c)
	}
	switch c {
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	return fmt.Appendf(dst, `\u%04x`, c)
}

// wholeJSON returns text without white space around it if it is one JSON value
// of the kind that first, a set of first bytes, tells.
func wholeJSON(text, first string) (string, bool) {
	text = trimSpace(text)
	var v jsonValue
	var out []byte
	for i := range len(text) {
		c := text[i]
		out = appendJSON(out, c, v.inText())
		p := v.next(c)
		if i == 0 && !contains(first, c) || p == broken || p == before || p == done && i < len(text)-1 {
			return "", false
		}
	}
	return string(out), text != "" && v.ended()
}
