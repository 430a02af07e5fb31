// Package cudatest is a CUDA driver without a GPU, for tests. It stands behind
// the same C calls as the real one – package cuda finds its functions by name
// and calls them by address – so that everything above it runs unchanged:
// memory runs out, devices fail, symbols are missing, and what is not given
// back is counted.
//
// Device memory is memory of the process, so copies are real. Kernels are Go
// functions, registered by name; work is done when it is put into a stream, or
// as late as can be (Config.Late), and recorded where the stream is being
// captured. cuBLASLt computes small
// products plainly; NVML reports what the fake driver counts.
//
// The package knows nothing of time, warps or caches: events count operations,
// one microsecond each.
package cudatest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/godwit-llm/godwit/internal/cuda"
)

// Config says what machine to imitate. The zero value is a machine with one
// small device and a complete, recent driver.
type Config struct {
	Version cuda.Version // of the driver; 0: 12.8
	Devices []Device     // nil: one device, all zero
	None    bool         // no device at all

	// Late puts work off until somebody waits for it, as a busy device does: who
	// overwrites or reads memory too early finds out.
	Late bool

	NoDriver, NoBLASLt, NoNVML bool     // libraries that cannot be opened
	Missing                    []string // functions that the libraries lack
}

// Device describes one device of the machine.
type Device struct {
	Name       string          // "": "Fake GPU"
	Capability cuda.Capability // 0: 9.0
	Memory     int             // bytes; 0: 64 MiB
	Attributes map[int]int     // by the driver's numbers, over the usual ones
	Dirty      bool            // new memory holds bytes of 0xff, NaN in every type; else zeros
}

// Fake is a machine.
type Fake struct {
	config Config
	slot   *slot

	mu       sync.Mutex
	devices  []*device
	current  map[int]*device // by thread
	inited   bool
	fault    code
	failures []failure
	calls    map[string]int
	kernels  map[string]*kernel
	rejected code   // what the next module load answers
	complain string // and what the compiler says
	leaksOK  bool

	handle    uintptr // the last one given out
	host      map[uintptr]hostMemory
	streams   map[uintptr]*stream
	events    map[uintptr]*event
	modules   map[uintptr]bool
	functions map[uintptr]*function
	graphs    map[uintptr]*graph
	execs     map[uintptr]*graph
	lt        ltState
	clock     uint64        // operations done
	pending   []func() code // with Config.Late: put off
	done      uint64        // of all that was put off
}

// code is a result as C returns it.
type code uintptr

// Codes of the driver.
const (
	invalidValue       code = 1
	outOfMemory        code = 2
	notInitialized     code = 3
	noDevice           code = 100
	invalidDevice      code = 101
	invalidContext     code = 201
	unsupportedLimit   code = 215
	alreadyRegistered  code = 712
	notRegistered      code = 713
	invalidHandle      code = 400
	notFound           code = 500
	illegalAddress     code = 700
	captureUnsupported code = 900
	captureUnmatched   code = 903
	updateFailed       code = 910
	launchFailed       code = 719
	outOfResources     code = 701
)

// failure is a call that shall fail.
type failure struct {
	call  string
	after int
	code  code
}

// device is the state of one device.
type device struct {
	Device
	number   int
	context  uintptr
	retained int
	memory   []allocation // by address
	used     int
}

// New makes a machine for the time of a test, at whose end everything must
// have been given back.
func New(t testing.TB, c Config) *Fake {
	t.Helper()
	f := &Fake{
		config: c, current: map[int]*device{}, calls: map[string]int{}, kernels: map[string]*kernel{},
		handle: 0x1000, host: map[uintptr]hostMemory{}, streams: map[uintptr]*stream{}, events: map[uintptr]*event{},
		modules: map[uintptr]bool{}, functions: map[uintptr]*function{}, graphs: map[uintptr]*graph{}, execs: map[uintptr]*graph{},
	}
	f.lt.descs = map[uintptr]*ltDesc{}
	if c.Version == 0 {
		f.config.Version = 12080
	}
	if c.Devices == nil && !c.None {
		c.Devices = []Device{{}}
	}
	for i, d := range c.Devices {
		if d.Name == "" {
			d.Name = "Fake GPU"
		}
		if d.Capability == 0 {
			d.Capability = 90
		}
		if d.Memory == 0 {
			d.Memory = 64 << 20
		}
		f.devices = append(f.devices, &device{Device: d, number: i, context: f.next()})
	}
	f.slot = acquire(f)
	t.Cleanup(func() {
		if leaks := f.Leaks(); leaks != "" && !f.leaksOK {
			t.Errorf("not given back: %s", leaks)
		}
		f.slot.release()
	})
	return f
}

// Options makes package cuda load the fake's libraries.
func (f *Fake) Options() cuda.Options { return cuda.Options{Open: f.Open} }

// Open opens one of the fake's libraries by the name of the real one.
func (f *Fake) Open(name string) (cuda.Library, error) {
	absent := map[string]bool{"cuda": f.config.NoDriver, "cublasLt": f.config.NoBLASLt, "nvidia-ml": f.config.NoNVML, "nvml": f.config.NoNVML}
	for _, known := range []string{"cublasLt", "nvidia-ml", "nvml", "cuda"} {
		if strings.Contains(name, known) && !absent[known] {
			return library{f}, nil
		}
	}
	return nil, fmt.Errorf("%s: cannot open shared object file: No such file or directory", name)
}

// library finds the fake's functions. All libraries are one.
type library struct{ f *Fake }

// Symbol implements cuda.Library.
func (l library) Symbol(name string) uintptr {
	if slices.Contains(l.f.config.Missing, name) {
		return 0
	}
	return l.f.slot.symbols[name]
}

// Device opens device 0, for tests that do not care how.
func (f *Fake) Device(t testing.TB) *cuda.Device {
	t.Helper()
	driver, err := cuda.LoadDriver(f.Options())
	if err != nil {
		t.Fatal(err)
	}
	d, err := driver.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Fail makes a C function fail with a code of its library: after so many calls
// that succeed, once. A code of a device's fault lasts.
func (f *Fake) Fail(call string, after, result int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = append(f.failures, failure{call, f.calls[call] + after, code(result)})
}

// Reject makes the next loading of a module fail with a code, and with words
// of the compiler.
func (f *Fake) Reject(result int, complaint string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rejected, f.complain = code(result), complaint
}

// Calls returns how often a C function was called.
func (f *Fake) Calls(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[name]
}

// AllowLeaks turns the check at the test's end off.
func (f *Fake) AllowLeaks() { f.leaksOK = true }

// Used returns the bytes of memory in use on a device.
func (f *Fake) Used(device int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.devices[device].used
}

// Live counts what was made and not given back, by kind.
func (f *Fake) Live() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	live := map[string]int{
		"pinned memory": len(f.host), "stream": len(f.streams), "event": len(f.events), "module": len(f.modules),
		"graph": len(f.graphs), "graph exec": len(f.execs), "cuBLASLt object": f.lt.live,
	}
	for _, d := range f.devices {
		live["buffer"] += len(d.memory)
		live["context"] += d.retained
	}
	maps.DeleteFunc(live, func(_ string, n int) bool { return n == 0 })
	return live
}

// Leaks describes Live in one line; empty if nothing is left.
func (f *Fake) Leaks() string {
	live := f.Live()
	var list []string
	for _, kind := range slices.Sorted(maps.Keys(live)) {
		list = append(list, fmt.Sprintf("%d × %s", live[kind], kind))
	}
	return strings.Join(list, ", ")
}

// next returns a new handle.
func (f *Fake) next() uintptr {
	f.handle += 16
	return f.handle
}

// enter is the beginning of every call. A result other than 0 ends it.
func (f *Fake) enter(name string) code {
	n := f.calls[name]
	f.calls[name]++
	for i, want := range f.failures {
		if want.call == name && want.after == n {
			f.failures = slices.Delete(f.failures, i, i+1)
			f.fail(want.code)
			return want.code
		}
	}
	if !strings.HasPrefix(name, "cu") || alwaysAnswers[name] {
		return 0
	}
	if strings.HasPrefix(name, "cublas") {
		if f.fault != 0 && name == "cublasLtMatmul" {
			return ltExecutionFailed
		}
		return 0
	}
	if !f.inited && name != "cuInit" {
		return notInitialized
	}
	return f.fault
}

// alwaysAnswers holds the calls that work before cuInit and after a fault.
var alwaysAnswers = map[string]bool{
	"cuDriverGetVersion": true, "cuGetErrorName": true, "cuGetErrorString": true,
	"cuCtxSetCurrent": true, "cuDevicePrimaryCtxRelease_v2": true,
}

// faults holds the codes that last.
var faults = []code{214, 220, illegalAddress, 702, 709, 710, 714, 715, 716, 717, 718, launchFailed}

// fail makes a device's fault last.
func (f *Fake) fail(c code) {
	if f.fault == 0 && slices.Contains(faults, c) {
		f.fault = c
	}
}

// forget drops everything made on a machine that has failed: the end of a
// broken context is the end of all that it held.
func (f *Fake) forget() {
	for _, d := range f.devices {
		d.memory, d.used, d.retained = nil, 0, 0
	}
	clear(f.host)
	clear(f.streams)
	clear(f.events)
	clear(f.modules)
	clear(f.functions)
	clear(f.graphs)
	clear(f.execs)
	f.catchUp(len(f.pending))
}

// here returns the device whose context is current on this thread.
func (f *Fake) here() *device { return f.current[thread()] }

// put writes a C string into a buffer of n bytes.
func put(p *byte, n int32, s string) {
	buf := unsafe.Slice(p, n)
	m := copy(buf[:n-1], s)
	buf[m] = 0
}
