package cudatest

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"unsafe"

	"github.com/godwit-llm/godwit/internal/cuda"
)

// kernel is a registered kernel.
type kernel struct {
	sizes []int
	run   func(*Call)
}

// function is a kernel as a module hands it out.
type function struct {
	name      string
	maxShared int
}

// Call is one launch of a kernel.
type Call struct {
	Kernel      string
	Grid, Block [3]int
	Cluster     [3]int // zero: none
	Shared      int
	Overlap     bool
	Cooperative bool

	f      *Fake
	params [][]byte
}

// Kernel registers a kernel with its parameters' sizes in bytes; every module
// holds it. run is called once a launch, for the whole grid, and must not call
// the driver. It may be nil.
func (f *Fake) Kernel(name string, sizes []int, run func(*Call)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kernels[name] = &kernel{sizes, run}
}

// Bytes returns parameter i as it was at the launch.
func (c *Call) Bytes(i int) []byte { return c.params[i] }

// Uint64 returns parameter i.
func (c *Call) Uint64(i int) uint64 { return binary.LittleEndian.Uint64(c.params[i]) }

// Int32 returns parameter i.
func (c *Call) Int32(i int) int32 { return int32(binary.LittleEndian.Uint32(c.params[i])) }

// Float32 returns parameter i.
func (c *Call) Float32(i int) float32 {
	return math.Float32frombits(binary.LittleEndian.Uint32(c.params[i]))
}

// Ptr returns parameter i.
func (c *Call) Ptr(i int) cuda.DevicePtr { return cuda.DevicePtr(c.Uint64(i)) }

// Memory returns n bytes of device memory or of pinned host memory. If they are
// not all in one piece of it, the device fails as the real one does, and the
// result is nil.
func (c *Call) Memory(p cuda.DevicePtr, n int) []byte {
	b := c.f.bytes(uintptr(p), uint64(n))
	if b == nil {
		b = c.f.pinned(uintptr(p), uint64(n))
	}
	if b == nil {
		c.Fault(int(illegalAddress))
	}
	return b
}

// Reachable appends the pieces of memory that kernels may touch – the device's
// and pinned host memory – by address, each with its end.
func (c *Call) Reachable(list [][2]uintptr) [][2]uintptr {
	add := func(at uintptr, n int) { list = append(list, [2]uintptr{at, at + uintptr(n)}) }
	for _, d := range c.f.devices {
		for _, a := range d.memory {
			add(a.addr, len(a.data))
		}
	}
	for at, h := range c.f.host {
		add(at, len(h.data))
	}
	slices.SortFunc(list, func(a, b [2]uintptr) int { return cmp.Compare(a[0], b[0]) })
	return list
}

// Fault makes the device fail with a code: the launch succeeds, later calls do
// not.
func (c *Call) Fault(result int) { c.f.fail(code(result)) }

func (f *Fake) moduleLoad(h *uintptr, image *byte, n uint32, _ *int32, values *struct {
	log  *byte
	size uintptr
},
) code {
	if f.here() == nil {
		return invalidContext
	}
	if f.rejected != 0 {
		if n > 0 && f.complain != "" {
			put(values.log, int32(values.size), f.complain)
		}
		c := f.rejected
		f.rejected = 0
		return c
	}
	if *image == 0 {
		return invalidValue
	}
	*h = f.next()
	f.modules[*h] = true
	return 0
}

func (f *Fake) moduleUnload(h uintptr) code {
	if !f.modules[h] {
		return invalidHandle
	}
	delete(f.modules, h)
	return 0
}

func (f *Fake) moduleFunction(p *uintptr, h uintptr, name *byte) code {
	if !f.modules[h] {
		return invalidHandle
	}
	s := ctext(name)
	if f.kernels[s] == nil {
		return notFound
	}
	*p = f.next()
	f.functions[*p] = &function{s, 48 << 10}
	return 0
}

func (f *Fake) moduleGlobal(*uintptr, *uint64, uintptr, *byte) code { return notFound }

// ctext copies a C string.
func ctext(p *byte) string {
	var b []byte
	for i := 0; ; i++ {
		c := *(*byte)(unsafe.Add(unsafe.Pointer(p), i))
		if c == 0 {
			return string(b)
		}
		b = append(b, c)
	}
}

func (f *Fake) functionAttribute(v *int32, attribute int32, fn uintptr) code {
	if f.functions[fn] == nil {
		return invalidHandle
	}
	*v = map[int32]int32{0: 1024, 4: 32, 5: 70, 6: 90, 8: int32(f.functions[fn].maxShared)}[attribute]
	return 0
}

func (f *Fake) functionSet(fn uintptr, attribute, v int32) code {
	k := f.functions[fn]
	if k == nil {
		return invalidHandle
	}
	if attribute == 8 {
		if int(v) > f.here().attribute(97) {
			return invalidValue
		}
		k.maxShared = int(v)
	}
	return 0
}

func (f *Fake) functionLoad(fn uintptr) code {
	if f.functions[fn] == nil {
		return invalidHandle
	}
	return 0
}

func (f *Fake) functionParameter(fn uintptr, i uint64, offset, size *uint64) code {
	sizes := f.kernels[f.functions[fn].name].sizes
	if i >= uint64(len(sizes)) {
		return invalidValue
	}
	*offset, *size = 8*i, uint64(sizes[i])
	return 0
}

func (f *Fake) occupancy(n *int32, fn uintptr, threads int32, shared uint64) code {
	if f.functions[fn] == nil {
		return invalidHandle
	}
	if threads < 1 || threads > 1024 {
		return invalidValue
	}
	*n = min(32, 2048/threads, int32(228<<10/(shared+1024)))
	return 0
}

func (f *Fake) launch(fn uintptr, gx, gy, gz, bx, by, bz, shared uint32, s uintptr, params *unsafe.Pointer, _ uintptr) code {
	c := &Call{Grid: [3]int{int(gx), int(gy), int(gz)}, Block: [3]int{int(bx), int(by), int(bz)}, Shared: int(shared)}
	return f.start(c, fn, s, params)
}

// config is C's CUlaunchConfig.
type config struct {
	grid, block [3]uint32
	shared      uint32
	stream      uintptr
	attrs       *attribute
	count       uint32
}

// attribute is C's CUlaunchAttribute.
type attribute struct {
	id    uint64
	value [16]uint32
}

func (f *Fake) launchExtended(k *config, fn uintptr, params *unsafe.Pointer, _ uintptr) code {
	c := &Call{Shared: int(k.shared)}
	for i := range 3 {
		c.Grid[i], c.Block[i] = int(k.grid[i]), int(k.block[i])
	}
	for _, a := range unsafe.Slice(k.attrs, k.count) {
		switch a.id {
		case 2:
			c.Cooperative = a.value[0] == 1
		case 4:
			c.Cluster = [3]int{int(a.value[0]), int(a.value[1]), int(a.value[2])}
		case 6:
			c.Overlap = a.value[0] == 1
		default:
			return invalidValue
		}
	}
	return f.start(c, fn, k.stream, params)
}

// start checks a launch, keeps its parameters and does it.
func (f *Fake) start(c *Call, fn, s uintptr, params *unsafe.Pointer) code {
	k := f.functions[fn]
	if k == nil {
		return invalidHandle
	}
	threads := c.Block[0] * c.Block[1] * c.Block[2]
	if threads < 1 || threads > 1024 || c.Grid[0]*c.Grid[1]*c.Grid[2] < 1 || c.Shared > k.maxShared {
		return invalidValue
	}
	what := f.kernels[k.name]
	if params == nil && len(what.sizes) > 0 {
		return invalidValue
	}
	c.f, c.Kernel = f, k.name
	for i, size := range what.sizes {
		p := *(*unsafe.Pointer)(unsafe.Add(unsafe.Pointer(params), i*8))
		if p == nil {
			return invalidValue
		}
		c.params = append(c.params, append([]byte(nil), unsafe.Slice((*byte)(p), size)...))
	}
	return f.do(s, func() code {
		if what.run != nil && f.fault == 0 {
			what.run(c)
		}
		return 0
	})
}
