package kernels

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// storedMatrix returns a random matrix of a type, with its values.
func storedMatrix(rng *rand.Rand, t ops.DType, rows, cols int) (ops.Stored, []float32) {
	values := make([]float32, rows*cols)
	for i := range values {
		values[i] = float32(rng.NormFloat64())
	}
	values = round(t, values)
	words := make([]uint64, (rows*cols*t.Size()+7)/8)
	data := bytesOf(words)[:rows*cols*t.Size()]
	convert(data, t, bytesOf(values), ops.F32)
	return ops.Stored{Name: fmt.Sprintf("random %s", t), Type: t, Rows: rows, Cols: cols, Data: data}, values
}

// TestWeightsArrive loads matrices of all types and sizes around a slot's, and
// reads them back.
func TestWeightsArrive(t *testing.T) {
	for _, act := range activationTypes {
		for _, readers := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s/%d", act, readers), func(t *testing.T) {
				b := onFake(t, roomy(t), Options{Act: act, Readers: readers})
				rng := rand.New(rand.NewPCG(1, 2))
				var tensors []ops.Tensor
				var values [][]float32
				total := int64(0)
				for _, from := range activationTypes {
					for _, rows := range []int{1, 7, 3001} {
						s, v := storedMatrix(rng, from, rows, 1031)
						u, w := storedMatrix(rng, act, 3, 1031)
						placed, err := b.Weights([]ops.Stored{s, u})
						if err != nil {
							t.Fatal(err)
						}
						if gap := address(placed[1]) - address(placed[0]); int(gap) != rows*1031*act.Size() {
							t.Errorf("%d rows: the next part is %d bytes on", rows, gap)
						}
						tensors, values = append(tensors, placed...), append(values, round(act, v), w)
						total += int64(len(s.Data) + len(u.Data))
					}
				}
				last := int64(0)
				if err := b.Flush(func(done int64) {
					if done <= last {
						t.Errorf("progress went from %d to %d", last, done)
					}
					last = done
				}); err != nil {
					t.Fatal(err)
				}
				if last != total {
					t.Errorf("progress ended at %d, want %d", last, total)
				}
				for i, x := range tensors {
					got := make([]float32, x.Rows*x.Cols)
					if err := b.Read(got, x); err != nil {
						t.Fatal(err)
					}
					if !slices.Equal(got, values[i]) {
						t.Fatalf("matrix %d %s differs", i, x)
					}
				}
				if used, reserved := b.Used(); used <= total/2 || reserved < used {
					t.Errorf("used %d, reserved %d of %d loaded", used, reserved, total)
				}
			})
		}
	}
}

// TestBeginLoads: weights that nobody flushed are there in the first step.
func TestBeginLoads(t *testing.T) {
	b := onFake(t, roomy(t), Options{Act: ops.F32})
	s, values := storedMatrix(rand.New(rand.NewPCG(1, 2)), ops.F32, 5, 9)
	placed, err := b.Weights([]ops.Stored{s})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Begin(&ops.Batch{Tokens: []int32{0}, Positions: []int32{0}, Start: []int32{0, 1}, Slots: []int32{0}}); err != nil {
		t.Fatal(err)
	}
	got := make([]float32, 45)
	if err := b.dev.Download(bytesOf(got), address(placed[0])); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, values) {
		t.Error("the weights differ")
	}
}

// TestLoadingFails makes calls fail in the middle of loading: the error names
// what was loaded, the readers end, and nothing stays behind.
func TestLoadingFails(t *testing.T) {
	for _, c := range []struct {
		call  string
		after int
	}{
		{"cuMemHostAlloc", 0},
		{"cuStreamCreateWithPriority", 0},
		{"cuEventCreate", 0},
		{"cuEventCreate", 3},
		{"cuMemcpyHtoDAsync_v2", 0},
		{"cuMemcpyHtoDAsync_v2", 5},
		{"cuEventRecord", 4},
		{"cuEventSynchronize", 1},
	} {
		t.Run(fmt.Sprintf("%s/%d", c.call, c.after), func(t *testing.T) {
			f := roomy(t)
			b := onFake(t, f, Options{Act: ops.BF16, Readers: 3})
			before := f.Live()
			s := ops.Stored{Name: "large", Type: ops.BF16, Rows: 20, Cols: 1 << 20, Data: make([]byte, 40<<20)}
			if _, err := b.Weights([]ops.Stored{s}); err != nil {
				t.Fatal(err)
			}
			f.Fail(c.call, c.after, 2)
			if err := b.Flush(nil); !errors.Is(err, cuda.ErrOutOfMemory) {
				t.Errorf("got %v, want out of memory", err)
			}
			before["buffer"]++
			if after := f.Live(); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("left behind: %v, want %v", after, before)
			}
		})
	}
}

// TestOutOfMemory: what does not fit is refused with the sizes, and what was
// placed before stays good.
func TestOutOfMemory(t *testing.T) {
	f := roomy(t)
	b := onFake(t, f, Options{Act: ops.BF16, ArenaBytes: 100 << 30}) // a hint that is too high
	if _, err := b.Activation(1<<10, 1<<10); err != nil {
		t.Fatalf("a hint that is too high: %v", err)
	}
	used, _ := b.Used()
	_, err := b.Float(1<<20, 1<<10)
	if !errors.Is(err, cuda.ErrOutOfMemory) {
		t.Errorf("got %v, want out of memory", err)
	}
	if after, _ := b.Used(); after != used {
		t.Errorf("used %d, before %d", after, used)
	}
	if _, err := b.Cache(ops.CacheShape{Pages: 4, PageSize: 16, KVHeads: 2, HeadDim: 64}); err != nil {
		t.Error(err)
	}
	_, err = b.Weights([]ops.Stored{{Name: "short", Type: ops.BF16, Rows: 2, Cols: 2, Data: make([]byte, 7)}})
	if want := "kernels: short: got 7 bytes, want 8 for BF16[2, 2]"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestArena: everything is aligned, a hint is one piece, and what does not fit
// gets a piece of its own.
func TestArena(t *testing.T) {
	f := roomy(t)
	b := onFake(t, f, Options{Act: ops.F16, ArenaBytes: 64 << 20})
	pieces := f.Live()["buffer"]
	for _, cols := range []int{1, 3, 127, 1 << 20, 5} {
		x, err := b.Activation(3, cols)
		if err != nil {
			t.Fatal(err)
		}
		if address(x)%alignment != 0 {
			t.Errorf("%s lies at %#x", x, address(x))
		}
	}
	if got := f.Live()["buffer"] - pieces; got != 1 {
		t.Errorf("got %d pieces, want 1", got)
	}
	if _, err := b.Float(1<<10, 30<<10); err != nil {
		t.Fatal(err)
	}
	if got := f.Live()["buffer"] - pieces; got != 2 {
		t.Errorf("got %d pieces, want 2", got)
	}
	if used, reserved := b.Used(); reserved-used > 80<<20 {
		t.Errorf("used %d of %d bytes", used, reserved)
	}
}

// TestCacheTooLarge: what kernels cannot address is refused.
func TestCacheTooLarge(t *testing.T) {
	b := onFake(t, roomy(t), Options{Act: ops.BF16})
	_, err := b.Cache(ops.CacheShape{Pages: 1 << 23, PageSize: 16, KVHeads: 1, HeadDim: 128})
	if want := "kernels: a cache with 34359738368 bytes of keys a layer, want at most 34359738352"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
