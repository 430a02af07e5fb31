package godwit

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/godwit-llm/godwit/internal/grammar"
)

const bird = `{"type":"object","properties":{
	"name":{"type":"string","minLength":1,"maxLength":20},"kind":{"enum":["godwit","curlew","other"]},
	"grams":{"type":"integer","minimum":1,"maximum":900},"seen":{"type":"string","format":"date"},
	"notes":{"type":"array","items":{"type":"string","maxLength":12},"maxItems":2}},
	"required":["name","kind","grams","seen"],"additionalProperties":false}`

// TestSchema generates, as likely and as unlikely as can be, and asks another
// implementation of JSON Schema.
func TestSchema(t *testing.T) {
	m := openBuiltin(t, Options{Device: "cpu"})
	g, err := m.JSONSchema([]byte(bird))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := m.JSONSchema([]byte(bird)); again != g || err != nil {
		t.Errorf("the same schema was compiled again: %v", err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(bird))
	if err == nil {
		err = c.AddResource("bird.json", doc)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := c.MustCompile("bird.json")
	for seed := range uint64(12) {
		r := Request{Prompt: "A bird:", MaxTokens: 600, Seed: &seed, Sampling: &Sampling{Temperature: float64(seed % 4), TopP: 0.99}, Grammar: g, IgnoreEOS: seed%2 == 0}
		result, err := m.Generate(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal([]byte(result.Text), &v); err != nil || result.FinishReason != "stop" {
			t.Fatalf("seed %d: %q, %s: %v", seed, result.Text, result.FinishReason, err)
		}
		if v, err = jsonschema.UnmarshalJSON(strings.NewReader(result.Text)); err == nil {
			err = s.Validate(v)
		}
		if err != nil {
			t.Errorf("seed %d: %s: %v", seed, result.Text, err)
		}
	}
}

// TestGrammarCutOff: the beginning of a document is what is left.
func TestGrammarCutOff(t *testing.T) {
	m := openBuiltin(t, Options{Device: "cpu"})
	g, err := m.JSONObject()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	run, err := m.Start(ctx, Request{Prompt: "x", MaxTokens: 3, Grammar: g})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := run.Wait(); err != nil || r.FinishReason != "length" && !json.Valid([]byte(r.Text)) || !strings.HasPrefix(r.Text, "{") {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestGrammarErrors(t *testing.T) {
	m := openBuiltin(t, Options{Device: "cpu"})
	for _, c := range []struct {
		schema string
		class  error
		want   string
	}{
		{`{"not":{}}`, ErrUnsupported, `#/not: keyword "not" is not supported`},
		{`{"properties":{"a":{"pattern":"(?=x)"}}}`, ErrUnsupported, `#/properties/a: pattern`},
		{`{`, ErrRequest, "invalid schema"},
		{`false`, ErrRequest, "no text fits"},
	} {
		if _, err := m.JSONSchema([]byte(c.schema)); !errors.Is(err, c.class) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %v with %q", c.schema, err, c.class, c.want)
		}
	}
	g, err := openBuiltin(t, Options{Device: "cpu"}).JSONObject()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Generate(t.Context(), Request{Prompt: "x", Grammar: g}); !errors.Is(err, ErrRequest) || !strings.Contains(err.Error(), "another model") {
		t.Errorf("got %v, want that it belongs to another model", err)
	}
}

// TestGrammarBehindThinking: reasoning may come first where a reply may have
// it, and the grammar holds behind it.
func TestGrammarBehindThinking(t *testing.T) {
	m := openBuiltin(t, Options{Device: "cpu"})
	g, err := m.CompileGrammar(grammar.JSONObject())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		where thinking
		text  string
		want  bool
	}{
		{noThinking, `{}`, true},
		{noThinking, "<think>a</think>{}", false},
		{mayThink, `{}`, true},
		{mayThink, "<think>\na \"b\n</think>\n\n{}", true},
		{mayThink, "a</think>{}", false},
		{isThinking, `{}`, false},
		{isThinking, "so {what</think>{}", true},
		{isThinking, "</think>\n\n\n{}", false},
	} {
		masks, err := g.in(c.where)
		if err != nil {
			t.Fatal(err)
		}
		x := masks.NewMatcher(nil)
		got := true
		for _, id := range m.tokenizer.Encode(c.text, false) {
			got = got && x.Accept(id) == nil
		}
		if got = got && x.Whole(); got != c.want {
			t.Errorf("%d: %q: got %v, want %v", c.where, c.text, got, c.want)
		}
	}
}
