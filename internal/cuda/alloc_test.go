package cuda_test

import (
	"testing"

	"github.com/godwit-llm/godwit/internal/cuda"
)

// hotCalls returns the calls of the inner loop on a device.
func hotCalls(t testing.TB, d *cuda.Device, blas *cuda.BLAS, k *cuda.Function) map[string]func() error {
	t.Helper()
	s, e := must(d.NewStream(0)), must(d.NewEvent(true))
	b, h := must(d.Alloc(1<<20)), must(d.AllocHost(1<<20, false))
	x := must(must(s.Capture(func() error { return s.Fill(b.Ptr(), 0, 64) })).Instantiate())
	a := new(cuda.Args)
	shape := cuda.Launch{Grid: cuda.Dim{X: 1}, Block: cuda.Dim{X: 32}}
	overlap := shape
	overlap.Overlap = true
	p := cuda.Product{Rows: 8, In: 16, Out: 16, Input: cuda.F32, Output: cuda.F32}
	calls := map[string]func() error{
		"launch": func() error {
			a.Reset().Ptr(b.Ptr()).Ptr(b.Ptr()).Ptr(b.Ptr()).Int(0)
			return s.Launch(k, shape, a)
		},
		"extended launch": func() error { return s.Launch(k, overlap, a) },
		"graph launch":    func() error { return x.Launch(s) },
		"upload":          func() error { return s.Upload(b.Ptr(), h, 16, 64) },
		"download":        func() error { return s.Download(h, 16, b.Ptr(), 64) },
		"copy":            func() error { return s.Copy(b.Ptr(), b.Ptr()+256, 64) },
		"fill":            func() error { return s.Fill(b.Ptr(), 1, 64) },
		"fill 32":         func() error { return s.Fill32(b.Ptr(), 1, 16) },
		"record":          func() error { return e.Record(s) },
		"wait":            func() error { return s.Wait(e) },
		"event done":      func() error { _, err := e.Done(); return err },
		"stream done":     func() error { _, err := s.Done(); return err },
		"synchronize":     s.Synchronize,
		"event sync":      e.Synchronize,
	}
	if blas != nil {
		calls["product"] = func() error { return blas.Multiply(s, p, b.Ptr(), b.Ptr()+4096, b.Ptr()+8192, 0) }
	}
	return calls
}

// checkAllocs runs each call a hundred times.
func checkAllocs(t *testing.T, calls map[string]func() error) {
	t.Helper()
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	for name, call := range calls {
		var failed error
		n := testing.AllocsPerRun(100, func() {
			if err := call(); err != nil {
				failed = err
			}
		})
		if failed != nil {
			t.Errorf("%s: %v", name, failed)
		}
		if n != 0 {
			t.Errorf("%s: %v allocations a call, want none", name, n)
		}
	}
}
