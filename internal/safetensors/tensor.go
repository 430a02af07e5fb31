package safetensors

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strconv"
	"unsafe"
)

// Tensor is a named, typed and shaped range of bytes. Copies are cheap and
// share the bytes.
type Tensor struct {
	Name  string
	DType DType
	Shape []int // not to be changed; empty for a scalar

	file   *file
	offset int64 // of the first byte in the file
	length int64
}

// NewTensor returns a tensor over bytes in memory, as Write takes it. The
// bytes are those of the format: row-major, little-endian, without padding.
func NewTensor(name string, d DType, shape []int, data []byte) Tensor {
	return Tensor{Name: name, DType: d, Shape: shape, file: &file{data: data}, length: int64(len(data))}
}

// Describe returns a tensor without bytes, as WriteFrom takes it.
func Describe(name string, d DType, shape []int) (Tensor, error) {
	t := Tensor{Name: name, DType: d, Shape: shape}
	n, err := t.byteLen()
	t.length = n
	return t, err
}

// Bytes returns the tensor's bytes without copying them. They are valid until
// the checkpoint is closed, and must not be written: they may be a mapping of
// the file, or of the executable, and writing faults. Bytes panics after Close.
func (t Tensor) Bytes() []byte {
	if t.file == nil || t.length == 0 {
		return nil
	}
	if t.file.data == nil {
		panic("safetensors: tensor " + t.Name + " used after Close")
	}
	end := t.offset + t.length
	return t.file.data[t.offset:end:end]
}

// File returns the file that holds the tensor, for readers that bypass the
// mapping: a path that the operating system can open if the checkpoint comes
// from Open, else the name within the file system, or the one given to Parse.
func (t Tensor) File() string {
	if t.file == nil {
		return ""
	}
	return t.file.path
}

// Offset returns where in File the tensor's bytes begin.
func (t Tensor) Offset() int64 { return t.offset }

// Len returns the number of the tensor's bytes.
func (t Tensor) Len() int64 { return t.length }

// String returns type and shape, as "BF16[4096, 256]".
func (t Tensor) String() string {
	b := append([]byte(t.DType.String()), '[')
	for i, n := range t.Shape {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = strconv.AppendInt(b, int64(n), 10)
	}
	return string(append(b, ']'))
}

// Aligned reports whether the tensor's bytes begin at a multiple of the
// element's size in memory. The format aligns only the first tensor of a file,
// to 8; files of the reference's writer keep the others aligned.
func (t Tensor) Aligned() bool { return aligned(t.Bytes(), t.DType.Size()) }

// Uint16s returns the elements of a BF16, F16, I16 or U16 tensor as the words
// that they are stored in; it panics for other types. It is a view, as Bytes
// is, if the bytes are aligned and the machine is little-endian, else a copy.
func (t Tensor) Uint16s() []uint16 {
	if t.DType.Bits() != 16 {
		panic(fmt.Sprintf("safetensors: Uint16s of tensor %q, which is %v", t.Name, t))
	}
	return view[uint16](t.Bytes())
}

// Float32s returns the elements of an F32 tensor; it panics for other types.
// View or copy: as Uint16s.
func (t Tensor) Float32s() []float32 {
	if t.DType != F32 {
		panic(fmt.Sprintf("safetensors: Float32s of tensor %q, which is %v", t.Name, t))
	}
	return view[float32](t.Bytes())
}

func (t Tensor) fileName() string {
	if t.file == nil {
		return ""
	}
	return t.file.name
}

var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

func aligned(b []byte, size int) bool {
	return size < 2 || uintptr(unsafe.Pointer(unsafe.SliceData(b)))%uintptr(size) == 0
}

func view[T uint16 | float32](b []byte) []T {
	var zero T
	size := int(unsafe.Sizeof(zero))
	if littleEndian && aligned(b, size) {
		return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/size)
	}
	v := make([]T, len(b)/size)
	if _, err := binary.Decode(b, binary.LittleEndian, v); err != nil {
		panic("safetensors: " + err.Error()) // cannot be: v has b's size
	}
	return v
}

// byteLen returns the bytes that a tensor of this type and shape occupies, or
// what is wrong with the shape.
func (t Tensor) byteLen() (int64, error) {
	n := uint64(1)
	for _, d := range t.Shape {
		if d < 0 {
			return 0, t.faultf("shape has a negative dimension, %d", d)
		}
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 {
			return 0, t.faultf("shape of %v overflows", t)
		}
		n = lo
	}
	hi, lo := bits.Mul64(n, uint64(t.DType.Bits()))
	if hi != 0 {
		return 0, t.faultf("shape of %v overflows", t)
	}
	if lo%8 != 0 {
		return 0, t.faultf("%v is %d bits, no whole number of bytes", t, lo)
	}
	return int64(lo / 8), nil
}
