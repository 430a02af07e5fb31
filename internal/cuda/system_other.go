//go:build !((linux || windows) && (amd64 || arm64))

package cuda

import (
	"errors"
	"runtime"
)

// openSystem fails: there is no CUDA here.
func openSystem(string) (Library, error) {
	return nil, errors.New("there is no CUDA for " + runtime.GOOS + "/" + runtime.GOARCH)
}

func invoke(uintptr, ...uintptr) uintptr { return ^uintptr(0) }

func describe(uintptr, int32) string { return "" }
