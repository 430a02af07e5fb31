package server

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-llm/godwit"
)

// benchModel is wide enough for 128 streams.
func benchModel(b *testing.B) *godwit.Model {
	m, err := godwit.OpenBuiltin(godwit.Options{Device: "cpu", MaxSequences: 128, NoPrefixCache: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { m.Close() })
	return m
}

func benchRequest(tokens int) godwit.Request {
	return godwit.Request{Messages: []godwit.Message{{Role: "user", Content: "Hello"}}, MaxTokens: tokens, IgnoreEOS: true, Sampling: &godwit.Sampling{}}
}

// rawClient reads a stream with as little work as there can be: what is
// measured is the server.
type rawClient struct {
	conn net.Conn
	in   *bufio.Reader
	ask  []byte
}

func newRawClient(b *testing.B, url string, tokens int) *rawClient {
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	body := fmt.Sprintf(`{%s,"stream":true,"ignore_eos":true,"temperature":0,"max_tokens":%d}`, hello, tokens)
	ask := fmt.Sprintf("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	return &rawClient{conn: conn, in: bufio.NewReaderSize(conn, 64<<10), ask: []byte(ask)}
}

// firstText is in the first event with text, and in all behind it.
var firstText = []byte(`"delta":{"content"`)

// run sends the request and reads to the end.
func (c *rawClient) run() error {
	if _, err := c.conn.Write(c.ask); err != nil {
		return err
	}
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if bytes.HasPrefix(line, []byte("data: [DONE]")) {
			_, err := io.CopyN(io.Discard, c.in, int64(len("\n\r\n0\r\n\r\n")))
			return err
		}
	}
}

// watched is a listener that notes when the first text of an answer has been
// written to the connection. What comes after that, until a client's process
// gets to run, is up to the operating system, and takes long where the model
// keeps all cores busy.
type watched struct {
	net.Listener
	first atomic.Pointer[time.Time] // nil: none since the last request
}

// Accept returns a connection that is watched.
func (w *watched) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	return &watchedConn{c, w}, err
}

type watchedConn struct {
	net.Conn
	in *watched
}

// Write notes the time behind the write.
func (c *watchedConn) Write(data []byte) (int, error) {
	n, err := c.Conn.Write(data)
	if c.in.first.Load() == nil && bytes.Contains(data, firstText) {
		now := time.Now()
		c.in.first.Store(&now)
	}
	return n, err
}

// watch serves with a model on a listener of its own.
func watch(b *testing.B, m *godwit.Model) *watched {
	s, err := New(Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	s.Use(m)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	w := &watched{Listener: l}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- s.Serve(ctx, w) }()
	b.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			b.Error(err)
		}
	})
	return w
}

// run returns the time from a request to its first text.
func (w *watched) run(c *rawClient) (time.Duration, error) {
	w.first.Store(nil)
	began := time.Now()
	if err := c.run(); err != nil {
		return 0, err
	}
	return w.first.Load().Sub(began), nil
}

// settle is how long what is left of a request may take before the next one:
// both find the same idle engine.
const settle = 2 * time.Millisecond

// BenchmarkFirstToken compares the time to the first token of an idle engine
// with the same over HTTP, in turns: of answers of one token, and of longer
// ones, where the engine goes on to use all cores while the first is sent.
func BenchmarkFirstToken(b *testing.B) {
	m := benchModel(b)
	w := watch(b, m)
	for _, tokens := range []int{1, 16} {
		b.Run(fmt.Sprintf("of=%d", tokens), func(b *testing.B) {
			c := newRawClient(b, "http://"+w.Addr().String(), tokens)
			defer c.conn.Close() // or the server would wait for it
			var direct, http []time.Duration
			for b.Loop() {
				time.Sleep(settle)
				first, err := firstToken(b.Context(), m, tokens)
				if err != nil {
					b.Fatal(err)
				}
				direct = append(direct, first)
				time.Sleep(settle)
				if first, err = w.run(c); err != nil {
					b.Fatal(err)
				}
				http = append(http, first)
			}
			slices.Sort(direct)
			slices.Sort(http)
			d, h := direct[len(direct)/2].Seconds()*1e3, http[len(http)/2].Seconds()*1e3
			b.ReportMetric(d, "engine-ms")
			b.ReportMetric(h, "http-ms")
			b.ReportMetric(h-d, "added-ms")
		})
	}
}

// firstToken returns the time to the first token of a generation, which it
// reads to its end.
func firstToken(ctx context.Context, m *godwit.Model, tokens int) (first time.Duration, err error) {
	began := time.Now()
	g, err := m.Start(ctx, benchRequest(tokens))
	if err != nil {
		return 0, err
	}
	for range g.Tokens() {
		if first == 0 {
			first = time.Since(began)
		}
	}
	return first, g.Err()
}

// BenchmarkStreams compares the throughput of 128 streams, in turns.
func BenchmarkStreams(b *testing.B) {
	const streams, tokens = 128, 64
	m := benchModel(b)
	ts := start(b, Options{})
	ts.Use(m)
	clients := make([]*rawClient, streams)
	for i := range clients {
		clients[i] = newRawClient(b, ts.url, tokens)
	}
	measure := func(one func(i int) error) time.Duration {
		began := time.Now()
		var all sync.WaitGroup
		for i := range streams {
			all.Go(func() {
				if err := one(i); err != nil {
					b.Error(err)
				}
			})
		}
		all.Wait()
		return time.Since(began)
	}
	var direct, http []time.Duration
	for b.Loop() {
		direct = append(direct, measure(func(int) error {
			_, err := m.Generate(b.Context(), benchRequest(tokens))
			return err
		}))
		http = append(http, measure(func(i int) error { return clients[i].run() }))
	}
	slices.Sort(direct)
	slices.Sort(http)
	d, h := direct[len(direct)/2], http[len(http)/2]
	b.ReportMetric(streams*tokens/d.Seconds(), "engine-tok/s")
	b.ReportMetric(streams*tokens/h.Seconds(), "http-tok/s")
	b.ReportMetric(100*(1-d.Seconds()/h.Seconds()), "lost-%")
}
