package server

import (
	"cmp"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/godwit-llm/godwit"
)

// responseEvent is one event of a stream; which fields there are depends on
// the type.
type responseEvent struct {
	Type           string         `json:"type"`
	SequenceNumber int            `json:"sequence_number"`
	Response       *response      `json:"response,omitzero"`
	OutputIndex    *int           `json:"output_index,omitzero"`
	Item           *outputItem    `json:"item,omitzero"`
	ItemID         string         `json:"item_id,omitzero"`
	ContentIndex   *int           `json:"content_index,omitzero"`
	Part           *outputPart    `json:"part,omitzero"`
	Delta          *string        `json:"delta,omitzero"`
	Text           *string        `json:"text,omitzero"`
	Name           string         `json:"name,omitzero"`
	Arguments      *string        `json:"arguments,omitzero"`
	Logprobs       []tokenLogprob `json:"logprobs,omitzero"`
}

// responseBuilder makes a response of a reply, and the events on the way. One
// item is open at a time: the last one of the output.
type responseBuilder struct {
	model    *godwit.Model
	logprobs bool
	response response
	usage    usage
	reply    reply
	open     bool
	events   *eventStream // nil: nothing is sent before the end
	sent     int
}

func newResponseBuilder(m *godwit.Model, body *responseRequest, name string, s *godwit.Sampling) *responseBuilder {
	r := response{
		ID: newID("resp_"), Object: "response", CreatedAt: now(), Status: "in_progress", Model: name,
		MaxOutputTokens: body.MaxOutputTokens, Output: []outputItem{}, ParallelToolCalls: body.ParallelToolCalls == nil || *body.ParallelToolCalls,
		Temperature: s.Temperature, TopP: cmp.Or(s.TopP, 1), Text: body.Text, ToolChoice: body.ToolChoice.json(), Tools: body.Tools,
		Truncation: "disabled", Metadata: body.Metadata,
	}
	if body.Instructions != "" {
		r.Instructions = &body.Instructions
	}
	r.Text.Format.Type = cmp.Or(r.Text.Format.Type, "text")
	return &responseBuilder{model: m, logprobs: body.logprobs(), response: r}
}

// json writes the choice as an answer repeats it.
func (c toolChoice) json() jsontext.Value {
	var v any = cmp.Or(c.Mode, "auto")
	if c.Name != "" {
		v = map[string]string{"type": "function", "name": c.Name}
	}
	data, _ := json.Marshal(v) // strings can be marshalled
	return data
}

func (b *responseBuilder) send(e responseEvent) error {
	if b.events == nil {
		return nil
	}
	e.SequenceNumber = b.sent
	b.sent++
	return b.events.send(e.Type, &e)
}

// begin tells that there is a response.
func (b *responseBuilder) begin() error {
	if err := b.send(responseEvent{Type: "response.created", Response: &b.response}); err != nil {
		return err
	}
	return b.send(responseEvent{Type: "response.in_progress", Response: &b.response})
}

// fail ends a stream that was cut.
func (b *responseBuilder) fail(e *apiError) {
	b.response.Status = "failed"
	b.response.Error = &responseError{Code: cmp.Or(e.Code, "server_error"), Message: e.Message}
	b.send(responseEvent{Type: "response.failed", Response: &b.response}) // the stream's own error is known already
}

func (b *responseBuilder) take(_ int, t godwit.Token) error {
	d := b.reply.delta(t)
	if d.ReasoningContent != "" {
		if err := b.text("reasoning", d.ReasoningContent, nil); err != nil {
			return err
		}
	}
	if d.Content != nil {
		var logprobs []tokenLogprob
		if b.logprobs && t.ID >= 0 {
			logprobs = []tokenLogprob{newTokenLogprob(b.model, t)}
		}
		if err := b.text("message", *d.Content, logprobs); err != nil {
			return err
		}
	}
	for _, c := range d.ToolCalls {
		if err := b.call(c); err != nil {
			return err
		}
	}
	return nil
}

func (b *responseBuilder) end(_ int, r *godwit.Result) error {
	b.usage.count(r, true)
	b.response.Usage = &responseUsage{
		InputTokens: b.usage.PromptTokens, OutputTokens: b.usage.CompletionTokens, TotalTokens: b.usage.TotalTokens,
		InputTokensDetails:  b.usage.PromptTokensDetails,
		OutputTokensDetails: completionDetails{ReasoningTokens: b.reply.reasoningTokens},
	}
	b.response.Status = "completed"
	if r.FinishReason == "length" {
		b.response.Status, b.response.IncompleteDetails = "incomplete", &incompleteDetails{Reason: "max_output_tokens"}
	}
	if err := b.closeItem(b.response.Status); err != nil {
		return err
	}
	return b.send(responseEvent{Type: "response." + b.response.Status, Response: &b.response})
}

// item returns the open item and its index.
func (b *responseBuilder) item() (*outputItem, *int) {
	last := len(b.response.Output) - 1
	return &b.response.Output[last], &last
}

// openItem closes the item before it.
func (b *responseBuilder) openItem(item outputItem) error {
	if err := b.closeItem("completed"); err != nil {
		return err
	}
	item.Status = "in_progress"
	b.response.Output, b.open = append(b.response.Output, item), true
	opened, at := b.item()
	return b.send(responseEvent{Type: "response.output_item.added", OutputIndex: at, Item: opened})
}

// closeItem says that the open item, if there is one, is whole.
func (b *responseBuilder) closeItem(status string) error {
	if !b.open {
		return nil
	}
	b.open = false
	item, at := b.item()
	item.Status = status
	if item.Arguments != nil {
		if err := b.send(responseEvent{Type: "response.function_call_arguments.done", ItemID: item.ID, OutputIndex: at, Name: item.Name, Arguments: item.Arguments}); err != nil {
			return err
		}
	}
	if len(item.Content) > 0 {
		part := item.Content[0]
		if err := b.send(responseEvent{Type: "response." + part.Type + ".done", ItemID: item.ID, OutputIndex: at, ContentIndex: new(0), Text: &part.Text, Logprobs: part.Logprobs}); err != nil {
			return err
		}
		if err := b.send(responseEvent{Type: "response.content_part.done", ItemID: item.ID, OutputIndex: at, ContentIndex: new(0), Part: part}); err != nil {
			return err
		}
	}
	return b.send(responseEvent{Type: "response.output_item.done", OutputIndex: at, Item: item})
}

// text appends to an item of a kind, which it opens where it must.
func (b *responseBuilder) text(kind, text string, logprobs []tokenLogprob) error {
	if item, _ := b.last(); item == nil || item.Type != kind {
		if err := b.openText(kind); err != nil {
			return err
		}
	}
	item, at := b.item()
	part := item.Content[0]
	part.Text += text
	part.Logprobs = append(part.Logprobs, logprobs...)
	e := responseEvent{Type: "response." + part.Type + ".delta", ItemID: item.ID, OutputIndex: at, ContentIndex: new(0), Delta: &text}
	if kind == "message" {
		e.Logprobs = append([]tokenLogprob{}, logprobs...)
	}
	return b.send(e)
}

func (b *responseBuilder) openText(kind string) error {
	item, part := outputItem{ID: newID("msg_"), Type: kind, Role: "assistant", Content: []*outputPart{}}, &outputPart{Type: "output_text"}
	if kind == "reasoning" {
		item = outputItem{ID: newID("rs_"), Type: kind, Summary: []string{}, Content: []*outputPart{}}
		part.Type = "reasoning_text"
	} else {
		part.Annotations, part.Logprobs = []string{}, []tokenLogprob{}
	}
	if err := b.openItem(item); err != nil {
		return err
	}
	opened, at := b.item()
	opened.Content = append(opened.Content, part)
	return b.send(responseEvent{Type: "response.content_part.added", ItemID: opened.ID, OutputIndex: at, ContentIndex: new(0), Part: part})
}

// last returns the open item, or nil.
func (b *responseBuilder) last() (*outputItem, *int) {
	if !b.open {
		return nil, nil
	}
	return b.item()
}

// call opens a call or appends to its arguments.
func (b *responseBuilder) call(c toolCall) error {
	if c.Function.Name != "" {
		if err := b.openItem(outputItem{ID: newID("fc_"), Type: "function_call", CallID: c.ID, Name: c.Function.Name, Arguments: new("")}); err != nil {
			return err
		}
	}
	if c.Function.Arguments == "" {
		return nil
	}
	item, at := b.item()
	*item.Arguments += c.Function.Arguments
	return b.send(responseEvent{Type: "response.function_call_arguments.delta", ItemID: item.ID, OutputIndex: at, Delta: &c.Function.Arguments})
}
