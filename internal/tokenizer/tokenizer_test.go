package tokenizer

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

func parse(tb testing.TB, data []byte) *Tokenizer {
	tb.Helper()
	tok, err := Parse(data)
	if err != nil {
		tb.Fatal(err)
	}
	return tok
}

// TestQueries asks the built-in model's tokenizer for its parts.
func TestQueries(t *testing.T) {
	tok := parse(t, tinyHybrid(t))
	if got := tok.Size(); got != 4096 {
		t.Errorf("Size: got %d, want 4096", got)
	}
	if id, ok := tok.ID("<|im_end|>"); id != 11 || !ok {
		t.Errorf("ID: got %d, %v, want 11", id, ok)
	}
	if _, ok := tok.ID("no such token"); ok {
		t.Error("ID finds a token that is not there")
	}
	if text, ok := tok.Token(11); text != "<|im_end|>" || !ok {
		t.Errorf("Token: got %q, %v", text, ok)
	}
	for _, id := range []int32{-1, 4096, 1 << 30} {
		if text, ok := tok.Token(id); ok || tok.Bytes(id) != nil || tok.IsSpecial(id) {
			t.Errorf("id %d has a token %q", id, text)
		}
	}
	the, _ := tok.ID("Ġthe")
	if got := tok.Bytes(the); string(got) != " the" || tok.IsSpecial(the) || !tok.IsSpecial(11) {
		t.Errorf("Bytes: got %q", got)
	}
	if got := tok.Encode("a\xff\xe2\x82b", false); !slices.Equal(got, tok.Encode("a\uFFFD\uFFFDb", false)) {
		t.Errorf("Encode of broken text: got %q", tok.tokens(got))
	}
	if got := tok.String(); got != "bpe tokenizer of 4096 ids, 32 of them added" {
		t.Errorf("String: got %q", got)
	}
}

// TestBytes joins what the tokens stand for, in the way decoders do.
func TestBytes(t *testing.T) {
	for name, data := range smallFiles(t) {
		tok := parse(t, data)
		switch name {
		case "gpt2", "llama3", "qwen", "tekken", "llama2", "gemma":
		default:
			continue
		}
		for _, text := range []string{"Hello, wörld 中 👍 don't", " a  b\n"} {
			var all []byte
			for _, id := range tok.Encode(text, false) {
				all = append(all, tok.Bytes(id)...)
			}
			if got := strings.TrimLeft(string(all), " "); got != strings.TrimLeft(text, " ") {
				t.Errorf("%s: got %q, want %q", name, got, text)
			}
		}
	}
}

// TestStreamIsPrompt sees that text comes out as soon as it is certain.
func TestStreamIsPrompt(t *testing.T) {
	files := smallFiles(t)
	for _, c := range []struct{ file, tokens, want string }{
		{"gpt2", "a Ġthe Ã © ! ð Ł", "a| the||é|!|||\uFFFD"},
		{"llama2", "▁a ▁ b <0xC3> <0xA9> c <0xFF> <0x41> <s> d <0xE4>", "a| |b|||éc|\uFFFD|\uFFFD|<s>|d||\uFFFD"},
		{"gemma", "▁ a <0x41> <0xFF> b", " |a||\uFFFD\uFFFD|b|"},
		{"always", "▁ t ▁a h", "|t| a|h|"},
		{"ends", "t h</w> a", "|t|h |a"},
		{"nothing", "t h", "t| h|"},
	} {
		tok := parse(t, files[c.file])
		s := tok.NewStream(false)
		var got []string
		for text := range strings.SplitSeq(c.tokens, " ") {
			id, ok := tok.ID(text)
			if !ok {
				t.Errorf("%s: no token %q", c.file, text)
			}
			got = append(got, s.Next(id))
		}
		got = append(got, s.Flush())
		if text := strings.Join(got, "|"); text != c.want {
			t.Errorf("%s: %s: got %q, want %q", c.file, c.tokens, text, c.want)
		}
	}
}

// TestStream compares streams with decoding at once, for every decoder.
func TestStream(t *testing.T) {
	for name, data := range smallFiles(t) {
		tok := parse(t, data)
		t.Run(name, rapid.MakeCheck(func(r *rapid.T) {
			ids := rapid.SliceOfN(rapid.Int32Range(-1, int32(tok.Size())), 0, 30).Draw(r, "ids")
			skip := rapid.Bool().Draw(r, "skip")
			s, got := tok.NewStream(skip), ""
			for _, id := range ids {
				part := s.Next(id)
				if !utf8.ValidString(part) {
					r.Fatalf("Next(%d): %q is not UTF-8", id, part)
				}
				got += part
			}
			got += s.Flush()
			if want := tok.Decode(ids, skip); got != want {
				r.Fatalf("got %q, want %q", got, want)
			}
		}))
	}
}

// TestLossy has the cases of the Unicode standard, table 3-8 and around.
func TestLossy(t *testing.T) {
	for in, want := range map[string]string{
		"a\xF1\x80\x80\xE1\x80\xC2b\x80c\x80\xBFd": "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd",
		"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82A":        strings.Repeat("\uFFFD", 8) + "A",
		"\xED\xA0\x80\xED\xBF\xBF\xED\xAFA":        strings.Repeat("\uFFFD", 8) + "A",
		"\xF4\x91\x92\x93\xFFA\x80\xBFB":           strings.Repeat("\uFFFD", 5) + "A\uFFFD\uFFFDB",
		"\xE1\x80\xE2\xF0\x91\x92\xF1\xBFA":        strings.Repeat("\uFFFD", 4) + "A",
		"é中👍":                                      "é中👍",
		"\xF0\x9F\x91":                             "\uFFFD",
	} {
		if got := lossy([]byte(in)); got != want {
			t.Errorf("%q: got %+q, want %+q", in, got, want)
		}
	}
}

// TestMergeLong compares the heap with the plain way.
func TestMergeLong(t *testing.T) {
	m := parse(t, tinyHybrid(t)).model.(*bpe)
	rng := rand.New(rand.NewPCG(3, 4))
	text := strings.ReplaceAll(benchmarkProse, " ", "")
	for range 2000 {
		at := rng.IntN(len(text) - shortWord)
		word := text[at : at+2+rng.IntN(shortWord-2)]
		short := m.mergeShort(nil, m.byteSymbols(nil, word))
		if long := m.mergeLong(nil, m.byteSymbols(nil, word)); !slices.Equal(short, long) {
			t.Fatalf("%q: got %v, want %v", word, long, short)
		}
	}
}

const benchmarkProse = "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a wife. " +
	"However little known the feelings or views of such a man may be on his first entering a neighbourhood, this truth is so well fixed " +
	"in the minds of the surrounding families, that he is considered the rightful property of some one or other of their daughters."

// TestHugeInputs encodes long texts of what is hard for one part or another: a
// step that is quadratic somewhere takes minutes.
func TestHugeInputs(t *testing.T) {
	files := smallFiles(t)
	files["tiny-hybrid"] = tinyHybrid(t)
	for _, name := range []string{"tiny-hybrid", "roberta", "llama2", "gemma", "unigram", "nfkd", "firstcut"} {
		tok := parse(t, files[name])
		for _, part := range []string{"a", "the", " ", "\n", "\u0301", "1", "中", "<", "<r> ", "'"} {
			text := strings.Repeat(part, 1<<16/len(part))
			start := time.Now()
			tok.Decode(tok.Encode(text, true), true)
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("%s: %d bytes of %q took %v", name, len(text), part, took)
			}
		}
	}
}

// TestConcurrentUse shares a tokenizer; the race detector watches.
func TestConcurrentUse(t *testing.T) {
	tok := parse(t, tinyHybrid(t))
	want := tok.Encode(benchmarkProse, true)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if got := tok.Encode(benchmarkProse, true); !slices.Equal(got, want) {
					t.Errorf("got %v, want %v", got, want)
				}
				if got := tok.Decode(want, true); got != benchmarkProse {
					t.Errorf("got %q", got)
				}
			}
		})
	}
	wg.Wait()
}

// TestNormalForms compares our own steps with the library where they must agree.
func TestNormalForms(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	marks := []rune("\u0301\u0323\u0302\u0308\u0327\u0345\u0334\u093c\u05b0\u3099")
	bases := []rune("aeoZÅậΩΐが각각क\uf951\ufb1d½ﬁ")
	for range 5000 {
		var b strings.Builder
		for range 1 + rng.IntN(4) {
			b.WriteRune(bases[rng.IntN(len(bases))])
			for range rng.IntN(5) {
				b.WriteRune(marks[rng.IntN(len(marks))])
			}
		}
		s := b.String()
		for _, f := range []struct {
			form    norm.Form
			compose bool
		}{{norm.NFC, true}, {norm.NFD, false}, {norm.NFKC, true}, {norm.NFKD, false}} {
			if got, want := bySteps(s, f.form, f.compose), f.form.String(s); got != want {
				t.Fatalf("form %d of %+q: got %+q, want %+q", f.form, s, got, want)
			}
		}
	}
}

// TestByteAlphabet sees that every byte has its character.
func TestByteAlphabet(t *testing.T) {
	var all []byte
	for b := range 256 {
		all = append(all, byte(b))
	}
	text := string(appendByteChars(nil, string(all)))
	if got := appendCharBytes(nil, text); !bytes.Equal(got, all) || utf8.RuneCountInString(text) != 256 {
		t.Errorf("got %v", got)
	}
	if text[0:2] != "Ā" || !strings.Contains(text, "Ġ!") {
		t.Errorf("got %q", text)
	}
}

// TestQuickFloat has numbers that the reference's reader gets exactly, and one
// that it does not.
func TestQuickFloat(t *testing.T) {
	for in, want := range map[string]float64{
		"0": 0, "-0.5": -0.5, "12": 12, "1e2": 100, "1E-2": 0.01, "-3.25e+1": -32.5, "0e999999999999": 0, "1e-999999999999": 0,
		"5e-324": 5e-324, "18446744073709551616": 18446744073709551616, "184467440737095516160": 184467440737095516160,
		"1e400": math.Inf(1), "-1e99999999999999999999": math.Inf(-1), "0.00000000000000000000000000001": 1.0000000000000001e-29,
		"-8.483559608459473": -8.483559608459473,
	} {
		if got := quickFloat([]byte(in)); got != want {
			t.Errorf("%s: got %v, want %v", in, got, want)
		}
	}
	exact := 0
	for i := range 1000 {
		in := strconv.FormatFloat(-float64(i)/7-3, 'g', -1, 64)
		want, _ := strconv.ParseFloat(in, 64)
		got := quickFloat([]byte(in))
		if math.Abs(got-want) > 4e-16*math.Abs(want) {
			t.Errorf("%s: got %v", in, got)
		}
		if got == want {
			exact++
		}
	}
	if exact == 1000 {
		t.Error("every number is exact, unlike the reference's")
	}
}
