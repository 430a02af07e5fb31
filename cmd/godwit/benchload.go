package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"text/tabwriter"

	"github.com/godwit-llm/godwit"
	"github.com/godwit-llm/godwit/internal/bench"
)

// loadBench puts load on a model.
type loadBench struct {
	o bench.LoadOptions
	r *bench.LoadReport
}

func (f *benchFlags) newLoad() (measurement, error) {
	l := &loadBench{o: f.load}
	var err error
	if l.o.Prompt, err = bench.ParseLengths(f.prompt); err != nil {
		return nil, fmt.Errorf("--prompt: %w", err)
	}
	if l.o.Decode, err = bench.ParseLengths(f.decode); err != nil {
		return nil, fmt.Errorf("--decode: %w", err)
	}
	l.o.Concurrency = []int{0}
	if f.set("concurrency") {
		if l.o.Concurrency, err = numbers("concurrency", f.concurrency); err != nil {
			return nil, err
		}
	}
	if err := f.checkLoad(); err != nil {
		return nil, err
	}
	if l.o.Warmup = f.warmup; f.set("warmup") && f.warmup == 0 {
		l.o.Warmup = -1
	}
	return l, l.o.Check()
}

// checkLoad refuses zeros that stand for a flag that was not given.
func (f *benchFlags) checkLoad() error {
	for _, v := range []struct {
		flag  string
		value float64
	}{
		{"rate", f.load.Rate},
		{"requests", float64(f.load.Requests)},
		{"turns", float64(f.load.Turns)},
		{"max-sequences", float64(f.load.MaxSequences)},
	} {
		if f.set(v.flag) && !(v.value > 0) {
			return fmt.Errorf("--%s is %g, want more than 0", v.flag, v.value)
		}
	}
	if f.warmup < 0 {
		return fmt.Errorf("--warmup is %d, want 0 or more", f.warmup)
	}
	return nil
}

func (l *loadBench) options() godwit.Options { return l.o.Model() }

func (l *loadBench) run(ctx context.Context, m *godwit.Model, progress func(done, total int)) (err error) {
	l.o.Progress = progress
	if l.r, err = bench.RunLoad(ctx, m, l.o); err != nil {
		return err
	}
	failed, asked := 0, 0
	for _, v := range l.r.Levels {
		failed, asked = failed+v.Failed, asked+v.Requests+v.Failed
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d requests failed", failed, asked)
	}
	return nil
}

func (l *loadBench) measured() (done, asked int, what string) {
	if l.r != nil {
		done = len(l.r.Levels)
	}
	return done, len(l.o.Concurrency), "levels"
}

func (l *loadBench) print(w io.Writer, f *benchFlags) error {
	f.subject(&l.r.Subject)
	if f.asJSON {
		return printJSON(w, l.r)
	}
	if err := printSubject(w, &l.r.Subject, &l.r.Course, loadTexts(l.r)...); err != nil {
		return err
	}
	for _, print := range []func(io.Writer, *bench.LoadReport) error{printRates, printTimes, printReuse} {
		fmt.Fprintln(w)
		if err := print(w, l.r); err != nil {
			return err
		}
	}
	return printErrors(w, l.r)
}

// loadTexts says what load it was.
func loadTexts(r *bench.LoadReport) []string {
	prompts := fmt.Sprintf("prompts of %s tokens", r.Prompt)
	if r.SharedPrefix > 0 {
		prompts += fmt.Sprintf(" behind the same %d", r.SharedPrefix)
	}
	prompts += fmt.Sprintf(", %s new tokens, seed %d", r.Decode, r.Seed)
	if r.Turns > 1 {
		prompts += fmt.Sprintf(", conversations of %d turns", r.Turns)
	}
	loop := "closed loop: the next one is sent when one ends"
	if r.Rate > 0 {
		what := "requests"
		if r.Turns > 1 {
			what = "conversations"
		}
		loop = fmt.Sprintf("open loop: %g %s/s, at random times", r.Rate, what)
	}
	return []string{prompts, fmt.Sprintf("%s; the model runs at most %d at a time", loop, r.MaxSequences)}
}

// table writes a line for each level.
func table(out io.Writer, r *bench.LoadReport, header string, line func(v *bench.Level) string) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "in flight\t"+header)
	for i := range r.Levels {
		v := &r.Levels[i]
		name := strconv.Itoa(v.Concurrency)
		if r.Rate > 0 {
			name = fmt.Sprintf("%s of %s", number(v.MeanFlight), name)
		}
		if v.Concurrency == 0 {
			name = number(v.MeanFlight)
		}
		fmt.Fprintf(w, "%s\t%s\n", name, line(v))
	}
	return w.Flush()
}

func printRates(out io.Writer, r *bench.LoadReport) error {
	return table(out, r, "requests\tfailed\twarm-up\ttime\tout\tfloor\twith prompts\trequests/s\tprompt", func(v *bench.Level) string {
		return fmt.Sprintf("%d\t%d\t%d\t%s s\t%s tokens/s\t%s\t%s\t%s\t%s tokens/s", v.Requests, v.Failed, v.Warmup, number(v.Seconds),
			number(v.OutputRate), floorOf(v.FloorRate, v.FloorShare), percent(v.WorkShare), number(v.RequestRate), number(v.PromptRate))
	})
}

func printTimes(out io.Writer, r *bench.LoadReport) error {
	return table(out, r, "ms, p50 p90 p99: first token\tbetween tokens\tend to end\tqueue", func(v *bench.Level) string {
		return fmt.Sprintf("%s\t%s\t%s\t%s", times(v.FirstToken), times(v.InterToken), times(v.EndToEnd), times(v.Queue))
	})
}

func times(p bench.Percentiles) string {
	if p.Most == 0 {
		return "-"
	}
	return fmt.Sprintf("%s %s %s", milliseconds(p.P50), milliseconds(p.P90), milliseconds(p.P99))
}

// milliseconds prints three digits.
func milliseconds(seconds float64) string {
	if ms := seconds * 1e3; ms < 100 {
		return fmt.Sprintf("%.3g", ms)
	}
	return fmt.Sprintf("%.0f", seconds*1e3)
}

func printReuse(out io.Writer, r *bench.LoadReport) error {
	return table(out, r, "reused\thit\tpartial\tno snapshot\tevicted\ttoo short\tmiss\tpreempted\tpeak pages", func(v *bench.Level) string {
		l := v.Lookups
		return fmt.Sprintf("%.1f %%\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d of %d", 100*v.ReusedShare,
			l.Hit, l.Partial, l.NoSnapshot, l.Evicted, l.TooShort, l.Miss, v.Preempted, v.PeakPages, v.Pages)
	})
}

// printErrors writes what went wrong, if anything did.
func printErrors(out io.Writer, r *bench.LoadReport) error {
	var errs []error
	for _, v := range r.Levels {
		for _, text := range slices.Sorted(maps.Keys(v.Errors)) {
			_, err := fmt.Fprintf(out, "\n%d requests of level %d: %s\n", v.Errors[text], v.Concurrency, text)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
