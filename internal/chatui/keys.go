package chatui

import (
	tea "charm.land/bubbletea/v2"
)

// press takes a key that the screen knows, or gives it to the input.
func (s *screen) press(k tea.KeyPressMsg) tea.Cmd {
	name := k.Keystroke()
	if name != "ctrl+c" {
		s.armed = false
	}
	if cmd, known := s.control(name); known {
		return cmd
	}
	if s.move(name) {
		return nil
	}
	var cmd tea.Cmd
	s.input, cmd = s.input.Update(k)
	return cmd
}

// control is what keys do that end, send or redraw.
func (s *screen) control(name string) (cmd tea.Cmd, known bool) {
	switch name {
	case "enter":
		return s.send(), true
	case "esc":
		s.stop()
	case "ctrl+c":
		return s.interrupt(), true
	case "ctrl+d":
		if s.input.Value() != "" {
			return nil, false
		}
		return tea.Quit, true
	case "ctrl+z":
		return tea.Suspend, true
	case "ctrl+l":
		return tea.ClearScreen, true
	case "ctrl+t":
		s.fold()
	case "tab":
		s.fill(complete(s.input.Value()))
	default:
		return nil, false
	}
	return nil, true
}

// interrupt stops the answer or empties the input; the second time it quits.
func (s *screen) interrupt() tea.Cmd {
	if s.armed {
		return tea.Quit
	}
	s.armed = true
	if !s.stop() {
		s.input.Reset()
	}
	return nil
}

// fold shows the reasoning, or folds what is shown.
func (s *screen) fold() {
	if s.talk.settings.reasoning == "show" {
		s.talk.settings.reasoning = ""
	} else {
		s.talk.settings.reasoning = "show"
	}
	s.redraw()
}

// move is what keys do that go through the conversation and the history.
func (s *screen) move(name string) bool {
	switch name {
	case "pgup":
		s.scroll(-s.room() + 1)
	case "pgdown":
		s.scroll(s.room() - 1)
	case "ctrl+home":
		s.scroll(-1 << 30)
	case "ctrl+end":
		s.follow = true
	case "up":
		return s.atFirstLine() && s.recall(s.typed.older)
	case "down":
		return s.atLastLine() && s.recall(s.typed.newer)
	default:
		return false
	}
	return true
}

func (s *screen) atFirstLine() bool {
	return s.input.Line() == 0 && s.input.LineInfo().RowOffset == 0
}

func (s *screen) atLastLine() bool {
	info := s.input.LineInfo()
	return s.input.Line() == s.input.LineCount()-1 && info.RowOffset == info.Height-1
}

func (s *screen) recall(next func(now string) (string, bool)) bool {
	text, ok := next(s.input.Value())
	if ok {
		s.fill(text)
	}
	return ok
}

// wheelLines is how far the wheel scrolls.
const wheelLines = 3

func (s *screen) wheel(msg tea.MouseWheelMsg) {
	switch msg.Button {
	case tea.MouseWheelUp:
		s.scroll(-wheelLines)
	case tea.MouseWheelDown:
		s.scroll(wheelLines)
	}
}

// scroll moves by lines; at the end, what comes is followed again.
func (s *screen) scroll(lines int) {
	end := s.end()
	if s.follow {
		s.top = end
	}
	s.top = min(max(s.top+lines, 0), end)
	s.follow = s.top == end
}

// end is the first line that is shown where the last one is.
func (s *screen) end() int { return max(0, len(s.transcript())-s.room()) }
