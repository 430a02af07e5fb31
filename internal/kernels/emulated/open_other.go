//go:build !linux

package emulated

// openLibrary is not reached: nothing is compiled here.
func openLibrary(string, string, string) (a, b uintptr, err error) { return 0, 0, errNoCompiler }
