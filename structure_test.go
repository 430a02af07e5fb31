package godwit

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/godwit-llm/godwit"

// imports says which packages of this module each one may import: one way,
// from the commands to the leaves.
var imports = map[string][]string{
	"/cmd/godwit":                {"", "/internal/bench", "/internal/builtin", "/internal/chat", "/internal/chatui", "/internal/convert", "/internal/hub", "/internal/jinja", "/internal/server", "/internal/server/page", "/internal/tokenizer"},
	"/internal/server":           {"", "/internal/grammar"},
	"/internal/server/page":      {},
	"/internal/bench":            {""},
	"/internal/chatui":           {""},
	"":                           {"/internal/builtin", "/internal/chat", "/internal/cuda", "/internal/engine", "/internal/grammar", "/internal/kernels", "/internal/kv", "/internal/mmap", "/internal/model", "/internal/ops", "/internal/safetensors", "/internal/tokenizer"},
	"/internal/engine":           {"/internal/draft", "/internal/kv", "/internal/model", "/internal/ops", "/internal/scheduler"},
	"/internal/scheduler":        {"/internal/kv"},
	"/internal/model":            {"/internal/ops", "/internal/safetensors", "/internal/vec"},
	"/internal/ops":              {"/internal/vec"},
	"/internal/ops/opstest":      {"/internal/ops"},
	"/internal/chat":             {"/internal/jinja"},
	"/internal/builtin":          {},
	"/internal/cuda":             {},
	"/internal/cuda/cudatest":    {"/internal/cuda"},
	"/internal/kernels":          {"/internal/cuda", "/internal/mmap", "/internal/ops", "/internal/vec"},
	"/internal/kernels/emulated": {"/internal/cuda/cudatest"},
	"/internal/disk":             {},
	"/internal/draft":            {},
	"/internal/hub":              {"/internal/disk"},
	"/internal/hub/hubtest":      {},
	"/internal/grammar":          {"/internal/regular"},
	"/internal/jinja":            {},
	"/internal/kv":               {},
	"/internal/regular":          {},
	"/internal/convert":          {"/internal/disk", "/internal/safetensors", "/internal/torchfile"},
	"/internal/mmap":             {},
	"/internal/pickle":           {},
	"/internal/safetensors":      {"/internal/mmap"},
	"/internal/torchfile":        {"/internal/mmap", "/internal/pickle", "/internal/safetensors"},
	"/internal/tokenizer":        {},
	"/internal/vec":              {},
	"/tools/httpload":            {},
	"/tools/kernels":             {},
	"/tools/load":                {""},
	"/poc/nemotron-cuda-cpp":     {""},
}

// TestImports holds the table above against the code.
func TestImports(t *testing.T) {
	needGo(t)
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		name := strings.TrimPrefix(words[0], module)
		allowed, known := imports[name]
		if !known {
			t.Errorf("package %s is not in the table of imports", words[0])
			continue
		}
		for _, path := range words[1:] {
			ours, inside := strings.CutPrefix(path, module)
			if inside && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s, which the table does not allow", words[0], path)
			}
		}
	}
}

// TestLinks finds the files that the documents point to.
func TestLinks(t *testing.T) {
	var documents []string
	for _, pattern := range []string{"*.md", "*/*.md", "*/*/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, found...)
	}
	link := regexp.MustCompile(`\]\(([^)#:]+)\)`)
	for _, name := range documents {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), string(m[1]))); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// needGo skips a test where the test binary runs without Go.
func needGo(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip(err)
	}
}
