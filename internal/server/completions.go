package server

import (
	"context"
	"net/http"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/godwit-llm/godwit"
)

// completionRequest is the body of POST /v1/completions.
type completionRequest struct {
	commonFields
	samplingFields
	Prompt        prompts       `json:"prompt"`
	MaxTokens     *int          `json:"max_tokens,omitzero" doc:"Most new tokens; absent for 16. 0 is allowed with echo." minimum:"0"`
	N             *int          `json:"n,omitzero" doc:"Number of choices for each prompt." minimum:"1"`
	Echo          bool          `json:"echo,omitzero" doc:"Put the prompt before the text."`
	Logprobs      *int          `json:"logprobs,omitzero" doc:"Report the log-probability of each token and as many likely ones." minimum:"0" maximum:"20"`
	Stream        bool          `json:"stream,omitzero" doc:"Answer with events as the text comes about."`
	StreamOptions streamOptions `json:"stream_options,omitzero"`

	BestOf nothing `json:"best_of,omitzero"`
	Suffix nothing `json:"suffix,omitzero"`
}

// completion is the answer, and each event of a stream.
type completion struct {
	ID                string             `json:"id"`
	Object            string             `json:"object" enum:"text_completion"`
	Created           int64              `json:"created"`
	Model             string             `json:"model"`
	SystemFingerprint string             `json:"system_fingerprint"`
	Choices           []completionChoice `json:"choices"`
	Usage             *usage             `json:"usage,omitzero"`
}

type completionChoice struct {
	Index        int                 `json:"index"`
	Text         string              `json:"text"`
	Logprobs     *completionLogprobs `json:"logprobs"`
	FinishReason *string             `json:"finish_reason" enum:"stop,length"`
}

// prompts are one or more texts or lists of token ids.
type prompts []prompt

type prompt struct {
	text string
	ids  []int32 // nil for a text
}

// UnmarshalJSONFrom tells the four forms apart by their first values.
func (p *prompts) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	raw, err := d.ReadValue()
	if err != nil {
		return err
	}
	if raw.Kind() == 'n' {
		return nil
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		*p = prompts{{text: text}}
		return nil
	}
	var list []string
	if json.Unmarshal(raw, &list) == nil {
		for _, text := range list {
			*p = append(*p, prompt{text: text})
		}
		return nil
	}
	var ids []int32
	if json.Unmarshal(raw, &ids) == nil {
		*p = prompts{{ids: ids}}
		return nil
	}
	var many [][]int32
	if json.Unmarshal(raw, &many) == nil {
		for _, ids := range many {
			*p = append(*p, prompt{ids: ids})
		}
		return nil
	}
	at := fieldPath(d.StackPointer())
	return invalid(at, "%s is %s, want a string, a list of strings, token ids or a list of such lists", at, kindOf(raw.Kind(), raw))
}

func (s *Server) complete(x *exchange, m *godwit.Model) error {
	var body completionRequest
	if err := s.readBody(x, x.request, &body); err != nil {
		return err
	}
	name, err := s.modelName(body.Model)
	if err != nil {
		return err
	}
	requests, err := s.completionRequests(&body, m)
	if err != nil {
		return err
	}
	head := completion{ID: newID("cmpl-"), Object: "text_completion", Created: now(), Model: name, SystemFingerprint: s.fingerprint()}
	c := &completionSink{model: m, body: &body, head: head, choices: make([]completionChoice, len(requests)), offset: make([]int, len(requests))}
	for i := range c.choices {
		c.choices[i].Index = i
	}
	return s.runCompletion(x, m, c, requests)
}

func (s *Server) runCompletion(x *exchange, m *godwit.Model, c *completionSink, requests []godwit.Request) error {
	var gens generations
	var err error
	if !c.onlyPrompt() {
		if gens, err = s.start(x, m, requests); err != nil {
			return err
		}
		defer gens.cancel()
	}
	if err := c.echo(x.ctx, requests); err != nil {
		return err
	}
	if c.body.Stream {
		c.events = s.stream(x)
		return c.events.finish(s.finishCompletion(x, c, gens))
	}
	return s.finishCompletion(x, c, gens)
}

// finishCompletion follows the generations and says how many tokens there were.
func (s *Server) finishCompletion(x *exchange, c *completionSink, gens generations) error {
	defer func() { s.logUsage(x, c.usage) }()
	if err := c.sendEcho(); err != nil {
		return err
	}
	if len(gens) > 0 {
		if err := s.follow(x, gens, c); err != nil {
			return err
		}
	}
	if c.events == nil {
		c.head.Choices, c.head.Usage = c.choices, &c.usage
		writeJSON(x, http.StatusOK, c.head)
		return nil
	}
	if !c.body.StreamOptions.IncludeUsage {
		return nil
	}
	c.head.Choices, c.head.Usage = []completionChoice{}, &c.usage
	return c.events.send("", &c.head)
}

// completionRequests checks the body and returns a request for each choice.
func (s *Server) completionRequests(b *completionRequest, m *godwit.Model) ([]godwit.Request, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	n, err := s.choices("n", b.N)
	if err != nil {
		return nil, err
	}
	if len(b.Prompt) == 0 {
		return nil, invalid("prompt", "prompt is missing, want a text or token ids")
	}
	if len(b.Prompt)*n > s.opts.MaxChoices {
		return nil, invalid("prompt", "prompt and n ask for %d choices, want 1 to %d", len(b.Prompt)*n, s.opts.MaxChoices)
	}
	var base godwit.Request
	if err := b.apply(&base, m); err != nil {
		return nil, err
	}
	if base.MaxTokens, err = b.maxTokens(); err != nil {
		return nil, err
	}
	if b.Logprobs != nil {
		base.TopLogs = *b.Logprobs
	}
	var list []godwit.Request
	for _, p := range b.Prompt {
		if base.IDs, err = p.encode(m); err != nil {
			return nil, err
		}
		list = append(list, repeat(base, n)...)
	}
	return list, nil
}

func (b *completionRequest) check() error {
	if err := b.commonFields.check(); err != nil {
		return err
	}
	if b.Logprobs != nil && (*b.Logprobs < 0 || *b.Logprobs > maxTopLogprobs) {
		return invalid("logprobs", "logprobs is %d, want 0 to %d", *b.Logprobs, maxTopLogprobs)
	}
	return nil
}

func (b *completionRequest) maxTokens() (int, error) {
	if b.Echo && b.MaxTokens != nil && *b.MaxTokens == 0 {
		return 0, nil
	}
	return maxTokens("max_tokens", b.MaxTokens, 16)
}

func (p prompt) encode(m *godwit.Model) ([]int32, error) {
	if p.ids != nil {
		return p.ids, nil
	}
	return m.Encode(p.text, true)
}

// completionSink collects or sends the choices of a completion.
type completionSink struct {
	model   *godwit.Model
	body    *completionRequest
	head    completion
	events  *eventStream // nil: nothing is sent before the end
	choices []completionChoice
	offset  []int // characters so far, for each choice
	usage   usage
	one     [1]completionChoice
}

func (c *completionSink) onlyPrompt() bool {
	return c.body.Echo && c.body.MaxTokens != nil && *c.body.MaxTokens == 0
}

// firstOfPrompt reports whether a choice is the first of those that share its
// prompt.
func (c *completionSink) firstOfPrompt(choice int) bool {
	return c.body.N == nil || choice%*c.body.N == 0
}

// echo puts the prompts into the choices, with their log-probabilities where
// they are asked for.
func (c *completionSink) echo(ctx context.Context, requests []godwit.Request) error {
	if !c.body.Echo {
		return nil
	}
	for i, r := range requests {
		text, err := c.model.Decode(r.IDs)
		if err != nil {
			return err
		}
		c.choices[i].Text = text
		if c.onlyPrompt() {
			c.choices[i].FinishReason = new("length")
			c.usage.count(&godwit.Result{PromptIDs: r.IDs}, c.firstOfPrompt(i))
		}
		if err := c.echoLogprobs(ctx, i, r.IDs); err != nil {
			return err
		}
	}
	return nil
}

func (c *completionSink) echoLogprobs(ctx context.Context, choice int, ids []int32) error {
	if c.body.Logprobs == nil {
		c.offset[choice] = utf8.RuneCountInString(c.choices[choice].Text)
		return nil
	}
	scores, err := c.model.Score(ctx, ids, *c.body.Logprobs)
	if err != nil {
		return err
	}
	l := &completionLogprobs{}
	for i, id := range ids {
		if i == 0 {
			c.offset[choice] = l.add(c.model, id, nil, nil, 0)
			continue
		}
		c.offset[choice] = l.add(c.model, id, &scores.LogProbs[i-1], scores.Top[i-1], c.offset[choice])
	}
	c.choices[choice].Logprobs = l
	return nil
}

// sendEcho sends the choices as the echo left them.
func (c *completionSink) sendEcho() error {
	if c.events == nil || !c.body.Echo {
		return nil
	}
	for _, choice := range c.choices {
		if err := c.send(choice); err != nil {
			return err
		}
	}
	return nil
}

func (c *completionSink) send(choice completionChoice) error {
	c.one[0] = choice
	c.head.Choices = c.one[:]
	return c.events.send("", &c.head)
}

func (c *completionSink) take(choice int, t godwit.Token) error {
	if c.events == nil {
		c.choices[choice].Text += t.Text
		c.addLogprob(&c.choices[choice], t)
		return nil
	}
	out := completionChoice{Index: choice, Text: t.Text}
	c.addLogprob(&out, t)
	if out.Text == "" && out.Logprobs == nil {
		return nil
	}
	return c.send(out)
}

func (c *completionSink) addLogprob(to *completionChoice, t godwit.Token) {
	if c.body.Logprobs == nil || t.ID < 0 {
		return
	}
	if to.Logprobs == nil {
		to.Logprobs = &completionLogprobs{}
	}
	c.offset[to.Index] = to.Logprobs.add(c.model, t.ID, &t.LogProb, t.Top, c.offset[to.Index])
}

func (c *completionSink) end(choice int, r *godwit.Result) error {
	c.usage.count(r, c.firstOfPrompt(choice))
	if c.events == nil {
		c.choices[choice].FinishReason = &r.FinishReason
		return nil
	}
	return c.send(completionChoice{Index: choice, FinishReason: &r.FinishReason})
}
