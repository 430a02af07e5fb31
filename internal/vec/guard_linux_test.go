package vec

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// guarded returns a slice that ends where unreadable memory begins, as the
// last tensor of a mapped file may, and begins where it ends below.
func guarded[T float32 | uint16 | int8 | uint8](t *testing.T, n int) []T {
	t.Helper()
	var zero T
	page, size := unix.Getpagesize(), int(unsafe.Sizeof(zero))
	data := (n*size + page - 1) / page * page
	m, err := unix.Mmap(-1, 0, data+page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(m) })
	if err := unix.Mprotect(m[data:], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&m[data-n*size])), n)
}

// TestProductGuard puts every slice of a product against unreadable memory: a
// load past any end would kill the test.
func TestProductGuard(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for _, shape := range [][2]int{{1, 1}, {3, 2}, {4, 1}, {5, 3}, {7, 4}, {8, 1}, {9, 7}, {17, 6}} {
			rows, cols := shape[0], shape[1]
			out := guarded[float32](t, rows*cols)
			for n := 1; n < 70; n++ {
				x := guarded[float32](t, cols*n)
				h := guarded[uint16](t, rows*n)
				ProductBF16(out, rows, h, x, n, rows, cols, n)
				ProductF16(out, rows, h, x, n, rows, cols, n)
				ProductF32(out, rows, guarded[float32](t, rows*n), x, n, rows, cols, n)
			}
		}
	})
}

func TestVectorGuard(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for n := range 100 {
			a, b := guarded[float32](t, n), guarded[float32](t, n)
			h := guarded[uint16](t, n)
			Sum(a)
			I8ToF32(a, guarded[int8](t, n), 1)
			E4M3ToF32(a, guarded[uint8](t, n), 1)
			SumSquares(a)
			Dot(a, b)
			Axpy(a, 2, b)
			Exp(a, b)
			SiLU(a, b)
			ExpSum(a, 1)
			BF16ToF32(a, h)
			F16ToF32(a, h)
			F32ToBF16(h, b)
			F32ToF16(h, b)
			for _, rows := range []int{1, 4, 6} {
				y, x := guarded[float32](t, rows), guarded[float32](t, rows)
				Scan(y, guarded[float32](t, rows*n), a, b, x, 0.5, 0.5)
			}
		}
	})
}
