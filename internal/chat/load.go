package chat

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/godwit-llm/godwit/internal/jinja"
)

// ErrNoTemplate reports a checkpoint without a chat template.
var ErrNoTemplate = errors.New("chat: the checkpoint has no chat template")

// Template is a model's chat template with its special tokens. It is
// immutable apart from its exported fields: any number of goroutines may render it at once.
type Template struct {
	// Now is the clock of templates that print the date; nil means time.Now.
	Now func() time.Time
	// ParseArguments turns the arguments of tool calls that are JSON objects
	// in a string, as clients of the OpenAI API send them, into objects, which
	// most templates expect. transformers leaves that to its caller.
	ParseArguments bool

	named  map[string]*parsed // "default" and, where there is one, "tool_use"
	tokens *jinja.Dict

	detect sync.Once
	traits traits
}

type parsed struct {
	source string
	tmpl   *jinja.Template
}

const (
	defaultName = "default"
	toolName    = "tool_use"
)

// specialTokens are the names under which transformers passes tokens.
var specialTokens = []string{
	"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
}

// Load picks a checkpoint's template from the contents of tokenizer_config.json
// and chat_template.jinja; either may be nil, and the second wins. The error is
// ErrNoTemplate if neither holds one; others name the file and the field.
func Load(tokenizerConfig, chatTemplateJinja []byte) (*Template, error) {
	config := jinja.NewDict()
	if tokenizerConfig != nil {
		v, err := jinja.FromJSON(tokenizerConfig)
		if err != nil {
			return nil, fmt.Errorf("chat: tokenizer_config.json: %w", err)
		}
		var ok bool
		if config, ok = v.(*jinja.Dict); !ok {
			return nil, errors.New("chat: tokenizer_config.json is not an object")
		}
	}
	t := &Template{named: map[string]*parsed{}}
	var err error
	if t.tokens, err = tokensOf(config); err != nil {
		return nil, err
	}
	if chatTemplateJinja != nil {
		if err := t.Add(defaultName, string(chatTemplateJinja)); err != nil {
			return nil, fmt.Errorf("chat: chat_template.jinja: %w", err)
		}
		return t, nil
	}
	if err := t.addConfigured(config); err != nil {
		return nil, err
	}
	if len(t.named) == 0 {
		return nil, ErrNoTemplate
	}
	return t, nil
}

// ParseTemplate makes a template of its text alone, without special tokens.
func ParseTemplate(source string) (*Template, error) {
	t := &Template{named: map[string]*parsed{}, tokens: jinja.NewDict()}
	if err := t.Add(defaultName, source); err != nil {
		return nil, fmt.Errorf("chat: template: %w", err)
	}
	return t, nil
}

// Add parses one more template under a name, as the files of a checkpoint's
// additional_chat_templates folder are named. "default" and "tool_use" are the
// names that rendering looks for. It must not run while t renders.
func (t *Template) Add(name, source string) error {
	tmpl, err := jinja.Parse(source)
	if err != nil {
		return err
	}
	t.named[name] = &parsed{source, tmpl}
	return nil
}

// addConfigured adds the chat_template of tokenizer_config.json: a string, or
// a list of objects with a name and a template.
func (t *Template) addConfigured(config *jinja.Dict) error {
	field, _ := config.Get("chat_template")
	switch v := field.(type) {
	case nil:
		return nil
	case string:
		return inConfig("chat_template", t.Add(defaultName, v))
	case *jinja.List:
		for i := range v.Len() {
			at := fmt.Sprintf("chat_template[%d]", i)
			entry, ok := v.At(i).(*jinja.Dict)
			if !ok {
				return inConfig(at, errors.New("not an object"))
			}
			name, ok1 := text(entry, "name")
			source, ok2 := text(entry, "template")
			if !ok1 || !ok2 {
				return inConfig(at, errors.New("name and template must be strings"))
			}
			if err := t.Add(name, source); err != nil {
				return inConfig(at, err)
			}
		}
		return nil
	}
	return inConfig("chat_template", errors.New("neither a string nor a list"))
}

func inConfig(field string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("chat: tokenizer_config.json: %s: %w", field, err)
}

// text returns a string field of d.
func text(d *jinja.Dict, name string) (string, bool) {
	v, _ := d.Get(name)
	s, ok := v.(string)
	return s, ok
}

// tokensOf returns the special tokens that are set: each a string or an object
// with its content. Those that are null stay undefined in templates.
func tokensOf(config *jinja.Dict) (*jinja.Dict, error) {
	tokens := jinja.NewDict()
	for _, name := range specialTokens {
		v, _ := config.Get(name)
		switch x := v.(type) {
		case nil:
		case string:
			tokens.Set(name, x)
		case *jinja.Dict:
			s, ok := text(x, "content")
			if !ok {
				return nil, inConfig(name, errors.New("content is not a string"))
			}
			tokens.Set(name, s)
		default:
			return nil, inConfig(name, errors.New("neither a string nor an object"))
		}
	}
	return tokens, nil
}

// pick returns the template for a request: tool_use if there are tools.
func (t *Template) pick(tools bool) (*parsed, error) {
	if p := t.named[toolName]; p != nil && tools {
		return p, nil
	}
	if p := t.named[defaultName]; p != nil {
		return p, nil
	}
	names := make([]string, 0, len(t.named))
	for name := range t.named {
		names = append(names, name)
	}
	sort.Strings(names)
	return nil, fmt.Errorf("chat: no template is named %q, only %s", defaultName, strings.Join(names, ", "))
}
