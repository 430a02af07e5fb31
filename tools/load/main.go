// Command load puts a mixed random load on a model for a while: conversations
// that go on, prompts that share beginnings, cancelled and refused requests,
// priorities, embeddings, scores, pinned prefixes. It fails when a request
// fails, when the same request yields something else than before, or when
// memory grows.
//
//	go run ./tools/load -duration 1h
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"time"

	"github.com/godwit-llm/godwit"
)

func main() {
	dir := flag.String("model", "", "directory of a checkpoint; the built-in model if empty")
	device := flag.String("device", "cpu", "auto, cpu, cuda or cuda:N")
	speculation := flag.String("speculate", "off", "auto or off: verify drafts")
	duration := flag.Duration("duration", time.Hour, "how long")
	clients := flag.Int("clients", 24, "requests at the same time")
	seed := flag.Uint64("seed", 1, "of the load")
	exact := flag.Bool("exact", true, "the same request must yield the same ids; true of the CPU alone")
	flag.Parse()
	opts := godwit.Options{Device: *device, Speculation: *speculation, Context: 768, MaxSequences: 8, QueueLimit: *clients * 3 / 4}
	if err := run(*dir, opts, *duration, *clients, *seed, *exact); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(dir string, opts godwit.Options, duration time.Duration, clients int, seed uint64, exact bool) error {
	open := godwit.OpenBuiltin
	if dir != "" {
		open = func(o godwit.Options) (*godwit.Model, error) { return godwit.Open(dir, o) }
	}
	m, err := open(opts)
	if err != nil {
		return err
	}
	defer m.Close()
	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(interrupted, duration, errOver)
	defer cancel()
	l := newLoad(m, exact)
	var group sync.WaitGroup
	for i := range clients {
		group.Go(func() { l.client(ctx, cancel, seed+uint64(i)) })
	}
	grown := l.watch(ctx, duration)
	group.Wait()
	if err := errors.Join(l.failure(), l.settle(), grown); err != nil {
		return err
	}
	fmt.Println("no error")
	return nil
}

var errOver = errors.New("the time is over")

// settle drains the model and looks for what is still held.
func (l *load) settle() error {
	if err := l.m.Drain(context.Background()); err != nil {
		return err
	}
	m := l.m.Metrics()
	if m.FreePages+m.CachedPages+m.PinnedPages != m.Pages || m.FreeSlots != m.Slots || m.Queued+m.Running != 0 {
		return fmt.Errorf("after the load something is held: %d of %d pages free, %d cached, %d pinned, %d of %d slots free",
			m.FreePages, m.Pages, m.CachedPages, m.PinnedPages, m.FreeSlots, m.Slots)
	}
	if n := m.Finished + m.Cancelled + m.Failed; n != m.Submitted || m.Failed > 0 {
		return fmt.Errorf("%d requests submitted, %d finished, %d cancelled, %d failed", m.Submitted, m.Finished, m.Cancelled, m.Failed)
	}
	return nil
}

// watch prints the state every so often until the end. It returns an error if
// memory has grown since a third of the time was over.
func (l *load) watch(ctx context.Context, duration time.Duration) error {
	start := time.Now()
	tick := time.NewTicker(max(duration/60, 5*time.Second))
	defer tick.Stop()
	var settled, last usage
	for {
		select {
		case <-ctx.Done():
			if over := last.resident - settled.resident; settled.resident > 0 && over > settled.resident/10+16<<20 {
				return fmt.Errorf("memory grew from %s to %s", godwit.Bytes(settled.resident), godwit.Bytes(last.resident))
			}
			return nil
		case <-tick.C:
		}
		last = measure()
		elapsed := time.Since(start)
		if settled.resident == 0 && elapsed > duration/3 {
			settled = last
		}
		l.print(elapsed, last)
	}
}

func (l *load) print(elapsed time.Duration, u usage) {
	m := l.m.Metrics()
	p := m.Prefixes
	fmt.Printf("%6s  resident %s, heap %s, %d goroutines; %d requests finished, %d cancelled, %d refused, %d preemptions; "+
		"%d queued, %d running; tokens: %d prompt, %d reused, %d out, %d of %d drafted ones accepted; lookups: %d hit, %d partial, %d no snapshot, %d evicted, %d short, %d miss; "+
		"pages: %d free, %d cached, %d pinned; %d snapshots; first token %.0f ms, next %.1f ms (median), step %.1f ms\n",
		elapsed.Round(time.Second), godwit.Bytes(u.resident), godwit.Bytes(u.heap), runtime.NumGoroutine(),
		m.Finished, m.Cancelled, m.Refused, m.Preempted, m.Queued, m.Running, m.PromptTokens, m.ReusedTokens, m.OutputTokens, m.AcceptedTokens, m.DraftedTokens,
		p.Hit, p.Partial, p.NoSnapshot, p.Evicted, p.TooShort, p.Miss, m.FreePages, m.CachedPages, m.PinnedPages, m.Snapshots,
		1e3*m.FirstToken.Quantile(0.5), 1e3*m.InterToken.Quantile(0.5), 1e3*m.StepTime.Quantile(0.5))
}

// usage is the memory of the process.
type usage struct{ resident, heap int64 }

// measure collects garbage first, so that what is left is in use.
func measure() usage {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	u := usage{heap: int64(s.HeapAlloc), resident: int64(s.Sys - s.HeapReleased)}
	if data, err := os.ReadFile("/proc/self/statm"); err == nil { // Linux
		var size, resident int64
		if _, err := fmt.Sscan(string(data), &size, &resident); err == nil {
			u.resident = resident * int64(os.Getpagesize())
		}
	}
	return u
}
