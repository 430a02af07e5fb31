package hub

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-llm/godwit/internal/disk"
)

// TestParseName reads names, and refuses what could be no repository or would
// lead out of the cache.
func TestParseName(t *testing.T) {
	for text, want := range map[string]Name{
		"nvidia/Nemotron-Mini-4B-Instruct": {"nvidia/Nemotron-Mini-4B-Instruct", "main"},
		"gpt2":                             {"gpt2", "main"},
		"a/b@v1.0":                         {"a/b", "v1.0"},
		"a/b@refs/pr/1":                    {"a/b", "refs/pr/1"},
		"a/b@x@y":                          {"a/b", "x@y"},
	} {
		got, err := ParseName(text)
		if err != nil || got != want {
			t.Errorf("%s: got %v, %v, want %v", text, got, err, want)
		}
		if err == nil && got.String() != text {
			t.Errorf("%s: prints as %s", text, got)
		}
	}
	for _, text := range []string{
		"", "/", "a/", "/b", "a/b/c", "../b", "a/..", "a/b--c", "a..b", "a/b.git", "a/b@", "a/b@../x", "a/b@/x", "a/b@x y", "a/b@x/",
		"a/-b", "a/b.", "-a", ".a", "a b", "a\\b", "a:b", "a/b@.", `a/b@..\x`, "a/b\n", strings.Repeat("a", 97), "https://hf.co/a/b",
	} {
		if got, err := ParseName(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

func FuzzParseName(f *testing.F) {
	f.Add("org/name@refs/pr/1")
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ParseName(text)
		if err != nil {
			return
		}
		c := Cache{"cache"}
		for _, path := range []string{c.repo(n), filepath.Join(c.repo(n), "refs", filepath.FromSlash(n.Revision))} {
			if rest, err := filepath.Rel(c.Dir, path); err != nil || !filepath.IsLocal(rest) || rest == "." {
				t.Errorf("%q leads to %s", text, path)
			}
		}
		if again, ok := repoOf(n.folder()); !ok || again != n.Repo {
			t.Errorf("%q: the folder %s is that of %q", text, n.folder(), again)
		}
	})
}

// TestFindBroken finds nothing usable in caches that are damaged.
func TestFindBroken(t *testing.T) {
	c := Cache{t.TempDir()}
	n := Name{org, DefaultRevision}
	if _, err := c.Find(n, Model); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "org/name is not in the cache, "+c.Dir) {
		t.Errorf("got %v, want that it is not there", err)
	}
	write := func(name, text string) {
		path := filepath.Join(c.repo(n), name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(text), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	write("refs/main", "../..")
	if _, err := c.Find(n, Model); err == nil || !strings.Contains(err.Error(), `holds "../..", want a commit`) {
		t.Errorf("got %v, want the commit refused", err)
	}
	commit := strings.Repeat("a", 40)
	write("refs/main", commit+"\n")
	if _, err := c.Find(n, Model); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want that the snapshot is not there", err)
	}
	for name, text := range map[string]string{
		"config.json": "{}", "tokenizer.json": "{}",
		"model.safetensors.index.json": `{"weight_map":{"a":"model-1.safetensors"}}`,
	} {
		write("snapshots/"+commit+"/"+name, text)
	}
	if s, err := c.Find(n, Model); err != nil || s.Complete || s.Weights != NoWeights {
		t.Errorf("got %+v, %v, want it incomplete", s, err)
	}
	shard := "snapshots/" + commit + "/model-1.safetensors"
	if err := os.Symlink("../../blobs/gone", filepath.Join(c.repo(n), shard)); err != nil {
		t.Skip(err)
	}
	if s, err := c.Find(n, Model); err != nil || s.Complete {
		t.Errorf("got %+v, %v, want it incomplete: the link leads nowhere", s, err)
	}
	os.Remove(filepath.Join(c.repo(n), shard))
	write(shard, "weights")
	if s, err := c.Find(Name{org, commit}, Model); err != nil || !s.Complete {
		t.Errorf("got %+v, %v, want it complete", s, err)
	}
	write("snapshots/"+commit+"/model.safetensors.index.json", "{")
	if s, err := c.Find(n, Model); err != nil || s.Complete {
		t.Errorf("got %+v, %v, want it incomplete: its index cannot be read", s, err)
	}
}

// TestList shows what is there, and Remove takes away one revision with what
// only it needs, or all.
func TestList(t *testing.T) {
	if got, err := (Cache{filepath.Join(t.TempDir(), "none")}).List(); got != nil || err != nil {
		t.Errorf("got %v, %v, want nothing of a cache that is not there", got, err)
	}
	for _, copies := range []bool{false, true} {
		files := sharded()
		h, c := start(t, files)
		c.Copies = copies
		old := pullIt(t, c, Model)
		changed := sharded()
		changed["config.json"] = []byte(`{"model_type":"mistral"}`)
		h.Repos[org].Commit("main", changed)
		s := pullIt(t, c, Model)
		got, err := c.Cache.List()
		if err != nil || len(got) != 2 {
			t.Fatalf("got %v, %v, want two snapshots", got, err)
		}
		i := slices.IndexFunc(got, func(e Entry) bool { return e.Commit == s.Commit })
		if e := got[i]; e.Repo != org || !slices.Equal(e.Revisions, []string{"main"}) || e.Bytes < 370_000 || !e.Snapshot.Complete || e.Changed.IsZero() {
			t.Errorf("got %+v", e)
		}
		if e := got[1-i]; e.Commit != old.Commit || e.Revisions != nil {
			t.Errorf("got %+v, want the old commit without a name", e)
		}
		if err := c.Cache.RemoveRevision(Name{org, old.Commit}); err != nil {
			t.Fatal(err)
		}
		checkFiles(t, s, changed, shardedNeeds)
		blobs, _ := filepath.Glob(filepath.Join(c.Cache.Dir, "*/blobs/*"))
		if len(blobs) != len(shardedNeeds) {
			t.Errorf("got %d blobs, want those of the newer commit, %d", len(blobs), len(shardedNeeds))
		}
		if err := c.Cache.RemoveRevision(Name{org, "main"}); err != nil {
			t.Fatal(err)
		}
		if blobs, _ = filepath.Glob(filepath.Join(c.Cache.Dir, "*/blobs/*")); len(blobs) > 0 {
			t.Errorf("%v are left", blobs)
		}
		if err := c.Cache.RemoveRepo(Name{org, "main"}); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Cache.List(); len(got) > 0 || err != nil {
			t.Errorf("got %v, %v, want an empty cache", got, err)
		}
		if err := c.Cache.RemoveRepo(Name{org, "main"}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v, want that it is not there", err)
		}
	}
}

// TestRemoveRunning does not remove what another process fetches.
func TestRemoveRunning(t *testing.T) {
	_, c := start(t, sharded())
	pullIt(t, c, Texts)
	locks, _ := filepath.Glob(filepath.Join(c.Cache.Dir, ".locks/*/*.lock"))
	f, err := os.OpenFile(locks[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if ok, err := disk.TryLock(f); !ok {
		t.Fatal(err)
	}
	for _, remove := range []func(Name) error{c.Cache.RemoveRepo, c.Cache.RemoveRevision} {
		if err := remove(Name{org, "main"}); err == nil || !strings.Contains(err.Error(), "is being fetched by another process") {
			t.Errorf("got %v, want it refused", err)
		}
	}
}

func FuzzReadIndex(f *testing.F) {
	f.Add([]byte(`{"weight_map":{"a":"model-00001-of-00002.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"../x"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		names, err := readIndex(data)
		if err == nil && len(names) == 0 {
			t.Error("an index without files")
		}
		for _, name := range names {
			if !filepath.IsLocal(filepath.FromSlash(name)) {
				t.Errorf("%q leads out", name)
			}
		}
	})
}
