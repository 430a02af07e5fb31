package hub

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
)

// DefaultRevision is the branch that a name without a revision means.
const DefaultRevision = "main"

// Name is a repository at a revision.
type Name struct {
	Repo     string // "org/name", or for a few old models "name"
	Revision string // a branch, a tag or a commit
}

// String returns the name as ParseName takes it.
func (n Name) String() string {
	if n.Revision == DefaultRevision {
		return n.Repo
	}
	return n.Repo + "@" + n.Revision
}

var (
	repoPattern     = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9_.-]*/)?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$`)
	revisionPattern = regexp.MustCompile(`^[^\x00-\x20\x7f~^:?*\[\\]+$`)
	commitPattern   = regexp.MustCompile(`^[0-9a-f]{40}$`)
	sha256Pattern   = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// ParseName reads REPO or REPO@REVISION.
func ParseName(text string) (Name, error) {
	repo, revision, given := strings.Cut(text, "@")
	if !given {
		revision = DefaultRevision
	}
	switch {
	case len(repo) > 96:
		return Name{}, fmt.Errorf("hub: the repository's name has %d letters, want at most 96", len(repo))
	case !repoPattern.MatchString(repo), strings.Contains(repo, "--"), strings.Contains(repo, ".."), strings.HasSuffix(repo, ".git"):
		return Name{}, fmt.Errorf("hub: got the repository %q, want ORG/NAME of letters, digits, '-', '_' and '.'", repo)
	case !revisionPattern.MatchString(revision), !fs.ValidPath(revision), revision == ".", !filepath.IsLocal(revision):
		return Name{}, fmt.Errorf("hub: %s: got the revision %q, want a branch, a tag or a commit", repo, revision)
	}
	return Name{repo, revision}, nil
}

// isCommit reports whether the revision is one that never changes.
func (n Name) isCommit() bool { return commitPattern.MatchString(n.Revision) }

// folder is the repository's directory in the cache.
func (n Name) folder() string { return "models--" + strings.ReplaceAll(n.Repo, "/", "--") }

// repoOf is the repository of a folder in the cache.
func repoOf(folder string) (repo string, ok bool) {
	rest, ok := strings.CutPrefix(folder, "models--")
	return strings.Replace(rest, "--", "/", 1), ok && rest != ""
}
