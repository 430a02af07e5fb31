// Package vec is float32 arithmetic over rows of stored weights: products of a
// bf16, f16 or f32 matrix with float32 columns, the Mamba-2 state update, and
// the elementwise functions around them. Each function has a plain Go version
// and, on amd64, versions for AVX2 and AVX-512 chosen once at start.
//
// It knows slices of numbers. It knows no tensors, layers or files, starts no
// goroutine and holds no state: the caller splits the work over cores.
//
// Batch invariance: with one implementation, an output of a product depends
// only on its row, its column and their length. The other rows and columns of
// the call, and the place of the output among them, never change a bit.
package vec

import "fmt"

// ProductBF16 multiplies bf16 rows by float32 columns:
//
//	out[j*outStride+i] = Σ_k w[i*n+k]·x[j*xStride+k]   i < rows, j < cols, k < n
//
// w holds rows rows of n elements back to back. Strides count elements. out
// must not overlap x or w. It panics if a slice is too short for its shape.
func ProductBF16(out []float32, outStride int, w []uint16, x []float32, xStride, rows, cols, n int) {
	if checkProduct(out, outStride, len(w), x, xStride, rows, cols, n) {
		productBF16(out, outStride, w, x, xStride, rows, cols, n)
	}
}

// ProductF16 is [ProductBF16] for IEEE half-precision weights.
func ProductF16(out []float32, outStride int, w []uint16, x []float32, xStride, rows, cols, n int) {
	if checkProduct(out, outStride, len(w), x, xStride, rows, cols, n) {
		productF16(out, outStride, w, x, xStride, rows, cols, n)
	}
}

// ProductF32 is [ProductBF16] for float32 weights.
func ProductF32(out []float32, outStride int, w, x []float32, xStride, rows, cols, n int) {
	if checkProduct(out, outStride, len(w), x, xStride, rows, cols, n) {
		productF32(out, outStride, w, x, xStride, rows, cols, n)
	}
}

// checkProduct panics unless the slices hold the shape, and reports whether
// there is anything left to compute. With n = 0 every output is zero.
func checkProduct(out []float32, outStride, lenW int, x []float32, xStride, rows, cols, n int) bool {
	if rows < 0 || cols < 0 || n < 0 {
		panic(fmt.Sprintf("vec: product of %d rows by %d columns of length %d", rows, cols, n))
	}
	if rows == 0 || cols == 0 {
		return false
	}
	if cols > 1 && (outStride < rows || xStride < n) {
		panic(fmt.Sprintf("vec: product has outStride %d for %d rows, xStride %d for length %d", outStride, rows, xStride, n))
	}
	if lenW/rows < n {
		panic(fmt.Sprintf("vec: product of %d rows of length %d has %d weights", rows, n, lenW))
	}
	if lack(len(x), cols-1, xStride, n) {
		panic(fmt.Sprintf("vec: product of %d columns of length %d at stride %d has %d inputs", cols, n, xStride, len(x)))
	}
	if lack(len(out), cols-1, outStride, rows) {
		panic(fmt.Sprintf("vec: product of %d columns of %d rows at stride %d has room for %d", cols, rows, outStride, len(out)))
	}
	if n > 0 {
		return true
	}
	for j := range cols {
		clear(out[j*outStride:][:rows])
	}
	return false
}

// lack reports whether have is below steps·stride + last, without overflow.
func lack(have, steps, stride, last int) bool {
	return have < last || (steps > 0 && stride > 0 && (have-last)/stride < steps)
}

// Dot returns Σ a[i]·b[i]. The slices must be of one length.
func Dot(a, b []float32) float32 {
	checkSame("Dot", len(a), len(b))
	return dot(a, b)
}

// Axpy adds a·x to y. The slices must be of one length.
func Axpy(y []float32, a float32, x []float32) {
	checkSame("Axpy", len(y), len(x))
	axpy(y, a, x)
}

// Scan advances the Mamba-2 state of one head by one token and reads it out.
// With N = len(b) = len(c) and P = len(x) = len(y), state is [P, N] and
//
//	state[p] = decay·state[p] + (dt·x[p])·b
//	y[p]     = Σ_n state[p,n]·c[n]
func Scan(y, state, b, c, x []float32, decay, dt float32) {
	checkSame("Scan, b and c", len(b), len(c))
	checkSame("Scan, x and y", len(x), len(y))
	checkSame("Scan, state and x times b", len(state), len(x)*len(b))
	scan(y, state, b, c, x, decay, dt)
}

// Exp sets dst[i] to e^src[i] within 2 ulp: 0 for -Inf and below the
// subnormals, +Inf above the range, NaN for NaN. dst may be src.
func Exp(dst, src []float32) {
	checkSame("Exp", len(dst), len(src))
	exp(dst, src)
}

// SiLU sets dst[i] to src[i]·sigmoid(src[i]). dst may be src.
func SiLU(dst, src []float32) {
	checkSame("SiLU", len(dst), len(src))
	silu(dst, src)
}

// ExpSum replaces x[i] with e^(x[i]-max) and returns their sum, added in an
// order that depends only on len(x). It is the middle of a softmax.
func ExpSum(x []float32, max float32) float32 { return expSum(x, max) }

// Sum returns Σ x[i].
func Sum(x []float32) float32 { return sum(x) }

// SumSquares returns Σ x[i]².
func SumSquares(x []float32) float32 { return centredSquares(x, 0) }

// CentredSquares returns Σ (x[i]-mean)².
func CentredSquares(x []float32, mean float32) float32 { return centredSquares(x, mean) }

// BF16ToF32 widens bf16 to float32, exactly.
func BF16ToF32(dst []float32, src []uint16) {
	checkSame("BF16ToF32", len(dst), len(src))
	bf16ToF32(dst, src)
}

// F16ToF32 widens IEEE half precision to float32, exactly.
func F16ToF32(dst []float32, src []uint16) {
	checkSame("F16ToF32", len(dst), len(src))
	f16ToF32(dst, src)
}

// F32ToBF16 rounds to the nearest bf16, ties to even. NaN stays NaN.
func F32ToBF16(dst []uint16, src []float32) {
	checkSame("F32ToBF16", len(dst), len(src))
	f32ToBF16(dst, src)
}

// F32ToF16 rounds to the nearest half, ties to even. NaN stays NaN; what is
// beyond the range becomes infinite.
func F32ToF16(dst []uint16, src []float32) {
	checkSame("F32ToF16", len(dst), len(src))
	f32ToF16(dst, src)
}

// Features names the implementation in use: "avx512", "avx2" or "plain go".
func Features() string { return features() }

func checkSame(op string, a, b int) {
	if a != b {
		panic(fmt.Sprintf("vec: %s: lengths %d and %d differ", op, a, b))
	}
}
