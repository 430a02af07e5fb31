package convert

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/godwit-llm/godwit/internal/torchfile"
)

const (
	singleName = "pytorch_model.bin"
	indexName  = "pytorch_model.bin.index.json"
)

var shardPattern = regexp.MustCompile(`^pytorch_model-(\d{5})-of-(\d{5})\.bin$`)

// source is an open checkpoint of PyTorch.
type source struct {
	dir     string
	files   []*torchfile.File
	tensors []torchfile.Tensor
}

func (s *source) close() {
	for _, f := range s.files {
		f.Close()
	}
}

// openSource opens all files of the checkpoint in a directory.
func openSource(dir string) (*source, error) {
	names, index, err := choose(dir)
	if err != nil {
		return nil, err
	}
	s := &source{dir: dir}
	in := map[string]string{} // tensors to files
	for _, name := range names {
		if err := s.add(name, in); err != nil {
			s.close()
			return nil, err
		}
	}
	for _, tensor := range slices.Sorted(maps.Keys(index)) {
		if in[tensor] != index[tensor] {
			s.close()
			return nil, fmt.Errorf("%s holds no tensor %.200q, which %s places there", index[tensor], tensor, indexName)
		}
	}
	if len(s.tensors) == 0 {
		s.close()
		return nil, fmt.Errorf("%s holds no tensors", names[0])
	}
	return s, nil
}

func (s *source) add(name string, in map[string]string) error {
	f, err := torchfile.Open(filepath.Join(s.dir, filepath.FromSlash(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the file %s is missing from %s: %w", name, s.dir, fs.ErrNotExist)
	}
	if err != nil {
		return err
	}
	s.files = append(s.files, f)
	for _, t := range f.Tensors {
		if other, ok := in[t.Name]; ok {
			return fmt.Errorf("tensor %.200q is in %s and in %s", t.Name, other, name)
		}
		in[t.Name] = name
		s.tensors = append(s.tensors, t)
	}
	return nil
}

// choose returns the names of the checkpoint's files, and the index if there is
// one.
func choose(dir string) (names []string, index map[string]string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	have := map[string]bool{}
	for _, e := range entries {
		have[e.Name()] = true
		if shardPattern.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	switch {
	case have[singleName]:
		return []string{singleName}, nil, nil
	case have[indexName]:
		return readIndex(dir)
	case len(names) == 0:
		return nil, nil, nothing(dir, entries)
	}
	return names, nil, checkNumbers(dir, have, names[0])
}

// checkNumbers makes sure that all shards are there that a shard's name counts.
func checkNumbers(dir string, have map[string]bool, name string) error {
	count := shardPattern.FindStringSubmatch(name)[2]
	n, _ := strconv.Atoi(count) // five digits
	for i := 1; i <= n; i++ {
		if want := fmt.Sprintf("pytorch_model-%05d-of-%s.bin", i, count); !have[want] {
			return fmt.Errorf("%s holds %s but no %s", dir, name, want)
		}
	}
	return nil
}

func readIndex(dir string) (names []string, index map[string]string, err error) {
	data, err := os.ReadFile(filepath.Join(dir, indexName))
	if err != nil {
		return nil, nil, err
	}
	var file struct {
		Weights map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", indexName, err)
	}
	if len(file.Weights) == 0 {
		return nil, nil, fmt.Errorf("%s: weight_map is empty", indexName)
	}
	names = slices.Compact(slices.Sorted(maps.Values(file.Weights)))
	for _, name := range names {
		if !fs.ValidPath(name) || strings.ContainsAny(name, "\\\x00") || !filepath.IsLocal(name) {
			return nil, nil, fmt.Errorf("%s: %.200q is no path inside the checkpoint", indexName, name)
		}
	}
	return names, file.Weights, nil
}

// nothing says what a directory without such a checkpoint holds instead.
func nothing(dir string, entries []os.DirEntry) error {
	for _, e := range entries {
		switch filepath.Ext(e.Name()) {
		case ".safetensors":
			return fmt.Errorf("%s holds %s: there is nothing to convert", dir, e.Name())
		case ".pth", ".pt", ".ckpt":
			return fmt.Errorf("%s holds %s, want %s or its shards in the layout of Hugging Face", dir, e.Name(), singleName)
		}
	}
	return fmt.Errorf("%s holds no %s", dir, singleName)
}

// dropTied leaves lm_head.weight out if config.json says that it is tied to the
// embedding, and it is: a safetensors file would hold it twice, and the model
// takes the embedding. All other tensors that share their elements are written
// each by itself.
func (s *source) dropTied() ([]string, error) {
	var config struct {
		Tied bool `json:"tie_word_embeddings"`
	}
	data, err := os.ReadFile(filepath.Join(s.dir, "config.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &config)
	}
	if err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	const head = "lm_head.weight"
	at := slices.IndexFunc(s.tensors, func(t torchfile.Tensor) bool { return t.Name == head })
	if !config.Tied || at < 0 {
		return nil, nil
	}
	shared := slices.ContainsFunc(s.tensors, func(t torchfile.Tensor) bool { return t.Name != head && t.Same(s.tensors[at]) })
	if !shared {
		return nil, nil
	}
	s.tensors = slices.Delete(s.tensors, at, at+1)
	return []string{head}, nil
}
