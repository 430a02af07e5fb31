package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
)

// ErrUnsupported is wrapped by errors about checkpoints that are sound but of
// a kind that is not supported.
var ErrUnsupported = errors.New("unsupported")

// ErrInvalid is wrapped by errors about configurations and weights that do not
// fit together.
var ErrInvalid = errors.New("invalid checkpoint")

// fault is an error of a class that errors.Is finds, with a text of its own.
type fault struct {
	class error
	text  string
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.class }

func invalid(format string, args ...any) error {
	return &fault{ErrInvalid, fmt.Sprintf(format, args...)}
}

func unsupported(format string, args ...any) error {
	return &fault{ErrUnsupported, fmt.Sprintf(format, args...)}
}

// fields reads the fields of a JSON object by name and keeps the first fault.
// A field may have several spellings: the first one that is there counts. A
// field that is null counts as absent.
type fields struct {
	path string // what precedes a field's name in messages
	raw  map[string]json.RawMessage
	err  error
}

// parseFields accepts JSON as Python writes it: NaN and Infinity may stand
// where a number is expected.
func parseFields(file string, data []byte) (*fields, error) {
	f := &fields{path: file + ": "}
	if got := notText(data); got != "" {
		return nil, invalid("%s: got %s, want a JSON object in UTF-8", file, got)
	}
	data = quoteConstants(data)
	if err := json.Unmarshal(data, &f.raw); err != nil {
		return nil, invalid("%s: %s", file, notObject(data, err))
	}
	if f.raw == nil {
		return nil, invalid("%s: got null, want a JSON object", file)
	}
	return f, nil
}

// notText recognises what is no JSON at first sight.
func notText(data []byte) string {
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return "an empty file"
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return "a byte order mark"
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		return "UTF-16"
	}
	return ""
}

// notObject says where data is no JSON, or what it is instead of an object.
func notObject(data []byte, err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax) && syntax.Offset >= int64(len(data)):
		return "the JSON ends too early; the file may be incomplete"
	case errors.As(err, &syntax):
		return fmt.Sprintf("line %d: %v", 1+bytes.Count(data[:syntax.Offset], []byte("\n")), err)
	case errors.As(err, &kind):
		return "got " + article(kind.Value) + ", want a JSON object"
	}
	return err.Error()
}

// quoteConstants puts Infinity, -Infinity and NaN outside strings in quotes.
func quoteConstants(data []byte) []byte {
	if !bytes.Contains(data, []byte("Infinity")) && !bytes.Contains(data, []byte("NaN")) {
		return data
	}
	var out []byte
	inString := false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\' && i+1 < len(data):
			out = append(out, c, data[i+1])
			i++
			continue
		case c == '"':
			inString = !inString
		case !inString:
			if word := constantAt(data[i:]); word != "" {
				out = append(out, '"')
				out = append(out, word...)
				out = append(out, '"')
				i += len(word) - 1
				continue
			}
		}
		out = append(out, data[i])
	}
	return out
}

func constantAt(data []byte) string {
	for _, word := range []string{"-Infinity", "Infinity", "NaN"} {
		if bytes.HasPrefix(data, []byte(word)) {
			return word
		}
	}
	return ""
}

// article puts a or an before a word.
func article(word string) string {
	if strings.IndexByte("aeiou", word[0]) >= 0 {
		return "an " + word
	}
	return "a " + word
}

func (f *fields) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

// find returns the first of names that is there and its value.
func (f *fields) find(names ...string) (string, json.RawMessage) {
	for _, name := range names {
		if v, ok := f.raw[name]; ok && string(v) != "null" {
			return name, v
		}
	}
	return names[0], nil
}

func (f *fields) has(names ...string) bool {
	_, v := f.find(names...)
	return v != nil
}

// shown prints a value in messages, on one line and not too long.
func shown(v json.RawMessage) string {
	var line bytes.Buffer
	if json.Compact(&line, v) != nil || line.Len() <= 60 {
		return line.String()
	}
	return strings.ToValidUTF8(line.String()[:57], "") + "..."
}

func (f *fields) wrong(name string, v json.RawMessage, want string) {
	f.fail(invalid("%s%s is %s, want %s", f.path, name, shown(v), want))
}

// maxSize bounds every count and width of a configuration, so that products
// of two cannot overflow. maxLayers and maxHeadDim bound those for which
// memory is taken before a tensor is seen.
const (
	maxSize    = 1 << 27
	maxLayers  = 1 << 12
	maxHeadDim = 1 << 16
)

// whole returns a whole number in [low, maxSize].
func (f *fields) whole(low, def int, names ...string) int {
	name, v := f.find(names...)
	if v == nil {
		return def
	}
	var x float64
	if json.Unmarshal(v, &x) != nil || x != math.Trunc(x) || x < float64(low) || x > maxSize {
		f.wrong(name, v, fmt.Sprintf("a whole number from %d to %d", low, maxSize))
		return def
	}
	return int(x)
}

// integer returns a whole number of at least 0.
func (f *fields) integer(def int, names ...string) int { return f.whole(0, def, names...) }

// size returns a whole number of at least 1 that must be there.
func (f *fields) size(names ...string) int {
	if name, v := f.find(names...); v == nil {
		f.fail(invalid("%s%s is missing", f.path, name))
		return 1
	}
	return f.positive(1, names...)
}

// positive returns a whole number of at least 1.
func (f *fields) positive(def int, names ...string) int { return f.whole(1, def, names...) }

// checkProduct bounds a width that is the product of two fields.
func (f *fields) checkProduct(names string, a, b int) {
	if a > maxSize/b {
		f.fail(invalid("%s%s is %d × %d, want a product of at most %d", f.path, names, a, b, maxSize))
	}
}

// number returns a finite number, or an infinite one where the file says so.
func (f *fields) number(def float64, names ...string) float64 {
	name, v := f.find(names...)
	if v == nil {
		return def
	}
	x, ok := parseNumber(v)
	if !ok {
		f.wrong(name, v, "a number")
		return def
	}
	return x
}

// parseNumber accepts the spellings of infinity: the quoted constants of
// Python's JSON and {"__float__": "Infinity"}.
func parseNumber(v json.RawMessage) (float64, bool) {
	var x float64
	if json.Unmarshal(v, &x) == nil {
		return x, true
	}
	var wrapped struct {
		Float *string `json:"__float__"`
	}
	var word string
	if json.Unmarshal(v, &wrapped) == nil && wrapped.Float != nil {
		word = *wrapped.Float
	} else if json.Unmarshal(v, &word) != nil {
		return 0, false
	}
	switch word {
	case "Infinity":
		return math.Inf(1), true
	case "-Infinity":
		return math.Inf(-1), true
	}
	return 0, false
}

// within returns a number that must lie in [low, high].
func (f *fields) within(low, high, def float64, names ...string) float64 {
	x := f.number(def, names...)
	if !(x >= low && x <= high) {
		name, v := f.find(names...)
		f.wrong(name, v, fmt.Sprintf("a number from %g to %g", low, high))
		return def
	}
	return x
}

func (f *fields) boolean(def bool, names ...string) bool {
	name, v := f.find(names...)
	if v == nil {
		return def
	}
	if err := json.Unmarshal(v, &def); err != nil {
		f.wrong(name, v, "true or false")
	}
	return def
}

func (f *fields) text(def string, names ...string) string {
	name, v := f.find(names...)
	if v == nil {
		return def
	}
	if err := json.Unmarshal(v, &def); err != nil {
		f.wrong(name, v, "a string")
	}
	return def
}

// texts returns a list of strings; a single string counts as a list of one.
func (f *fields) texts(names ...string) []string {
	name, v := f.find(names...)
	if v == nil {
		return nil
	}
	var one string
	if json.Unmarshal(v, &one) == nil {
		return []string{one}
	}
	var list []string
	if json.Unmarshal(v, &list) != nil {
		f.wrong(name, v, "a list of strings")
	}
	return list
}

// ids returns a token id or a list of them.
func (f *fields) ids(names ...string) []int32 {
	name, v := f.find(names...)
	if v == nil {
		return nil
	}
	var one int32
	if json.Unmarshal(v, &one) == nil {
		return []int32{one}
	}
	var list []int32
	if json.Unmarshal(v, &list) != nil {
		f.wrong(name, v, "a token id or a list of token ids")
	}
	return list
}

// sub returns the fields of an object, or nil where there is none.
func (f *fields) sub(names ...string) *fields {
	name, v := f.find(names...)
	if v == nil {
		return nil
	}
	s := &fields{path: f.path + name + "."}
	if json.Unmarshal(v, &s.raw) != nil {
		f.wrong(name, v, "an object")
		return nil
	}
	return s
}

// subs returns the fields of each object in a list.
func (f *fields) subs(name string) []*fields {
	_, v := f.find(name)
	if v == nil {
		return nil
	}
	var list []map[string]json.RawMessage
	if json.Unmarshal(v, &list) != nil {
		f.wrong(name, v, "a list of objects")
		return nil
	}
	out := make([]*fields, len(list))
	for i, raw := range list {
		out[i] = &fields{path: fmt.Sprintf("%s%s[%d].", f.path, name, i), raw: raw}
	}
	return out
}

// take makes a fault of s a fault of f.
func (f *fields) take(s *fields) {
	if s != nil && s.err != nil {
		f.fail(s.err)
	}
}

// require fails unless the field, where it is there, has one of the values.
func (f *fields) require(name string, values ...string) {
	_, v := f.find(name)
	if v == nil {
		return
	}
	got := strings.Trim(string(v), `"`)
	for _, want := range values {
		if got == want {
			return
		}
	}
	f.fail(unsupported("%s%s is %s, want %s", f.path, name, shown(v), strings.Join(values, " or ")))
}
