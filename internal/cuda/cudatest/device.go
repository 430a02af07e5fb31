package cudatest

import (
	"fmt"
	"slices"
	"sort"
	"unsafe"
)

// allocation is a piece of device memory.
type allocation struct {
	addr uintptr
	data []byte
}

// hostMemory is pinned host memory: the fake's own, or registered.
type hostMemory struct {
	data       []byte
	registered bool
}

// errorNames holds the codes that tests come across, as C strings.
var errorNames = map[code][2][]byte{}

func init() {
	for c, words := range map[code][2]string{
		invalidValue:       {"CUDA_ERROR_INVALID_VALUE", "invalid argument"},
		outOfMemory:        {"CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
		notInitialized:     {"CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
		34:                 {"CUDA_ERROR_STUB_LIBRARY", "CUDA driver is a stub library"},
		noDevice:           {"CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
		invalidDevice:      {"CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
		invalidContext:     {"CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
		209:                {"CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
		214:                {"CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"},
		218:                {"CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
		222:                {"CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain."},
		invalidHandle:      {"CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
		notFound:           {"CUDA_ERROR_NOT_FOUND", "named symbol not found"},
		600:                {"CUDA_ERROR_NOT_READY", "device not ready"},
		illegalAddress:     {"CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
		outOfResources:     {"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
		launchFailed:       {"CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
		captureUnsupported: {"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
		updateFailed:       {"CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE", "the graph update was not performed"},
	} {
		errorNames[c] = [2][]byte{append([]byte(words[0]), 0), append([]byte(words[1]), 0)}
	}
}

func (f *Fake) errorName(c int32, p **byte) code   { return f.errorText(c, p, 0) }
func (f *Fake) errorString(c int32, p **byte) code { return f.errorText(c, p, 1) }

func (f *Fake) errorText(c int32, p **byte, which int) code {
	words, ok := errorNames[code(c)]
	if !ok {
		return invalidValue
	}
	*p = &words[which][0]
	return 0
}

func (f *Fake) init(uint32) code {
	if len(f.devices) == 0 {
		return noDevice
	}
	f.inited = true
	return 0
}

func (f *Fake) driverVersion(v *int32) code {
	*v = int32(f.config.Version)
	return 0
}

func (f *Fake) deviceCount(n *int32) code {
	*n = int32(len(f.devices))
	return 0
}

func (f *Fake) deviceGet(dev *int32, ordinal int32) code {
	if ordinal < 0 || int(ordinal) >= len(f.devices) {
		return invalidDevice
	}
	*dev = ordinal
	return 0
}

func (f *Fake) deviceName(p *byte, n, dev int32) code {
	put(p, n, f.devices[dev].Name)
	return 0
}

func (f *Fake) deviceMemory(n *uint64, dev int32) code {
	*n = uint64(f.devices[dev].Memory)
	return 0
}

func (f *Fake) deviceBusID(p *byte, n, dev int32) code {
	put(p, n, fmt.Sprintf("0000:%02x:00.0", dev+1))
	return 0
}

// usual holds the attributes of a device that is not described further.
var usual = map[int]int{
	8: 48 << 10, 13: 1_980_000, 16: 4, 18: 0, 36: 3_201_000, 37: 6144, 38: 1 << 20, 81: 228 << 10, 95: 1, 97: 227 << 10, 120: 1,
}

func (f *Fake) deviceAttribute(v *int32, attribute, dev int32) code {
	*v = int32(f.devices[dev].attribute(int(attribute)))
	return 0
}

func (d *device) attribute(n int) int {
	if v, ok := d.Attributes[n]; ok {
		return v
	}
	switch n {
	case 75:
		return int(d.Capability) / 10
	case 76:
		return int(d.Capability) % 10
	}
	return usual[n]
}

func (f *Fake) contextRetain(ctx *uintptr, dev int32) code {
	d := f.devices[dev]
	d.retained++
	*ctx = d.context
	return 0
}

func (f *Fake) contextRelease(dev int32) code {
	d := f.devices[dev]
	if d.retained == 0 {
		return invalidContext
	}
	d.retained--
	if f.fault != 0 {
		f.forget()
	}
	return 0
}

func (f *Fake) contextSet(ctx uintptr) code {
	delete(f.current, thread())
	for _, d := range f.devices {
		if d.context == ctx {
			f.current[thread()] = d
			return 0
		}
	}
	if ctx != 0 {
		return invalidContext
	}
	return 0
}

// contextLimit obeys: nothing here depends on a limit.
func (f *Fake) contextLimit(limit int32, _ uintptr) code {
	if f.here() == nil {
		return invalidContext
	}
	if limit < 0 || limit > 2 {
		return unsupportedLimit
	}
	return 0
}

func (f *Fake) contextSynchronize() code {
	if f.here() == nil {
		return invalidContext
	}
	if c := f.whileRecording(); c != 0 {
		return c
	}
	return f.wait()
}

func (f *Fake) priorityRange(least, greatest *int32) code {
	*least, *greatest = 0, -5
	return 0
}

func (f *Fake) memoryInfo(free, total *uint64) code {
	d := f.here()
	if d == nil {
		return invalidContext
	}
	*free, *total = uint64(d.Memory-d.used), uint64(d.Memory)
	return 0
}

func (f *Fake) memoryAlloc(p *uintptr, n uint64) code {
	d := f.here()
	if d == nil {
		return invalidContext
	}
	if c := f.whileRecording(); c != 0 {
		return c
	}
	if n == 0 {
		return invalidValue
	}
	if n > uint64(d.Memory-d.used) {
		return outOfMemory
	}
	data := make([]byte, n+256)
	skip := -uintptr(unsafe.Pointer(&data[0])) & 255
	data = data[skip : uint64(skip)+n : uint64(skip)+n]
	if d.Dirty {
		most := data[:min(len(data), 32<<20)] // the rest of large ones is left untouched
		for i := range most {
			most[i] = 0xff
		}
	}
	*p = uintptr(unsafe.Pointer(&data[0]))
	at := sort.Search(len(d.memory), func(i int) bool { return d.memory[i].addr > *p })
	d.memory = slices.Insert(d.memory, at, allocation{*p, data})
	d.used += int(n)
	return 0
}

func (f *Fake) memoryFree(p uintptr) code {
	f.wait()
	for _, d := range f.devices {
		for i, a := range d.memory {
			if a.addr == p {
				d.memory = slices.Delete(d.memory, i, i+1)
				d.used -= len(a.data)
				return 0
			}
		}
	}
	return invalidValue
}

// bytes returns n bytes of device memory, or nil if they are not all in one
// piece of it.
func (f *Fake) bytes(p uintptr, n uint64) []byte {
	for _, d := range f.devices {
		i := sort.Search(len(d.memory), func(i int) bool { return d.memory[i].addr > p }) - 1
		if i < 0 {
			continue
		}
		a := d.memory[i]
		if from := uint64(p - a.addr); from <= uint64(len(a.data)) && n <= uint64(len(a.data))-from {
			return a.data[from : from+n : from+n]
		}
	}
	return nil
}

func (f *Fake) hostAlloc(p *unsafe.Pointer, n uint64, _ uint32) code {
	if f.here() == nil {
		return invalidContext
	}
	if n > 1<<32 {
		return outOfMemory
	}
	words := make([]uint64, (n+7)/8)
	*p = unsafe.Pointer(&words[0])
	f.host[uintptr(*p)] = hostMemory{data: unsafe.Slice((*byte)(*p), n)}
	return 0
}

func (f *Fake) hostFree(p unsafe.Pointer) code {
	if h, ok := f.host[uintptr(p)]; !ok || h.registered {
		return invalidValue
	}
	f.wait()
	delete(f.host, uintptr(p))
	return 0
}

func (f *Fake) hostRegister(p unsafe.Pointer, n uint64, _ uint32) code {
	if _, ok := f.host[uintptr(p)]; ok {
		return alreadyRegistered
	}
	f.host[uintptr(p)] = hostMemory{data: unsafe.Slice((*byte)(p), n), registered: true}
	return 0
}

func (f *Fake) hostUnregister(p unsafe.Pointer) code {
	if h, ok := f.host[uintptr(p)]; !ok || !h.registered {
		return notRegistered
	}
	f.wait()
	delete(f.host, uintptr(p))
	return 0
}

// pinned returns n bytes of pinned memory: asynchronous copies from other
// memory would be a mistake of the caller's.
func (f *Fake) pinned(p uintptr, n uint64) []byte {
	for addr, h := range f.host {
		if from := p - addr; p >= addr && uint64(from)+n <= uint64(len(h.data)) {
			return h.data[from : uint64(from)+n]
		}
	}
	return nil
}
