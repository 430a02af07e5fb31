package vec

import "unsafe"

// kernel selects the assembly for one instruction set and weight type.
type kernel struct {
	set level
	of  weights
}

// weights is a stored type.
type weights int

const (
	bf16Weights weights = iota
	f16Weights
	f32Weights
)

// size returns the bytes of one weight.
func (t weights) size() int {
	if t == f32Weights {
		return 4
	}
	return 2
}

// Blocks keep to the second-level cache what is used again: blockBytes of
// weights pass under columnBytes of inputs before the next are touched. Memory
// delivers the weights once for at least minColumns columns.
const (
	blockBytes  = 128 << 10
	columnBytes = 1 << 20
	minColumns  = 48
)

// product covers the outputs with tiles. No tile shape shows in the bits of an
// output, so the choice below is about speed alone. All sizes are above zero.
func (k kernel) product(out []float32, outStride int, w unsafe.Pointer, x []float32, xStride, rows, cols, n int) {
	switch {
	case rows < 4:
		k.fewRows(out, outStride, w, x, xStride, rows, cols, n)
	case cols == 1:
		k.tile(&out[0], outStride, w, n, &x[0], xStride, rows, 1, n)
	default:
		size := max(columnBytes/(n*4), minColumns)
		for j := 0; j < cols; j += size {
			k.columns(out[j*outStride:], outStride, w, x[j*xStride:], xStride, rows, min(size, cols-j), n)
		}
	}
}

// columns multiplies rows ≥ 4 rows by a block of columns. No block of rows has
// fewer than four.
func (k kernel) columns(out []float32, outStride int, w unsafe.Pointer, x []float32, xStride, rows, cols, n int) {
	rowBytes := n * k.of.size()
	size := max(blockBytes/rowBytes&^7, 8)
	for i := 0; i < rows; {
		r := size
		if rows-i < size+4 {
			r = rows - i
		}
		at := unsafe.Add(w, i*rowBytes)
		for j := 0; j < cols; j += k.width() {
			c := min(cols-j, k.width())
			k.tile(&out[j*outStride+i], outStride, at, n, &x[j*xStride], xStride, r, c, n)
		}
		i += r
	}
}

// fewRows computes rows one by one, as tiles of one row four times over.
func (k kernel) fewRows(out []float32, outStride int, w unsafe.Pointer, x []float32, xStride, rows, cols, n int) {
	var tile [4 * 6]float32
	for i := range rows {
		at := unsafe.Add(w, i*n*k.of.size())
		for j := 0; j < cols; j += k.width() {
			c := min(cols-j, k.width())
			k.tile(&tile[0], 4, at, 0, &x[j*xStride], xStride, 4, c, n)
			for t := range c {
				out[(j+t)*outStride+i] = tile[4*t]
			}
		}
	}
}

// width returns the columns of the widest tile.
func (k kernel) width() int {
	if k.set == avx512 {
		return 6
	}
	return 3
}

// tile runs over rows ≥ 4 rows and 1 ≤ cols ≤ width columns. wStride counts
// weights and is n, or 0 to repeat one row.
func (k kernel) tile(out *float32, outStride int, w unsafe.Pointer, wStride int, x *float32, xStride, rows, cols, n int) {
	if cols == 1 && rows >= 8 {
		k.column8(out, w, x, rows, n)
		return
	}
	switch {
	case k.set == avx512 && cols > 3:
		k.tile6(out, outStride, w, wStride, x, xStride, rows, cols, n)
	case k == kernel{avx512, bf16Weights}:
		tile3BF16AVX512(out, outStride, w, wStride, x, xStride, rows, cols, n)
	case k == kernel{avx512, f16Weights}:
		tile3F16AVX512(out, outStride, w, wStride, x, xStride, rows, cols, n)
	case k == kernel{avx512, f32Weights}:
		tile3F32AVX512(out, outStride, w, wStride, x, xStride, rows, cols, n)
	case k.of == bf16Weights:
		tile3BF16AVX2(out, outStride, w, wStride, x, xStride, rows, cols, n)
	case k.of == f16Weights:
		tile3F16AVX2(out, outStride, w, wStride, x, xStride, rows, cols, n)
	default:
		tile3F32AVX2(out, outStride, w, wStride, x, xStride, rows, cols, n)
	}
}

func (k kernel) tile6(out *float32, outStride int, w unsafe.Pointer, wStride int, x *float32, xStride, rows, cols, n int) {
	switch k.of {
	case bf16Weights:
		tile6BF16AVX512(out, outStride, w, wStride, x, xStride, rows, cols, n)
	case f16Weights:
		tile6F16AVX512(out, outStride, w, wStride, x, xStride, rows, cols, n)
	case f32Weights:
		tile6F32AVX512(out, outStride, w, wStride, x, xStride, rows, cols, n)
	}
}

// column8 multiplies rows ≥ 8 rows back to back by one column.
func (k kernel) column8(out *float32, w unsafe.Pointer, x *float32, rows, n int) {
	switch k {
	case kernel{avx512, bf16Weights}:
		if vbmi {
			column8BF16VBMI(out, w, x, rows, n)
		} else {
			column8BF16AVX512(out, w, x, rows, n)
		}
	case kernel{avx512, f16Weights}:
		column8F16AVX512(out, w, x, rows, n)
	case kernel{avx512, f32Weights}:
		column8F32AVX512(out, w, x, rows, n)
	case kernel{avx2, bf16Weights}:
		column8BF16AVX2(out, w, x, rows, n)
	case kernel{avx2, f16Weights}:
		column8F16AVX2(out, w, x, rows, n)
	case kernel{avx2, f32Weights}:
		column8F32AVX2(out, w, x, rows, n)
	}
}

//go:noescape
func tile6BF16AVX512(out *float32, outStride int, w unsafe.Pointer, wStride int, x *float32, xStride, rows, cols, n int)

//go:noescape
func tile3BF16AVX512(out *float32, outStride int, w unsafe.Pointer, wStride int, x *float32, xStride, rows, cols, n int)

//go:noescape
func tile6F16AVX512(out *float32, outStride int, w unsafe.Pointer, wStride int, x *float32, xStride, rows, cols, n int)

//go:noescape
func tile3F16AVX512(out *float32, outStride int, w unsafe.Pointer, wStride int, x *float32, xStride, rows, cols, n int)

//go:noescape
func tile6F32AVX512(out *float32, outStride int, w unsafe.Pointer, wStride int, x *float32, xStride, rows, cols, n int)

//go:noescape
func tile3F32AVX512(out *float32, outStride int, w unsafe.Pointer, wStride int, x *float32, xStride, rows, cols, n int)

//go:noescape
func tile3BF16AVX2(out *float32, outStride int, w unsafe.Pointer, wStride int, x *float32, xStride, rows, cols, n int)

//go:noescape
func tile3F16AVX2(out *float32, outStride int, w unsafe.Pointer, wStride int, x *float32, xStride, rows, cols, n int)

//go:noescape
func tile3F32AVX2(out *float32, outStride int, w unsafe.Pointer, wStride int, x *float32, xStride, rows, cols, n int)

//go:noescape
func column8BF16AVX512(out *float32, w unsafe.Pointer, x *float32, rows, n int)

//go:noescape
func column8BF16VBMI(out *float32, w unsafe.Pointer, x *float32, rows, n int)

//go:noescape
func column8F16AVX512(out *float32, w unsafe.Pointer, x *float32, rows, n int)

//go:noescape
func column8F32AVX512(out *float32, w unsafe.Pointer, x *float32, rows, n int)

//go:noescape
func column8BF16AVX2(out *float32, w unsafe.Pointer, x *float32, rows, n int)

//go:noescape
func column8F16AVX2(out *float32, w unsafe.Pointer, x *float32, rows, n int)

//go:noescape
func column8F32AVX2(out *float32, w unsafe.Pointer, x *float32, rows, n int)
