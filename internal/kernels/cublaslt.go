package kernels

import (
	"errors"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// library is cuBLASLt, for products of many tokens where it is on the machine.
type library struct {
	blas    *cuda.BLAS            // nil: absent
	refused map[cuda.Product]bool // what it cannot do
	missing error                 // why it is absent, or not used
	version string
}

// libraryWorkspace is device memory for the library's use.
const (
	libraryWorkspace      = 4 << 20
	libraryWorkspaceLarge = 32 << 20 // on Hopper and later
)

// errNotWanted is why the library is not used although it may be there.
var errNotWanted = errors.New("kernels: cuBLASLt is not to be used")

// open looks for the library. Going without it is no error.
func (l *library) open(b *Backend) error {
	if b.opt.NoLibrary {
		l.missing = errNotWanted
		return nil
	}
	lib, err := b.dev.Driver().LoadBLASLt(b.opt.CublasDirs)
	if errors.Is(err, cuda.ErrNoLibrary) {
		l.missing = err
		return nil
	}
	if err != nil {
		return err
	}
	workspace := libraryWorkspace
	if b.dev.Info().Capability >= 90 {
		workspace = libraryWorkspaceLarge
	}
	if l.blas, err = b.dev.NewBLAS(lib, workspace); err != nil {
		return err
	}
	l.version = lib.Version()
	l.refused = map[cuda.Product]bool{}
	return nil
}

// Library names the library that computes products of many tokens, or says why
// the kernels of this package do.
func (b *Backend) Library() (name string, missing error) {
	l := &b.gemm.library
	if l.blas == nil {
		return "", l.missing
	}
	return "cuBLASLt " + l.version, nil
}

func (l *library) close() error {
	if l.blas == nil {
		return nil
	}
	return l.blas.Close()
}

// libraryCan reports whether the library, with gemm_finish behind it, computes
// what is asked for: an activation must not reach what is added to.
func libraryCan(p product) bool {
	return !p.add || p.act == ops.Identity && (p.wide || !p.bias)
}

// viaLibrary computes a product with the library. The library adds a bias of
// the type of out only; the rest is done in place afterwards.
func (b *Backend) viaLibrary(p product, args gemmArgs) error {
	l := &b.gemm.library
	shape := cuda.Product{
		Rows: p.n, In: p.cols, Out: p.rows, Input: libraryType(p.t), Output: libraryType(p.t), Add: p.add,
		XPitch: int(args.xStride), WPitch: p.cols, YPitch: int(args.outStride),
	}
	if p.wide {
		shape.Output = cuda.F32
	}
	if l.refused[shape] {
		return cuda.ErrNotAvailable
	}
	if b.err != nil {
		return nil
	}
	inside := cuda.DevicePtr(0)
	if p.wide && p.act == ops.Identity {
		inside, args.bias = args.bias, 0
	}
	if err := l.blas.Multiply(b.stream, shape, args.out, args.x, args.w, inside); err != nil {
		if errors.Is(err, cuda.ErrNotAvailable) {
			l.refused[shape] = true
		}
		return err
	}
	if args.bias != 0 || p.act != ops.Identity {
		b.finish(&args)
	}
	return nil
}

func libraryType(t ops.DType) cuda.Type {
	switch t {
	case ops.BF16:
		return cuda.BF16
	case ops.F16:
		return cuda.F16
	default:
		return cuda.F32
	}
}
