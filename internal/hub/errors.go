package hub

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The classes of errors, for errors.Is.
var (
	ErrNotFound = errors.New("not found on the hub")     // no such repository or revision
	ErrAccess   = errors.New("no access")                // gated, private, or a token that is refused
	ErrContent  = errors.New("not a model")              // a repository without what a model needs
	ErrCorrupt  = errors.New("the content is not right") // hashes that differ
	ErrNetwork  = errors.New("the hub cannot be reached")
)

// classed is an error with one of the classes above, which its text leaves out.
type classed struct {
	error
	class error
}

func (e *classed) Unwrap() []error { return []error{e.error, e.class} }

func classify(class error, format string, args ...any) error {
	return &classed{fmt.Errorf(format, args...), class}
}

// statusError is an answer of 400 or more.
type statusError struct {
	host    string
	hub     bool // it comes from the hub itself, not from where it redirects to
	status  int
	code    string // X-Error-Code
	message string
	wait    time.Duration // as the server asks; 0 if it does not
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("%s answers %d %s", e.host, e.status, http.StatusText(e.status))
	if e.message != "" {
		text += ": " + e.message
	}
	return text
}

func newStatusError(r *http.Response, hub bool) *statusError {
	e := &statusError{
		host: r.Request.URL.Host, hub: hub, status: r.StatusCode,
		code: r.Header.Get("X-Error-Code"), message: r.Header.Get("X-Error-Message"), wait: waitOf(r.Header, time.Now()),
	}
	if e.message == "" {
		e.message = bodyMessage(r)
	}
	e.message = clip(strings.TrimSpace(e.message))
	return e
}

// bodyMessage returns what a server says in {"error": "..."} or in plain text.
func bodyMessage(r *http.Response) string {
	data, err := io.ReadAll(io.LimitReader(r.Body, 4096))
	if err != nil {
		return ""
	}
	var object struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(data, &object) == nil {
		return object.Error
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "text/plain" {
		return string(data)
	}
	return ""
}

var rateLimit = regexp.MustCompile(`;\s*r\s*=\s*0\s*;\s*t\s*=\s*(\d{1,6})`)

// waitOf returns how long a server asks to wait: Retry-After in seconds or as a
// date, or the hub's RateLimit header when nothing is left.
func waitOf(h http.Header, now time.Time) time.Duration {
	after := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseUint(after, 10, 20); err == nil {
		return time.Duration(n) * time.Second
	}
	if date, err := http.ParseTime(after); err == nil {
		return max(0, date.Sub(now))
	}
	if m := rateLimit.FindStringSubmatch(h.Get("RateLimit")); m != nil {
		n, _ := strconv.Atoi(m[1]) // six digits at most
		return time.Duration(n+1) * time.Second
	}
	return 0
}

// temporary reports whether trying again may help.
func temporary(err error) bool {
	var status *statusError
	if errors.As(err, &status) {
		switch status.status {
		case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
			http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		case http.StatusForbidden, http.StatusUnauthorized, http.StatusNotFound, http.StatusGone:
			return !status.hub // a link to the CDN that has run out: ask for a new one
		}
		return false
	}
	return network(err) && !hopeless(err)
}

// network reports whether the error is one of the way to the server.
func network(err error) bool {
	return err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) && !local(err) && class(err) == nil
}

// hopeless errors of the network stay as they are.
func hopeless(err error) bool {
	return errors.As(err, new(*tls.CertificateVerificationError)) || errors.As(err, new(x509.UnknownAuthorityError)) ||
		errors.As(err, new(x509.HostnameError)) || errors.As(err, new(tls.RecordHeaderError)) || errors.As(err, new(*redirectError))
}

// localError is a fault of this machine's files.
type localError struct{ error }

func (e *localError) Unwrap() error { return e.error }

// local reports whether the error is of this machine's files.
func local(err error) bool { return errors.As(err, new(*localError)) }

// onDisk says what a full disk or a missing right means here.
func onDisk(dir string, err error) error {
	switch {
	case err == nil, local(err):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		err = fmt.Errorf("the disk of %s is full; what was fetched is kept: make room and run the command again (%w)", dir, err)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EROFS):
		err = fmt.Errorf("no right to write into the cache, %s; HF_HUB_CACHE may name another (%w)", dir, err)
	}
	return &localError{err}
}

func class(err error) error {
	for _, c := range []error{ErrNotFound, ErrAccess, ErrContent, ErrCorrupt, ErrNetwork} {
		if errors.Is(err, c) {
			return c
		}
	}
	return nil
}

// explain says what an answer means for the repository, and what to do.
func (s *session) explain(n Name, err error) error {
	var status *statusError
	switch {
	case err == nil || class(err) != nil:
		return err
	case !errors.As(err, &status):
		if network(err) {
			return classify(ErrNetwork, "hub: %s: %w", n, err)
		}
		return fmt.Errorf("hub: %s: %w", n, err)
	case !status.hub:
		return classify(ErrNetwork, "hub: %s: %w", n, err)
	case status.code == "EntryNotFound":
		return classify(ErrContent, "hub: %s: %w", n, err)
	case status.code == "RevisionNotFound":
		return classify(ErrNotFound, "hub: %s has no revision %q", n.Repo, n.Revision)
	case status.code == "GatedRepo":
		return classify(ErrAccess, "hub: %s is gated: ask for access on %s/%s, %s", n.Repo, s.shown(), n.Repo, s.tokenAdvice())
	case status.status == http.StatusUnauthorized && s.Token != "" && status.code != "RepoNotFound":
		return classify(ErrAccess, "hub: %s: the server refuses the token (%w); make a new one on %s/settings/tokens", n.Repo, status, s.shown())
	case status.code == "RepoNotFound", status.status == http.StatusUnauthorized, status.status == http.StatusNotFound:
		return classify(ErrNotFound, "hub: %s is not on %s, or is private: check the name%s", n.Repo, s.shown(), s.privateAdvice())
	case status.status == http.StatusForbidden:
		return classify(ErrAccess, "hub: %s: %w; look at %s/%s", n.Repo, status, s.shown(), n.Repo)
	}
	return classify(ErrNetwork, "hub: %s: %w", n, err)
}

// shown is the endpoint without a password.
func (s *session) shown() string { return strings.TrimRight(s.base.Redacted(), "/") }

func (s *session) tokenAdvice() string {
	if s.Token == "" {
		return "then set HF_TOKEN to a token of that account, or log in with 'hf auth login'"
	}
	return "with the account of the token in use; a fine-grained token also needs the right to read gated repositories"
}

func (s *session) privateAdvice() string {
	if s.Token == "" {
		return "; for a private repository set HF_TOKEN, or log in with 'hf auth login'"
	}
	return ", and whether the token in use may read it"
}
