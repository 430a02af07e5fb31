package kernels

import (
	"testing"

	"github.com/godwit-llm/godwit/internal/ops"
	"github.com/godwit-llm/godwit/internal/ops/opstest"
)

// tolerance of float32 activations: sums are float32 in another order than the
// CPU's, exponentials are off by some units.
const tolerance = 5e-6

// TestConformance runs the suite that every backend passes, with float32
// activations: with narrower ones the suite's errors would be those of
// rounding.
func TestConformance(t *testing.T) {
	opstest.Run(t, opstest.Options{
		Open:      func(t testing.TB) opstest.Device { return onDevice(t, Options{Act: ops.F32}) },
		Tolerance: tolerance,
	})
}
