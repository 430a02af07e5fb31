package torchfile

import (
	"fmt"
	"io"
	"math/bits"
	"slices"

	"github.com/godwit-llm/godwit/internal/mmap"
	"github.com/godwit-llm/godwit/internal/safetensors"
)

// storage is a range of bytes that tensors are views of.
type storage struct {
	key  string
	kind elementType // of its elements; bytes if it has no type
	size int64       // in bytes
	data []byte      // nil until it is found

	mapped bool // data is part of a mapped file
}

// release tells the system that bytes of the storage are not needed for now.
func (s *storage) release(part []byte) {
	if s.mapped {
		mmap.Release(part)
	}
}

// Tensor is a view of a storage: element (i, j, ...) is at offset + i*stride[0]
// + j*stride[1] + ...
type Tensor struct {
	Name  string
	DType safetensors.DType
	Shape []int // not to be changed

	stride  []int
	offset  int // in elements
	storage *storage
}

// Len returns the number of bytes of the tensor by itself.
func (t Tensor) Len() int64 {
	n := int64(t.DType.Size())
	for _, d := range t.Shape {
		n *= int64(d)
	}
	return n
}

// Same reports whether t and o are the same elements of the same file.
func (t Tensor) Same(o Tensor) bool {
	return t.storage == o.storage && t.offset == o.offset && t.DType == o.DType &&
		slices.Equal(t.Shape, o.Shape) && slices.Equal(t.stride, o.stride)
}

// check makes sure that every element is in the storage.
func (t Tensor) check() error {
	if len(t.Shape) != len(t.stride) {
		return fmt.Errorf("%d dimensions and %d strides", len(t.Shape), len(t.stride))
	}
	if t.offset < 0 {
		return fmt.Errorf("the offset is %d", t.offset)
	}
	count, last := uint64(1), uint64(t.offset)
	for i, d := range t.Shape {
		if d < 0 || t.stride[i] < 0 {
			return fmt.Errorf("shape %v with strides %v, want no negative numbers", t.Shape, t.stride)
		}
		hi, lo := bits.Mul64(count, uint64(d))
		far, reach := bits.Mul64(uint64(max(d, 1)-1), uint64(t.stride[i]))
		count, last = lo, last+reach
		if hi != 0 || far != 0 || lo > 1<<55 || last > 1<<55 || reach > 1<<55 {
			return fmt.Errorf("shape %v with strides %v overflows", t.Shape, t.stride)
		}
	}
	size := uint64(t.DType.Size())
	if end := (last + 1) * size; count > 0 && end > uint64(len(t.storage.data)) {
		return fmt.Errorf("shape %v with strides %v from element %d needs %d bytes of its storage, which has %d",
			t.Shape, t.stride, t.offset, end, len(t.storage.data))
	}
	return nil
}

// block returns how many elements at the end of the shape lie in a row, and how
// many dimensions come before those.
func (t Tensor) block() (elements, outer int) {
	elements = 1
	for outer = len(t.Shape); outer > 0; outer-- {
		if d := t.Shape[outer-1]; d != 1 && t.stride[outer-1] != elements {
			break
		}
		elements *= t.Shape[outer-1]
	}
	return elements, outer
}

const chunk = 1 << 20 // bytes that are written at once

// WriteContents writes the tensor's bytes as safetensors has them: row-major,
// without gaps.
func (t Tensor) WriteContents(w io.Writer) error {
	if t.Len() == 0 {
		return nil
	}
	elements, outer := t.block()
	if outer == 0 {
		return t.writeRow(w, elements)
	}
	defer t.storage.release(t.storage.data)
	g := gatherer{w: w, buffer: make([]byte, 0, chunk)}
	size := t.DType.Size()
	width, count, step := elements*size, t.Shape[outer-1], t.stride[outer-1]*size
	err := t.each(outer-1, func(at int) error { return g.blocks(t.storage.data[at*size:], width, count, step) })
	if err != nil {
		return err
	}
	return g.flush()
}

// writeRow writes elements that lie in a row, from where they are.
func (t Tensor) writeRow(w io.Writer, elements int) error {
	size := t.DType.Size()
	row := t.storage.data[t.offset*size : (t.offset+elements)*size]
	for len(row) > 0 {
		part := row[:min(len(row), chunk)]
		if _, err := w.Write(part); err != nil {
			return err
		}
		t.storage.release(part)
		row = row[len(part):]
	}
	return nil
}

// gatherer collects bytes and writes many at once.
type gatherer struct {
	w      io.Writer
	buffer []byte
}

// blocks takes count blocks of width bytes, each step bytes after the last.
func (g *gatherer) blocks(from []byte, width, count, step int) error {
	for i := range count {
		if len(g.buffer)+width > cap(g.buffer) {
			if err := g.flush(); err != nil {
				return err
			}
		}
		block := from[i*step : i*step+width]
		if width > cap(g.buffer) {
			if _, err := g.w.Write(block); err != nil {
				return err
			}
			continue
		}
		g.take(block)
	}
	return nil
}

// take appends one block. Single elements are most of what is gathered, and
// the length of a copy is known for those.
func (g *gatherer) take(block []byte) {
	switch b := g.buffer; len(block) {
	case 2:
		g.buffer = append(b, block[0], block[1])
	case 4:
		g.buffer = append(b, block[0], block[1], block[2], block[3])
	default:
		g.buffer = append(b, block...)
	}
}

func (g *gatherer) flush() error {
	_, err := g.w.Write(g.buffer)
	g.buffer = g.buffer[:0]
	return err
}

// each calls f with the place of the first element for all indices of the first
// outer dimensions, the last of them running fastest.
func (t Tensor) each(outer int, f func(at int) error) error {
	index := make([]int, outer)
	at := t.offset
	for {
		if err := f(at); err != nil {
			return err
		}
		i := outer - 1
		for ; i >= 0; i-- {
			index[i]++
			at += t.stride[i]
			if index[i] < t.Shape[i] {
				break
			}
			at -= index[i] * t.stride[i]
			index[i] = 0
		}
		if i < 0 {
			return nil
		}
	}
}
