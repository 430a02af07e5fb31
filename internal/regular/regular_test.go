package regular

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net"
	"net/mail"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func must(t testing.TB) func(*DFA, error) *DFA {
	return func(d *DFA, err error) *DFA {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
}

// sample walks through an automaton at random to one of its texts; after some
// bytes it takes the shortest way.
func sample(rng *rand.Rand, d *DFA) string {
	far := distances(d)
	var out []byte
	for state := 0; ; {
		var ways []byte
		for b := range 256 {
			if to := d.Next(state, byte(b)); to >= 0 && (len(out) < 8 || far[to] < far[state]) {
				ways = append(ways, byte(b))
			}
		}
		if d.Accept(state) && (len(ways) == 0 || rng.IntN(4) == 0) {
			return string(out)
		}
		b := ways[rng.IntN(len(ways))]
		out = append(out, b)
		state = d.Next(state, b)
	}
}

// distances returns how many bytes each state is away from an end.
func distances(d *DFA) []int {
	far := make([]int, d.Len())
	for s := range far {
		if far[s] = 1 << 30; d.Accept(s) {
			far[s] = 0
		}
	}
	for changed := true; changed; {
		changed = false
		for s := range far {
			for b := range 256 {
				if to := d.Next(s, byte(b)); to >= 0 && far[to]+1 < far[s] {
					far[s], changed = far[to]+1, true
				}
			}
		}
	}
	return far
}

var patterns = []string{
	`^[a-z]+$`, `abc`, `^(a|bc)*d?$`, `^a`, `a$`, ``, `^$`, `[^x]y`, `(?i)^kelvin$`, `^.{2,3}$`, `a{2,}`, `^\d{3}-\w+$`,
	`(^a|b$)`, `^é[à-ü]*$`, `^[\x{1F600}-\x{1F64F}]+$`, `^(foo|foobar|bar)$`, `^[^"\\]*$`, `x*`, `^\.\/$`, `a(^b)`, `(a$)b`,
	`^(?:0|[1-9]\d*)$`, `[\s\S]`, `^\p{Lu}\P{L}?$`, `^[\w.+-]+$`, `^a?a?a?aaa$`,
}

// TestPatternLikeRegexp compares with Go's regular expressions, on texts that
// are near to the pattern.
func TestPatternLikeRegexp(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	alphabet := []rune("abcdxy z019-._\"\\/é\u00e0\U0001F600KkK\n\t")
	for _, p := range patterns {
		re := regexp.MustCompile(p)
		plain, inJSON := must(t)(Pattern(p, Plain)), must(t)(Pattern(p, InJSON))
		check := func(s string) {
			want := re.MatchString(s)
			if got := plain.Match(s); got != want {
				t.Errorf("%s on %q: got %v, want %v", p, s, got, want)
			}
			if got := inJSON.Match(WriteJSON(s)); got != want {
				t.Errorf("%s on %q in JSON: got %v, want %v", p, s, got, want)
			}
		}
		for range 300 {
			s := ""
			for range rng.IntN(7) {
				s += string(alphabet[rng.IntN(len(alphabet))])
			}
			check(s)
			if plain.Empty() {
				continue
			}
			s = sample(rng, plain)
			if !utf8.ValidString(s) {
				t.Fatalf("%s: %q is not UTF-8", p, s)
			}
			check(s)
		}
	}
}

func TestPatternInJSON(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, p := range patterns {
		d := must(t)(Pattern(p, InJSON))
		for range 200 {
			if d.Empty() {
				continue
			}
			var text string
			written := sample(rng, d)
			if err := json.Unmarshal([]byte(`"`+written+`"`), &text); err != nil {
				t.Fatalf("%s: %q: %v", p, written, err)
			}
			if !regexp.MustCompile(p).MatchString(text) {
				t.Errorf("%s does not match %q", p, text)
			}
		}
	}
}

func TestPatternECMA(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{`^\u0041$`, "A", true},
		{`^\ud83d\ude00$`, "😀", true},
		{`^\u{1F600}$`, "😀", true},
		{`^\cJ$`, "\n", true},
		{`^[[]$`, "[", true},
		{`^\S+$`, "a\u00a0b", false},
		{`^[^\s]+$`, "a\u2003b", false},
		{`^[^\s]+$`, "ab", true},
		{`^.$`, "\u2028", false},
		{`^\/\-$`, "/-", true},
		{`^(?<year>\d)$`, "7", true},
	} {
		if got := must(t)(Pattern(c.pattern, Plain)).Match(c.text); got != c.want {
			t.Errorf("%s on %q: got %v, want %v", c.pattern, c.text, got, c.want)
		}
	}
}

func TestPatternRefused(t *testing.T) {
	for _, c := range []struct{ pattern, want string }{
		{`(?=a)b`, "(?="},
		{`(?<!a)b`, "(?<"},
		{`(a)\1`, `\1`},
		{`\bword\b`, "WordBoundary"},
		{`(?m)^a`, "BeginLine"},
		{`\u12`, "four hexadecimal digits"},
		{`(`, "missing closing"},
		{`\A`, `\A is not supported`},
		{"\xff", "not UTF-8"},
		{`(a|b)*a(a|b){20}`, "too large"},
		{`((a{900}){900}){900}`, "invalid repeat"},
	} {
		if _, err := Pattern(c.pattern, Plain); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want one with %q", c.pattern, err, c.want)
		}
	}
	if _, err := Pattern(`(a|b)*a(a|b){20}`, Plain); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
}

func TestOperations(t *testing.T) {
	a, b := must(t)(Whole("[ab]*", Plain)), must(t)(Whole("(aa|b)*c?", Plain))
	and, or, not := must(t)(Intersect(a, b)), must(t)(Union(a, b)), must(t)(Subtract(a, b))
	for _, s := range []string{"", "a", "b", "aa", "aab", "aba", "bbc", "c", "cc"} {
		x, y := a.Match(s), b.Match(s)
		if and.Match(s) != (x && y) || or.Match(s) != (x || y) || not.Match(s) != (x && !y) {
			t.Errorf("%q: %v, %v, %v of %v and %v", s, and.Match(s), or.Match(s), not.Match(s), x, y)
		}
	}
	if d := must(t)(Subtract(a, a)); !d.Empty() || d.Match("") {
		t.Errorf("a less a has %d states", d.Len())
	}
	if d := must(t)(Whole("(a|b)(a|b)|bb|ab", Plain)); d.Len() != 3 {
		t.Errorf("got %d states, want the 3 of the smallest automaton", d.Len())
	}
}

func TestLengthAndTexts(t *testing.T) {
	for _, c := range []struct{ least, most int }{{0, 0}, {0, 2}, {1, 1}, {2, 5}, {3, -1}, {0, -1}} {
		d := must(t)(Length(InJSON, c.least, c.most))
		for n := range 8 {
			s := WriteJSON(strings.Repeat("é\"\n", 3)[:0] + strings.Repeat("\"", n/2) + strings.Repeat("😀", n-n/2))
			if got, want := d.Match(s), n >= c.least && (c.most < 0 || n <= c.most); got != want {
				t.Errorf("%d characters within [%d, %d]: got %v, want %v", n, c.least, c.most, got, want)
			}
		}
	}
	if _, err := Length(Plain, 0, 1<<20); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
	d := must(t)(Texts(InJSON, "a", "a\"b", ""))
	for s, want := range map[string]bool{"a": true, `a\"b`: true, "": true, `a"b`: false, "b": false} {
		if d.Match(s) != want {
			t.Errorf("%q: got %v, want %v", s, !want, want)
		}
	}
}

func rat(s string) *big.Rat {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		panic(s)
	}
	return r
}

func inside(x *big.Rat, low, high Bound) bool {
	if low.At != nil && (x.Cmp(low.At) < 0 || low.Exclusive && x.Cmp(low.At) == 0) {
		return false
	}
	return high.At == nil || !(x.Cmp(high.At) > 0 || high.Exclusive && x.Cmp(high.At) == 0)
}

// TestNumbers compares each number with its bounds.
func TestNumbers(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	ends := []string{"0", "1", "-1", "9", "10", "-10", "99", "100", "0.5", "-0.5", "0.05", "12.5", "-12.345", "999.999", "1e3", "-7", "123456789012345678901234567890"}
	near := []string{"0", "0.0", "-0", "-0.0", "1", "2", "-1", "-2", "0.4", "0.5", "0.50", "0.51", "0.049", "9", "10", "11", "-9", "-10", "-11", "100", "101", "99.9", "12.5", "12.499", "-12.345", "-12.3450001", "1000", "999.9990", "5"}
	for range 400 {
		low, high := Bound{rat(ends[rng.IntN(len(ends))]), rng.IntN(2) == 0}, Bound{rat(ends[rng.IntN(len(ends))]), rng.IntN(2) == 0}
		if rng.IntN(4) == 0 {
			low.At = nil
		} else if rng.IntN(4) == 0 {
			high.At = nil
		}
		name := fmt.Sprint(low, high)
		d, whole := must(t)(Decimals(low, high)), must(t)(Integers(low, high))
		for _, s := range near {
			want := inside(rat(s), low, high)
			if got := d.Match(s); got != want {
				t.Fatalf("%s: %s: got %v, want %v", name, s, got, want)
			}
			integer := !strings.Contains(s, ".") && s != "-0"
			if got := whole.Match(s); got != (want && integer) {
				t.Fatalf("%s: integer %s: got %v, want %v", name, s, got, want)
			}
		}
		for _, d := range []*DFA{d, whole} {
			for range 20 {
				if d.Empty() {
					continue
				}
				if s := sample(rng, d); !inside(rat(s), low, high) || !json.Valid([]byte(s)) {
					t.Fatalf("%s: %s is not inside, or no JSON", name, s)
				}
			}
		}
	}
}

func TestIntegersAll(t *testing.T) {
	for low := -23; low <= 23; low += 3 {
		for high := low - 1; high <= 121; high += 7 {
			d := must(t)(Integers(Bound{At: rat(fmt.Sprint(low))}, Bound{At: rat(fmt.Sprint(high))}))
			for x := -150; x <= 150; x++ {
				if got, want := d.Match(fmt.Sprint(x)), x >= low && x <= high; got != want {
					t.Fatalf("%d within [%d, %d]: got %v", x, low, high, got)
				}
			}
			for _, s := range []string{"", "-", "00", "01", "-0", "1.0", "+1"} {
				if d.Match(s) {
					t.Fatalf("%q is accepted", s)
				}
			}
		}
	}
}

func TestMultiples(t *testing.T) {
	for _, of := range []string{"1", "2", "7", "10", "0.01", "0.25", "1.5", "3e2", "0.7"} {
		d := must(t)(Multiples(rat(of)))
		for i := -1000; i <= 1000; i++ {
			x := big.NewRat(int64(i), 100)
			for _, s := range []string{x.FloatString(0), strings.TrimRight(x.FloatString(1), "0"), x.FloatString(2)} {
				want := new(big.Rat).Quo(rat(s), rat(of)).IsInt() && json.Valid([]byte(s))
				if _, fraction, _ := strings.Cut(s, "."); len(fraction) > len(fractionOf(of)) {
					want = false
				}
				if got := d.Match(s); got != want {
					t.Fatalf("%s as a multiple of %s: got %v, want %v", s, of, got, want)
				}
			}
		}
	}
	for _, of := range []string{"0", "-1", "1/3", "100000"} {
		if _, err := Multiples(rat(of)); err == nil {
			t.Errorf("multiples of %s: no error", of)
		}
	}
}

func fractionOf(s string) string {
	places, _ := rat(s).FloatPrec()
	return strings.Repeat("0", places)
}

// TestFormats samples each format and asks another implementation of it.
func TestFormats(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	parse := func(layout string) func(string) error {
		return func(s string) error { _, err := time.Parse(layout, s); return err }
	}
	checks := map[string]func(string) error{
		"date": parse(time.DateOnly), "date-time": parse(time.RFC3339), "time": parse("15:04:05Z07:00"),
		"email": func(s string) error { _, err := mail.ParseAddress(s); return err },
		"ipv4":  isIP, "ipv6": isIP,
	}
	for _, name := range Formats() {
		d := must(t)(Format(name, InJSON))
		if d.Empty() {
			t.Fatalf("%s: nothing is accepted", name)
		}
		for range 300 {
			s := sample(rng, d)
			if check := checks[name]; check != nil && check(s) != nil {
				t.Errorf("%s: %q: %v", name, s, check(s))
			}
		}
	}
	if d, err := Format("colour", Plain); d != nil || err != nil {
		t.Errorf("an unknown format: got %v, %v", d, err)
	}
}

func isIP(s string) error {
	if net.ParseIP(s) == nil {
		return errors.New("no address")
	}
	return nil
}

func TestFormatExamples(t *testing.T) {
	for _, c := range []struct{ format, good, bad string }{
		{"date", "2024-02-29 2000-02-29 1999-12-31 0001-01-01", "2023-02-29 1900-02-29 2024-13-01 2024-04-31 24-01-01 0000-01-01"},
		{"time", "00:00:00Z 23:59:59.5+01:30", "24:00:00Z 12:60:00Z 12:00:00 1:00:00Z"},
		{"date-time", "2024-02-29T12:00:00Z 2024-01-01T00:00:00.123-08:00", "2024-01-01 2024-01-01T00:00:00 2023-02-29T00:00:00Z"},
		{"uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567e89b12d3a456426614174000 123e4567-e89b-12d3-a456-42661417400g"},
		{"email", "a.b+c@example.co.uk x@y.zz", "a..b@x.yz .a@x.yz a@x a@-x.yz @x.yz a@x."},
		{"ipv4", "0.0.0.0 255.255.255.255 10.1.2.3", "256.1.1.1 01.2.3.4 1.2.3 1.2.3.4.5"},
		{"ipv6", "::1 :: fe80::1 1:2:3:4:5:6:7:8 1:2::7:8 1::8", "1:2:3:4:5:6:7 1::2::3 12345::1 1:2:3:4:5:6:7:8:9"},
		{"hostname", "example.com a-b.c localhost", "-a.com a-.com a..b"},
		{"duration", "P1D PT1H P1Y2M3DT4H5M6S P3W PT36H", "P PT P1S 1D P1DT"},
		{"uri", "https://example.com/a?b=c#d http://localhost:8080 ftp://x.org/%20", "example.com http:// http://x/%2 //x/y"},
	} {
		d := must(t)(Format(c.format, Plain))
		for _, s := range strings.Fields(c.good) {
			if !d.Match(s) {
				t.Errorf("%s: %q is refused", c.format, s)
			}
		}
		for _, s := range strings.Fields(c.bad) {
			if d.Match(s) {
				t.Errorf("%s: %q is accepted", c.format, s)
			}
		}
	}
}
