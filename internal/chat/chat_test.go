package chat

import (
	"errors"
	"strings"
	"testing"

	"github.com/godwit-llm/godwit/internal/jinja"
)

const plain = "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}" +
	"{% if add_generation_prompt %}<assistant>{% endif %}"

func mustParse(t *testing.T, source string) *Template {
	t.Helper()
	tmpl, err := ParseTemplate(source)
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

func TestLoad(t *testing.T) {
	const two = `{"chat_template":[{"name":"default","template":"D"},{"name":"tool_use","template":"T{{ tools|length }}"}]}`
	const hi = `{"messages":[{"role":"user","content":"Hi"}]}`
	const hiTools = `{"messages":[{"role":"user","content":"Hi"}],"tools":[{}]}`
	for _, c := range []struct{ config, file, request, want string }{
		{`{"chat_template":"A"}`, "", hi, "A"},
		{`{"chat_template":"A"}`, "B", hi, "B"},
		{two, "", hi, "D"},
		{two, "", hiTools, "T1"},
		{two, "F", hiTools, "F"},
		{`{"chat_template":"{{ bos_token }}{{ eos_token }}{{ pad_token is defined }}","bos_token":"<s>","eos_token":{"content":"</s>","lstrip":false},"pad_token":null}`, "", hi, "<s></s>False"},
	} {
		var file []byte
		if c.file != "" {
			file = []byte(c.file)
		}
		tmpl, err := Load([]byte(c.config), file)
		if err != nil {
			t.Errorf("%s: %v", c.config, err)
			continue
		}
		if out, err := tmpl.Render([]byte(c.request)); err != nil || out != c.want {
			t.Errorf("%s: got %q, %v, want %q", c.config, out, err, c.want)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	for _, c := range []struct{ config, file, want string }{
		{`{}`, "", ErrNoTemplate.Error()},
		{`{"chat_template":null}`, "", ErrNoTemplate.Error()},
		{`{`, "", "chat: tokenizer_config.json: jinja: JSON at offset 1: expected a property name in double quotes"},
		{`[]`, "", "chat: tokenizer_config.json is not an object"},
		{`{"chat_template":5}`, "", "chat: tokenizer_config.json: chat_template: neither a string nor a list"},
		{`{"chat_template":[5]}`, "", "chat: tokenizer_config.json: chat_template[0]: not an object"},
		{`{"chat_template":[{"name":"a"}]}`, "", "chat: tokenizer_config.json: chat_template[0]: name and template must be strings"},
		{`{"chat_template":"{% if %}"}`, "", "chat: tokenizer_config.json: chat_template: jinja: line 1: expected an expression, got %}"},
		{`{"bos_token":5}`, "", "chat: tokenizer_config.json: bos_token: neither a string nor an object"},
		{`{"bos_token":{}}`, "", "chat: tokenizer_config.json: bos_token: content is not a string"},
		{`{}`, "\n{{", "chat: chat_template.jinja: jinja: line 2: expected an expression, got end of template"},
	} {
		var file []byte
		if c.file != "" {
			file = []byte(c.file)
		}
		if _, err := Load([]byte(c.config), file); err == nil || err.Error() != c.want {
			t.Errorf("%s\n got %v\nwant %s", c.config, err, c.want)
		}
	}
	if _, err := Load(nil, nil); !errors.Is(err, ErrNoTemplate) {
		t.Errorf("got %v, want ErrNoTemplate", err)
	}
}

func TestRequestErrors(t *testing.T) {
	tmpl := mustParse(t, plain)
	for _, c := range []struct{ request, want string }{
		{`{"messages":`, "chat: request: jinja: JSON at offset 12: expected a value"},
		{`[]`, "chat: request is not a JSON object"},
		{`{}`, "chat: messages must be a list"},
		{`{"messages":{}}`, "chat: messages must be a list"},
		{`{"messages":[]}`, "chat: messages is empty"},
		{`{"messages":["Hi"]}`, "chat: messages[0] must be an object"},
		{`{"messages":[{"content":"Hi"}]}`, "chat: messages[0].role must be a string"},
		{`{"messages":[{"role":"user"},{"role":5}]}`, "chat: messages[1].role must be a string"},
		{`{"messages":[{"role":"user","content":5}]}`, "chat: messages[0].content must be a string, a list of parts or null"},
		{`{"messages":[{"role":"user","content":[{},5]}]}`, "chat: messages[0].content[1] must be an object or a string"},
		{`{"messages":[{"role":"user","tool_calls":{}}]}`, "chat: messages[0].tool_calls must be a list"},
		{`{"messages":[{"role":"user"}],"tools":{}}`, "chat: tools must be a list"},
		{`{"messages":[{"role":"user"}],"tools":["f"]}`, "chat: tools[0] must be an object"},
		{`{"messages":[{"role":"user"}],"documents":[1]}`, "chat: documents[0] must be an object"},
		{`{"messages":[{"role":"user"}],"chat_template_kwargs":[]}`, "chat: chat_template_kwargs must be an object"},
		{`{"messages":[{"role":"user"}],"chat_template_kwargs":{"tools":[]}}`, "chat: chat_template_kwargs.tools belongs into the request itself"},
		{`{"messages":[{"role":"user"}],"add_generation_prompt":1}`, "chat: add_generation_prompt must be a boolean"},
		{`{"messages":[{"role":"user"}],"continue_final_message":1}`, "chat: continue_final_message must be a boolean or the name of a field"},
		{`{"messages":[{"role":"user"}],"continue_final_message":true,"add_generation_prompt":true}`, "chat: add_generation_prompt and continue_final_message exclude each other"},
		{`{"messages":[{"role":"user"}],"continue_final_message":true}`, `chat: continue_final_message: the last message has no text in "content"`},
		{`{"messages":[{"role":"user","content":[{"type":"image"}]}],"continue_final_message":true}`, "chat: continue_final_message: the last message has no text part"},
		{`{"messages":[{"role":"user","thought":"x"}],"continue_final_message":"thought"}`, `chat: continue_final_message: the template does not read "thought"`},
	} {
		if _, err := tmpl.Render([]byte(c.request)); err == nil || err.Error() != c.want {
			t.Errorf("%s\n got %v\nwant %s", c.request, err, c.want)
		}
	}
}

func TestTemplateRefusal(t *testing.T) {
	tmpl := mustParse(t, "\n{{ raise_exception('no ' + messages[0].role) }}")
	_, err := tmpl.Render([]byte(`{"messages":[{"role":"dog"}]}`))
	var raised *jinja.RaisedError
	if !errors.As(err, &raised) || raised.Message != "no dog" {
		t.Errorf("got %v", err)
	}
	if want := "chat: jinja: line 2: template raised: no dog"; err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestContinueFinalMessage(t *testing.T) {
	for _, c := range []struct{ source, content, want string }{
		{plain, `"Once upon "`, "<user>Hi<assistant>Once upon "},
		{strings.ReplaceAll(plain, "m.content", "m.content|trim"), `"Once upon "`, "<user>Hi<assistant>Once upon"},
		{strings.ReplaceAll(plain, "m.content", "m.content if m.content is string else m.content[-1].text"), `[{"type":"text","text":"a b"}]`, "<user>Hi<assistant>a b"},
	} {
		request := `{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":` + c.content + `}],"continue_final_message":true}`
		if out, err := mustParse(t, c.source).Render([]byte(request)); err != nil || out != c.want {
			t.Errorf("got %q, %v, want %q", out, err, c.want)
		}
	}
	gone := mustParse(t, "{% for m in messages[:-1] %}{{ m.content }}{% endfor %}")
	_, err := gone.Render([]byte(`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],"continue_final_message":true}`))
	if want := "chat: continue_final_message: the template leaves out the last message, or parts of it"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestVariables(t *testing.T) {
	tmpl := mustParse(t, "{{ tools }} {{ documents }} {{ add_generation_prompt }} {{ model is defined }} {{ a }} {{ chat_template_kwargs is defined }}")
	for _, c := range []struct{ request, want string }{
		{`{"model":"m","temperature":0,"messages":[{"role":"user"}]}`, "None None True False  False"},
		{`{"messages":[{"role":"user"}],"tools":[],"documents":[],"add_generation_prompt":false,"chat_template_kwargs":{"a":[1,null]}}`, "[] [] False False [1, None] False"},
		{`{"messages":[{"role":"user"}],"chat_template_kwargs":{"chat_template_kwargs":{}}}`, "None None True False  True"},
	} {
		if out, err := tmpl.Render([]byte(c.request)); err != nil || out != c.want {
			t.Errorf("%s\n got %q, %v\nwant %q", c.request, out, err, c.want)
		}
	}
}

func TestParseArguments(t *testing.T) {
	tmpl := mustParse(t, "{% for c in messages[0].tool_calls %}{{ c.function.arguments }};{% endfor %}")
	const request = `{"messages":[{"role":"assistant","tool_calls":[{"function":{"arguments":"{\"a\":1}"}},
		{"function":{"arguments":{"b":2}}},{"function":{"arguments":"[1]"}},{"function":{"arguments":"{"}},{"function":{}}]}]}`
	for parse, want := range map[bool]string{
		false: `{"a":1};{'b': 2};[1];{;;`,
		true:  `{'a': 1};{'b': 2};[1];{;;`,
	} {
		tmpl.ParseArguments = parse
		if out, err := tmpl.Render([]byte(request)); err != nil || out != want {
			t.Errorf("got %q, %v, want %q", out, err, want)
		}
	}
}

// FuzzRender sends any request through a template of many constructs.
func FuzzRender(f *testing.F) {
	tmpl, err := loadFile(vectorDir + "/schema-macros.jinja")
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"messages":[{"role":"user","content":"Hi"}],"continue_final_message":true}`))
	f.Add([]byte(`{"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}],"tools":[{"function":{"name":"f"}}]}`))
	tmpl.ParseArguments = true
	f.Fuzz(func(_ *testing.T, request []byte) { _, _ = tmpl.Render(request) })
}
