// Package kernels carries out the operations of package ops on an NVIDIA GPU.
//
// Each family of operations is a triple: name.cu holds the kernels, with the
// formula and the launch shape at its head, name.go fills in their parameters,
// name_test.go compares with the plain Go operation. The kernels are compiled
// ahead of time (docs/KERNELS.md) and embedded as images.
//
// The package knows tensors and the device. It does not know models,
// checkpoints or requests.
//
// # Types
//
// A backend computes with one activation type A, chosen when it is made: BF16,
// F16 or F32. Activations, cache pages and the matrices of linear layers are
// of type A; weights stored in another type are converted while they are
// loaded. The residual stream, logits and small constants are float32. Sums
// are float32 everywhere.
//
// # Errors
//
// Operations return nothing. The first error of a launch or of the device is
// kept and reported by the next Sample, Read or Begin.
//
// # Graphs
//
// Steps with one token of each sequence are recorded and from then on launched
// as one, see graphs. For this every operation begins with Backend.later.
// Grids and parameters of launches must not depend on the batch beyond the
// numbers of tokens, sequences and outputs, unless they do so in steps alone
// that hold longer pieces.
package kernels
