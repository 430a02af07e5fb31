package godwit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/godwit-llm/godwit/internal/chat"
	"github.com/godwit-llm/godwit/internal/engine"
)

// Request asks for a continuation of exactly one of Prompt, Messages and IDs.
type Request struct {
	Prompt   string    // a text; the tokenizer's special ids are put around it
	Messages []Message // a conversation, rendered with the chat template
	IDs      []int32   // token ids as they are

	// What goes with Messages.
	Tools        []Tool
	ToolChoice   string         // "auto" (or ""); "none": the model is not told of the tools; "required" or a tool's name: the reply is one call
	OneCall      bool           // end the generation after the first call
	LiveCalls    bool           // tell of a call while it is being written, not when it is whole
	TemplateArgs map[string]any // options of the chat template, such as enable_thinking
	Continue     bool           // go on with the last message, instead of a new turn
	Format       string         // how the reply is taken apart, one of Formats(); "" means Model.Format

	// ThinkingBudget is the most tokens of reasoning in the reply; 0 means no
	// limit of its own. When they are used up, the end of the reasoning is
	// written for the model, which goes on with the content. MaxTokens counts
	// both. A format without reasoning is refused.
	ThinkingBudget int

	MaxTokens int       // most new tokens; 0 means 128
	Priority  int       // requests of a higher one go first, and make lower ones give way; 0 is usual
	Sampling  *Sampling // nil means Model.DefaultSampling
	Seed      *uint64   // nil means a new one each time
	Stop      []string  // texts that end the generation and are not part of it
	StopIDs   []int32   // ids that end it, besides the checkpoint's own
	IgnoreEOS bool      // do not stop at the checkpoint's end-of-text ids

	NoSpeculation bool     // one token a step, whatever Options.Speculation says
	TopLogs       int      // report this many most likely tokens with each token
	Grammar       *Grammar // limits the text, or the content of a reply behind its reasoning; nil: anything goes
}

// Sampling says how tokens are chosen. The zero value takes the most likely
// token each time.
//
// Penalties and bias change the logits first, then the temperature, then the
// filters apply in the order top-k, top-p, min-p.
type Sampling struct {
	Temperature       float64 // 0: the most likely token
	TopK              int     // 0: all
	TopP              float64 // 0 or 1: all
	MinP              float64 // least probability, as a share of the largest; 0: all
	RepetitionPenalty float64 // divides the logits of tokens that occurred; 0 or 1: none
	PresencePenalty   float64 // subtracted from those of new tokens that occurred
	FrequencyPenalty  float64 // the same, for each occurrence
	LogitBias         map[int32]float64
}

// Token is one new token. After the last one there may be another with the id
// -1, for text that was held back.
type Token struct {
	ID      int32
	Text    string  // the text that became certain with it; "" in the middle of a character or a possible stop text
	LogProb float64 // of the model, before penalties and temperature
	Top     []TokenLogProb
	Deltas  []Delta   // what became certain of the reply to Messages; the markers in Text are not part of it
	Time    time.Time // when the step that made it ended
}

// TokenLogProb is a token and its log-probability.
type TokenLogProb struct {
	ID      int32
	LogProb float64
}

// Result is a finished generation.
type Result struct {
	PromptIDs    []int32
	IDs          []int32 // new ones, without the id that ended the generation
	Text         string
	FinishReason string  // "stop", "length", "cancelled" or "failed"
	Message      Message // the reply to Messages: Text taken apart, to go on with
	Stats        Stats
}

// Stats are the times of one generation. The first token belongs to the
// prompt; DecodeTokens counts those of the steps after it, including an id
// that ended the generation.
type Stats struct {
	QueueSeconds   float64 // before it began
	PromptTokens   int
	ReusedTokens   int // of the prompt, that an earlier request had computed
	PromptSeconds  float64
	DecodeTokens   int
	DecodeSeconds  float64
	DraftedTokens  int // that were verified along with others
	AcceptedTokens int // of them; they are among DecodeTokens
	Preempted      int // times that it had to give way to others
}

// TokensPerSecond returns the rate of decoding; 0 if there was none.
func (s Stats) TokensPerSecond() float64 {
	if s.DecodeSeconds <= 0 {
		return 0
	}
	return float64(s.DecodeTokens) / s.DecodeSeconds
}

// Generation is a request that runs.
type Generation struct {
	stream *engine.Stream
	text   *textStream  // nil where the checkpoint has no tokenizer
	parser *chat.Parser // nil without Messages

	mu     sync.Mutex
	result Result
	whole  strings.Builder // all text so far
	reply  chat.Collector  // the same, taken apart
	err    error
	done   bool
}

// Generate runs a request to its end. When ctx ends first, the result holds
// what was generated until then and the error wraps ErrCancelled.
func (m *Model) Generate(ctx context.Context, r Request) (*Result, error) {
	g, err := m.Start(ctx, r)
	if err != nil {
		return nil, err
	}
	return g.Wait()
}

// Start queues a request and returns at once; when the queue is full, the
// error wraps ErrQueueFull. Its tokens are read with Tokens
// or Wait; the model does not wait for the reader.
func (m *Model) Start(ctx context.Context, r Request) (*Generation, error) {
	p, err := m.prompt(r)
	if err != nil {
		return nil, err
	}
	sampling := m.DefaultSampling()
	if r.Sampling != nil {
		sampling = *r.Sampling
	}
	if err := sampling.check(); err != nil {
		return nil, &Error{Op: "generate", Class: ErrRequest, Err: err}
	}
	if m.tokenizer == nil && len(r.Stop) > 0 {
		return nil, errNoTokenizer
	}
	for _, stop := range r.Stop {
		if !utf8.ValidString(stop) {
			return nil, &Error{Op: "generate", Class: ErrRequest, Err: fmt.Errorf("stop text %q is not UTF-8", stop)}
		}
	}
	g := &Generation{result: Result{PromptIDs: p.ids}}
	if err := g.read(m, r, p.start); err != nil {
		return nil, err
	}
	q := engine.Request{IDs: p.ids, Marks: p.marks, MaxTokens: r.MaxTokens, Stop: m.stopIDs(r), Top: r.TopLogs, Priority: r.Priority, NoDrafts: r.NoSpeculation, Sampling: sampling.engine(r.Seed)}
	if q.MaxTokens == 0 {
		q.MaxTokens = 128
	}
	if err := m.constrain(&q, r, p.start); err != nil {
		return nil, err
	}
	stream, err := m.submit(ctx, q)
	if err != nil {
		return nil, err
	}
	g.stream = stream
	return g, nil
}

// submit hands a request to the engine and names the class of its refusal.
func (m *Model) submit(ctx context.Context, q engine.Request) (*engine.Stream, error) {
	stream, err := m.engine.Submit(ctx, q)
	if err != nil {
		return nil, &Error{Class: classOf(err), Err: err}
	}
	return stream, nil
}

// prompt is a request's prompt as the engine takes it.
type prompt struct {
	ids   []int32
	marks []int      // see marks
	start chat.Start // what the reply to messages begins with
}

// prompt turns the request's prompt into ids.
func (m *Model) prompt(r Request) (p prompt, err error) {
	given := 0
	for _, there := range []bool{r.Prompt != "", r.Messages != nil, r.IDs != nil} {
		if there {
			given++
		}
	}
	switch {
	case given > 1:
		return p, &Error{Op: "generate", Class: ErrRequest, Err: errors.New("got more than one of a prompt, messages and ids, want one")}
	case r.IDs != nil:
		p.ids = slices.Clone(r.IDs)
		return p, nil
	case r.Messages == nil:
		p.ids, err = m.Encode(r.Prompt, true)
		return p, err
	}
	rendered, err := m.render(r)
	if err != nil {
		return p, err
	}
	if p.ids, err = m.Encode(rendered.Text, false); err == nil {
		p.marks = m.marks(r, rendered.Text, p.ids)
	}
	p.start = rendered.Start
	return p, err
}

func (m *Model) stopIDs(r Request) []int32 {
	ids := slices.Clone(r.StopIDs)
	if !r.IgnoreEOS {
		ids = append(ids, m.defaults.eos...)
	}
	return ids
}

// check refuses values that have no meaning.
func (s *Sampling) check() error {
	for _, v := range []struct {
		name      string
		value     float64
		low, high float64
	}{
		{"temperature", s.Temperature, 0, 100},
		{"top-p", s.TopP, 0, 1},
		{"min-p", s.MinP, 0, 1},
		{"top-k", float64(s.TopK), 0, 1 << 31},
		{"repetition penalty", s.RepetitionPenalty, 0, 100},
		{"presence penalty", s.PresencePenalty, -100, 100},
		{"frequency penalty", s.FrequencyPenalty, -100, 100},
	} {
		if !(v.value >= v.low && v.value <= v.high) {
			return fmt.Errorf("%s is %g, want %g to %g", v.name, v.value, v.low, v.high)
		}
	}
	for id, v := range s.LogitBias {
		if math.IsNaN(v) {
			return fmt.Errorf("logit bias for id %d is not a number", id)
		}
	}
	return nil
}

func (s *Sampling) engine(seed *uint64) engine.Sampling {
	out := engine.Sampling{
		Temperature: float32(s.Temperature), TopK: s.TopK, TopP: float32(s.TopP), MinP: float32(s.MinP),
		RepetitionPenalty: float32(s.RepetitionPenalty), PresencePenalty: float32(s.PresencePenalty), FrequencyPenalty: float32(s.FrequencyPenalty),
	}
	if seed != nil {
		out.Seed = *seed
	} else {
		out.Seed = rand.Uint64()
	}
	if len(s.LogitBias) > 0 {
		out.Bias = map[int32]float32{}
		for id, v := range s.LogitBias {
			out.Bias[id] = float32(v)
		}
	}
	return out
}

// Tokens yields the tokens as they come. Leaving the loop early cancels the
// request. When the loop ends, Err and Wait tell how.
func (g *Generation) Tokens() iter.Seq[Token] {
	return func(yield func(Token) bool) {
		for {
			t, ok := g.next()
			if !ok {
				return
			}
			if !yield(t) {
				g.Cancel()
				return
			}
		}
	}
}

// Cancel ends the request. What was generated until then is kept.
func (g *Generation) Cancel() { g.stream.Cancel() }

// Wait reads the remaining tokens and returns the whole result. A cancelled
// generation has a result and an error.
func (g *Generation) Wait() (*Result, error) {
	for range g.Tokens() {
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.result
	r.Text = g.whole.String()
	if g.parser != nil {
		r.Message = messageOf(g.reply.Reply())
	}
	return &r, g.err
}

// Err returns what ended the generation, if it did not end by itself.
func (g *Generation) Err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

// next takes a token from the engine. The last call may return a token without
// an id, for text that was held back.
func (g *Generation) next() (Token, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.done {
		return Token{}, false
	}
	raw, ok, err := g.stream.Next()
	if !ok {
		return g.finish(err)
	}
	t := Token{ID: raw.ID, LogProb: float64(raw.LogProb), Top: topOf(raw), Time: raw.Time}
	g.result.IDs = append(g.result.IDs, t.ID)
	if g.text != nil {
		var stopped bool
		t.Text, stopped = g.text.add(t.ID)
		g.whole.WriteString(t.Text)
		t.Deltas, stopped = g.parse(t.Text, stopped)
		if stopped {
			g.stopAtText()
		}
	}
	return t, true
}

func topOf(t engine.Token) []TokenLogProb {
	var top []TokenLogProb
	for i, id := range t.TopIDs {
		top = append(top, TokenLogProb{id, float64(t.TopLogs[i])})
	}
	return top
}

// stopAtText ends the request at a stop text. Tokens that the engine has made
// beyond it are dropped.
func (g *Generation) stopAtText() {
	g.stream.Cancel()
	for ok := true; ok; {
		_, ok, _ = g.stream.Next()
	}
	g.close(string(engine.Stopped))
}

// finish records the end and returns the text that was held back, if any.
func (g *Generation) finish(err error) (Token, bool) {
	g.close(string(g.stream.Outcome().Reason))
	if err != nil {
		g.err = &Error{Op: "generate", Class: classOf(err), Err: err}
	}
	rest := ""
	if g.text != nil {
		rest = g.text.flush()
	}
	g.whole.WriteString(rest)
	deltas, _ := g.parse(rest, true)
	return Token{ID: -1, Text: rest, Deltas: deltas}, rest != "" || deltas != nil
}

func (g *Generation) close(reason string) {
	o := g.stream.Outcome()
	g.done = true
	g.result.FinishReason = reason
	g.result.Stats = Stats{
		QueueSeconds: o.Queued.Seconds(), PromptTokens: len(g.result.PromptIDs), ReusedTokens: o.ReusedTokens, PromptSeconds: o.PromptTime.Seconds(),
		DecodeTokens: o.DecodedTokens, DecodeSeconds: o.DecodeTime.Seconds(),
		DraftedTokens: o.DraftedTokens, AcceptedTokens: o.AcceptedTokens,
		Preempted: o.Preemptions,
	}
}

// DefaultSampling returns the sampling that generation_config.json asks for:
// greedy unless it says do_sample.
func (m *Model) DefaultSampling() Sampling { return m.defaults.sampling }
