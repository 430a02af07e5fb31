package ops

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/godwit-llm/godwit/internal/vec"
)

// CPU is the plain Go backend: the reference for all others and the one that
// runs where there is no GPU. Activations and caches are float32, and states
// unless they are asked for otherwise; weights are read in the type and from the
// place they are stored in.
//
// Each output of an operation is computed in an order that depends on its own
// sequence alone, so results do not change with the number of cores, with what
// else is in the batch or, unless states are rounded between steps, with how a
// prompt is cut into them.
type CPU struct {
	pool    *pool
	batch   *Batch
	owner   []int32     // [n] sequence of each token of the batch
	angles  angles      // of the batch's positions
	product []float32   // results on their way through an epilogue
	scores  [][]float32 // attention scores, one buffer a worker
	states  [][]float32 // of a head whose state is stored in 16 bits, one a worker
	experts expertScratch
	sampler sampler
}

var _ Backend = (*CPU)(nil)

// NewCPU returns a backend that computes on the given number of threads; 0
// means one for every core the process may use.
func NewCPU(threads int) *CPU {
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	return &CPU{pool: newPool(threads), scores: make([][]float32, threads), states: make([][]float32, threads)}
}

// Close stops the worker threads.
func (b *CPU) Close() error {
	b.pool.close()
	return nil
}

// Threads returns the number of threads that share the work.
func (b *CPU) Threads() int { return b.pool.workers + 1 }

// Features names the vector instructions in use.
func (b *CPU) Features() string { return vec.Features() }

// Weights views the parts where they are stored, and makes up those that are
// not.
func (b *CPU) Weights(parts []Stored) ([]Tensor, error) {
	out := make([]Tensor, len(parts))
	for i, p := range parts {
		if p.Random != nil {
			out[i] = b.random(p.Type, p.Rows, p.Cols, *p.Random)
			continue
		}
		if want := p.Rows * p.Cols * p.Type.Size(); len(p.Data) != want {
			return nil, fmt.Errorf("ops: %s: got %d bytes, want %d for %s[%d, %d]", p.Name, len(p.Data), want, p.Type, p.Rows, p.Cols)
		}
		out[i] = Tensor{Addr: unsafe.Pointer(unsafe.SliceData(p.Data)), Type: p.Type, Rows: p.Rows, Cols: p.Cols, Stride: p.Cols}
	}
	return out, nil
}

// Vector copies values.
func (b *CPU) Vector(values []float32) (Tensor, error) {
	t := newFloats(1, len(values))
	copy(t.row(0), values)
	return t, nil
}

// Activation allocates a float32 matrix.
func (b *CPU) Activation(rows, cols int) (Tensor, error) { return newFloats(rows, cols), nil }

// Float allocates a float32 matrix.
func (b *CPU) Float(rows, cols int) (Tensor, error) { return newFloats(rows, cols), nil }

// State allocates a zeroed matrix.
func (b *CPU) State(t DType, rows, cols int) (Tensor, error) {
	switch t {
	case F32:
		return newFloats(rows, cols), nil
	case F16:
		data := make([]uint16, max(rows*cols, 1))
		return Tensor{Addr: unsafe.Pointer(unsafe.SliceData(data)), Type: F16, Rows: rows, Cols: cols, Stride: cols}, nil
	}
	return Tensor{}, fmt.Errorf("ops: a state of type %s, want F32 or F16", t)
}

// HostState allocates a matrix as State does.
func (b *CPU) HostState(t DType, rows, cols int) (Tensor, error) { return b.State(t, rows, cols) }

// Copy copies at once.
func (b *CPU) Copy(dst Tensor, to int, src Tensor, from, n int) {
	copy(dst.bytes(to, to+n), src.bytes(from, from+n))
}

// Routes allocates the routing of a mixture's rows.
func (b *CPU) Routes(m Mixture) (Routes, error) {
	ids := make([]int32, m.Rows*m.TopK)
	t := Tensor{Addr: unsafe.Pointer(unsafe.SliceData(ids)), Type: I32, Rows: m.Rows, Cols: m.TopK, Stride: m.TopK}
	return Routes{IDs: t, Weights: newFloats(m.Rows, m.TopK)}, nil
}

// Cache allocates float32 pages. The operating system commits their memory
// when it is first written.
func (b *CPU) Cache(pages, pageSize, kvHeads, headDim int) (Cache, error) {
	rows := pages * kvHeads * pageSize
	return Cache{K: newFloats(rows, headDim), V: newFloats(rows, headDim), PageSize: pageSize}, nil
}

func newFloats(rows, cols int) Tensor {
	t := viewFloats(make([]float32, max(rows*cols, 1)), max(cols, 1))
	t.Rows, t.Cols, t.Stride = rows, cols, cols
	return t
}

// Begin opens a step. From here to its end the step keeps all cores busy, so
// goroutines that are ready, such as those that send what the last step made,
// go first.
func (b *CPU) Begin(batch *Batch) error {
	runtime.Gosched()
	b.batch = batch
	b.owner = b.owner[:0]
	for s := range batch.Sequences() {
		for range batch.Start[s+1] - batch.Start[s] {
			b.owner = append(b.owner, int32(s))
		}
	}
	return nil
}

// Read converts each row.
func (b *CPU) Read(dst []float32, t Tensor) error {
	if len(dst) < t.Rows*t.Cols {
		return fmt.Errorf("ops: read: got room for %d values, want %d", len(dst), t.Rows*t.Cols)
	}
	for r := range t.Rows {
		toFloats(dst[r*t.Cols:(r+1)*t.Cols], t, r)
	}
	return nil
}

// fresh reports whether sequence s of the batch starts from nothing.
func (b *Batch) fresh(s int) bool { return b.Positions[b.Start[s]] == 0 }

// grow returns a slice of n elements, reusing s where it is long enough.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// grain returns how many of n units of the given cost (multiplications, say)
// make a piece of work worth handing to another core.
func grain(cost int) int { return max(1, 1<<15/max(cost, 1)) }

// viewFloats returns a slice as a tensor with the given number of columns.
func viewFloats(data []float32, cols int) Tensor {
	rows := len(data) / cols
	return Tensor{Addr: unsafe.Pointer(unsafe.SliceData(data)), Type: F32, Rows: rows, Cols: cols, Stride: cols}
}
