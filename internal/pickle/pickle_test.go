package pickle

import (
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// TestValues reads what Python's pickle.dumps writes.
func TestValues(t *testing.T) {
	huge, _ := new(big.Int).SetString("-1208925819614629174706176", 10) // -2**80
	for program, want := range map[string]any{
		"\x80\x02N.":                            nil,
		"\x80\x02\x88.":                         true,
		"\x80\x02K\xff.":                        int64(255),
		"\x80\x02M\xff\xff.":                    int64(65535),
		"\x80\x02J\xfe\xff\xff\xff.":            int64(-2),
		"\x80\x02\x8a\x00.":                     int64(0),
		"\x80\x02\x8a\x01\x80.":                 int64(-128),
		"\x80\x02\x8a\x05\x00\x00\x00\x00\x01.": int64(1 << 32),
		"\x80\x02\x8a\x0b\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff.": huge,
		"\x80\x02\x8b\x01\x00\x00\x00\x07.":                             int64(7),
		"\x80\x02G?\xf8\x00\x00\x00\x00\x00\x00.":                       1.5,
		"\x80\x02X\x02\x00\x00\x00\xc3\xa9.":                            "é",
		"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00\x8c\x02ab.":       "ab",
		"\x80\x04\x8d\x01\x00\x00\x00\x00\x00\x00\x00a.":                "a",
		"\x80\x02U\x01a.":                   "a",
		"\x80\x03C\x02\x00\xff.":            Bytes{0, 255},
		"\x80\x02).":                        Tuple{},
		"\x80\x02K\x01K\x02K\x03\x87.":      Tuple{int64(1), int64(2), int64(3)},
		"\x80\x02(K\x01K\x02t.":             Tuple{int64(1), int64(2)},
		"\x80\x02]q\x00(K\x01h\x00e0K\x05.": int64(5), // a list that holds itself, thrown away
		"\x80\x02](K\x01K\x02e.":            &List{[]any{int64(1), int64(2)}},
		"\x80\x02]K\x01a.":                  &List{[]any{int64(1)}},
		"\x80\x04]\x94K\x01a2\x85.":         nil,
		"\x80\x02K\x01q\x07K\x02r\x00\x01\x00\x00h\x07j\x00\x01\x00\x00tt.": nil,
		"\x80\x02(K\x01q\x07K\x02r\x00\x01\x00\x00h\x07j\x00\x01\x00\x00t.": Tuple{int64(1), int64(2), int64(1), int64(2)},
		"\x80\x02K\x01(K\x02K\x031.":                                        int64(1),
	} {
		got, n, err := Machine{}.Load([]byte(program + "rest"))
		if want == nil && program != "\x80\x02N." {
			if err == nil {
				t.Errorf("%q: got %v, want an error", program, got)
			}
			continue
		}
		if err != nil || n != len(program) || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %#v and %d bytes (%v), want %#v", program, got, n, err, want)
		}
	}
}

// TestDict keeps the order of keys, and the last value of each.
func TestDict(t *testing.T) {
	got, _, err := Machine{}.Load([]byte("\x80\x02}(U\x01bK\x01U\x01aK\x02u(U\x01bK\x03uK\x07Ns."))
	if err != nil {
		t.Fatal(err)
	}
	d := got.(*Dict)
	if want := []Pair{{"b", int64(3)}, {"a", int64(2)}, {int64(7), nil}}; !reflect.DeepEqual(d.Pairs, want) {
		t.Errorf("got %v, want %v", d.Pairs, want)
	}
	if v, ok := d.Get("a"); !ok || v != int64(2) {
		t.Errorf("got %v, %v, want 2", v, ok)
	}
	if _, ok := d.Get("c"); ok {
		t.Error("found a key that is not there")
	}
}

// TestCalls calls what Global gives, and nothing else.
func TestCalls(t *testing.T) {
	m := Machine{
		Global: func(module, name string) (any, error) {
			if module+"."+name != "a.f" {
				return nil, fmt.Errorf("%s.%s is refused", module, name)
			}
			return Function(func(args Tuple) (any, error) { return int64(len(args)), nil }), nil
		},
		Persistent: func(id any) (any, error) { return Tuple{id}, nil },
	}
	for program, want := range map[string]any{
		"\x80\x02ca\nf\nK\x01K\x02\x86R.":   int64(2),
		"\x80\x04\x8c\x01a\x8c\x01f\x93)R.": int64(0),
		"\x80\x02U\x01xQ.":                  Tuple{"x"},
	} {
		if got, _, err := m.Load([]byte(program)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %v, %v, want %v", program, got, err, want)
		}
	}
	_, _, err := m.Load([]byte("\x80\x02cos\nsystem\n."))
	var fault *Error
	if !errors.As(err, &fault) || fault.Offset != 2 || err.Error() != "pickle: byte 2: GLOBAL: os.system is refused" {
		t.Errorf("got %v, want the name and its place", err)
	}
}

// TestBroken names what is wrong.
func TestBroken(t *testing.T) {
	for program, want := range map[string]string{
		"":                             "pickle: byte 0: the pickle ends here",
		"\x80\x02K":                    "pickle: byte 2: BININT1: the pickle ends here",
		"\x80\x01.":                    "PROTO: protocol 1, want 2 to 5",
		"\x80\x06N.":                   "PROTO: protocol 6, want 2 to 5",
		"\x80\x02.":                    "STOP with 0 values, want one",
		"\x80\x02NN.":                  "STOP with 2 values, want one",
		"\x80\x02N(.":                  "STOP with 1 values, want one",
		"\x80\x02\xff":                 "got 0xff, want an opcode",
		"\x80\x02I1\n.":                "the opcode INT is not allowed",
		"\x80\x020.":                   "POP: the stack is empty",
		"\x80\x02N(0.":                 "POP: the stack is empty",
		"\x80\x02t.":                   "TUPLE: no mark is set",
		"\x80\x02N\x86.":               "TUPLE2: the stack is empty",
		"\x80\x02h\x05.":               "BINGET: nothing is remembered as 5",
		"\x80\x02q\x05.":               "BINPUT: the stack is empty",
		"\x80\x02X\xff\xff\xff\x7fabc": "BINUNICODE: 2147483647 bytes of content, of which there are 3",
		"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc":  "BINUNICODE8: 18446744073709551615 bytes of content, of which there are 3",
		"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc":  "BINBYTES8: 9223372036854775807 bytes of content",
		"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xffN.":   "FRAME: the pickle ends here",
		"\x80\x02\x8b\xff\xff\xff\x7f":                     "LONG4: 2147483647 bytes of content",
		"\x80\x02\x8a\x50" + strings.Repeat("a", 80) + ".": "LONG1: a number of 80 bytes, want at most 64",
		"\x80\x02U\x01\xff.":                               "SHORT_BINSTRING: the text is not UTF-8",
		"\x80\x02}]Ns.":                                    "SETITEM: a list as the key of a dictionary",
		"\x80\x02}(Nu.":                                    "SETITEMS: a key without a value",
		"\x80\x02NK\x01a.":                                 "APPEND: got a None, want a list",
		"\x80\x02]NNs.":                                    "SETITEM: got a list, want a dict",
		"\x80\x02cos":                                      "GLOBAL: the pickle ends here",
		"\x80\x02cos\nsystem\n.":                           `GLOBAL: the name "system" of "os", want none`,
		"\x80\x04NN\x93.":                                  "STACK_GLOBAL: got a None and a None, want two texts",
		"\x80\x02NNR.":                                     "REDUCE: got the arguments as a None, want a tuple",
		"\x80\x02N)R.":                                     "REDUCE: a call of a None",
		"\x80\x02]}b.":                                     "BUILD: attributes of a list from a dict",
		"\x80\x02NQ.":                                      "BINPERSID: an id of something outside, want none",
	} {
		if _, _, err := (Machine{}).Load([]byte(program)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", program, err, want)
		}
	}
}

// TestBombs runs pickles that make much of little; what they take is in
// proportion to their length.
func TestBombs(t *testing.T) {
	for name, program := range map[string]string{
		"deep tuples":  "\x80\x02)" + strings.Repeat("\x85", 1<<20) + ".",
		"deep lists":   "\x80\x02" + strings.Repeat("]", 1<<20) + strings.Repeat("a", 1<<20-1) + ".",
		"deep dicts":   "\x80\x02" + strings.Repeat("}N", 1<<19) + "N" + strings.Repeat("s", 1<<19) + ".",
		"doubling":     "\x80\x02N" + strings.Repeat("2\x86", 1<<20) + ".",
		"memo doubled": "\x80\x02)q\x00" + strings.Repeat("0h\x00h\x00\x86q\x00", 1<<18) + ".",
		"marks":        "\x80\x02" + strings.Repeat("(", 1<<20) + strings.Repeat("t", 1<<20) + ".",
		"itself":       "\x80\x02]q\x00" + strings.Repeat("h\x00a", 1<<20) + ".",
		"memo indices": "\x80\x02N" + strings.Repeat("r\xff\xff\xff\xff", 1<<20) + ".",
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := Machine{}.Load([]byte(program))
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 200*uint64(len(program)) {
			t.Errorf("%s: %d bytes allocated for %d", name, got, len(program))
		}
	}
	long := "\x80\x02" + strings.Repeat("N0", maxSteps/2+1) + "N."
	if _, _, err := (Machine{}).Load([]byte(long)); err == nil || !strings.Contains(err.Error(), "more than 8388608 opcodes") {
		t.Errorf("got %v, want the limit", err)
	}
}

func FuzzLoad(f *testing.F) {
	for _, program := range []string{
		"\x80\x02}(U\x01bK\x01U\x01aK\x02uK\x07Ns.", "\x80\x02]q\x00(K\x01h\x00e0K\x05.",
		"\x80\x02\x8a\x05\x00\x00\x00\x00\x01.", "\x80\x04\x8c\x01a\x8c\x01f\x93)R.", "\x80\x02U\x01xQ.", "\x80\x02}}b.",
	} {
		f.Add([]byte(program))
	}
	m := Machine{
		Global: func(_, _ string) (any, error) {
			return Function(func(args Tuple) (any, error) { return args, nil }), nil
		},
		Persistent: func(id any) (any, error) { return id, nil },
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, n, err := m.Load(data)
		if n < 0 || n > len(data) {
			t.Fatalf("read %d of %d bytes", n, len(data))
		}
		var fault *Error
		if err != nil && (!errors.As(err, &fault) || fault.Offset > len(data) || len(err.Error()) > 1000) {
			t.Fatal(err)
		}
	})
}
