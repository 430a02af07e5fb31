package kernels

import (
	"testing"

	"github.com/godwit-llm/godwit/internal/ops"
)

// TestChunkShapes: the instances for published models run twice on a
// multiprocessor of Hopper, those of four tiles on consumer devices too, and
// the largest state on Hopper at least.
func TestChunkShapes(t *testing.T) {
	const hopper, ampere = 227 << 10, 99 << 10
	for _, s := range chunkShapes {
		most := hopper / 2
		switch {
		case s.tiles == 4:
			most = ampere
		case s.state == 256:
			most = hopper
		}
		if got := s.shared(true); got > most {
			t.Errorf("%v: %d bytes of shared memory, want at most %d", s, got, most)
		}
		if less := s.shared(false); less > s.shared(true) {
			t.Errorf("%v: %d bytes without outputs, %d with them", s, less, s.shared(true))
		}
	}
}

// TestChunkShapeOf: heads are split so that the fewest rows are computed.
func TestChunkShapeOf(t *testing.T) {
	var k chunks
	for _, s := range chunkShapes {
		k.shapes = append(k.shapes, chunkKernels{chunkShape: s})
	}
	for _, c := range []struct{ state, headDim, tiles, slices int }{
		{128, 64, 4, 1}, {128, 80, 5, 1}, {128, 128, 4, 2}, {128, 160, 5, 2}, {128, 16, 4, 1}, {64, 80, 4, 2}, {256, 64, 2, 2},
	} {
		got, ok := k.shapeOf(&ops.SSM{Heads: 8, HeadDim: c.headDim, State: c.state})
		if !ok || got.tiles != c.tiles || got.slices(c.headDim) != c.slices {
			t.Errorf("state %d, heads of %d: got %v in %d slices, want %d tiles in %d", c.state, c.headDim, got.chunkShape, got.slices(c.headDim), c.tiles, c.slices)
		}
	}
	if _, ok := k.shapeOf(&ops.SSM{Heads: 8, HeadDim: 64, State: 96}); ok {
		t.Error("a state of 96 columns has a kernel")
	}
}

func TestChunkWorkOf(t *testing.T) {
	for _, c := range []struct {
		start  []int32
		blocks int
		want   chunkWork
	}{
		{[]int32{0}, 64, chunkWork{}},
		{[]int32{0, 1, 2}, 64, chunkWork{single: true}},
		{[]int32{0, 2}, 64, chunkWork{length: 256, segments: 1}},
		{[]int32{0, 256, 513}, 64, chunkWork{length: 256, segments: 3, cut: 2, pieces: 1}},
		{[]int32{0, 8192}, 64, chunkWork{length: 1664, segments: 5, cut: 5, pieces: 1}},
		{[]int32{0, 8192}, 256, chunkWork{length: 4096, segments: 2, cut: 2, pieces: 1}},
		{[]int32{0, 8192}, 300, chunkWork{length: 8192, segments: 1}},
		{[]int32{0, 4096, 4097, 8193}, 64, chunkWork{single: true, length: 1664, segments: 6, cut: 6, pieces: 2}},
	} {
		if got := chunkWorkOf(c.start, c.blocks, 132); got != c.want {
			t.Errorf("%v in %d blocks: got %+v, want %+v", c.start, c.blocks, got, c.want)
		}
	}
}

// TestChunkWorkIsBounded: the segments of cut pieces never need more room than
// is reserved for them, and cover their pieces.
func TestChunkWorkIsBounded(t *testing.T) {
	rng := newRand()
	for range 2000 {
		start := []int32{0}
		for range 1 + rng.IntN(40) {
			start = append(start, start[len(start)-1]+1+int32(rng.IntN(1+rng.IntN(20000))))
		}
		blocks, processors := 1+rng.IntN(300), 1+rng.IntN(160)
		w := chunkWorkOf(start, blocks, processors)
		if w.cut > 2*segmentsWanted(blocks, processors) {
			t.Fatalf("%v, %d blocks on %d multiprocessors: %+v", start, blocks, processors, w)
		}
		if w.segments > 0 && (w.length%chunkTokens != 0 || w.length < leastSegment) {
			t.Fatalf("%v: segments of %d tokens", start, w.length)
		}
	}
}
