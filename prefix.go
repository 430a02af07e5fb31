package godwit

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/godwit-llm/godwit/internal/engine"
)

// PinnedPrefix is a prefix that is kept by name.
type PinnedPrefix struct {
	Name   string
	Tokens int
	Ready  bool // it has been computed
}

// Pin computes the beginning of prompts that a request describes, and keeps it
// until Unpin: requests that begin like that start behind it. Of Messages it is
// all that prompts have in common in which a message of the user follows: a
// system prompt, or a system prompt with examples. It returns when that has
// been computed.
//
// Room for one sequence of the whole context stays free of pinned prefixes;
// beyond that the error wraps ErrRequest.
func (m *Model) Pin(ctx context.Context, name string, r Request) error {
	if name == "" {
		return &Error{Op: "pin", Class: ErrRequest, Err: errors.New("the name is empty")}
	}
	ids, err := m.prefixIDs(r)
	if err != nil {
		return err
	}
	stream, err := m.submit(ctx, engine.Request{IDs: ids, Pin: name, Priority: r.Priority})
	if err != nil {
		return err
	}
	if _, _, err := stream.Next(); err != nil {
		return &Error{Op: "pin", Class: classOf(err), Err: err}
	}
	return nil
}

// Unpin lets a pinned prefix go when its room is needed.
func (m *Model) Unpin(name string) error {
	if err := m.engine.Unpin(name); err != nil {
		return &Error{Op: "unpin", Class: classOf(err), Err: err}
	}
	return nil
}

// Pinned lists the pinned prefixes by name.
func (m *Model) Pinned() []PinnedPrefix {
	var list []PinnedPrefix
	for _, p := range m.engine.Pinned() {
		list = append(list, PinnedPrefix(p))
	}
	return list
}

// prefixIDs returns the ids that prompts begin with.
func (m *Model) prefixIDs(r Request) ([]int32, error) {
	if r.Messages == nil || r.Prompt != "" || r.IDs != nil {
		p, err := m.prompt(r)
		return p.ids, err
	}
	text, err := m.opening(r)
	if err != nil {
		return nil, err
	}
	return m.Encode(text, false)
}

// opening returns what all prompts begin with in which a message of the user
// follows those of r.
func (m *Model) opening(r Request) (string, error) {
	r.Continue = false
	var texts [2]string
	for i, content := range []string{"0", "x"} {
		next := r
		next.Messages = append(slices.Clone(r.Messages), Message{Role: "user", Content: content})
		p, err := m.render(next)
		if err != nil {
			return "", err
		}
		texts[i] = p.Text
	}
	return texts[0][:commonText(texts[0], texts[1])], nil
}

// commonText returns the length of the common beginning, in whole characters.
func commonText(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	for n > 0 && n < len(a) && !utf8.RuneStart(a[n]) {
		n--
	}
	return n
}

// marks returns numbers of a prompt's ids after which other requests are likely
// to go on otherwise: where the system prompt ends, and where the next turn of
// the conversation will differ from this prompt. Models without recurrent state
// need none.
func (m *Model) marks(r Request, text string, ids []int32) []int {
	if m.plan.Snapshots+m.plan.HostMemory == 0 || r.Messages == nil {
		return nil
	}
	var marks []int
	for _, other := range []string{m.openings.find(m, r), m.nextTurn(r)} {
		if n := commonText(text, other); n > 0 {
			marks = append(marks, m.idsWithin(text, n, ids))
		}
	}
	slices.Sort(marks)
	marks = slices.Compact(marks)
	return slices.DeleteFunc(marks, func(n int) bool { return n == 0 || n == len(ids) })
}

// nextTurn returns a prompt like that of the next turn, "" if there cannot be
// one. Templates may leave out then what the model thought.
func (m *Model) nextTurn(r Request) string {
	if r.Continue || r.Messages[len(r.Messages)-1].Role == "assistant" {
		return ""
	}
	r.Messages = append(slices.Clone(r.Messages), Message{Role: "assistant", Content: "x"}, Message{Role: "user", Content: "x"})
	p, err := m.render(r)
	if err != nil {
		return ""
	}
	return p.Text
}

// idsWithin returns how many of a text's ids lie within its first n bytes. From
// the end it counts where that is nearer, and the ids spell the text.
func (m *Model) idsWithin(text string, n int, ids []int32) int {
	if n == len(text) {
		return len(ids)
	}
	if n > len(text)/2 {
		end := len(text)
		for i := len(ids) - 1; i >= 0; i-- {
			piece := m.tokenizer.Bytes(ids[i])
			if !strings.HasSuffix(text[:end], string(piece)) {
				break
			}
			if end -= len(piece); end <= n {
				return i
			}
		}
	}
	count := 0
	for _, id := range m.tokenizer.Encode(text[:n], false) {
		if count == len(ids) || ids[count] != id {
			break
		}
		count++
	}
	return count
}

// openings remembers what prompts with the same system prompt and tools begin
// with. It holds the newest few.
type openings struct {
	mu    sync.Mutex
	keys  []string
	texts map[string]string
}

// mostOpenings bounds what is remembered.
const mostOpenings = 16

// find returns what prompts with the system prompt and the tools of r begin
// with, "" where there is neither.
func (o *openings) find(m *Model, r Request) string {
	head := 0
	if role := r.Messages[0].Role; role == "system" || role == "developer" {
		head = 1
	}
	if head+len(r.Tools) == 0 {
		return ""
	}
	r.Messages = r.Messages[:head]
	key, err := json.Marshal([]any{r.Messages, r.Tools, r.ToolChoice, r.TemplateArgs})
	if err != nil {
		return ""
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	text, known := o.texts[string(key)]
	if known {
		return text
	}
	text, _ = m.opening(r) // "" where the template refuses it
	if o.texts == nil {
		o.texts = map[string]string{}
	}
	if len(o.keys) == mostOpenings {
		delete(o.texts, o.keys[0])
		o.keys = o.keys[1:]
	}
	o.keys = append(o.keys, string(key))
	o.texts[string(key)] = text
	return text
}
