package kernels

import (
	"fmt"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// chunks holds the kernels of chunks.cu: the recurrence of Mamba-2 in matrix
// form.
type chunks struct {
	shapes     []chunkKernels               // none but for BF16 on tensor cores
	join       map[ops.DType]*cuda.Function // by the type of the state
	processors int
	scratch    cuda.DevicePtr // states of segments, reserved when first needed
	room       int64          // bytes of scratch
}

// chunkShape names an instance: the state's size, and the tiles of 16 rows of
// a head that a block takes.
type chunkShape struct{ state, tiles int }

// String names the shape as kernels do.
func (s chunkShape) String() string { return fmt.Sprintf("%d_%d", s.state, s.tiles) }

type chunkKernels struct {
	chunkShape
	states *cuda.Function
	scan   map[ops.DType]*cuda.Function // by the type of the state
}

var chunkShapes = []chunkShape{{64, 4}, {128, 5}, {128, 4}, {256, 2}}

// Constants of chunks.cu.
const (
	chunkTokens  = 64
	chunkThreads = 128
)

// leastSegment is the number of tokens that are worth a block of their own.
const leastSegment = 4 * chunkTokens

func (k *chunks) open(b *Backend) (err error) {
	info := b.dev.Info()
	k.processors = info.Multiprocessors
	// Factors of f16 could leave its range: the products of B and C are not
	// bounded by activations.
	if b.opt.Act != ops.BF16 || !tensorCores(info.Capability) {
		return nil
	}
	k.join = map[ops.DType]*cuda.Function{}
	for _, t := range stateTypes {
		if k.join[t], err = b.kernel("chunks", "chunk_join_"+suffix(t)); err != nil {
			return err
		}
	}
	for _, s := range chunkShapes {
		if s.shared(true) > info.SharedOptIn {
			continue
		}
		c := chunkKernels{chunkShape: s, scan: map[ops.DType]*cuda.Function{}}
		if c.states, err = b.chunkKernel("chunk_states_"+s.String(), s, false); err != nil {
			return err
		}
		for _, t := range stateTypes {
			if c.scan[t], err = b.chunkKernel("chunk_scan_"+s.String()+"_"+suffix(t), s, true); err != nil {
				return err
			}
		}
		k.shapes = append(k.shapes, c)
	}
	return nil
}

func (b *Backend) chunkKernel(name string, s chunkShape, outputs bool) (*cuda.Function, error) {
	f, err := b.kernel("chunks", name)
	if err != nil {
		return nil, err
	}
	return f, f.SetMaxShared(s.shared(outputs))
}

func (k *chunks) close() error { return nil }

// shared is the size of Shared in chunks.cu.
func (s chunkShape) shared(outputs bool) int {
	stride := 2 * s.tiles
	if stride%8 != 0 {
		stride |= 1
	}
	wide := chunkTokens * s.state / 8
	words := 2*wide + 2*chunkTokens*stride
	if outputs {
		words += 2*wide + 16*s.tiles*s.state/8
	} else {
		words += 2
	}
	return 16*words + 4*4*chunkTokens
}

// slices returns how many blocks share a head.
func (s chunkShape) slices(headDim int) int { return (headDim + 16*s.tiles - 1) / (16 * s.tiles) }

// shapeOf returns the kernels for a recurrence: those that compute the fewest
// rows.
func (k *chunks) shapeOf(s *ops.SSM) (best chunkKernels, ok bool) {
	for _, c := range k.shapes {
		if c.state != s.State {
			continue
		}
		if !ok || c.slices(s.HeadDim)*c.tiles < best.slices(s.HeadDim)*best.tiles {
			best, ok = c, true
		}
	}
	return best, ok
}

// chunkWork says how the pieces of a batch are cut.
type chunkWork struct {
	single                bool // there are sequences of one token
	length                int  // tokens of a segment, at most
	segments, cut, pieces int  // all segments, those of cut pieces, cut pieces
}

// segmentsWanted returns how many segments of a batch give every multiprocessor
// two blocks, where a segment makes so many.
func segmentsWanted(blocks, processors int) int { return (2*processors + blocks - 1) / blocks }

// chunkWorkOf cuts the pieces of a batch into that many segments, or a few
// more. At most twice as many are segments of pieces that are cut.
func chunkWorkOf(start []int32, blocks, processors int) chunkWork {
	total, longest := 0, 0
	var w chunkWork
	for s := range len(start) - 1 {
		switch n := int(start[s+1] - start[s]); {
		case n == 1:
			w.single = true
		case n > 1:
			total += n
			longest = max(longest, n)
		}
	}
	if longest == 0 {
		return w
	}
	want := segmentsWanted(blocks, processors)
	w.length = max(leastSegment, (total+want-1)/want)
	w.length = (w.length + chunkTokens - 1) / chunkTokens * chunkTokens
	for s := range len(start) - 1 {
		n := int(start[s+1] - start[s])
		if n <= 1 {
			continue
		}
		k := (n + w.length - 1) / w.length
		w.segments += k
		if k > 1 {
			w.cut += k
			w.pieces++
		}
	}
	return w
}

// segmentArgs is Segments in chunks.cu.
type segmentArgs struct {
	length, slices int32
	states, decays cuda.DevicePtr
}

// scanChunks runs the recurrence over pieces of more than one token.
func (b *Backend) scanChunks(args *scanArgs, s *ops.SSM, state ops.DType, k chunkKernels, w chunkWork) {
	cut := segmentArgs{length: int32(w.length), slices: int32(k.slices(s.HeadDim))}
	blocks := s.Heads * int(cut.slices)
	launch := func(f *cuda.Function, grid cuda.Dim, shared int) {
		p := cuda.Struct(cuda.Struct(cuda.Struct(b.parameters(), *args), b.step.metadata), cut)
		b.launch(f, grid, cuda.Dim{X: chunkThreads}, shared, p)
	}
	if w.cut > 0 {
		size := s.Inner() * s.State
		most := 2 * segmentsWanted(blocks, b.chunks.processors)
		states := 4 * int64(most) * int64(size)
		if err := b.reserveSegments(states + int64(4*most*s.Heads)); err != nil {
			b.fail(err)
			return
		}
		cut.states = b.chunks.scratch
		cut.decays = cut.states + cuda.DevicePtr(states)
		launch(k.states, cuda.Dim{X: blocks, Y: w.cut}, k.shared(false))
		launch(b.chunks.join[state], cuda.Dim{X: (size/4 + chunkThreads - 1) / chunkThreads, Y: w.pieces}, 0)
	}
	launch(k.scan[state], cuda.Dim{X: blocks, Y: w.segments}, k.shared(true))
}

// reserveSegments makes room for the states of segments: as much for all
// batches, so that it happens once.
func (b *Backend) reserveSegments(n int64) error {
	k := &b.chunks
	if n <= k.room {
		return nil
	}
	p, err := b.arena.take(n)
	if err != nil {
		return fmt.Errorf("kernels: scratch memory of the scan: %w", err)
	}
	k.scratch, k.room = p, n
	return nil
}
