package godwit

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/godwit-llm/godwit/internal/builtin"
	"github.com/godwit-llm/godwit/internal/tokenizer"
)

func builtinTokenizer(t testing.TB) *tokenizer.Tokenizer {
	t.Helper()
	data, err := optional(builtin.FS(), "tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// TestTextStream cuts texts at random stop texts: what comes out piece by
// piece is the text before the first of them.
func TestTextStream(t *testing.T) {
	tok := builtinTokenizer(t)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.RuneFrom([]rune("ab cé漢\n"))).Draw(t, "text")
		stops := rapid.SliceOfN(rapid.StringOfN(rapid.RuneFrom([]rune("ab cé漢\n")), 0, 4, -1), 0, 3).Draw(t, "stops")
		s := newTextStream(tok.NewStream(true), stops)
		got, stopped := "", false
		for _, id := range tok.Encode(text, false) {
			var piece string
			piece, stopped = s.add(id)
			got += piece
			if stopped {
				break
			}
		}
		if !stopped {
			got += s.flush()
		}
		if want := before(text, stops); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

func before(text string, stops []string) string {
	end := len(text)
	for _, stop := range stops {
		if at := strings.Index(text, stop); stop != "" && at >= 0 {
			end = min(end, at)
		}
	}
	return text[:end]
}

// FuzzIDsToText feeds arbitrary ids to a stream with a stop text: nothing
// panics, and the text is valid UTF-8.
func FuzzIDsToText(f *testing.F) {
	tok := builtinTokenizer(f)
	f.Add([]byte("\x01\x00\x4e\x00\x08\x07"), "the")
	f.Add([]byte{0xff, 0xff, 0xe2, 0x00}, "\ufffd")
	f.Fuzz(func(t *testing.T, data []byte, stop string) {
		if !utf8.ValidString(stop) {
			return // refused by Start
		}
		s := newTextStream(tok.NewStream(len(data)%2 == 0), []string{stop})
		var out strings.Builder
		for i := 0; i+1 < len(data); i += 2 {
			piece, stopped := s.add(int32(data[i]) | int32(data[i+1])<<8)
			out.WriteString(piece)
			if stopped {
				return
			}
		}
		out.WriteString(s.flush())
		if text := out.String(); strings.ToValidUTF8(text, "") != text {
			t.Errorf("got %q, want valid UTF-8", text)
		}
	})
}
