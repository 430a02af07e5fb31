package chatui

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// history is what was typed, now and in earlier sessions.
type history struct {
	path  string // "" keeps nothing
	lines []string
	at    int    // of the line that is shown; len(lines) is the draft
	draft string // what was being typed before an older line was shown
}

// remembered is how many lines are kept.
const remembered = 1000

// openHistory reads a file with a JSON string on each line, to which several
// sessions may add at the same time.
func openHistory(path string) (*history, error) {
	h := &history{path: path}
	if path == "" {
		return h, nil
	}
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return h, fmt.Errorf("history: %w", err)
	}
	in := bufio.NewScanner(strings.NewReader(string(data)))
	in.Buffer(nil, len(data)+1)
	read := 0
	for ; in.Scan(); read++ {
		var line string
		if json.Unmarshal(in.Bytes(), &line) == nil { // one that a crash has cut is of no use
			h.lines = append(h.lines, line)
		}
	}
	h.lines = h.lines[max(0, len(h.lines)-remembered):]
	h.at = len(h.lines)
	if read > 2*remembered {
		return h, h.rewrite()
	}
	return h, nil
}

func (h *history) rewrite() error {
	var text strings.Builder
	for _, line := range h.lines {
		text.Write(encodeLine(line))
	}
	if err := replace(h.path, []byte(text.String())); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

func encodeLine(line string) []byte {
	data, _ := json.Marshal(line) // a string always can be
	return append(data, '\n')
}

// add remembers what was sent.
func (h *history) add(line string) error {
	repeated := len(h.lines) > 0 && h.lines[len(h.lines)-1] == line
	if !repeated {
		h.lines = append(h.lines, line)
	}
	h.at, h.draft = len(h.lines), ""
	if repeated || h.path == "" {
		return nil
	}
	err := h.write(line)
	if err != nil {
		h.path = "" // one complaint is enough
		return fmt.Errorf("history is not kept: %w", err)
	}
	return nil
}

func (h *history) write(line string) error {
	if err := os.MkdirAll(filepath.Dir(h.path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(h.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(encodeLine(line))
	return errors.Join(err, f.Close())
}

// older returns the line before the one that is shown, whose text is now.
func (h *history) older(now string) (string, bool) {
	if h.at == 0 {
		return now, false
	}
	if h.at == len(h.lines) {
		h.draft = now
	}
	h.at--
	return h.lines[h.at], true
}

// newer returns the line behind it, at last the draft.
func (h *history) newer(now string) (string, bool) {
	if h.at == len(h.lines) {
		return now, false
	}
	h.at++
	if h.at == len(h.lines) {
		return h.draft, true
	}
	return h.lines[h.at], true
}
