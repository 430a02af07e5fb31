package clients

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
)

func client(opts ...option.RequestOption) *openai.Client {
	c := openai.NewClient(append([]option.RequestOption{option.WithBaseURL(live.url + "/v1"), option.WithAPIKey(key), option.WithMaxRetries(0)}, opts...)...)
	return &c
}

func ask(text string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model:               model,
		Messages:            []openai.ChatCompletionMessageParamUnion{openai.SystemMessage("Tell a story."), openai.UserMessage(text)},
		MaxCompletionTokens: openai.Int(24),
		Seed:                openai.Int(1),
	}
}

// TestDocument holds the document against the rules of OpenAPI.
func TestDocument(t *testing.T) {
	answer, err := http.Get(live.url + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(data)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestChat: a whole answer and its pieces are the same text.
func TestChat(t *testing.T) {
	whole, err := client().Chat.Completions.New(t.Context(), ask("Hello"))
	if err != nil {
		t.Fatal(err)
	}
	text := whole.Choices[0].Message.Content
	if text == "" || whole.Usage.CompletionTokens == 0 || whole.Model != model {
		t.Errorf("got %s", whole.RawJSON())
	}
	params := ask("Hello")
	params.StreamOptions = openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)}
	stream := client().Chat.Completions.NewStreaming(t.Context(), params)
	acc := openai.ChatCompletionAccumulator{}
	for stream.Next() {
		if !acc.AddChunk(stream.Current()) {
			t.Errorf("the event %s does not fit those before it", stream.Current().RawJSON())
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if got := acc.Choices[0].Message.Content; got != text || acc.Usage.TotalTokens != whole.Usage.TotalTokens || acc.Choices[0].FinishReason != whole.Choices[0].FinishReason {
		t.Errorf("got %q, %d tokens, want %q, %d", got, acc.Usage.TotalTokens, text, whole.Usage.TotalTokens)
	}
}

// TestChoices: several choices with log-probabilities.
func TestChoices(t *testing.T) {
	params := ask("Hello")
	params.N, params.Logprobs, params.TopLogprobs = openai.Int(3), openai.Bool(true), openai.Int(2)
	params.Stop = openai.ChatCompletionNewParamsStopUnion{OfStringArray: []string{"never to be found"}}
	params.LogitBias = map[string]int64{"5": -100}
	got, err := client().Chat.Completions.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Choices) != 3 || got.Choices[0].Message.Content == got.Choices[1].Message.Content {
		t.Errorf("got %s, want three different choices", got.RawJSON())
	}
	if l := got.Choices[2].Logprobs.Content; len(l) == 0 || len(l[0].TopLogprobs) != 2 || l[0].Logprob > 0 {
		t.Errorf("got %+v", l)
	}
}

// TestModels lists and describes.
func TestModels(t *testing.T) {
	page, err := client().Models.List(t.Context())
	if err != nil || len(page.Data) != 1 || page.Data[0].ID != model {
		t.Errorf("got %+v and %v", page, err)
	}
	if _, err := client().Models.Get(t.Context(), model); err != nil {
		t.Error(err)
	}
}

// TestCompletions continues a text.
func TestCompletions(t *testing.T) {
	params := openai.CompletionNewParams{
		Model: model, Prompt: openai.CompletionNewParamsPromptUnion{OfArrayOfStrings: []string{"Once upon", "The old"}},
		MaxTokens: openai.Int(5), Logprobs: openai.Int(1), Echo: openai.Bool(true),
	}
	got, err := client().Completions.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Choices) != 2 || !strings.HasPrefix(got.Choices[1].Text, "The old") || len(got.Choices[0].Logprobs.Tokens) < 5 {
		t.Errorf("got %s", got.RawJSON())
	}
	stream := client().Completions.NewStreaming(t.Context(), params)
	for stream.Next() {
	}
	if err := stream.Err(); err != nil {
		t.Error(err)
	}
}

// TestResponses: the newer endpoint, whole and in events.
func TestResponses(t *testing.T) {
	params := responses.ResponseNewParams{
		Model: model, Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("Hello")},
		Instructions: openai.String("Tell a story."), MaxOutputTokens: openai.Int(16), Temperature: openai.Float(0),
	}
	whole, err := client().Responses.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	if whole.OutputText() == "" || whole.Usage.OutputTokens == 0 {
		t.Errorf("got %s", whole.RawJSON())
	}
	stream := client().Responses.NewStreaming(t.Context(), params)
	pieces, last := "", ""
	for stream.Next() {
		e := stream.Current()
		if e.Type == "response.output_text.delta" {
			pieces += e.Delta
		}
		last = e.Type
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if pieces != whole.OutputText() || last != "response."+string(whole.Status) {
		t.Errorf("got %q and %s, want %q and %s", pieces, last, whole.OutputText(), whole.Status)
	}
}

// TestEmbeddings: equal texts are equal, in the form that the client asks for.
func TestEmbeddings(t *testing.T) {
	got, err := client().Embeddings.New(t.Context(), openai.EmbeddingNewParams{
		Model: model, Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"The river", "The river", "A door"}}, Dimensions: openai.Int(32),
	})
	if err != nil {
		t.Fatal(err)
	}
	same, other := dot(got.Data[0].Embedding, got.Data[1].Embedding), dot(got.Data[0].Embedding, got.Data[2].Embedding)
	if len(got.Data[0].Embedding) != 32 || same < 0.999 || other > same {
		t.Errorf("got %d numbers, %g and %g", len(got.Data[0].Embedding), same, other)
	}
}

func dot(a, b []float64) float64 {
	sum := 0.0
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

var birdSchema = map[string]any{
	"type": "object", "additionalProperties": false, "required": []string{"kind", "grams"},
	"properties": map[string]any{"kind": map[string]any{"enum": []string{"godwit", "curlew"}}, "grams": map[string]any{"type": "integer", "minimum": 1, "maximum": 900}},
}

// isBird holds a document against the schema.
func isBird(t *testing.T, text string) {
	t.Helper()
	var b struct {
		Kind  string
		Grams int
	}
	if err := json.Unmarshal([]byte(text), &b); err != nil || b.Kind != "godwit" && b.Kind != "curlew" || b.Grams < 1 || b.Grams > 900 {
		t.Errorf("got %q, %v, want a bird", text, err)
	}
}

// TestTools: a forced call, in pieces, and the conversation behind it.
func TestTools(t *testing.T) {
	params := ask("A bird!")
	params.MaxCompletionTokens = openai.Int(400)
	params.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{Name: "note_bird", Parameters: birdSchema, Strict: openai.Bool(true)})}
	params.ToolChoice = openai.ToolChoiceOptionFunctionToolChoice(openai.ChatCompletionNamedToolChoiceFunctionParam{Name: "note_bird"})
	stream := client().Chat.Completions.NewStreaming(t.Context(), params)
	acc := openai.ChatCompletionAccumulator{}
	for stream.Next() {
		acc.AddChunk(stream.Current())
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	message := acc.Choices[0].Message
	if len(message.ToolCalls) != 1 || message.ToolCalls[0].Function.Name != "note_bird" || acc.Choices[0].FinishReason != "tool_calls" {
		t.Fatalf("got %+v, want one call", message)
	}
	isBird(t, message.ToolCalls[0].Function.Arguments)
	params.ToolChoice = openai.ChatCompletionToolChoiceOptionUnionParam{OfAuto: openai.String("auto")}
	params.MaxCompletionTokens = openai.Int(8)
	params.Messages = append(params.Messages, message.ToParam(), openai.ToolMessage("Noted.", message.ToolCalls[0].ID))
	if _, err := client().Chat.Completions.New(t.Context(), params); err != nil {
		t.Error(err)
	}
}

// TestStructuredOutput: documents that keep a schema, in both endpoints.
func TestStructuredOutput(t *testing.T) {
	params := ask("A bird!")
	params.MaxCompletionTokens = openai.Int(400)
	params.ResponseFormat.OfJSONSchema = &openai.ResponseFormatJSONSchemaParam{JSONSchema: openai.ResponseFormatJSONSchemaJSONSchemaParam{Name: "bird", Schema: birdSchema, Strict: openai.Bool(true)}}
	got, err := client().Chat.Completions.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	isBird(t, got.Choices[0].Message.Content)
	answer, err := client().Responses.New(t.Context(), responses.ResponseNewParams{
		Model: model, Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("A bird!")},
		Text: responses.ResponseTextConfigParam{Format: responses.ResponseFormatTextConfigUnionParam{OfJSONSchema: &responses.ResponseFormatTextJSONSchemaConfigParam{Name: "bird", Schema: birdSchema}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	isBird(t, answer.OutputText())
}

// TestErrors: the client understands what the server refuses.
func TestErrors(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*openai.ChatCompletionNewParams)
		opts   []option.RequestOption
		status int
		code   string
		param  string
	}{
		"model":       {change: func(p *openai.ChatCompletionNewParams) { p.Model = "gpt-5" }, status: 404, code: "model_not_found", param: "model"},
		"temperature": {change: func(p *openai.ChatCompletionNewParams) { p.Temperature = openai.Float(9) }, status: 400, param: "temperature"},
		"unknown":     {opts: []option.RequestOption{option.WithJSONSet("frobnicate", 1)}, status: 400, code: "unknown_parameter", param: "frobnicate"},
		"stored":      {change: func(p *openai.ChatCompletionNewParams) { p.Store = openai.Bool(true) }, status: 400, code: "unsupported_parameter", param: "store"},
		"image": {change: func(p *openai.ChatCompletionNewParams) {
			p.Messages = []openai.ChatCompletionMessageParamUnion{openai.UserMessage([]openai.ChatCompletionContentPartUnionParam{openai.ImageContentPart(openai.ChatCompletionContentPartImageImageURLParam{URL: "file:///etc/passwd"})})}
		}, status: 400, code: "unsupported_parameter", param: "messages[0].content[0].image_url"},
		"key": {opts: []option.RequestOption{option.WithAPIKey("wrong")}, status: 401, code: "invalid_api_key"},
		"long": {change: func(p *openai.ChatCompletionNewParams) {
			p.Messages = []openai.ChatCompletionMessageParamUnion{openai.UserMessage(strings.Repeat("long ", 9000))}
		}, status: 400, code: "context_length_exceeded"},
	} {
		params := ask("Hello")
		if c.change != nil {
			c.change(&params)
		}
		_, err := client(c.opts...).Chat.Completions.New(t.Context(), params)
		var e *openai.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: got %v, want an error of the API", name, err)
		} else if e.StatusCode != c.status || e.Code != c.code || e.Param != c.param || e.Message == "" {
			t.Errorf("%s: got %d, %q, %q, %q, want %d, %q, %q", name, e.StatusCode, e.Code, e.Param, e.Message, c.status, c.code, c.param)
		}
	}
}

// TestCancel: a client that leaves frees its place.
func TestCancel(t *testing.T) {
	before := cancelled(t)
	ctx, cancel := context.WithCancel(t.Context())
	params := ask("Hello")
	params.MaxCompletionTokens = openai.Int(8000)
	stream := client(option.WithJSONSet("ignore_eos", true)).Chat.Completions.NewStreaming(ctx, params)
	for range 3 {
		if !stream.Next() {
			t.Fatal(stream.Err())
		}
	}
	cancel()
	for stream.Next() {
	}
	if !errors.Is(stream.Err(), context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", stream.Err())
	}
	for end := time.Now().Add(time.Minute); cancelled(t) == before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the request still runs")
		}
	}
}

// cancelled returns the line of the requests whose clients left.
func cancelled(t *testing.T) string {
	t.Helper()
	return regexp.MustCompile(`(?m)^godwit_requests_cancelled_total.*`).FindString(get(t, "/metrics"))
}

func get(t *testing.T, path string) string {
	t.Helper()
	answer, err := http.Get(live.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestTokens: the endpoints beside the API.
func TestTokens(t *testing.T) {
	var got struct{ Tokens []int }
	if err := client(option.WithBaseURL(live.url)).Post(t.Context(), "/tokenize", map[string]any{"prompt": "Hello"}, &got); err != nil {
		t.Fatal(err)
	}
	var back struct{ Prompt string }
	if err := client(option.WithBaseURL(live.url)).Post(t.Context(), "/detokenize", map[string]any{"tokens": got.Tokens}, &back); err != nil || back.Prompt != "Hello" {
		t.Errorf("got %+v and %v", back, err)
	}
	for path, want := range map[string]string{"/health": "ok", "/ready": "ready"} {
		var state struct{ Status string }
		if err := json.Unmarshal([]byte(get(t, path)), &state); err != nil || state.Status != want {
			t.Errorf("%s: got %+v and %v", path, state, err)
		}
	}
}
