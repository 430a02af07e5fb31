package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// splitRule is one of the regular expressions by which published models cut
// text into words, as a scanner. They all have the same alternatives in the
// same order, and differ in what this struct says:
//
//	contraction | word | number | symbols and line ends | line ends | spaces
//
// Together the alternatives match any text, without gaps.
type splitRule struct {
	contractions contractionPlace
	fold         bool   // contractions match in any case
	anyLead      bool   // a word may start with any one character but \r, \n, letter, number; else with a space
	letters      uint32 // what words consist of
	cased        bool   // a word is upper-case letters before lower-case ones
	digits       int    // the most digits in a number, 0 for any; with 0 a space may lead
	tail         string // what may follow symbols, repeatedly
	lines        bool   // white space up to the last line end is one match
}

type contractionPlace int

const (
	noContractions contractionPlace = iota
	contractionsFirst
	contractionsAfterWords
)

const (
	clsUpper = clsLu | clsLt | clsLm | clsLo | clsM
	clsLower = clsLl | clsLm | clsLo | clsM
)

// gpt2Pattern is what the ByteLevel pre-tokenizer splits by.
const gpt2Pattern = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

// Parts of the patterns below.
const (
	foldFirst   = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|`
	foldAfter   = `(?i:'s|'t|'re|'ve|'m|'ll|'d)?`
	wordPattern = `[^\r\n\p{L}\p{N}]?\p{L}+|`
	casedLower  = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+`
	casedUpper  = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*`
	symbolTail  = `| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	slashTail   = `| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	markTail    = `| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// splitRules lists the patterns that we scan by hand; others go to a library
// that is five times slower.
var splitRules = func() map[string]*splitRule {
	gpt2 := &splitRule{contractions: contractionsFirst, letters: clsL}
	three := &splitRule{contractions: contractionsFirst, fold: true, anyLead: true, letters: clsL, digits: 3, tail: "\r\n", lines: true}
	one, marks := *three, *three
	one.digits = 1
	marks.digits, marks.letters = 1, clsL|clsM
	cased := &splitRule{anyLead: true, letters: clsL, cased: true, digits: 1, tail: "\r\n/", lines: true}
	casedThree, suffixed, suffixedOne := *cased, *cased, *cased
	casedThree.digits = 3
	suffixed.digits, suffixed.contractions, suffixed.fold = 3, contractionsAfterWords, true
	suffixedOne.contractions, suffixedOne.fold = contractionsAfterWords, true
	return map[string]*splitRule{
		gpt2Pattern: gpt2,
		`'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`: gpt2,

		foldFirst + wordPattern + `\p{N}{1,3}` + symbolTail:                               three,
		foldFirst + wordPattern + `\p{N}` + symbolTail:                                    &one,
		foldFirst + `[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|` + `\p{N}` + markTail:               &marks,
		casedLower + `|` + casedUpper + `|\p{N}` + slashTail:                              cased,
		casedLower + `|` + casedUpper + `|\p{N}{1,3}` + slashTail:                         &casedThree,
		casedLower + foldAfter + `|` + casedUpper + foldAfter + `|\p{N}{1,3}` + slashTail: &suffixed,
		casedLower + foldAfter + `|` + casedUpper + foldAfter + `|\p{N}` + slashTail:      &suffixedOne,
	}
}()

// scan returns the end of the match that starts at text[i:], which is not empty.
func (r *splitRule) scan(c *classPages, text string, i int) int {
	if r.contractions == contractionsFirst && text[i] == '\'' {
		if n := contraction(text[i:], r.fold); n > 0 {
			return i + n
		}
	}
	class, n := c.at(text, i)
	if end := r.word(c, text, i, class, n); end > 0 {
		return end
	}
	if end := r.number(c, text, i, class, n); end > 0 {
		return end
	}
	if end := r.symbols(c, text, i, class); end > 0 {
		return end
	}
	return r.space(c, text, i)
}

// word matches letters, behind an optional other character; 0 if it cannot.
func (r *splitRule) word(c *classPages, text string, i int, class uint32, n int) int {
	lead := text[i] == ' '
	if r.anyLead {
		lead = class&(clsL|clsN) == 0 && text[i] != '\r' && text[i] != '\n'
	}
	if r.cased {
		if end := r.casedWord(c, text, i, n, lead); end > 0 && r.contractions == contractionsAfterWords {
			return end + contraction(text[end:], r.fold)
		} else if end > 0 {
			return end
		}
		return 0
	}
	if lead && i+n < len(text) {
		if next, m := c.at(text, i+n); next&r.letters != 0 {
			return run(c, text, i+n+m, r.letters)
		}
	}
	if class&r.letters != 0 {
		return run(c, text, i+n, r.letters)
	}
	return 0
}

// run returns the end of the characters of the given classes from text[i:] on.
func run(c *classPages, text string, i int, class uint32) int {
	for i < len(text) {
		got, n := c.at(text, i)
		if got&class == 0 {
			break
		}
		i += n
	}
	return i
}

// casedWord matches upper-case letters and then lower-case ones, first with at
// least one lower-case letter, with and without the leading character, then
// with at least one upper-case letter. Letters without case count as both.
func (r *splitRule) casedWord(c *classPages, text string, i, n int, lead bool) int {
	if lead {
		if end := lowerEnd(c, text, i+n); end > 0 {
			return end
		}
	}
	if end := lowerEnd(c, text, i); end > 0 {
		return end
	}
	if lead {
		if end := run(c, text, i+n, clsUpper); end > i+n {
			return end
		}
	}
	if end := run(c, text, i, clsUpper); end > i {
		return end
	}
	return 0
}

// lowerEnd returns where upper-case letters and then at least one lower-case
// letter end. If none follows, the last upper-case one that counts as both is it.
func lowerEnd(c *classPages, text string, i int) int {
	both := 0 // the end of the last letter that counts as both
	for i < len(text) {
		class, n := c.at(text, i)
		if class&clsUpper == 0 {
			if class&clsLower != 0 {
				return run(c, text, i+n, clsLower)
			}
			break
		}
		i += n
		if class&clsLower != 0 {
			both = i
		}
	}
	return both
}

// contraction returns the length of 's, 't, 're, 've, 'm, 'll or 'd at the
// start of text, 0 for none. In any case, a long s is an s.
func contraction(text string, fold bool) int {
	if len(text) < 2 || text[0] != '\'' {
		return 0
	}
	if fold && strings.HasPrefix(text[1:], "ſ") {
		return 3
	}
	low := func(b byte) byte {
		if fold && 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		return b
	}
	first, second := low(text[1]), byte(0)
	if len(text) > 2 {
		second = low(text[2])
	}
	switch {
	case first == 's' || first == 't' || first == 'm' || first == 'd':
		return 2
	case (first == 'r' || first == 'v') && second == 'e', first == 'l' && second == 'l':
		return 3
	}
	return 0
}

// number matches digits; 0 if it cannot.
func (r *splitRule) number(c *classPages, text string, i int, class uint32, n int) int {
	if r.digits == 0 {
		if text[i] == ' ' && i+1 < len(text) {
			if class, n = c.at(text, i+1); class&clsN != 0 {
				return run(c, text, i+1+n, clsN)
			}
			return 0
		}
		if class&clsN != 0 {
			return run(c, text, i+n, clsN)
		}
		return 0
	}
	if class&clsN == 0 {
		return 0
	}
	i += n
	for k := 1; k < r.digits && i < len(text); k++ {
		if class, n = c.at(text, i); class&clsN == 0 {
			break
		}
		i += n
	}
	return i
}

// symbols matches what is neither space nor letter nor number, behind an
// optional space, and the tail behind it; 0 if it cannot.
func (r *splitRule) symbols(c *classPages, text string, i int, class uint32) int {
	if text[i] == ' ' && i+1 < len(text) {
		i++
		class, _ = c.at(text, i)
	}
	not := clsSpace | clsN | clsL | r.letters
	if class&not != 0 {
		return 0
	}
	for i < len(text) {
		got, n := c.at(text, i)
		if got&not != 0 {
			break
		}
		i += n
	}
	for i < len(text) && strings.IndexByte(r.tail, text[i]) >= 0 {
		i++
	}
	return i
}

// space matches white space: up to the last line end in it, else all of it if
// the text ends there, else all but the last character, which leads a word.
func (r *splitRule) space(c *classPages, text string, i int) int {
	start, last, line := i, i, 0
	for i < len(text) {
		class, n := c.at(text, i)
		if class&clsSpace == 0 {
			break
		}
		last = i
		i += n
		if text[last] == '\n' || text[last] == '\r' {
			line = i
		}
	}
	switch {
	case i == start: // no alternative matches; cannot be, but must not stand still
		_, n := utf8.DecodeRuneInString(text[i:])
		return i + n
	case r.lines && line > 0:
		return line
	case i == len(text) || last == start:
		return i
	}
	return last
}
