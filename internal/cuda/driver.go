package cuda

import (
	"errors"
	"fmt"
	"unsafe"
)

// Version is a version of CUDA: major·1000 + minor·10, as the driver counts.
type Version int

// String returns "12.8".
func (v Version) String() string { return fmt.Sprintf("%d.%d", int(v)/1000, int(v)%1000/10) }

// Capability is a compute capability: major·10 + minor.
type Capability int

// String returns "9.0".
func (c Capability) String() string { return fmt.Sprintf("%d.%d", int(c)/10, int(c)%10) }

// The least that this package works with.
const (
	MinVersion    Version    = 12000
	MinCapability Capability = 70
)

// Driver is the opened and initialised driver library. It is safe for
// concurrent use and lives as long as the process.
type Driver struct {
	table
	version Version
	open    func(name string) (Library, error) // as in Options
}

var driverProduct = product{
	name:   "NVIDIA driver",
	linux:  []string{"libcuda.so.1"},
	win:    []string{"nvcuda.dll"},
	usual:  true,
	advice: "install the NVIDIA driver, or run on the CPU",
}

// The driver's functions that this package calls.
const (
	cuInit symbol = iota
	cuDriverGetVersion
	cuGetErrorName
	cuGetErrorString
	cuDeviceGetCount
	cuDeviceGet
	cuDeviceGetName
	cuDeviceTotalMem
	cuDeviceGetAttribute
	cuDeviceGetPCIBusID
	cuPrimaryCtxRetain
	cuPrimaryCtxRelease
	cuCtxSetCurrent
	cuCtxSetLimit
	cuCtxSynchronize
	cuCtxGetStreamPriorityRange
	cuMemGetInfo
	cuMemAlloc
	cuMemFree
	cuMemHostAlloc
	cuMemFreeHost
	cuMemHostRegister
	cuMemHostUnregister
	cuMemcpyHtoD
	cuMemcpyDtoH
	cuMemcpyHtoDAsync
	cuMemcpyDtoHAsync
	cuMemcpyDtoDAsync
	cuMemsetD8Async
	cuMemsetD32Async
	cuStreamCreate
	cuStreamDestroy
	cuStreamSynchronize
	cuStreamQuery
	cuStreamWaitEvent
	cuStreamBeginCapture
	cuStreamEndCapture
	cuEventCreate
	cuEventDestroy
	cuEventRecord
	cuEventSynchronize
	cuEventQuery
	cuEventElapsedTime
	cuModuleLoadDataEx
	cuModuleUnload
	cuModuleGetFunction
	cuModuleGetGlobal
	cuFuncGetAttribute
	cuFuncSetAttribute
	cuFuncLoad
	cuFuncGetParamInfo
	cuOccupancy
	cuLaunchKernel
	cuLaunchKernelEx
	cuGraphInstantiate
	cuGraphGetNodes
	cuGraphDestroy
	cuGraphLaunch
	cuGraphUpload
	cuGraphExecUpdate
	cuGraphExecDestroy
)

var driverEntries = []entry{
	cuInit:                      {name: "cuInit"},
	cuDriverGetVersion:          {name: "cuDriverGetVersion"},
	cuGetErrorName:              {name: "cuGetErrorName"},
	cuGetErrorString:            {name: "cuGetErrorString"},
	cuDeviceGetCount:            {name: "cuDeviceGetCount"},
	cuDeviceGet:                 {name: "cuDeviceGet"},
	cuDeviceGetName:             {name: "cuDeviceGetName"},
	cuDeviceTotalMem:            {name: "cuDeviceTotalMem_v2"},
	cuDeviceGetAttribute:        {name: "cuDeviceGetAttribute"},
	cuDeviceGetPCIBusID:         {name: "cuDeviceGetPCIBusId", optional: true},
	cuPrimaryCtxRetain:          {name: "cuDevicePrimaryCtxRetain"},
	cuPrimaryCtxRelease:         {name: "cuDevicePrimaryCtxRelease_v2"},
	cuCtxSetCurrent:             {name: "cuCtxSetCurrent"},
	cuCtxSetLimit:               {name: "cuCtxSetLimit", optional: true},
	cuCtxSynchronize:            {name: "cuCtxSynchronize"},
	cuCtxGetStreamPriorityRange: {name: "cuCtxGetStreamPriorityRange", optional: true},
	cuMemGetInfo:                {name: "cuMemGetInfo_v2"},
	cuMemAlloc:                  {name: "cuMemAlloc_v2"},
	cuMemFree:                   {name: "cuMemFree_v2"},
	cuMemHostAlloc:              {name: "cuMemHostAlloc"},
	cuMemFreeHost:               {name: "cuMemFreeHost"},
	cuMemHostRegister:           {name: "cuMemHostRegister_v2", optional: true},
	cuMemHostUnregister:         {name: "cuMemHostUnregister", optional: true},
	cuMemcpyHtoD:                {name: "cuMemcpyHtoD_v2"},
	cuMemcpyDtoH:                {name: "cuMemcpyDtoH_v2"},
	cuMemcpyHtoDAsync:           {name: "cuMemcpyHtoDAsync_v2"},
	cuMemcpyDtoHAsync:           {name: "cuMemcpyDtoHAsync_v2"},
	cuMemcpyDtoDAsync:           {name: "cuMemcpyDtoDAsync_v2"},
	cuMemsetD8Async:             {name: "cuMemsetD8Async"},
	cuMemsetD32Async:            {name: "cuMemsetD32Async"},
	cuStreamCreate:              {name: "cuStreamCreateWithPriority"},
	cuStreamDestroy:             {name: "cuStreamDestroy_v2"},
	cuStreamSynchronize:         {name: "cuStreamSynchronize"},
	cuStreamQuery:               {name: "cuStreamQuery"},
	cuStreamWaitEvent:           {name: "cuStreamWaitEvent"},
	cuStreamBeginCapture:        {name: "cuStreamBeginCapture_v2"},
	cuStreamEndCapture:          {name: "cuStreamEndCapture"},
	cuEventCreate:               {name: "cuEventCreate"},
	cuEventDestroy:              {name: "cuEventDestroy_v2"},
	cuEventRecord:               {name: "cuEventRecord"},
	cuEventSynchronize:          {name: "cuEventSynchronize"},
	cuEventQuery:                {name: "cuEventQuery"},
	cuEventElapsedTime:          {name: "cuEventElapsedTime"},
	cuModuleLoadDataEx:          {name: "cuModuleLoadDataEx"},
	cuModuleUnload:              {name: "cuModuleUnload"},
	cuModuleGetFunction:         {name: "cuModuleGetFunction"},
	cuModuleGetGlobal:           {name: "cuModuleGetGlobal_v2"},
	cuFuncGetAttribute:          {name: "cuFuncGetAttribute"},
	cuFuncSetAttribute:          {name: "cuFuncSetAttribute"},
	cuFuncLoad:                  {name: "cuFuncLoad", optional: true},
	cuFuncGetParamInfo:          {name: "cuFuncGetParamInfo", optional: true},
	cuOccupancy:                 {name: "cuOccupancyMaxActiveBlocksPerMultiprocessor"},
	cuLaunchKernel:              {name: "cuLaunchKernel"},
	cuLaunchKernelEx:            {name: "cuLaunchKernelEx", optional: true},
	cuGraphInstantiate:          {name: "cuGraphInstantiateWithFlags"},
	cuGraphGetNodes:             {name: "cuGraphGetNodes"},
	cuGraphDestroy:              {name: "cuGraphDestroy"},
	cuGraphLaunch:               {name: "cuGraphLaunch"},
	cuGraphUpload:               {name: "cuGraphUpload"},
	cuGraphExecUpdate:           {name: "cuGraphExecUpdate_v2", optional: true},
	cuGraphExecDestroy:          {name: "cuGraphExecDestroy"},
}

// LoadDriver opens and initialises the driver library. It fails with
// ErrNoLibrary, ErrDriverTooOld or ErrNoDevice.
func LoadDriver(o Options) (*Driver, error) {
	t, missing, err := open(o, driverProduct, driverEntries)
	if err != nil {
		return nil, err
	}
	d := &Driver{table: t, open: o.Open}
	if d.has(cuDriverGetVersion) {
		var v int32
		if err := d.call(cuDriverGetVersion, uintptr(unsafe.Pointer(&v))); err != nil {
			return nil, err
		}
		d.version = Version(v)
	}
	if d.version < MinVersion {
		return nil, classf(ErrDriverTooOld, "the NVIDIA driver supports CUDA %v, want %v or later; update the driver", d.version, MinVersion)
	}
	if missing != "" {
		return nil, classf(ErrDriverTooOld, "the NVIDIA driver (%s, CUDA %v) lacks %s; update the driver", t.file, d.version, missing)
	}
	if err := d.call(cuInit, 0); err != nil {
		if errors.Is(err, ErrNoDevice) {
			explain(err, "nvidia-smi shows what the driver sees, CUDA_VISIBLE_DEVICES what it may use; or run on the CPU")
		}
		return nil, err
	}
	return d, nil
}

// Version returns the newest version of CUDA that the driver supports.
func (d *Driver) Version() Version { return d.version }

// Count returns the number of devices.
func (d *Driver) Count() (int, error) {
	var n int32
	err := d.call(cuDeviceGetCount, uintptr(unsafe.Pointer(&n)))
	return int(n), err
}

// call calls a function of the driver. Addresses converted to uintptr in the
// argument list stay alive and in place for the time of the call.
//
//go:uintptrescapes
func (d *Driver) call(s symbol, args ...uintptr) error {
	fn := d.addr[s]
	if fn == 0 {
		return d.absent(s)
	}
	// The C functions return an int: the upper half of the register is noise.
	if code := int32(invoke(fn, args...)); code != 0 {
		return d.failure(s, code)
	}
	return nil
}

// failure makes the error of a call. It is apart from call to keep the way of
// success short.
func (d *Driver) failure(s symbol, code int32) error {
	return &Error{
		Call:  d.entries[s].name,
		Name:  d.lookup(cuGetErrorName, code),
		Code:  int(code),
		Text:  d.lookup(cuGetErrorString, code),
		class: driverClass(int(code)),
	}
}

// lookup asks the driver for a code's name or description.
func (d *Driver) lookup(s symbol, code int32) string {
	if !d.has(s) {
		return ""
	}
	var p *byte
	if invoke(d.addr[s], uintptr(code), uintptr(unsafe.Pointer(&p))) != 0 {
		return ""
	}
	return text(p)
}

// Info describes a device.
type Info struct {
	Ordinal         int
	Name            string
	Capability      Capability
	BusID           string // PCI address "0000:65:00.0"; empty if unknown
	Memory          uint64 // bytes in all
	Multiprocessors int
	L2              int  // bytes of second-level cache
	SharedBlock     int  // bytes of shared memory that a block may use
	SharedOptIn     int  // the same for functions that ask for it, see Function.SetMaxShared
	SharedSM        int  // bytes of shared memory of a multiprocessor
	Clock           int  // kHz, of the multiprocessors
	MemoryClock     int  // kHz; 0 if the driver does not say
	BusWidth        int  // bits of the memory bus
	Clusters        bool // thread-block clusters can be launched
	Cooperative     bool // cooperative kernels can be launched
	Integrated      bool // shares the host's memory
}

// Bandwidth returns the peak memory bandwidth in bytes/s that clock and width
// of the memory bus amount to at two transfers a clock; 0 if unknown.
func (i *Info) Bandwidth() float64 {
	return 2 * float64(i.MemoryClock) * 1e3 * float64(i.BusWidth) / 8
}

// Attributes of devices.
const (
	attrSharedBlock   = 8
	attrClock         = 13
	attrProcessors    = 16
	attrIntegrated    = 18
	attrMemoryClock   = 36
	attrBusWidth      = 37
	attrL2            = 38
	attrMajor         = 75
	attrMinor         = 76
	attrSharedSM      = 81
	attrCooperative   = 95
	attrSharedOptIn   = 97
	attrClusterLaunch = 120
)

// Info describes device number ordinal, counted from 0. It fails with
// ErrNoDevice if there is none.
func (d *Driver) Info(ordinal int) (Info, error) {
	dev, err := d.device(ordinal)
	if err != nil {
		return Info{}, err
	}
	info := Info{Ordinal: ordinal}
	var name [256]byte
	if err := d.call(cuDeviceGetName, uintptr(unsafe.Pointer(&name[0])), uintptr(len(name)), dev); err != nil {
		return Info{}, err
	}
	info.Name = trim(name[:])
	if err := d.call(cuDeviceTotalMem, uintptr(unsafe.Pointer(&info.Memory)), dev); err != nil {
		return Info{}, err
	}
	if d.has(cuDeviceGetPCIBusID) {
		var id [32]byte
		if err := d.call(cuDeviceGetPCIBusID, uintptr(unsafe.Pointer(&id[0])), uintptr(len(id)), dev); err == nil {
			info.BusID = trim(id[:])
		}
	}
	err = d.attributes(&info, dev)
	return info, err
}

// attributes fills in what the driver keeps as numbered attributes. One that
// the driver does not know counts as 0, except the compute capability.
func (d *Driver) attributes(info *Info, dev uintptr) error {
	var failed error
	get := func(attribute uintptr) int {
		var v int32
		if err := d.call(cuDeviceGetAttribute, uintptr(unsafe.Pointer(&v)), attribute, dev); err != nil {
			failed = err
			return 0
		}
		return int(v)
	}
	info.Capability = Capability(10*get(attrMajor) + get(attrMinor))
	if failed != nil {
		return failed
	}
	info.Multiprocessors = get(attrProcessors)
	info.L2 = get(attrL2)
	info.SharedBlock = get(attrSharedBlock)
	info.SharedOptIn = get(attrSharedOptIn)
	info.SharedSM = get(attrSharedSM)
	info.Clock = get(attrClock)
	info.MemoryClock = get(attrMemoryClock)
	info.BusWidth = get(attrBusWidth)
	info.Clusters = get(attrClusterLaunch) != 0
	info.Cooperative = get(attrCooperative) != 0
	info.Integrated = get(attrIntegrated) != 0
	return nil
}

// device returns the driver's handle of a device.
func (d *Driver) device(ordinal int) (uintptr, error) {
	n, err := d.Count()
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, classf(ErrNoDevice, "this machine has no CUDA device; run on the CPU")
	}
	if ordinal < 0 || ordinal >= n {
		return 0, classf(ErrNoDevice, "there is no device %d: this machine has %d, counted from 0", ordinal, n)
	}
	var dev int32
	if err := d.call(cuDeviceGet, uintptr(unsafe.Pointer(&dev)), uintptr(ordinal)); err != nil {
		return 0, err
	}
	return uintptr(dev), nil
}
