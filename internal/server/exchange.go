package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/godwit-llm/godwit"
)

// exchange is one request and its answer.
type exchange struct {
	http.ResponseWriter // remembers the status
	request             *http.Request
	id                  string
	started             time.Time
	status              int // 0: nothing was written
	failed              error
	attrs               []slog.Attr // for the log

	ctx    context.Context // ends when the client leaves or the server stops
	cancel context.CancelCauseFunc
}

// WriteHeader sends the status.
func (x *exchange) WriteHeader(status int) {
	if x.status == 0 {
		x.status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController find the connection.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// log adds a value to the line that is logged at the end.
func (x *exchange) log(key string, value any) { x.attrs = append(x.attrs, slog.Any(key, value)) }

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{ResponseWriter: w, request: r, id: requestID(r), started: time.Now()}
	ctx, cancel := context.WithCancelCause(r.Context())
	x.ctx, x.cancel = ctx, cancel
	defer cancel(nil)
	defer context.AfterFunc(s.stopping, func() { cancel(errStopping) })()
	s.requests.Add(1)
	defer s.requests.Add(-1)
	s.metrics.running.Inc()
	defer s.metrics.running.Dec()
	w.Header().Set("X-Request-Id", x.id)
	s.answer(x)
	s.metrics.answered(r.Pattern, x.status)
	s.report(x)
}

// answer runs the endpoint and turns a panic into an error.
func (s *Server) answer(x *exchange) {
	defer func() {
		if p := recover(); p != nil {
			s.opts.Logger.Error("panic", "id", x.id, "value", p, "stack", string(debug.Stack()))
			s.fail(x, errors.New("internal error"))
		}
	}()
	if s.guard.allow(x, x.request) {
		return
	}
	if err := s.guard.check(x.request); err != nil {
		s.fail(x, err)
		return
	}
	s.mux.ServeHTTP(x, x.request)
}

// fail answers with an error, unless an answer has begun.
func (s *Server) fail(x *exchange, err error) {
	s.note(err)
	e := asAPIError(x.ctx, err)
	x.failed = e
	if e.Status == http.StatusTooManyRequests {
		e.RetryAfter = s.retryAfter()
	}
	if x.status != 0 {
		return
	}
	if e.Status == statusClientClosed {
		x.status = e.Status
		return
	}
	e.write(x)
}

// retryAfter estimates when a full queue has room: as many seconds as half of
// the requests waited there.
func (s *Server) retryAfter() int {
	m := s.model.Load()
	return min(max(int(math.Ceil(m.Metrics().QueueTime.Quantile(0.5))), 1), 60)
}

// report writes the request's line to the log.
func (s *Server) report(x *exchange) {
	level := slog.LevelInfo
	switch {
	case x.status >= 500 && x.status != http.StatusServiceUnavailable:
		level = slog.LevelError
	case x.request.Pattern == "GET /health" || x.request.Pattern == "GET /ready" || x.request.Pattern == "GET /metrics":
		level = slog.LevelDebug
	}
	if !s.opts.Logger.Enabled(x.ctx, level) {
		return
	}
	attrs := append([]slog.Attr{
		slog.String("id", x.id), slog.String("method", x.request.Method), slog.String("path", x.request.URL.Path),
		slog.Int("status", x.status), slog.Duration("took", time.Since(x.started).Round(time.Microsecond)),
		slog.String("client", x.request.RemoteAddr),
	}, x.attrs...)
	if x.failed != nil {
		attrs = append(attrs, slog.String("error", x.failed.Error()))
	}
	s.opts.Logger.LogAttrs(x.ctx, level, "request", attrs...)
}

// endpoint answers a request; an error is answered for it.
type endpoint func(x *exchange) error

// modelEndpoint needs the model.
type modelEndpoint func(x *exchange, m *godwit.Model) error

// open registers an endpoint for everybody.
func (s *Server) open(pattern string, serve endpoint) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) {
		x := w.(*exchange)
		if err := serve(x); err != nil {
			s.fail(x, err)
		}
	})
	method, path, _ := strings.Cut(pattern, " ")
	s.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", method)
		s.fail(w.(*exchange), &apiError{
			Status: http.StatusMethodNotAllowed, Type: typeInvalid, Code: "method_not_allowed",
			Message: fmt.Sprintf("%s is not a method of %s, want %s", r.Method, r.URL.Path, method),
		})
	})
}

// keyed registers an endpoint for holders of a key.
func (s *Server) keyed(pattern string, serve endpoint) {
	s.open(pattern, func(x *exchange) error {
		if err := s.authorize(x.request); err != nil {
			return err
		}
		return serve(x)
	})
}

// modelled registers an endpoint that needs a key and the model.
func (s *Server) modelled(pattern string, serve modelEndpoint) {
	s.keyed(pattern, func(x *exchange) error {
		m, err := s.current()
		if err != nil {
			return err
		}
		return serve(x, m)
	})
}

// requestID takes the client's own id, if it is one that can stand in a log.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	if id == "" || len(id) > 128 || strings.IndexFunc(id, notInID) >= 0 {
		return newID("req_")
	}
	return id
}

func notInID(c rune) bool {
	return !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.ContainsRune("-_.:", c))
}

// newID returns a name that nobody can guess.
func newID(prefix string) string { return prefix + rand.Text() }
