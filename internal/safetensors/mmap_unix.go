//go:build unix

package safetensors

import (
	"os"

	"golang.org/x/sys/unix"
)

// mmap maps size > 0 bytes of f. The mapping outlives f. Pages are read when
// they are touched: the reader knows better than the kernel what comes next.
func mmap(f *os.File, size int) (data []byte, unmap func() error, err error) {
	data, err = unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, os.NewSyscallError("mmap", err)
	}
	return data, func() error { return os.NewSyscallError("munmap", unix.Munmap(data)) }, nil
}
