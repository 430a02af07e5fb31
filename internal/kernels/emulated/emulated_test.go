package emulated

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/cuda/cudatest"
)

// machine is an emulated device and the kernels of testdata.
type machine struct {
	*testing.T
	device  *cuda.Device
	stream  *cuda.Stream
	module  *cuda.Module
	message string // of the last launch
}

func newMachine(t *testing.T, seed uint64) *machine {
	t.Helper()
	m := &machine{T: t}
	f := cudatest.New(t, cudatest.Config{})
	f.AllowLeaks()
	register(t, f, "testdata", seed, func(err error) { m.message = err.Error() })
	m.device = f.Device(t)
	t.Cleanup(func() { m.device.Close() })
	var err error
	m.stream, err = m.device.NewStream(0)
	m.must(err)
	m.module, err = m.device.Load([]byte("any"))
	m.must(err)
	return m
}

func (m *machine) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

// buffer places values on the device.
func (m *machine) buffer(values []float32) *cuda.Buffer {
	m.Helper()
	b, err := m.device.Alloc(4 * len(values))
	m.must(err)
	m.must(m.device.Upload(b.Ptr(), bytesOf(values)))
	return b
}

func bytesOf(values []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&values[0])), 4*len(values))
}

// launch runs a kernel and waits for it.
func (m *machine) launch(name string, l cuda.Launch, args *cuda.Args) error {
	m.Helper()
	f, err := m.module.Function(name)
	m.must(err)
	m.must(m.stream.Launch(f, l, args))
	return m.stream.Synchronize()
}

func (m *machine) read(b *cuda.Buffer, n int) []float32 {
	m.Helper()
	out := make([]float32, n)
	m.must(m.device.Download(bytesOf(out), b.Ptr()))
	return out
}

// TestFaults: mistakes are reported with the kernel, the thread and the cause.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		kernel string
		launch cuda.Launch
		args   func(a *cuda.Args)
		want   string
	}{
		{"past_the_end", cuda.Launch{Block: cuda.Dim{X: 32}, Grid: cuda.Dim{X: 2}}, func(a *cuda.Args) { a.Int(256 - 63) }, "writes 4 bytes"},
		{"misaligned", cuda.Launch{Block: cuda.Dim{X: 32}}, nil, "is not aligned to 16 bytes"},
		{"past_shared", cuda.Launch{Block: cuda.Dim{X: 32}, Shared: 128}, nil, "writes 4 bytes of shared memory"},
		{"index_too_large", cuda.Launch{Block: cuda.Dim{X: 32}}, func(a *cuda.Args) { a.Int(1) }, "out of bounds"},
		{"barrier_of_some", cuda.Launch{Block: cuda.Dim{X: 64}}, nil, "deadlock: 32 threads wait, none can go on\n  block (0, 0, 0), thread (0, 0, 0) waits for barrier 1"},
		{"shuffle_of_some", cuda.Launch{Block: cuda.Dim{X: 32}}, nil, "deadlock"},
		{"too_many_bytes", cuda.Launch{Block: cuda.Dim{X: 64}}, func(a *cuda.Args) { a.Ptr(0) }, ""},
		{"waits_for_ever", cuda.Launch{Block: cuda.Dim{X: 1}}, nil, "waits in vain"},
		{"reversed", cuda.Launch{Block: cuda.Dim{X: 257}}, func(a *cuda.Args) { a.Int(1) }, "out of bounds"},
		{"neighbours", cuda.Launch{Block: cuda.Dim{X: 32}, Grid: cuda.Dim{X: 3}}, func(a *cuda.Args) { a.Int(2) }, "no multiple of its clusters"},
		{"neighbours", cuda.Launch{Block: cuda.Dim{X: 32}, Grid: cuda.Dim{X: 4}, Cluster: cuda.Dim{X: 4}}, func(a *cuda.Args) { a.Int(2) }, "clusters of 4 blocks, its code has 2"},
	} {
		t.Run(c.kernel, func(t *testing.T) {
			m := newMachine(t, 1)
			out, args := m.buffer(make([]float32, 256)), &cuda.Args{}
			if c.kernel == "too_many_bytes" {
				in := m.buffer(make([]float32, 64))
				args.Ptr(in.Ptr()).Ptr(out.Ptr())
				c.want = "waits for a barrier in memory"
			} else if args.Ptr(out.Ptr()); c.args != nil {
				c.args(args)
			}
			err := m.launch(c.kernel, c.launch, args)
			if err == nil || !strings.Contains(m.message, c.want) || !strings.Contains(m.message, "kernel "+c.kernel) {
				t.Errorf("got %v and %q, want %q", err, m.message, c.want)
			}
		})
	}
}

// TestMissingWaits: without a barrier, or without waiting for a copy, results
// are wrong for most seeds; with it, for none.
func TestMissingWaits(t *testing.T) {
	const seeds = 40
	for _, c := range []struct {
		kernel string
		launch cuda.Launch
		in     bool // it takes an input: the numbers from 0
		n      int  // results
		enough int  // waits
		want   func(i int) float32
	}{
		{"reversed", cuda.Launch{Block: cuda.Dim{X: 256}}, false, 256, 1, func(i int) float32 { return float32(255 - i) }},
		{"reversed_warp", cuda.Launch{Block: cuda.Dim{X: 32}}, false, 32, 1, func(i int) float32 { return float32(31 - i) }},
		{"copied", cuda.Launch{Block: cuda.Dim{X: 32}}, true, 128, 1, func(i int) float32 { return float32(i) }},
		{"copied_in_bulk", cuda.Launch{Block: cuda.Dim{X: 256}}, true, 256, 1, func(i int) float32 { return float32(i) }},
		{"sent", cuda.Launch{Block: cuda.Dim{X: 32}, Grid: cuda.Dim{X: 8}}, false, 8, 2, func(i int) float32 { return float32(i ^ 1) }},
		{"neighbours", cuda.Launch{Block: cuda.Dim{X: 32}, Grid: cuda.Dim{X: 8}}, false, 8, 2, func(i int) float32 { return float32(i ^ 1) }},
	} {
		for waits := range c.enough + 1 {
			t.Run(fmt.Sprintf("%s/%d", c.kernel, waits), func(t *testing.T) {
				wrong := 0
				for seed := range uint64(seeds) {
					t.Run(fmt.Sprint(seed), func(t *testing.T) {
						m := newMachine(t, seed)
						out, args := m.buffer(make([]float32, 256)), &cuda.Args{}
						if c.in {
							args.Ptr(m.buffer(ascending(256)).Ptr())
						}
						err := m.launch(c.kernel, c.launch, args.Ptr(out.Ptr()).Int(waits))
						if err != nil || !slices.Equal(m.read(out, c.n), results(c.n, c.want)) {
							wrong++
						}
					})
				}
				if waits == c.enough && wrong > 0 || waits < c.enough && wrong < seeds/2 {
					t.Errorf("%d of %d seeds give wrong results", wrong, seeds)
				}
			})
		}
	}
}

func ascending(n int) []float32 { return results(n, func(i int) float32 { return float32(i) }) }

func results(n int, of func(i int) float32) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = of(i)
	}
	return out
}

// TestProduct compares a product of matrices with the plain sums.
func TestProduct(t *testing.T) {
	m := newMachine(t, 1)
	rng := rand.New(rand.NewPCG(1, 2))
	bf16 := func(n int) (values []float32, packed []float32) {
		packed = make([]float32, n/2)
		for i := range n {
			v := float32(math.Round(rng.NormFloat64()*16) / 16)
			values = append(values, v)
			p := (*uint32)(unsafe.Pointer(&packed[i/2]))
			*p |= math.Float32bits(v) >> 16 << (16 * (i % 2))
		}
		return values, packed
	}
	a, packedA := bf16(16 * 16)
	b, packedB := bf16(16 * 8)
	out := m.buffer(make([]float32, 16*8))
	args := (&cuda.Args{}).Ptr(m.buffer(packedA).Ptr()).Ptr(m.buffer(packedB).Ptr()).Ptr(out.Ptr())
	m.must(m.launch("product", cuda.Launch{Block: cuda.Dim{X: 32}}, args))
	for i, got := range m.read(out, 16*8) {
		var want float32
		for k := range 16 {
			want += a[i/8*16+k] * b[i%8*16+k]
		}
		if got != want {
			t.Errorf("[%d, %d]: got %g, want %g", i/8, i%8, got, want)
		}
	}
}
