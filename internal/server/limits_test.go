package server

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestKeys asks for one of the keys wherever the model is used.
func TestKeys(t *testing.T) {
	keys, err := ReadKeys(strings.NewReader("# keys\n\n one \ntwo\n"))
	if err != nil {
		t.Fatal(err)
	}
	ts := startBuiltin(t, Options{Keys: NewKeys(keys...)})
	for _, c := range []struct {
		path, header string
		want         int
	}{
		{"/v1/models", "", 401},
		{"/v1/models", "Bearer", 401},
		{"/v1/models", "Bearer three", 401},
		{"/v1/models", "Basic one", 401},
		{"/v1/models", "Bearer # keys", 401},
		{"/v1/models", "Bearer one", 200},
		{"/v1/models", "bearer two", 200},
		{"/v1/models/godwit", "", 401},
		{"/health", "", 200},
		{"/ready", "", 200},
	} {
		answer := ts.do("GET", c.path, "", "Authorization", c.header)
		if answer.StatusCode != c.want {
			t.Errorf("%s with %q: got status %d, want %d", c.path, c.header, answer.StatusCode, c.want)
		}
		if c.want == 401 && answer.Header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("got %v, want how to authenticate", answer.Header)
		}
	}
	for _, path := range []string{"/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize"} {
		if e := ts.refuse("POST", path, `{}`, 401); *e.Code != "invalid_api_key" {
			t.Errorf("%s: got %+v", path, e)
		}
	}
	ts.opts.Keys.Set("three")
	if got := ts.do("GET", "/v1/models", "", "Authorization", "Bearer one").StatusCode; got != 401 {
		t.Errorf("got %d with a key that was taken away, want 401", got)
	}
	if got := ts.do("GET", "/v1/models", "", "Authorization", "Bearer three").StatusCode; got != 200 {
		t.Errorf("got %d with a new key, want 200", got)
	}
	if logs := ts.logs.String(); strings.Contains(logs, "Bearer one") || strings.Contains(logs, "three") {
		t.Error("a key is in the log")
	}
}

// TestBrowsers: pages of other sites cannot use the server by way of a
// visitor's browser, unless they are allowed to.
func TestBrowsers(t *testing.T) {
	closed := startBuiltin(t, Options{Hosts: []string{"gpu.lan"}})
	open := startBuiltin(t, Options{Origins: []string{"https://chat.example"}, Keys: NewKeys("k")})
	all := startBuiltin(t, Options{Origins: []string{"*"}})
	body := `{` + hello + `,"max_tokens":1}`
	for _, c := range []struct {
		ts     *testServer
		header []string
		want   int
	}{
		{closed, nil, 200},
		{closed, []string{"Origin", "https://evil.example"}, 403},
		{closed, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{closed, []string{"Host", "rebound.example"}, 403},
		{closed, []string{"Host", "gpu.lan:8000"}, 200},
		{closed, []string{"Host", "localhost:8000"}, 200},
		{closed, []string{"Host", "[::1]:8000"}, 200},
		{closed, []string{"Content-Type", "text/plain"}, 415},
		{open, []string{"Origin", "https://chat.example", "Authorization", "Bearer k"}, 200},
		{open, []string{"Origin", "https://evil.example", "Authorization", "Bearer k"}, 403},
		{open, []string{"Host", "api.example", "Authorization", "Bearer k"}, 200},
		{all, []string{"Origin", "https://evil.example"}, 200},
	} {
		answer := c.ts.do("POST", "/v1/chat/completions", body, c.header...)
		if answer.StatusCode != c.want {
			t.Errorf("%q: got status %d, want %d", c.header, answer.StatusCode, c.want)
		}
	}
	answer := open.do("OPTIONS", "/v1/chat/completions", "", "Origin", "https://chat.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,x-stainless-os")
	if answer.StatusCode != 204 || answer.Header.Get("Access-Control-Allow-Origin") != "https://chat.example" || answer.Header.Get("Access-Control-Allow-Headers") != "authorization,x-stainless-os" {
		t.Errorf("got %d and %v, want the permission", answer.StatusCode, answer.Header)
	}
	if answer := open.do("OPTIONS", "/v1/chat/completions", "", "Origin", "https://evil.example", "Access-Control-Request-Method", "POST"); answer.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("a site that is not allowed gets a permission")
	}
	if _, err := New(Options{Origins: []string{"not an origin"}}); err == nil {
		t.Error("an origin that is none was accepted")
	}
}

// TestTooLarge refuses a body over the limit without reading all of it.
func TestTooLarge(t *testing.T) {
	ts := startBuiltin(t, Options{MaxBody: 1000})
	e := ts.refuse("POST", "/v1/completions", `{"prompt":"`+strings.Repeat("a", 2000)+`"}`, 413)
	if *e.Code != "request_too_large" || !strings.Contains(e.Message, "1000 bytes") {
		t.Errorf("got %+v", e)
	}
}

// TestSlowSender gives a client that does not send its body a time limit.
func TestSlowSender(t *testing.T) {
	ts := startBuiltin(t, Options{ReadTimeout: 50 * time.Millisecond})
	conn, err := net.Dial("tcp", strings.TrimPrefix(ts.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || answer.StatusCode != 408 {
		t.Errorf("got %v and %v, want status 408", answer, err)
	}
}

// long is a request that would run for many seconds.
const long = `{` + hello + `,"stream":true,"ignore_eos":true,"max_tokens":8000}`

// stream begins a request and returns when its first event is there.
func (ts *testServer) stream(ctx context.Context, body string) (*http.Response, *bufio.Reader) {
	ts.t.Helper()
	r, err := http.NewRequestWithContext(ctx, "POST", ts.url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		ts.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		ts.t.Fatal(err)
	}
	ts.t.Cleanup(func() { answer.Body.Close() })
	lines := bufio.NewReader(answer.Body)
	if line, err := lines.ReadString('\n'); err != nil || !strings.HasPrefix(line, "data: ") {
		ts.t.Fatalf("got %q and %v, want an event", line, err)
	}
	return answer, lines
}

// TestDisconnect ends what a client no longer waits for, and logs status 499.
func TestDisconnect(t *testing.T) {
	ts := startBuiltin(t, Options{})
	for _, body := range []string{long, strings.Replace(long, `"stream":true`, `"stream":false`, 1)} {
		ctx, cancel := context.WithCancel(t.Context())
		before := strings.Count(ts.logs.String(), `"status":499`)
		go func() {
			waitFor(t, "the request", func() bool { return ts.requests.Load() > 0 })
			time.Sleep(20 * time.Millisecond)
			cancel()
		}()
		r, _ := http.NewRequestWithContext(ctx, "POST", ts.url+"/v1/chat/completions", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		if answer, err := http.DefaultClient.Do(r); err == nil {
			io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
		waitFor(t, "the request to end", func() bool { return strings.Count(ts.logs.String(), `"status":499`) > before })
	}
	if strings.Contains(ts.logs.String(), "Hello") {
		t.Error("the prompt is in the log")
	}
}

// TestSlowReader ends a stream whose client takes nothing.
func TestSlowReader(t *testing.T) {
	ts := startBuiltin(t, Options{WriteTimeout: 100 * time.Millisecond})
	conn, err := net.Dial("tcp", strings.TrimPrefix(ts.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.(*net.TCPConn).SetReadBuffer(1)
	body := `{"prompt":"a","n":8,"stream":true,"ignore_eos":true,"max_tokens":8000,"logprobs":20}`
	io.WriteString(conn, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"+body)
	waitFor(t, "the stream to end", func() bool { return strings.Contains(ts.logs.String(), errSlow.Error()) })
}

// TestTimeout ends generations that take longer than the server allows.
func TestTimeout(t *testing.T) {
	ts := startBuiltin(t, Options{Timeout: 50 * time.Millisecond})
	if e := ts.refuse("POST", "/v1/chat/completions", strings.Replace(long, `"stream":true,`, "", 1), 504); *e.Code != "timeout" {
		t.Errorf("got %+v, want timeout", e)
	}
	list := events(t, ts.do("POST", "/v1/chat/completions", long).Body)
	if last := list[len(list)-1]; !strings.Contains(last, `"code":"timeout"`) {
		t.Errorf("the stream ends with %s, want the error", last)
	}
}

// TestNothingAfterTheEnd: a sign of life that is due when a stream ends must not
// touch the connection, which serves the next request by then.
func TestNothingAfterTheEnd(t *testing.T) {
	e := &eventStream{rc: http.NewResponseController(httptest.NewRecorder()), stop: make(chan struct{})}
	e.close()
	if err := e.write(comment); !errors.Is(err, errEnded) {
		t.Errorf("got %v, want %v", err, errEnded)
	}
}

// TestHeartbeat sends signs of life while there is nothing to say.
func TestHeartbeat(t *testing.T) {
	ts := startBuiltin(t, Options{Heartbeat: time.Millisecond})
	_, lines := ts.stream(t.Context(), `{"messages":[{"role":"user","content":"`+rand.Text()+strings.Repeat(" word", 2000)+`"}],"stream":true,"max_tokens":1}`)
	rest, err := io.ReadAll(lines)
	if err != nil || !strings.Contains(string(rest), "\n\n: still working\n\n") || !strings.HasSuffix(string(rest), "data: [DONE]\n\n") {
		t.Errorf("got %q and %v, want comments and the end", rest, err)
	}
}

// TestDrain finishes what runs, and no longer takes new connections.
func TestDrain(t *testing.T) {
	ts := startBuiltin(t, Options{DrainDelay: time.Second, DrainTimeout: 10 * time.Minute})
	goOn := make(chan time.Duration)
	ts.pause = func(d time.Duration) { goOn <- d }
	_, lines := ts.stream(t.Context(), `{`+hello+`,"stream":true,"ignore_eos":true,"max_tokens":300}`)
	ts.stop()
	var ready readyReport
	waitFor(t, "/ready to say no", func() bool { return ts.draining.Load() })
	ts.call("GET", "/ready", "", 503, &ready)
	if ready.Status != "draining" {
		t.Errorf("got %+v, want draining", ready)
	}
	var late chatCompletion
	ts.call("POST", "/v1/chat/completions", `{`+hello+`,"max_tokens":1}`, 200, &late) // the balancer does not know yet
	if d := <-goOn; d != time.Second {
		t.Errorf("got a delay of %v, want a second", d)
	}
	rest, err := io.ReadAll(lines)
	if err != nil || !strings.HasSuffix(string(rest), "data: [DONE]\n\n") || !strings.Contains(string(rest), `"finish_reason":"length"`) {
		t.Errorf("got %v and %.300q, want the whole answer", err, rest)
	}
	if err := <-ts.served; err != nil {
		t.Errorf("got %v, want that it stopped", err)
	}
	if _, err := net.Dial("tcp", strings.TrimPrefix(ts.url, "http://")); err == nil {
		t.Error("the server still listens")
	}
	ts.served <- nil // for the cleanup
}

// TestDrainTimeout tells clients whose answers had to be cut.
func TestDrainTimeout(t *testing.T) {
	ts := startBuiltin(t, Options{DrainTimeout: 50 * time.Millisecond})
	_, lines := ts.stream(t.Context(), long)
	ts.stop()
	rest, err := io.ReadAll(lines)
	if err != nil || !strings.HasSuffix(string(rest), "data: [DONE]\n\n") || !strings.Contains(string(rest), `"code":"shutting_down"`) {
		t.Errorf("got %v and %.300q, want an error event at the end", err, rest)
	}
	if err := <-ts.served; err != nil {
		t.Errorf("got %v, want that it stopped", err)
	}
	ts.served <- nil
}
