package kernels

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// Options configure a backend.
type Options struct {
	Act        ops.DType // of activations, caches and linear layers: BF16, F16 or F32
	ArenaBytes int64     // a hint: what will be asked for in all; 0: unknown
	CublasDirs []string  // folders to look for cuBLASLt in, before the usual ones
	NoLibrary  bool      // go without cuBLASLt although it may be there
	Readers    int       // goroutines that read weights; 0: one for every core, 16 at most
	Eager      bool      // launch kernels one by one, without graphs
	Unfused    bool      // a kernel for each operation
}

// Backend computes on one GPU. It belongs to the goroutine that owns the
// device.
type Backend struct {
	dev    *cuda.Device
	opt    Options
	stream *cuda.Stream
	args   cuda.Args
	err    error // the first since the last report

	images images
	opened [parts]bool
	arena  arena
	loader loader
	step   step
	graphs graphs
	held   operation // waits for the next one, see fuse

	embedding embedding
	norm      norm
	rotary    rotary
	elements  elements
	linear    linear
	gemm      gemm
	attention attention
	clusters  clusterAttention
	prompt    prompt
	int8, fp8 cacheKernels
	routing   routing
	experts   experts
	moe       moe
	sampler   sampler

	mamba       mamba
	convolution convolution
	scan        scan
	chunks      chunks
	gatedNorm   gatedNorm
	making      random
	hosts       hosts
}

var _ ops.Backend = (*Backend)(nil)

// New returns a backend on a device that stays the caller's: Close gives back
// what the backend took, and leaves the device open.
func New(dev *cuda.Device, opt Options) (*Backend, error) {
	if opt.Act != ops.F32 && opt.Act != ops.BF16 && opt.Act != ops.F16 {
		return nil, fmt.Errorf("kernels: activations of type %s, want BF16, F16 or F32", opt.Act)
	}
	b := &Backend{dev: dev, opt: opt, images: images{dev: dev}}
	b.arena = arena{dev: dev, hint: opt.ArenaBytes}
	if err := b.open(); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// family is the state of a family of kernels.
type family interface {
	open(b *Backend) error // finds kernels, reserves memory
	close() error          // gives back what the backend's arena does not hold
}

// part is a set of families that not every model needs: their code is loaded
// when a model asks for the memory that they work on.
type part uint8

const (
	recurrences   part = iota // of Mamba-2: State
	mixtures                  // of experts: Routes
	randomWeights             // Weights that are made up
	int8Caches                // Cache in INT8
	fp8Caches                 // Cache in FP8
	parts
)

// common lists the families that every model needs.
func (b *Backend) common() []family {
	return []family{&b.embedding, &b.norm, &b.rotary, &b.elements, &b.linear, &b.gemm, &b.attention, &b.clusters, &b.prompt, &b.sampler, &b.hosts}
}

// of lists the families of a part.
func (b *Backend) of(p part) []family {
	return [parts][]family{
		recurrences:   {&b.mamba, &b.convolution, &b.scan, &b.chunks, &b.gatedNorm},
		mixtures:      {&b.routing, &b.experts, &b.moe},
		randomWeights: {&b.making},
		int8Caches:    {&b.int8},
		fp8Caches:     {&b.fp8},
	}[p]
}

// need opens the families of a part, once.
func (b *Backend) need(p part) error {
	if b.opened[p] {
		return nil
	}
	for _, f := range b.of(p) {
		if err := f.open(b); err != nil {
			return err
		}
	}
	b.opened[p] = true
	return nil
}

func (b *Backend) open() error {
	var err error
	if b.stream, err = b.dev.NewStream(0); err != nil {
		return err
	}
	if b.step.load, err = b.kernel("embed", "load_batch"); err != nil {
		return err
	}
	for _, f := range b.common() {
		if err := f.open(b); err != nil {
			return err
		}
	}
	return nil
}

// Close gives all memory back. The device stays open. Closing again does
// nothing.
func (b *Backend) Close() error {
	var errs []error
	b.graphs.mode = plain
	if b.stream != nil && b.dev.Fault() == nil {
		errs = append(errs, b.stream.Synchronize())
	}
	errs = append(errs, b.graphs.clear())
	for p := range parts {
		for _, f := range b.of(p) {
			errs = append(errs, f.close())
		}
		b.opened[p] = false
	}
	for _, f := range b.common() {
		errs = append(errs, f.close())
	}
	errs = append(errs, b.step.close(), b.arena.close(), b.images.close())
	if b.stream != nil {
		errs = append(errs, b.stream.Close())
		b.stream = nil
	}
	return errors.Join(errs...)
}

// suffix ends the names of the kernels for a type.
func suffix(t ops.DType) string {
	switch t {
	case ops.BF16:
		return "bf16"
	case ops.F16:
		return "f16"
	default:
		return "f32"
	}
}

// kernel finds a kernel in the image of a source: norm_bf16 in norm.cu.
func (b *Backend) kernel(source, name string) (*cuda.Function, error) {
	return b.images.function(source, name)
}

// typed finds the instance of a kernel for the activation type.
func (b *Backend) typed(source, name string) (*cuda.Function, error) {
	return b.images.function(source, name+"_"+suffix(b.opt.Act))
}

// parameters returns the list for the parameters of the next launch, empty.
// What graphs know nothing of comes after all that was put off.
func (b *Backend) parameters() *cuda.Args {
	if b.graphs.mode == replaying {
		b.deviate()
	}
	b.release()
	return b.args.Reset()
}

// launch puts a kernel into the stream, to begin while the one before it ends.
// After an error nothing is launched until the error was reported.
func (b *Backend) launch(f *cuda.Function, grid, block cuda.Dim, shared int, args *cuda.Args) {
	b.start(f, cuda.Launch{Grid: grid, Block: block, Shared: shared, Overlap: true}, args)
}

// The first one of a step waits until the batch is on the device and all earlier
// steps have ended: kernels read both before they wait for the one ahead. A graph
// waits by itself.
func (b *Backend) start(f *cuda.Function, l cuda.Launch, args *cuda.Args) {
	if b.step.loaded {
		l.Overlap, b.step.loaded = false, false
	}
	if b.err == nil {
		b.fail(b.stream.Launch(f, l, args))
	}
}

// fail keeps the first error; nil is none.
func (b *Backend) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// report returns the first error and forgets it, unless the device has failed
// for good.
func (b *Backend) report() error {
	err := b.err
	if fault := b.dev.Fault(); fault != nil {
		if err == nil {
			err = fault
		}
		return err
	}
	b.err = nil
	return err
}

// wait waits for the step to end and reports what went wrong in it.
func (b *Backend) wait() error {
	b.settle()
	b.fail(b.stream.Synchronize())
	return b.report()
}

// address returns where a tensor lies on the device.
func address(t ops.Tensor) cuda.DevicePtr { return cuda.DevicePtr(uintptr(t.Addr)) }

// pointer is the opposite of address. Nothing on the host looks behind it.
func pointer(p cuda.DevicePtr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

// tensor returns a dense matrix at an address.
func tensor(p cuda.DevicePtr, t ops.DType, rows, cols int) ops.Tensor {
	return ops.Tensor{Addr: pointer(p), Type: t, Rows: rows, Cols: cols, Stride: cols}
}
