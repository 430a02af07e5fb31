package kernels

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/mmap"
	"github.com/godwit-llm/godwit/internal/ops"
	"github.com/godwit-llm/godwit/internal/vec"
)

// loader copies weights to the device. Several goroutines read them – from
// files, mostly – into slots of pinned memory, converting types on the way;
// the goroutine that owns the device queues the copies of full slots and hands
// empty ones back. Pieces that come next are announced to the disk: few readers
// alone would keep too little of it busy. What the system leaves out of such an
// advice, where it is for more than the disk takes in one request, is read with
// the piece.
type loader struct {
	pieces []piece
}

// piece is a part of a matrix that fits into a slot.
type piece struct {
	at       cuda.DevicePtr
	data     []byte
	from, to ops.DType
	name     string
}

const (
	slotSize       = 2 << 20
	slotsPerReader = 2
	mostReaders    = 16
	readAhead      = 2 // pieces a reader that the disk is told of before they are read
)

// size returns the bytes that the piece has on the device.
func (p *piece) size() int { return len(p.data) / p.from.Size() * p.to.Size() }

// read puts the piece into dst as the device wants it. A piece that has another
// type goes through scratch, which is of slotSize.
func (p *piece) read(dst, scratch []byte) error {
	if p.from == p.to {
		return mmap.Copy(dst, p.data)
	}
	stored := scratch[:len(p.data)]
	if err := mmap.Copy(stored, p.data); err != nil {
		return err
	}
	convert(dst, p.to, stored, p.from)
	return nil
}

// add cuts a stored matrix into pieces.
func (l *loader) add(at cuda.DevicePtr, to ops.DType, s ops.Stored) {
	most := slotSize / max(to.Size(), s.Type.Size()) * s.Type.Size()
	for data := s.Data; len(data) > 0; {
		n := min(most, len(data))
		p := piece{at: at, data: data[:n], from: s.Type, to: to, name: s.Name}
		l.pieces = append(l.pieces, p)
		at += cuda.DevicePtr(p.size())
		data = data[n:]
	}
}

// Flush copies the weights that were placed since the last time, and returns
// when all are on the device. progress, which may be nil, is told the bytes
// read so far. Begin flushes what nobody else has.
func (b *Backend) Flush(progress func(done int64)) error {
	if b.making.made {
		b.making.made = false
		if err := b.wait(); err != nil {
			return fmt.Errorf("kernels: make up weights: %w", err)
		}
	}
	pieces := b.loader.pieces
	if len(pieces) == 0 {
		return nil
	}
	b.loader.pieces = nil
	f := &flush{b: b, pieces: pieces, progress: progress}
	err := f.run(b.readers(len(pieces)))
	if err != nil {
		return fmt.Errorf("kernels: load weights: %w", err)
	}
	return nil
}

func (b *Backend) readers(pieces int) int {
	n := b.opt.Readers
	if n <= 0 {
		n = min(runtime.GOMAXPROCS(0), mostReaders)
	}
	return min(n, pieces)
}

// flush is one run of the loader.
type flush struct {
	b        *Backend
	pieces   []piece
	progress func(int64)

	stream *cuda.Stream
	memory *cuda.Pinned // all slots
	copied []*cuda.Event

	next    atomic.Int64 // piece to read
	ahead   int          // pieces that the disk is told of before they are read
	empty   chan int     // slots
	full    chan filled
	flying  []filled // copies under way, in order
	arrived int64    // bytes of source that are on the device
}

// filled is a slot that holds a piece, unless that could not be read.
type filled struct {
	slot, piece int
	err         error
}

func (f *flush) run(readers int) (err error) {
	slots := readers * slotsPerReader
	defer func() { err = errors.Join(err, f.close()) }()
	if err := f.open(slots); err != nil {
		return err
	}
	f.ahead = readAhead * readers
	for i := range min(f.ahead, len(f.pieces)) {
		mmap.Prefetch(f.pieces[i].data)
	}
	stop := make(chan struct{})
	var group sync.WaitGroup
	defer group.Wait()
	defer close(stop)
	for range readers {
		group.Go(func() { f.read(stop) })
	}
	for range f.pieces {
		if err := f.queue(f.receive()); err != nil {
			return err
		}
	}
	for len(f.flying) > 0 {
		if err := f.land(); err != nil {
			return err
		}
	}
	return nil
}

func (f *flush) open(slots int) (err error) {
	dev := f.b.dev
	if f.memory, err = dev.AllocHost(slots*slotSize, false); err != nil {
		return err
	}
	if f.stream, err = dev.NewStream(0); err != nil {
		return err
	}
	f.empty, f.full = make(chan int, slots), make(chan filled, slots)
	for i := range slots {
		e, err := dev.NewEvent(false)
		if err != nil {
			return err
		}
		f.copied = append(f.copied, e)
		f.empty <- i
	}
	return nil
}

// close waits for the copies before their memory goes.
func (f *flush) close() error {
	var errs []error
	if f.stream != nil {
		errs = append(errs, f.stream.Synchronize(), f.stream.Close())
	}
	for _, e := range f.copied {
		errs = append(errs, e.Close())
	}
	if f.memory != nil {
		errs = append(errs, f.memory.Close())
	}
	return errors.Join(errs...)
}

// read fills slots until no piece is left. It runs on a goroutine of its own.
func (f *flush) read(stop <-chan struct{}) {
	memory, scratch := f.memory.Bytes(), make([]byte, slotSize)
	for {
		i := int(f.next.Add(1)) - 1
		if i >= len(f.pieces) {
			return
		}
		if next := i + f.ahead; next < len(f.pieces) {
			mmap.Prefetch(f.pieces[next].data)
		}
		select {
		case slot := <-f.empty:
			p := &f.pieces[i]
			f.full <- filled{slot, i, p.read(memory[slot*slotSize:][:p.size()], scratch)}
		case <-stop:
			return
		}
	}
}

// receive returns a full slot. While there is none, copies land and their
// slots become empty.
func (f *flush) receive() (filled, error) {
	for len(f.flying) > 0 {
		select {
		case s := <-f.full:
			return s, f.landed()
		default:
			if err := f.land(); err != nil {
				return filled{}, err
			}
		}
	}
	return <-f.full, nil
}

// landed lets go of the copies that have ended, without waiting.
func (f *flush) landed() error {
	for len(f.flying) > 0 {
		done, err := f.copied[f.flying[0].slot].Done()
		if err != nil || !done {
			return err
		}
		if err := f.land(); err != nil {
			return err
		}
	}
	return nil
}

// queue puts the copy of a full slot into the stream.
func (f *flush) queue(s filled, err error) error {
	if err != nil {
		return err
	}
	p := &f.pieces[s.piece]
	if s.err != nil {
		return fmt.Errorf("%s: %w", p.name, s.err)
	}
	if err := f.stream.Upload(p.at, f.memory, s.slot*slotSize, p.size()); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	f.flying = append(f.flying, s)
	return f.copied[s.slot].Record(f.stream)
}

// land waits for the oldest copy and gives its slot back.
func (f *flush) land() error {
	s := f.flying[0]
	if err := f.copied[s.slot].Synchronize(); err != nil {
		return err
	}
	f.flying = f.flying[1:]
	f.empty <- s.slot
	f.arrived += int64(len(f.pieces[s.piece].data))
	if f.progress != nil {
		f.progress(f.arrived)
	}
	return nil
}

// convert copies numbers from one type to another. Both slices begin at
// addresses that their types can be read from.
func convert(dst []byte, to ops.DType, src []byte, from ops.DType) {
	if from == to {
		copy(dst, src)
		return
	}
	switch {
	case from == ops.BF16 && to == ops.F32:
		vec.BF16ToF32(cuda.View[float32](dst), cuda.View[uint16](src))
	case from == ops.F16 && to == ops.F32:
		vec.F16ToF32(cuda.View[float32](dst), cuda.View[uint16](src))
	case from == ops.F32 && to == ops.BF16:
		vec.F32ToBF16(cuda.View[uint16](dst), cuda.View[float32](src))
	case from == ops.F32 && to == ops.F16:
		vec.F32ToF16(cuda.View[uint16](dst), cuda.View[float32](src))
	case from == ops.I8 && to == ops.F32:
		vec.I8ToF32(cuda.View[float32](dst), cuda.View[int8](src), 1)
	case from == ops.F8 && to == ops.F32:
		vec.E4M3ToF32(cuda.View[float32](dst), src, 1)
	case from == ops.I32 && to == ops.F32:
		out := cuda.View[float32](dst)
		for i, v := range cuda.View[int32](src) {
			out[i] = float32(v)
		}
	default:
		throughFloats(dst, to, src, from)
	}
}

// throughFloats converts between the two types of 16 bits.
func throughFloats(dst []byte, to ops.DType, src []byte, from ops.DType) {
	var block [1024]float32
	for len(src) > 0 {
		n := min(len(src)/2, len(block))
		values := block[:n]
		convert(bytesOf(values), ops.F32, src[:2*n], from)
		convert(dst[:2*n], to, bytesOf(values), ops.F32)
		src, dst = src[2*n:], dst[2*n:]
	}
}
