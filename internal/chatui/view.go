package chatui

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/godwit-llm/godwit"
)

// The colours are the terminal's own, so that they suit its background.
var (
	accent = lipgloss.NewStyle().Bold(true).Foreground(lipgloss.Cyan)
	faint  = lipgloss.NewStyle().Faint(true)
	fault  = lipgloss.NewStyle().Foreground(lipgloss.Red)
	tool   = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
	plain  = lipgloss.NewStyle()
)

// View draws the conversation, a rule, the input and the status line.
func (s *screen) View() tea.View {
	var b strings.Builder
	lines := s.visible()
	for i := range s.room() {
		if i < len(lines) {
			b.WriteString(lines[i])
		}
		b.WriteByte('\n')
	}
	if s.framed() {
		b.WriteString(faint.Render(strings.Repeat("─", s.width)) + "\n")
	}
	b.WriteString(s.input.View())
	if s.framed() {
		b.WriteString("\n" + s.status())
	}
	v := tea.NewView(b.String())
	v.AltScreen, v.WindowTitle = true, "godwit · "+clean(s.talk.name)
	if !s.talk.settings.noMouse {
		v.MouseMode = tea.MouseModeCellMotion
	}
	if c := s.input.Cursor(); c != nil {
		c.Y += s.height - s.input.Height()
		if s.framed() {
			c.Y--
		}
		v.Cursor = c
	}
	return v
}

// framed reports whether there is room for the rule and the status line.
func (s *screen) framed() bool { return s.height >= s.input.Height()+3 }

// room is how many lines of the conversation are shown.
func (s *screen) room() int {
	n := s.height - s.input.Height()
	if s.framed() {
		n -= 2
	}
	return max(0, n)
}

// visible returns the lines of the conversation that are shown.
func (s *screen) visible() []string {
	all := s.transcript()
	end := max(0, len(all)-s.room())
	top := min(s.top, end)
	if s.follow {
		top = end
	}
	return all[top:min(top+s.room(), len(all))]
}

// transcript returns all lines of the conversation.
func (s *screen) transcript() []string {
	lines := s.heading()
	for _, e := range s.talk.entries {
		lines = append(lines, e.draw(s.width, s.talk.settings.reasoning)...)
	}
	return lines
}

func (s *screen) heading() []string {
	text := s.talk.name
	if s.model != nil {
		text = s.talk.describe()
	}
	lines := block(text, "", s.width, faint)
	if s.talk.system != "" {
		lines = append(lines, block("system: "+s.talk.system, "", s.width, faint)...)
	}
	return lines
}

// redraw forgets lines that were drawn.
func (s *screen) redraw() {
	for _, e := range s.talk.entries {
		e.lines = drawn{}
	}
}

// drawn are the lines of an entry at a width. Wrapping them anew for each
// token would take longer and longer.
type drawn struct {
	width int // 0: nothing is drawn
	lines []string
}

// draw returns the lines of an entry, with an empty one before them.
func (e *entry) draw(width int, reasoning string) []string {
	if e.lines.width != width {
		e.lines = drawn{width, e.compose(width, reasoning)}
	}
	return e.lines.lines
}

func (e *entry) compose(width int, reasoning string) []string {
	var body []string
	switch {
	case e.fault:
		body = block(e.note, "✗ ", width, fault)
	case e.note != "":
		body = block(e.note, "· ", width, faint)
	case e.message.Role == "user":
		body = quote(block(e.message.Content, "› ", width, plain))
	case e.message.Role == "tool":
		body = block(e.message.Content, "← ", width, tool)
	default:
		body = e.composeReply(width, reasoning)
	}
	if len(body) == 0 {
		return nil
	}
	return append([]string{""}, body...)
}

// quote sets off the mark at the beginning of what the user said.
func quote(lines []string) []string {
	lines[0] = strings.Replace(lines[0], "›", accent.Render("›"), 1)
	return lines
}

func (e *entry) composeReply(width int, reasoning string) []string {
	m := e.message
	parts := [][]string{e.composeReasoning(width, reasoning)}
	if text := strings.TrimSpace(m.Content); text != "" {
		parts = append(parts, block(strings.TrimRight(strings.TrimLeft(m.Content, "\r\n"), " \r\n"), "  ", width, plain))
	}
	var calls []string
	for _, call := range m.ToolCalls {
		calls = append(calls, block(call.Name+" "+call.Arguments, "→ ", width, tool)...)
	}
	parts = append(parts, calls)
	if e.ended != "" || e.empty() && !e.live {
		parts = append(parts, block(e.why(), "  ", width, faint))
	}
	var lines []string
	for _, p := range parts {
		if len(lines) > 0 && len(p) > 0 {
			lines = append(lines, "")
		}
		lines = append(lines, p...)
	}
	return lines
}

func (e *entry) why() string {
	if e.ended == "" {
		return "(no answer)"
	}
	return "(" + e.ended + ")"
}

// peek is how much of folded reasoning is shown while it comes.
const peek = 3

func (e *entry) composeReasoning(width int, how string) []string {
	text := strings.TrimSpace(e.message.Reasoning)
	if text == "" || how == "hide" {
		return nil
	}
	thinking := e.live && e.message.Content == "" && len(e.message.ToolCalls) == 0
	switch {
	case how == "show":
		return block(text, "┊ ", width, faint)
	case thinking:
		// the end of the text is all that can be seen
		lines := block(tail(text, peek*width), "┊ ", width, faint)
		return lines[max(0, len(lines)-peek):]
	}
	return block(fmt.Sprintf("reasoning of %s words; Ctrl-T shows it", thousands(len(strings.Fields(text)))), "┊ ", width, faint)
}

// tail returns the last n runes of a text.
func tail(text string, n int) string {
	runes := []rune(text)
	return string(runes[max(0, len(runes)-n):])
}

// block wraps a text behind a mark: that of reasoning stands on every line,
// others on the first.
func block(text, mark string, width int, style lipgloss.Style) []string {
	indent := ansi.StringWidth(mark)
	if width < indent+8 {
		mark, indent = "", 0
	}
	rest := strings.Repeat(" ", indent)
	if mark == "┊ " {
		rest = mark
	}
	var lines []string
	for i, line := range wrap(text, width-indent) {
		lead := rest
		if i == 0 {
			lead = mark
		}
		lines = append(lines, style.Render(strings.TrimRight(lead+line, " ")))
	}
	return lines
}

// wrap breaks a text into lines of at most width cells.
func wrap(text string, width int) []string {
	width = max(width, 1)
	text = ansi.Wrap(clean(text), width, "") // which lets a hyphen stand out by a cell
	return strings.Split(ansi.Hardwrap(text, width, true), "\n")
}

// clean makes a text safe to show: a model or a paste can hold what moves the
// cursor or worse.
func clean(text string) string {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\t", "    ")
	return strings.Map(func(r rune) rune {
		if r == '\n' || r >= ' ' && r < 0x7f || r >= 0xa0 {
			return r
		}
		return -1
	}, text)
}

// status is the last line: what goes on, and how much of the context is used.
func (s *screen) status() string {
	left, right := s.state(), s.usage()
	space := s.width - ansi.StringWidth(left) - ansi.StringWidth(right) - 2
	if space < 1 {
		return faint.Render(ansi.Truncate(" "+left, s.width, "…"))
	}
	return faint.Render(" " + left + strings.Repeat(" ", space) + right)
}

func (s *screen) state() string {
	switch {
	case s.armed:
		return "Ctrl-C again quits"
	case s.model == nil:
		return s.loadState()
	case s.stopped && s.feed != nil:
		return "stopping"
	case s.feed != nil && s.news.tokens == 0:
		return "reading the prompt · Esc stops"
	case s.feed != nil:
		return fmt.Sprintf("%s tokens · %.1f tokens/s · first after %.2f s · Esc stops", thousands(s.news.tokens), speed(s.news.tokens, s.news.since), s.news.first.Seconds())
	case !s.follow:
		return "PgDn, Ctrl-End: back to the end"
	}
	if i := s.talk.last("assistant"); i >= 0 {
		if text := s.talk.entries[i].summary(); text != "" {
			return text
		}
	}
	return "ready · /help"
}

func (s *screen) loadState() string {
	text := "loading the model"
	if s.total > 0 {
		text = fmt.Sprintf("loading %s %d %% of %v", bar(s.done, s.total), 100*s.done/s.total, godwit.Bytes(s.total))
	}
	if s.waiting {
		text += " · your message waits"
	}
	return text
}

// bar draws progress.
func bar(done, total int64) string {
	const cells = 12
	full := int(cells * done / total)
	return strings.Repeat("█", full) + strings.Repeat("░", cells-full)
}

func (s *screen) usage() string {
	i := s.talk.last("assistant")
	if s.model == nil || i < 0 || s.talk.entries[i].used == 0 {
		return ""
	}
	return fmt.Sprintf("%s of %s", thousands(s.talk.entries[i].used), thousands(s.talk.facts.Context))
}
