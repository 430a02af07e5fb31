package kernels

import (
	"crypto/sha256"
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
