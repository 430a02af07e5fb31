package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const dense = "../../testdata/tiny-dense"

// TestFaults checks that every failure says its cause on stderr, and nothing
// on stdout.
func TestFaults(t *testing.T) {
	notADirectory := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(notADirectory, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, want string }{
		{"", "error: --model is missing; see --help"},
		{"--model x", "error: want either --prompt or --prompt-file; see --help"},
		{"--model x --prompt a --prompt-file b", "error: want either --prompt or --prompt-file; see --help"},
		{"--model x --prompt-file nowhere", "error: open nowhere: no such file or directory"},
		{"--model x --prompt a --max-tokens 0", "error: --max-tokens is 0, want at least 1"},
		{"--model x --prompt a --device -1", "error: --device is -1, want 0 or more"},
		{"--model x --prompt a more", `error: unexpected argument "more"; see --help`},
		{"--model nowhere --prompt a", "error: open nowhere: "},
		{"--model " + notADirectory + " --prompt a", "not a directory"},
		{"--model x --bogus", "flag provided but not defined: -bogus"},
	} {
		var out, errOut bytes.Buffer
		if status := run(t.Context(), strings.Fields(c.args), &out, &errOut); status == 0 || out.Len() > 0 || !strings.Contains(errOut.String(), c.want) {
			t.Errorf("%s: got status %d, %q and %q, want %q", c.args, status, out.String(), errOut.String(), c.want)
		}
	}
}

// TestGenerate runs the program where there is a GPU, and finds the cause
// where there is none.
func TestGenerate(t *testing.T) {
	var out, errOut bytes.Buffer
	status := run(t.Context(), []string{"--model", dense, "--prompt", "Hello", "--max-tokens", "20", "--verbose"}, &out, &errOut)
	if status != 0 {
		if !strings.Contains(errOut.String(), "CUDA is not available: ") || out.Len() > 0 {
			t.Errorf("got %q and %q, want the cause", out.String(), errOut.String())
		}
		t.Skip(errOut.String())
	}
	for _, want := range []string{"running on GPU 0", "load time:", "prompt tokens:", "prompt time:", "generated tokens:", "generation time:", "tokens per second:"} {
		if !strings.Contains(errOut.String(), want) {
			t.Errorf("got %q, want %q in it", errOut.String(), want)
		}
	}
	if len(strings.TrimSpace(out.String())) == 0 {
		t.Error("got no text")
	}
}

func TestHelp(t *testing.T) {
	var out, errOut bytes.Buffer
	if status := run(t.Context(), []string{"--help"}, &out, &errOut); status != 0 || !strings.Contains(errOut.String(), "-max-tokens") {
		t.Errorf("got status %d and %q, want the flags", status, errOut.String())
	}
}
