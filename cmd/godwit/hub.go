package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-llm/godwit/internal/hub"
)

// modelHelp describes --model wherever it is.
const modelHelp = "directory of a checkpoint, or ORG/NAME[@REVISION] on the Hugging Face Hub (default: the built-in model)"

// modelDir returns the directory of a model that a user names: a directory, or
// a repository of the hub, which is taken from the cache or fetched into it.
// For the built-in model, "", it is "".
func modelDir(ctx context.Context, c *console, name string, want hub.Want) (string, error) {
	n, ok := repoName(name)
	if !ok {
		return name, nil
	}
	s, err := snapshotOf(ctx, c, n, want)
	if err != nil {
		return "", err
	}
	if want == hub.Model {
		return s.Dir, checkWeights(n, s)
	}
	return s.Dir, nil
}

// snapshotOf finds a repository in the cache or fetches it.
func snapshotOf(ctx context.Context, c *console, n hub.Name, want hub.Want) (hub.Snapshot, error) {
	client, err := hubClient(c)
	if err != nil {
		return hub.Snapshot{}, err
	}
	s, err := client.Cache.Find(n, want)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	if !s.Complete {
		if s, err = missing(ctx, c, client, n, want, s); err != nil {
			return s, fmt.Errorf("there is no directory %s, and %w", n, err)
		}
	}
	return s, nil
}

// missing fetches a model, of which the cache has nothing or a part. The part
// has to do where the hub cannot be reached.
func missing(ctx context.Context, c *console, client *hub.Client, n hub.Name, want hub.Want, part hub.Snapshot) (hub.Snapshot, error) {
	usable := part.Dir != "" && (want == hub.Texts || part.Weights != hub.NoWeights)
	if offline() {
		if usable {
			return part, nil
		}
		return part, fmt.Errorf("%s is not in the cache, %s, in full; HF_HUB_OFFLINE forbids to fetch it", n, client.Cache.Dir)
	}
	s, err := fetch(ctx, c, client, n, want)
	if errors.Is(err, hub.ErrNetwork) && usable {
		c.logger().Warn("using what is in the cache", "cause", err)
		return part, nil
	}
	return s, err
}

// checkWeights refuses forms of weights that cannot be run as they are.
func checkWeights(n hub.Name, s hub.Snapshot) error {
	switch s.Weights {
	case hub.PyTorch:
		return fmt.Errorf("%s has its weights as pytorch_model.bin only; convert them once with: godwit convert %s", n, n)
	case hub.Adapter:
		return fmt.Errorf("%s is an adapter for another model, not a model", n)
	}
	return nil
}

// repoName reports whether a model's name is one on the hub. Whatever exists
// here is no such name, and neither is what can only be a path.
func repoName(name string) (hub.Name, bool) {
	repo, _, _ := strings.Cut(name, "@")
	if strings.Count(repo, "/") != 1 {
		return hub.Name{}, false
	}
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return hub.Name{}, false
	}
	n, err := hub.ParseName(name)
	return n, err == nil
}

// hubClient follows the environment variables that Hugging Face's own programs
// follow.
func hubClient(c *console) (*hub.Client, error) {
	home, err := hubHome()
	if err != nil {
		return nil, err
	}
	client := &hub.Client{
		Cache:    hub.Cache{Dir: expand(firstOf("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"))},
		Endpoint: os.Getenv("HF_ENDPOINT"),
		Agent:    fmt.Sprintf("godwit/%s (%s/%s)", strings.Trim(version(), "()"), runtime.GOOS, runtime.GOARCH),
		Copies:   isTrue("HF_HUB_DISABLE_SYMLINKS"),
	}
	if client.Cache.Dir == "" {
		client.Cache.Dir = filepath.Join(home, "hub")
	}
	if text := os.Getenv("HF_HUB_DOWNLOAD_TIMEOUT"); text != "" {
		seconds, err := strconv.Atoi(text)
		if err != nil || seconds < 1 {
			return nil, fmt.Errorf("HF_HUB_DOWNLOAD_TIMEOUT is %q, want a number of seconds", text)
		}
		client.Timeout = time.Duration(seconds) * time.Second
	}
	client.Token, err = hubToken(home)
	return client, err
}

// hubHome is where Hugging Face's programs keep the token and the cache.
func hubHome() (string, error) {
	if home := expand(os.Getenv("HF_HOME")); home != "" {
		return home, nil
	}
	if cache := expand(os.Getenv("XDG_CACHE_HOME")); cache != "" {
		return filepath.Join(cache, "huggingface"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no place for the cache of models: %w; set HF_HOME", err)
	}
	return filepath.Join(home, ".cache", "huggingface"), nil
}

// hubToken reads the token from the environment or from the file that 'hf auth
// login' writes.
func hubToken(home string) (string, error) {
	if isTrue("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
		return "", nil
	}
	if token := strings.TrimSpace(firstOf("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")); token != "" {
		return token, nil
	}
	path := expand(os.Getenv("HF_TOKEN_PATH"))
	if path == "" {
		path = filepath.Join(home, "token")
	}
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the hub's token: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

func firstOf(names ...string) string {
	for _, name := range names {
		if value := os.Getenv(name); value != "" {
			return value
		}
	}
	return ""
}

// expand replaces $NAME and a ~ at the beginning, as Python's programs do.
func expand(path string) string {
	path = os.ExpandEnv(path)
	if rest, ok := strings.CutPrefix(path, "~"); ok && (rest == "" || os.IsPathSeparator(rest[0])) {
		if home, err := os.UserHomeDir(); err == nil {
			return home + rest
		}
	}
	return path
}

func isTrue(name string) bool {
	return slices.Contains([]string{"1", "ON", "YES", "TRUE"}, strings.ToUpper(os.Getenv(name)))
}

// offline reports whether nothing may be fetched.
func offline() bool { return isTrue("HF_HUB_OFFLINE") || isTrue("TRANSFORMERS_OFFLINE") }
