package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Want says which files of a model are needed.
type Want int

// What there is to want.
const (
	Model Want = iota // everything that running the model takes
	Texts             // configuration, tokenizer and templates, without the weights
)

// Weights is the form in which a repository holds its weights.
type Weights int

// The forms of weights.
const (
	NoWeights Weights = iota
	Safetensors
	PyTorch // pytorch_model.bin, to be converted
	Adapter // adapter_model.safetensors, which changes another model's weights
)

// textFiles are the small files that belong to a model, as path.Match has it.
var textFiles = []string{
	"config.json", "generation_config.json", "hf_quant_config.json", "adapter_config.json",
	"tokenizer*", "chat_template*", "additional_chat_templates/*.jinja",
	"special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
}

func isText(name string) bool {
	return slices.ContainsFunc(textFiles, func(pattern string) bool {
		ok, _ := path.Match(pattern, name)
		return ok
	})
}

// layout is one of the ways in which weights lie in a directory.
type layout struct {
	weights Weights
	single  string
	index   string // names the shards; "" if there is none
	shards  *regexp.Regexp
}

// layouts are in the order in which they count.
var layouts = []layout{
	{Safetensors, "model.safetensors", "model.safetensors.index.json", regexp.MustCompile(`^(.+)-(\d{5})-of-(\d{5})\.safetensors$`)},
	{Adapter, "adapter_model.safetensors", "", nil},
	{PyTorch, "pytorch_model.bin", "pytorch_model.bin.index.json", regexp.MustCompile(`^(pytorch_model)-(\d{5})-of-(\d{5})\.bin$`)},
}

// chosen is what a model consists of.
type chosen struct {
	texts   []string
	weights Weights
	index   string   // to be read for the names of the files; "" if files are known
	files   []string // of the weights
}

// choose picks a model's files among the names of a repository or directory.
func choose(names []string) chosen {
	var c chosen
	for _, name := range names {
		if isText(name) {
			c.texts = append(c.texts, name)
		}
	}
	for _, l := range layouts {
		if l.find(names, &c) {
			c.weights = l.weights
			break
		}
	}
	return c
}

func (l layout) find(names []string, c *chosen) bool {
	switch {
	case slices.Contains(names, l.single):
		c.files = []string{l.single}
	case l.index != "" && slices.Contains(names, l.index):
		c.index = l.index
	case l.shards != nil:
		c.files = l.numbered(names)
	}
	return c.files != nil || c.index != ""
}

// numbered returns the first whole set of shards.
func (l layout) numbered(names []string) []string {
	sets := map[string][]string{}
	for _, name := range names {
		if m := l.shards.FindStringSubmatch(name); m != nil {
			sets[m[1]+m[3]] = append(sets[m[1]+m[3]], name)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(sets)) {
		if n, _ := strconv.Atoi(key[len(key)-5:]); n == len(sets[key]) {
			return sets[key]
		}
	}
	return nil
}

// readIndex returns the files that an index of shards names.
func readIndex(data []byte) ([]string, error) {
	var index struct {
		Weights map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, err
	}
	if len(index.Weights) == 0 {
		return nil, errors.New("weight_map is empty")
	}
	names := slices.Compact(slices.Sorted(maps.Values(index.Weights)))
	for _, name := range names {
		if err := checkPath(name); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// checkPath refuses names that lead out of a snapshot, or that this system
// cannot hold.
func checkPath(name string) error {
	if !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, "\\\x00") || !filepath.IsLocal(filepath.FromSlash(name)) {
		return fmt.Errorf("the file name %q is no path inside the repository", clip(name))
	}
	return nil
}

// clip keeps messages short whatever a server sends.
func clip(s string) string {
	if len(s) <= 200 {
		return s
	}
	return s[:200] + "..."
}
