package cuda

import (
	"fmt"
	"strings"
	"unsafe"
)

// NVML is the opened and initialised management library: what all processes
// together do to a device. It is safe for concurrent use.
type NVML struct{ table }

var nvmlProduct = product{
	name:   "NVML",
	linux:  []string{"libnvidia-ml.so.1"},
	win:    []string{"nvml.dll"},
	usual:  true,
	advice: "it comes with the NVIDIA driver; only figures about memory use need it",
}

// The library's functions that this package calls.
const (
	nvmlInit symbol = iota
	nvmlShutdown
	nvmlErrorString
	nvmlDriverVersion
	nvmlByBusID
	nvmlName
	nvmlMemory
	nvmlProcesses
)

var nvmlEntries = []entry{
	nvmlInit:          {name: "nvmlInit_v2"},
	nvmlShutdown:      {name: "nvmlShutdown"},
	nvmlErrorString:   {name: "nvmlErrorString", optional: true},
	nvmlDriverVersion: {name: "nvmlSystemGetDriverVersion"},
	nvmlByBusID:       {name: "nvmlDeviceGetHandleByPciBusId_v2"},
	nvmlName:          {name: "nvmlDeviceGetName"},
	nvmlMemory:        {name: "nvmlDeviceGetMemoryInfo"},
	nvmlProcesses:     {name: "nvmlDeviceGetComputeRunningProcesses_v3", optional: true},
}

// LoadNVML opens and initialises NVML. Without it, the error's class is
// ErrNoLibrary.
func LoadNVML(o Options) (*NVML, error) {
	t, missing, err := open(o, nvmlProduct, nvmlEntries)
	if err != nil {
		return nil, err
	}
	if missing != "" {
		return nil, &LibraryError{Library: nvmlProduct.name, Tried: []string{t.file}, Cause: "it lacks " + missing, Advice: nvmlProduct.advice}
	}
	n := &NVML{t}
	if err := n.call(nvmlInit); err != nil {
		return nil, err
	}
	return n, nil
}

// Close gives the library's resources back. It must be the last call.
func (n *NVML) Close() error { return n.call(nvmlShutdown) }

//go:uintptrescapes
func (n *NVML) call(s symbol, args ...uintptr) error {
	fn := n.addr[s]
	if fn == 0 {
		return n.absent(s)
	}
	if code := int32(invoke(fn, args...)); code != 0 {
		return n.failure(s, code)
	}
	return nil
}

// Codes with a meaning of their own.
const (
	nvmlNotSupported = 3
	nvmlNotFound     = 6
	nvmlInsufficient = 7
)

func (n *NVML) failure(s symbol, code int32) error {
	e := &Error{Call: n.entries[s].name, Code: int(code)}
	if n.has(nvmlErrorString) {
		e.Text = describe(n.addr[nvmlErrorString], code)
	}
	switch code {
	case nvmlNotSupported:
		e.class = ErrNotAvailable
	case nvmlNotFound:
		e.class = ErrNoDevice
	}
	return e
}

// DriverVersion returns the driver's own version, such as "580.95.05".
func (n *NVML) DriverVersion() (string, error) {
	var buf [96]byte
	err := n.call(nvmlDriverVersion, uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
	return trim(buf[:]), err
}

// Monitor observes one device.
type Monitor struct {
	n      *NVML
	handle uintptr
}

// Find returns the device at a PCI address: NVML numbers devices in an order
// of its own, so use Info.BusID.
func (n *NVML) Find(busID string) (*Monitor, error) {
	if strings.TrimSpace(busID) == "" {
		return nil, classf(ErrNotAvailable, "the device's PCI address is not known")
	}
	id := cstring(busID)
	m := &Monitor{n: n}
	err := n.call(nvmlByBusID, uintptr(unsafe.Pointer(&id[0])), uintptr(unsafe.Pointer(&m.handle)))
	if err != nil {
		return nil, explain(err, "device %s", busID)
	}
	return m, nil
}

// Name returns the device's name.
func (m *Monitor) Name() (string, error) {
	var buf [96]byte
	err := m.n.call(nvmlName, m.handle, uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
	return trim(buf[:]), err
}

// Usage is a device's memory in bytes.
type Usage struct{ Total, Free, Used uint64 }

// Memory returns the device's memory as all processes use it.
func (m *Monitor) Memory() (Usage, error) {
	var u Usage // C's nvmlMemory_t
	err := m.n.call(nvmlMemory, m.handle, uintptr(unsafe.Pointer(&u)))
	return u, err
}

// processInfo is C's nvmlProcessInfo_t in its second version.
type processInfo struct {
	pid       uint32
	used      uint64
	instances [2]uint32
}

// unknownUse is what NVML writes where the system does not tell.
const unknownUse = ^uint64(0)

// ProcessMemory returns the bytes of the device that a process uses. Where
// the system does not tell – Windows' display driver model, containers with
// process numbers of their own, drivers before CUDA 12 – it fails with
// ErrNotAvailable.
func (m *Monitor) ProcessMemory(pid int) (uint64, error) {
	list := make([]processInfo, 64)
	for {
		n := uint32(len(list))
		err := m.n.call(nvmlProcesses, m.handle, uintptr(unsafe.Pointer(&n)), uintptr(unsafe.Pointer(&list[0])))
		if driverCode(err) == nvmlInsufficient && len(list) < 1<<16 {
			list = make([]processInfo, 2*len(list))
			continue
		}
		if err != nil {
			return 0, err
		}
		list = list[:min(int(n), len(list))]
		break
	}
	for _, p := range list {
		if p.pid == uint32(pid) && p.used != unknownUse {
			return p.used, nil
		}
	}
	return 0, classf(ErrNotAvailable, "the memory of process %s on the device is not known", fmt.Sprint(pid))
}
