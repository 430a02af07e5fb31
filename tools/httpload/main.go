// Command httpload puts load on a server over HTTP and prints how many tokens it
// streams: the closed loop of godwit bench --concurrency, with lengths that are all
// the same, for the two to be compared. See bench/http.sh.
//
//	httpload -url http://127.0.0.1:8000 -prompt 512 -decode 256 -concurrency 128 -requests 384
//
// So many clients each send a request, read its events to the end, and send the
// next one. Prompts are random ids; the most likely tokens are taken, and the end
// of a text is no end. The last line is JSON. An answer that fails, or has other
// lengths than asked for, is an error.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

func main() {
	var l load
	flag.StringVar(&l.url, "url", "http://127.0.0.1:8000", "of the server")
	flag.IntVar(&l.prompt, "prompt", 512, "tokens of each prompt")
	flag.IntVar(&l.decode, "decode", 256, "new tokens of each request")
	flag.IntVar(&l.vocabulary, "vocabulary", 1000, "prompts are made of ids below this")
	flag.IntVar(&l.concurrency, "concurrency", 128, "requests in flight")
	requests := flag.Int("requests", 0, "that are measured (default: 8 for each in flight)")
	warmup := flag.Int("warmup", 0, "requests before those (default: one for each in flight)")
	seed := flag.Uint64("seed", 1, "of the prompts")
	wait := flag.Duration("wait", time.Minute, "for the server to be ready")
	flag.Parse()
	if *requests == 0 {
		*requests = 8 * l.concurrency
	}
	if *warmup == 0 {
		*warmup = l.concurrency
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, &l, *warmup, *requests, *seed, *wait); err != nil {
		fmt.Fprintln(os.Stderr, "httpload:", err)
		os.Exit(1)
	}
}

// run warms up, measures and prints.
func run(ctx context.Context, l *load, warmup, requests int, seed uint64, wait time.Duration) error {
	if err := l.check(); err != nil {
		return err
	}
	l.connect()
	if err := l.await(ctx, wait); err != nil {
		return err
	}
	if _, err := l.measure(ctx, warmup, seed+1); err != nil {
		return fmt.Errorf("warm-up: %w", err)
	}
	r, err := l.measure(ctx, requests, seed)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}
