package server

import (
	"cmp"
	"maps"
	"net/http"
	"strings"

	"github.com/godwit-llm/godwit"
)

// chatRequest is the body of POST /v1/chat/completions.
type chatRequest struct {
	commonFields
	samplingFields
	Messages            []message      `json:"messages"`
	MaxTokens           *int           `json:"max_tokens,omitzero" doc:"Older name of max_completion_tokens." minimum:"1"`
	MaxCompletionTokens *int           `json:"max_completion_tokens,omitzero" doc:"Most new tokens; absent for as many as the context has room for." minimum:"1"`
	N                   *int           `json:"n,omitzero" doc:"Number of choices." minimum:"1"`
	Logprobs            bool           `json:"logprobs,omitzero" doc:"Report the log-probability of each token."`
	TopLogprobs         int            `json:"top_logprobs,omitzero" doc:"Report as many likely tokens beside it." minimum:"0" maximum:"20"`
	Stream              bool           `json:"stream,omitzero" doc:"Answer with events as the text comes about."`
	StreamOptions       streamOptions  `json:"stream_options,omitzero"`
	Modalities          []string       `json:"modalities,omitzero" doc:"Only text." enum:"text"`
	ResponseFormat      responseFormat `json:"response_format,omitzero"`
	Tools               []tool         `json:"tools,omitzero" doc:"Functions that the model may ask to have called."`
	ToolChoice          toolChoice     `json:"tool_choice,omitzero"`
	ParallelToolCalls   *bool          `json:"parallel_tool_calls,omitzero" doc:"false ends the answer after its first call."`
	thinkingFields

	Audio            nothing `json:"audio,omitzero"`
	FunctionCall     nothing `json:"function_call,omitzero"`
	Functions        nothing `json:"functions,omitzero"`
	Prediction       nothing `json:"prediction,omitzero"`
	Verbosity        nothing `json:"verbosity,omitzero"`
	WebSearchOptions nothing `json:"web_search_options,omitzero"`
}

// thinkingFields say how much the model thinks: options of the checkpoint's
// chat template, and a limit.
type thinkingFields struct {
	ChatTemplateKwargs map[string]any `json:"chat_template_kwargs,omitzero" doc:"Variables of the chat template, such as enable_thinking."`
	ReasoningEffort    string         `json:"reasoning_effort,omitzero" doc:"The template's variable of that name; none also sets enable_thinking to false." enum:"none,minimal,low,medium,high,xhigh"`
	thinkingBudget
}

// apply puts the fields into a request.
func (f *thinkingFields) apply(r *godwit.Request) (err error) {
	if r.TemplateArgs, err = f.args(); err != nil {
		return err
	}
	r.ThinkingBudget, err = f.tokens()
	return err
}

// thinkingBudget is a field of several requests.
type thinkingBudget struct {
	Budget *int `json:"thinking_token_budget,omitzero" doc:"Most tokens of reasoning: behind them its end is written for the model, which goes on with the content. -1 or absent for no limit." minimum:"-1"`
}

// tokens returns the budget as the model understands it.
func (b thinkingBudget) tokens() (int, error) {
	switch {
	case b.Budget == nil || *b.Budget == -1:
		return 0, nil
	case *b.Budget < 1:
		return 0, invalid("thinking_token_budget", "thinking_token_budget is %d, want at least 1, or -1 for no limit; enable_thinking or the effort none turn reasoning off", *b.Budget)
	}
	return *b.Budget, nil
}

// args returns the variables of the template.
func (f *thinkingFields) args() (map[string]any, error) {
	switch f.ReasoningEffort {
	case "":
		return f.ChatTemplateKwargs, nil
	case "none", "minimal", "low", "medium", "high", "xhigh":
	default:
		return nil, invalid("reasoning_effort", "reasoning_effort is %q, want none, minimal, low, medium, high or xhigh", f.ReasoningEffort)
	}
	args := map[string]any{"reasoning_effort": f.ReasoningEffort}
	if f.ReasoningEffort == "none" {
		args["enable_thinking"] = false
	}
	maps.Copy(args, f.ChatTemplateKwargs)
	return args, nil
}

// chatCompletion is the answer that does not stream.
type chatCompletion struct {
	ID                string       `json:"id"`
	Object            string       `json:"object" enum:"chat.completion"`
	Created           int64        `json:"created"`
	Model             string       `json:"model"`
	SystemFingerprint string       `json:"system_fingerprint"`
	Choices           []chatChoice `json:"choices"`
	Usage             usage        `json:"usage"`
}

type chatChoice struct {
	Index        int           `json:"index"`
	Message      chatMessage   `json:"message"`
	Logprobs     *chatLogprobs `json:"logprobs"`
	FinishReason string        `json:"finish_reason" enum:"stop,length,tool_calls"`
}

type chatMessage struct {
	Role             string     `json:"role" enum:"assistant"`
	Content          *string    `json:"content"`
	ReasoningContent string     `json:"reasoning_content,omitzero"`
	Refusal          *string    `json:"refusal"`
	ToolCalls        []toolCall `json:"tool_calls,omitzero"`
}

// chatChunk is one event of a stream.
type chatChunk struct {
	ID                string            `json:"id"`
	Object            string            `json:"object" enum:"chat.completion.chunk"`
	Created           int64             `json:"created"`
	Model             string            `json:"model"`
	SystemFingerprint string            `json:"system_fingerprint"`
	Choices           []chatChunkChoice `json:"choices"`
	Usage             *usage            `json:"usage,omitzero"`
}

type chatChunkChoice struct {
	Index        int           `json:"index"`
	Delta        chatDelta     `json:"delta"`
	Logprobs     *chatLogprobs `json:"logprobs,omitzero"`
	FinishReason *string       `json:"finish_reason" enum:"stop,length,tool_calls"`
}

type chatDelta struct {
	Role             string     `json:"role,omitzero" enum:"assistant"`
	Content          *string    `json:"content,omitzero"`
	ReasoningContent string     `json:"reasoning_content,omitzero"`
	ToolCalls        []toolCall `json:"tool_calls,omitzero"`
}

func (s *Server) chat(x *exchange, m *godwit.Model) error {
	var body chatRequest
	if err := s.readBody(x, x.request, &body); err != nil {
		return err
	}
	name, err := s.modelName(body.Model)
	if err != nil {
		return err
	}
	request, err := body.request(m)
	if err != nil {
		return err
	}
	request.Format = s.opts.Format
	n, err := s.choices("n", body.N)
	if err != nil {
		return err
	}
	gens, err := s.start(x, m, repeat(request, n))
	if err != nil {
		return err
	}
	head := chatChunk{ID: newID("chatcmpl-"), Object: "chat.completion.chunk", Created: now(), Model: name, SystemFingerprint: s.fingerprint()}
	if body.Stream {
		return s.streamChat(x, gens, &chatStream{chat: newChatAnswers(m, n, body.Logprobs), head: head, usage: body.StreamOptions.IncludeUsage})
	}
	answers := newChatAnswers(m, n, body.Logprobs)
	if err := s.follow(x, gens, answers); err != nil {
		return err
	}
	s.logUsage(x, answers.usage)
	writeJSON(x, http.StatusOK, chatCompletion{
		ID: head.ID, Object: "chat.completion", Created: head.Created, Model: name, SystemFingerprint: head.SystemFingerprint,
		Choices: answers.choices, Usage: answers.usage,
	})
	return nil
}

// request checks the body and turns it into what the model understands.
func (b *chatRequest) request(m *godwit.Model) (godwit.Request, error) {
	var r godwit.Request
	if err := b.commonFields.check(); err != nil {
		return r, err
	}
	for i, kind := range b.Modalities {
		if kind != "text" {
			return r, unsupported("modalities", "modalities[%d] is %q, want text", i, kind)
		}
	}
	var err error
	if r.Grammar, err = b.ResponseFormat.grammar(m, "response_format"); err != nil {
		return r, err
	}
	if r.Messages, err = conversation(b.Messages); err != nil {
		return r, err
	}
	if err := b.thinkingFields.apply(&r); err != nil {
		return r, err
	}
	if err := b.applyTools(&r); err != nil {
		return r, err
	}
	if b.MaxTokens != nil && b.MaxCompletionTokens != nil && *b.MaxTokens != *b.MaxCompletionTokens {
		return r, invalid("max_tokens", "max_tokens is %d and max_completion_tokens is %d; give one of them", *b.MaxTokens, *b.MaxCompletionTokens)
	}
	if r.MaxTokens, err = maxTokens("max_completion_tokens", cmp.Or(b.MaxCompletionTokens, b.MaxTokens), m.Context()); err != nil {
		return r, err
	}
	if r.TopLogs, err = b.topLogprobs(); err != nil {
		return r, err
	}
	return r, b.samplingFields.apply(&r, m)
}

func (b *chatRequest) applyTools(r *godwit.Request) error {
	functions := make([]toolFunction, len(b.Tools))
	for i, t := range b.Tools {
		if t.Type != "function" {
			return unsupported("tools", "tools[%d].type is %q, want function", i, t.Type)
		}
		functions[i] = t.Function
	}
	tools, err := modelTools(functions, "tools", ".function")
	if err != nil {
		return err
	}
	return b.ToolChoice.apply(r, tools, b.ParallelToolCalls)
}

func (b *chatRequest) topLogprobs() (int, error) {
	switch {
	case b.TopLogprobs < 0 || b.TopLogprobs > maxTopLogprobs:
		return 0, invalid("top_logprobs", "top_logprobs is %d, want 0 to %d", b.TopLogprobs, maxTopLogprobs)
	case b.TopLogprobs > 0 && !b.Logprobs:
		return 0, invalid("top_logprobs", "top_logprobs is %d without logprobs, which must be true", b.TopLogprobs)
	}
	return b.TopLogprobs, nil
}

// maxTokens returns the limit of new tokens; nil means otherwise.
func maxTokens(param string, asked *int, otherwise int) (int, error) {
	switch {
	case asked == nil:
		return otherwise, nil
	case *asked < 1:
		return 0, invalid(param, "%s is %d, want at least 1", param, *asked)
	}
	return *asked, nil
}

// choices returns how many choices a request asks for.
func (s *Server) choices(param string, asked *int) (int, error) {
	switch {
	case asked == nil:
		return 1, nil
	case *asked < 1 || *asked > s.opts.MaxChoices:
		return 0, invalid(param, "%s is %d, want 1 to %d", param, *asked, s.opts.MaxChoices)
	}
	return *asked, nil
}

// fingerprint names what may change the text that a seed gives.
func (s *Server) fingerprint() string {
	return "godwit-" + cmp.Or(strings.Trim(s.opts.Version, "()"), "devel")
}

// chatAnswers collects the choices of a chat.
type chatAnswers struct {
	model    *godwit.Model
	logprobs bool
	choices  []chatChoice
	replies  []reply
	usage    usage
}

func newChatAnswers(m *godwit.Model, n int, logprobs bool) *chatAnswers {
	a := &chatAnswers{model: m, logprobs: logprobs, choices: make([]chatChoice, n), replies: make([]reply, n)}
	for i := range a.choices {
		a.choices[i].Index = i
		if logprobs {
			a.choices[i].Logprobs = &chatLogprobs{Content: []tokenLogprob{}}
		}
	}
	return a
}

func (a *chatAnswers) take(choice int, t godwit.Token) error {
	a.replies[choice].delta(t)
	if a.logprobs && t.ID >= 0 {
		l := a.choices[choice].Logprobs
		l.Content = append(l.Content, newTokenLogprob(a.model, t))
	}
	return nil
}

func (a *chatAnswers) end(choice int, r *godwit.Result) error {
	c := &a.choices[choice]
	c.Message = newChatMessage(r.Message)
	c.FinishReason = finishReason(r)
	a.count(choice, r)
	return nil
}

func (a *chatAnswers) count(choice int, r *godwit.Result) {
	a.usage.count(r, choice == 0)
	a.usage.CompletionTokensDetails.ReasoningTokens += a.replies[choice].reasoningTokens
}

// chatStream sends the choices of a chat as they come about.
type chatStream struct {
	chat   *chatAnswers
	head   chatChunk // what all events have in common
	events *eventStream
	usage  bool
	one    [1]chatChunkChoice
}

func (s *Server) streamChat(x *exchange, gens generations, c *chatStream) error {
	c.events = s.stream(x)
	err := c.begin(len(gens))
	if err == nil {
		err = s.follow(x, gens, c)
	}
	gens.cancel()
	if err == nil && c.usage {
		c.head.Choices, c.head.Usage = []chatChunkChoice{}, &c.chat.usage
		err = c.events.send("", &c.head)
	}
	s.logUsage(x, c.chat.usage)
	return c.events.finish(err)
}

// begin tells the role of each choice, before there is a token.
func (c *chatStream) begin(n int) error {
	for i := range n {
		if err := c.send(chatChunkChoice{Index: i, Delta: chatDelta{Role: "assistant", Content: new(string)}}); err != nil {
			return err
		}
	}
	return nil
}

func (c *chatStream) send(choice chatChunkChoice) error {
	c.one[0] = choice
	c.head.Choices = c.one[:]
	return c.events.send("", &c.head)
}

func (c *chatStream) take(choice int, t godwit.Token) error {
	out := chatChunkChoice{Index: choice, Delta: c.chat.replies[choice].delta(t)}
	if c.chat.logprobs && t.ID >= 0 {
		out.Logprobs = &chatLogprobs{Content: []tokenLogprob{newTokenLogprob(c.chat.model, t)}}
	}
	if out.Delta.empty() && out.Logprobs == nil {
		return nil
	}
	return c.send(out)
}

func (c *chatStream) end(choice int, r *godwit.Result) error {
	c.chat.count(choice, r)
	return c.send(chatChunkChoice{Index: choice, FinishReason: new(finishReason(r))})
}

func (s *Server) logUsage(x *exchange, u usage) {
	x.log("prompt_tokens", u.PromptTokens)
	x.log("completion_tokens", u.CompletionTokens)
}
