package server

import (
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/godwit-llm/godwit"
)

// responseRequest is the body of POST /v1/responses.
type responseRequest struct {
	commonFields
	samplingFields
	Input             inputItems     `json:"input"`
	Instructions      string         `json:"instructions,omitzero" doc:"A system message before the input."`
	MaxOutputTokens   *int           `json:"max_output_tokens,omitzero" doc:"Most new tokens; absent for as many as the context has room for." minimum:"1"`
	TopLogprobs       int            `json:"top_logprobs,omitzero" doc:"Report as many likely tokens beside each token." minimum:"0" maximum:"20"`
	Include           []string       `json:"include,omitzero" enum:"message.output_text.logprobs"`
	Stream            bool           `json:"stream,omitzero" doc:"Answer with events as the text comes about."`
	StreamOptions     streamOptions  `json:"stream_options,omitzero"`
	Text              textOptions    `json:"text,omitzero"`
	Reasoning         reasoning      `json:"reasoning,omitzero"`
	Truncation        string         `json:"truncation,omitzero" doc:"Only disabled: nothing is left out of a long input." enum:"disabled"`
	Tools             []responseTool `json:"tools,omitzero" doc:"Functions that the model may ask to have called."`
	ToolChoice        toolChoice     `json:"tool_choice,omitzero"`
	ParallelToolCalls *bool          `json:"parallel_tool_calls,omitzero" doc:"false ends the answer after its first call."`
	ChatTemplate      map[string]any `json:"chat_template_kwargs,omitzero" doc:"Variables of the chat template, such as enable_thinking."`
	thinkingBudget

	Background         nothing `json:"background,omitzero"`
	Conversation       nothing `json:"conversation,omitzero"`
	MaxToolCalls       nothing `json:"max_tool_calls,omitzero"`
	PreviousResponseID nothing `json:"previous_response_id,omitzero"`
	Prompt             nothing `json:"prompt,omitzero"`
}

// textOptions say what the text is like.
type textOptions struct {
	Format responseFormat `json:"format,omitzero"`
}

// reasoning says how much the model thinks.
type reasoning struct {
	Effort  string `json:"effort,omitzero" doc:"The template's variable reasoning_effort; none also sets enable_thinking to false." enum:"none,minimal,low,medium,high,xhigh"`
	Summary string `json:"summary,omitzero" doc:"Accepted; reasoning is told as it is." enum:"auto,concise,detailed"`
}

// responseTool is a tool as this endpoint writes it: a function without a
// level of its own.
type responseTool struct {
	Type string `json:"type" enum:"function"`
	toolFunction
}

// response is the answer. What the request said is repeated in it.
type response struct {
	ID                 string             `json:"id"`
	Object             string             `json:"object" enum:"response"`
	CreatedAt          int64              `json:"created_at"`
	Status             string             `json:"status" enum:"in_progress,completed,incomplete,failed"`
	Error              *responseError     `json:"error"`
	IncompleteDetails  *incompleteDetails `json:"incomplete_details"`
	Instructions       *string            `json:"instructions"`
	MaxOutputTokens    *int               `json:"max_output_tokens"`
	Model              string             `json:"model"`
	Output             []outputItem       `json:"output"`
	ParallelToolCalls  bool               `json:"parallel_tool_calls"`
	PreviousResponseID *string            `json:"previous_response_id"`
	Store              bool               `json:"store"`
	Temperature        float64            `json:"temperature"`
	Text               textOptions        `json:"text"`
	ToolChoice         jsontext.Value     `json:"tool_choice"`
	Tools              []responseTool     `json:"tools"`
	TopP               float64            `json:"top_p"`
	Truncation         string             `json:"truncation" enum:"disabled"`
	Metadata           map[string]string  `json:"metadata"`
	Usage              *responseUsage     `json:"usage"`
}

type responseError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

type incompleteDetails struct {
	Reason string `json:"reason" enum:"max_output_tokens"`
}

type responseUsage struct {
	InputTokens         int               `json:"input_tokens"`
	InputTokensDetails  promptDetails     `json:"input_tokens_details"`
	OutputTokens        int               `json:"output_tokens"`
	OutputTokensDetails completionDetails `json:"output_tokens_details"`
	TotalTokens         int               `json:"total_tokens"`
}

// outputItem is one of reasoning, message and function_call.
type outputItem struct {
	ID        string        `json:"id"`
	Type      string        `json:"type" enum:"reasoning,message,function_call"`
	Status    string        `json:"status" enum:"in_progress,completed,incomplete"`
	Role      string        `json:"role,omitzero" enum:"assistant"`
	Summary   []string      `json:"summary,omitzero" doc:"Of reasoning: empty."`
	Content   []*outputPart `json:"content,omitzero" doc:"Of reasoning and messages."`
	CallID    string        `json:"call_id,omitzero"`
	Name      string        `json:"name,omitzero"`
	Arguments *string       `json:"arguments,omitzero" doc:"Of a call: a JSON object as text."`
}

// outputPart is a text of an item.
type outputPart struct {
	Type        string         `json:"type" enum:"output_text,reasoning_text"`
	Text        string         `json:"text"`
	Annotations []string       `json:"annotations,omitzero" doc:"Always empty."`
	Logprobs    []tokenLogprob `json:"logprobs,omitzero"`
}

func (s *Server) respond(x *exchange, m *godwit.Model) error {
	var body responseRequest
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
	gens, err := s.start(x, m, []godwit.Request{request})
	if err != nil {
		return err
	}
	b := newResponseBuilder(m, &body, name, request.Sampling)
	if body.Stream {
		return s.streamResponse(x, gens, b)
	}
	if err := s.follow(x, gens, b); err != nil {
		return err
	}
	s.logUsage(x, b.usage)
	writeJSON(x, http.StatusOK, b.response)
	return nil
}

func (s *Server) streamResponse(x *exchange, gens generations, b *responseBuilder) error {
	b.events = s.stream(x)
	err := b.begin()
	if err == nil {
		err = s.follow(x, gens, b)
	}
	gens.cancel()
	s.logUsage(x, b.usage)
	if err != nil {
		b.fail(asAPIError(x.ctx, err))
	}
	b.events.close()
	return x.cut(err)
}

// request checks the body and turns it into what the model understands.
func (b *responseRequest) request(m *godwit.Model) (r godwit.Request, err error) {
	if err := b.check(); err != nil {
		return r, err
	}
	if r.Grammar, err = b.Text.Format.grammar(m, "text.format"); err != nil {
		return r, err
	}
	if r.Messages, err = b.conversation(); err != nil {
		return r, err
	}
	if r.MaxTokens, err = maxTokens("max_output_tokens", b.MaxOutputTokens, m.Context()); err != nil {
		return r, err
	}
	r.TopLogs = b.TopLogprobs
	thinking := thinkingFields{ChatTemplateKwargs: b.ChatTemplate, ReasoningEffort: b.Reasoning.Effort, thinkingBudget: b.thinkingBudget}
	if err := thinking.apply(&r); err != nil {
		return r, err
	}
	if err := b.applyTools(&r); err != nil {
		return r, err
	}
	return r, b.apply(&r, m)
}

func (b *responseRequest) check() error {
	if err := b.commonFields.check(); err != nil {
		return err
	}
	for i, name := range b.Include {
		if name != "message.output_text.logprobs" {
			return unsupported("include", "include[%d] is %q, want message.output_text.logprobs", i, name)
		}
	}
	if b.Truncation != "" && b.Truncation != "disabled" {
		return unsupported("truncation", "truncation is %q, want disabled", b.Truncation)
	}
	if b.TopLogprobs < 0 || b.TopLogprobs > maxTopLogprobs {
		return invalid("top_logprobs", "top_logprobs is %d, want 0 to %d", b.TopLogprobs, maxTopLogprobs)
	}
	return nil
}

func (b *responseRequest) applyTools(r *godwit.Request) error {
	functions := make([]toolFunction, len(b.Tools))
	for i, t := range b.Tools {
		if t.Type != "function" {
			return unsupported("tools", "tools[%d].type is %q, want function", i, t.Type)
		}
		functions[i] = t.toolFunction
	}
	tools, err := modelTools(functions, "tools", "")
	if err != nil {
		return err
	}
	return b.ToolChoice.apply(r, tools, b.ParallelToolCalls)
}

// logprobs reports whether the answer has log-probabilities.
func (b *responseRequest) logprobs() bool { return len(b.Include) > 0 || b.TopLogprobs > 0 }
