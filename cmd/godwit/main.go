// Command godwit runs Hugging Face safetensors checkpoints: it generates text,
// tokenizes, renders chat templates, scores, inspects and measures, and fetches
// and converts models.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/godwit-llm/godwit"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// execute runs one command line and returns the exit status.
func execute(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	root := newRoot(&console{in: waiting{ctx, in}, out: out, err: errOut, typed: isTerminal(in)})
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(errOut, "godwit: "+err.Error())
		var usage usageError
		if _, _, unknown := root.Find(args); unknown != nil || errors.As(err, &usage) {
			return 2
		}
		return 1
	}
	return 0
}

// usageError is a command line that does not make sense.
type usageError struct{ error }

// console is where a command reads and writes.
type console struct {
	in       io.Reader
	out, err io.Writer
	typed    bool // in is a terminal
}

// isTerminal reports whether a reader or writer is one.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// waiting is a reader whose reads end with ctx: one that waits for a terminal
// or a pipe would outlive Ctrl-C.
type waiting struct {
	ctx context.Context
	in  io.Reader
}

func (w waiting) Read(p []byte) (int, error) {
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	go func() {
		n, err := w.in.Read(p)
		done <- result{n, err}
	}()
	select {
	case r := <-done:
		return r.n, r.err
	case <-w.ctx.Done():
		return 0, context.Cause(w.ctx)
	}
}

// logger writes what a user should know to stderr, without time stamps.
func (c *console) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func newRoot(c *console) *cobra.Command {
	root := &cobra.Command{
		Use:   "godwit",
		Short: "Run Hugging Face safetensors checkpoints of the Nemotron family and its relatives",
		Long: `Godwit runs Hugging Face safetensors checkpoints as they are published: the
NVIDIA Nemotron family and its Llama-like relatives. A small model is built in,
so that this works at once:

  godwit run "Once upon a time"`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see '%s --help'", err, cmd.CommandPath())}
	})
	root.AddCommand(
		runCommand(c), chatCommand(c), tokenizeCommand(c), renderCommand(c), scoreCommand(c), inspectCommand(c), serveCommand(c), benchCommand(c),
		pullCommand(c), listCommand(c), removeCommand(c), convertCommand(c), versionCommand(c),
	)
	return root
}

func versionCommand(c *console) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(c.out, "godwit %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// version is the module's version, or the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no arguments, got %q", cmd.CommandPath(), args)}
	}
	return nil
}

// speculateFlag registers --speculate.
func speculateFlag(cmd *cobra.Command, to *string) {
	*to = "off"
	fl := cmd.Flags()
	fl.Var(speculation{to}, "speculate", "auto or off: guess from the text so far what follows, and verify several tokens at once where that is faster; the text is the same")
	fl.Lookup("speculate").NoOptDefVal = "auto"
}

// speculation is the value of --speculate.
type speculation struct{ to *string }

func (s speculation) String() string { return *s.to }

func (s speculation) Type() string { return "string" }

func (s speculation) Set(value string) error {
	if value != "auto" && value != "off" {
		return errors.New("want auto or off")
	}
	*s.to = value
	return nil
}

// dtypeHelp explains --dtype.
const dtypeHelp = "type that a GPU computes in: float32, bfloat16, float16, or auto, the one most weights are stored in"

// stateTypeHelp explains --state-type.
const stateTypeHelp = "type that the states of recurrences are kept in: float32, or float16, in half the memory and a little less exact (default: float32)"

// openModel opens a directory, or the built-in model for "".
func openModel(ctx context.Context, dir string, opts godwit.Options) (*godwit.Model, error) {
	opts = withLibraries(opts)
	return await(ctx, func() (*godwit.Model, error) {
		if dir == "" {
			return godwit.OpenBuiltin(opts)
		}
		return godwit.Open(dir, opts)
	})
}

// await returns what open returns. When ctx ends first it does not wait: the
// process is about to end.
func await(ctx context.Context, open func() (*godwit.Model, error)) (*godwit.Model, error) {
	type opened struct {
		m   *godwit.Model
		err error
	}
	done := make(chan opened, 1)
	go func() {
		m, err := open()
		done <- opened{m, err}
	}()
	select {
	case o := <-done:
		return o.m, o.err
	case <-ctx.Done():
		return nil, errors.New("cancelled while the model was being loaded")
	}
}

// withLibraries says which libraries to use, and where they may be.
func withLibraries(opts godwit.Options) godwit.Options {
	opts.LibraryDirs = libraryDirs()
	opts.NoCUBLASLt = os.Getenv("GODWIT_NO_CUBLASLT") != ""
	return opts
}

// libraryDirs returns where the CUDA toolkit may be installed.
func libraryDirs() []string {
	var dirs []string
	for _, name := range []string{"CUDA_HOME", "CUDA_PATH"} {
		if root := os.Getenv(name); root != "" {
			dirs = append(dirs, filepath.Join(root, "lib64"), filepath.Join(root, "bin"), root)
		}
	}
	return dirs
}
