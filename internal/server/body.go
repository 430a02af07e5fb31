package server

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// readBody reads a request's JSON object into v: within the limits of size,
// nesting and time, and with no field that v does not know.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request, v any) error {
	if err := checkContentType(r); err != nil {
		return err
	}
	rc := http.NewResponseController(w)
	rc.SetReadDeadline(time.Now().Add(s.opts.ReadTimeout)) // an error means that there is no connection to limit
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.opts.MaxBody))
	if err != nil {
		return bodyError(err)
	}
	rc.SetReadDeadline(time.Time{})
	return decode(data, s.opts.MaxDepth, v)
}

// checkContentType asks for JSON. A browser must then ask before it sends a
// request from another site's page.
func checkContentType(r *http.Request) error {
	header := r.Header.Get("Content-Type")
	kind, _, err := mime.ParseMediaType(header)
	if err != nil || kind != "application/json" {
		e := invalid("", "Content-Type is %q, want application/json", header)
		e.Status = http.StatusUnsupportedMediaType
		return e
	}
	return nil
}

func bodyError(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return &apiError{
			Status: http.StatusRequestEntityTooLarge, Type: typeInvalid, Code: "request_too_large",
			Message: fmt.Sprintf("the request has more than %d bytes, the most that this server takes", large.Limit),
		}
	}
	e := invalid("", "the request's body cannot be read: %v", err)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		e.Status, e.Code = http.StatusRequestTimeout, "timeout"
	}
	return e
}

// decode reads one JSON value strictly: unknown and repeated fields, values of
// other types and anything after the value are errors that name the place.
func decode(data []byte, maxDepth int, v any) error {
	if depth := nesting(data); depth > maxDepth {
		return invalid("", "the request nests %d levels deep, want at most %d", depth, maxDepth)
	}
	if err := json.Unmarshal(data, v, json.RejectUnknownMembers(true)); err != nil {
		return decodeError(err)
	}
	return nil
}

// nesting returns how deep arrays and objects are nested.
func nesting(data []byte) int {
	depth, deepest, quoted := 0, 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}

// decodeError names the field in words of the API.
func decodeError(err error) error {
	var refused *apiError
	if errors.As(err, &refused) {
		return refused
	}
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		if errors.Is(err, jsontext.ErrDuplicateName) {
			at := fieldPath(syntax.JSONPointer)
			return invalid(at, "%s occurs twice", at)
		}
		return invalid("", "the request is not valid JSON: %v at byte %d", syntax.Err, syntax.ByteOffset)
	}
	var e *json.SemanticError
	if !errors.As(err, &e) {
		return invalid("", "the request is not valid JSON: %v", err)
	}
	at := fieldPath(e.JSONPointer)
	if errors.Is(err, json.ErrUnknownName) {
		return unknownField(at)
	}
	if e.Err != nil && e.JSONKind == 0 {
		return invalid(at, "%s: %v", orRequest(at), e.Err)
	}
	return invalid(at, "%s is %s, want %s", orRequest(at), kindOf(e.JSONKind, e.JSONValue), typeName(e.GoType))
}

func orRequest(at string) string {
	if at == "" {
		return "the request"
	}
	return at
}

// unknownField refuses a field, with a hint where there is one.
func unknownField(at string) error {
	name := at[strings.LastIndexByte(at, '.')+1:]
	if hint, ok := refusedFields[name]; ok {
		return unsupported(at, "%s is not supported: %s", at, hint)
	}
	e := unsupported(at, "%s is not a field that this server knows", at)
	e.Code = "unknown_parameter"
	return e
}

// refusedFields are fields of the API that clients know and that this server
// has no meaning for.
var refusedFields = map[string]string{
	"audio":                "models here read and write text",
	"background":           "requests are answered while the client waits",
	"best_of":              "ask for n and choose among them",
	"conversation":         "nothing is stored between requests; send all messages",
	"function_call":        "it was replaced by tools, tool_choice and tool_calls",
	"functions":            "it was replaced by tools",
	"file":                 "models here only read text",
	"guided_choice":        "give an enum in response_format",
	"guided_grammar":       "response_format takes JSON schemas",
	"guided_json":          "the schema belongs into response_format",
	"guided_regex":         "give a pattern in response_format's schema",
	"image_url":            "models here only read text",
	"include":              "everything that there is is part of the answer",
	"input_audio":          "models here only read text",
	"max_tool_calls":       "tools are called by the client",
	"moderation":           "this server does not moderate",
	"prediction":           "there is no predicted output here",
	"previous_response_id": "nothing is stored between requests; send all items",
	"prompt":               "nothing is stored between requests; send messages or input",
	"structured_outputs":   "the schema belongs into response_format",
	"suffix":               "models here only continue a text",
	"use_beam_search":      "tokens are sampled",
	"verbosity":            "say it in a message",
	"web_search_options":   "this server does not search",
}

// nothing is a field that clients know and that this server has no meaning
// for. Libraries write the fields that they know as null, which says the same
// as their absence.
type nothing struct{}

// UnmarshalJSONFrom takes null and refuses all else by the field's name.
func (*nothing) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	kind := d.PeekKind()
	if _, err := d.ReadValue(); err != nil || kind == 'n' {
		return err
	}
	return unknownField(fieldPath(d.StackPointer()))
}

func (nothing) schema(*document) schema { return schema{"enum": []any{nil}} }

// fieldPath turns /messages/0/content into messages[0].content.
func fieldPath(p jsontext.Pointer) string {
	var b strings.Builder
	for token := range p.Tokens() {
		switch {
		case token != "" && strings.Trim(token, "0123456789") == "":
			b.WriteString("[" + token + "]")
		case b.Len() > 0:
			b.WriteString("." + token)
		default:
			b.WriteString(token)
		}
	}
	return b.String()
}

// indexed is the path of a list's element.
func indexed(at string, i int) string { return at + "[" + strconv.Itoa(i) + "]" }

// kindOf describes a JSON value that does not fit.
func kindOf(k jsontext.Kind, v jsontext.Value) string {
	switch k {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case '0':
		if v != nil {
			return string(v)
		}
		return "a number"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "something else"
}

// expect refuses a value whose kind is none of a union's.
func expect(d *jsontext.Decoder, kinds, want string) error {
	k := d.PeekKind()
	if k == jsontext.KindInvalid || strings.ContainsRune(kinds, rune(k)) {
		return nil // broken JSON is for whoever reads it
	}
	at := fieldPath(d.StackPointer())
	return invalid(at, "%s is %s, want %s", orRequest(at), kindOf(k, nil), want)
}

// typeName describes what a Go type is read from.
func typeName(t reflect.Type) string {
	if t == nil {
		return "something else"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Uint, reflect.Uint64:
		return "a whole number that is not negative"
	}
	return "a whole number"
}

// writeJSON answers with one JSON value.
func writeJSON(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil { // our own types always can be marshalled
		status, data = http.StatusInternalServerError, []byte(`{"error":{"message":"the answer cannot be written as JSON","type":"server_error","param":null,"code":null}}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", fmt.Sprint(len(data)))
	w.WriteHeader(status)
	w.Write(data) // a client that has gone is noticed by the request's context
}
