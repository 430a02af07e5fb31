package ops

import (
	"fmt"
	"math"

	"github.com/godwit-llm/godwit/internal/vec"
)

// CacheFormat says how a cache stores keys and values.
type CacheFormat uint8

const (
	// Plain stores them as activations.
	Plain CacheFormat = iota

	// INT8 stores whole numbers from -127 to 127, and for each vector what they
	// are multiplied with: the smallest BF16 number that reaches the vector's
	// largest component, see Int8Scale.
	INT8

	// FP8 stores E4M3 numbers, to be multiplied with a constant of the layer.
	// What is beyond 448 times that constant is stored as the largest number.
	FP8
)

func (f CacheFormat) String() string {
	switch f {
	case Plain:
		return "plain"
	case INT8:
		return "INT8"
	case FP8:
		return "FP8"
	}
	return fmt.Sprintf("CacheFormat(%d)", uint8(f))
}

// Type returns the type of a cache's elements, where activations have act.
func (f CacheFormat) Type(act DType) DType {
	switch f {
	case INT8:
		return I8
	case FP8:
		return F8
	}
	return act
}

// CacheShape describes the cache of one attention layer.
type CacheShape struct {
	Pages, PageSize  int
	KVHeads, HeadDim int
	Format           CacheFormat
	KScale, VScale   float32 // FP8: of keys, of values; 0 means 1
}

// Rows returns the number of keys that the cache has room for, all heads
// together.
func (s CacheShape) Rows() int { return s.Pages * s.KVHeads * s.PageSize }

// Bytes returns the size of the cache, where activations have act.
func (s CacheShape) Bytes(act DType) int64 {
	vector := s.HeadDim * s.Format.Type(act).Size()
	if s.Format == INT8 {
		vector += BF16.Size()
	}
	return 2 * int64(s.Rows()) * int64(vector)
}

// Cache holds the keys and values of one attention layer in pages. The vector
// of head h at place i of page p is row (p·KVHeads + h)·PageSize + i.
type Cache struct {
	K, V           Tensor // [pages·KVHeads·PageSize, HeadDim]
	Scales         Tensor // INT8: [pages·KVHeads·PageSize, 2] BF16, of key and value; otherwise absent
	Format         CacheFormat
	KScale, VScale float32 // FP8
	PageSize       int
}

// NewCache returns a cache whose tensors make reserves.
func NewCache(s CacheShape, act DType, reserve func(t DType, rows, cols int) (Tensor, error)) (Cache, error) {
	c := Cache{Format: s.Format, PageSize: s.PageSize}
	var err error
	if c.K, err = reserve(s.Format.Type(act), s.Rows(), s.HeadDim); err != nil {
		return c, err
	}
	if c.V, err = reserve(s.Format.Type(act), s.Rows(), s.HeadDim); err != nil {
		return c, err
	}
	switch s.Format {
	case INT8:
		c.Scales, err = reserve(BF16, s.Rows(), 2)
	case FP8:
		c.KScale, c.VScale = orOne(s.KScale), orOne(s.VScale)
	}
	return c, err
}

func orOne(scale float32) float32 {
	if scale == 0 {
		return 1
	}
	return scale
}

// Tensors returns the parts of the cache, all with the same number of rows.
func (c *Cache) Tensors() []Tensor {
	if c.Scales.Present() {
		return []Tensor{c.K, c.V, c.Scales}
	}
	return []Tensor{c.K, c.V}
}

// leastInt8Scale keeps the reciprocal of a scale finite.
const leastInt8Scale = 0x1p-100

// Int8Scale returns the scale, a BF16 number, of a vector whose largest
// component has the given magnitude: most/127 rounded up, so that no number is
// beyond ±127. NaN and infinity stay what they are, and with them what the
// vector is multiplied with.
func Int8Scale(most float32) float32 {
	scale := most / vec.MaxI8
	if scale < leastInt8Scale {
		return leastInt8Scale
	}
	bits := min(math.Float32bits(scale)+0xffff, 0x7fff0000)
	return math.Float32frombits(bits &^ 0xffff)
}

// store puts a key and a value of HeadDim columns into a row of a cache in
// host memory.
func (c *Cache) store(row int, k, v []float32) {
	switch c.Format {
	case INT8:
		scales := c.Scales.halves(row, row+1)
		scales[0] = storeInt8(c.K.int8s(row, row+1), k)
		scales[1] = storeInt8(c.V.int8s(row, row+1), v)
	case FP8:
		vec.F32ToE4M3(c.K.bytes(row, row+1), k, 1/c.KScale)
		vec.F32ToE4M3(c.V.bytes(row, row+1), v, 1/c.VScale)
	default:
		copy(c.K.row(row), k)
		copy(c.V.row(row), v)
	}
}

// storeInt8 rounds a vector and returns the bits of its scale.
func storeInt8(dst []int8, x []float32) uint16 {
	scale := Int8Scale(vec.MaxAbs(x))
	vec.F32ToI8(dst, x, 1/scale)
	return uint16(math.Float32bits(scale) >> 16)
}

// keys and values return rows [from, to) of a cache in host memory as float32,
// where they are or written to room.
func (c *Cache) keys(from, to int, room []float32) []float32 {
	return c.rows(c.K, 0, c.KScale, from, to, room)
}

func (c *Cache) values(from, to int, room []float32) []float32 {
	return c.rows(c.V, 1, c.VScale, from, to, room)
}

func (c *Cache) rows(t Tensor, which int, scale float32, from, to int, room []float32) []float32 {
	if c.Format == Plain {
		return t.singles(from, to)
	}
	room = room[:(to-from)*t.Cols]
	if c.Format == FP8 {
		vec.E4M3ToF32(room, t.bytes(from, to), scale)
		return room
	}
	scales := c.Scales.halves(from, to)
	numbers := t.int8s(from, to)
	for r := range to - from {
		s := math.Float32frombits(uint32(scales[2*r+which]) << 16)
		vec.I8ToF32(room[r*t.Cols:(r+1)*t.Cols], numbers[r*t.Cols:(r+1)*t.Cols], s)
	}
	return room
}
