package chatui

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"github.com/godwit-llm/godwit"
)

var update = flag.Bool("update", false, "write the views of testdata anew")

// TestScripts plays the scripts of testdata, without a terminal: lines that
// begin with > are what happens, the others what the screen shows then.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("testdata has no scripts: %v", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *update {
				if err := os.WriteFile(name, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			} else if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("%s (- want, + got; -update takes it over):\n%s", name, diff)
			}
		})
	}
}

// player plays a script on a screen.
type player struct {
	t *testing.T
	*screen
	cmd tea.Cmd // of the last message
}

func play(t *testing.T, script string) string {
	p := newPlayer(t, Options{Name: "org/bird-9b"})
	var out strings.Builder
	for line := range strings.Lines(script) {
		do, ok := strings.CutPrefix(line, "> ")
		if !ok {
			continue
		}
		out.WriteString(line)
		if words := strings.Fields(do); words[0] != "view" {
			p.play(words[0], strings.TrimSpace(strings.TrimPrefix(do, words[0])))
			continue
		}
		for _, row := range p.rows() {
			fmt.Fprintf(&out, "|%s|\n", row)
		}
	}
	return out.String()
}

func newPlayer(t *testing.T, o Options) *player {
	s, err := newScreen(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return &player{t: t, screen: s}
}

func (p *player) send(msg tea.Msg) {
	_, p.cmd = p.Update(msg)
}

func (p *player) quits() bool {
	if p.cmd == nil {
		return false
	}
	_, ok := p.cmd().(tea.QuitMsg)
	return ok
}

// rows returns what the screen shows, each row as wide as the screen, and the
// cursor as ▌.
func (p *player) rows() []string {
	v := p.View()
	rows := strings.Split(ansi.Strip(v.Content), "\n")
	if len(rows) != p.height {
		p.t.Errorf("the view has %d rows, the screen %d", len(rows), p.height)
	}
	for y, row := range rows {
		if w := ansi.StringWidth(row); w > p.width {
			p.t.Errorf("row %d is %d cells wide, the screen %d: %q", y, w, p.width, row)
		}
		rows[y] = row + strings.Repeat(" ", max(0, p.width-ansi.StringWidth(row)))
	}
	if c := v.Cursor; c != nil && c.Y < len(rows) {
		row := rows[c.Y]
		rows[c.Y] = ansi.Truncate(row, c.X, "") + "▌" + ansi.TruncateLeft(row, c.X+1, "")
	}
	return rows
}

func (p *player) play(do, arg string) {
	switch do {
	case "size":
		var w, h int
		fmt.Sscan(arg, &w, &h)
		p.send(tea.WindowSizeMsg{Width: w, Height: h})
	case "progress":
		var e godwit.Event
		fmt.Sscan(arg, &e.Done, &e.Total)
		p.send(e)
	case "warning":
		p.send(godwit.Event{Kind: godwit.Warning, Message: arg})
	case "loaded":
		p.send(opened{model: bird{}})
	case "type":
		for _, r := range p.unquote(arg) {
			p.send(tea.KeyPressMsg{Code: r, Text: string(r)})
		}
	case "key":
		for _, name := range strings.Fields(arg) {
			p.send(keyPress(p.t, name))
		}
	case "paste":
		p.send(tea.PasteMsg{Content: p.unquote(arg)})
	case "wheel":
		button := map[string]tea.MouseButton{"up": tea.MouseWheelUp, "down": tea.MouseWheelDown}[arg]
		p.send(tea.MouseWheelMsg{Button: button})
	default:
		p.reply(do, arg)
	}
}

// reply plays what the model does.
func (p *player) reply(do, arg string) {
	next := piece{of: p.feed, tokens: p.news.tokens + 10, first: 50 * time.Millisecond, since: p.news.since + time.Second}
	switch do {
	case "reason":
		next.deltas = []godwit.Delta{{Kind: godwit.ReasoningText, Text: p.unquote(arg)}}
	case "content":
		next.deltas = []godwit.Delta{{Kind: godwit.ContentText, Text: p.unquote(arg)}}
	case "call":
		name, args, _ := strings.Cut(arg, " ")
		next.deltas = []godwit.Delta{
			{Kind: godwit.CallStart, ID: "id-" + name, Name: name},
			{Kind: godwit.CallArguments, Text: args},
			{Kind: godwit.CallEnd},
		}
	case "end":
		next.done, next.result = true, &godwit.Result{
			PromptIDs: make([]int32, 100), IDs: make([]int32, p.news.tokens), FinishReason: arg,
			Stats: godwit.Stats{PromptTokens: 100, ReusedTokens: 60, PromptSeconds: 0.05, DecodeTokens: p.news.tokens, DecodeSeconds: 2},
		}
		if arg == "cancelled" {
			next.err = godwit.ErrCancelled
		}
	case "fail":
		next.done, next.err = true, errors.New(arg)
	default:
		p.t.Fatalf("script: no such thing as %q", do)
	}
	p.send(next)
}

func (p *player) unquote(arg string) string {
	if !strings.HasPrefix(arg, `"`) {
		return arg
	}
	text, err := strconv.Unquote(arg)
	if err != nil {
		p.t.Fatalf("script: %s: %v", arg, err)
	}
	return text
}

func keyPress(t *testing.T, name string) tea.KeyPressMsg {
	var k tea.KeyPressMsg
	for {
		if rest, ok := strings.CutPrefix(name, "ctrl+"); ok {
			k.Mod, name = k.Mod|tea.ModCtrl, rest
		} else if rest, ok := strings.CutPrefix(name, "alt+"); ok {
			k.Mod, name = k.Mod|tea.ModAlt, rest
		} else {
			break
		}
	}
	codes := map[string]rune{
		"enter": tea.KeyEnter, "esc": tea.KeyEscape, "up": tea.KeyUp, "down": tea.KeyDown, "left": tea.KeyLeft, "tab": tea.KeyTab,
		"pgup": tea.KeyPgUp, "pgdown": tea.KeyPgDown, "home": tea.KeyHome, "end": tea.KeyEnd, "backspace": tea.KeyBackspace,
	}
	code, ok := codes[name]
	if !ok && len(name) == 1 {
		code, ok = rune(name[0]), true
	}
	if !ok {
		t.Fatalf("script: no key is called %q", name)
	}
	k.Code = code
	return k
}

// bird is a model whose replies come from the script, or are fixed.
type bird struct {
	reply func(r godwit.Request) []godwit.Delta
	err   error
}

func (b bird) Start(ctx context.Context, r godwit.Request) (Reply, error) {
	if b.err != nil {
		return nil, b.err
	}
	return &song{ctx: ctx, deltas: b.reply(r)}, nil
}

func (bird) Facts() Facts {
	return Facts{Architecture: "nemotron_h", Device: "one GPU", Format: "nemotron3", Parameters: 8_900_000_000, Context: 131072, LoadSeconds: 1.5, Sampling: godwit.Sampling{Temperature: 0.6, TopP: 0.95}}
}

func (bird) Close() error { return nil }

// song is a reply of fixed deltas. A last one of the kind endless makes it wait
// to be stopped.
type song struct {
	ctx    context.Context
	deltas []godwit.Delta
	result godwit.Result
}

const endless = godwit.DeltaKind(-1)

func (s *song) Tokens() iter.Seq[godwit.Token] {
	return func(yield func(godwit.Token) bool) {
		s.result.FinishReason = "stop"
		for i, d := range s.deltas {
			if d.Kind == endless {
				<-s.ctx.Done()
				s.result.FinishReason = "cancelled"
				return
			}
			s.result.IDs = append(s.result.IDs, int32(i))
			if !yield(godwit.Token{ID: int32(i), Deltas: []godwit.Delta{d}}) {
				return
			}
		}
	}
}

func (s *song) Wait() (*godwit.Result, error) {
	if s.result.FinishReason == "cancelled" {
		return &s.result, godwit.ErrCancelled
	}
	return &s.result, nil
}
