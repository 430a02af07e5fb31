package server

import (
	"encoding/json"
	"strings"
	"testing"
)

const birdTool = `{"name":"note_bird","description":"Write a bird down.","parameters":{"type":"object","properties":{"kind":{"enum":["godwit","curlew"]},"grams":{"type":"integer","minimum":1,"maximum":900}},"required":["kind","grams"],"additionalProperties":false}}`

// bird is what arguments and documents of these tests hold.
type bird struct {
	Kind  string
	Grams int
}

func checkBird(t *testing.T, text string) {
	t.Helper()
	var b bird
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil || b.Kind != "godwit" && b.Kind != "curlew" || b.Grams < 1 || b.Grams > 900 {
		t.Errorf("got %s, %v, want a bird", text, err)
	}
}

// TestForcedCalls: the model must call, in whole answers and in events, and a
// conversation with the result goes on.
func TestForcedCalls(t *testing.T) {
	ts := startBuiltin(t, Options{Format: "hermes"})
	for _, choice := range []string{`"required"`, `{"type":"function","function":{"name":"note_bird"}}`} {
		body := `{` + hello + `,"seed":1,"tools":[{"type":"function","function":` + birdTool + `}],"tool_choice":` + choice
		var whole chatCompletion
		ts.call("POST", "/v1/chat/completions", body+`}`, 200, &whole)
		c := whole.Choices[0]
		if c.FinishReason != "tool_calls" || len(c.Message.ToolCalls) != 1 || c.Message.ToolCalls[0].Function.Name != "note_bird" || c.Message.Content != nil {
			t.Fatalf("got %+v, want one call", c)
		}
		checkBird(t, c.Message.ToolCalls[0].Function.Arguments)
		name, arguments, reason := "", "", ""
		for _, e := range decoded[chatChunk](t, events(t, ts.do("POST", "/v1/chat/completions", body+`,"stream":true}`).Body)) {
			for _, call := range e.Choices[0].Delta.ToolCalls {
				name += call.Function.Name
				arguments += call.Function.Arguments
			}
			if r := e.Choices[0].FinishReason; r != nil {
				reason = *r
			}
		}
		if want := c.Message.ToolCalls[0].Function; name != want.Name || arguments != want.Arguments || reason != "tool_calls" {
			t.Errorf("got %s, %s and %s in pieces, want %+v", name, arguments, reason, want)
		}
		call, _ := json.Marshal(c.Message.ToolCalls)
		var next chatCompletion
		ts.call("POST", "/v1/chat/completions", `{"messages":[{"role":"user","content":"Hello"},{"role":"assistant","content":null,"tool_calls":`+string(call)+`},{"role":"tool","tool_call_id":"`+c.Message.ToolCalls[0].ID+`","content":"Noted."}],"max_tokens":4}`, 200, &next)
	}
	var r response
	ts.call("POST", "/v1/responses", `{"input":"Hello","tools":[{"type":"function",`+birdTool[1:]+`],"tool_choice":{"type":"function","name":"note_bird"}}`, 200, &r)
	if len(r.Output) != 1 || r.Output[0].Type != "function_call" || r.Output[0].CallID == "" {
		t.Fatalf("got %+v, want a call", r)
	}
	checkBird(t, *r.Output[0].Arguments)
}

// TestResponseFormat: the text keeps the schema.
func TestResponseFormat(t *testing.T) {
	ts := startBuiltin(t, Options{})
	var tool toolFunction
	if err := decode([]byte(birdTool), 10, &tool); err != nil {
		t.Fatal(err)
	}
	schema := string(tool.Parameters)
	for seed := range 4 {
		head := `{` + hello + `,"temperature":1.5,"seed":` + string(rune('0'+seed))
		var got chatCompletion
		ts.call("POST", "/v1/chat/completions", head+`,"response_format":{"type":"json_schema","json_schema":{"name":"bird","strict":true,"schema":`+schema+`}}}`, 200, &got)
		checkBird(t, *got.Choices[0].Message.Content)
		ts.call("POST", "/v1/chat/completions", head+`,"max_tokens":300,"response_format":{"type":"json_object"}}`, 200, &got)
		var any map[string]any
		if err := json.Unmarshal([]byte(*got.Choices[0].Message.Content), &any); err != nil && got.Choices[0].FinishReason == "stop" {
			t.Errorf("got %q, want an object", *got.Choices[0].Message.Content)
		}
	}
	var r response
	ts.call("POST", "/v1/responses", `{"input":"Hello","text":{"format":{"type":"json_schema","name":"bird","schema":`+schema+`}}}`, 200, &r)
	checkBird(t, r.Output[0].Content[0].Text)
	if r.Text.Format.Name != "bird" {
		t.Errorf("got %+v, want the format repeated", r.Text)
	}
}
