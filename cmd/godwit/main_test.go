package main

import (
	"bytes"
	"context"
	"encoding/json"
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

// TestInterruptJSON does the same for the JSON object.
func TestInterruptJSON(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(300*time.Millisecond, cancel)
	var out, errOut bytes.Buffer
	status := execute(ctx, []string{"run", "--max-tokens", "8000", "--json", "--ids", "1,78"}, nil, &out, &errOut)
	var got runOutput
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || status != 0 {
		t.Fatalf("got status %d, %q, %q (%v), want 0 and an object", status, out.String(), errOut.String(), err)
	}
	if got.FinishReason != "cancelled" && got.FinishReason != "stop" {
		t.Errorf("got finish_reason %s, want cancelled", got.FinishReason)
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
