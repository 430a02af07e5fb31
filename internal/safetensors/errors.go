package safetensors

import (
	"errors"
	"fmt"
	"io/fs"
)

// ErrInvalid is wrapped by every error that says that a checkpoint's content
// is not what the format asks for. Errors of the file system are passed on as
// they are; a shard that is missing is both ErrInvalid and fs.ErrNotExist.
var ErrInvalid = errors.New("invalid checkpoint")

// fault is an ErrInvalid in one file, and perhaps one tensor of it.
type fault struct {
	file    string
	tensor  *string // nil if the fault is not in a tensor
	msg     string
	missing bool // a file is missing: also fs.ErrNotExist
}

func (f *fault) Error() string {
	s := "safetensors: "
	if f.file != "" { // a tensor in memory has no file
		s += f.file + ": "
	}
	if f.tensor != nil {
		s += fmt.Sprintf("tensor %q: ", clip(*f.tensor, 128))
	}
	return s + f.msg
}

// Is reports whether target is ErrInvalid or, for a missing file,
// fs.ErrNotExist.
func (f *fault) Is(target error) bool {
	return target == ErrInvalid || f.missing && target == fs.ErrNotExist
}

func faultf(file, format string, args ...any) error {
	return &fault{file: file, msg: clip(fmt.Sprintf(format, args...), 1024)}
}

func missingf(file, format string, args ...any) error {
	return &fault{file: file, msg: clip(fmt.Sprintf(format, args...), 1024), missing: true}
}

func (t Tensor) faultf(format string, args ...any) error {
	return &fault{file: t.fileName(), tensor: &t.Name, msg: clip(fmt.Sprintf(format, args...), 1024)}
}

// clip keeps messages readable when a hostile file puts a megabyte into a name.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "..."
}
