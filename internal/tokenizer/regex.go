package tokenizer

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"
)

const (
	maxPattern    = 1 << 14         // bytes in a regular expression
	maxTranslated = 1 << 18         // bytes in the translation of one
	maxGroups     = 64              // nested groups in one
	matchTime     = 2 * time.Second // for all matches in one text
)

// regex finds matches with a backtracking library, for patterns that splitRules
// does not list. Its pattern is rewritten from the reference's dialect, and its
// classes name the reference's characters.
//
// A pattern that takes longer than matchTime on a text gives up there: the rest
// of the text then counts as unmatched. After that it has half the time, and so on.
type regex struct {
	re    *regexp2.Regexp
	given atomic.Int32 // how often it has given up
}

// newRegex translates and compiles a pattern.
func newRegex(pattern string) (*regex, error) {
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("a regular expression of %d bytes, want at most %d", len(pattern), maxPattern)
	}
	tr := translator{in: pattern}
	out, err := tr.translate()
	if err != nil {
		return nil, err
	}
	re, err := regexp2.Compile(out, regexp2.Multiline)
	if err != nil {
		return nil, err
	}
	re.MatchTimeout = matchTime
	return &regex{re: re}, nil
}

// matches appends the matches in text as the reference finds them: an empty
// match right behind another match is passed over.
func (r *regex) matches(text string, out []span) []span {
	runes, at := []rune(text), make([]uint32, 0, len(text)+1)
	for i := range text {
		at = append(at, uint32(i))
	}
	at = append(at, uint32(len(text)))
	deadline := time.Now().Add(matchTime >> min(r.given.Load(), 12))
	for from, last := 0, -1; from <= len(runes); {
		m, err := r.re.FindRunesMatchStartingAt(runes, from)
		if err != nil || time.Now().After(deadline) {
			r.given.Add(1)
			break
		}
		if m == nil {
			break
		}
		start, end := m.RuneIndex, m.RuneIndex+m.RuneLength
		if start == end && start == last {
			from++
			continue
		}
		out = append(out, span{at[start], at[end]})
		from, last = end, end
	}
	return out
}

// translator rewrites a regular expression from Oniguruma's Ruby dialect to
// regexp2's, and refuses what it does not know.
type translator struct {
	in    string
	pos   int
	out   strings.Builder
	atom  int    // where the last atom starts in out, -1 for none to repeat
	depth int    // open groups
	fold  []bool // ignore case, by open group
	start []int  // where each open group starts in out
}

func (t *translator) translate() (string, error) {
	t.fold, t.atom = []bool{false}, -1
	for t.pos < len(t.in) {
		if err := t.term(); err != nil {
			return "", fmt.Errorf("regular expression, byte %d: %w", t.pos, err)
		}
		if t.out.Len() > maxTranslated {
			return "", fmt.Errorf("a regular expression that grows beyond %d bytes", maxTranslated)
		}
	}
	if t.depth > 0 {
		return "", errors.New("regular expression: a group without an end")
	}
	return t.out.String(), nil
}

// term rewrites one item of the pattern.
func (t *translator) term() error {
	switch c := t.in[t.pos]; c {
	case '(':
		return t.open()
	case ')':
		if t.depth == 0 {
			return errors.New("a ) too many")
		}
		t.pos++
		t.out.WriteByte(')')
		t.atom = t.start[t.depth-1]
		t.depth--
		t.fold, t.start = t.fold[:t.depth+1], t.start[:t.depth]
	case '|':
		t.pos++
		t.out.WriteByte('|')
		t.atom = -1
	case '*', '+', '?', '{':
		return t.repeat()
	case '[':
		return t.class()
	case '\\':
		return t.escape()
	case '.':
		t.pos++
		t.emit(".")
	case '^': // not behind a line end that ends the text
		t.pos++
		t.emit(`(?:\A|^(?!\z))`)
	case '$':
		t.pos++
		t.emit(`(?=\n|\z)`)
	default:
		t.emitRune(t.rune())
	}
	return nil
}

// emit writes an atom.
func (t *translator) emit(s string) {
	t.atom = t.out.Len()
	t.out.WriteString(s)
}

// rune takes a literal character.
func (t *translator) rune() rune {
	r, n := utf8.DecodeRuneInString(t.in[t.pos:])
	t.pos += n
	return r
}

// emitRune writes a literal, as a class of all its cases where case is ignored.
func (t *translator) emitRune(r rune) {
	if t.fold[t.depth] && unicode.SimpleFold(r) != r {
		s := "[" + quoteRune(r)
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			s += quoteRune(f)
		}
		t.emit(s + "]")
		return
	}
	t.emit(quoteRune(r))
}

// quoteRune writes a character so that it stands for itself anywhere.
func quoteRune(r rune) string {
	if r < ' ' || r == 0x7F {
		return fmt.Sprintf(`\x%02x`, r)
	}
	if strings.ContainsRune(`\*+?|{}[]()^$.#-&~/ "'`, r) {
		return fmt.Sprintf(`\x%02x`, r)
	}
	return string(r)
}

// groupOpenings are the groups that both dialects know.
var groupOpenings = []string{"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>"}

// open rewrites the start of a group.
func (t *translator) open() error {
	if t.depth == maxGroups {
		return fmt.Errorf("groups nested deeper than %d", maxGroups)
	}
	rest, fold := t.in[t.pos:], t.fold[t.depth]
	opening, taken := "", 0
	for _, g := range groupOpenings {
		if strings.HasPrefix(rest, g) {
			opening, taken = g, len(g)
		}
	}
	switch {
	case opening != "":
	case strings.HasPrefix(rest, "(?i:"):
		opening, taken, fold = "(?:", len("(?i:"), true
	case strings.HasPrefix(rest, "(?i)"): // up to the end of the group it is in
		t.fold[t.depth] = true
		t.pos += len("(?i)")
		return nil
	case strings.HasPrefix(rest, "(?"):
		return fmt.Errorf("the group %q is not known to us", clip(rest[:min(len(rest), 8)]))
	default:
		opening, taken = "(?:", 1 // nobody asks what a group captured
	}
	t.pos += taken
	t.start = append(t.start, t.out.Len())
	t.out.WriteString(opening)
	t.depth++
	t.fold = append(t.fold, fold)
	t.atom = -1
	return nil
}

// repeat rewrites a quantifier, and makes the possessive ones atomic groups.
func (t *translator) repeat() error {
	quantifier, ok := t.quantifier()
	if !ok {
		t.emitRune(t.rune()) // a { that opens no interval
		return nil
	}
	if t.atom < 0 {
		return errors.New("nothing to repeat")
	}
	t.pos += len(quantifier)
	interval := quantifier[0] == '{'
	if interval && strings.HasPrefix(quantifier, "{,") {
		quantifier = "{0" + quantifier[1:]
	}
	atom := t.out.String()[t.atom:]
	before := t.out.String()[:t.atom]
	t.out.Reset()
	t.out.WriteString(before)
	next := byte(0)
	if t.pos < len(t.in) {
		next = t.in[t.pos]
	}
	switch {
	case next == '+' && !interval:
		t.pos++
		t.out.WriteString("(?>" + atom + quantifier + ")")
	case next == '?':
		t.pos++
		t.out.WriteString("(?:" + atom + quantifier + "?)")
	default: // in a group of its own, which a second quantifier may repeat
		t.out.WriteString("(?:" + atom + quantifier + ")")
	}
	return nil
}

// quantifier returns the quantifier at the position without its suffix.
func (t *translator) quantifier() (string, bool) {
	rest := t.in[t.pos:]
	if rest[0] != '{' {
		return rest[:1], true
	}
	end := strings.IndexByte(rest, '}')
	if end < 2 {
		return "", false
	}
	low, high, comma := strings.Cut(rest[1:end], ",")
	for _, n := range []string{low, high} {
		if v, err := strconv.Atoi(n); n != "" && (err != nil || v < 0 || v > 1000) {
			return "", false
		}
	}
	if low == "" && high == "" || !comma && low == "" {
		return "", false
	}
	return rest[:end+1], true
}

// escape rewrites an escape outside of a class.
func (t *translator) escape() error {
	if t.pos+1 < len(t.in) {
		switch c := t.in[t.pos+1]; c {
		case 'A', 'z':
			t.pos += 2
			t.emit(`\` + string(c))
			return nil
		case 'Z':
			t.pos += 2
			t.emit(`(?=\n?\z)`)
			return nil
		case 'b', 'B':
			t.pos += 2
			w := "[" + classText(clsName, "", false) + "]"
			if c == 'b' {
				t.emit("(?:(?<=" + w + ")(?!" + w + ")|(?<!" + w + ")(?=" + w + "))")
			} else {
				t.emit("(?:(?<=" + w + ")(?=" + w + ")|(?<!" + w + ")(?!" + w + "))")
			}
			return nil
		}
	}
	set, negated, r, err := t.item()
	switch {
	case err != nil:
		return err
	case set != "" && negated:
		t.emit("[^" + set + "]")
	case set != "":
		t.emit("[" + set + "]")
	default:
		t.emitRune(r)
	}
	return nil
}

// item reads an escape that means the same inside and outside of a class: a
// set of characters, or one character.
func (t *translator) item() (set string, negated bool, r rune, err error) {
	if t.pos+1 >= len(t.in) {
		return "", false, 0, errors.New(`a \ at the end`)
	}
	c := t.in[t.pos+1]
	t.pos += 2
	switch c {
	case 's', 'S':
		return classText(clsSpace, "", false), c == 'S', 0, nil
	case 'w', 'W':
		return classText(clsName, "", false), c == 'W', 0, nil
	case 'd', 'D':
		return classText(clsNd, `\p{Nd}`, false), c == 'D', 0, nil
	case 'h', 'H':
		return "0-9a-fA-F", c == 'H', 0, nil
	case 'p', 'P':
		set, negated, err = t.property(c == 'P')
		return set, negated, 0, err
	case 'x', 'u':
		r, err = t.hex(c)
		return "", false, r, err
	}
	if i := strings.IndexByte("nrtfvae", c); i >= 0 {
		return "", false, rune("\n\r\t\f\v\a\x1b"[i]), nil
	}
	if c >= utf8.RuneSelf || c == '_' || c >= '0' && c <= '9' || c|' ' >= 'a' && c|' ' <= 'z' {
		return "", false, 0, fmt.Errorf(`the escape \%c is not known to us`, c)
	}
	return "", false, rune(c), nil
}

// hex reads the digits of \xHH, \x{H…} or \uHHHH.
func (t *translator) hex(c byte) (rune, error) {
	digits := map[byte]int{'x': 2, 'u': 4}[c]
	rest := t.in[t.pos:]
	if c == 'x' && strings.HasPrefix(rest, "{") {
		end := strings.IndexByte(rest, '}')
		if end < 0 {
			return 0, errors.New(`a \x{ without an end`)
		}
		t.pos += end + 1
		rest = rest[1:end]
	} else {
		if len(rest) < digits {
			return 0, fmt.Errorf(`\%c wants %d digits`, c, digits)
		}
		t.pos += digits
		rest = rest[:digits]
	}
	v, err := strconv.ParseUint(rest, 16, 32)
	if err != nil || v > utf8.MaxRune || c == 'x' && len(rest) == 2 && v >= utf8.RuneSelf {
		return 0, fmt.Errorf(`\%c%s is not a character`, c, clip(rest))
	}
	return rune(v), nil
}

// propertyClass gives our classes for the general categories that we keep.
var propertyClass = map[string]uint32{
	"L": clsL, "Lu": clsLu, "Ll": clsLl, "Lt": clsLt, "Lm": clsLm, "Lo": clsLo,
	"M": clsM, "N": clsN, "Nd": clsNd, "P": clsP, "S": clsS,
}

// property reads {X} or {^X} behind \p.
func (t *translator) property(negated bool) (string, bool, error) {
	rest := t.in[t.pos:]
	end := strings.IndexByte(rest, '}')
	if !strings.HasPrefix(rest, "{") || end < 0 {
		return "", false, errors.New(`\p wants a property in braces`)
	}
	name, not := strings.CutPrefix(rest[1:end], "^")
	t.pos += end + 1
	if class := propertyClass[name]; class != 0 {
		return classText(class, `\p{`+name+`}`, false), negated != not, nil
	}
	if unicode.Categories[name] == nil && unicode.Scripts[name] == nil || len(name) == 0 {
		return "", false, fmt.Errorf(`\p{%s} is not known to us`, clip(name))
	}
	return `\p{` + name + `}`, negated != not, nil
}

// classText writes a class for use in brackets: the library's own name for it,
// if it has one, and the ranges that this leaves out; or the ranges of all
// other characters.
func classText(class uint32, name string, negated bool) string {
	key := classKey{class, name, negated}
	if s, ok := classTexts.Load(key); ok {
		return s.(string)
	}
	var known *unicode.RangeTable
	if name != "" {
		known = unicode.Categories[name[3:len(name)-1]]
	}
	c := classes()
	var b strings.Builder
	b.WriteString(name)
	missing := func(r rune) bool {
		return (c.of(r)&class != 0) != negated && (known == nil || !unicode.Is(known, r))
	}
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if !missing(r) {
			continue
		}
		first := r
		for r < utf8.MaxRune && missing(r+1) {
			r++
		}
		b.WriteString(quoteRune(first))
		if r > first {
			b.WriteString("-" + quoteRune(r))
		}
	}
	classTexts.Store(key, b.String())
	return b.String()
}

// classTexts keeps what classText has written: it looks at every character.
var classTexts sync.Map // of string, by classKey

type classKey struct {
	class   uint32
	name    string
	negated bool
}

// class rewrites a bracket expression.
func (t *translator) class() error {
	t.pos++
	var b strings.Builder
	b.WriteString("[")
	if t.pos < len(t.in) && t.in[t.pos] == '^' {
		t.pos++
		b.WriteString("^")
	}
	start := t.pos
	for t.pos < len(t.in) {
		c := t.in[t.pos]
		switch {
		case c == ']' && t.pos > start:
			t.pos++
			t.emit(b.String() + "]")
			return nil
		case c == '[', c == '&' && strings.HasPrefix(t.in[t.pos:], "&&"):
			return fmt.Errorf("%q in a bracket expression is not known to us", c)
		}
		if err := t.member(&b); err != nil {
			return err
		}
	}
	return errors.New("a [ without an end")
}

// member rewrites one character, range or set in brackets.
func (t *translator) member(b *strings.Builder) error {
	first, isSet, err := t.bound(b)
	if err != nil || isSet {
		return err
	}
	last := first
	if rest := t.in[t.pos:]; len(rest) > 1 && rest[0] == '-' && rest[1] != ']' {
		t.pos++
		if last, isSet, err = t.bound(b); err != nil {
			return err
		}
		if isSet || last < first {
			return errors.New("a range without an end in a bracket expression")
		}
	}
	b.WriteString(quoteRune(first))
	if last > first {
		b.WriteString("-" + quoteRune(last))
	}
	if t.fold[t.depth] {
		return foldRange(b, first, last)
	}
	return nil
}

// bound reads one end of a range, or writes a set.
func (t *translator) bound(b *strings.Builder) (r rune, isSet bool, err error) {
	if t.in[t.pos] != '\\' {
		return t.rune(), false, nil
	}
	from := t.pos
	set, negated, r, err := t.item()
	if err != nil || set == "" {
		return r, false, err
	}
	if !negated {
		b.WriteString(set)
		return 0, true, nil
	}
	// Brackets have no way to negate a part but to write it out.
	switch class, known := setClass(t.in[from:t.pos]); {
	case class != 0:
		b.WriteString(classText(class, "", true))
	case known:
		b.WriteString(`\P` + set[2:])
	default:
		return 0, false, errors.New("this negated set in a bracket expression is not known to us")
	}
	return 0, true, nil
}

// setClass returns our class for an escape, or whether it is a property else.
func setClass(escape string) (class uint32, property bool) {
	switch escape[1] {
	case 's', 'S':
		return clsSpace, false
	case 'w', 'W':
		return clsName, false
	case 'd', 'D':
		return clsNd, false
	case 'p', 'P':
		return propertyClass[strings.Trim(escape[2:], "{^}")], true
	}
	return 0, false
}

// foldRange writes the other cases of a range's characters.
func foldRange(b *strings.Builder, first, last rune) error {
	if last-first > 1<<10 {
		return errors.New("too wide a range to ignore its case")
	}
	for r := first; r <= last; r++ {
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			b.WriteString(quoteRune(f))
		}
	}
	return nil
}
