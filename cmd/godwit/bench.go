package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/godwit-llm/godwit"
	"github.com/godwit-llm/godwit/internal/bench"
	"github.com/godwit-llm/godwit/internal/hub"
)

// benchFlags are the flags of godwit bench.
type benchFlags struct {
	model, config, device, dtype, batch string
	asJSON                              bool
	bench.Options
}

func benchCommand(c *console) *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench [--model DIR | --config FILE] [flags]",
		Short: "Measure how fast a model loads and generates, and how fast it could",
		Long: `Measure how fast a model loads and generates, and what share that is of what
the device's memory and arithmetic allow.

For each batch B, B requests start together, with prompts of random tokens that
are new in every run. One run warms up; of the others the median is shown and,
in brackets, the least and the most.

  first token  seconds from a request's start to its first token, of the run's
               median request
  prompt       tokens of all prompts, in the time until all requests have their
               first token
  decode       tokens/s of all requests together, while all B of them decode:
               after the last one has its first token, before the first one has
               its last. Steps that read prompts do not count.
  step         B tokens at that rate: the time of one decode step
  moved        bytes that the step must move: weights once (of a mixture of
               experts those that B tokens are expected to choose), keys and
               values of the mean context, and the recurrent state, read and
               written; and these bytes in the time of the step
  floor        tokens/s if the step took just the time to read those bytes, and
               the share of it that was reached. The prompt's floor is the time
               of its operations, or of its bytes where that is longer.

The floors come from a plain reader of the device's memory and from a large
matrix product, both in the same run. A model that fits into the caches of its
device can beat them.

With --config, a model of that geometry gets random weights on the device:
no weights need to be downloaded to know how fast it will be. Without --model and
--config the small built-in model is measured.`,
		Example: `  godwit bench
  godwit bench --model ./Nemotron-Mini-4B --prompt 512 --decode 128 --batch 1,8,64
  godwit bench --config nvidia/NVIDIA-Nemotron-Nano-9B-v2
  godwit bench --config config.json --device cuda --batch 1 --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runBench(cmd.Context(), c, &f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.model, "model", "", modelHelp)
	fl.StringVar(&f.config, "config", "", "a config.json, or a directory or ORG/NAME of the hub that has one: random weights of that geometry")
	fl.StringVar(&f.device, "device", "auto", "auto, cpu, cuda or cuda:N")
	fl.StringVar(&f.dtype, "dtype", "auto", dtypeHelp)
	fl.IntVar(&f.Prompt, "prompt", 512, "tokens of each prompt")
	fl.IntVar(&f.Decode, "decode", 128, "new tokens of each request")
	fl.StringVar(&f.batch, "batch", "1", "numbers of requests at a time, such as 1,8,64")
	fl.IntVar(&f.Repeat, "repeat", 5, "measured runs of each batch")
	fl.BoolVar(&f.asJSON, "json", false, "print one JSON object instead of a table")
	return cmd
}

func runBench(ctx context.Context, c *console, f *benchFlags) error {
	if err := f.check(); err != nil {
		return usageError{err}
	}
	bar := newLoadBar(c)
	m, err := f.open(ctx, c, bar.event)
	bar.done()
	if err != nil {
		return err
	}
	defer m.Close()
	runs := runBar{console: c}
	if f.Progress == nil {
		f.Progress = runs.progress
	}
	r, err := bench.Run(ctx, m, f.Options)
	runs.done()
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("cancelled; %d of %d batches were measured", batches(r), len(f.Batches))
	}
	if err != nil && batches(r) == 0 {
		return err
	}
	r.Version, r.Random, r.Model = version(), f.config != "", f.name()
	return errors.Join(f.print(c.out, r), err)
}

// check reads the list of batches and refuses what has no meaning.
func (f *benchFlags) check() error {
	if f.model != "" && f.config != "" {
		return errors.New("got both --model and --config, want one")
	}
	f.Batches = nil
	for _, word := range strings.Split(f.batch, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil {
			return fmt.Errorf("--batch: got %q, want whole numbers separated by commas", word)
		}
		f.Batches = append(f.Batches, n)
	}
	return f.Check()
}

// batches returns how many were measured.
func batches(r *bench.Report) int {
	if r == nil {
		return 0
	}
	return len(r.Batches)
}

// name says what was measured.
func (f *benchFlags) name() string {
	if f.model == "" && f.config == "" {
		return "the built-in model"
	}
	return f.model + f.config
}

// open opens the model, with room for the largest batch.
func (f *benchFlags) open(ctx context.Context, c *console, event func(godwit.Event)) (*godwit.Model, error) {
	opts := f.Model()
	opts.Device, opts.DType, opts.OnEvent = f.device, f.dtype, event
	if f.config == "" {
		dir, err := modelDir(ctx, c, f.model, hub.Model)
		if err != nil {
			return nil, err
		}
		return openModel(ctx, dir, opts)
	}
	data, err := f.readConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	opts.LibraryDirs = libraryDirs()
	m, err := await(ctx, func() (*godwit.Model, error) { return godwit.OpenRandom(data, opts) })
	if err != nil {
		err = fmt.Errorf("--config %s: %w", f.config, err)
	}
	return m, err
}

// readConfig reads the file that --config names, or config.json in the
// directory or the repository of the hub that it names.
func (f *benchFlags) readConfig(ctx context.Context, c *console) ([]byte, error) {
	info, err := os.Stat(f.config)
	_, named := repoName(f.config)
	if err == nil && !info.IsDir() || err != nil && !named {
		return os.ReadFile(f.config)
	}
	dir, err := modelDir(ctx, c, f.config, hub.Texts)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, "config.json"))
}

func (f *benchFlags) print(w io.Writer, r *bench.Report) error {
	if f.asJSON {
		return printJSON(w, r)
	}
	return printBench(w, r)
}

// runBar shows how far a measurement is, on a terminal.
type runBar struct {
	console *console
	bar     *progressbar.ProgressBar // nil until there is something to show
}

func (b *runBar) progress(done, total int) {
	file, ok := b.console.err.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return
	}
	if b.bar == nil {
		b.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(file),
			progressbar.OptionSetDescription("measuring"), progressbar.OptionClearOnFinish())
	}
	b.bar.Set(done)
}

// done takes the bar off the screen.
func (b *runBar) done() {
	if b.bar != nil {
		b.bar.Finish()
	}
}

// printBench writes a report as a table.
func printBench(out io.Writer, r *bench.Report) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	row := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	row("model\t%s: %s, %s parameters, %s", r.Model, r.Architecture, number(float64(r.Parameters)), godwit.Bytes(r.WeightBytes))
	row("device\t%s, in %s", r.Device, r.DType)
	what := "weights read"
	if r.Random {
		what = "random weights made"
	}
	row("load\t%.3f s; %s in %.3f s, %s", r.LoadSeconds, what, r.WeightSeconds, perSecond(r.WeightRate))
	if r.ReadRate > 0 {
		row("limits\tmemory read at %s, matrix products at %s (%s)", perSecond(r.ReadRate), operations(r.ProductRate), r.ProductBy)
	}
	row("memory\t%s", memory(r.Memory))
	row("requests\tprompts of %d tokens, %d new tokens, %d runs", r.Prompt, r.Decode, r.Repeat)
	for _, note := range r.Notes {
		row("note\t%s", note)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return printBatches(out, r)
}

// printBatches writes a line for each batch.
func printBatches(out io.Writer, r *bench.Report) error {
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "batch\tfirst token\tprompt\tof floor\tdecode\tstep\tmoved\tfloor")
	for _, b := range r.Batches {
		t := b.FirstToken
		fmt.Fprintf(w, "%d\t%s ms (%s-%s)\t%s tokens/s\t%s\t%s tokens/s (%s-%s)\t%s ms\t%s, %s\t%s\n", b.Requests,
			number(t.Median*1e3), number(t.Least*1e3), number(t.Most*1e3), number(b.PromptRate.Median), percent(b.PromptShare),
			number(b.DecodeRate.Median), number(b.DecodeRate.Least), number(b.DecodeRate.Most), number(b.Step*1e3),
			godwit.Bytes(b.Traffic.Total()), perSecond(b.ByteRate), floor(b))
	}
	return w.Flush()
}

func memory(m bench.Memory) string {
	text := fmt.Sprintf("planned %s", godwit.Bytes(m.Planned))
	if m.Peak > 0 {
		text += fmt.Sprintf("; %s: peak %s, mean %s", m.Of, godwit.Bytes(m.Peak), godwit.Bytes(m.Mean))
	}
	return text
}

func floor(b bench.Batch) string {
	if b.FloorRate == 0 {
		return "-"
	}
	return fmt.Sprintf("%s tokens/s: %s", number(b.FloorRate), percent(b.FloorShare))
}

func percent(share float64) string {
	if share == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*share)
}

// number prints a number with four digits, and a unit from a million on.
func number(v float64) string {
	switch {
	case v >= 1e9:
		return fmt.Sprintf("%.3g B", v/1e9)
	case v >= 1e6:
		return fmt.Sprintf("%.3g M", v/1e6)
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.4g", v)
}

func perSecond(bytes float64) string { return godwit.Bytes(bytes).String() + "/s" }

func operations(rate float64) string {
	if rate >= 1e12 {
		return fmt.Sprintf("%.4g TFLOP/s", rate/1e12)
	}
	return fmt.Sprintf("%.4g GFLOP/s", rate/1e9)
}
