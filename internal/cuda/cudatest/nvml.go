package cudatest

import (
	"fmt"
	"os"
	"unsafe"
)

// Codes of NVML.
const (
	nvmlFound        code = 0
	nvmlNotFound     code = 6
	nvmlInsufficient code = 7
)

func (f *Fake) nvmlNothing() code { return nvmlFound }

func (f *Fake) nvmlErrorString(int32) code { return code(uintptr(unsafe.Pointer(&nvmlErrorText[0]))) }

func (f *Fake) nvmlDriverVersion(p *byte, n uint32) code {
	put(p, int32(n), "580.0.fake")
	return nvmlFound
}

func (f *Fake) nvmlByBusID(id *byte, h *uintptr) code {
	for _, d := range f.devices {
		if ctext(id) == fmt.Sprintf("0000:%02x:00.0", d.number+1) {
			*h = d.context
			return nvmlFound
		}
	}
	return nvmlNotFound
}

func (f *Fake) byHandle(h uintptr) *device {
	for _, d := range f.devices {
		if d.context == h {
			return d
		}
	}
	return nil
}

func (f *Fake) nvmlName(h uintptr, p *byte, n uint32) code {
	put(p, int32(n), f.byHandle(h).Name)
	return nvmlFound
}

func (f *Fake) nvmlMemory(h uintptr, m *[3]uint64) code {
	d := f.byHandle(h)
	*m = [3]uint64{uint64(d.Memory), uint64(d.Memory - d.used), uint64(d.used)}
	return nvmlFound
}

// nvmlProcess is C's nvmlProcessInfo_t.
type nvmlProcess struct {
	pid  uint32
	used uint64
	_    [2]uint32 // instances
}

// nvmlProcesses reports this process behind a hundred others.
func (f *Fake) nvmlProcesses(h uintptr, n *uint32, list *nvmlProcess) code {
	const all = 101
	if *n < all {
		*n = all
		return nvmlInsufficient
	}
	*n = all
	rows := unsafe.Slice(list, all)
	for i := range rows {
		rows[i] = nvmlProcess{pid: uint32(1<<30 + i), used: 1}
	}
	rows[all-1] = nvmlProcess{pid: uint32(os.Getpid()), used: uint64(f.byHandle(h).used)}
	return nvmlFound
}
