package safetensors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// raw returns a file of a header and n zero bytes.
func raw(header string, n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, n)...)
}

// one returns a header whose one tensor, x, has these fields.
func one(fields string) string { return `{"x":{` + fields + `}}` }

var malformed = []struct {
	name string
	data []byte
	want string // after "safetensors: m: "
}{
	{"empty file", nil, `the file has 0 bytes, want at least 8; the download may be incomplete`},
	{"seven bytes", make([]byte, 7), `the file has 7 bytes, want at least 8; the download may be incomplete`},
	{"no header", raw("", 0), `the header does not begin with '{'`},
	{
		"header beyond the file", raw(`{}      `, 0)[:10],
		`the header ends at byte 16, the file has 10: 6 bytes are missing; the download may be incomplete`,
	},
	{
		"header beyond the limit", []byte("<!DOCTYPE html>"),
		`the header's length is given as 5789751444030890300 bytes, want at most 100000000; this is no safetensors file`,
	},
	{
		"git lfs pointer", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
		`this is a Git LFS pointer, not the data; fetch it with git lfs pull`,
	},
	{"header is an array", raw(`[]`, 0), `the header does not begin with '{'`},
	{"header after white space", raw(` {}`, 0), `the header does not begin with '{'`},
	{"header not UTF-8", raw("{\"\xff\":1}", 0), `the header is not valid UTF-8`},
	{"header not closed", raw(`{`, 0), `header: JSON byte 1: want a string, got the end`},
	{"comma at the end", raw(`{"__metadata__":{},}`, 0), `header: JSON byte 19: want a string, got "}"`},
	{"no comma", raw(`{"__metadata__":{}"x":{}}`, 0), `header: JSON byte 18: want ',' or '}', got "\""`},
	{"no colon", raw(`{"x" {}}`, 0), `header: JSON byte 5: want ":", got "{"`},
	{"something after the header", raw("{}\x00", 0), `header: JSON byte 2: want the end, got "\x00"`},
	{"control character in a name", raw("{\"a\nb\":{}}", 0), `header: JSON byte 3: want no control character in a string, got "\n"`},
	{"name not closed", raw(`{"abc`, 0), `header: JSON byte 5: want a closing quote, got the end`},
	{"unknown escape", raw(`{"\x":{}}`, 0), `header: JSON byte 2: want an escape of JSON, got "\\"`},
	{"half a surrogate pair", raw(`{"\ud83d":{}}`, 0), `header: JSON byte 8: want an escape of JSON, got "\""`},
	{"escape at the end", raw(`{"\`, 0), `header: JSON byte 2: want an escape of JSON, got "\\"`},

	{"metadata is a string", raw(`{"__metadata__":"pt"}`, 0), `__metadata__: JSON byte 16: want "{", got "\""`},
	{"metadata holds a number", raw(`{"__metadata__":{"n":12}}`, 0), `__metadata__: JSON byte 21: want a string, got 12`},
	{"metadata holds null", raw(`{"__metadata__":{"n":null}}`, 0), `__metadata__: JSON byte 21: want a string, got null`},
	{"metadata twice", raw(`{"__metadata__":{},"__metadata__":{}}`, 0), `header: duplicate __metadata__`},
	{"metadata key twice", raw(`{"__metadata__":{"a":"1","a":"2"}}`, 0), `__metadata__: duplicate key "a"`},

	{"tensor is an array", raw(`{"x":["U8",[1],[0,1]]}`, 1), `tensor "x": JSON byte 5: want "{", got "["`},
	{"tensor is null", raw(`{"x":null}`, 0), `tensor "x": JSON byte 5: want "{", got null`},
	{"no dtype", raw(one(`"shape":[1],"data_offsets":[0,1]`), 1), `tensor "x": no dtype`},
	{"no shape", raw(one(`"dtype":"U8","data_offsets":[0,1]`), 1), `tensor "x": no shape`},
	{"no data_offsets", raw(one(`"dtype":"U8","shape":[1]`), 1), `tensor "x": no data_offsets`},
	{"dtype twice", raw(one(`"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]`), 1), `tensor "x": duplicate dtype`},
	{"unknown dtype", raw(one(`"dtype":"F24","shape":[1],"data_offsets":[0,3]`), 3), `tensor "x": unknown dtype "F24"`},
	{"dtype is a number", raw(one(`"dtype":8,"shape":[1],"data_offsets":[0,1]`), 1), `tensor "x": JSON byte 14: want a string, got 8`},
	{
		"unknown field of no JSON", raw(one(`"note":[1,nul],"dtype":"U8","shape":[1],"data_offsets":[0,1]`), 1),
		`tensor "x": JSON byte 16: want a value, got nul`,
	},
	{
		"unknown field of a huge number", raw(one(`"note":1e999`), 1),
		`tensor "x": JSON byte 13: want a number that a float64 can hold, got 1e999`,
	},
	{
		"unknown field nested deeply", raw(one(`"note":`+strings.Repeat("[", 200)+strings.Repeat("]", 200)), 1),
		`tensor "x": JSON byte 138: want nesting of at most 127, got "["`,
	},

	{
		"negative dimension", raw(one(`"dtype":"U8","shape":[-1],"data_offsets":[0,1]`), 1),
		`tensor "x": JSON byte 28: want an integer from 0 to 2^63-1, got -1`,
	},
	{
		"dimension is a float", raw(one(`"dtype":"U8","shape":[1.0],"data_offsets":[0,1]`), 1),
		`tensor "x": JSON byte 28: want an integer from 0 to 2^63-1, got 1.0`,
	},
	{
		"dimension begins with 0", raw(one(`"dtype":"U8","shape":[01],"data_offsets":[0,1]`), 1),
		`tensor "x": JSON byte 28: want an integer from 0 to 2^63-1, got 01`,
	},
	{
		"dimension of 2^63", raw(one(`"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,1]`), 1),
		`tensor "x": JSON byte 28: want an integer from 0 to 2^63-1, got 9223372036854775808`,
	},
	{
		"elements overflow", raw(one(`"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]`), 0),
		`tensor "x": shape of U8[4294967296, 4294967296] overflows`,
	},
	{
		"bytes overflow", raw(one(`"dtype":"U64","shape":[4611686018427387904],"data_offsets":[0,0]`), 0),
		`tensor "x": shape of U64[4611686018427387904] overflows`,
	},
	{
		"half a byte", raw(one(`"dtype":"F4","shape":[3],"data_offsets":[0,2]`), 2),
		`tensor "x": F4[3] is 12 bits, no whole number of bytes`,
	},

	{
		"three offsets", raw(one(`"dtype":"U8","shape":[1],"data_offsets":[0,1,2]`), 1),
		`tensor "x": JSON byte 50: want "]", got ","`,
	},
	{
		"one offset", raw(one(`"dtype":"U8","shape":[1],"data_offsets":[0]`), 1),
		`tensor "x": JSON byte 48: want ",", got "]"`,
	},
	{
		"negative offset", raw(one(`"dtype":"U8","shape":[1],"data_offsets":[-1,0]`), 1),
		`tensor "x": JSON byte 47: want an integer from 0 to 2^63-1, got -1`,
	},
	{
		"offsets backwards", raw(one(`"dtype":"U8","shape":[1],"data_offsets":[1,0]`), 1),
		`tensor "x": data_offsets [1, 0] end before they begin`,
	},
	{
		"offsets overflow", raw(one(`"dtype":"U8","shape":[0],"data_offsets":[9223372036854775807,9223372036854775807]`), 1),
		`tensor "x": data_offsets [9223372036854775807, 9223372036854775807] overflow`,
	},
	{
		"too few bytes for the shape", raw(one(`"dtype":"F32","shape":[2,3],"data_offsets":[0,20]`), 20),
		`tensor "x": F32[2, 3] needs 24 bytes, data_offsets [0, 20] hold 20`,
	},
	{
		"same name twice", raw(`{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\u0078":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2),
		`tensor "x": duplicate tensor name`,
	},
	{
		"gap before the first", raw(one(`"dtype":"U8","shape":[1],"data_offsets":[2,3]`), 3),
		`tensor "x": begins at byte 2 of the data, want 0: it is the first`,
	},
	{
		"gap", raw(`{"b":{"dtype":"U8","shape":[1],"data_offsets":[4,5]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 5),
		`tensor "b": begins at byte 4 of the data, 3 bytes after the end of tensor "a"`,
	},
	{
		"overlap", raw(`{"a":{"dtype":"I32","shape":[],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[3],"data_offsets":[2,5]}}`, 5),
		`tensor "b": begins at byte 2 of the data, overlaps tensor "a" by 2 bytes`,
	},
	{
		"data truncated", raw(one(`"dtype":"F32","shape":[2],"data_offsets":[0,8]`), 3),
		`the tensors end at byte 70, the file has 65: 5 bytes are missing; the download may be incomplete`,
	},
	{
		"data too long", raw(one(`"dtype":"F32","shape":[2],"data_offsets":[0,8]`), 10),
		`the tensors end at byte 70, the file has 72: 2 bytes belong to no tensor`,
	},
	{"data without tensors", raw(`{}`, 1), `the tensors end at byte 10, the file has 11: 1 bytes belong to no tensor`},
}

func TestParseMalformed(t *testing.T) {
	for _, test := range malformed {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse("m", test.data)
			if err == nil {
				t.Fatalf("accepted, want %q", test.want)
			}
			if got := strings.TrimPrefix(err.Error(), "safetensors: m: "); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if !errors.Is(err, ErrInvalid) {
				t.Error("the error is not ErrInvalid")
			}
		})
	}
}

// Unusual, but well-formed.
func TestParseAccepts(t *testing.T) {
	tests := []struct{ name, header, want string }{
		{"no tensors", "{}", "[]"},
		{"spaces at the end", "{}  \t\r\n", "[]"},
		{"metadata null", `{"__metadata__":null}`, "[]"},
		{"scalar", one(`"dtype":"F32","shape":[],"data_offsets":[0,4]`), "[x F32[] 4]"},
		{"zero dimension", one(`"dtype":"F32","shape":[0,7],"data_offsets":[0,0]`), "[x F32[0, 7] 0]"},
		{"no product without the zero", one(`"dtype":"F32","shape":[4294967296,0,4294967296,4294967296],"data_offsets":[0,0]`), "[x F32[4294967296, 0, 4294967296, 4294967296] 0]"},
		{"below a byte", one(`"dtype":"F4","shape":[2,3],"data_offsets":[0,3]`), "[x F4[2, 3] 3]"},
		{"six bits", one(`"dtype":"F6_E3M2","shape":[8],"data_offsets":[0,6]`), "[x F6_E3M2[8] 6]"},
		{"white space", "{ \"x\"\n:\t{\"dtype\" : \"U8\" , \"shape\" : [ 2 , 1 ], \"data_offsets\":[ 0 , 2 ] } }", "[x U8[2, 1] 2]"},
		{"escapes", `{"\"\\\/\b\f\n\r\t\u00e9\uD83D\ude00.":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}`, "[\"\\/\b\f\n\r\té😀. U8[] 1]"},
		{"empty name", `{"":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}`, "[ U8[] 1]"},
		{"unknown fields", one(`"a":{"b":[1,-2.5e3,{}],"c":true},"dtype":"U8","z":"\n","shape":[],"n":null,"data_offsets":[0,1]`), "[x U8[] 1]"},
		{
			"entries out of order, empty ones between",
			`{"c":{"dtype":"U8","shape":[2],"data_offsets":[1,3]},"b":{"dtype":"U8","shape":[0],"data_offsets":[1,1]},"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}}`,
			"[a I8[1] 1 b U8[0] 0 c U8[2] 2]",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			// As many bytes as the tensors want.
			for n := 0; ; n++ {
				c, err := Parse("m", raw(test.header, n))
				if err == nil {
					checkWhole(t, c)
					if got := list(c); got != test.want {
						t.Errorf("got %q, want %q", got, test.want)
					}
					return
				}
				if n == 8 {
					t.Fatal(err)
				}
			}
		})
	}
}

func list(c *Checkpoint) string {
	var l []string
	for _, t := range c.Tensors() {
		l = append(l, fmt.Sprintf("%s %v %d", t.Name, t, t.Len()))
	}
	return "[" + strings.Join(l, " ") + "]"
}

// checkWhole checks what holds of every checkpoint that is accepted.
func checkWhole(t testing.TB, c *Checkpoint) {
	t.Helper()
	total := map[string]int64{}
	for _, x := range c.Tensors() {
		need, err := x.byteLen()
		if err != nil || need != x.Len() || int64(len(x.Bytes())) != need {
			t.Fatalf("tensor %q: %v has %d bytes and %d in view, want %d (%v)", x.Name, x, x.Len(), len(x.Bytes()), need, err)
		}
		if y, ok := c.Lookup(x.Name); !ok || y.Offset() != x.Offset() || y.Len() != x.Len() {
			t.Fatalf("tensor %q: Lookup finds %v %v", x.Name, y, ok)
		}
		if total[x.File()] == 0 {
			total[x.File()] = x.Offset()
		}
		if total[x.File()] != x.Offset() {
			t.Fatalf("tensor %q: begins at %d, want %d", x.Name, x.Offset(), total[x.File()])
		}
		total[x.File()] += x.Len()
	}
}

// Messages stay short however long the names in a file are.
func TestFaultLength(t *testing.T) {
	long := strings.Repeat("x", 1<<16)
	for _, header := range []string{
		`{"` + long + `":{}}`,
		one(`"dtype":"` + long + `"`),
		one(`"dtype":` + long),
		one(`"dtype":"U8","shape":[` + strings.Repeat("1,", 1<<16) + `2],"data_offsets":[0,1]`),
		`{"__metadata__":{"` + long + `":"","` + long + `":""}}`,
	} {
		_, err := Parse("m", raw(header, 1))
		if err == nil || len(err.Error()) > 1200 {
			t.Errorf("%.60s: error of %d bytes", header, len(err.Error()))
		}
	}
}

// A hostile header costs memory in proportion to its length, whatever it
// repeats.
func TestHeaderMemory(t *testing.T) {
	const size = 1 << 20
	fill := func(begin, part string) string { return begin + strings.Repeat(part, (size-len(begin))/len(part)) }
	var names strings.Builder
	for i := 0; names.Len() < size; i++ {
		fmt.Fprintf(&names, `,"%x":""`, i)
	}
	for _, header := range []string{
		fill(`{"x":{"shape":[0`, ",0"),
		fill(`{"`, `\n`),
		fill(`{"x":{"a":`, "["),
		fill(`{"x":{"a":`, `{"":`),
		fill(`{"x":{"a":`, "1"),
		fill(`{"x":{"a":""`, `,"":""`),
		fill(`{`, " "),
		`{"__metadata__":{"":""` + names.String(),
	} {
		data := raw(header, 0)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := Parse("m", data); err == nil {
			t.Errorf("%.40s: accepted", header)
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 32*uint64(len(header)) {
			t.Errorf("%.40s: %d bytes allocated for %d", header, got, len(header))
		}
	}
}
