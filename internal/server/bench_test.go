package server

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
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

// BenchmarkFirstToken compares the time to the first token of an idle engine
// with the same over HTTP, in turns: of answers of one token, and of longer
// ones, where the engine goes on to use all cores while the first is sent.
func BenchmarkFirstToken(b *testing.B) {
	ts, m := benchServer(b)
	for _, tokens := range []int{1, 16} {
		b.Run(fmt.Sprintf("of=%d", tokens), func(b *testing.B) {
			c := newRawClient(b, ts.url, tokens)
			var direct, http []time.Duration
			for b.Loop() {
				began := time.Now()
				g, err := m.Start(b.Context(), benchRequest(tokens))
				if err != nil {
					b.Fatal(err)
				}
				first := true
				for range g.Tokens() {
					if first {
						direct, first = append(direct, time.Since(began)), false
					}
				}
				began = time.Now()
				if err := c.run(func() { http = append(http, time.Since(began)) }); err != nil {
					b.Fatal(err)
				}
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

// BenchmarkStreams compares the throughput of 128 streams, in turns.
func BenchmarkStreams(b *testing.B) {
	const streams, tokens = 128, 64
	ts, m := benchServer(b)
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
		http = append(http, measure(func(i int) error { return clients[i].run(func() {}) }))
	}
	slices.Sort(direct)
	slices.Sort(http)
	d, h := direct[len(direct)/2], http[len(http)/2]
	b.ReportMetric(streams*tokens/d.Seconds(), "engine-tok/s")
	b.ReportMetric(streams*tokens/h.Seconds(), "http-tok/s")
	b.ReportMetric(100*(1-d.Seconds()/h.Seconds()), "lost-%")
}
