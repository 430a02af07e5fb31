package mmap

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// TestOpen maps files with and without bytes, and refuses what is none.
func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, text := range []string{"", "some bytes"} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		data, unmap, err := Open(path)
		if err != nil || string(data) != text {
			t.Fatalf("got %q, %v, want %q", data, err, text)
		}
		if err := unmap(); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := Open(filepath.Dir(path)); !errors.Is(err, ErrNotRegular) {
		t.Errorf("a directory: got %v, want ErrNotRegular", err)
	}
	if _, _, err := Open(path + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

// TestRelease reads the same bytes after they were given back, wherever the
// part begins and ends.
func TestRelease(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	want := make([]byte, 5*os.Getpagesize()+7)
	for i := range want {
		want[i] = byte(i % 251)
	}
	if err := os.WriteFile(path, want, 0o666); err != nil {
		t.Fatal(err)
	}
	data, unmap, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer unmap()
	for _, at := range []int{0, 1, os.Getpagesize() - 1, os.Getpagesize()} {
		for _, n := range []int{0, 1, os.Getpagesize(), 2*os.Getpagesize() + 3, len(want) - at} {
			Release(data[at : at+n])
			if !bytes.Equal(data, want) {
				t.Fatalf("the bytes differ after %d from %d on were given back", n, at)
			}
		}
	}
}

// TestPrefetch reads bytes that were asked for ahead, wherever the part begins
// and ends, and memory that is no mapping.
func TestPrefetch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	want := make([]byte, 5*os.Getpagesize()+7)
	for i := range want {
		want[i] = byte(i % 251)
	}
	if err := os.WriteFile(path, want, 0o666); err != nil {
		t.Fatal(err)
	}
	data, unmap, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer unmap()
	for _, whole := range [][]byte{data, bytes.Clone(want)} {
		for _, at := range []int{0, 1, os.Getpagesize() - 1, os.Getpagesize()} {
			for _, n := range []int{0, 1, 2*os.Getpagesize() + 3, len(want) - at} {
				Prefetch(whole[at : at+n])
				if !bytes.Equal(whole, want) {
					t.Fatalf("the bytes differ after %d from %d on were asked for", n, at)
				}
			}
		}
	}
}

// TestGuard reads a file that was cut off after it was mapped. Other panics go
// on.
func TestGuard(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not cut off a mapped file")
	}
	path := filepath.Join(t.TempDir(), "file")
	whole := make([]byte, 3*os.Getpagesize())
	if err := os.WriteFile(path, whole, 0o666); err != nil {
		t.Fatal(err)
	}
	data, unmap, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer unmap()
	read := func() { copy(whole, data) }
	if err := Guard(read); err != nil {
		t.Errorf("a whole file: got %v", err)
	}
	if err := os.Truncate(path, int64(os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Guard(read); !errors.Is(err, ErrUnreadable) {
			t.Errorf("a file that was cut off: got %v, want ErrUnreadable", err)
		}
	}
	defer func() {
		if cause := recover(); cause != "other" {
			t.Errorf("got panic %v, want the other one", cause)
		}
	}()
	_ = Guard(func() { panic("other") })
}
