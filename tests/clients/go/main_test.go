// Package clients drives a live godwit serve with the official clients of the
// OpenAI API, as their users do: Go here, JavaScript and Python beside. A proxy
// between them holds every answer against the server's own OpenAPI document.
package clients

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// key is the API key of the server under test.
const key = "test-key"

// model is the name that the server gives to the built-in model.
const model = "small"

var live struct {
	proxy *proxy
	url   string // of the proxy
}

func TestMain(m *testing.M) {
	status, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

func run(m *testing.M) (status int, err error) {
	dir, err := os.MkdirTemp("", "clients")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	server, err := startServer(dir, "--api-key", key, "--served-model-name", model, "--format", "hermes")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	if live.proxy, err = startProxy(server.url); err != nil {
		return 1, err
	}
	live.url = live.proxy.url
	status = m.Run()
	if faults := live.proxy.close(); len(faults) > 0 {
		return 1, fmt.Errorf("answers that are not what /openapi.json says:\n%s", strings.Join(faults, "\n"))
	}
	return status, nil
}

// server is a godwit serve of its own process.
type server struct {
	cmd *exec.Cmd
	url string
}

// startServer builds godwit and runs it until it is ready.
func startServer(dir string, flags ...string) (*server, error) {
	binary := filepath.Join(dir, "godwit")
	build := exec.Command("go", "build", "-o", binary, "./cmd/godwit")
	build.Dir = filepath.Join("..", "..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build: %w: %s", err, out)
	}
	s := &server{cmd: exec.Command(binary, "serve", "--port", "0", "--device", "cpu")}
	s.cmd.Args = append(s.cmd.Args, flags...)
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	return s, s.waitReady(stderr)
}

// waitReady reads the log until the model is loaded.
func (s *server) waitReady(log io.Reader) error {
	address := regexp.MustCompile(`(?:msg=listening url=|"msg":"listening","url":")([^"\s]+)`)
	ready := regexp.MustCompile(`msg=ready|"msg":"ready"`)
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		if found := address.FindStringSubmatch(lines.Text()); found != nil {
			s.url = found[1]
		}
		if ready.MatchString(lines.Text()) {
			go io.Copy(io.Discard, log)
			return nil
		}
	}
	return fmt.Errorf("the server ended before it was ready: %w", lines.Err())
}

// stop asks the server to end, as a supervisor does.
func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return s.cmd.Wait()
}

// script runs another client's suite against the proxy.
func script(t *testing.T, program string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skip(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "OPENAI_BASE_URL="+live.url+"/v1", "OPENAI_API_KEY="+key)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestJavaScript runs the suite of the JavaScript client.
func TestJavaScript(t *testing.T) {
	if _, err := os.Stat("../js/node_modules/openai"); err != nil {
		t.Skip("the client is not there: run npm ci in tests/clients/js")
	}
	script(t, "node", "--test", "../js/suite.test.mjs")
}

// TestPython runs the suite of the Python client.
func TestPython(t *testing.T) {
	python := "../../../build/clients/bin/python"
	if _, err := os.Stat(python); err != nil {
		t.Skip("the client is not there: see .ci/run")
	}
	script(t, python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "../python")
}
