package chat

import (
	"errors"
	"fmt"
	"strings"

	"github.com/godwit-llm/godwit/internal/jinja"
)

// finalMark is put after the text of the last message; the prompt is cut where
// it comes out of the template. Its space shows whether the template trims.
const finalMark = "CONTINUE_FINAL_MESSAGE_TAG "

// markFinal returns the messages with the mark after the last one's field, and
// that field's text without it. The messages passed in stay as they are.
func markFinal(list *jinja.List, field string) (*jinja.List, string, error) {
	items := make([]jinja.Value, list.Len())
	for i := range items {
		items[i] = list.At(i)
	}
	last := items[len(items)-1].(*jinja.Dict)
	v, _ := last.Get(field)
	var final string
	switch x := v.(type) {
	case string:
		final = x
		last = withField(last, field, x+finalMark)
	case *jinja.List:
		parts, text, err := markParts(x)
		if err != nil {
			return nil, "", err
		}
		final = text
		last = withField(last, field, parts)
	default:
		return nil, "", fmt.Errorf("chat: continue_final_message: the last message has no text in %q", field)
	}
	items[len(items)-1] = last
	return jinja.NewList(items...), final, nil
}

// markParts marks the last part that has a text.
func markParts(list *jinja.List) (*jinja.List, string, error) {
	parts := make([]jinja.Value, list.Len())
	for i := range parts {
		parts[i] = list.At(i)
	}
	for i := len(parts) - 1; i >= 0; i-- {
		part, ok := parts[i].(*jinja.Dict)
		if !ok {
			continue
		}
		if s, ok := text(part, "text"); ok {
			parts[i] = withField(part, "text", s+finalMark)
			return jinja.NewList(parts...), s, nil
		}
	}
	return nil, "", errors.New("chat: continue_final_message: the last message has no text part")
}

// withField copies d with one field changed in its place.
func withField(d *jinja.Dict, name string, val jinja.Value) *jinja.Dict {
	out := jinja.NewDict()
	for _, k := range d.Keys() {
		v, _ := d.Get(k)
		out.Set(k, v)
	}
	out.Set(name, val)
	return out
}

// cutFinal ends the prompt with the last message's text. A template that trims
// it loses its trailing white space here too.
func cutFinal(out, final string) (string, error) {
	i := strings.LastIndex(out, strings.TrimSpace(finalMark))
	if i < 0 || !strings.Contains(out, strings.TrimSpace(final)) {
		return "", errors.New("chat: continue_final_message: the template leaves out the last message, or parts of it")
	}
	if strings.HasPrefix(out[i:], finalMark) {
		return out[:i], nil
	}
	return strings.TrimRight(out[:i], " \t\r\n\v\f"), nil
}
