package server

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/godwit-llm/godwit"
)

// thought is a reply with reasoning, content and two calls, as it comes token
// by token.
var thought = []godwit.Token{
	{ID: 1, Deltas: []godwit.Delta{{Kind: godwit.ReasoningText, Text: "Let me "}}},
	{ID: 2},
	{ID: 3, Deltas: []godwit.Delta{{Kind: godwit.ReasoningText, Text: "see."}, {Kind: godwit.ContentText, Text: "I"}}},
	{ID: 4, Deltas: []godwit.Delta{{Kind: godwit.ContentText, Text: " look"}, {Kind: godwit.ContentText, Text: "."}}},
	{ID: 5, Deltas: []godwit.Delta{{Kind: godwit.CallStart, ID: "call_a", Name: "weather"}, {Kind: godwit.CallArguments, Text: `{"city"`}}},
	{ID: 6, Deltas: []godwit.Delta{{Kind: godwit.CallArguments, Text: `:"Oslo"}`}, {Kind: godwit.CallEnd}, {Kind: godwit.CallStart, Call: 1, ID: "call_b", Name: "time"}}},
	{ID: -1, Deltas: []godwit.Delta{{Kind: godwit.CallArguments, Call: 1, Text: `{}`}, {Kind: godwit.CallEnd, Call: 1}}},
}

var thoughtResult = &godwit.Result{
	PromptIDs: make([]int32, 9), IDs: make([]int32, 6), FinishReason: "stop",
	Message: godwit.Message{
		Role: "assistant", Content: "I look.", Reasoning: "Let me see.",
		ToolCalls: []godwit.ToolCall{{ID: "call_a", Name: "weather", Arguments: `{"city":"Oslo"}`}, {ID: "call_b", Name: "time", Arguments: "{}"}},
	},
}

// TestReply: the pieces of a reply make up the whole one.
func TestReply(t *testing.T) {
	a := newChatAnswers(testModel(t), 1, false)
	var r reply
	var got chatMessage
	got.Role, got.Content = "assistant", new("")
	for _, tok := range thought {
		if err := a.take(0, tok); err != nil {
			t.Fatal(err)
		}
		d := r.delta(tok)
		got.ReasoningContent += d.ReasoningContent
		if d.Content != nil {
			*got.Content += *d.Content
		}
		for _, c := range d.ToolCalls {
			if *c.Index == len(got.ToolCalls) {
				got.ToolCalls = append(got.ToolCalls, toolCall{ID: c.ID, Type: c.Type, Function: functionCall{Name: c.Function.Name}})
			}
			got.ToolCalls[*c.Index].Function.Arguments += c.Function.Arguments
		}
	}
	if err := a.end(0, thoughtResult); err != nil {
		t.Fatal(err)
	}
	c := a.choices[0]
	if diff := cmp.Diff(c.Message, got); diff != "" {
		t.Errorf("whole (-) and pieces (+) differ:\n%s", diff)
	}
	if c.FinishReason != "tool_calls" || a.usage.CompletionTokensDetails.ReasoningTokens != 2 {
		t.Errorf("got %s and %+v, want tool_calls and 2 tokens of reasoning", c.FinishReason, a.usage)
	}
	silent := newChatMessage(godwit.Message{ToolCalls: thoughtResult.Message.ToolCalls})
	if silent.Content != nil {
		t.Errorf("got content %q beside calls, want null", *silent.Content)
	}
}

// TestResponseItems makes an item of each part of a reply.
func TestResponseItems(t *testing.T) {
	body := &responseRequest{}
	b := newResponseBuilder(testModel(t), body, "m", &godwit.Sampling{})
	for _, tok := range thought {
		if err := b.take(0, tok); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.end(0, thoughtResult); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, item := range b.response.Output {
		text := ""
		if item.Arguments != nil {
			text = *item.Arguments
		}
		for _, p := range item.Content {
			text += p.Text
		}
		got = append(got, strings.Join([]string{item.Type, item.Status, item.CallID, item.Name, text}, "|"))
	}
	want := []string{
		"reasoning|completed|||Let me see.", "message|completed|||I look.",
		`function_call|completed|call_a|weather|{"city":"Oslo"}`, "function_call|completed|call_b|time|{}",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if u := b.response.Usage; u.InputTokens != 9 || u.OutputTokens != 6 || u.OutputTokensDetails.ReasoningTokens != 2 {
		t.Errorf("got %+v", u)
	}
}

// TestInput turns items into messages.
func TestInput(t *testing.T) {
	var body responseRequest
	err := decode([]byte(`{"instructions":"Be brief.","input":[
		{"role":"user","content":"Weather?"},
		{"type":"reasoning","id":"rs_1","summary":[],"content":[{"type":"reasoning_text","text":"Hm."}]},
		{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"I look.","annotations":[],"logprobs":[]}]},
		{"type":"function_call","call_id":"a","name":"weather","arguments":"{}"},
		{"type":"function_call","call_id":"b","name":"time","arguments":"{}"},
		{"type":"function_call_output","call_id":"a","output":"Rain"},
		{"type":"function_call_output","call_id":"b","output":[{"type":"input_text","text":"Noon"}]},
		{"role":"assistant","content":"Rain at noon."},
		{"role":"assistant","content":"So take a coat."}]}`), 10, &body)
	if err != nil {
		t.Fatal(err)
	}
	got, err := body.conversation()
	if err != nil {
		t.Fatal(err)
	}
	want := []godwit.Message{
		{Role: "system", Content: "Be brief."},
		{Role: "user", Content: "Weather?"},
		{Role: "assistant", Reasoning: "Hm.", Content: "I look.", ToolCalls: []godwit.ToolCall{{ID: "a", Name: "weather", Arguments: "{}"}, {ID: "b", Name: "time", Arguments: "{}"}}},
		{Role: "tool", ToolCallID: "a", Content: "Rain"},
		{Role: "tool", ToolCallID: "b", Content: "Noon"},
		{Role: "assistant", Content: "Rain at noon."},
		{Role: "assistant", Content: "So take a coat."},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestResponses answers a text with a message, whole and in events.
func TestResponses(t *testing.T) {
	ts := startBuiltin(t, Options{})
	body := `{"input":"Hello","max_output_tokens":12,"seed":4,"temperature":0.7,"include":["message.output_text.logprobs"],"top_logprobs":1`
	var whole response
	ts.call("POST", "/v1/responses", body+`}`, 200, &whole)
	text := whole.Output[0].Content[0]
	if whole.Object != "response" || whole.Status != "incomplete" || whole.IncompleteDetails.Reason != "max_output_tokens" || whole.Temperature != 0.7 || len(text.Logprobs) == 0 {
		t.Errorf("got %+v", whole)
	}
	var pieces, last string
	counts := map[string]int{}
	for i, data := range events(t, strings.NewReader(readAll(t, ts.do("POST", "/v1/responses", body+`,"stream":true}`))+"data: [DONE]\n")) {
		var e responseEvent
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			t.Fatal(err)
		}
		if e.SequenceNumber != i {
			t.Errorf("event %d has the number %d", i, e.SequenceNumber)
		}
		if e.Type == "response.output_text.delta" {
			pieces += *e.Delta
		}
		if e.Response != nil {
			last = e.Response.Status
		}
		counts[e.Type]++
	}
	if pieces != text.Text || last != "incomplete" {
		t.Errorf("got %q and %s, want %q and incomplete", pieces, last, text.Text)
	}
	for _, name := range []string{"response.created", "response.in_progress", "response.output_item.added", "response.content_part.added", "response.output_text.done", "response.content_part.done", "response.output_item.done", "response.incomplete"} {
		if counts[name] != 1 {
			t.Errorf("got %s %d times, want once", name, counts[name])
		}
	}
}

// TestResponseCut ends the events of a response that was cut.
func TestResponseCut(t *testing.T) {
	ts := startBuiltin(t, Options{Timeout: 30e6})
	text := readAll(t, ts.do("POST", "/v1/responses", `{"input":"Hello","stream":true,"ignore_eos":true}`))
	if !strings.Contains(text, "event: response.failed\n") || !strings.Contains(text, `"error":{"code":"timeout"`) {
		t.Errorf("got %.500s, want response.failed", text)
	}
}
