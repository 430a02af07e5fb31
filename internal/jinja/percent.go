package jinja

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// filterFormat is the format filter: printf style.
func filterFormat(r *run, v Value, a []Value) (Value, error) {
	args, kw := a[0].(*Tuple), a[1].(*Dict)
	if len(args.items) > 0 && kw.Len() > 0 {
		return nil, typeErrorf("format takes either positional or keyword arguments")
	}
	s, err := r.str(v)
	if err != nil {
		return nil, err
	}
	if kw.Len() > 0 {
		return r.percent(s, v, kw)
	}
	return r.percent(s, v, args)
}

// percent is Python's format % args. like gives the type of the result.
func (r *run) percent(format string, like, args Value) (Value, error) {
	p := &printf{run: r, args: []Value{args}}
	if t, ok := args.(*Tuple); ok {
		p.args = t.items
	} else {
		p.mapping, _ = args.(*Dict)
		_, isList := args.(*List)
		_, isRange := args.(*rangeValue)
		_, isUndefined := args.(*Undefined)
		p.loose = p.mapping != nil || isList || isRange || isUndefined
	}
	_, p.escape = like.(markup)
	var b strings.Builder
	for format != "" {
		i := strings.IndexByte(format, '%')
		if i < 0 {
			b.WriteString(format)
			break
		}
		b.WriteString(format[:i])
		text, rest, err := p.verb(format[i+1:])
		if err != nil {
			return nil, err
		}
		if err := r.alloc(len(text)); err != nil {
			return nil, err
		}
		b.WriteString(text)
		format = rest
	}
	if p.used < len(p.args) && !p.loose {
		return nil, typeErrorf("not all arguments converted during string formatting")
	}
	return sameKind(b.String(), like), r.alloc(b.Len())
}

// printf is the state of one % formatting.
type printf struct {
	run     *run
	args    []Value
	used    int
	mapping *Dict
	loose   bool // arguments may stay unused
	escape  bool
}

func (p *printf) take() (Value, error) {
	if p.used >= len(p.args) {
		return nil, typeErrorf("not enough arguments for format string")
	}
	p.used++
	return p.args[p.used-1], nil
}

// verb renders the conversion after a "%" and returns what follows it.
func (p *printf) verb(s string) (string, string, error) {
	if strings.HasPrefix(s, "%") {
		return "%", s[1:], nil
	}
	var v Value = missing
	if strings.HasPrefix(s, "(") {
		end := closingParen(s)
		if p.mapping == nil || end < 0 {
			return "", "", typeErrorf("format requires a mapping")
		}
		item, ok := p.mapping.Get(s[1:end])
		if !ok {
			return "", "", typeErrorf("format has no key '%s'", clip(s[1:end]))
		}
		v, s, p.loose = item, s[end+1:], true
	}
	f, s, err := p.flags(s)
	if err != nil {
		return "", "", err
	}
	if s == "" {
		return "", "", valueErrorf("incomplete format")
	}
	f.verb = s[0]
	if f.verb == '%' {
		return "%", s[1:], nil
	}
	if v == missing {
		if v, err = p.take(); err != nil {
			return "", "", err
		}
	}
	text, err := p.convert(f, v)
	return text, s[1:], err
}

func closingParen(s string) int {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// flags reads flags, width and precision.
func (p *printf) flags(s string) (formatSpec, string, error) {
	f := formatSpec{fill: ' ', align: '>', precision: -1}
	left, zero := false, false
	for ; s != "" && strings.IndexByte("-+ #0", s[0]) >= 0; s = s[1:] {
		switch s[0] {
		case '-':
			left = true
		case '0':
			zero = true
		case '#':
			f.alt = true
		case ' ':
			if f.sign == 0 {
				f.sign = ' '
			}
		default:
			f.sign = '+'
		}
	}
	var err error
	if f.width, s, err = p.number(s, 0); err != nil {
		return f, s, err
	}
	if f.width < 0 {
		left, f.width = true, -f.width
	}
	if strings.HasPrefix(s, ".") {
		if f.precision, s, err = p.number(s[1:], 0); err != nil {
			return f, s, err
		}
		f.precision = max(f.precision, 0)
	}
	for s != "" && strings.IndexByte("hlL", s[0]) >= 0 {
		s = s[1:]
	}
	switch {
	case left:
		f.align = '<'
	case zero:
		f.align, f.fill = '=', '0'
	}
	return f, s, nil
}

func (p *printf) number(s string, absent int) (int, string, error) {
	if !strings.HasPrefix(s, "*") {
		return takeInt(s, absent)
	}
	v, err := p.take()
	if err != nil {
		return 0, "", err
	}
	n, err := intArg(v, 0)
	return n, s[1:], err
}

func (p *printf) convert(f formatSpec, v Value) (string, error) {
	if f.precision > maxPrecision && f.verb != 's' {
		return "", limitErrorf("format precision is larger than %d", maxPrecision)
	}
	switch f.verb {
	case 's', 'r', 'a', 'c':
		text, err := p.text(f.verb, v)
		if err != nil {
			return "", err
		}
		if f.precision >= 0 && f.verb != 'c' {
			text = text[:byteOffset(text, f.precision)]
		}
		if f.fill == '0' {
			f.fill, f.align = ' ', '>'
		}
		return p.run.align(f, "", text, '>')
	case 'd', 'i', 'u', 'x', 'X', 'o':
		return p.integer(f, v)
	case 'e', 'E', 'f', 'F', 'g', 'G':
		if _, ok := asString(v); ok {
			return "", typeErrorf("must be real number, not str")
		}
		x, err := toFloat(v)
		if err != nil {
			return "", err
		}
		if math.IsInf(x, 0) || math.IsNaN(x) {
			if f.fill == '0' {
				f.fill, f.align = '0', '='
			}
		}
		return p.run.formatFloat(f, x)
	}
	return "", valueErrorf("unsupported format character '%c'", f.verb)
}

func (p *printf) text(verb byte, v Value) (string, error) {
	switch verb {
	case 'r':
		return p.run.toRepr(v)
	case 'a':
		return p.run.toASCII(v)
	case 's':
		if p.escape {
			return p.run.escaped(v)
		}
		return p.run.str(v)
	}
	if s, ok := asString(v); ok {
		if utf8.RuneCountInString(s) != 1 {
			return "", typeErrorf("%%c requires int or char")
		}
		return s, nil
	}
	i, ok := asInt(v)
	if !ok || i < 0 || i > utf8.MaxRune {
		return "", typeErrorf("%%c requires int or char")
	}
	return string(rune(i)), nil
}

func (p *printf) integer(f formatSpec, v Value) (string, error) {
	base := map[byte]int{'x': 16, 'X': 16, 'o': 8}[f.verb]
	if u, ok := v.(*Undefined); ok {
		return "", u.err()
	}
	if x, ok := v.(float64); ok && base == 0 {
		var err error
		if v, err = toInt(x, 10); err != nil {
			return "", err
		}
	}
	b, ok := asBig(v)
	if !ok {
		return "", typeErrorf("%%%c format: a number is required, not %s", f.verb, typeName(v))
	}
	if _, err := bigString(b); err != nil {
		return "", err
	}
	sign := signOf(b.Sign() < 0, f.sign)
	if base == 0 {
		base = 10
	} else if f.alt {
		sign += "0" + string(f.verb)
	}
	digits := new(big.Int).Abs(b).Text(base)
	if f.verb == 'X' {
		digits = strings.ToUpper(digits)
	}
	if n := f.precision - len(digits); n > 0 {
		digits = repeat("0", n) + digits
	}
	return p.run.align(f, sign, digits, '>')
}

// escaped is the text of v, escaped for HTML unless it already is.
func (r *run) escaped(v Value) (string, error) {
	if m, ok := v.(markup); ok {
		return string(m), nil
	}
	s, err := r.toStr(v)
	return escapeHTML(s), err
}

func filterEscape(r *run, v Value, _ []Value) (Value, error) {
	s, err := r.escaped(v)
	if err != nil {
		return nil, err
	}
	return markup(s), r.alloc(len(s))
}

func filterForceEscape(r *run, v Value, _ []Value) (Value, error) {
	s, err := r.str(v)
	if err != nil {
		return nil, err
	}
	s = escapeHTML(s)
	return markup(s), r.alloc(len(s))
}

func filterSafe(r *run, v Value, _ []Value) (Value, error) {
	s, err := r.str(v)
	return markup(s), err
}

func filterURLize(*run, Value, []Value) (Value, error) {
	return nil, fmt.Errorf("filter 'urlize' is not supported")
}

// filterStriptags removes comments and tags and joins what is left by single
// spaces.
func filterStriptags(r *run, v Value, _ []Value) (Value, error) {
	s, err := r.str(v)
	if err != nil {
		return nil, err
	}
	for _, marks := range [][2]string{{"<!--", "-->"}, {"<", ">"}} {
		s = cutBetween(s, marks[0], marks[1])
	}
	if err := r.alloc(len(s)); err != nil {
		return nil, err
	}
	s = strings.Join(splitSpace(s, -1), " ")
	return unescapeHTML(s), nil
}

func cutBetween(s, open, end string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, open)
		if i < 0 {
			break
		}
		j := strings.Index(s[i:], end)
		if j < 0 {
			break
		}
		b.WriteString(s[:i])
		s = s[i+j+len(end):]
	}
	b.WriteString(s)
	return b.String()
}

func filterURLEncode(r *run, v Value, _ []Value) (Value, error) {
	if s, ok := asString(v); ok {
		return urlQuote(s, true), r.alloc(3 * len(s))
	}
	if d, ok := v.(*Dict); ok {
		v = &dictView{d, "items"}
	}
	next, err := r.iterate(v)
	if err != nil {
		s, err := r.str(v)
		return urlQuote(s, true), err
	}
	return r.joinAll("&", next, func(v Value) (string, error) {
		kv, err := r.collect(v)
		if err != nil {
			return "", err
		}
		if len(kv) != 2 {
			return "", valueErrorf("urlencode needs pairs, got %d items", len(kv))
		}
		k, err := r.toStr(kv[0])
		if err != nil {
			return "", err
		}
		val, err := r.toStr(kv[1])
		return urlQuote(k, false) + "=" + urlQuote(val, false), err
	})
}

// urlQuote quotes for a path, where "/" stays, or for a query, where a space
// is "+".
func urlQuote(s string, path bool) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case isASCIILetter(c), isDecimal(c), strings.IndexByte("_.-~", c) >= 0, c == '/' && path:
			b.WriteByte(c)
		case c == ' ' && !path:
			b.WriteByte('+')
		default:
			b.WriteString("%" + strings.ToUpper(strconv.FormatUint(uint64(c)|0x100, 16)[1:]))
		}
	}
	return b.String()
}

func filterXMLAttr(r *run, v Value, a []Value) (Value, error) {
	d, err := mapping("xmlattr", v)
	if err != nil {
		return nil, err
	}
	var parts []string
	for _, e := range d.entries {
		if _, undefined := e.val.(*Undefined); e.val == nil || undefined {
			continue
		}
		k, err := strArg(e.key, "")
		if err != nil {
			return nil, err
		}
		if strings.ContainsAny(k, " \t\n\r\f\v/>=") {
			return nil, valueErrorf("invalid character in attribute name: '%s'", clip(k))
		}
		val, err := r.escaped(e.val)
		if err != nil {
			return nil, err
		}
		parts = append(parts, escapeHTML(k)+`="`+val+`"`)
	}
	s := strings.Join(parts, " ")
	if s != "" && (!given(a[0]) || truth(a[0])) {
		s = " " + s
	}
	return s, r.alloc(len(s))
}
