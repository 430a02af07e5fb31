package ops

import (
	"unsafe"

	"github.com/godwit-llm/godwit/internal/vec"
)

// Random describes weights that are made up where they are used: even over
// (-Scale, Scale), never 0, and the same bits on every device. Their standard
// deviation is Scale/√3.
type Random struct {
	Seed  uint64 // of one matrix
	Scale float32
}

// randomBlock is the number of values that one call of the generator gives.
const randomBlock = 8

// Fill writes the values from number from on to dst. Value i is an odd number
// of 16 bits: half i%8, the lower ones first, of Philox4x32-10 with the seed as
// its key and i/8 as its counter; times Scale/2^15.
func (r Random) Fill(dst []float32, from int) {
	if skip := from % randomBlock; skip > 0 && len(dst) > 0 {
		whole := r.block(from / randomBlock)
		n := copy(dst, whole[skip:])
		dst, from = dst[n:], from+n
	}
	for ; len(dst) >= randomBlock; dst, from = dst[randomBlock:], from+randomBlock {
		*(*[randomBlock]float32)(dst) = r.block(from / randomBlock)
	}
	if len(dst) > 0 {
		whole := r.block(from / randomBlock)
		copy(dst, whole[:])
	}
}

func (r Random) block(i int) (out [randomBlock]float32) {
	factor := r.Scale / (1 << 15)
	words := philox([4]uint32{uint32(i), uint32(uint64(i) >> 32), 0, 0}, uint32(r.Seed), uint32(r.Seed>>32))
	for k, w := range words {
		out[2*k] = float32(int16(w)|1) * factor
		out[2*k+1] = float32(int16(w>>16)|1) * factor
	}
	return out
}

// random allocates a matrix and fills it on all cores.
func (b *CPU) random(t DType, rows, cols int, r Random) Tensor {
	const piece = 1 << 12 // values, a multiple of randomBlock
	n := rows * cols
	words := make([]uint64, max(1, (n*t.Size()+7)/8))
	out := Tensor{Addr: unsafe.Pointer(unsafe.SliceData(words)), Type: t, Rows: rows, Cols: cols, Stride: cols}
	flat := out
	flat.Rows, flat.Cols, flat.Stride = n, 1, 1
	b.pool.each((n+piece-1)/piece, 1, func(_, first, last int) {
		var values [piece]float32
		for i := first; i < last; i++ {
			from, to := i*piece, min((i+1)*piece, n)
			part := values[:to-from]
			r.Fill(part, from)
			switch t {
			case BF16:
				vec.F32ToBF16(flat.halves(from, to), part)
			case F16:
				vec.F32ToF16(flat.halves(from, to), part)
			default:
				copy(flat.singles(from, to), part)
			}
		}
	})
	return out
}
