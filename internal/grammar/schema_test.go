package grammar

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/godwit-llm/godwit/internal/builtin"
	"github.com/godwit-llm/godwit/internal/tokenizer"
)

// smallVocabulary is the built-in model's, and an id to end with.
var smallVocabulary = sync.OnceValues(func() (*Vocabulary, *tokenizer.Tokenizer) {
	data, err := fs.ReadFile(builtin.FS(), "tokenizer.json")
	if err != nil {
		panic(err)
	}
	t, err := tokenizer.Parse(data)
	if err != nil {
		panic(err)
	}
	return vocabularyOf(t), t
})

// bytesVocabulary has every byte, some longer tokens that cross the borders of
// JSON's, and two ids with the same bytes.
var bytesVocabulary = sync.OnceValue(func() *Vocabulary {
	var tokens []Token
	for b := range 256 {
		tokens = append(tokens, Token{Bytes: []byte{byte(b)}})
	}
	for _, s := range []string{
		`{"`, `":`, `": "`, `","`, `", "`, `"}`, `"]`, `}]`, `]}`, `}}`, `]]`, "\n  ", "{\n", ",\n", `: `, `, `, `:[`, `:{"`, `{}`, `[]`, `[{"`,
		"ab", "abc", "name", `a"`, `a":`, `\n`, `\u00`, `\ud83d`, `\ude00`, "é", "\xc3", "\xa9\xc3", "😀", "\x9f\x98\x80a", "😀\"", "true", "false", "null",
		"tr", "12", "123", "0.", ".5", "1,", `1}`, "e+", "-1", "   ", "        ", `"`, "ab", "red", `"red"`, `e"},`, `", "a": 1, "b": "`, `"k":"a",`,
	} {
		tokens = append(tokens, Token{Bytes: []byte(s)})
	}
	tokens = append(tokens, Token{Bytes: []byte("<end>"), Special: true}, Token{})
	return NewVocabulary(tokens)
})

// endOf is the id that ends a text in bytesVocabulary.
func endOf(v *Vocabulary) int32 { return v.special["<end>"] }

func validator(t testing.TB, schema string) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatalf("%s: %v", schema, err)
	}
	return s
}

// fits asks another implementation.
func fits(s *jsonschema.Schema, document string) error {
	if !utf8.ValidString(document) || !json.Valid([]byte(document)) {
		return fmt.Errorf("not JSON in UTF-8")
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(document))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

// accepts gives a document to a matcher byte by byte.
func accepts(m *Masks, document string) bool {
	x := m.NewMatcher(nil)
	for i := range len(document) {
		if err := x.Accept(int32(document[i])); err != nil {
			return false
		}
	}
	return x.Whole()
}

func TestSuite(t *testing.T) {
	v := bytesVocabulary()
	for _, c := range suite {
		t.Run(c.name, func(t *testing.T) {
			s := validator(t, c.schema)
			e, err := Schema([]byte(c.schema))
			if err != nil {
				t.Fatal(err)
			}
			g, err := Compile(e, Options{Vocabulary: v})
			if len(c.good) == 0 && errors.Is(err, ErrEmpty) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			m := NewMasks(g, v)
			documents(t, m, s, c.good, true, true)
			documents(t, m, s, c.bad, false, false)
			documents(t, m, s, c.narrow, true, false)
			cuts(t, m, c.good)
			rng := rand.New(rand.NewPCG(1, 2))
			for range 60 {
				d := walk(t, rng, m, endOf(v))
				if err := fits(s, d); err != nil {
					t.Fatalf("generated %s: %v", d, err)
				}
			}
		})
	}
}

// documents checks what fits a schema and what is accepted.
func documents(t *testing.T, m *Masks, s *jsonschema.Schema, list []string, fit, accepted bool) {
	t.Helper()
	for _, d := range list {
		if err := fits(s, d); (err == nil) != fit {
			t.Errorf("the suite is wrong: %s: %v", d, err)
		}
		if accepts(m, d) != accepted {
			t.Errorf("%s: accepted: %v, want %v", d, !accepted, accepted)
		}
	}
}

// cuts checks that every way of cutting a document into tokens is accepted, by
// the mask and by Accept.
func cuts(t *testing.T, m *Masks, documents []string) {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 4))
	for _, d := range documents {
		for range 10 {
			x := m.NewMatcher(nil)
			mask := make([]uint32, m.vocabulary.Words())
			for rest := d; rest != ""; {
				id := randomToken(rng, m.vocabulary, rest)
				if x.Mask(mask); !has(mask, id) {
					t.Fatalf("%s: the mask lacks %q before %q", d, m.vocabulary.bytes[id], rest)
				}
				if err := x.Accept(id); err != nil {
					t.Fatalf("%s: %v", d, err)
				}
				rest = rest[len(m.vocabulary.bytes[id]):]
			}
			if !x.Whole() {
				t.Fatalf("%s is not whole", d)
			}
		}
	}
}

func has(mask []uint32, id int32) bool { return mask[id/32]>>(id%32)&1 != 0 }

// randomToken returns one of the tokens that a text begins with.
func randomToken(rng *rand.Rand, v *Vocabulary, text string) int32 {
	var list []int32
	for id, b := range v.bytes {
		if b != nil && strings.HasPrefix(text, string(b)) {
			list = append(list, int32(id))
		}
	}
	return list[rng.IntN(len(list))]
}

// walk is a model that chooses at random. After some tokens it prefers those
// that close something.
func walk(t testing.TB, rng *rand.Rand, m *Masks, end int32) string {
	t.Helper()
	x := m.NewMatcher([]int32{end})
	mask := make([]uint32, m.vocabulary.Words())
	var out []byte
	patience := rng.IntN(30)
	for n := 0; ; n++ {
		if x.Mask(mask); has(mask, end) != x.Whole() {
			t.Fatalf("after %s: the end is allowed: %v, the text is whole: %v", out, has(mask, end), x.Whole())
		}
		id := chooseToken(rng, m.vocabulary, mask, n > patience, end)
		if id < 0 {
			t.Fatalf("after %s: nothing is allowed", out)
		}
		if err := x.Accept(id); err != nil {
			t.Fatalf("after %s: the mask allows a token, but %v", out, err)
		}
		if id == end {
			return string(out)
		}
		if out = append(out, m.vocabulary.bytes[id]...); n > 20000 {
			t.Fatalf("no end after %d tokens: %.200s", n, out)
		}
	}
}

func chooseToken(rng *rand.Rand, v *Vocabulary, mask []uint32, hurry bool, end int32) int32 {
	var all, closing, letters []int32
	quote := false
	for id := range int32(v.Size()) {
		if !has(mask, id) {
			continue
		}
		if all = append(all, id); id == end || len(v.bytes[id]) == 1 && strings.ContainsAny(string(v.bytes[id]), `"}]`) {
			closing = append(closing, id)
		}
		quote = quote || string(v.bytes[id]) == `"`
		if b := v.bytes[id]; len(b) == 1 && b[0] >= 'a' && b[0] <= 'f' {
			letters = append(letters, id)
		}
	}
	switch {
	case len(all) == 0:
		return -1
	case hurry && has(mask, end):
		return end
	case hurry && len(letters) > 0 && !quote && rng.IntN(2) == 0:
		return letters[rng.IntN(len(letters))] // into what a pattern asks for
	case len(closing) > 0 && (hurry || rng.IntN(5) == 0):
		return closing[rng.IntN(len(closing))]
	}
	return all[rng.IntN(len(all))]
}

func TestRefused(t *testing.T) {
	for _, c := range refused {
		e, err := Schema([]byte(c.schema))
		if err == nil {
			_, err = Compile(e, Options{})
		}
		if !errors.Is(err, c.class) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want %v with %q", c.schema, err, c.class, c.want)
		}
	}
}
