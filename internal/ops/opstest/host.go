package opstest

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/godwit-llm/godwit/internal/ops"
)

// Host is a backend whose tensors lie in the memory of the process.
type Host struct{ ops.Backend }

// Write stores values in t.
func (Host) Write(t ops.Tensor, values []float32) error {
	size := t.Type.Size()
	for r := range t.Rows {
		row := unsafe.Slice((*byte)(unsafe.Add(t.Addr, r*t.Stride*size)), t.Cols*size)
		copy(row, encode(t.Type, values[r*t.Cols:(r+1)*t.Cols]))
	}
	return nil
}

// encode returns values in a type, little-endian.
func encode(d ops.DType, values []float32) []byte {
	out := make([]byte, 0, len(values)*d.Size())
	for _, v := range values {
		switch d {
		case ops.F32:
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
		case ops.BF16:
			out = binary.LittleEndian.AppendUint16(out, toBF16(v))
		case ops.F16:
			out = binary.LittleEndian.AppendUint16(out, toF16(v))
		case ops.I32:
			out = binary.LittleEndian.AppendUint32(out, uint32(int32(v)))
		case ops.I8:
			out = append(out, byte(int8(max(-127, min(127, math.RoundToEven(float64(v)))))))
		case ops.F8:
			out = append(out, toE4M3(float64(v)))
		}
	}
	return out
}

// toBF16 rounds a finite value to nearest even.
func toBF16(v float32) uint16 {
	u := math.Float32bits(v)
	return uint16((u + 0x7FFF + u>>16&1) >> 16)
}

func fromBF16(u uint16) float64 { return float64(math.Float32frombits(uint32(u) << 16)) }

// toF16 rounds a finite value within the range of half precision to nearest
// even, by arithmetic: one unit in the last place is 2^(e-10), at least 2^-24.
func toF16(v float32) uint16 {
	x := math.Abs(float64(v))
	e := -14
	if x > 0 {
		_, e = math.Frexp(x)
		e = max(e-1, -14)
	}
	units := uint16(math.RoundToEven(math.Ldexp(x, 10-e))) // carries into the exponent
	u := units + uint16(e+14)<<10
	if math.Signbit(float64(v)) {
		u |= 0x8000
	}
	return u
}

// fromF16 decodes a finite half.
func fromF16(u uint16) float64 {
	e, fraction := int(u>>10&31), float64(u&1023)
	x := math.Ldexp(fraction, -24)
	if e > 0 {
		x = math.Ldexp(1024+fraction, e-25)
	}
	if u&0x8000 != 0 {
		return -x
	}
	return x
}

// weight is a matrix in a stored type together with its values.
type weight struct {
	stored ops.Stored
	m      *matrix
}

// newWeight rounds values to a type. Its bytes are aligned to eight.
func newWeight(d ops.DType, rows, cols int, values []float32) weight {
	data := encode(d, values)
	words := make([]uint64, len(data)/8+1)
	aligned := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*8)[:len(data)]
	copy(aligned, data)
	m := newMatrix(rows, cols)
	for i, v := range values {
		switch d {
		case ops.BF16:
			m.v[i] = fromBF16(binary.LittleEndian.Uint16(data[2*i:]))
		case ops.F16:
			m.v[i] = fromF16(binary.LittleEndian.Uint16(data[2*i:]))
		default:
			m.v[i] = float64(v)
		}
	}
	return weight{ops.Stored{Name: "weight", Type: d, Rows: rows, Cols: cols, Data: aligned}, m}
}

// weights places random matrices of the given row counts as one stack.
func (f *fixture) weights(d ops.DType, cols int, rows ...int) ([]ops.Tensor, *matrix) {
	f.Helper()
	all := newMatrix(0, cols)
	var stored []ops.Stored
	for _, n := range rows {
		w := newWeight(d, n, cols, f.normal(n*cols))
		stored = append(stored, w.stored)
		all.rows += n
		all.v = append(all.v, w.m.v...)
	}
	all.size = make([]float64, all.rows)
	tensors, err := f.dev.Weights(stored)
	f.must(err)
	return tensors, all
}
