package cuda_test

import (
	"testing"

	"github.com/ebitengine/purego"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/cuda/cudatest"
)

// hollow puts a C function that does nothing and returns 0 in place of some of
// the fake's, which, being Go, allocate.
type hollow struct {
	cuda.Library
	nothing uintptr
}

// hot lists the C functions of the inner loop.
var hot = map[string]bool{
	"cuLaunchKernel": true, "cuLaunchKernelEx": true, "cuGraphLaunch": true, "cuMemcpyHtoDAsync_v2": true,
	"cuMemcpyDtoHAsync_v2": true, "cuMemcpyDtoDAsync_v2": true, "cuMemsetD8Async": true, "cuMemsetD32Async": true,
	"cuEventRecord": true, "cuEventQuery": true, "cuEventSynchronize": true, "cuStreamQuery": true,
	"cuStreamSynchronize": true, "cuStreamWaitEvent": true, "cublasLtMatmul": true,
}

func (h hollow) Symbol(name string) uintptr {
	if hot[name] {
		return h.nothing
	}
	return h.Library.Symbol(name)
}

// hollowOptions makes package cuda load the fake with its hot calls replaced.
func hollowOptions(t testing.TB, f *cudatest.Fake) cuda.Options {
	t.Helper()
	nothing, err := purego.Dlsym(purego.RTLD_DEFAULT, "sched_yield")
	if err != nil {
		t.Skip(err)
	}
	return cuda.Options{Open: func(name string) (cuda.Library, error) {
		lib, err := f.Open(name)
		return hollow{lib, nothing}, err
	}}
}

func TestHotCallsAllocateNothing(t *testing.T) {
	f := cudatest.New(t, cudatest.Config{})
	f.Kernel("k", []int{8, 8, 8, 4}, nil)
	o := hollowOptions(t, f)
	d := must(must(cuda.LoadDriver(o)).Open(0))
	defer d.Close()
	_, _, k := load(t, d, "k")
	blas := must(d.NewBLAS(must(cuda.LoadBLASLt(o, 12080)), 1<<10))
	checkAllocs(t, hotCalls(t, d, blas, k))
}

// BenchmarkLaunch measures what this package adds to a launch: the C function
// it calls does next to nothing.
func BenchmarkLaunch(b *testing.B) {
	f := cudatest.New(b, cudatest.Config{})
	f.Kernel("k", []int{8, 8, 8, 4}, nil)
	d := must(must(cuda.LoadDriver(hollowOptions(b, f))).Open(0))
	defer d.Close()
	_, _, k := load(b, d, "k")
	calls := hotCalls(b, d, nil, k)
	for _, name := range []string{"launch", "extended launch", "graph launch", "record"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := calls[name](); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
