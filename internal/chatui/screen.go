package chatui

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"charm.land/bubbles/v2/key"
	"charm.land/bubbles/v2/textarea"
	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	"github.com/godwit-llm/godwit"
)

// screen is the state of the terminal screen: update changes it, view draws it.
type screen struct {
	ctx   context.Context
	open  func(ctx context.Context, event func(godwit.Event)) (Model, error)
	talk  *conversation
	typed *history
	input textarea.Model

	model       Model // nil while it is being loaded
	events      chan godwit.Event
	done, total int64 // bytes of weights
	waiting     bool  // a message waits for the model
	err         error // that ends the program

	feed    *feed // nil unless the model answers
	reply   *entry
	cancel  context.CancelFunc
	news    piece // the last one
	stopped bool  // the user has asked to stop

	armed         bool // the next Ctrl-C quits
	width, height int
	top           int  // first line of the conversation that is shown
	follow        bool // the end is shown
}

// Run shows the screen until the user quits or ctx ends. What was said stays
// on the terminal.
func Run(ctx context.Context, o Options, in, out *os.File) error {
	s, err := newScreen(ctx, o)
	if err != nil {
		return err
	}
	options := []tea.ProgramOption{tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out), tea.WithoutSignalHandler()}
	if o.NoColor {
		options = append(options, tea.WithColorProfile(colorprofile.Ascii))
	}
	err = s.run(ctx, options...)
	s.leave(out, o.NoColor)
	return err
}

// run shows the screen until its end, and ends the model with it.
func (s *screen) run(ctx context.Context, options ...tea.ProgramOption) error {
	ended, stop := context.WithCancel(ctx)
	s.ctx = ended
	_, err := tea.NewProgram(s, options...).Run()
	stop()
	if ctx.Err() != nil && errors.Is(err, tea.ErrProgramKilled) {
		err = nil // ended from outside, by SIGTERM
	}
	if s.model != nil {
		err = errors.Join(err, s.model.Close())
	}
	return errors.Join(err, s.err)
}

func newScreen(ctx context.Context, o Options) (*screen, error) {
	talk, err := newConversation(o)
	if err != nil {
		return nil, err
	}
	s := &screen{ctx: ctx, open: o.Open, talk: talk, input: newInput(), events: make(chan godwit.Event, 64), follow: true}
	if s.typed, err = openHistory(o.History); err != nil {
		talk.complain(err)
	}
	s.resize(80, 24)
	return s, nil
}

// mostLines is more than a message should have; the input holds no more.
const mostLines = 9000

func newInput() textarea.Model {
	in := textarea.New()
	in.ShowLineNumbers, in.Placeholder = false, "Message, or /help"
	in.CharLimit, in.MaxWidth = 0, 0
	in.DynamicHeight, in.MinHeight, in.MaxContentHeight = true, 1, 10*mostLines
	in.KeyMap.InsertNewline = key.NewBinding(key.WithKeys("alt+enter", "shift+enter", "ctrl+j"))
	in.SetPromptFunc(2, func(p textarea.PromptInfo) string {
		if p.LineNumber == 0 {
			return "› "
		}
		return "  "
	})
	styles := in.Styles()
	styles.Focused = textarea.StyleState{Prompt: accent, Placeholder: faint}
	styles.Cursor.Color = nil
	in.SetStyles(styles)
	in.SetVirtualCursor(false)
	in.Focus()
	return in
}

// opened says that the model is loaded, or why not.
type opened struct {
	model Model
	err   error
}

// Init loads the model beside the screen.
func (s *screen) Init() tea.Cmd {
	load := func() tea.Msg {
		defer close(s.events)
		m, err := s.open(s.ctx, s.event)
		return opened{m, err}
	}
	return tea.Batch(load, s.nextEvent)
}

// event passes on what happens while the model is loaded. Of progress the
// screen needs not see every step.
func (s *screen) event(e godwit.Event) {
	if e.Kind == godwit.Progress && len(s.events) > cap(s.events)/2 {
		return
	}
	select {
	case s.events <- e:
	case <-s.ctx.Done():
	}
}

func (s *screen) nextEvent() tea.Msg {
	if e, ok := <-s.events; ok {
		return e
	}
	return nil
}

// Update takes a key, a piece of the reply, or whatever else happened.
func (s *screen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	var cmd tea.Cmd
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		s.resize(msg.Width, msg.Height)
	case godwit.Event:
		s.loading(msg)
		cmd = s.nextEvent
	case opened:
		cmd = s.ready(msg)
	case piece:
		cmd = s.take(msg)
	case tea.KeyPressMsg:
		cmd = s.press(msg)
	case tea.PasteMsg:
		cmd = s.paste(msg)
	case tea.MouseWheelMsg:
		s.wheel(msg)
	default:
		s.input, cmd = s.input.Update(msg)
	}
	return s, cmd
}

func (s *screen) resize(width, height int) {
	s.width, s.height = max(width, 1), max(height, 1)
	s.input.MaxHeight = max(1, s.height/3)
	s.input.SetWidth(max(s.width, 4))
	s.input.SetHeight(min(s.input.Height(), s.input.MaxHeight))
}

func (s *screen) loading(e godwit.Event) {
	switch e.Kind {
	case godwit.Progress:
		s.done, s.total = e.Done, e.Total
	case godwit.Info:
		s.talk.infos = append(s.talk.infos, e.Message)
	case godwit.Warning:
		s.talk.say(e.Message)
	}
}

func (s *screen) ready(o opened) tea.Cmd {
	if o.err != nil {
		s.err = o.err
		return tea.Quit
	}
	s.model, s.talk.facts = o.model, o.model.Facts()
	if s.waiting {
		return s.ask()
	}
	return nil
}

// ask has the model answer, as soon as it is there.
func (s *screen) ask() tea.Cmd {
	s.follow = true
	if s.waiting = s.model == nil; s.waiting {
		return nil
	}
	request := s.talk.request()
	ctx, cancel := context.WithCancel(s.ctx)
	f := newFeed()
	s.feed, s.cancel, s.reply, s.news, s.stopped = f, cancel, s.talk.begin(), piece{}, false
	run := func() tea.Msg {
		f.run(ctx, s.model, request)
		return nil
	}
	return tea.Batch(run, f.next)
}

// take adds a piece to the reply.
func (s *screen) take(p piece) tea.Cmd {
	if p.of != s.feed {
		return nil
	}
	s.news = p
	s.reply.grow(p.deltas)
	s.reply.first = p.first
	if !p.done {
		return s.feed.rest
	}
	s.cancel()
	back := s.talk.end(s.reply, p.result, p.err)
	s.feed = nil
	if back != "" && s.input.Value() == "" {
		s.fill(back)
	}
	return nil
}

// stop ends the reply and reports whether there was one.
func (s *screen) stop() bool {
	switch {
	case s.waiting:
		s.waiting = false
		s.fill(s.talk.takeBack())
	case s.feed != nil:
		s.stopped = true
		s.cancel()
	default:
		return false
	}
	return true
}

// fill puts a text into the input.
func (s *screen) fill(text string) {
	s.input.SetValue(text)
	s.input.MoveToEnd()
	s.input, _ = s.input.Update(nil) // scrolls to the cursor
}

// send takes what was typed.
func (s *screen) send() tea.Cmd {
	text := s.input.Value()
	if line, ok := strings.CutSuffix(text, `\`); ok {
		s.fill(line + "\n")
		return nil
	}
	s.input.Reset()
	if strings.TrimSpace(text) == "" {
		return nil
	}
	if err := s.typed.add(text); err != nil {
		s.talk.complain(err)
	}
	s.follow = true
	out, err := s.talk.take(text, s.feed != nil || s.waiting)
	return s.do(out, err)
}

func (s *screen) do(out outcome, err error) tea.Cmd {
	if err != nil {
		s.talk.complain(err)
	} else if out.do == stay && out.text != "" {
		s.talk.say(out.text)
	}
	s.redraw() // a setting may have changed
	switch out.do {
	case answer:
		return s.ask()
	case edit:
		s.fill(out.text)
	case quit:
		return tea.Quit
	}
	return nil
}

// paste takes a text of any form; one that the input would cut is refused.
func (s *screen) paste(msg tea.PasteMsg) tea.Cmd {
	text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(msg.Content)
	if n := strings.Count(text, "\n") + s.input.LineCount(); n > mostLines {
		s.talk.complain(fmt.Errorf("paste: a message of %s lines; the input holds %s", thousands(n), thousands(mostLines)))
		return nil
	}
	s.armed = false
	var cmd tea.Cmd
	s.input, cmd = s.input.Update(tea.PasteMsg{Content: text})
	return cmd
}

// leave writes the conversation, without notes, to the ordinary screen.
func (s *screen) leave(out *os.File, noColor bool) {
	var text strings.Builder
	for _, e := range s.talk.entries {
		if e.note != "" {
			continue
		}
		for _, line := range e.draw(s.width, s.talk.settings.reasoning) {
			text.WriteString(line + "\n")
		}
	}
	w := colorprofile.NewWriter(out, os.Environ())
	if noColor {
		w.Profile = colorprofile.Ascii
	}
	fmt.Fprint(w, text.String()) // the terminal may be gone
}
