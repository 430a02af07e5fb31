package cudatest

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// Statuses of cuBLASLt.
const (
	ltInvalidValue    code = 7
	ltExecutionFailed code = 13
	ltNotSupported    code = 15
)

// ltState is what cuBLASLt holds.
type ltState struct {
	live  int
	descs map[uintptr]*ltDesc
}

// ltDesc is any of its objects: handle, descriptor, layout or preference.
type ltDesc struct {
	kind       int32 // of a layout: the elements' type
	rows, cols int
	pitch      int
	attributes map[int32]uint64
}

func (f *Fake) ltNew(p *uintptr) *ltDesc {
	*p = f.next()
	d := &ltDesc{attributes: map[int32]uint64{}}
	f.lt.descs[*p] = d
	f.lt.live++
	return d
}

func (f *Fake) ltCreate(p *uintptr) code {
	f.ltNew(p)
	return 0
}

func (f *Fake) ltDestroy(h uintptr) code {
	if f.lt.descs[h] == nil {
		return ltInvalidValue
	}
	delete(f.lt.descs, h)
	f.lt.live--
	return 0
}

func (f *Fake) ltVersion() code { return 120804 }

func (f *Fake) ltDescCreate(p *uintptr, compute, scale int32) code {
	if compute != 68 || scale != 0 {
		return ltNotSupported
	}
	f.ltNew(p)
	return 0
}

func (f *Fake) ltLayoutCreate(p *uintptr, kind int32, rows, cols uint64, pitch int64) code {
	d := f.ltNew(p)
	d.kind, d.rows, d.cols, d.pitch = kind, int(rows), int(cols), int(pitch)
	return 0
}

func (f *Fake) ltSet(h uintptr, attribute int32, value unsafe.Pointer, n uint64) code {
	d := f.lt.descs[h]
	if d == nil || n > 8 {
		return ltInvalidValue
	}
	var v [8]byte
	copy(v[:], unsafe.Slice((*byte)(value), n))
	d.attributes[attribute] = binary.LittleEndian.Uint64(v[:])
	return 0
}

// ltResult is C's cublasLtMatmulHeuristicResult_t.
type ltResult struct {
	algo  [8]uint64
	_     uint64 // workspace
	_     int32  // state
	waves float32
	_     [4]int32
}

func (f *Fake) ltHeuristic(_, desc, a, b, _, d, prefer uintptr, want int32, result *ltResult, n *int32) code {
	for _, h := range []uintptr{desc, a, b, d, prefer} {
		if f.lt.descs[h] == nil {
			return ltInvalidValue
		}
	}
	*n = min(want, 1)
	*result = ltResult{algo: [8]uint64{uint64(f.lt.descs[d].kind) + 1}, waves: 1}
	return 0
}

func (f *Fake) ltMatmul(_, desc uintptr, alpha *float32, a, la, b, lb uintptr, beta *float32, c, _, d, ld uintptr,
	algo *[8]uint64, _, _, s uintptr,
) code {
	op, w, x, y := f.lt.descs[desc], f.lt.descs[la], f.lt.descs[lb], f.lt.descs[ld]
	if op == nil || w == nil || x == nil || y == nil || c != d || algo[0] != uint64(y.kind)+1 || op.attributes[3] != 1 {
		return ltInvalidValue
	}
	p := ltProduct{w: f.matrix(w, a), x: f.matrix(x, b), y: f.matrix(y, d), alpha: *alpha, beta: *beta}
	if op.attributes[7] == 4 {
		p.bias = f.matrix(&ltDesc{kind: y.kind, rows: y.rows, cols: 1, pitch: y.rows}, uintptr(op.attributes[8]))
		if p.bias.data == nil {
			return ltInvalidValue
		}
	}
	if p.w.data == nil || p.x.data == nil || p.y.data == nil {
		return ltInvalidValue
	}
	return f.do(s, p.run)
}

// ltMatrix is a matrix in device memory, columns first.
type ltMatrix struct {
	*ltDesc
	data []byte
}

// size returns the bytes of one element.
func (d *ltDesc) size() int {
	if d.kind == 0 {
		return 4
	}
	return 2
}

func (f *Fake) matrix(d *ltDesc, p uintptr) ltMatrix {
	return ltMatrix{d, f.bytes(p, uint64(((d.cols-1)*d.pitch+d.rows)*d.size()))}
}

func (m ltMatrix) at(row, col int) float32 {
	b := m.data[(col*m.pitch+row)*m.size():]
	switch m.kind {
	case 0:
		return math.Float32frombits(binary.LittleEndian.Uint32(b))
	case 14:
		return math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16)
	default:
		return half(binary.LittleEndian.Uint16(b))
	}
}

// half converts from the 16-bit format with 5 bits of exponent.
func half(h uint16) float32 {
	exponent, fraction := int(h>>10&31), float64(h&1023)
	v := math.Ldexp(1+fraction/1024, exponent-15)
	switch exponent {
	case 0:
		v = math.Ldexp(fraction, -24)
	case 31:
		v = math.Inf(1)
		if fraction != 0 {
			v = math.NaN()
		}
	}
	if h>>15 == 1 {
		v = -v
	}
	return float32(v)
}

// halfOf is the opposite, rounded to the nearest, of two to the even one.
func halfOf(v float32) uint16 {
	sign, size := uint16(math.Float32bits(v)>>31)<<15, math.Abs(float64(v))
	switch {
	case size != size:
		return sign | 0x7e00
	case size >= 65520:
		return sign | 0x7c00
	case size == 0:
		return sign
	}
	exponent := max(math.Ilogb(size), -14)
	return sign | uint16((exponent+14)<<10+int(math.RoundToEven(math.Ldexp(size, 10-exponent))))
}

// put stores an element.
func (m ltMatrix) put(row, col int, v float32) {
	b := m.data[(col*m.pitch+row)*m.size():]
	bits := math.Float32bits(v)
	switch m.kind {
	case 0:
		binary.LittleEndian.PutUint32(b, bits)
	case 14:
		binary.LittleEndian.PutUint16(b, uint16((bits+0x7fff+bits>>16&1)>>16))
	default:
		binary.LittleEndian.PutUint16(b, halfOf(v))
	}
}

// ltProduct is y = alpha·wᵀ·x + beta·y + bias.
type ltProduct struct {
	w, x, y, bias ltMatrix
	alpha, beta   float32
}

func (p ltProduct) run() code {
	for col := range p.y.cols {
		for row := range p.y.rows {
			var sum float32
			for k := range p.x.rows {
				sum += p.w.at(k, row) * p.x.at(k, col)
			}
			sum *= p.alpha
			if p.beta != 0 {
				sum += p.beta * p.y.at(row, col)
			}
			if p.bias.data != nil {
				sum += p.bias.at(row, 0)
			}
			p.y.put(row, col, sum)
		}
	}
	return 0
}

// Texts that C functions return the addresses of.
var (
	ltStatusText  = []byte("CUBLAS_STATUS_OF_THE_FAKE\x00")
	nvmlErrorText = []byte("an error of the fake\x00")
)

func (f *Fake) ltStatusName(int32) code { return code(uintptr(unsafe.Pointer(&ltStatusText[0]))) }
