package tokenizer

import (
	"encoding/binary"
	"encoding/json"
	"path/filepath"
	"testing"
	"time"
	"unicode/utf8"
)

// smallFiles returns the tokenizers of testdata, all components among them.
func smallFiles(tb testing.TB) map[string]json.RawMessage {
	var files map[string]json.RawMessage
	readGzip(tb, filepath.Join(testdata, "tokenizers.json.gz"), &files)
	return files
}

// FuzzParse reads any bytes as a file: an error or a tokenizer that works.
func FuzzParse(f *testing.F) {
	for _, data := range smallFiles(f) {
		f.Add(shrunk(f, data), "Hello <s> wörld'S 123\r\n  é中👍")
	}
	for _, c := range malformed {
		f.Add([]byte(c.file), "a")
	}
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		tok, err := Parse(data)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without a text")
			}
			return
		}
		if len(text) > 1<<10 {
			text = text[:1<<10]
		}
		start := time.Now()
		ids := tok.Encode(text, true)
		for _, id := range ids {
			if id < 0 || int(id) >= max(len(data), minIDs) {
				t.Errorf("Encode gives id %d", id)
			}
		}
		if out := tok.Decode(ids, false); !utf8.ValidString(out) {
			t.Errorf("Decode gives %q, which is not UTF-8", out)
		}
		checkStream(t, tok, ids)
		for _, id := range ids {
			tok.Bytes(id)
		}
		if took := time.Since(start); took > 10*matchTime {
			t.Errorf("encoding and decoding %d bytes took %v", len(text), took)
		}
	})
}

// shrunk returns a file with a small part of its vocabulary, for the fuzzer to
// be quick with.
func shrunk(tb testing.TB, data []byte) []byte {
	var file map[string]any
	if err := json.Unmarshal(data, &file); err != nil {
		tb.Fatal(err)
	}
	model := file["model"].(map[string]any)
	if vocab, ok := model["vocab"].(map[string]any); ok {
		keep := map[string]any{}
		for text, id := range vocab {
			if id.(float64) < 30 {
				keep[text] = id
			}
		}
		model["vocab"], model["merges"] = keep, []any{}
	} else {
		model["vocab"] = model["vocab"].([]any)[:20]
	}
	if added, ok := file["added_tokens"].([]any); ok {
		file["added_tokens"] = added[:min(len(added), 1)]
	}
	file["post_processor"] = nil
	if out, err := json.Marshal(file); err == nil {
		return out
	}
	return data
}

// FuzzDecode decodes any ids with every decoder: what a stream gives is what
// decoding at once gives, and it is UTF-8 piece by piece.
func FuzzDecode(f *testing.F) {
	var toks []*Tokenizer
	for _, data := range smallFiles(f) {
		tok, err := Parse(data)
		if err != nil {
			f.Fatal(err)
		}
		toks = append(toks, tok)
	}
	f.Add([]byte{1, 0, 2, 0, 3, 0})
	f.Add([]byte("\xe4\x00\xbd\x00\xa0\x00\xff\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var raw []int32
		for ; len(data) >= 2; data = data[2:] {
			raw = append(raw, int32(int16(binary.LittleEndian.Uint16(data))))
		}
		for _, tok := range toks {
			ids := make([]int32, len(raw))
			for i, id := range raw { // half of them as they are, so that some have no token
				if ids[i] = id; i%2 == 0 {
					ids[i] = int32(int(uint16(id)) % tok.Size())
				}
			}
			for _, skip := range []bool{false, true} {
				s, got := tok.NewStream(skip), ""
				for _, id := range ids {
					part := s.Next(id)
					if !utf8.ValidString(part) {
						t.Fatalf("Next(%d) gives %q, which is not UTF-8", id, part)
					}
					got += part
				}
				got += s.Flush()
				if want := tok.Decode(ids, skip); got != want {
					t.Fatalf("Stream of %v gives %q, Decode %q", ids, got, want)
				}
			}
		}
	})
}
