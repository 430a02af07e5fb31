package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/godwit-llm/godwit"
	"github.com/godwit-llm/godwit/internal/bench"
)

// batchBench measures requests that start together.
type batchBench struct {
	o bench.Options
	r *bench.Report
}

func (f *benchFlags) newBatches() (measurement, error) {
	b := &batchBench{o: bench.Options{Repeat: f.repeat}}
	var err error
	for _, v := range []struct {
		flag, text string
		to         *int
	}{{"prompt", f.prompt, &b.o.Prompt}, {"decode", f.decode, &b.o.Decode}} {
		if *v.to, err = strconv.Atoi(v.text); err != nil {
			return nil, fmt.Errorf("--%s: got %q, want a number; distributions go with --concurrency or --rate", v.flag, v.text)
		}
	}
	if b.o.Batches, err = numbers("batch", f.batch); err != nil {
		return nil, err
	}
	if f.speculation == "auto" {
		return &speculationBench{o: bench.Speculation{Options: b.o}}, b.o.Check()
	}
	return b, b.o.Check()
}

func (b *batchBench) options() godwit.Options { return b.o.Model() }

func (b *batchBench) run(ctx context.Context, m *godwit.Model, progress func(done, total int)) (err error) {
	b.o.Progress = progress
	b.r, err = bench.Run(ctx, m, b.o)
	return err
}

func (b *batchBench) measured() (done, asked int, what string) {
	if b.r != nil {
		done = len(b.r.Batches)
	}
	return done, len(b.o.Batches), "batches"
}

func (b *batchBench) print(w io.Writer, f *benchFlags) error {
	f.subject(&b.r.Subject)
	if f.asJSON {
		return printJSON(w, b.r)
	}
	requests := fmt.Sprintf("prompts of %d tokens, %d new tokens, %d runs", b.r.Prompt, b.r.Decode, b.r.Repeat)
	if err := printSubject(w, &b.r.Subject, &b.r.Course, requests); err != nil {
		return err
	}
	return printBatches(w, b.r)
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

func floor(b bench.Batch) string { return floorOf(b.FloorRate, b.FloorShare) }
