package server

import (
	"github.com/go-json-experiment/json/jsontext"
)

// responseFormat says what an answer's text must be. The schema stands in
// json_schema in chats, and beside the type in responses.
type responseFormat struct {
	Type        string         `json:"type" enum:"text,json_object,json_schema"`
	JSONSchema  *namedSchema   `json:"json_schema,omitzero"`
	Name        string         `json:"name,omitzero"`
	Description string         `json:"description,omitzero"`
	Schema      jsontext.Value `json:"schema,omitzero"`
	Strict      *bool          `json:"strict,omitzero"`
}

type namedSchema struct {
	Name        string         `json:"name"`
	Description string         `json:"description,omitzero"`
	Schema      jsontext.Value `json:"schema,omitzero"`
	Strict      *bool          `json:"strict,omitzero"`
}

// check refuses what the text cannot be held to. param is the field's name.
func (f *responseFormat) check(param string) error {
	switch f.Type {
	case "", "text":
		return nil
	}
	return unsupported(param, "%s.type is %q, want text", param, f.Type)
}
