// Package torchfile reads the checkpoints that PyTorch's torch.save writes,
// pytorch_model.bin and the like: a dictionary of names and tensors.
//
// It knows both forms, the zip archive of today and the file of PyTorch before
// 1.6, and which of Python's names tensors are made of. No code of the file is
// run: whatever else a file asks for is refused by name. It does not know what
// the tensors mean, and reads none of their bytes before they are written
// somewhere; the file is mapped.
package torchfile

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/godwit-llm/godwit/internal/mmap"
	"github.com/godwit-llm/godwit/internal/pickle"
)

// ErrInvalid is wrapped by every error about a file's content.
var ErrInvalid = errors.New("invalid PyTorch checkpoint")

// fault is an ErrInvalid in one file.
type fault struct {
	file string
	err  error
}

func (f *fault) Error() string   { return "torchfile: " + f.file + ": " + f.err.Error() }
func (f *fault) Unwrap() []error { return []error{ErrInvalid, f.err} }

// File is an open checkpoint. Its methods may be called from several
// goroutines, except Close.
type File struct {
	Tensors []Tensor // in the order of the dictionary
	unmap   func() error
}

// Close unmaps the file. Its tensors must not be used any more.
func (f *File) Close() error { return f.unmap() }

// Open maps a file and finds its tensors.
func Open(path string) (*File, error) {
	data, unmap, err := mmap.Open(path)
	if err != nil {
		return nil, fmt.Errorf("torchfile: %s: %w", filepath.Base(path), err)
	}
	tensors, err := Parse(filepath.Base(path), data)
	if err != nil {
		unmap()
		return nil, err
	}
	for _, t := range tensors {
		t.storage.mapped = true
	}
	return &File{tensors, unmap}, nil
}

// Parse finds the tensors in one file's content, which is not copied and must
// not change. Name stands for the file in messages.
func Parse(name string, data []byte) ([]Tensor, error) {
	tensors, err := parse(data)
	if err != nil {
		return nil, &fault{name, err}
	}
	return tensors, nil
}

func parse(data []byte) ([]Tensor, error) {
	switch {
	case bytes.HasPrefix(data, []byte("PK\x03\x04")):
		return parseZip(data)
	case bytes.HasPrefix(data, []byte("\x80\x02\x8a\x0a")):
		return parseLegacy(data)
	case bytes.HasPrefix(data, []byte("version https://git-lfs")):
		return nil, errors.New("this is a Git LFS pointer, not the data; fetch it with git lfs pull")
	case len(data) > 262 && string(data[257:262]) == "ustar":
		return nil, errors.New("this is the tar format of PyTorch before 0.2, want a zip archive; load and save it with a newer PyTorch")
	case len(data) == 0:
		return nil, errors.New("the file is empty; the download may be incomplete")
	}
	return nil, fmt.Errorf("the file begins with %x, want a zip archive or a pickle of PyTorch", data[:min(4, len(data))])
}

// flatten returns the tensors of a state dictionary.
func flatten(value any) ([]Tensor, error) {
	dict, ok := value.(*pickle.Dict)
	if !ok {
		return nil, fmt.Errorf("the file holds a %s, want a dictionary of tensors", typeName(value))
	}
	tensors := make([]Tensor, 0, len(dict.Pairs))
	for _, p := range dict.Pairs {
		name, ok := p.Key.(string)
		if !ok {
			return nil, fmt.Errorf("got a %s as a tensor's name, want a str", pickle.TypeName(p.Key))
		}
		t, ok := p.Value.(*Tensor)
		if !ok {
			return nil, fmt.Errorf("%.200q is a %s, want a tensor; a checkpoint of a training has its model inside: save that dictionary alone", name, typeName(p.Value))
		}
		named := *t
		named.Name = name
		if err := named.check(); err != nil {
			return nil, fmt.Errorf("tensor %.200q: %w", name, err)
		}
		tensors = append(tensors, named)
	}
	return tensors, nil
}

func typeName(v any) string {
	switch v := v.(type) {
	case *Tensor:
		return "tensor"
	case *storage:
		return "storage"
	case elementType:
		return v.name
	}
	return pickle.TypeName(v)
}
