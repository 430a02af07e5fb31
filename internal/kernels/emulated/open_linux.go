package emulated

import (
	"fmt"

	"github.com/ebitengine/purego"
)

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
