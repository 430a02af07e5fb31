package kernels

import (
	"testing"
	"unsafe"

	"github.com/godwit-llm/godwit/internal/cuda/cudatest"
	"github.com/godwit-llm/godwit/internal/ops"
)

// expectRandom places random matrices of odd sizes side by side and compares
// their bits with the plain definition, rounded as the type rounds.
func expectRandom(t *testing.T, b *Backend, sizes [][2]int) {
	t.Helper()
	var parts []ops.Stored
	for i, s := range sizes {
		r := &ops.Random{Seed: uint64(i) << 33, Scale: 0.3}
		parts = append(parts, ops.Stored{Name: "random", Type: b.opt.Act, Rows: s[0], Cols: s[1], Random: r})
	}
	placed, err := b.Weights(parts)
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range placed {
		got, want := make([]float32, x.Rows*x.Cols), make([]float32, x.Rows*x.Cols)
		if err := b.Read(got, x); err != nil {
			t.Fatal(err)
		}
		parts[i].Random.Fill(want, 0)
		want = round(b.opt.Act, want)
		for k := range want {
			if got[k] != want[k] {
				t.Fatalf("matrix %d %s: value %d is %g, want %g", i, x, k, got[k], want[k])
			}
		}
	}
}

// TestRandom: the kernel makes the numbers of ops.Random to the bit, at any
// size and address.
func TestRandom(t *testing.T) {
	for _, act := range activationTypes {
		t.Run(act.String(), func(t *testing.T) {
			d := onDevice(t, Options{Act: act})
			expectRandom(t, d.Backend, [][2]int{{1, 1}, {1, 7}, {3, 5}, {64, 64}, {17, 129}, {0, 8}, {5, 8}, {3001, 1031}})
		})
	}
}

// TestRandomLaunches stands in for the kernel where there is no device: what
// it is told is enough to write every value once and nothing else.
func TestRandomLaunches(t *testing.T) {
	for _, act := range activationTypes {
		t.Run(act.String(), func(t *testing.T) {
			f := roomy(t)
			registerAll(t, f)
			f.Kernel("random_"+suffix(act), []int{8, int(unsafe.Sizeof(randomArgs{}))}, func(c *cudatest.Call) { writeRandom(t, c, act) })
			b := opened(t, f.Device(t), Options{Act: act})
			expectRandom(t, b, [][2]int{{1, 1}, {1, 7}, {3, 5}, {64, 64}, {17, 129}, {5, 8}, {300, 1031}})
		})
	}
}

// writeRandom does what random.cu does.
func writeRandom(t *testing.T, c *cudatest.Call, act ops.DType) {
	a := *(*randomArgs)(unsafe.Pointer(&c.Bytes(1)[0]))
	values := make([]float32, a.n)
	ops.Random{Seed: a.seed, Scale: a.factor * (1 << 15)}.Fill(values, 0)
	if (a.vectors != 0) != (c.Ptr(0)%16 == 0) {
		t.Errorf("at %#x: vectors is %d", c.Ptr(0), a.vectors)
	}
	convert(c.Memory(c.Ptr(0), int(a.n)*act.Size()), act, bytesOf(values), ops.F32)
}

// TestRandomSpeed prints the rate at which weights are made up.
func TestRandomSpeed(t *testing.T) {
	if !*measuring {
		t.Skip("-speed measures")
	}
	needsGPU(t)
	d := onDevice(t, Options{Act: ops.BF16})
	const n = 1 << 31
	memory, err := d.dev.Alloc(2 * n)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		took, err := d.timed(func() { d.random(memory.Ptr(), n, ops.Random{Seed: 1, Scale: 1}) })
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%.1f GB/s", 2*n/took.Seconds()/1e9)
	}
}
