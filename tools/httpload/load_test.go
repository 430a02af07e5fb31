package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// body is what a request asks for.
type body struct {
	Stream    bool    `json:"stream"`
	IgnoreEOS bool    `json:"ignore_eos"`
	MaxTokens int     `json:"max_tokens"`
	Prompt    []int32 `json:"prompt"`
}

// event is one of a completion's.
const event = `data: {"choices":[{"index":0,"text":"word"}]}` + "\n\n"

// serve answers with the events that tokens come to, and says that it was so many
// more tokens.
func serve(t *testing.T, more int, calls *atomic.Int64) *load {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /v1/completions", func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		var b body
		if err := json.NewDecoder(r.Body).Decode(&b); err != nil || !b.Stream || !b.IgnoreEOS {
			http.Error(w, "what is this?", http.StatusBadRequest)
			return
		}
		for _, id := range b.Prompt {
			if id < 0 || id >= 50 {
				http.Error(w, fmt.Sprintf("no such id: %d", id), http.StatusBadRequest)
				return
			}
		}
		fmt.Fprint(w, ": still working\n\n", strings.Repeat(event, b.MaxTokens))
		fmt.Fprintf(w, `data: {"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d}}`, len(b.Prompt), b.MaxTokens+more)
		fmt.Fprint(w, "\n\ndata: [DONE]\n\n")
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	l := &load{url: s.URL, prompt: 7, decode: 5, vocabulary: 50, concurrency: 4}
	l.connect()
	if err := l.await(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	return l
}

// TestMeasure: all requests are made, and their tokens and events counted.
func TestMeasure(t *testing.T) {
	var calls atomic.Int64
	l := serve(t, 0, &calls)
	r, err := l.measure(t.Context(), 11, 1)
	if err != nil {
		t.Fatal(err)
	}
	if calls.Load() != 11 || r.Requests != 11 || r.OutputTokens != 55 || r.EventsPerToken != 1 || !(r.TokensPerSecond > 0) || !(r.FirstToken > 0) {
		t.Errorf("got %+v of %d calls, want 11 requests, 55 tokens and an event for each", r, calls.Load())
	}
}

// TestErrors: what is not as asked for is an error that says so.
func TestErrors(t *testing.T) {
	var calls atomic.Int64
	short := serve(t, -1, &calls)
	refused := serve(t, 0, &calls)
	refused.vocabulary = 1 << 30
	for _, c := range []struct {
		l    *load
		want string
	}{
		{short, "got 4 tokens for a prompt of 7, want 5 for 7"},
		{refused, "got status 400 Bad Request: no such id"},
	} {
		if _, err := c.l.measure(t.Context(), 3, 1); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	if _, err := read(strings.NewReader(event+event), time.Now()); err == nil || err.Error() != "after 2 events: EOF" {
		t.Errorf("a stream that breaks off: got %v", err)
	}
	if err := (&load{prompt: 1, decode: 1, vocabulary: 1}).check(); err == nil || err.Error() != "-concurrency is 0, want at least 1" {
		t.Errorf("got %v", err)
	}
}
