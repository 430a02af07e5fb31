package tokenizer

import (
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

func nfc(s string) string  { return normalForm(s, norm.NFC, true) }
func nfd(s string) string  { return normalForm(s, norm.NFD, false) }
func nfkc(s string) string { return normalForm(s, norm.NFKC, true) }
func nfkd(s string) string { return normalForm(s, norm.NFKD, false) }

// normalForm normalises with the library, but for two things that the
// reference does otherwise: it does not know the characters of clsInert, and
// it does not cut runs of more than 30 combining marks apart.
func normalForm(s string, form norm.Form, compose bool) string {
	if form.IsNormalString(s) {
		return s // an inert character that is normal stays as it is either way
	}
	c := classes()
	var b strings.Builder
	b.Grow(len(s))
	for len(s) > 0 {
		n, inert := inertRun(c, s)
		switch part := s[:n]; {
		case inert:
			b.WriteString(part)
		case longMarks(part, form):
			b.WriteString(bySteps(part, form, compose))
		default:
			b.WriteString(form.String(part))
		}
		s = s[n:]
	}
	return b.String()
}

// inertRun returns how many bytes at the start of s are all inert or all not.
func inertRun(c *classPages, s string) (n int, inert bool) {
	for i, r := range s {
		now := c.of(r)&clsInert != 0
		if i == 0 {
			inert = now
		} else if now != inert {
			return i, inert
		}
	}
	return len(s), inert
}

// longMarks reports whether so many marks may stand together that the library
// would put a character of its own between them. A character decomposes into
// at most a few marks; 8 of them leave the limit of 30 far.
func longMarks(s string, form norm.Form) bool {
	marks := 0
	for i := 0; i < len(s); {
		if s[i] < utf8.RuneSelf {
			marks = 0
			i++
			continue
		}
		p := form.PropertiesString(s[i:])
		if p.LeadCCC() == 0 && p.TrailCCC() == 0 {
			marks = 0
		} else if marks++; marks > 8 {
			return true
		}
		i += max(1, p.Size())
	}
	return false
}

// mark is a character and its combining class.
type mark struct {
	r   rune
	ccc uint8
}

// bySteps normalises as the Unicode standard describes it: decompose, put the
// marks in order, compose.
func bySteps(s string, form norm.Form, compose bool) string {
	var marks []mark
	for _, r := range s {
		marks = decompose(marks, r, form)
	}
	sortMarks(marks)
	if compose {
		marks = composeMarks(marks)
	}
	var b strings.Builder
	for _, m := range marks {
		b.WriteRune(m.r)
	}
	return b.String()
}

// Hangul syllables are composed by arithmetic.
const (
	hangulS, hangulL, hangulV, hangulT = 0xAC00, 0x1100, 0x1161, 0x11A7

	hangulLs, hangulVs, hangulTs = 19, 21, 28
)

// decompose appends the full decomposition of a character.
func decompose(out []mark, r rune, form norm.Form) []mark {
	if i := r - hangulS; i >= 0 && i < hangulLs*hangulVs*hangulTs {
		out = append(out, mark{r: hangulL + i/(hangulVs*hangulTs)}, mark{r: hangulV + i%(hangulVs*hangulTs)/hangulTs})
		if t := i % hangulTs; t > 0 {
			out = append(out, mark{r: hangulT + t})
		}
		return out
	}
	whole := form.PropertiesString(string(r))
	if d := whole.Decomposition(); d != nil {
		for _, r := range string(d) {
			out = append(out, mark{r, form.PropertiesString(string(r)).CCC()})
		}
		return out
	}
	return append(out, mark{r, whole.CCC()})
}

// sortMarks orders every run of marks by combining class, and keeps the order
// of equal ones. It counts, since a run may be as long as the text.
func sortMarks(marks []mark) {
	for i := 0; i < len(marks); {
		if marks[i].ccc == 0 {
			i++
			continue
		}
		end := i
		for end < len(marks) && marks[end].ccc != 0 {
			end++
		}
		sortRun(marks[i:end])
		i = end
	}
}

func sortRun(run []mark) {
	var at [257]int
	for _, m := range run {
		at[int(m.ccc)+1]++
	}
	for i := 1; i < len(at); i++ {
		at[i] += at[i-1]
	}
	sorted := make([]mark, len(run))
	for _, m := range run {
		sorted[at[m.ccc]] = m
		at[m.ccc]++
	}
	copy(run, sorted)
}

// composeMarks joins every character with the last starter before it if the
// two compose and nothing between them blocks it.
func composeMarks(marks []mark) []mark {
	out := marks[:0]
	starter, last := -1, -1 // index of the starter in out; combining class of the mark before
	for _, m := range marks {
		if starter >= 0 && (last < int(m.ccc) || last == -1) {
			if r := composed(out[starter].r, m.r); r >= 0 {
				out[starter].r = r
				continue
			}
		}
		if m.ccc == 0 {
			starter, last = len(out), -1
		} else {
			last = int(m.ccc)
		}
		out = append(out, m)
	}
	return out
}

// composed returns what two characters compose to, -1 for nothing.
func composed(a, b rune) rune {
	if l, v := a-hangulL, b-hangulV; l >= 0 && l < hangulLs && v >= 0 && v < hangulVs {
		return hangulS + (l*hangulVs+v)*hangulTs
	}
	if s, t := a-hangulS, b-hangulT; s >= 0 && s < hangulLs*hangulVs*hangulTs && s%hangulTs == 0 && t > 0 && t < hangulTs {
		return a + t
	}
	if r, ok := compositions()[[2]rune{a, b}]; ok {
		return r
	}
	return -1
}

// compositions inverts the library's canonical decompositions on first use: a
// composite's first part is itself what the rest of its decomposition composes to.
var compositions = sync.OnceValue(func() map[[2]rune]rune {
	pairs := map[[2]rune]rune{}
	for r := rune(0xC0); r <= 0x1FFFF; r++ {
		s := string(r)
		d := norm.NFC.PropertiesString(s).Decomposition()
		if d == nil || norm.NFC.String(s) != s {
			continue // excluded from composition
		}
		second, n := utf8.DecodeLastRune(d)
		first := norm.NFC.String(string(d[:len(d)-n]))
		if a, size := utf8.DecodeRuneInString(first); size == len(first) && size > 0 {
			pairs[[2]rune{a, second}] = r
		}
	}
	return pairs
})
