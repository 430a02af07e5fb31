package cuda

import (
	"errors"
	"fmt"
	"strings"
)

// Classes of errors, for errors.Is.
var (
	// ErrNoLibrary: a library is not on this machine or cannot be loaded.
	// The error is a *LibraryError.
	ErrNoLibrary = errors.New("cuda: library not found")

	// ErrDriverTooOld: the driver is older than MinVersion, or older than
	// what a kernel image was built for.
	ErrDriverTooOld = errors.New("cuda: driver too old")

	// ErrNoDevice: there is no GPU, or none with the wanted number.
	ErrNoDevice = errors.New("cuda: no device")

	// ErrUnsupportedDevice: the compute capability is below MinCapability, or
	// an image holds no code for the device.
	ErrUnsupportedDevice = errors.New("cuda: unsupported device")

	// ErrOutOfMemory: device memory or pinned host memory ran out. The device
	// can still be used.
	ErrOutOfMemory = errors.New("cuda: out of memory")

	// ErrSticky: the device failed in the middle of its work. Every later
	// call on the device fails too; only closing it is of use.
	ErrSticky = errors.New("cuda: the device has failed")

	// ErrNotAvailable: the library or the device lacks an optional feature.
	ErrNotAvailable = errors.New("cuda: not available")

	// ErrClosed: something was used after it was closed.
	ErrClosed = errors.New("cuda: closed")
)

// Error is a call that failed.
type Error struct {
	Call   string // the C function: "cuMemAlloc_v2"
	Name   string // the code's name: "CUDA_ERROR_OUT_OF_MEMORY"; empty if unknown
	Code   int    // the code
	Text   string // the library's own description
	Detail string // what was wanted and what was there, or empty

	class error
}

// Error describes the failure in one line.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "cuda: %s: ", e.Call)
	if e.Name != "" {
		fmt.Fprintf(&b, "%s (%d)", e.Name, e.Code)
	} else {
		fmt.Fprintf(&b, "code %d", e.Code)
	}
	if e.Text != "" {
		b.WriteString(": " + e.Text)
	}
	if e.Detail != "" {
		b.WriteString("; " + e.Detail)
	}
	return b.String()
}

// Unwrap returns the error's class, or nil.
func (e *Error) Unwrap() error { return e.class }

// LibraryError says that a library could not be opened, what was tried and
// what to do. Its class is ErrNoLibrary.
type LibraryError struct {
	Library string   // "NVIDIA driver", "cuBLASLt", "NVML"
	Tried   []string // names and files, in order
	Cause   string   // the loader's words about the first file that exists, else about the first name
	Advice  string
}

// Error describes the failure in one line.
func (e *LibraryError) Error() string {
	tried := e.Tried
	more := ""
	if len(tried) > 4 {
		more = fmt.Sprintf(" and %d more places", len(tried)-3)
		tried = tried[:3]
	}
	text := fmt.Sprintf("cuda: no %s: tried %s%s", e.Library, strings.Join(tried, ", "), more)
	if e.Cause != "" {
		text += " (" + e.Cause + ")"
	}
	if e.Advice != "" {
		text += "; " + e.Advice
	}
	return text
}

// Unwrap returns ErrNoLibrary.
func (e *LibraryError) Unwrap() error { return ErrNoLibrary }

// classed is an error of ours, not of a call: a text and its class.
type classed struct {
	class error
	text  string
}

func (e *classed) Error() string { return e.text }
func (e *classed) Unwrap() error { return e.class }

func classf(class error, format string, args ...any) error {
	return &classed{class, "cuda: " + fmt.Sprintf(format, args...)}
}

// Codes of the driver that this package acts upon.
const (
	codeInvalidValue   = 1
	codeOutOfMemory    = 2
	codeStubLibrary    = 34
	codeNewerDriver    = 36
	codeNoDevice       = 100
	codeInvalidDevice  = 101
	codeNoBinary       = 209
	codeECC            = 214
	codeNVLink         = 220
	codeUnsupportedPTX = 222
	codeContained      = 226
	codeNotReady       = 600
	codeIllegalAddress = 700
	codeLaunchTimeout  = 702
	codeDestroyed      = 709
	codeAssert         = 710
	codeStackError     = 714
	codeLaunchFailed   = 719
	codeTensorMemory   = 721
	codeUpdateFailed   = 910
)

// driverClass returns the class of a driver's code, or nil. The codes from 714
// to 719 are faults of running kernels: stack, illegal instruction, misaligned
// address, address space, program counter, launch failure.
func driverClass(code int) error {
	switch code {
	case codeOutOfMemory:
		return ErrOutOfMemory
	case codeStubLibrary:
		return ErrNoLibrary
	case codeNewerDriver, codeUnsupportedPTX:
		return ErrDriverTooOld
	case codeNoDevice, codeInvalidDevice:
		return ErrNoDevice
	case codeNoBinary:
		return ErrUnsupportedDevice
	case codeECC, codeNVLink, codeContained, codeIllegalAddress, codeLaunchTimeout,
		codeDestroyed, codeAssert, codeTensorMemory:
		return ErrSticky
	}
	if code >= codeStackError && code <= codeLaunchFailed {
		return ErrSticky
	}
	return nil
}

// explain adds a detail to a failed call. Other errors stay as they are.
func explain(err error, format string, args ...any) error {
	var e *Error
	if errors.As(err, &e) && e.Detail == "" {
		e.Detail = fmt.Sprintf(format, args...)
	}
	return err
}

// bytes writes a number of bytes for people: "8.00 GB", "52.4 MB", "100 bytes".
func bytes(n uint64) string {
	switch v := float64(n); {
	case v >= 1e9:
		return fmt.Sprintf("%.2f GB", v/1e9)
	case v >= 1e6:
		return fmt.Sprintf("%.1f MB", v/1e6)
	}
	return fmt.Sprintf("%d bytes", n)
}
