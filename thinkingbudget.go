package godwit

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/godwit-llm/godwit/internal/chat"
	"github.com/godwit-llm/godwit/internal/engine"
	"github.com/godwit-llm/godwit/internal/tokenizer"
)

// thinkingLimit ends the reasoning of a reply when its budget is spent: from
// then on it allows the next token of the closing text alone, until that is
// written. Before and after it, what the grammar says holds. The grammar is
// given the closing text too, as the end of the reasoning in front of it.
type thinkingLimit struct {
	grammar   engine.Constraint // nil: anything goes
	tokenizer *tokenizer.Tokenizer

	text    *tokenizer.Stream
	tail    []byte       // the last bytes of the text
	budget  *chat.Budget // nil when the reasoning is over
	closing []int32      // what is left of the closing text
	forcing bool         // it is being written
}

// limitThinking puts a request's thinking budget into the engine's request, in
// front of its grammar.
func (m *Model) limitThinking(q *engine.Request, r Request, start chat.Start) error {
	if r.ThinkingBudget == 0 {
		return nil
	}
	f, err := m.thinkingFormat(r)
	if err != nil || start == chat.InContent {
		return err
	}
	opts := chat.ParserOptions{Start: start}
	if q.Constraint == nil { // with a grammar nothing but its marker ends the reasoning
		if opts.Tools, err = r.offered(); err != nil {
			return err
		}
	}
	l := &thinkingLimit{
		grammar: q.Constraint, tokenizer: m.tokenizer, text: m.tokenizer.NewStream(true, f.Markers()...),
		budget: chat.NewBudget(f, opts, r.ThinkingBudget),
	}
	if l.closing, err = closingIDs(m.tokenizer, m.config.Vocab, f); err != nil {
		return err
	}
	q.Constraint = l
	return nil
}

// thinkingFormat returns the format of a request with a thinking budget, if
// there can be one.
func (m *Model) thinkingFormat(r Request) (chat.Format, error) {
	f, err := m.formatOf(r)
	switch {
	case err != nil:
		return f, err
	case r.ThinkingBudget < 0:
		err = fmt.Errorf("thinking budget is %d, want 0 or more tokens", r.ThinkingBudget)
	case r.Messages == nil:
		err = errors.New("a thinking budget limits the reasoning of a reply to messages: got no messages")
	case !f.Reasoning():
		err = fmt.Errorf("thinking budget: the format %q of the model's replies has no reasoning", f)
	default:
		return f, nil
	}
	return f, &Error{Op: "generate", Class: ErrRequest, Err: err}
}

// closingIDs returns the tokens that end the reasoning, of those below vocab.
// Tokenizers that put a space in front of each piece of text cannot write the
// lines around the marker, so there it is the marker alone.
func closingIDs(t *tokenizer.Tokenizer, vocab int, f chat.Format) ([]int32, error) {
	text := f.ReasoningEnd()
	if ids := t.Encode(text, false); spells(t, vocab, ids) == text {
		return ids, nil
	}
	_, mark := chat.ThinkMarkers()
	ids := t.Encode(mark, false)
	if got := spells(t, vocab, ids); strings.TrimSpace(got) != mark {
		err := fmt.Errorf("thinking budget: the model's tokens for %q spell %q", mark, got)
		return nil, &Error{Op: "generate", Class: ErrUnsupported, Err: err}
	}
	return ids, nil
}

// spells returns the text of tokens in the middle of a text, of those below
// vocab.
func spells(t *tokenizer.Tokenizer, vocab int, ids []int32) string {
	var text []byte
	for _, id := range ids {
		if int(id) < vocab {
			text = append(text, t.Bytes(id)...)
		}
	}
	return string(text)
}

// Mask allows the token that is to be written, or what the grammar allows.
func (l *thinkingLimit) Mask(dst []uint32) {
	switch {
	case l.forcing:
		clear(dst)
		dst[l.closing[0]/32] |= 1 << (l.closing[0] % 32)
	case l.grammar != nil:
		l.grammar.Mask(dst)
	default:
		for i := range dst {
			dst[i] = math.MaxUint32
		}
	}
}

// Accept takes the token that was chosen.
func (l *thinkingLimit) Accept(id int32) error {
	if l.grammar != nil {
		if err := l.grammar.Accept(id); err != nil {
			return err
		}
	}
	switch {
	case l.forcing:
		return l.wrote(id)
	case l.budget != nil:
		l.count(id)
	}
	return nil
}

// wrote takes a token of the closing text.
func (l *thinkingLimit) wrote(id int32) error {
	if id != l.closing[0] {
		return fmt.Errorf("thinking budget: got token %d, want %d", id, l.closing[0])
	}
	l.closing = l.closing[1:]
	if len(l.closing) == 0 {
		l.forcing, l.budget = false, nil
	}
	return nil
}

// count takes a token of the model's own. The closing text does not begin in
// the middle of a character.
func (l *thinkingLimit) count(id int32) {
	l.budget.Feed(l.text.Next(id))
	l.tail = append(l.tail, l.tokenizer.Bytes(id)...)
	l.tail = l.tail[max(len(l.tail)-utf8.UTFMax, 0):]
	switch {
	case l.budget.Over():
		l.budget = nil
	case l.budget.Spent():
		l.forcing = !cutsCharacter(l.tail)
	}
}

// cutsCharacter reports whether a text ends in the middle of a character.
func cutsCharacter(text []byte) bool {
	for i := len(text) - 1; i >= 0; i-- {
		if utf8.RuneStart(text[i]) {
			return !utf8.FullRune(text[i:])
		}
	}
	return false
}

// Done reports whether the grammar allows nothing more.
func (l *thinkingLimit) Done() bool { return l.grammar != nil && l.grammar.Done() }
