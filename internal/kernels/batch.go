package kernels

import (
	"errors"
	"fmt"
	"math/bits"
	"unsafe"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// metadata is Step in common.cuh: where the batch lies on the device.
type metadata struct {
	tokens, positions, owner cuda.DevicePtr // [n]
	start                    cuda.DevicePtr // [s+1]
	slots                    cuda.DevicePtr // [s]
	outputs                  cuda.DevicePtr // [r]
	pages                    cuda.DevicePtr // [s, counts[3]]
	counts                   cuda.DevicePtr // n, s, r, pages of a row
}

// step is the batch of the open step, here and on the device, where a kernel
// takes all of it at once. Where things lie depends on the number of tokens
// rounded up to a power of two alone, so that steps of one size find them in
// the same places.
type step struct {
	batch    *ops.Batch
	n, s, r  int
	longest  int // positions that the longest sequence has after this step
	pieces   int // tokens that the longest piece of a sequence has in this step
	metadata     // handed to kernels by value

	load    *cuda.Function
	loaded  bool // by the kernel that was launched last: see Backend.start
	buffer  *cuda.Buffer
	staging [stagings]staging
	next    int // staging to use
	moved   int // times that memory which launches refer to was replaced: graphs are void then
}

// staging is host memory that the device reads a batch from.
type staging struct {
	memory *cuda.Pinned
	copied *cuda.Event
}

// shortPiece is the most tokens of a piece that is treated like so many single
// tokens.
const shortPiece = 16

// verifies reports whether the step decodes, with a few tokens of some sequence:
// its newest one, and a draft of what follows.
func (b *Backend) verifies() bool {
	return b.step.batch.Decoding && b.step.pieces > 1 && b.step.pieces <= shortPiece
}

// stagings is the number of steps that may be under way at once.
const stagings = 4

// smallest sizes of the layout, in 32-bit words.
const (
	leastTokens = 64
	leastWords  = 1 << 14
	countWords  = 8
)

// Begin has the device load the batch. It reports the errors of an earlier
// step that nobody asked for.
func (b *Backend) Begin(batch *ops.Batch) error {
	b.settle()
	b.graphs.mode = plain
	if err := b.Flush(nil); err != nil {
		return err
	}
	if err := b.report(); err != nil {
		return err
	}
	st := &b.step
	st.batch, st.n, st.s, st.r = batch, len(batch.Tokens), batch.Sequences(), len(batch.Outputs)
	row := tableRow(batch)
	l := layoutOf(st.n, st.s, row)
	if err := b.reserve(l.words); err != nil {
		return err
	}
	st.metadata = l.at(st.buffer.Ptr())
	if err := b.upload(l, row); err != nil {
		return err
	}
	return b.choose()
}

// tableRow returns how many pages a row of the device's table has: those of
// the longest sequence, rounded up to a power of two.
func tableRow(batch *ops.Batch) int {
	most := 1
	for s := range batch.Sequences() {
		row := batch.Pages[s*batch.MaxPages : (s+1)*batch.MaxPages]
		for most < len(row) && row[most] >= 0 {
			most = min(2*most, len(row))
		}
	}
	return most
}

// layout says at which words things lie.
type layout struct {
	tokens, positions, owner, start, slots, outputs, counts, pages int
	words                                                          int // in use
}

// layoutOf lays out n tokens of s sequences.
func layoutOf(n, s, row int) layout {
	size := max(leastTokens, 1<<bits.Len(uint(max(n-1, 0))))
	l := layout{counts: 0, tokens: countWords}
	l.positions = l.tokens + size
	l.owner = l.positions + size
	l.start = l.owner + size
	l.slots = l.start + size + countWords // one more than sequences
	l.outputs = l.slots + size
	l.pages = l.outputs + size
	l.words = l.pages + s*row
	return l
}

func (l layout) at(base cuda.DevicePtr) metadata {
	word := func(n int) cuda.DevicePtr { return base + cuda.DevicePtr(4*n) }
	return metadata{
		tokens: word(l.tokens), positions: word(l.positions), owner: word(l.owner), start: word(l.start),
		slots: word(l.slots), outputs: word(l.outputs), pages: word(l.pages), counts: word(l.counts),
	}
}

// fill writes the batch into host memory of that layout.
func (st *step) fill(words []int32, l layout, row int) {
	batch := st.batch
	copy(words[l.counts:], []int32{int32(st.n), int32(st.s), int32(st.r), int32(row)})
	copy(words[l.tokens:], batch.Tokens)
	copy(words[l.positions:], batch.Positions)
	copy(words[l.start:], batch.Start)
	copy(words[l.slots:], batch.Slots)
	copy(words[l.outputs:], batch.Outputs)
	st.longest, st.pieces = 0, 0
	for s := range st.s {
		from, to := int(batch.Start[s]), int(batch.Start[s+1])
		for i := from; i < to; i++ {
			words[l.owner+i] = int32(s)
		}
		st.pieces = max(st.pieces, to-from)
		if to > from {
			st.longest = max(st.longest, int(batch.Positions[to-1])+1)
		}
		copy(words[l.pages+s*row:], batch.Pages[s*batch.MaxPages:s*batch.MaxPages+min(row, batch.MaxPages)])
	}
}

// upload launches the kernel that loads the batch.
func (b *Backend) upload(l layout, row int) error {
	st := &b.step
	g := &st.staging[st.next]
	st.next = (st.next + 1) % stagings
	if err := g.copied.Synchronize(); err != nil { // what it held before has arrived
		return err
	}
	st.fill(cuda.View[int32](g.memory.Bytes()), l, row)
	const threads, words = 256, 4 // of a block, of a thread
	n := (l.words + words - 1) / words
	args := b.parameters().Ptr(st.buffer.Ptr()).Ptr(g.memory.Ptr()).Int(n)
	b.launch(st.load, cuda.Dim{X: (n + threads - 1) / threads}, cuda.Dim{X: threads}, 0, args)
	if b.err != nil {
		return b.report()
	}
	st.loaded = true
	return g.copied.Record(b.stream)
}

// reserve makes room for batches of so many words. Memory that is too small is
// replaced, which happens in the first large steps only.
func (b *Backend) reserve(words int) error {
	st := &b.step
	if st.buffer != nil && st.buffer.Size() >= 4*words {
		return nil
	}
	if err := b.stream.Synchronize(); err != nil {
		return err
	}
	if err := st.close(); err != nil {
		return err
	}
	st.moved++
	if err := st.open(b.dev, 4*max(leastWords, 1<<bits.Len(uint(words-1)))); err != nil {
		return errors.Join(fmt.Errorf("kernels: memory for the batch of a step: %w", err), st.close())
	}
	return nil
}

func (st *step) open(dev *cuda.Device, size int) (err error) {
	for i := range st.staging {
		g := &st.staging[i]
		if g.memory, err = dev.AllocHost(size, false); err != nil {
			return err
		}
		if g.copied, err = dev.NewEvent(false); err != nil {
			return err
		}
	}
	st.buffer, err = dev.Alloc(size)
	return err
}

// close gives the memory back.
func (st *step) close() error {
	var errs []error
	for i := range st.staging {
		g := &st.staging[i]
		if g.copied != nil {
			errs = append(errs, g.copied.Close())
		}
		if g.memory != nil {
			errs = append(errs, g.memory.Close())
		}
		*g = staging{}
	}
	if st.buffer != nil {
		errs = append(errs, st.buffer.Close())
		st.buffer = nil
	}
	return errors.Join(errs...)
}

// bytesOf views numbers as bytes.
func bytesOf[T int32 | uint16 | uint32 | uint64 | float32](v []T) []byte {
	if len(v) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), len(v)*int(unsafe.Sizeof(v[0])))
}
