package safetensors

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// What the reference's writer (safetensors 0.8.0) makes of the tensors below.
const reference = "\xb0\x01\x00\x00\x00\x00\x00\x00" +
	`{"__metadata__":{"format":"pt"},"i":{"dtype":"I64","shape":[1,1],"data_offsets":[0,8]},` +
	`"s":{"dtype":"F64","shape":[],"data_offsets":[8,16]},"a":{"dtype":"F32","shape":[1],"data_offsets":[16,20]},` +
	`"b":{"dtype":"F32","shape":[2],"data_offsets":[20,28]},"w<b>":{"dtype":"F16","shape":[1,3],"data_offsets":[28,34]},` +
	`"é\n":{"dtype":"U8","shape":[0,4],"data_offsets":[34,34]},"m":{"dtype":"BOOL","shape":[1],"data_offsets":[34,35]}}       ` +
	"\a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xf0?\x00\x00@@\x00\x00\x80?\x00\x00\x00@\x00\x00\x00<\x00@\x01"

func TestWriteAsReference(t *testing.T) {
	got := bytesOf(
		t, map[string]string{"format": "pt"},
		NewTensor("m", BOOL, []int{1}, []byte{1}),
		NewTensor("w<b>", F16, []int{1, 3}, []byte{0, 0, 0, 0x3c, 0, 0x40}),
		NewTensor("b", F32, []int{2}, []byte{0, 0, 0x80, 0x3f, 0, 0, 0, 0x40}),
		NewTensor("é\n", U8, []int{0, 4}, nil),
		NewTensor("a", F32, []int{1}, []byte{0, 0, 0x40, 0x40}),
		NewTensor("s", F64, nil, []byte{0, 0, 0, 0, 0, 0, 0xf0, 0x3f}),
		NewTensor("i", I64, []int{1, 1}, []byte{7, 0, 0, 0, 0, 0, 0, 0}),
	)
	if got != reference {
		t.Errorf("got  %q\nwant %q", got, reference)
	}
}

func TestWriteRefuses(t *testing.T) {
	tests := []struct {
		want     string // after "safetensors: "
		metadata map[string]string
		tensors  []Tensor
	}{
		{`tensor "a": the name is reserved or occurs twice`, nil, []Tensor{u8("a", "A"), u8("a", "B")}},
		{`tensor "__metadata__": the name is reserved or occurs twice`, nil, []Tensor{u8("__metadata__", "A")}},
		{`tensor "\xff": the name is not valid UTF-8`, nil, []Tensor{u8("\xff", "A")}},
		{`tensor "a": F32[2] needs 8 bytes, has 7`, nil, []Tensor{NewTensor("a", F32, []int{2}, make([]byte, 7))}},
		{`tensor "a": DType(0)[] has no type`, nil, []Tensor{{Name: "a"}}},
		{`tensor "a": shape has a negative dimension, -1`, nil, []Tensor{NewTensor("a", F32, []int{-1}, nil)}},
		{`metadata "k": "\xff" is not valid UTF-8`, map[string]string{"k": "\xff"}, nil},
	}
	for _, test := range tests {
		err := Write(io.Discard, test.tensors, test.metadata)
		if err == nil || err.Error() != "safetensors: "+test.want {
			t.Errorf("got  %v\nwant safetensors: %s", err, test.want)
		}
	}
}

// TestWriteFrom asks for each tensor's bytes in the order of the file, and
// counts them.
func TestWriteFrom(t *testing.T) {
	long, err := Describe("long", I64, []int{2})
	if err != nil {
		t.Fatal(err)
	}
	short, _ := Describe("short", U8, []int{3})
	fill := func(w io.Writer, t Tensor) error {
		for range t.Len() {
			w.Write([]byte(t.Name[:1]))
		}
		return nil
	}
	var got bytes.Buffer
	if err := WriteFrom(&got, []Tensor{short, long}, nil, fill); err != nil {
		t.Fatal(err)
	}
	want := bytesOf(t, nil, NewTensor("long", I64, []int{2}, []byte("llllllllllllllll")), NewTensor("short", U8, []int{3}, []byte("sss")))
	if got.String() != want {
		t.Errorf("got  %q\nwant %q", got.String(), want)
	}
	none := func(io.Writer, Tensor) error { return nil }
	const fault = `safetensors: tensor "short": 0 bytes were written for U8[3], want 3`
	if err := WriteFrom(io.Discard, []Tensor{short}, nil, none); err == nil || err.Error() != fault {
		t.Errorf("got %v, want %s", err, fault)
	}
	if _, err := Describe("bad", U8, []int{-1}); err == nil {
		t.Error("a negative dimension was described")
	}
}

type failAfter int

func (n *failAfter) Write(b []byte) (int, error) {
	if *n--; *n < 0 {
		return 0, errors.ErrUnsupported
	}
	return len(b), nil
}

func TestWriteError(t *testing.T) {
	for n := range 2 {
		w := failAfter(n)
		if err := Write(&w, []Tensor{u8("a", "A")}, nil); err != errors.ErrUnsupported {
			t.Errorf("after %d writes: %v", n, err)
		}
	}
}

func drawTensor(t *rapid.T) Tensor {
	d := DType(rapid.IntRange(int(BOOL), int(U64)).Draw(t, "dtype"))
	shape := rapid.SliceOfN(rapid.IntRange(0, 5), 0, 4).Draw(t, "shape")
	if d.Size() == 0 {
		shape = append(shape, 4) // whole bytes
	}
	n, err := Tensor{DType: d, Shape: shape}.byteLen()
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i) + byte(d)
	}
	return NewTensor(rapid.String().Draw(t, "name"), d, shape, data)
}

// What is written is read again, aligned, and writes the same file again.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tensors := rapid.SliceOfNDistinct(rapid.Custom(drawTensor), 0, 8, func(t Tensor) string { return t.Name }).Draw(t, "tensors")
		metadata := rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "metadata")
		var b, again bytes.Buffer
		if err := Write(&b, tensors, metadata); err != nil {
			t.Fatal(err)
		}
		c, err := Parse("m", b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(c.Metadata(), metadata) || len(c.Tensors()) != len(tensors) {
			t.Fatalf("got %v, %v", c.Metadata(), c.Tensors())
		}
		for _, x := range tensors {
			y, ok := c.Lookup(x.Name)
			if !ok || x.DType != y.DType || !slices.Equal(x.Shape, y.Shape) || !bytes.Equal(x.Bytes(), y.Bytes()) || (y.Offset()%max(1, int64(y.DType.Size()))) != 0 {
				t.Fatalf("got %v %x at %d, want %v %x", y, y.Bytes(), y.Offset(), x, x.Bytes())
			}
		}
		if err := Write(&again, c.Tensors(), c.Metadata()); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
			t.Fatalf("the copy differs (%v)", err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(reference))
	for _, m := range malformed {
		f.Add(m.data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("m", data)
		if err != nil {
			if !errors.Is(err, ErrInvalid) || len(err.Error()) > 1200 {
				t.Fatal(err)
			}
			return
		}
		checkWhole(t, c)
		if err := Write(io.Discard, c.Tensors(), c.Metadata()); err != nil {
			t.Fatal(err)
		}
	})
}

// The layers of a large model: 13 shards of 1,850 tensors, their data empty,
// since only headers are read.
func largeModel(b *testing.B) [][]byte {
	var shards [][]byte
	for s := range 13 {
		var tensors []Tensor
		for i := range 1850 {
			name := fmt.Sprintf("backbone.layers.%d.mixer.experts.%d.down_proj.weight", 4*s+i/512, i%512)
			tensors = append(tensors, NewTensor(name, BF16, []int{0, 2688 + i}, nil))
		}
		shards = append(shards, []byte(bytesOf(b, map[string]string{"format": "pt"}, tensors...)))
	}
	return shards
}

func BenchmarkParseLarge(b *testing.B) {
	shards := largeModel(b)
	size := 0
	for _, s := range shards {
		size += len(s)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		c := &Checkpoint{}
		for i, s := range shards {
			if err := c.add(&file{name: fmt.Sprint(i), data: s}); err != nil {
				b.Fatal(err)
			}
		}
		if got := len(c.Tensors()); got != 13*1850 {
			b.Fatal(got)
		}
	}
}

func BenchmarkParseSmall(b *testing.B) {
	data := []byte(reference)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("m", data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkIndex(b *testing.B) {
	var s strings.Builder
	s.WriteString(`{"metadata":{"total_size":1},"weight_map":{`)
	for i := range 24_050 {
		fmt.Fprintf(&s, "%s\n\"backbone.layers.%d.mixer.experts.%d.down_proj.weight\": \"model-%05d-of-00013.safetensors\"", strings.Repeat(",", min(i, 1)), i/512, i%512, i/1850+1)
	}
	s.WriteString("}}")
	data := []byte(s.String())
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		idx, err := parseIndex(data)
		if err != nil || len(idx.shards()) != 13 {
			b.Fatal(err)
		}
	}
}
