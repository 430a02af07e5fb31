package godwit

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/cuda/cudatest"
)

// denseDir is a small trained checkpoint.
const denseDir = "testdata/tiny-dense"

// onFake returns a machine whose GPU computes nothing – its kernels leave
// memory as it is – and options to open a model on it.
func onFake(t *testing.T, c cudatest.Config) (*cudatest.Fake, Options) {
	t.Helper()
	f := cudatest.New(t, c)
	lists, err := filepath.Glob("internal/kernels/images/*.json")
	if err != nil || len(lists) == 0 {
		t.Fatalf("got %d lists of kernels (%v)", len(lists), err)
	}
	for _, name := range lists {
		var source struct{ Kernels []string }
		data, err := os.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(data, &source)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, kernel := range source.Kernels {
			f.Kernel(kernel, nil, nil)
		}
	}
	return f, Options{Device: "cuda", MaxSequences: 2, Context: 256, NoPrefixCache: true, openLibrary: f.Open}
}

// gpus is a machine with one GPU of so many bytes.
func gpus(memory int) cudatest.Config {
	return cudatest.Config{Devices: []cudatest.Device{{Memory: memory}}}
}

// TestCUDAIsMissing: why CUDA cannot be used, and what to do. With "auto" the
// same is the reason for the CPU.
func TestCUDAIsMissing(t *testing.T) {
	for _, c := range []struct {
		name, device string
		config       cudatest.Config
		want         string // "*" stands for the places where a machine has libraries
	}{
		{"no driver", "cuda", cudatest.Config{NoDriver: true}, "no NVIDIA driver: tried *; install the NVIDIA driver, or run on the CPU"},
		{"old driver", "cuda", cudatest.Config{Version: 11080}, "the NVIDIA driver supports CUDA 11.8, want 12.0 or later; update the driver"},
		{"a function is missing", "cuda", cudatest.Config{Missing: []string{"cuGraphLaunch"}}, "the NVIDIA driver (*, CUDA 12.8) lacks cuGraphLaunch; update the driver"},
		{"no device", "cuda", cudatest.Config{None: true}, "cuInit: CUDA_ERROR_NO_DEVICE (100): no CUDA-capable device is detected; nvidia-smi shows what the driver sees, CUDA_VISIBLE_DEVICES what it may use; or run on the CPU"},
		{"no such device", "cuda:99", cudatest.Config{}, "there is no device 99: this machine has 1, counted from 0"},
		{"old device", "cuda", cudatest.Config{Devices: []cudatest.Device{{Name: "Tesla P40", Capability: 61}}}, "device 0 (Tesla P40) has compute capability 6.1, want 7.0 or later; use another one, or run on the CPU"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, opts := onFake(t, c.config)
			opts.Device = c.device
			_, err := Open(denseDir, opts)
			if !errors.Is(err, ErrNoDevice) {
				t.Fatalf("got %v, want ErrNoDevice", err)
			}
			before, after, _ := strings.Cut("CUDA is not available: "+c.want, "*")
			if got := err.Error(); !strings.HasPrefix(got, before) || !strings.HasSuffix(got, after) || len(got) < len(before)+len(after) {
				t.Errorf("got  %s\nwant CUDA is not available: %s", got, c.want)
			}
			if live := f.Leaks(); live != "" {
				t.Errorf("left behind: %s", live)
			}
			if c.device != "cuda" {
				return
			}
			told := ""
			opts.Device, opts.OnEvent = "auto", func(e Event) { told += e.Message }
			m, cpuErr := Open(denseDir, opts)
			if cpuErr != nil {
				t.Fatal(cpuErr)
			}
			defer m.Close()
			if !strings.Contains(told, err.Error()) || !strings.HasPrefix(m.Device(), "CPU") {
				t.Errorf("on %s, told %q, want the CPU and the reason", m.Device(), told)
			}
		})
	}
}

// TestGPUIsTooSmall: what is needed and what is free, by part, before anything
// is allocated.
func TestGPUIsTooSmall(t *testing.T) {
	for _, c := range []struct {
		name   string
		memory int
		change func(*cudatest.Fake, *Options)
		want   string
	}{
		{
			"the model", 16 << 20, nil,
			"open testdata/tiny-dense: not enough memory: the weights need 7.1 MB, in all 16.0 MB are needed (constants 16.9 kB, step 8.9 MB, state of 2 sequences 0 B, kept states 0 B, cache from 20.5 kB), and 15.1 MB of the 16.8 MB free in Fake GPU may be used; fewer sequences or a larger share would help",
		},
		{
			"the context", 64 << 20, func(_ *cudatest.Fake, o *Options) { o.Context = 1 << 20 },
			"open testdata/tiny-dense: not enough memory: a context of 1048576 tokens needs a cache of 1.34 GB, and of the 67.1 MB free in Fake GPU 44.4 MB are left for it; a shorter context or a larger share would help",
		},
		{
			"the driver", 64 << 20, func(f *cudatest.Fake, _ *Options) { f.Fail("cuDevicePrimaryCtxRetain", 0, 2) },
			"open testdata/tiny-dense: not enough memory: GPU 0 has none left for the driver itself: cuda: cuDevicePrimaryCtxRetain: CUDA_ERROR_OUT_OF_MEMORY (2): out of memory; device 0 (Fake GPU)",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, opts := onFake(t, gpus(c.memory))
			if c.change != nil {
				c.change(f, &opts)
			}
			_, err := Open(denseDir, opts)
			if !errors.Is(err, ErrOutOfMemory) || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			if n := f.Calls("cuMemAlloc_v2"); n != 0 {
				t.Errorf("%d pieces of memory were taken before that", n)
			}
			if live := f.Leaks(); live != "" {
				t.Errorf("left behind: %s", live)
			}
		})
	}
}

// TestGPUMemoryGoes: the memory was free when the plan was made, and is not when
// it is taken.
func TestGPUMemoryGoes(t *testing.T) {
	f, opts := onFake(t, gpus(256<<20))
	f.Fail("cuMemAlloc_v2", 0, 2)
	f.Fail("cuMemAlloc_v2", 1, 2)
	_, err := Open(denseDir, opts)
	if !errors.Is(err, ErrOutOfMemory) || !strings.Contains(err.Error(), "CUDA_ERROR_OUT_OF_MEMORY (2): out of memory; wanted ") {
		t.Errorf("got %v, want out of memory, and how much was wanted", err)
	}
	if live := f.Leaks(); live != "" {
		t.Errorf("left behind: %s", live)
	}
}

// TestGPUFault: a device that fails in a step ends the requests in flight and
// all later ones with the driver's words, and leaves nothing behind.
func TestGPUFault(t *testing.T) {
	f, opts := onFake(t, gpus(256<<20))
	m, err := Open(denseDir, opts)
	if err != nil {
		t.Fatal(err)
	}
	steps := 0
	for _, name := range []string{"embed_bf16", "embed_f32"} {
		f.Kernel(name, nil, func(c *cudatest.Call) {
			if steps++; steps == 5 {
				c.Fault(700)
			}
		})
	}
	const text = "CUDA_ERROR_ILLEGAL_ADDRESS (700): an illegal memory access was encountered"
	failed := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, ErrDevice) || !errors.Is(err, cuda.ErrSticky) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: got %v, want ErrDevice and %q", what, err, text)
		}
	}
	request := Request{IDs: []int32{1, 2, 3}, MaxTokens: 100, IgnoreEOS: true}
	running, err := m.StartTogether(t.Context(), []Request{request, request})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range running {
		r, err := g.Wait()
		failed("a request in flight", err)
		if n := len(r.IDs); n == 0 || n >= 100 {
			t.Errorf("it has %d tokens, want those before the fault", n)
		}
	}
	_, err = m.Generate(t.Context(), request)
	failed("a later request", err)
	if err := m.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if live := f.Leaks(); live != "" {
		t.Errorf("left behind: %s", live)
	}
}

// TestLibraryIsMissing: without cuBLASLt, and with it unwanted, a model is told
// to use the built-in products, once.
func TestLibraryIsMissing(t *testing.T) {
	for _, c := range []struct {
		name   string
		absent bool
		hide   bool
		want   string
	}{
		{"there", false, false, ""},
		{"missing", true, false, "prompts are multiplied by the built-in kernels: no cuBLASLt: tried "},
		{"not wanted", false, true, "prompts are multiplied by the built-in kernels: cuBLASLt is not to be used"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := gpus(256 << 20)
			config.NoBLASLt = c.absent
			_, opts := onFake(t, config)
			var told []string
			opts.NoCUBLASLt = c.hide
			opts.OnEvent = func(e Event) {
				if strings.Contains(e.Message, "built-in kernels") {
					told = append(told, e.Message)
				}
			}
			m, err := Open(denseDir, opts)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if c.want == "" && len(told) > 0 || c.want != "" && (len(told) != 1 || !strings.HasPrefix(told[0], c.want)) {
				t.Errorf("told %q, want %q", told, c.want)
			}
		})
	}
}

// TestGPUMemoryUse: the memory of this process is what is looked at, and it is
// that of the plan where nothing else takes any.
func TestGPUMemoryUse(t *testing.T) {
	f, opts := onFake(t, gpus(256<<20))
	m, err := Open(denseDir, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	stop, err := m.WatchMemory(time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	use := stop()
	p := m.Plan()
	planned := p.Weights + p.Constants + p.Scratch + p.Cache + p.State + p.Snapshots
	if !use.Own || use.Peak != int64(f.Used(0)) || use.Peak < planned || use.Peak > planned+64<<20 {
		t.Errorf("got %+v, want what this process has: %d bytes, a little over %d", use, f.Used(0), planned)
	}
}

// TestWeightsAreCutOff: a file that is cut off, or a disk that fails, while the
// weights are read is an error, on a GPU and on the CPU.
func TestWeightsAreCutOff(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not cut off a mapped file")
	}
	for _, device := range []string{"cuda", "cpu"} {
		for _, left := range []int64{4 << 10, 3 << 20} { // the header, and a part of the weights
			t.Run(fmt.Sprintf("%s/%d", device, left), func(t *testing.T) {
				dir := t.TempDir()
				if err := os.CopyFS(dir, os.DirFS(denseDir)); err != nil {
					t.Fatal(err)
				}
				f, opts := onFake(t, gpus(256<<20))
				opts.Device = device
				opts.OnEvent = func(e Event) {
					if strings.HasPrefix(e.Message, "running on") { // all is planned, nothing is read
						if err := os.Truncate(filepath.Join(dir, "model.safetensors"), left); err != nil {
							t.Error(err)
						}
					}
				}
				_, err := Open(dir, opts)
				if !errors.Is(err, ErrRead) || !strings.Contains(err.Error(), "a file cannot be read any more") {
					t.Errorf("got %v, want ErrRead", err)
				}
				if live := f.Leaks(); live != "" {
					t.Errorf("left behind: %s", live)
				}
			})
		}
	}
}
