package kernels

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/godwit-llm/godwit/internal/ops"
)

// TestCopy moves rows between places on the device and in host memory, on a
// driver that has no device.
func TestCopy(t *testing.T) {
	d := device{onFake(t, roomy(t), Options{Act: ops.BF16})}
	const rows, cols = 6, 10
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	state, err := d.State(ops.F32, rows, cols)
	must(err)
	host, err := d.HostState(ops.F32, 3, cols)
	must(err)
	other, err := d.HostState(ops.F32, 2, cols)
	must(err)
	want := make([]float32, rows*cols)
	for i := range want {
		want[i] = float32(rand.NormFloat64())
	}
	must(d.Write(state, want))
	row := func(i int) []float32 { return want[i*cols : (i+1)*cols] }
	d.Copy(state, 1, state, 0, 1)
	copy(row(1), row(0))
	d.Copy(host, 2, state, 3, 1)
	d.Copy(other, 1, state, 4, 2) // one row of its own, and one too many
	if err := d.wait(); err == nil {
		t.Error("a copy beyond the host's memory has no error")
	}
	d.Copy(other, 0, state, 4, 2)
	d.Copy(state, 3, state, 1, 1)
	d.Copy(state, 0, host, 2, 1)
	copy(row(0), row(3))
	copy(row(3), row(1))
	d.Copy(state, 1, other, 0, 2)
	copy(want[cols:3*cols], want[4*cols:])
	got := make([]float32, rows*cols)
	must(d.Read(got, state))
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	d.Copy(other, 0, host, 0, 1)
	if err := d.wait(); err == nil {
		t.Error("a copy within host memory has no error")
	}
	if empty, err := d.HostState(ops.F32, 0, cols); err != nil || empty.Present() {
		t.Errorf("got %v and %v for no rows, want nothing", empty, err)
	}
}
