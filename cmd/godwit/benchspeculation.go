package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/godwit-llm/godwit"
	"github.com/godwit-llm/godwit/internal/bench"
)

// speculationBench measures what speculation brings.
type speculationBench struct {
	o bench.Speculation
	r *bench.SpeculationReport
}

func (b *speculationBench) options() godwit.Options { return b.o.Model() }

func (b *speculationBench) run(ctx context.Context, m *godwit.Model, progress func(done, total int)) (err error) {
	b.o.Progress = progress
	b.r, err = bench.RunSpeculation(ctx, m, b.o)
	return err
}

func (b *speculationBench) measured() (done, asked int, what string) {
	if b.r != nil {
		done = len(b.r.Texts)
	}
	return done, 2 * len(b.o.Batches), "texts"
}

func (b *speculationBench) print(w io.Writer, f *benchFlags) error {
	f.subject(&b.r.Subject)
	if f.asJSON {
		return printJSON(w, b.r)
	}
	requests := fmt.Sprintf("prompts of %d tokens, %d new tokens, %d runs", b.r.Prompt, b.r.Decode, b.r.Repeat)
	if err := printSubject(w, &b.r.Subject, &b.r.Course, requests); err != nil {
		return err
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "batch\ttext\tone token a step\twith drafts\tspeedup\tdrafted\taccepted\tsame output")
	for _, v := range b.r.Texts {
		fmt.Fprintf(t, "%d\t%s\t%s tokens/s\t%s tokens/s\t%.2f (%.2f-%.2f)\t%d of %d\t%d\t%d of %d\n", v.Requests, v.Text,
			number(v.Without.Median), number(v.With.Median), v.Speedup.Median, v.Speedup.Least, v.Speedup.Most,
			v.Drafted, v.Decoded, v.Accepted, v.Same, v.Compared)
	}
	return t.Flush()
}
