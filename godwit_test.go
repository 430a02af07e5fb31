package godwit

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"github.com/godwit-llm/godwit/internal/builtin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openBuiltin(t testing.TB, opts Options) *Model {
	t.Helper()
	m, err := OpenBuiltin(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

var greedy = &Sampling{}

// goldenTexts are what transformers wrote, greedily.
func goldenTexts(t *testing.T, name string) (cases []struct {
	Prompt string  `json:"prompt"`
	IDs    []int32 `json:"ids"`
	Greedy []int32 `json:"greedy"`
	Text   string  `json:"text"`
},
) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	g := struct{ Cases any }{&cases}
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return cases
}

func TestGoldenText(t *testing.T) {
	dense, err := Open("testdata/tiny-dense", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dense.Close()
	for name, m := range map[string]*Model{"tiny-hybrid": openBuiltin(t, Options{}), "tiny-dense": dense} {
		for _, c := range goldenTexts(t, name) {
			r, err := m.Generate(t.Context(), Request{Prompt: c.Prompt, Sampling: greedy, MaxTokens: len(c.Greedy), IgnoreEOS: true})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(r.PromptIDs, c.IDs) || !slices.Equal(r.IDs, c.Greedy) {
				t.Errorf("%s, %q: got ids %v, want %v", name, c.Prompt, r.IDs, c.Greedy)
			}
			if got := c.Prompt + r.Text; got != c.Text && r.Text != c.Text {
				t.Errorf("%s, %q: got text %q, want %q", name, c.Prompt, got, c.Text)
			}
		}
	}
}

// TestManyAtOnce runs requests side by side; each gets what it gets alone.
func TestManyAtOnce(t *testing.T) {
	m := openBuiltin(t, Options{MaxSequences: 5})
	request := func(i int) Request {
		return Request{Prompt: strings.Repeat("The sea was calm. ", i%7+1), MaxTokens: 5 + i%11, Sampling: &Sampling{Temperature: 0.7, TopK: 40}, Seed: new(uint64(i))}
	}
	texts := make([]string, 20)
	var all sync.WaitGroup
	for i := range texts {
		all.Go(func() {
			r, err := m.Generate(t.Context(), request(i))
			if err != nil {
				t.Error(err)
				return
			}
			texts[i] = r.Text
		})
	}
	all.Wait()
	for i, got := range texts {
		r, err := m.Generate(t.Context(), request(i))
		if err != nil || r.Text != got {
			t.Errorf("request %d: got %q in company, %q alone (%v)", i, got, r.Text, err)
		}
	}
}

func TestStopText(t *testing.T) {
	m := openBuiltin(t, Options{})
	whole, err := m.Generate(t.Context(), Request{Prompt: "Once upon a time", Sampling: greedy, MaxTokens: 40})
	if err != nil {
		t.Fatal(err)
	}
	for _, stop := range []string{"state", " great", "e of g", "excitement. I", "zebra", ""} {
		r, err := m.Generate(t.Context(), Request{Prompt: "Once upon a time", Sampling: greedy, MaxTokens: 40, Stop: []string{stop, "never in it"}})
		if err != nil {
			t.Fatal(err)
		}
		want, _, found := strings.Cut(whole.Text, stop)
		if stop == "" || !found {
			want, found = whole.Text, false
		}
		if r.Text != want || (r.FinishReason == "stop") != found {
			t.Errorf("stop at %q: got %q by %s, want %q", stop, r.Text, r.FinishReason, want)
		}
	}
}

func TestStopIDs(t *testing.T) {
	m := openBuiltin(t, Options{})
	r, err := m.Generate(t.Context(), Request{Prompt: "Once upon a time", Sampling: greedy, StopIDs: []int32{340}})
	if err != nil || r.FinishReason != "stop" || !slices.Equal(r.IDs, []int32{43, 329}) {
		t.Errorf("got %+v (%v), want two ids and a stop", r, err)
	}
}

// TestCancelKeepsText breaks off a stream and ends a context.
func TestCancelKeepsText(t *testing.T) {
	m := openBuiltin(t, Options{})
	long := Request{Prompt: "Once upon a time", Sampling: greedy, MaxTokens: 8000, IgnoreEOS: true}
	g, err := m.Start(t.Context(), long)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for range g.Tokens() {
		if n++; n == 3 {
			break
		}
	}
	r, err := g.Wait()
	if !errors.Is(err, ErrCancelled) || r.FinishReason != "cancelled" || len(r.IDs) < 3 {
		t.Errorf("got %+v and %v, want at least three ids and ErrCancelled", r, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r, err = m.Generate(ctx, long)
	if !errors.Is(err, ErrCancelled) || !errors.Is(err, context.DeadlineExceeded) || r == nil {
		t.Errorf("got %v, want ErrCancelled and the deadline as its cause", err)
	}
}

func TestRequestErrors(t *testing.T) {
	m := openBuiltin(t, Options{Context: 20})
	for _, c := range []struct {
		request Request
		want    string
	}{
		{Request{Prompt: "a", IDs: []int32{1}}, "generate: got more than one of a prompt, messages and ids, want one"},
		{Request{IDs: []int32{}}, "engine: invalid request: the prompt is empty, want at least one token"},
		{Request{IDs: make([]int32, 20)}, "engine: invalid request: the prompt has 20 tokens, want less than the context of 20"},
		{Request{Prompt: "a", Stop: []string{"\xff"}}, `generate: stop text "\xff" is not UTF-8`},
		{Request{Prompt: "a", MaxTokens: -1}, "engine: invalid request: the maximum of new tokens is -1, want at least 1"},
		{Request{Prompt: "a", Sampling: &Sampling{TopP: 1.5}}, "generate: top-p is 1.5, want 0 to 1"},
		{Request{Prompt: "a", Sampling: &Sampling{LogitBias: map[int32]float64{7: math.NaN()}}}, "generate: logit bias for id 7 is not a number"},
		{Request{Prompt: "a", Sampling: &Sampling{LogitBias: map[int32]float64{4096: 1}}}, "engine: invalid request: logit bias for id 4096, want an id from 0 to 4095"},
	} {
		_, err := m.Generate(t.Context(), c.request)
		if err == nil || err.Error() != c.want || !errors.Is(err, ErrRequest) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	m.Close()
	if _, err := m.Generate(t.Context(), Request{Prompt: "a"}); !errors.Is(err, ErrClosed) {
		t.Errorf("after close: got %v, want ErrClosed", err)
	}
}

// TestCloseAtOnce closes a model from several goroutines while requests run:
// each Close returns when the memory is given back.
func TestCloseAtOnce(t *testing.T) {
	m, err := Open(filepath.Join("testdata", "tiny-dense"), Options{Context: 200})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		g, err := m.Start(t.Context(), Request{IDs: []int32{1}, MaxTokens: 190, IgnoreEOS: true})
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			if _, err := g.Wait(); err != nil && !errors.Is(err, ErrCancelled) {
				t.Errorf("got %v, want the whole text or ErrCancelled", err)
			}
		})
	}
	for range 4 {
		all.Go(func() {
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestEvents(t *testing.T) {
	var kinds []EventKind
	var last Event
	m := openBuiltin(t, Options{OnEvent: func(e Event) {
		kinds = append(kinds, e.Kind)
		last = e
	}})
	if !slices.Contains(kinds, Info) || last.Kind != Progress || last.Done != last.Total || last.Total != m.Plan().Weights {
		t.Errorf("got kinds %v, the last event %+v; want one line of information and progress to the end", kinds, last)
	}
}

// TestOpenFS opens a checkpoint from memory, and shows what each missing file
// means.
func TestOpenFS(t *testing.T) {
	files := fstest.MapFS{}
	for _, name := range []string{"config.json", "model.safetensors"} {
		file, err := builtin.FS().Open(name)
		if err != nil {
			t.Fatal(err)
		}
		info, _ := file.Stat()
		data := make([]byte, info.Size())
		if _, err := file.Read(data); err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: data}
	}
	m, err := OpenFS(files, Options{Device: "cpu", Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	r, err := m.Generate(t.Context(), Request{IDs: []int32{1, 78}, MaxTokens: 4})
	if err != nil || len(r.IDs) != 4 || r.Text != "" || r.FinishReason != "length" {
		t.Errorf("got %+v (%v), want four ids and no text", r, err)
	}
	if _, err := m.Encode("text", true); !errors.Is(err, ErrUnsupported) {
		t.Errorf("encode without tokenizer.json: got %v, want ErrUnsupported", err)
	}
	if _, err := m.Generate(t.Context(), Request{Messages: []Message{{Role: "user", Content: "hi"}}}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("messages without template: got %v, want ErrUnsupported", err)
	}
	delete(files, "config.json")
	if _, err := OpenFS(files, Options{}); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "config.json") {
		t.Errorf("without config.json: got %v, want ErrNotFound and the file's name", err)
	}
}

// TestReadme compiles the README's program.
func TestReadme(t *testing.T) {
	needGo(t)
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	program := regexp.MustCompile("(?s)```go\n(.*?)```").FindSubmatch(readme)
	if program == nil {
		t.Fatal("README.md has no Go program")
	}
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, program[1], 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", os.DevNull, file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
