package convert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-llm/godwit/internal/disk"
	"github.com/godwit-llm/godwit/internal/safetensors"
)

const fixtures = "../torchfile/testdata"

// checkpoint makes a directory out of fixtures and texts: a name that ends in
// .bin is a copy of the fixture that its text names.
func checkpoint(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		data := []byte(text)
		if strings.HasSuffix(name, ".bin") && !strings.Contains(text, " ") {
			var err error
			if data, err = os.ReadFile(filepath.Join(fixtures, text+".bin")); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, data, 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// names returns what a directory holds.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// checkEqual compares the converted checkpoint with what PyTorch reads in the
// fixtures.
func checkEqual(t *testing.T, dir string, from ...string) {
	t.Helper()
	got, err := safetensors.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if got.Metadata()["format"] != "pt" {
		t.Errorf("got metadata %v, want the format pt", got.Metadata())
	}
	n := 0
	for _, name := range from {
		data, err := os.ReadFile(filepath.Join(fixtures, name+".safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		want, err := safetensors.Parse(name, data)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want.Tensors() {
			n++
			g, ok := got.Lookup(w.Name)
			if !ok || g.DType != w.DType || !slices.Equal(g.Shape, w.Shape) || !bytes.Equal(g.Bytes(), w.Bytes()) {
				t.Errorf("%s: %s: got %v, want %v", name, w.Name, g, w)
			}
		}
	}
	if n != len(got.Tensors()) {
		t.Errorf("got %d tensors, want %d", len(got.Tensors()), n)
	}
}

// TestDir converts in place, into one file and into several.
func TestDir(t *testing.T) {
	for _, fixture := range []string{"views", "dtypes", "tied", "module", "legacy"} {
		for _, size := range []int64{0, 1, 100} {
			dir := checkpoint(t, map[string]string{"pytorch_model.bin": fixture, "config.json": "{}"})
			var done, total int64
			report, err := Dir(t.Context(), dir, Options{ShardSize: size, Progress: func(d, n int64) { done, total = d, n }})
			if err != nil {
				t.Fatal(err)
			}
			checkEqual(t, dir, fixture)
			if done != total || total != report.Bytes {
				t.Errorf("told %d of %d, want %d", done, total, report.Bytes)
			}
			want := append([]string{"config.json", "pytorch_model.bin"}, report.Files...)
			if len(report.Files) > 1 {
				want = append(want, "model.safetensors.index.json")
				checkIndex(t, dir, report)
			}
			if got := names(t, dir); !slices.Equal(got, sorted(want)) {
				t.Errorf("got the files %v, want %v", got, want)
			}
			if size == 1 && len(report.Files) < 3 {
				t.Errorf("%s: got %d files, want one for each tensor", fixture, len(report.Files))
			}
		}
	}
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

func checkIndex(t *testing.T, dir string, report *Report) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, outIndexName))
	if err != nil {
		t.Fatal(err)
	}
	var index struct {
		Metadata map[string]int64  `json:"metadata"`
		Weights  map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &index); err != nil || index.Metadata["total_size"] != report.Bytes || len(index.Weights) != report.Tensors {
		t.Errorf("got %+v, %v, want %d bytes and %d tensors", index, err, report.Bytes, report.Tensors)
	}
}

// TestShards reads checkpoints of several files, with and without an index.
func TestShards(t *testing.T) {
	const index = `{"metadata":{"total_size":1},"weight_map":{"lm_head.weight":"pytorch_model-00001-of-00002.bin","whole":"pytorch_model-00002-of-00002.bin"}}`
	files := map[string]string{"pytorch_model-00001-of-00002.bin": "tied", "pytorch_model-00002-of-00002.bin": "views"}
	dir := checkpoint(t, files)
	if _, err := Dir(t.Context(), dir, Options{}); err != nil {
		t.Fatal(err)
	}
	checkEqual(t, dir, "tied", "views")
	files["pytorch_model.bin.index.json"] = index
	dir = checkpoint(t, files)
	if _, err := Dir(t.Context(), dir, Options{}); err != nil {
		t.Fatal(err)
	}
	checkEqual(t, dir, "tied", "views")
}

// TestOut copies the rest of the checkpoint, but no weights.
func TestOut(t *testing.T) {
	dir := checkpoint(t, map[string]string{
		"pytorch_model.bin": "tied", "config.json": `{"a":1}`, "tokenizer.json": "{}", "training_args.bin": "a b", "tf_model.h5": "x", ".gitattributes": "x",
		"sub/file": "x", "LICENSE": "x",
	})
	out := filepath.Join(t.TempDir(), "new", "dir")
	report, err := Dir(t.Context(), dir, Options{Out: out})
	if err != nil {
		t.Fatal(err)
	}
	checkEqual(t, out, "tied")
	if got, want := names(t, out), []string{"LICENSE", "config.json", "model.safetensors", "tokenizer.json"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if want := []string{"LICENSE", "config.json", "tokenizer.json"}; !slices.Equal(report.Copied, want) {
		t.Errorf("got %v copied, want %v", report.Copied, want)
	}
	if text, err := os.ReadFile(filepath.Join(out, "config.json")); string(text) != `{"a":1}` {
		t.Errorf("config.json: got %q, %v", text, err)
	}
}

// TestForce replaces what is there only if it may, and leaves none of the old
// files beside the new.
func TestForce(t *testing.T) {
	dir := checkpoint(t, map[string]string{"pytorch_model.bin": "views"})
	if _, err := Dir(t.Context(), dir, Options{ShardSize: 100}); err != nil {
		t.Fatal(err)
	}
	_, err := Dir(t.Context(), dir, Options{})
	if err == nil || !strings.HasSuffix(err.Error(), dir+" holds model-00001-of-00008.safetensors already; --force replaces it") {
		t.Errorf("got %v, want the file named", err)
	}
	for _, size := range []int64{0, 300, 0} {
		report, err := Dir(t.Context(), dir, Options{ShardSize: size, Force: true})
		if err != nil {
			t.Fatal(err)
		}
		want := append([]string{"pytorch_model.bin"}, report.Files...)
		if size > 0 {
			want = append(want, outIndexName)
		}
		if got := names(t, dir); !slices.Equal(got, sorted(want)) {
			t.Errorf("got the files %v, want %v", got, want)
		}
		checkEqual(t, dir, "views")
	}
	out := checkpoint(t, map[string]string{"config.json": "{}"})
	other := checkpoint(t, map[string]string{"pytorch_model.bin": "views", "config.json": "{}"})
	if _, err := Dir(t.Context(), other, Options{Out: out}); err == nil || !strings.Contains(err.Error(), "holds config.json already") {
		t.Errorf("got %v, want the file named", err)
	}
}

// TestTied leaves out what the configuration ties, and nothing else.
func TestTied(t *testing.T) {
	dir := checkpoint(t, map[string]string{"pytorch_model.bin": "tied", "config.json": `{"tie_word_embeddings":true}`})
	report, err := Dir(t.Context(), dir, Options{})
	if err != nil || !slices.Equal(report.Tied, []string{"lm_head.weight"}) || report.Tensors != 2 {
		t.Errorf("got %+v, %v, want lm_head.weight left out", report, err)
	}
	c, err := safetensors.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, ok := c.Lookup("lm_head.weight"); ok {
		t.Error("lm_head.weight is there")
	}
	if _, ok := c.Lookup("model.embed_tokens.weight"); !ok {
		t.Error("the embedding is missing")
	}
	// Views of one storage are not tied.
	dir = checkpoint(t, map[string]string{"pytorch_model.bin": "views", "config.json": `{"tie_word_embeddings":true}`})
	if report, err := Dir(t.Context(), dir, Options{}); err != nil || report.Tied != nil {
		t.Errorf("got %+v, %v, want nothing left out", report, err)
	}
}

// TestRefuses names what is wrong with a checkpoint, and changes nothing.
func TestRefuses(t *testing.T) {
	const one, two = "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"
	for want, files := range map[string]map[string]string{
		"holds no pytorch_model.bin":                           {"config.json": "{}"},
		"holds model.safetensors: there is nothing to convert": {"model.safetensors": "x"},
		"holds consolidated.00.pth, want pytorch_model.bin":    {"consolidated.00.pth": "x"},
		"holds " + two + " but no " + one:                      {two: "views"},
		"tensor \"whole\" is in " + one + " and in " + two:     {one: "views", two: "views"},
		"the file " + two + " is missing from":                 {one: "views", indexName: `{"weight_map":{"whole":"` + one + `","x":"` + two + `"}}`},
		one + " holds no tensor \"x\", which":                  {one: "views", indexName: `{"weight_map":{"x":"` + one + `"}}`},
		`"../x.bin" is no path inside the checkpoint`:          {indexName: `{"weight_map":{"x":"../x.bin"}}`},
		"weight_map is empty":                                  {indexName: `{}`},
		"unexpected end of JSON input":                         {indexName: `{`},
		"want a zip archive or a pickle of PyTorch":            {singleName: "not a checkpoint"},
		`"state_dict" is a dict, want a tensor`:                {singleName: "nested"},
		"config.json: ":                                        {singleName: "views", "config.json": "{"},
	} {
		dir := checkpoint(t, files)
		before := names(t, dir)
		if _, err := Dir(t.Context(), dir, Options{}); err == nil || !strings.HasPrefix(err.Error(), "convert: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if after := names(t, dir); !slices.Equal(before, after) {
			t.Errorf("%s: got the files %v, want %v", want, after, before)
		}
	}
	if _, err := Dir(t.Context(), filepath.Join(t.TempDir(), "none"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

// TestInterrupted leaves nothing behind, whenever it is interrupted.
func TestInterrupted(t *testing.T) {
	for n := 1; ; n++ {
		dir := checkpoint(t, map[string]string{"pytorch_model.bin": "views"})
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		_, err := Dir(ctx, dir, Options{ShardSize: 200, Progress: func(int64, int64) {
			if calls++; calls == n {
				cancel()
			}
		}})
		cancel()
		if err == nil {
			if n < 5 {
				t.Errorf("only %d pieces were written", n)
			}
			return
		}
		if got := names(t, dir); !errors.Is(err, context.Canceled) || !slices.Equal(got, []string{"pytorch_model.bin"}) {
			t.Errorf("interrupted at %d: got %v and %v", n, err, got)
		}
	}
}

// TestTwoAtOnce keeps a second conversion away from the first one's files.
func TestTwoAtOnce(t *testing.T) {
	dir := checkpoint(t, map[string]string{"pytorch_model.bin": "views"})
	f, err := os.Create(filepath.Join(dir, ".model.safetensors.incomplete"))
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := disk.TryLock(f); !ok {
		t.Skip(err)
	}
	if _, err := Dir(t.Context(), dir, Options{}); err == nil || !strings.Contains(err.Error(), "another process is writing") {
		t.Errorf("got %v, want the other process", err)
	}
	f.Close() // as if it had been killed
	if _, err := Dir(t.Context(), dir, Options{}); err != nil {
		t.Error(err)
	}
	if got, want := names(t, dir), []string{"model.safetensors", "pytorch_model.bin"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestNoRoom refuses what the disk has no room for, before it is written.
func TestNoRoom(t *testing.T) {
	c := &conversion{Options: Options{Out: t.TempDir()}, total: 1 << 60}
	if err := c.checkRoom(); err == nil || !strings.Contains(err.Error(), "1152921504.61 GB are needed in") {
		t.Errorf("got %v, want the room", err)
	}
}

// TestOutIsFile refuses a file where the directory should be.
func TestOutIsFile(t *testing.T) {
	dir := checkpoint(t, map[string]string{"pytorch_model.bin": "views", "file": "x"})
	if _, err := Dir(t.Context(), dir, Options{Out: filepath.Join(dir, "file")}); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("got %v, want that it is no directory", err)
	}
	if got, want := names(t, dir), []string{"file", "pytorch_model.bin"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
