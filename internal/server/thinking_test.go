package server

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-llm/godwit"
)

// startThinking serves the built-in model with prompts that open the
// reasoning, and not close it.
func startThinking(t *testing.T, opts Options) *testServer {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../builtin/model")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "tokenizer_config.json")
	config, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	open := bytes.Replace(config, []byte("<think></think>"), []byte("<think>"), 1)
	if bytes.Equal(open, config) {
		t.Fatal("the chat template has changed")
	}
	if err := os.WriteFile(path, open, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := godwit.Open(dir, godwit.Options{Device: "cpu"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	ts := start(t, opts)
	ts.Use(m)
	return ts
}

// TestThinkingBudget: the reasoning ends at its budget, whole and in a stream.
func TestThinkingBudget(t *testing.T) {
	ts := startThinking(t, Options{})
	body := `{` + hello + `,"max_tokens":30,"temperature":0,"ignore_eos":true,"logit_bias":{"13":-100}`
	var free, got chatCompletion
	ts.call("POST", "/v1/chat/completions", body+`,"thinking_token_budget":-1}`, 200, &free)
	if m := free.Choices[0].Message; m.ReasoningContent == "" || *m.Content != "" {
		t.Fatalf("got %+v, want nothing but reasoning", m)
	}
	body += `,"thinking_token_budget":6`
	ts.call("POST", "/v1/chat/completions", body+`}`, 200, &got)
	want := got.Choices[0].Message
	if want.ReasoningContent == "" || !strings.HasPrefix(free.Choices[0].Message.ReasoningContent, want.ReasoningContent) || *want.Content == "" {
		t.Errorf("got %+v, want the beginning of %+v, and content", want, free.Choices[0].Message)
	}
	reasoning, content := "", ""
	for _, c := range decoded[chatChunk](t, events(t, ts.do("POST", "/v1/chat/completions", body+`,"stream":true}`).Body)) {
		d := c.Choices[0].Delta
		if reasoning += d.ReasoningContent; d.Content != nil {
			content += *d.Content
		}
		if content != "" && d.ReasoningContent != "" {
			t.Errorf("got reasoning %q behind the content", d.ReasoningContent)
		}
	}
	if reasoning != want.ReasoningContent || content != *want.Content {
		t.Errorf("got %q and %q in pieces, want %+v", reasoning, content, want)
	}
}

// TestThinkingBudgetOfResponses: the field is the same there.
func TestThinkingBudgetOfResponses(t *testing.T) {
	ts := startThinking(t, Options{})
	var got response
	ts.call("POST", "/v1/responses", `{"input":"Hello","max_output_tokens":20,"temperature":0,"ignore_eos":true,"thinking_token_budget":3,"logit_bias":{"13":-100}}`, 200, &got)
	if len(got.Output) != 2 || got.Output[0].Type != "reasoning" || got.Output[1].Type != "message" {
		t.Errorf("got %+v, want reasoning and a message", got.Output)
	}
}

// TestThinkingBudgetOfPlain: a format without reasoning has no budget.
func TestThinkingBudgetOfPlain(t *testing.T) {
	ts := startBuiltin(t, Options{Format: "plain"})
	if e := ts.refuse("POST", "/v1/chat/completions", `{`+hello+`,"thinking_token_budget":3}`, 400); !strings.Contains(e.Message, `the format "plain" of the model's replies has no reasoning`) {
		t.Errorf("got %+v", e)
	}
}

// TestThinkingBudgetInDocument: both requests that make conversations have the
// field.
func TestThinkingBudgetInDocument(t *testing.T) {
	ts := startBuiltin(t, Options{})
	var got struct {
		Components struct {
			Schemas map[string]struct{ Properties map[string]any }
		}
	}
	ts.call("GET", "/openapi.json", "", 200, &got)
	for _, name := range []string{"ChatRequest", "ResponseRequest"} {
		if got.Components.Schemas[name].Properties["thinking_token_budget"] == nil {
			t.Errorf("%s has no thinking_token_budget", name)
		}
	}
}
