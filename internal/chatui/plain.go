package chatui

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/godwit-llm/godwit"
)

// RunPlain reads a message or a command from each line of in and writes the
// answers, and nothing else, to out. What commands tell goes to side. The first
// fault ends it.
func RunPlain(ctx context.Context, o Options, in io.Reader, out, side io.Writer) (err error) {
	talk, err := newConversation(o)
	if err != nil {
		return err
	}
	m, err := o.Open(ctx, func(godwit.Event) {})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	talk.facts = m.Facts()
	p := &pipe{ctx, m, talk, out, side}
	lines := bufio.NewReader(in)
	for n := 1; ; n++ {
		text, more, err := readTurn(lines, &n)
		if err != nil {
			return fmt.Errorf("standard input: line %d: %w", n, err)
		}
		again, err := p.turn(text)
		if err != nil {
			return fmt.Errorf("standard input: line %d: %w", n, err)
		}
		if !more || !again {
			return nil
		}
	}
}

// pipe is a conversation without a screen.
type pipe struct {
	ctx       context.Context
	model     Model
	talk      *conversation
	out, side io.Writer
}

// readTurn reads a line, and those that follow a \ at its end.
func readTurn(in *bufio.Reader, n *int) (text string, more bool, err error) {
	for {
		line, err := in.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", false, err
		}
		if !utf8.ValidString(line) {
			return "", false, errors.New("not UTF-8")
		}
		more = err == nil
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		part, goesOn := strings.CutSuffix(line, `\`)
		if text += part; !goesOn || !more {
			return text, more, nil
		}
		text += "\n"
		*n++
	}
}

// turn does what a line asks for and reports whether there may be another.
func (p *pipe) turn(text string) (more bool, err error) {
	out, err := p.talk.take(text, false)
	switch {
	case err != nil:
		return false, err
	case out.do == quit:
		return false, nil
	case out.do == answer:
		return true, p.answer()
	case out.do == stay && out.text != "":
		_, err = fmt.Fprintln(p.side, out.text)
	}
	return true, err
}

// answer has the model answer. When ctx ends, what has come stays.
func (p *pipe) answer() error {
	asked := time.Now()
	r := p.talk.request()
	reply, err := p.model.Start(p.ctx, r)
	if err != nil {
		return err
	}
	e := p.talk.begin()
	for t := range reply.Tokens() {
		if e.first == 0 {
			e.first = time.Since(asked)
		}
		e.grow(t.Deltas)
		if err := p.write(t.Deltas); err != nil {
			return err
		}
	}
	result, err := reply.Wait()
	p.talk.end(e, result, err)
	return errors.Join(err, p.finish(e.message))
}

func (p *pipe) write(deltas []godwit.Delta) error {
	for _, d := range deltas {
		to := p.out
		switch {
		case d.Kind == godwit.ReasoningText && p.talk.settings.reasoning == "show":
			to = p.side
		case d.Kind != godwit.ContentText:
			continue
		}
		if _, err := io.WriteString(to, clean(d.Text)); err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
	}
	return nil
}

// finish ends the answer's line and writes the tool calls, one JSON object a
// line.
func (p *pipe) finish(m godwit.Message) error {
	var text strings.Builder
	if !strings.HasSuffix(m.Content, "\n") && (m.Content != "" || len(m.ToolCalls) == 0) {
		text.WriteByte('\n')
	}
	for _, call := range m.ToolCalls {
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		err := encoder.Encode(struct {
			Name      string          `json:"name"`
			Arguments json.RawMessage `json:"arguments"`
		}{call.Name, json.RawMessage(call.Arguments)})
		if err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
	}
	if _, err := io.WriteString(p.out, text.String()); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}
