// Package mmap maps files into memory for reading. It does not know what they
// hold.
package mmap

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime/debug"
)

// ErrNotRegular says that a path is no regular file.
var ErrNotRegular = errors.New("this is no regular file")

// Open maps the file at path. The bytes are valid until unmap is called, and
// must not be written. Pages are read when they are touched: the reader knows
// better than the kernel what comes next. A file that is truncated meanwhile
// makes a read of its pages fault, see Guard. The file stays open as long, for
// Copy. The bytes of an empty file are nil.
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
	data, giveBack, err := open(f)
	if len(data) == 0 {
		return nil, giveBack, errors.Join(err, f.Close())
	}
	files.add(data, f)
	return data, func() error { return errors.Join(files.remove(data).Close(), giveBack()) }, nil
}

// open maps a file that stays open.
func open(f *os.File) (data []byte, unmap func() error, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	switch size := info.Size(); {
	case size == 0:
		return nil, func() error { return nil }, nil
	case size > math.MaxInt:
		return nil, nil, fmt.Errorf("%s: %d bytes are more than this machine can map", f.Name(), size)
	default:
		data, unmap, err = mapFile(f, int(size))
		if err != nil {
			err = fmt.Errorf("%s: %w", f.Name(), err)
		}
		return data, unmap, err
	}
}

// ErrUnreadable says that a page of a mapping could not be read.
var ErrUnreadable = errors.New("a file cannot be read any more: it was cut off meanwhile, or its disk or network failed")

// Guard runs read, which reads mapped memory on the calling goroutine, and
// returns ErrUnreadable if a page of it cannot be read, which would end the
// process otherwise. What read was doing is left where it was.
func Guard(read func()) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		if _, fault := cause.(interface{ Addr() uintptr }); !fault {
			panic(cause)
		}
		err = ErrUnreadable
	}()
	read()
	return nil
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
