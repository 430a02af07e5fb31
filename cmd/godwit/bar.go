package main

import (
	"fmt"
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

// byteBar shows how much of a long piece of work is done: a bar on a terminal,
// else a line now and then.
type byteBar struct {
	console  *console
	terminal *os.File // nil if there is none
	name     string
	bar      *progressbar.ProgressBar // nil until there is something to show
	last     time.Time                // of the last line
}

func newByteBar(c *console, name string) *byteBar {
	b := &byteBar{console: c, name: name, last: time.Now()}
	if f, ok := c.err.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		b.terminal = f
	}
	return b
}

// often is how often a line says how far it is.
const often = 10 * time.Second

func (b *byteBar) show(done, total int64) {
	switch {
	case total == 0:
	case b.terminal != nil:
		b.draw(done, total)
	case time.Since(b.last) > often:
		b.line("%v of %v, %d %%", godwit.Bytes(done), godwit.Bytes(total), 100*done/total)
	}
}

func (b *byteBar) line(format string, args ...any) {
	b.last = time.Now()
	fmt.Fprintf(b.console.err, format+"\n", args...)
}

func (b *byteBar) draw(done, total int64) {
	if b.bar == nil {
		b.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(b.terminal), progressbar.OptionShowBytes(true),
			progressbar.OptionSetDescription(b.name), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
		b.bar.Set64(done)
		b.bar.StartWithoutRender() // what was there is not part of the speed
	}
	b.bar.Set64(done)
}

// done takes the bar off the screen.
func (b *byteBar) done() {
	if b.bar != nil {
		b.bar.Exit()
		b.bar.Clear()
		b.bar = nil
	}
}
