package hub

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// asPython runs a program with Hugging Face's own library, which GODWIT_PYTHON
// has, against a hub and a cache.
func asPython(t *testing.T, endpoint, cache, program string) string {
	t.Helper()
	python := os.Getenv("GODWIT_PYTHON")
	if python == "" {
		t.Skip("GODWIT_PYTHON names no Python with huggingface_hub")
	}
	cmd := exec.Command(python, "-c", program)
	cmd.Env = append(os.Environ(), "HF_ENDPOINT="+endpoint, "HF_HUB_CACHE="+cache, "HF_HOME="+t.TempDir(), "HF_HUB_DISABLE_XET=1", "HF_HUB_DISABLE_TELEMETRY=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// TestPythonFindsOurs lets huggingface_hub find what we have fetched.
func TestPythonFindsOurs(t *testing.T) {
	h, c := start(t, sharded())
	s := pullIt(t, c, Model)
	got := asPython(t, h.URL, c.Cache.Dir, `
from huggingface_hub import snapshot_download, try_to_load_from_cache, scan_cache_dir
print(snapshot_download("org/name", local_files_only=True))
print(try_to_load_from_cache("org/name", "config.json"))
info = scan_cache_dir()
print(len(info.warnings), [r.repo_id for r in info.repos], [sorted(v.refs) for r in info.repos for v in r.revisions])
`)
	want := s.Dir + "\n" + filepath.Join(s.Dir, "config.json") + "\n0 ['org/name'] [['main']]"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestPythonMakesTheSame compares the caches that both make from one server,
// and takes over what huggingface_hub has fetched.
func TestPythonMakesTheSame(t *testing.T) {
	files := sharded()
	h, c := start(t, files)
	theirs := t.TempDir()
	asPython(t, h.URL, theirs, `
from huggingface_hub import hf_hub_download
for name in ("config.json", "tokenizer.json", "model-00001-of-00002.safetensors", "sub dir/weights #2+é%.safetensors"):
    hf_hub_download("org/name", name)
`)
	pullIt(t, c, Model)
	for _, pattern := range []string{"*/refs/*", "*/blobs/*", "*/snapshots/*/*", "*/snapshots/*/*/*", ".locks/*/*", "CACHEDIR.TAG"} {
		paths, err := filepath.Glob(filepath.Join(theirs, pattern))
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %v, %v", pattern, paths, err)
		}
		for _, path := range paths {
			rest, _ := filepath.Rel(theirs, path)
			sameEntry(t, path, filepath.Join(c.Cache.Dir, rest))
		}
	}
	h.Requests()
	c.Cache.Dir = theirs
	s := pullIt(t, c, Model)
	checkFiles(t, s, files, shardedNeeds)
	for _, r := range h.Requests() {
		if strings.Contains(r, "config.json") && !strings.Contains(r, "_config") || strings.Contains(r, "00001") {
			t.Errorf("asked for %s, which was there", r)
		}
	}
}

// sameEntry compares two files or links; a tag's text may differ.
func sameEntry(t *testing.T, a, b string) {
	t.Helper()
	linkA, errA := os.Readlink(a)
	linkB, errB := os.Readlink(b)
	if linkA != linkB || (errA == nil) != (errB == nil) {
		t.Errorf("%s links to %q (%v), %s to %q (%v)", a, linkA, errA, b, linkB, errB)
	}
	textA, errA := os.ReadFile(a)
	textB, errB := os.ReadFile(b)
	if info, err := os.Stat(a); err == nil && info.IsDir() {
		return
	}
	if errA != nil || errB != nil || string(textA) != string(textB) && filepath.Base(a) != "CACHEDIR.TAG" {
		t.Errorf("%s and %s differ (%v, %v)", a, b, errA, errB)
	}
}
