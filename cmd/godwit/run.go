package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/godwit-llm/godwit"
	"github.com/godwit-llm/godwit/internal/hub"
)

// runFlags are the flags of godwit run.
type runFlags struct {
	model, device      string
	dtype, speculation string
	ids                string
	conversation       chatFlags
	asJSON             bool
	object             bool   // the text is a JSON object
	schema             string // file with the JSON schema of the text
	maxTokens, context int
	sampling           godwit.Sampling
	seed               uint64
	stop               []string
}

func runCommand(c *console) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] [PROMPT]",
		Short: "Continue a prompt, from the argument or from standard input",
		Long: `Continue a prompt, from the argument or from standard input.

The text streams to standard output; progress and statistics go to standard
error. Of a reply in a conversation the content and the tool calls go to
standard output, the reasoning to standard error. Without --model the small built-in model is used. Sampling follows the
checkpoint's generation_config.json unless a flag says otherwise.`,
		Example: `  godwit run "Once upon a time"
  godwit run --model ./Nemotron-Mini-4B --chat "What is a godwit?"
  godwit run --model nvidia/NVIDIA-Nemotron-Nano-9B-v2 --chat "And a curlew?"
  godwit run --temperature 0 --max-tokens 20 --json --ids 1,78,1800`,
		RunE: func(cmd *cobra.Command, args []string) error { return run(cmd, c, &f, args) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.model, "model", "", modelHelp)
	fl.StringVar(&f.device, "device", "auto", "auto, cpu, cuda or cuda:N")
	fl.StringVar(&f.dtype, "dtype", "auto", dtypeHelp)
	speculateFlag(cmd, &f.speculation)
	fl.IntVar(&f.context, "context", 0, "most tokens of prompt and text (default: what the model and the memory allow)")
	fl.IntVar(&f.maxTokens, "max-tokens", 128, "most new tokens")
	fl.Float64Var(&f.sampling.Temperature, "temperature", 0, "randomness; 0 takes the most likely token (default: the checkpoint's)")
	fl.Float64Var(&f.sampling.TopP, "top-p", 0, "sample from the most likely tokens up to this probability")
	fl.IntVar(&f.sampling.TopK, "top-k", 0, "sample from this many most likely tokens")
	fl.Float64Var(&f.sampling.MinP, "min-p", 0, "leave out tokens below this share of the largest probability")
	fl.Float64Var(&f.sampling.RepetitionPenalty, "repeat-penalty", 1, "divide the logits of tokens that occurred")
	fl.Float64Var(&f.sampling.PresencePenalty, "presence-penalty", 0, "subtract from the logits of new tokens that occurred")
	fl.Float64Var(&f.sampling.FrequencyPenalty, "frequency-penalty", 0, "subtract for each occurrence")
	fl.Uint64Var(&f.seed, "seed", 0, "same seed, same text (default: a new one each time)")
	fl.StringArrayVar(&f.stop, "stop", nil, "text that ends the generation; may be repeated")
	fl.BoolVar(&f.conversation.chat, "chat", false, "treat the prompt as a user's message, and print the reply's content")
	fl.StringVar(&f.conversation.system, "system", "", "system message; implies --chat")
	fl.StringVar(&f.conversation.messages, "messages", "", "JSON file with the messages of a conversation, - for standard input; takes the prompt's place")
	fl.StringVar(&f.conversation.tools, "tools", "", "JSON file with the tools that the model may call; implies --chat")
	fl.StringVar(&f.conversation.thinking, "thinking", "", "on or off, for models that can do both; implies --chat")
	fl.IntVar(&f.conversation.budget, "thinking-budget", 0, "most tokens of reasoning; implies --chat (default: no limit)")
	fl.StringVar(&f.ids, "ids", "", "prompt as token ids: 1,2,3")
	fl.BoolVar(&f.object, "json-object", false, "the text is a JSON object")
	fl.StringVar(&f.schema, "json-schema", "", "the text is JSON that keeps the JSON schema in this file")
	fl.BoolVar(&f.asJSON, "json", false, "print one JSON object instead of text")
	return cmd
}

func run(cmd *cobra.Command, c *console, f *runFlags, args []string) error {
	request, err := f.request(c, args, cmd.Flags().Changed("ids"))
	if err != nil {
		return err
	}
	dir, err := modelDir(cmd.Context(), c, f.model, hub.Model)
	if err != nil {
		return err
	}
	bar := newLoadBar(c)
	m, err := openModel(cmd.Context(), dir, godwit.Options{Device: f.device, DType: f.dtype, Context: f.context, MaxSequences: 1, NoPrefixCache: true, Speculation: f.speculation, OnEvent: bar.event})
	bar.done()
	if err != nil {
		return err
	}
	defer m.Close()
	sampling := f.overrides(cmd, m.DefaultSampling())
	request.Sampling = &sampling
	if cmd.Flags().Changed("seed") {
		request.Seed = &f.seed
	}
	if request.Grammar, err = f.grammar(m); err != nil {
		return err
	}
	result, err := generate(cmd.Context(), c, m, request, f.asJSON)
	if err != nil && !(errors.Is(err, godwit.ErrCancelled) && result != nil) {
		return err
	}
	if f.asJSON {
		return printJSON(c.out, runReport(m, result))
	}
	printStats(c.err, m, result)
	return nil
}

// grammar compiles what the text is limited to; nil is nothing.
func (f *runFlags) grammar(m *godwit.Model) (*godwit.Grammar, error) {
	switch {
	case f.object && f.schema != "":
		return nil, usageError{errors.New("--json-object and --json-schema say different things: give one of them")}
	case f.object:
		return m.JSONObject()
	case f.schema == "":
		return nil, nil
	}
	data, err := os.ReadFile(f.schema)
	if err != nil {
		return nil, fmt.Errorf("--json-schema: %w", err)
	}
	g, err := m.JSONSchema(data)
	if err != nil {
		return nil, fmt.Errorf("--json-schema %s: %w", f.schema, err)
	}
	return g, nil
}

// overrides puts the flags that were given in the place of the checkpoint's
// sampling.
func (f *runFlags) overrides(cmd *cobra.Command, s godwit.Sampling) godwit.Sampling {
	for name, set := range map[string]func(){
		"temperature":       func() { s.Temperature = f.sampling.Temperature },
		"top-p":             func() { s.TopP = f.sampling.TopP },
		"top-k":             func() { s.TopK = f.sampling.TopK },
		"min-p":             func() { s.MinP = f.sampling.MinP },
		"repeat-penalty":    func() { s.RepetitionPenalty = f.sampling.RepetitionPenalty },
		"presence-penalty":  func() { s.PresencePenalty = f.sampling.PresencePenalty },
		"frequency-penalty": func() { s.FrequencyPenalty = f.sampling.FrequencyPenalty },
	} {
		if cmd.Flags().Changed(name) {
			set()
		}
	}
	return s
}

// request reads the prompt.
func (f *runFlags) request(c *console, args []string, byIDs bool) (godwit.Request, error) {
	r := godwit.Request{MaxTokens: f.maxTokens, Stop: f.stop}
	if f.maxTokens < 1 {
		return r, usageError{fmt.Errorf("--max-tokens is %d, want at least 1", f.maxTokens)}
	}
	if byIDs {
		if len(args) > 0 || f.conversation.any() {
			return r, usageError{errors.New("--ids is a prompt of its own: give no text and no flags of a conversation with it")}
		}
		var err error
		r.IDs, err = parseIDs(f.ids)
		return r, err
	}
	if f.conversation.any() {
		if f.conversation.messages != "" && len(args) > 0 {
			return r, usageError{errors.New("--messages takes the prompt's place: give no text with it")}
		}
		return r, f.conversation.fill(&r, c, func() (string, error) { return promptText(c, args) })
	}
	var err error
	r.Prompt, err = promptText(c, args)
	return r, err
}

// parseIDs reads "1,2,3", with or without brackets and spaces.
func parseIDs(text string) ([]int32, error) {
	var ids []int32
	for _, word := range strings.Split(strings.Trim(text, "[] \t\n"), ",") {
		id, err := strconv.ParseInt(strings.TrimSpace(word), 10, 32)
		if err != nil {
			return nil, usageError{fmt.Errorf("--ids: got %q, want whole numbers separated by commas", word)}
		}
		ids = append(ids, int32(id))
	}
	return ids, nil
}

// promptText returns the argument, or what standard input holds without the
// newline at its end.
func promptText(c *console, args []string) (string, error) {
	switch {
	case len(args) == 1:
		return args[0], checkUTF8("the prompt", args[0])
	case len(args) > 1:
		return "", usageError{fmt.Errorf("got %d arguments, want one prompt: put it in quotes", len(args))}
	case c.typed:
		return "", usageError{errors.New("no prompt: give it as an argument or on standard input")}
	}
	text, err := readText(c.in)
	text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	if err == nil && text == "" {
		err = usageError{errors.New("no prompt: standard input is empty")}
	}
	return text, err
}

// readText reads all of in, which must be UTF-8.
func readText(in io.Reader) (string, error) {
	data, err := io.ReadAll(in)
	if err != nil {
		return "", fmt.Errorf("read standard input: %w", err)
	}
	return string(data), checkUTF8("standard input", string(data))
}

// checkUTF8 names the first byte of a text that is no part of a character.
func checkUTF8(name, text string) error {
	for at := 0; at < len(text); {
		r, n := utf8.DecodeRuneInString(text[at:])
		if r == utf8.RuneError && n == 1 {
			return fmt.Errorf("%s is not UTF-8: byte %d is %#x", name, at, text[at])
		}
		at += n
	}
	return nil
}

// readJSON decodes all of in, which is one JSON value.
func readJSON(in io.Reader, v any) error {
	text, err := readText(in)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(text), v)
}

// generate streams the text, or the reply to messages, or keeps quiet for the
// JSON object.
func generate(ctx context.Context, c *console, m *godwit.Model, r godwit.Request, quiet bool) (*godwit.Result, error) {
	g, err := m.Start(ctx, r)
	if err != nil {
		return nil, err
	}
	show, end := printText(c)
	if r.Messages != nil {
		p := newReplyPrinter(c)
		show, end = func(t godwit.Token) error { return p.print(t.Deltas) }, p.end
	}
	for t := range g.Tokens() {
		if !quiet {
			if err := show(t); err != nil {
				return nil, err // a closed pipe ends the generation
			}
		}
	}
	result, err := g.Wait()
	if !quiet {
		err = errors.Join(err, end())
	}
	return result, err
}

// printText prints tokens as they are, and a newline at the end.
func printText(c *console) (show func(godwit.Token) error, end func() error) {
	show = func(t godwit.Token) error {
		_, err := io.WriteString(c.out, t.Text)
		return err
	}
	return show, func() error {
		_, err := fmt.Fprintln(c.out)
		return err
	}
}

// runOutput is the object of godwit run --json.
type runOutput struct {
	PromptIDs       []int32 `json:"prompt_ids"`
	IDs             []int32 `json:"ids"`
	Text            string  `json:"text"`
	Message         any     `json:"message,omitempty"` // the reply to a conversation
	FinishReason    string  `json:"finish_reason"`
	LoadSeconds     float64 `json:"load_seconds"`
	PromptTokens    int     `json:"prompt_tokens"`
	PromptSeconds   float64 `json:"prompt_seconds"`
	DecodeTokens    int     `json:"decode_tokens"`
	DecodeSeconds   float64 `json:"decode_seconds"`
	TokensPerSecond float64 `json:"tokens_per_second"`
	DraftedTokens   int     `json:"drafted_tokens,omitempty"`
	AcceptedTokens  int     `json:"accepted_tokens,omitempty"`
}

func runReport(m *godwit.Model, r *godwit.Result) runOutput {
	s := r.Stats
	out := runOutput{
		PromptIDs: r.PromptIDs, IDs: append([]int32{}, r.IDs...), Text: r.Text, FinishReason: r.FinishReason,
		LoadSeconds: m.LoadSeconds(), PromptTokens: s.PromptTokens, PromptSeconds: s.PromptSeconds,
		DecodeTokens: s.DecodeTokens, DecodeSeconds: s.DecodeSeconds, TokensPerSecond: s.TokensPerSecond(),
		DraftedTokens: s.DraftedTokens, AcceptedTokens: s.AcceptedTokens,
	}
	if r.Message.Role != "" {
		out.Message = r.Message
	}
	return out
}

func printStats(w io.Writer, m *godwit.Model, r *godwit.Result) {
	s := r.Stats
	fmt.Fprintf(w, "\nload    %.3f s\nprompt  %d tokens in %.3f s (%.0f tokens/s)\ndecode  %d tokens in %.3f s (%.1f tokens/s), ended by %s\n",
		m.LoadSeconds(), s.PromptTokens, s.PromptSeconds, rate(s.PromptTokens, s.PromptSeconds),
		s.DecodeTokens, s.DecodeSeconds, s.TokensPerSecond(), r.FinishReason)
	if s.DraftedTokens > 0 {
		fmt.Fprintf(w, "drafts  %d tokens, %d of them accepted\n", s.DraftedTokens, s.AcceptedTokens)
	}
}

func rate(n int, seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return float64(n) / seconds
}

// printJSON writes one value on one line, with < and & as they are.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
