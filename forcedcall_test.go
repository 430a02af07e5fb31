package godwit

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestForcedCall makes the built-in model, which was never told of tools, call
// them in every format, whatever the sampling.
func TestForcedCall(t *testing.T) {
	m := openBuiltin(t, Options{Device: "cpu"})
	c := jsonschema.NewCompiler()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(bird))
	if err == nil {
		err = c.AddResource("bird.json", doc)
	}
	if err != nil {
		t.Fatal(err)
	}
	schema := c.MustCompile("bird.json")
	tools := []Tool{{Name: "note_bird", Parameters: []byte(bird)}, {Name: "forget"}}
	for _, format := range Formats() {
		for _, choice := range []string{"required", "note_bird", "forget"} {
			for seed := range uint64(3) {
				r := Request{
					Messages: []Message{{Role: "user", Content: "A bird!"}}, Tools: tools, ToolChoice: choice, Format: format,
					MaxTokens: 900, Seed: &seed, Sampling: &Sampling{Temperature: float64(seed), TopP: 0.99}, LiveCalls: true, IgnoreEOS: seed == 1,
				}
				result, err := m.Generate(t.Context(), r)
				if format == "plain" || format == "reasoning" {
					if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "has no tool calls") {
						t.Errorf("%s: got %v, want that there are no calls", format, err)
					}
					continue
				}
				if err != nil {
					t.Fatalf("%s %s: %v", format, choice, err)
				}
				calls := result.Message.ToolCalls
				if len(calls) != 1 || calls[0].Incomplete || result.FinishReason != "stop" || strings.TrimSpace(result.Message.Content) != "" || choice != "required" && calls[0].Name != choice {
					t.Errorf("%s %s: got %+v from %q, want one call", format, choice, result.Message, result.Text)
					continue
				}
				var v any
				if v, err = jsonschema.UnmarshalJSON(strings.NewReader(calls[0].Arguments)); err == nil && calls[0].Name == "note_bird" {
					err = schema.Validate(v)
				}
				if err != nil || calls[0].Name == "forget" && strings.Join(strings.Fields(calls[0].Arguments), "") != "{}" {
					t.Errorf("%s %s: got %s: %v", format, choice, calls[0].Arguments, err)
				}
			}
		}
	}
}

// TestForcedCallRefusals names what a call cannot be held to.
func TestForcedCallRefusals(t *testing.T) {
	m := openBuiltin(t, Options{Device: "cpu"})
	g, err := m.JSONObject()
	if err != nil {
		t.Fatal(err)
	}
	r := Request{Messages: []Message{{Role: "user", Content: "A bird!"}}, Tools: []Tool{{Name: "a"}}, ToolChoice: "a", Format: "hermes"}
	both := r
	both.Grammar = g
	odd := r
	odd.Tools = []Tool{{Name: "a", Parameters: json.RawMessage(`{"type":"object","not":{}}`)}}
	for _, c := range []struct {
		r     Request
		class error
		want  string
	}{
		{both, ErrRequest, "exclude each other"},
		{odd, ErrUnsupported, `tool "a": `},
	} {
		if _, err := m.Generate(t.Context(), c.r); !errors.Is(err, c.class) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}
