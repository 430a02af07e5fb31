package tokenizer

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// tricky are parts of text that the patterns treat differently.
var tricky = strings.Split("a|b|ll|LL|re|RE|s|S|ſ|K|'|’|''|0|12|345|6789|٣|½|Ⅷ|²| |  |\t|\n|\r|\r\n|\v|\u0085|\u00a0|\u1680|\u180e|"+
	"\u2003|\u2028|\u200b|\u200d|\u3000|\ufeff|!|?!|...|/|//|-|_|$|é|É|ß|ẞ|ǅ|ʰ|ª|中|あ|ア|한|ش|ש|ा|\u0301|\u0903|\u20dd|👍|🏽|\U0001f1e9|"+
	"\U00010400|\U00010428|\ufffd|\x00|\x7f|\x1f|\u00ad|\ue000|\U0002ebf0|\U0001e5d0|\U00010d50|\ua7cb|Ab|aB|AB中|中Ab|'S|'ſt|'D|'Ve", "|")

// randomText joins a few of them.
func randomText(rng *rand.Rand, parts int) string {
	var b strings.Builder
	for range 1 + rng.IntN(parts) {
		if rng.IntN(12) == 0 {
			b.WriteRune(rune(rng.IntN(0x30000)))
		} else {
			b.WriteString(tricky[rng.IntN(len(tricky))])
		}
	}
	return strings.ToValidUTF8(b.String(), "\uFFFD")
}

// TestScannerAgreesWithRegex compares every scanner with its pattern, run by
// the library for regular expressions.
func TestScannerAgreesWithRegex(t *testing.T) {
	for pattern, rule := range splitRules {
		re, err := newRegex(pattern)
		if err != nil {
			t.Fatalf("%s: %v", pattern, err)
		}
		rng := rand.New(rand.NewPCG(1, 2))
		for range 4000 {
			text := randomText(rng, 12)
			got, want := rule.matches(text, nil), re.matches(text, nil)
			if !slices.Equal(got, want) {
				t.Fatalf("%s\n%+q: got %v, want %v", pattern, text, got, want)
			}
		}
		if re.given.Load() > 0 {
			t.Errorf("%s: the library has given up", pattern)
		}
	}
}

// TestRegexGivesUp runs a pattern that backtracks for ever.
func TestRegexGivesUp(t *testing.T) {
	re, err := newRegex(`(?:(?:a|aa)+)+$`)
	if err != nil {
		t.Fatal(err)
	}
	re.given.Store(8) // some milliseconds are enough for the test
	re.re.MatchTimeout = matchTime >> 8
	if got := re.matches(strings.Repeat("a", 200)+"b", nil); len(got) != 0 || re.given.Load() != 9 {
		t.Errorf("got %v after giving up %d times, want none after 9", got, re.given.Load())
	}
}

// TestRegexDialect tries what differs between the dialects.
func TestRegexDialect(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          []string
	}{
		{`\s+`, "a\u0085\u00a0b\u180ec\u200bd\u2028e", []string{"\u0085\u00a0", "\u2028"}},
		{`a++b`, "aab", []string{"aab"}},
		{`a++a`, "aaa", nil},
		{`a{2}+`, "aaaaa", []string{"aaaa"}},
		{`a{,2}b`, "aaab", []string{"aab"}},
		{`a{x`, "a{x", []string{"a{x"}},
		{`(?i:'s)`, "'S 'ſ 's", []string{"'S", "'ſ", "'s"}},
		{`(?i)k`, "kK\u212a", []string{"k", "K", "\u212a"}},
		{`(?i)[k-l]`, "L\u212a", []string{"L", "\u212a"}},
		{`^a`, "a\na", []string{"a", "a"}},
		{`a$`, "a\na\n", []string{"a", "a"}},
		{`.`, "\r\n", []string{"\r"}},
		{`[^\n]`, "a\n", []string{"a"}},
		{`\p{^L}`, "a1", []string{"1"}},
		{`[\P{L}]`, "a1", []string{"1"}},
		{`[\S]`, "a ", []string{"a"}},
		{`[]a]`, "]a", []string{"]", "a"}},
		{`[a-]`, "-a", []string{"-", "a"}},
		{`\bx\b`, "x xx x", []string{"x", "x"}},
		{`x\B`, "x xx", []string{"x"}},
		{`a\z`, "aa", []string{"a"}},
		{`\Aa`, "aa", []string{"a"}},
		{`a\Z`, "aa\n", []string{"a"}},
		{`\h+`, "xAf9g", []string{"Af9"}},
		{`\x41\x{1F44D}\u00e9`, "A👍é", []string{"A👍é"}},
		{`\p{Han}`, "a中", []string{"中"}},
		{`(a)(?<!b)`, "a", []string{"a"}},
		{`a*?b`, "aab", []string{"aab"}},
		{`x*`, "ax", []string{"", "x"}},
	} {
		re, err := newRegex(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		var got []string
		for _, m := range re.matches(c.text, nil) {
			got = append(got, c.text[m.start:m.end])
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s in %+q: got %q, want %q", c.pattern, c.text, got, c.want)
		}
	}
}
