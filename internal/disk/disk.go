// Package disk asks the operating system about files beyond what package os
// offers: how much room a directory has, and who else is at work on a file. It
// does not know what the files hold.
package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrUnknown says that this system does not tell.
var ErrUnknown = errors.New("disk: not known on this system")

// Free returns how many bytes a user may still write below dir, which need not
// exist yet. The error is ErrUnknown where the system does not tell.
func Free(dir string) (int64, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return 0, err
	}
	for {
		_, err := os.Stat(dir)
		parent := filepath.Dir(dir)
		if err == nil || !errors.Is(err, fs.ErrNotExist) || parent == dir {
			return free(dir)
		}
		dir = parent
	}
}

// TryLock takes the exclusive lock of an open file, if no other open file has
// it, and keeps it until the file is closed. It is the lock that flock takes
// on Unix and LockFileEx on the first byte on Windows, so that it also holds
// against other programs. The error is ErrUnknown where the file system has no
// locks.
func TryLock(f *os.File) (bool, error) { return tryLock(f) }
