package hub

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// link makes the file of a snapshot out of a blob: a relative link, so that the
// cache may be moved; or else the same file under a second name; or else a
// copy.
func link(blob, path string, symlinks bool) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if symlinks {
		target, err := filepath.Rel(filepath.Dir(path), blob)
		if err == nil {
			err = os.Symlink(target, path)
		}
		if err == nil || errors.Is(err, fs.ErrExist) {
			return nil // a process beside this one may have been first
		}
	}
	if err := os.Link(blob, path); err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	return copyFile(blob, path)
}

// copyFile copies under a name of its own first, so that nobody takes a part
// for the whole.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(to), ".copy-*.tmp")
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Chmod(0o644), out.Close()); err != nil {
		os.Remove(out.Name())
		return fmt.Errorf("copy %s: %w", from, err)
	}
	return os.Rename(out.Name(), to)
}
