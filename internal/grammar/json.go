package grammar

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"

	"github.com/godwit-llm/godwit/internal/regular"
)

// value is a parsed JSON value that keeps the order of its fields.
type value struct {
	kind   string // as "type" in a schema names it; "number" also for integers
	text   string // of a string, a number as written, "true" or "false"
	items  []*value
	fields []field
	path   string // where it is in the document, as a JSON pointer
}

type field struct {
	name  string
	value *value
}

const maxNesting = 128 // of a schema document

// parseJSON reads one value, and nothing behind it.
func parseJSON(data []byte) (*value, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := readValue(d, "#", 0)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("%w: not JSON: %w", ErrSchema, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: something follows the JSON value", ErrSchema)
	}
	return v, nil
}

func readValue(d *json.Decoder, path string, depth int) (*value, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("more than %d levels at %.80s", maxNesting, path)
	}
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	v := &value{path: path}
	switch t := token.(type) {
	case nil:
		v.kind, v.text = "null", "null"
	case bool:
		v.kind, v.text = "boolean", strconv.FormatBool(t)
	case json.Number:
		v.kind, v.text = "number", t.String()
	case string:
		v.kind, v.text = "string", t
	case json.Delim:
		return v, v.readParts(d, t, depth)
	}
	return v, nil
}

// readParts reads what is in an array or object.
func (v *value) readParts(d *json.Decoder, open json.Delim, depth int) error {
	if v.kind = "array"; open == '{' {
		v.kind = "object"
	}
	for d.More() {
		name := strconv.Itoa(len(v.items))
		if open == '{' {
			token, err := d.Token()
			if err != nil {
				return err
			}
			name = token.(string)
			if v.get(name) != nil {
				return fmt.Errorf("%s has two fields %q", v.path, name)
			}
		}
		part, err := readValue(d, v.path+"/"+pointerEscapes.Replace(name), depth+1)
		if err != nil {
			return err
		}
		if open == '{' {
			v.fields = append(v.fields, field{name, part})
		} else {
			v.items = append(v.items, part)
		}
	}
	_, err := d.Token()
	return err
}

var (
	pointerEscapes   = strings.NewReplacer("~", "~0", "/", "~1")
	pointerUnescapes = strings.NewReplacer("~1", "/", "~0", "~")
)

// get returns a field, nil if there is none.
func (v *value) get(name string) *value {
	for _, f := range v.fields {
		if f.name == name {
			return f.value
		}
	}
	return nil
}

// number returns a number's value; nil if it is none, or too long.
func (v *value) number() *big.Rat {
	if v.kind != "number" || len(v.text) > 400 {
		return nil
	}
	if i := strings.IndexAny(v.text, "eE"); i >= 0 {
		if e, err := strconv.Atoi(v.text[i+1:]); err != nil || e > 400 || e < -400 {
			return nil
		}
	}
	r, ok := new(big.Rat).SetString(v.text)
	if !ok {
		return nil
	}
	return r
}

// equal compares two values as JSON Schema does.
func equal(a, b *value) bool {
	if a.kind != b.kind || len(a.items) != len(b.items) || len(a.fields) != len(b.fields) {
		return false
	}
	if x, y := a.number(), b.number(); x != nil && y != nil {
		return x.Cmp(y) == 0
	}
	for i := range a.items {
		if !equal(a.items[i], b.items[i]) {
			return false
		}
	}
	for _, f := range a.fields {
		if other := b.get(f.name); other == nil || !equal(f.value, other) {
			return false
		}
	}
	return a.text == b.text
}

// constant returns the start of a value as it is, with white space where JSON
// has it.
func (b *builder) constant(v *value, next int32) int32 {
	switch v.kind {
	case "string":
		return b.literal(`"`+regular.WriteJSON(v.text)+`"`, next)
	case "array":
		at := b.mark(']', next)
		for i := len(v.items) - 1; i >= 0; i-- {
			at = b.space(node{free: []int32{b.constant(v.items[i], at)}})
			if i > 0 {
				at = b.literal(",", at)
			}
		}
		return b.literal("[", at)
	case "object":
		at := b.mark('}', next)
		for i := len(v.fields) - 1; i >= 0; i-- {
			f := v.fields[i]
			at = b.space(node{free: []int32{b.constant(f.value, at)}})
			at = b.literal(":", at)
			at = b.space(node{free: []int32{b.literal(`"`+regular.WriteJSON(f.name)+`"`, at)}})
			if i > 0 {
				at = b.literal(",", at)
			}
		}
		return b.literal("{", at)
	}
	return b.literal(v.text, next)
}
