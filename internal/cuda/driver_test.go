package cuda_test

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/cuda/cudatest"
)

func TestInfo(t *testing.T) {
	f := cudatest.New(t, cudatest.Config{Version: 13010, Devices: []cudatest.Device{
		{},
		{Name: "Second", Capability: 120, Memory: 1 << 20, Attributes: map[int]int{16: 188}},
	}})
	driver, err := cuda.LoadDriver(f.Options())
	if err != nil {
		t.Fatal(err)
	}
	if v := driver.Version().String(); v != "13.1" {
		t.Errorf("version %s", v)
	}
	if n, err := driver.Count(); n != 2 || err != nil {
		t.Errorf("%d devices, %v", n, err)
	}
	info, err := driver.Info(1)
	want := cuda.Info{
		Ordinal: 1, Name: "Second", Capability: 120, BusID: "0000:02:00.0", Memory: 1 << 20, Multiprocessors: 188,
		L2: 1 << 20, SharedBlock: 48 << 10, SharedOptIn: 227 << 10, SharedSM: 228 << 10, Clock: 1_980_000,
		MemoryClock: 3_201_000, BusWidth: 6144, Clusters: true, Cooperative: true,
	}
	if info != want || err != nil {
		t.Errorf("got  %+v, %v\nwant %+v", info, err, want)
	}
	if c := info.Capability.String(); c != "12.0" {
		t.Errorf("capability %s", c)
	}
	if b := info.Bandwidth(); b < 4.9e12 || b > 4.93e12 {
		t.Errorf("bandwidth %g", b)
	}
}

func TestCopies(t *testing.T) {
	f := cudatest.New(t, cudatest.Config{})
	d := f.Device(t)
	defer d.Close()
	s, err := d.NewStream(1)
	if err != nil {
		t.Fatal(err)
	}
	testCopies(t, d, s)
}

// TestLate: on a fake that puts work off, copies take what stands in memory when
// somebody waits for them, and no more is done than what was waited for.
func TestLate(t *testing.T) {
	d := cudatest.New(t, cudatest.Config{Late: true}).Device(t)
	defer d.Close()
	s, first, second := must(d.NewStream(0)), must(d.NewEvent(true)), must(d.NewEvent(true))
	a, h := must(d.Alloc(4)), must(d.AllocHost(12, false))
	bytes := h.Bytes()
	bytes[0] = 1
	steps := []error{
		s.Upload(a.Ptr(), h, 0, 4), s.Download(h, 4, a.Ptr(), 4), first.Record(s),
		s.Fill(a.Ptr(), 9, 4), s.Download(h, 8, a.Ptr(), 4), second.Record(s),
	}
	bytes[0] = 2 // too early
	steps = append(steps, first.Synchronize())
	if bytes[4] != 2 || bytes[8] != 0 {
		t.Errorf("behind the first event there is %d, want the 2 that took the place of 1; behind the second %d, want nothing yet", bytes[4], bytes[8])
	}
	if steps = append(steps, s.Synchronize()); bytes[8] != 9 {
		t.Errorf("got %d in the end, want 9", bytes[8])
	}
	if took := must(second.Elapsed(first)); took <= 0 {
		t.Errorf("got %v between the events", took)
	}
	if err := errors.Join(append(steps, a.Close(), h.Close(), first.Close(), second.Close(), s.Close())...); err != nil {
		t.Error(err)
	}
}

// TestPinnedAddress: kernels reach pinned memory at its address, unless it may have
// another one for them.
func TestPinnedAddress(t *testing.T) {
	f := cudatest.New(t, cudatest.Config{})
	f.Kernel("add", []int{8, 4}, func(c *cudatest.Call) { c.Memory(c.Ptr(0), 1)[0] += byte(c.Int32(1)) })
	d := f.Device(t)
	defer d.Close()
	_, s, k := load(t, d, "add")
	h, combined, registered := must(d.AllocHost(16, false)), must(d.AllocHost(16, true)), must(d.Register(make([]byte, 16), false))
	if err := errors.Join(s.Launch(k, cuda.Launch{}, new(cuda.Args).Ptr(h.Ptr()+3).Int32(5)), s.Synchronize()); err != nil || h.Bytes()[3] != 5 {
		t.Errorf("got %v, %v; want 5 in byte 3", h.Bytes(), err)
	}
	if combined.Ptr() != 0 || registered.Ptr() != 0 {
		t.Errorf("got addresses %x and %x of memory that combines writes and that was registered, want none", combined.Ptr(), registered.Ptr())
	}
	if err := h.Close(); err != nil || h.Ptr() != 0 {
		t.Errorf("got %v, and the address %x after Close", err, h.Ptr())
	}
	if err := errors.Join(combined.Close(), registered.Close()); err != nil {
		t.Error(err)
	}
}

// testCopies sends bytes along every way there is, on any device.
func testCopies(t *testing.T, d *cuda.Device, s *cuda.Stream) {
	t.Helper()
	const n = 1 << 20
	a, b, h := must(d.Alloc(n)), must(d.Alloc(n)), must(d.AllocHost(2*n, false))
	for i := range h.Bytes()[:n] {
		h.Bytes()[i] = byte(i*7 + i>>8)
	}
	steps := []error{
		s.Upload(a.Ptr(), h, 0, n),
		s.Copy(b.Ptr(), a.Ptr(), n),
		s.Fill(b.Ptr()+10, 0xAB, 5),
		s.Fill32(b.Ptr()+100, 0x01020304, 3),
		s.Download(h, n, b.Ptr(), n),
		s.Upload(a.Ptr(), h, 0, 0), s.Download(h, 2*n, b.Ptr(), 0), s.Copy(a.Ptr(), b.Ptr(), 0),
		s.Fill(a.Ptr(), 1, 0), s.Fill32(a.Ptr(), 1, 0),
		s.Synchronize(),
	}
	if err := errors.Join(steps...); err != nil {
		t.Fatal(err)
	}
	want := slices.Clone(h.Bytes()[:n])
	copy(want[10:], "\xAB\xAB\xAB\xAB\xAB")
	copy(want[100:], "\x04\x03\x02\x01\x04\x03\x02\x01\x04\x03\x02\x01")
	if !bytes.Equal(h.Bytes()[n:], want) {
		t.Error("bytes came back changed along the stream")
	}
	got := make([]byte, n)
	for i := range want {
		want[i] ^= 0x5A
	}
	if err := errors.Join(d.Upload(a.Ptr(), want), d.Download(got, a.Ptr()), d.Upload(a.Ptr(), nil), d.Download(nil, a.Ptr())); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("bytes came back changed")
	}
	for _, bad := range [][2]int{{-1, 1}, {0, 2*n + 1}, {2 * n, 1}, {1, -1}, {5, 2*n - 4}} {
		if s.Upload(a.Ptr(), h, bad[0], bad[1]) == nil || s.Download(h, bad[0], a.Ptr(), bad[1]) == nil {
			t.Errorf("copied %d bytes from %d of pinned memory of %d", bad[1], bad[0], 2*n)
		}
	}
	if err := errors.Join(a.Close(), b.Close(), h.Close()); err != nil {
		t.Error(err)
	}
}

// must is for calls that cannot fail in a test; it ends the program's test
// run with the error.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestView(t *testing.T) {
	b := cuda.View[uint8](make([]byte, 64))
	words := cuda.View[uint32](b)
	words[1] = 0x01020304
	if len(words) != 16 || b[4] != 4 {
		t.Errorf("%d words, bytes %v", len(words), b[:8])
	}
	if len(cuda.View[float64](b[:15])) != 1 || cuda.View[float32](b[:3]) != nil {
		t.Error("numbers that are not whole")
	}
	defer func() {
		if recover() == nil {
			t.Error("viewed unaligned bytes")
		}
	}()
	cuda.View[uint32](b[1:])
}

func TestRegister(t *testing.T) {
	f := cudatest.New(t, cudatest.Config{})
	d := f.Device(t)
	defer d.Close()
	s := must(d.NewStream(0))
	mem := []byte("a mapped file")
	p := must(d.Register(mem, true))
	b := must(d.Alloc(len(mem)))
	got := make([]byte, len(mem))
	if err := errors.Join(s.Upload(b.Ptr(), p, 0, len(mem)), s.Synchronize(), d.Download(got, b.Ptr())); err != nil || string(got) != string(mem) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := d.Register(nil, true); err == nil {
		t.Error("registered nothing")
	}
}

type pair struct {
	A int32
	B float64
}

// TestArgs passes every kind of parameter.
func TestArgs(t *testing.T) {
	f := cudatest.New(t, cudatest.Config{})
	var got *cudatest.Call
	f.Kernel("all", []int{8, 4, 4, 8, 4, 16, 3, 8, 4}, func(c *cudatest.Call) { got = c })
	d := f.Device(t)
	defer d.Close()
	_, s, k := load(t, d, "all")
	a := new(cuda.Args)
	a.Ptr(0x1234).Int32(-5).Float32(1.5).Int64(-7).Uint32(1 << 31)
	cuda.Struct(a, pair{3, 2.5})
	cuda.Struct(a, [3]byte{1, 2, 3})
	a.Float64(0.25).Int(77)
	shape := cuda.Launch{Grid: cuda.Dim{X: 3, Y: 2}, Block: cuda.Dim{X: 64}, Shared: 100}
	if err := s.Launch(k, shape, a); err != nil {
		t.Fatal(err)
	}
	a.Reset().Int32(0) // the launch has taken its copy
	if got.Ptr(0) != 0x1234 || got.Int32(1) != -5 || got.Float32(2) != 1.5 || int64(got.Uint64(3)) != -7 || uint32(got.Int32(4)) != 1<<31 ||
		!bytes.Equal(got.Bytes(6), []byte{1, 2, 3}) || got.Uint64(7) != 0x3FD0000000000000 || got.Int32(8) != 77 {
		t.Errorf("parameters arrived changed: %+v", got)
	}
	if b := got.Bytes(5); b[0] != 3 || b[15] != 0x40 || b[14] != 0x04 {
		t.Errorf("struct arrived as %v", b)
	}
	if got.Grid != [3]int{3, 2, 1} || got.Block != [3]int{64, 1, 1} || got.Shared != 100 || got.Overlap || got.Cluster != [3]int{} {
		t.Errorf("launched as %+v", got)
	}
	if sizes, err := k.Parameters(); err != nil || !slices.Equal(sizes, []int{8, 4, 4, 8, 4, 16, 3, 8, 4}) {
		t.Errorf("parameters of %v bytes, %v", sizes, err)
	}
}

func TestArgsLimits(t *testing.T) {
	f := cudatest.New(t, cudatest.Config{})
	f.Kernel("k", nil, nil)
	d := f.Device(t)
	defer d.Close()
	_, s, k := load(t, d, "k")
	a := new(cuda.Args)
	for range 65 {
		a.Int32(1)
	}
	if err := s.Launch(k, cuda.Launch{}, a); err == nil || a.Len() != 64 {
		t.Errorf("65 parameters: %v", err)
	}
	cuda.Struct(a.Reset(), [4096]byte{})
	if err := s.Launch(k, cuda.Launch{}, a); err != nil {
		t.Errorf("4096 bytes: %v", err)
	}
	if err := s.Launch(k, cuda.Launch{}, a.Int32(1)); err == nil {
		t.Error("4100 bytes of parameters")
	}
	err := s.Launch(k, cuda.Launch{}, a.Reset().Int(1<<31))
	check(t, err, "cuda: kernel parameter 0 is 2147483648, want 32 bits", nil)
}

func TestLaunchAttributes(t *testing.T) {
	for _, capability := range []cuda.Capability{80, 90} {
		f := cudatest.New(t, cudatest.Config{Devices: []cudatest.Device{{Capability: capability}}})
		var got *cudatest.Call
		f.Kernel("k", []int{4}, func(c *cudatest.Call) { got = c })
		d := f.Device(t)
		_, s, k := load(t, d, "k")
		a := new(cuda.Args).Int32(9)
		shape := cuda.Launch{Grid: cuda.Dim{X: 8}, Block: cuda.Dim{X: 32}, Cluster: cuda.Dim{X: 4, Y: 2}, Cooperative: true, Overlap: true}
		if err := s.Launch(k, shape, a); err != nil {
			t.Fatal(err)
		}
		if got.Cluster != [3]int{4, 2, 1} || !got.Cooperative || got.Overlap != (capability == 90) || got.Int32(0) != 9 {
			t.Errorf("capability %v: launched as %+v", capability, got)
		}
		if err := s.Launch(k, cuda.Launch{Overlap: true}, a); err != nil || got.Cooperative || got.Cluster != [3]int{} {
			t.Errorf("capability %v: launched as %+v, %v", capability, got, err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestFunction(t *testing.T) {
	f := cudatest.New(t, cudatest.Config{})
	f.Kernel("k", nil, nil)
	d := f.Device(t)
	defer d.Close()
	m, s, k := load(t, d, "k")
	err := s.Launch(k, cuda.Launch{Block: cuda.Dim{X: 128}, Shared: 64 << 10}, nil)
	check(t, err, "cuda: cuLaunchKernel: CUDA_ERROR_INVALID_VALUE (1): invalid argument; kernel k, grid 1×1×1, block 128×1×1, 65536 bytes of shared memory", nil)
	if err := errors.Join(k.SetMaxShared(64<<10), s.Launch(k, cuda.Launch{Shared: 64 << 10}, nil), k.SetCarveout(50), k.AllowBigClusters()); err != nil {
		t.Error(err)
	}
	check(t, k.SetMaxShared(1<<20), "cuda: cuFuncSetAttribute: CUDA_ERROR_INVALID_VALUE (1): invalid argument; kernel k: wanted 1048576 bytes of shared memory, the device has 232448", nil)
	if n, err := k.Occupancy(256, 0); n != 8 || err != nil {
		t.Errorf("occupancy %d, %v", n, err)
	}
	info, err := k.Info()
	if want := (cuda.FunctionInfo{MaxThreads: 1024, Registers: 32, PTX: 70, Binary: 90}); info != want || err != nil {
		t.Errorf("info %+v, %v", info, err)
	}
	if k.Name() != "k" {
		t.Errorf("name %s", k.Name())
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	check(t, s.Launch(k, cuda.Launch{}, nil), "cuda: the module of kernel k is closed", cuda.ErrClosed)
	_, err = k.Occupancy(1, 0)
	check(t, err, "cuda: the module of kernel k is closed", cuda.ErrClosed)
}

func TestEvents(t *testing.T) {
	f := cudatest.New(t, cudatest.Config{})
	f.Kernel("k", nil, nil)
	d := f.Device(t)
	defer d.Close()
	_, s, k := load(t, d, "k")
	other := must(d.NewStream(0))
	a, b, untimed := must(d.NewEvent(true)), must(d.NewEvent(true)), must(d.NewEvent(false))
	if err := a.Record(s); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := s.Launch(k, cuda.Launch{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(b.Record(s), untimed.Record(s), other.Wait(b), b.Synchronize()); err != nil {
		t.Fatal(err)
	}
	if took, err := b.Elapsed(a); took != 5*time.Microsecond || err != nil {
		t.Errorf("took %v, %v", took, err)
	}
	if _, err := untimed.Elapsed(a); err == nil {
		t.Error("measured with an event without timing")
	}
	if done, err := b.Done(); !done || err != nil {
		t.Errorf("done %v, %v", done, err)
	}
	f.Fail("cuStreamQuery", 0, 600)
	if done, err := s.Done(); done || err != nil {
		t.Errorf("done %v, %v; want not ready", done, err)
	}
	if done, err := s.Done(); !done || err != nil {
		t.Errorf("done %v, %v", done, err)
	}
}

func TestGraph(t *testing.T) {
	f := cudatest.New(t, cudatest.Config{})
	f.Kernel("add", []int{8, 4}, func(c *cudatest.Call) { c.Memory(c.Ptr(0), 1)[0] += byte(c.Int32(1)) })
	d := f.Device(t)
	defer d.Close()
	_, s, k := load(t, d, "add")
	side, e := must(d.NewStream(0)), must(d.NewEvent(false))
	b := must(d.Alloc(1))
	if err := s.Fill(b.Ptr(), 0, 1); err != nil {
		t.Fatal(err)
	}
	var a cuda.Args
	record := func(n int, values ...int32) *cuda.Graph {
		return must(s.Capture(func() error {
			for _, v := range values {
				if err := s.Launch(k, cuda.Launch{}, a.Reset().Ptr(b.Ptr()).Int32(v)); err != nil {
					return err
				}
			}
			if n > len(values) {
				return errors.Join(e.Record(s), side.Wait(e), side.Launch(k, cuda.Launch{}, &a), e.Record(side), s.Wait(e))
			}
			return nil
		}))
	}
	value := func() byte {
		var v [1]byte
		if err := d.Download(v[:], b.Ptr()); err != nil {
			t.Fatal(err)
		}
		return v[0]
	}
	g := record(4, 1, 2, 3)
	if n, err := g.Nodes(); n != 4 || err != nil {
		t.Errorf("%d nodes, %v", n, err)
	}
	if v := value(); v != 0 {
		t.Errorf("recording did the work: %d", v)
	}
	x := must(g.Instantiate())
	if err := errors.Join(g.Close(), x.Prepare(s), x.Launch(s), x.Launch(s), s.Synchronize()); err != nil {
		t.Fatal(err)
	}
	if v := value(); v != 18 {
		t.Errorf("two launches made %d, want 18", v)
	}
	if same, err := x.Update(record(4, 10, 10, 10)); !same || err != nil {
		t.Errorf("update %v, %v", same, err)
	}
	if err := x.Launch(s); err != nil || value() != 58 {
		t.Errorf("%v, %d", err, value())
	}
	if same, err := x.Update(record(1, 1)); same || err != nil {
		t.Errorf("update by another shape: %v, %v", same, err)
	}
}

// TestCaptureFails leaves the stream usable when a recording ends early.
func TestCaptureFails(t *testing.T) {
	f := cudatest.New(t, cudatest.Config{})
	d := f.Device(t)
	defer d.Close()
	s := must(d.NewStream(0))
	want := errors.New("changed my mind")
	if _, err := s.Capture(func() error { return want }); err != want {
		t.Errorf("got %v", err)
	}
	_, err := s.Capture(func() error {
		_, err := d.Alloc(1)
		return err
	})
	check(t, err, "cuda: cuMemAlloc_v2: CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED (900): operation not permitted when stream is capturing", nil)
	func() {
		defer func() { _ = recover() }()
		_, _ = s.Capture(func() error { panic("while recording") })
	}()
	if err := s.Synchronize(); err != nil {
		t.Errorf("the stream is still recording: %v", err)
	}
}

// TestClose closes in every order, and twice, and uses what is closed.
func TestClose(t *testing.T) {
	f := cudatest.New(t, cudatest.Config{})
	f.Kernel("k", nil, nil)
	d := f.Device(t)
	m, s, k := load(t, d, "k")
	e, b, h := must(d.NewEvent(true)), must(d.Alloc(100)), must(d.AllocHost(100, true))
	g := must(s.Capture(func() error { return s.Launch(k, cuda.Launch{}, nil) }))
	x := must(g.Instantiate())
	if live := f.Leaks(); live != "1 × buffer, 1 × context, 1 × event, 1 × graph, 1 × graph exec, 1 × module, 1 × pinned memory, 1 × stream" {
		t.Errorf("alive: %s", live)
	}
	for range 2 {
		if err := errors.Join(b.Close(), h.Close(), e.Close(), x.Close()); err != nil {
			t.Error(err)
		}
	}
	if live := f.Leaks(); live != "1 × context, 1 × graph, 1 × module, 1 × stream" {
		t.Errorf("alive: %s", live)
	}
	if b.Ptr() != 0 || h.Bytes() != nil || f.Used(0) != 0 {
		t.Errorf("%x, %v, %d bytes in use", b.Ptr(), h.Bytes(), f.Used(0))
	}
	check(t, s.Upload(0, h, 0, 1), "cuda: this pinned memory is closed", cuda.ErrClosed)
	check(t, x.Launch(s), "cuda: this graph exec is closed", cuda.ErrClosed)
	for range 2 {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	_, err := d.Alloc(1)
	check(t, err, "cuda: device 0 is closed", cuda.ErrClosed)
	check(t, d.Synchronize(), "cuda: device 0 is closed", cuda.ErrClosed)
	check(t, new(cuda.Stream).Synchronize(), "cuda: the value is zero: it was not made from a device", cuda.ErrClosed)
	uses := map[string]error{
		"stream": s.Synchronize(), "event": e.Record(s), "event wait": e.Synchronize(), "copy": s.Copy(0, 0, 1), "fill": s.Fill(0, 0, 1),
		"fill32": s.Fill32(0, 0, 1), "download": s.Download(h, 0, 0, 1), "wait": s.Wait(e), "launch": s.Launch(k, cuda.Launch{}, nil),
		"prepare": x.Prepare(s), "set": k.SetMaxShared(1),
	}
	_, uses["capture"] = s.Capture(nil)
	_, uses["instantiate"] = g.Instantiate()
	_, uses["nodes"] = g.Nodes()
	_, uses["update"] = x.Update(g)
	_, uses["function"] = m.Function("k")
	_, _, uses["global"] = m.Global("k")
	_, uses["done"] = s.Done()
	_, uses["event done"] = e.Done()
	_, uses["elapsed"] = e.Elapsed(e)
	for name, err := range uses {
		if !errors.Is(err, cuda.ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
}

// TestFailingClose reports what could not be given back, and goes on.
func TestFailingClose(t *testing.T) {
	f := cudatest.New(t, cudatest.Config{})
	f.AllowLeaks()
	d := f.Device(t)
	must(d.NewStream(0))
	must(d.Alloc(1))
	must(d.NewEvent(false))
	f.Fail("cuMemFree_v2", 0, 1)
	err := d.Close()
	if err == nil || !strings.Contains(err.Error(), "cuMemFree_v2") {
		t.Errorf("got %v", err)
	}
	if live := f.Leaks(); live != "1 × buffer" {
		t.Errorf("alive: %s", live)
	}
}

func TestInvalidSizes(t *testing.T) {
	f := cudatest.New(t, cudatest.Config{})
	d := f.Device(t)
	defer d.Close()
	for _, n := range []int{0, -1} {
		if _, err := d.Alloc(n); err == nil {
			t.Errorf("allocated %d bytes", n)
		}
		if _, err := d.AllocHost(n, false); err == nil {
			t.Errorf("allocated %d bytes of host memory", n)
		}
	}
}

// TestTwoDevices runs each from its own goroutine.
func TestTwoDevices(t *testing.T) {
	f := cudatest.New(t, cudatest.Config{Devices: []cudatest.Device{{}, {}}})
	driver, err := cuda.LoadDriver(f.Options())
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for ordinal := range 2 {
		group.Go(func() {
			d, err := driver.Open(ordinal)
			if err != nil {
				t.Error(err)
				return
			}
			s, err := d.NewStream(0)
			if err != nil {
				t.Error(err)
			}
			for i := range 50 {
				b, err := d.Alloc(1000 * (ordinal + 1))
				if err != nil {
					t.Error(err)
					return
				}
				if err := errors.Join(s.Fill(b.Ptr(), byte(i), 1000), s.Synchronize(), b.Close()); err != nil {
					t.Error(err)
				}
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

func TestNVML(t *testing.T) {
	f := cudatest.New(t, cudatest.Config{})
	d := f.Device(t)
	defer d.Close()
	must(d.Alloc(1 << 20))
	n := must(cuda.LoadNVML(f.Options()))
	m := must(n.Find(d.Info().BusID))
	if name := must(m.Name()); name != "Fake GPU" {
		t.Errorf("name %q", name)
	}
	if v := must(n.DriverVersion()); v != "580.0.fake" {
		t.Errorf("driver %q", v)
	}
	if u := must(m.Memory()); u != (cuda.Usage{Total: 64 << 20, Free: 63 << 20, Used: 1 << 20}) {
		t.Errorf("memory %+v", u)
	}
	if own := must(m.ProcessMemory(os.Getpid())); own != 1<<20 {
		t.Errorf("own memory %d", own)
	}
	_, err := m.ProcessMemory(1 << 29)
	check(t, err, "cuda: the memory of process 536870912 on the device is not known", cuda.ErrNotAvailable)
	_, err = n.Find("0000:77:00.0")
	check(t, err, "cuda: nvmlDeviceGetHandleByPciBusId_v2: code 6: an error of the fake; device 0000:77:00.0", cuda.ErrNoDevice)
	_, err = n.Find("")
	if !errors.Is(err, cuda.ErrNotAvailable) {
		t.Errorf("got %v", err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}
