package jinja

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// formatSpec is Python's format specification: [[fill]align][sign][z][#][0]
// [width][grouping][.precision][type].
type formatSpec struct {
	fill      rune
	align     byte // '<', '>', '^', '=' or 0
	sign      byte
	alt       bool
	width     int
	group     byte // ',' or '_' or 0
	precision int  // -1 when absent
	verb      byte // 0 when absent
}

func parseFormatSpec(s string) (formatSpec, error) {
	f := formatSpec{fill: ' ', precision: -1}
	bad := valueErrorf("invalid format specifier '%s'", clip(s))
	if r, n := utf8.DecodeRuneInString(s); n > 0 && n < len(s) && strings.IndexByte("<>=^", s[n]) >= 0 {
		f.fill, f.align, s = r, s[n], s[n+1:]
	} else if s != "" && strings.IndexByte("<>=^", s[0]) >= 0 {
		f.align, s = s[0], s[1:]
	}
	if s != "" && strings.IndexByte("+- ", s[0]) >= 0 {
		f.sign, s = s[0], s[1:]
	}
	if strings.HasPrefix(s, "#") {
		f.alt, s = true, s[1:]
	}
	if strings.HasPrefix(s, "0") {
		if f.align == 0 {
			f.fill, f.align = '0', '='
		}
		s = s[1:]
	}
	var err error
	if f.width, s, err = takeInt(s, 0); err != nil {
		return f, err
	}
	if s != "" && (s[0] == ',' || s[0] == '_') {
		f.group, s = s[0], s[1:]
	}
	if strings.HasPrefix(s, ".") {
		if f.precision, s, err = takeInt(s[1:], -1); err != nil {
			return f, err
		}
		if f.precision < 0 {
			return f, valueErrorf("format specifier missing precision")
		}
	}
	if len(s) > 1 {
		return f, bad
	}
	if s != "" {
		f.verb = s[0]
	}
	return f, nil
}

func takeInt(s string, absent int) (int, string, error) {
	i := 0
	for i < len(s) && isDecimal(s[i]) {
		i++
	}
	if i == 0 {
		return absent, s, nil
	}
	n, err := strconv.Atoi(s[:i])
	if err != nil || n > 1<<30 {
		return 0, "", limitErrorf("number %s in a format is too large", clip(s[:i]))
	}
	return n, s[i:], nil
}

// maxPrecision bounds the digits that a format may ask for.
const maxPrecision = 1000

// formatValue is Python's format(v, spec).
func (r *run) formatValue(v Value, spec string) (string, error) {
	if spec == "" {
		return r.toStr(v)
	}
	f, err := parseFormatSpec(spec)
	if err != nil {
		return "", err
	}
	if f.precision > maxPrecision {
		return "", limitErrorf("format precision is larger than %d", maxPrecision)
	}
	switch x := v.(type) {
	case float64:
		return r.formatFloat(f, x)
	case int64, *big.Int, bool:
		b, _ := asBig(x)
		return r.formatInt(f, b)
	case string, markup:
		return r.formatStr(f, recvText(v))
	case *Undefined:
		return "", typeErrorf("unsupported format string passed to Undefined.__format__")
	}
	return "", typeErrorf("unsupported format string passed to %s.__format__", typeName(v))
}

func (r *run) formatStr(f formatSpec, s string) (string, error) {
	if f.verb != 0 && f.verb != 's' {
		return "", valueErrorf("unknown format code '%c' for object of type 'str'", f.verb)
	}
	if f.sign != 0 || f.alt || f.group != 0 {
		return "", valueErrorf("sign, '#' and grouping are not allowed in a string format")
	}
	if f.align == '=' {
		if f.fill != '0' {
			return "", valueErrorf("'=' alignment not allowed in string format specifier")
		}
		f.align = '<'
	}
	if f.precision >= 0 {
		s = s[:byteOffset(s, f.precision)]
	}
	return r.align(f, "", s, '<')
}

// align pads sign and body to the width.
func (r *run) align(f formatSpec, sign, body string, def byte) (string, error) {
	if f.align == 0 {
		f.align = def
	}
	n := f.width - utf8.RuneCountInString(sign) - utf8.RuneCountInString(body)
	if n <= 0 {
		return sign + body, nil
	}
	if err := r.alloc(n*utf8.RuneLen(f.fill) + len(body)); err != nil {
		return "", err
	}
	left, right := 0, n
	switch f.align {
	case '>':
		left, right = n, 0
	case '^':
		left, right = n/2, n-n/2
	case '=':
		return sign + repeat(string(f.fill), n) + body, nil
	}
	fill := string(f.fill)
	return repeat(fill, left) + sign + body + repeat(fill, right), nil
}

func signOf(negative bool, sign byte) string {
	switch {
	case negative:
		return "-"
	case sign == '+' || sign == ' ':
		return string(sign)
	}
	return ""
}

func (r *run) formatInt(f formatSpec, b *big.Int) (string, error) {
	base, prefix := 10, ""
	switch f.verb {
	case 0, 'd', 'n':
	case 'b':
		base, prefix = 2, "0b"
	case 'o':
		base, prefix = 8, "0o"
	case 'x', 'X':
		base, prefix = 16, "0"+string(f.verb)
	case 'c':
		if f.sign != 0 || !b.IsInt64() || b.Int64() < 0 || b.Int64() > utf8.MaxRune {
			return "", valueErrorf("%%c needs a character code")
		}
		return r.align(f, "", string(rune(b.Int64())), '<')
	case 'e', 'E', 'f', 'F', 'g', 'G', '%':
		x, err := toFloat(normInt(b))
		if err != nil {
			return "", err
		}
		return r.formatFloat(f, x)
	default:
		return "", valueErrorf("unknown format code '%c' for object of type 'int'", f.verb)
	}
	if f.precision >= 0 {
		return "", valueErrorf("precision not allowed in integer format specifier")
	}
	if _, err := bigString(b); err != nil {
		return "", err
	}
	digits := new(big.Int).Abs(b).Text(base)
	if f.verb == 'X' {
		digits = strings.ToUpper(digits)
	}
	sign := signOf(b.Sign() < 0, f.sign)
	if f.alt {
		sign += prefix
	}
	size := 3
	if base != 10 {
		if size = 4; f.group == ',' {
			return "", valueErrorf("cannot specify ',' with '%c'", f.verb)
		}
	}
	return r.alignNumber(f, sign, digits, "", size)
}

// alignNumber groups the digits before the point and pads. Zero padding is
// grouped too, as in Python.
func (r *run) alignNumber(f formatSpec, sign, digits, rest string, size int) (string, error) {
	if f.group == 0 {
		return r.align(f, sign, digits+rest, '>')
	}
	if f.align == '=' && f.fill == '0' {
		if err := r.alloc(2 * f.width); err != nil {
			return "", err
		}
		room := f.width - len(sign) - len(rest)
		for len(digits)+(len(digits)-1)/size < room {
			digits = "0" + digits
		}
	}
	return r.align(f, sign, groupDigits(digits, f.group, size)+rest, '>')
}

func groupDigits(s string, sep byte, size int) string {
	var b strings.Builder
	for i := range len(s) {
		if i > 0 && (len(s)-i)%size == 0 {
			b.WriteByte(sep)
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func (r *run) formatFloat(f formatSpec, x float64) (string, error) {
	verb, suffix := f.verb, ""
	abs := math.Abs(x)
	if verb == '%' {
		abs, verb, suffix = abs*100, 'f', "%"
	}
	var s string
	switch verb {
	case 0:
		if s = floatRepr(abs); f.precision >= 0 {
			s = general(abs, f.precision, f.alt, true)
		}
	case 'e', 'E', 'f', 'F':
		s = fixed(abs, verb|0x20, f.precision, f.alt)
	case 'g', 'G', 'n':
		s = general(abs, f.precision, f.alt, false)
	default:
		return "", valueErrorf("unknown format code '%c' for object of type 'float'", f.verb)
	}
	if verb == 'E' || verb == 'F' || verb == 'G' {
		s = strings.ToUpper(s)
	}
	i := strings.IndexFunc(s, func(c rune) bool { return c < '0' || c > '9' })
	if i < 0 {
		i = len(s)
	}
	sign := signOf(math.Signbit(x) && x == x, f.sign)
	if i == 0 { // inf and nan are not grouped
		return r.align(f, sign, s+suffix, '>')
	}
	return r.alignNumber(f, sign, s[:i], s[i:]+suffix, 3)
}

// special returns the text of infinity and NaN, or "".
func special(x float64) string {
	switch {
	case math.IsNaN(x):
		return "nan"
	case math.IsInf(x, 0):
		return "inf"
	}
	return ""
}

func fixed(x float64, verb byte, precision int, alt bool) string {
	if s := special(x); s != "" {
		return s
	}
	if precision < 0 {
		precision = 6
	}
	s := strconv.FormatFloat(x, verb, precision, 64)
	if alt && precision == 0 {
		if i := strings.IndexByte(s, 'e'); i >= 0 {
			return s[:i] + "." + s[i:]
		}
		s += "."
	}
	return s
}

// general is the format g; asRepr keeps one digit after the point, as the
// format without a type does.
func general(x float64, precision int, alt, asRepr bool) string {
	if s := special(x); s != "" {
		return s
	}
	if precision < 0 {
		precision = 6
	}
	precision = max(precision, 1)
	e := strconv.FormatFloat(x, 'e', precision-1, 64)
	at := strings.IndexByte(e, 'e')
	exp, _ := strconv.Atoi(e[at+1:])
	limit := precision
	if asRepr {
		limit--
	}
	if exp < -4 || exp >= max(limit, 0) {
		if alt {
			return e
		}
		return trimZeros(e[:at]) + e[at:]
	}
	s := strconv.FormatFloat(x, 'f', max(precision-1-exp, 0), 64)
	if !alt {
		s = trimZeros(s)
	}
	if asRepr && strings.IndexByte(s, '.') < 0 {
		s += ".0"
	}
	return s
}

func trimZeros(s string) string {
	if strings.IndexByte(s, '.') < 0 {
		return s
	}
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}

// strFormat is str.format.
func strFormat(r *run, recv Value, a []Value) (Value, error) {
	args, kw := a[0].(*Tuple).items, a[1].(*Dict)
	f := &formatter{run: r, args: args, kw: kw}
	_, f.escape = recv.(markup)
	s, err := f.format(recvText(recv), 2)
	return sameKind(s, recv), err
}

func strFormatMap(r *run, recv Value, a []Value) (Value, error) {
	kw, ok := a[0].(*Dict)
	if !ok {
		return nil, typeErrorf("format_map needs a mapping, got %s", typeName(a[0]))
	}
	s, err := (&formatter{run: r, kw: kw}).format(recvText(recv), 2)
	return sameKind(s, recv), err
}

// formatter replaces the fields of one format string.
type formatter struct {
	run    *run
	args   []Value
	kw     *Dict
	auto   int // the next automatic index
	manual bool
	escape bool
}

func (f *formatter) format(s string, depth int) (string, error) {
	if depth < 0 {
		return "", valueErrorf("max string recursion exceeded")
	}
	var b strings.Builder
	for s != "" {
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		if i+1 < len(s) && s[i+1] == s[i] {
			b.WriteByte(s[i])
			s = s[i+2:]
			continue
		}
		if s[i] == '}' {
			return "", valueErrorf("single '}' encountered in format string")
		}
		end := fieldEnd(s[i:])
		if end < 0 {
			return "", valueErrorf("expected '}' before end of string")
		}
		text, err := f.field(s[i+1:i+end], depth)
		if err != nil {
			return "", err
		}
		if err := f.run.alloc(len(text)); err != nil {
			return "", err
		}
		b.WriteString(text)
		s = s[i+end+1:]
	}
	return b.String(), f.run.alloc(b.Len())
}

// fieldEnd returns the offset of the brace that closes the one at 0. Braces
// inside [ ] do not count.
func fieldEnd(s string) int {
	depth, bracket := 0, false
	for i := range len(s) {
		switch c := s[i]; {
		case c == '[' && depth == 1:
			bracket = true
		case c == ']':
			bracket = false
		case bracket:
		case c == '{':
			depth++
		case c == '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// field renders name!conversion:spec.
func (f *formatter) field(s string, depth int) (string, error) {
	name, spec, conv := s, "", byte(0)
	if i := strings.IndexAny(s, "!:"); i >= 0 {
		name, spec = s[:i], s[i+1:]
		if s[i] == '!' {
			if spec == "" || len(spec) > 1 && spec[1] != ':' {
				return "", valueErrorf("expected ':' after conversion specifier")
			}
			conv, spec = spec[0], strings.TrimPrefix(spec[1:], ":")
		}
	}
	v, err := f.lookup(name)
	if err != nil {
		return "", err
	}
	if spec, err = f.format(spec, depth-1); err != nil {
		return "", err
	}
	switch conv {
	case 0:
	case 's':
		v, err = f.run.toStr(v)
	case 'r':
		v, err = f.run.toRepr(v)
	case 'a':
		v, err = f.run.toASCII(v)
	default:
		return "", valueErrorf("unknown conversion specifier '%c'", conv)
	}
	if err != nil {
		return "", err
	}
	text, err := f.run.formatValue(v, spec)
	if _, safe := v.(markup); f.escape && !safe {
		text = escapeHTML(text)
	}
	return text, err
}

func (r *run) toASCII(v Value) (string, error) {
	s, err := r.toRepr(v)
	if err != nil || isASCII(s) {
		return s, err
	}
	var b strings.Builder
	for _, r := range s {
		if r < utf8.RuneSelf {
			b.WriteRune(r)
		} else {
			b.WriteString("\\" + pythonHex(r))
		}
	}
	return b.String(), nil
}

// lookup finds a field by number or name and follows .attr and [item].
func (f *formatter) lookup(name string) (Value, error) {
	end := strings.IndexAny(name, ".[")
	if end < 0 {
		end = len(name)
	}
	v, err := f.first(name[:end])
	for rest := name[end:]; rest != "" && err == nil; {
		if rest[0] == '.' {
			n := strings.IndexAny(rest[1:], ".[") + 1
			if n == 0 {
				n = len(rest)
			}
			if n == 1 {
				return nil, valueErrorf("empty attribute in format string")
			}
			v, err = f.run.getAttr(v, rest[1:n])
			rest = rest[n:]
			continue
		}
		n := strings.IndexByte(rest, ']')
		if rest[0] != '[' || n < 2 {
			return nil, valueErrorf("bad field in format string")
		}
		var key Value = rest[1:n]
		if i, e := strconv.ParseInt(rest[1:n], 10, 64); e == nil && i >= 0 {
			key = i
		}
		v, err = f.run.getItem(v, key)
		rest = rest[n+1:]
	}
	return v, err
}

func (f *formatter) first(name string) (Value, error) {
	i, err := strconv.Atoi(name)
	switch {
	case name == "":
		if f.manual {
			return nil, valueErrorf("cannot switch from manual field specification to automatic field numbering")
		}
		i = f.auto
		f.auto++
	case err == nil && i >= 0:
		if f.auto > 0 {
			return nil, valueErrorf("cannot switch from automatic field numbering to manual field specification")
		}
		f.manual = true
	default:
		if v, ok := f.kw.Get(name); ok {
			return v, nil
		}
		return nil, fmt.Errorf("format has no argument '%s'", clip(name))
	}
	if i >= len(f.args) {
		return nil, typeErrorf("replacement index %d out of range", i)
	}
	return f.args[i], nil
}
