package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// remote is a file on the hub.
type remote struct {
	path string
	size int64  // -1 if the server did not say
	blob string // the name of its blob: what its server gives as its hash
}

// listing is a repository at a commit.
type listing struct {
	commit string
	files  map[string]remote
}

func (l listing) names() []string {
	names := make([]string, 0, len(l.files))
	for name := range l.files {
		names = append(names, name)
	}
	return names
}

// repoInfo is the part of the hub's answer that we read.
type repoInfo struct {
	SHA      string `json:"sha"`
	Siblings []struct {
		Path   string `json:"rfilename"`
		Size   *int64 `json:"size"`
		BlobID string `json:"blobId"`
		LFS    *struct {
			SHA256 string `json:"sha256"`
			OID    string `json:"oid"`
			Size   *int64 `json:"size"`
		} `json:"lfs"`
	} `json:"siblings"`
}

const maxListing = 64 << 20

// list asks which commit a revision is at, and for the files there.
func (s *session) list(ctx context.Context, n Name) (listing, error) {
	address := s.endpoint() + "/api/models/" + n.Repo + "/revision/" + url.PathEscape(n.Revision) + "?blobs=true"
	var info repoInfo
	err := s.retry(ctx, n.String(), firstAttempts, func() (bool, error) {
		response, err := s.get(ctx, http.MethodGet, address, nil)
		if err != nil {
			return false, err
		}
		defer response.Body.Close()
		data, err := io.ReadAll(io.LimitReader(response.Body, maxListing))
		if err != nil {
			return false, err
		}
		if err := json.Unmarshal(data, &info); err != nil {
			return false, classify(ErrNetwork, "hub: %s does not answer as a hub does (%w); check HF_ENDPOINT and proxies", s.shown(), err)
		}
		return true, nil
	})
	if err != nil {
		return listing{}, err
	}
	return info.listing(n)
}

func (info repoInfo) listing(n Name) (listing, error) {
	if !commitPattern.MatchString(info.SHA) || n.isCommit() && info.SHA != n.Revision {
		return listing{}, classify(ErrNetwork, "hub: %s: the server says the commit is %q, which cannot be", n, clip(info.SHA))
	}
	l := listing{info.SHA, map[string]remote{}}
	for _, f := range info.Siblings {
		r := remote{path: f.Path, size: -1, blob: f.BlobID}
		if f.Size != nil {
			r.size = *f.Size
		}
		if f.LFS != nil {
			if r.blob = f.LFS.SHA256; r.blob == "" {
				r.blob = f.LFS.OID
			}
			if f.LFS.Size != nil {
				r.size = *f.LFS.Size
			}
		}
		l.files[f.Path] = r
	}
	return l, nil
}

// complete asks for the hash and the size of a file whose listing does not
// have them. Servers that only imitate the hub leave them out.
func (s *session) complete(ctx context.Context, n Name, commit string, f remote) (remote, error) {
	if f.size >= 0 && f.blob != "" {
		return f, checkBlob(f)
	}
	// The hash of a large file is in the answer that redirects to it.
	direct := *s.http
	direct.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if r.Response.Header.Get("X-Linked-Etag") != "" || !s.trusts(r.URL) {
			return http.ErrUseLastResponse
		}
		return checkRedirect(r, via)
	}
	head := &session{s.Client, s.base, &direct}
	err := s.retry(ctx, f.path, attempts, func() (bool, error) {
		response, err := head.get(ctx, http.MethodHead, s.fileURL(n, commit, f.path), nil)
		if err != nil {
			return false, err
		}
		response.Body.Close()
		f.blob, f.size = described(response)
		return true, nil
	})
	if err != nil {
		return f, err
	}
	return f, checkBlob(f)
}

// described reads hash and size from the answer to HEAD.
func described(r *http.Response) (blob string, size int64) {
	etag, length := r.Header.Get("X-Linked-Etag"), r.Header.Get("X-Linked-Size")
	if etag == "" {
		etag = r.Header.Get("ETag")
	}
	if length == "" && r.StatusCode < 300 {
		length = r.Header.Get("Content-Length")
	}
	size, err := strconv.ParseInt(length, 10, 64)
	if err != nil {
		size = -1
	}
	return strings.Trim(strings.TrimPrefix(etag, "W/"), `"`), size
}

// checkBlob refuses what cannot be a file's name or size.
func checkBlob(f remote) error {
	switch {
	case f.blob == "" || f.size < 0:
		return classify(ErrNetwork, "hub: %s: the server gives no hash or no size; check HF_ENDPOINT and proxies", f.path)
	case checkPath(f.blob) != nil || strings.Contains(f.blob, "/") || strings.HasSuffix(f.blob, ".incomplete") || len(f.blob) > 128:
		return classify(ErrNetwork, "hub: %s: the server gives the hash %q", f.path, clip(f.blob))
	}
	return nil
}

// wanted returns the files of the listing that are named, in that order.
func (l listing) wanted(names []string) ([]remote, error) {
	var files []remote
	for _, name := range names {
		f, ok := l.files[name]
		if !ok {
			return nil, fmt.Errorf("the repository lacks %s, which its index names", name)
		}
		if err := checkPath(name); err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}
