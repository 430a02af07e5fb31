package mmap

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// numbered writes a file of n bytes that differ from their neighbours, and maps
// it until the test ends.
func numbered(t *testing.T, n int) (path string, want, data []byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "file")
	want = make([]byte, n)
	for i := range want {
		want[i] = byte(i*7 + i/251)
	}
	if err := os.WriteFile(path, want, 0o666); err != nil {
		t.Fatal(err)
	}
	data, unmap, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unmap(); err != nil {
			t.Error(err)
		}
	})
	return path, want, data
}

// TestCopy copies parts of two mappings, and of memory that is none.
func TestCopy(t *testing.T) {
	_, first, one := numbered(t, 100_003)
	_, second, two := numbered(t, 5001)
	for _, c := range []struct{ want, data []byte }{{first, one}, {second, two}, {first, bytes.Clone(first)}} {
		for _, at := range []int{0, 1, 4096, 5000, len(c.want) - 1, len(c.want)} {
			for _, n := range []int{0, 1, 777, len(c.want)} {
				n = min(n, max(0, len(c.want)-at))
				got := make([]byte, n)
				if err := Copy(got, c.data[at:][:n]); err != nil || !bytes.Equal(got, c.want[at:][:n]) {
					t.Fatalf("%d bytes of %d from %d on: they differ, or %v", n, len(c.want), at, err)
				}
			}
		}
	}
}

// TestCopyReads: what is copied comes from the file, not through page faults.
func TestCopyReads(t *testing.T) {
	_, want, data := numbered(t, 3*os.Getpagesize())
	at := os.Getpagesize() + 5
	f, offset := files.find(data[at:])
	if f == nil || offset != int64(at) {
		t.Fatalf("the part is at %d of %v, want %d of its file", offset, f, at)
	}
	if f, _ := files.find(want); f != nil {
		t.Errorf("memory of another kind belongs to %s", f.Name())
	}
	if f, _ := files.find(data[:0:0]); f == nil {
		t.Error("no bytes of a mapping belong to none")
	}
}

// TestCopyUnreadable: a file that was cut off is an error.
func TestCopyUnreadable(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not cut off a mapped file")
	}
	path, _, data := numbered(t, 3*os.Getpagesize())
	if err := os.Truncate(path, int64(os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, len(data))
	if err := Copy(dst, data); !errors.Is(err, ErrUnreadable) {
		t.Errorf("got %v, want ErrUnreadable", err)
	}
	if err := Copy(dst[:100], data[:100]); err != nil {
		t.Errorf("what is left of it: got %v", err)
	}
}

// TestUnmapForgets: a file is closed with its mapping, and nothing finds it.
func TestUnmapForgets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, 10), 0o666); err != nil {
		t.Fatal(err)
	}
	before := len(files.open)
	data, unmap, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	f, _ := files.find(data)
	if err := unmap(); err != nil {
		t.Fatal(err)
	}
	if len(files.open) != before {
		t.Errorf("%d files are open, want %d", len(files.open), before)
	}
	if err := f.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v, want a closed file", err)
	}
}
