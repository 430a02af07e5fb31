package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/godwit-llm/godwit/internal/disk"
)

// Entry is a snapshot in the cache, as List finds it.
type Entry struct {
	Repo      string
	Commit    string
	Revisions []string // the branches and tags that were last seen at the commit
	Snapshot  Snapshot
	Bytes     int64 // of its files
	Changed   time.Time
}

// List returns the snapshots of all models in the cache, by name and then by
// age. What it cannot read it leaves out, and returns as an error beside the
// rest.
func (c Cache) List() ([]Entry, error) {
	folders, err := os.ReadDir(c.Dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return nil, err
	}
	var all []Entry
	var errs []error
	for _, folder := range folders {
		repo, ok := repoOf(folder.Name())
		if !ok || !folder.IsDir() {
			continue
		}
		entries, err := c.entries(repo)
		if err != nil {
			errs = append(errs, fmt.Errorf("hub: %s: %w", repo, err))
		}
		all = append(all, entries...)
	}
	return all, errors.Join(errs...)
}

// entries returns the snapshots of one repository, the oldest first.
func (c Cache) entries(repo string) ([]Entry, error) {
	n := Name{Repo: repo, Revision: DefaultRevision}
	commits, err := os.ReadDir(filepath.Join(c.repo(n), "snapshots"))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return nil, err
	}
	refs := c.refs(n)
	var entries []Entry
	for _, commit := range commits {
		if !commitPattern.MatchString(commit.Name()) {
			continue
		}
		n.Revision = commit.Name()
		s, err := c.Find(n, Model)
		if err != nil {
			return entries, err
		}
		e := Entry{Repo: repo, Commit: s.Commit, Revisions: refs[s.Commit], Snapshot: s}
		if err := e.measure(); err != nil {
			return entries, err
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b Entry) int { return a.Changed.Compare(b.Changed) })
	return entries, nil
}

// measure adds up the files of a snapshot.
func (e *Entry) measure() error {
	files, err := e.Snapshot.files()
	for _, size := range files {
		e.Bytes += size
	}
	if info, err := os.Stat(e.Snapshot.Dir); err == nil {
		e.Changed = info.ModTime()
	}
	return err
}

// refs returns the branches and tags of each commit.
func (c Cache) refs(n Name) map[string][]string {
	dir := filepath.Join(c.repo(n), "refs")
	refs := map[string][]string{}
	// A ref that cannot be read is a snapshot without a name.
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasSuffix(path, ".tmp") {
			return nil
		}
		name, err := filepath.Rel(dir, path)
		data, readErr := os.ReadFile(path)
		if err == nil && readErr == nil {
			commit := strings.TrimSpace(string(data))
			refs[commit] = append(refs[commit], filepath.ToSlash(name))
		}
		return nil
	})
	return refs
}

// RemoveRepo removes a repository with all its revisions, also what has been
// fetched in part.
func (c Cache) RemoveRepo(n Name) error {
	if _, err := os.Stat(c.repo(n)); err != nil {
		return c.notThere(n, err)
	}
	free, err := c.holdAll(n)
	if err != nil {
		return err
	}
	defer free()
	if err := os.RemoveAll(c.repo(n)); err != nil {
		return fmt.Errorf("hub: %s: %w", n.Repo, err)
	}
	return nil
}

// RemoveRevision removes one revision, with the branches and tags at its
// commit and the blobs that no other revision needs.
func (c Cache) RemoveRevision(n Name) error {
	s, err := c.Find(n, Texts)
	if err != nil {
		return err
	}
	free, err := c.holdAll(n)
	if err != nil {
		return err
	}
	defer free()
	if err := c.removeSnapshot(n, s); err != nil {
		return fmt.Errorf("hub: %s: %w", n, err)
	}
	return nil
}

func (c Cache) removeSnapshot(n Name, s Snapshot) error {
	// First what leads to the snapshot, last what it needs: a reader beside us
	// finds all of it or nothing.
	for _, ref := range c.refs(n)[s.Commit] {
		if err := os.Remove(filepath.Join(c.repo(n), "refs", filepath.FromSlash(ref))); err != nil {
			return err
		}
	}
	own := blobsOf(s.Dir)
	if err := os.RemoveAll(s.Dir); err != nil {
		return err
	}
	others := blobsOf(filepath.Join(c.repo(n), "snapshots"))
	blobs, err := os.ReadDir(filepath.Join(c.repo(n), "blobs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, b := range blobs {
		path := filepath.Join(c.repo(n), "blobs", b.Name())
		info, err := os.Stat(path)
		same := func(other fs.FileInfo) bool { return os.SameFile(info, other) }
		if err != nil || !slices.ContainsFunc(own, same) || slices.ContainsFunc(others, same) {
			continue
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// blobsOf returns the files that those below dir are, or link to.
func blobsOf(dir string) []fs.FileInfo {
	var infos []fs.FileInfo
	// What cannot be read is nobody's blob.
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil
		}
		if info, err := os.Stat(path); err == nil {
			infos = append(infos, info)
		}
		return nil
	})
	return infos
}

// holdAll takes the locks of all blobs that were ever fetched for a
// repository, so that nothing is removed under a running pull.
func (c Cache) holdAll(n Name) (free func(), err error) {
	dir := filepath.Join(c.Dir, ".locks", n.folder())
	var held []*os.File
	free = func() {
		for _, f := range held {
			f.Close()
		}
	}
	names, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("hub: %s: %w", n.Repo, err)
	}
	for _, name := range names {
		f, err := os.OpenFile(filepath.Join(dir, name.Name()), os.O_RDWR, 0)
		if err != nil {
			free()
			return nil, fmt.Errorf("hub: %s: %w", n.Repo, err)
		}
		held = append(held, f)
		if ok, err := disk.TryLock(f); !ok && !errors.Is(err, disk.ErrUnknown) {
			free()
			return nil, fmt.Errorf("hub: %s is being fetched by another process; try again when it is done", n.Repo)
		}
	}
	return free, nil
}
