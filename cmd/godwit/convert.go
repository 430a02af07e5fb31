package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/godwit-llm/godwit"
	"github.com/godwit-llm/godwit/internal/convert"
	"github.com/godwit-llm/godwit/internal/hub"
)

func convertCommand(c *console) *cobra.Command {
	var opts convert.Options
	var size string
	cmd := &cobra.Command{
		Use:   "convert [flags] DIR | NAME",
		Short: "Turn pytorch_model.bin into safetensors",
		Long: `Turn the pytorch_model.bin of a checkpoint, or its shards, into safetensors
files, bit for bit. The files come to lie beside the old ones, or in --out with
the configuration and the tokenizer. A model of the hub is fetched first, and
converted in the cache, where --model finds it.

No code in the file is run: whatever is not part of a tensor is refused.`,
		Example: `  godwit convert nvidia/Nemotron-Mini-4B-Instruct
  godwit convert ./Minitron-8B-Base --out ./Minitron-8B-safetensors`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("convert wants one directory or name")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if opts.ShardSize, err = parseBytes(size); err != nil {
				return usageError{fmt.Errorf("--shard-size: %w", err)}
			}
			return convertModel(cmd.Context(), c, args[0], opts)
		},
	}
	cmd.Flags().StringVar(&opts.Out, "out", "", "directory for the files (default: that of the checkpoint)")
	cmd.Flags().StringVar(&size, "shard-size", "5GB", "largest file, as 500MB, 5GB or 4GiB")
	cmd.Flags().BoolVar(&opts.Force, "force", false, "replace files that are there")
	return cmd
}

func convertModel(ctx context.Context, c *console, name string, opts convert.Options) error {
	dir := name
	if n, ok := repoName(name); ok {
		s, err := snapshotOf(ctx, c, n, hub.Model)
		if err != nil {
			return err
		}
		dir = s.Dir
	}
	bar := newByteBar(c, "converting")
	opts.Progress = bar.show
	report, err := convert.Dir(ctx, dir, opts)
	bar.done()
	if errors.Is(err, context.Canceled) {
		return errors.New("convert: interrupted; nothing was changed")
	}
	if err != nil {
		return err
	}
	for _, name := range report.Tied {
		fmt.Fprintf(c.err, "%s is left out: config.json ties it to the embedding\n", name)
	}
	where := report.Files[0]
	if n := len(report.Files); n > 1 {
		where = fmt.Sprintf("%d files", n)
	}
	fmt.Fprintf(c.err, "%d tensors, %v in %s\n", report.Tensors, godwit.Bytes(report.Bytes), where)
	if opts.Out != "" {
		dir = opts.Out
	}
	_, err = fmt.Fprintln(c.out, filepath.Clean(dir))
	return err
}

// units of sizes, the longer names first.
var units = []struct {
	name  string
	bytes float64
}{{"KIB", 1 << 10}, {"MIB", 1 << 20}, {"GIB", 1 << 30}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}, {"", 1}}

// parseBytes reads a size such as 500MB.
func parseBytes(text string) (int64, error) {
	upper := strings.ToUpper(strings.TrimSpace(text))
	for _, u := range units {
		number, ok := strings.CutSuffix(upper, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if n *= u.bytes; err == nil && n >= 1 && n < math.MaxInt64 {
			return int64(n), nil
		}
		break
	}
	return 0, fmt.Errorf("got %q, want a size such as 500MB or 5GB", text)
}
