package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/godwit-llm/godwit"
	"github.com/godwit-llm/godwit/internal/hub"
)

func pullCommand(c *console) *cobra.Command {
	return &cobra.Command{
		Use:   "pull ORG/NAME[@REVISION]",
		Short: "Fetch a model from the Hugging Face Hub, or bring it up to date",
		Long: `Fetch what Godwit needs of a model from the Hugging Face Hub into the cache that
Hugging Face's own programs share, and print the directory. What is there
already is not fetched again; an interrupted pull goes on where it ended.

The usual environment variables count: HF_TOKEN or HF_TOKEN_PATH for gated and
private models (or 'hf auth login'), HF_ENDPOINT for a mirror, HF_HOME or
HF_HUB_CACHE for another place, HF_HUB_DOWNLOAD_TIMEOUT for slow connections,
HTTPS_PROXY for a proxy.`,
		Example: `  godwit pull nvidia/NVIDIA-Nemotron-Nano-9B-v2
  godwit pull nvidia/Nemotron-Mini-4B-Instruct@main`,
		Args: oneRepo,
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := hub.ParseName(args[0])
			if err != nil {
				return usageError{err}
			}
			if offline() {
				return errors.New("pull: HF_HUB_OFFLINE forbids to fetch anything")
			}
			client, err := hubClient(c)
			if err != nil {
				return err
			}
			s, err := fetch(cmd.Context(), c, client, n, hub.Model)
			if err != nil {
				return err
			}
			if err := checkWeights(n, s); err != nil {
				c.logger().Warn(err.Error())
			}
			_, err = fmt.Fprintln(c.out, s.Dir)
			return err
		},
	}
}

func oneRepo(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{fmt.Errorf("%s wants one name, ORG/NAME or ORG/NAME@REVISION, got %d", cmd.CommandPath(), len(args))}
	}
	return nil
}

// fetch pulls and shows how it goes.
func fetch(ctx context.Context, c *console, client *hub.Client, n hub.Name, want hub.Want) (hub.Snapshot, error) {
	bar := newPullBar(c, n)
	client.OnEvent = bar.event
	s, err := client.Pull(ctx, n, want)
	bar.done()
	if err == nil && !bar.fetched {
		fmt.Fprintf(c.err, "%s is up to date\n", n)
	}
	return s, err
}

// pullBar shows a pull: one bar for all files on a terminal, else a line for
// each file and now and then one for a long wait.
type pullBar struct {
	console  *console
	log      *slog.Logger
	terminal *os.File // nil if there is none
	name     string
	bar      *progressbar.ProgressBar // nil until there is something to show
	fetched  bool
	last     time.Time // of the last line
}

func newPullBar(c *console, n hub.Name) *pullBar {
	b := &pullBar{console: c, log: c.logger(), name: n.String(), last: time.Now()}
	if f, ok := c.err.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		b.terminal = f
	}
	return b
}

func (b *pullBar) event(e hub.Event) {
	switch e.Kind {
	case hub.Notice:
		b.done()
		b.log.Warn(e.Message)
	case hub.Fetched:
		b.fetched = true
		if b.terminal == nil {
			b.line("fetched %s, %v", e.File, godwit.Bytes(e.Size))
		}
	case hub.Progress:
		b.progress(e)
	}
}

// often is how often a line says how far a long file is.
const often = 10 * time.Second

func (b *pullBar) progress(e hub.Event) {
	switch {
	case e.Total == 0 || isTrue("HF_HUB_DISABLE_PROGRESS_BARS"):
	case b.terminal != nil:
		b.draw(e)
	case time.Since(b.last) > often:
		b.line("%v of %v, %d %%", godwit.Bytes(e.Done), godwit.Bytes(e.Total), 100*e.Done/e.Total)
	}
}

func (b *pullBar) line(format string, args ...any) {
	b.last = time.Now()
	fmt.Fprintf(b.console.err, format+"\n", args...)
}

func (b *pullBar) draw(e hub.Event) {
	if b.bar == nil {
		b.bar = progressbar.NewOptions64(e.Total,
			progressbar.OptionSetWriter(b.terminal), progressbar.OptionShowBytes(true),
			progressbar.OptionSetDescription(b.name), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
		b.bar.Set64(e.Done) // what was there is not part of the speed
		b.bar.StartWithoutRender()
	}
	b.bar.Set64(e.Done)
}

// done takes the bar off the screen.
func (b *pullBar) done() {
	if b.bar != nil {
		b.bar.Exit()
		b.bar.Clear()
		b.bar = nil
	}
}

// short is the part of a commit by which people tell commits apart.
func short(commit string) string { return commit[:min(len(commit), 12)] }

// revisions joins the names of a commit.
func revisions(e hub.Entry) string {
	if len(e.Revisions) == 0 {
		return "-"
	}
	return strings.Join(e.Revisions, ", ")
}

// state says what of a model is there.
func state(e hub.Entry) string {
	switch {
	case e.Snapshot.Weights == hub.PyTorch:
		return "to be converted"
	case e.Snapshot.Weights == hub.Adapter:
		return "adapter"
	case e.Snapshot.Weights == hub.Safetensors && exists(filepath.Join(e.Snapshot.Dir, "config.json")):
		return "ready"
	case e.Snapshot.Weights == hub.NoWeights:
		return "no weights"
	}
	return "incomplete"
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
