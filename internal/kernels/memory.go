package kernels

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// arena hands out device memory from large pieces. Nothing is given back
// before close.
type arena struct {
	dev      *cuda.Device
	hint     int64 // size of the first piece
	pieces   []*cuda.Buffer
	next     cuda.DevicePtr
	left     int64
	used     int64 // handed out
	reserved int64 // taken from the device
}

const (
	alignment = 256      // of everything handed out
	granule   = 2 << 20  // of pieces: the driver hands out no less
	pieceSize = 16 << 20 // of pieces, where nobody said what will be wanted
	slack     = 4 << 20  // that alignment may cost over the hint
)

// take returns n bytes, undefined in content.
func (a *arena) take(n int64) (cuda.DevicePtr, error) {
	n = roundUp(max(n, 1), alignment)
	if n > a.left {
		if err := a.grow(n); err != nil {
			return 0, err
		}
	}
	p := a.next
	a.next += cuda.DevicePtr(n)
	a.left -= n
	a.used += n
	return p, nil
}

// grow takes a piece from the device that holds at least n bytes. What is left
// of the one before is given up.
func (a *arena) grow(n int64) error {
	size := max(n, pieceSize)
	if a.hint > 0 {
		size = max(n, a.hint+slack-a.reserved)
	}
	size = roundUp(size, granule)
	piece, err := a.dev.Alloc(int(size))
	if err != nil && size > n && errors.Is(err, cuda.ErrOutOfMemory) {
		size = n // the hint was too high: take what is needed
		piece, err = a.dev.Alloc(int(size))
	}
	if err != nil {
		return err
	}
	a.pieces = append(a.pieces, piece)
	a.next, a.left = piece.Ptr(), size
	a.reserved += size
	return nil
}

func (a *arena) close() error {
	var errs []error
	for _, p := range a.pieces {
		errs = append(errs, p.Close())
	}
	*a = arena{dev: a.dev, hint: a.hint}
	return errors.Join(errs...)
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }

// Used returns the bytes of device memory handed out and those taken from the
// device for it.
func (b *Backend) Used() (used, reserved int64) { return b.arena.used, b.arena.reserved }

// place reserves a dense matrix.
func (b *Backend) place(t ops.DType, rows, cols int) (ops.Tensor, error) {
	if rows < 0 || cols < 0 {
		return ops.Tensor{}, fmt.Errorf("kernels: a tensor of %d x %d", rows, cols)
	}
	p, err := b.arena.take(int64(rows) * int64(cols) * int64(t.Size()))
	if err != nil {
		return ops.Tensor{}, fmt.Errorf("kernels: %s[%d, %d]: %w", t, rows, cols, err)
	}
	return tensor(p, t, rows, cols), nil
}

// Weights reserves memory for the parts, one behind the other, so that parts
// of one width are one matrix. They are of the activation type. Their content
// comes with Flush, until which the stored bytes must stay; random values are
// made up on the device.
func (b *Backend) Weights(parts []ops.Stored) ([]ops.Tensor, error) {
	total := 0
	for _, p := range parts {
		if want := p.Rows * p.Cols * p.Type.Size(); p.Random == nil && len(p.Data) != want {
			return nil, fmt.Errorf("kernels: %s: got %d bytes, want %d for %s[%d, %d]", p.Name, len(p.Data), want, p.Type, p.Rows, p.Cols)
		}
		total += p.Rows * p.Cols
	}
	whole, err := b.place(b.opt.Act, 1, total)
	if err != nil {
		return nil, err
	}
	out := make([]ops.Tensor, len(parts))
	at := address(whole)
	for i, p := range parts {
		out[i] = tensor(at, b.opt.Act, p.Rows, p.Cols)
		if p.Random != nil {
			if err := b.need(randomWeights); err != nil {
				return nil, err
			}
			b.random(at, p.Rows*p.Cols, *p.Random)
		} else {
			b.loader.add(at, b.opt.Act, p)
		}
		at += cuda.DevicePtr(p.Rows * p.Cols * b.opt.Act.Size())
	}
	return out, nil
}

// Vector copies values to the device.
func (b *Backend) Vector(values []float32) (ops.Tensor, error) {
	t, err := b.place(ops.F32, 1, len(values))
	if err != nil {
		return t, err
	}
	return t, b.dev.Upload(address(t), bytesOf(values))
}

// Activation reserves a matrix of the activation type.
func (b *Backend) Activation(rows, cols int) (ops.Tensor, error) {
	return b.place(b.opt.Act, rows, cols)
}

// Float reserves a float32 matrix.
func (b *Backend) Float(rows, cols int) (ops.Tensor, error) { return b.place(ops.F32, rows, cols) }

// State reserves a matrix and clears it.
func (b *Backend) State(t ops.DType, rows, cols int) (ops.Tensor, error) {
	if !isState(t) {
		return ops.Tensor{}, fmt.Errorf("kernels: a state of type %s, want F32 or F16", t)
	}
	if err := b.need(recurrences); err != nil {
		return ops.Tensor{}, err
	}
	x, err := b.place(t, rows, cols)
	if err != nil {
		return x, err
	}
	return x, b.stream.Fill(address(x), 0, rows*cols*t.Size())
}

// stateTypes are the types that states are kept in.
var stateTypes = []ops.DType{ops.F32, ops.F16}

func isState(t ops.DType) bool { return slices.Contains(stateTypes, t) }

// Cache reserves pages and clears them, so that a place that nothing was
// stored in never holds NaN.
func (b *Backend) Cache(shape ops.CacheShape) (ops.Cache, error) {
	const most = int64(16 * math.MaxInt32) // wide.cuh counts them by 16 in 32 bits
	if bytes := int64(shape.Rows()) * int64(shape.HeadDim*shape.Format.Type(b.opt.Act).Size()); bytes > most {
		return ops.Cache{}, fmt.Errorf("kernels: a cache with %d bytes of keys a layer, want at most %d", bytes, most)
	}
	switch shape.Format {
	case ops.INT8:
		if err := b.need(int8Caches); err != nil {
			return ops.Cache{}, err
		}
	case ops.FP8:
		if err := b.need(fp8Caches); err != nil {
			return ops.Cache{}, err
		}
	}
	return ops.NewCache(shape, b.opt.Act, func(d ops.DType, rows, cols int) (ops.Tensor, error) {
		t, err := b.place(d, rows, cols)
		if err != nil {
			return t, err
		}
		return t, b.stream.Fill(address(t), 0, rows*cols*d.Size())
	})
}

// Read waits for the step to end and copies a tensor to the host.
func (b *Backend) Read(dst []float32, t ops.Tensor) error {
	if len(dst) < t.Rows*t.Cols {
		return fmt.Errorf("kernels: read: got room for %d values, want %d", len(dst), t.Rows*t.Cols)
	}
	if err := errors.Join(b.Flush(nil), b.wait()); err != nil {
		return err
	}
	if t.Rows == 0 || t.Cols == 0 {
		return nil
	}
	size := t.Type.Size()
	whole := make([]uint64, (((t.Rows-1)*t.Stride+t.Cols)*size+7)/8)
	data := bytesOf(whole)[:((t.Rows-1)*t.Stride+t.Cols)*size]
	if err := b.dev.Download(data, address(t)); err != nil {
		return err
	}
	for r := range t.Rows {
		convert(bytesOf(dst[r*t.Cols:(r+1)*t.Cols]), ops.F32, data[r*t.Stride*size:][:t.Cols*size], t.Type)
	}
	return nil
}
