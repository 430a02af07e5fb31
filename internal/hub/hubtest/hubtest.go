// Package hubtest is a server that behaves as the Hugging Face Hub does, for
// tests: the listing of a repository, its files with their headers, and a
// second server, as the CDN, that large files are redirected to. It can be told
// to fail in the ways that the real one and the network do.
package hubtest

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Repo is what one repository holds.
type Repo struct {
	Refs    map[string]string            // branches and tags to commits
	Commits map[string]map[string][]byte // commits to files
	Private bool                         // there for those with the token only
	Gated   bool                         // listed for all, its files for those with the token
}

// Hub is a running server. Its fields may be changed between requests.
type Hub struct {
	URL    string // what HF_ENDPOINT would be
	CDN    string // where large files come from
	Repos  map[string]*Repo
	Token  string // what opens gated and private repositories
	Large  int    // files from this size on are in large file storage
	Simple bool   // an imitation, whose listing has neither sizes nor hashes

	// Answer may answer a request to one of the two servers instead, by
	// returning true.
	Answer func(w http.ResponseWriter, r *http.Request, cdn bool) bool
	// Content may change what the CDN sends for a blob.
	Content func(blob string, data []byte) []byte
	// Cut says after how many bytes of an answer of the CDN the connection is
	// cut; less than 0 means not at all.
	Cut func(blob string, from, size int) int

	mu       sync.Mutex
	requests []string
	secrets  []string
}

// New returns a hub with no repositories, and a function that stops it.
func New() (*Hub, func()) {
	h := &Hub{Repos: map[string]*Repo{}, Large: 1024}
	cdn := httptest.NewServer(http.HandlerFunc(h.cdn))
	server := httptest.NewServer(http.HandlerFunc(h.hub))
	// Clients tell the two servers apart by name.
	h.URL, h.CDN = server.URL, strings.Replace(cdn.URL, "127.0.0.1", "localhost", 1)
	return h, func() {
		server.CloseClientConnections()
		cdn.CloseClientConnections()
		server.Close()
		cdn.Close()
	}
}

// Add makes a repository with one commit, on main, and returns the commit.
func (h *Hub) Add(name string, files map[string][]byte) (*Repo, string) {
	r := &Repo{Refs: map[string]string{}, Commits: map[string]map[string][]byte{}}
	commit := r.Commit("main", files)
	h.mu.Lock() // a client in another process may ask next
	defer h.mu.Unlock()
	h.Repos[name] = r
	return r, commit
}

// Commit adds a commit and sets a branch to it.
func (r *Repo) Commit(branch string, files map[string][]byte) string {
	sum := sha1.Sum(fmt.Append(nil, len(r.Commits), branch))
	commit := hex.EncodeToString(sum[:])
	r.Commits[commit], r.Refs[branch] = files, commit
	return commit
}

// Blob is the name of a file's blob: sha256 in large file storage, else git's
// hash.
func (h *Hub) Blob(data []byte) string {
	if len(data) >= h.Large {
		sum := sha256.Sum256(data)
		return hex.EncodeToString(sum[:])
	}
	sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(data)), data...))
	return hex.EncodeToString(sum[:])
}

// Requests returns what was asked since the last call, as "GET /path".
func (h *Hub) Requests() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.requests
	h.requests = nil
	return all
}

// Leaked returns the Authorization headers that the CDN was sent.
func (h *Hub) Leaked() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.secrets
}

func (h *Hub) note(r *http.Request, cdn bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	host := ""
	if cdn {
		host = "cdn "
		if secret := r.Header.Get("Authorization"); secret != "" {
			h.secrets = append(h.secrets, secret)
		}
	}
	text := host + r.Method + " " + r.URL.Path
	if part := r.Header.Get("Range"); part != "" {
		text += " " + part
	}
	h.requests = append(h.requests, text)
}

func (h *Hub) hub(w http.ResponseWriter, r *http.Request) {
	h.note(r, false)
	if h.Answer != nil && h.Answer(w, r, false) {
		return
	}
	path, _ := url.PathUnescape(r.URL.EscapedPath())
	if rest, ok := strings.CutPrefix(path, "/api/models/"); ok {
		name, revision, found := strings.Cut(rest, "/revision/")
		if !found {
			name, revision = rest, "main"
		}
		h.list(w, r, name, revision)
		return
	}
	name, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/resolve/")
	revision, file, _ := strings.Cut(rest, "/")
	h.resolve(w, r, name, revision, file)
}

// refuse answers with one of the hub's errors.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("X-Error-Code", code)
	w.Header().Set("X-Error-Message", message)
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"error": message})
}

// find returns the files of a revision, or answers why not.
func (h *Hub) find(w http.ResponseWriter, r *http.Request, name, revision string) (repo *Repo, commit string, files map[string][]byte) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	repo = h.Repos[name]
	switch {
	case token != "" && token != h.Token:
		refuse(w, 401, "", "Invalid credentials in Authorization header")
		return nil, "", nil
	case repo == nil || repo.Private && token == "":
		status := 404
		if token == "" {
			status = 401
		}
		refuse(w, status, "RepoNotFound", "Repository not found")
		return nil, "", nil
	}
	commit = revision
	if c, ok := repo.Refs[revision]; ok {
		commit = c
	}
	if files = repo.Commits[commit]; files == nil {
		refuse(w, 404, "RevisionNotFound", "Invalid rev id: "+revision)
	}
	return repo, commit, files
}

func (h *Hub) list(w http.ResponseWriter, r *http.Request, name, revision string) {
	_, commit, files := h.find(w, r, name, revision)
	if files == nil {
		return
	}
	siblings := []map[string]any{}
	for path, data := range files {
		f := map[string]any{"rfilename": path}
		if r.URL.Query().Has("blobs") && !h.Simple {
			f["size"], f["blobId"] = len(data), "0123456789012345678901234567890123456789"
			if len(data) >= h.Large {
				f["lfs"] = map[string]any{"sha256": h.Blob(data), "size": len(data), "pointerSize": 135}
			} else {
				f["blobId"] = h.Blob(data)
			}
		}
		siblings = append(siblings, f)
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"id": name, "modelId": name, "sha": commit, "siblings": siblings, "private": false, "tags": []string{}, "downloads": 0})
}

func (h *Hub) resolve(w http.ResponseWriter, r *http.Request, name, revision, file string) {
	repo, commit, files := h.find(w, r, name, revision)
	if files == nil {
		return
	}
	w.Header().Set("X-Repo-Commit", commit)
	if repo.Gated && r.Header.Get("Authorization") == "" {
		refuse(w, 401, "GatedRepo", "Access to model "+name+" is restricted.")
		return
	}
	data, ok := files[file]
	if !ok {
		refuse(w, 404, "EntryNotFound", "Entry not found")
		return
	}
	blob := h.Blob(data)
	if len(data) < h.Large {
		w.Header().Set("ETag", strconv.Quote(blob))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
		return
	}
	w.Header().Set("X-Linked-Etag", strconv.Quote(blob))
	w.Header().Set("X-Linked-Size", strconv.Itoa(len(data)))
	w.Header().Set("Location", h.CDN+"/"+blob+"?Signature=secret")
	w.WriteHeader(http.StatusFound)
}

// cdn serves blobs by their hash.
func (h *Hub) cdn(w http.ResponseWriter, r *http.Request) {
	h.note(r, true)
	if h.Answer != nil && h.Answer(w, r, true) {
		return
	}
	blob := strings.TrimPrefix(r.URL.Path, "/")
	data := h.blobData(blob)
	if data == nil || r.URL.Query().Get("Signature") != "secret" {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	if h.Content != nil {
		data = h.Content(blob, data)
	}
	w.Header().Set("ETag", `"of-the-cdn"`)
	if h.Cut != nil {
		from := 0
		fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
		if n := h.Cut(blob, from, len(data)); n >= 0 {
			w = &cutter{ResponseWriter: w, left: n}
		}
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

func (h *Hub) blobData(blob string) []byte {
	for _, repo := range h.Repos {
		for _, files := range repo.Commits {
			for _, data := range files {
				if h.Blob(data) == blob {
					return data
				}
			}
		}
	}
	return nil
}

// cutter ends the connection after some bytes.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	n, _ := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	c.left -= n
	if n < len(p) {
		http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, nil
}
