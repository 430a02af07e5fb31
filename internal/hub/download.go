package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/godwit-llm/godwit/internal/disk"
)

// newHash returns the hash that a blob is named by: sha256 for a file in large
// file storage, git's own for one in git. It is nil for names of other kinds.
func newHash(f remote) hash.Hash {
	switch {
	case sha256Pattern.MatchString(f.blob):
		return sha256.New()
	case commitPattern.MatchString(f.blob):
		h := sha1.New()
		fmt.Fprintf(h, "blob %d\x00", f.size)
		return h
	}
	return nil
}

// download is one blob on its way.
type download struct {
	*pull
	remote
	path string // of the blob
	out  *os.File
	have int64     // bytes that are there
	hash hash.Hash // of those; nil if the name is no hash
}

// place makes sure that a file is in the snapshot.
func (p *pull) place(ctx context.Context, f remote) error {
	path := filepath.Join(p.snapshot, filepath.FromSlash(f.path))
	if hasSize(path, f.size) {
		p.progress.add(f.size)
		return nil
	}
	blob := filepath.Join(p.blobs, f.blob)
	unlock, err := p.lock(ctx, f)
	if err != nil {
		return err
	}
	defer unlock()
	if hasSize(blob, f.size) {
		p.progress.add(f.size)
	} else if err := p.fetch(ctx, f, blob); err != nil {
		return err
	}
	return onDisk(p.Cache.Dir, link(blob, path, !p.Copies))
}

// hasSize reports whether path is a file of that size; a link counts as what it
// points to.
func hasSize(path string, size int64) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Size() == size
}

// lock waits until no other process fetches the blob.
func (p *pull) lock(ctx context.Context, f remote) (unlock func(), err error) {
	path := filepath.Join(p.locks, f.blob+".lock")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o664)
	if err != nil {
		return nil, onDisk(p.Cache.Dir, err)
	}
	for n := 0; ; n++ {
		ok, err := disk.TryLock(file)
		if ok || errors.Is(err, disk.ErrUnknown) { // without locks both fetch; see the package's comment
			return func() { file.Close() }, nil
		}
		if err != nil {
			file.Close()
			return nil, &localError{err}
		}
		if n == 20 {
			p.notice("%s: waiting for another process that is fetching it", f.path)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			file.Close()
			return nil, context.Cause(ctx)
		}
	}
}

// fetch goes on with a blob where an earlier attempt ended. A blob whose hash
// is wrong is fetched once more from its beginning.
func (p *pull) fetch(ctx context.Context, f remote, path string) error {
	out, err := os.OpenFile(path+".incomplete", os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return onDisk(p.Cache.Dir, err)
	}
	defer out.Close()
	d := &download{pull: p, remote: f, path: path, out: out, hash: newHash(f)}
	if err := d.resume(ctx); err != nil {
		return err
	}
	for n := 0; ; n++ {
		if err := p.retry(ctx, f.path, attempts, func() (bool, error) { return d.attempt(ctx) }); err != nil {
			return err
		}
		wrong := d.verify()
		if wrong == nil {
			return d.finish()
		}
		if err := d.restart(); err != nil || n > 0 {
			return errors.Join(wrong, err)
		}
		p.notice("%v; fetching it again", wrong)
	}
}

// resume reads what is there already into the hash.
func (d *download) resume(ctx context.Context) error {
	info, err := d.out.Stat()
	if err != nil {
		return onDisk(d.Cache.Dir, err)
	}
	if info.Size() > d.size {
		return d.restart()
	}
	buffer := make([]byte, 1<<20)
	for d.have < info.Size() {
		n, err := d.out.ReadAt(buffer[:min(int64(len(buffer)), info.Size()-d.have)], d.have)
		d.took(buffer[:n])
		if err != nil {
			return onDisk(d.Cache.Dir, err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// took counts bytes that are in the file.
func (d *download) took(p []byte) {
	if d.hash != nil {
		d.hash.Write(p)
	}
	d.have += int64(len(p))
	d.progress.add(int64(len(p)))
}

// restart throws away what is there.
func (d *download) restart() error {
	d.progress.add(-d.have)
	d.have, d.hash = 0, newHash(d.remote)
	return onDisk(d.Cache.Dir, d.out.Truncate(0))
}

// attempt fetches the rest over one connection.
func (d *download) attempt(ctx context.Context) (progress bool, err error) {
	if d.have == d.size {
		return false, nil
	}
	header := http.Header{}
	if d.have > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", d.have))
	}
	response, err := d.get(ctx, http.MethodGet, d.fileURL(d.name, d.commit, d.remote.path), header)
	if err != nil {
		var status *statusError
		if errors.As(err, &status) && status.status == http.StatusRequestedRangeNotSatisfiable {
			if err := d.restart(); err != nil {
				return false, err
			}
			return false, errors.New("the server has less of the file than is here")
		}
		return false, err
	}
	defer response.Body.Close()
	if err := d.align(response); err != nil {
		return false, err
	}
	before := d.have
	err = d.copy(response.Body)
	return d.have > before, err
}

// align makes the place where the answer begins the place where we write.
func (d *download) align(r *http.Response) error {
	if r.StatusCode == http.StatusOK {
		if d.have > 0 { // the server knows no ranges
			return d.restart()
		}
		return nil
	}
	want := fmt.Sprintf("bytes %d-", d.have)
	if got := r.Header.Get("Content-Range"); r.StatusCode != http.StatusPartialContent || !strings.HasPrefix(got, want) {
		return fmt.Errorf("asked for %s, the server answers %d with the range %q", want, r.StatusCode, clip(got))
	}
	return nil
}

// copy writes the answer to the file, and not a byte more than the file has.
func (d *download) copy(body io.Reader) error {
	buffer := make([]byte, 256<<10)
	for {
		n, err := body.Read(buffer)
		if int64(n) > d.size-d.have {
			return classify(ErrCorrupt, "hub: %s: the server sends more than the %d bytes that it has listed", d.remote.path, d.size)
		}
		if _, err := d.out.WriteAt(buffer[:n], d.have); err != nil {
			return onDisk(d.Cache.Dir, err)
		}
		d.took(buffer[:n])
		switch {
		case d.have == d.size:
			return nil
		case err == io.EOF:
			return fmt.Errorf("the connection ended after %d of %d bytes", d.have, d.size)
		case err != nil:
			return err
		}
	}
}

// verify compares the hash of what is there with the blob's name.
func (d *download) verify() error {
	if d.hash == nil {
		return nil
	}
	if got := hex.EncodeToString(d.hash.Sum(nil)); got != d.blob {
		return classify(ErrCorrupt, "hub: %s: the content has the hash %s, want %s", d.remote.path, got, d.blob)
	}
	return nil
}

// finish gives the blob its name, once it is safely on the disk: later its size
// alone is looked at.
func (d *download) finish() error {
	if err := errors.Join(d.out.Sync(), d.out.Close()); err != nil {
		return onDisk(d.Cache.Dir, err)
	}
	err := os.Rename(d.path+".incomplete", d.path)
	if errors.Is(err, fs.ErrNotExist) && hasSize(d.path, d.size) {
		err = nil // without locks another process was first
	}
	if err == nil {
		d.event(Event{Kind: Fetched, File: d.remote.path, Size: d.size})
	}
	return onDisk(d.Cache.Dir, err)
}
