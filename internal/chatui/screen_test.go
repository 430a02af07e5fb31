package chatui

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/godwit-llm/godwit"
)

// output is what a program writes, to be looked at while it runs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) await(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		o.mu.Lock()
		all := o.text.String()
		o.mu.Unlock()
		if strings.Contains(ansi.Strip(all), text) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the screen never showed %q: %q", text, all)
		}
	}
}

// start runs a screen without a terminal. What is written to typed are its keys.
func start(ctx context.Context, s *screen) (typed io.Writer, out *output, ended chan error) {
	keys, w := io.Pipe()
	out, ended = new(output), make(chan error, 1)
	go func() {
		defer w.Close()
		ended <- s.run(ctx, tea.WithContext(ctx), tea.WithInput(keys), tea.WithOutput(out), tea.WithWindowSize(60, 20), tea.WithoutSignals())
	}()
	return w, out, ended
}

// TestQuit ends at once while the model is being loaded, while it answers, and
// when the process is told to end.
func TestQuit(t *testing.T) {
	for _, c := range []struct {
		name    string
		loading bool
		end     func(typed io.Writer, cancel func())
	}{
		{"loading", true, func(typed io.Writer, _ func()) { io.WriteString(typed, "\x04") }},
		{"answering", false, func(typed io.Writer, _ func()) { io.WriteString(typed, "\x03\x03") }},
		{"answering, by a command", false, func(typed io.Writer, _ func()) { io.WriteString(typed, "/quit\r") }},
		{"from outside", false, func(_ io.Writer, cancel func()) { cancel() }},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		model := &closing{bird: bird{reply: func(godwit.Request) []godwit.Delta {
			return []godwit.Delta{{Kind: godwit.ContentText, Text: "half"}, {Kind: endless}}
		}}}
		s, err := newScreen(ctx, Options{Open: func(ctx context.Context, _ func(godwit.Event)) (Model, error) {
			if c.loading {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return model, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		typed, out, ended := start(ctx, s)
		if c.loading {
			out.await(t, "loading the model")
		} else {
			io.WriteString(typed, "Hello\r")
			out.await(t, "half")
		}
		c.end(typed, cancel)
		select {
		case err := <-ended:
			if err != nil || model.closed == c.loading {
				t.Errorf("%s: got %v, model closed: %v", c.name, err, model.closed)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: the program does not end", c.name)
		}
	}
}

// closing is a model that knows whether it was closed.
type closing struct {
	bird
	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return nil
}

// TestProgram types at a running program whose model has to be stopped in the
// middle of an answer: its text stays, on the screen and for the model.
func TestProgram(t *testing.T) {
	defer goleak.VerifyNone(t)
	loading := make(chan struct{})
	var second godwit.Request
	model := bird{reply: func(r godwit.Request) []godwit.Delta {
		if len(r.Messages) > 1 {
			second = r
			return []godwit.Delta{{Kind: godwit.ContentText, Text: "whole"}}
		}
		return []godwit.Delta{{Kind: godwit.ContentText, Text: "half a sen"}, {Kind: endless}}
	}}
	s, err := newScreen(t.Context(), Options{Name: "bird", Open: func(context.Context, func(godwit.Event)) (Model, error) {
		<-loading
		return model, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	typed, out, ended := start(t.Context(), s)
	io.WriteString(typed, "Hello\r")
	out.await(t, "your message waits")
	close(loading)
	out.await(t, "half a sen")
	io.WriteString(typed, "\x03")
	out.await(t, "(stopped)")
	io.WriteString(typed, "And?\r")
	out.await(t, "whole")
	io.WriteString(typed, "\x04")
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if m := second.Messages; len(m) != 3 || m[1].Content != "half a sen" || m[2].Content != "And?" {
		t.Errorf("the model was told %+v, want what it had said until it was stopped", m)
	}
	if second.MaxTokens != 131072 || second.Sampling.Temperature != 0.6 {
		t.Errorf("got %d tokens at temperature %v, want all of the context and the checkpoint's", second.MaxTokens, second.Sampling.Temperature)
	}
}

// TestLoadFails ends the program with the cause.
func TestLoadFails(t *testing.T) {
	p := newPlayer(t, Options{})
	cause := errors.New("config.json: no such file")
	p.send(opened{err: cause})
	if !p.quits() || p.err != cause {
		t.Errorf("got %v, want the end with the cause", p.err)
	}
}

// TestInterrupt tells the first Ctrl-C from the second.
func TestInterrupt(t *testing.T) {
	p := newPlayer(t, Options{})
	p.play("loaded", "")
	p.play("type", "half a question")
	p.play("key", "ctrl+c")
	if p.quits() || p.input.Value() != "" {
		t.Error("the first Ctrl-C has to empty the input, and not to quit")
	}
	p.play("type", "x")
	p.play("key", "backspace ctrl+c")
	if p.quits() {
		t.Error("a key between two Ctrl-C: want another one")
	}
	p.play("key", "ctrl+c")
	if !p.quits() {
		t.Error("the second Ctrl-C has to quit")
	}
}

// TestInterruptAnswer stops with the first Ctrl-C, before a word was said: the
// message is back in the input.
func TestInterruptAnswer(t *testing.T) {
	p := newPlayer(t, Options{})
	p.play("loaded", "")
	p.play("type", "Hello")
	p.play("key", "enter ctrl+c")
	if p.feed == nil || !p.stopped {
		t.Fatal("Ctrl-C has to stop the answer, and to wait for its end")
	}
	p.play("end", "cancelled")
	if p.input.Value() != "Hello" || len(p.talk.messages()) != 0 {
		t.Errorf("got %q and %v, want the message back", p.input.Value(), p.talk.messages())
	}
	p.play("key", "ctrl+c")
	if !p.quits() {
		t.Error("the second Ctrl-C has to quit")
	}
}

// TestWaiting takes a message back that waits for the model.
func TestWaiting(t *testing.T) {
	p := newPlayer(t, Options{})
	p.play("type", "Hello")
	p.play("key", "enter")
	if !p.waiting || p.feed != nil {
		t.Fatal("the message has to wait for the model")
	}
	p.play("key", "esc")
	p.play("loaded", "")
	if p.waiting || p.feed != nil || p.input.Value() != "Hello" {
		t.Errorf("got %q, want the message back and no answer", p.input.Value())
	}
}

// paste puts lines into the input of a new conversation. It returns them and
// how many bytes that allocated, which no other work on the machine changes.
func paste(t *testing.T, lines int) (p *player, text string, bytes uint64) {
	t.Helper()
	p = newPlayer(t, Options{})
	p.play("loaded", "")
	text = strings.TrimSuffix(strings.Repeat("a line of a paste\r\n", lines), "\r\n")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	p.send(tea.PasteMsg{Content: text})
	p.rows()
	runtime.ReadMemStats(&after)
	return p, text, after.TotalAlloc - before.TotalAlloc
}

// TestPaste takes many lines, at a cost in proportion to them, and refuses what
// the input would cut.
func TestPaste(t *testing.T) {
	_, _, few := paste(t, 300)
	p, text, many := paste(t, 3000)
	if many > 20*few {
		t.Errorf("3000 lines allocate %d bytes and 300 lines %d, want about ten times as many", many, few)
	}
	p.play("key", "enter")
	if m := p.talk.messages(); len(m) != 1 || m[0].Content != strings.ReplaceAll(text, "\r\n", "\n") {
		t.Errorf("the model is told something else than what was pasted")
	}
	p.play("end", "stop")
	p.send(tea.PasteMsg{Content: strings.Repeat("x\n", mostLines)})
	last := p.talk.entries[len(p.talk.entries)-1]
	if p.input.Value() != "" || !last.fault || !strings.Contains(last.note, "9,001 lines") {
		t.Errorf("got %q and the note %q, want a refusal", p.input.Value(), last.note)
	}
}

// TestStale ignores what comes from an answer that is over.
func TestStale(t *testing.T) {
	p := newPlayer(t, Options{})
	p.play("loaded", "")
	p.play("type", "Hello")
	p.play("key", "enter")
	p.play("content", "Hi")
	p.send(piece{of: newFeed(), deltas: []godwit.Delta{{Kind: godwit.ContentText, Text: "stale"}}})
	p.play("end", "stop")
	p.send(piece{of: newFeed(), done: true})
	if m := p.talk.messages(); len(m) != 2 || m[1].Content != "Hi" {
		t.Errorf("got %v, want one answer", m)
	}
}

// TestScrolled keeps the place while an answer grows.
func TestScrolled(t *testing.T) {
	p := newPlayer(t, Options{Name: "bird"})
	p.play("size", "40 10")
	p.play("loaded", "")
	p.play("type", "Hello")
	p.play("key", "enter")
	p.play("content", `"`+strings.Repeat(`line\n`, 50)+`"`)
	p.play("key", "pgup")
	before := p.rows()[:p.room()]
	p.play("content", "more\nand more")
	if after := p.rows()[:p.room()]; strings.Join(before, "\n") != strings.Join(after, "\n") {
		t.Errorf("the view moved from %q to %q", before, after)
	}
	p.play("key", "pgdown pgdown")
	if rows := p.rows(); !p.follow || !strings.Contains(rows[p.room()-1], "more") {
		t.Errorf("got %q, want the end", rows)
	}
}

// TestStyles dims reasoning; nothing that a model writes reaches the terminal
// as a control sequence.
func TestStyles(t *testing.T) {
	e := entry{message: godwit.Message{Role: "assistant", Reasoning: "thought", Content: "said\x1b]0;title\a\u009b1A"}}
	text := strings.Join(e.draw(40, "show"), "\n")
	if !strings.Contains(text, "\x1b[2m┊ thought\x1b[m") || !strings.Contains(text, "\n  said]0;title1A") {
		t.Errorf("got %q, want faint reasoning and a content without controls", text)
	}
	if text := strings.Join((&entry{message: e.message}).draw(40, "hide"), "\n"); strings.Contains(text, "thought") {
		t.Errorf("got %q, want no reasoning", text)
	}
}

// TestWrap breaks any text into lines that fit, and loses nothing but spaces.
func TestWrap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.SampledFrom([]string{"a", "word", "漢字", "👍🏽", "👩‍👩‍👧", " ", "  ", "-", "\n", "e\u0301", "verylongwordwithoutspace", "한국", "🇳🇴", "\t"})
		text := strings.Join(rapid.SliceOfN(word, 0, 60).Draw(t, "words"), "")
		width := rapid.IntRange(2, 50).Draw(t, "width")
		lines := wrap(text, width)
		for _, line := range lines {
			if w := ansi.StringWidth(line); w > width {
				t.Fatalf("%q is %d cells wide, want at most %d", line, w, width)
			}
		}
		letters := func(s string) string { return strings.Join(strings.Fields(s), "") }
		if got := letters(strings.Join(lines, "")); got != letters(text) {
			t.Fatalf("got %q, want %q", got, text)
		}
	})
}

// TestAnySize draws at every size, with everything there is to draw.
func TestAnySize(t *testing.T) {
	p := newPlayer(t, Options{Name: "bird", System: "Be a bird."})
	p.play("loaded", "")
	p.play("type", "漢字 and 👍🏽")
	p.play("key", "enter")
	p.play("reason", "hm")
	p.play("content", "漢字 漢字\nx")
	p.play("call", "f {}")
	p.play("end", "length")
	p.play("type", "a draft of several words")
	p.play("key", "alt+enter")
	for height := 1; height < 16; height++ {
		for width := 1; width < 30; width++ {
			p.play("size", fmt.Sprint(width, " ", height))
			if width >= 4 {
				p.rows() // checks rows and cells
			}
		}
	}
}

// BenchmarkView draws a long answer to which a piece is added each time.
func BenchmarkView(b *testing.B) {
	s, err := newScreen(b.Context(), Options{Name: "bird"})
	if err != nil {
		b.Fatal(err)
	}
	s.model = bird{}
	for range 100 {
		s.talk.add("user", "question")
		s.talk.begin().grow([]godwit.Delta{{Kind: godwit.ContentText, Text: strings.Repeat("some words of an answer ", 200)}})
	}
	last := s.talk.entries[len(s.talk.entries)-1]
	for b.Loop() {
		last.lines = drawn{}
		s.View()
	}
}

// TestHistory remembers lines across sessions, each in one line of the file.
func TestHistory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "history")
	h, err := openHistory(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"one", "two\nlines", "two\nlines", "three"} {
		if err := h.add(line); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("got %v and %v, want a file for its owner alone", info.Mode(), err)
	}
	if h, err = openHistory(path); err != nil {
		t.Fatal(err)
	}
	var got []string
	for text, ok := h.older("draft"); ok; text, ok = h.older(text) {
		got = append(got, text)
	}
	if want := "three|two\nlines|one"; strings.Join(got, "|") != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for range 2 {
		h.newer("")
	}
	if text, ok := h.newer(""); !ok || text != "draft" {
		t.Errorf("got %q, want the draft", text)
	}
}

// TestHistoryLimit keeps the file small, and lives with a line that was cut.
func TestHistoryLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history")
	var text strings.Builder
	for i := range 2*remembered + 5 {
		fmt.Fprintf(&text, "\"line %d\"\n", i)
	}
	if err := os.WriteFile(path, []byte(text.String()+`"cut`), 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := openHistory(path)
	data, _ := os.ReadFile(path)
	if err != nil || len(h.lines) != remembered || bytes.Count(data, []byte("\n")) != remembered || !bytes.HasSuffix(data, []byte("\"line 2004\"\n")) {
		t.Errorf("got %d lines in memory, %d in the file and %v, want %d", len(h.lines), bytes.Count(data, []byte("\n")), err, remembered)
	}
}

// TestHistoryFails complains once and goes on.
func TestHistoryFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h := &history{path: filepath.Join(file, "history")}
	if err := h.add("one"); err == nil {
		t.Error("want an error: the folder is a file")
	}
	if err := h.add("two"); err != nil || len(h.lines) != 2 {
		t.Errorf("got %v and %q, want both lines in memory", err, h.lines)
	}
}
