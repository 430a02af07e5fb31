//go:build !linux && !windows

package godwit

import "errors"

// freeMemory returns 0: not known on this system.
func freeMemory() int64 { return 0 }

// residentMemory is not known on this system.
func residentMemory() (int64, error) {
	return 0, errors.New("this system does not tell what memory a process uses")
}
