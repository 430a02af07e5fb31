// Package convert turns a directory with PyTorch's checkpoint files,
// pytorch_model.bin or its shards, into one with safetensors files.
//
// It knows how the files of a checkpoint are named and divided, and puts the
// new ones into place all at once, when they are whole. It does not know
// architectures: names, types and shapes of tensors stay what they are.
package convert

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/godwit-llm/godwit/internal/disk"
	"github.com/godwit-llm/godwit/internal/safetensors"
	"github.com/godwit-llm/godwit/internal/torchfile"
)

// Options say how to convert.
type Options struct {
	Out       string // the directory for the files; "" means that of the checkpoint
	ShardSize int64  // bytes of tensors in a file; 0 means 5 GB
	Force     bool   // replace safetensors files that are there
	Progress  func(done, total int64)
}

// DefaultShardSize is what Hugging Face's libraries divide checkpoints by.
const DefaultShardSize = 5_000_000_000

// Report says what was done.
type Report struct {
	Files   []string // with weights, in Out
	Copied  []string // the other files of the checkpoint
	Tensors int
	Bytes   int64
	Tied    []string // tensors that were left out, because config.json ties them to others
}

// Dir converts the checkpoint in a directory. When it fails, or ctx ends, Out
// is as it was before.
func Dir(ctx context.Context, dir string, opts Options) (*Report, error) {
	if opts.Out == "" {
		opts.Out = dir
	}
	if opts.ShardSize == 0 {
		opts.ShardSize = DefaultShardSize
	}
	src, err := openSource(dir)
	if err != nil {
		return nil, fmt.Errorf("convert: %w", err)
	}
	defer src.close()
	c := &conversion{Options: opts, source: src}
	if err := c.run(ctx); err != nil {
		return nil, fmt.Errorf("convert: %w", err)
	}
	return &c.report, nil
}

// conversion is one call of Dir at work.
type conversion struct {
	Options
	*source
	report      Report
	done, total int64
}

func (c *conversion) run(ctx context.Context) error {
	tied, err := c.dropTied()
	if err != nil {
		return err
	}
	c.report.Tied = tied
	shards, err := c.divide()
	if err != nil {
		return err
	}
	old, err := c.checkOut()
	if err != nil {
		return err
	}
	if err := c.checkRoom(); err != nil {
		return err
	}
	if err := os.MkdirAll(c.Out, 0o777); err != nil {
		return err
	}
	defer c.clean(shards)
	if err := c.write(ctx, shards); err != nil {
		return err
	}
	if err := c.copyOthers(); err != nil {
		return err
	}
	return c.replace(shards, old)
}

// checkOut returns the weights that the directory for the files holds, and
// finds the files to be copied. It refuses what would be replaced, unless that
// is wanted.
func (c *conversion) checkOut() (old []string, err error) {
	if old, err = weightsIn(c.Out); err != nil {
		return nil, err
	}
	if !same(c.dir, c.Out) {
		if c.report.Copied, err = others(c.dir); err != nil {
			return nil, err
		}
	}
	there := old
	for _, name := range c.report.Copied {
		if _, err := os.Lstat(c.path(name)); err == nil {
			there = append(there, name)
		}
	}
	if len(there) > 0 && !c.Force {
		return nil, fmt.Errorf("%s holds %s already; --force replaces it", c.Out, there[0])
	}
	return old, nil
}

// checkRoom refuses what does not fit on the disk.
func (c *conversion) checkRoom() error {
	free, err := disk.Free(c.Out)
	if errors.Is(err, disk.ErrUnknown) {
		return nil
	}
	if err == nil && free < c.total {
		return fmt.Errorf("%.2f GB are needed in %s, the disk has %.2f GB free; --out may name another", float64(c.total)/1e9, c.Out, float64(free)/1e9)
	}
	return err
}

// shard is one file to be written.
type shard struct {
	name    string
	tensors []torchfile.Tensor
	bytes   int64
	begun   bool // there is a temporary file of ours
}

func (s shard) temporary() string { return "." + s.name + ".incomplete" }

// divide puts the tensors, in their order, into files of at most ShardSize; a
// larger tensor has a file of its own.
func (c *conversion) divide() ([]shard, error) {
	if c.ShardSize < 1 {
		return nil, fmt.Errorf("the size of a file is %d, want at least 1", c.ShardSize)
	}
	shards := []shard{{}}
	for _, t := range c.tensors {
		last := &shards[len(shards)-1]
		if len(last.tensors) > 0 && last.bytes+t.Len() > c.ShardSize {
			shards = append(shards, shard{})
			last = &shards[len(shards)-1]
		}
		last.tensors = append(last.tensors, t)
		last.bytes += t.Len()
		c.total += t.Len()
	}
	if len(shards) > 99999 {
		return nil, fmt.Errorf("%d files, want at most 99999: the size of a file is too small", len(shards))
	}
	for i := range shards {
		shards[i].name = "model.safetensors"
		if len(shards) > 1 {
			shards[i].name = fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(shards))
		}
		c.report.Files = append(c.report.Files, shards[i].name)
	}
	c.report.Tensors, c.report.Bytes = len(c.tensors), c.total
	return shards, nil
}

// describe returns what a safetensors file says about the shard's tensors.
func (s shard) describe() ([]safetensors.Tensor, error) {
	list := make([]safetensors.Tensor, len(s.tensors))
	for i, t := range s.tensors {
		var err error
		if list[i], err = safetensors.Describe(t.Name, t.DType, t.Shape); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (c *conversion) path(name string) string { return filepath.Join(c.Out, name) }
