package chat

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzParser feeds any text to every format. Nothing may be lost but white
// space, markers and what stands around the arguments of calls; and where the
// text is cut may not matter.
func FuzzParser(f *testing.F) {
	for _, o := range readOutputs(f) {
		f.Add(o.text, uint8(len(o.text)/2), uint8(3))
	}
	tools := readTools(f)
	f.Fuzz(func(t *testing.T, text string, cut, kind uint8) {
		if !utf8.ValidString(text) {
			return
		}
		format := formats[int(kind)%len(formats)]
		start := Start(int(kind) / len(formats) % 3)
		for _, live := range []bool{false, true} {
			o := output{format: format, options: ParserOptions{Start: start, Tools: tools, Live: live, Single: kind >= 200}}
			whole := o.parse(text)
			ends := boundaries(text)
			at := ends[int(cut)%len(ends)]
			if got := o.parse(text[:at], text[at:]); showReply(got) != showReply(whole) {
				t.Fatalf("%v, live %t: %q and %q give\n%s, together\n%s", format, live, text[:at], text[at:], showReply(got), showReply(whole))
			}
			checkCalls(t, whole)
			if !live && kind < 200 && len(whole.ToolCalls) == 0 {
				checkNothingLost(t, format, text, whole)
			}
			if len(whole.Reasoning)+len(whole.Content) > len(text) {
				t.Fatalf("%q became more: %+v", text, whole)
			}
		}
	})
}

// checkCalls asks for whole calls with JSON objects.
func checkCalls(t *testing.T, r Reply) {
	for _, c := range r.ToolCalls {
		var object map[string]any
		if err := json.Unmarshal([]byte(c.Arguments), &object); !c.Incomplete && err != nil && !deep(err) {
			t.Fatalf("arguments %q: %v", c.Arguments, err)
		}
		if c.Name == "" {
			t.Fatalf("no name: %+v", c)
		}
	}
}

// deep reports whether encoding/json refused numbers that no float64 can hold.
func deep(err error) bool { return strings.Contains(err.Error(), "cannot unmarshal number") }

// checkNothingLost compares the text without white space and the markers of
// reasoning and empty lists, the last of which may be cut off, with what came out.
func checkNothingLost(t *testing.T, f Format, text string, r Reply) {
	bare := func(s string) string {
		s = strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "").Replace(s)
		s = strings.NewReplacer(thinkOpen, "", thinkClose, "", f.open+"[]"+f.close, "").Replace(s)
		for n := range len(f.close) {
			if at, half := strings.CutSuffix(s, f.open+"[]"+f.close[:n]); half && n > 0 {
				return at
			}
		}
		return s
	}
	if got, want := bare(r.Reasoning+r.Content), bare(text); got != want {
		t.Fatalf("%v: %q became %q and %q", f, text, r.Reasoning, r.Content)
	}
}
