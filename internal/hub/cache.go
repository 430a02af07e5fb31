package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Cache is a directory of repositories. It need not exist.
type Cache struct{ Dir string }

func (c Cache) repo(n Name) string { return filepath.Join(c.Dir, n.folder()) }

func (c Cache) snapshot(n Name, commit string) string {
	return filepath.Join(c.repo(n), "snapshots", commit)
}

// Snapshot is a revision in the cache.
type Snapshot struct {
	Dir      string
	Commit   string
	Weights  Weights // the form of the weights that are there in full
	Complete bool    // everything that was wanted seems to be there
}

// Find looks for a revision without asking a server. The error is
// fs.ErrNotExist if nothing of it is there. What a repository holds besides the
// weights only its server knows: a snapshot counts as complete if it has
// config.json, tokenizer.json and, if they are wanted, all weights.
func (c Cache) Find(n Name, want Want) (Snapshot, error) {
	commit := n.Revision
	if !n.isCommit() {
		data, err := os.ReadFile(filepath.Join(c.repo(n), "refs", filepath.FromSlash(n.Revision)))
		if err != nil {
			return Snapshot{}, c.notThere(n, err)
		}
		commit = strings.TrimSpace(string(data))
		if !commitPattern.MatchString(commit) {
			return Snapshot{}, fmt.Errorf("hub: %s: %s holds %q, want a commit", n, filepath.Join(c.repo(n), "refs", n.Revision), clip(commit))
		}
	}
	s := Snapshot{Dir: c.snapshot(n, commit), Commit: commit}
	names, err := s.files()
	if err != nil {
		return Snapshot{}, c.notThere(n, err)
	}
	s.Weights = s.whole(names)
	has := func(name string) bool { _, ok := names[name]; return ok }
	s.Complete = has("config.json") && has("tokenizer.json") && (want == Texts || s.Weights != NoWeights)
	return s, nil
}

func (c Cache) notThere(n Name, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir) {
		return fmt.Errorf("hub: %s is not in the cache, %s: %w", n, c.Dir, fs.ErrNotExist)
	}
	return fmt.Errorf("hub: %s: %w", n, err)
}

var errNotDir = errors.New("not a directory")

// files returns the sizes of the snapshot's files, without links whose blob is
// missing.
func (s Snapshot) files() (map[string]int64, error) {
	if info, err := os.Stat(s.Dir); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, fmt.Errorf("%s: %w", s.Dir, errNotDir)
	}
	files := map[string]int64{}
	err := filepath.WalkDir(s.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := os.Stat(path) // what a link points to
		if err != nil || !info.Mode().IsRegular() {
			return nil
		}
		name, err := filepath.Rel(s.Dir, path)
		files[filepath.ToSlash(name)] = info.Size()
		return err
	})
	return files, err
}

// whole returns the form of the weights of which no file is missing.
func (s Snapshot) whole(files map[string]int64) Weights {
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	c := choose(names)
	if c.index != "" {
		data, err := os.ReadFile(filepath.Join(s.Dir, c.index))
		if err != nil {
			return NoWeights
		}
		if c.files, err = readIndex(data); err != nil {
			return NoWeights
		}
	}
	for _, name := range c.files {
		if _, ok := files[name]; !ok {
			return NoWeights
		}
	}
	return c.weights
}

// setRef notes which commit a branch or tag is at. Readers see the old commit
// or the new one, never a part.
func (c Cache) setRef(n Name, commit string) error {
	if n.isCommit() {
		return nil
	}
	path := filepath.Join(c.repo(n), "refs", filepath.FromSlash(n.Revision))
	if old, err := os.ReadFile(path); err == nil && string(old) == commit {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return writeFile(path, commit)
}

// writeFile puts a small file into place in one step.
func writeFile(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		os.Remove(f.Name())
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		os.Remove(f.Name())
		return err
	}
	return nil
}

// tag says to backup programs that the directory is a cache, as
// https://bford.info/cachedir/ has it.
func (c Cache) tag() {
	path := filepath.Join(c.Dir, "CACHEDIR.TAG")
	if _, err := os.Stat(path); err != nil {
		// A cache without its tag works as well.
		_ = os.WriteFile(path, []byte("Signature: 8a477f597d28d172789f06886806bc55\n"), 0o666)
	}
}
