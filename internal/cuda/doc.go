// Package cuda calls the CUDA driver, cuBLASLt and NVML. The libraries are
// opened at run time: nothing is linked, no C compiler is needed, and a
// machine without them gets an error that says so.
//
// The package knows the calls: their names, arguments, structures and codes,
// and who must give what back. It does not know models, tensors, kernels or
// the environment; where to look for libraries is told by the caller.
//
// # Ownership
//
// A [Device] belongs to the goroutine that opened it. Opening locks the
// goroutine to its thread, because the driver's context is a property of the
// thread; closing unlocks it. Everything made from a device – [Buffer],
// [Pinned], [Stream], [Event], [Module], [Graph], [Exec], [BLAS] – is used by
// the same goroutine and is released by its own Close or by the device's.
// Using something closed is an error ([ErrClosed]); closing it again does
// nothing. Other goroutines may read and write the bytes of pinned memory.
//
// # Speed
//
// Launches, copies, events and graph launches are meant for the inner loop:
// they allocate nothing and cost little more than the driver's own work.
// Everything else may allocate.
//
// # Errors
//
// A failed call is an [*Error] with the call, the driver's code and text, and
// what was wanted. Classes of errors ([ErrOutOfMemory], [ErrSticky] and so on)
// are found with [errors.Is].
package cuda
