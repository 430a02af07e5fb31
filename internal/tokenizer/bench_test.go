package tokenizer

import (
	"go/build"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// benchText is about 8 MB of code and as much English prose (the comments of
// other code), all of it different: Go's own sources.
var benchText = sync.OnceValue(func() (texts struct{ code, prose string }) {
	var code, prose strings.Builder
	root := filepath.Join(build.Default.GOROOT, "src")
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.Contains(path, "testdata") || prose.Len() > 8<<20 {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil || len(data) > 1<<19 { // long ones are tables
			return nil
		}
		if code.Len() < 8<<20 {
			code.Write(data)
			return nil
		}
		for line := range strings.Lines(string(data)) {
			if text, ok := strings.CutPrefix(strings.TrimLeft(line, "\t"), "// "); ok {
				prose.WriteString(text)
			}
		}
		return nil
	})
	texts.code, texts.prose = code.String(), prose.String()
	return texts
})

// benchFiles are the tokenizers to measure: ours, and those that fetch.sh has put there.
func benchFiles(tb testing.TB) map[string][]byte {
	files := map[string][]byte{"tiny-hybrid": tinyHybrid(tb)}
	for _, name := range []string{"llama3_1", "qwen3"} {
		if data, err := os.ReadFile(filepath.Join(external, name+".json")); err == nil {
			files[name] = data
		}
	}
	return files
}

func BenchmarkEncode(b *testing.B) {
	for name, data := range benchFiles(b) {
		tok, err := Parse(data)
		if err != nil {
			b.Fatal(err)
		}
		texts := benchText()
		for kind, text := range map[string]string{"code": texts.code, "prose": texts.prose} {
			if text == "" {
				b.Skip("no Go sources here to encode")
			}
			b.Run(name+"/"+kind, func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				ids := 0
				for b.Loop() {
					ids = len(tok.Encode(text, true))
				}
				b.ReportMetric(float64(len(text))/float64(ids), "bytes/id")
			})
		}
	}
}

// BenchmarkEncodeUncached measures the model without its cache of words.
func BenchmarkEncodeUncached(b *testing.B) {
	for name, data := range benchFiles(b) {
		tok, err := Parse(data)
		if err != nil {
			b.Fatal(err)
		}
		text := benchText().prose
		b.Run(name, func(b *testing.B) {
			m, c := tok.model.(*bpe), classes()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				var ids []int32
				for i := 0; i < len(text); {
					end := tok.words.scan(c, text, i)
					ids = m.encodeWord(ids[:0], text[i:end])
					i = end
				}
			}
		})
	}
}

// BenchmarkScan measures the cutting into words alone.
func BenchmarkScan(b *testing.B) {
	text, c := benchText().prose, classes()
	for _, p := range []string{gpt2Pattern, foldFirst + wordPattern + `\p{N}{1,3}` + symbolTail, casedLower + `|` + casedUpper + `|\p{N}` + slashTail} {
		rule := splitRules[p]
		b.Run(p[:12], func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				for i := 0; i < len(text); {
					i = rule.scan(c, text, i)
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for name, data := range benchFiles(b) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, err := Parse(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, data := range benchFiles(b) {
		tok, err := Parse(data)
		if err != nil {
			b.Fatal(err)
		}
		text := benchText().prose
		ids := tok.Encode(text, false)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				tok.Decode(ids, true)
			}
		})
	}
}

// BenchmarkLongWord encodes one word of a megabyte.
func BenchmarkLongWord(b *testing.B) {
	tok, err := Parse(tinyHybrid(b))
	if err != nil {
		b.Fatal(err)
	}
	text := strings.Repeat("supercalifragilistic", 50000)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		tok.Encode(text, false)
	}
}
