package ops_test

import (
	"testing"

	"github.com/godwit-llm/godwit/internal/ops"
	"github.com/godwit-llm/godwit/internal/ops/opstest"
)

// tolerance of the CPU backend, which computes in float32 (2^-24 = 6e-8): a sum
// of some hundred rounded terms is off by a few roundings of their absolute
// sum, and the vector exponential by 2 ulp.
const tolerance = 2e-6

func open(threads int) func(testing.TB) opstest.Device {
	return func(testing.TB) opstest.Device { return opstest.Host{Backend: ops.NewCPU(threads)} }
}

func TestConformance(t *testing.T) {
	opstest.Run(t, opstest.Options{Open: open(2), Tolerance: tolerance})
}
