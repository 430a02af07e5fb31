package safetensors

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/godwit-llm/godwit/internal/mmap"
)

const (
	singleName = "model.safetensors"
	indexName  = "model.safetensors.index.json"
)

// Open maps the checkpoint in a directory: model.safetensors; or else the
// shards that model.safetensors.index.json names; or else, without an index,
// a complete set of shards such as model-00001-of-00003.safetensors.
//
// An index must agree with its shards on where each tensor is. Tensors that
// the index lacks are part of the checkpoint all the same, as in the
// reference, which loads whole shards.
func Open(dir string) (*Checkpoint, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("safetensors: %s is not a directory, want the checkpoint's folder", dir)
	}
	return open(source{os.DirFS(dir), dir, func(name string) (*file, error) { return mapFile(dir, name) }})
}

// OpenFS reads the checkpoint at the root of a file system, chosen as by Open.
// It holds each file's content as fs.ReadFile returns it; for an embed.FS that
// is a copy in memory. To use an embedded file where it lies, embed it as
// []byte and call Parse.
func OpenFS(fsys fs.FS) (*Checkpoint, error) {
	return open(source{fsys, ".", func(name string) (*file, error) {
		data, err := fs.ReadFile(fsys, name)
		return &file{name: name, path: name, data: data}, err
	}})
}

// source is where a checkpoint's files come from.
type source struct {
	fs.FS
	dir  string // as messages give it
	load func(name string) (*file, error)
}

// mapFile maps one file of a directory.
func mapFile(dir, name string) (*file, error) {
	path := filepath.Join(dir, filepath.FromSlash(name))
	data, unmap, err := mmap.Open(path)
	if errors.Is(err, mmap.ErrNotRegular) {
		return nil, faultf(name, "this is no regular file")
	}
	if err != nil {
		return nil, err
	}
	// An empty file has no bytes; the parser says what is wrong.
	return &file{name: name, path: path, data: data, unmap: unmap}, nil
}

func open(src source) (*Checkpoint, error) {
	names, idx, err := src.choose()
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{}
	for _, name := range names {
		if err := c.load(src, name, idx != nil); err != nil {
			c.Close()
			return nil, err
		}
	}
	if err := c.checkIndex(idx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Checkpoint) load(src source, name string, indexed bool) error {
	f, err := src.load(name)
	switch {
	case err != nil && indexed && isNotExist(err):
		return missingf(indexName, "the shard %s is missing", name)
	case err != nil:
		return wrap(err)
	}
	return c.add(f)
}

// choose returns the names of the files that form the checkpoint, and the
// index if there is one.
func (src source) choose() ([]string, index, error) {
	if _, err := fs.Stat(src, singleName); err == nil {
		return []string{singleName}, nil, nil
	} else if !isNotExist(err) {
		return nil, nil, wrap(err)
	}
	data, err := fs.ReadFile(src, indexName)
	switch {
	case err == nil:
		idx, err := parseIndex(data)
		return idx.shards(), idx, err
	case !isNotExist(err):
		return nil, nil, wrap(err)
	}
	entries, err := fs.ReadDir(src, ".")
	if err != nil {
		return nil, nil, wrap(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	shards, err := chooseShards(src.dir, names)
	return shards, nil, err
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// wrap says that an error of the file system came to this package.
func wrap(err error) error {
	if errors.Is(err, ErrInvalid) {
		return err // says so already
	}
	return fmt.Errorf("safetensors: %w", err)
}

var shardPattern = regexp.MustCompile(`^(.+)-(\d{5})-of-(\d{5})\.safetensors$`)

// shardSet is a name before "-00001-of-00003.safetensors", and the count.
type shardSet struct{ stem, count string }

func (s shardSet) name(i int) string {
	return fmt.Sprintf("%s-%05d-of-%s.safetensors", s.stem, i, s.count)
}

// chooseShards finds the one complete set of shards among a directory's files.
func chooseShards(dir string, names []string) ([]string, error) {
	var sets []shardSet
	have := map[string]bool{}
	for _, name := range names {
		m := shardPattern.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		have[name] = true
		if s := (shardSet{m[1], m[3]}); !slices.Contains(sets, s) {
			sets = append(sets, s)
		}
	}
	switch len(sets) {
	case 0:
		return nil, nothing(dir, names)
	case 1:
		return sets[0].complete(dir, have)
	}
	return nil, faultf(dir, "holds several sets of shards and no %s: %s and %s", indexName, sets[0].name(1), sets[1].name(1))
}

// complete returns the names of all shards of s, if exactly those are there.
func (s shardSet) complete(dir string, have map[string]bool) ([]string, error) {
	count, _ := strconv.Atoi(s.count) // five digits
	var shards []string
	for i := 1; i <= count; i++ {
		if !have[s.name(i)] {
			return nil, missingf(dir, "%s is missing; %d of %d shards are there", s.name(i), len(have), count)
		}
		shards = append(shards, s.name(i))
	}
	if len(have) != count {
		return nil, faultf(dir, "holds %d shards that say they are %d", len(have), count)
	}
	return shards, nil
}

// nothing says what a directory without a checkpoint holds instead.
func nothing(dir string, names []string) error {
	for _, name := range names {
		if strings.HasPrefix(name, "pytorch_model") && (strings.HasSuffix(name, ".bin") || strings.HasSuffix(name, ".bin.index.json")) {
			return missingf(dir, "holds %s but no safetensors file; convert it first with 'godwit convert'", name)
		}
	}
	for _, name := range names {
		if name == singleName {
			return missingf(dir, "%s is a link to a file that is missing; the download may be incomplete", name)
		}
		if strings.HasSuffix(name, ".safetensors") {
			return missingf(dir, "holds %s, want %s, %s or numbered shards", name, singleName, indexName)
		}
	}
	return missingf(dir, "holds no safetensors file")
}

// indexEntry is one line of an index: in which shard a tensor is.
type indexEntry struct{ tensor, shard string }

type index []indexEntry

// parseIndex reads the weight_map of an index. Other fields are skipped.
func parseIndex(data []byte) (index, error) {
	if err := checkNotPointer(indexName, data); err != nil {
		return nil, err
	}
	if !utf8.Valid(data) {
		return nil, faultf(indexName, "not valid UTF-8")
	}
	var idx index
	s := scanner{src: string(data)}
	s.take('{')
	for n := 0; s.more(n, '}'); n++ {
		if s.key() != "weight_map" {
			s.skip(1)
			continue
		}
		if idx != nil {
			return nil, faultf(indexName, "duplicate weight_map")
		}
		idx = s.weightMap()
	}
	s.end()
	switch {
	case s.err != "":
		return nil, faultf(indexName, "%s", s.err)
	case idx == nil:
		return nil, faultf(indexName, "no weight_map")
	}
	return idx, idx.check()
}

func (s *scanner) weightMap() index {
	idx := index{}
	s.take('{')
	for n := 0; s.more(n, '}'); n++ {
		tensor := s.key()
		idx = append(idx, indexEntry{tensor, s.string()})
	}
	return idx
}

// check makes sure that each tensor is there once, and that no shard's name
// leads out of the checkpoint.
func (idx index) check() error {
	if len(idx) == 0 {
		return faultf(indexName, "weight_map is empty")
	}
	seen := make(map[string]bool, len(idx))
	for _, e := range idx {
		if seen[e.tensor] {
			return faultf(indexName, "weight_map: duplicate tensor name %q", clip(e.tensor, 128))
		}
		seen[e.tensor] = true
		if !fs.ValidPath(e.shard) || e.shard == "." || strings.ContainsAny(e.shard, "\\\x00") || !filepath.IsLocal(e.shard) {
			return faultf(indexName, "weight_map: tensor %q: shard name %q is not a path inside the checkpoint", clip(e.tensor, 128), clip(e.shard, 128))
		}
	}
	return nil
}

// shards returns the names of the files, sorted.
func (idx index) shards() []string {
	seen := map[string]bool{}
	var names []string
	for _, e := range idx {
		if !seen[e.shard] {
			seen[e.shard] = true
			names = append(names, e.shard)
		}
	}
	slices.Sort(names)
	return names
}

// checkIndex makes sure that each tensor of the index is in the shard that the
// index says.
func (c *Checkpoint) checkIndex(idx index) error {
	for _, e := range idx {
		t, ok := c.Lookup(e.tensor)
		if !ok {
			return faultf(e.shard, "holds no tensor %q, which %s places there", clip(e.tensor, 128), indexName)
		}
		if t.fileName() != e.shard {
			return faultf(e.shard, "holds no tensor %q, which %s places there; it is in %s", clip(e.tensor, 128), indexName, t.fileName())
		}
	}
	return nil
}
