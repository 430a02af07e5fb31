package jinja

import (
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
)

func filterRows() []row {
	return []row{
		{"abs", "/", filterAbs},
		{"attr", "name", filterAttr},
		{"batch", "linecount fill_with?", filterBatch},
		{"capitalize", "", textFilter(pyCapitalize)},
		{"center", "width?", filterCenter},
		{"count length", "/", filterLength},
		{"d default", "default_value? boolean?", filterDefault},
		{"dictsort", "case_sensitive? by? reverse?", filterDictsort},
		{"e escape", "/", filterEscape},
		{"filesizeformat", "binary?", filterFilesize},
		{"first", "", filterFirst},
		{"float", "default?", filterFloat},
		{"forceescape", "", filterForceEscape},
		{"format", "*args **kwargs", filterFormat},
		{"groupby", "attribute default? case_sensitive?", filterGroupby},
		{"indent", "width? first? blank?", filterIndent},
		{"int", "default? base?", filterInt},
		{"items", "", filterItems},
		{"join", "d? attribute?", filterJoin},
		{"last", "", filterLast},
		{"list", "", filterList},
		{"lower", "", textFilter(pyLower)},
		{"map", "*args **kwargs", filterMap},
		{"max", "case_sensitive? attribute?", extreme(true)},
		{"min", "case_sensitive? attribute?", extreme(false)},
		{"pprint", "", filterPprint},
		{"random", "", filterRandom},
		{"reject", "*args **kwargs", chooser("reject", false, false)},
		{"rejectattr", "*args **kwargs", chooser("rejectattr", false, true)},
		{"replace", "old new count?", filterReplace},
		{"reverse", "", filterReverse},
		{"round", "precision? method?", filterRound},
		{"safe", "", filterSafe},
		{"select", "*args **kwargs", chooser("select", true, false)},
		{"selectattr", "*args **kwargs", chooser("selectattr", true, true)},
		{"slice", "slices fill_with?", filterSlice},
		{"sort", "reverse? case_sensitive? attribute?", filterSort},
		{"string", "/", filterString},
		{"striptags", "", filterStriptags},
		{"sum", "attribute? start?", filterSum},
		{"title", "", textFilter(jinjaTitle)},
		{"tojson", "ensure_ascii? indent? separators? sort_keys?", filterTojson},
		{"trim", "chars?", filterTrim},
		{"truncate", "length? killwords? end? leeway?", filterTruncate},
		{"unique", "case_sensitive? attribute?", filterUnique},
		{"upper", "", textFilter(pyUpper)},
		{"urlencode", "", filterURLEncode},
		{"urlize", "*args **kwargs", filterURLize},
		{"wordcount", "", filterWordcount},
		{"wordwrap", "width? break_long_words? wrapstring? break_on_hyphens?", filterWordwrap},
		{"xmlattr", "autospace?", filterXMLAttr},
	}
}

// textFilter makes a filter of a function on the printed value.
func textFilter(f func(string) string) nativeFn {
	return func(r *run, v Value, _ []Value) (Value, error) {
		s, err := r.str(v)
		if err != nil {
			return nil, err
		}
		if err := r.alloc(len(s)); err != nil {
			return nil, err
		}
		return sameKind(f(s), v), nil
	}
}

func filterAbs(_ *run, v Value, _ []Value) (Value, error) {
	switch x := v.(type) {
	case float64:
		return math.Abs(x), nil
	case bool:
		i, _ := asInt(x)
		return i, nil
	}
	if b, ok := asBig(v); ok {
		return normInt(new(big.Int).Abs(b)), nil
	}
	return nil, typeErrorf("bad operand type for abs(): '%s'", typeName(v))
}

func filterAttr(_ *run, v Value, a []Value) (Value, error) {
	name, err := strArg(a[0], "")
	if err != nil {
		return nil, err
	}
	if v, ok, err := attribute(v, name); ok || err != nil {
		return v, err
	}
	return &Undefined{msg: "'" + describe(v) + "' has no attribute '" + name + "'"}, nil
}

func filterCenter(r *run, v Value, a []Value) (Value, error) {
	s, err := r.str(v)
	if err != nil {
		return nil, err
	}
	n, err := intArg(a[0], 80)
	if err != nil {
		return nil, err
	}
	return r.pad(s, n, ' ', alignCenter, v)
}

func filterLength(r *run, v Value, _ []Value) (Value, error) {
	if l, ok := v.(*loopState); ok {
		n, err := l.length()
		return int64(n), err
	}
	n, ok := length(v)
	if !ok {
		return nil, typeErrorf("object of type '%s' has no len()", typeName(v))
	}
	if s, ok := asString(v); ok {
		return int64(n), r.work(len(s))
	}
	return int64(n), nil
}

func filterDefault(_ *run, v Value, a []Value) (Value, error) {
	_, undefined := v.(*Undefined)
	if undefined || given(a[1]) && truth(a[1]) && !truth(v) {
		return orElse(a[0], ""), nil
	}
	return v, nil
}

func filterString(r *run, v Value, _ []Value) (Value, error) {
	if _, ok := v.(markup); ok {
		return v, nil
	}
	return r.strValue(v)
}

func (r *run) strValue(v Value) (Value, error) {
	s, err := r.str(v)
	return s, err
}

func filterList(r *run, v Value, _ []Value) (Value, error) {
	items, err := r.collect(v)
	return &List{items}, err
}

func filterItems(r *run, v Value, _ []Value) (Value, error) {
	return generator("generator", func() (func() (Value, bool, error), error) {
		switch x := v.(type) {
		case *Undefined:
			return r.iterateN(0, nil), nil
		case *Dict:
			return r.iterate(&dictView{x, "items"})
		}
		return nil, typeErrorf("can only get item pairs from a mapping, not %s", typeName(v))
	}), nil
}

func filterFirst(r *run, v Value, _ []Value) (Value, error) {
	next, err := r.iterate(v)
	if err != nil {
		return nil, err
	}
	item, ok, err := next()
	if err == nil && !ok {
		return &Undefined{msg: "no first item, sequence was empty"}, nil
	}
	return item, err
}

func filterLast(r *run, v Value, _ []Value) (Value, error) {
	next, err := r.reversed(v)
	if err != nil {
		return nil, err
	}
	item, ok, err := next()
	if err == nil && !ok {
		return &Undefined{msg: "no last item, sequence was empty"}, nil
	}
	return item, err
}

// reversed is Python's reversed(), which needs a sequence or a dictionary.
func (r *run) reversed(v Value) (func() (Value, bool, error), error) {
	if _, ok := v.(*iterator); ok {
		return nil, typeErrorf("'%s' object is not reversible", typeName(v))
	}
	items, err := r.collect(v)
	if err != nil {
		return nil, err
	}
	n := len(items)
	return r.iterateN(n, func(i int) Value { return items[n-1-i] }), nil
}

func filterReverse(r *run, v Value, _ []Value) (Value, error) {
	if s, ok := asString(v); ok {
		if err := r.alloc(len(s)); err != nil {
			return nil, err
		}
		n, _ := length(v)
		return sameKind(sliceString(s, n-1, -1, n), v), nil
	}
	next, err := r.reversed(v)
	if err == nil {
		return &iterator{name: "list_reverseiterator", next: next}, nil
	}
	if !isTypeError(err) {
		return nil, err
	}
	items, err := r.collect(v)
	if err != nil {
		return nil, err
	}
	n := len(items)
	out := make([]Value, n)
	for i := range out {
		out[i] = items[n-1-i]
	}
	return &List{out}, nil
}

func filterRandom(r *run, v Value, _ []Value) (Value, error) {
	n, ok := length(v)
	if !ok {
		return nil, typeErrorf("object of type '%s' has no len()", typeName(v))
	}
	if n == 0 {
		return &Undefined{msg: "no random item, sequence was empty"}, nil
	}
	return r.index(v, int64(rand.IntN(n)))
}

func filterReplace(r *run, v Value, a []Value) (Value, error) {
	s, err := r.str(v)
	if err != nil {
		return nil, err
	}
	old, err := r.str(a[0])
	if err != nil {
		return nil, err
	}
	repl, err := r.str(a[1])
	if err != nil {
		return nil, err
	}
	n := -1
	if !isNone(a[2]) {
		if n, err = intArg(a[2], -1); err != nil {
			return nil, err
		}
	}
	return r.replace(s, old, repl, n)
}

// replace counts the memory of the result before making it.
func (r *run) replace(s, old, repl string, n int) (Value, error) {
	count := strings.Count(s, old)
	if n >= 0 {
		count = min(count, n)
	}
	size := len(s) + count*(len(repl)-len(old))
	if count > 0 && size/count < 0 || count*len(repl) > 1<<40 {
		return nil, limitErrorf("string is longer than %d bytes", r.opt.MaxOutput)
	}
	if err := r.alloc(max(size, len(s))); err != nil {
		return nil, err
	}
	return strings.Replace(s, old, repl, n), nil
}

func filterTrim(r *run, v Value, a []Value) (Value, error) {
	s, err := r.str(v)
	if err != nil {
		return nil, err
	}
	return stripWith(s, v, a[0], true, true)
}

func filterInt(r *run, v Value, a []Value) (Value, error) {
	base, err := intArg(a[1], 10)
	if err != nil {
		return nil, err
	}
	n, err := toInt(v, base)
	if err == nil || !isTypeError(err) && !isValueError(err) {
		return n, err
	}
	f, err := toFloat(v)
	if err == nil {
		if n, err = toInt(f, 10); err == nil {
			return n, nil
		}
	}
	var over *overflowError
	if isTypeError(err) || isValueError(err) || errors.As(err, &over) {
		return orElse(a[0], int64(0)), nil
	}
	return nil, err
}

// toInt is Python's int().
func toInt(v Value, base int) (Value, error) {
	switch x := v.(type) {
	case float64:
		if math.IsNaN(x) {
			return nil, valueErrorf("cannot convert float NaN to integer")
		}
		if math.IsInf(x, 0) {
			return nil, &overflowError{"cannot convert float infinity to integer"}
		}
		b, _ := new(big.Float).SetFloat64(x).Int(nil)
		return normInt(b), nil
	case *Undefined:
		return nil, x.err()
	case string, markup:
		s, _ := asString(v)
		return parseInt(s, base)
	}
	if b, ok := asBig(v); ok {
		return normInt(b), nil
	}
	return nil, typeErrorf("int() argument must be a string or a number, not '%s'", typeName(v))
}

// parseInt reads an integer as Python's int(text, base) does.
func parseInt(s string, base int) (Value, error) {
	t := strings.TrimFunc(s, isSpace)
	digits := strings.TrimLeft(t, "+-")
	bad := valueErrorf("invalid literal for int() with base %d: '%s'", base, clip(s))
	if base != 0 && (base < 2 || base > 36) {
		return nil, valueErrorf("int() base must be >= 2 and <= 36, or 0")
	}
	if len(t)-len(digits) > 1 || digits == "" || len(digits) > maxDigits {
		return nil, bad
	}
	prefix := len(digits) > 1 && digits[0] == '0'
	if prefix {
		if b := map[byte]int{'x': 16, 'o': 8, 'b': 2}[digits[1]|0x20]; b != 0 && (base == 0 || base == b) {
			digits, base, prefix = strings.TrimPrefix(digits[2:], "_"), b, false
		}
	}
	if strings.HasPrefix(digits, "_") || strings.HasSuffix(digits, "_") || strings.Contains(digits, "__") ||
		strings.ContainsAny(digits, "+-") {
		return nil, bad
	}
	if base == 0 {
		if prefix && strings.Trim(digits, "0_") != "" {
			return nil, bad
		}
		base = 10
	}
	n, ok := new(big.Int).SetString(strings.ReplaceAll(digits, "_", ""), base)
	if !ok {
		return nil, bad
	}
	if strings.HasPrefix(t, "-") {
		n.Neg(n)
	}
	return normInt(n), nil
}

// clip shortens text for a message.
func clip(s string) string {
	if len(s) > 40 {
		return s[:byteOffset(s, 40)] + "…"
	}
	return s
}

func filterFloat(_ *run, v Value, a []Value) (Value, error) {
	f, err := toFloat(v)
	if err == nil {
		return f, nil
	}
	if isTypeError(err) || isValueError(err) {
		return orElse(a[0], 0.0), nil
	}
	return nil, err
}

// toFloat is Python's float().
func toFloat(v Value) (float64, error) {
	if u, ok := v.(*Undefined); ok {
		return 0, u.err()
	}
	s, ok := asString(v)
	if !ok {
		f, ok := asFloat(v)
		if !ok {
			return 0, typeErrorf("float() argument must be a string or a number, not '%s'", typeName(v))
		}
		if math.IsInf(f, 0) && isInt(v) {
			return 0, &overflowError{"int too large to convert to float"}
		}
		return f, nil
	}
	t := strings.TrimFunc(s, isSpace)
	bad := valueErrorf("could not convert string to float: '%s'", clip(s))
	if strings.ContainsAny(t, "xXpP") || strings.HasPrefix(t, "_") || strings.HasSuffix(t, "_") {
		return 0, bad
	}
	for i := 1; i+1 < len(t); i++ {
		if t[i] == '_' && (!isDecimal(t[i-1]) || !isDecimal(t[i+1])) {
			return 0, bad
		}
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(t, "_", ""), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, bad
	}
	return f, nil
}

func filterRound(_ *run, v Value, a []Value) (Value, error) {
	method, err := strArg(a[1], "common")
	if err != nil {
		return nil, err
	}
	if method != "common" && method != "ceil" && method != "floor" {
		return nil, typeErrorf("method must be common, ceil or floor")
	}
	if method == "common" {
		if a[0] == nil {
			return nil, typeErrorf("precision must be an integer")
		}
		n, err := intArg(a[0], 0)
		if err != nil {
			return nil, err
		}
		return roundTo(v, n)
	}
	if u, ok := v.(*Undefined); ok {
		return nil, u.err()
	}
	// As in Jinja: func(value * 10**precision) / 10**precision.
	scale, _, err := arith("**", int64(10), orElse(a[0], int64(0)))
	if err != nil {
		return nil, err
	}
	scaled, ok, err := arith("*", v, scale)
	if !ok || err != nil {
		return nil, errors.Join(err, typeErrorf("cannot round '%s'", typeName(v)))
	}
	if f, ok := scaled.(float64); ok {
		if method == "ceil" {
			f = math.Ceil(f)
		} else {
			f = math.Floor(f)
		}
		if scaled, err = toInt(f, 10); err != nil {
			return nil, err
		}
	}
	q, _, err := arith("/", scaled, scale)
	return q, err
}

// roundTo is Python's round(v, n): half to even, exact on decimal digits.
func roundTo(v Value, n int) (Value, error) {
	f, ok := v.(float64)
	if !ok {
		b, ok := asBig(v)
		if !ok {
			return nil, typeErrorf("type %s doesn't define __round__ method", typeName(v))
		}
		return roundInt(b, n)
	}
	if math.IsNaN(f) || math.IsInf(f, 0) || n > 400 {
		return f, nil
	}
	if n < -400 {
		return math.Copysign(0, f), nil
	}
	if n >= 0 {
		x, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', n, 64), 64)
		return x, err
	}
	exact, _ := new(big.Float).SetFloat64(f).Rat(nil)
	p := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(-n)), nil))
	q := new(big.Rat).Quo(exact, p)
	i, _ := new(big.Int).SetString(q.FloatString(0), 10)
	if frac := new(big.Rat).Sub(q, new(big.Rat).SetInt(i)); new(big.Rat).Abs(frac).Cmp(big.NewRat(1, 2)) == 0 && i.Bit(0) == 1 {
		i.Sub(i, big.NewInt(int64(q.Sign()))) // FloatString rounds half away from zero
	}
	x, _ := new(big.Rat).Mul(new(big.Rat).SetInt(i), p).Float64()
	return math.Copysign(x, f), nil
}

func roundInt(b *big.Int, n int) (Value, error) {
	if n >= 0 {
		return normInt(b), nil
	}
	if -n > maxDigits {
		return int64(0), nil
	}
	p := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(-n)), nil)
	q, m := new(big.Int).DivMod(b, p, new(big.Int))
	if c := m.Lsh(m, 1).Cmp(p); c > 0 || c == 0 && q.Bit(0) == 1 {
		q.Add(q, big.NewInt(1))
	}
	return normInt(q.Mul(q, p)), nil
}

func filterFilesize(r *run, v Value, a []Value) (Value, error) {
	bytes, err := toFloat(v)
	if err != nil {
		return nil, err
	}
	base, mark := 1000.0, "B"
	if given(a[0]) && truth(a[0]) {
		base, mark = 1024, "iB"
	}
	if bytes == 1 {
		return "1 Byte", nil
	}
	if bytes < base {
		n, err := toInt(bytes, 10)
		if err != nil {
			return nil, err
		}
		s, err := r.toStr(n)
		return s + " Bytes", err
	}
	prefixes := "kMGTPEZY"
	if mark == "iB" {
		prefixes = "KMGTPEZY"
	}
	unit := base
	last := len(prefixes) - 1
	for i := range prefixes {
		unit *= base
		if bytes < unit || i == last {
			return strconv.FormatFloat(base*bytes/unit, 'f', 1, 64) + " " + prefixes[i:i+1] + mark, nil
		}
	}
	return nil, nil
}
