package server

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/godwit-llm/godwit"
)

const hello = `"messages":[{"role":"user","content":"Hello"}]`

// TestChat answers what the model itself generates.
func TestChat(t *testing.T) {
	ts := startBuiltin(t, Options{})
	seed := uint64(3)
	want, err := testModel(t).Generate(t.Context(), godwit.Request{
		Messages: []godwit.Message{{Role: "system", Content: "Be brief."}, {Role: "user", Content: "Hello"}}, MaxTokens: 12, Seed: &seed,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{`"Hello"`, `[{"type":"text","text":"Hel"},{"type":"text","text":"lo"}]`} {
		var got chatCompletion
		ts.call("POST", "/v1/chat/completions", `{"model":"godwit","messages":[{"role":"developer","content":"Be brief."},{"role":"user","content":`+content+`}],"max_completion_tokens":12,"seed":3}`, 200, &got)
		if got.Object != "chat.completion" || len(got.Choices) != 1 || *got.Choices[0].Message.Content != want.Text || got.Choices[0].FinishReason != want.FinishReason {
			t.Errorf("got %+v, want %q", got, want.Text)
		}
		if u := got.Usage; u.PromptTokens != len(want.PromptIDs) || u.CompletionTokens != len(want.IDs) || u.TotalTokens != u.PromptTokens+u.CompletionTokens {
			t.Errorf("got usage %+v", got.Usage)
		}
	}
}

// TestChatStream sends the same text in pieces, for each of several choices.
func TestChatStream(t *testing.T) {
	ts := startBuiltin(t, Options{})
	body := `{` + hello + `,"max_tokens":20,"seed":5,"n":3`
	var whole chatCompletion
	ts.call("POST", "/v1/chat/completions", body+`}`, 200, &whole)
	answer := ts.do("POST", "/v1/chat/completions", body+`,"stream":true,"stream_options":{"include_usage":true}}`)
	if kind := answer.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") {
		t.Errorf("got %s", kind)
	}
	chunks := decoded[chatChunk](t, events(t, answer.Body))
	text, roles, reasons := [3]string{}, 0, 0
	for _, c := range chunks[:len(chunks)-1] {
		choice := c.Choices[0]
		if choice.Delta.Content != nil {
			text[choice.Index] += *choice.Delta.Content
		}
		if choice.Delta.Role == "assistant" {
			roles++
		}
		if choice.FinishReason != nil {
			reasons++
		}
		if c.ID != chunks[0].ID || c.Usage != nil {
			t.Errorf("got %+v, want one id and no usage before the end", c)
		}
	}
	for i, c := range whole.Choices {
		if text[i] != *c.Message.Content {
			t.Errorf("choice %d: got %q in pieces and %q as a whole", i, text[i], *c.Message.Content)
		}
	}
	if roles != 3 || reasons != 3 {
		t.Errorf("got %d roles and %d reasons, want 3 of each", roles, reasons)
	}
	last := chunks[len(chunks)-1]
	if len(last.Choices) != 0 || last.Usage == nil || last.Usage.TotalTokens != whole.Usage.TotalTokens {
		t.Errorf("got %+v at the end, want the usage %+v", last, whole.Usage)
	}
}

// TestStop leaves the stop text out.
func TestStop(t *testing.T) {
	ts := startBuiltin(t, Options{})
	var whole, cut chatCompletion
	body := `{` + hello + `,"max_tokens":40,"temperature":0`
	ts.call("POST", "/v1/chat/completions", body+`}`, 200, &whole)
	text := *whole.Choices[0].Message.Content
	word := strings.Fields(text)[2]
	for _, stop := range []string{`"` + word + `"`, `["never there","` + word + `"]`} {
		ts.call("POST", "/v1/chat/completions", body+`,"stop":`+stop+`}`, 200, &cut)
		want, _, _ := strings.Cut(text, word)
		if got := *cut.Choices[0].Message.Content; got != want || cut.Choices[0].FinishReason != "stop" {
			t.Errorf("stop %s: got %q, %s, want %q", stop, got, cut.Choices[0].FinishReason, want)
		}
	}
}

// TestChatLogprobs reports tokens whose bytes make up the text.
func TestChatLogprobs(t *testing.T) {
	ts := startBuiltin(t, Options{})
	body := `{` + hello + `,"max_tokens":12,"temperature":0,"logprobs":true,"top_logprobs":2`
	var whole chatCompletion
	ts.call("POST", "/v1/chat/completions", body+`}`, 200, &whole)
	tokens := whole.Choices[0].Logprobs.Content
	check := func(name string, tokens []tokenLogprob) {
		var text []byte
		for _, tok := range tokens {
			for _, b := range tok.Bytes {
				text = append(text, byte(b))
			}
			if len(tok.TopLogprobs) != 2 || tok.TopLogprobs[0].Token != tok.Token || tok.TopLogprobs[0].Logprob < tok.TopLogprobs[1].Logprob || tok.Logprob > 0 {
				t.Errorf("%s: got %+v, want the likeliest token first", name, tok)
			}
		}
		if strings.TrimPrefix(string(text), " ") != *whole.Choices[0].Message.Content {
			t.Errorf("%s: got %q, want %q", name, text, *whole.Choices[0].Message.Content)
		}
	}
	check("whole", tokens)
	var pieces []tokenLogprob
	for _, c := range decoded[chatChunk](t, events(t, ts.do("POST", "/v1/chat/completions", body+`,"stream":true}`).Body)) {
		if l := c.Choices[0].Logprobs; l != nil {
			pieces = append(pieces, l.Content...)
		}
	}
	check("stream", pieces)
}

// TestSamplingFields: what a request asks for reaches the model.
func TestSamplingFields(t *testing.T) {
	m := testModel(t)
	var body chatRequest
	text := `{` + hello + `,"temperature":0.5,"top_p":0.9,"top_k":-1,"min_p":0.1,"repetition_penalty":1.1,"presence_penalty":0.2,"frequency_penalty":0.3,
		"logit_bias":{"5":-100},"seed":-1,"stop":null,"stop_token_ids":[7],"ignore_eos":true,"max_tokens":9,"user":"u","store":false,"service_tier":"auto","modalities":["text"]}`
	if err := decode([]byte(text), 10, &body); err != nil {
		t.Fatal(err)
	}
	r, err := body.request(m)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%+v %d %v %v %v %d", *r.Sampling, *r.Seed, r.Stop, r.StopIDs, r.IgnoreEOS, r.MaxTokens)
	want := "{Temperature:0.5 TopK:0 TopP:0.9 MinP:0.1 RepetitionPenalty:1.1 PresencePenalty:0.2 FrequencyPenalty:0.3 LogitBias:map[5:-100]} 18446744073709551615 [] [7] true 9"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	body = chatRequest{Messages: []message{{Role: "user", Content: &content{}}}}
	if r, err = body.request(m); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(*r.Sampling) != fmt.Sprint(m.DefaultSampling()) || r.MaxTokens != m.Context() || r.Seed != nil {
		t.Errorf("got %+v, want the checkpoint's own sampling and all of the context", r)
	}
}

// TestRefusals: bad requests get status 400 and a message that names the field.
func TestRefusals(t *testing.T) {
	ts := startBuiltin(t, Options{MaxDepth: 8, MaxChoices: 4})
	for _, c := range []struct{ path, body, param, message string }{
		{"chat", ``, "", "the request is not valid JSON"},
		{"chat", `{"messages":`, "", "the request is not valid JSON"},
		{"chat", `[]`, "", "the request is a list, want an object"},
		{"chat", `{"messages":[]} x`, "", "the request is not valid JSON"},
		{"chat", "{\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}", "", "the request is not valid JSON"},
		{"chat", `{"messages":[],"messages":[]}`, "messages", "messages occurs twice"},
		{"chat", `{"messages":[]}`, "messages", "messages is empty, want at least one message"},
		{"chat", `{"mesages":[]}`, "mesages", "mesages is not a field that this server knows"},
		{"chat", `{"Messages":[]}`, "Messages", "Messages is not a field that this server knows"},
		{"chat", `{"functions":[]}`, "functions", "functions is not supported: it was replaced by tools"},
		{"chat", `{` + hello + `,"guided_json":{}}`, "guided_json", "guided_json is not supported: the schema belongs into response_format"},
		{"chat", `{"messages":[{"role":"user"}]}`, "messages[0].content", "messages[0].content is missing"},
		{"chat", `{"messages":[{"role":"system","content":null}]}`, "messages[0].content", "messages[0].content is missing"},
		{"chat", `{"messages":[{"role":"assistant","content":"x","function_call":{"name":"a"}}]}`, "messages[0].function_call", "it was replaced by tools"},
		{"chat", `{"messages":[{"role":"robot","content":"x"}]}`, "messages[0].role", `messages[0].role is "robot"`},
		{"chat", `{"messages":[{"role":"user","content":5}]}`, "messages[0].content", "messages[0].content is a number, want a string or a list of parts"},
		{"chat", `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{}}]}]}`, "messages[0].content[0].image_url", "models here only read text"},
		{"chat", `{"messages":[{"role":"user","content":[{"type":"video"}]}]}`, "messages[0].content[0].type", `messages[0].content[0].type is "video", want text`},
		{"chat", `{"a":[[[[[[[[[]]]]]]]]]}`, "", "the request nests 10 levels deep, want at most 8"},
		{"chat", `{` + hello + `,"temperature":"hot"}`, "temperature", "temperature is a string, want a number"},
		{"chat", `{` + hello + `,"temperature":3}`, "temperature", "temperature is 3, want 0 to 2"},
		{"chat", `{` + hello + `,"top_p":-0.1}`, "top_p", "top_p is -0.1, want 0 to 1"},
		{"chat", `{` + hello + `,"n":0}`, "n", "n is 0, want 1 to 4"},
		{"chat", `{` + hello + `,"n":5}`, "n", "n is 5, want 1 to 4"},
		{"chat", `{` + hello + `,"n":1.5}`, "n", "n is 1.5, want a whole number"},
		{"chat", `{` + hello + `,"stop":3}`, "stop", "stop is a number, want a string or a list of strings"},
		{"chat", `{` + hello + `,"stop":["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"]}`, "stop", "stop has 17 texts, want at most 16"},
		{"chat", `{` + hello + `,"logit_bias":{"a":1}}`, "logit_bias", `logit_bias has the name "a", want a token id`},
		{"chat", `{` + hello + `,"logit_bias":{"5":101}}`, "logit_bias", "logit_bias of id 5 is 101, want -100 to 100"},
		{"chat", `{` + hello + `,"logit_bias":{"5000":1}}`, "logit_bias", `logit_bias has the name "5000", want a token id, 0 to 4095`},
		{"chat", `{` + hello + `,"max_tokens":0}`, "max_completion_tokens", "max_completion_tokens is 0, want at least 1"},
		{"chat", `{` + hello + `,"max_tokens":1,"max_completion_tokens":2}`, "max_tokens", "give one of them"},
		{"chat", `{` + hello + `,"top_logprobs":2}`, "top_logprobs", "top_logprobs is 2 without logprobs, which must be true"},
		{"chat", `{` + hello + `,"logprobs":true,"top_logprobs":21}`, "top_logprobs", "top_logprobs is 21, want 0 to 20"},
		{"chat", `{` + hello + `,"store":true}`, "store", "store is true, want false"},
		{"chat", `{` + hello + `,"service_tier":"priority"}`, "service_tier", "want auto or default"},
		{"chat", `{` + hello + `,"modalities":["text","audio"]}`, "modalities", `modalities[1] is "audio", want text`},
		{"chat", `{` + hello + `,"stream_options":{"usage":true}}`, "stream_options.usage", "stream_options.usage is not a field"},
		{"chat", `{"messages":[{"role":"tool","content":"x"}]}`, "messages[0].tool_call_id", "messages[0].tool_call_id is missing"},
		{"chat", `{"messages":[{"role":"user","content":"x","reasoning_content":"y"}]}`, "messages[0]", "which belong to an assistant's message, not a user's"},
		{"chat", `{"messages":[{"role":"assistant","tool_calls":[{"type":"custom","function":{"arguments":""}}]}]}`, "messages[0].tool_calls[0]", "want a function and its name"},
		{"chat", `{"messages":[{"role":"assistant","refusal":"no"}]}`, "messages[0].refusal", "say it in content"},
		{"chat", `{` + hello + `,"tools":[{"type":"web_search"}]}`, "tools", `tools[0].type is "web_search", want function`},
		{"chat", `{` + hello + `,"tools":[{"type":"function","function":{}}]}`, "tools[0].function.name", "is empty"},
		{"chat", `{` + hello + `,"tools":[{"type":"function","function":{"name":"a"}},{"type":"function","function":{"name":"a"}}]}`, "tools[1].function.name", "which another tool has too"},
		{"chat", `{` + hello + `,"tools":[{"type":"function","function":{"name":"a","parameters":[]}}]}`, "tools[0].function.parameters", "is a list, want a JSON schema"},
		{"chat", `{` + hello + `,"tool_choice":"maybe"}`, "tool_choice", `tool_choice is "maybe", want none, auto, required`},
		{"chat", `{` + hello + `,"tool_choice":3}`, "tool_choice", "tool_choice is a number, want none, auto, required"},
		{"chat", `{` + hello + `,"tool_choice":"required"}`, "tool_choice", "there are no tools"},
		{"chat", `{` + hello + `,"tool_choice":{"type":"allowed_tools"}}`, "tool_choice", `tool_choice is of type "allowed_tools"`},
		{"chat", `{` + hello + `,"reasoning_effort":"huge"}`, "reasoning_effort", `reasoning_effort is "huge", want none`},
		{"chat", `{` + hello + `,"thinking_token_budget":0}`, "thinking_token_budget", "thinking_token_budget is 0, want at least 1, or -1 for no limit"},
		{"resp", `{"input":"x","thinking_token_budget":-2}`, "thinking_token_budget", "thinking_token_budget is -2, want at least 1"},
		{"chat", `{` + hello + `,"chat_template_kwargs":{"messages":[]}}`, "", "chat_template_kwargs.messages belongs into the request itself"},
		{"chat", `{` + hello + `,"response_format":{"type":"xml"}}`, "response_format.type", "want text, json_object or json_schema"},
		{"chat", `{` + hello + `,"response_format":{"type":"json_schema","json_schema":{"name":"a"}}}`, "response_format.json_schema.schema", "is missing"},
		{"chat", `{` + hello + `,"response_format":{"type":"json_schema"}}`, "response_format.json_schema", "response_format.json_schema is missing"},
		{"chat", `{` + hello + `,"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"not":{}}}}}`, "response_format.json_schema.schema", "not"},
		{"chat", `{` + hello + `,"tools":[{"type":"function","function":{"name":"a"}}],"tool_choice":{"type":"function","function":{"name":"b"}}}`, "tool_choice", "none of the tools"},
		{"chat", `{` + hello + `,"response_format":{"type":"json_object"},"tools":[{"type":"function","function":{"name":"a"}}],"tool_choice":"required"}`, "tool_choice", "want one of them"},
		{"chat", `{` + hello + `,"tools":[{"type":"function","function":{"name":"a"}}],"tool_choice":"required"}`, "", "has no tool calls"},
		{"resp", `{"input":"x","text":{"format":{"type":"json_schema","name":"a"}}}`, "text.format.schema", "is missing"},
		{"resp", `{}`, "input", "input is empty, want a text or items"},
		{"resp", `{"input":4}`, "input", "input is a number, want a string or a list of items"},
		{"resp", `{"input":[{"role":"user"}]}`, "input[0].content", "input[0].content is missing"},
		{"resp", `{"input":[{"type":"item_reference","id":"x"}]}`, "input[0].type", `input[0].type is "item_reference", want message`},
		{"resp", `{"input":[{"type":"function_call_output","call_id":"x"}]}`, "input[0].output", "input[0].output is missing"},
		{"resp", `{"input":[{"type":"reasoning","summary":[],"encrypted_content":"x"}]}`, "input[0].encrypted_content", "nothing here can read it"},
		{"resp", `{"input":"x","previous_response_id":"resp_1"}`, "previous_response_id", "nothing is stored between requests"},
		{"resp", `{"input":"x","truncation":"auto"}`, "truncation", "want disabled"},
		{"resp", `{"input":"x","include":["file_search_call.results"]}`, "include", "want message.output_text.logprobs"},
		{"resp", `{"input":"x","max_output_tokens":0}`, "max_output_tokens", "want at least 1"},
		{"resp", `{"input":"x","top_logprobs":30}`, "top_logprobs", "want 0 to 20"},
		{"resp", `{"input":"x","tools":[{"type":"mcp","name":"a"}]}`, "tools", `tools[0].type is "mcp", want function`},
		{"/v1/embeddings", `{"input":[]}`, "input", "input is missing, want a text or token ids"},
		{"/v1/embeddings", `{"input":[` + strings.Repeat(`"a",`, 2048) + `"a"]}`, "input", "input has 2049 texts, want at most 2048"},
		{"/v1/embeddings", `{"input":["a",""]}`, "input", "input 1 is empty"},
		{"/v1/embeddings", `{"input":"a","encoding_format":"hex"}`, "encoding_format", "want float or base64"},
		{"/v1/embeddings", `{"input":"a","dimensions":0}`, "dimensions", "want at least 1"},
		{"/v1/embeddings", `{"input":"a","dimensions":1000}`, "", "1000 dimensions, want 1 to 256"},
		{"/v1/embeddings", `{"input":"a","pooling":"max"}`, "", "want mean or last"},
		{"plain", `{}`, "prompt", "prompt is missing, want a text or token ids"},
		{"plain", `{"prompt":null}`, "prompt", "prompt is missing, want a text or token ids"},
		{"plain", `{"prompt":["a","b","c"],"n":2}`, "prompt", "prompt and n ask for 6 choices, want 1 to 4"},
		{"plain", `{"prompt":{}}`, "prompt", "prompt is an object, want a string, a list of strings, token ids or a list of such lists"},
		{"plain", `{"prompt":[1,-1]}`, "", "token 1 of the prompt is -1"},
		{"plain", `{"prompt":"a","logprobs":21}`, "logprobs", "logprobs is 21, want 0 to 20"},
		{"plain", `{"prompt":"a","max_tokens":0}`, "max_tokens", "max_tokens is 0, want at least 1"},
		{"plain", `{"prompt":"a","suffix":"b"}`, "suffix", "suffix is not supported"},
		{"plain", `{"prompt":"a","best_of":2}`, "best_of", "best_of is not supported"},
		{"/tokenize", `{"prompt":"a","messages":[]}`, "messages", "got both prompt and messages, want one"},
		{"/tokenize", `{"prompt":1}`, "prompt", "prompt is a number, want a string"},
		{"/detokenize", `{"tokens":["a"]}`, "tokens[0]", "tokens[0] is a string, want a whole number"},
		{"/detokenize", `{"tokens":[1,4096]}`, "tokens[1]", "tokens[1] is 4096, want an id of the vocabulary, 0 to 4095"},
	} {
		path := map[string]string{"chat": "/v1/chat/completions", "plain": "/v1/completions", "resp": "/v1/responses"}[c.path]
		if path == "" {
			path = c.path
		}
		e := ts.refuse("POST", path, c.body, 400)
		param := ""
		if e.Param != nil {
			param = *e.Param
		}
		if param != c.param || !strings.Contains(e.Message, c.message) || e.Type != typeInvalid {
			t.Errorf("%s: got %q and %q, want %q and %q", c.body, param, e.Message, c.param, c.message)
		}
	}
	long := strings.Repeat("word ", 9000)
	if e := ts.refuse("POST", "/v1/completions", `{"prompt":"`+long+`"}`, 400); !strings.Contains(e.Message, "context of 8192") || *e.Code != "context_length_exceeded" {
		t.Errorf("got %+v, want the context", e)
	}
}

// TestNulls: what libraries write for fields that they know and nobody set is
// taken, of requests and of an earlier answer.
func TestNulls(t *testing.T) {
	ts := startBuiltin(t, Options{})
	for _, c := range []struct{ path, body string }{
		{"/v1/chat/completions", `{"max_tokens":1,"messages":[{"role":"user","content":"a"},
			{"role":"assistant","content":"b","refusal":null,"annotations":null,"audio":null,"function_call":null,"tool_calls":null},
			{"role":"assistant","content":"b","annotations":[]},{"role":"user","content":"c"}]}`},
		{"/v1/chat/completions", `{` + hello + `,"max_tokens":1,"audio":null,"function_call":null,"functions":null,"prediction":null,"verbosity":null,
			"web_search_options":null,"logit_bias":null,"logprobs":null,"n":null,"response_format":null,"stop":null,"store":null,"stream":null,
			"stream_options":null,"tool_choice":null,"tools":null,"top_logprobs":null,"user":null}`},
		{"/v1/completions", `{"prompt":"a","max_tokens":1,"best_of":null,"suffix":null,"logprobs":null,"echo":null}`},
		{"/v1/responses", `{"input":"a","max_output_tokens":1,"background":null,"conversation":null,"max_tool_calls":null,"previous_response_id":null,
			"prompt":null,"include":null,"instructions":null,"reasoning":null,"text":null,"tools":null,"truncation":null}`},
	} {
		ts.call("POST", c.path, c.body, 200, &map[string]any{})
	}
}

// TestCompletions answers each prompt n times, in the order of the prompts.
func TestCompletions(t *testing.T) {
	ts := startBuiltin(t, Options{})
	m := testModel(t)
	ids, err := m.Encode("Once upon", true)
	if err != nil {
		t.Fatal(err)
	}
	list, _ := json.Marshal(ids)
	body := `,"max_tokens":8,"temperature":0`
	var want, got completion
	ts.call("POST", "/v1/completions", `{"prompt":"Once upon"`+body+`}`, 200, &want)
	for _, form := range []string{`["Once upon"]`, string(list), `[` + string(list) + `]`} {
		ts.call("POST", "/v1/completions", `{"prompt":`+form+body+`}`, 200, &got)
		if got.Choices[0].Text != want.Choices[0].Text || got.Usage.TotalTokens != want.Usage.TotalTokens {
			t.Errorf("%s: got %+v, want %+v", form, got, want)
		}
	}
	ts.call("POST", "/v1/completions", `{"prompt":["Once upon","The old"],"n":2`+body+`}`, 200, &got)
	if len(got.Choices) != 4 || got.Choices[1].Text != want.Choices[0].Text || got.Choices[2].Text == want.Choices[0].Text || got.Choices[3].Index != 3 {
		t.Errorf("got %+v", got)
	}
	other, _ := m.Encode("The old", true)
	if got.Usage.PromptTokens != len(ids)+len(other) {
		t.Errorf("got %d tokens of prompts, want each prompt once: %d", got.Usage.PromptTokens, len(ids)+len(other))
	}
	text := ""
	for _, c := range decoded[completion](t, events(t, ts.do("POST", "/v1/completions", `{"prompt":"Once upon","stream":true,"echo":true`+body+`}`).Body)) {
		text += c.Choices[0].Text
	}
	if text != "Once upon"+want.Choices[0].Text {
		t.Errorf("got %q in pieces, want %q after the prompt", text, want.Choices[0].Text)
	}
}

// TestEchoLogprobs scores a prompt, as evaluation programs ask for it.
func TestEchoLogprobs(t *testing.T) {
	ts := startBuiltin(t, Options{})
	var got completion
	ts.call("POST", "/v1/completions", `{"prompt":"Once upon a time","echo":true,"max_tokens":0,"logprobs":1}`, 200, &got)
	c := got.Choices[0]
	ids, _ := testModel(t).Encode("Once upon a time", true)
	want, err := testModel(t).Score(t.Context(), ids, 1)
	if err != nil {
		t.Fatal(err)
	}
	if c.Text != "Once upon a time" || *c.FinishReason != "length" || got.Usage.CompletionTokens != 0 || len(c.Logprobs.Tokens) != len(ids) {
		t.Fatalf("got %+v", got)
	}
	if c.Logprobs.TokenLogprobs[0] != nil {
		t.Error("the first token has a log-probability")
	}
	for i, p := range want.LogProbs {
		if *c.Logprobs.TokenLogprobs[i+1] != p {
			t.Errorf("token %d: got %g, want %g", i+1, *c.Logprobs.TokenLogprobs[i+1], p)
		}
	}
	for i, token := range c.Logprobs.Tokens[1:] {
		if at := c.Logprobs.TextOffset[i+1]; c.Text[at:at+len(token)] != token {
			t.Errorf("%q is not at %d of %q", token, at, c.Text)
		}
	}
}

// TestTokenize goes there and back.
func TestTokenize(t *testing.T) {
	ts := startBuiltin(t, Options{})
	var got tokenizeResponse
	ts.call("POST", "/tokenize", `{"prompt":"Once upon a time","add_special_tokens":false,"return_token_strs":true}`, 200, &got)
	if got.Count != len(got.Tokens) || got.MaxModelLen != testModel(t).Context() || strings.Join(got.TokenStrs, "") != "Once upon a time" {
		t.Errorf("got %+v", got)
	}
	list, _ := json.Marshal(got.Tokens)
	var back detokenizeResponse
	ts.call("POST", "/detokenize", `{"tokens":`+string(list)+`}`, 200, &back)
	if back.Prompt != "Once upon a time" {
		t.Errorf("got %q", back.Prompt)
	}
	var chat chatCompletion
	ts.call("POST", "/tokenize", `{`+hello+`}`, 200, &got)
	ts.call("POST", "/v1/chat/completions", `{`+hello+`,"max_tokens":1}`, 200, &chat)
	if got.Count != chat.Usage.PromptTokens {
		t.Errorf("got %d tokens of messages, want the %d that a chat has", got.Count, chat.Usage.PromptTokens)
	}
}

// FuzzRequest: whatever is sent, the decoder answers with a request or with an
// error in the API's shape.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		`{"input":[{"type":"function_call","call_id":"a","name":"b","arguments":"{}"}],"tool_choice":{"type":"function","name":"b"},"tools":[{"type":"function","name":"b","parameters":{"type":"object"}}]}`,
		`{` + hello + `,"tools":[{"type":"function","function":{"name":"b"}}],"tool_choice":"auto","response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{}}}}`,
		`{` + hello + `,"stop":["a"],"logit_bias":{"1":2},"n":2,"stream":true,"stream_options":{"include_usage":true}}`,
		`{"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}]}`,
		`{"prompt":[[1,2],[3]],"echo":true,"logprobs":3}`, `{"prompt":["a","b"]}`, `{"prompt":null}`, `{"stop":null}`,
		`{"a":{"b":[{"c":"\u0000\ud800"}]}}`, `{"messages":[{"content":[{}]}]}`, `[[[[[[`, `{"n":1e400}`, "{\"a\":\"\xff\"}", ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, v := range []any{&chatRequest{}, &completionRequest{}, &responseRequest{}, &embeddingRequest{}, &tokenizeRequest{}, &detokenizeRequest{}} {
			err := decode(data, 32, v)
			if err == nil {
				continue
			}
			if e, ok := err.(*apiError); !ok || e.Status != 400 || e.Message == "" {
				t.Fatalf("%q: got %#v, want an error of the API", data, err)
			}
		}
	})
}
