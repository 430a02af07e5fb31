package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// load is what the clients ask for.
type load struct {
	url            string
	prompt, decode int // tokens of each request
	vocabulary     int
	concurrency    int
	http           *http.Client
}

// report is what came of it.
type report struct {
	Requests        int     `json:"requests"`
	Seconds         float64 `json:"seconds"` // from the start to the last token
	OutputTokens    int     `json:"output_tokens"`
	TokensPerSecond float64 `json:"output_tokens_per_second"`
	EventsPerToken  float64 `json:"events_per_token"`
	FirstToken      float64 `json:"first_token_seconds_p50"`
}

// answer is what a client saw of a request.
type answer struct {
	prompt, decode int // tokens, as the server counted them
	events         int // with text
	first          time.Duration
}

func (l *load) check() error {
	for _, c := range []struct {
		flag string
		n    int
	}{{"prompt", l.prompt}, {"decode", l.decode}, {"vocabulary", l.vocabulary}, {"concurrency", l.concurrency}} {
		if c.n < 1 {
			return fmt.Errorf("-%s is %d, want at least 1", c.flag, c.n)
		}
	}
	return nil
}

// connect makes the client that keeps a connection for each request in flight.
func (l *load) connect() {
	l.http = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: l.concurrency, DisableCompression: true}}
}

// await waits until the server takes requests.
func (l *load) await(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%s is not ready after %v", l.url, limit))
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url+"/ready", nil)
		if err != nil {
			return err
		}
		if answer, err := l.http.Do(r); err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// measure makes so many requests.
func (l *load) measure(ctx context.Context, requests int, seed uint64) (report, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	answers := make([]answer, requests)
	var next atomic.Int64
	var clients sync.WaitGroup
	start := time.Now()
	for range min(l.concurrency, requests) {
		clients.Go(func() {
			for i := int(next.Add(1)) - 1; i < requests; i = int(next.Add(1)) - 1 {
				var err error
				if answers[i], err = l.one(ctx, l.body(seed, i)); err != nil {
					stop(fmt.Errorf("request %d: %w", i, err))
					return
				}
			}
		})
	}
	clients.Wait()
	return l.sum(answers, time.Since(start)), context.Cause(ctx)
}

// sum makes a report.
func (l *load) sum(answers []answer, took time.Duration) report {
	r := report{Requests: len(answers), Seconds: took.Seconds()}
	var firsts []float64
	events := 0
	for _, a := range answers {
		r.OutputTokens += a.decode
		events += a.events
		firsts = append(firsts, a.first.Seconds())
	}
	slices.Sort(firsts)
	r.TokensPerSecond = float64(r.OutputTokens) / r.Seconds
	r.EventsPerToken = float64(events) / float64(max(r.OutputTokens, 1))
	if len(firsts) > 0 {
		r.FirstToken = firsts[len(firsts)/2]
	}
	return r
}

// body writes a request.
func (l *load) body(seed uint64, i int) []byte {
	rng := rand.New(rand.NewPCG(seed, uint64(i)))
	b := fmt.Appendf(nil, `{"stream":true,"stream_options":{"include_usage":true},"ignore_eos":true,"temperature":0,"max_tokens":%d,"prompt":[`, l.decode)
	for k := range l.prompt {
		if k > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(rng.IntN(l.vocabulary)), 10)
	}
	return append(b, "]}"...)
}

// one makes a request and reads its events to the end. Of an event it looks at
// no more than it must, for what is measured is the server.
func (l *load) one(ctx context.Context, body []byte) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url+"/v1/completions", bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	r.Header.Set("Content-Type", "application/json")
	start := time.Now()
	reply, err := l.http.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(reply.Body, 1000))
		return answer{}, fmt.Errorf("got status %s: %s", reply.Status, bytes.TrimSpace(text))
	}
	a, err := read(reply.Body, start)
	if err == nil && (a.prompt != l.prompt || a.decode != l.decode) {
		err = fmt.Errorf("got %d tokens for a prompt of %d, want %d for %d", a.decode, a.prompt, l.decode, l.prompt)
	}
	return a, err
}

var (
	data     = []byte("data: ")
	done     = []byte("[DONE]")
	noChoice = []byte(`"choices":[]`)
)

// read follows the events of a stream. The last but one says how many tokens there
// were, and holds no choice.
func read(stream io.Reader, start time.Time) (answer, error) {
	var a answer
	in := bufio.NewReaderSize(stream, 16<<10)
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return a, fmt.Errorf("after %d events: %w", a.events, err)
		}
		event, ok := bytes.CutPrefix(line, data)
		switch {
		case !ok: // the end of an event, or a comment
		case bytes.HasPrefix(event, done):
			_, err := io.Copy(io.Discard, in) // the connection serves again
			return a, err
		case bytes.Contains(event, noChoice):
			if err := a.count(event); err != nil {
				return a, err
			}
		default:
			if a.events++; a.events == 1 {
				a.first = time.Since(start)
			}
		}
	}
}

// count takes the numbers of tokens from the event that has them.
func (a *answer) count(event []byte) error {
	var e struct {
		Usage *struct {
			PromptTokens     int `json:"prompt_tokens"`
			CompletionTokens int `json:"completion_tokens"`
		} `json:"usage"`
	}
	if err := json.Unmarshal(event, &e); err != nil {
		return err
	}
	if e.Usage == nil {
		return errors.New("an event without a choice has no usage")
	}
	a.prompt, a.decode = e.Usage.PromptTokens, e.Usage.CompletionTokens
	return nil
}
