package cuda_test

import (
	"encoding/binary"
	"errors"
	"flag"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godwit-llm/godwit/internal/cuda"
)

// The tests of this file run on a real device and skip without one. The test
// binary (go test -c) needs nothing but the driver.

var (
	dirs  = flag.String("dirs", "", "folders to look for libraries in, separated as in PATH")
	child = flag.Bool("child", false, "run the tests that break a device; set by TestGPUSticky for its own children")
)

// options are those of the flags.
func options() cuda.Options { return cuda.Options{Dirs: filepath.SplitList(*dirs)} }

// gpu opens the first device, or skips the test.
func gpu(t testing.TB) (*cuda.Driver, *cuda.Device) {
	t.Helper()
	driver, err := cuda.LoadDriver(options())
	if errors.Is(err, cuda.ErrNoLibrary) || errors.Is(err, cuda.ErrNoDevice) {
		t.Skipf("needs a GPU: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	d, err := driver.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("closing the device: %v", err)
		}
	})
	return driver, d
}

// ptx holds the kernels of these tests.
//
// add(out, a, b, n): out = a + b. spin(n): busy for n cycles. poke(p): writes
// to any address. sevens(out): through dynamic shared memory.
// kinds(out, i32, f32, f64, struct{i32, f64}): stores its parameters.
const ptx = `
.version 7.0
.target sm_70
.address_size 64

.extern .shared .align 16 .b8 dynamic[];

.visible .entry add(.param .u64 p_out, .param .u64 p_a, .param .u64 p_b, .param .u32 p_n)
{
	.reg .pred %p;
	.reg .b32 %r<6>;
	.reg .f32 %f<4>;
	.reg .b64 %d<8>;
	ld.param.u64 %d1, [p_out];
	ld.param.u64 %d2, [p_a];
	ld.param.u64 %d3, [p_b];
	ld.param.u32 %r1, [p_n];
	mov.u32 %r2, %ctaid.x;
	mov.u32 %r3, %ntid.x;
	mov.u32 %r4, %tid.x;
	mad.lo.u32 %r5, %r2, %r3, %r4;
	setp.ge.u32 %p, %r5, %r1;
	@%p bra DONE;
	mul.wide.u32 %d4, %r5, 4;
	add.u64 %d5, %d2, %d4;
	add.u64 %d6, %d3, %d4;
	add.u64 %d7, %d1, %d4;
	ld.global.f32 %f1, [%d5];
	ld.global.f32 %f2, [%d6];
	add.f32 %f3, %f1, %f2;
	st.global.f32 [%d7], %f3;
DONE:
	ret;
}

.visible .entry spin(.param .u64 p_n)
{
	.reg .pred %p;
	.reg .b64 %d<5>;
	ld.param.u64 %d1, [p_n];
	mov.u64 %d2, %clock64;
AGAIN:
	mov.u64 %d3, %clock64;
	sub.u64 %d4, %d3, %d2;
	setp.lt.u64 %p, %d4, %d1;
	@%p bra AGAIN;
	ret;
}

.visible .entry poke(.param .u64 p)
{
	.reg .b32 %r;
	.reg .b64 %d;
	ld.param.u64 %d, [p];
	mov.u32 %r, 7;
	st.global.u32 [%d], %r;
	ret;
}

.visible .entry sevens(.param .u64 p_out, .param .u32 p_last)
{
	.reg .b32 %r<4>;
	.reg .b64 %d;
	ld.param.u64 %d, [p_out];
	ld.param.u32 %r1, [p_last];
	mov.u32 %r2, dynamic;
	add.u32 %r2, %r2, %r1;
	mov.u32 %r3, 777;
	st.shared.u32 [%r2], %r3;
	ld.shared.u32 %r3, [%r2];
	st.global.u32 [%d], %r3;
	ret;
}

.visible .entry kinds(.param .u64 p_out, .param .u32 p_i, .param .f32 p_f, .param .f64 p_d, .param .align 8 .b8 p_s[16])
{
	.reg .b32 %r<4>;
	.reg .b64 %d<4>;
	ld.param.u64 %d1, [p_out];
	ld.param.u32 %r1, [p_i];
	ld.param.u32 %r2, [p_f];
	ld.param.u64 %d2, [p_d];
	ld.param.u32 %r3, [p_s];
	ld.param.u64 %d3, [p_s+8];
	st.global.u32 [%d1], %r1;
	st.global.u32 [%d1+4], %r2;
	st.global.u64 [%d1+8], %d2;
	st.global.u32 [%d1+16], %r3;
	st.global.u64 [%d1+24], %d3;
	ret;
}
`

// kernels loads the kernels above.
func kernels(t testing.TB, d *cuda.Device) func(name string) *cuda.Function {
	t.Helper()
	m, err := d.Load([]byte(ptx))
	if err != nil {
		t.Fatal(err)
	}
	return func(name string) *cuda.Function {
		t.Helper()
		k, err := m.Function(name)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
}

func TestGPUInfo(t *testing.T) {
	driver, d := gpu(t)
	info := d.Info()
	t.Logf("driver CUDA %v, %+v, %.0f GB/s", driver.Version(), info, info.Bandwidth()/1e9)
	free, total, err := d.Memory()
	if err != nil || free == 0 || free > total || total > info.Memory {
		t.Errorf("memory: %d of %d free, device %d, %v", free, total, info.Memory, err)
	}
	if info.Multiprocessors < 1 || info.SharedOptIn < info.SharedBlock || info.L2 == 0 || info.BusID == "" {
		t.Errorf("incomplete: %+v", info)
	}
	_, err = driver.Open(1000)
	if !errors.Is(err, cuda.ErrNoDevice) {
		t.Errorf("device 1000: %v", err)
	}
}

func TestGPUMonitor(t *testing.T) {
	_, d := gpu(t)
	n, err := cuda.LoadNVML(options())
	if err != nil {
		t.Skip(err)
	}
	defer n.Close()
	m, err := n.Find(d.Info().BusID)
	if err != nil {
		t.Skip(err)
	}
	before, err := m.Memory()
	if err != nil {
		t.Fatal(err)
	}
	b := must(d.Alloc(1 << 30))
	after, err := m.Memory()
	if err != nil || after.Used < before.Used+1<<29 {
		t.Errorf("1 GiB more is in use: %+v, before %+v, %v", after, before, err)
	}
	name, nameErr := m.Name()
	version, versionErr := n.DriverVersion()
	if err := errors.Join(b.Close(), nameErr, versionErr); err != nil || name != d.Info().Name {
		t.Errorf("name %q, %v", name, err)
	}
	own, err := m.ProcessMemory(os.Getpid())
	t.Logf("%s, driver %s, %+v, own %d, %v", name, version, after, own, err)
	if _, err := n.Find("0000:fe:1f.0"); err == nil {
		t.Error("found a device that is not there")
	} else {
		t.Log(err)
	}
}

func TestGPUCopies(t *testing.T) {
	_, d := gpu(t)
	testCopies(t, d, must(d.NewStream(0)))
	testCopies(t, d, must(d.NewStream(3)))
}

func TestGPUAdd(t *testing.T) {
	_, d := gpu(t)
	add, s := kernels(t, d)("add"), must(d.NewStream(0))
	var args cuda.Args
	for _, n := range []int{1, 127, 128, 129, 100_003} {
		h := must(d.AllocHost(12*n, false))
		a, b, out := must(d.Alloc(4*n)), must(d.Alloc(4*n)), must(d.Alloc(4*n))
		v := cuda.View[float32](h.Bytes())
		for i := range n {
			v[i], v[n+i] = float32(i), float32(3*i)
		}
		args.Reset().Ptr(out.Ptr()).Ptr(a.Ptr()).Ptr(b.Ptr()).Int(n)
		err := errors.Join(
			s.Upload(a.Ptr(), h, 0, 4*n), s.Upload(b.Ptr(), h, 4*n, 4*n),
			s.Launch(add, cuda.Launch{Grid: cuda.Dim{X: (n + 127) / 128}, Block: cuda.Dim{X: 128}}, &args),
			s.Download(h, 8*n, out.Ptr(), 4*n), s.Synchronize(),
		)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if v[2*n+i] != float32(4*i) {
				t.Fatalf("n %d: element %d is %g, want %g", n, i, v[2*n+i], float32(4*i))
			}
		}
		if err := errors.Join(a.Close(), b.Close(), out.Close(), h.Close()); err != nil {
			t.Error(err)
		}
	}
	info, err := add.Info()
	t.Logf("%+v", info)
	if err != nil || info.Registers == 0 || info.MaxThreads == 0 || info.Binary != d.Info().Capability {
		t.Errorf("%+v, %v", info, err)
	}
	if n, err := add.Occupancy(128, 0); err != nil || n < 1 {
		t.Errorf("occupancy %d, %v", n, err)
	}
	sizes, err := add.Parameters()
	if !errors.Is(err, cuda.ErrNotAvailable) && (err != nil || !slices.Equal(sizes, []int{8, 8, 8, 4})) {
		t.Errorf("parameters %v, %v", sizes, err)
	}
}

func TestGPUArgs(t *testing.T) {
	_, d := gpu(t)
	k, s, out := kernels(t, d)("kinds"), must(d.NewStream(0)), must(d.Alloc(32))
	var args cuda.Args
	args.Ptr(out.Ptr()).Int32(-5).Float32(1.5).Float64(-0.25)
	cuda.Struct(&args, pair{A: 42, B: 6.5})
	got := make([]byte, 32)
	if err := errors.Join(s.Launch(k, cuda.Launch{}, &args), s.Synchronize(), d.Download(got, out.Ptr())); err != nil {
		t.Fatal(err)
	}
	word, long := binary.LittleEndian.Uint32, binary.LittleEndian.Uint64
	if int32(word(got)) != -5 || math.Float32frombits(word(got[4:])) != 1.5 || math.Float64frombits(long(got[8:])) != -0.25 ||
		word(got[16:]) != 42 || math.Float64frombits(long(got[24:])) != 6.5 {
		t.Errorf("parameters arrived as %v", got)
	}
}

func TestGPULaunchAttributes(t *testing.T) {
	_, d := gpu(t)
	add, s, b := kernels(t, d)("add"), must(d.NewStream(0)), must(d.Alloc(4096))
	args := new(cuda.Args).Ptr(b.Ptr()).Ptr(b.Ptr()).Ptr(b.Ptr()).Int(1024)
	shape := cuda.Launch{Grid: cuda.Dim{X: 8}, Block: cuda.Dim{X: 128}}
	overlap, cooperative, cluster := shape, shape, shape
	overlap.Overlap, cooperative.Cooperative, cluster.Cluster = true, true, cuda.Dim{X: 4}
	one := make([]byte, 4096)
	for i := range one {
		one[i] = [4]byte{0, 0, 0x80, 0x3f}[i%4] // 1.0
	}
	err := errors.Join(d.Upload(b.Ptr(), one), s.Launch(add, overlap, args), s.Launch(add, cooperative, args), s.Synchronize())
	if err != nil {
		t.Fatal(err)
	}
	want := float32(4)
	if d.Info().Clusters {
		if err := errors.Join(s.Launch(add, cluster, args), s.Synchronize()); err != nil {
			t.Fatal(err)
		}
		want = 8
		cluster.Cluster.X = 3 // does not divide the grid
		err := s.Launch(add, cluster, args)
		t.Log(err)
		if err == nil {
			t.Error("8 blocks in clusters of 3")
		}
	}
	if err := d.Download(one, b.Ptr()); err != nil {
		t.Fatal(err)
	}
	for i, v := range cuda.View[float32](one) {
		if v != want {
			t.Fatalf("element %d is %g, want %g", i, v, want)
		}
	}
}

// TestGPUPinned: kernels find pinned memory where Ptr says, and what they write to
// it is seen behind an event.
func TestGPUPinned(t *testing.T) {
	_, d := gpu(t)
	add, s, h, e := kernels(t, d)("add"), must(d.NewStream(0)), must(d.AllocHost(8192, false)), must(d.NewEvent(false))
	values := cuda.View[float32](h.Bytes())
	for i := range values[:1024] {
		values[i] = float32(i)
	}
	args := new(cuda.Args).Ptr(h.Ptr() + 4096).Ptr(h.Ptr()).Ptr(h.Ptr()).Int(1024)
	if err := errors.Join(s.Launch(add, cuda.Launch{Grid: cuda.Dim{X: 8}, Block: cuda.Dim{X: 128}}, args), e.Record(s), e.Synchronize()); err != nil {
		t.Fatal(err)
	}
	for i, v := range values[1024:] {
		if v != float32(2*i) {
			t.Fatalf("element %d is %g, want %d", i, v, 2*i)
		}
	}
}

func TestGPUSharedMemory(t *testing.T) {
	_, d := gpu(t)
	k, s, out := kernels(t, d)("sevens"), must(d.NewStream(0)), must(d.Alloc(4))
	most := d.Info().SharedOptIn
	args := new(cuda.Args).Ptr(out.Ptr()).Int(most - 4)
	err := s.Launch(k, cuda.Launch{Shared: most}, args)
	t.Log(err)
	if err == nil {
		t.Errorf("%d bytes of shared memory without asking", most)
	}
	err = k.SetMaxShared(most + 1024)
	t.Log(err)
	if err == nil {
		t.Errorf("allowed %d bytes of shared memory", most+1024)
	}
	got := make([]byte, 4)
	if err := errors.Join(k.SetMaxShared(most), k.SetCarveout(100), s.Launch(k, cuda.Launch{Shared: most}, args), s.Synchronize(), d.Download(got, out.Ptr())); err != nil {
		t.Fatal(err)
	}
	if v := binary.LittleEndian.Uint32(got); v != 777 {
		t.Errorf("got %d through shared memory", v)
	}
}

func TestGPUEvents(t *testing.T) {
	_, d := gpu(t)
	spin, s, other := kernels(t, d)("spin"), must(d.NewStream(0)), must(d.NewStream(0))
	start, end, joined := must(d.NewEvent(true)), must(d.NewEvent(true)), must(d.NewEvent(true))
	cycles := uint64(50_000_000)
	if err := errors.Join(start.Record(s), s.Launch(spin, cuda.Launch{}, new(cuda.Args).Uint64(cycles)), end.Record(s), other.Wait(end), joined.Record(other)); err != nil {
		t.Fatal(err)
	}
	done, err := end.Done()
	idle, err2 := other.Done()
	if done || idle || err != nil || err2 != nil {
		t.Errorf("done before the kernel: %v %v, %v %v", done, idle, err, err2)
	}
	if _, err := end.Elapsed(start); err == nil {
		t.Error("time of an event that is not done")
	}
	if err := joined.Synchronize(); err != nil {
		t.Fatal(err)
	}
	took, err := end.Elapsed(start)
	if done, doneErr := end.Done(); err != nil || doneErr != nil || !done || took < 10*time.Millisecond || took > time.Second {
		t.Errorf("%d cycles took %v, done %v, %v %v", cycles, took, done, err, doneErr)
	}
	t.Logf("%d cycles took %v", cycles, took)
}

func TestGPUGraph(t *testing.T) {
	_, d := gpu(t)
	add, s, b := kernels(t, d)("add"), must(d.NewStream(0)), must(d.Alloc(400))
	var args cuda.Args
	shape := cuda.Launch{Grid: cuda.Dim{X: 1}, Block: cuda.Dim{X: 128}}
	record := func(launches int) *cuda.Graph {
		return must(s.Capture(func() error {
			for i := range launches {
				shape.Overlap = i > 0 // edges of both kinds
				// The addresses change with each launch: what is recorded must
				// be a copy.
				p := b.Ptr() + cuda.DevicePtr(100*i)
				if err := s.Launch(add, shape, args.Reset().Ptr(p).Ptr(p).Ptr(p).Int(25)); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	g := record(3)
	if n, err := g.Nodes(); n != 3 || err != nil {
		t.Errorf("%d nodes, %v", n, err)
	}
	x := must(g.Instantiate())
	got := make([]byte, 400)
	if err := errors.Join(s.Fill32(b.Ptr(), math.Float32bits(1), 100), x.Prepare(s), x.Launch(s), x.Launch(s), s.Synchronize(), d.Download(got, b.Ptr())); err != nil {
		t.Fatal(err)
	}
	for i, v := range cuda.View[float32](got) {
		if want := []float32{4, 4, 4, 1}[i/25]; v != want {
			t.Fatalf("element %d is %g, want %g", i, v, want)
		}
	}
	if same, err := x.Update(record(3)); !same || err != nil {
		t.Errorf("update: %v, %v", same, err)
	}
	if same, err := x.Update(record(4)); same || err != nil {
		t.Errorf("update by another shape: %v, %v", same, err)
	}
	_, err := s.Capture(s.Synchronize)
	t.Log(err)
	if err == nil {
		t.Error("waited while recording")
	}
	if err := errors.Join(x.Launch(s), s.Synchronize(), d.Fault()); err != nil {
		t.Errorf("after a failed recording: %v", err)
	}
}

func TestGPUModuleErrors(t *testing.T) {
	_, d := gpu(t)
	for _, tt := range []struct {
		image string
		class error
		words string
	}{
		{"\n.version 7.0\n.target sm_70\n.address_size 64\n.visible .entry k() { nonsense; }\n", nil, "nonsense"},
		{"\n.version 99.9\n.target sm_70\n.address_size 64\n.visible .entry k() { ret; }\n", cuda.ErrDriverTooOld, ""},
		{"\n.version 7.0\n.target sm_70\n.address_size 64\n.extern .func other;\n.visible .entry k() { call other; ret; }\n", nil, ""},
	} {
		_, err := d.Load([]byte(tt.image))
		t.Log(err)
		if err == nil || tt.class != nil && !errors.Is(err, tt.class) || !strings.Contains(err.Error(), tt.words) {
			t.Errorf("got %v", err)
		}
	}
	m := must(d.Load([]byte(ptx)))
	_, err := m.Function("absent")
	t.Log(err)
	if err == nil {
		t.Error("found an absent kernel")
	}
	if p, n, err := m.Global("absent"); err == nil {
		t.Errorf("found an absent variable at %x, %d bytes", p, n)
	}
}

func TestGPUOutOfMemory(t *testing.T) {
	_, d := gpu(t)
	_, err := d.Alloc(1 << 50)
	t.Log(err)
	if !errors.Is(err, cuda.ErrOutOfMemory) || !strings.Contains(err.Error(), "wanted 1125899.91 GB, free ") {
		t.Errorf("got %v", err)
	}
	if b, err := d.Alloc(1 << 20); err != nil {
		t.Errorf("after running out of memory: %v", err)
	} else if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// TestGPUSticky breaks the device in a process of its own.
func TestGPUSticky(t *testing.T) {
	if !*child {
		gpu(t)
		self := must(os.Executable())
		out, err := exec.Command(self, "-child", "-test.run=^TestGPUSticky$", "-test.v").CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Error(err)
		}
		return
	}
	_, d := gpu(t)
	poke, s := kernels(t, d)("poke"), must(d.NewStream(0))
	must(d.AllocHost(100, false))
	if err := s.Launch(poke, cuda.Launch{}, new(cuda.Args).Ptr(0x10)); err != nil {
		t.Fatal(err)
	}
	err := s.Synchronize()
	t.Log(err)
	if !errors.Is(err, cuda.ErrSticky) || d.Fault() == nil {
		t.Errorf("writing to an address that is not ours: %v, fault %v", err, d.Fault())
	}
	_, err = d.Alloc(100)
	t.Log(err)
	if !errors.Is(err, cuda.ErrSticky) {
		t.Errorf("after the fault: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Errorf("closing a broken device: %v", err)
	}
}

// TestGPUBandwidth copies pinned memory; the numbers are for the log.
func TestGPUBandwidth(t *testing.T) {
	_, d := gpu(t)
	const n = 256 << 20
	s, b, other := must(d.NewStream(0)), must(d.Alloc(n)), must(d.Alloc(n))
	h := must(d.AllocHost(n, false))
	start, end := must(d.NewEvent(true)), must(d.NewEvent(true))
	rate := func(name string, copy func() error) {
		t.Helper()
		err := errors.Join(copy(), start.Record(s), copy(), copy(), end.Record(s), end.Synchronize())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		took := must(end.Elapsed(start))
		t.Logf("%-12s %7.1f GB/s", name, 2*n/took.Seconds()/1e9)
	}
	rate("to device", func() error { return s.Upload(b.Ptr(), h, 0, n) })
	rate("to host", func() error { return s.Download(h, 0, b.Ptr(), n) })
	rate("on device", func() error { return s.Copy(other.Ptr(), b.Ptr(), n) })
	rate("fill", func() error { return s.Fill(b.Ptr(), 3, n) })
	begin := time.Now()
	p, err := d.Register(make([]byte, n), false)
	if err != nil {
		t.Logf("memory cannot be registered here: %v", err)
		return
	}
	t.Logf("registering 256 MiB took %v", time.Since(begin))
	rate("registered", func() error { return s.Upload(b.Ptr(), p, 0, n) })
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// TestGPULaunchCost logs what launches take on the host, and holds that they
// allocate nothing.
func TestGPULaunchCost(t *testing.T) {
	_, d := gpu(t)
	calls := hotCalls(t, d, nil, kernels(t, d)("add"))
	for _, name := range []string{"launch", "extended launch", "graph launch", "record", "upload", "fill"} {
		const n = 2000
		var spent time.Duration
		for range n / 100 {
			begin := time.Now()
			for range 100 {
				if err := calls[name](); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			spent += time.Since(begin)
			if err := calls["synchronize"](); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%-16s %v", name, spent/n)
	}
	checkAllocs(t, calls)
}

func TestGPUProducts(t *testing.T) {
	driver, d := gpu(t)
	lib, err := cuda.LoadBLASLt(options(), driver.Version())
	if err != nil {
		t.Skip(err)
	}
	t.Logf("cuBLASLt %s from %s", lib.Version(), lib.File())
	for _, types := range [][2]cuda.Type{
		{cuda.F32, cuda.F32}, {cuda.BF16, cuda.BF16}, {cuda.F16, cuda.F16}, {cuda.BF16, cuda.F32}, {cuda.F16, cuda.F32},
	} {
		testProducts(t, d, lib, types[0], types[1])
	}
	const n = 8192
	x, w, y := must(d.Alloc(2*n*n)), must(d.Alloc(2*n*n)), must(d.Alloc(2*n*n))
	s, blas := must(d.NewStream(0)), must(d.NewBLAS(lib, 32<<20))
	start, end := must(d.NewEvent(true)), must(d.NewEvent(true))
	p := cuda.Product{Rows: n, In: n, Out: n, Input: cuda.BF16, Output: cuda.BF16}
	multiply := func() error { return blas.Multiply(s, p, y.Ptr(), x.Ptr(), w.Ptr(), 0) }
	err = errors.Join(s.Fill32(x.Ptr(), 0x3f81bf82, n*n/2), s.Fill32(w.Ptr(), 0xbf833f84, n*n/2), multiply(), start.Record(s))
	for range 10 {
		err = errors.Join(err, multiply())
	}
	if err = errors.Join(err, end.Record(s), end.Synchronize()); err != nil {
		t.Fatal(err)
	}
	t.Logf("8192³ in bf16: %.0f TFLOP/s", 10*2*math.Pow(n, 3)/must(end.Elapsed(start)).Seconds()/1e12)
	checkAllocs(t, map[string]func() error{"product": multiply})
}
