package chat

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxRefs is how many references a type is followed through.
const maxRefs = 16

// toolSet has the parameters' schemas of tools by name. They are decoded when
// they are needed: most replies have no calls.
type toolSet map[string]*toolSchema

type toolSchema struct {
	text json.RawMessage
	root object // nil before it was decoded
}

type object = map[string]any

func newToolSet(tools []Tool) toolSet {
	set := toolSet{}
	for _, t := range tools {
		set[t.Name] = &toolSchema{text: t.Parameters}
	}
	return set
}

// schema returns the schema of a tool's parameters; nil for unknown tools.
func (set toolSet) schema(tool string) object {
	t := set[tool]
	if t == nil {
		return nil
	}
	if t.root == nil {
		t.root = object{}
		d := json.NewDecoder(bytes.NewReader(t.text))
		d.UseNumber()
		_ = d.Decode(&t.root) // a schema that is none leaves all values strings
	}
	return t.root
}

// parameter returns the schema of one parameter; an empty one where the tools
// do not say.
func (set toolSet) parameter(tool, name string) schema {
	root := set.schema(tool)
	s := schema{root: root, types: map[string]bool{}}
	properties, _ := root["properties"].(object)
	p, ok := properties[name]
	if !ok {
		p = root["additionalProperties"]
	}
	s.collect(p, 0)
	return s
}

// schema is what a JSON schema says about the type of one value.
type schema struct {
	root  object
	types map[string]bool
	enum  []any
}

// collect adds the types that a schema allows.
func (s *schema) collect(v any, depth int) {
	m, ok := v.(object)
	if !ok || depth > maxRefs {
		return
	}
	if ref, ok := m["$ref"].(string); ok {
		s.collect(s.resolve(ref), depth+1)
	}
	for _, word := range []string{"anyOf", "oneOf", "allOf"} {
		list, _ := m[word].([]any)
		for _, item := range list {
			s.collect(item, depth+1)
		}
	}
	switch t := m["type"].(type) {
	case string:
		s.types[t] = true
	case []any:
		for _, one := range t {
			if name, ok := one.(string); ok {
				s.types[name] = true
			}
		}
	default:
		s.implied(m)
	}
	if m["nullable"] == true {
		s.types["null"] = true
	}
	s.collectValues(m)
}

// implied adds the type that keywords tell where "type" is missing.
func (s *schema) implied(m object) {
	if m["properties"] != nil {
		s.types["object"] = true
	}
	if m["items"] != nil || m["prefixItems"] != nil {
		s.types["array"] = true
	}
}

// collectValues adds the values of enum and const.
func (s *schema) collectValues(m object) {
	list, _ := m["enum"].([]any)
	s.enum = append(s.enum, list...)
	if v, ok := m["const"]; ok {
		s.enum = append(s.enum, v)
	}
}

// resolve follows a reference within the schema: "#/$defs/Name".
func (s *schema) resolve(ref string) any {
	path, ok := strings.CutPrefix(ref, "#/")
	if !ok {
		return nil
	}
	var at any = s.root
	for _, name := range strings.Split(path, "/") {
		m, _ := at.(object)
		at = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(name)]
	}
	return at
}

// onlyText reports whether each value is a string, as it is where the schema
// does not say.
func (s *schema) onlyText() bool {
	for t := range s.types {
		if t != "string" {
			return false
		}
	}
	for _, v := range s.enum {
		if _, ok := v.(string); !ok {
			return false
		}
	}
	return true
}

var (
	integerText = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.0+)?$`)
	numberText  = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)
)

// typed returns a value as JSON: of the first type that the schema allows and
// the text can be read as, a string last. A text that fits none is a string
// too, so that it is not lost.
func (s *schema) typed(text string) []byte {
	word := trimSpace(text)
	if v, ok := s.member(text, word); ok {
		return v
	}
	switch lower := strings.ToLower(word); {
	case s.types["null"] && (lower == "null" || lower == "none"):
		return []byte("null")
	case s.types["boolean"] && (lower == "true" || lower == "false"):
		return []byte(lower)
	case s.types["integer"] && integerText.MatchString(word), s.types["number"] && numberText.MatchString(word):
		return []byte(word)
	}
	first := ""
	if s.types["object"] {
		first += "{"
	}
	if s.types["array"] {
		first += "["
	}
	if v, ok := wholeJSON(word, first); ok {
		return []byte(v)
	}
	return appendQuoted(nil, text)
}

// member returns the member of the enum that the text is.
func (s *schema) member(text, word string) ([]byte, bool) {
	if slices.Contains(s.enum, any(text)) {
		return appendQuoted(nil, text), true
	}
	for _, v := range s.enum {
		switch x := v.(type) {
		case json.Number:
			if x.String() == word {
				return []byte(word), true
			}
		case bool, nil:
			if b, err := json.Marshal(x); err == nil && strings.EqualFold(string(b), word) {
				return b, true
			}
		}
	}
	return nil, false
}

// appendQuoted appends a string as JSON.
func appendQuoted(dst []byte, text string) []byte {
	return append(appendEscaped(append(dst, '"'), text), '"')
}

// appendEscaped appends the inside of a JSON string. Only what must be is
// escaped.
func appendEscaped(dst []byte, text string) []byte {
	for i := 0; i < len(text); {
		c := text[i]
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		if c < utf8.RuneSelf {
			dst = appendJSON(dst, c, true)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(text[i:])
		dst = utf8.AppendRune(dst, r)
		i += n
	}
	return dst
}
