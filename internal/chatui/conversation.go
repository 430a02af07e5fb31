package chatui

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/godwit-llm/godwit"
)

// conversation is what was said so far, and how to go on.
type conversation struct {
	name     string // of the model
	facts    Facts
	infos    []string // what the model told while it was loaded
	system   string
	tools    []godwit.Tool
	settings Settings
	entries  []*entry
	file     string // that it was loaded from or saved to

	answers, tokens int // of this session
}

// entry is a message, or a note to the user that the model does not see.
type entry struct {
	message godwit.Message // of a note, without a Role
	note    string
	fault   bool // the note is an error

	live  bool   // the reply is being generated
	ended string // why the reply ended, if not by itself
	stats godwit.Stats
	first time.Duration // from asking to the first token
	used  int           // tokens of the context, up to the end of the reply

	lines drawn
}

func newConversation(o Options) (*conversation, error) {
	c := &conversation{name: o.Name, tools: o.Tools, settings: o.Settings}
	if o.Load != "" {
		if err := c.load(o.Load); err != nil {
			return nil, err
		}
	}
	if o.System != "" {
		c.system = o.System
	}
	return c, nil
}

func (c *conversation) add(role, text string) {
	c.entries = append(c.entries, &entry{message: godwit.Message{Role: role, Content: text}})
}

func (c *conversation) say(note string) {
	c.entries = append(c.entries, &entry{note: note})
}

func (c *conversation) complain(err error) {
	c.entries = append(c.entries, &entry{note: err.Error(), fault: true})
}

// messages returns what the model is to see.
func (c *conversation) messages() []godwit.Message {
	var all []godwit.Message
	if c.system != "" {
		all = append(all, godwit.Message{Role: "system", Content: c.system})
	}
	for _, e := range c.entries {
		if e.message.Role != "" && !e.live {
			all = append(all, e.message)
		}
	}
	return all
}

func (c *conversation) request() godwit.Request {
	r := godwit.Request{Messages: c.messages(), Tools: c.tools}
	c.settings.apply(&r, c.facts)
	return r
}

// last returns the index of the last message of a role, or -1.
func (c *conversation) last(role string) int {
	for i, e := range slices.Backward(c.entries) {
		if e.message.Role == role {
			return i
		}
	}
	return -1
}

// begin adds the reply that is about to come.
func (c *conversation) begin() *entry {
	e := &entry{message: godwit.Message{Role: "assistant"}, live: true}
	c.entries = append(c.entries, e)
	return e
}

// grow adds a piece to a reply.
func (e *entry) grow(deltas []godwit.Delta) {
	e.lines = drawn{}
	m := &e.message
	for _, d := range deltas {
		switch d.Kind {
		case godwit.ReasoningText:
			m.Reasoning += d.Text
		case godwit.ContentText:
			m.Content += d.Text
		case godwit.CallStart:
			m.ToolCalls = append(m.ToolCalls, godwit.ToolCall{ID: d.ID, Name: d.Name})
		case godwit.CallArguments:
			m.ToolCalls[len(m.ToolCalls)-1].Arguments += d.Text
		case godwit.CallEnd:
			m.ToolCalls[len(m.ToolCalls)-1].Incomplete = d.Incomplete
		}
	}
}

func (e *entry) empty() bool {
	return e.message.Content == "" && e.message.Reasoning == "" && len(e.message.ToolCalls) == 0
}

// end closes a reply. Of one that failed or was stopped before it began
// nothing is kept: the message that it should have answered is taken back and
// returned, so that it can be sent again.
func (c *conversation) end(e *entry, r *godwit.Result, err error) (back string) {
	e.live, e.lines = false, drawn{}
	if r != nil {
		e.stats, e.used = r.Stats, len(r.PromptIDs)+len(r.IDs)
		e.ended = c.ending(r)
		c.answers++
		c.tokens += len(r.IDs)
		if r.Message.Role != "" {
			e.message = r.Message
		}
	}
	failed := err != nil && !errors.Is(err, godwit.ErrCancelled)
	if e.empty() && err != nil {
		back = c.takeBack()
	}
	if failed {
		c.complain(err)
	}
	return back
}

func (c *conversation) ending(r *godwit.Result) string {
	switch {
	case r.FinishReason == "cancelled":
		return "stopped"
	case r.FinishReason != "length":
		return ""
	case len(r.IDs) == c.settings.maxTokens:
		return "cut off: max-tokens is " + getMaxTokens(&c.settings, c.facts)
	}
	return "cut off: the context is full"
}

// takeBack removes the reply at the end and what it answers, and returns the
// text of that. The results of tools stay, so that /retry can go on from them.
func (c *conversation) takeBack() string {
	c.entries = slices.DeleteFunc(c.entries, func(e *entry) bool { return e.message.Role == "assistant" && e.empty() })
	i := c.last("user")
	if i < 0 || c.last("tool") > i || c.last("assistant") > i {
		return ""
	}
	text := c.entries[i].message.Content
	c.entries = slices.Delete(c.entries, i, i+1)
	return text
}

// openCall returns the first call of the last reply that has no result yet.
func (c *conversation) openCall() (call godwit.ToolCall, more int) {
	i := c.last("assistant")
	if i < 0 || c.last("user") > i {
		return call, 0
	}
	calls, done := c.entries[i].message.ToolCalls, 0
	for _, e := range c.entries[i+1:] {
		if e.message.Role == "tool" {
			done++
		}
	}
	if done >= len(calls) {
		return call, 0
	}
	return calls[done], len(calls) - done
}

// save writes the messages to a file, as godwit run --messages reads them. It
// does not write over files that are not this conversation's.
func (c *conversation) save(name string) error {
	if name != c.file {
		if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("save: %s exists; give another name", name)
		}
	}
	data, err := json.MarshalIndent(c.messages(), "", "  ")
	if err != nil {
		return fmt.Errorf("save: %w", err)
	}
	if err := replace(name, append(data, '\n')); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	c.file = name
	return nil
}

// replace puts a whole file in the place of another, or none.
func replace(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it has its name
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// load replaces the messages, and the system message, by those of a file.
func (c *conversation) load(name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	if !utf8.Valid(data) {
		return fmt.Errorf("load: %s is not UTF-8", name)
	}
	var messages []godwit.Message
	if err := json.Unmarshal(data, &messages); err != nil {
		return fmt.Errorf("load: %s: %w", name, err)
	}
	for i, m := range messages {
		known := []string{"user", "assistant", "tool"}
		if !slices.Contains(known, m.Role) && !(i == 0 && m.Role == "system") {
			return fmt.Errorf("load: %s: message %d has the role %q, want %s, or system in the first", name, i, m.Role, strings.Join(known, ", "))
		}
	}
	c.system, c.entries, c.file = "", nil, name
	for _, m := range messages {
		if m.Role == "system" {
			c.system = m.Content
			continue
		}
		c.entries = append(c.entries, &entry{message: m})
	}
	return nil
}
