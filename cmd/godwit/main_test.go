package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"godwit": main})
}

// TestScripts runs the command lines in testdata/script.
func TestScripts(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("GOLDENS", filepath.Join(root, "testdata", "goldens"))
			e.Setenv("DENSE", filepath.Join(root, "testdata", "tiny-dense"))
			return nil
		},
	})
}

// TestInterrupt cancels a long generation, as Ctrl-C does: the command ends
// without an error and with what it has.
func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var out, errOut bytes.Buffer
	first := func(p []byte) (int, error) {
		if len(bytes.TrimSpace(p)) > 0 {
			cancel()
		}
		return out.Write(p)
	}
	status := execute(ctx, []string{"run", "--max-tokens", "8000", "--temperature", "0", "Once upon a time"}, nil, writerFunc(first), &errOut)
	if status != 0 || out.Len() < 2 || !strings.Contains(errOut.String(), "ended by cancelled") {
		t.Errorf("got status %d, %q and %q, want 0, a partial text and that it was cancelled", status, out.String(), errOut.String())
	}
}

// TestInterruptJSON does the same for the JSON object. Nothing shows from when
// on there is a text to keep, so it waits longer each time.
func TestInterruptJSON(t *testing.T) {
	var out, errOut bytes.Buffer
	status := 1
	for wait := 100 * time.Millisecond; status == 1 && wait < time.Minute; wait *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		out.Reset()
		errOut.Reset()
		status = execute(ctx, []string{"run", "--max-tokens", "8000", "--json", "--ids", "1,78"}, nil, &out, &errOut)
		cancel()
	}
	var got runOutput
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || status != 0 {
		t.Fatalf("got status %d, %q, %q (%v), want 0 and an object", status, out.String(), errOut.String(), err)
	}
	if got.FinishReason != "cancelled" && got.FinishReason != "stop" {
		t.Errorf("got finish_reason %s, want cancelled", got.FinishReason)
	}
}

// TestInterruptLoading does not wait for the model.
func TestInterruptLoading(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var errOut bytes.Buffer
	if status := execute(ctx, []string{"run", "Once"}, nil, io.Discard, &errOut); status != 1 || !strings.Contains(errOut.String(), "cancelled") {
		t.Errorf("got status %d and %q, want 1 and that it was cancelled", status, errOut.String())
	}
}

// TestInterruptBench prints the batches that were measured, and that the others
// are missing.
func TestInterruptBench(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, errOut bytes.Buffer
	f := benchFlags{device: "cpu", batch: "1,2", prompt: "4", decode: "300", repeat: 2, set: func(string) bool { return false }}
	f.progress = func(done, _ int) {
		if done == 4 {
			cancel()
		}
	}
	err := runBench(ctx, &console{out: &out, err: &errOut}, &f)
	if err == nil || err.Error() != "cancelled; 1 of 2 batches were measured" || !strings.Contains(out.String(), "\n1  ") || strings.Contains(out.String(), "\n2  ") {
		t.Errorf("got %v and %q, want one batch and that it was cancelled", err, out.String())
	}
}

// TestInterruptLoad does the same for levels of load.
func TestInterruptLoad(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, errOut bytes.Buffer
	f := benchFlags{device: "cpu", concurrency: "2,1", prompt: "4-6", decode: "200", set: func(flag string) bool { return flag == "concurrency" }}
	f.load.Requests = 4
	f.progress = func(done, _ int) {
		if done == 2+4+1 { // the warm-ups and the first level
			cancel()
		}
	}
	err := runBench(ctx, &console{out: &out, err: &errOut}, &f)
	if err == nil || err.Error() != "cancelled; 1 of 2 levels were measured" || !strings.Contains(out.String(), "\n2  ") || strings.Contains(out.String(), "\n1  ") {
		t.Errorf("got %v and %q, want one level and that it was cancelled", err, out.String())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestBrokenPipe ends the generation when nobody reads any more.
func TestBrokenPipe(t *testing.T) {
	r, w := io.Pipe()
	r.CloseWithError(os.ErrClosed)
	var errOut bytes.Buffer
	if status := execute(t.Context(), []string{"run", "--max-tokens", "8000", "Once"}, nil, w, &errOut); status != 1 {
		t.Errorf("got status %d, want 1", status)
	}
}

// TestStatus tells faults of the command line from those of its work.
func TestStatus(t *testing.T) {
	for _, c := range []struct {
		args string
		want int
	}{
		{"frobnicate", 2},
		{"run --frobnicate", 2},
		{"run one two", 2},
		{"version 1", 2},
		{"inspect", 2},
		{"render --model a --template b", 2},
		{"render --model nowhere", 1},
		{"run --device cuda:x Hello", 1},
		{"help", 0},
		{"version", 0},
	} {
		var out, errOut bytes.Buffer
		if got := execute(t.Context(), strings.Fields(c.args), nil, &out, &errOut); got != c.want {
			t.Errorf("godwit %s: got status %d, want %d: %s", c.args, got, c.want, errOut.String())
		}
	}
}

// TestNotUTF8 refuses bytes that are no text wherever a text is read.
func TestNotUTF8(t *testing.T) {
	for _, c := range []struct {
		args     []string
		in, want string
	}{
		{[]string{"run", "abc\xff"}, "", "godwit: the prompt is not UTF-8: byte 3 is 0xff\n"},
		{[]string{"run"}, "abc\xff", "godwit: standard input is not UTF-8: byte 3 is 0xff\n"},
		{[]string{"tokenize"}, "\xc3", "godwit: standard input is not UTF-8: byte 0 is 0xc3\n"},
		{[]string{"tokenize", "--json-lines"}, "\"a\xff\"\n", "godwit: standard input: line 1: the line is not UTF-8: byte 2 is 0xff\n"},
		{[]string{"score"}, "{\"text\": \"\xff\"}", "standard input is not UTF-8: byte 10 is 0xff\n"},
	} {
		var out, errOut bytes.Buffer
		if status := execute(t.Context(), c.args, strings.NewReader(c.in), &out, &errOut); status != 1 || !strings.HasSuffix(errOut.String(), c.want) {
			t.Errorf("%q: got status %d and %q, want 1 and %q", c.args, status, errOut.String(), c.want)
		}
	}
}

// TestInterruptInput ends commands that wait for standard input.
func TestInterruptInput(t *testing.T) {
	for _, args := range []string{"run", "tokenize", "tokenize --json-lines", "render", "score"} {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		in, w := io.Pipe()
		var out, errOut bytes.Buffer
		if status := execute(ctx, strings.Fields(args), in, &out, &errOut); status != 1 || !strings.Contains(errOut.String(), "context canceled") {
			t.Errorf("godwit %s: got status %d and %q, want 1 and the cause", args, status, errOut.String())
		}
		w.Close()
	}
}

// TestLinesAtOnce answers each line before the next one is asked.
func TestLinesAtOnce(t *testing.T) {
	in, ask := io.Pipe()
	answer, out := io.Pipe()
	go func() {
		status := execute(t.Context(), []string{"tokenize", "--json-lines"}, in, out, io.Discard)
		out.CloseWithError(fmt.Errorf("status %d", status))
	}()
	lines := bufio.NewReader(answer)
	for range 2 {
		io.WriteString(ask, "\"Once\"\n")
		if line, err := lines.ReadString('\n'); err != nil || line != "[1,78,1800]\n" {
			t.Errorf("got %q and %v, want the ids", line, err)
		}
	}
	ask.Close()
	if _, err := lines.ReadByte(); err == nil || err.Error() != "status 0" {
		t.Errorf("got %v, want status 0", err)
	}
}
