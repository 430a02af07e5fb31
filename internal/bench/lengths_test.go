package bench

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func lengths(t *testing.T, text string) Lengths {
	t.Helper()
	l, err := ParseLengths(text)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "lengths.txt")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestLengths: the same seed gives the same lengths, on every machine.
func TestLengths(t *testing.T) {
	for _, c := range []struct {
		text string
		want []int
	}{
		{"7", []int{7, 7, 7, 7, 7, 7}},
		{"10-12", []int{12, 11, 12, 12, 10, 11}},
		{"normal:100,20", []int{143, 103, 82, 63, 102, 99}},
		{"normal:100,0", []int{100, 100, 100, 100, 100, 100}},
		{file(t, "3 1\n\n4\n"), []int{3, 1, 4, 3, 1, 4}},
	} {
		l := lengths(t, c.text)
		if got := l.Draw(5, 1, 6); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.text, got, c.want)
		}
		if l.String() != c.text {
			t.Errorf("got %s, want %s", l, c.text)
		}
		if fewer := l.Draw(5, 1, 3); !slices.Equal(fewer, l.Draw(5, 1, 6)[:3]) {
			t.Errorf("%s: %v is not how more of them begin", c.text, fewer)
		}
	}
}

// TestLengthsSpread looks at many draws.
func TestLengthsSpread(t *testing.T) {
	const n = 20000
	for _, c := range []struct {
		text                  string
		least, most           int
		mean, deviation, near float64
	}{
		{"10-19", 10, 19, 14.5, 2.872, 0.1},
		{"normal:100,20", 1, 250, 100, 20, 0.6},
		{"normal:1,3", 1, 30, 3.06, 1.85, 0.1}, // the upper half of a bell, rounded
	} {
		got := lengths(t, c.text).Draw(1, 2, n)
		sum, squares := 0.0, 0.0
		for _, v := range got {
			sum += float64(v)
			squares += float64(v) * float64(v)
		}
		mean := sum / n
		deviation := math.Sqrt(squares/n - mean*mean)
		if math.Abs(mean-c.mean) > c.near || math.Abs(deviation-c.deviation) > c.near {
			t.Errorf("%s: got a mean of %g and a deviation of %g, want %g and %g", c.text, mean, deviation, c.mean, c.deviation)
		}
		if slices.Min(got) < c.least || slices.Max(got) > c.most {
			t.Errorf("%s: got %d to %d, want no more than %d to %d", c.text, slices.Min(got), slices.Max(got), c.least, c.most)
		}
	}
	if got := lengths(t, "10-19").Draw(1, 2, n); slices.Min(got) != 10 || slices.Max(got) != 19 {
		t.Errorf("got %d to %d, want both ends", slices.Min(got), slices.Max(got))
	}
}

// TestLengthsRefused says what is wrong.
func TestLengthsRefused(t *testing.T) {
	const forms = "want a number, a range such as 100-900, normal:MEAN,DEVIATION or a file of lengths"
	for text, want := range map[string]string{
		"0":               "got 0 to 0 tokens, want 1 to 134217728",
		"-5":              "got -5 to -5 tokens",
		"0-7":             "got 0 to 7 tokens",
		"1-134217729":     "got 1 to 134217729 tokens, want 1 to 134217728",
		"9-3":             "got 9-3, want the smaller number first",
		"":                `got "", ` + forms,
		"5-":              `got "5-", ` + forms,
		"12.5":            `got "12.5", ` + forms,
		"nowhere.txt":     `got "nowhere.txt", ` + forms,
		t.TempDir():       forms,
		"normal:":         "got normal:, want normal:MEAN,DEVIATION",
		"normal:5":        "got normal:5, want normal:MEAN,DEVIATION",
		"normal:x,1":      "got normal:x,1, want",
		"normal:1,2,3":    "got normal:1,2,3, want",
		"normal:0.5,1":    "got a mean of 0.5, want 1 to",
		"normal:NaN,1":    "got a mean of NaN",
		"normal:5,-1":     "got a standard deviation of -1, want 0 to",
		"normal:5,Inf":    "got a standard deviation of +Inf",
		file(t, "1\n2 x"): `lengths.txt: line 2: got "x", want a number of tokens from 1 to`,
		file(t, "1\n0\n"): `lengths.txt: line 2: got "0"`,
		file(t, " \n"):    "lengths.txt: there is no length in it",
	} {
		if _, err := ParseLengths(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}
