package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/godwit-llm/godwit"
	"github.com/godwit-llm/godwit/internal/hub"
)

func inspectCommand(c *console) *cobra.Command {
	var opts godwit.InspectOptions
	var tensors, asJSON bool
	var match string
	cmd := &cobra.Command{
		Use:   "inspect DIR | NAME",
		Short: "Describe a checkpoint: parameters, bytes and memory plan",
		Long: `Describe a checkpoint from config.json and the headers of its files; no weight
is read. A model of the hub is fetched first. The memory plan, and what a token
reads, are those of the CPU, whose cache is float32; with --dtype those of a GPU
that holds weights and cache in that type.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("inspect wants one directory or name")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := modelDir(cmd.Context(), c, args[0], hub.Model)
			if err != nil {
				return err
			}
			r, err := godwit.Inspect(dir, opts)
			if err != nil {
				return err
			}
			r.Tensors = chosen(r.Tensors, tensors || match != "", match)
			if asJSON {
				return printJSON(c.out, r)
			}
			return printReport(c.out, r)
		},
	}
	cmd.Flags().BoolVar(&tensors, "tensors", false, "list the tensors")
	cmd.Flags().StringVar(&match, "match", "", "list the tensors whose name contains this text")
	cmd.Flags().IntVar(&opts.Context, "context", 0, "tokens of a sequence to plan for (default: max_position_embeddings)")
	cmd.Flags().IntVar(&opts.Sequences, "sequences", 1, "sequences to plan for")
	cmd.Flags().StringVar(&opts.DType, "dtype", "", "plan for a GPU that computes in this type: float32, bfloat16, float16, or auto, the one most weights are stored in (default: plan for the CPU)")
	cmd.Flags().StringVar(&opts.StateType, "state-type", "", stateTypeHelp)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func chosen(all []godwit.TensorReport, list bool, match string) []godwit.TensorReport {
	if !list {
		return nil
	}
	return slices.DeleteFunc(all, func(t godwit.TensorReport) bool { return !strings.Contains(t.Name, match) })
}

func printReport(out io.Writer, r *godwit.Report) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	row := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	row("architecture\t%s, %d layers, hidden %d, vocabulary %d, context %d", r.Architecture, r.Layers, r.Hidden, r.Vocabulary, r.Context)
	row("parameters\t%s", count(r.Parameters))
	for _, p := range r.Parts {
		row("  %s\t%s\t%s", p.Name, count(p.Parameters), godwit.Bytes(p.Bytes))
	}
	for _, name := range slices.Sorted(maps.Keys(r.DTypes)) {
		row("tensors in %s\t%d", name, r.DTypes[name])
	}
	if len(r.NotUsed) > 0 {
		row("tensors not used\t%d (%s, ...)", len(r.NotUsed), r.NotUsed[0])
	}
	row("weights\t%s in %d files", godwit.Bytes(r.Bytes), r.Files)
	row("type on a GPU\t%s", r.GPUType)
	row("read per decoded token\t%s", godwit.Bytes(r.BytesPerToken))
	row("cache per token\t%s", godwit.Bytes(r.CachePerToken))
	row("state per sequence\t%s", godwit.Bytes(r.StatePerRequest))
	p := r.Plan
	row("memory for %d x %d tokens\t%s on the %s: weights %s, cache %s, state %s, step %s%s", p.Sequences, p.Context,
		godwit.Bytes(p.Total), place(p), godwit.Bytes(p.Weights), godwit.Bytes(p.Cache), godwit.Bytes(p.State), godwit.Bytes(p.Scratch), driver(p))
	for _, t := range r.Tensors {
		row("%s\t%s%v\t%s\t%s\t%s", t.Name, t.DType, t.Shape, godwit.Bytes(t.Bytes), t.Part, filepath.Base(t.File))
	}
	return w.Flush()
}

// driver says what comes on top on a GPU.
func driver(p godwit.PlanReport) string {
	if p.Driver == 0 {
		return ""
	}
	return fmt.Sprintf(", driver and kernels about %s", godwit.Bytes(p.Driver))
}

// place names the device of a plan, its type, and what is free there.
func place(p godwit.PlanReport) string {
	if p.Device == "cuda" {
		return "GPU in " + p.DType
	}
	return fmt.Sprintf("CPU in %s, where %s are free", p.DType, godwit.Bytes(p.Free))
}

// count prints a number with a unit, and in full.
func count(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f B (%d)", float64(n)/1e9, n)
	case n >= 1e6:
		return fmt.Sprintf("%.2f M (%d)", float64(n)/1e6, n)
	}
	return fmt.Sprint(n)
}
