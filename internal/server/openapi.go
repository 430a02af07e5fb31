package server

import (
	"cmp"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// schema is a JSON schema, as OpenAPI 3.1 has it.
type schema = map[string]any

// described is a type that has more than one form in JSON.
type described interface{ schema(*document) schema }

// document collects the schemas of the types that it meets. It is made from
// the types that requests are decoded into and answers are written from, so
// that it cannot say anything else.
type document struct {
	schemas map[string]any
}

// describe answers GET /openapi.json.
func (s *Server) describe(x *exchange) error {
	writeJSON(x, http.StatusOK, s.document())
	return nil
}

// document returns the OpenAPI document.
func (s *Server) document() schema {
	d := &document{schemas: map[string]any{}}
	paths := map[string]map[string]any{}
	for _, o := range s.operations() {
		method, path, _ := strings.Cut(o.pattern, " ")
		path = strings.Replace(path, "...}", "}", 1)
		if paths[path] == nil {
			paths[path] = map[string]any{}
		}
		paths[path][strings.ToLower(method)] = d.operation(o, path)
	}
	return schema{
		"openapi":    "3.1.0",
		"info":       schema{"title": "Godwit", "version": cmp.Or(strings.Trim(s.opts.Version, "()"), "devel"), "description": "OpenAI-compatible API of godwit serve."},
		"paths":      paths,
		"components": schema{"schemas": d.schemas, "securitySchemes": schema{"key": schema{"type": "http", "scheme": "bearer"}}},
	}
}

func (d *document) operation(o operation, path string) schema {
	answers := schema{"default": schema{"description": "An error", "content": body("application/json", d.of(reflect.TypeFor[errorBody]()))}}
	ok := schema{"description": "The answer"}
	switch {
	case o.gives == nil:
		ok["content"] = body("text/plain", schema{"type": "string"})
	case o.streams != nil:
		content := body("application/json", d.of(reflect.TypeOf(o.gives)))
		content["text/event-stream"] = schema{"schema": d.of(reflect.TypeOf(o.streams))}
		ok["content"] = content
	default:
		ok["content"] = body("application/json", d.of(reflect.TypeOf(o.gives)))
	}
	answers["200"] = ok
	if o.open != nil && o.gives != nil {
		answers["503"] = ok // /health and /ready say no in the same words
	}
	out := schema{"summary": o.summary, "operationId": operationID(o.pattern), "responses": answers}
	if o.takes != nil {
		out["requestBody"] = schema{"required": true, "content": body("application/json", d.of(reflect.TypeOf(o.takes)))}
	}
	if o.open == nil {
		out["security"] = []any{schema{}, schema{"key": []string{}}}
	}
	if strings.Contains(path, "{id}") {
		out["parameters"] = []any{schema{"name": "id", "in": "path", "required": true, "schema": schema{"type": "string"}}}
	}
	return out
}

func body(kind string, s schema) schema { return schema{kind: schema{"schema": s}} }

// operationID makes a name of a pattern: postV1ChatCompletions.
func operationID(pattern string) string {
	words := strings.FieldsFunc(pattern, func(c rune) bool { return strings.ContainsRune(" /.{}", c) })
	words[0] = strings.ToLower(words[0])
	for i := range words[1:] {
		words[i+1] = title(words[i+1])
	}
	return strings.Join(words, "")
}

func title(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// of returns the schema of a type; structs are referred to.
func (d *document) of(t reflect.Type) schema {
	if t.Kind() == reflect.Pointer {
		return d.of(t.Elem())
	}
	if u, ok := reflect.Zero(t).Interface().(described); ok {
		return u.schema(d)
	}
	if t == reflect.TypeFor[jsontext.Value]() {
		return schema{}
	}
	switch t.Kind() {
	case reflect.Struct:
		return d.ref(t)
	case reflect.Slice:
		items := d.of(t.Elem())
		if e := t.Elem(); e.Kind() == reflect.Pointer && e.Elem().Kind() != reflect.Struct {
			items = nullable(items)
		}
		return schema{"type": "array", "items": items}
	case reflect.Map:
		return schema{"type": "object", "additionalProperties": d.of(t.Elem())}
	case reflect.Bool:
		return schema{"type": "boolean"}
	case reflect.Int, reflect.Int32, reflect.Int64:
		return schema{"type": "integer"}
	case reflect.Float64:
		return schema{"type": "number"}
	case reflect.String:
		return schema{"type": "string"}
	}
	return schema{}
}

// ref describes a struct once.
func (d *document) ref(t reflect.Type) schema {
	name := title(t.Name())
	if _, known := d.schemas[name]; !known {
		properties, required := schema{}, []string{}
		d.schemas[name] = schema{}
		d.fields(t, properties, &required)
		d.schemas[name] = schema{"type": "object", "properties": properties, "required": required, "additionalProperties": false}
	}
	return schema{"$ref": "#/components/schemas/" + name}
}

// fields adds the fields of a struct, and of those that are embedded in it.
func (d *document) fields(t reflect.Type, properties schema, required *[]string) {
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			d.fields(f.Type, properties, required)
			continue
		case name == "-":
			continue
		}
		s := d.of(f.Type)
		constrain(s, f.Tag)
		optional := strings.Contains(options, "omitzero")
		if !optional {
			*required = append(*required, name)
		}
		if optional || f.Type.Kind() == reflect.Pointer {
			s = nullable(s)
		}
		if doc := f.Tag.Get("doc"); doc != "" {
			s["description"] = doc
		}
		properties[name] = s
	}
}

// constrain adds what the tags say of a value, or of the values in it.
func constrain(s schema, tag reflect.StructTag) {
	for _, inner := range []string{"items", "additionalProperties"} {
		if of, ok := s[inner].(schema); ok {
			s = of
		}
	}
	for _, name := range []string{"minimum", "maximum"} {
		if n, err := strconv.ParseFloat(tag.Get(name), 64); err == nil {
			s[name] = n
		}
	}
	if values := tag.Get("enum"); values != "" {
		s["enum"] = strings.Split(values, ",")
	}
}

// nullable allows null beside what a schema describes.
func nullable(s schema) schema {
	kind, plain := s["type"].(string)
	if !plain {
		return schema{"anyOf": []any{s, schema{"type": "null"}}}
	}
	s["type"] = []string{kind, "null"}
	if values, ok := s["enum"].([]string); ok {
		list := make([]any, len(values)+1)
		for i, v := range values {
			list[i] = v
		}
		s["enum"] = list // the last one is null
	}
	return s
}

func anyOf(list ...schema) schema {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return schema{"anyOf": out}
}

func (texts) schema(*document) schema {
	text := schema{"type": "string"}
	return anyOf(text, schema{"type": "array", "items": text})
}

func (prompts) schema(*document) schema {
	text, ids := schema{"type": "string"}, schema{"type": "array", "items": schema{"type": "integer"}}
	return anyOf(text, schema{"type": "array", "items": text}, ids, schema{"type": "array", "items": ids})
}

func (content) schema(d *document) schema {
	return anyOf(schema{"type": "string"}, schema{"type": "array", "items": d.of(reflect.TypeFor[contentPart]())})
}

func (inputItems) schema(d *document) schema {
	return anyOf(schema{"type": "string"}, schema{"type": "array", "items": d.of(reflect.TypeFor[inputItem]())})
}

func (toolChoice) schema(d *document) schema {
	return anyOf(schema{"type": "string", "enum": []string{"none", "auto", "required"}}, d.of(reflect.TypeFor[namedChoice]()))
}
