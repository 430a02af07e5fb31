package chat

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite what the outputs in testdata/replies are expected to give")

// output is one recorded output of a model and what is to come of it. In the
// files under testdata/replies it looks so, and each file begins with the
// tools that its outputs may call:
//
//	=== name
//	format: hermes
//	start: reasoning
//	--- output
//	text
//	--- reasoning
//	text
//	--- call get_weather
//	{"city": "Oslo"}
//
// Only the sections that have text are there. The newline before the next line
// of dashes does not belong to the text. "live", "single" and "no tools" may
// follow the format, each on a line.
type output struct {
	name    string
	head    []string
	format  Format
	options ParserOptions
	text    string
	want    string // the sections behind the output, as they are written
}

func TestReplies(t *testing.T) {
	for _, o := range readOutputs(t) {
		t.Run(o.name, func(t *testing.T) {
			whole := o.parse(o.text)
			if got := showReply(whole); !*update && got != o.want {
				t.Errorf("%s\n%s", o.text, cmp.Diff(o.want, got))
			}
			for _, c := range whole.ToolCalls {
				if !c.Incomplete && !json.Valid([]byte(c.Arguments)) {
					t.Errorf("arguments %q are not JSON", c.Arguments)
				}
			}
			if !t.Failed() {
				o.cut(t, whole)
			}
		})
	}
}

// cut compares with every way of cutting the text in two, in three if it is
// short, into single characters, and with random ways.
func (o *output) cut(t *testing.T, whole Reply) {
	check := func(pieces ...string) {
		if got := o.parse(pieces...); got.Reasoning != whole.Reasoning || got.Content != whole.Content || !slices.Equal(got.ToolCalls, whole.ToolCalls) {
			t.Fatalf("cut as %q\n%s", pieces, cmp.Diff(whole, got))
		}
	}
	ends := boundaries(o.text)
	for i, a := range ends {
		check(o.text[:a], o.text[a:])
		if len(o.text) > 100 || testing.Short() {
			continue
		}
		for _, b := range ends[i:] { // every pair of positions
			check(o.text[:a], o.text[a:b], o.text[b:])
		}
	}
	var single []string
	for _, r := range o.text {
		single = append(single, string(r))
	}
	check(single...)
	if testing.Short() {
		return
	}
	rapid.Check(t, func(t *rapid.T) {
		check(cutAt(o.text, rapid.SliceOfN(rapid.SampledFrom(ends), 0, 20).Draw(t, "cuts"))...)
	})
}

// boundaries returns where characters begin, and the end.
func boundaries(text string) []int {
	var at []int
	for i := range text {
		at = append(at, i)
	}
	return append(at, len(text))
}

func cutAt(text string, cuts []int) []string {
	var pieces []string
	for from := 0; ; {
		next := len(text)
		for _, c := range cuts {
			if c > from && c < next {
				next = c
			}
		}
		pieces = append(pieces, text[from:next])
		if from = next; from == len(text) {
			return pieces
		}
	}
}

// parse adds up the deltas of a text in pieces, and checks their order.
func (o *output) parse(pieces ...string) Reply {
	options, n := o.options, 0
	options.NewID = func() string { n++; return fmt.Sprintf("call_%d", n) }
	p := NewParser(o.format, options)
	var r Collector
	var at orderCheck
	take := func(deltas []Delta) {
		for _, d := range deltas {
			at.next(d)
			r.Add(d)
		}
	}
	for _, piece := range pieces {
		take(p.Feed(piece))
	}
	take(p.Close())
	if at.open {
		panic("a call was not ended")
	}
	return r.Reply()
}

// orderCheck panics where deltas come in an order that cannot be.
type orderCheck struct {
	open  bool
	calls int
}

func (o *orderCheck) next(d Delta) {
	ok := d.Text != ""
	switch d.Kind {
	case CallStart:
		ok = !o.open && d.Call == o.calls && d.Name != "" && d.ID != ""
		o.open = true
	case CallArguments:
		ok = ok && o.open && d.Call == o.calls
	case CallEnd:
		ok = o.open && d.Call == o.calls
		o.open = false
		o.calls++
	default:
		ok = ok && !o.open
	}
	if !ok {
		panic(fmt.Sprintf("unexpected %+v", d))
	}
}

// showReply writes the sections of a reply.
func showReply(r Reply) string {
	var b strings.Builder
	section := func(title, text string) { fmt.Fprintf(&b, "--- %s\n%s\n", title, text) }
	if r.Reasoning != "" {
		section("reasoning", r.Reasoning)
	}
	if r.Content != "" {
		section("content", r.Content)
	}
	for _, c := range r.ToolCalls {
		title := "call " + c.Name
		if c.Incomplete {
			title = "incomplete " + title
		}
		section(title, c.Arguments)
	}
	return b.String()
}

// readOutputs reads all files of testdata/replies; with -update it writes them
// again.
func readOutputs(t testing.TB) []output {
	files, err := filepath.Glob("testdata/replies/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no outputs: %v", err)
	}
	tools := readTools(t)
	var all []output
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		blocks := strings.Split("\n"+string(data), "\n=== ")
		written := blocks[0]
		for _, block := range blocks[1:] {
			o, err := readOutput(strings.TrimSuffix(block, "\n")+"\n", tools)
			if err != nil {
				t.Fatalf("%s: %s: %v", file, o.name, err)
			}
			written += "\n=== " + strings.Join(append([]string{o.name}, o.head...), "\n") + "\n--- output\n" + o.text + "\n" + showReply(o.parse(o.text))
			o.name = strings.TrimSuffix(filepath.Base(file), ".txt") + "/" + o.name
			all = append(all, o)
		}
		if *update {
			if err := os.WriteFile(file, []byte(strings.TrimPrefix(written, "\n")), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return all
}

func readTools(t testing.TB) []Tool {
	data, err := os.ReadFile("testdata/replies/tools.json")
	if err != nil {
		t.Fatal(err)
	}
	var tools []Tool
	if err := json.Unmarshal(data, &tools); err != nil {
		t.Fatal(err)
	}
	return tools
}

func readOutput(block string, tools []Tool) (o output, err error) {
	head, rest, _ := strings.Cut(block, "\n--- output\n")
	lines := strings.Split(head, "\n")
	o.name, o.head = lines[0], lines[1:]
	o.options.Tools = tools
	for _, line := range o.head {
		switch key, value, _ := strings.Cut(line, ": "); key {
		case "format":
			o.format, err = FormatByName(value)
		case "start":
			o.options.Start = map[string]Start{"reasoning": InReasoning, "content": InContent}[value]
		case "live":
			o.options.Live = true
		case "single":
			o.options.Single = true
		case "no tools":
			o.options.Tools = nil
		default:
			err = fmt.Errorf("line %q", line)
		}
		if err != nil {
			return o, err
		}
	}
	end := len(rest)
	for _, section := range []string{"\n--- reasoning\n", "\n--- content\n", "\n--- call ", "\n--- incomplete call "} {
		if i := strings.Index(rest, section); i >= 0 {
			end = min(end, i)
		}
	}
	o.text = strings.TrimSuffix(rest[:end], "\n")
	if end < len(rest) {
		o.text, o.want = rest[:end], rest[end+1:]
	}
	if !utf8.ValidString(o.text) {
		err = fmt.Errorf("not UTF-8")
	}
	return o, err
}

// BenchmarkParser feeds a long reply in pieces of about a token.
func BenchmarkParser(b *testing.B) {
	text := strings.Repeat("The value of a < b is known, so the next step follows.\n", 200) + "</think>\n\n" +
		"<tool_call>\n<function=write_file>\n<parameter=content>\n" + strings.Repeat("\tif a < b {\n\t\treturn \"x\"\n\t}\n", 200) + "</parameter>\n</function>\n</tool_call>\n"
	tools := readTools(b)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		p := NewParser(mustFormat("nemotron3"), ParserOptions{Start: InReasoning, Tools: tools})
		for at := 0; at < len(text); at += 4 {
			p.Feed(text[at:min(at+4, len(text))])
		}
		p.Close()
	}
}
