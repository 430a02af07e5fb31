package kernels

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/cuda/cudatest"
	"github.com/godwit-llm/godwit/internal/ops"
)

// roomy is a fake machine with a GiB of device memory.
func roomy(t testing.TB) *cudatest.Fake {
	return cudatest.New(t, cudatest.Config{NoBLASLt: true, Devices: []cudatest.Device{{Memory: 1 << 30}}})
}

func TestNewRefusesTypes(t *testing.T) {
	f := roomy(t)
	dev := f.Device(t)
	defer dev.Close()
	if _, err := New(dev, Options{Act: ops.I32}); err == nil || !strings.Contains(err.Error(), "I32") {
		t.Errorf("got %v, want an error about I32", err)
	}
}

// TestNewFails makes each call of New fail in turn: the error is the driver's,
// and nothing stays behind.
func TestNewFails(t *testing.T) {
	calls := map[string]int{"cuStreamCreateWithPriority": 1, "cuModuleLoadDataEx": 4, "cuModuleGetFunction": 8}
	for call, times := range calls {
		for after := range times {
			t.Run(fmt.Sprintf("%s/%d", call, after), func(t *testing.T) {
				f := roomy(t)
				registerAll(t, f)
				dev := f.Device(t)
				defer dev.Close()
				before := f.Leaks()
				f.Fail(call, after, 2)
				_, err := New(dev, Options{Act: ops.BF16})
				if !errors.Is(err, cuda.ErrOutOfMemory) {
					t.Errorf("got %v, want out of memory", err)
				}
				if after := f.Leaks(); after != before {
					t.Errorf("left behind: %s, before %s", after, before)
				}
			})
		}
	}
}

// TestCloseGivesAllBack opens, uses and closes a backend.
func TestCloseGivesAllBack(t *testing.T) {
	f := roomy(t)
	registerAll(t, f)
	dev := f.Device(t)
	defer dev.Close()
	before := f.Leaks()
	b, err := New(dev, Options{Act: ops.BF16})
	if err != nil {
		t.Fatal(err)
	}
	m := newHot(t, b)
	m.step()
	if err := b.wait(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	if after := f.Leaks(); after != before {
		t.Errorf("left behind: %s, before %s", after, before)
	}
}

// TestCodeOnDemand: a model loads the code of the operations that it needs, each
// source once.
func TestCodeOnDemand(t *testing.T) {
	f := roomy(t)
	registerAll(t, f)
	dev := f.Device(t)
	defer dev.Close()
	loads := func() int { return f.Calls("cuModuleLoadDataEx") }
	b, err := New(dev, Options{Act: ops.BF16})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	const common = 11
	if loads() != common {
		t.Errorf("a backend has loaded %d modules, want %d", loads(), common)
	}
	cache := func(f ops.CacheFormat) error {
		_, err := b.Cache(ops.CacheShape{Pages: 1, PageSize: 16, KVHeads: 1, HeadDim: 64, Format: f})
		return err
	}
	weights := ops.Stored{Name: "w", Type: ops.BF16, Rows: 8, Cols: 8, Random: &ops.Random{Scale: 1}}
	for _, c := range []struct {
		name    string
		ask     func() error
		modules int
	}{
		{"a cache", func() error { return cache(ops.Plain) }, 0},
		{"a cache in INT8", func() error { return cache(ops.INT8) }, 1},
		{"a cache in FP8", func() error { return cache(ops.FP8) }, 1},
		{"a state", func() error { _, err := b.State(ops.F32, 1, 64); return err }, 5},
		{"routes", func() error {
			_, err := b.Routes(ops.Mixture{Rows: 1, TopK: 1, Experts: 2, Width: 8, Out: 8})
			return err
		}, 4},
		{"random weights", func() error { _, err := b.Weights([]ops.Stored{weights}); return err }, 1},
	} {
		for i := range 2 {
			before := loads()
			if err := c.ask(); err != nil {
				t.Fatal(err)
			}
			if i > 0 {
				c.modules = 0
			}
			if got := loads() - before; got != c.modules {
				t.Errorf("%s, time %d: loaded %d modules, want %d", c.name, i+1, got, c.modules)
			}
		}
	}
}

// TestCodeFails: code that cannot be loaded is the error of what asked for it.
func TestCodeFails(t *testing.T) {
	f := roomy(t)
	registerAll(t, f)
	dev := f.Device(t)
	defer dev.Close()
	b, err := New(dev, Options{Act: ops.BF16})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	f.Fail("cuModuleLoadDataEx", 1, 2)
	if _, err := b.State(ops.F32, 1, 64); !errors.Is(err, cuda.ErrOutOfMemory) || !strings.Contains(err.Error(), "kernels: image ") {
		t.Errorf("a state: got %v, want the image and out of memory", err)
	}
	f.Fail("cuModuleLoadDataEx", 0, 2)
	if _, err := b.Routes(ops.Mixture{Rows: 1, TopK: 1, Experts: 2, Width: 8, Out: 8}); !errors.Is(err, cuda.ErrOutOfMemory) {
		t.Errorf("routes: got %v, want out of memory", err)
	}
	f.Fail("cuModuleLoadDataEx", 0, 2)
	weights := ops.Stored{Name: "w", Type: ops.BF16, Rows: 8, Cols: 8, Random: &ops.Random{Scale: 1}}
	if _, err := b.Weights([]ops.Stored{weights}); !errors.Is(err, cuda.ErrOutOfMemory) {
		t.Errorf("random weights: got %v, want out of memory", err)
	}
}

// hot is what a step of a dense model calls, without products and attention.
type hot struct {
	*Backend
	batch                  *ops.Batch
	table, x, h, qkv, last ops.Tensor
	norm                   *ops.Norm
	attention              *ops.Attention
	cache                  ops.Cache
	t                      testing.TB
}

func newHot(t testing.TB, b *Backend) *hot {
	t.Helper()
	m := &hot{Backend: b, t: t}
	get := func(x ops.Tensor, err error) ops.Tensor {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	m.table = get(b.place(b.opt.Act, 10, 64))
	m.x, m.h, m.qkv, m.last = get(b.Float(8, 64)), get(b.Activation(8, 64)), get(b.Activation(8, 128)), get(b.Float(8, 64))
	m.norm = &ops.Norm{Weight: get(b.Vector(make([]float32, 64))), Eps: 1e-5}
	m.attention = &ops.Attention{Heads: 4, KVHeads: 2, HeadDim: 16, Rotary: &ops.Rotary{InvFreq: make([]float32, 8), Scale: 1}}
	var err error
	if m.cache, err = b.Cache(ops.CacheShape{Pages: 4, PageSize: 16, KVHeads: 2, HeadDim: 16}); err != nil {
		t.Fatal(err)
	}
	m.batch = &ops.Batch{
		Tokens: []int32{1, 2, 3}, Positions: []int32{7, 0, 1}, Start: []int32{0, 1, 3},
		Pages: []int32{0, -1, 1, -1}, MaxPages: 2, Slots: []int32{0, 1}, Outputs: []int32{0, 2},
	}
	return m
}

func (m *hot) step() {
	if err := m.Begin(m.batch); err != nil {
		m.t.Fatal(err)
	}
	x, h, qkv := m.x.Top(3), m.h.Top(3), m.qkv.Top(3)
	m.Embed(x, m.table)
	m.Angles(m.attention.Rotary)
	m.Norm(h, x, m.norm)
	m.Append(qkv.Columns(0, 64), qkv.Columns(64, 96), qkv.Columns(96, 128), m.attention, m.cache)
	m.Multiply(qkv.Columns(0, 64), qkv.Columns(0, 64), qkv.Columns(64, 128), ops.SiLU)
	m.Gather(m.last.Top(2), x)
}

// TestLaunches: a step launches its kernels in order, each so that it may begin
// while the one before it ends, but for the first one behind the batch, which
// others read early.
func TestLaunches(t *testing.T) {
	f := roomy(t)
	registerAll(t, f)
	var seen []string
	watch := func(name string) {
		f.Kernel(name, nil, func(c *cudatest.Call) {
			seen = append(seen, name)
			if first := name == "embed_bf16"; c.Overlap == first {
				t.Errorf("%s: overlaps with what is before it: %v, want %v", name, c.Overlap, !first)
			}
		})
	}
	names := []string{"load_batch", "embed_bf16", "rotary_angles", "norm_f32_bf16", "append_bf16", "multiply_bf16", "gather_16"}
	for _, name := range names {
		watch(name)
	}
	b := opened(t, f.Device(t), Options{Act: ops.BF16})
	newHot(t, b).step()
	if err := b.wait(); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(seen, names) {
		t.Errorf("launched %v, want %v", seen, names)
	}
}

// TestBatchOnDevice: the batch arrives as it is, for steps of all sizes.
func TestBatchOnDevice(t *testing.T) {
	b := onFake(t, roomy(t), Options{Act: ops.F32})
	for _, sizes := range [][]int{{1}, {3, 1, 1}, {64}, {65}, {1000, 7}, slices.Repeat([]int{1}, 300)} {
		batch := &ops.Batch{Start: []int32{0}, MaxPages: 300, Outputs: []int32{0}}
		var owner []int32
		longest := 0
		for s, n := range sizes {
			pages := 1 + (s*5+n)/4
			for i := range batch.MaxPages {
				page := int32(-1)
				if i < pages {
					page = int32(100*s + i)
				}
				batch.Pages = append(batch.Pages, page)
			}
			for i := range n {
				batch.Tokens = append(batch.Tokens, int32(s*1000+i))
				batch.Positions = append(batch.Positions, int32(s*5+i))
				owner = append(owner, int32(s))
			}
			longest = max(longest, s*5+n)
			batch.Start = append(batch.Start, int32(len(batch.Tokens)))
			batch.Slots = append(batch.Slots, int32(s+7))
		}
		if err := b.Begin(batch); err != nil {
			t.Fatal(err)
		}
		st := &b.step
		words := func(p cuda.DevicePtr, n int) []int32 {
			out := make([]int32, n)
			if err := b.dev.Download(bytesOf(out), p); err != nil {
				t.Fatal(err)
			}
			return out
		}
		counts := words(st.counts, 4)
		if want := []int32{int32(len(owner)), int32(len(sizes)), 1}; !slices.Equal(counts[:3], want) {
			t.Errorf("%v: counts %v, want %v", sizes, counts, want)
		}
		for _, c := range []struct {
			name string
			at   cuda.DevicePtr
			want []int32
		}{
			{"tokens", st.tokens, batch.Tokens},
			{"positions", st.positions, batch.Positions},
			{"owner", st.owner, owner},
			{"start", st.start, batch.Start},
			{"slots", st.slots, batch.Slots},
			{"outputs", st.outputs, batch.Outputs},
		} {
			if got := words(c.at, len(c.want)); !slices.Equal(got, c.want) {
				t.Errorf("%v: %s: got %v, want %v", sizes, c.name, got, c.want)
			}
		}
		row := int(counts[3])
		for s := range sizes {
			got, want := words(st.pages+cuda.DevicePtr(4*s*row), row), batch.Pages[s*batch.MaxPages:]
			if !slices.Equal(got, want[:row]) || row < batch.MaxPages && want[row] != -1 {
				t.Errorf("%v: pages of %d: got %v", sizes, s, got)
			}
		}
		if st.longest != longest || st.pieces != slices.Max(sizes) {
			t.Errorf("%v: longest %d, largest piece %d", sizes, st.longest, st.pieces)
		}
	}
}

// TestFirstErrorIsReported: an error of a launch comes out of Read, and not
// again; a fault of the device stays.
func TestFirstErrorIsReported(t *testing.T) {
	f := roomy(t)
	m := newHot(t, onFake(t, f, Options{Act: ops.BF16}))
	m.step()
	f.Fail("cuLaunchKernelEx", 1, 701)
	m.step()
	var failed *cuda.Error
	if err := m.Read(make([]float32, 64), m.h.Top(1)); !errors.As(err, &failed) || failed.Code != 701 {
		t.Errorf("got %v, want code 701", err)
	}
	m.step()
	if err := m.Read(make([]float32, 64), m.h.Top(1)); err != nil {
		t.Errorf("after the report: %v", err)
	}
	f.Fail("cuLaunchKernelEx", 2, 700)
	m.step()
	for range 2 {
		if err := m.Begin(m.batch); !errors.Is(err, cuda.ErrSticky) {
			t.Errorf("got %v, want a fault of the device", err)
		}
	}
	f.AllowLeaks()
}

// TestWrongTypesAreReported: operands of a type that an operation does not take
// are an error, not a launch.
func TestWrongTypesAreReported(t *testing.T) {
	m := newHot(t, onFake(t, roomy(t), Options{Act: ops.BF16}))
	for name, call := range map[string]func(){
		"scan":       func() { m.Scan(m.x, m.x, m.x, nil, m.x) },
		"convolve":   func() { m.Convolve(m.x, m.x, nil, m.x) },
		"gated norm": func() { m.GatedNorm(m.x, m.x, m.x, nil) },
		"embed":      func() { m.Embed(m.h, m.table) }, // of the wrong type
	} {
		m.step()
		call()
		if err := m.Read(make([]float32, 64), m.x.Top(1)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
