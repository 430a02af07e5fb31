//go:build linux && (amd64 || arm64)

package cuda

import (
	"runtime"

	"github.com/ebitengine/purego"
)

// sharedObject is a library opened by the system's loader. It is never closed:
// drivers keep threads and handlers that outlive a closed handle.
type sharedObject uintptr

func openSystem(name string) (Library, error) {
	// The loader keeps what went wrong for the thread that asked.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	handle, err := purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, err
	}
	return sharedObject(handle), nil
}

// Symbol implements Library.
func (h sharedObject) Symbol(name string) uintptr {
	addr, err := purego.Dlsym(uintptr(h), name)
	if err != nil {
		return 0
	}
	return addr
}

// invoke calls a C function with integers and addresses. It allocates nothing.
//
//go:uintptrescapes
func invoke(fn uintptr, args ...uintptr) uintptr {
	r, _, _ := purego.SyscallN(fn, args...)
	return r
}

// describe calls a C function that names a code.
func describe(fn uintptr, code int32) string {
	var call func(int32) string
	purego.RegisterFunc(&call, fn)
	return call(code)
}
