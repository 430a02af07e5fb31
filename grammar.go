package godwit

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/godwit-llm/godwit/internal/chat"
	"github.com/godwit-llm/godwit/internal/engine"
	"github.com/godwit-llm/godwit/internal/grammar"
)

// Grammar limits generated texts to a form, such as JSON that keeps a schema.
// It belongs to the model that compiled it and may be used by many requests at
// the same time.
//
// A text that ended by itself fits the grammar. One that was cut off by
// Request.MaxTokens, a stop text or its context is the beginning of one that
// fits.
type Grammar struct {
	model *Model
	expr  grammar.Expr

	mu    sync.Mutex
	masks map[thinking]*grammar.Masks
}

// thinking says what may come in front of the text that a grammar is about.
type thinking int

const (
	noThinking thinking = iota
	mayThink            // the model may open its reasoning
	isThinking          // the prompt has opened it
)

// JSONSchema compiles a JSON schema: see docs/STRUCTURED_OUTPUT.md for what is
// supported. A schema that cannot be kept exactly is refused with
// ErrUnsupported, a malformed one with ErrRequest. The result is remembered, so
// that the same schema costs nothing the next time.
func (m *Model) JSONSchema(schema []byte) (*Grammar, error) {
	return m.remembered(string(schema), func() (grammar.Expr, error) { return grammar.Schema(schema) })
}

// remembered compiles what make returns, unless that was done under the same
// key before.
func (m *Model) remembered(key string, make func() (grammar.Expr, error)) (*Grammar, error) {
	m.grammars.mu.Lock()
	g := m.grammars.known[key]
	m.grammars.mu.Unlock()
	if g != nil {
		return g, nil
	}
	e, err := make()
	if err != nil {
		return nil, grammarError(err)
	}
	if g, err = m.CompileGrammar(e); err != nil {
		return nil, err
	}
	m.grammars.mu.Lock()
	defer m.grammars.mu.Unlock()
	if m.grammars.known == nil || len(m.grammars.known) >= maxGrammars {
		m.grammars.known = map[string]*Grammar{}
	}
	m.grammars.known[key] = g
	return g, nil
}

// JSONObject is the grammar of any JSON object.
func (m *Model) JSONObject() (*Grammar, error) { return m.JSONSchema([]byte(`{"type":"object"}`)) }

// CompileGrammar compiles an expression, for the packages of this module.
func (m *Model) CompileGrammar(e grammar.Expr) (*Grammar, error) {
	if m.tokenizer == nil {
		return nil, errNoTokenizer
	}
	g := &Grammar{model: m, expr: e, masks: map[thinking]*grammar.Masks{}}
	_, err := g.in(noThinking)
	return g, err
}

// maxGrammars is the most schemas that are remembered.
const maxGrammars = 64

// grammars is what a model needs for grammars, made when the first is wanted.
type grammars struct {
	once       sync.Once
	vocabulary *grammar.Vocabulary

	mu    sync.Mutex
	known map[string]*Grammar // by schema
}

// grammarVocabulary returns the tokens that the model can choose.
func (m *Model) grammarVocabulary() *grammar.Vocabulary {
	m.grammars.once.Do(func() {
		tokens := make([]grammar.Token, min(m.tokenizer.Size(), m.config.Vocab))
		for id := range tokens {
			text, special := m.TokenBytes(int32(id))
			tokens[id] = grammar.Token{Bytes: text, Special: special}
		}
		m.grammars.vocabulary = grammar.NewVocabulary(tokens)
	})
	return m.grammars.vocabulary
}

// in compiles the grammar behind what may come in front of it.
func (g *Grammar) in(t thinking) (*grammar.Masks, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if masks := g.masks[t]; masks != nil {
		return masks, nil
	}
	v := g.model.grammarVocabulary()
	compiled, err := grammar.Compile(g.behind(t), grammar.Options{Vocabulary: v})
	if err != nil {
		return nil, grammarError(err)
	}
	g.masks[t] = grammar.NewMasks(compiled, v)
	return g.masks[t], nil
}

// behind puts the reasoning in front of the grammar: any text, ended by its
// mark and at most two line ends.
func (g *Grammar) behind(t thinking) grammar.Expr {
	open, end := chat.ThinkMarkers()
	closed := grammar.Sequence(grammar.Until(end), grammar.Pattern(`\n{0,2}`), g.expr)
	switch t {
	case isThinking:
		return closed
	case mayThink:
		return grammar.Choice(g.expr, grammar.Sequence(grammar.Marker(open), closed))
	}
	return g.expr
}

func grammarError(err error) error {
	class := ErrRequest
	if errors.Is(err, grammar.ErrUnsupported) {
		class = ErrUnsupported
	}
	return &Error{Class: class, Err: err}
}

// constrain puts what limits a request's text into the engine's request.
func (m *Model) constrain(q *engine.Request, r Request, start chat.Start) error {
	if err := m.limitText(q, r, start); err != nil {
		return err
	}
	return m.limitThinking(q, r, start)
}

// limitText puts a request's grammar into the engine's request. The
// checkpoint's end-of-text ids end the text even with IgnoreEOS: nothing else
// is left when it is whole.
func (m *Model) limitText(q *engine.Request, r Request, start chat.Start) error {
	g, err := m.grammarOf(&r)
	if g == nil || err != nil {
		return err
	}
	if g.model != m {
		return &Error{Op: "generate", Class: ErrRequest, Err: errors.New("the grammar was compiled by another model")}
	}
	before := noThinking
	if r.Messages != nil {
		f, err := m.formatOf(r)
		if err != nil {
			return err
		}
		switch {
		case f.Reasoning() && start == chat.InReasoning:
			before = isThinking
		case f.Reasoning() && start == chat.AtStart:
			before = mayThink
		}
	}
	masks, err := g.in(before)
	if err != nil {
		return fmt.Errorf("generate: %w", err)
	}
	q.Stop = slices.Concat(r.StopIDs, m.defaults.eos)
	q.Constraint = masks.NewMatcher(q.Stop)
	return nil
}
