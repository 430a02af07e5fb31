//go:build !race

package kernels

import (
	"slices"
	"testing"

	"github.com/ebitengine/purego"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// hollow puts a C function that does nothing in place of the fake driver's
// launches and copies, which, being Go, allocate.
type hollow struct {
	cuda.Library
	nothing uintptr
}

func (h hollow) Symbol(name string) uintptr {
	hot := []string{
		"cuLaunchKernel", "cuLaunchKernelEx", "cuMemcpyHtoDAsync_v2", "cuEventRecord", "cuEventSynchronize",
		"cuGraphLaunch", "cuMemcpyDtoHAsync_v2", "cuStreamSynchronize",
	}
	if slices.Contains(hot, name) {
		return h.nothing
	}
	return h.Library.Symbol(name)
}

// onHollow returns a backend on a fake driver whose hot calls do nothing.
func onHollow(t *testing.T) *Backend {
	t.Helper()
	nothing, err := purego.Dlsym(purego.RTLD_DEFAULT, "sched_yield")
	if err != nil {
		t.Skip(err)
	}
	f := roomy(t)
	registerAll(t, f)
	driver, err := cuda.LoadDriver(cuda.Options{Open: func(name string) (cuda.Library, error) {
		lib, err := f.Open(name)
		return hollow{lib, nothing}, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	dev, err := driver.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	return opened(t, dev, Options{Act: ops.BF16})
}

// TestStepsDoNotAllocate: neither the batch nor a launch makes garbage.
func TestStepsDoNotAllocate(t *testing.T) {
	m := newHot(t, onHollow(t))
	m.step()
	if n := testing.AllocsPerRun(50, m.step); n != 0 {
		t.Errorf("got %v allocations a step, want none", n)
	}
}

// TestReplayedStepsDoNotAllocate: nor does a step that is a graph, which
// includes sampling.
func TestReplayedStepsDoNotAllocate(t *testing.T) {
	m := newTiny(t, onHollow(t), 2)
	step := func() { m.step(2) }
	step()
	step()
	if n := testing.AllocsPerRun(20, step); n != 0 {
		t.Errorf("got %v allocations a step, want none", n)
	}
	m.begin(2, 1)
	if m.graphs.mode != replaying || m.graphs.err != nil {
		t.Errorf("the step is no graph: mode %d, %v", m.graphs.mode, m.graphs.err)
	}
}
