package cuda_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/cuda/cudatest"
)

// check holds an error against its text and class. The places where a machine
// has a library are left out of a LibraryError.
func check(t *testing.T, err error, text string, class error) {
	t.Helper()
	if runtime.GOOS == "windows" {
		text = strings.NewReplacer("libcuda.so.1", "nvcuda.dll", "libcublasLt.so.12", "cublasLt64_12.dll", "libcublasLt.so.13", "cublasLt64_13.dll", "libnvidia-ml.so.1", "nvml.dll").Replace(text)
	}
	if e, ok := err.(*cuda.LibraryError); ok {
		e.Tried = e.Tried[:1]
		e.Cause = e.Tried[0] + ": nothing here"
	}
	if err == nil || err.Error() != text {
		t.Errorf("got  %v\nwant %s", err, text)
	}
	if class != nil && !errors.Is(err, class) {
		t.Errorf("%v is not of class %v", err, class)
	}
}

func TestLoadErrors(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config cudatest.Config
		script func(*cudatest.Fake)
		text   string
		class  error
	}{
		{
			name: "no driver", config: cudatest.Config{NoDriver: true}, class: cuda.ErrNoLibrary,
			text: "cuda: no NVIDIA driver: tried libcuda.so.1 (libcuda.so.1: nothing here); install the NVIDIA driver, or run on the CPU",
		},
		{
			name: "old driver", config: cudatest.Config{Version: 11080}, class: cuda.ErrDriverTooOld,
			text: "cuda: the NVIDIA driver supports CUDA 11.8, want 12.0 or later; update the driver",
		},
		{
			name: "old driver without a function", config: cudatest.Config{Version: 9000, Missing: []string{"cuGraphLaunch"}}, class: cuda.ErrDriverTooOld,
			text: "cuda: the NVIDIA driver supports CUDA 9.0, want 12.0 or later; update the driver",
		},
		{
			name: "missing function", config: cudatest.Config{Missing: []string{"cuGraphLaunch"}}, class: cuda.ErrDriverTooOld,
			text: "cuda: the NVIDIA driver (libcuda.so.1, CUDA 12.8) lacks cuGraphLaunch; update the driver",
		},
		{
			name: "not a driver", config: cudatest.Config{Missing: []string{"cuDriverGetVersion"}}, class: cuda.ErrDriverTooOld,
			text: "cuda: the NVIDIA driver supports CUDA 0.0, want 12.0 or later; update the driver",
		},
		{
			name: "no device", config: cudatest.Config{None: true}, class: cuda.ErrNoDevice,
			text: "cuda: cuInit: CUDA_ERROR_NO_DEVICE (100): no CUDA-capable device is detected; nvidia-smi shows what the driver sees, CUDA_VISIBLE_DEVICES what it may use; or run on the CPU",
		},
		{
			name: "stub", class: cuda.ErrNoLibrary, script: func(f *cudatest.Fake) { f.Fail("cuInit", 0, 34) },
			text: "cuda: cuInit: CUDA_ERROR_STUB_LIBRARY (34): CUDA driver is a stub library",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := cudatest.New(t, tt.config)
			if tt.script != nil {
				tt.script(f)
			}
			_, err := cuda.LoadDriver(f.Options())
			check(t, err, tt.text, tt.class)
		})
	}
}

func TestOpenErrors(t *testing.T) {
	f := cudatest.New(t, cudatest.Config{Devices: []cudatest.Device{{}, {Name: "Tesla P40", Capability: 61}}})
	driver, err := cuda.LoadDriver(f.Options())
	if err != nil {
		t.Fatal(err)
	}
	_, err = driver.Open(2)
	check(t, err, "cuda: there is no device 2: this machine has 2, counted from 0", cuda.ErrNoDevice)
	_, err = driver.Open(-1)
	check(t, err, "cuda: there is no device -1: this machine has 2, counted from 0", cuda.ErrNoDevice)
	_, err = driver.Open(1)
	check(t, err, "cuda: device 1 (Tesla P40) has compute capability 6.1, want 7.0 or later; use another one, or run on the CPU", cuda.ErrUnsupportedDevice)

	f.Fail("cuDevicePrimaryCtxRetain", 0, 2)
	_, err = driver.Open(0)
	check(t, err, "cuda: cuDevicePrimaryCtxRetain: CUDA_ERROR_OUT_OF_MEMORY (2): out of memory; device 0 (Fake GPU)", cuda.ErrOutOfMemory)
	f.Fail("cuCtxSetCurrent", 0, 201)
	if _, err = driver.Open(0); err == nil {
		t.Error("opened a device whose context cannot be made current")
	}
}

func TestOutOfMemory(t *testing.T) {
	f := cudatest.New(t, cudatest.Config{Devices: []cudatest.Device{{Memory: 4 << 20}}})
	d := f.Device(t)
	defer d.Close()
	if _, err := d.Alloc(1 << 20); err != nil {
		t.Fatal(err)
	}
	_, err := d.Alloc(8_000_000_000)
	check(t, err, "cuda: cuMemAlloc_v2: CUDA_ERROR_OUT_OF_MEMORY (2): out of memory; wanted 8.00 GB, free 3.1 MB", cuda.ErrOutOfMemory)
	var e *cuda.Error
	if !errors.As(err, &e) || e.Code != 2 || e.Call != "cuMemAlloc_v2" {
		t.Errorf("got %#v", err)
	}
	if b, err := d.Alloc(3 << 20); err != nil {
		t.Errorf("the device cannot be used after running out of memory: %v", err)
	} else if err := b.Close(); err != nil {
		t.Error(err)
	}
	_, err = d.AllocHost(1<<40, false)
	check(t, err, "cuda: cuMemHostAlloc: CUDA_ERROR_OUT_OF_MEMORY (2): out of memory; wanted 1099.51 GB of pinned host memory", cuda.ErrOutOfMemory)
}

// TestSticky fails a device in the middle of its work.
func TestSticky(t *testing.T) {
	f := cudatest.New(t, cudatest.Config{})
	f.Kernel("wild", []int{8}, func(c *cudatest.Call) { c.Memory(c.Ptr(0), 4) })
	d := f.Device(t)
	m, s, k := load(t, d, "wild")
	_ = m
	b, err := d.Alloc(100)
	if err != nil {
		t.Fatal(err)
	}
	var a cuda.Args
	if err := s.Launch(k, cuda.Launch{}, a.Ptr(b.Ptr()+50)); err != nil {
		t.Fatal(err)
	}
	if err := s.Synchronize(); err != nil {
		t.Fatal(err)
	}
	if err := s.Launch(k, cuda.Launch{}, a.Reset().Ptr(b.Ptr()+98)); err != nil {
		t.Fatal(err)
	}
	text := "cuda: cuStreamSynchronize: CUDA_ERROR_ILLEGAL_ADDRESS (700): an illegal memory access was encountered"
	check(t, s.Synchronize(), text, cuda.ErrSticky)
	check(t, d.Fault(), text, cuda.ErrSticky)
	_, err = d.Alloc(1)
	check(t, err, "cuda: cuMemAlloc_v2: CUDA_ERROR_ILLEGAL_ADDRESS (700): an illegal memory access was encountered", cuda.ErrSticky)
	if err := d.Close(); err != nil {
		t.Errorf("Close after a fault: %v", err)
	}
	if err := s.Synchronize(); !errors.Is(err, cuda.ErrClosed) {
		t.Errorf("use after Close: %v", err)
	}
}

// TestStickyCodes runs through the codes that end a device, and some that do
// not.
func TestStickyCodes(t *testing.T) {
	for code, sticky := range map[int]bool{
		1: false, 2: false, 214: true, 220: true, 700: true, 701: false, 702: true, 709: true, 710: true, 713: false,
		714: true, 715: true, 716: true, 717: true, 718: true, 719: true, 720: false, 900: false, 999: false,
	} {
		f := cudatest.New(t, cudatest.Config{})
		d := f.Device(t)
		f.Fail("cuCtxSynchronize", 0, code)
		err := d.Synchronize()
		if err == nil || errors.Is(err, cuda.ErrSticky) != sticky || (d.Fault() != nil) != sticky {
			t.Errorf("code %d: %v, sticky %v, fault %v; want sticky %v", code, err, errors.Is(err, cuda.ErrSticky), d.Fault(), sticky)
		}
		if err := d.Close(); err != nil {
			t.Errorf("code %d: Close: %v", code, err)
		}
	}
}

func TestModuleErrors(t *testing.T) {
	f := cudatest.New(t, cudatest.Config{})
	d := f.Device(t)
	defer d.Close()
	f.Reject(218, "ptxas fatal   : Unresolved extern function 'nothing'\n")
	_, err := d.Load([]byte(".version 7.0"))
	check(t, err, "cuda: cuModuleLoadDataEx: CUDA_ERROR_INVALID_PTX (218): a PTX JIT compilation failed; ptxas fatal   : Unresolved extern function 'nothing'", nil)
	f.Reject(222, "")
	_, err = d.Load([]byte(".version 99.0"))
	check(t, err, "cuda: cuModuleLoadDataEx: CUDA_ERROR_UNSUPPORTED_PTX_VERSION (222): the provided PTX was compiled with an unsupported toolchain.; the device has compute capability 9.0, the driver CUDA 12.8", cuda.ErrDriverTooOld)
	f.Reject(209, "")
	_, err = d.Load([]byte("\x7fELF"))
	check(t, err, "cuda: cuModuleLoadDataEx: CUDA_ERROR_NO_BINARY_FOR_GPU (209): no kernel image is available for execution on the device; the device has compute capability 9.0, the driver CUDA 12.8", cuda.ErrUnsupportedDevice)
	if _, err := d.Load(nil); err == nil {
		t.Error("loaded an empty image")
	}
	m, err := d.Load([]byte("a module"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Function("absent")
	check(t, err, "cuda: cuModuleGetFunction: CUDA_ERROR_NOT_FOUND (500): named symbol not found; kernel absent", nil)
	_, _, err = m.Global("absent")
	check(t, err, "cuda: cuModuleGetGlobal_v2: CUDA_ERROR_NOT_FOUND (500): named symbol not found; variable absent", nil)
}

// TestUnknownCode is about a code that the driver has no words for.
func TestUnknownCode(t *testing.T) {
	f := cudatest.New(t, cudatest.Config{})
	d := f.Device(t)
	defer d.Close()
	f.Fail("cuCtxSynchronize", 0, 12345)
	check(t, d.Synchronize(), "cuda: cuCtxSynchronize: code 12345", nil)
}

// TestMissingOptional goes without what a driver need not have.
func TestMissingOptional(t *testing.T) {
	f := cudatest.New(t, cudatest.Config{NoBLASLt: true, NoNVML: true, Missing: []string{
		"cuLaunchKernelEx", "cuFuncLoad", "cuFuncGetParamInfo", "cuGraphExecUpdate_v2", "cuMemHostRegister_v2",
		"cuDeviceGetPCIBusId", "cuCtxGetStreamPriorityRange",
	}})
	f.Kernel("k", nil, nil)
	d := f.Device(t)
	defer d.Close()
	if id := d.Info().BusID; id != "" {
		t.Errorf("bus id %q", id)
	}
	_, s, k := load(t, d, "k")
	if err := s.Launch(k, cuda.Launch{Overlap: true}, nil); err != nil {
		t.Errorf("overlap is a wish only: %v", err)
	}
	absent := func(name string) string {
		return "cuda: " + name + " is not available: libcuda.so.1 does not have it"
	}
	check(t, s.Launch(k, cuda.Launch{Cluster: cuda.Dim{X: 2}}, nil), absent("cuLaunchKernelEx"), cuda.ErrNotAvailable)
	_, err := k.Parameters()
	check(t, err, absent("cuFuncGetParamInfo"), cuda.ErrNotAvailable)
	_, err = d.Register(make([]byte, 10), false)
	check(t, err, absent("cuMemHostRegister_v2"), cuda.ErrNotAvailable)
	g, err := s.Capture(func() error { return s.Launch(k, cuda.Launch{}, nil) })
	if err != nil {
		t.Fatal(err)
	}
	x, err := g.Instantiate()
	if err != nil {
		t.Fatal(err)
	}
	_, err = x.Update(g)
	check(t, err, absent("cuGraphExecUpdate_v2"), cuda.ErrNotAvailable)
	_, err = cuda.LoadBLASLt(f.Options(), 12000)
	check(t, err, "cuda: no cuBLASLt: tried libcublasLt.so.12 (libcublasLt.so.12: nothing here); install the CUDA toolkit or the wheel nvidia-cublas, or go without it", cuda.ErrNoLibrary)
	_, err = cuda.LoadNVML(f.Options())
	check(t, err, "cuda: no NVML: tried libnvidia-ml.so.1 (libnvidia-ml.so.1: nothing here); it comes with the NVIDIA driver; only figures about memory use need it", cuda.ErrNoLibrary)
}

// load returns a module, a stream and a kernel.
func load(t testing.TB, d *cuda.Device, name string) (*cuda.Module, *cuda.Stream, *cuda.Function) {
	t.Helper()
	m, err := d.Load([]byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	k, err := m.Function(name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.NewStream(0)
	if err != nil {
		t.Fatal(err)
	}
	return m, s, k
}
