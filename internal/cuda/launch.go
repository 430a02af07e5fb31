package cuda

import (
	"fmt"
	"math"
	"runtime"
	"unsafe"
)

// Limits of Args.
const (
	maxArgs     = 64
	maxArgWords = 4096 / 8 // what kernels could take before CUDA 12.1
)

// Args collects the parameters of a launch, in the kernel's order. The driver
// copies them during the launch, so one Args serves any number of launches,
// one after another: Reset, add, launch. The zero value is empty. It must not
// be copied once it is in use.
//
// The driver gets an array of addresses, one a parameter. Both that array and
// the parameters lie inside the Args, which is always on Go's heap – adding
// a parameter stores addresses of the Args in itself – where nothing moves.
type Args struct {
	at    [maxArgs]unsafe.Pointer
	data  [maxArgWords]uint64
	n     int // parameters
	words int // of data in use
	err   error
}

// Reset empties the list.
func (a *Args) Reset() *Args {
	a.n, a.words, a.err = 0, 0, nil
	return a
}

// Len returns the number of parameters.
func (a *Args) Len() int { return a.n }

// place makes room for a parameter of so many bytes.
func (a *Args) place(size uintptr) unsafe.Pointer {
	words := int(size+7) / 8
	if a.n == maxArgs || a.words+words > maxArgWords {
		a.err = fmt.Errorf("cuda: too many kernel parameters: at most %d, of %d bytes together", maxArgs, 8*maxArgWords)
		return nil
	}
	p := unsafe.Pointer(&a.data[a.words])
	a.at[a.n] = p
	a.n++
	a.words += words
	return p
}

// Ptr adds an address in device memory.
func (a *Args) Ptr(p DevicePtr) *Args { return a.Uint64(uint64(p)) }

// Uint64 adds an 8-byte integer.
func (a *Args) Uint64(v uint64) *Args {
	if p := a.place(8); p != nil {
		*(*uint64)(p) = v
	}
	return a
}

// Int64 adds an 8-byte integer.
func (a *Args) Int64(v int64) *Args { return a.Uint64(uint64(v)) }

// Uint32 adds a 4-byte integer.
func (a *Args) Uint32(v uint32) *Args {
	if p := a.place(4); p != nil {
		*(*uint32)(p) = v
	}
	return a
}

// Int32 adds a 4-byte integer.
func (a *Args) Int32(v int32) *Args { return a.Uint32(uint32(v)) }

// Int adds a 4-byte integer from an int, the usual type of sizes here. One
// that does not fit makes the launch fail.
func (a *Args) Int(v int) *Args {
	if v != int(int32(v)) {
		a.err = fmt.Errorf("cuda: kernel parameter %d is %d, want 32 bits", a.n, v)
	}
	return a.Int32(int32(v))
}

// Float32 adds a float.
func (a *Args) Float32(v float32) *Args { return a.Uint32(math.Float32bits(v)) }

// Float64 adds a double.
func (a *Args) Float64(v float64) *Args { return a.Uint64(math.Float64bits(v)) }

// Struct adds a struct by value. Its layout must be that of the kernel's
// struct, and it must hold no Go pointers.
func Struct[T any](a *Args, v T) *Args {
	size := unsafe.Sizeof(v)
	if p := a.place(size); p != nil {
		copy(unsafe.Slice((*byte)(p), size), unsafe.Slice((*byte)(unsafe.Pointer(&v)), size))
	}
	return a
}

// Dim is a size in up to three dimensions. A 0 counts as 1.
type Dim struct{ X, Y, Z int }

// Launch says how a kernel is started.
type Launch struct {
	Grid    Dim // blocks
	Block   Dim // threads of a block
	Cluster Dim // blocks of a cluster; zero: no clusters
	Shared  int // bytes of dynamic shared memory

	// Overlap lets the kernel begin before the one ahead of it in the stream
	// has ended (programmatic dependent launch). The kernel must wait for its
	// inputs itself (griddepcontrol.wait). Devices before compute capability
	// 9.0 and drivers that cannot do it launch as usual: the results are the
	// same.
	Overlap bool

	// Cooperative makes all blocks run at the same time, so that they can
	// wait for each other.
	Cooperative bool
}

// Launch puts a kernel into the stream. args may be nil for a kernel without
// parameters. It allocates nothing. Faults of the running kernel appear at
// later calls.
func (s *Stream) Launch(f *Function, l Launch, args *Args) error {
	if !s.alive() {
		return s.gone()
	}
	if f == nil || !f.m.alive() {
		return f.gone()
	}
	if args != nil && args.err != nil {
		return args.err
	}
	if l.Overlap && (s.d.info.Capability < 90 || !s.d.drv.has(cuLaunchKernelEx)) {
		l.Overlap = false
	}
	var params uintptr
	if args != nil && args.n > 0 {
		params = uintptr(unsafe.Pointer(&args.at[0])) // on the heap, see Args
	}
	err := s.launch(f, &l, params)
	runtime.KeepAlive(args)
	if err != nil {
		return f.explain(err, &l)
	}
	return nil
}

func (s *Stream) launch(f *Function, l *Launch, params uintptr) error {
	k := s.d.scratch
	if l.Overlap || l.Cooperative || l.Cluster != (Dim{}) {
		k.fill(l, s.handle)
		return s.d.quick(cuLaunchKernelEx, uintptr(unsafe.Pointer(&k.config)), f.handle, params, 0)
	}
	k.frame = [...]uintptr{
		f.handle,
		size(l.Grid.X), size(l.Grid.Y), size(l.Grid.Z),
		size(l.Block.X), size(l.Block.Y), size(l.Block.Z),
		uintptr(l.Shared), s.handle, params, 0,
	}
	return s.d.run(cuLaunchKernel, len(k.frame))
}

// explain adds the launch's shape to an error. The shape is passed by address
// and copied here so that the way of success keeps it off the heap.
func (f *Function) explain(err error, l *Launch) error {
	shape := *l
	return explain(err, "kernel %s, grid %s, block %s, %d bytes of shared memory", f.name, shape.Grid, shape.Block, shape.Shared)
}

// String writes "128×1×1".
func (d Dim) String() string { return fmt.Sprintf("%d×%d×%d", size(d.X), size(d.Y), size(d.Z)) }

// size is one dimension as the driver wants it.
func size(n int) uintptr { return uintptr(max(n, 1)) }

// Attributes of launches.
const (
	launchCooperative = 2
	launchCluster     = 4
	launchOverlap     = 6
)

// launchConfig is C's CUlaunchConfig.
type launchConfig struct {
	grid, block [3]uint32
	shared      uint32
	stream      uintptr
	attrs       *launchAttribute
	count       uint32
}

// launchAttribute is C's CUlaunchAttribute: a number and a union of 64 bytes.
type launchAttribute struct {
	id    uint32
	_     uint32
	value [16]uint32
}

// scratch is a device's memory for the arguments of one call at a time.
type scratch struct {
	frame  [11]uintptr
	config launchConfig
	attrs  [3]launchAttribute
}

func newScratch() *scratch {
	s := &scratch{}
	s.config.attrs = &s.attrs[0]
	return s
}

// fill describes an extended launch.
func (s *scratch) fill(l *Launch, stream uintptr) {
	c := &s.config
	c.grid = words(l.Grid)
	c.block = words(l.Block)
	c.shared = uint32(l.Shared)
	c.stream = stream
	c.count = 0
	if l.Cluster != (Dim{}) {
		dim := words(l.Cluster)
		s.add(launchCluster, dim[0], dim[1], dim[2])
	}
	if l.Cooperative {
		s.add(launchCooperative, 1, 0, 0)
	}
	if l.Overlap {
		s.add(launchOverlap, 1, 0, 0)
	}
}

func (s *scratch) add(id uint32, x, y, z uint32) {
	a := &s.attrs[s.config.count]
	a.id = id
	a.value = [16]uint32{x, y, z}
	s.config.count++
}

func words(d Dim) [3]uint32 {
	return [3]uint32{uint32(size(d.X)), uint32(size(d.Y)), uint32(size(d.Z))}
}
