package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-llm/godwit/internal/disk"
	"github.com/godwit-llm/godwit/internal/hub/hubtest"
)

// content returns n bytes that are the same for the same seed.
func content(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return data
}

// sharded are the files of a model in two shards, and some that no model needs.
func sharded() map[string][]byte {
	return map[string][]byte{
		"config.json":                       []byte(`{"model_type":"llama"}`),
		"generation_config.json":            []byte(`{}`),
		"tokenizer.json":                    content(1, 5000),
		"tokenizer_config.json":             []byte(`{"a":1}`),
		"chat_template.jinja":               []byte("{{ messages }}"),
		"model.safetensors.index.json":      []byte(`{"metadata":{},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"sub dir/weights #2+é%.safetensors","c":"model-00001-of-00002.safetensors"}}`),
		"model-00001-of-00002.safetensors":  content(2, 300_000),
		"sub dir/weights #2+é%.safetensors": content(3, 70_000),
		"consolidated.safetensors":          content(4, 9000),
		"pytorch_model.bin":                 content(5, 9000),
		"README.md":                         []byte("# A model"),
	}
}

var shardedNeeds = []string{
	"chat_template.jinja", "config.json", "generation_config.json", "model-00001-of-00002.safetensors",
	"model.safetensors.index.json", "sub dir/weights #2+é%.safetensors", "tokenizer.json", "tokenizer_config.json",
}

const org = "org/name"

// start returns a hub with one repository and a client of it.
func start(t *testing.T, files map[string][]byte) (*hubtest.Hub, *Client) {
	t.Helper()
	h, stop := hubtest.New()
	t.Cleanup(stop)
	if files != nil {
		h.Add(org, files)
	}
	return h, &Client{
		Cache: Cache{t.TempDir()}, Endpoint: h.URL, Timeout: 5 * time.Second, Workers: 3, pause: time.Millisecond,
		Transport: newTransport(5 * time.Second),
	}
}

func pullIt(t *testing.T, c *Client, want Want) Snapshot {
	t.Helper()
	s, err := c.Pull(t.Context(), Name{org, DefaultRevision}, want)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// checkFiles makes sure that a snapshot has these files and no other.
func checkFiles(t *testing.T, s Snapshot, from map[string][]byte, names []string) {
	t.Helper()
	got, err := s.files()
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(names) {
		t.Errorf("got the files %v, want %v", got, names)
	}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(s.Dir, filepath.FromSlash(name)))
		if err != nil || !bytes.Equal(data, from[name]) {
			t.Errorf("%s: got %d bytes and %v, want %d", name, len(data), err, len(from[name]))
		}
	}
}

// checkClean makes sure that nothing is left over beside the blobs.
func checkClean(t *testing.T, c *Client) {
	t.Helper()
	for _, pattern := range []string{"*/blobs/*.incomplete", "*/refs/*.tmp", "*/snapshots/*/*.tmp"} {
		if left, _ := filepath.Glob(filepath.Join(c.Cache.Dir, pattern)); len(left) > 0 {
			t.Errorf("left over: %v", left)
		}
	}
}

// TestPull fetches what a model needs, in the layout of the cache, and nothing
// else; a second time it only asks for the commit.
func TestPull(t *testing.T) {
	files := sharded()
	h, c := start(t, files)
	s := pullIt(t, c, Model)
	checkFiles(t, s, files, shardedNeeds)
	checkClean(t, c)
	if s.Weights != Safetensors || !s.Complete {
		t.Errorf("got %+v, want whole safetensors", s)
	}
	for _, name := range shardedNeeds {
		target, err := os.Readlink(filepath.Join(s.Dir, filepath.FromSlash(name)))
		up := strings.Repeat("../", 2+strings.Count(name, "/"))
		if want := up + "blobs/" + h.Blob(files[name]); err != nil || target != want {
			t.Errorf("%s: got a link to %q (%v), want %q", name, target, err, want)
		}
	}
	if ref, err := os.ReadFile(filepath.Join(c.Cache.Dir, "models--org--name", "refs", "main")); string(ref) != s.Commit {
		t.Errorf("refs/main: got %q (%v), want %s", ref, err, s.Commit)
	}
	if len(h.Leaked()) > 0 {
		t.Error("the CDN was sent an Authorization header without a token")
	}
	h.Requests()
	pullIt(t, c, Model)
	if got := h.Requests(); len(got) != 1 || !strings.HasPrefix(got[0], "GET /api/models/org/name/revision/main") {
		t.Errorf("the second time: got requests %q, want one for the listing", got)
	}
}

// TestPullTexts leaves the weights out.
func TestPullTexts(t *testing.T) {
	files := sharded()
	_, c := start(t, files)
	s := pullIt(t, c, Texts)
	checkFiles(t, s, files, []string{"chat_template.jinja", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"})
	found, err := c.Cache.Find(Name{org, DefaultRevision}, Texts)
	if err != nil || !found.Complete || found.Weights != NoWeights {
		t.Errorf("got %+v, %v, want complete texts", found, err)
	}
	if found, err = c.Cache.Find(Name{org, DefaultRevision}, Model); err != nil || found.Complete {
		t.Errorf("got %+v, %v, want it incomplete as a model", found, err)
	}
}

// TestPullForms takes the weights in the form that counts first.
func TestPullForms(t *testing.T) {
	w := content(9, 2000)
	for _, c := range []struct {
		files string
		want  string
		form  Weights
	}{
		{"model.safetensors model.safetensors.index.json model-00001-of-00001.safetensors", "model.safetensors", Safetensors},
		{"model-00001-of-00002.safetensors model-00002-of-00002.safetensors x-00001-of-00002.safetensors", "model-00001-of-00002.safetensors model-00002-of-00002.safetensors", Safetensors},
		{"pytorch_model.bin training_args.bin", "pytorch_model.bin", PyTorch},
		{"pytorch_model-00001-of-00001.bin", "pytorch_model-00001-of-00001.bin", PyTorch},
		{"adapter_model.safetensors adapter_config.json", "adapter_config.json adapter_model.safetensors", Adapter},
	} {
		files := map[string][]byte{"config.json": []byte("{}"), "tokenizer.json": []byte("{}")}
		for name := range strings.FieldsSeq(c.files) {
			files[name] = w
		}
		_, client := start(t, files)
		s := pullIt(t, client, Model)
		checkFiles(t, s, files, append(strings.Fields(c.want), "config.json", "tokenizer.json"))
		if s.Weights != c.form {
			t.Errorf("%s: got form %d, want %d", c.files, s.Weights, c.form)
		}
	}
}

// TestNoModel refuses, before anything is fetched, what is no model.
func TestNoModel(t *testing.T) {
	for _, c := range []struct{ files, want string }{
		{"model-Q4.gguf config.json", "hub: org/name holds GGUF files, want config.json and safetensors files"},
		{"model.nemo", "holds NeMo archives"},
		{"config.json", "holds config.json but no weights of a known name"},
		{"model.safetensors", "holds weights but no config.json"},
		{"README.md", "holds neither weights nor config.json"},
		{"config.json model-00001-of-00002.safetensors", "no weights of a known name"},
	} {
		files := map[string][]byte{}
		for name := range strings.FieldsSeq(c.files) {
			files[name] = []byte("x")
		}
		_, client := start(t, files)
		_, err := client.Pull(t.Context(), Name{org, DefaultRevision}, Model)
		if !errors.Is(err, ErrContent) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.files, err, c.want)
		}
		if left, _ := os.ReadDir(client.Cache.Dir); len(left) > 0 {
			t.Errorf("%s: %v is left in the cache", c.files, left)
		}
	}
}

// TestImitation asks for what a simple server's listing leaves out.
func TestImitation(t *testing.T) {
	files := sharded()
	h, c := start(t, files)
	h.Simple = true
	s := pullIt(t, c, Model)
	checkFiles(t, s, files, shardedNeeds)
	target, err := os.Readlink(filepath.Join(s.Dir, "tokenizer.json"))
	if want := "../../blobs/" + h.Blob(files["tokenizer.json"]); err != nil || target != want {
		t.Errorf("got a link to %q, %v, want %q", target, err, want)
	}
}

// TestCuts goes on after connections that end at random bytes.
func TestCuts(t *testing.T) {
	files := sharded()
	h, c := start(t, files)
	r, cuts := rand.New(rand.NewPCG(1, 2)), 0
	var mu sync.Mutex
	h.Cut = func(_ string, from, size int) int {
		mu.Lock()
		defer mu.Unlock()
		if cuts++; cuts > 40 {
			return -1
		}
		return r.IntN(max(1, size-from)/2 + 1)
	}
	s := pullIt(t, c, Model)
	checkFiles(t, s, files, shardedNeeds)
	checkClean(t, c)
	ranges := 0
	for _, r := range h.Requests() {
		if strings.Contains(r, "bytes=") {
			ranges++
		}
	}
	if ranges < 10 {
		t.Errorf("got %d requests for ranges, want most of %d cuts", ranges, cuts)
	}
}

// TestDead gives up on a server that never sends a byte.
func TestDead(t *testing.T) {
	h, c := start(t, sharded())
	h.Cut = func(string, int, int) int { return 0 }
	_, err := c.Pull(t.Context(), Name{org, DefaultRevision}, Model)
	if !errors.Is(err, ErrNetwork) {
		t.Errorf("got %v, want ErrNetwork", err)
	}
	if _, err := c.Cache.Find(Name{org, DefaultRevision}, Model); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want no revision in the cache after a pull that failed", err)
	}
}

// TestKilled goes on with what a process left that ended in the middle, with
// its lock file still there.
func TestKilled(t *testing.T) {
	files := sharded()
	h, c := start(t, files)
	shard := files["model-00001-of-00002.safetensors"]
	blob := h.Blob(shard)
	leave(t, c, blob, shard[:123_456])
	s := pullIt(t, c, Model)
	checkFiles(t, s, files, shardedNeeds)
	if !slices.Contains(h.Requests(), "cdn GET /"+blob+" bytes=123456-") {
		t.Error("the shard was not fetched from byte 123456 on")
	}
}

// leave writes what an earlier attempt would have left.
func leave(t *testing.T, c *Client, blob string, data []byte) {
	t.Helper()
	for _, dir := range []string{"models--org--name/blobs", ".locks/models--org--name"} {
		if err := os.MkdirAll(filepath.Join(c.Cache.Dir, dir), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(c.Cache.Dir, "models--org--name/blobs", blob+".incomplete")
	lock := filepath.Join(c.Cache.Dir, ".locks/models--org--name", blob+".lock")
	if err := errors.Join(os.WriteFile(path, data, 0o666), os.WriteFile(lock, nil, 0o666)); err != nil {
		t.Fatal(err)
	}
}

// TestBadRest throws away a rest that does not belong to the file: too long,
// whole but wrong, or wrong at its beginning.
func TestBadRest(t *testing.T) {
	files := sharded()
	for name, rest := range map[string][]byte{
		"too long": content(7, 300_001), "whole": content(7, 300_000), "part": content(7, 1000),
		"whole and right": files["model-00001-of-00002.safetensors"],
	} {
		h, c := start(t, files)
		leave(t, c, h.Blob(files["model-00001-of-00002.safetensors"]), rest)
		var notices atomic.Int32
		c.OnEvent = func(e Event) {
			if e.Kind == Notice {
				notices.Add(1)
			}
		}
		s := pullIt(t, c, Model)
		checkFiles(t, s, files, shardedNeeds)
		if want := name == "whole" || name == "part"; (notices.Load() > 0) != want {
			t.Errorf("%s: got %d notices", name, notices.Load())
		}
	}
}

// TestNoRanges starts again where a server ignores ranges or refuses them.
func TestNoRanges(t *testing.T) {
	files := sharded()
	for _, status := range []int{http.StatusOK, http.StatusRequestedRangeNotSatisfiable} {
		h, c := start(t, files)
		shard := files["model-00001-of-00002.safetensors"]
		leave(t, c, h.Blob(shard), shard[:1000])
		h.Answer = func(w http.ResponseWriter, r *http.Request, cdn bool) bool {
			if !cdn || r.Header.Get("Range") == "" {
				return false
			}
			w.WriteHeader(status)
			if status == http.StatusOK {
				w.Write(shard)
			}
			return true
		}
		checkFiles(t, pullIt(t, c, Model), files, shardedNeeds)
	}
}

// TestWrongHash fetches a file with a wrong hash twice, and names both hashes.
func TestWrongHash(t *testing.T) {
	files := sharded()
	for _, name := range []string{"tokenizer.json", "config.json"} {
		h, c := start(t, files)
		if name == "config.json" {
			h.Answer = func(w http.ResponseWriter, r *http.Request, cdn bool) bool {
				if !strings.HasSuffix(r.URL.Path, "/"+name) {
					return false
				}
				w.Write(bytes.Repeat([]byte("x"), len(files[name])))
				return true
			}
		}
		h.Content = func(blob string, data []byte) []byte {
			if blob != h.Blob(files[name]) {
				return data
			}
			return append(bytes.Clone(data[:len(data)-1]), data[len(data)-1]+1)
		}
		_, err := c.Pull(t.Context(), Name{org, DefaultRevision}, Texts)
		want := fmt.Sprintf("hub: %s: the content has the hash ", name)
		if !errors.Is(err, ErrCorrupt) || !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), ", want "+h.Blob(files[name])) {
			t.Errorf("%s: got %v, want both hashes", name, err)
		}
		h.Answer, h.Content = nil, nil
		checkFiles(t, pullIt(t, c, Model), files, shardedNeeds)
	}
}

// TestTooLong refuses a server that sends more than it has listed.
func TestTooLong(t *testing.T) {
	h, c := start(t, sharded())
	h.Content = func(_ string, data []byte) []byte { return append(bytes.Clone(data), 1) }
	_, err := c.Pull(t.Context(), Name{org, DefaultRevision}, Model)
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "sends more than the") {
		t.Errorf("got %v, want too many bytes", err)
	}
}

// TestBusy waits as long as the server says and tries again, on both servers.
func TestBusy(t *testing.T) {
	files := sharded()
	for _, status := range []int{429, 500, 502, 503, 504, 408} {
		h, c := start(t, files)
		seen := map[string]int{}
		var mu sync.Mutex
		h.Answer = func(w http.ResponseWriter, r *http.Request, cdn bool) bool {
			mu.Lock()
			defer mu.Unlock()
			if seen[r.URL.Path]++; seen[r.URL.Path] > 2 {
				return false
			}
			w.WriteHeader(status)
			return true
		}
		checkFiles(t, pullIt(t, c, Model), files, shardedNeeds)
	}
}

// TestRetryAfter waits for as long as it is told to, and tells the user.
func TestRetryAfter(t *testing.T) {
	h, c := start(t, sharded())
	asked := 0
	h.Answer = func(w http.ResponseWriter, _ *http.Request, cdn bool) bool {
		if asked++; asked > 1 {
			return false
		}
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(429)
		return true
	}
	var notices []string
	c.OnEvent = func(e Event) {
		if e.Kind == Notice {
			notices = append(notices, e.Message)
		}
	}
	begin := time.Now()
	c.Workers = 1
	pullIt(t, c, Texts)
	if took := time.Since(begin); took < time.Second {
		t.Errorf("took %v, want at least the second that the server asked for", took)
	}
	if len(notices) != 1 || !strings.HasSuffix(notices[0], "429 Too Many Requests; trying again in 1s") {
		t.Errorf("got notices %q, want one about the wait", notices)
	}
}

// TestSlow cuts a connection on which nothing comes, and goes on.
func TestSlow(t *testing.T) {
	files := sharded()
	h, c := start(t, files)
	c.Timeout = 100 * time.Millisecond
	var slow atomic.Int32
	h.Answer = func(w http.ResponseWriter, r *http.Request, cdn bool) bool {
		if cdn && slow.Add(1) == 1 {
			w.Header().Set("Content-Length", "5000")
			w.Write([]byte("a"))
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return true
		}
		return false
	}
	checkFiles(t, pullIt(t, c, Texts), files, []string{"chat_template.jinja", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"})
}

// TestExpiredLink asks the hub again when the CDN's link has run out.
func TestExpiredLink(t *testing.T) {
	files := sharded()
	h, c := start(t, files)
	var n atomic.Int32
	h.Answer = func(w http.ResponseWriter, r *http.Request, cdn bool) bool {
		if cdn && n.Add(1) <= 2 {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	}
	checkFiles(t, pullIt(t, c, Model), files, shardedNeeds)
}

// TestNewCommit fetches only what has changed, and keeps the old snapshot.
func TestNewCommit(t *testing.T) {
	files := sharded()
	h, c := start(t, files)
	old := pullIt(t, c, Model)
	changed := sharded()
	changed["config.json"] = []byte(`{"model_type":"mistral"}`)
	h.Repos[org].Commit("main", changed)
	h.Requests()
	s := pullIt(t, c, Model)
	if s.Commit == old.Commit {
		t.Error("got the old commit")
	}
	checkFiles(t, s, changed, shardedNeeds)
	checkFiles(t, old, files, shardedNeeds)
	if got := h.Requests(); len(got) != 2 {
		t.Errorf("got requests %q, want the listing and config.json", got)
	}
}

// TestChanged moves the branch between two attempts, the first of which is cut:
// the second takes all files from the new commit.
func TestChanged(t *testing.T) {
	files := sharded()
	h, c := start(t, files)
	ctx, cancel := context.WithCancel(t.Context())
	h.Cut = func(blob string, from, size int) int {
		if size == 300_000 {
			cancel()
		}
		return (size - from) / 3
	}
	if _, err := c.Pull(ctx, Name{org, DefaultRevision}, Model); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "what was fetched is kept") {
		t.Fatalf("got %v, want the cancellation", err)
	}
	h.Cut = nil
	changed := sharded()
	changed["model-00001-of-00002.safetensors"] = content(77, 300_000)
	h.Repos[org].Commit("main", changed)
	checkFiles(t, pullIt(t, c, Model), changed, shardedNeeds)
}

// TestTwoAtOnce lets two clients share the work; each blob is fetched once.
func TestTwoAtOnce(t *testing.T) {
	files := sharded()
	h, first := start(t, files)
	second := *first
	var group sync.WaitGroup
	for _, c := range []*Client{first, &second} {
		group.Go(func() {
			s, err := c.Pull(t.Context(), Name{org, DefaultRevision}, Model)
			if err != nil {
				t.Error(err)
				return
			}
			checkFiles(t, s, files, shardedNeeds)
		})
	}
	group.Wait()
	blob := "cdn GET /" + h.Blob(files["model-00001-of-00002.safetensors"])
	fetched := slices.DeleteFunc(h.Requests(), func(r string) bool { return r != blob })
	if len(fetched) != 1 {
		t.Errorf("the shard was fetched %d times, want once", len(fetched))
	}
	checkClean(t, first)
}

// TestLocked waits for a process that holds the lock of a blob, and takes what
// that process has fetched.
func TestLocked(t *testing.T) {
	files := sharded()
	h, c := start(t, files)
	data := files["tokenizer.json"]
	leave(t, c, h.Blob(data), nil)
	f, err := os.OpenFile(filepath.Join(c.Cache.Dir, ".locks/models--org--name", h.Blob(data)+".lock"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := disk.TryLock(f); !ok {
		t.Fatal(err)
	}
	time.AfterFunc(200*time.Millisecond, func() {
		os.WriteFile(filepath.Join(c.Cache.Dir, "models--org--name/blobs", h.Blob(data)), data, 0o666)
		f.Close()
	})
	pullIt(t, c, Texts)
	if slices.Contains(h.Requests(), "cdn GET /"+h.Blob(data)) {
		t.Error("the blob was fetched again")
	}
}

// TestCopies makes no symbolic links where they are not wanted.
func TestCopies(t *testing.T) {
	files := sharded()
	_, c := start(t, files)
	c.Copies = true
	s := pullIt(t, c, Model)
	checkFiles(t, s, files, shardedNeeds)
	info, err := os.Lstat(filepath.Join(s.Dir, "config.json"))
	if err != nil || !info.Mode().IsRegular() {
		t.Errorf("got %v, %v, want a regular file", info.Mode(), err)
	}
}

// TestProgress counts up to the total, also over cuts.
func TestProgress(t *testing.T) {
	files := sharded()
	h, c := start(t, files)
	n := 0
	var mu sync.Mutex
	h.Cut = func(_ string, from, size int) int {
		mu.Lock()
		defer mu.Unlock()
		if n++; n > 5 {
			return -1
		}
		return (size - from) / 2
	}
	var total int64
	for _, name := range shardedNeeds {
		total += int64(len(files[name]))
	}
	var last Event
	var fetched []string
	c.OnEvent = func(e Event) {
		last = e
		if e.Total != 0 && e.Done > e.Total {
			t.Errorf("got %d of %d", e.Done, e.Total)
		}
		if e.Kind == Fetched {
			fetched = append(fetched, e.File)
		}
	}
	pullIt(t, c, Model)
	index := int64(len(files["model.safetensors.index.json"]))
	if last.Done != total-index || last.Total != total-index {
		t.Errorf("ended at %d of %d, want %d", last.Done, last.Total, total-index)
	}
	if slices.Sort(fetched); !slices.Equal(fetched, shardedNeeds) {
		t.Errorf("got %v as fetched, want %v", fetched, shardedNeeds)
	}
}
