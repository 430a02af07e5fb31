//go:build unix

package mmap

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// release gives back the whole pages of part.
func release(part []byte) {
	page := uintptr(os.Getpagesize())
	at := uintptr(unsafe.Pointer(unsafe.SliceData(part)))
	before := -at & (page - 1)
	if uintptr(len(part)) < before+page {
		return
	}
	n := (uintptr(len(part)) - before) &^ (page - 1)
	_ = unix.Madvise(part[before:before+n], unix.MADV_DONTNEED) // only a hint
}

// prefetch starts to read all pages that part touches.
func prefetch(part []byte) {
	if len(part) == 0 {
		return
	}
	page := uintptr(os.Getpagesize())
	at := unsafe.Pointer(unsafe.SliceData(part))
	before := uintptr(at) & (page - 1)
	whole := unsafe.Slice((*byte)(unsafe.Add(at, -int(before))), len(part)+int(before))
	_ = unix.Madvise(whole, unix.MADV_WILLNEED) // only a hint
}

func mapFile(f *os.File, size int) (data []byte, unmap func() error, err error) {
	data, err = unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, os.NewSyscallError("mmap", err)
	}
	return data, func() error { return os.NewSyscallError("munmap", unix.Munmap(data)) }, nil
}
