package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// DefaultEndpoint is where the Hugging Face Hub is.
const DefaultEndpoint = "https://huggingface.co"

// Client fetches from one hub into one cache. Its methods may be called from
// several goroutines; its fields must not be changed meanwhile.
type Client struct {
	Cache    Cache
	Endpoint string        // "" means DefaultEndpoint
	Token    string        // "" for none
	Agent    string        // the program, as the server sees it
	Workers  int           // files fetched at once; 0 means 8
	Timeout  time.Duration // without a byte until a connection counts as dead; 0 means 30 s
	Copies   bool          // make no symbolic links
	OnEvent  func(Event)   // called from one goroutine at a time; may be nil

	// Transport carries the requests; nil means one that uses the proxies of
	// the environment.
	Transport http.RoundTripper

	pause time.Duration // before the first retry; 0 means 1 s
}

// EventKind says what an Event is about.
type EventKind int

// The kinds of events.
const (
	Progress EventKind = iota // bytes have arrived
	Fetched                   // a file is whole
	Notice                    // something a user should know
)

// Event tells what a Client is doing.
type Event struct {
	Kind        EventKind
	Done, Total int64  // bytes of what is fetched by this call
	File        string // of Fetched
	Size        int64  // of File
	Message     string // of Notice
}

func (c *Client) endpoint() string {
	if c.Endpoint == "" {
		return DefaultEndpoint
	}
	return strings.TrimRight(c.Endpoint, "/")
}

func (c *Client) timeout() time.Duration {
	if c.Timeout <= 0 {
		return 30 * time.Second
	}
	return c.Timeout
}

// session is a Client at work: one pool of connections.
type session struct {
	*Client
	base *url.URL // the endpoint
	http *http.Client
}

func (c *Client) open() (*session, error) {
	base, err := url.Parse(c.endpoint())
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("hub: got the endpoint %q, want an address such as %s", c.endpoint(), DefaultEndpoint)
	}
	if strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, classify(ErrAccess, "hub: the token holds a character that no token has")
	}
	transport := c.Transport
	if transport == nil {
		transport = newTransport(c.timeout())
	}
	s := &session{Client: c, base: base}
	s.http = &http.Client{Transport: &signer{s, transport}, CheckRedirect: checkRedirect}
	return s, nil
}

func (s *session) close() { s.http.CloseIdleConnections() }

// newTransport speaks HTTP/1.1 only: with HTTP/2 all files would share one
// connection, and with it the speed of one.
func newTransport(timeout time.Duration) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.ForceAttemptHTTP2 = false
	t.MaxIdleConnsPerHost = 16
	t.ResponseHeaderTimeout = timeout
	t.TLSHandshakeTimeout = timeout
	t.DisableCompression = true // sizes and ranges are those of the files
	return t
}

// signer adds the token to requests that go to the hub itself. It decides for
// each request, so that no redirect can carry the token elsewhere.
type signer struct {
	s    *session
	next http.RoundTripper
}

func (a *signer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if a.s.Agent != "" {
		r.Header.Set("User-Agent", a.s.Agent)
	}
	r.Header.Set("Accept-Encoding", "identity")
	if a.s.Token != "" && a.s.trusts(r.URL) {
		r.Header.Set("Authorization", "Bearer "+a.s.Token)
	}
	return a.next.RoundTrip(r)
}

// CloseIdleConnections lets http.Client reach the transport's.
func (a *signer) CloseIdleConnections() {
	if t, ok := a.next.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// trusts reports whether the token is for this address: that of the endpoint,
// or of the hub that a mirror sends on to.
func (s *session) trusts(u *url.URL) bool {
	return u.Scheme == s.base.Scheme && u.Host == s.base.Host || u.Scheme+"://"+u.Host == DefaultEndpoint
}

func checkRedirect(r *http.Request, via []*http.Request) error {
	if len(via) > 10 {
		return &redirectError{"more than 10 times"}
	}
	if via[0].URL.Scheme == "https" && r.URL.Scheme != "https" {
		return &redirectError{"to " + r.URL.Host + ", which is not encrypted"}
	}
	return nil
}

// redirectError is a redirect that is not followed.
type redirectError struct{ how string }

func (e *redirectError) Error() string { return "redirected " + e.how }

// fileURL is the address of a file at a commit.
func (s *session) fileURL(n Name, commit, path string) string {
	parts := strings.Split(path, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return s.endpoint() + "/" + n.Repo + "/resolve/" + url.PathEscape(commit) + "/" + strings.Join(parts, "/")
}

// get sends one request and returns its answer if the status is good. The
// answer's body fails when no byte comes for the client's timeout.
func (s *session) get(ctx context.Context, method, address string, header http.Header) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	r, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	for name, values := range header {
		r.Header[name] = values
	}
	watch := time.AfterFunc(s.timeout(), func() { cancel(&stalledError{s.timeout()}) })
	response, err := s.http.Do(r)
	if err != nil {
		watch.Stop()
		defer cancel(nil)
		return nil, plainError(ctx, err)
	}
	response.Body = &watchedBody{response.Body, ctx, cancel, watch, s.timeout()}
	if response.StatusCode >= 400 {
		defer response.Body.Close()
		return nil, newStatusError(response, s.trusts(response.Request.URL))
	}
	return response, nil
}

// plainError leaves addresses out of an error: those of a CDN are long, and let
// anybody in who reads them in a log.
func plainError(ctx context.Context, err error) error {
	var stalled *stalledError
	if errors.As(context.Cause(ctx), &stalled) {
		return stalled
	}
	var u *url.Error
	if !errors.As(err, &u) {
		return err
	}
	address, parseErr := url.Parse(u.URL)
	if parseErr != nil {
		return u.Err
	}
	return fmt.Errorf("%s: %w", address.Host, u.Err)
}

// stalledError is a connection on which nothing came for a while.
type stalledError struct{ after time.Duration }

func (e *stalledError) Error() string { return fmt.Sprintf("no answer for %v", e.after) }

// watchedBody is a body whose reads end when nothing comes.
type watchedBody struct {
	io.ReadCloser
	ctx     context.Context
	cancel  context.CancelCauseFunc
	watch   *time.Timer
	timeout time.Duration
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.watch.Reset(b.timeout)
	}
	if err != nil && err != io.EOF {
		err = plainError(b.ctx, err)
	}
	return n, err
}

func (b *watchedBody) Close() error {
	b.watch.Stop()
	b.cancel(nil)
	return b.ReadCloser.Close()
}
