package kernels

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-llm/godwit/internal/cuda"
)

// manifest is what the build records beside the images of a source.
type manifest struct {
	Compiler string
	Options  []string
	Targets  []string
	Inputs   map[string]string
	Kernels  []string
}

func readManifest(t *testing.T, source string) manifest {
	t.Helper()
	var m manifest
	data, err := files.ReadFile("images/" + source + ".json")
	if errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%s.cu has no images: run make kernels", source)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatalf("%s.json: %v", source, err)
	}
	return m
}

// TestImagesAreFresh: the images are those of the sources.
func TestImagesAreFresh(t *testing.T) {
	sources, err := filepath.Glob("*.cu")
	if err != nil {
		t.Fatal(err)
	}
	if len(sources) == 0 {
		t.Skip("the sources are not here")
	}
	for _, file := range sources {
		name := strings.TrimSuffix(file, ".cu")
		t.Run(name, func(t *testing.T) {
			m := readManifest(t, name)
			for input, want := range m.Inputs {
				text, err := os.ReadFile(input)
				if err != nil {
					t.Fatal(err)
				}
				if got := sha256.Sum256(text); hex.EncodeToString(got[:]) != want {
					t.Errorf("%s has changed since %s.cu was compiled: run make kernels", input, name)
				}
			}
			if m.Inputs[file] == "" {
				t.Errorf("the manifest does not name %s", file)
			}
			for _, target := range m.Targets {
				if _, err := readImage(name, target); err != nil {
					t.Error(err)
				}
			}
			for _, n := range native {
				if !slices.Contains(m.Targets, n.target) {
					t.Errorf("no image for %s", n.target)
				}
			}
			if !slices.Contains(m.Targets, fallback) {
				t.Errorf("no image for %s", fallback)
			}
			if got := kernelsOf(t, name); !sameNames(got, m.Kernels) {
				t.Errorf("the image has kernels %v, the manifest %v", got, m.Kernels)
			}
		})
	}
}

func sameNames(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// TestImagesHaveSources: nothing is left of a source that is gone.
func TestImagesHaveSources(t *testing.T) {
	entries, err := files.ReadDir("images")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("common.cuh"); err != nil {
		t.Skip("the sources are not here")
	}
	for _, e := range entries {
		source, _, _ := strings.Cut(e.Name(), ".")
		if _, err := os.Stat(source + ".cu"); err != nil {
			t.Errorf("images/%s: %v", e.Name(), err)
		}
	}
}

// TestStacks: no kernel makes the driver enlarge the stacks that a device has.
func TestStacks(t *testing.T) {
	names, err := fs.Glob(files, "images/*.sm_*.gz")
	if err != nil || len(names) == 0 {
		t.Fatalf("there are images %v, %v", names, err)
	}
	for _, name := range names {
		source, rest, _ := strings.Cut(strings.TrimPrefix(name, "images/"), ".")
		target := strings.TrimSuffix(rest, ".gz")
		image, err := readImage(source, target)
		if err != nil {
			t.Fatal(err)
		}
		for kernel, stack := range stacks(t, image) {
			if stack > cuda.StackBytes {
				t.Errorf("%s.cu for %s: %s takes %d bytes of stack, want at most %d: see cuda.StackBytes", source, target, kernel, stack, cuda.StackBytes)
			}
		}
	}
}

// stacks returns the bytes of stack that each kernel of an image needs, those of
// what it calls included, as the compiler notes them in .nv.info: entries of a
// format, an attribute and a size, here a symbol and a number.
func stacks(t *testing.T, image []byte) map[string]uint32 {
	t.Helper()
	const sized, leastStack = 4, 0x12
	image = bytes.Clone(image)
	binary.LittleEndian.PutUint32(image[20:], uint32(elf.EV_CURRENT)) // CUDA has its own version there
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	symbols, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	var info []byte
	if section := f.Section(".nv.info"); section != nil { // an image may have no kernels
		if info, err = section.Data(); err != nil {
			t.Fatal(err)
		}
	}
	found := map[string]uint32{}
	for len(info) >= 4 {
		format, attribute, size := info[0], info[1], int(binary.LittleEndian.Uint16(info[2:]))
		info = info[4:]
		if format != sized {
			continue // the value is in the place of the size
		}
		if attribute == leastStack {
			kernel := symbols[binary.LittleEndian.Uint32(info)-1] // the first symbol is left out
			found[kernel.Name] = binary.LittleEndian.Uint32(info[4:])
		}
		info = info[size:]
	}
	for _, s := range f.Sections {
		if kernel, ok := strings.CutPrefix(s.Name, ".text."); ok {
			if _, ok := found[kernel]; !ok {
				t.Errorf("%s: the image does not say how much stack it needs", kernel)
			}
		}
	}
	return found
}

func TestTargets(t *testing.T) {
	for c, want := range map[int]string{
		70: fallback, 75: fallback, 80: "sm_80", 86: "sm_86", 87: "sm_86", 89: "sm_89", 90: "sm_90a",
		100: "sm_100", 103: "sm_100", 110: fallback, 120: "sm_120", 121: "sm_120", 130: fallback,
	} {
		if got := targetOf(cuda.Capability(c)); got != want {
			t.Errorf("%d: got %s, want %s", c, got, want)
		}
	}
}
