package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// pyUpper is str.upper, with the special cases that change the length.
func pyUpper(s string) string {
	if isASCII(s) {
		return strings.ToUpper(s)
	}
	return cases.Upper(language.Und).String(s)
}

// pyLower is str.lower.
func pyLower(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	return cases.Lower(language.Und).String(s)
}

func pyCasefold(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	return cases.Fold().String(s)
}

// titleRune is the title case of one character.
func titleRune(r rune) string {
	if r < utf8.RuneSelf {
		return string(unicode.ToUpper(r))
	}
	return cases.Title(language.Und, cases.NoLower).String(string(r))
}

// pyCapitalize is str.capitalize.
func pyCapitalize(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return s
	}
	return titleRune(r) + pyLower(s[n:])
}

func isCased(r rune) bool {
	return unicode.IsUpper(r) || unicode.IsLower(r) || unicode.IsTitle(r) ||
		unicode.Is(unicode.Other_Lowercase, r) || unicode.Is(unicode.Other_Uppercase, r)
}

// pyTitle is str.title: a letter after no letter is capital.
func pyTitle(s string) string {
	var b strings.Builder
	cased := false
	for _, r := range s {
		if cased {
			b.WriteString(pyLower(string(r)))
		} else {
			b.WriteString(titleRune(r))
		}
		cased = isCased(r)
	}
	return b.String()
}

// jinjaTitle is the title filter: words are cut at spaces and - ( { [ < only.
func jinjaTitle(s string) string {
	var b strings.Builder
	word := strings.Builder{}
	flush := func() {
		if w := word.String(); w != "" {
			_, n := utf8.DecodeRuneInString(w)
			b.WriteString(pyUpper(w[:n]) + pyLower(w[n:]))
		}
		word.Reset()
	}
	for _, r := range s {
		if isSpace(r) || strings.ContainsRune("-({[<", r) {
			flush()
			b.WriteRune(r)
			continue
		}
		word.WriteRune(r)
	}
	flush()
	return b.String()
}

func pySwapcase(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case unicode.IsUpper(r):
			b.WriteString(pyLower(string(r)))
		case unicode.IsLower(r):
			b.WriteString(pyUpper(string(r)))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func isAlpha(r rune) bool { return unicode.IsLetter(r) }

func isAlnum(r rune) bool { return isAlpha(r) || isNumeric(r) }

// isNumeric covers the categories N*; Python adds ideographs, which are
// letters anyway.
func isNumeric(r rune) bool {
	return unicode.IsNumber(r) || strings.ContainsRune("一二三四五六七八九十百千万億兆〇零", r)
}

func isDecimalRune(r rune) bool { return unicode.Is(unicode.Nd, r) }

// isDigitRune adds superscripts, subscripts and circled digits to decimals.
func isDigitRune(r rune) bool {
	switch {
	case isDecimalRune(r), r == 0xb2, r == 0xb3, r == 0xb9, r == 0x2070, r >= 0x2074 && r <= 0x2079,
		r >= 0x2080 && r <= 0x2089, r >= 0x2460 && r <= 0x2468, r >= 0x2474 && r <= 0x247c,
		r >= 0x2488 && r <= 0x2490, r >= 0x2776 && r <= 0x277e:
		return true
	}
	return false
}

// all reports whether s has characters and ok holds for each.
func all(s string, ok func(rune) bool) bool {
	for _, r := range s {
		if !ok(r) {
			return false
		}
	}
	return s != ""
}

// oneCase reports whether s has cased characters, all of one case.
func oneCase(s string, upper bool) bool {
	found := false
	for _, r := range s {
		up := unicode.IsUpper(r) || unicode.Is(unicode.Other_Uppercase, r)
		low := unicode.IsLower(r) || unicode.Is(unicode.Other_Lowercase, r)
		if unicode.IsTitle(r) || upper && low || !upper && up {
			return false
		}
		found = found || up || low
	}
	return found
}

func isTitle(s string) bool {
	cased, found := false, false
	for _, r := range s {
		switch {
		case unicode.IsUpper(r) || unicode.IsTitle(r):
			if cased {
				return false
			}
			cased, found = true, true
		case unicode.IsLower(r):
			if !cased {
				return false
			}
			found = true
		default:
			cased = false
		}
	}
	return found
}

func isIdentifier(s string) bool {
	for i, r := range s {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.Is(unicode.Nd, r) && !unicode.Is(unicode.Mn, r)) {
			return false
		}
	}
	return s != ""
}

// isLineBreak is true for what str.splitlines cuts at.
func isLineBreak(r rune) bool {
	return r >= 0x0a && r <= 0x0d || r >= 0x1c && r <= 0x1e || r == 0x85 || r == 0x2028 || r == 0x2029
}

func splitLines(s string, keep bool) []string {
	var lines []string
	start := 0
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if !isLineBreak(r) {
			i += n
			continue
		}
		end := i + n
		if r == '\r' && end < len(s) && s[end] == '\n' {
			end++
		}
		if keep {
			lines = append(lines, s[start:end])
		} else {
			lines = append(lines, s[start:i])
		}
		i, start = end, end
	}
	if start < len(s) {
		lines = append(lines, s[start:])
	}
	return lines
}

// splitSpace is str.split() without a separator; n < 0 means no limit.
func splitSpace(s string, n int) []string {
	var parts []string
	for s = strings.TrimLeftFunc(s, isSpace); s != ""; {
		if n >= 0 && len(parts) == n {
			return append(parts, s)
		}
		i := strings.IndexFunc(s, isSpace)
		if i < 0 {
			return append(parts, s)
		}
		parts = append(parts, s[:i])
		s = strings.TrimLeftFunc(s[i:], isSpace)
	}
	return parts
}

func rsplitSpace(s string, n int) []string {
	var parts []string
	for s = strings.TrimRightFunc(s, isSpace); s != ""; {
		if n >= 0 && len(parts) == n {
			parts = append(parts, s)
			break
		}
		i := strings.LastIndexFunc(s, isSpace)
		_, w := utf8.DecodeRuneInString(s[max(i, 0):])
		if i < 0 {
			parts = append(parts, s)
			break
		}
		parts = append(parts, s[i+w:])
		s = strings.TrimRightFunc(s[:i], isSpace)
	}
	reverseStrings(parts)
	return parts
}

func rsplit(s, sep string, n int) []string {
	var parts []string
	for n < 0 || len(parts) < n {
		i := strings.LastIndex(s, sep)
		if i < 0 {
			break
		}
		parts = append(parts, s[i+len(sep):])
		s = s[:i]
	}
	parts = append(parts, s)
	reverseStrings(parts)
	return parts
}

func reverseStrings(s []string) {
	for i, j := 0, len(s)-1; i < j; i, j = i+1, j-1 {
		s[i], s[j] = s[j], s[i]
	}
}

type alignment uint8

const (
	alignLeft alignment = iota
	alignRight
	alignCenter
)

// pad fills s up to width characters; like gives the type of the result.
func (r *run) pad(s string, width int, fill rune, how alignment, like Value) (Value, error) {
	n := width - utf8.RuneCountInString(s)
	if n <= 0 {
		return sameKind(s, like), nil
	}
	if err := r.alloc(len(s) + n*utf8.RuneLen(fill)); err != nil {
		return nil, err
	}
	left := 0
	switch how {
	case alignRight:
		left = n
	case alignCenter: // Python puts the odd one left if the width is odd
		left = n/2 + n&width&1
	}
	f := string(fill)
	return sameKind(repeat(f, left)+s+repeat(f, n-left), like), nil
}

// stripWith is str.strip, lstrip and rstrip; chars is absent or None for
// white space.
func stripWith(s string, like, chars Value, left, right bool) (Value, error) {
	in := isSpace
	if !isNone(chars) {
		set, err := strArg(chars, "")
		if err != nil {
			return nil, err
		}
		in = func(r rune) bool { return strings.ContainsRune(set, r) }
	}
	if left {
		s = strings.TrimLeftFunc(s, in)
	}
	if right {
		s = strings.TrimRightFunc(s, in)
	}
	return sameKind(s, like), nil
}

var htmlEscaper = strings.NewReplacer("&", "&amp;", ">", "&gt;", "<", "&lt;", "'", "&#39;", `"`, "&#34;")

func escapeHTML(s string) string { return htmlEscaper.Replace(s) }
