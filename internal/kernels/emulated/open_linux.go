package emulated

import (
	"fmt"
	"os"
	"syscall"

	"github.com/ebitengine/purego"
)

// lock waits until no other process makes the same file, which would be for
// nothing. The result ends it.
func lock(file string) (func(), error) {
	f, err := os.OpenFile(file+".lock", os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("emulated: locking %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil
}

// openLibrary opens a library and finds two functions.
func openLibrary(file, first, second string) (a, b uintptr, err error) {
	handle, err := purego.Dlopen(file, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return 0, 0, fmt.Errorf("emulated: %w", err)
	}
	if a, err = purego.Dlsym(handle, first); err == nil {
		b, err = purego.Dlsym(handle, second)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("emulated: %s: %w", file, err)
	}
	return a, b, nil
}
