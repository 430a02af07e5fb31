//go:build !linux && !windows

package godwit

// freeMemory returns 0: not known on this system.
func freeMemory() int64 { return 0 }
