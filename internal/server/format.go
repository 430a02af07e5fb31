package server

import (
	"context"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/godwit-llm/godwit"
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

// grammar returns what holds the text to the format; nil for any text. param
// is the field's name.
func (f *responseFormat) grammar(m *godwit.Model, param string) (*godwit.Grammar, error) {
	switch f.Type {
	case "", "text":
		return nil, nil
	case "json_object":
		return m.JSONObject()
	case "json_schema":
	default:
		return nil, unsupported(param+".type", "%s.type is %q, want text, json_object or json_schema", param, f.Type)
	}
	schema, at := f.Schema, param+".schema"
	switch {
	case f.JSONSchema != nil:
		schema, at = f.JSONSchema.Schema, param+".json_schema.schema"
	case f.Schema == nil && param == "response_format":
		at = param + ".json_schema"
	}
	if schema.Kind() != '{' {
		return nil, invalid(at, "%s is missing, want a JSON schema", at)
	}
	g, err := m.JSONSchema(schema)
	if err != nil {
		return nil, fieldError(at, err)
	}
	return g, nil
}

// fieldError names the field that a model's refusal is about.
func fieldError(param string, err error) error {
	e := *asAPIError(context.Background(), err)
	e.Param, e.Message = param, param+": "+e.Message
	return &e
}
