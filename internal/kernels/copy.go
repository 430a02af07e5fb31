package kernels

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// hosts is the memory of the host that Copy reads and writes.
type hosts struct{ pinned []*cuda.Pinned }

func (h *hosts) open(*Backend) error { return nil }

func (h *hosts) close() error {
	var errs []error
	for _, p := range h.pinned {
		errs = append(errs, p.Close())
	}
	h.pinned = nil
	return errors.Join(errs...)
}

// find returns the memory that a tensor lies in, and where there; nil for
// tensors on the device.
func (h *hosts) find(t ops.Tensor) (p *cuda.Pinned, at int) {
	for _, p := range h.pinned {
		mem := p.Bytes()
		if first := uintptr(unsafe.Pointer(unsafe.SliceData(mem))); uintptr(t.Addr)-first < uintptr(len(mem)) {
			return p, int(uintptr(t.Addr) - first)
		}
	}
	return nil, 0
}

// HostState reserves pinned memory, so that copies run beside the program.
func (b *Backend) HostState(t ops.DType, rows, cols int) (ops.Tensor, error) {
	x := ops.Tensor{Type: t, Rows: rows, Cols: cols, Stride: cols}
	if !isState(t) {
		return x, fmt.Errorf("kernels: a state of type %s, want F32 or F16", t)
	}
	if rows*cols == 0 {
		return x, nil
	}
	p, err := b.dev.AllocHost(rows*cols*t.Size(), false)
	if err != nil {
		return x, fmt.Errorf("kernels: %s in host memory: %w", x, err)
	}
	b.hosts.pinned = append(b.hosts.pinned, p)
	x.Addr = unsafe.Pointer(unsafe.SliceData(p.Bytes()))
	return x, nil
}

// Copy puts the copy into the stream.
func (b *Backend) Copy(dst ops.Tensor, to int, src ops.Tensor, from, n int) {
	b.settle()
	if b.err != nil {
		return
	}
	row := dst.Cols * dst.Type.Size()
	size := n * row
	target, source := address(dst)+cuda.DevicePtr(to*row), address(src)+cuda.DevicePtr(from*row)
	into, intoAt := b.hosts.find(dst)
	out, outAt := b.hosts.find(src)
	switch {
	case into != nil && out != nil:
		b.fail(errors.New("kernels: a copy from host memory to host memory"))
	case into != nil:
		b.fail(b.stream.Download(into, intoAt+to*row, source, size))
	case out != nil:
		b.fail(b.stream.Upload(target, out, outAt+from*row, size))
	default:
		b.fail(b.stream.Copy(target, source, size))
	}
}
