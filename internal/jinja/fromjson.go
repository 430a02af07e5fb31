package jinja

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxJSONDepth bounds the nesting that FromJSON accepts.
const maxJSONDepth = 500

// FromJSON reads JSON as Python's json module does: dictionaries keep their
// order and the last of repeated keys, integers of any size stay integers,
// and NaN, Infinity and -Infinity are accepted. Half of a surrogate pair
// becomes U+FFFD. Errors name the offset.
func FromJSON(data []byte) (Value, error) {
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("jinja: JSON is not valid UTF-8")
	}
	d := &jsonReader{s: string(data)}
	v, err := d.value(0)
	if err != nil {
		return nil, err
	}
	if d.space(); d.i < len(d.s) {
		return nil, d.fail("extra data")
	}
	return v, nil
}

type jsonReader struct {
	s string
	i int
}

func (d *jsonReader) fail(what string) error {
	return fmt.Errorf("jinja: JSON at offset %d: %s", d.i, what)
}

func (d *jsonReader) space() {
	for d.i < len(d.s) && strings.IndexByte(" \t\r\n", d.s[d.i]) >= 0 {
		d.i++
	}
}

func (d *jsonReader) skip(c byte) bool {
	d.space()
	if d.i < len(d.s) && d.s[d.i] == c {
		d.i++
		return true
	}
	return false
}

var jsonWords = []struct {
	word string
	val  Value
}{
	{"null", nil},
	{"true", true},
	{"false", false},
	{"NaN", math.NaN()},
	{"Infinity", math.Inf(1)},
	{"-Infinity", math.Inf(-1)},
}

func (d *jsonReader) value(depth int) (Value, error) {
	if depth > maxJSONDepth {
		return nil, d.fail(fmt.Sprintf("nested deeper than %d", maxJSONDepth))
	}
	switch {
	case d.skip('{'):
		return d.object(depth)
	case d.skip('['):
		return d.array(depth)
	case d.skip('"'):
		return d.str()
	}
	for _, w := range jsonWords {
		if strings.HasPrefix(d.s[d.i:], w.word) {
			d.i += len(w.word)
			return w.val, nil
		}
	}
	return d.number()
}

func (d *jsonReader) object(depth int) (Value, error) {
	obj := NewDict()
	if d.skip('}') {
		return obj, nil
	}
	for {
		if !d.skip('"') {
			return nil, d.fail("expected a property name in double quotes")
		}
		key, err := d.str()
		if err != nil {
			return nil, err
		}
		if !d.skip(':') {
			return nil, d.fail("expected ':'")
		}
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		obj.Set(key, v)
		if d.skip('}') {
			return obj, nil
		}
		if !d.skip(',') {
			return nil, d.fail("expected ',' or '}'")
		}
	}
}

func (d *jsonReader) array(depth int) (Value, error) {
	list := &List{}
	if d.skip(']') {
		return list, nil
	}
	for {
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list.items = append(list.items, v)
		if d.skip(']') {
			return list, nil
		}
		if !d.skip(',') {
			return nil, d.fail("expected ',' or ']'")
		}
	}
}

// number reads an integer or a float.
func (d *jsonReader) number() (Value, error) {
	start, i := d.i, d.i
	if i < len(d.s) && d.s[i] == '-' {
		i++
	}
	first := i
	i = digitRun(d.s, i)
	if i == first || d.s[first] == '0' && i > first+1 {
		return nil, d.fail("expected a value")
	}
	float := false
	if i+1 < len(d.s) && d.s[i] == '.' && isDecimal(d.s[i+1]) {
		i, float = digitRun(d.s, i+1), true
	}
	if i < len(d.s) && d.s[i]|0x20 == 'e' {
		j := i + 1
		if j < len(d.s) && (d.s[j] == '+' || d.s[j] == '-') {
			j++
		}
		if end := digitRun(d.s, j); end > j {
			i, float = end, true
		}
	}
	text := d.s[start:i]
	if float {
		d.i = i
		f, _ := strconv.ParseFloat(text, 64) // out of range is infinite, as in Python
		return f, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		d.i = i
		return n, nil
	}
	if len(text) > maxDigits {
		return nil, d.fail(fmt.Sprintf("integer has more than %d digits", maxDigits))
	}
	d.i = i
	n, _ := new(big.Int).SetString(text, 10)
	return n, nil
}

func digitRun(s string, i int) int {
	for i < len(s) && isDecimal(s[i]) {
		i++
	}
	return i
}

// str reads a string after its opening quote.
func (d *jsonReader) str() (string, error) {
	rest := d.s[d.i:]
	n := strings.IndexAny(rest, "\"\\")
	if n >= 0 && rest[n] == '"' && !hasControl(rest[:n]) {
		d.i += n + 1
		return rest[:n], nil
	}
	var b strings.Builder
	for d.i < len(d.s) {
		c := d.s[d.i]
		switch {
		case c == '"':
			d.i++
			return b.String(), nil
		case c < 0x20:
			return "", d.fail("control character in a string")
		case c == '\\':
			if err := d.escape(&b); err != nil {
				return "", err
			}
		default:
			b.WriteByte(c)
			d.i++
		}
	}
	return "", d.fail("string does not end")
}

func hasControl(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 {
			return true
		}
	}
	return false
}

func (d *jsonReader) escape(b *strings.Builder) error {
	if d.i+1 >= len(d.s) {
		return d.fail("string does not end")
	}
	c := d.s[d.i+1]
	if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 {
		b.WriteByte("\"\\/\b\f\n\r\t"[i])
		d.i += 2
		return nil
	}
	if c != 'u' {
		return d.fail("invalid escape")
	}
	r, err := d.hex(d.i)
	if err != nil {
		return err
	}
	d.i += 6
	if r >= 0xd800 && r < 0xdc00 && strings.HasPrefix(d.s[d.i:], `\u`) {
		low, err := d.hex(d.i)
		if err != nil {
			return err
		}
		if low >= 0xdc00 && low < 0xe000 {
			r = 0x10000 + (r-0xd800)<<10 + (low - 0xdc00)
			d.i += 6
		}
	}
	b.WriteRune(r) // a lone surrogate is written as U+FFFD
	return nil
}

func (d *jsonReader) hex(i int) (rune, error) {
	if i+6 > len(d.s) {
		return 0, d.fail("invalid \\u escape")
	}
	v, err := strconv.ParseUint(d.s[i+2:i+6], 16, 32)
	if err != nil {
		return 0, d.fail("invalid \\u escape")
	}
	return rune(v), nil
}
