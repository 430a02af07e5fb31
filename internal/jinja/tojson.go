package jinja

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// jsonWriter is Python's json.dumps.
type jsonWriter struct {
	run       *run
	b         strings.Builder
	ascii     bool
	sorted    bool
	pretty    bool
	indent    string
	itemSep   string
	keySep    string
	lastAlloc int
}

func filterTojson(r *run, v Value, a []Value) (Value, error) {
	w := &jsonWriter{run: r, itemSep: ", ", keySep: ": "}
	w.ascii = given(a[0]) && truth(a[0])
	w.sorted = given(a[3]) && truth(a[3])
	if !isNone(a[1]) {
		w.pretty, w.itemSep = true, ","
		var err error
		if w.indent, err = indentText(a[1]); err != nil {
			return nil, err
		}
	}
	if !isNone(a[2]) {
		seps, err := r.collect(a[2])
		if err != nil {
			return nil, err
		}
		if len(seps) != 2 {
			return nil, valueErrorf("tojson: separators must be two strings")
		}
		var ok1, ok2 bool
		w.itemSep, ok1 = asString(seps[0])
		w.keySep, ok2 = asString(seps[1])
		if !ok1 || !ok2 {
			return nil, typeErrorf("tojson: separators must be two strings")
		}
	}
	if err := w.value(v, 0); err != nil {
		return nil, err
	}
	return w.b.String(), w.account()
}

func indentText(v Value) (string, error) {
	if s, ok := asString(v); ok {
		return s, nil
	}
	n, err := intArg(v, 0)
	if err == nil && n > 1000 {
		err = limitErrorf("tojson: indent is larger than 1000")
	}
	if err != nil {
		return "", err
	}
	return repeat(" ", n), nil
}

// account counts the bytes written since the last call.
func (w *jsonWriter) account() error {
	n := w.b.Len() - w.lastAlloc
	w.lastAlloc = w.b.Len()
	if w.b.Len() > w.run.opt.MaxOutput {
		return limitErrorf("string is longer than %d bytes", w.run.opt.MaxOutput)
	}
	return w.run.alloc(n)
}

func (w *jsonWriter) value(v Value, depth int) error {
	if depth > maxDepth {
		return limitErrorf("value is nested deeper than %d", maxDepth)
	}
	if err := w.account(); err != nil {
		return err
	}
	switch x := v.(type) {
	case nil, bool, float64:
		w.b.WriteString(jsonScalar(x))
	case int64:
		w.b.WriteString(strconv.FormatInt(x, 10))
	case *big.Int:
		s, err := bigString(x)
		w.b.WriteString(s)
		return err
	case string, markup:
		w.str(recvText(v))
	case *List:
		return w.list(x.items, depth)
	case *Tuple:
		return w.list(x.items, depth)
	case *Dict:
		return w.dict(x, depth)
	default:
		return typeErrorf("Object of type %s is not JSON serializable", typeName(v))
	}
	return nil
}

func jsonScalar(v Value) string {
	switch x := v.(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(x)
	case float64:
		switch {
		case math.IsNaN(x):
			return "NaN"
		case math.IsInf(x, 1):
			return "Infinity"
		case math.IsInf(x, -1):
			return "-Infinity"
		}
		return floatRepr(x)
	}
	return ""
}

func (w *jsonWriter) newline(depth int) {
	if w.pretty {
		w.b.WriteByte('\n')
		w.b.WriteString(repeat(w.indent, depth))
	}
}

func (w *jsonWriter) list(items []Value, depth int) error {
	if len(items) == 0 {
		w.b.WriteString("[]")
		return nil
	}
	w.b.WriteByte('[')
	for i, v := range items {
		if i > 0 {
			w.b.WriteString(w.itemSep)
		}
		w.newline(depth + 1)
		if err := w.value(v, depth+1); err != nil {
			return err
		}
	}
	w.newline(depth)
	w.b.WriteByte(']')
	return nil
}

func (w *jsonWriter) dict(d *Dict, depth int) error {
	if d.Len() == 0 {
		w.b.WriteString("{}")
		return nil
	}
	entries := d.entries
	if w.sorted {
		var err error
		if entries, err = w.run.sortEntries(d); err != nil {
			return err
		}
	}
	w.b.WriteByte('{')
	for i, e := range entries {
		if i > 0 {
			w.b.WriteString(w.itemSep)
		}
		w.newline(depth + 1)
		key, err := w.key(e.key)
		if err != nil {
			return err
		}
		w.str(key)
		w.b.WriteString(w.keySep)
		if err := w.value(e.val, depth+1); err != nil {
			return err
		}
	}
	w.newline(depth)
	w.b.WriteByte('}')
	return nil
}

// sortEntries returns the entries in the order of their keys.
func (r *run) sortEntries(d *Dict) ([]entry, error) {
	order := make([]Value, d.Len())
	keys := make([]Value, d.Len())
	for i, e := range d.entries {
		order[i], keys[i] = int64(i), e.key
	}
	order, err := r.sortKeyed(order, keys, false)
	out := make([]entry, len(order))
	for i, j := range order {
		out[i] = d.entries[j.(int64)]
	}
	return out, err
}

// key turns a key into a string as Python does.
func (w *jsonWriter) key(k Value) (string, error) {
	switch x := k.(type) {
	case string, markup:
		return recvText(k), nil
	case nil, bool, float64:
		return jsonScalar(x), nil
	case int64, *big.Int:
		return w.run.toStr(x)
	}
	return "", typeErrorf("keys must be str, int, float, bool or None, not %s", typeName(k))
}

func (w *jsonWriter) str(s string) {
	w.b.WriteByte('"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && (c < utf8.RuneSelf || !w.ascii) {
			i++
			continue
		}
		w.b.WriteString(s[start:i])
		r, n := utf8.DecodeRuneInString(s[i:])
		w.escape(r)
		i += n
		start = i
	}
	w.b.WriteString(s[start:])
	w.b.WriteByte('"')
}

func (w *jsonWriter) escape(r rune) {
	switch r {
	case '"', '\\':
		w.b.WriteByte('\\')
		w.b.WriteRune(r)
	case '\n':
		w.b.WriteString(`\n`)
	case '\r':
		w.b.WriteString(`\r`)
	case '\t':
		w.b.WriteString(`\t`)
	case '\b':
		w.b.WriteString(`\b`)
	case '\f':
		w.b.WriteString(`\f`)
	default:
		if r >= 0x10000 {
			r -= 0x10000
			fmt.Fprintf(&w.b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
			return
		}
		fmt.Fprintf(&w.b, `\u%04x`, r)
	}
}
