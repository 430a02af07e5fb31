package jinja

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
)

// maxDepth bounds the nesting of values that are printed, compared or
// serialised.
const maxDepth = 900

// maxDigits is the length of the longest integer that Python prints or reads.
const maxDigits = 4300

// toStr is Python's str().
func (r *run) toStr(v Value) (string, error) {
	switch x := v.(type) {
	case string:
		return x, nil
	case markup:
		return string(x), nil
	case *Undefined:
		return "", nil
	case int64:
		return strconv.FormatInt(x, 10), nil
	}
	return r.toRepr(v)
}

// toRepr is Python's repr().
func (r *run) toRepr(v Value) (string, error) {
	var b strings.Builder
	if err := r.writeRepr(&b, v, 0); err != nil {
		return "", err
	}
	return b.String(), nil
}

func (r *run) writeRepr(b *strings.Builder, v Value, depth int) error {
	if depth > maxDepth {
		return limitErrorf("value is nested deeper than %d", maxDepth)
	}
	if r != nil && b.Len() > r.opt.MaxOutput {
		return limitErrorf("printed value is longer than %d bytes", r.opt.MaxOutput)
	}
	if err := r.step(1); err != nil {
		return err
	}
	switch x := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		b.WriteString(map[bool]string{true: "True", false: "False"}[x])
	case int64:
		b.WriteString(strconv.FormatInt(x, 10))
	case *big.Int:
		s, err := bigString(x)
		if err != nil {
			return err
		}
		b.WriteString(s)
	case float64:
		b.WriteString(floatRepr(x))
	case string:
		writeQuoted(b, x, false)
	case markup:
		b.WriteString("Markup(")
		writeQuoted(b, string(x), false)
		b.WriteByte(')')
	case *List:
		return r.writeSeq(b, "[", x.items, "]", depth)
	case *Tuple:
		if len(x.items) == 1 {
			return r.writeSeq(b, "(", x.items, ",)", depth)
		}
		return r.writeSeq(b, "(", x.items, ")", depth)
	case *Dict:
		return r.writeDict(b, x, depth)
	case *dictView:
		return r.writeView(b, x, depth)
	case *rangeValue:
		b.WriteString(rangeRepr(x))
	case *Undefined:
		b.WriteString("Undefined")
	case *namespace:
		b.WriteString("<Namespace ")
		if err := r.writeDict(b, x.attrs, depth); err != nil {
			return err
		}
		b.WriteByte('>')
	default:
		b.WriteString(r.objectRepr(v))
	}
	return nil
}

func bigString(x *big.Int) (string, error) {
	// 10^4300 has 14285 bits: refuse before converting something larger.
	if x.BitLen() > 14300 {
		return "", valueErrorf("integer has more than %d digits", maxDigits)
	}
	return x.String(), nil
}

// objectRepr prints what has no literal; Python shows an address there.
func (r *run) objectRepr(v Value) string {
	switch x := v.(type) {
	case *macro:
		if x.name == "" {
			return "<Macro anonymous>"
		}
		return "<Macro '" + x.name + "'>"
	case *loopState:
		n, _ := x.length()
		return fmt.Sprintf("<LoopContext %d/%d>", x.index+1, n)
	case *iterator:
		return "<" + x.name + " object>"
	case *function:
		return "<function " + x.name + ">"
	case *method:
		return "<method '" + x.name + "' of '" + typeName(x.recv) + "' objects>"
	}
	return "<" + typeName(v) + ">"
}

func rangeRepr(x *rangeValue) string {
	if x.step == 1 {
		return fmt.Sprintf("range(%d, %d)", x.start, x.stop)
	}
	return fmt.Sprintf("range(%d, %d, %d)", x.start, x.stop, x.step)
}

func (r *run) writeSeq(b *strings.Builder, open string, items []Value, end string, depth int) error {
	b.WriteString(open)
	for i, v := range items {
		if i > 0 {
			b.WriteString(", ")
		}
		if err := r.writeRepr(b, v, depth+1); err != nil {
			return err
		}
	}
	b.WriteString(end)
	return nil
}

func (r *run) writeDict(b *strings.Builder, d *Dict, depth int) error {
	b.WriteByte('{')
	for i, e := range d.entries {
		if i > 0 {
			b.WriteString(", ")
		}
		if err := r.writeRepr(b, e.key, depth+1); err != nil {
			return err
		}
		b.WriteString(": ")
		if err := r.writeRepr(b, e.val, depth+1); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

func (r *run) writeView(b *strings.Builder, v *dictView, depth int) error {
	items := make([]Value, v.dict.Len())
	for i := range items {
		items[i] = v.at(i)
	}
	b.WriteString("dict_" + v.kind)
	return r.writeSeq(b, "([", items, "])", depth)
}

// floatRepr prints the shortest digits that read back as f, with an exponent
// where Python uses one.
func floatRepr(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	s := strconv.FormatFloat(f, 'e', -1, 64)
	exp, _ := strconv.Atoi(s[strings.IndexByte(s, 'e')+1:])
	if exp < -4 || exp >= 16 {
		return s
	}
	s = strconv.FormatFloat(f, 'f', -1, 64)
	if strings.IndexByte(s, '.') < 0 {
		s += ".0"
	}
	return s
}

// writeQuoted writes a string as Python's repr quotes it; with ascii, as
// Python's ascii() does.
func writeQuoted(b *strings.Builder, s string, ascii bool) {
	quote := byte('\'')
	if strings.IndexByte(s, '\'') >= 0 && strings.IndexByte(s, '"') < 0 {
		quote = '"'
	}
	b.WriteByte(quote)
	for _, r := range s {
		switch {
		case r == rune(quote) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r) && (!ascii || r < 0x80):
			b.WriteRune(r)
		default:
			b.WriteString("\\" + pythonHex(r))
		}
	}
	b.WriteByte(quote)
}
