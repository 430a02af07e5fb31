package jinja

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

func strRows() []row {
	rows := []row{
		{"capitalize", "/", textMethod(pyCapitalize)},
		{"casefold", "/", textMethod(pyCasefold)},
		{"center", "/ width fillchar?", padMethod(alignCenter)},
		{"count", "/ sub start? end?", strCount},
		{"endswith", "/ suffix start? end?", affixMethod(strings.HasSuffix)},
		{"expandtabs", "tabsize?", strExpandtabs},
		{"find", "/ sub start? end?", findMethod(strings.Index, false)},
		{"format", "*args **kwargs", strFormat},
		{"format_map", "/ mapping", strFormatMap},
		{"index", "/ sub start? end?", findMethod(strings.Index, true)},
		{"isalnum", "/", charTest(isAlnum)},
		{"isalpha", "/", charTest(isAlpha)},
		{"isascii", "/", textTest(isASCII)},
		{"isdecimal", "/", charTest(isDecimalRune)},
		{"isdigit", "/", charTest(isDigitRune)},
		{"isidentifier", "/", textTest(isIdentifier)},
		{"islower", "/", textTest(func(s string) bool { return oneCase(s, false) })},
		{"isnumeric", "/", charTest(isNumeric)},
		{"isprintable", "/", textTest(func(s string) bool { return s == "" || all(s, unicode.IsPrint) })},
		{"isspace", "/", charTest(isSpace)},
		{"istitle", "/", textTest(isTitle)},
		{"isupper", "/", textTest(func(s string) bool { return oneCase(s, true) })},
		{"join", "/ iterable", strJoin},
		{"ljust", "/ width fillchar?", padMethod(alignLeft)},
		{"lower", "/", textMethod(pyLower)},
		{"lstrip", "/ chars?", stripMethod(true, false)},
		{"partition", "/ sep", partition(false)},
		{"removeprefix", "/ prefix", trimMethod(strings.TrimPrefix)},
		{"removesuffix", "/ suffix", trimMethod(strings.TrimSuffix)},
		{"replace", "/ old new count?", strReplace},
		{"rfind", "/ sub start? end?", findMethod(strings.LastIndex, false)},
		{"rindex", "/ sub start? end?", findMethod(strings.LastIndex, true)},
		{"rjust", "/ width fillchar?", padMethod(alignRight)},
		{"rpartition", "/ sep", partition(true)},
		{"rsplit", "sep? maxsplit?", splitMethod(rsplit, rsplitSpace)},
		{"rstrip", "/ chars?", stripMethod(false, true)},
		{"split", "sep? maxsplit?", splitMethod(splitN, splitSpace)},
		{"splitlines", "keepends?", strSplitlines},
		{"startswith", "/ prefix start? end?", affixMethod(strings.HasPrefix)},
		{"strip", "/ chars?", stripMethod(true, true)},
		{"swapcase", "/", textMethod(pySwapcase)},
		{"title", "/", textMethod(pyTitle)},
		{"upper", "/", textMethod(pyUpper)},
		{"zfill", "/ width", strZfill},
	}
	for _, name := range []string{"encode", "maketrans", "translate"} {
		rows = append(rows, row{name, "*args **kwargs", func(*run, Value, []Value) (Value, error) {
			return nil, fmt.Errorf("string method '%s' is not supported", name)
		}})
	}
	return rows
}

func recvText(v Value) string {
	s, _ := asString(v)
	return s
}

func textMethod(f func(string) string) nativeFn {
	return func(r *run, recv Value, _ []Value) (Value, error) {
		s := recvText(recv)
		return sameKind(f(s), recv), r.alloc(len(s))
	}
}

func textTest(f func(string) bool) nativeFn {
	return func(r *run, recv Value, _ []Value) (Value, error) {
		s := recvText(recv)
		return f(s), r.work(len(s))
	}
}

func charTest(f func(rune) bool) nativeFn {
	return textTest(func(s string) bool { return all(s, f) })
}

func padMethod(how alignment) nativeFn {
	return func(r *run, recv Value, a []Value) (Value, error) {
		width, err := intArg(a[0], 0)
		if err != nil {
			return nil, err
		}
		fill, err := strArg(a[1], " ")
		if err != nil {
			return nil, err
		}
		if utf8.RuneCountInString(fill) != 1 {
			return nil, typeErrorf("the fill character must be exactly one character long")
		}
		c, _ := utf8.DecodeRuneInString(fill)
		return r.pad(recvText(recv), width, c, how, recv)
	}
}

func stripMethod(left, right bool) nativeFn {
	return func(r *run, recv Value, a []Value) (Value, error) {
		s := recvText(recv)
		if err := r.work(len(s)); err != nil {
			return nil, err
		}
		return stripWith(s, recv, a[0], left, right)
	}
}

func trimMethod(f func(s, affix string) string) nativeFn {
	return func(_ *run, recv Value, a []Value) (Value, error) {
		affix, err := strArg(a[0], "")
		return sameKind(f(recvText(recv), affix), recv), err
	}
}

// window cuts s to the characters start:end of a search and returns the byte
// offset and the character offset where it begins; ok is false past the end.
func (r *run) window(s string, start, end Value) (sub string, chars int, ok bool, err error) {
	if err := r.work(len(s)); err != nil {
		return "", 0, false, err
	}
	if isNone(start) && isNone(end) {
		return s, 0, true, nil
	}
	n := utf8.RuneCountInString(s)
	bound := func(v Value, absent int) (int, error) {
		if isNone(v) {
			return absent, nil
		}
		i, err := intArg(v, absent)
		if i < 0 {
			i = max(i+n, 0)
		}
		return i, err
	}
	from, err := bound(start, 0)
	if err != nil {
		return "", 0, false, err
	}
	to, err := bound(end, n)
	if err != nil {
		return "", 0, false, err
	}
	to = min(to, n)
	if from > to {
		return "", 0, false, nil
	}
	return sliceString(s, from, 1, to-from), from, true, nil
}

func strCount(r *run, recv Value, a []Value) (Value, error) {
	sub, err := strArg(a[0], "")
	if err != nil {
		return nil, err
	}
	s, _, ok, err := r.window(recvText(recv), a[1], a[2])
	if err != nil || !ok {
		return int64(0), err
	}
	return int64(strings.Count(s, sub)), r.work(len(s))
}

// findMethod makes find, index and their mirror images.
func findMethod(search func(s, sub string) int, fail bool) nativeFn {
	return func(r *run, recv Value, a []Value) (Value, error) {
		sub, err := strArg(a[0], "")
		if err != nil {
			return nil, err
		}
		s, from, ok, err := r.window(recvText(recv), a[1], a[2])
		if err != nil {
			return nil, err
		}
		if err := r.work(len(s)); err != nil {
			return nil, err
		}
		i := -1
		if ok {
			i = search(s, sub)
		}
		switch {
		case i >= 0:
			return int64(from + utf8.RuneCountInString(s[:i])), nil
		case fail:
			return nil, valueErrorf("substring not found")
		}
		return int64(-1), nil
	}
}

// affixMethod makes startswith and endswith, which also take a tuple.
func affixMethod(has func(s, affix string) bool) nativeFn {
	return func(r *run, recv Value, a []Value) (Value, error) {
		s, _, ok, err := r.window(recvText(recv), a[1], a[2])
		if err != nil {
			return nil, err
		}
		list := []Value{a[0]}
		if t, isTuple := a[0].(*Tuple); isTuple {
			list = t.items
		}
		for _, v := range list {
			affix, err := strArg(v, "")
			if err != nil {
				return nil, err
			}
			if ok && has(s, affix) {
				return true, nil
			}
		}
		return false, nil
	}
}

func strExpandtabs(r *run, recv Value, a []Value) (Value, error) {
	size, err := intArg(a[0], 8)
	if err != nil {
		return nil, err
	}
	s := recvText(recv)
	if err := r.alloc(len(s) + strings.Count(s, "\t")*max(size, 0)); err != nil {
		return nil, err
	}
	var b strings.Builder
	col := 0
	for _, c := range s {
		switch {
		case c == '\t' && size > 0:
			n := size - col%size
			b.WriteString(repeat(" ", n))
			col += n
		case c == '\t':
		case c == '\n' || c == '\r':
			b.WriteRune(c)
			col = 0
		default:
			b.WriteRune(c)
			col++
		}
	}
	return sameKind(b.String(), recv), nil
}

func strJoin(r *run, recv Value, a []Value) (Value, error) {
	next, err := r.iterate(a[0])
	if err != nil {
		return nil, typeErrorf("can only join an iterable")
	}
	_, escape := recv.(markup)
	i := -1
	s, err := r.joinAll(recvText(recv), next, func(v Value) (string, error) {
		i++
		if escape {
			return r.escaped(v)
		}
		s, ok := asString(v)
		if !ok {
			return "", typeErrorf("sequence item %d: expected str instance, %s found", i, typeName(v))
		}
		return s, nil
	})
	return sameKind(s, recv), err
}

// partition makes partition and, from the right, rpartition.
func partition(right bool) nativeFn {
	search, absent := strings.Index, 0
	if right {
		search, absent = strings.LastIndex, 2
	}
	return func(r *run, recv Value, a []Value) (Value, error) {
		sep, err := strArg(a[0], "")
		if err != nil {
			return nil, err
		}
		if sep == "" {
			return nil, valueErrorf("empty separator")
		}
		s := recvText(recv)
		var parts [3]string
		if i := search(s, sep); i >= 0 {
			parts = [3]string{s[:i], sep, s[i+len(sep):]}
		} else {
			parts[absent] = s
		}
		t := &Tuple{}
		for _, p := range parts {
			t.items = append(t.items, sameKind(p, recv))
		}
		return t, r.work(len(s))
	}
}

func strReplace(r *run, recv Value, a []Value) (Value, error) {
	old, err := strArg(a[0], "")
	if err != nil {
		return nil, err
	}
	repl, err := strArg(a[1], "")
	if err != nil {
		return nil, err
	}
	n, err := intArg(a[2], -1)
	if err != nil {
		return nil, err
	}
	if _, ok := recv.(markup); ok {
		if _, ok := a[1].(markup); !ok {
			repl = escapeHTML(repl)
		}
	}
	v, err := r.replace(recvText(recv), old, repl, n)
	if err != nil {
		return nil, err
	}
	return sameKind(recvText(v), recv), nil
}

func splitN(s, sep string, n int) []string {
	if n >= 0 {
		n++
	}
	return strings.SplitN(s, sep, n)
}

func splitMethod(bySep func(s, sep string, n int) []string, bySpace func(s string, n int) []string) nativeFn {
	return func(r *run, recv Value, a []Value) (Value, error) {
		n, err := intArg(a[1], -1)
		if err != nil {
			return nil, err
		}
		s := recvText(recv)
		if err := r.alloc(len(s)); err != nil {
			return nil, err
		}
		if isNone(a[0]) {
			return r.stringList(bySpace(s, n), recv)
		}
		sep, err := strArg(a[0], "")
		if err != nil {
			return nil, err
		}
		if sep == "" {
			return nil, valueErrorf("empty separator")
		}
		return r.stringList(bySep(s, sep, n), recv)
	}
}

func (r *run) stringList(parts []string, like Value) (Value, error) {
	l := &List{make([]Value, len(parts))}
	for i, p := range parts {
		l.items[i] = sameKind(p, like)
	}
	return l, r.allocItems(len(parts))
}

func strSplitlines(r *run, recv Value, a []Value) (Value, error) {
	return r.stringList(splitLines(recvText(recv), given(a[0]) && truth(a[0])), recv)
}

func strZfill(r *run, recv Value, a []Value) (Value, error) {
	width, err := intArg(a[0], 0)
	if err != nil {
		return nil, err
	}
	s := recvText(recv)
	sign := ""
	if strings.HasPrefix(s, "+") || strings.HasPrefix(s, "-") {
		sign, s = s[:1], s[1:]
	}
	v, err := r.pad(s, width-len(sign), '0', alignRight, "")
	if err != nil {
		return nil, err
	}
	return sameKind(sign+recvText(v), recv), nil
}
