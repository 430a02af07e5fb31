package cuda

import (
	"fmt"
	"unsafe"
)

// DevicePtr is an address in device memory. Sums of an address and a number of
// bytes are addresses; 0 is none.
type DevicePtr uintptr

// Buffer is a piece of device memory.
type Buffer struct {
	object
	size int
}

// Alloc returns n bytes of device memory, aligned to 256 bytes, undefined in
// content. It fails with ErrOutOfMemory, saying how much was free.
func (d *Device) Alloc(n int) (*Buffer, error) {
	if n <= 0 {
		return nil, fmt.Errorf("cuda: cannot allocate %d bytes of device memory", n)
	}
	var p DevicePtr
	if err := d.call(cuMemAlloc, uintptr(unsafe.Pointer(&p)), uintptr(n)); err != nil {
		if driverCode(err) == codeOutOfMemory {
			free, _, _ := d.Memory()
			explain(err, "wanted %s, free %s", bytes(uint64(n)), bytes(free))
		}
		return nil, err
	}
	b := &Buffer{size: n}
	d.adopt(&b.object, "buffer", uintptr(p), b)
	return b, nil
}

// Ptr returns the buffer's address; 0 after Close.
func (b *Buffer) Ptr() DevicePtr { return DevicePtr(b.handle) }

// Size returns the buffer's bytes.
func (b *Buffer) Size() int { return b.size }

// Close frees the memory. The driver waits for work that uses it.
func (b *Buffer) Close() error { return b.release(cuMemFree) }

// Pinned is host memory that the device reads and writes by itself, so that
// copies run beside the program. Its bytes may be used by any goroutine, and
// not at all after Close.
type Pinned struct {
	object
	mem        []byte
	registered bool
	shared     bool // the device has it at the host's address
}

// Flags of pinned memory.
const (
	hostPortable         = 0x1 // for all contexts of the process
	hostWriteCombined    = 0x4
	hostRegisterReadOnly = 0x8
)

// AllocHost returns n bytes of pinned host memory, aligned to a page.
// writeCombined memory is for writing in order only: reading it is very slow.
func (d *Device) AllocHost(n int, writeCombined bool) (*Pinned, error) {
	if n <= 0 {
		return nil, fmt.Errorf("cuda: cannot allocate %d bytes of pinned host memory", n)
	}
	flags := uintptr(hostPortable)
	if writeCombined {
		flags |= hostWriteCombined
	}
	// A pointer type, although C writes it: memory outside of Go's heap may
	// be held by one, and no integer has to become an address.
	var p *byte
	if err := d.call(cuMemHostAlloc, uintptr(unsafe.Pointer(&p)), uintptr(n), flags); err != nil {
		return nil, explain(err, "wanted %s of pinned host memory", bytes(uint64(n)))
	}
	h := &Pinned{mem: unsafe.Slice(p, n), shared: !writeCombined}
	d.adopt(&h.object, "pinned memory", uintptr(unsafe.Pointer(p)), h)
	return h, nil
}

// Register pins memory that is there already, such as a mapped file, which is
// read-only then. The memory must outlive the result. Devices and systems that
// cannot do it give an error; copy through AllocHost there.
func (d *Device) Register(mem []byte, readOnly bool) (*Pinned, error) {
	if len(mem) == 0 {
		return nil, fmt.Errorf("cuda: cannot register 0 bytes of host memory")
	}
	flags := uintptr(hostPortable)
	if readOnly {
		flags |= hostRegisterReadOnly
	}
	if err := d.call(cuMemHostRegister, uintptr(unsafe.Pointer(&mem[0])), uintptr(len(mem)), flags); err != nil {
		return nil, explain(err, "wanted to pin %s of mapped memory", bytes(uint64(len(mem))))
	}
	h := &Pinned{mem: mem, registered: true}
	d.adopt(&h.object, "pinned memory", uintptr(unsafe.Pointer(&mem[0])), h)
	return h, nil
}

// Bytes returns the memory; nil after Close.
func (p *Pinned) Bytes() []byte { return p.mem }

// Ptr returns the address at which kernels find the memory: the host's, since
// there is one address space for all. Memory that was registered or combines
// writes may lie elsewhere for a device; it has none, 0, and neither has any
// after Close. What a kernel has written is seen here when the stream, or an
// event after the kernel, is done.
func (p *Pinned) Ptr() DevicePtr {
	if !p.shared {
		return 0
	}
	return DevicePtr(p.handle)
}

// Size returns the number of bytes; 0 after Close.
func (p *Pinned) Size() int { return len(p.mem) }

// Close unpins the memory, and frees it unless it was registered. Copies that
// use it must have ended.
func (p *Pinned) Close() error {
	p.mem = nil
	if p.registered {
		return p.release(cuMemHostUnregister)
	}
	return p.release(cuMemFreeHost)
}

// within checks that n bytes from from lie in the memory.
func (p *Pinned) within(from, n int) error {
	if !p.alive() {
		return p.gone()
	}
	if from < 0 || n < 0 || from > len(p.mem)-n {
		return fmt.Errorf("cuda: bytes [%d, %d) of pinned memory of %d bytes", from, from+n, len(p.mem))
	}
	return nil
}

// View sees bytes as numbers in the host's order. It panics if the bytes are
// not aligned for T; memory of a Pinned is, at multiples of T's size. Bytes
// past the last whole number are left out.
func View[T int8 | uint8 | int16 | uint16 | int32 | uint32 | int64 | uint64 | float32 | float64](b []byte) []T {
	var zero T
	n := len(b) / int(unsafe.Sizeof(zero))
	if n == 0 {
		return nil
	}
	p := unsafe.Pointer(unsafe.SliceData(b))
	if uintptr(p)%unsafe.Alignof(zero) != 0 {
		panic("cuda: View of unaligned bytes")
	}
	return unsafe.Slice((*T)(p), n)
}

// Upload copies src to the device and waits until it is there, for streams
// too. It is not for the inner loop: see Stream.Upload.
func (d *Device) Upload(dst DevicePtr, src []byte) error {
	if len(src) == 0 {
		return nil
	}
	if err := d.call(cuMemcpyHtoD, uintptr(dst), uintptr(unsafe.Pointer(&src[0])), uintptr(len(src))); err != nil {
		return err
	}
	// From pageable memory the call returns when the bytes are staged. The
	// end of the null stream is their arrival.
	return d.call(cuStreamSynchronize, 0)
}

// Download copies device memory to dst and waits for it. Work in streams that
// writes src must have ended.
func (d *Device) Download(dst []byte, src DevicePtr) error {
	if len(dst) == 0 {
		return nil
	}
	return d.call(cuMemcpyDtoH, uintptr(unsafe.Pointer(&dst[0])), uintptr(src), uintptr(len(dst)))
}

// driverCode returns the code of a failed call, 0 for other errors.
func driverCode(err error) int {
	if e, ok := err.(*Error); ok {
		return e.Code
	}
	return 0
}
