package disk

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestFree asks about a directory that is there and about one below it that is
// not: both are on the same disk.
func TestFree(t *testing.T) {
	dir := t.TempDir()
	got, err := Free(dir)
	if errors.Is(err, ErrUnknown) {
		t.Skip(err)
	}
	if err != nil || got <= 0 {
		t.Fatalf("got %d, %v, want some room", got, err)
	}
	below, err := Free(filepath.Join(dir, "not", "there"))
	if err != nil || below < got/2 || below > 2*got {
		t.Errorf("got %d, %v below %d", below, err, got)
	}
}

// TestLock lets one of two open files have the lock until it is closed.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	first, second := open(), open()
	defer second.Close()
	if ok, err := TryLock(first); !ok || err != nil {
		t.Fatalf("got %v, %v, want the lock", ok, err)
	}
	if ok, err := TryLock(second); ok || err != nil {
		t.Fatalf("got %v, %v, want to be kept out", ok, err)
	}
	first.Close()
	if ok, err := TryLock(second); !ok || err != nil {
		t.Fatalf("got %v, %v, want the lock after it was given back", ok, err)
	}
}
