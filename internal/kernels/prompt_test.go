package kernels

import "testing"

// TestPromptShape: every tile fits into the shared memory of most devices, and
// the copies of a block come out even.
func TestPromptShape(t *testing.T) {
	const most = 99 << 10
	for dim := 8; dim <= plainDim; dim += 8 {
		s := promptShapeOf(dim)
		if s.dim < dim || s.dim >= dim+64 || s.dim%64 != 0 {
			t.Errorf("heads of %d columns: computed as %d", dim, s.dim)
		}
		places := 2 * 4 * s.keys // rows of the cache, for two tiles of keys
		if got := s.shared() + places; got > most {
			t.Errorf("heads of %d columns: %d bytes of shared memory, want at most %d", dim, got, most)
		}
		if s.queries != 16*s.threads/32 {
			t.Errorf("heads of %d columns: %d queries for %d threads, want 16 a warp", dim, s.queries, s.threads)
		}
	}
}
