package godwit

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"
)

var (
	globalMemoryStatus   = windows.NewLazySystemDLL("kernel32.dll").NewProc("GlobalMemoryStatusEx")
	getProcessMemoryInfo = windows.NewLazySystemDLL("kernel32.dll").NewProc("K32GetProcessMemoryInfo")
)

// memoryStatus is MEMORYSTATUSEX.
type memoryStatus struct {
	length, load                                  uint32
	totalPhysical, availablePhysical              uint64
	totalPageFile, availablePageFile              uint64
	totalVirtual, availableVirtual, extendedSpace uint64
}

// freeMemory returns the physical memory that is available; 0: not known.
func freeMemory() int64 {
	var s memoryStatus
	s.length = uint32(unsafe.Sizeof(s))
	if ok, _, _ := globalMemoryStatus.Call(uintptr(unsafe.Pointer(&s))); ok == 0 {
		return 0
	}
	return int64(s.availablePhysical)
}

// memoryCounters is PROCESS_MEMORY_COUNTERS.
type memoryCounters struct {
	length, faults                 uint32
	peakWorkingSet, workingSet     uintptr
	peakPagedPool, pagedPool       uintptr
	peakNonPagedPool, nonPagedPool uintptr
	pageFile, peakPageFile         uintptr
}

// residentMemory returns the bytes of main memory that this process uses.
func residentMemory() (int64, error) {
	var c memoryCounters
	c.length = uint32(unsafe.Sizeof(c))
	if ok, _, err := getProcessMemoryInfo.Call(uintptr(windows.CurrentProcess()), uintptr(unsafe.Pointer(&c)), uintptr(c.length)); ok == 0 {
		return 0, fmt.Errorf("K32GetProcessMemoryInfo: %w", err)
	}
	return int64(c.workingSet), nil
}
