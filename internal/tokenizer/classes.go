package tokenizer

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
	"sync"
	"unicode/utf8"
)

// Class bits of a code point, in the order in which tools/tokenizer/unicode.py
// writes them. They say what the reference takes a character for; its parts
// follow different versions of Unicode, which is why there are two kinds of
// number, mark and punctuation.
const (
	clsLu     uint32 = 1 << iota // upper-case letter
	clsLl                        // lower-case letter
	clsLt                        // title-case letter
	clsLm                        // modifier letter
	clsLo                        // other letter
	clsM                         // mark
	clsN                         // number
	clsSpace                     // white space
	clsWord                      // \w of the reference's own expressions
	clsDigit                     // what the Digits pre-tokenizer splits off
	clsPunct                     // what the Punctuation pre-tokenizer splits off
	clsAccent                    // what BertNormalizer's strip_accents deletes
	clsJunk                      // what BertNormalizer's clean_text deletes
	clsMark                      // what StripAccents deletes
	clsInert                     // too new for the reference to normalise
	clsP                         // \p{P}
	clsS                         // \p{S}
	clsNd                        // \p{Nd}
	clsName                      // \w of the regular expressions in the file

	clsL = clsLu | clsLl | clsLt | clsLm | clsLo
)

// classPages holds the class bits by page of 256 code points.
type classPages [0x1100]*[256]uint32

// classes expands classData on first use, in about a millisecond.
var classes = sync.OnceValue(func() *classPages {
	data, err := base64.StdEncoding.DecodeString(classData)
	if err != nil {
		panic("tokenizer: classData: " + err.Error())
	}
	var pages classPages
	uniform := map[uint32]*[256]uint32{}
	for at := 0; len(data) > 0; {
		length, n := binary.Uvarint(data)
		class, m := binary.Uvarint(data[n:])
		data = data[n+m:]
		fillPages(&pages, uniform, at, at+int(length), uint32(class))
		at += int(length)
	}
	return &pages
})

// fillPages sets the class of the code points from start to below end.
func fillPages(pages *classPages, uniform map[uint32]*[256]uint32, start, end int, class uint32) {
	for start < end {
		page, from := start>>8, start&0xFF
		to := min(0x100, from+end-start)
		if from == 0 && to == 0x100 {
			if uniform[class] == nil {
				uniform[class] = new([256]uint32)
				for i := range uniform[class] {
					uniform[class][i] = class
				}
			}
			pages[page] = uniform[class]
		} else {
			if pages[page] == nil {
				pages[page] = new([256]uint32)
			}
			for i := from; i < to; i++ {
				pages[page][i] = class
			}
		}
		start += to - from
	}
}

// of returns the class bits of a code point.
func (p *classPages) of(r rune) uint32 {
	if uint32(r) > utf8.MaxRune {
		return 0
	}
	return p[r>>8][r&0xFF]
}

// at returns the class bits and length of the character at text[i:], which
// must not be empty.
func (p *classPages) at(text string, i int) (uint32, int) {
	if c := text[i]; c < utf8.RuneSelf {
		return p[0][c], 1
	}
	r, n := utf8.DecodeRuneInString(text[i:])
	return p[r>>8][r&0xFF], n
}

// is returns a predicate for the characters of any of the classes.
func is(class uint32) func(rune) bool {
	c := classes()
	return func(r rune) bool { return c.of(r)&class != 0 }
}

// lowerRun maps every step-th letter from first to last to lower case.
type lowerRun struct {
	first, last, step rune
	delta             rune
}

// lowercase maps every letter on its own; a final sigma is not special.
func lowercase(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range s {
		switch {
		case r < utf8.RuneSelf:
			if 'A' <= r && r <= 'Z' {
				r += 'a' - 'A'
			}
			b.WriteByte(byte(r))
		case lowerSpecial[r] != "":
			b.WriteString(lowerSpecial[r])
		default:
			b.WriteRune(lowerRune(r))
		}
	}
	return b.String()
}

// lowerRune finds a letter's run by halving; the runs are sorted and apart.
func lowerRune(r rune) rune {
	lo, hi := 0, len(lowerRuns)
	for lo < hi {
		mid := (lo + hi) / 2
		if lowerRuns[mid].last < r {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(lowerRuns) {
		if run := lowerRuns[lo]; r >= run.first && (r-run.first)%run.step == 0 {
			return r + run.delta
		}
	}
	return r
}

// byteChars and charBytes are the byte-level alphabet: every byte as one
// printable character, and back (-1 where a character is none of them).
var byteChars, charBytes = byteAlphabet()

func byteAlphabet() (chars [256]rune, bytes [512]int16) {
	for i := range bytes {
		bytes[i] = -1
	}
	spare := rune(256)
	for b := range 256 {
		r := rune(b)
		if printable := b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE; !printable {
			r = spare
			spare++
		}
		chars[b], bytes[r] = r, int16(b)
	}
	return chars, bytes
}

// appendByteChars appends the byte-level form of s.
func appendByteChars(dst []byte, s string) []byte {
	for i := range len(s) {
		if r := byteChars[s[i]]; r < utf8.RuneSelf {
			dst = append(dst, byte(r))
		} else {
			dst = utf8.AppendRune(dst, r)
		}
	}
	return dst
}

// appendCharBytes appends the bytes that a byte-level text stands for; a text
// with any character outside the alphabet stands for itself.
func appendCharBytes(dst []byte, s string) []byte {
	start := len(dst)
	for _, r := range s {
		if r >= 512 || charBytes[r] < 0 {
			return append(dst[:start], s...)
		}
		dst = append(dst, byte(charBytes[r]))
	}
	return dst
}
