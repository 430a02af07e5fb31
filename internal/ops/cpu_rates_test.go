package ops

import (
	"strings"
	"testing"
)

// TestRates: what is measured is a rate, of any size, and leaves the backend
// fit to work.
func TestRates(t *testing.T) {
	for _, threads := range []int{1, 3} {
		b := NewCPU(threads)
		defer b.Close()
		for _, n := range []int{0, 1 << 20} {
			if rate, err := b.Bandwidth(n); err != nil || !(rate > 1e7) {
				t.Errorf("reading %d bytes: got %g bytes/s (%v)", n, rate, err)
			}
		}
		rate, by, err := b.ProductRate(64)
		if err != nil || !(rate > 1e6) || !strings.HasPrefix(by, "own product") {
			t.Errorf("got %g operations/s by %q (%v)", rate, by, err)
		}
	}
}
