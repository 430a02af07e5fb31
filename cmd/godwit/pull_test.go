package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-llm/godwit/internal/hub/hubtest"
)

// dirFiles returns the files of a directory.
func dirFiles(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		if files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// startHub returns a hub with a tiny model, org/tiny, that the environment
// leads to, and the cache.
func startHub(t *testing.T) (h *hubtest.Hub, cache string) {
	t.Helper()
	h, stop := hubtest.New()
	t.Cleanup(stop)
	h.Add("org/tiny", dirFiles(t, "../../testdata/tiny-dense"))
	for _, name := range []string{
		"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE",
		"TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_SYMLINKS", "HF_HUB_DISABLE_IMPLICIT_TOKEN", "XDG_CACHE_HOME", "HF_HUB_DOWNLOAD_TIMEOUT",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("HF_HOME", t.TempDir())
	t.Setenv("HF_ENDPOINT", h.URL)
	return h, filepath.Join(os.Getenv("HF_HOME"), "hub")
}

// command runs one command line with nothing on standard input.
func command(t *testing.T, args ...string) (status int, out, errOut string) {
	t.Helper()
	return commandWith(t.Context(), "", args...)
}

func commandWith(ctx context.Context, in string, args ...string) (status int, out, errOut string) {
	var o, e bytes.Buffer
	status = execute(ctx, args, strings.NewReader(in), &o, &e)
	return status, o.String(), e.String()
}

// want makes sure of a command's end.
func want(t *testing.T, status, wantStatus int, got, wantText string) {
	t.Helper()
	if status != wantStatus || !strings.Contains(got, wantText) {
		t.Errorf("got status %d and %q, want %d and %q", status, got, wantStatus, wantText)
	}
}

// TestPull fetches, lists, runs by name without asking again, and removes.
func TestPull(t *testing.T) {
	h, cache := startHub(t)
	status, out, errOut := command(t, "pull", "org/tiny")
	want(t, status, 0, errOut, "fetched config.json, ")
	commit := h.Repos["org/tiny"].Refs["main"]
	if dir := filepath.Join(cache, "models--org--tiny", "snapshots", commit); out != dir+"\n" {
		t.Errorf("got %q, want %q", out, dir)
	}
	status, _, errOut = command(t, "pull", "org/tiny@main")
	want(t, status, 0, errOut, "org/tiny is up to date\n")
	h.Requests()
	for _, args := range []string{"run --device cpu --temperature 0 --max-tokens 2 --model org/tiny Once", "inspect org/tiny", "run --device cpu --max-tokens 2 --model org/tiny@" + commit + " Once"} {
		status, _, errOut = command(t, strings.Fields(args)...)
		want(t, status, 0, errOut, "")
	}
	status, out, _ = commandWith(t.Context(), "Once", "tokenize", "--model", "org/tiny")
	want(t, status, 0, out, "[1,78")
	status, out, _ = commandWith(t.Context(), `{"ids":[1,2]}`, "score", "--device", "cpu", "--model", "org/tiny")
	want(t, status, 0, out, `"ids":[1,2]`)
	status, _, errOut = commandWith(t.Context(), `{"messages":[{"role":"user","content":"Hi"}]}`, "render", "--model", "org/tiny")
	want(t, status, 0, errOut, "")
	if asked := h.Requests(); len(asked) > 0 {
		t.Errorf("asked the hub for %q, all of which is in the cache", asked)
	}
	status, out, _ = command(t, "list")
	want(t, status, 0, out, "org/tiny  main      "+commit[:12])
	want(t, status, 0, out, "ready")
	var line listOutput
	status, out, _ = command(t, "list", "--json")
	if err := json.Unmarshal([]byte(out), &line); err != nil || status != 0 || line.Name != "org/tiny" || line.Bytes < 1000 || line.State != "ready" {
		t.Errorf("got %q (%v)", out, err)
	}
	status, _, errOut = command(t, "rm", "org/tiny")
	want(t, status, 0, errOut, "")
	status, _, errOut = command(t, "rm", "org/tiny")
	want(t, status, 1, errOut, "godwit: hub: org/tiny is not in the cache, "+cache)
	if _, out, _ = command(t, "list"); out != "" {
		t.Errorf("got %q, want an empty list", out)
	}
}

// TestModelByName fetches what is named and not there, and only the texts where
// the weights are not needed.
func TestModelByName(t *testing.T) {
	h, _ := startHub(t)
	status, out, errOut := commandWith(t.Context(), "Once", "tokenize", "--model", "org/tiny")
	want(t, status, 0, out, "[1,78")
	if strings.Contains(errOut, "safetensors") {
		t.Errorf("the weights were fetched: %q", errOut)
	}
	status, _, errOut = command(t, "run", "--device", "cpu", "--max-tokens", "2", "--model", "org/tiny", "Once")
	want(t, status, 0, errOut, "fetched model")
	want(t, status, 0, errOut, "ended by length")

	status, _, errOut = command(t, "run", "--model", "org/none", "Once")
	want(t, status, 1, errOut, "godwit: there is no directory org/none, and hub: org/none is not on "+h.URL)
	status, _, errOut = command(t, "run", "--model", "org/tiny@v2", "Once")
	want(t, status, 1, errOut, `hub: org/tiny has no revision "v2"`)
	h.Requests()
	for _, path := range []string{"./org/tiny", "tiny", "a/b/c", "/a/b", `a\b`, "../tiny"} {
		status, _, errOut = command(t, "run", "--model", path, "Once")
		want(t, status, 1, errOut, "open "+path)
	}
	if asked := h.Requests(); len(asked) > 0 {
		t.Errorf("asked the hub for %q", asked)
	}
}

// TestDirectoryWins opens a directory of the same name.
func TestDirectoryWins(t *testing.T) {
	h, _ := startHub(t)
	t.Chdir(t.TempDir())
	if err := os.MkdirAll("org/tiny", 0o777); err != nil {
		t.Fatal(err)
	}
	status, _, errOut := command(t, "run", "--model", "org/tiny", "Once")
	want(t, status, 1, errOut, "config.json")
	if asked := h.Requests(); len(asked) > 0 {
		t.Errorf("asked the hub for %q", asked)
	}
}

// TestOffline uses the cache and nothing else; without the variable it asks,
// and makes do with the cache where nobody answers.
func TestOffline(t *testing.T) {
	h, cache := startHub(t)
	t.Setenv("HF_HUB_OFFLINE", "1")
	status, _, errOut := command(t, "run", "--model", "org/tiny", "Once")
	want(t, status, 1, errOut, "org/tiny is not in the cache, "+cache+", in full; HF_HUB_OFFLINE forbids to fetch it")
	status, _, errOut = command(t, "pull", "org/tiny")
	want(t, status, 1, errOut, "pull: HF_HUB_OFFLINE forbids")
	if asked := h.Requests(); len(asked) > 0 {
		t.Errorf("asked the hub for %q", asked)
	}
	t.Setenv("HF_HUB_OFFLINE", "")
	status, _, errOut = command(t, "pull", "org/tiny")
	want(t, status, 0, errOut, "fetched")
	dir := filepath.Join(cache, "models--org--tiny", "snapshots", h.Repos["org/tiny"].Refs["main"])
	if err := os.Remove(filepath.Join(dir, "tokenizer.json")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HF_ENDPOINT", "http://127.0.0.1:1")
	status, _, errOut = command(t, "run", "--device", "cpu", "--max-tokens", "2", "--model", "org/tiny", "--ids", "1,2")
	want(t, status, 0, errOut, "using what is in the cache")
	t.Setenv("HF_HUB_OFFLINE", "YES")
	status, _, errOut = command(t, "run", "--device", "cpu", "--max-tokens", "2", "--model", "org/tiny", "--ids", "1,2")
	want(t, status, 0, errOut, "ended by")
}

// TestTokens finds the token where Hugging Face's programs do.
func TestTokens(t *testing.T) {
	h, _ := startHub(t)
	h.Token, h.Repos["org/tiny"].Private = "hf_abc", true
	status, _, errOut := command(t, "pull", "org/tiny")
	want(t, status, 1, errOut, "for a private repository set HF_TOKEN")
	t.Setenv("HF_TOKEN", " hf_abc\n")
	status, _, errOut = command(t, "pull", "org/tiny")
	want(t, status, 0, errOut, "fetched")
	t.Setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
	status, _, errOut = command(t, "pull", "org/tiny")
	want(t, status, 1, errOut, "for a private repository set HF_TOKEN")
	t.Setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "")
	t.Setenv("HF_TOKEN", "")
	file := filepath.Join(os.Getenv("HF_HOME"), "token")
	if err := os.WriteFile(file, []byte("hf_abc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, _, errOut = command(t, "pull", "org/tiny")
	want(t, status, 0, errOut, "up to date")
	t.Setenv("HF_TOKEN_PATH", "$HF_HOME/other")
	if err := os.Rename(file, filepath.Join(os.Getenv("HF_HOME"), "other")); err != nil {
		t.Fatal(err)
	}
	status, _, errOut = command(t, "pull", "org/tiny")
	want(t, status, 0, errOut, "up to date")
	if leaked := h.Leaked(); len(leaked) > 0 {
		t.Errorf("the CDN was sent %q", leaked)
	}
}

// TestPullUsage refuses what is no name.
func TestPullUsage(t *testing.T) {
	startHub(t)
	for _, c := range []struct{ args, want string }{
		{"pull", "godwit pull wants one name, ORG/NAME or ORG/NAME@REVISION, got 0"},
		{"pull a/b c/d", "got 2"},
		{"pull a/b/c", `got the repository "a/b/c", want ORG/NAME`},
		{"pull a/b@", `a/b: got the revision ""`},
		{"rm", "godwit rm wants one name"},
		{"rm ../x", `got the repository "../x"`},
		{"list x", "takes no arguments"},
	} {
		status, _, errOut := command(t, strings.Fields(c.args)...)
		want(t, status, 2, errOut, c.want)
	}
	t.Setenv("HF_HUB_DOWNLOAD_TIMEOUT", "soon")
	status, _, errOut := command(t, "pull", "a/b")
	want(t, status, 1, errOut, `HF_HUB_DOWNLOAD_TIMEOUT is "soon", want a number of seconds`)
}

// TestPullInterrupted ends at once and keeps what has arrived.
func TestPullInterrupted(t *testing.T) {
	h, cache := startHub(t)
	ctx, cancel := context.WithCancel(t.Context())
	h.Answer = func(w http.ResponseWriter, r *http.Request, cdn bool) bool {
		if !cdn {
			return false
		}
		w.Header().Set("Content-Length", "1000000")
		w.Write(make([]byte, 1000))
		http.NewResponseController(w).Flush()
		cancel()
		<-r.Context().Done()
		return true
	}
	t.Setenv("HF_HUB_DOWNLOAD_TIMEOUT", "3600") // the connection alone would not end it
	status, _, errOut := commandWith(ctx, "", "pull", "org/tiny")
	want(t, status, 1, errOut, "what was fetched is kept, and the next pull goes on from there")
	h.Answer = nil
	status, _, errOut = command(t, "pull", "org/tiny")
	want(t, status, 0, errOut, "fetched")
	if left, _ := filepath.Glob(filepath.Join(cache, "*/blobs/*.incomplete")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

// TestPullPyTorch says what to do with weights that are not safetensors.
func TestPullPyTorch(t *testing.T) {
	h, _ := startHub(t)
	h.Add("org/old", map[string][]byte{"config.json": []byte("{}"), "tokenizer.json": []byte("{}"), "pytorch_model.bin": make([]byte, 5000)})
	const advice = "org/old has its weights as pytorch_model.bin only; convert them once with: godwit convert org/old"
	status, _, errOut := command(t, "pull", "org/old")
	want(t, status, 0, errOut, advice)
	status, _, errOut = command(t, "run", "--model", "org/old", "Once")
	want(t, status, 1, errOut, advice)
	status, out, _ := command(t, "list")
	want(t, status, 0, out, "to be converted")
}

// TestServeByName fetches while it listens, and serves under the repository's
// name.
func TestServeByName(t *testing.T) {
	startHub(t)
	log, stop := serving(t, "--model", "org/tiny")
	log.wait(t, "fetched model")
	address := log.wait(t, `url=(http://\S+) model=org/tiny`)
	log.wait(t, "msg=ready")
	response, err := http.Get(address + "/v1/models")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var models struct{ Data []struct{ ID string } }
	if err := json.NewDecoder(response.Body).Decode(&models); err != nil || len(models.Data) != 1 || models.Data[0].ID != "org/tiny" {
		t.Errorf("got %v, %v, want org/tiny", models, err)
	}
	if status := stop(); status != 0 {
		t.Errorf("got status %d, want 0", status)
	}
}
