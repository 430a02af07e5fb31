package server

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/godwit-llm/godwit"
)

// Options configures a Server. The zero value is ready to use.
type Options struct {
	Names        []string      // names of the model; the first is the one reported, none means "godwit"
	Format       string        // how replies are taken apart, one of godwit.Formats(); "" means as the chat template shows
	Keys         *Keys         // who may ask; nil means everybody
	MaxBody      int64         // bytes of a request; 0 means 32 MiB
	MaxDepth     int           // nested arrays and objects of a request; 0 means 64
	MaxChoices   int           // choices of one request; 0 means 128
	MaxInputs    int           // texts of one request for embeddings; 0 means 2048
	ReadTimeout  time.Duration // for a request's body; 0 means 30 s
	WriteTimeout time.Duration // for a client to take what was written; 0 means 30 s
	Timeout      time.Duration // for a whole generation; 0 means none
	Heartbeat    time.Duration // between signs of life in a stream without tokens; 0 means 15 s
	DrainDelay   time.Duration // between the signal to stop and the refusal of new connections
	DrainTimeout time.Duration // for running requests after it; 0 means 30 s
	Origins      []string      // of web pages on other sites that may ask; "*" means all
	Hosts        []string      // names under which clients may call a server that asks for no key, besides this machine's
	LogPrompts   bool          // write prompts and answers to the log
	Logger       *slog.Logger  // nil means slog.Default()
	Page         http.Handler  // answers GET / and what is below /page/; nil means a line of text
	Version      string        // of the program, for /openapi.json and the metrics
}

func (o Options) withDefaults() Options {
	if len(o.Names) == 0 {
		o.Names = []string{"godwit"}
	}
	o.MaxBody = cmp.Or(o.MaxBody, 32<<20)
	o.MaxDepth = cmp.Or(o.MaxDepth, 64)
	o.MaxChoices = cmp.Or(o.MaxChoices, 128)
	o.MaxInputs = cmp.Or(o.MaxInputs, 2048)
	o.ReadTimeout = cmp.Or(o.ReadTimeout, 30*time.Second)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, 30*time.Second)
	o.Heartbeat = cmp.Or(o.Heartbeat, 15*time.Second)
	o.DrainTimeout = cmp.Or(o.DrainTimeout, 30*time.Second)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	return o
}

// Server answers requests with one model, once that is loaded.
type Server struct {
	opts    Options
	mux     *http.ServeMux
	guard   *guard
	metrics *metrics
	started time.Time

	model    atomic.Pointer[godwit.Model] // nil while it is being loaded
	loaded   atomic.Int64                 // thousandths of the weights that have been read
	fault    atomic.Pointer[error]        // ended the engine
	draining atomic.Bool                  // asked to stop: still serving, not ready for more

	stopping context.Context // ends when running requests have had their time
	stop     context.CancelFunc
	requests atomic.Int64
	pause    func(time.Duration) // time.Sleep; tests wait for something else
}

// New returns a server that has no model yet: it says so with status 503.
func New(opts Options) (*Server, error) {
	s := &Server{opts: opts.withDefaults(), mux: http.NewServeMux(), started: time.Now(), pause: time.Sleep}
	s.stopping, s.stop = context.WithCancel(context.Background())
	var err error
	if s.guard, err = newGuard(s.opts); err != nil {
		return nil, err
	}
	s.metrics = newMetrics(s)
	s.routes()
	return s, nil
}

// Use makes the server answer with m, which the caller closes after Serve.
func (s *Server) Use(m *godwit.Model) { s.model.Store(m) }

// Progress tells how much of the model has been loaded.
func (s *Server) Progress(done, total int64) {
	if total > 0 {
		s.loaded.Store(done * 1000 / total)
	}
}

// Serve answers requests until ctx ends. Then it drains: /ready says no at
// once; after DrainDelay new connections are refused; running requests have
// DrainTimeout to end by themselves. What still runs after that ends with an
// error event. Serve returns when all answers have been written.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	h := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.opts.Logger.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- h.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	return s.drain(h)
}

func (s *Server) drain(h *http.Server) error {
	s.draining.Store(true)
	s.opts.Logger.Info("stopping", "running", s.requests.Load(), "delay", s.opts.DrainDelay, "timeout", s.opts.DrainTimeout)
	s.pause(s.opts.DrainDelay)
	deadline := time.AfterFunc(s.opts.DrainTimeout, s.stop)
	defer deadline.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.DrainTimeout+s.opts.WriteTimeout)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		return errors.Join(err, h.Close())
	}
	return nil
}

// current returns the model, or why there is none.
func (s *Server) current() (*godwit.Model, error) {
	if fault := s.fault.Load(); fault != nil {
		return nil, unavailable("engine_failed", (*fault).Error(), 0)
	}
	if m := s.model.Load(); m != nil {
		return m, nil
	}
	return nil, unavailable("loading", "the model is being loaded", 1)
}

// note remembers an error that ended the engine, so that /health tells it.
func (s *Server) note(err error) {
	if errors.Is(err, godwit.ErrDevice) {
		s.fault.CompareAndSwap(nil, &err)
	}
}
