package main

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// output collects what a command writes while it runs.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

// wait waits until a pattern is found and returns its first group.
func (o *output) wait(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		o.mu.Lock()
		found := re.FindStringSubmatch(o.buf.String())
		o.mu.Unlock()
		if found != nil {
			return found[len(found)-1]
		}
	}
	t.Fatalf("waited 30 s for %s in %s", pattern, o.buf.String())
	return ""
}

// serving runs godwit serve until the returned function is called, which
// returns its status.
func serving(t *testing.T, args ...string) (log *output, stop func() int) {
	t.Helper()
	log = &output{}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- execute(ctx, append([]string{"serve", "--port", "0", "--device", "cpu"}, args...), strings.NewReader(""), log, log)
	}()
	stop = sync.OnceValue(func() int {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { stop() })
	return log, stop
}

// TestServe listens, loads, answers, and ends with status 0.
func TestServe(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte("old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	log, stop := serving(t, "--api-key-file", keys, "--served-model-name", "small", "--log-format", "json")
	url := log.wait(t, `"url":"([^"]+)"`)
	log.wait(t, `"msg":"ready"`)
	ask := func(key string) int {
		r, _ := http.NewRequest("GET", url+"/v1/models/small", nil)
		r.Header.Set("Authorization", "Bearer "+key)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.StatusCode
	}
	if got := ask("old"); got != 200 {
		t.Errorf("got status %d with the key, want 200", got)
	}
	hangUp(t, keys, log)
	if got := ask("old"); got != 401 {
		t.Errorf("got status %d with the old key, want 401", got)
	}
	if got := ask("new"); got != 200 {
		t.Errorf("got status %d with the new key, want 200", got)
	}
	if status := stop(); status != 0 {
		t.Errorf("got status %d, want 0", status)
	}
}

// TestServePage: a browser finds the page at /, unless it is left out.
func TestServePage(t *testing.T) {
	for _, c := range []struct {
		flags []string
		want  string
	}{{nil, "text/html; charset=utf-8"}, {[]string{"--no-page"}, "text/plain; charset=utf-8"}} {
		log, stop := serving(t, c.flags...)
		answer, err := http.Get(log.wait(t, `url=(\S+)`) + "/")
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if got := answer.Header.Get("Content-Type"); got != c.want {
			t.Errorf("%v: got %q, want %q", c.flags, got, c.want)
		}
		stop()
	}
}

// hangUp exchanges the keys and sends SIGHUP.
func hangUp(t *testing.T, keys string, log *output) {
	t.Helper()
	if err := os.WriteFile(keys, []byte("new\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Signal(syscall.SIGHUP)
	}
	if err != nil {
		t.Skip(err)
	}
	log.wait(t, `SIGHUP`)
}

// TestServeFaults: what cannot be served ends the command with the cause.
func TestServeFaults(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "nothing")
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"--model", missing}, 1, "not found|no such file|cannot find"},
		{[]string{"--api-key-file", missing}, 1, "nothing"},
		{[]string{"--api-key", ""}, 2, "--api-key is empty"},
		{[]string{"--log-level", "loud"}, 2, "--log-level is \"loud\""},
		{[]string{"--log-format", "xml"}, 2, "--log-format is \"xml\""},
		{[]string{"--host", "256.0.0.1"}, 1, "256.0.0.1"},
		{[]string{"--allow-origin", "example"}, 2, "origin \"example\""},
		{[]string{"more"}, 2, "takes no arguments"},
	} {
		var log output
		status := execute(t.Context(), append([]string{"serve", "--port", "0", "--device", "cpu"}, c.args...), strings.NewReader(""), &log, &log)
		if status != c.status || !regexp.MustCompile(c.want).MatchString(log.buf.String()) {
			t.Errorf("%q: got status %d and %s, want %d and %s", c.args, status, log.buf.String(), c.status, c.want)
		}
	}
}
