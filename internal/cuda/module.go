package cuda

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"unsafe"
)

// Module is a loaded image of kernels.
type Module struct{ object }

// Options of the just-in-time compiler: a buffer for its complaints.
const (
	jitErrorLog     = 5
	jitErrorLogSize = 6
	jitLogSize      = 8 << 10
)

// Load loads an image: native code, PTX text or a bundle of both. PTX is
// compiled for the device, which takes time; what the compiler complains about
// is in the error's Detail. An image from a toolkit newer than the driver
// fails with ErrDriverTooOld, one without code for the device with
// ErrUnsupportedDevice.
func (d *Device) Load(image []byte) (*Module, error) {
	if len(image) == 0 {
		return nil, errors.New("cuda: the kernel image is empty")
	}
	if isText(image) && image[len(image)-1] != 0 {
		image = cstring(string(image)) // the driver looks for the end of text
	}
	log := make([]byte, jitLogSize)
	var pinner runtime.Pinner
	pinner.Pin(&log[0])
	defer pinner.Unpin()
	options := [2]uint32{jitErrorLog, jitErrorLogSize}
	values := [2]uintptr{uintptr(unsafe.Pointer(&log[0])), jitLogSize}
	var h uintptr
	err := d.call(cuModuleLoadDataEx, uintptr(unsafe.Pointer(&h)), uintptr(unsafe.Pointer(&image[0])),
		uintptr(len(options)), uintptr(unsafe.Pointer(&options[0])), uintptr(unsafe.Pointer(&values[0])))
	if err != nil {
		if said := strings.TrimSpace(trim(log)); said != "" {
			explain(err, "%s", said)
		}
		return nil, explain(err, "the device has compute capability %v, the driver CUDA %v", d.info.Capability, d.drv.version)
	}
	m := &Module{}
	d.adopt(&m.object, "module", h, m)
	return m, nil
}

// isText reports whether an image is PTX: it begins neither like native code
// (ELF) nor like a bundle.
func isText(image []byte) bool {
	s := string(image[:min(4, len(image))])
	return s != "\x7fELF" && s != "\x50\xed\x55\xba"
}

// Close unloads the module; its functions cannot be used any more.
func (m *Module) Close() error { return m.release(cuModuleUnload) }

// Function is a kernel.
type Function struct {
	m      *Module
	handle uintptr
	name   string
	shared int // bytes of dynamic shared memory asked for with SetMaxShared
}

// Function finds a kernel by name and loads its code, so that the first launch
// does not have to.
func (m *Module) Function(name string) (*Function, error) {
	if !m.alive() {
		return nil, m.gone()
	}
	var h uintptr
	cname := cstring(name)
	if err := m.d.call(cuModuleGetFunction, uintptr(unsafe.Pointer(&h)), m.handle, uintptr(unsafe.Pointer(&cname[0]))); err != nil {
		return nil, explain(err, "kernel %s", name)
	}
	if m.d.drv.has(cuFuncLoad) {
		if err := m.d.call(cuFuncLoad, h); err != nil {
			return nil, explain(err, "kernel %s", name)
		}
	}
	return &Function{m: m, handle: h, name: name}, nil
}

// Global returns the address and the bytes of a variable of the module.
func (m *Module) Global(name string) (p DevicePtr, size int, err error) {
	if !m.alive() {
		return 0, 0, m.gone()
	}
	cname := cstring(name)
	var n uintptr
	err = m.d.call(cuModuleGetGlobal, uintptr(unsafe.Pointer(&p)), uintptr(unsafe.Pointer(&n)), m.handle, uintptr(unsafe.Pointer(&cname[0])))
	return p, int(n), explain(err, "variable %s", name)
}

// Attributes of functions.
const (
	funcMaxThreads    = 0
	funcShared        = 1
	funcLocal         = 3
	funcRegisters     = 4
	funcPTX           = 5
	funcBinary        = 6
	funcMaxShared     = 8
	funcCarveout      = 9
	funcBigClusters   = 14
	paramInfoNotFound = codeInvalidValue
)

// FunctionInfo is what the compiler made of a kernel.
type FunctionInfo struct {
	MaxThreads int        // a block can have at most
	Shared     int        // bytes of static shared memory
	Local      int        // bytes of local memory a thread: spills, mostly
	Registers  int        // a thread
	PTX        Capability // version of the PTX it was compiled from
	Binary     Capability // architecture of the code
}

// Name returns the kernel's name.
func (f *Function) Name() string { return f.name }

// Info describes the kernel.
func (f *Function) Info() (FunctionInfo, error) {
	var failed error
	get := func(attribute uintptr) int {
		var v int32
		if err := f.call(cuFuncGetAttribute, uintptr(unsafe.Pointer(&v)), attribute, f.handle); err != nil {
			failed = err
		}
		return int(v)
	}
	info := FunctionInfo{
		MaxThreads: get(funcMaxThreads),
		Shared:     get(funcShared),
		Local:      get(funcLocal),
		Registers:  get(funcRegisters),
		PTX:        Capability(get(funcPTX)),
		Binary:     Capability(get(funcBinary)),
	}
	return info, failed
}

// call calls a function of the driver about this kernel.
//
//go:uintptrescapes
func (f *Function) call(s symbol, args ...uintptr) error {
	if f == nil || !f.m.alive() {
		return f.gone()
	}
	return explain(f.m.d.call(s, args...), "kernel %s", f.name)
}

func (f *Function) gone() error {
	if f == nil {
		return classf(ErrClosed, "the kernel is nil")
	}
	return classf(ErrClosed, "the module of kernel %s is closed", f.name)
}

// SetMaxShared allows launches with up to n bytes of dynamic shared memory.
// More than 48 KiB must be asked for; Info.SharedOptIn less the static shared
// memory is the limit.
func (f *Function) SetMaxShared(n int) error {
	err := f.call(cuFuncSetAttribute, f.handle, funcMaxShared, uintptr(n))
	if err != nil {
		if e, ok := err.(*Error); ok {
			e.Detail = fmt.Sprintf("kernel %s: wanted %d bytes of shared memory, the device has %d", f.name, n, f.m.d.info.SharedOptIn)
		}
		return err
	}
	f.shared = n
	return nil
}

// SetCarveout asks for a split of the first-level cache: percent of it as
// shared memory. It is a hint.
func (f *Function) SetCarveout(percent int) error {
	return f.call(cuFuncSetAttribute, f.handle, funcCarveout, uintptr(percent))
}

// AllowBigClusters allows clusters of more than 8 blocks.
func (f *Function) AllowBigClusters() error {
	return f.call(cuFuncSetAttribute, f.handle, funcBigClusters, 1)
}

// Occupancy returns how many blocks of so many threads and bytes of dynamic
// shared memory fit on a multiprocessor.
func (f *Function) Occupancy(threads, shared int) (int, error) {
	var n int32
	err := f.call(cuOccupancy, uintptr(unsafe.Pointer(&n)), f.handle, uintptr(threads), uintptr(shared))
	return int(n), err
}

// Parameters returns the sizes of the kernel's parameters in bytes, to hold a
// binding against. Drivers before CUDA 12.4 cannot say: ErrNotAvailable.
func (f *Function) Parameters() ([]int, error) {
	var sizes []int
	for {
		var offset, size uintptr
		err := f.call(cuFuncGetParamInfo, f.handle, uintptr(len(sizes)), uintptr(unsafe.Pointer(&offset)), uintptr(unsafe.Pointer(&size)))
		if driverCode(err) == paramInfoNotFound {
			return sizes, nil // past the last one
		}
		if err != nil {
			return nil, err
		}
		sizes = append(sizes, int(size))
	}
}
