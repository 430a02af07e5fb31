package server

import (
	"cmp"
	"net/http"
	"strings"

	"github.com/godwit-llm/godwit"
)

// chatRequest is the body of POST /v1/chat/completions.
type chatRequest struct {
	commonFields
	samplingFields
	Messages            []message     `json:"messages"`
	MaxTokens           *int          `json:"max_tokens,omitzero" doc:"Older name of max_completion_tokens." minimum:"1"`
	MaxCompletionTokens *int          `json:"max_completion_tokens,omitzero" doc:"Most new tokens; absent for as many as the context has room for." minimum:"1"`
	N                   *int          `json:"n,omitzero" doc:"Number of choices." minimum:"1"`
	Logprobs            bool          `json:"logprobs,omitzero" doc:"Report the log-probability of each token."`
	TopLogprobs         int           `json:"top_logprobs,omitzero" doc:"Report as many likely tokens beside it." minimum:"0" maximum:"20"`
	Stream              bool          `json:"stream,omitzero" doc:"Answer with events as the text comes about."`
	StreamOptions       streamOptions `json:"stream_options,omitzero"`
	Modalities          []string      `json:"modalities,omitzero" doc:"Only text." enum:"text"`
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
	if r.Messages, err = conversation(b.Messages); err != nil {
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
	return r, b.apply(&r, m.DefaultSampling())
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

// conversation turns messages into the model's.
func conversation(list []message) ([]godwit.Message, error) {
	if len(list) == 0 {
		return nil, invalid("messages", "messages is empty, want at least one message")
	}
	out := make([]godwit.Message, len(list))
	for i, msg := range list {
		role := msg.Role
		switch role {
		case "developer":
			role = "system" // its newer name, which templates do not know
		case "system", "user", "assistant":
		default:
			return nil, invalid("messages", "messages[%d].role is %q, want system, developer, user or assistant", i, role)
		}
		out[i] = godwit.Message{Role: role}
		if msg.Content != nil {
			out[i].Content = msg.Content.Text
		}
	}
	return out, nil
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
	usage    usage
}

func newChatAnswers(m *godwit.Model, n int, logprobs bool) *chatAnswers {
	a := &chatAnswers{model: m, logprobs: logprobs, choices: make([]chatChoice, n)}
	for i := range a.choices {
		a.choices[i].Index = i
		if logprobs {
			a.choices[i].Logprobs = &chatLogprobs{Content: []tokenLogprob{}}
		}
	}
	return a
}

func (a *chatAnswers) take(choice int, t godwit.Token) error {
	if a.logprobs && t.ID >= 0 {
		l := a.choices[choice].Logprobs
		l.Content = append(l.Content, newTokenLogprob(a.model, t))
	}
	return nil
}

func (a *chatAnswers) end(choice int, r *godwit.Result) error {
	c := &a.choices[choice]
	c.Message = chatMessage{Role: "assistant", Content: &r.Text}
	c.FinishReason = r.FinishReason
	a.usage.count(r, choice == 0)
	return nil
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
	return s.closeStream(c.events, err)
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
	out := chatChunkChoice{Index: choice, Delta: chatDelta{Content: &t.Text}}
	if c.chat.logprobs && t.ID >= 0 {
		out.Logprobs = &chatLogprobs{Content: []tokenLogprob{newTokenLogprob(c.chat.model, t)}}
	}
	if t.Text == "" && out.Logprobs == nil {
		return nil
	}
	return c.send(out)
}

func (c *chatStream) end(choice int, r *godwit.Result) error {
	c.chat.usage.count(r, choice == 0)
	return c.send(chatChunkChoice{Index: choice, FinishReason: &r.FinishReason})
}

func (s *Server) logUsage(x *exchange, u usage) {
	x.log("prompt_tokens", u.PromptTokens)
	x.log("completion_tokens", u.CompletionTokens)
}
