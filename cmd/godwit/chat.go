package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/godwit-llm/godwit"
	"github.com/godwit-llm/godwit/internal/chatui"
	"github.com/godwit-llm/godwit/internal/hub"
)

// talkFlags are the flags of godwit chat.
type talkFlags struct {
	model, device, tools string
	context              int
	speculation          string
	noHistory            bool
	screen               chatui.Options
}

func chatCommand(c *console) *cobra.Command {
	var f talkFlags
	cmd := &cobra.Command{
		Use:   "chat [flags]",
		Short: "Talk with a model on the terminal",
		Long: `Talk with a model on the terminal, over the whole screen. Esc stops an answer,
/help lists the commands and keys, Ctrl-D quits. What you typed is remembered
for the next time; the conversation is kept where you /save it.

Where standard input or output is no terminal, each line of the input is a
message or a command, and the answers alone go to standard output.

Without --model the small built-in model is used, which writes period prose and
knows nothing. The flags that are settings can be changed with /set.`,
		Example: `  godwit chat
  godwit chat --model nvidia/NVIDIA-Nemotron-Nano-9B-v2 --thinking off
  godwit chat --load birds.json
  printf '%s\n' "What is a godwit?" "And a curlew?" | godwit chat --model ./Nemotron-Mini-4B`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return talk(cmd, c, &f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.model, "model", "", modelHelp)
	fl.StringVar(&f.device, "device", "auto", "auto, cpu, cuda or cuda:N")
	fl.IntVar(&f.context, "context", 0, "most tokens of the conversation (default: what the model and the memory allow)")
	speculateFlag(cmd, &f.speculation)
	fl.StringVar(&f.screen.System, "system", "", "system message")
	fl.StringVar(&f.tools, "tools", "", "JSON file with the tools that the model may call; you give their results with /tool")
	fl.StringVar(&f.screen.Load, "load", "", "go on with the conversation in this file, of /save")
	fl.BoolVar(&f.noHistory, "no-history", false, "neither read nor keep what is typed")
	for _, s := range chatui.AllSettings() {
		fl.Var(&settingFlag{&f.screen.Settings, s}, s.Name, s.Help)
	}
	return cmd
}

// settingFlag is a flag that changes a setting.
type settingFlag struct {
	settings *chatui.Settings
	setting  chatui.Setting
}

func (f *settingFlag) Set(text string) error { return f.settings.Set(f.setting.Name, text) }
func (f *settingFlag) Type() string          { return f.setting.Values }
func (f *settingFlag) String() string        { return "" } // no default is shown

func talk(cmd *cobra.Command, c *console, f *talkFlags) error {
	ctx := cmd.Context()
	if f.tools != "" {
		if f.tools == "-" {
			return usageError{errors.New("--tools: standard input is for messages; want a file")}
		}
		if err := readFlagJSON(c, "--tools", f.tools, &f.screen.Tools); err != nil {
			return err
		}
	}
	dir, err := modelDir(ctx, c, f.model, hub.Model)
	if err != nil {
		return err
	}
	f.screen.Name = f.name()
	if in, out, ok := c.screen(); ok {
		if !f.noHistory {
			f.screen.History = historyFile()
		}
		f.screen.NoColor = os.Getenv("NO_COLOR") != ""
		f.screen.Open = f.opener(dir)
		return chatui.Run(ctx, f.screen, in, out)
	}
	bar := newLoadBar(c)
	open := f.opener(dir)
	f.screen.Open = func(ctx context.Context, _ func(godwit.Event)) (chatui.Model, error) {
		defer bar.done()
		return open(ctx, bar.event)
	}
	return chatui.RunPlain(ctx, f.screen, c.in, c.out, c.err)
}

// opener returns what loads the model.
func (f *talkFlags) opener(dir string) func(context.Context, func(godwit.Event)) (chatui.Model, error) {
	return func(ctx context.Context, event func(godwit.Event)) (chatui.Model, error) {
		m, err := openModel(ctx, dir, godwit.Options{Device: f.device, Context: f.context, MaxSequences: 1, Speculation: f.speculation, OnEvent: event})
		if err != nil {
			return nil, err
		}
		return chatui.Of(m), nil
	}
}

// name is the model's name on the screen.
func (f *talkFlags) name() string {
	if _, ok := repoName(f.model); ok {
		return f.model
	}
	if f.model == "" {
		return "built-in model"
	}
	return filepath.Base(f.model)
}

// screen returns the terminal, if both standard input and output are one that
// can be drawn on.
func (c *console) screen() (in, out *os.File, ok bool) {
	out, ok = c.out.(*os.File)
	if !ok || !c.typed || !isTerminal(out) || os.Getenv("TERM") == "dumb" {
		return nil, nil, false
	}
	return os.Stdin, out, true
}

// historyFile is where what was typed is kept; "" where there is no place.
func historyFile() string {
	base := os.Getenv("XDG_STATE_HOME")
	if base == "" && runtime.GOOS == "windows" {
		base = os.Getenv("LocalAppData")
	}
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "godwit", "chat-history")
}
