package cuda

import (
	"errors"
	"runtime"
	"slices"
	"unsafe"
)

// Device is a GPU in use: its primary context, current on the thread of the
// goroutine that opened it. All methods, and those of everything made from it,
// belong to that goroutine.
type Device struct {
	drv     *Driver
	info    Info
	dev     uintptr
	closed  bool
	fault   error // the first sticky error
	live    map[uint64]closer
	serial  uint64
	scratch *scratch
}

// closer is a thing that a device must release.
type closer interface{ Close() error }

// object is what everything made from a device has in common.
type object struct {
	d      *Device
	id     uint64
	handle uintptr
	kind   string
}

// Open takes a device into use and locks the calling goroutine to its thread
// until Close. It fails with ErrNoDevice, ErrUnsupportedDevice or an *Error.
func (d *Driver) Open(ordinal int) (*Device, error) {
	info, err := d.Info(ordinal)
	if err != nil {
		return nil, err
	}
	if info.Capability < MinCapability {
		return nil, classf(ErrUnsupportedDevice, "device %d (%s) has compute capability %v, want %v or later; use another one, or run on the CPU",
			ordinal, info.Name, info.Capability, MinCapability)
	}
	dev, err := d.device(ordinal)
	if err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	var ctx uintptr
	err = d.call(cuPrimaryCtxRetain, uintptr(unsafe.Pointer(&ctx)), dev)
	if err == nil {
		if err = d.call(cuCtxSetCurrent, ctx); err != nil {
			err = errors.Join(err, d.call(cuPrimaryCtxRelease, dev))
		}
	}
	if err != nil {
		runtime.UnlockOSThread()
		return nil, explain(err, "device %d (%s)", ordinal, info.Name)
	}
	d.limitStacks()
	return &Device{drv: d, info: info, dev: dev, live: map[uint64]closer{}, scratch: newScratch()}, nil
}

// StackBytes is the stack that a device reserves for each of all threads that it
// can run at once: 69 MB on an H200, where the driver's own choice of 1 KiB takes
// 277. For a kernel that needs more the driver enlarges all stacks when it is
// launched, and they stay that large: kernels should be content with this.
const StackBytes = 256

// limitStacks has the driver reserve no more than StackBytes. Whether it obeys
// does not matter.
func (d *Driver) limitStacks() {
	const stack = 0
	if d.has(cuCtxSetLimit) {
		_ = d.call(cuCtxSetLimit, stack, StackBytes)
	}
}

// Info describes the device.
func (d *Device) Info() Info { return d.info }

// Driver returns the driver that the device was opened with.
func (d *Device) Driver() *Driver { return d.drv }

// Fault returns the first error that made the device unusable, or nil.
func (d *Device) Fault() error { return d.fault }

// Memory returns the device's free and total memory in bytes, as all processes
// together leave it.
func (d *Device) Memory() (free, total uint64, err error) {
	err = d.call(cuMemGetInfo, uintptr(unsafe.Pointer(&free)), uintptr(unsafe.Pointer(&total)))
	return free, total, err
}

// Synchronize waits for everything that was started on the device. Errors of
// earlier work appear here.
func (d *Device) Synchronize() error { return d.call(cuCtxSynchronize) }

// Close releases everything made from the device, the latest first, and the
// device itself. After a sticky error there is nothing left that could be
// released properly, so that Close then reports nothing.
func (d *Device) Close() error {
	if d.closed {
		return nil
	}
	err := d.quiesce()
	ids := make([]uint64, 0, len(d.live))
	for id := range d.live {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range slices.Backward(ids) {
		if thing, ok := d.live[id]; ok {
			err = errors.Join(err, thing.Close())
		}
	}
	err = errors.Join(err, d.call(cuCtxSetCurrent, 0), d.call(cuPrimaryCtxRelease, d.dev))
	d.closed = true
	runtime.UnlockOSThread()
	if d.fault != nil {
		return nil
	}
	return err
}

// failed asks the device whether it has failed.
func (d *Device) failed() bool {
	_ = d.Synchronize() // a fault is remembered
	return d.fault != nil
}

// quiesce lets running work end before its memory goes.
func (d *Device) quiesce() error {
	if d.fault != nil {
		return nil
	}
	return d.Synchronize()
}

// call calls a function of the driver and remembers the first sticky error.
// Addresses converted to uintptr in the argument list stay alive and in place
// for the time of the call. The list itself is allocated: see quick.
//
//go:uintptrescapes
func (d *Device) call(s symbol, args ...uintptr) error {
	fn := d.drv.addr[s]
	if fn == 0 || d.closed {
		return d.refuse(s)
	}
	if code := int32(invoke(fn, args...)); code != 0 {
		return d.failure(s, code)
	}
	return nil
}

// quick is call for the inner loop: it allocates nothing. C functions with
// fewer than four arguments do not see the others.
//
//go:uintptrescapes
func (d *Device) quick(s symbol, a, b, c, e uintptr) error {
	d.scratch.frame[0], d.scratch.frame[1], d.scratch.frame[2], d.scratch.frame[3] = a, b, c, e
	return d.run(s, 4)
}

// run calls a function of the driver with the first n words of the frame.
func (d *Device) run(s symbol, n int) error {
	fn := d.drv.addr[s]
	if fn == 0 || d.closed {
		return d.refuse(s)
	}
	if code := int32(invoke(fn, d.scratch.frame[:n]...)); code != 0 {
		return d.failure(s, code)
	}
	return nil
}

// refuse is the error about a call that cannot be made.
func (d *Device) refuse(s symbol) error {
	if d.closed {
		return classf(ErrClosed, "device %d is closed", d.info.Ordinal)
	}
	return d.drv.absent(s)
}

func (d *Device) failure(s symbol, code int32) error {
	err := d.drv.failure(s, code)
	if d.fault == nil && errors.Is(err, ErrSticky) {
		d.fault = err
	}
	return err
}

// adopt makes the device responsible for a thing.
func (d *Device) adopt(o *object, kind string, handle uintptr, thing closer) {
	d.serial++
	*o = object{d: d, id: d.serial, handle: handle, kind: kind}
	d.live[o.id] = thing
}

// alive reports whether the object can be used.
func (o *object) alive() bool { return o.handle != 0 }

// gone is the error about an object that cannot be used.
func (o *object) gone() error {
	if o.d == nil {
		return classf(ErrClosed, "the value is zero: it was not made from a device")
	}
	return classf(ErrClosed, "this %s is closed", o.kind)
}

// release ends an object with the call that releases its handle.
func (o *object) release(s symbol) error {
	if !o.alive() {
		return nil
	}
	handle := o.handle
	o.handle = 0
	delete(o.d.live, o.id)
	err := o.d.call(s, handle)
	if o.d.fault != nil {
		return nil // the context is gone, and its things with it
	}
	return err
}
