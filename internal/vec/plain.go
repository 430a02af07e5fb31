package vec

import "math"

// The plain versions: the only ones on other processors, and the reference
// that the assembly is tested against. Sums run in four interleaved chains, so
// that their additions overlap, in an order that only the length decides.

func productBF16Plain(out []float32, outStride int, w []uint16, x []float32, xStride, rows, cols, n int) {
	for i := range rows {
		row := w[i*n:][:n]
		for j := range cols {
			out[j*outStride+i] = dotBF16Plain(row, x[j*xStride:][:n])
		}
	}
}

func productF16Plain(out []float32, outStride int, w []uint16, x []float32, xStride, rows, cols, n int) {
	for i := range rows {
		row := w[i*n:][:n]
		for j := range cols {
			out[j*outStride+i] = dotF16Plain(row, x[j*xStride:][:n])
		}
	}
}

func productF32Plain(out []float32, outStride int, w, x []float32, xStride, rows, cols, n int) {
	for i := range rows {
		row := w[i*n:][:n]
		for j := range cols {
			out[j*outStride+i] = dotPlain(row, x[j*xStride:][:n])
		}
	}
}

func dotBF16Plain(w []uint16, x []float32) float32 {
	var s0, s1, s2, s3 float32
	for len(w) >= 4 && len(x) >= 4 {
		s0 += bf16(w[0]) * x[0]
		s1 += bf16(w[1]) * x[1]
		s2 += bf16(w[2]) * x[2]
		s3 += bf16(w[3]) * x[3]
		w, x = w[4:], x[4:]
	}
	for i := range w {
		s0 += bf16(w[i]) * x[i]
	}
	return (s0 + s2) + (s1 + s3)
}

func dotF16Plain(w []uint16, x []float32) float32 {
	var s0, s1, s2, s3 float32
	for len(w) >= 4 && len(x) >= 4 {
		s0 += f16(w[0]) * x[0]
		s1 += f16(w[1]) * x[1]
		s2 += f16(w[2]) * x[2]
		s3 += f16(w[3]) * x[3]
		w, x = w[4:], x[4:]
	}
	for i := range w {
		s0 += f16(w[i]) * x[i]
	}
	return (s0 + s2) + (s1 + s3)
}

func dotPlain(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	for len(a) >= 4 && len(b) >= 4 {
		s0 += a[0] * b[0]
		s1 += a[1] * b[1]
		s2 += a[2] * b[2]
		s3 += a[3] * b[3]
		a, b = a[4:], b[4:]
	}
	for i := range a {
		s0 += a[i] * b[i]
	}
	return (s0 + s2) + (s1 + s3)
}

func axpyPlain(y []float32, a float32, x []float32) {
	x = x[:len(y)]
	for i := range y {
		y[i] += a * x[i]
	}
}

func scanPlain(y, state, b, c, x []float32, decay, dt float32) {
	n := len(b)
	for p := range x {
		s := state[p*n:][:n]
		dx := dt * x[p]
		for i := range s {
			s[i] = decay*s[i] + dx*b[i]
		}
		y[p] = dotPlain(s, c)
	}
}

func sumPlain(x []float32) float32 {
	var s0, s1, s2, s3 float32
	for len(x) >= 4 {
		s0 += x[0]
		s1 += x[1]
		s2 += x[2]
		s3 += x[3]
		x = x[4:]
	}
	for _, v := range x {
		s0 += v
	}
	return (s0 + s2) + (s1 + s3)
}

func centredSquaresPlain(x []float32, mean float32) float32 {
	var s0, s1, s2, s3 float32
	for len(x) >= 4 {
		a, b, c, d := x[0]-mean, x[1]-mean, x[2]-mean, x[3]-mean
		s0 += a * a
		s1 += b * b
		s2 += c * c
		s3 += d * d
		x = x[4:]
	}
	for _, v := range x {
		s0 += (v - mean) * (v - mean)
	}
	return (s0 + s2) + (s1 + s3)
}

func expPlain(dst, src []float32) {
	for i, v := range src {
		dst[i] = float32(math.Exp(float64(v)))
	}
}

func siluPlain(dst, src []float32) {
	for i, v := range src {
		dst[i] = float32(float64(v) / (1 + math.Exp(-float64(v))))
	}
}

func expSumPlain(x []float32, max float32) float32 {
	for i, v := range x {
		x[i] = float32(math.Exp(float64(v - max)))
	}
	return sumPlain(x)
}
