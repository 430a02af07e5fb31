//go:build !linux

package emulated

// Neither is reached: nothing is compiled here.

func lock(string) (func(), error) { return nil, errNoCompiler }

func openLibrary(string, string, string) (a, b uintptr, err error) { return 0, 0, errNoCompiler }
