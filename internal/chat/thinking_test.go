package chat

import (
	"testing"
)

func TestThinkingSwitch(t *testing.T) {
	const words = "{% for m in messages %}<{{ m.role }}>{{ m.content.replace('/no_think', '').replace('/think', '') | trim }}{% if '/no_think' in m.content %}[off]{% endif %}{% endfor %}"
	const detailed = "{# detailed thinking on or off #}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
	const other = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{{ '[off]' if thinking is defined and not thinking }}"
	const own = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{{ '[off]' if enable_thinking is defined and not enable_thinking }}"
	user := Message{Role: "user", Content: "Hi"}
	system := Message{Role: "system", Content: "Be brief. /think"}
	for _, c := range []struct {
		source, args, want string
		messages           []Message
	}{
		{own, `{"enable_thinking": false}`, "<user>Hi[off]", []Message{user}},
		{own, `{"enable_thinking": "no"}`, "<user>Hi", []Message{user}},
		{other, `{"enable_thinking": false}`, "<user>Hi[off]", []Message{user}},
		{other, `{"enable_thinking": false, "thinking": true}`, "<user>Hi", []Message{user}},
		{other, `{"enable_thinking": null}`, "<user>Hi", []Message{user}},
		{words, `{"enable_thinking": false}`, "<system>[off]<user>Hi", []Message{user}},
		{words, `{"enable_thinking": true}`, "<system><user>Hi", []Message{user}},
		{words, `{"enable_thinking": false}`, "<system>Be brief.[off]<user>Hi", []Message{system, user}},
		{words, ``, "<system>Be brief.<user>Hi", []Message{system, user}},
		{detailed, `{"enable_thinking": false}`, "<system>detailed thinking off<user>Hi", []Message{user}},
		{detailed, `{"enable_thinking": true}`, "<system>detailed thinking on\n\nBe brief.<user>Hi", []Message{{Role: "system", Content: "detailed thinking off\nBe brief."}, user}},
		{plain, `{"enable_thinking": false}`, "<user>Hi<assistant>", []Message{user}},
	} {
		p, err := mustParse(t, c.source).Prompt(Conversation{Messages: c.messages, Args: []byte(c.args)})
		if err != nil || p.Text != c.want {
			t.Errorf("%s, %s\n got %q, %v\nwant %q", c.source, c.args, p.Text, err, c.want)
		}
	}
	_, err := mustParse(t, words).Prompt(Conversation{Messages: []Message{user}, Args: []byte(`{"enable_thinking": "no"}`)})
	if want := "chat: chat_template_kwargs.enable_thinking must be a boolean"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestCallsWithoutTemplate writes calls for templates that leave them out.
func TestCallsWithoutTemplate(t *testing.T) {
	tmpl := mustParse(t, "<extra_id_0>{% for m in messages %}<extra_id_1>{{ m.role }}\n{{ m.content }}\n{% endfor %}")
	c := Conversation{Messages: []Message{
		{Role: "user", Content: "Weather?"},
		{Role: "assistant", Content: "One moment.", ToolCalls: []ToolCall{{Name: "get_weather", Arguments: `{"city": "Oslo"}`}, {Name: "get_time"}}},
		{Role: "tool", Content: "4 °C"},
	}}
	p, err := tmpl.Prompt(c)
	want := "<extra_id_0><extra_id_1>user\nWeather?\n<extra_id_1>assistant\nOne moment.\n" +
		`<toolcall> {"name": "get_weather", "arguments": {"city": "Oslo"}} </toolcall>` + "\n" +
		`<toolcall> {"name": "get_time", "arguments": {}} </toolcall>` + "\n<extra_id_1>tool\n4 °C\n"
	if err != nil || p.Text != want {
		t.Errorf("got %q, %v\nwant %q", p.Text, err, want)
	}
	if c.Messages[1].Content != "One moment." || len(c.Messages[1].ToolCalls) != 2 {
		t.Error("the caller's messages have changed")
	}
}
