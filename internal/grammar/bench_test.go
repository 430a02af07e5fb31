package grammar

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/godwit-llm/godwit/internal/tokenizer"
)

// external is where real tokenizers are, if they have been fetched.
const external = "../../testdata/external/tokenizer"

// vocabularyOf reads a tokenizer's tokens.
func vocabularyOf(t *tokenizer.Tokenizer) *Vocabulary {
	tokens := make([]Token, t.Size())
	for id := range tokens {
		tokens[id] = Token{Bytes: t.Bytes(int32(id)), Special: t.IsSpecial(int32(id))}
	}
	return NewVocabulary(tokens)
}

func realTokenizer(t testing.TB, name string) *tokenizer.Tokenizer {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(external, name))
	if err != nil {
		t.Skip(err)
	}
	k, err := tokenizer.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// realistic are schemas of the kind that applications send, and a document.
var realistic = []struct{ name, schema, document string }{
	{"any object", `{"type":"object"}`, `{"name": "Max Müller", "age": 42, "ok": [true, null, {"a\n": -1.5e3}], "text": "\"Quoted\" \\ and so on: {not JSON}, [neither]"}`},
	{
		"person", `{"type":"object","properties":{
		"name":{"type":"string"},"age":{"type":"integer","minimum":0,"maximum":150},
		"tags":{"type":"array","items":{"type":"string","maxLength":20},"maxItems":5},
		"address":{"type":"object","properties":{"street":{"type":"string"},"city":{"type":"string"},"zip":{"type":"string","pattern":"^[0-9]{5}$"}},"required":["street","city"],"additionalProperties":false}},
		"required":["name","address"],"additionalProperties":false}`,
		`{"name": "Max Müller", "age": 42, "tags": ["a", "hello world", "x\ny"], "address": {"street": "Long Road 7", "city": "Hamburg", "zip": "20095"}}`,
	},
	{
		"formats", `{"type":"object","properties":{"id":{"type":"string","format":"uuid"},"when":{"type":"string","format":"date-time"},"mail":{"type":"string","format":"email"},
		"name":{"type":"string","pattern":"^[A-Z][a-z]+( [A-Z][a-z]+)*$"},"price":{"type":"number","minimum":0,"exclusiveMaximum":1000}},"required":["id","when","mail"],"additionalProperties":{"type":"string"}}`,
		`{"id": "123e4567-e89b-12d3-a456-426614174000", "when": "2024-02-29T12:34:56Z", "mail": "max.mueller@example.com", "name": "Max Mueller", "price": 12.75, "identity": "x", "who": "the one"}`,
	},
	{
		"union", `{"type":"array","items":{"anyOf":[{"type":"object","properties":{"kind":{"const":"circle"},"radius":{"type":"number"}},"required":["kind","radius"]},
		{"type":"object","properties":{"kind":{"const":"square"},"side":{"type":"number"}},"required":["kind","side"]},{"type":"string","enum":["none","unknown"]}]}}`,
		"[\n  {\n    \"kind\": \"circle\",\n    \"radius\": 1.5\n  },\n  {\n    \"kind\": \"square\",\n    \"side\": 2\n  },\n  \"none\"\n]",
	},
	{
		"tree", `{"$defs":{"node":{"type":"object","properties":{"value":{"type":"string","maxLength":300},"children":{"type":"array","items":{"$ref":"#/$defs/node"}}},"required":["value","children"],"additionalProperties":false}},"$ref":"#/$defs/node"}`,
		`{"value": "root of the tree", "children": [{"value": "a", "children": []}, {"value": "b", "children": [{"value": "c", "children": []}]}]}`,
	},
}

// madeVocabulary has 131,072 tokens: all bytes, and pieces of this package's
// own sources, schemas and documents in them, as they come.
func madeVocabulary(t testing.TB) *Vocabulary {
	t.Helper()
	var text []byte
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, data...)
	}
	var tokens []Token
	for b := range 256 {
		tokens = append(tokens, Token{Bytes: []byte{byte(b)}})
	}
	seen := map[string]bool{}
	for n := 2; len(tokens) < 131072; n++ {
		for i := 0; i+n <= len(text) && len(tokens) < 131072; i++ {
			if piece := text[i : i+n]; !seen[string(piece)] {
				seen[string(piece)] = true
				tokens = append(tokens, Token{Bytes: piece})
			}
		}
	}
	return NewVocabulary(tokens)
}

// longest cuts a text into the longest tokens.
func longest(v *Vocabulary, text string) (ids []int32) {
	for text != "" {
		best, at := int32(-1), v.all.first[text[0]]
		for depth := 0; at >= 0 && depth < len(text); depth++ {
			if v.all.nodes[at].token >= 0 {
				best = v.all.nodes[at].token
			}
			if depth+1 == len(text) {
				break
			}
			at = v.all.child(at, text[depth+1])
		}
		ids = append(ids, best)
		text = text[len(v.bytes[best]):]
	}
	return ids
}

// child finds the node below one for a byte, -1 if there is none.
func (t *trie) child(at int32, b byte) int32 {
	for i := at + 1; i < t.nodes[at].skip; i = t.nodes[i].skip {
		if t.nodes[i].label == b {
			return i
		}
	}
	return -1
}

// maxVisited bounds the nodes of trees of tokens that a mask looks at: one that
// looks at more works out what should have been prepared.
const maxVisited = 800

// TestSpeedOfMasks prints times of masks over realistic documents. The first
// pass over a document meets nodes for the first time. Other work on the
// machine shows in the times, not in the numbers of visited nodes, which are
// held to a bound.
func TestSpeedOfMasks(t *testing.T) {
	if testing.Short() {
		t.Skip("measures")
	}
	t.Run("131072 made tokens", func(t *testing.T) {
		v := madeVocabulary(t)
		speedOfMasks(t, v, func(text string) []int32 { return longest(v, text) })
	})
	t.Run("Llama 3.1", func(t *testing.T) {
		k := realTokenizer(t, "llama3_1.json")
		speedOfMasks(t, vocabularyOf(k), func(text string) []int32 { return k.Encode(text, false) })
	})
}

func speedOfMasks(t *testing.T, v *Vocabulary, encode func(string) []int32) {
	t.Helper()
	t.Logf("%-12s %7s %10s %10s | %9s %9s %9s | %9s %9s %9s | %7s", "schema", "nodes", "compile", "prepare", "first p50", "p99", "max", "then p50", "p99", "max", "visited")
	for _, c := range realistic {
		start := time.Now()
		g := compiled(t, c.schema, v)
		compile := time.Since(start)
		start = time.Now()
		m := NewMasks(g, v)
		prepare := time.Since(start)
		var rows [2][]time.Duration
		visited := 0
		for pass := range 5 {
			row := &rows[min(pass, 1)]
			times, most := timeMasks(t, m, encode(c.document), c.document)
			*row, visited = append(*row, times...), max(visited, most)
		}
		if visited > maxVisited {
			t.Errorf("%s: a mask visits %d nodes, want at most %d", c.name, visited, maxVisited)
		}
		q := func(row int, share float64) time.Duration {
			slices.Sort(rows[row])
			return rows[row][int(share*float64(len(rows[row])-1))].Round(100 * time.Nanosecond)
		}
		t.Logf("%-12s %7d %10s %10s | %9s %9s %9s | %9s %9s %9s | %7d", c.name, g.Len(), compile.Round(10*time.Microsecond), prepare.Round(10*time.Microsecond),
			q(0, 0.5), q(0, 0.99), q(0, 1), q(1, 0.5), q(1, 0.99), q(1, 1), visited)
	}
}

// timeMasks returns the time of the mask before each token, and the most nodes
// that one visits.
func timeMasks(t testing.TB, m *Masks, ids []int32, document string) (times []time.Duration, visited int) {
	t.Helper()
	x := m.NewMatcher(nil)
	mask := make([]uint32, m.vocabulary.Words())
	for _, id := range ids {
		before, start := x.walker.visited, time.Now()
		x.Mask(mask)
		times = append(times, time.Since(start))
		visited = max(visited, x.walker.visited-before)
		if mask[id/32]>>(id%32)&1 == 0 {
			t.Fatalf("token %q of %s is not allowed", m.vocabulary.bytes[id], document)
		}
		if err := x.Accept(id); err != nil {
			t.Fatal(err)
		}
	}
	if !x.Whole() {
		t.Fatalf("%s is not whole", document)
	}
	return times, visited
}

func compiled(t testing.TB, schema string, v *Vocabulary) *Grammar {
	t.Helper()
	e, err := Schema([]byte(schema))
	if err != nil {
		t.Fatalf("%s: %v", schema, err)
	}
	g, err := Compile(e, Options{Vocabulary: v})
	if err != nil {
		t.Fatalf("%s: %v", schema, err)
	}
	return g
}
