package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-llm/godwit"
)

// benchModel is wide enough for 128 streams.
func benchServer(b *testing.B) (*testServer, *godwit.Model) {
	m, err := godwit.OpenBuiltin(godwit.Options{Device: "cpu", MaxSequences: 128, NoPrefixCache: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { m.Close() })
	ts := start(b, Options{})
	ts.Use(m)
	return ts, m
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

func newRawClient(url string, tokens int) (*rawClient, error) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		return nil, err
	}
	body := fmt.Sprintf(`{%s,"stream":true,"ignore_eos":true,"temperature":0,"max_tokens":%d}`, hello, tokens)
	ask := fmt.Sprintf("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	return &rawClient{conn: conn, in: bufio.NewReaderSize(conn, 64<<10), ask: []byte(ask)}, nil
}

// run sends the request and reads to the end; first is called at the first
// text.
func (c *rawClient) run(first func()) error {
	if _, err := c.conn.Write(c.ask); err != nil {
		return err
	}
	for texts := 0; ; {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		switch {
		case bytes.HasPrefix(line, []byte("data: [DONE]")):
			_, err := io.CopyN(io.Discard, c.in, int64(len("\n\r\n0\r\n\r\n")))
			return err
		case texts == 0 && bytes.Contains(line, []byte(`"delta":{"content"`)):
			texts++
			first()
		}
	}
}

// clientAddress and clientTokens tell the test binary to be a clientProcess.
const (
	clientAddress = "GODWIT_BENCH_CLIENT"
	clientTokens  = "GODWIT_BENCH_TOKENS"
)

// clientProcess is a client in a process of its own, as clients are. One in
// the server's process would wait for the server's own scheduler, which looks
// at the network only when a processor has nothing else to do.
type clientProcess struct {
	in  io.Writer
	out *bufio.Reader
}

func startClient(b *testing.B, url string, tokens int) *clientProcess {
	cmd := exec.CommandContext(b.Context(), os.Args[0], "-test.run=^TestBenchClient$")
	cmd.Env = append(os.Environ(), clientAddress+"="+url, fmt.Sprintf("%s=%d", clientTokens, tokens))
	cmd.Stderr = os.Stderr
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	return &clientProcess{in: in, out: bufio.NewReader(out)}
}

// run has the client send a request and read the whole answer. It returns the
// time to the first text.
func (c *clientProcess) run() (first time.Duration, err error) {
	if _, err := io.WriteString(c.in, "\n"); err != nil {
		return 0, err
	}
	_, err = fmt.Fscanln(c.out, &first)
	return first, err
}

// TestBenchClient is the other side of a clientProcess.
func TestBenchClient(t *testing.T) {
	url := os.Getenv(clientAddress)
	if url == "" {
		t.Skip("not started by a benchmark")
	}
	tokens, err := strconv.Atoi(os.Getenv(clientTokens))
	if err != nil {
		t.Fatal(err)
	}
	c, err := newRawClient(url, tokens)
	if err != nil {
		t.Fatal(err)
	}
	defer c.conn.Close()
	for asked := bufio.NewScanner(os.Stdin); asked.Scan(); {
		began := time.Now()
		var first time.Duration
		if err := c.run(func() { first = time.Since(began) }); err != nil {
			t.Fatal(err)
		}
		fmt.Println(int64(first))
	}
}

// BenchmarkFirstToken compares the time to the first token of an idle engine
// with the same over HTTP, in turns: of answers of one token, and of longer
// ones, where the engine goes on to use all cores while the first is sent.
func BenchmarkFirstToken(b *testing.B) {
	ts, m := benchServer(b)
	for _, tokens := range []int{1, 16} {
		b.Run(fmt.Sprintf("of=%d", tokens), func(b *testing.B) {
			c := startClient(b, ts.url, tokens)
			var direct, http []time.Duration
			for b.Loop() {
				first, err := firstToken(b.Context(), m, tokens)
				if err != nil {
					b.Fatal(err)
				}
				direct = append(direct, first)
				if first, err = c.run(); err != nil {
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
	ts, m := benchServer(b)
	clients := make([]*rawClient, streams)
	for i := range clients {
		var err error
		if clients[i], err = newRawClient(ts.url, tokens); err != nil {
			b.Fatal(err)
		}
		defer clients[i].conn.Close()
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
		http = append(http, measure(func(i int) error { return clients[i].run(func() {}) }))
	}
	slices.Sort(direct)
	slices.Sort(http)
	d, h := direct[len(direct)/2], http[len(http)/2]
	b.ReportMetric(streams*tokens/d.Seconds(), "engine-tok/s")
	b.ReportMetric(streams*tokens/h.Seconds(), "http-tok/s")
	b.ReportMetric(100*(1-d.Seconds()/h.Seconds()), "lost-%")
}
