package main

import (
	"log/slog"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/godwit-llm/godwit"
)

// loadBar shows what Open tells: a bar on a terminal, a line for what a user
// should know.
type loadBar struct {
	console *console
	log     *slog.Logger
	bar     *progressbar.ProgressBar // nil until there is something to show
}

func newLoadBar(c *console) *loadBar { return &loadBar{console: c, log: c.logger()} }

// shown is the size from which loading takes long enough for a bar.
const shown = 256 << 20

func (b *loadBar) event(e godwit.Event) {
	switch e.Kind {
	case godwit.Progress:
		b.progress(e)
	case godwit.Info:
		b.done()
		b.log.Info(e.Message)
	case godwit.Warning:
		b.done()
		b.log.Warn(e.Message)
	}
}

func (b *loadBar) progress(e godwit.Event) {
	file, ok := b.console.err.(*os.File)
	if !ok || e.Total < shown || !term.IsTerminal(int(file.Fd())) {
		return
	}
	if b.bar == nil {
		b.bar = progressbar.NewOptions64(e.Total,
			progressbar.OptionSetWriter(file), progressbar.OptionShowBytes(true),
			progressbar.OptionSetDescription("loading"), progressbar.OptionThrottle(50*time.Millisecond),
			progressbar.OptionClearOnFinish())
	}
	b.bar.Set64(e.Done)
}

// done takes the bar off the screen.
func (b *loadBar) done() {
	if b.bar != nil {
		b.bar.Finish()
		b.bar = nil
	}
}
