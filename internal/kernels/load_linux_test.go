package kernels

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/godwit-llm/godwit/internal/mmap"
	"github.com/godwit-llm/godwit/internal/ops"
)

var loadBytes = flag.Int("load", 4<<30, "`bytes` of weights that TestSpeedOfLoading reads")

// mappedFile writes a file of n random bytes and maps it.
func mappedFile(t testing.TB, n int) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "weights")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]uint64, 1<<20)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range block {
		block[i] = rng.Uint64() & 0x3fff3fff3fff3fff // no NaN in any type
	}
	for left := n; left > 0; {
		k, err := f.Write(bytesOf(block)[:min(left, 8<<20)])
		if err != nil {
			t.Fatal(err)
		}
		left -= k
	}
	data, unmap, err := mmap.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unmap(); err != nil {
			t.Error(err)
		}
	})
	return data
}

// TestSpeedOfLoading prints how fast a mapped file comes from the page cache
// to the device, as it is and converted. It runs on request only: -test.run
// SpeedOfLoading -speed.
func TestSpeedOfLoading(t *testing.T) {
	if !*measuring {
		t.Skip("measures only with -speed")
	}
	needsGPU(t)
	const cols = 4096
	rows := *loadBytes / cols / 2
	data := mappedFile(t, rows*cols*2)
	t.Logf("%d bytes", len(data))
	for _, c := range []struct {
		readers  int
		from, to ops.DType
	}{
		{16, ops.BF16, ops.BF16}, // warms up
		{16, ops.BF16, ops.BF16},
		{8, ops.BF16, ops.BF16},
		{4, ops.BF16, ops.BF16},
		{1, ops.BF16, ops.BF16},
		{16, ops.BF16, ops.F32},
		{16, ops.F32, ops.BF16},
		{16, ops.BF16, ops.F16},
	} {
		t.Run(fmt.Sprintf("%d readers, %s to %s", c.readers, c.from, c.to), func(t *testing.T) {
			b := onDevice(t, Options{Act: c.to, Readers: c.readers})
			s := ops.Stored{Name: "weights", Type: c.from, Rows: rows * 2 / c.from.Size(), Cols: cols, Data: data}
			start := time.Now()
			if _, err := b.Weights([]ops.Stored{s}); err != nil {
				t.Fatal(err)
			}
			placed := time.Now()
			if err := b.Flush(nil); err != nil {
				t.Fatal(err)
			}
			took := time.Since(placed)
			t.Logf("%5.1f GB/s (%v, and %v to reserve the memory)", float64(len(data))/took.Seconds()/1e9, took.Round(time.Millisecond), placed.Sub(start).Round(time.Millisecond))
		})
	}
}

// TestLoadingUnreadable: a file that is cut off while its weights are read is an
// error that names them; the readers end, and nothing stays behind.
func TestLoadingUnreadable(t *testing.T) {
	f := roomy(t)
	b := onFake(t, f, Options{Act: ops.BF16, Readers: 3})
	before := f.Live()
	path := filepath.Join(t.TempDir(), "weights")
	if err := os.WriteFile(path, make([]byte, 40<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	data, unmap, err := mmap.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer unmap()
	if _, err := b.Weights([]ops.Stored{{Name: "large", Type: ops.BF16, Rows: 20, Cols: 1 << 20, Data: data}}); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 21<<20); err != nil {
		t.Fatal(err)
	}
	want := "kernels: load weights: large: " + mmap.ErrUnreadable.Error()
	if err := b.Flush(nil); !errors.Is(err, mmap.ErrUnreadable) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	before["buffer"]++
	if after := f.Live(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("left behind: %v, want %v", after, before)
	}
}
