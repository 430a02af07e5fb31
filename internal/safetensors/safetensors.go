// Package safetensors reads and writes the files that hold the weights of
// Hugging Face checkpoints. It turns one file, or the shards of an index, into
// named, typed and shaped ranges of bytes, and refuses anything that does not
// hold together before a tensor is used.
//
// It knows names, types, shapes and where the bytes are. It does not know what
// a tensor means, converts no elements and reads no weights: files are mapped,
// and a page of weights comes into memory when somebody touches it.
//
// A file that is truncated while it is mapped makes a later read of its pages
// fault (SIGBUS), as every mapping does: replace the files of a checkpoint in
// use by renaming new ones into place, do not overwrite them.
//
// What is accepted is what the reference implementation accepts, except that
// these are errors here: white space before the header's '{', names or metadata
// keys that occur twice, tensors written as arrays and types as objects, and
// dimensions of 2^63 and more.
package safetensors

import (
	"errors"
	"fmt"
	"maps"
)

// Checkpoint is a set of safetensors files that form one model. Its methods
// may be called from several goroutines, except Close.
type Checkpoint struct {
	files   []*file
	tensors []Tensor
	index   map[string]int // name to place in tensors
	meta    map[string]string
}

// FileInfo describes one file of a checkpoint.
type FileInfo struct {
	Name  string // relative to the checkpoint's directory
	Bytes int64
}

// file is the content of one file.
type file struct {
	name  string // as messages give it
	path  string // as a reader opens it
	data  []byte
	size  int64        // of data, also after Close
	base  int64        // where the data of tensors begins
	unmap func() error // nil if the data is in memory
}

// Parse returns the checkpoint in one file's content. Name stands for it in
// messages. The content is not copied and must not change afterwards.
func Parse(name string, data []byte) (*Checkpoint, error) {
	c := &Checkpoint{}
	if err := c.add(&file{name: name, path: name, data: data}); err != nil {
		return nil, err
	}
	return c, nil
}

// add parses f and takes it over, even if it fails.
func (c *Checkpoint) add(f *file) error {
	f.size = int64(len(f.data))
	c.files = append(c.files, f)
	tensors, meta, err := parseHeader(f)
	if err != nil {
		return err
	}
	if c.index == nil {
		c.index = make(map[string]int, len(tensors))
		c.meta = make(map[string]string, len(meta))
	}
	for i, t := range tensors {
		if j, dup := c.index[t.Name]; dup {
			return t.duplicate(f, c.tensors, j)
		}
		c.index[t.Name] = len(c.tensors) + i
	}
	if err := checkLayout(f, tensors); err != nil {
		return err
	}
	c.tensors = append(c.tensors, tensors...)
	maps.Copy(c.meta, meta)
	return nil
}

// duplicate says where the other tensor of t's name is: in an earlier file if
// its place j is among the tensors so far, else in f itself.
func (t Tensor) duplicate(f *file, sofar []Tensor, j int) error {
	if j < len(sofar) {
		return t.faultf("duplicate tensor name, also in %s", sofar[j].fileName())
	}
	return t.faultf("duplicate tensor name")
}

// Tensors returns all tensors: file by file, in the order of their bytes. The
// slice is the checkpoint's own and must not be changed.
func (c *Checkpoint) Tensors() []Tensor { return c.tensors }

// Lookup returns the tensor of a name.
func (c *Checkpoint) Lookup(name string) (Tensor, bool) {
	i, ok := c.index[name]
	if !ok {
		return Tensor{}, false
	}
	return c.tensors[i], true
}

// Metadata returns a copy of what the files hold under __metadata__. Where two
// files give a key different values, the later file's counts.
func (c *Checkpoint) Metadata() map[string]string { return maps.Clone(c.meta) }

// Files returns the files in the order of Tensors.
func (c *Checkpoint) Files() []FileInfo {
	infos := make([]FileInfo, len(c.files))
	for i, f := range c.files {
		infos[i] = FileInfo{Name: f.name, Bytes: f.size}
	}
	return infos
}

// Close unmaps the files. Bytes that tensors gave out must not be used any
// more: reading them faults. Closing again does nothing.
func (c *Checkpoint) Close() error {
	var errs []error
	for _, f := range c.files {
		f.data = nil
		if f.unmap == nil {
			continue
		}
		if err := f.unmap(); err != nil {
			errs = append(errs, fmt.Errorf("safetensors: %s: %w", f.name, err))
		}
		f.unmap = nil
	}
	return errors.Join(errs...)
}
