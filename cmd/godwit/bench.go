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

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/godwit-llm/godwit"
	"github.com/godwit-llm/godwit/internal/bench"
	"github.com/godwit-llm/godwit/internal/hub"
)

// benchFlags are the flags of godwit bench, for batches or for load.
type benchFlags struct {
	model, config          string
	device, dtype          string
	speculation, stateType string
	prompt, decode         string
	batch, concurrency     string
	repeat, warmup         int
	stepTokens             int
	noPrefixCache, asJSON  bool
	noAhead                bool
	load                   bench.LoadOptions
	memory                 float64
	set                    func(flag string) bool // tells whether it was given
	progress               func(done, total int)  // nil: a bar
}

func benchCommand(c *console) *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:     "bench [--model DIR | --config FILE] [--batch LIST | --concurrency LIST] [flags]",
		Short:   "Measure how fast a model loads and generates, alone and under load, and how fast it could",
		Long:    benchHelp,
		Example: benchExamples,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.set = cmd.Flags().Changed
			return runBench(cmd.Context(), c, &f)
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&f.model, "model", "", modelHelp)
	fl.StringVar(&f.config, "config", "", "a config.json, or a directory or ORG/NAME of the hub that has one: random weights of that geometry")
	fl.StringVar(&f.device, "device", "auto", "auto, cpu, cuda or cuda:N")
	fl.StringVar(&f.dtype, "dtype", "auto", dtypeHelp)
	fl.StringVar(&f.stateType, "state-type", "", stateTypeHelp)
	fl.StringVar(&f.prompt, "prompt", "512", "tokens of each prompt; under load a distribution")
	fl.StringVar(&f.decode, "decode", "128", "new tokens of each request; under load a distribution")
	fl.StringVar(&f.batch, "batch", "1", "batches: numbers of requests that start together, such as 1,8,64")
	fl.IntVar(&f.repeat, "repeat", 5, "batches: measured runs of each")
	fl.StringVar(&f.concurrency, "concurrency", "", "load: numbers of requests in flight, such as 1,8,64; with --rate at most so many, 0 for no limit")
	fl.Float64Var(&f.load.Rate, "rate", 0, "load: arrivals a second, at random times (default: the next request is sent when one ends)")
	fl.IntVar(&f.load.Requests, "requests", 0, "load: measured requests of each level (default: 8 for each in flight, 16 at least; 256 without a limit)")
	fl.IntVar(&f.warmup, "warmup", 0, "load: requests before those (default: as many as run at a time)")
	fl.IntVar(&f.load.SharedPrefix, "shared-prefix", 0, "load: tokens that all prompts begin with, before those of --prompt")
	fl.IntVar(&f.load.Turns, "turns", 1, "load: requests of a conversation, each of which begins with all before it")
	fl.Uint64Var(&f.load.Seed, "seed", 0, "load: same seed, same lengths, tokens and arrivals")
	fl.IntVar(&f.load.MaxSequences, "max-sequences", 0, "load: requests that run at a time; others wait (default: the largest concurrency, 256 without a limit)")
	fl.IntVar(&f.stepTokens, "step-tokens", 0, "tokens of a step that decoding requests share with prompts (default: what suits the device)")
	fl.Float64Var(&f.memory, "memory", 0, "share of the free memory that may be used (default: 0.5 of the main memory, 0.9 of a GPU's)")
	speculateFlag(cmd, &f.speculation)
	fl.BoolVar(&f.noPrefixCache, "no-prefix-cache", false, "keep nothing of ended requests for those with the same beginning")
	fl.BoolVar(&f.noAhead, "no-ahead", false, "on a GPU, queue each step only when the one before has ended")
	fl.BoolVar(&f.asJSON, "json", false, "print one JSON object instead of a table")
	return cmd
}

// runBench opens a model for what is measured, and measures it.
func runBench(ctx context.Context, c *console, f *benchFlags) error {
	if f.model != "" && f.config != "" {
		return usageError{errors.New("got both --model and --config, want one")}
	}
	work, err := f.measurement()
	if err != nil {
		return usageError{err}
	}
	bar := newLoadBar(c)
	m, err := f.open(ctx, c, work.options(), bar.event)
	bar.done()
	if err != nil {
		return err
	}
	defer m.Close()
	runs := runBar{console: c}
	if f.progress == nil {
		f.progress = runs.progress
	}
	err = work.run(ctx, m, f.progress)
	runs.done()
	done, asked, what := work.measured()
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("cancelled; %d of %d %s were measured", done, asked, what)
	}
	if err != nil && done == 0 {
		return err
	}
	return errors.Join(work.print(c.out, f), err)
}

// measurement is one of the two things that can be measured.
type measurement interface {
	options() godwit.Options // to open the model with
	run(ctx context.Context, m *godwit.Model, progress func(done, total int)) error
	measured() (done, asked int, what string)
	print(w io.Writer, f *benchFlags) error
}

// Flags that mean something for one of the two only.
var (
	batchFlags = []string{"batch", "repeat"}
	loadFlags  = []string{"requests", "warmup", "shared-prefix", "turns", "seed", "max-sequences"}
)

// measurement reads the flags, and refuses what has no meaning.
func (f *benchFlags) measurement() (measurement, error) {
	if f.set("concurrency") || f.set("rate") {
		for _, name := range batchFlags {
			if f.set(name) {
				return nil, fmt.Errorf("got --%s with --%s: --batch measures requests that start together, --concurrency and --rate put load on the model; want one of the two", name, f.loadFlag())
			}
		}
		return f.newLoad()
	}
	for _, name := range loadFlags {
		if f.set(name) {
			return nil, fmt.Errorf("got --%s without --concurrency or --rate, which put load on the model", name)
		}
	}
	return f.newBatches()
}

// loadFlag names what asks for load.
func (f *benchFlags) loadFlag() string {
	if f.set("concurrency") {
		return "concurrency"
	}
	return "rate"
}

// numbers reads a list.
func numbers(flag, text string) ([]int, error) {
	var list []int
	for _, word := range strings.Split(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil {
			return nil, fmt.Errorf("--%s: got %q, want whole numbers separated by commas", flag, word)
		}
		list = append(list, n)
	}
	return list, nil
}

// subject completes what a report says of the model.
func (f *benchFlags) subject(s *bench.Subject) {
	s.Version, s.Random, s.Model = version(), f.config != "", f.name()
}

// name says what was measured.
func (f *benchFlags) name() string {
	if f.model == "" && f.config == "" {
		return "the built-in model"
	}
	return f.model + f.config
}

// open opens the model.
func (f *benchFlags) open(ctx context.Context, c *console, opts godwit.Options, event func(godwit.Event)) (*godwit.Model, error) {
	opts.Device, opts.DType, opts.StateType, opts.OnEvent = f.device, f.dtype, f.stateType, event
	opts.StepTokens, opts.NoPrefixCache = f.stepTokens, opts.NoPrefixCache || f.noPrefixCache
	opts.Memory, opts.Speculation, opts.NoAhead = f.memory, f.speculation, f.noAhead
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
	opts = withLibraries(opts)
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
