package ops

import (
	"fmt"
	"unsafe"
)

// DType is the element type of a tensor that operations compute with.
type DType uint8

// The element types. Activations of the plain backend are always F32; weights
// keep the type they are stored in.
const (
	F32 DType = iota
	BF16
	F16
	I32 // ids and counts, never weights
)

// Size returns the bytes of one element.
func (t DType) Size() int {
	if t == F32 || t == I32 {
		return 4
	}
	return 2
}

func (t DType) String() string {
	switch t {
	case F32:
		return "F32"
	case BF16:
		return "BF16"
	case F16:
		return "F16"
	case I32:
		return "I32"
	}
	return fmt.Sprintf("DType(%d)", uint8(t))
}

// Tensor is a matrix in a backend's memory: an address, a type and a shape.
// Element (r, c) stands at Addr + (r*Stride + c) * Type.Size(). The zero Tensor
// stands for "absent" (a layer without bias, say).
//
// A Tensor does not own its memory: the backend that made it does.
type Tensor struct {
	Addr       unsafe.Pointer
	Type       DType
	Rows, Cols int
	Stride     int // elements from one row to the next
}

// Present reports whether t refers to memory.
func (t Tensor) Present() bool { return t.Addr != nil }

// Top returns the first n rows.
func (t Tensor) Top(n int) Tensor {
	if n > t.Rows {
		panic(fmt.Sprintf("ops: %d rows of a tensor with %d", n, t.Rows))
	}
	t.Rows = n
	return t
}

// From returns the rows from row n on.
func (t Tensor) From(n int) Tensor {
	if n > t.Rows {
		panic(fmt.Sprintf("ops: rows from %d on of a tensor with %d", n, t.Rows))
	}
	t.Addr = unsafe.Add(t.Addr, n*t.Stride*t.Type.Size())
	t.Rows -= n
	return t
}

// Columns returns columns [from, to) of every row.
func (t Tensor) Columns(from, to int) Tensor {
	if from < 0 || to > t.Cols || from > to {
		panic(fmt.Sprintf("ops: columns [%d:%d) of a tensor with %d", from, to, t.Cols))
	}
	t.Addr = unsafe.Add(t.Addr, from*t.Type.Size())
	t.Cols = to - from
	return t
}

func (t Tensor) String() string { return fmt.Sprintf("%s[%d, %d]", t.Type, t.Rows, t.Cols) }

// row returns row r of a float32 tensor in host memory.
func (t Tensor) row(r int) []float32 {
	p := (*float32)(unsafe.Add(t.Addr, r*t.Stride*4))
	return unsafe.Slice(p, t.Cols)
}

// flat returns all of a float32 tensor in host memory, from the first element
// to the last one, gaps between rows included.
func (t Tensor) flat() []float32 {
	if t.Rows == 0 {
		return nil
	}
	return unsafe.Slice((*float32)(t.Addr), (t.Rows-1)*t.Stride+t.Cols)
}

// halves returns rows [from, to) of a dense two-byte tensor in host memory.
func (t Tensor) halves(from, to int) []uint16 {
	p := (*uint16)(unsafe.Add(t.Addr, from*t.Stride*2))
	return unsafe.Slice(p, (to-from)*t.Stride)
}

// singles returns rows [from, to) of a dense float32 tensor in host memory.
func (t Tensor) singles(from, to int) []float32 {
	p := (*float32)(unsafe.Add(t.Addr, from*t.Stride*4))
	return unsafe.Slice(p, (to-from)*t.Stride)
}

// bytes returns rows [from, to) of a dense tensor in host memory.
func (t Tensor) bytes(from, to int) []byte {
	row := t.Stride * t.Type.Size()
	return unsafe.Slice((*byte)(unsafe.Add(t.Addr, from*row)), (to-from)*row)
}

// ints returns row r of an int32 tensor in host memory.
func (t Tensor) ints(r int) []int32 {
	p := (*int32)(unsafe.Add(t.Addr, r*t.Stride*4))
	return unsafe.Slice(p, t.Cols)
}
