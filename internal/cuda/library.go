package cuda

import (
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"unsafe"
)

// Library is an opened shared library.
type Library interface {
	// Symbol returns the address of a C function, or 0 if there is none.
	Symbol(name string) uintptr
}

// Options says where libraries are.
type Options struct {
	// Dirs are folders to look in before the loader's own: a toolkit
	// (CUDA_HOME), a Python environment's site-packages, or a folder that
	// holds the library itself.
	Dirs []string

	// Open opens a library by name or path; nil means the system's loader.
	Open func(name string) (Library, error)
}

// symbol is a function's place in the list of its library.
type symbol uint8

// entry is a function of a library.
type entry struct {
	name     string
	optional bool
}

// table holds a library's functions; absent optional ones have address 0.
type table struct {
	file    string
	entries []entry
	addr    []uintptr
}

// product describes a library to look for.
type product struct {
	name   string // for messages
	linux  []string
	win    []string
	wheels []string // folders of Python wheels that hold it, under site-packages
	usual  bool     // whether it may be in a toolkit's folders
	advice string
}

// open finds a library and all its functions. The first function that is
// missing and not optional is returned by name.
func open(o Options, p product, entries []entry) (t table, missing string, err error) {
	load := o.Open
	if load == nil {
		load = openSystem
	}
	failed := &LibraryError{Library: p.name, Advice: p.advice}
	for _, name := range candidates(runtime.GOOS, p, o.Dirs, glob) {
		lib, err := load(name)
		if err == nil {
			t, missing = resolve(lib, name, entries)
			return t, missing, nil
		}
		// A file that exists and does not load tells more than a name that
		// was not found.
		if failed.Cause == "" || len(failed.Tried) > 0 && exists(name) {
			failed.Cause = err.Error()
		}
		failed.Tried = append(failed.Tried, name)
	}
	return table{}, "", failed
}

// resolve looks up all functions.
func resolve(lib Library, file string, entries []entry) (t table, missing string) {
	t = table{file: file, entries: entries, addr: make([]uintptr, len(entries))}
	for i, e := range entries {
		t.addr[i] = lib.Symbol(e.name)
		if t.addr[i] == 0 && !e.optional && missing == "" {
			missing = e.name
		}
	}
	return t, missing
}

// has reports whether the library has a function.
func (t *table) has(s symbol) bool { return t.addr[s] != 0 }

// absent is the error about a function that the library does not have.
func (t *table) absent(s symbol) error {
	return classf(ErrNotAvailable, "%s is not available: %s does not have it", t.entries[s].name, t.file)
}

// candidates lists the names and paths to try for a library, best first: the
// caller's folders, the loader's, a toolkit's usual ones. find expands a
// pattern to the files that match it.
func candidates(goos string, p product, dirs []string, find func(pattern string) []string) []string {
	names, folders, usual := p.linux, linuxFolders, linuxUsual
	join := path.Join
	if goos == "windows" {
		names, folders, usual = p.win, windowsFolders, windowsUsual
		join = func(parts ...string) string { return strings.Join(parts, `\`) }
	}
	var list []string
	for _, dir := range dirs {
		if dir == "" {
			continue
		}
		for _, name := range names {
			for _, folder := range folders {
				list = append(list, find(join(dir, folder, name))...)
			}
			for _, wheel := range p.wheels {
				list = append(list, find(join(dir, wheel, name))...)
			}
			list = append(list, find(join(dir, name))...)
		}
	}
	list = append(list, names...)
	if p.usual {
		for _, pattern := range usual {
			for _, name := range names {
				list = append(list, find(join(pattern, name))...)
			}
		}
	}
	return list
}

// Folders of a toolkit that hold libraries, and where toolkits are.
var (
	linuxFolders   = []string{"lib64", "lib", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib"}
	windowsFolders = []string{`bin`, `bin\x64`}
	linuxUsual     = []string{
		"/usr/local/cuda*/lib64", "/usr/local/cuda*/targets/*/lib", "/opt/cuda/lib64",
		"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/local/nvidia/lib64", "/usr/lib/wsl/lib",
	}
	windowsUsual = []string{
		`C:\Program Files\NVIDIA GPU Computing Toolkit\CUDA\v*\bin`,
		`C:\Program Files\NVIDIA GPU Computing Toolkit\CUDA\v*\bin\x64`,
	}
)

// glob lists the files that match a pattern, newest version first as far as
// names tell.
func glob(pattern string) []string {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return nil // the pattern is a path with brackets in it: nothing matches
	}
	for i, j := 0, len(files)-1; i < j; i, j = i+1, j-1 {
		files[i], files[j] = files[j], files[i]
	}
	return files
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// text copies a C string.
func text(p *byte) string {
	if p == nil {
		return ""
	}
	n := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(p), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(p, n))
}

// trim returns the C string at the start of a buffer.
func trim(buf []byte) string {
	s, _, _ := strings.Cut(string(buf), "\x00")
	return s
}

// cstring returns a string that ends in a zero byte.
func cstring(s string) []byte { return append([]byte(s), 0) }
