package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-llm/godwit"
)

var loadClients = flag.Int("clients", 60, "concurrent clients of TestLoad")

// client is one of many that use a server at the same time.
type client struct {
	url   string
	http  *http.Client
	event time.Duration // to the first event
	first time.Duration // to the first piece of text
}

func (c *client) post(ctx context.Context, body string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, "POST", c.url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	return c.http.Do(r)
}

// whole streams an answer and asks for all that was promised: every token, the
// reason, the usage and the end.
func (c *client) whole(ctx context.Context, tokens int, pause time.Duration) error {
	started := time.Now()
	answer, err := c.post(ctx, fmt.Sprintf(`{%s,"stream":true,"ignore_eos":true,"max_tokens":%d,"stream_options":{"include_usage":true}}`, hello, tokens))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != 200 {
		data, _ := io.ReadAll(answer.Body)
		return fmt.Errorf("status %d: %s", answer.StatusCode, data)
	}
	lines, last, reason := bufio.NewScanner(answer.Body), chatChunk{}, ""
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if data == "[DONE]" {
			if last.Usage == nil || last.Usage.CompletionTokens != tokens || reason != "length" {
				return fmt.Errorf("the answer ends with %+v and %q, want %d tokens", last, reason, tokens)
			}
			return nil
		}
		if c.event == 0 {
			c.event = time.Since(started)
		}
		last = chatChunk{}
		if err := json.Unmarshal([]byte(data), &last); err != nil {
			return fmt.Errorf("%s: %w", data, err)
		}
		if len(last.Choices) > 0 {
			if last.Choices[0].Delta.Role == "" && c.first == 0 {
				c.first = time.Since(started)
			}
			if r := last.Choices[0].FinishReason; r != nil {
				reason = *r
			}
		}
		time.Sleep(pause)
	}
	return errors.Join(errors.New("the answer ends without [DONE]"), lines.Err())
}

// leave goes away in the middle of an answer.
func (c *client) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, rand.N(300*time.Millisecond))
	defer cancel()
	if answer, err := c.post(ctx, long); err == nil {
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
	}
	return nil
}

// babble sends what is no request.
func (c *client) babble(ctx context.Context) error {
	junk := make([]byte, rand.N(2000))
	for i := range junk {
		junk[i] = byte(rand.N(256))
	}
	answer, err := c.post(ctx, string(junk))
	if err != nil {
		return err
	}
	answer.Body.Close()
	if answer.StatusCode != 400 {
		return fmt.Errorf("status %d for junk, want 400", answer.StatusCode)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
	if err != nil {
		return err
	}
	conn.Write(junk)
	return conn.Close()
}

// crowd lets n clients act at the same time and returns how long each waited
// for its first event and its first text.
func crowd(t *testing.T, url string, n int, act func(i int, c *client) error) (events, texts []time.Duration) {
	t.Helper()
	shared := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n}}
	defer shared.CloseIdleConnections()
	var (
		all sync.WaitGroup
		mu  sync.Mutex
	)
	for i := range n {
		all.Go(func() {
			c := &client{url: url, http: shared}
			err := act(i, c)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("client %d: %v", i, err)
			}
			if c.first > 0 {
				events, texts = append(events, c.event), append(texts, c.first)
			}
		})
	}
	all.Wait()
	slices.Sort(events)
	slices.Sort(texts)
	return events, texts
}

// TestLoad: many clients, some of which leave, babble or read slowly. All
// others get what they were promised, and nothing is left behind.
func TestLoad(t *testing.T) {
	m, err := godwit.OpenBuiltin(godwit.Options{Device: "cpu", MaxSequences: 32, QueueLimit: 2 * *loadClients})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ts := start(t, Options{})
	ts.Use(m)
	_, warm := crowd(t, ts.url, 8, func(_ int, c *client) error { return c.whole(t.Context(), 4, 0) })
	before, routines := heap(), runtime.NumGoroutine()
	most := uint64(0)
	done := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for most = before; ; {
			select {
			case <-done:
				return
			case <-time.After(500 * time.Millisecond):
				most = max(most, heap())
			}
		}
	}()
	began := time.Now()
	events, texts := crowd(t, ts.url, *loadClients, func(i int, c *client) error {
		switch i % 20 {
		case 3:
			return c.leave(t.Context())
		case 7:
			return c.babble(t.Context())
		case 11:
			return c.whole(t.Context(), 20, 5*time.Millisecond)
		}
		return c.whole(t.Context(), 20, 0)
	})
	took := time.Since(began)
	close(done)
	<-watched
	waitFor(t, "the engine to be idle", func() bool { e := m.Metrics(); return e.Queued+e.Running == 0 })
	waitFor(t, "all connections to end", func() bool { return runtime.NumGoroutine() <= routines+10 })
	after := heap()
	t.Logf("%d clients in %v: first event p50 %v, p99 %v; first text p50 %v, p99 %v (idle %v); heap %d MiB before, %d at most, %d after", *loadClients, took.Round(time.Millisecond),
		at(events, 0.5), at(events, 0.99), at(texts, 0.5), at(texts, 0.99), at(warm, 0.5), before>>20, most>>20, after>>20)
	if after > before+16<<20 {
		t.Errorf("the heap grew from %d to %d bytes", before, after)
	}
}

func at(sorted []time.Duration, q float64) time.Duration {
	return sorted[int(q*float64(len(sorted)-1))].Round(time.Millisecond)
}

func heap() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// TestStopUnderLoad: whoever was let in before the signal gets a whole answer.
func TestStopUnderLoad(t *testing.T) {
	ts := startBuiltin(t, Options{DrainTimeout: 10 * time.Minute})
	running := make(chan struct{}, 100)
	go func() {
		for range 24 {
			<-running
		}
		ts.stop()
	}()
	crowd(t, ts.url, 24, func(_ int, c *client) error {
		c.http = &http.Client{Transport: telling{c.http.Transport, running}}
		return c.whole(t.Context(), 60, 0)
	})
	if err := <-ts.served; err != nil {
		t.Errorf("got %v, want that it stopped", err)
	}
	ts.served <- nil
}

// telling says when the headers of an answer are there.
type telling struct {
	http.RoundTripper
	running chan<- struct{}
}

func (t telling) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := t.RoundTripper.RoundTrip(r)
	t.running <- struct{}{}
	return answer, err
}
