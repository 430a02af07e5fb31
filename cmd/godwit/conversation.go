package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/godwit-llm/godwit"
)

// chatFlags are the flags of a conversation.
type chatFlags struct {
	chat                    bool
	system, messages, tools string
	thinking                string
	budget                  int
}

func (f *chatFlags) any() bool {
	return *f != chatFlags{}
}

// fill puts the conversation into a request: the messages of a file, or the
// prompt as a user's message.
func (f *chatFlags) fill(r *godwit.Request, c *console, prompt func() (string, error)) error {
	if err := f.fillMessages(r, c, prompt); err != nil {
		return err
	}
	if f.tools != "" {
		if err := readFlagJSON(c, "--tools", f.tools, &r.Tools); err != nil {
			return err
		}
	}
	if r.ThinkingBudget = f.budget; f.budget < 0 {
		return usageError{fmt.Errorf("--thinking-budget is %d, want at least 1, or 0 for no limit", f.budget)}
	}
	switch f.thinking {
	case "":
	case "on", "off":
		r.TemplateArgs = map[string]any{"enable_thinking": f.thinking == "on"}
	default:
		return usageError{fmt.Errorf("--thinking is %q, want on or off", f.thinking)}
	}
	return nil
}

func (f *chatFlags) fillMessages(r *godwit.Request, c *console, prompt func() (string, error)) error {
	if f.messages != "" {
		if f.system != "" {
			return usageError{errors.New("--messages holds the system message: give no --system with it")}
		}
		err := readFlagJSON(c, "--messages", f.messages, &r.Messages)
		if err == nil && len(r.Messages) == 0 {
			err = fmt.Errorf("--messages: %s holds no messages", f.messages)
		}
		return err
	}
	text, err := prompt()
	if err != nil {
		return err
	}
	if f.system != "" {
		r.Messages = append(r.Messages, godwit.Message{Role: "system", Content: f.system})
	}
	r.Messages = append(r.Messages, godwit.Message{Role: "user", Content: text})
	return nil
}

// readFlagJSON reads the file that a flag names; - is standard input.
func readFlagJSON(c *console, flag, name string, v any) error {
	var in io.Reader = c.in
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("%s: %w", flag, err)
		}
		defer file.Close()
		in = file
	}
	data, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	if err := checkUTF8(name, string(data)); err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %s: %w", flag, name, err)
	}
	return nil
}
