package ops_test

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/godwit-llm/godwit/internal/ops"
	"github.com/godwit-llm/godwit/internal/ops/opstest"
)

// tolerance of the CPU backend, which computes in float32 (2^-24 = 6e-8): a sum
// of some hundred rounded terms is off by a few roundings of their absolute
// sum, and the vector exponential by 2 ulp.
const tolerance = 2e-6

// recorder notes the bits of everything that is read from a device.
type recorder struct {
	opstest.Host
	sum func(values []float32)
}

func (r recorder) Read(dst []float32, t ops.Tensor) error {
	err := r.Host.Read(dst, t)
	r.sum(dst[:t.Rows*t.Cols])
	return err
}

// recorded returns a hash of the outputs of each test of the suite.
func recorded(t *testing.T, threads int) map[string]uint64 {
	t.Helper()
	sums := map[string]uint64{}
	t.Run(fmt.Sprint(threads), func(t *testing.T) {
		open := func(sub testing.TB) opstest.Device {
			h, name := fnv.New64a(), sub.Name()[len(t.Name()):]
			return recorder{opstest.Host{Backend: ops.NewCPU(threads)}, func(values []float32) {
				for _, v := range values {
					u := math.Float32bits(v)
					h.Write([]byte{byte(u), byte(u >> 8), byte(u >> 16), byte(u >> 24)})
				}
				sums[name] = h.Sum64()
			}}
		}
		opstest.Run(t, opstest.Options{Open: open, Tolerance: tolerance})
	})
	return sums
}

// TestConformance: every operation is right, and results have the same
// bits however many threads share the work.
func TestConformance(t *testing.T) {
	want := recorded(t, 1)
	if len(want) < 200 {
		t.Fatalf("got %d tests, want at least 200", len(want))
	}
	for _, threads := range []int{2, 3} {
		got := recorded(t, threads)
		for _, name := range slices.Sorted(maps.Keys(want)) {
			if got[name] != want[name] {
				t.Errorf("%s: %d threads give other bits than one", name, threads)
			}
		}
	}
}
