package chat

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFormatOf tells the formats of the templates in testdata, and where they
// were fetched, of published ones.
func TestFormatOf(t *testing.T) {
	for _, c := range []struct {
		file, format string
		start        Start
		thinking     thinkingSwitch
	}{
		{"chatml-think", "nemotron3", InReasoning, thinkingSwitch{argument: "enable_thinking"}},
		{"special-switch", "nemotron2", InReasoning, thinkingSwitch{on: "/think", off: "/no_think"}},
		{"extra-id", "mini", AtStart, thinkingSwitch{}},
		{"header-tools", "llama3", AtStart, thinkingSwitch{}},
		{"chatml-reverse", "hermes", AtStart, thinkingSwitch{argument: "enable_thinking"}},
		{"sys-inst", "reasoning", AtStart, thinkingSwitch{}},
		{"external/trl-nemotron_3_super", "nemotron3", InReasoning, thinkingSwitch{argument: "enable_thinking"}},
		{"external/trl-nemotron_3_ultra", "nemotron3", InReasoning, thinkingSwitch{argument: "enable_thinking"}},
		{"external/trl-nemotron_3_5_lightning", "nemotron3", InReasoning, thinkingSwitch{argument: "enable_thinking"}},
		{"external/llama_cpp_python-NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "nemotron3", InReasoning, thinkingSwitch{argument: "enable_thinking"}},
		{"external/llama_cpp_python-NVIDIA-Nemotron-Nano-v2", "nemotron2", InReasoning, thinkingSwitch{on: "/think", off: "/no_think"}},
		{"external/llama_cpp_python-Qwen3-Coder", "nemotron3", AtStart, thinkingSwitch{}},
		{"external/trl-qwen3", "hermes", AtStart, thinkingSwitch{argument: "enable_thinking"}},
		{"external/xinference-Qwen3-Next-Thinking", "hermes", InReasoning, thinkingSwitch{}},
		{"external/llama_cpp_python-NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", "hermes", AtStart, thinkingSwitch{}},
		{"external/llama_cpp_python-meta-llama-Llama-3.1-8B-Instruct", "llama3", AtStart, thinkingSwitch{}},
		{"external/llama_cpp_python-meta-llama-Llama-3.2-3B-Instruct", "llama3", AtStart, thinkingSwitch{}},
		{"external/llama_cpp_python-deepseek-ai-DeepSeek-V3.1", "reasoning", InContent, thinkingSwitch{argument: "enable_thinking"}},
		{"external/llama_cpp_python-GLM-4.6", "reasoning", AtStart, thinkingSwitch{argument: "enable_thinking"}},
		{"external/llama_cpp_python-mistralai-Mistral-Nemo-Instruct-2407", "reasoning", AtStart, thinkingSwitch{}},
	} {
		t.Run(c.file, func(t *testing.T) {
			path := filepath.Join(vectorDir, c.file+".jinja")
			if name, ok := strings.CutPrefix(c.file, "external/"); ok {
				path = filepath.Join("../../testdata/external/templates", name+".jinja")
				if _, err := os.Stat(path); err != nil {
					t.Skip("run tools/templates/fetch.sh")
				}
			}
			tmpl, err := loadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got := tmpl.Format().String(); got != c.format {
				t.Errorf("format %s, want %s", got, c.format)
			}
			if got := tmpl.shown().thinking; got != c.thinking {
				t.Errorf("switch %+v, want %+v", got, c.thinking)
			}
			if got, want := tmpl.SwitchesThinking(), c.thinking != (thinkingSwitch{}); got != want {
				t.Errorf("switches thinking: %v, want %v", got, want)
			}
			p, err := tmpl.Prompt(Conversation{Messages: []Message{{Role: "user", Content: "Hi"}}, Tools: readTools(t)[:1]})
			if err != nil || p.Start != c.start {
				t.Errorf("start %d, %v, want %d", p.Start, err, c.start)
			}
		})
	}
}

// TestFormatByWords covers templates that refuse or leave out calls.
func TestFormatByWords(t *testing.T) {
	const turns = "{% for m in messages %}{{ m.content }}{% endfor %}"
	for _, c := range []struct{ source, want string }{
		{turns + "{# <function= #}", "nemotron3"},
		{turns + "<TOOLCALL>", "nemotron2"},
		{turns + "<AVAILABLE_TOOLS>", "nemotron2"},
		{turns + "<toolcall>", "mini"},
		{turns + "<extra_id_1>User", "mini"},
		{turns + "{{ '<extra_id_%d>' | format(1) }}", "mini"},
		{turns + "<tool_call>", "hermes"},
		{turns + "<|python_tag|>", "llama3"},
		{turns, "reasoning"},
		{"{{ raise_exception('no') }}<tool_call>", "hermes"},
		{turns + "{% for m in messages %}{% for c in m.tool_calls or [] %}[CALL]{{ c.function | tojson }}{% endfor %}{% endfor %}<tool_call>", "reasoning"},
		{turns + "{% for m in messages %}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}{% endfor %}{% endfor %}", "hermes"},
		{turns + "{% for m in messages %}{% for c in m.tool_calls or [] %}<toolcall> {{ c.function | tojson }}{% endfor %}{% endfor %}", "mini"},
	} {
		if got := mustParse(t, c.source).Format().String(); got != c.want {
			t.Errorf("%s: got %s, want %s", c.source, got, c.want)
		}
	}
	if got := new(Template).Format().String(); got != "reasoning" {
		t.Errorf("no template: %s", got)
	}
}

func TestFormatByName(t *testing.T) {
	for _, name := range Formats() {
		f, err := FormatByName(name)
		if err != nil || f.String() != name || f.Reasoning() != (name != "plain") || f.Calls() != (f.CallPrefix("f") != "") {
			t.Errorf("%s: %v, %v", name, f, err)
		}
	}
	_, err := FormatByName("qwen")
	if want := `chat: format "qwen", want nemotron3, hermes, nemotron2, mini, llama3, reasoning, plain`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if f := (Format{}); f.String() != "plain" || f.Calls() || f.Reasoning() || f.Markers() != nil || f.ReasoningEnd() != "" {
		t.Errorf("zero format: %v", f)
	}
}

func TestMarkers(t *testing.T) {
	for name, want := range map[string]string{
		"nemotron3": "<think> </think> <tool_call> </tool_call> <function= </function> <parameter= </parameter>",
		"hermes":    "<think> </think> <tool_call> </tool_call>",
		"llama3":    "<think> </think> <|python_tag|>",
		"plain":     "",
	} {
		if got := strings.Join(mustFormat(name).Markers(), " "); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestCallPrefix reads back what is written.
func TestCallPrefix(t *testing.T) {
	for _, name := range []string{"nemotron3", "hermes", "nemotron2", "mini", "llama3"} {
		f := mustFormat(name)
		args := `{"city": "Oslo"}`
		if f.xml {
			args = "<parameter=city>\nOslo\n</parameter>\n"
		}
		o := output{format: f, options: ParserOptions{Tools: readTools(t)}}
		text := f.CallPrefix("get_weather") + args + f.CallSuffix()
		r := o.parse(text)
		if len(r.ToolCalls) != 1 || r.ToolCalls[0].Name != "get_weather" || r.ToolCalls[0].Arguments != `{"city": "Oslo"}` || r.Content != "" {
			t.Errorf("%s: %q gives %+v", name, text, r)
		}
		if head := f.CallPrefix(""); !strings.HasPrefix(text, head) || strings.Contains(head, "weather") {
			t.Errorf("%s: without a name %q", name, head)
		}
	}
	if f := mustFormat("reasoning"); f.CallPrefix("f") != "" || f.CallSuffix() != "" {
		t.Error("a format without calls writes them")
	}
}

func TestStartOf(t *testing.T) {
	f := mustFormat("nemotron3")
	for prompt, want := range map[string]Start{
		"<|im_start|>assistant\n":                         AtStart,
		"<|im_start|>assistant\n<think>\n":                InReasoning,
		"<|im_start|>assistant\n<think></think>":          InContent,
		"<|im_start|>assistant\n<think>\n\n</think>\n\n":  InContent,
		"<think>\n and <|im_end|>\n<|im_start|>assistant": AtStart,
	} {
		if got := f.StartOf(prompt); got != want {
			t.Errorf("%q: %d, want %d", prompt, got, want)
		}
	}
	if mustFormat("plain").StartOf("<think>") != AtStart {
		t.Error("plain text has reasoning")
	}
	for text, want := range map[string]Start{"": InContent, "So": InContent, "<think>So": InReasoning, "<think>So</think>Yes": InContent} {
		if got := f.startWithin(text); got != want {
			t.Errorf("within %q: %d, want %d", text, got, want)
		}
	}
}
