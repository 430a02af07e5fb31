package vec

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"
	"unsafe"
)

// BenchmarkMemory multiplies a matrix larger than the caches by one column,
// its rows split over all cores, and reads the same memory in three ways: as
// one stream of words, one of floats, and as float32 rows, eight streams whose
// arithmetic takes a tenth of the time. It prints the rate of the fastest
// reader, that of the product, and their ratio:
//
//	go test -run '^$' -bench Memory -benchtime 10x ./internal/vec
func BenchmarkMemory(b *testing.B) {
	const rows, n = 65536, 4096
	w, x, out := make([]uint16, rows*n), make([]float32, n), make([]float32, rows)
	for i := range w {
		w[i] = 0x3c00 | uint16(i*7)&0x83ff // near 0.01, of either type
	}
	words := unsafe.Slice((*uint64)(unsafe.Pointer(&w[0])), len(w)/4)
	floats := unsafe.Slice((*float32)(unsafe.Pointer(&w[0])), len(w)/2)
	cores := runtime.GOMAXPROCS(0)
	readers := []func(from, to int){
		func(from, to int) { xor(words[from*n/4 : to*n/4]) },
		func(from, to int) { Sum(floats[from*n/2 : to*n/2]) },
		func(from, to int) {
			ProductF32(out[from:to], to-from, floats[from*n/2:to*n/2], x, n, to-from, 1, n/2)
		},
	}
	product := func(from, to int) {
		ProductBF16(out[from:to], to-from, w[from*n:to*n], x, n, to-from, 1, n)
	}
	read, multiply := time.Duration(1<<62), time.Duration(1<<62)
	for b.Loop() {
		for _, f := range readers {
			read = min(read, timed(cores, rows, f))
		}
		multiply = min(multiply, timed(cores, rows, product))
	}
	bytes := float64(len(w) * 2)
	b.ReportMetric(bytes/float64(read), "read-GB/s")
	b.ReportMetric(bytes/float64(multiply), "product-GB/s")
	b.ReportMetric(100*float64(read)/float64(multiply), "%read")
	b.ReportMetric(0, "ns/op")
}

// xor reads words in eight chains.
func xor(w []uint64) uint64 {
	var a, b, c, d, e, f, g, h uint64
	for ; len(w) >= 8; w = w[8:] {
		a ^= w[0]
		b ^= w[1]
		c ^= w[2]
		d ^= w[3]
		e ^= w[4]
		f ^= w[5]
		g ^= w[6]
		h ^= w[7]
	}
	return a ^ b ^ c ^ d ^ e ^ f ^ g ^ h
}

// timed runs f over rows in parts of 512, taken by as many goroutines as there
// are cores.
func timed(cores, rows int, f func(from, to int)) time.Duration {
	const part = 512
	parts := make(chan int, rows/part)
	for from := 0; from < rows; from += part {
		parts <- from
	}
	close(parts)
	var wait sync.WaitGroup
	start := time.Now()
	for range cores {
		wait.Go(func() {
			for from := range parts {
				f(from, from+part)
			}
		})
	}
	wait.Wait()
	return time.Since(start)
}

// BenchmarkProduct runs one core. Beside the mean it prints the best call,
// which other work on the machine disturbs least. "peak" is a product that
// stays in the caches and widens nothing: what the multipliers reach.
func BenchmarkProduct(b *testing.B) {
	for _, s := range [][3]int{
		{256, 1, 256},
		{1544, 1, 256},
		{4096, 1, 256},
		{4096, 1, 4096},
		{4096, 2, 4096},
		{4096, 4, 4096},
		{4096, 8, 4096},
		{4096, 64, 4096},
		{1024, 256, 4096},
	} {
		rows, cols, n := s[0], s[1], s[2]
		b.Run(fmt.Sprintf("bf16/%dx%dx%d", rows, cols, n), func(b *testing.B) {
			w, x, out := make([]uint16, rows*n), make([]float32, cols*n), make([]float32, rows*cols)
			best(b, rows*n*2, rows*cols*n, func() { ProductBF16(out, rows, w, x, n, rows, cols, n) })
		})
	}
	b.Run("peak", func(b *testing.B) {
		const rows, cols, n = 32, 6, 4096
		w, x, out := make([]float32, rows*n), make([]float32, cols*n), make([]float32, rows*cols)
		best(b, rows*n*4, rows*cols*n, func() { ProductF32(out, rows, w, x, n, rows, cols, n) })
	})
}

// best reports the shortest call, and the rates of one that reads bytes of
// weights for products multiplications and additions.
func best(b *testing.B, bytes, products int, call func()) {
	shortest := time.Duration(1 << 62)
	for b.Loop() {
		start := time.Now()
		call()
		shortest = min(shortest, time.Since(start))
	}
	b.ReportMetric(float64(shortest), "best-ns")
	b.ReportMetric(float64(bytes)/float64(shortest), "best-GB/s")
	if products > 0 {
		b.ReportMetric(2*float64(products)/float64(shortest), "best-GFLOP/s")
	}
}

// BenchmarkScan runs the head of a usual Mamba-2 layer.
func BenchmarkScan(b *testing.B) {
	const p, n = 64, 128
	y, state, bc, x := make([]float32, p), make([]float32, p*n), make([]float32, n), make([]float32, p)
	best(b, 4*len(state), 0, func() { Scan(y, state, bc, bc, x, 0.9, 0.1) })
}

func BenchmarkElementwise(b *testing.B) {
	const n = 4096
	x, y, h := make([]float32, n), make([]float32, n), make([]uint16, n)
	for i := range x {
		x[i] = float32(i%97) / -10
	}
	for _, c := range []struct {
		name string
		call func()
	}{
		{"Exp", func() { Exp(y, x) }},
		{"SiLU", func() { SiLU(y, x) }},
		{"ExpSum", func() { ExpSum(y, 1) }},
		{"Dot", func() { Dot(x, y) }},
		{"Axpy", func() { Axpy(y, 0, x) }},
		{"SumSquares", func() { SumSquares(x) }},
		{"BF16ToF32", func() { BF16ToF32(y, h) }},
		{"F32ToBF16", func() { F32ToBF16(h, x) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			best(b, n*4, 0, c.call)
		})
	}
}
