package cuda

import (
	"errors"
	"fmt"
	"math/bits"
	"unsafe"
)

// BLASLt is the opened cuBLASLt library: matrix products tuned by NVIDIA. It is
// safe for concurrent use and lives as long as the process.
type BLASLt struct{ table }

// The library's functions that this package calls.
const (
	ltCreate symbol = iota
	ltDestroy
	ltGetVersion
	ltDescCreate
	ltDescSet
	ltDescDestroy
	ltLayoutCreate
	ltLayoutDestroy
	ltPreferenceCreate
	ltPreferenceSet
	ltPreferenceDestroy
	ltHeuristic
	ltMatmul
	ltStatusName
)

var ltEntries = []entry{
	ltCreate:            {name: "cublasLtCreate"},
	ltDestroy:           {name: "cublasLtDestroy"},
	ltGetVersion:        {name: "cublasLtGetVersion"},
	ltDescCreate:        {name: "cublasLtMatmulDescCreate"},
	ltDescSet:           {name: "cublasLtMatmulDescSetAttribute"},
	ltDescDestroy:       {name: "cublasLtMatmulDescDestroy"},
	ltLayoutCreate:      {name: "cublasLtMatrixLayoutCreate"},
	ltLayoutDestroy:     {name: "cublasLtMatrixLayoutDestroy"},
	ltPreferenceCreate:  {name: "cublasLtMatmulPreferenceCreate"},
	ltPreferenceSet:     {name: "cublasLtMatmulPreferenceSetAttribute"},
	ltPreferenceDestroy: {name: "cublasLtMatmulPreferenceDestroy"},
	ltHeuristic:         {name: "cublasLtMatmulAlgoGetHeuristic"},
	ltMatmul:            {name: "cublasLtMatmul"},
	ltStatusName:        {name: "cublasLtGetStatusName", optional: true},
}

// ltProduct describes the versions that a driver can run: 13 needs a driver
// for CUDA 13, 12 runs with all.
func ltProduct(driver Version) product {
	p := product{
		name:   "cuBLASLt",
		linux:  []string{"libcublasLt.so.12"},
		win:    []string{"cublasLt64_12.dll"},
		wheels: []string{"nvidia/cublas/lib", `nvidia\cublas\bin`},
		usual:  true,
		advice: "install the CUDA toolkit or the wheel nvidia-cublas, or go without it",
	}
	if driver >= 13000 {
		p.linux = append([]string{"libcublasLt.so.13"}, p.linux...)
		p.win = append([]string{"cublasLt64_13.dll"}, p.win...)
		p.wheels = append(p.wheels, "nvidia/cu13/lib", `nvidia\cu13\bin\x86_64`)
	}
	return p
}

// LoadBLASLt opens cuBLASLt in a version that suits the driver. Without it, the
// error's class is ErrNoLibrary: a result to go on with, not a failure.
func LoadBLASLt(o Options, driver Version) (*BLASLt, error) {
	p := ltProduct(driver)
	t, missing, err := open(o, p, ltEntries)
	if err != nil {
		return nil, err
	}
	if missing != "" {
		return nil, &LibraryError{Library: p.name, Tried: []string{t.file}, Cause: "it lacks " + missing, Advice: p.advice}
	}
	return &BLASLt{t}, nil
}

// LoadBLASLt is LoadBLASLt for this driver's version, by the same way of
// opening libraries.
func (d *Driver) LoadBLASLt(dirs []string) (*BLASLt, error) {
	return LoadBLASLt(Options{Dirs: dirs, Open: d.open}, d.version)
}

// Version returns the library's version as "12.8.4".
func (l *BLASLt) Version() string {
	v := int(invoke(l.addr[ltGetVersion]))
	return fmt.Sprintf("%d.%d.%d", v/10000, v/100%100, v%100)
}

// File returns the name or path that the library was opened by.
func (l *BLASLt) File() string { return l.file }

//go:uintptrescapes
func (l *BLASLt) call(s symbol, args ...uintptr) error {
	if status := int32(invoke(l.addr[s], args...)); status != 0 {
		return l.failure(s, status)
	}
	return nil
}

// Statuses with a meaning of their own.
const (
	statusAllocFailed     = 3
	statusArchMismatch    = 8
	statusExecutionFailed = 13
	statusNotSupported    = 15
)

func (l *BLASLt) failure(s symbol, status int32) error {
	e := &Error{Call: l.entries[s].name, Code: int(status)}
	if l.has(ltStatusName) {
		e.Name = describe(l.addr[ltStatusName], status)
	}
	switch status {
	case statusAllocFailed:
		e.class = ErrOutOfMemory
	case statusArchMismatch, statusNotSupported:
		e.class = ErrNotAvailable
	}
	return e
}

// Type is the type of a matrix's elements, by CUDA's numbers.
type Type int32

// The types that products are computed of.
const (
	F32  Type = 0
	F16  Type = 2
	BF16 Type = 14
)

// Size returns an element's bytes.
func (t Type) Size() int {
	if t == F32 {
		return 4
	}
	return 2
}

// String returns "F32", "F16" or "BF16".
func (t Type) String() string {
	switch t {
	case F32:
		return "F32"
	case F16:
		return "F16"
	case BF16:
		return "BF16"
	}
	return fmt.Sprintf("type %d", int32(t))
}

// Product is the shape of y[Rows, Out] = x[Rows, In]·W[Out, In]ᵀ, row-major,
// summed in float32. Pitches are the elements from one row to the next; 0
// means no gap.
type Product struct {
	Rows, In, Out          int
	Input                  Type // of x and W
	Output                 Type // of y, and of the bias
	Add                    bool // add to what y holds
	XPitch, WPitch, YPitch int
}

// check completes the pitches and refuses what makes no sense.
func (p *Product) check() error {
	if p.Rows <= 0 || p.In <= 0 || p.Out <= 0 {
		return fmt.Errorf("cuda: product of %d rows, %d to %d columns", p.Rows, p.In, p.Out)
	}
	for _, pitch := range []struct {
		v    *int
		cols int
	}{{&p.XPitch, p.In}, {&p.WPitch, p.In}, {&p.YPitch, p.Out}} {
		if *pitch.v == 0 {
			*pitch.v = pitch.cols
		}
		if *pitch.v < pitch.cols {
			return fmt.Errorf("cuda: rows of %d elements with a pitch of %d", pitch.cols, *pitch.v)
		}
	}
	return nil
}

// BLAS computes products on one device. Its workspace is shared by all of its
// products: use one stream at a time, or one BLAS a stream.
type BLAS struct {
	object
	lib       *BLASLt
	workspace *Buffer
	plans     map[planKey]*plan
	order     []planKey // oldest first
	frame     [16]uintptr
	one, zero float32
}

// planKey is what the choice of an algorithm depends on.
type planKey struct {
	Product
	bias       bool
	x, w, y, b uint8 // log2 of the addresses' alignment, 8 at most
}

// plan is a product's descriptors and the algorithm for it.
type plan struct {
	desc, w, x, y uintptr
	algo          [8]uint64 // C's cublasLtMatmulAlgo_t
	bias          DevicePtr // the address that desc holds
}

// maxPlans bounds the memory for descriptors: prompts come in all lengths.
const maxPlans = 1024

// NewBLAS prepares products on the device, with a workspace of so many bytes
// of device memory: 32 MiB suit a Hopper, 4 MiB older devices, 0 is possible.
func (d *Device) NewBLAS(lib *BLASLt, workspace int) (*BLAS, error) {
	b := &BLAS{lib: lib, plans: map[planKey]*plan{}, one: 1}
	if workspace > 0 {
		buffer, err := d.Alloc(workspace)
		if err != nil {
			return nil, err
		}
		b.workspace = buffer
	}
	var h uintptr
	if err := lib.call(ltCreate, uintptr(unsafe.Pointer(&h))); err != nil {
		return nil, errors.Join(explain(err, "%s", lib.file), b.freeWorkspace())
	}
	d.adopt(&b.object, "BLAS", h, b)
	return b, nil
}

// Close releases descriptors, handle and workspace.
func (b *BLAS) Close() error {
	if !b.alive() {
		return nil
	}
	var err error
	for _, p := range b.plans {
		err = errors.Join(err, b.lib.destroy(p))
	}
	err = errors.Join(err, b.lib.call(ltDestroy, b.handle))
	b.plans, b.order, b.handle = nil, nil, 0
	delete(b.d.live, b.id)
	err = errors.Join(err, b.freeWorkspace())
	if b.d.fault != nil {
		return nil
	}
	return err
}

func (b *BLAS) freeWorkspace() error {
	if b.workspace == nil {
		return nil
	}
	return b.workspace.Close()
}

// Multiply puts a product into a stream. bias is the address of Out elements
// of type Output that are added to each row, or 0. The first call for a shape
// chooses an algorithm; later ones allocate nothing. A shape that the library
// cannot do fails with ErrNotAvailable.
func (b *BLAS) Multiply(s *Stream, p Product, y, x, w, bias DevicePtr) error {
	if !b.alive() {
		return b.gone()
	}
	if !s.alive() {
		return s.gone()
	}
	key := planKey{Product: p, bias: bias != 0, x: alignment(x), w: alignment(w), y: alignment(y), b: alignment(bias)}
	l := b.plans[key]
	if l == nil {
		var err error
		if l, err = b.plan(key); err != nil {
			return err
		}
	}
	if bias != l.bias {
		l.bias = bias
		if err := b.lib.set(ltDescSet, l.desc, descBiasPointer, unsafe.Pointer(&l.bias), 8); err != nil {
			return err
		}
	}
	return b.run(s, l, p.Add, y, x, w)
}

// run calls the product. The library counts columns first: it computes
// yᵀ[Out, Rows] of W, transposed, and xᵀ.
func (b *BLAS) run(s *Stream, l *plan, add bool, y, x, w DevicePtr) error {
	beta := &b.zero
	if add {
		beta = &b.one
	}
	var space, size uintptr
	if b.workspace != nil {
		space, size = b.workspace.handle, uintptr(b.workspace.size)
	}
	b.frame = [...]uintptr{
		b.handle, l.desc, uintptr(unsafe.Pointer(&b.one)),
		uintptr(w), l.w, uintptr(x), l.x,
		uintptr(unsafe.Pointer(beta)), uintptr(y), l.y, uintptr(y), l.y,
		uintptr(unsafe.Pointer(&l.algo)), space, size, s.handle,
	}
	status := int32(invoke(b.lib.addr[ltMatmul], b.frame[:]...))
	if status == 0 {
		return nil
	}
	err := b.lib.failure(ltMatmul, status)
	if status == statusExecutionFailed && b.d.failed() {
		return b.d.fault // the device had failed before: say with what
	}
	return err
}

// alignment returns log2 of what an address is a multiple of, 8 at most.
func alignment(p DevicePtr) uint8 {
	return uint8(min(bits.TrailingZeros64(uint64(p)), 8))
}

// plan describes a product to the library and has it choose an algorithm.
func (b *BLAS) plan(key planKey) (*plan, error) {
	p := key.Product
	if err := p.check(); err != nil {
		return nil, err
	}
	l := &plan{}
	err := b.describe(l, &p, key.bias)
	if err == nil {
		err = b.choose(l, &key)
	}
	if err != nil {
		err = explain(err, "product of %d rows, %d to %d columns, %v to %v", p.Rows, p.In, p.Out, p.Input, p.Output)
		return nil, errors.Join(err, b.lib.destroy(l))
	}
	if len(b.order) == maxPlans {
		oldest := b.order[0]
		b.order = append(b.order[:0], b.order[1:]...)
		if err := b.lib.destroy(b.plans[oldest]); err != nil {
			return nil, err
		}
		delete(b.plans, oldest)
	}
	b.plans[key] = l
	b.order = append(b.order, key)
	return l, nil
}

// Numbers of the library's interface.
const (
	compute32F = 68

	descTransA      = 3
	descEpilogue    = 7
	descBiasPointer = 8
	transpose       = 1
	epilogueBias    = 4

	preferWorkspace = 1
	preferAlignA    = 5
	preferAlignB    = 6
	preferAlignC    = 7
	preferAlignD    = 8
)

func (b *BLAS) describe(l *plan, p *Product, bias bool) error {
	lib := b.lib
	if err := lib.call(ltDescCreate, uintptr(unsafe.Pointer(&l.desc)), compute32F, uintptr(F32)); err != nil {
		return err
	}
	op := int32(transpose)
	if err := lib.set(ltDescSet, l.desc, descTransA, unsafe.Pointer(&op), 4); err != nil {
		return err
	}
	if bias {
		epilogue := int32(epilogueBias)
		if err := lib.set(ltDescSet, l.desc, descEpilogue, unsafe.Pointer(&epilogue), 4); err != nil {
			return err
		}
	}
	layout := func(h *uintptr, t Type, rows, cols, pitch int) error {
		return lib.call(ltLayoutCreate, uintptr(unsafe.Pointer(h)), uintptr(t), uintptr(rows), uintptr(cols), uintptr(pitch))
	}
	if err := layout(&l.w, p.Input, p.In, p.Out, p.WPitch); err != nil {
		return err
	}
	if err := layout(&l.x, p.Input, p.In, p.Rows, p.XPitch); err != nil {
		return err
	}
	return layout(&l.y, p.Output, p.Out, p.Rows, p.YPitch)
}

// heuristic is C's cublasLtMatmulHeuristicResult_t.
type heuristic struct {
	algo      [8]uint64
	workspace uintptr
	state     int32
	waves     float32
	_         [4]int32
}

// choose has the library pick an algorithm for the addresses' alignment and
// the workspace.
func (b *BLAS) choose(l *plan, key *planKey) (err error) {
	lib := b.lib
	var prefer uintptr
	if err := lib.call(ltPreferenceCreate, uintptr(unsafe.Pointer(&prefer))); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lib.call(ltPreferenceDestroy, prefer)) }()
	var space uint64
	if b.workspace != nil {
		space = uint64(b.workspace.size)
	}
	if err := lib.set(ltPreferenceSet, prefer, preferWorkspace, unsafe.Pointer(&space), 8); err != nil {
		return err
	}
	for _, a := range [...]struct {
		attribute uintptr
		log       uint8
	}{{preferAlignA, key.w}, {preferAlignB, key.x}, {preferAlignC, key.y}, {preferAlignD, key.y}} {
		align := uint32(1) << a.log
		if err := lib.set(ltPreferenceSet, prefer, a.attribute, unsafe.Pointer(&align), 4); err != nil {
			return err
		}
	}
	var found heuristic
	var n int32
	if err := lib.call(ltHeuristic, b.handle, l.desc, l.w, l.x, l.y, l.y, prefer, 1,
		uintptr(unsafe.Pointer(&found)), uintptr(unsafe.Pointer(&n))); err != nil {
		return err
	}
	if n == 0 || found.state != 0 {
		return lib.failure(ltHeuristic, statusNotSupported)
	}
	l.algo = found.algo
	return nil
}

// set sets an attribute of a descriptor. The value may be anywhere: it is
// copied.
func (l *BLASLt) set(s symbol, h, attribute uintptr, value unsafe.Pointer, size uintptr) error {
	return l.call(s, h, attribute, uintptr(value), size)
}

// destroy releases a plan's descriptors.
func (l *BLASLt) destroy(p *plan) error {
	var err error
	for _, layout := range []uintptr{p.w, p.x, p.y} {
		if layout != 0 {
			err = errors.Join(err, l.call(ltLayoutDestroy, layout))
		}
	}
	if p.desc != 0 {
		err = errors.Join(err, l.call(ltDescDestroy, p.desc))
	}
	return err
}
