package chat

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/godwit-llm/godwit/internal/jinja"
)

const vectorDir = "../../testdata/templates"

// tokenConfig holds the tokens with which the reference rendered.
const tokenConfig = `{"bos_token":"<s>","eos_token":{"content":"</s>"},"unk_token":"<unk>","pad_token":"<pad>","sep_token":null}`

func clock() time.Time { return time.Date(2026, 3, 7, 9, 5, 4, 120034000, time.UTC) }

// rendering is what the reference made of template t and case c: out, or the
// class of its error and the message of raise_exception.
type rendering struct {
	Template string  `json:"t"`
	Case     int     `json:"c"`
	Out      *string `json:"o"`
	Error    string  `json:"e"`
	Message  string  `json:"m"`
}

func TestRendered(t *testing.T) { compareFolder(t, vectorDir) }

// TestPublished compares with templates that tools/templates/fetch.sh fetches:
// some 26,000 renderings, in about six seconds.
func TestPublished(t *testing.T) {
	if testing.Short() {
		t.Skip("left out by -short")
	}
	compareFolder(t, "../../testdata/external/templates")
}

func compareFolder(t *testing.T, dir string) {
	f, err := os.Open(filepath.Join(dir, "rendered.jsonl"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("%s has no renderings: run tools/templates/fetch.sh", dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 64<<20)
	sc.Scan()
	var head struct{ Cases []json.RawMessage }
	if err := json.Unmarshal(sc.Bytes(), &head); err != nil {
		t.Fatal(err)
	}
	loaded := map[string]*Template{}
	failed := map[string]error{}
	n := 0
	for ; sc.Scan(); n++ {
		var want rendering
		if err := json.Unmarshal(sc.Bytes(), &want); err != nil {
			t.Fatal(err)
		}
		if _, ok := loaded[want.Template]; !ok {
			loaded[want.Template], failed[want.Template] = loadFile(filepath.Join(dir, want.Template))
		}
		err := failed[want.Template]
		out := ""
		if err == nil {
			out, err = loaded[want.Template].Render(head.Cases[want.Case])
		}
		if diff := compare(want, out, err); diff != "" {
			t.Errorf("%s, case %d: %s\n%s", want.Template, want.Case, clip(head.Cases[want.Case]), diff)
		}
	}
	t.Logf("%d renderings of %d templates compared", n, len(loaded))
}

func clip(b []byte) []byte { return b[:min(len(b), 400)] }

func loadFile(path string) (*Template, error) {
	source, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t, err := Load([]byte(tokenConfig), source)
	if err == nil {
		t.Now = clock
	}
	return t, err
}

// compare returns how a rendering differs from the reference, or "".
func compare(want rendering, out string, err error) string {
	if want.Out != nil {
		if err != nil {
			return "error " + err.Error()
		}
		if out == *want.Out {
			return ""
		}
		return cmp.Diff(*want.Out, out)
	}
	var raised *jinja.RaisedError
	switch {
	case err == nil:
		return "no error, want " + want.Error + " " + want.Message
	case want.Error == "TemplateError" && (!errors.As(err, &raised) || raised.Message != want.Message):
		return "error " + err.Error() + ", want raise_exception: " + want.Message
	}
	return ""
}
