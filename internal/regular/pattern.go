package regular

import (
	"fmt"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Pattern returns the automaton of the texts in which a regular expression
// matches somewhere, as "pattern" in JSON Schema has it. The syntax is what
// ECMA-262 and RE2 have in common, and \u escapes. \d and \w mean ASCII. Where
// the two differ about what is white space or a line end, the texts that both
// agree on are accepted. Look-around, back references and word boundaries are
// refused.
func Pattern(expr string, w Writing) (*DFA, error) {
	return compile(expr, w, false)
}

// Whole returns the automaton of the texts that a regular expression matches
// from end to end.
func Whole(expr string, w Writing) (*DFA, error) {
	return compile(expr, w, true)
}

func compile(expr string, w Writing, whole bool) (*DFA, error) {
	translated, err := fromECMA(expr)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", expr, err)
	}
	tree, err := syntax.Parse(translated, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", expr, err)
	}
	p := &patternNFA{writing: w}
	match := p.add()
	end, around := match, func(next int32) int32 {
		return p.loop(next, func(back int32) int32 { return p.any(w, back) })
	}
	if !whole {
		end = around(match)
	}
	start := p.part(tree.Simplify(), end)
	if !whole {
		start = around(start)
	}
	if p.err != nil {
		return nil, fmt.Errorf("pattern %q: %w", expr, p.err)
	}
	d, err := p.determinize(start, match)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", expr, err)
	}
	return d, nil
}

type patternNFA struct {
	nfa
	writing Writing
	err     error
}

// part builds one node of the syntax tree in front of next.
func (p *patternNFA) part(t *syntax.Regexp, next int32) int32 {
	if len(p.states) > 20*MaxStates {
		p.err = errTooLarge("it", 20*MaxStates)
		return next
	}
	switch t.Op {
	case syntax.OpEmptyMatch:
		return next
	case syntax.OpNoMatch:
		return p.add()
	case syntax.OpLiteral:
		return p.literal(t, next)
	case syntax.OpCharClass:
		return p.class(t.Rune, next)
	case syntax.OpAnyChar:
		return p.any(p.writing, next)
	case syntax.OpAnyCharNotNL:
		return p.class([]rune{0, '\n' - 1, '\n' + 1, '\r' - 1, '\r' + 1, 0x2027, 0x202A, utf8.MaxRune}, next)
	case syntax.OpBeginText, syntax.OpEndText:
		return p.edgeOfText(t.Op, next)
	case syntax.OpCapture:
		return p.part(t.Sub[0], next)
	case syntax.OpConcat:
		for i := len(t.Sub) - 1; i >= 0; i-- {
			next = p.part(t.Sub[i], next)
		}
		return next
	case syntax.OpAlternate:
		var starts []int32
		for _, sub := range t.Sub {
			starts = append(starts, p.part(sub, next))
		}
		return p.add(starts...)
	}
	return p.repeated(t, next)
}

func (p *patternNFA) repeated(t *syntax.Regexp, next int32) int32 {
	again := func(back int32) int32 { return p.part(t.Sub[0], back) }
	switch t.Op {
	case syntax.OpQuest:
		return p.add(next, again(next))
	case syntax.OpStar:
		return p.loop(next, again)
	case syntax.OpPlus:
		return again(p.loop(next, again))
	}
	p.err = fmt.Errorf("%s is not supported", t.Op)
	return next
}

func (p *patternNFA) edgeOfText(op syntax.Op, next int32) int32 {
	s := p.add()
	if op == syntax.OpBeginText {
		p.states[s].begin = []int32{next}
	} else {
		p.states[s].end = []int32{next}
	}
	return s
}

func (p *patternNFA) literal(t *syntax.Regexp, next int32) int32 {
	for i := len(t.Rune) - 1; i >= 0; i-- {
		same := []rune{t.Rune[i], t.Rune[i]}
		if t.Flags&syntax.FoldCase != 0 {
			for r := unicode.SimpleFold(t.Rune[i]); r != t.Rune[i]; r = unicode.SimpleFold(r) {
				same = append(same, r, r)
			}
		}
		next = p.class(same, next)
	}
	return next
}

// class takes pairs of first and last characters.
func (p *patternNFA) class(pairs []rune, next int32) int32 {
	var starts []int32
	for i := 0; i < len(pairs); i += 2 {
		starts = append(starts, p.runes(p.writing, pairs[i], pairs[i+1], next))
	}
	return p.add(starts...)
}

// White space in ECMA-262 beyond RE2's.
const moreSpace = `\x0b\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{feff}`

// fromECMA rewrites what ECMA-262 and RE2 write in different ways.
func fromECMA(expr string) (string, error) {
	if !utf8.ValidString(expr) {
		return "", fmt.Errorf("it is not UTF-8")
	}
	var out strings.Builder
	inClass, negated := false, false
	for i := 0; i < len(expr); i++ {
		c := expr[i]
		switch {
		case c == '\\' && i+1 < len(expr):
			text, n, err := escapeFromECMA(expr[i:], inClass, negated)
			if err != nil {
				return "", err
			}
			out.WriteString(text)
			i += n - 1
			continue
		case c == '[' && inClass:
			out.WriteString(`\[`)
			continue
		case c == '[':
			inClass, negated = true, strings.HasPrefix(expr[i:], "[^")
		case c == ']':
			inClass = false
		}
		out.WriteByte(c)
	}
	return out.String(), nil
}

// escapeFromECMA returns what the escape at the start of expr becomes, and its
// length.
func escapeFromECMA(expr string, inClass, negated bool) (string, int, error) {
	switch expr[1] {
	case 'u':
		return codePoint(expr)
	case 's':
		if inClass && negated {
			return `\s` + moreSpace, 2, nil
		}
	case 'S':
		if !inClass {
			return `[^\s` + moreSpace + `]`, 2, nil
		}
	case 'c':
		if len(expr) > 2 && unicode.IsLetter(rune(expr[2])) && expr[2] < utf8.RuneSelf {
			return fmt.Sprintf(`\x%02x`, expr[2]&31), 3, nil
		}
	case 'A', 'z', 'Q', 'E', 'C', 'a':
		return "", 0, fmt.Errorf(`\%c is not supported`, expr[1])
	}
	return expr[:2], 2, nil
}

// codePoint reads \uXXXX, a pair of surrogates, or \u{X}.
func codePoint(expr string) (string, int, error) {
	var r, low rune
	if n, _ := fmt.Sscanf(expr, `\u{%x}`, &r); n == 1 && strings.IndexByte(expr, '}') > 0 {
		return fmt.Sprintf(`\x{%x}`, r), strings.IndexByte(expr, '}') + 1, nil
	}
	if !hex4(expr, 2, &r) {
		return "", 0, fmt.Errorf(`%q wants four hexadecimal digits`, expr[:min(len(expr), 6)])
	}
	if r >= 0xD800 && r < 0xDC00 && strings.HasPrefix(expr[6:], `\u`) && hex4(expr, 8, &low) {
		return fmt.Sprintf(`\x{%x}`, 0x10000+(r-0xD800)<<10+(low-0xDC00)), 12, nil
	}
	return fmt.Sprintf(`\x{%x}`, r), 6, nil
}

// hex4 reads four hexadecimal digits.
func hex4(s string, at int, r *rune) bool {
	if len(s) < at+4 {
		return false
	}
	v, err := strconv.ParseUint(s[at:at+4], 16, 16)
	*r = rune(v)
	return err == nil
}
