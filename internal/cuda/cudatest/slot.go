package cudatest

import (
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/ebitengine/purego"
)

// slot is a set of C functions. Such functions can be made some 2,000 times in
// a process and never be given back, so machines that are not in use leave
// their sets to later ones.
type slot struct {
	fake    atomic.Pointer[Fake]
	symbols map[string]uintptr
}

var slots struct {
	sync.Mutex
	free []*slot
}

// acquire returns a set of functions that call f.
func acquire(f *Fake) *slot {
	slots.Lock()
	defer slots.Unlock()
	var s *slot
	if n := len(slots.free); n > 0 {
		s, slots.free = slots.free[n-1], slots.free[:n-1]
	} else {
		s = &slot{symbols: map[string]uintptr{}}
		for name, method := range functions {
			s.symbols[name] = s.export(name, reflect.ValueOf(method))
		}
	}
	s.fake.Store(f)
	return s
}

func (s *slot) release() {
	slots.Lock()
	defer slots.Unlock()
	slots.free = append(slots.free, s)
}

// export makes a C function of a method of Fake.
func (s *slot) export(name string, method reflect.Value) uintptr {
	t := method.Type()
	var in []reflect.Type
	for i := 1; i < t.NumIn(); i++ {
		in = append(in, t.In(i))
	}
	signature := reflect.FuncOf(in, []reflect.Type{reflect.TypeFor[code]()}, false)
	call := reflect.MakeFunc(signature, func(args []reflect.Value) []reflect.Value {
		f := s.fake.Load()
		f.mu.Lock()
		defer f.mu.Unlock()
		if c := f.enter(name); c != 0 {
			return []reflect.Value{reflect.ValueOf(c)}
		}
		return method.Call(append([]reflect.Value{reflect.ValueOf(f)}, args...))
	})
	return purego.NewCallback(call.Interface())
}

// functions are the C functions of all libraries, as methods.
var functions = map[string]any{
	"cuInit":                       (*Fake).init,
	"cuDriverGetVersion":           (*Fake).driverVersion,
	"cuGetErrorName":               (*Fake).errorName,
	"cuGetErrorString":             (*Fake).errorString,
	"cuDeviceGetCount":             (*Fake).deviceCount,
	"cuDeviceGet":                  (*Fake).deviceGet,
	"cuDeviceGetName":              (*Fake).deviceName,
	"cuDeviceTotalMem_v2":          (*Fake).deviceMemory,
	"cuDeviceGetAttribute":         (*Fake).deviceAttribute,
	"cuDeviceGetPCIBusId":          (*Fake).deviceBusID,
	"cuDevicePrimaryCtxRetain":     (*Fake).contextRetain,
	"cuDevicePrimaryCtxRelease_v2": (*Fake).contextRelease,
	"cuCtxSetCurrent":              (*Fake).contextSet,
	"cuCtxSetLimit":                (*Fake).contextLimit,
	"cuCtxSynchronize":             (*Fake).contextSynchronize,
	"cuCtxGetStreamPriorityRange":  (*Fake).priorityRange,
	"cuMemGetInfo_v2":              (*Fake).memoryInfo,
	"cuMemAlloc_v2":                (*Fake).memoryAlloc,
	"cuMemFree_v2":                 (*Fake).memoryFree,
	"cuMemHostAlloc":               (*Fake).hostAlloc,
	"cuMemFreeHost":                (*Fake).hostFree,
	"cuMemHostRegister_v2":         (*Fake).hostRegister,
	"cuMemHostUnregister":          (*Fake).hostUnregister,
	"cuMemcpyHtoD_v2":              (*Fake).upload,
	"cuMemcpyDtoH_v2":              (*Fake).download,
	"cuMemcpyHtoDAsync_v2":         (*Fake).uploadAsync,
	"cuMemcpyDtoHAsync_v2":         (*Fake).downloadAsync,
	"cuMemcpyDtoDAsync_v2":         (*Fake).copyAsync,
	"cuMemsetD8Async":              (*Fake).fill8,
	"cuMemsetD32Async":             (*Fake).fill32,
	"cuStreamCreateWithPriority":   (*Fake).streamCreate,
	"cuStreamDestroy_v2":           (*Fake).streamDestroy,
	"cuStreamSynchronize":          (*Fake).streamSynchronize,
	"cuStreamQuery":                (*Fake).streamSynchronize,
	"cuStreamWaitEvent":            (*Fake).streamWait,
	"cuStreamBeginCapture_v2":      (*Fake).captureBegin,
	"cuStreamEndCapture":           (*Fake).captureEnd,
	"cuEventCreate":                (*Fake).eventCreate,
	"cuEventDestroy_v2":            (*Fake).eventDestroy,
	"cuEventRecord":                (*Fake).eventRecord,
	"cuEventSynchronize":           (*Fake).eventSynchronize,
	"cuEventQuery":                 (*Fake).eventSynchronize,
	"cuEventElapsedTime":           (*Fake).eventElapsed,
	"cuModuleLoadDataEx":           (*Fake).moduleLoad,
	"cuModuleUnload":               (*Fake).moduleUnload,
	"cuModuleGetFunction":          (*Fake).moduleFunction,
	"cuModuleGetGlobal_v2":         (*Fake).moduleGlobal,
	"cuFuncGetAttribute":           (*Fake).functionAttribute,
	"cuFuncSetAttribute":           (*Fake).functionSet,
	"cuFuncLoad":                   (*Fake).functionLoad,
	"cuFuncGetParamInfo":           (*Fake).functionParameter,
	"cuLaunchKernel":               (*Fake).launch,
	"cuLaunchKernelEx":             (*Fake).launchExtended,
	"cuGraphInstantiateWithFlags":  (*Fake).graphInstantiate,
	"cuGraphGetNodes":              (*Fake).graphNodes,
	"cuGraphDestroy":               (*Fake).graphDestroy,
	"cuGraphLaunch":                (*Fake).graphLaunch,
	"cuGraphUpload":                (*Fake).graphUpload,
	"cuGraphExecUpdate_v2":         (*Fake).graphUpdate,
	"cuGraphExecDestroy":           (*Fake).execDestroy,

	"cuOccupancyMaxActiveBlocksPerMultiprocessor": (*Fake).occupancy,

	"cublasLtCreate":                       (*Fake).ltCreate,
	"cublasLtDestroy":                      (*Fake).ltDestroy,
	"cublasLtGetVersion":                   (*Fake).ltVersion,
	"cublasLtMatmulDescCreate":             (*Fake).ltDescCreate,
	"cublasLtMatmulDescSetAttribute":       (*Fake).ltSet,
	"cublasLtMatmulDescDestroy":            (*Fake).ltDestroy,
	"cublasLtMatrixLayoutCreate":           (*Fake).ltLayoutCreate,
	"cublasLtMatrixLayoutDestroy":          (*Fake).ltDestroy,
	"cublasLtMatmulPreferenceCreate":       (*Fake).ltCreate,
	"cublasLtMatmulPreferenceSetAttribute": (*Fake).ltSet,
	"cublasLtMatmulPreferenceDestroy":      (*Fake).ltDestroy,
	"cublasLtMatmulAlgoGetHeuristic":       (*Fake).ltHeuristic,
	"cublasLtMatmul":                       (*Fake).ltMatmul,
	"cublasLtGetStatusName":                (*Fake).ltStatusName,

	"nvmlInit_v2":                             (*Fake).nvmlNothing,
	"nvmlShutdown":                            (*Fake).nvmlNothing,
	"nvmlErrorString":                         (*Fake).nvmlErrorString,
	"nvmlSystemGetDriverVersion":              (*Fake).nvmlDriverVersion,
	"nvmlDeviceGetHandleByPciBusId_v2":        (*Fake).nvmlByBusID,
	"nvmlDeviceGetName":                       (*Fake).nvmlName,
	"nvmlDeviceGetMemoryInfo":                 (*Fake).nvmlMemory,
	"nvmlDeviceGetComputeRunningProcesses_v3": (*Fake).nvmlProcesses,
}
