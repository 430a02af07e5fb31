package cuda

import (
	"errors"
	"math"
	"time"
	"unsafe"
)

// Stream is a queue of work on the device: what is put in is done in order,
// beside the program and beside other streams. Errors of the work itself
// appear at a later call.
type Stream struct{ object }

const streamNonBlocking = 1

// NewStream makes a stream that does not wait for the null stream. Streams of
// higher priority go first where the device has room for one only: 0 is
// normal, 1 the next higher and so on, as far as the driver goes.
func (d *Device) NewStream(priority int) (*Stream, error) {
	var least, greatest int32
	if priority != 0 && d.drv.has(cuCtxGetStreamPriorityRange) {
		err := d.call(cuCtxGetStreamPriorityRange, uintptr(unsafe.Pointer(&least)), uintptr(unsafe.Pointer(&greatest)))
		if err != nil {
			return nil, err
		}
	}
	// The driver counts downwards, from 0 for normal.
	level := min(max(int32(-priority), greatest), least)
	var h uintptr
	if err := d.call(cuStreamCreate, uintptr(unsafe.Pointer(&h)), streamNonBlocking, uintptr(level)); err != nil {
		return nil, err
	}
	s := &Stream{}
	d.adopt(&s.object, "stream", h, s)
	return s, nil
}

// Close releases the stream. Work in it is still done.
func (s *Stream) Close() error { return s.release(cuStreamDestroy) }

// Synchronize waits until the stream is empty.
func (s *Stream) Synchronize() error {
	if !s.alive() {
		return s.gone()
	}
	return s.d.quick(cuStreamSynchronize, s.handle, 0, 0, 0)
}

// Done reports whether the stream is empty, without waiting.
func (s *Stream) Done() (bool, error) {
	if !s.alive() {
		return false, s.gone()
	}
	return s.d.ready(cuStreamQuery, s.handle)
}

// ready makes a query, whose answer "not yet" is a code.
func (d *Device) ready(query symbol, handle uintptr) (bool, error) {
	if d.closed {
		return false, d.refuse(query)
	}
	d.scratch.frame[0] = handle
	switch code := int32(invoke(d.drv.addr[query], d.scratch.frame[:1]...)); code {
	case 0:
		return true, nil
	case codeNotReady:
		return false, nil
	default:
		return false, d.failure(query, code)
	}
}

// Wait makes what is put into the stream from now on wait for an event.
func (s *Stream) Wait(e *Event) error {
	if !s.alive() {
		return s.gone()
	}
	if !e.alive() {
		return e.gone()
	}
	return s.d.quick(cuStreamWaitEvent, s.handle, e.handle, 0, 0)
}

// Upload copies n bytes of pinned memory, beginning at from, to the device.
// The bytes must stay as they are until the copy has ended.
func (s *Stream) Upload(dst DevicePtr, src *Pinned, from, n int) error {
	if !s.alive() {
		return s.gone()
	}
	if err := src.within(from, n); err != nil || n == 0 {
		return err
	}
	return s.d.quick(cuMemcpyHtoDAsync, uintptr(dst), src.handle+uintptr(from), uintptr(n), s.handle)
}

// Download copies n bytes of device memory to pinned memory, beginning at at.
// The bytes are there when the stream, or an event after the copy, is done.
func (s *Stream) Download(dst *Pinned, at int, src DevicePtr, n int) error {
	if !s.alive() {
		return s.gone()
	}
	if err := dst.within(at, n); err != nil || n == 0 {
		return err
	}
	return s.d.quick(cuMemcpyDtoHAsync, dst.handle+uintptr(at), uintptr(src), uintptr(n), s.handle)
}

// Copy copies n bytes of device memory. The two ranges must not overlap.
func (s *Stream) Copy(dst, src DevicePtr, n int) error {
	if !s.alive() {
		return s.gone()
	}
	if n == 0 {
		return nil
	}
	return s.d.quick(cuMemcpyDtoDAsync, uintptr(dst), uintptr(src), uintptr(n), s.handle)
}

// Fill sets n bytes of device memory to b.
func (s *Stream) Fill(dst DevicePtr, b byte, n int) error {
	if !s.alive() {
		return s.gone()
	}
	if n == 0 {
		return nil
	}
	return s.d.quick(cuMemsetD8Async, uintptr(dst), uintptr(b), uintptr(n), s.handle)
}

// Fill32 sets n 32-bit words of device memory to w. dst must be a multiple of
// 4.
func (s *Stream) Fill32(dst DevicePtr, w uint32, n int) error {
	if !s.alive() {
		return s.gone()
	}
	if n == 0 {
		return nil
	}
	return s.d.quick(cuMemsetD32Async, uintptr(dst), uintptr(w), uintptr(n), s.handle)
}

// Event marks a place in a stream.
type Event struct {
	object
	timed bool
}

const eventDisableTiming = 2

// NewEvent makes an event. Only timed ones can be used with Elapsed; the
// others are cheaper.
func (d *Device) NewEvent(timed bool) (*Event, error) {
	flags := uintptr(eventDisableTiming)
	if timed {
		flags = 0
	}
	var h uintptr
	if err := d.call(cuEventCreate, uintptr(unsafe.Pointer(&h)), flags); err != nil {
		return nil, err
	}
	e := &Event{timed: timed}
	d.adopt(&e.object, "event", h, e)
	return e, nil
}

// Close releases the event.
func (e *Event) Close() error { return e.release(cuEventDestroy) }

// Record puts the event into a stream: it is done when everything before it
// is. An event recorded again forgets where it was.
func (e *Event) Record(s *Stream) error {
	if !e.alive() {
		return e.gone()
	}
	if !s.alive() {
		return s.gone()
	}
	return e.d.quick(cuEventRecord, e.handle, s.handle, 0, 0)
}

// Synchronize waits for the event. One that was never recorded is done.
func (e *Event) Synchronize() error {
	if !e.alive() {
		return e.gone()
	}
	return e.d.quick(cuEventSynchronize, e.handle, 0, 0, 0)
}

// Done reports whether the event is done, without waiting.
func (e *Event) Done() (bool, error) {
	if !e.alive() {
		return false, e.gone()
	}
	return e.d.ready(cuEventQuery, e.handle)
}

// Elapsed returns the time from start to e, both timed and done, to about half
// a microsecond.
func (e *Event) Elapsed(start *Event) (time.Duration, error) {
	if !e.alive() {
		return 0, e.gone()
	}
	if !start.alive() {
		return 0, start.gone()
	}
	if !e.timed || !start.timed {
		return 0, errors.New("cuda: time between events that were made without timing")
	}
	var ms float32
	if err := e.d.call(cuEventElapsedTime, uintptr(unsafe.Pointer(&ms)), start.handle, e.handle); err != nil {
		return 0, explain(err, "both events must have been recorded and be done")
	}
	return time.Duration(math.Round(float64(ms) * float64(time.Millisecond))), nil
}
