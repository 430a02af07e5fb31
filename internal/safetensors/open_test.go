package safetensors

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// bytesOf returns a file of tensors.
func bytesOf(t testing.TB, metadata map[string]string, tensors ...Tensor) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, tensors, metadata); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// u8 returns a tensor of a few bytes.
func u8(name, data string) Tensor { return NewTensor(name, U8, []int{len(data)}, []byte(data)) }

// dirOf writes files into a new directory.
func dirOf(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func fsOf(files map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, data := range files {
		m[name] = &fstest.MapFile{Data: []byte(data)}
	}
	return m
}

func TestOpen(t *testing.T) {
	a := bytesOf(t, map[string]string{"format": "pt", "part": "a"}, u8("a", "A"), u8("a2", "AA"))
	b := bytesOf(t, map[string]string{"part": "b"}, u8("b", "B"))
	tests := []struct {
		name  string
		files map[string]string
		want  string
		meta  string // value of part
	}{
		{"one file", map[string]string{"model.safetensors": a, "README.md": ""}, "a=A a2=AA", "a"},
		{
			"one file before an index",
			map[string]string{"model.safetensors": a, "model.safetensors.index.json": `{}`},
			"a=A a2=AA", "a",
		},
		{"index", map[string]string{
			"model-00001-of-00002.safetensors": a, "model-00002-of-00002.safetensors": b,
			"model.safetensors.index.json": `{"metadata":{"total_size":4,"x":[null]},
				"weight_map":{"b":"model-00002-of-00002.safetensors","a":"model-00001-of-00002.safetensors","a2":"model-00001-of-00002.safetensors"}}`,
		}, "a=A a2=AA b=B", "b"},
		{"index without some tensors", map[string]string{
			"x/1": a, "x/2": b,
			"model.safetensors.index.json": `{"weight_map":{"b":"x/2","a":"x/1"}}`,
		}, "a=A a2=AA b=B", "b"},
		{"shards without an index", map[string]string{
			"m-x-00001-of-00002.safetensors": b, "m-x-00002-of-00002.safetensors": a, "vocab-1-of-2.safetensors": "",
		}, "b=B a=A a2=AA", "a"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			mapped, err := Open(dirOf(t, test.files))
			if err != nil {
				t.Fatal(err)
			}
			read, err := OpenFS(fsOf(test.files))
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range []*Checkpoint{mapped, read} {
				if got := contents(c); got != test.want || c.Metadata()["part"] != test.meta {
					t.Errorf("got %s, part %s; want %s, part %s", got, c.Metadata()["part"], test.want, test.meta)
				}
				checkWhole(t, c)
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func contents(c *Checkpoint) string {
	var l []string
	for _, t := range c.Tensors() {
		l = append(l, t.Name+"="+string(t.Bytes()))
	}
	return strings.Join(l, " ")
}

// Messages begin with "safetensors: "; DIR is the directory.
func TestOpenMalformed(t *testing.T) {
	a, b := bytesOf(t, nil, u8("a", "A")), bytesOf(t, nil, u8("b", "B"))
	ab := bytesOf(t, nil, u8("a", "A"), u8("b", "B"))
	index := func(json string) map[string]string {
		return map[string]string{"model.safetensors.index.json": json, "1": a, "2": b, "12": ab}
	}
	const lfs = "version https://git-lfs.github.com/spec/v1\n"
	tests := []struct {
		name    string
		files   map[string]string
		want    string
		missing bool
	}{
		{"empty", nil, `DIR: holds no safetensors file`, true},
		{"pytorch", map[string]string{"pytorch_model.bin": ""}, `DIR: holds pytorch_model.bin but no safetensors file; convert it first with 'godwit convert'`, true},
		{
			"pytorch shards",
			map[string]string{"pytorch_model-00001-of-00002.bin": "", "pytorch_model-00002-of-00002.bin": ""},
			`DIR: holds pytorch_model-00001-of-00002.bin but no safetensors file; convert it first with 'godwit convert'`, true,
		},
		{
			"another name",
			map[string]string{"adapter.safetensors": a},
			`DIR: holds adapter.safetensors, want model.safetensors, model.safetensors.index.json or numbered shards`, true,
		},
		{"bad file", map[string]string{"model.safetensors": "{}"}, `model.safetensors: the file has 2 bytes, want at least 8; the download may be incomplete`, false},
		{"empty file", map[string]string{"model.safetensors": ""}, `model.safetensors: the file has 0 bytes, want at least 8; the download may be incomplete`, false},

		{
			"shard missing without an index",
			map[string]string{"m-00001-of-00003.safetensors": a, "m-00002-of-00003.safetensors": b},
			`DIR: m-00003-of-00003.safetensors is missing; 2 of 3 shards are there`, true,
		},
		{"shard beyond the count", map[string]string{"m-00001-of-00001.safetensors": a, "m-00002-of-00001.safetensors": b}, `DIR: holds 2 shards that say they are 1`, false},
		{
			"two sets",
			map[string]string{"m-00001-of-00001.safetensors": a, "n-00001-of-00001.safetensors": b},
			`DIR: holds several sets of shards and no model.safetensors.index.json: m-00001-of-00001.safetensors and n-00001-of-00001.safetensors`, false,
		},
		{
			"two counts",
			map[string]string{"m-00001-of-00001.safetensors": a, "m-00001-of-00002.safetensors": b},
			`DIR: holds several sets of shards and no model.safetensors.index.json: m-00001-of-00001.safetensors and m-00001-of-00002.safetensors`, false,
		},
		{
			"same name in two shards",
			map[string]string{"m-00001-of-00002.safetensors": a, "m-00002-of-00002.safetensors": ab},
			`m-00002-of-00002.safetensors: tensor "a": duplicate tensor name, also in m-00001-of-00002.safetensors`, false,
		},

		{"index is a pointer", index(lfs), `model.safetensors.index.json: this is a Git LFS pointer, not the data; fetch it with git lfs pull`, false},
		{"index not UTF-8", index("{\"\xff\":0}"), `model.safetensors.index.json: not valid UTF-8`, false},
		{"index is an array", index(`[]`), `model.safetensors.index.json: JSON byte 0: want "{", got "["`, false},
		{"index cut", index(`{"weight_map":{"a":"1"`), `model.safetensors.index.json: JSON byte 22: want ',' or '}', got the end`, false},
		{"index with more behind", index(`{"weight_map":{"a":"1"}}}`), `model.safetensors.index.json: JSON byte 24: want the end, got "}"`, false},
		{"no weight_map", index(`{"metadata":{}}`), `model.safetensors.index.json: no weight_map`, false},
		{"weight_map empty", index(`{"weight_map":{}}`), `model.safetensors.index.json: weight_map is empty`, false},
		{"weight_map twice", index(`{"weight_map":{},"weight_map":{"a":"1"}}`), `model.safetensors.index.json: duplicate weight_map`, false},
		{"weight_map of numbers", index(`{"weight_map":{"a":1}}`), `model.safetensors.index.json: JSON byte 19: want a string, got 1`, false},
		{"tensor twice", index(`{"weight_map":{"a":"1","a":"2"}}`), `model.safetensors.index.json: weight_map: duplicate tensor name "a"`, false},
		{"shard missing", index(`{"weight_map":{"a":"1","b":"3"}}`), `model.safetensors.index.json: the shard 3 is missing`, true},
		{"shard is a pointer", map[string]string{"model.safetensors.index.json": `{"weight_map":{"a":"1"}}`, "1": lfs}, `1: this is a Git LFS pointer, not the data; fetch it with git lfs pull`, false},
		{"tensor nowhere", index(`{"weight_map":{"a":"1","c":"2"}}`), `2: holds no tensor "c", which model.safetensors.index.json places there`, false},
		{"tensor elsewhere", index(`{"weight_map":{"a":"2","b":"1"}}`), `2: holds no tensor "a", which model.safetensors.index.json places there; it is in 1`, false},
		{"shards overlap", index(`{"weight_map":{"a":"1","b":"12"}}`), `12: tensor "a": duplicate tensor name, also in 1`, false},
	}
	for _, path := range []string{"", ".", "..", "../1", "/1", "x/../1", "./1", `..\1`, "1\x00"} {
		files := index(`{"weight_map":{"a":` + quoteJSON(path) + `}}`)
		tests = append(tests, struct {
			name    string
			files   map[string]string
			want    string
			missing bool
		}{
			"path " + path, files,
			`model.safetensors.index.json: weight_map: tensor "a": shard name ` + strconv.Quote(path) + ` is not a path inside the checkpoint`, false,
		})
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := dirOf(t, test.files)
			_, err := Open(dir)
			checkFault(t, err, strings.Replace(test.want, "DIR", dir, 1), test.missing)
			_, err = OpenFS(fsOf(test.files))
			checkFault(t, err, strings.Replace(test.want, "DIR", ".", 1), test.missing)
		})
	}
}

func quoteJSON(s string) string { return strings.ReplaceAll(strconv.Quote(s), `\x00`, `\u0000`) }

func checkFault(t *testing.T, err error, want string, missing bool) {
	t.Helper()
	if err == nil {
		t.Fatalf("accepted, want %q", want)
	}
	if got := err.Error(); got != "safetensors: "+want {
		t.Errorf("got  %s\nwant safetensors: %s", got, want)
	}
	if !errors.Is(err, ErrInvalid) || errors.Is(err, fs.ErrNotExist) != missing {
		t.Errorf("%v: ErrInvalid %v, want true; ErrNotExist %v, want %v", err,
			errors.Is(err, ErrInvalid), errors.Is(err, fs.ErrNotExist), missing)
	}
}

func TestOpenNoCheckpoint(t *testing.T) {
	dir := dirOf(t, map[string]string{"file": "", "d/model.safetensors/x": ""})
	if _, err := Open(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v, want ErrNotExist", err)
	}
	_, err := Open(filepath.Join(dir, "file"))
	if want := "safetensors: " + filepath.Join(dir, "file") + " is not a directory, want the checkpoint's folder"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	_, err = Open(filepath.Join(dir, "d"))
	checkFault(t, err, "model.safetensors: this is no regular file", false)
}

// Links are how a download cache keeps its files.
func TestOpenLink(t *testing.T) {
	dir := dirOf(t, map[string]string{"blobs/1": bytesOf(t, nil, u8("a", "A")), "good/x": "", "bad/x": ""})
	for _, l := range [][2]string{{"../blobs/1", "good/model.safetensors"}, {"../blobs/2", "bad/model.safetensors"}} {
		if err := os.Symlink(l[0], filepath.Join(dir, l[1])); err != nil {
			t.Skip(err)
		}
	}
	c, err := Open(filepath.Join(dir, "good"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := contents(c); got != "a=A" {
		t.Errorf("got %s", got)
	}
	_, err = Open(filepath.Join(dir, "bad"))
	checkFault(t, err, filepath.Join(dir, "bad")+": model.safetensors is a link to a file that is missing; the download may be incomplete", true)
}

// A reader that bypasses the mapping finds the same bytes.
func TestFileAndOffset(t *testing.T) {
	dir := dirOf(t, map[string]string{
		"model-00001-of-00002.safetensors": bytesOf(t, nil, u8("a", "first"), u8("b", "second")),
		"model-00002-of-00002.safetensors": bytesOf(t, nil, u8("c", "third")),
	})
	c, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, x := range c.Tensors() {
		f, err := os.Open(x.File())
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, x.Len())
		if _, err := f.ReadAt(got, x.Offset()); err != nil || !bytes.Equal(got, x.Bytes()) {
			t.Errorf("%s: read %q (%v), mapped %q", x.Name, got, err, x.Bytes())
		}
		f.Close()
	}
	files := c.Files()
	if len(files) != 2 || files[1].Name != "model-00002-of-00002.safetensors" || files[1].Bytes != c.files[1].size {
		t.Errorf("files %v", files)
	}
}

func TestClose(t *testing.T) {
	c, err := Open(dirOf(t, map[string]string{"model.safetensors": bytesOf(t, nil, u8("a", "A"), u8("b", ""))}))
	if err != nil {
		t.Fatal(err)
	}
	a, _ := c.Lookup("a")
	b, _ := c.Lookup("b")
	size := c.Files()[0].Bytes
	for range 2 {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if b.Bytes() != nil || c.Files()[0].Bytes != size {
		t.Errorf("after Close: b %q, %d bytes", b.Bytes(), c.Files()[0].Bytes)
	}
	defer func() {
		if r := recover(); r != "safetensors: tensor a used after Close" {
			t.Errorf("recovered %v", r)
		}
	}()
	a.Bytes()
}

func FuzzIndex(f *testing.F) {
	for _, s := range []string{
		`{"metadata":{"total_size":1},"weight_map":{"a":"1","b":"x/2"}}`,
		`{"weight_map":{"a":"../1"}}`, `{"weight_map":{"\u0061":"1","a":"1"}}`, `{"a":[[{"b":-1e9}]],"weight_map":{}}`, `[]`,
	} {
		f.Add(s)
	}
	a := bytesOf(f, nil, u8("a", "A"))
	f.Fuzz(func(t *testing.T, s string) {
		idx, err := parseIndex([]byte(s))
		if err != nil {
			if !errors.Is(err, ErrInvalid) || len(err.Error()) > 1200 {
				t.Fatal(err)
			}
			return
		}
		shards := idx.shards()
		if len(shards) == 0 || !slices.IsSorted(shards) {
			t.Fatalf("shards %q", shards)
		}
		for _, name := range shards {
			if !fs.ValidPath(name) {
				t.Fatalf("shard %q is no path", name)
			}
		}
		c, err := OpenFS(fsOf(map[string]string{indexName: s, "1": a}))
		if err != nil && !errors.Is(err, ErrInvalid) {
			t.Fatal(err)
		}
		if err == nil {
			checkWhole(t, c)
		}
	})
}
