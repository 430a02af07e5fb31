package convert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/godwit-llm/godwit/internal/disk"
	"github.com/godwit-llm/godwit/internal/safetensors"
	"github.com/godwit-llm/godwit/internal/torchfile"
)

const outIndexName = "model.safetensors.index.json"

var outPattern = regexp.MustCompile(`^model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?$`)

// weightsIn returns the safetensors files that a directory holds already.
func weightsIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if outPattern.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// write writes all shards under temporary names.
func (c *conversion) write(ctx context.Context, shards []shard) error {
	for i := range shards {
		if err := c.writeShard(ctx, &shards[i]); err != nil {
			return err
		}
	}
	return nil
}

// clean removes the temporary files that are left when something failed.
func (c *conversion) clean(shards []shard) {
	for _, s := range shards {
		if s.begun {
			os.Remove(c.path(s.temporary()))
		}
	}
}

func (c *conversion) writeShard(ctx context.Context, s *shard) error {
	f, err := os.OpenFile(c.path(s.temporary()), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	defer f.Close()
	if ok, err := disk.TryLock(f); !ok && !errors.Is(err, disk.ErrUnknown) {
		return errors.Join(fmt.Errorf("another process is writing %s", c.path(s.temporary())), err)
	}
	s.begun = true
	if err := f.Truncate(0); err != nil {
		return err
	}
	if err := c.fill(ctx, f, *s); err != nil {
		return full(c.Out, err)
	}
	return full(c.Out, errors.Join(f.Sync(), f.Close()))
}

// full names the disk that has no room left.
func full(dir string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("the disk of %s is full: %w", dir, err)
	}
	return err
}

// fill writes one file: the header, and each tensor as it is read.
func (c *conversion) fill(ctx context.Context, w io.Writer, s shard) error {
	list, err := s.describe()
	if err != nil {
		return err
	}
	from := map[string]torchfile.Tensor{}
	for _, t := range s.tensors {
		from[t.Name] = t
	}
	content := func(w io.Writer, t safetensors.Tensor) error {
		return from[t.Name].WriteContents(&meter{c, ctx, w})
	}
	return safetensors.WriteFrom(w, list, map[string]string{"format": "pt"}, content)
}

// meter tells how far the conversion is, and ends it when it is cancelled.
type meter struct {
	*conversion
	ctx context.Context
	w   io.Writer
}

func (m *meter) Write(p []byte) (int, error) {
	if m.ctx.Err() != nil {
		return 0, m.ctx.Err()
	}
	n, err := m.w.Write(p)
	m.done += int64(n)
	if m.Progress != nil {
		m.Progress(m.done, m.total)
	}
	return n, err
}

// replace puts the new files into the place of the old ones. The index comes
// last, since it is what readers look at.
func (c *conversion) replace(shards []shard, old []string) error {
	for _, s := range shards {
		if err := os.Rename(c.path(s.temporary()), c.path(s.name)); err != nil {
			return err
		}
	}
	keep := slices.Clone(c.report.Files)
	if len(shards) > 1 {
		if err := c.writeIndex(shards); err != nil {
			return err
		}
		keep = append(keep, outIndexName)
	}
	for _, name := range old {
		if slices.Contains(keep, name) {
			continue
		}
		if err := os.Remove(c.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (c *conversion) writeIndex(shards []shard) error {
	type metadata struct {
		Bytes int64 `json:"total_size"`
	}
	index := struct {
		Metadata metadata          `json:"metadata"`
		Weights  map[string]string `json:"weight_map"`
	}{metadata{c.total}, map[string]string{}}
	for _, s := range shards {
		for _, t := range s.tensors {
			index.Weights[t.Name] = s.name
		}
	}
	var data bytes.Buffer
	e := json.NewEncoder(&data)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(index); err != nil {
		return err
	}
	return c.place(outIndexName, &data)
}

// place writes a small file under a temporary name and renames it.
func (c *conversion) place(name string, from io.Reader) error {
	f, err := os.CreateTemp(c.Out, "."+name+".*")
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), c.path(name))
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return full(c.Out, err)
}

// weightFiles are the endings of files that hold weights in one form or
// another, which are not copied.
var weightFiles = []string{
	".bin", ".bin.index.json", ".safetensors", ".safetensors.index.json", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf", ".nemo", ".npz",
}

// others returns the files of a checkpoint that are not weights:
// configuration, tokenizer, templates, licence.
func others(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		name := e.Name()
		isWeights := slices.ContainsFunc(weightFiles, func(end string) bool { return strings.HasSuffix(name, end) })
		info, err := os.Stat(filepath.Join(dir, name)) // the cache of the hub holds links
		if !isWeights && !strings.HasPrefix(name, ".") && err == nil && info.Mode().IsRegular() {
			names = append(names, name)
		}
	}
	return names, nil
}

func (c *conversion) copyOthers() error {
	for _, name := range c.report.Copied {
		if err := c.copyFile(name); err != nil {
			return err
		}
	}
	return nil
}

func (c *conversion) copyFile(name string) error {
	in, err := os.Open(filepath.Join(c.dir, name))
	if err != nil {
		return err
	}
	defer in.Close()
	return c.place(name, in)
}

// same reports whether two names are those of one directory.
func same(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}
