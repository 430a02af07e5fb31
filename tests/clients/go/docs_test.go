package clients

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// block is a piece of code in a document.
type block struct{ language, code string }

func blocks(t *testing.T, file string) []block {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var list []block
	for _, found := range regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$").FindAllSubmatch(text, -1) {
		list = append(list, block{string(found[1]), string(found[2])})
	}
	return list
}

// TestDocs runs every piece of code in docs/serve, against a server of its own.
// Commands for a cluster reach a stand-in that looks at the files and values
// that they name.
func TestDocs(t *testing.T) {
	dir := t.TempDir()
	s, err := startServer(dir, "--format", "hermes")
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	standIns(t, dir)
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	pages, err := filepath.Glob("../../../docs/serve/*.md")
	if err != nil || len(pages) < 5 {
		t.Fatalf("got %d pages and %v", len(pages), err)
	}
	here := strings.NewReplacer("localhost:8000", strings.TrimPrefix(s.url, "http://"))
	for _, page := range pages {
		for i, b := range blocks(t, page) {
			t.Run(filepath.Base(page)+"/"+b.language, func(t *testing.T) {
				runBlock(t, dir, i, b.language, here.Replace(b.code))
			})
		}
	}
}

func runBlock(t *testing.T, dir string, i int, language, code string) {
	t.Helper()
	write := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(code), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	switch language {
	case "sh":
		if strings.Contains(code, "godwit serve") && !strings.Contains(code, "--help") {
			serveBlock(t, dir, code)
			return
		}
		output(t, "../../..", "bash", "-euo", "pipefail", "-c", code)
	case "python":
		python, err := filepath.Abs("../../../build/clients/bin/python")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(python); err != nil {
			t.Skip("the client is not there: see .ci/run")
		}
		output(t, dir, python, write("doc.py"))
	case "js":
		if _, err := os.Stat("../js/node_modules/openai"); err != nil {
			t.Skip("the client is not there: run npm ci in tests/clients/js")
		}
		output(t, "../js", "node", "--input-type=module", "-e", code)
	case "go":
		output(t, ".", "go", "run", write("main.go"))
	default:
		t.Errorf("block %d is %s, which nothing runs", i, language)
	}
}

// refusal is an error of the API as an answer.
var refusal = regexp.MustCompile(`(?m)^\{"error":`)

// output runs a command that must succeed and say something that is no error.
func output(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // a program may have to be compiled
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil || len(bytes.TrimSpace(out)) == 0 || refusal.Match(out) {
		t.Errorf("%v: %s", err, out)
	}
}

// serveBlock runs commands of which the last one serves, until it is ready.
func serveBlock(t *testing.T, dir, code string) {
	t.Helper()
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", strings.Replace(code, "godwit serve", "exec godwit serve --port 0 --device cpu", 1))
	cmd.Dir = dir
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &server{cmd: cmd}
	if err := s.waitReady(log); err != nil {
		t.Error(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("got %v after SIGTERM, want a clean end", err)
	}
}

// standIns puts programs that need a cluster into dir. They fail where a file
// is not there, or a value is not one of the chart's.
func standIns(t *testing.T, dir string) {
	t.Helper()
	const script = `#!/usr/bin/env bash
set -euo pipefail
echo "$(basename "$0") $*"
while [ $# -gt 0 ]; do
	case "$1" in
	-f | deploy/*) [ "$1" = -f ] && shift; [ -e "$1" ] || { echo "$1 is not there" >&2; exit 1; } ;;
	--set)
		shift
		name=${1%%=*}
		grep -q "^ *${name##*.}:" deploy/helm/godwit/values.yaml || { echo "$name is not a value of the chart" >&2; exit 1; }
		;;
	esac
	shift
done
`
	for _, name := range []string{"kubectl", "helm", "docker"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}
