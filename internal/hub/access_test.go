package hub

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestToken sends the token to the hub and never to the CDN.
func TestToken(t *testing.T) {
	files := sharded()
	h, c := start(t, files)
	h.Token, h.Repos[org].Private = "hf_secret", true
	c.Token = "hf_secret"
	checkFiles(t, pullIt(t, c, Model), files, shardedNeeds)
	if leaked := h.Leaked(); len(leaked) > 0 {
		t.Errorf("the CDN was sent %q", leaked)
	}
}

// TestRenamed follows a repository to its new name, on the same server and with
// the token.
func TestRenamed(t *testing.T) {
	files := sharded()
	h, c := start(t, nil)
	h.Add("new/name", files)
	h.Token, h.Repos["new/name"].Private, c.Token = "hf_secret", true, "hf_secret"
	h.Answer = func(w http.ResponseWriter, r *http.Request, cdn bool) bool {
		if !strings.Contains(r.URL.Path, org) {
			return false
		}
		w.Header().Set("Location", strings.Replace(r.URL.RequestURI(), org, "new/name", 1))
		w.WriteHeader(http.StatusTemporaryRedirect)
		return true
	}
	checkFiles(t, pullIt(t, c, Model), files, shardedNeeds)
}

// TestRefused says for each answer what it means and what to do.
func TestRefused(t *testing.T) {
	for name, test := range map[string]struct {
		repo, revision, token string
		class                 error
		want                  string // HUB stands for the server's address
	}{
		"unknown":         {"no/such", "main", "", ErrNotFound, "hub: no/such is not on HUB, or is private: check the name; for a private repository set HF_TOKEN, or log in with 'hf auth login'"},
		"unknown, token":  {"no/such", "main", "hf_right", ErrNotFound, "hub: no/such@main is not on HUB"},
		"private":         {"a/private", "main", "", ErrNotFound, "hub: a/private is not on HUB, or is private: check the name; for a private"},
		"revision":        {org, "v9", "", ErrNotFound, `hub: org/name has no revision "v9"`},
		"gated":           {"a/gated", "main", "", ErrAccess, "hub: a/gated is gated: ask for access on HUB/a/gated, then set HF_TOKEN to a token of that account, or log in with 'hf auth login'"},
		"gated, no right": {"a/other", "main", "hf_right", ErrAccess, "hub: a/other is gated: ask for access on HUB/a/other, with the account of the token in use; a fine-grained token"},
		"wrong token":     {org, "main", "hf_wrong", ErrAccess, "the server refuses the token (HUB answers 401 Unauthorized: Invalid credentials in Authorization header); make a new one on HUB/settings/tokens"},
		"strange token":   {org, "main", "a b", ErrAccess, "hub: the token holds a character that no token has"},
		"disabled":        {"a/disabled", "main", "", ErrAccess, "403 Forbidden: Access to this resource is disabled.; look at HUB/a/disabled"},
	} {
		h, c := start(t, sharded())
		h.Token, c.Token = "hf_right", test.token
		h.Add("a/private", sharded())
		h.Repos["a/private"].Private = true
		h.Add("a/gated", sharded())
		h.Repos["a/gated"].Gated = true
		h.Add("a/other", sharded())
		h.Answer = func(w http.ResponseWriter, r *http.Request, cdn bool) bool {
			switch {
			case strings.Contains(r.URL.Path, "a/disabled"):
				w.Header().Set("X-Error-Message", "Access to this resource is disabled.")
				w.WriteHeader(403)
			case strings.HasPrefix(r.URL.Path, "/a/other/resolve"):
				w.Header().Set("X-Error-Code", "GatedRepo")
				w.WriteHeader(403)
			default:
				return false
			}
			return true
		}
		_, err := c.Pull(t.Context(), Name{test.repo, test.revision}, Model)
		want := strings.ReplaceAll(strings.ReplaceAll(test.want, "@main", ""), "HUB answers", strings.TrimPrefix(h.URL, "http://")+" answers")
		want = strings.ReplaceAll(want, "HUB", h.URL)
		if !errors.Is(err, test.class) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v\nwant %s", name, err, want)
		}
		if err != nil && test.token != "" && strings.Contains(err.Error(), test.token) && test.token != "a b" {
			t.Errorf("%s: the message holds the token: %v", name, err)
		}
	}
}

// TestNoSecrets keeps the signature in the CDN's addresses out of messages.
func TestNoSecrets(t *testing.T) {
	h, c := start(t, sharded())
	h.Answer = func(w http.ResponseWriter, r *http.Request, cdn bool) bool {
		if cdn {
			panic(http.ErrAbortHandler)
		}
		return false
	}
	var told []string
	c.OnEvent = func(e Event) { told = append(told, e.Message) }
	_, err := c.Pull(t.Context(), Name{org, DefaultRevision}, Model)
	if err == nil || strings.Contains(err.Error()+strings.Join(told, ""), "secret") {
		t.Errorf("got %v and %q, want an error without the signature", err, told)
	}
}

// TestNotAHub says so of servers that answer something else.
func TestNotAHub(t *testing.T) {
	for body, want := range map[string]string{
		"<html>":     "does not answer as a hub does (",
		`{}`:         `the server says the commit is "", which cannot be`,
		`{"sha":1}`:  "does not answer as a hub does (",
		`{"sha":"."`: "check HF_ENDPOINT and proxies",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }))
		c := &Client{Cache: Cache{t.TempDir()}, Endpoint: server.URL, pause: time.Millisecond}
		if _, err := c.Pull(t.Context(), Name{org, DefaultRevision}, Model); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", body, err, want)
		}
		server.Close()
		if _, err := c.Pull(t.Context(), Name{org, DefaultRevision}, Model); !errors.Is(err, ErrNetwork) || !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("got %v, want that nobody is there", err)
		}
	}
	for _, endpoint := range []string{"huggingface.co", "ftp://x", "http://", "::"} {
		c := &Client{Cache: Cache{t.TempDir()}, Endpoint: endpoint}
		if _, err := c.Pull(t.Context(), Name{org, DefaultRevision}, Model); err == nil || !strings.Contains(err.Error(), "got the endpoint") {
			t.Errorf("%s: got %v, want the endpoint refused", endpoint, err)
		}
	}
}

// TestPaths refuses names that would lead out of the cache.
func TestPaths(t *testing.T) {
	outside := []string{"../../evil", "/etc/evil", "a/../../evil", `..\evil`, "a//b", "a/", "\x00"}
	for _, path := range outside {
		files := sharded()
		delete(files, "sub dir/weights #2+é%.safetensors")
		quoted := strings.ReplaceAll(strings.ReplaceAll(path, `\`, `\\`), "\x00", `\u0000`)
		files["model.safetensors.index.json"] = []byte(`{"weight_map":{"a":"` + quoted + `"}}`)
		files[path] = []byte("evil")
		_, c := start(t, files)
		_, err := c.Pull(t.Context(), Name{org, DefaultRevision}, Model)
		if !errors.Is(err, ErrContent) || !strings.Contains(err.Error(), "is no path inside the repository") {
			t.Errorf("%q: got %v, want the path refused", path, err)
		}
	}
	// Names that begin as those of texts do.
	for _, path := range []string{"tokenizer/../../../x", `tokenizer\..\..\..\x`} {
		files := sharded()
		files[path] = []byte("evil")
		_, c := start(t, files)
		s, err := c.Pull(t.Context(), Name{org, DefaultRevision}, Texts)
		if err == nil {
			checkFiles(t, s, files, []string{"chat_template.jinja", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"})
		} else if !strings.Contains(err.Error(), "is no path inside the repository") {
			t.Errorf("%q: got %v", path, err)
		}
	}
}

// TestBlobNames refuses hashes that are no file names.
func TestBlobNames(t *testing.T) {
	for _, blob := range []string{"../../x", "a/b", "", "x.incomplete", strings.Repeat("a", 200)} {
		if err := checkBlob(remote{path: "config.json", size: 1, blob: blob}); err == nil {
			t.Errorf("%q: accepted", blob)
		}
	}
	if err := checkBlob(remote{path: "config.json", size: -1, blob: "abc"}); err == nil {
		t.Error("a file without a size was accepted")
	}
}

// TestMissingShard names a shard that the index has and the repository lacks.
func TestMissingShard(t *testing.T) {
	files := sharded()
	delete(files, "model-00001-of-00002.safetensors")
	_, c := start(t, files)
	_, err := c.Pull(t.Context(), Name{org, DefaultRevision}, Model)
	if !errors.Is(err, ErrContent) || !strings.HasSuffix(err.Error(), "the repository lacks model-00001-of-00002.safetensors, which its index names") {
		t.Errorf("got %v, want the shard named", err)
	}
}

// TestReadOnly names the cache that must not be written.
func TestReadOnly(t *testing.T) {
	if os.Geteuid() <= 0 {
		t.Skip("this user may write everywhere")
	}
	_, c := start(t, sharded())
	if err := os.Chmod(c.Cache.Dir, 0o555); err != nil {
		t.Fatal(err)
	}
	_, err := c.Pull(t.Context(), Name{org, DefaultRevision}, Model)
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "no right to write into the cache, "+c.Cache.Dir) {
		t.Errorf("got %v, want the right that is missing", err)
	}
}

// TestOnDisk tells a full disk and a missing right from other faults.
func TestOnDisk(t *testing.T) {
	for cause, want := range map[error]string{
		syscall.ENOSPC: "the disk of DIR is full; what was fetched is kept: make room and run the command again",
		syscall.EROFS:  "no right to write into the cache, DIR; HF_HUB_CACHE may name another",
		syscall.EIO:    syscall.EIO.Error(),
	} {
		err := onDisk("DIR", &fs.PathError{Op: "write", Path: "x", Err: cause})
		if !errors.Is(err, cause) || !strings.Contains(err.Error(), want) || temporary(err) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	// A file where the cache's directory should be.
	_, c := start(t, sharded())
	c.Cache.Dir = filepath.Join(c.Cache.Dir, "file")
	if err := os.WriteFile(c.Cache.Dir, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Pull(t.Context(), Name{org, DefaultRevision}, Model); err == nil || class(err) != nil || !strings.Contains(err.Error(), c.Cache.Dir) {
		t.Errorf("got %v, want the file named", err)
	}
}

// TestWaitOf reads the headers that say when to come back.
func TestWaitOf(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		name, value string
		want        time.Duration
	}{
		{"Retry-After", "7", 7 * time.Second},
		{"Retry-After", "Fri, 02 Jan 2026 03:04:35 GMT", 30 * time.Second},
		{"Retry-After", "Fri, 02 Jan 2026 03:00:00 GMT", 0},
		{"Retry-After", "soon", 0},
		{"Retry-After", "-1", 0},
		{"RateLimit", `"api";r=0;t=55`, 56 * time.Second},
		{"RateLimit", `"api";r=10;t=55`, 0},
	} {
		h := http.Header{}
		h.Set(c.name, c.value)
		if got := waitOf(h, now); got != c.want {
			t.Errorf("%s: %s: got %v, want %v", c.name, c.value, got, c.want)
		}
	}
}

// TestLongWait does not sleep for an hour because a server says so.
func TestLongWait(t *testing.T) {
	h, c := start(t, sharded())
	h.Answer = func(w http.ResponseWriter, _ *http.Request, _ bool) bool {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(429)
		return true
	}
	if _, err := c.Pull(t.Context(), Name{org, DefaultRevision}, Model); !errors.Is(err, ErrNetwork) || !strings.HasSuffix(err.Error(), "to be tried again in 1h0m0s") {
		t.Errorf("got %v, want the wait named", err)
	}
}

// TestDowngrade does not follow a redirect from https to http.
func TestDowngrade(t *testing.T) {
	h, c := start(t, sharded())
	secure := httptest.NewTLSServer(http.RedirectHandler(h.URL, http.StatusFound))
	defer secure.Close()
	c.Endpoint, c.Transport = secure.URL, secure.Client().Transport
	if _, err := c.Pull(t.Context(), Name{org, DefaultRevision}, Model); err == nil || !strings.HasSuffix(err.Error(), "which is not encrypted") {
		t.Errorf("got %v, want the redirect refused", err)
	}
	c.Transport = newTransport(time.Second) // does not know the certificate
	if _, err := c.Pull(t.Context(), Name{org, DefaultRevision}, Model); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v, want the certificate refused", err)
	}
}
