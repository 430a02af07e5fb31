//go:build windows && (amd64 || arm64)

package cuda

import (
	"syscall"

	"github.com/ebitengine/purego"
)

// dll is a library opened by the system's loader. It is never closed: drivers
// keep threads and handlers that outlive a closed handle.
type dll syscall.Handle

func openSystem(name string) (Library, error) {
	handle, err := syscall.LoadLibrary(name)
	if err != nil {
		return nil, err
	}
	return dll(handle), nil
}

// Symbol implements Library.
func (h dll) Symbol(name string) uintptr {
	addr, err := syscall.GetProcAddress(syscall.Handle(h), name)
	if err != nil {
		return 0
	}
	return addr
}

// invoke calls a C function with integers and addresses. It allocates nothing.
//
//go:uintptrescapes
func invoke(fn uintptr, args ...uintptr) uintptr {
	r, _, _ := syscall.SyscallN(fn, args...)
	return r
}

// describe calls a C function that names a code.
func describe(fn uintptr, code int32) string {
	var call func(int32) string
	purego.RegisterFunc(&call, fn)
	return call(code)
}
