package mmap

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"unsafe"
)

// Copy copies part of a mapping to dst, which has as many bytes, or returns
// ErrUnreadable. It reads the file: a page fault brings one page and what the
// system reads ahead of it, often 128 KiB, and enters pages of the file in the
// table of the process, which takes as long as to copy them. A thread that waits
// in a page fault also keeps the processor that Go gave it; one that reads does
// not. Part may be memory of another kind, which is copied.
func Copy(dst, part []byte) error {
	f, at := files.find(part)
	if f == nil {
		return Guard(func() { copy(dst, part) })
	}
	switch _, err := f.ReadAt(dst[:len(part)], at); {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF): // it was cut off
		return ErrUnreadable
	default:
		return fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
}

// files are the files of all mappings. Addresses belong to the whole process,
// and so does what is known about them.
var files registry

// registry finds the file that an address is a mapping of.
type registry struct {
	mu   sync.RWMutex
	open []mapped
}

type mapped struct {
	data []byte
	file *os.File
}

func (r *registry) add(data []byte, f *os.File) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = append(r.open, mapped{data, f})
}

// remove forgets a mapping and returns its file, or nil if it is not known.
func (r *registry) remove(data []byte) *os.File {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, m := range r.open {
		if unsafe.SliceData(m.data) == unsafe.SliceData(data) {
			r.open = slices.Delete(r.open, i, i+1)
			return m.file
		}
	}
	return nil
}

// find returns the file that holds the bytes of part and where they are, or nil
// if they belong to none.
func (r *registry) find(part []byte) (f *os.File, at int64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	from := uintptr(unsafe.Pointer(unsafe.SliceData(part)))
	for _, m := range r.open {
		first := uintptr(unsafe.Pointer(unsafe.SliceData(m.data)))
		if from >= first && from+uintptr(len(part)) <= first+uintptr(len(m.data)) {
			return m.file, int64(from - first)
		}
	}
	return nil, 0
}
