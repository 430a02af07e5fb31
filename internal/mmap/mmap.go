// Package mmap maps files into memory for reading. It does not know what they
// hold.
package mmap

import (
	"errors"
	"fmt"
	"math"
	"os"
)

// ErrNotRegular says that a path is no regular file.
var ErrNotRegular = errors.New("this is no regular file")

// Open maps the file at path. The bytes are valid until unmap is called, and
// must not be written. Pages are read when they are touched: the reader knows
// better than the kernel what comes next. A file that is truncated meanwhile
// makes a read of its pages fault. The bytes of an empty file are nil.
func Open(path string) (data []byte, unmap func() error, err error) {
	// Opening a pipe would wait for its writer: look before.
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, ErrNotRegular
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, nil, err
	}
	switch size := info.Size(); {
	case size == 0:
		return nil, func() error { return nil }, nil
	case size > math.MaxInt:
		return nil, nil, fmt.Errorf("%s: %d bytes are more than this machine can map", path, size)
	default:
		data, unmap, err = mapFile(f, int(size))
		if err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
		return data, unmap, err
	}
}

// Release says that part of a mapping is not needed for now, so that it no
// longer counts as memory of this process. It may be read again. Part must not
// be memory of another kind, which would lose its content.
func Release(part []byte) { release(part) }

// Prefetch says that part of a mapping will be read soon, so that the disk
// begins with it while the caller does something else. It returns before the
// bytes are there. Part may be memory of another kind, for which it does
// nothing.
func Prefetch(part []byte) { prefetch(part) }
