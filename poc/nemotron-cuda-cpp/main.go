// Command nemotron-cuda-cpp is the acceptance program of the CUDA
// specification: it loads a Nemotron safetensors checkpoint straight into a
// GPU's memory and generates. It has nothing of its own but flags and output.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/godwit-llm/godwit"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// settings are the flags.
type settings struct {
	model, prompt, promptFile string
	maxTokens, device         int
	verbose                   bool
	told                      int64 // twentieths of the weights that were reported
}

// run returns the exit status. Text alone goes to out.
func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	s, err := parse(args, errOut)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = s.generate(ctx, out, errOut)
	}
	if err != nil {
		fmt.Fprintf(errOut, "error: %v\n", err)
		return 1
	}
	return 0
}

func parse(args []string, errOut io.Writer) (settings, error) {
	var s settings
	f := flag.NewFlagSet("nemotron-cuda-cpp", flag.ContinueOnError)
	f.SetOutput(errOut)
	f.StringVar(&s.model, "model", "", "directory with config.json, tokenizer.json and safetensors files")
	f.StringVar(&s.prompt, "prompt", "", "text to continue")
	f.StringVar(&s.promptFile, "prompt-file", "", "file with the text to continue")
	f.IntVar(&s.maxTokens, "max-tokens", 100, "tokens to generate")
	f.IntVar(&s.device, "device", 0, "number of the GPU")
	f.BoolVar(&s.verbose, "verbose", false, "tell what is being done")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	switch {
	case f.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q; see --help", f.Arg(0))
	case s.model == "":
		return s, errors.New("--model is missing; see --help")
	case (s.prompt == "") == (s.promptFile == ""):
		return s, errors.New("want either --prompt or --prompt-file; see --help")
	case s.maxTokens < 1:
		return s, fmt.Errorf("--max-tokens is %d, want at least 1", s.maxTokens)
	case s.device < 0:
		return s, fmt.Errorf("--device is %d, want 0 or more", s.device)
	}
	if s.promptFile == "" {
		return s, nil
	}
	text, err := os.ReadFile(s.promptFile)
	s.prompt = string(text)
	return s, err
}

func (s *settings) generate(ctx context.Context, out, errOut io.Writer) error {
	m, err := godwit.Open(s.model, godwit.Options{
		Device: fmt.Sprintf("cuda:%d", s.device), MaxSequences: 1, NoPrefixCache: true,
		OnEvent: func(e godwit.Event) { s.tell(errOut, e) },
	})
	if err != nil {
		return err
	}
	defer m.Close()
	g, err := m.Start(ctx, godwit.Request{Prompt: s.prompt, MaxTokens: s.maxTokens})
	if err != nil {
		return err
	}
	for t := range g.Tokens() {
		if _, err := io.WriteString(out, t.Text); err != nil {
			return err
		}
	}
	fmt.Fprintln(out)
	result, err := g.Wait()
	report(errOut, m, result)
	return err
}

// tell prints warnings, and with --verbose everything.
func (s *settings) tell(w io.Writer, e godwit.Event) {
	switch {
	case e.Kind == godwit.Warning:
		fmt.Fprintf(w, "warning: %s\n", e.Message)
	case s.verbose && e.Kind == godwit.Progress:
		if part := 20 * e.Done / max(e.Total, 1); part > s.told {
			s.told = part
			fmt.Fprintf(w, "loaded %s of %s\n", godwit.Bytes(e.Done), godwit.Bytes(e.Total))
		}
	case s.verbose:
		fmt.Fprintln(w, e.Message)
	}
}

// report prints the statistics. The token that the prompt pass yields is not
// counted as generated in the rate.
func report(w io.Writer, m *godwit.Model, r *godwit.Result) {
	s := r.Stats
	fmt.Fprintf(w, "\nload time:         %.3f s\n", m.LoadSeconds())
	fmt.Fprintf(w, "prompt tokens:     %d\n", s.PromptTokens)
	fmt.Fprintf(w, "prompt time:       %.3f s\n", s.PromptSeconds)
	fmt.Fprintf(w, "generated tokens:  %d\n", len(r.IDs))
	fmt.Fprintf(w, "generation time:   %.3f s\n", s.DecodeSeconds)
	fmt.Fprintf(w, "tokens per second: %.1f\n", s.TokensPerSecond())
}
