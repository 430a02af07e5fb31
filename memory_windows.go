package godwit

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

var globalMemoryStatus = windows.NewLazySystemDLL("kernel32.dll").NewProc("GlobalMemoryStatusEx")

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
