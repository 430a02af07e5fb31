package server

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// compiled is the server's own document, ready to judge.
type compiled struct {
	t        testing.TB
	compiler *jsonschema.Compiler
}

func compile(ts *testServer) *compiled {
	ts.t.Helper()
	var doc any
	ts.call("GET", "/openapi.json", "", 200, &doc)
	c := &compiled{ts.t, jsonschema.NewCompiler()}
	if err := c.compiler.AddResource("openapi.json", doc); err != nil {
		ts.t.Fatal(err)
	}
	return c
}

// check holds a value against the schema of a name.
func (c *compiled) check(name, data string) error {
	c.t.Helper()
	s, err := c.compiler.Compile("openapi.json#/components/schemas/" + name)
	if err != nil {
		c.t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(data))
	if err != nil {
		c.t.Fatal(err)
	}
	return s.Validate(v)
}

// TestDocument: requests that the server takes and answers that it gives are
// what its document says.
func TestDocument(t *testing.T) {
	ts := startBuiltin(t, Options{})
	doc := compile(ts)
	chat := `{` + hello + `,"max_tokens":3,"n":2,"logprobs":true,"top_logprobs":1,"stop":["x"],"seed":1,"tools":[{"type":"function","function":{"name":"a","parameters":{"type":"object"}}}],"tool_choice":"auto","temperature":null`
	plain := `{"prompt":["a","b"],"max_tokens":3,"logprobs":1,"echo":true`
	items := `{"input":[{"role":"user","content":[{"type":"input_text","text":"a"}]}],"max_output_tokens":3,"include":["message.output_text.logprobs"],"tools":[{"type":"function","name":"a"}]`
	for _, c := range []struct{ path, body, takes, gives string }{
		{"/v1/chat/completions", chat + `}`, "ChatRequest", "ChatCompletion"},
		{"/v1/chat/completions", chat + `,"stream":true,"stream_options":{"include_usage":true}}`, "ChatRequest", "ChatChunk"},
		{"/v1/completions", plain + `}`, "CompletionRequest", "Completion"},
		{"/v1/completions", plain + `,"stream":true,"stream_options":{"include_usage":true}}`, "CompletionRequest", "Completion"},
		{"/v1/responses", items + `}`, "ResponseRequest", "Response"},
		{"/v1/responses", items + `,"stream":true}`, "ResponseRequest", "ResponseEvent"},
		{"/tokenize", `{"prompt":"a","return_token_strs":true}`, "TokenizeRequest", "TokenizeResponse"},
		{"/detokenize", `{"tokens":[5]}`, "DetokenizeRequest", "DetokenizeResponse"},
		{"/v1/completions", `{"prompt":5}`, "", "ErrorBody"},
	} {
		if c.takes != "" {
			if err := doc.check(c.takes, c.body); err != nil {
				t.Errorf("%s: %v", c.body, err)
			}
		}
		text := readAll(t, ts.do("POST", c.path, c.body))
		answers := []string{text}
		if strings.Contains(text, "data: ") {
			answers = strings.Split(text, "\n\n")
		}
		for _, a := range answers {
			_, data, streamed := strings.Cut(a, "data: ")
			if !streamed {
				data = a
			}
			if data == "" || data == "[DONE]" {
				continue
			}
			if err := doc.check(c.gives, data); err != nil {
				t.Errorf("%s: %s: %v", c.path, data, err)
			}
		}
	}
	for path, name := range map[string]string{"/v1/models": "ModelList", "/v1/models/godwit": "ModelInfo", "/health": "HealthReport", "/ready": "ReadyReport", "/nowhere": "ErrorBody"} {
		if err := doc.check(name, readAll(t, ts.do("GET", path, ""))); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestDocumentRefuses: the document is as strict as the decoder.
func TestDocumentRefuses(t *testing.T) {
	doc := compile(startBuiltin(t, Options{}))
	for _, body := range []string{
		`{}`, `{` + hello + `,"extra":1}`, `{` + hello + `,"stop":3}`, `{` + hello + `,"temperature":3}`, `{` + hello + `,"service_tier":"x"}`,
		`{"messages":[{"role":"robot"}]}`, `{` + hello + `,"logit_bias":{"1":101}}`, `{` + hello + `,"tool_choice":"maybe"}`,
	} {
		if doc.check("ChatRequest", body) == nil {
			t.Errorf("the document allows %s", body)
		}
	}
}

// TestDocumentNames: two types must not share a name, and every field of a
// request says what it is, unless its name does.
func TestDocumentNames(t *testing.T) {
	ts := start(t, Options{})
	seen := map[string]reflect.Type{}
	var visit func(reflect.Type)
	visit = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			visit(typ.Elem())
		case reflect.Struct:
			name := title(typ.Name())
			if other, known := seen[name]; known {
				if other != typ {
					t.Errorf("%v and %v share the name %s", other, typ, name)
				}
				return
			}
			seen[name] = typ
			for f := range typ.Fields() {
				if f.IsExported() || f.Anonymous {
					visit(f.Type)
				}
			}
		}
	}
	for _, o := range ts.operations() {
		for _, v := range []any{o.takes, o.gives, o.streams} {
			if v != nil {
				visit(reflect.TypeOf(v))
			}
		}
	}
	data, err := json.Marshal(ts.document())
	if err != nil || len(seen) < 20 || len(data) < 5000 {
		t.Errorf("got %d types, %d bytes and %v", len(seen), len(data), err)
	}
}
