package jinja

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const vectorDir = "../../testdata/templates"

// clock is the moment at which the reference rendered the vectors.
func clock() time.Time {
	return time.Date(2026, 3, 7, 9, 5, 4, 120034000, time.UTC)
}

// vector is one rendering by the reference: out, or the class of its error
// and, for raise_exception, the message.
type vector struct {
	Template string  `json:"t"`
	Out      *string `json:"o"`
	Error    string  `json:"e"`
	Message  string  `json:"m"`
}

// readVectors returns the variables in the first line of a file and the
// renderings in the others.
func readVectors(t testing.TB, path string) (*Dict, []vector) {
	t.Helper()
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("%s does not exist: run tools/templates", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 16<<20)
	var vars *Dict
	var list []vector
	for sc.Scan() {
		if vars == nil {
			head, err := FromJSON(sc.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			v, _ := head.(*Dict).Get("vars")
			vars = v.(*Dict)
			continue
		}
		var v vector
		if err := json.Unmarshal(sc.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		list = append(list, v)
	}
	return vars, list
}

// checkVector compares one rendering with the reference.
func checkVector(source string, vars *Dict, want vector) error {
	tmpl, err := Parse(source)
	out := ""
	if err == nil {
		out, err = tmpl.Render(vars, Options{Now: clock})
	}
	if want.Out != nil {
		if err != nil {
			return fmt.Errorf("error %v\nwant %q", err, *want.Out)
		}
		if out != *want.Out {
			return fmt.Errorf("output differs (-want +got):\n%s", cmp.Diff(*want.Out, out))
		}
		return nil
	}
	if err == nil {
		return fmt.Errorf("output %q\nwant %s %s", out, want.Error, want.Message)
	}
	return checkClass(err, want)
}

// checkClass compares the kind of an error where both sides name it.
func checkClass(err error, want vector) error {
	var raised *RaisedError
	var undefined *UndefinedError
	var security *SecurityError
	switch {
	case want.Error == "TemplateError":
		if !errors.As(err, &raised) || raised.Message != want.Message {
			return fmt.Errorf("error %v\nwant raise_exception(%q)", err, want.Message)
		}
	case want.Error == "UndefinedError" && !errors.As(err, &undefined),
		want.Error == "SecurityError" && !errors.As(err, &security):
		return fmt.Errorf("error %v\nwant %s", err, want.Error)
	}
	return nil
}

func TestVectors(t *testing.T) {
	for _, name := range []string{"snippets.jsonl", "random.jsonl", "../external/random.jsonl"} {
		t.Run(filepath.Base(filepath.Dir(name))+"/"+filepath.Base(name), func(t *testing.T) {
			vars, list := readVectors(t, filepath.Join(vectorDir, name))
			for _, v := range list {
				if err := checkVector(v.Template, vars, v); err != nil {
					t.Errorf("%s\n%v", v.Template, err)
				}
			}
			t.Logf("%d renderings compared", len(list))
		})
	}
}

// seedVectors returns the templates of a file of vectors.
func seedVectors(t testing.TB, path string) []string {
	_, list := readVectors(t, path)
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = v.Template
	}
	return out
}
