package emulated

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

//go:embed device
var device embed.FS

// errNoCompiler says that there is no C++ compiler for this machine.
var errNoCompiler = errors.New("emulated: needs g++ on Linux")

// flags are those of all compilations. Nothing is contracted to fused
// multiply-adds behind the sources' back, so that results are the same on every
// machine.
var flags = []string{
	"-std=c++17", "-O2", "-march=native", "-ffp-contract=off", "-fno-strict-aliasing", "-fPIC", "-fvisibility=hidden",
	"-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics", "-fno-stack-protector",
}

// checks are those of device code: each access is shown to the runtime, and
// checked for its alignment, indices for their bounds.
var checks = []string{
	"-fsanitize=kernel-address,alignment,bounds", "-fno-sanitize-recover=alignment,bounds",
	"--param", "asan-instrumentation-with-call-threshold=0", "--param", "asan-stack=0", "--param", "asan-globals=0",
}

// builder compiles sources into a folder of the user's cache. What is there
// already, by the hash of everything that it is made of, is not made again.
type builder struct {
	compiler string
	cache    string
	headers  string   // of the emulator
	machine  string   // what the compiler knows of the processor
	objects  []string // the runtime
}

func newBuilder() (*builder, error) {
	compiler, err := exec.LookPath("g++")
	if err != nil || runtime.GOOS != "linux" {
		return nil, errNoCompiler
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	b := &builder{compiler: compiler, cache: filepath.Join(cache, "godwit", "emulated")}
	out, err := exec.Command(compiler, "-march=native", "-dM", "-E", "-x", "c++", "/dev/null").Output()
	if err != nil {
		return nil, fmt.Errorf("emulated: %s: %w", compiler, err)
	}
	b.machine = string(out)
	return b, b.runtime()
}

// runtime writes the headers and compiles the runtime.
func (b *builder) runtime() error {
	hash := sha256.New()
	entries, err := device.ReadDir("device")
	if err != nil {
		return err
	}
	files := map[string][]byte{}
	for _, e := range entries {
		data, err := device.ReadFile("device/" + e.Name())
		if err != nil {
			return err
		}
		files[e.Name()] = data
		fmt.Fprintf(hash, "%s %d\n%s", e.Name(), len(data), data)
	}
	b.headers = filepath.Join(b.cache, "device-"+hex.EncodeToString(hash.Sum(nil))[:16])
	if err := os.MkdirAll(b.headers, 0o777); err != nil {
		return err
	}
	for name, data := range files {
		if err := writeFile(filepath.Join(b.headers, name), data); err != nil {
			return err
		}
	}
	args := append([]string{"-c", "-Wall", "-Wextra"}, flags...)
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".cpp")
		if !ok {
			continue
		}
		object, err := b.make("runtime-"+name, ".o", hash.Sum(nil), append(args, filepath.Join(b.headers, e.Name())))
		if err != nil {
			return err
		}
		b.objects = append(b.objects, object)
	}
	return nil
}

// library compiles a source and returns the file. A note under the hash of the
// source and of all headers tells which one it is.
func (b *builder) library(source string) (string, error) {
	note, err := b.note(source)
	if err != nil {
		return "", err
	}
	if file, err := os.ReadFile(note); err == nil {
		if _, err := os.Stat(string(file)); err == nil {
			return string(file), nil
		}
	}
	file, err := b.compile(source)
	if err != nil {
		return "", err
	}
	return file, writeFile(note, []byte(file))
}

// note returns the name of a source's note.
func (b *builder) note(source string) (string, error) {
	inputs, err := filepath.Glob(filepath.Join(filepath.Dir(source), "*.cuh"))
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	fmt.Fprintf(hash, "%s\n%s\n%q\n%q\n%s\n", source, b.headers, flags, checks, b.machine)
	for _, input := range append(inputs, source) {
		data, err := os.ReadFile(input)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(hash, "%s %d\n%s", input, len(data), data)
	}
	return filepath.Join(b.cache, "note-"+hex.EncodeToString(hash.Sum(nil))[:32]), nil
}

// compile compiles a source and links it to the runtime.
func (b *builder) compile(source string) (string, error) {
	text, err := b.preprocess(source)
	if err != nil {
		return "", err
	}
	text, _, err = rewrite(text)
	if err != nil {
		return "", fmt.Errorf("emulated: %s: %w", source, err)
	}
	name := strings.TrimSuffix(filepath.Base(source), ".cu")
	file := filepath.Join(b.headers, fmt.Sprintf("%s-%x.ii", name, sha256.Sum256([]byte(text))))
	if err := writeFile(file, []byte(text)); err != nil {
		return "", err
	}
	args := append([]string{"-c", "-w", "-fpreprocessed", file}, checks...)
	object, err := b.make(name, ".o", []byte(text), append(args, flags...))
	if err != nil {
		return "", err
	}
	args = append([]string{"-shared", "-Wl,-Bsymbolic", "-Wl,-z,defs", object}, b.objects...)
	return b.make(name, ".so", nil, append(args, "-lm"))
}

func (b *builder) preprocess(source string) (string, error) {
	args := append([]string{"-E", "-x", "c++", "-include", filepath.Join(b.headers, "cuda.h"), "-I", b.headers}, flags...)
	out, err := exec.Command(b.compiler, append(args, source)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("emulated: %s: %w\n%s", source, err, head(out))
	}
	return string(out), nil
}

// make runs the compiler unless the file is there.
func (b *builder) make(name, ending string, text []byte, args []string) (string, error) {
	hash := sha256.New()
	fmt.Fprintf(hash, "%s\n%q\n%s", b.machine, args, text)
	file := filepath.Join(b.cache, name+"-"+hex.EncodeToString(hash.Sum(nil))[:16]+ending)
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	unlock, err := lock(file)
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(file); err == nil {
		return file, nil // made by another process by now
	}
	unfinished := fmt.Sprintf("%s.%d", file, os.Getpid())
	out, err := exec.Command(b.compiler, append(args, "-o", unfinished)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("emulated: %s: %w\n%s", name, err, head(out))
	}
	return file, os.Rename(unfinished, file)
}

// head returns the first lines of a compiler's messages.
func head(out []byte) []byte { return out[:min(len(out), 6000)] }

// writeFile writes a file that others may read or write at the same time.
func writeFile(name string, data []byte) error {
	if old, err := os.ReadFile(name); err == nil && bytes.Equal(old, data) {
		return nil
	}
	unfinished := fmt.Sprintf("%s.%d", name, os.Getpid())
	if err := os.WriteFile(unfinished, data, 0o666); err != nil {
		return err
	}
	return os.Rename(unfinished, name)
}

// buildAll compiles all sources of a folder, as many at a time as there are
// processors.
func (b *builder) buildAll(dir string) ([]string, error) {
	sources, err := filepath.Glob(filepath.Join(dir, "*.cu"))
	if err != nil || len(sources) == 0 {
		return nil, fmt.Errorf("emulated: no sources in %s: %w", dir, err)
	}
	files, errs := make([]string, len(sources)), make([]error, len(sources))
	var all sync.WaitGroup
	turn := make(chan struct{}, runtime.NumCPU())
	for i, source := range sources {
		all.Go(func() {
			turn <- struct{}{}
			files[i], errs[i] = b.library(source)
			<-turn
		})
	}
	all.Wait()
	return files, errors.Join(errs...)
}
