package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/godwit-llm/godwit"
	"github.com/godwit-llm/godwit/internal/hub"
	"github.com/godwit-llm/godwit/internal/server"
	"github.com/godwit-llm/godwit/internal/server/page"
)

// serveFlags are the flags of godwit serve.
type serveFlags struct {
	model, host string
	port        int
	keys        []string
	keyFile     string
	logLevel    string
	logFormat   string
	noPage      bool
	load        godwit.Options
	server      server.Options
}

func serveCommand(c *console) *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve [flags]",
		Short: "Answer HTTP requests in the shape of the OpenAI API",
		Long: `Answer HTTP requests in the shape of the OpenAI API, until the first Ctrl-C or
SIGTERM; then running requests are finished. A second one ends the process.

It listens at once and answers with status 503 while the model is being
loaded; GET /ready tells when it is. Without --model the small built-in model
is served. A browser finds a page to chat with it at /.

Whoever can reach the port can use the model: give --api-key, or GODWIT_API_KEY
in the environment, before --host opens it to others. SIGHUP reads the file of
--api-key-file again.`,
		Example: `  godwit serve
  godwit serve --model ./Nemotron-Mini-4B --max-sequences 64
  godwit serve --host 0.0.0.0 --port 8000 --api-key-file keys.txt --log-format json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), c, &f) },
	}
	f.register(cmd)
	return cmd
}

func (f *serveFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.model, "model", "", modelHelp)
	fl.StringArrayVar(&f.server.Names, "served-model-name", nil, "name of the model in requests; may be repeated (default: that of the directory or repository)")
	fl.StringVar(&f.server.Format, "format", "", "how replies are taken apart: "+strings.Join(godwit.Formats(), ", ")+" (default: as the chat template shows)")
	fl.StringVar(&f.host, "host", "127.0.0.1", "address to listen on; 0.0.0.0 for all")
	fl.IntVar(&f.port, "port", 8000, "port to listen on; 0 for any that is free")
	fl.StringArrayVar(&f.keys, "api-key", nil, "key that clients must send; may be repeated")
	fl.StringVar(&f.keyFile, "api-key-file", "", "file with a key on each line")
	fl.StringVar(&f.load.Device, "device", "auto", "auto, cpu, cuda or cuda:N")
	fl.StringVar(&f.load.DType, "dtype", "auto", dtypeHelp)
	fl.StringVar(&f.load.StateType, "state-type", "", stateTypeHelp)
	fl.IntVar(&f.load.Context, "context", 0, "most tokens of prompt and text (default: what the model and the memory allow)")
	fl.IntVar(&f.load.MaxSequences, "max-sequences", 0, "requests that run at the same time (default 16)")
	fl.IntVar(&f.load.QueueLimit, "max-queue", 0, "requests that may wait; more get status 429 (default 1024)")
	fl.Float64Var(&f.load.Memory, "memory", 0, "share of the free memory that may be used (default: 0.5 of the main memory, 0.9 of a GPU's)")
	fl.IntVar(&f.load.StepTokens, "step-tokens", 0, "tokens of a step that decoding requests share with prompts (default: what suits the device)")
	speculateFlag(cmd, &f.load.Speculation)
	fl.BoolVar(&f.load.NoPrefixCache, "no-prefix-cache", false, "keep nothing of ended requests for those with the same beginning")
	fl.BoolVar(&f.load.NoAhead, "no-ahead", false, "on a GPU, queue each step only when the one before has ended")
	fl.Int64Var(&f.load.SnapshotMemory, "snapshot-memory", 0, "bytes for kept recurrent states (default: a part of what the weights leave)")
	fl.Int64Var(&f.load.HostMemory, "host-memory", 0, "bytes of host memory for states that the device has no room for (default: none)")
	fl.IntVar(&f.load.Threads, "threads", 0, "threads on the CPU (default: one for every core)")
	fl.Int64Var(&f.server.MaxBody, "max-request-bytes", 32<<20, "largest request")
	fl.IntVar(&f.server.MaxDepth, "max-request-depth", 64, "deepest nesting of a request's JSON")
	fl.DurationVar(&f.server.ReadTimeout, "read-timeout", 0, "time for a client to send a request (default 30s)")
	fl.DurationVar(&f.server.WriteTimeout, "write-timeout", 0, "time for a client to take a piece of the answer (default 30s)")
	fl.DurationVar(&f.server.Timeout, "request-timeout", 0, "longest generation (default: none)")
	fl.DurationVar(&f.server.DrainDelay, "drain-delay", 0, "on SIGTERM, how long to go on taking requests while /ready says no")
	fl.DurationVar(&f.server.DrainTimeout, "drain-timeout", 0, "after that, how long running requests may take (default 30s)")
	fl.StringArrayVar(&f.server.Origins, "allow-origin", nil, "web site whose pages may use the server, https://example.com or *; may be repeated")
	fl.StringArrayVar(&f.server.Hosts, "allow-host", nil, "host name under which a server without keys may be called, or *; may be repeated")
	fl.BoolVar(&f.noPage, "no-page", false, "serve the API without the chat page at /")
	fl.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	fl.StringVar(&f.logFormat, "log-format", "text", "text or json")
	fl.BoolVar(&f.server.LogPrompts, "log-prompts", false, "write prompts and answers to the log")
}

// serve listens first, then loads, then answers until ctx ends.
func serve(ctx context.Context, c *console, f *serveFlags) error {
	log, err := f.logger(c.err)
	if err != nil {
		return err
	}
	if err := f.readKeys(); err != nil {
		return err
	}
	f.server.Logger, f.server.Version = log, version()
	f.server.Names = f.names()
	if f.server.Format != "" && !slices.Contains(godwit.Formats(), f.server.Format) {
		return usageError{fmt.Errorf("--format is %q, want %s", f.server.Format, strings.Join(godwit.Formats(), ", "))}
	}
	if !f.noPage {
		f.server.Page = page.Handler()
	}
	s, err := server.New(f.server)
	if err != nil {
		return usageError{err}
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(f.host, strconv.Itoa(f.port)))
	if err != nil {
		return err
	}
	log.Info("listening", "url", "http://"+l.Addr().String(), "model", f.server.Names[0])
	if addr, ok := l.Addr().(*net.TCPAddr); ok && !addr.IP.IsLoopback() && f.server.Keys == nil {
		log.Warn("no API key is asked for: whoever reaches this port can use the model")
	}
	defer f.reloadKeys(log)()
	return f.serveOn(ctx, c, s, l, log)
}

// serveOn loads the model beside the running server. A model that cannot be
// loaded ends the server.
func (f *serveFlags) serveOn(ctx context.Context, c *console, s *server.Server, l net.Listener, log *slog.Logger) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	loaded := make(chan *godwit.Model, 1)
	go func() {
		defer close(loaded)
		f.load.OnEvent = func(e godwit.Event) { report(s, log, e) }
		m, err := f.open(ctx, c)
		if err != nil {
			stop(err)
			return
		}
		log.Info("ready", "seconds", m.LoadSeconds(), "context", m.Context(), "sequences", m.Plan().MaxSequences)
		s.Use(m)
		loaded <- m
	}()
	err := s.Serve(ctx, l)
	stop(nil)
	m, ok := <-loaded
	if ok {
		return errors.Join(err, m.Close())
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// open loads the model, which may have to be fetched first.
func (f *serveFlags) open(ctx context.Context, c *console) (*godwit.Model, error) {
	dir, err := modelDir(ctx, c, f.model, hub.Model)
	if err != nil {
		return nil, err
	}
	return openModel(ctx, dir, f.load)
}

// report passes on what happens while the model is loaded.
func report(s *server.Server, log *slog.Logger, e godwit.Event) {
	switch e.Kind {
	case godwit.Progress:
		s.Progress(e.Done, e.Total)
	case godwit.Warning:
		log.Warn(e.Message)
	default:
		log.Info(e.Message)
	}
}

// names returns the names of the model in requests.
func (f *serveFlags) names() []string {
	switch {
	case len(f.server.Names) > 0:
		return f.server.Names
	case f.model == "":
		return []string{"builtin"}
	}
	if n, ok := repoName(f.model); ok {
		return []string{n.Repo}
	}
	if path, err := filepath.Abs(f.model); err == nil {
		return []string{filepath.Base(path)}
	}
	return []string{f.model}
}

// readKeys collects the keys of flags, environment and file.
func (f *serveFlags) readKeys() error {
	if slices.Contains(f.keys, "") {
		return usageError{errors.New("--api-key is empty, want a key; without the flag none is asked for")}
	}
	list := f.keys
	if key := os.Getenv("GODWIT_API_KEY"); key != "" {
		list = append(list, key)
	}
	if f.keyFile != "" {
		file, err := os.Open(f.keyFile)
		if err != nil {
			return err
		}
		defer file.Close()
		more, err := server.ReadKeys(file)
		if err != nil {
			return fmt.Errorf("%s: %w", f.keyFile, err)
		}
		list = append(list[:len(list):len(list)], more...)
	}
	switch {
	case f.server.Keys != nil:
		f.server.Keys.Set(list...)
	case len(list) > 0 || f.keyFile != "":
		f.server.Keys = server.NewKeys(list...)
	}
	return nil
}

// reloadKeys reads the keys again at each SIGHUP, which otherwise would end
// the process when its terminal is closed. It returns a function that stops.
func (f *serveFlags) reloadKeys(log *slog.Logger) func() {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	go func() {
		for range hup {
			if err := f.readKeys(); err != nil {
				log.Error("the API keys stay as they are", "error", err)
			} else {
				log.Info("SIGHUP: the API keys were read again")
			}
		}
	}()
	return func() {
		signal.Stop(hup)
		close(hup)
	}
}

func (f *serveFlags) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return nil, usageError{fmt.Errorf("--log-level is %q, want debug, info, warn or error", f.logLevel)}
	}
	opts := &slog.HandlerOptions{Level: level}
	switch cmp.Or(f.logFormat, "text") {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, usageError{fmt.Errorf("--log-format is %q, want text or json", f.logFormat)}
}
