package jinja

import (
	"html"
	"strings"
	"unicode"
	"unicode/utf8"
)

func unescapeHTML(s string) string { return html.UnescapeString(s) }

func filterIndent(r *run, v Value, a []Value) (Value, error) {
	s, ok := asString(v)
	if !ok {
		if u, ok := v.(*Undefined); ok {
			return nil, u.err()
		}
		return nil, typeErrorf("indent needs a string, got %s", typeName(v))
	}
	by, ok := asString(a[0])
	if !ok {
		n, err := intArg(a[0], 4)
		if err != nil {
			return nil, err
		}
		if n > r.opt.MaxOutput {
			return nil, limitErrorf("string is longer than %d bytes", r.opt.MaxOutput)
		}
		by = repeat(" ", n)
	}
	lines := splitLines(s+"\n", false)
	if err := r.alloc(len(s) + len(lines)*(len(by)+1)); err != nil {
		return nil, err
	}
	first, blank := given(a[1]) && truth(a[1]), given(a[2]) && truth(a[2])
	for i, line := range lines {
		if i == 0 && first || i > 0 && (blank || line != "") {
			lines[i] = by + line
		}
	}
	return sameKind(strings.Join(lines, "\n"), v), nil
}

func filterTruncate(r *run, v Value, a []Value) (Value, error) {
	size, err := intArg(a[0], 255)
	if err != nil {
		return nil, err
	}
	end, err := strArg(a[2], "...")
	if err != nil {
		return nil, err
	}
	leeway := 5
	if !isNone(a[3]) {
		if leeway, err = intArg(a[3], 5); err != nil {
			return nil, err
		}
	}
	endLen := utf8.RuneCountInString(end)
	if size < endLen || leeway < 0 {
		return nil, valueErrorf("truncate: length %d is less than %d, or leeway %d is negative", size, endLen, leeway)
	}
	n, ok := length(v)
	if !ok {
		return nil, typeErrorf("object of type '%s' has no len()", typeName(v))
	}
	if n <= size+leeway {
		return v, nil
	}
	s, ok := asString(v)
	if !ok {
		return nil, typeErrorf("truncate needs a string, got %s", typeName(v))
	}
	s = s[:byteOffset(s, size-endLen)]
	if !given(a[1]) || !truth(a[1]) {
		if i := strings.LastIndexByte(s, ' '); i >= 0 {
			s = s[:i]
		}
	}
	return sameKind(s+end, v), r.alloc(len(s))
}

func filterWordcount(r *run, v Value, _ []Value) (Value, error) {
	s, err := r.str(v)
	if err != nil {
		return nil, err
	}
	n, inside := int64(0), false
	for _, c := range s {
		word := c == '_' || isAlnum(c)
		if word && !inside {
			n++
		}
		inside = word
	}
	return n, r.work(len(s))
}

// filterWordwrap wraps each line as Python's textwrap does, with white space
// kept and tabs not expanded.
func filterWordwrap(r *run, v Value, a []Value) (Value, error) {
	s, ok := asString(v)
	if !ok {
		if u, ok := v.(*Undefined); ok {
			return nil, u.err()
		}
		return nil, typeErrorf("wordwrap needs a string, got %s", typeName(v))
	}
	width, err := intArg(a[0], 79)
	if err != nil {
		return nil, err
	}
	if width <= 0 {
		return nil, valueErrorf("invalid width %d (must be > 0)", width)
	}
	wrap := "\n"
	if !isNone(a[2]) {
		if wrap, err = strArg(a[2], ""); err != nil {
			return nil, err
		}
	}
	if err := r.alloc(len(s)*4 + len(s)*len(wrap)/width); err != nil {
		return nil, err
	}
	w := wrapper{run: r, width: width, breakLong: !given(a[1]) || truth(a[1]), hyphens: !given(a[3]) || truth(a[3])}
	var lines []string
	for _, line := range splitLines(s, false) {
		wrapped, err := w.wrap(line)
		if err != nil {
			return nil, err
		}
		lines = append(lines, strings.Join(wrapped, wrap))
	}
	return sameKind(strings.Join(lines, wrap), v), nil
}

// wrapper is Python's textwrap.TextWrapper.
type wrapper struct {
	run                *run
	width              int
	breakLong, hyphens bool
}

// isWrapSpace is the white space that textwrap knows.
func isWrapSpace(r rune) bool { return r == ' ' || r >= 9 && r <= 13 }

func isBlank(s string) bool { return strings.TrimFunc(s, isSpace) == "" }

func (w *wrapper) wrap(line string) ([]string, error) {
	chunks := w.chunks(line)
	var lines []string
	for i := 0; i < len(chunks); {
		if err := w.run.work(len(chunks[i])); err != nil {
			return nil, err
		}
		if isBlank(chunks[i]) && len(lines) > 0 {
			i++
		}
		var cur []string
		n := 0
		for i < len(chunks) && n+utf8.RuneCountInString(chunks[i]) <= w.width {
			n += utf8.RuneCountInString(chunks[i])
			cur = append(cur, chunks[i])
			i++
		}
		if i < len(chunks) && utf8.RuneCountInString(chunks[i]) > w.width {
			switch {
			case w.breakLong:
				at := w.breakAt(chunks[i], w.width-n)
				cur = append(cur, chunks[i][:at])
				chunks[i] = chunks[i][at:]
			case len(cur) == 0:
				cur = append(cur, chunks[i])
				i++
			}
		}
		if len(cur) > 0 && isBlank(cur[len(cur)-1]) {
			cur = cur[:len(cur)-1]
		}
		if len(cur) > 0 {
			lines = append(lines, strings.Join(cur, ""))
		}
	}
	return lines, nil
}

// breakAt returns where a long word is cut: after a hyphen, or at the space
// that is left.
func (w *wrapper) breakAt(chunk string, space int) int {
	end := byteOffset(chunk, max(space, 0))
	if w.width < 1 {
		end = byteOffset(chunk, 1)
	}
	if w.hyphens && utf8.RuneCountInString(chunk) > space {
		i := strings.LastIndexByte(chunk[:end], '-')
		if i > 0 && strings.Trim(chunk[:i], "-") != "" {
			return i + 1
		}
	}
	return end
}

// chunks cuts a line into words and white space and, with hyphens, words
// after their hyphens and at em dashes.
func (w *wrapper) chunks(s string) []string {
	var out []string
	for s != "" {
		r, _ := utf8.DecodeRuneInString(s)
		n := 0
		if isWrapSpace(r) {
			n = len(s) - len(strings.TrimLeftFunc(s, isWrapSpace))
		} else {
			n = strings.IndexFunc(s, isWrapSpace)
			if n < 0 {
				n = len(s)
			}
		}
		if w.hyphens && !isWrapSpace(r) {
			out = append(out, hyphenChunks([]rune(s[:n]))...)
		} else {
			out = append(out, s[:n])
		}
		s = s[n:]
	}
	return out
}

func isWordPunct(r rune) bool {
	return r == '_' || isAlnum(r) || strings.ContainsRune(`!"'&.,?`, r)
}

func isWrapLetter(r rune) bool { return r == '_' || unicode.IsLetter(r) }

// hyphenChunks cuts one word: "well-known" after the hyphen, "a--b" around
// the dashes.
func hyphenChunks(w []rune) []string {
	var out []string
	for start := 0; start < len(w); {
		end := dashRun(w, start)
		if end == start {
			end = start + 1
			for end < len(w) && !breaksAfter(w, start, end) && (dashRun(w, end) == end || !isWordPunct(w[end-1])) {
				end++
			}
		}
		out = append(out, string(w[start:end]))
		start = end
	}
	return out
}

// dashRun returns the end of two or more dashes at i that join words, or i.
func dashRun(w []rune, i int) int {
	j := i
	for j < len(w) && w[j] == '-' {
		j++
	}
	if j-i < 2 || j == len(w) || !(w[j] == '_' || isAlnum(w[j])) || i == 0 || !isWordPunct(w[i-1]) {
		return i
	}
	return j
}

// breaksAfter reports a hyphen before position end at which a line may break:
// two letters before it and a letter, and another, after.
func breaksAfter(w []rune, start, end int) bool {
	h := end - 1
	if w[h] != '-' || h-start < 2 || !isWrapLetter(w[h-1]) {
		return false
	}
	before := isWrapLetter(w[h-2]) || w[h-2] == '-' && h-start >= 3 && isWrapLetter(w[h-3])
	if !before || end+1 >= len(w) || !isWrapLetter(w[end]) {
		return false
	}
	return isWrapLetter(w[end+1]) || w[end+1] == '-' && end+2 < len(w) && isWrapLetter(w[end+2])
}

// filterPprint prints as Python's pprint does while that fits one line.
func filterPprint(r *run, v Value, _ []Value) (Value, error) {
	v, err := r.sortedDicts(v, 0)
	if err != nil {
		return nil, err
	}
	s, err := r.toRepr(v)
	if err != nil {
		return nil, err
	}
	if utf8.RuneCountInString(s) > 80 {
		return nil, limitErrorf("pprint of a value that does not fit 80 columns is not supported")
	}
	return s, r.alloc(len(s))
}

// sortedDicts copies v with the keys of its dictionaries in order.
func (r *run) sortedDicts(v Value, depth int) (Value, error) {
	if depth > maxDepth {
		return nil, limitErrorf("value is nested deeper than %d", maxDepth)
	}
	if err := r.alloc(16); err != nil {
		return nil, err
	}
	if d, ok := v.(*Dict); ok {
		out := NewDict()
		entries, err := r.sortEntries(d)
		if err != nil {
			entries = d.entries // keys of several kinds stay as they are
		}
		for _, e := range entries {
			val, err := r.sortedDicts(e.val, depth+1)
			if err != nil {
				return nil, err
			}
			out.put(e.hash, e.key, val)
		}
		return out, nil
	}
	items, ok := seqItems(v)
	if !ok {
		return v, nil
	}
	out := make([]Value, len(items))
	for i, item := range items {
		var err error
		if out[i], err = r.sortedDicts(item, depth+1); err != nil {
			return nil, err
		}
	}
	return likeSeq(v, out), nil
}
