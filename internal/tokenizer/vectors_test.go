package tokenizer

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testdata is where tools/tokenizer/vectors.py writes.
const testdata = "../../testdata/tokenizer"

// readGzip decodes a compressed JSON file.
func readGzip(tb testing.TB, path string, into any) {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	if err := json.NewDecoder(z).Decode(into); err != nil {
		tb.Fatalf("%s: %v", path, err)
	}
}

// encoded is what the reference encodes one string of the corpus to.
type encoded struct {
	index          int
	plain, special []int32
}

func (e *encoded) UnmarshalJSON(data []byte) error {
	if err := json.Unmarshal(data, &[]any{&e.index, &e.plain, &e.special}); err != nil {
		return err
	}
	if e.special == nil {
		e.special = e.plain
	}
	return nil
}

// decoded is what the reference decodes ids to.
type decoded struct {
	ids        []int32
	keep, skip string
}

func (d *decoded) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&d.ids, &d.keep, &d.skip})
}

// vectors are the reference's results for one tokenizer.
type vectors struct {
	Encode []encoded
	Decode []decoded
}

// check compares everything and stops after a few differences.
func (v *vectors) check(t *testing.T, tok *Tokenizer, corpus []string) {
	t.Helper()
	bad := 0
	differ := func(what string, of, got, want any) {
		if d := cmp.Diff(want, got); d != "" && bad < 5 {
			bad++
			t.Errorf("%s %+q:\ngot  %v\nwant %v", what, of, got, want)
		}
	}
	for _, e := range v.Encode {
		text := corpus[e.index]
		for _, special := range []bool{false, true} {
			want := e.plain
			if special {
				want = e.special
			}
			if got := tok.Encode(text, special); !slices.Equal(got, want) {
				differ("Encode", text, tok.tokens(got), tok.tokens(want))
			}
		}
	}
	for _, d := range v.Decode {
		if got := tok.Decode(d.ids, false); got != d.keep {
			differ("Decode", tok.tokens(d.ids), got, d.keep)
		}
		if got := tok.Decode(d.ids, true); got != d.skip {
			differ("Decode without special tokens", tok.tokens(d.ids), got, d.skip)
		}
		checkStream(t, tok, d.ids)
	}
}

// tokens writes ids as texts, for messages.
func (t *Tokenizer) tokens(ids []int32) []string {
	out := []string{}
	for _, id := range ids {
		text, _ := t.Token(id)
		out = append(out, text)
	}
	return out
}

// checkStream compares a stream with decoding at once.
func checkStream(t *testing.T, tok *Tokenizer, ids []int32) {
	t.Helper()
	for _, skip := range []bool{false, true} {
		s, got := tok.NewStream(skip), ""
		for _, id := range ids {
			got += s.Next(id)
		}
		got += s.Flush()
		if want := tok.Decode(ids, skip); got != want {
			t.Errorf("Stream of %v: got %q, want %q", ids, got, want)
		}
	}
}

// readCorpus returns the strings that every tokenizer is compared on.
func readCorpus(tb testing.TB) []string {
	var corpus []string
	readGzip(tb, filepath.Join(testdata, "corpus.json.gz"), &corpus)
	return corpus
}

// TestReference compares the small tokenizers with the reference.
func TestReference(t *testing.T) {
	corpus := readCorpus(t)
	var files map[string]json.RawMessage
	readGzip(t, filepath.Join(testdata, "tokenizers.json.gz"), &files)
	files["tiny-hybrid"] = tinyHybrid(t)
	var all map[string]*vectors
	readGzip(t, filepath.Join(testdata, "vectors.json.gz"), &all)
	if len(all) != len(files) {
		t.Errorf("got vectors for %d tokenizers, want %d", len(all), len(files))
	}
	for name, v := range all {
		t.Run(name, func(t *testing.T) {
			tok, err := Parse(files[name])
			if err != nil {
				t.Fatal(err)
			}
			v.check(t, tok, corpus)
		})
	}
}

// tinyHybrid returns the tokenizer.json of the built-in model.
func tinyHybrid(tb testing.TB) []byte {
	data, err := os.ReadFile(filepath.Join(testdata, "tiny-hybrid.json"))
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// external is where tools/tokenizer/fetch.sh puts published tokenizers and the
// reference's results for them.
const external = "../../testdata/external/tokenizer"

// TestExternal compares published tokenizers, which are too big to keep here.
func TestExternal(t *testing.T) {
	paths, _ := filepath.Glob(filepath.Join(external, "*.vectors.json.gz"))
	if len(paths) == 0 {
		t.Skipf("no %s: run tools/tokenizer/fetch.sh", external)
	}
	corpus := readCorpus(t)
	for _, path := range paths {
		name := filepath.Base(path[:len(path)-len(".vectors.json.gz")])
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(external, name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			tok, err := Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			var v vectors
			readGzip(t, path, &v)
			v.check(t, tok, corpus)
			t.Logf("%s: %d texts, %d id sequences", tok, len(v.Encode), len(v.Decode))
		})
	}
}
