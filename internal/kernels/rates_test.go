package kernels

import (
	"strings"
	"testing"

	"github.com/godwit-llm/godwit/internal/cuda/cudatest"
	"github.com/godwit-llm/godwit/internal/ops"
)

// TestRates: rates are positive, say whose they are, and give their memory
// back.
func TestRates(t *testing.T) {
	for _, c := range []struct {
		name  string
		noLib bool // on the machine
		hide  bool
		want  string
	}{{"library", false, false, "cuBLASLt "}, {"kernel", true, false, "own kernel"}, {"hidden library", false, true, "own kernel"}} {
		t.Run(c.name, func(t *testing.T) {
			f := cudatest.New(t, cudatest.Config{NoBLASLt: c.noLib, Devices: []cudatest.Device{{Memory: 1 << 30}}})
			b := onFake(t, f, Options{Act: ops.BF16, NoLibrary: c.hide})
			if name, missing := b.Library(); (missing != nil) != (c.noLib || c.hide) || (name == "") != (missing != nil) {
				t.Errorf("the library is %q, missing %v", name, missing)
			}
			before, _, err := b.dev.Memory()
			if err != nil {
				t.Fatal(err)
			}
			rate, by, err := b.ProductRate(64)
			if err != nil || !(rate > 0) || !strings.HasPrefix(by, c.want) {
				t.Errorf("got %g by %q (%v), want a rate by %s", rate, by, err, c.want)
			}
			if rate, err := b.Bandwidth(1 << 20); err != nil || !(rate > 0) {
				t.Errorf("got a bandwidth of %g (%v)", rate, err)
			}
			if after, _, _ := b.dev.Memory(); after != before {
				t.Errorf("%d bytes free before, %d after", before, after)
			}
		})
	}
}

// TestRatesNeedMemory reports what is missing.
func TestRatesNeedMemory(t *testing.T) {
	f := cudatest.New(t, cudatest.Config{NoBLASLt: true, Devices: []cudatest.Device{{Memory: 64 << 20}}})
	b := onFake(t, f, Options{Act: ops.BF16})
	if _, _, err := b.ProductRate(8192); err == nil || !strings.Contains(err.Error(), "free") {
		t.Errorf("got %v, want what is free", err)
	}
}

// TestRatesOnDevice prints them.
func TestRatesOnDevice(t *testing.T) {
	if !*measuring {
		t.Skip("-speed measures")
	}
	needsGPU(t)
	d := onDevice(t, Options{Act: ops.BF16})
	read, err := d.Bandwidth(8 << 30)
	if err != nil {
		t.Fatal(err)
	}
	rate, by, err := d.ProductRate(8192)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("reading at %.0f GB/s, products at %.0f TFLOP/s by %s", read/1e9, rate/1e12, by)
}
