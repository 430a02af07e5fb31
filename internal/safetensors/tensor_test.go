package safetensors

import (
	"bytes"
	"math"
	"slices"
	"testing"
	"unsafe"
)

func TestDTypes(t *testing.T) {
	for d := BOOL; d <= U64; d++ {
		if got := parseDType(d.String()); got != d {
			t.Errorf("%v parses as %v", d, got)
		}
		if d.Bits() < 4 || d.Bits() > 64 || d.Size() != d.Bits()/8 || d > BOOL && d < U8 != (d.Size() == 0) {
			t.Errorf("%v has %d bits, %d bytes", d, d.Bits(), d.Size())
		}
	}
	for _, d := range []DType{0, U64 + 1, 255} {
		if d.Bits() != 0 || d.Size() != 0 || parseDType(d.String()) != 0 {
			t.Errorf("%v has %d bits", d, d.Bits())
		}
	}
}

func TestTensorString(t *testing.T) {
	for want, x := range map[string]Tensor{
		"BF16[4096, 256]": {DType: BF16, Shape: []int{4096, 256}},
		"F32[]":           {DType: F32},
		"DType(0)[]":      {},
	} {
		if got := x.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestZeroTensor(t *testing.T) {
	var x Tensor
	if x.Bytes() != nil || x.File() != "" || x.Len() != 0 || x.Offset() != 0 || !x.Aligned() {
		t.Error("the zero tensor is not empty")
	}
}

// Views share the bytes when they are aligned, and say the same when they are
// not.
func TestViews(t *testing.T) {
	store := make([]uint64, 4) // aligned to 8
	mem := unsafe.Slice((*byte)(unsafe.Pointer(&store[0])), 32)
	for shift := range 5 {
		data := mem[shift : shift+8]
		copy(data, []byte{1, 2, 3, 4, 0, 0, 0x80, 0x3f})
		h, f := NewTensor("h", BF16, []int{4}, data), NewTensor("f", F32, []int{2}, data)
		if h.Aligned() != (shift%2 == 0) || f.Aligned() != (shift%4 == 0) {
			t.Errorf("shift %d: aligned %v and %v", shift, h.Aligned(), f.Aligned())
		}
		if got, want := h.Uint16s(), []uint16{0x0201, 0x0403, 0, 0x3f80}; !slices.Equal(got, want) {
			t.Errorf("shift %d: %x, want %x", shift, got, want)
		}
		if got := f.Float32s(); math.Float32bits(got[0]) != 0x04030201 || got[1] != 1 {
			t.Errorf("shift %d: %v", shift, got)
		}
		shared := unsafe.Pointer(unsafe.SliceData(h.Uint16s())) == unsafe.Pointer(&data[0])
		if want := littleEndian && shift%2 == 0; shared != want {
			t.Errorf("shift %d: shared %v, want %v", shift, shared, want)
		}
	}
	if got := NewTensor("e", F32, []int{0}, nil).Float32s(); len(got) != 0 {
		t.Errorf("an empty tensor has elements %v", got)
	}
}

func TestViewOfWrongType(t *testing.T) {
	x := NewTensor("x", F32, []int{2}, make([]byte, 8))
	y := NewTensor("y", BF16, []int{4}, make([]byte, 8))
	for want, view := range map[string]func(){
		`safetensors: Uint16s of tensor "x", which is F32[2]`:   func() { x.Uint16s() },
		`safetensors: Float32s of tensor "y", which is BF16[4]`: func() { y.Float32s() },
	} {
		func() {
			defer func() {
				if r := recover(); r != want {
					t.Errorf("recovered %v, want %s", r, want)
				}
			}()
			view()
		}()
	}
}

// A header's length shifts the data; elements then lie where they lie.
func TestMisalignedFile(t *testing.T) {
	data := raw(one(`"dtype":"F32", "shape":[1],"data_offsets":[0,4]`), 0)
	data = append(data, 0, 0, 0x80, 0x3f)
	c, err := Parse("m", data)
	if err != nil {
		t.Fatal(err)
	}
	x, _ := c.Lookup("x")
	if got := x.Float32s(); len(got) != 1 || got[0] != 1 || !bytes.Equal(x.Bytes(), data[len(data)-4:]) {
		t.Errorf("got %v from %x", got, x.Bytes())
	}
}
