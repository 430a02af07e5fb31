package regular

import (
	"fmt"
	"unicode/utf8"
)

// Writing says how the characters of a text are written as bytes. Each text is
// written in one way only, so that automata over bytes can stand for texts.
type Writing int

const (
	Plain  Writing = iota // UTF-8 as it is
	InJSON                // as the inside of a JSON string: what must be escaped is, nothing else
)

// WriteJSON returns a text as the inside of a JSON string.
func WriteJSON(text string) string {
	var out []byte
	for _, r := range text {
		if esc := escape(r); esc != "" {
			out = append(out, esc...)
		} else {
			out = utf8.AppendRune(out, r)
		}
	}
	return string(out)
}

// escape returns the escape of a character, "" if it needs none.
func escape(r rune) string {
	switch r {
	case '"':
		return `\"`
	case '\\':
		return `\\`
	case '\b':
		return `\b`
	case '\f':
		return `\f`
	case '\n':
		return `\n`
	case '\r':
		return `\r`
	case '\t':
		return `\t`
	}
	if r < 0x20 {
		return fmt.Sprintf(`\u%04x`, r)
	}
	return ""
}

// runes returns a state from which any character from lo to hi leads on.
func (n *nfa) runes(w Writing, lo, hi rune, next int32) int32 {
	var starts []int32
	if w == InJSON {
		for r := lo; r <= min(hi, '\\'); r++ {
			if esc := escape(r); esc != "" {
				starts = append(starts, n.text(esc, next))
			}
		}
	}
	for _, plain := range rawRanges(w) {
		if a, b := max(lo, plain[0]), min(hi, plain[1]); a <= b {
			starts = n.utf8(starts, a, b, next)
		}
	}
	return n.add(starts...)
}

// rawRanges returns the characters that stand for themselves.
func rawRanges(w Writing) [][2]rune {
	if w == InJSON {
		return [][2]rune{{0x20, '"' - 1}, {'"' + 1, '\\' - 1}, {'\\' + 1, 0xD7FF}, {0xE000, utf8.MaxRune}}
	}
	return [][2]rune{{0, 0xD7FF}, {0xE000, utf8.MaxRune}}
}

// utf8 appends states from which the UTF-8 of any character from lo to hi
// leads on. A range is cut until its bytes vary independently.
func (n *nfa) utf8(starts []int32, lo, hi rune, next int32) []int32 {
	for _, most := range []rune{0x7F, 0x7FF, 0xFFFF} {
		if lo <= most && most < hi {
			return n.utf8(n.utf8(starts, lo, most, next), most+1, hi, next)
		}
	}
	if hi < utf8.RuneSelf {
		return append(starts, n.edge(byte(lo), byte(hi), next))
	}
	for bits := 6; bits < 6*utf8.RuneLen(lo); bits += 6 {
		tail := rune(1)<<bits - 1
		if lo&^tail == hi&^tail {
			break
		}
		if lo&tail != 0 {
			return n.utf8(n.utf8(starts, lo, lo|tail, next), (lo|tail)+1, hi, next)
		}
		if hi&tail != tail {
			return n.utf8(n.utf8(starts, lo, hi&^tail-1, next), hi&^tail, hi, next)
		}
	}
	var a, b [utf8.UTFMax]byte
	size := utf8.EncodeRune(a[:], lo)
	utf8.EncodeRune(b[:], hi)
	for i := size - 1; i >= 0; i-- {
		next = n.edge(a[i], b[i], next)
	}
	return append(starts, next)
}

// any returns a state from which any character leads on.
func (n *nfa) any(w Writing, next int32) int32 { return n.runes(w, 0, utf8.MaxRune, next) }

// Length returns the automaton of the texts of least to most characters; most
// below 0 is no limit.
func Length(w Writing, least, most int) (*DFA, error) {
	if max(least, most) > MaxStates {
		return nil, errTooLarge("a length", MaxStates)
	}
	n := &nfa{}
	match := n.add()
	at := match
	if most < 0 {
		at = n.loop(match, func(back int32) int32 { return n.any(w, back) })
	}
	for range max(0, most-least) {
		at = n.add(match, n.any(w, at))
	}
	for range least {
		at = n.any(w, at)
	}
	return n.determinize(at, match)
}

// Texts returns the automaton of some texts.
func Texts(w Writing, texts ...string) (*DFA, error) {
	n := &nfa{}
	match := n.add()
	var starts []int32
	for _, t := range texts {
		if w == InJSON {
			t = WriteJSON(t)
		}
		starts = append(starts, n.text(t, match))
	}
	return n.determinize(n.add(starts...), match)
}

// Without returns the automaton of the UTF-8 texts in front of the first place
// where a marker stands: those that do not contain it, nor any of it that the
// marker behind them would complete earlier.
func Without(mark string) (*DFA, error) {
	n := &nfa{}
	match := n.add()
	anything := n.loop(match, func(back int32) int32 { return n.any(Plain, back) })
	all, err := n.determinize(anything, match)
	if err != nil {
		return nil, err
	}
	// A text t is out if t·mark holds the marker before its end: if a beginning
	// of the marker, less than all of it, could follow t and complete one.
	var starts []int32
	for k := 1; k <= len(mark); k++ { // the first k bytes are in t
		rest := mark[k:]
		if rest == mark[:len(rest)] {
			after := match
			if rest == "" {
				after = anything
			}
			starts = append(starts, n.text(mark[:k], after))
		}
	}
	found, err := n.determinize(n.loop(n.add(starts...), func(back int32) int32 { return n.any(Plain, back) }), match)
	if err != nil {
		return nil, err
	}
	return Subtract(all, found)
}
