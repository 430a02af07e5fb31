package mmap

import (
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// release does nothing: Windows takes pages back when it needs them.
func release([]byte) {}

// prefetch does nothing: Windows reads ahead of page faults by itself.
func prefetch([]byte) {}

func mapFile(f *os.File, size int) (data []byte, unmap func() error, err error) {
	m, err := windows.CreateFileMapping(windows.Handle(f.Fd()), nil, windows.PAGE_READONLY, 0, 0, nil)
	if err != nil {
		return nil, nil, os.NewSyscallError("CreateFileMapping", err)
	}
	defer windows.CloseHandle(m) // a view keeps its mapping alive
	addr, err := windows.MapViewOfFile(m, windows.FILE_MAP_READ, 0, 0, uintptr(size))
	if err != nil {
		return nil, nil, os.NewSyscallError("MapViewOfFile", err)
	}
	// addr is outside of Go's heap; reading it as a pointer says so to vet.
	data = unsafe.Slice(*(**byte)(unsafe.Pointer(&addr)), size)
	return data, func() error { return os.NewSyscallError("UnmapViewOfFile", windows.UnmapViewOfFile(addr)) }, nil
}
