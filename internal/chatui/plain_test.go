package chatui

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-llm/godwit"
)

// runPlain gives lines to a conversation without a screen.
func runPlain(ctx context.Context, o Options, m Model, in string) (out, side string, err error) {
	o.Open = func(context.Context, func(godwit.Event)) (Model, error) { return m, nil }
	var outs, sides strings.Builder
	err = RunPlain(ctx, o, strings.NewReader(in), &outs, &sides)
	return outs.String(), sides.String(), err
}

// echo answers with what it was told.
func echo(r godwit.Request) []godwit.Delta {
	var words []string
	for _, m := range r.Messages {
		words = append(words, m.Role+":"+m.Content)
	}
	return []godwit.Delta{{Kind: godwit.ReasoningText, Text: "hm"}, {Kind: godwit.ContentText, Text: strings.Join(words, " ")}}
}

// TestPlain answers line by line; answers alone go to the output.
func TestPlain(t *testing.T) {
	for _, c := range []struct{ name, in, out, side string }{
		{"two turns", "one\ntwo\n", "user:one\nuser:one assistant:user:one user:two\n", ""},
		{"no newline at the end", "one", "user:one\n", ""},
		{"empty lines", "\n\none\n\n", "user:one\n", ""},
		{"several lines in one", "one\\\ntwo\r\n", "user:one\ntwo\n", ""},
		{"system", "/system be brief\none\n/system -\n/clear\ntwo\n", "system:be brief user:one\nuser:two\n", "system message: be brief\nno system message\n"},
		{"retry", "one\n/retry\n", "user:one\nuser:one\n", ""},
		{"no command", "/usr/bin is a folder\n /set is one\n", "user:/usr/bin is a folder\nuser:/usr/bin is a folder assistant:user:/usr/bin is a folder user:/set is one\n", ""},
		{"reasoning", "/set reasoning show\none\n", "user:one\n", "reasoning is show\nhm"},
		{"quit", "one\n/quit\ntwo\n", "user:one\n", ""},
		{"controls", "a\x1b[31mb\n", "user:a[31mb\n", ""},
		{"nothing", "", "", ""},
	} {
		out, side, err := runPlain(t.Context(), Options{}, bird{reply: echo}, c.in)
		if err != nil || out != c.out || side != c.side {
			t.Errorf("%s: got %q, %q and %v, want %q and %q", c.name, out, side, err, c.out, c.side)
		}
	}
}

// TestPlainCalls writes calls as JSON lines and takes their results.
func TestPlainCalls(t *testing.T) {
	model := bird{reply: func(r godwit.Request) []godwit.Delta {
		if last := r.Messages[len(r.Messages)-1]; last.Role == "tool" {
			return []godwit.Delta{{Kind: godwit.ContentText, Text: last.ToolCallID + " says " + last.Content}}
		}
		return []godwit.Delta{
			{Kind: godwit.CallStart, ID: "c1", Name: "get"},
			{Kind: godwit.CallArguments, Text: `{"a": "<"}`},
			{Kind: godwit.CallEnd},
		}
	}}
	out, _, err := runPlain(t.Context(), Options{}, model, "one\n/tool 12\n")
	if want := "{\"name\":\"get\",\"arguments\":{\"a\":\"<\"}}\nc1 says 12\n"; err != nil || out != want {
		t.Errorf("got %q and %v, want %q", out, err, want)
	}
}

// TestPlainErrors names the line.
func TestPlainErrors(t *testing.T) {
	failing := bird{err: errors.New("device failed")}
	for _, c := range []struct {
		in, want string
		model    Model
	}{
		{"one\n/frobnicate\n", "standard input: line 2: there is no command /frobnicate; /help lists them; with a space before it, it is a message", bird{reply: echo}},
		{"one\\\ntwo\n/set seed x\n", `standard input: line 3: seed is "x", want a whole number from 0, or random`, bird{reply: echo}},
		{"a\xff\n", "standard input: line 1: not UTF-8", bird{reply: echo}},
		{"one\n", "standard input: line 1: device failed", failing},
	} {
		if _, _, err := runPlain(t.Context(), Options{}, c.model, c.in); err == nil || err.Error() != c.want {
			t.Errorf("%q: got %v, want %s", c.in, err, c.want)
		}
	}
}

// TestPlainInterrupt keeps what has come.
func TestPlainInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	model := bird{reply: func(godwit.Request) []godwit.Delta {
		cancel()
		return []godwit.Delta{{Kind: godwit.ContentText, Text: "half"}, {Kind: endless}}
	}}
	out, _, err := runPlain(ctx, Options{}, model, "one\ntwo\n")
	if out != "half\n" || !errors.Is(err, godwit.ErrCancelled) {
		t.Errorf("got %q and %v, want the half and that it was cancelled", out, err)
	}
}

// TestPlainBrokenPipe ends when nobody reads.
func TestPlainBrokenPipe(t *testing.T) {
	r, w := io.Pipe()
	r.Close()
	o := Options{Open: func(context.Context, func(godwit.Event)) (Model, error) { return bird{reply: echo}, nil }}
	if err := RunPlain(t.Context(), o, strings.NewReader("one\ntwo\n"), w, io.Discard); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v, want the closed pipe", err)
	}
}

// TestSaveLoad writes a conversation with everything in it and goes on from
// there.
func TestSaveLoad(t *testing.T) {
	name := filepath.Join(t.TempDir(), "bird talk.json")
	in := "/system be brief\none\n/save " + name + "\ntwo\n/save\n"
	if _, side, err := runPlain(t.Context(), Options{}, bird{reply: echo}, in); err != nil || strings.Count(side, "saved to "+name) != 2 {
		t.Fatalf("got %q and %v, want it saved twice", side, err)
	}
	if _, _, err := runPlain(t.Context(), Options{}, bird{reply: echo}, "one\n/save "+name+"\n"); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("got %v, want that the file of another conversation stays", err)
	}
	var got godwit.Request
	model := bird{reply: func(r godwit.Request) []godwit.Delta { got = r; return echo(r) }}
	if _, _, err := runPlain(t.Context(), Options{Load: name}, model, "three\n"); err != nil {
		t.Fatal(err)
	}
	if m := got.Messages; len(m) != 6 || m[0].Content != "be brief" || m[2].Reasoning != "hm" || m[5].Content != "three" {
		t.Errorf("got %+v, want the conversation and one message more", m)
	}
}

// TestLoadErrors names the file and what is wrong in it.
func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ data, want string }{
		{`{`, "unexpected end of JSON input"},
		{`[{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]`, `message 1 has the role "system", want user, assistant, tool, or system in the first`},
		{"[\xff]", "is not UTF-8"},
	} {
		name := filepath.Join(dir, "c.json")
		if err := os.WriteFile(name, []byte(c.data), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := newConversation(Options{Load: name})
		if err == nil || !strings.HasPrefix(err.Error(), "load: "+name) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.data, err, c.want)
		}
	}
	if _, err := newConversation(Options{Load: filepath.Join(dir, "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want that there is no such file", err)
	}
}

// TestSettings sets each setting to what it takes, to what it does not, and
// back.
func TestSettings(t *testing.T) {
	for _, c := range []struct{ name, good, bad string }{
		{"temperature", "0.7", "-1"},
		{"top-p", "0.5", "1.1"},
		{"top-k", "40", "1.5"},
		{"min-p", "0.1", "NaN"},
		{"repeat-penalty", "1.1", "x"},
		{"presence-penalty", "-2", "1e9"},
		{"frequency-penalty", "2", ""},
		{"max-tokens", "100", "0"},
		{"seed", "18446744073709551615", "-1"},
		{"thinking", "off", "perhaps"},
		{"thinking-budget", "500", "0"},
		{"reasoning", "hide", "on"},
		{"mouse", "off", "left"},
	} {
		var s Settings
		i := 0
		for AllSettings()[i].Name != c.name {
			i++
		}
		get := func() string { return AllSettings()[i].get(&s, Facts{}) }
		was := get()
		if err := s.Set(c.name, c.good); err != nil || get() != c.good {
			t.Errorf("%s %s: got %s and %v", c.name, c.good, get(), err)
		}
		if err := s.Set(c.name, c.bad); err == nil || !strings.HasPrefix(err.Error(), c.name+" is ") || get() != c.good {
			t.Errorf("%s %s: got %s and %v, want an error and nothing changed", c.name, c.bad, get(), err)
		}
		if err := s.Set(c.name, "default"); err != nil || get() != was {
			t.Errorf("%s default: got %s and %v, want %s", c.name, get(), err, was)
		}
	}
	if n := len(AllSettings()); n != 13 {
		t.Errorf("there are %d settings, the test knows 13", n)
	}
	if err := new(Settings).Set("colour", "red"); err == nil {
		t.Error("want that there is no such setting")
	}
}

// TestApply puts settings into a request.
func TestApply(t *testing.T) {
	var got godwit.Request
	model := bird{reply: func(r godwit.Request) []godwit.Delta { got = r; return nil }}
	in := "/set temperature 0\n/set top-k 5\n/set seed 7\n/set max-tokens 9\n/set thinking off\n/set thinking-budget 3\none\n"
	if out, _, err := runPlain(t.Context(), Options{}, model, in); err != nil || out != "\n" {
		t.Fatalf("got %q and %v, want an empty answer", out, err)
	}
	s := got.Sampling
	if s.Temperature != 0 || s.TopP != 0.95 || s.TopK != 5 || *got.Seed != 7 || got.MaxTokens != 9 || got.ThinkingBudget != 3 || got.TemplateArgs["enable_thinking"] != false {
		t.Errorf("got %+v with %+v, want the settings", got, s)
	}
}

// TestCommandErrors says what is wrong.
func TestCommandErrors(t *testing.T) {
	for _, c := range []struct {
		line, want string
		answering  bool
	}{
		{"/retry", "retry: there is no message to answer", false},
		{"/edit", "edit: there is no message to take back", false},
		{"/tool x", "tool: the model has called none", false},
		{"/save", "save: want the name of a file", false},
		{"/load", "load: want the name of a file", false},
		{"/clear now", `/clear takes nothing, got "now"`, false},
		{"/set colour", `no setting is called "colour"; /set lists them`, false},
		{"/clear", "/clear has to wait: the model is answering; Esc stops it", true},
		{"hello", "the model is answering: Esc stops it", true},
	} {
		talk, err := newConversation(Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := talk.take(c.line, c.answering); err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", c.line, err, c.want)
		}
	}
}

// TestHelp names every command, and settings say what they take.
func TestHelp(t *testing.T) {
	talk, err := newConversation(Options{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := talk.take("/help", true)
	for _, k := range commands() {
		if err != nil || !strings.Contains(out.text, "/"+k.name) {
			t.Errorf("/help does not name /%s: %v", k.name, err)
		}
	}
	if out, err := talk.take("/set seed", true); err != nil || out.text != "seed is random; NUMBER|random: same seed, same answer" {
		t.Errorf("got %q and %v, want the seed", out.text, err)
	}
}

// TestComplete lengthens what is certain.
func TestComplete(t *testing.T) {
	for in, want := range map[string]string{
		"/he": "/help ", "/s": "/s", "/sy": "/system ", "/set": "/set ", "/set to": "/set top-", "/set se": "/set seed ",
		"hello": "hello", "/x": "/x", "": "",
	} {
		if got := complete(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
