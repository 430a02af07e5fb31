package cuda_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/cuda/cudatest"
)

func TestBLAS(t *testing.T) {
	f := cudatest.New(t, cudatest.Config{})
	d := f.Device(t)
	defer d.Close()
	lib := must(cuda.LoadBLASLt(f.Options(), 12080))
	if v := lib.Version(); v != "12.8.4" || lib.File() == "" {
		t.Errorf("version %s of %q", v, lib.File())
	}
	for _, types := range [][2]cuda.Type{{cuda.F32, cuda.F32}, {cuda.BF16, cuda.BF16}, {cuda.BF16, cuda.F32}, {cuda.F16, cuda.F32}} {
		testProducts(t, d, lib, types[0], types[1])
	}
}

// testProducts compares products of odd and even sizes with plain sums.
func testProducts(t *testing.T, d *cuda.Device, lib *cuda.BLASLt, input, output cuda.Type) {
	t.Helper()
	s := must(d.NewStream(0))
	blas := must(d.NewBLAS(lib, 4<<20))
	for i, p := range []cuda.Product{
		{Rows: 1, In: 8, Out: 8},
		{Rows: 16, In: 64, Out: 32},
		{Rows: 5, In: 24, Out: 40, Add: true},
		{Rows: 7, In: 33, Out: 19},
		{Rows: 13, In: 24, Out: 16, XPitch: 32, WPitch: 40, YPitch: 48},
		{Rows: 3, In: 16, Out: 24, Add: true},
	} {
		p.Input, p.Output = input, output
		testProduct(t, d, s, blas, p, i%2 == 1)
	}
	if err := errors.Join(blas.Close(), blas.Close(), s.Close()); err != nil {
		t.Error(err)
	}
}

// operand is a matrix on both sides.
type operand struct {
	kind   cuda.Type
	values []float32
	buffer *cuda.Buffer
}

// newOperand returns random values, rounded to what the type can hold.
func newOperand(d *cuda.Device, kind cuda.Type, n int, random *rand.Rand) operand {
	o := operand{kind: kind, values: make([]float32, n), buffer: must(d.Alloc(n * kind.Size()))}
	raw := make([]byte, n*kind.Size())
	for i := range o.values {
		v := float32(random.IntN(65)-32) / 32 // exact in every type
		o.values[i] = v
		encode(raw[i*kind.Size():], kind, v)
	}
	if err := d.Upload(o.buffer.Ptr(), raw); err != nil {
		panic(err)
	}
	return o
}

// encode writes a value that the type can hold.
func encode(b []byte, kind cuda.Type, v float32) {
	bits := math.Float32bits(v)
	switch kind {
	case cuda.F32:
		binary.LittleEndian.PutUint32(b, bits)
	case cuda.BF16:
		binary.LittleEndian.PutUint16(b, uint16(bits>>16))
	case cuda.F16:
		h := uint16(bits >> 16 & 0x8000)
		if v != 0 {
			h |= uint16(int(bits>>23&255)-127+15)<<10 | uint16(bits>>13&1023)
		}
		binary.LittleEndian.PutUint16(b, h)
	}
}

func decode(b []byte, kind cuda.Type) float32 {
	switch kind {
	case cuda.F32:
		return math.Float32frombits(binary.LittleEndian.Uint32(b))
	case cuda.BF16:
		return math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16)
	}
	h := binary.LittleEndian.Uint16(b)
	if h&0x7fff == 0 {
		return 0
	}
	return math.Float32frombits(uint32(h&0x8000)<<16 | (uint32(h>>10&31)+127-15)<<23 | uint32(h&1023)<<13)
}

func testProduct(t *testing.T, d *cuda.Device, s *cuda.Stream, blas *cuda.BLAS, p cuda.Product, withBias bool) {
	t.Helper()
	name := fmt.Sprintf("%+v, bias %v", p, withBias)
	random := rand.New(rand.NewPCG(1, 2))
	xp, wp, yp := max(p.XPitch, p.In), max(p.WPitch, p.In), max(p.YPitch, p.Out)
	x, w := newOperand(d, p.Input, p.Rows*xp, random), newOperand(d, p.Input, p.Out*wp, random)
	y, bias := newOperand(d, p.Output, p.Rows*yp, random), newOperand(d, p.Output, p.Out, random)
	var at cuda.DevicePtr
	if withBias {
		at = bias.buffer.Ptr()
	}
	err := blas.Multiply(s, p, y.buffer.Ptr(), x.buffer.Ptr(), w.buffer.Ptr(), at)
	if errors.Is(err, cuda.ErrNotAvailable) {
		t.Logf("%s: %v", name, err)
		return
	}
	got := make([]byte, y.buffer.Size())
	if err := errors.Join(err, s.Synchronize(), d.Download(got, y.buffer.Ptr())); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for i := range p.Rows * yp {
		row, col := i/yp, i%yp
		want := float64(y.values[i])
		if col < p.Out {
			want = sum(&p, x.values[row*xp:], w.values[col*wp:], y.values[i], bias.values[col], withBias)
		}
		have := float64(decode(got[i*p.Output.Size():], p.Output))
		if math.Abs(have-want) > tolerance(p.Output)*(1+math.Abs(want)) {
			t.Fatalf("%s: y[%d, %d] is %g, want %g", name, row, col, have, want)
		}
	}
	if err := errors.Join(x.buffer.Close(), w.buffer.Close(), y.buffer.Close(), bias.buffer.Close()); err != nil {
		t.Error(err)
	}
}

// sum computes one element in float64.
func sum(p *cuda.Product, x, w []float32, y, bias float32, withBias bool) float64 {
	var v float64
	for k := range p.In {
		v += float64(x[k]) * float64(w[k])
	}
	if p.Add {
		v += float64(y)
	}
	if withBias {
		v += float64(bias)
	}
	return v
}

// tolerance is the relative error of one rounding to the type, and a little.
func tolerance(t cuda.Type) float64 {
	return map[cuda.Type]float64{cuda.F32: 1e-6, cuda.F16: 1e-3, cuda.BF16: 8e-3}[t]
}

func TestBLASErrors(t *testing.T) {
	f := cudatest.New(t, cudatest.Config{})
	d := f.Device(t)
	defer d.Close()
	lib := must(cuda.LoadBLASLt(f.Options(), 13000))
	f.Fail("cublasLtCreate", 0, 3)
	_, err := d.NewBLAS(lib, 100)
	check(t, err, "cuda: cublasLtCreate: CUBLAS_STATUS_OF_THE_FAKE (3); libcublasLt.so.13", cuda.ErrOutOfMemory)
	if f.Used(0) != 0 {
		t.Error("the workspace was kept")
	}
	_, err = d.NewBLAS(lib, 1<<40)
	if !errors.Is(err, cuda.ErrOutOfMemory) {
		t.Errorf("got %v", err)
	}

	blas, s := must(d.NewBLAS(lib, 0)), must(d.NewStream(0))
	b := must(d.Alloc(1 << 12))
	p := cuda.Product{Rows: 2, In: 8, Out: 8, Input: cuda.BF16, Output: cuda.F32}
	multiply := func(p cuda.Product) error { return blas.Multiply(s, p, b.Ptr(), b.Ptr()+1024, b.Ptr()+2048, 0) }
	for call := range map[string]bool{
		"cublasLtMatmulDescCreate": true, "cublasLtMatrixLayoutCreate": true, "cublasLtMatmulDescSetAttribute": true,
		"cublasLtMatmulPreferenceCreate": true, "cublasLtMatmulPreferenceSetAttribute": true,
	} {
		f.Fail(call, 0, 7)
		check(t, multiply(p), "cuda: "+call+": CUBLAS_STATUS_OF_THE_FAKE (7); product of 2 rows, 8 to 8 columns, BF16 to F32", nil)
	}
	f.Fail("cublasLtMatmulAlgoGetHeuristic", 0, 15)
	check(t, multiply(p), "cuda: cublasLtMatmulAlgoGetHeuristic: CUBLAS_STATUS_OF_THE_FAKE (15); product of 2 rows, 8 to 8 columns, BF16 to F32", cuda.ErrNotAvailable)
	if live := f.Live()["cuBLASLt object"]; live != 1 {
		t.Errorf("%d objects of cuBLASLt are left, want the handle alone", live)
	}
	for _, bad := range []cuda.Product{{}, {Rows: 1, In: 8, Out: 0}, {Rows: 1, In: 8, Out: 8, XPitch: 7}} {
		if multiply(bad) == nil {
			t.Errorf("multiplied %+v", bad)
		}
	}
	f.Fail("cublasLtMatmul", 0, 14)
	check(t, multiply(p), "cuda: cublasLtMatmul: CUBLAS_STATUS_OF_THE_FAKE (14)", nil)
	f.Fail("cuStreamQuery", 0, 700)
	_, _ = s.Done()
	check(t, multiply(p), "cuda: cuStreamQuery: CUDA_ERROR_ILLEGAL_ADDRESS (700): an illegal memory access was encountered", cuda.ErrSticky)
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	check(t, multiply(p), "cuda: this BLAS is closed", cuda.ErrClosed)
}

func TestBLASMissingFunction(t *testing.T) {
	f := cudatest.New(t, cudatest.Config{Missing: []string{"cublasLtMatmul"}})
	_, err := cuda.LoadBLASLt(f.Options(), 12000)
	var e *cuda.LibraryError
	if !errors.As(err, &e) || e.Cause != "it lacks cublasLtMatmul" {
		t.Errorf("got %v", err)
	}
}

// TestBLASPlans keeps descriptors for shapes that came last.
func TestBLASPlans(t *testing.T) {
	f := cudatest.New(t, cudatest.Config{})
	d := f.Device(t)
	defer d.Close()
	blas, s := must(d.NewBLAS(must(cuda.LoadBLASLt(f.Options(), 12000)), 0)), must(d.NewStream(0))
	b := must(d.Alloc(1 << 16))
	for i := range cuda.MaxPlans + 10 {
		p := cuda.Product{Rows: 1 + i, In: 1, Out: 1}
		if err := errors.Join(blas.Multiply(s, p, b.Ptr(), b.Ptr()+16384, b.Ptr()+32768, 0), blas.Multiply(s, p, b.Ptr(), b.Ptr()+16384, b.Ptr()+32768, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if n, live := blas.Plans(), f.Live()["cuBLASLt object"]; n != cuda.MaxPlans || live != 1+4*n {
		t.Errorf("%d plans, %d objects", n, live)
	}
	if n := f.Calls("cublasLtMatmulAlgoGetHeuristic"); n != cuda.MaxPlans+10 {
		t.Errorf("asked for %d algorithms", n)
	}
}
