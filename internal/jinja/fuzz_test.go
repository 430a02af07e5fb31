package jinja

import (
	"path/filepath"
	"testing"
	"time"
)

// fuzzVars is small, but has a value of each kind.
const fuzzVars = `{"n":7,"f":2.5,"s":"Hé, you","t":true,"x":null,"big":123456789012345678901234567890,
"xs":[3,1,2],"d":{"b":2,"a":{"k":[1,{"z":null}]}},
"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":null,"tool_calls":[]}]}`

// FuzzParse parses and renders whatever comes: no panic, no hang, and bounds
// that hold.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"snippets.jsonl", "random.jsonl"} {
		for i, v := range seedVectors(f, filepath.Join(vectorDir, name)) {
			if i%3 == 0 {
				f.Add(v)
			}
		}
	}
	vars, err := FromJSON([]byte(fuzzVars))
	if err != nil {
		f.Fatal(err)
	}
	opt := Options{MaxSteps: 50_000, MaxOutput: 1 << 16, Now: clock}
	f.Fuzz(func(t *testing.T, source string) {
		tmpl, err := Parse(source)
		if err != nil {
			return
		}
		start := time.Now()
		out, err := tmpl.Render(vars.(*Dict), opt)
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("rendering took %v", took)
		}
		if err == nil && len(out) > opt.MaxOutput {
			t.Errorf("output has %d bytes", len(out))
		}
	})
}

// FuzzFromJSON reads whatever comes, and what it accepts must print as JSON
// that reads back the same.
func FuzzFromJSON(f *testing.F) {
	for _, s := range []string{fuzzVars, `[1e400, -0, -0.0, NaN, "\ud83d\ude00 \ud83d"]`, `{"a":1,"a":2}`, `"\u00e9\/"`} {
		f.Add([]byte(s))
	}
	tmpl, err := Parse("{{ v|tojson }}")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := FromJSON(data)
		if err != nil {
			return
		}
		first := dump(t, tmpl, v)
		again, err := FromJSON([]byte(first))
		if err != nil {
			t.Fatalf("%s does not read back: %v", first, err)
		}
		if second := dump(t, tmpl, again); second != first {
			t.Errorf("%s became %s", first, second)
		}
	})
}

func dump(t *testing.T, tmpl *Template, v Value) string {
	vars := NewDict()
	vars.Set("v", v)
	out, err := tmpl.Render(vars, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
