// Package emulated runs the CUDA kernels on the CPU, for tests on machines
// without a GPU. It compiles the sources with g++ and a header that stands for
// what the CUDA compiler has built in, and registers their kernels with a fake
// driver (package cudatest).
//
// It is after correctness alone: threads are fibers that run in a random order
// between barriers, copies in the background land at random times, memory that
// was not written is NaN, and misaligned accesses, wrong counts at barriers and
// deadlocks are reported with the kernel, block and thread. What it does not
// show: time, races inside what runs without a pause, the memory model of the
// hardware, and the exact rounding of the tensor cores and of fast functions.
package emulated

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/godwit-llm/godwit/internal/cuda/cudatest"
)

// kernel is a compiled kernel.
type kernel struct {
	library *library
	handle  uintptr
	name    string
	sizes   []int // of its parameters, in bytes
}

// library holds the kernels of one source. It runs one launch at a time.
type library struct {
	mu     sync.Mutex
	launch uintptr
}

// built holds the kernels of folders that were compiled in this process.
var built struct {
	sync.Mutex
	folders map[string][]kernel
	err     map[string]error
}

// Register compiles the sources in dir, unless that was done before, and
// registers all their kernels with f. It skips the test where there is no
// compiler. seed chooses the order in which threads run. A kernel that does
// something wrong makes the device fail, and says what on the standard error
// output.
func Register(t testing.TB, f *cudatest.Fake, dir string, seed uint64) {
	t.Helper()
	register(t, f, dir, seed, func(err error) { fmt.Fprintln(os.Stderr, err) })
}

func register(t testing.TB, f *cudatest.Fake, dir string, seed uint64, report func(error)) {
	t.Helper()
	kernels, err := kernelsIn(dir)
	if errors.Is(err, errNoCompiler) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	r := &runner{seed: seed}
	for _, k := range kernels {
		f.Kernel(k.name, k.sizes, func(c *cudatest.Call) {
			if err := r.run(k, c); err != nil {
				report(err)
				c.Fault(launchFailed)
			}
		})
	}
}

// launchFailed is the code of a kernel that has failed.
const launchFailed = 719

// kernelsIn returns the kernels of the sources in a folder.
func kernelsIn(dir string) ([]kernel, error) {
	built.Lock()
	defer built.Unlock()
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if built.folders == nil {
		built.folders, built.err = map[string][]kernel{}, map[string]error{}
	}
	if kernels, err := built.folders[dir], built.err[dir]; kernels != nil || err != nil {
		return kernels, err
	}
	built.folders[dir], built.err[dir] = compile(dir)
	return built.folders[dir], built.err[dir]
}

func compile(dir string) ([]kernel, error) {
	b, err := newBuilder()
	if err != nil {
		return nil, err
	}
	files, err := b.buildAll(dir)
	if err != nil {
		return nil, err
	}
	var all []kernel
	for _, file := range files {
		kernels, err := load(file)
		if err != nil {
			return nil, err
		}
		all = append(all, kernels...)
	}
	return all, nil
}

// load opens a library and lists its kernels.
func load(file string) ([]kernel, error) {
	find, launch, err := openLibrary(file, "emulated_kernel", "emulated_launch")
	if err != nil {
		return nil, err
	}
	l := &library{launch: launch}
	var kernels []kernel
	for i := 0; ; i++ {
		var name [256]byte
		var sizes [64]uint32
		n := int64(len(sizes))
		h, _, _ := purego.SyscallN(find, uintptr(i), uintptr(unsafe.Pointer(&name[0])), uintptr(len(name)),
			uintptr(unsafe.Pointer(&sizes[0])), uintptr(unsafe.Pointer(&n)))
		if h == 0 {
			return kernels, nil
		}
		k := kernel{library: l, handle: h, name: text(name[:]), sizes: []int{}}
		for _, size := range sizes[:n] {
			k.sizes = append(k.sizes, int(size))
		}
		kernels = append(kernels, k)
	}
}

// text returns a C string.
func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// runner runs launches.
type runner struct {
	seed    uint64
	regions [][2]uintptr // that kernels may touch
}

// request is Request in device/runtime.cpp.
type request struct {
	kernel               uintptr
	grid, block, cluster [3]uint32
	shared, cooperative  uint32
	_                    uint32
	seed                 uint64
	parameters           unsafe.Pointer
	message              *byte
	messageSize          uint64
	switches             uint64
	regions              unsafe.Pointer
	regionCount          uint64
}

// run runs a launch to its end.
func (r *runner) run(k kernel, c *cudatest.Call) error {
	k.library.mu.Lock()
	defer k.library.mu.Unlock()
	r.seed++
	parameters := make([]unsafe.Pointer, len(k.sizes)+1)
	for i := range k.sizes {
		parameters[i] = unsafe.Pointer(&c.Bytes(i)[0])
	}
	var message [2048]byte
	q := &request{
		kernel: k.handle, shared: uint32(c.Shared), seed: r.seed, parameters: unsafe.Pointer(&parameters[0]),
		message: &message[0], messageSize: uint64(len(message)),
	}
	for i := range 3 {
		q.grid[i], q.block[i], q.cluster[i] = uint32(c.Grid[i]), uint32(c.Block[i]), uint32(c.Cluster[i])
	}
	if r.regions = c.Reachable(r.regions[:0]); len(r.regions) > 0 {
		q.regions, q.regionCount = unsafe.Pointer(&r.regions[0]), uint64(len(r.regions))
	}
	if c.Cooperative {
		q.cooperative = 1
	}
	failed, _, _ := purego.SyscallN(k.library.launch, uintptr(unsafe.Pointer(q)))
	runtime.KeepAlive(parameters)
	if failed != 0 {
		return errors.New("emulated: " + text(message[:]))
	}
	return nil
}
