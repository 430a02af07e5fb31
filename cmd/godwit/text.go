package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/godwit-llm/godwit/internal/builtin"
	"github.com/godwit-llm/godwit/internal/chat"
	"github.com/godwit-llm/godwit/internal/hub"
	"github.com/godwit-llm/godwit/internal/jinja"
	"github.com/godwit-llm/godwit/internal/tokenizer"
)

// modelFS returns the files of a model directory, or of the built-in model.
func modelFS(dir string) fs.FS {
	if dir == "" {
		return builtin.FS()
	}
	return os.DirFS(dir)
}

func readModelFile(dir, name string) ([]byte, error) {
	data, err := fs.ReadFile(modelFS(dir), name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, name), errors.Unwrap(err))
	}
	return data, nil
}

func tokenizeCommand(c *console) *cobra.Command {
	var model string
	var noSpecial, decode, lines bool
	cmd := &cobra.Command{
		Use:   "tokenize [--model DIR | NAME] [--no-special] [--decode] [--json-lines]",
		Short: "Turn text on standard input into token ids, or ids into text",
		Long: `Turn text on standard input into one JSON array of token ids, or with --decode
a JSON array of ids into text. With --json-lines each input line is one JSON
value (a string, or with --decode an array) and each output line its result.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := modelDir(cmd.Context(), c, model, hub.Texts)
			if err != nil {
				return err
			}
			data, err := readModelFile(dir, "tokenizer.json")
			if err != nil {
				return err
			}
			t, err := tokenizer.Parse(data)
			if err != nil {
				return err
			}
			return tokenize(c, t, noSpecial, decode, lines)
		},
	}
	cmd.Flags().StringVar(&model, "model", "", modelHelp)
	cmd.Flags().BoolVar(&noSpecial, "no-special", false, "add no special ids around the text; with --decode, leave special tokens out of it")
	cmd.Flags().BoolVar(&decode, "decode", false, "ids to text")
	cmd.Flags().BoolVar(&lines, "json-lines", false, "one JSON value a line")
	return cmd
}

func tokenize(c *console, t *tokenizer.Tokenizer, noSpecial, decode, lines bool) error {
	encoded := func(text string) []int32 { return append([]int32{}, t.Encode(text, !noSpecial)...) }
	switch {
	case lines && decode:
		return eachLine(c, decoded(func(ids []int32) any { return t.Decode(ids, noSpecial) }))
	case lines:
		return eachLine(c, decoded(func(text string) any { return encoded(text) }))
	case decode:
		var ids []int32
		if err := readJSON(c.in, &ids); err != nil {
			return fmt.Errorf("standard input: want a JSON array of token ids: %w", err)
		}
		_, err := io.WriteString(c.out, t.Decode(ids, noSpecial))
		return err
	}
	text, err := readText(c.in)
	if err != nil {
		return err
	}
	return printJSON(c.out, encoded(text))
}

// decoded makes a function of a JSON value one of a line.
func decoded[T any](f func(T) any) func(line []byte) (any, error) {
	return func(line []byte) (any, error) {
		var v *T
		if err := checkUTF8("the line", string(line)); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(line, &v); err != nil {
			return nil, err
		}
		if v == nil {
			return nil, errors.New("got null, want a value")
		}
		return f(*v), nil
	}
}

// eachLine prints the result of each line of standard input. What is printed
// does not wait for lines that are not there yet.
func eachLine(c *console, f func(line []byte) (any, error)) error {
	out := bufio.NewWriter(c.out)
	defer out.Flush()
	in := bufio.NewReader(c.in)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if len(line) == 0 && errors.Is(err, io.EOF) {
			return out.Flush()
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read standard input: %w", err)
		}
		result, err := f(line)
		if err != nil {
			return fmt.Errorf("standard input: line %d: %w", n, err)
		}
		if err := printJSON(out, result); err != nil {
			return err
		}
		if in.Buffered() == 0 {
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
}

func renderCommand(c *console) *cobra.Command {
	var model, file string
	var lines bool
	cmd := &cobra.Command{
		Use:   "render (--model DIR | NAME | --template FILE) [--json-lines]",
		Short: "Turn a chat request on standard input into the prompt text",
		Long: `Turn a chat-completions request on standard input (messages, tools,
chat_template_kwargs, add_generation_prompt) into the prompt text. With
--json-lines each line is one request, and each output line one JSON string or
{"error": "..."}.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if model != "" && file != "" {
				return usageError{errors.New("--model and --template exclude each other")}
			}
			dir, err := modelDir(cmd.Context(), c, model, hub.Texts)
			if err != nil {
				return err
			}
			t, err := openTemplate(dir, file)
			if err != nil {
				return err
			}
			return render(c, t, lines)
		},
	}
	cmd.Flags().StringVar(&model, "model", "", modelHelp)
	cmd.Flags().StringVar(&file, "template", "", "file with a Jinja template")
	cmd.Flags().BoolVar(&lines, "json-lines", false, "one request a line")
	return cmd
}

func openTemplate(dir, file string) (*chat.Template, error) {
	if file != "" {
		source, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		t, err := chat.ParseTemplate(string(source))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		return t, nil
	}
	if _, err := fs.Stat(modelFS(dir), "."); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, errors.Unwrap(err))
	}
	config, err := readOptional(dir, "tokenizer_config.json")
	if err != nil {
		return nil, err
	}
	source, err := readOptional(dir, "chat_template.jinja")
	if err != nil {
		return nil, err
	}
	t, err := chat.Load(config, source)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return t, nil
}

func readOptional(dir, name string) ([]byte, error) {
	data, err := readModelFile(dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// renderError returns what the template itself says where it refuses a
// request.
func renderError(err error) string {
	var raised *jinja.RaisedError
	if errors.As(err, &raised) {
		return raised.Message
	}
	return err.Error()
}

func render(c *console, t *chat.Template, lines bool) error {
	if lines {
		return eachLine(c, func(request []byte) (any, error) {
			text, err := t.Render(request)
			if err != nil {
				return map[string]string{"error": renderError(err)}, nil
			}
			return text, nil
		})
	}
	request, err := io.ReadAll(c.in)
	if err != nil {
		return fmt.Errorf("read standard input: %w", err)
	}
	text, err := t.Render(request)
	if err != nil {
		return err
	}
	_, err = io.WriteString(c.out, text)
	return err
}
