package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

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
	*byteBar
	log     *slog.Logger
	fetched bool
}

func newPullBar(c *console, n hub.Name) *pullBar {
	return &pullBar{byteBar: newByteBar(c, n.String()), log: c.logger()}
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
		if !isTrue("HF_HUB_DISABLE_PROGRESS_BARS") {
			b.show(e.Done, e.Total)
		}
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
