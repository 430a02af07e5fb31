package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-llm/godwit"
)

// builtin is the model of most tests, loaded once.
var builtin = sync.OnceValues(func() (*godwit.Model, error) {
	return godwit.OpenBuiltin(godwit.Options{Device: "cpu", MaxSequences: 8})
})

func testModel(t testing.TB) *godwit.Model {
	t.Helper()
	m, err := builtin()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// testServer is a server that listens, and what it logs.
type testServer struct {
	*Server
	t      testing.TB
	url    string
	logs   *lockedBuffer
	stop   context.CancelFunc // as SIGTERM does
	served chan error
}

// start runs a server without a model.
func start(t testing.TB, opts Options) *testServer {
	t.Helper()
	ts := &testServer{t: t, logs: &lockedBuffer{}, served: make(chan error, 1)}
	opts.Logger = slog.New(slog.NewJSONHandler(ts.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if ts.Server, err = New(opts); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ts.url = "http://" + l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ts.stop = cancel
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ts.served <- ts.Serve(ctx, smallBuffers{l})
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return ts
}

// smallBuffers makes a client that does not read felt soon.
type smallBuffers struct{ net.Listener }

func (l smallBuffers) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		err = conn.(*net.TCPConn).SetWriteBuffer(4096)
	}
	return conn, err
}

// startBuiltin runs a server with the built-in model.
func startBuiltin(t testing.TB, opts Options) *testServer {
	t.Helper()
	ts := start(t, opts)
	ts.Use(testModel(t))
	return ts
}

// do sends a request with JSON.
func (ts *testServer) do(method, path, body string, header ...string) *http.Response {
	ts.t.Helper()
	r, err := http.NewRequestWithContext(ts.t.Context(), method, ts.url+path, strings.NewReader(body))
	if err != nil {
		ts.t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		ts.t.Fatal(err)
	}
	ts.t.Cleanup(func() { answer.Body.Close() })
	return answer
}

// call sends a request, asks for a status and decodes the answer.
func (ts *testServer) call(method, path, body string, status int, v any) {
	ts.t.Helper()
	answer := ts.do(method, path, body)
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		ts.t.Fatal(err)
	}
	if answer.StatusCode != status {
		ts.t.Fatalf("%s %s: got status %d and %s, want %d", method, path, answer.StatusCode, data, status)
	}
	if err := json.Unmarshal(data, v); err != nil {
		ts.t.Fatalf("%s %s: %v: %s", method, path, err, data)
	}
}

// refuse sends a request that must fail, and returns what the answer says.
func (ts *testServer) refuse(method, path, body string, status int) errorDetail {
	ts.t.Helper()
	var e errorBody
	ts.call(method, path, body, status, &e)
	return e.Error
}

func readAll(t testing.TB, answer *http.Response) string {
	t.Helper()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// events returns the data of the events of a stream, without the last one,
// which must be [DONE].
func events(t testing.TB, body io.Reader) []string {
	t.Helper()
	var list []string
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			list = append(list, data)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if len(list) == 0 || list[len(list)-1] != "[DONE]" {
		t.Fatalf("the stream ends with %q, want [DONE]", list)
	}
	return list[:len(list)-1]
}

// decoded reads events into values.
func decoded[T any](t testing.TB, list []string) []T {
	t.Helper()
	out := make([]T, len(list))
	for i, data := range list {
		d := json.NewDecoder(strings.NewReader(data))
		d.DisallowUnknownFields()
		if err := d.Decode(&out[i]); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
	}
	return out
}

// waitFor waits until a condition holds.
func waitFor(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); {
		if time.Now().After(end) {
			t.Fatalf("waited a minute for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// TestLoading answers at once, and says that the model is not there yet.
func TestLoading(t *testing.T) {
	ts := start(t, Options{})
	var ready readyReport
	ts.Progress(1, 4)
	ts.call("GET", "/ready", "", 503, &ready)
	if ready != (readyReport{Status: "loading", Loaded: 0.25}) {
		t.Errorf("got %+v, want a quarter of the model", ready)
	}
	var health healthReport
	ts.call("GET", "/health", "", 200, &health)
	answer := ts.do("POST", "/v1/chat/completions", `{"messages":[{"role":"user","content":"Hello"}]}`)
	if answer.StatusCode != 503 || answer.Header.Get("Retry-After") == "" {
		t.Errorf("got %d and %v, want 503 and when to come back", answer.StatusCode, answer.Header)
	}
	ts.Use(testModel(t))
	ts.call("GET", "/ready", "", 200, &ready)
	if ready != (readyReport{Status: "ready", Loaded: 1}) {
		t.Errorf("got %+v, want ready", ready)
	}
}

// TestModels lists the names that requests may use.
func TestModels(t *testing.T) {
	ts := startBuiltin(t, Options{Names: []string{"small", "org/small"}})
	var list modelList
	ts.call("GET", "/v1/models", "", 200, &list)
	if len(list.Data) != 2 || list.Data[0].ID != "small" || list.Data[0].MaxModelLen != testModel(t).Context() {
		t.Errorf("got %+v, want two names and the context", list)
	}
	var one modelInfo
	ts.call("GET", "/v1/models/org/small", "", 200, &one)
	if one.ID != "org/small" {
		t.Errorf("got %+v", one)
	}
	if e := ts.refuse("GET", "/v1/models/other", "", 404); *e.Code != "model_not_found" {
		t.Errorf("got %+v, want model_not_found", e)
	}
}

// TestPaths refuses what the server does not have in the API's own shape.
func TestPaths(t *testing.T) {
	ts := startBuiltin(t, Options{})
	if e := ts.refuse("GET", "/v2/chat", "", 404); *e.Code != "unknown_url" || e.Param != nil {
		t.Errorf("got %+v", e)
	}
	answer := ts.do("GET", "/v1/completions", "")
	if answer.StatusCode != 405 || answer.Header.Get("Allow") != "POST" {
		t.Errorf("got %d and %v, want 405 and what is allowed", answer.StatusCode, answer.Header)
	}
	if answer := ts.do("GET", "/", ""); answer.StatusCode != 200 {
		t.Errorf("got %d for the page", answer.StatusCode)
	}
}

// TestRequestID takes a client's id into the answer and the log, unless it
// could confuse the log.
func TestRequestID(t *testing.T) {
	ts := startBuiltin(t, Options{})
	answer := ts.do("GET", "/v1/models", "", "X-Request-Id", "abc-1")
	if got := answer.Header.Get("X-Request-Id"); got != "abc-1" {
		t.Errorf("got %q, want the client's own id", got)
	}
	for _, bad := range []string{"a b", strings.Repeat("a", 200), "a\"b"} {
		if got := ts.do("GET", "/v1/models", "", "X-Request-Id", bad).Header.Get("X-Request-Id"); !strings.HasPrefix(got, "req_") {
			t.Errorf("got %q for %q, want one of our own", got, bad)
		}
	}
	waitFor(t, "the log", func() bool { return strings.Contains(ts.logs.String(), `"id":"abc-1"`) })
}

// TestPanic answers a fault of our own with status 500 and goes on.
func TestPanic(t *testing.T) {
	ts := startBuiltin(t, Options{Page: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("oh") })})
	if e := ts.refuse("GET", "/", "", 500); e.Type != typeServer || e.Message != "internal error" {
		t.Errorf("got %+v", e)
	}
	if !strings.Contains(ts.logs.String(), "oh") {
		t.Error("the log does not tell of the panic")
	}
}

// TestEngineFault makes a server unhealthy whose device has failed.
func TestEngineFault(t *testing.T) {
	ts := startBuiltin(t, Options{})
	ts.note(&godwit.Error{Class: godwit.ErrDevice, Err: io.ErrUnexpectedEOF})
	var health healthReport
	ts.call("GET", "/health", "", 503, &health)
	var ready readyReport
	ts.call("GET", "/ready", "", 503, &ready)
	if health.Status != "failed" || ready.Status != "failed" {
		t.Errorf("got %+v and %+v, want failed", health, ready)
	}
	ts.refuse("POST", "/tokenize", `{"prompt":"a"}`, 503)
}

// TestLogPrompts writes texts to the log only where that is asked for.
func TestLogPrompts(t *testing.T) {
	for _, wanted := range []bool{false, true} {
		ts := startBuiltin(t, Options{LogPrompts: wanted})
		var got chatCompletion
		ts.call("POST", "/v1/chat/completions", `{"messages":[{"role":"user","content":"Are you there?"}],"max_tokens":8,"seed":1,"ignore_eos":true}`, 200, &got)
		waitFor(t, "the log", func() bool { return strings.Contains(ts.logs.String(), `"completion_tokens":8`) })
		answer, _ := json.Marshal(*got.Choices[0].Message.Content)
		for _, text := range []string{"Are you there?", strings.Trim(string(answer), `"`)} {
			if strings.Contains(ts.logs.String(), text) != wanted {
				t.Errorf("prompts %v: got %s", wanted, ts.logs.String())
			}
		}
	}
}
