package chat

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// turnEnds end an assistant's turn in the templates of the test below.
var turnEnds = []string{"<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<SPECIAL_12>"}

// TestTemplatesReadBack renders assistant turns with the templates themselves
// and takes them apart again: the formats are what the templates write.
func TestTemplatesReadBack(t *testing.T) {
	weather := ToolCall{Name: "get_weather", Arguments: `{"city": "Oslo", "days": 3, "hourly": true}`}
	file := ToolCall{Name: "write_file", Arguments: `{"path": "a/ü.txt", "content": "<p>\n\t\"x\" & y\n</p>", "tags": ["a", "b"], "options": {"append": false}}`}
	replies := map[string]Message{
		"content":        {Content: "It is cold & windy <today>."},
		"call":           {ToolCalls: []ToolCall{weather}},
		"call of a file": {ToolCalls: []ToolCall{file}},
		"text and call":  {Content: "Let me look.", ToolCalls: []ToolCall{weather}},
		"two calls":      {ToolCalls: []ToolCall{weather, file}},
		"reasoning":      {Reasoning: "a < b, so\n\nlook.", Content: "Look."},
		"everything":     {Reasoning: "Look.", Content: "I look.", ToolCalls: []ToolCall{weather, file}},
	}
	for _, c := range []struct {
		file string
		only string // names of replies; "" for all
	}{
		{"chatml-think", ""},
		{"special-switch", "content, call, call of a file, text and call, two calls"},
		{"header-tools", "content, call, call of a file"},
		{"external/trl-nemotron_3_super", ""},
		{"external/trl-nemotron_3_ultra", ""},
		{"external/trl-nemotron_3_5_lightning", ""},
		{"external/trl-nemotron_3_nano_training", ""},
		{"external/llama_cpp_python-NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", ""},
		{"external/llama_cpp_python-NVIDIA-Nemotron-Nano-v2", "content, call, call of a file, text and call, two calls"},
		{"external/trl-qwen3", ""},
		{"external/trl-qwen3_5_think_training", ""},
		{"external/llama_cpp_python-Qwen3-Coder", "content, call, call of a file, text and call, two calls"},
		{"external/trl-qwen2_5_training", "content, call, call of a file, text and call, two calls"},
		{"external/llama_cpp_python-meta-llama-Llama-3.1-8B-Instruct", "content, call, call of a file"},
		{"external/llama_cpp_python-meta-llama-Llama-3.2-3B-Instruct", "content, call, call of a file"},
	} {
		tmpl := openTemplate(t, c.file)
		if tmpl == nil {
			continue
		}
		for name, m := range replies {
			if c.only != "" && !strings.Contains(", "+c.only+", ", ", "+name+", ") {
				continue
			}
			m.Role = "assistant"
			t.Run(c.file+"/"+name, func(t *testing.T) { readBack(t, tmpl, m) })
		}
	}
}

// openTemplate returns nil where the file is not there.
func openTemplate(t *testing.T, name string) *Template {
	path := filepath.Join(vectorDir, name+".jinja")
	if name, ok := strings.CutPrefix(name, "external/"); ok {
		path = filepath.Join("../../testdata/external/templates", name+".jinja")
		if _, err := os.Stat(path); err != nil {
			return nil
		}
	}
	tmpl, err := loadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

func readBack(t *testing.T, tmpl *Template, m Message) {
	c := Conversation{Messages: []Message{{Role: "user", Content: "Hi"}}, Tools: readTools(t)[:2]}
	open, err := tmpl.Prompt(c)
	if err != nil {
		t.Fatal(err)
	}
	c.Messages = append(c.Messages, m)
	if m.Reasoning == "" { // Nano v2 takes a last turn for one to go on with
		c.Messages = append(c.Messages, Message{Role: "user", Content: "And then?"})
	}
	whole, err := tmpl.probe(c, false)
	if err != nil {
		t.Fatal(err)
	}
	o := output{format: tmpl.Format(), options: ParserOptions{Tools: c.Tools}}
	text, ok := strings.CutPrefix(whole, header(open.Text))
	if !ok {
		t.Fatalf("the turn in %q does not begin as in %q", whole, open.Text)
	}
	for _, end := range turnEnds {
		if i := strings.Index(text, end); i >= 0 {
			text = text[:i]
		}
	}
	got := o.parse(strings.TrimRight(text, "\n"))
	want := Reply{Reasoning: m.Reasoning, Content: m.Content}
	for i := range got.ToolCalls {
		got.ToolCalls[i].ID = ""
	}
	want.ToolCalls = m.ToolCalls
	if !cmp.Equal(got, want) {
		t.Errorf("prompt ends %q, turn %q\n%s", open.Text[max(0, len(open.Text)-40):], text, cmp.Diff(want, got))
	}
}

// header returns a prompt without the reasoning that it opens or closes.
func header(prompt string) string {
	if bare, ok := strings.CutSuffix(strings.TrimRight(prompt, whitespace), thinkClose); ok {
		prompt = bare
	}
	if bare, ok := strings.CutSuffix(strings.TrimRight(prompt, whitespace), thinkOpen); ok {
		prompt = bare
	}
	return prompt
}
