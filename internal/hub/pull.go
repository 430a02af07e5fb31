package hub

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/godwit-llm/godwit/internal/disk"
)

// Pull makes sure that the files of a model at a revision are in the cache. It
// asks the hub which commit the revision is at now, and fetches what is
// missing, several files at once. When it ends early, by an error or with ctx,
// what has arrived is kept, and the next Pull goes on from there; the revision
// in the cache stays what it was until all of the new one is there.
func (c *Client) Pull(ctx context.Context, n Name, want Want) (Snapshot, error) {
	s, err := c.open()
	if err != nil {
		return Snapshot{}, err
	}
	defer s.close()
	commit, err := s.pull(ctx, n, want)
	switch {
	case err != nil && ctx.Err() != nil:
		return Snapshot{}, &classed{fmt.Errorf("hub: %s: interrupted; what was fetched is kept, and the next pull goes on from there", n), ctx.Err()}
	case err != nil:
		return Snapshot{}, s.explain(n, err)
	}
	return s.Cache.Find(Name{n.Repo, commit}, want)
}

func (s *session) pull(ctx context.Context, n Name, want Want) (commit string, err error) {
	l, err := s.list(ctx, n)
	if err != nil {
		return "", err
	}
	if err := newPull(s, n, l.commit).run(ctx, l, want); err != nil {
		return "", err
	}
	return l.commit, onDisk(s.Cache.Dir, s.Cache.setRef(n, l.commit))
}

// pull is one call of Pull at work.
type pull struct {
	*session
	name                   Name
	commit                 string
	blobs, locks, snapshot string // directories
	progress               *counter
}

func newPull(s *session, n Name, commit string) *pull {
	p := &pull{
		session: s, name: n, commit: commit,
		blobs:    filepath.Join(s.Cache.repo(n), "blobs"),
		locks:    filepath.Join(s.Cache.Dir, ".locks", n.folder()),
		snapshot: s.Cache.snapshot(n, commit),
	}
	// What one Pull tells comes through its counter, one after the other.
	p.progress = &counter{tell: s.Client.OnEvent}
	own := *s.Client
	own.OnEvent = p.progress.event
	p.session = &session{&own, s.base, s.http}
	return p
}

// run fetches the files of one commit.
func (p *pull) run(ctx context.Context, l listing, want Want) error {
	c := choose(l.names())
	if err := p.checkModel(l, c); err != nil {
		return err
	}
	for _, dir := range []string{p.blobs, p.locks, p.snapshot} {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return onDisk(p.Cache.Dir, err)
		}
	}
	p.Cache.tag()
	names := c.texts
	if want == Model {
		weights, err := p.weights(ctx, l, c)
		if err != nil {
			return err
		}
		names = append(names, weights...)
	}
	files, err := l.wanted(names)
	if err != nil {
		return classify(ErrContent, "hub: %s: %w", p.name, err)
	}
	if files, err = p.completeAll(ctx, files); err != nil {
		return err
	}
	if err := p.checkRoom(files); err != nil {
		return err
	}
	return p.all(ctx, len(files), func(ctx context.Context, i int) error { return p.place(ctx, files[i]) })
}

// checkModel refuses a repository that holds no model before any of it is
// fetched.
func (p *pull) checkModel(l listing, c chosen) error {
	_, config := l.files["config.json"]
	if c.weights == Adapter || config && c.weights != NoWeights {
		return nil
	}
	names := l.names()
	holds := func(suffix string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(name, suffix) })
	}
	found := "neither weights nor config.json"
	switch {
	case holds(".gguf"):
		found = "GGUF files"
	case holds(".nemo"):
		found = "NeMo archives"
	case config:
		found = "config.json but no weights of a known name"
	case c.weights != NoWeights:
		found = "weights but no config.json"
	}
	return classify(ErrContent, "hub: %s holds %s, want config.json and safetensors files (model.safetensors, or shards with an index)", p.name, found)
}

// weights returns the names of the files with the weights. If an index names
// them, it is fetched first.
func (p *pull) weights(ctx context.Context, l listing, c chosen) ([]string, error) {
	if c.index == "" {
		return c.files, nil
	}
	f, err := p.complete(ctx, p.name, p.commit, l.files[c.index])
	if err == nil {
		err = p.place(ctx, f)
	}
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(p.snapshot, c.index))
	if err != nil {
		return nil, &localError{err}
	}
	names, err := readIndex(data)
	if err != nil {
		return nil, classify(ErrContent, "hub: %s: %s: %w", p.name, c.index, err)
	}
	p.progress.reset()
	return names, nil
}

// completeAll fills in what the listing does not say about the files.
func (p *pull) completeAll(ctx context.Context, files []remote) ([]remote, error) {
	full := make([]remote, len(files))
	err := p.all(ctx, len(files), func(ctx context.Context, i int) (err error) {
		full[i], err = p.complete(ctx, p.name, p.commit, files[i])
		return err
	})
	return full, err
}

// checkRoom sets what progress counts up to, and refuses what does not fit on
// the disk.
func (p *pull) checkRoom(files []remote) error {
	var total, need int64
	for _, f := range files {
		total += f.size
		if hasSize(filepath.Join(p.snapshot, filepath.FromSlash(f.path)), f.size) || hasSize(filepath.Join(p.blobs, f.blob), f.size) {
			continue
		}
		need += f.size
		if info, err := os.Stat(filepath.Join(p.blobs, f.blob+".incomplete")); err == nil {
			need -= min(info.Size(), f.size)
		}
	}
	p.progress.setTotal(total)
	if free, err := disk.Free(p.blobs); err == nil && free < need {
		return &localError{fmt.Errorf("%.2f GB more are needed in %s, the disk has %.2f GB free; HF_HUB_CACHE may name another",
			float64(need)/1e9, p.Cache.Dir, float64(free)/1e9)}
	}
	return nil
}

// all calls f for 0 to n-1, some at once. The first error ends the others and
// is returned.
func (p *pull) all(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	workers := p.Workers
	if workers <= 0 {
		workers = 8
	}
	next := make(chan int)
	var group sync.WaitGroup
	for range min(n, workers) {
		group.Go(func() {
			for i := range next {
				if err := f(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	group.Wait()
	return context.Cause(ctx)
}

// counter adds up what has arrived, and lets one goroutine at a time tell.
type counter struct {
	tell        func(Event)
	mu          sync.Mutex
	done, total int64
}

func (c *counter) event(e Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tell != nil {
		e.Done, e.Total = c.done, c.total
		c.tell(e)
	}
}

func (c *counter) add(n int64) {
	c.mu.Lock()
	c.done += n
	c.mu.Unlock()
	c.event(Event{Kind: Progress})
}

// reset forgets what came before the total was known.
func (c *counter) reset() {
	c.mu.Lock()
	c.done = 0
	c.mu.Unlock()
}

func (c *counter) setTotal(n int64) {
	c.mu.Lock()
	c.total = n
	c.mu.Unlock()
}

func (c *Client) event(e Event) {
	if c.OnEvent != nil {
		c.OnEvent(e)
	}
}

func (c *Client) notice(format string, args ...any) {
	c.event(Event{Kind: Notice, Message: fmt.Sprintf(format, args...)})
}
