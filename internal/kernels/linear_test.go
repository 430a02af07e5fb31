package kernels

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/cuda/cudatest"
	"github.com/godwit-llm/godwit/internal/ops"
)

// chips are devices to plan for.
var chips = map[string]chip{
	"H200":    {capability: 90, processors: 132, shared: 232448},
	"H200 lt": {capability: 90, processors: 132, shared: 232448, library: true},
	"A100":    {capability: 80, processors: 108, shared: 166912},
	"L4":      {capability: 89, processors: 58, shared: 101376},
	"T4":      {capability: 75, processors: 40, shared: 65536},
	"5090":    {capability: 120, processors: 170, shared: 101376},
}

// TestLinearRoutes holds the choice of kernel, grid and memory against a table.
func TestLinearRoutes(t *testing.T) {
	for _, c := range []struct {
		chip          string
		n, rows, cols int
		t             ops.DType
		loose         bool // not aligned
		want          string
	}{
		{"H200", 1, 5120, 3072, ops.BF16, false, "gemv segment=3072 slots=4 shared=203008"},
		{"H200", 1, 3072, 9216, ops.BF16, false, "gemv segment=3072 slots=4 shared=215296"},
		{"H200", 16, 256000, 3072, ops.F16, false, "ring grid=132 segment=3072 pitch=6208 stages=4 groups=4 shared=215104"},
		{"H200", 8, 256000, 3072, ops.F16, false, "ring grid=132 segment=3072 pitch=6208 stages=4 groups=8 shared=215104"},
		{"H200", 3, 4480, 4480, ops.BF16, false, "ring grid=132 segment=2240 pitch=4544 stages=5 groups=5 shared=185680"},
		{"H200", 1, 7, 32, ops.BF16, false, "gemv segment=32 slots=8 shared=67072"},
		{"H200", 1, 70, 40, ops.BF16, false, "gemv segment=40 slots=8 shared=67072"},
		{"H200", 1, 70, 130, ops.BF16, true, "plain grid=9"},
		{"H200", 5, 5120, 3072, ops.F32, false, "plain grid=640"},
		{"H200", 17, 5120, 3072, ops.BF16, false, "gemm small"},
		{"H200", 2048, 5120, 3072, ops.BF16, false, "gemm large"},
		{"H200", 512, 3072, 3072, ops.BF16, false, "gemm medium"},
		{"H200", 512, 3072, 3072, ops.F32, false, "slow"},
		{"H200", 512, 3072, 3071, ops.BF16, true, "slow"},
		{"H200 lt", 512, 3072, 3072, ops.BF16, false, "library"},
		{"H200 lt", 16, 3072, 3072, ops.BF16, false, "ring grid=132 segment=3072 pitch=6208 stages=4 groups=3 shared=211008"},
		{"H200 lt", 512, 3072, 3072, ops.F32, false, "library"},
		{"H200 lt", 512, 3072, 3071, ops.BF16, true, "slow"},
		{"A100", 1, 5120, 3072, ops.BF16, false, "tile grid=216 segment=3072 groups=3 shared=768"},
		{"A100", 16, 3072, 9216, ops.BF16, false, "tile grid=108 segment=3072 groups=4 shared=16384"},
		{"A100", 512, 5120, 3072, ops.BF16, false, "gemm large"},
		{"L4", 2048, 5120, 3072, ops.BF16, false, "gemm large"},
		{"H200", 1, 2688, 15680, ops.BF16, false, "gemv segment=2240 slots=4 shared=199936"},
		{"H200", 1, 6144, 24576, ops.BF16, false, "gemv segment=3072 slots=3 shared=196800"},
		{"H200", 1, 64, 8 * 3001, ops.BF16, false, "tile grid=8 segment=3008 groups=1 shared=256"},
		{"5090", 1, 5120, 3072, ops.BF16, false, "ring grid=170 segment=3072 pitch=6208 stages=2 groups=4 shared=100384"},
		{"T4", 1, 5120, 3072, ops.F16, false, "plain grid=640"},
		{"T4", 40, 5120, 3072, ops.F16, false, "slow"},
	} {
		p := product{n: c.n, rows: c.rows, cols: c.cols, t: c.t, aligned: !c.loose}
		if got := describe(chips[c.chip], p); got != c.want {
			t.Errorf("%s, %d x %s[%d, %d]:\n got %s\nwant %s", c.chip, c.n, c.t, c.rows, c.cols, got, c.want)
		}
	}
}

// describe writes down how a product is computed, without what is 0.
func describe(c chip, p product) string {
	r := c.route(p)
	out := r.String()
	switch r {
	case viaGemm:
		return out + " " + tileShapes[c.tile(p)].name
	case viaGemv:
		g, _ := c.gemvPlan(p.cols)
		return fmt.Sprintf("%s segment=%d slots=%d shared=%d", out, g.segment, g.slots, g.shared)
	case viaRing, viaTile, viaPlain:
		f := c.fewPlan(p, r)
		for _, v := range []struct {
			name  string
			value int
		}{{"grid", f.grid}, {"segment", f.segment}, {"pitch", f.pitch}, {"stages", f.stages}, {"groups", f.groups}, {"shared", f.shared}} {
			if v.value != 0 {
				out += fmt.Sprintf(" %s=%d", v.name, v.value)
			}
		}
	}
	return out
}

// TestLinearPlans checks what the kernels rely on, for all kinds of sizes.
func TestLinearPlans(t *testing.T) {
	for name, c := range chips {
		for n := 1; n <= fewTokens; n++ {
			for _, rows := range []int{1, 8, 131, 133, 3072, 256000} {
				for cols := 32; cols <= 40000; cols += 32 * 13 {
					p := product{n: n, rows: rows, cols: cols, t: ops.BF16, aligned: true}
					r := c.route(p)
					if r == viaGemv {
						g, _ := c.gemvPlan(cols)
						if cols%g.segment != 0 || g.segment%8 != 0 || g.segment > gemvColumns || g.slots < gemvLeast || g.shared > c.shared-gemvReserved {
							t.Fatalf("%s: [%d, %d]: %s", name, rows, cols, describe(c, p))
						}
						continue
					}
					f := c.fewPlan(p, r)
					if r == viaPlain {
						continue
					}
					outputs := f.groups * stageRows * n
					switch {
					case f.segment%pieceCols != 0, f.segment > mostPieces*pieceCols, f.groups < 1,
						outputs > 2*fewThreads, f.shared > c.shared, f.grid < 1,
						r == viaRing && (f.stages < 2 || f.pitch < 2*f.segment || f.pitch%128 != 64):
						t.Fatalf("%s: %d x [%d, %d]: %s", name, n, rows, cols, describe(c, p))
					}
				}
			}
		}
	}
}

// productCase is a product to compare with the CPU.
type productCase struct {
	n      int
	parts  []int // rows
	cols   int
	margin int // columns beside x and out
	act    ops.Activation
	bias   bool
	wide   bool
	add    bool
}

func (p productCase) String() string {
	return fmt.Sprintf("%d x %v x %d,margin=%d,act=%d,bias=%v,wide=%v,add=%v", p.n, p.parts, p.cols, p.margin, p.act, p.bias, p.wide, p.add)
}

// epilogues varies what happens to a product.
func epilogues(base productCase) []productCase {
	var out []productCase
	for act := ops.Identity; act <= ops.GELUTanh; act++ {
		for i := range 4 {
			p := base
			p.act, p.bias, p.wide = act, i&1 != 0, i&2 != 0
			out = append(out, p)
		}
		p := base
		p.act, p.bias, p.wide, p.add = act, act%2 != 0, true, true
		out = append(out, p)
	}
	return append(out, with(base, func(p *productCase) { p.wide, p.add, p.bias = true, true, true }))
}

// work is the number of multiply-adds.
func (p productCase) work() int {
	rows := 0
	for _, n := range p.parts {
		rows += n
	}
	return p.n * rows * p.cols
}

func with(p productCase, change func(*productCase)) productCase {
	change(&p)
	return p
}

// fewCases are products for few tokens.
func fewCases() []productCase {
	var out []productCase
	for _, n := range []int{1, 2, 3, 7, 8, 9, 15, 16} {
		for i, s := range [][2]int{{1, 1}, {7, 3}, {16, 64}, {70, 130}, {129, 8}, {37, 29}, {300, 96}, {1000, 416}, {64, 3104}, {40, 6176}, {2222, 64}} {
			margin := []int{0, 8, 16, 3}[(n+i)%4]
			out = append(out, productCase{n: n, parts: []int{s[0]}, cols: s[1], margin: margin, wide: (n+i)%3 == 0, add: (n+i)%3 == 0})
		}
	}
	for _, n := range []int{1, 5, 16} {
		out = append(out, epilogues(productCase{n: n, parts: []int{60, 4, 13}, cols: 128, margin: 8})...)
		out = append(out, epilogues(productCase{n: n, parts: []int{19}, cols: 33, margin: 1})...)
	}
	for _, n := range []int{1, 16} {
		out = append(out,
			productCase{n: n, parts: []int{3072, 1024, 1024}, cols: 3072},
			productCase{n: n, parts: []int{3072}, cols: 9216, wide: true, add: true},
			productCase{n: n, parts: []int{9216}, cols: 3072, act: ops.ReLU2},
			productCase{n: n, parts: []int{6000}, cols: 3072, wide: true},
			productCase{n: n, parts: []int{4480}, cols: 4480},
			productCase{n: n, parts: []int{2688}, cols: 15680})
	}
	return out
}

// TestLinear compares all ways for few tokens with the CPU.
func TestLinear(t *testing.T) {
	for _, act := range activationTypes {
		t.Run(act.String(), func(t *testing.T) {
			c := compareWithCPU(t, act)
			for _, p := range some(affordable(5, fewCases(), productCase.work), 9) {
				c.products(p, auto, viaGemv, viaRing, viaTile, viaPlain)
			}
		})
	}
}

// products computes a product on the CPU and in some ways on the device.
func (c *comparison) products(p productCase, ways ...route) {
	c.Helper()
	act := c.opt.Act
	c.rows(p.n)
	x := c.random(act, p.n, p.cols, p.margin)
	dev, cpu := c.layer(p)
	to := act
	if p.wide {
		to = ops.F32
	}
	total := cpu.Out
	values := c.normal(p.n * total)
	e := ops.Epilogue{Act: p.act, Add: p.add}
	var want ops.Tensor
	for _, way := range ways {
		if !c.can(p, x.dev, way) {
			continue
		}
		out := c.place(to, p.n, total, p.margin, values)
		if !want.Present() {
			c.cpu.Linear(out.cpu, x.cpu, cpu, e)
			want = out.cpu
		}
		out.cpu = want
		c.linear.forced = way
		c.Linear(out.dev, x.dev, dev, e)
		c.linear.forced = auto
		// Tensor cores cut sums off rather than round them; a square doubles
		// relative errors. Ahead of an activation that follows it, the
		// library rounds its results to the type of out.
		extra := 2e-5
		if (way == viaLibrary || way == auto) && (p.bias || p.act != ops.Identity) {
			extra += 4 * epsilon(to)
		}
		c.close(fmt.Sprintf("%s by %s", p, way), out, extra)
	}
}

// can reports whether a way takes the product on this device.
func (c *comparison) can(p productCase, x ops.Tensor, way route) bool {
	aligned := rowsAligned(x) && p.cols*c.opt.Act.Size()%16 == 0
	cores := c.opt.Act != ops.F32 && aligned && tensorCores(c.linear.chip.capability)
	switch way {
	case viaGemv:
		return cores && p.n == 1 && c.linear.gemv != nil && c.linear.chip.hasGemv(p.cols)
	case viaRing:
		return cores && p.cols%pieceCols == 0 && c.linear.ring != nil
	case viaTile, viaGemm:
		return cores
	case viaLibrary:
		if c.gemm.library.blas == nil || !aligned {
			return false
		}
		return libraryCan(product{act: p.act, add: p.add, bias: p.bias, wide: p.wide})
	}
	return true
}

// layer places a random layer of several parts on both sides.
func (c *comparison) layer(p productCase) (dev, cpu *ops.Linear) {
	c.Helper()
	rows := 0
	for _, n := range p.parts {
		rows += n
	}
	whole := c.random(c.opt.Act, rows, p.cols, 0)
	dev, cpu = &ops.Linear{In: p.cols, Out: rows}, &ops.Linear{In: p.cols, Out: rows, Weight: []ops.Tensor{whole.cpu}}
	at := 0
	for _, n := range p.parts {
		start := address(whole.dev) + cuda.DevicePtr(at*p.cols*c.opt.Act.Size())
		dev.Weight = append(dev.Weight, tensor(start, c.opt.Act, n, p.cols))
		at += n
	}
	if p.bias {
		dev.Bias, cpu.Bias = c.vector(c.normal(rows))
	}
	return dev, cpu
}

// speed measures products over weights that do not fit into the second-level
// cache.
type speed struct {
	testing.TB
	device
	memory *cuda.Buffer
	floor  float64 // bytes/s
}

const speedMemory = 8 << 30

func newSpeed(t *testing.T) *speed {
	t.Helper()
	if testing.Short() {
		t.Skip("takes 10 GB of device memory")
	}
	needsGPU(t)
	s := &speed{TB: t, device: onDevice(t, Options{Act: ops.BF16})}
	floor, err := s.Bandwidth(speedMemory)
	s.must(err)
	s.floor = floor
	s.memory, err = s.dev.Alloc(speedMemory)
	s.must(err)
	s.fill()
	t.Logf("floor: reading 8 GiB at %.0f GB/s on %s", floor/1e9, s.dev.Info().Name)
	if err := s.gemm.library.missing; err != nil {
		t.Logf("no cuBLASLt: %v", err)
	} else {
		t.Logf("cuBLASLt %s", s.gemm.library.version)
	}
	return s
}

func (s *speed) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// fill writes random numbers to the memory.
func (s *speed) fill() {
	const part = 32 << 20
	c := &comparison{TB: s.TB, device: s.device}
	values := make([]uint16, part/2)
	state := uint32(1)
	for i := range values { // bfloat16 of either sign between 1/4 and 1/2
		state = state*1664525 + 1013904223
		values[i] = uint16(state>>16&0x80ff | 0x3e80)
	}
	c.must(s.dev.Upload(s.memory.Ptr(), bytesOf(values)))
	for at := part; at < speedMemory; at += part {
		c.must(s.stream.Copy(s.memory.Ptr()+cuda.DevicePtr(at), s.memory.Ptr(), part))
	}
	c.must(s.stream.Synchronize())
}

// measure returns the time of one product in a chain over distinct weights.
func (s *speed) measure(n, rows, cols int, e ops.Epilogue, way route) time.Duration {
	s.Helper()
	bytes := rows * cols * 2
	count := min(speedMemory/bytes, max(2, 2<<30/bytes))
	x := tensor(s.memory.Ptr(), ops.BF16, n, cols)
	to := ops.BF16
	if e.Add {
		to = ops.F32
	}
	out, err := s.place(to, n, rows)
	s.must(err)
	s.linear.forced = way
	defer func() { s.linear.forced = auto }()
	chain := func() error {
		for i := range count {
			w := tensor(s.memory.Ptr()+cuda.DevicePtr(i*bytes), ops.BF16, rows, cols)
			s.Linear(out, x, &ops.Linear{In: cols, Out: rows, Weight: []ops.Tensor{w}}, e)
		}
		return s.err
	}
	return s.graphTime(chain) / time.Duration(count)
}

// graphTime returns the median time of a graph of what run launches.
func (s *speed) graphTime(run func() error) time.Duration {
	s.Helper()
	s.must(run()) // chooses algorithms, outside of the recording
	s.must(s.wait())
	g, err := s.stream.Capture(run)
	s.must(err)
	exec, err := g.Instantiate()
	s.must(err)
	var times []time.Duration
	for range 9 {
		took, err := s.timed(func() { s.fail(exec.Launch(s.stream)) })
		s.must(err)
		times = append(times, took)
	}
	s.must(exec.Close())
	s.must(g.Close())
	return median(times)
}

// TestLinearSpeed prints GB/s, and the share of what plain reading reaches, of
// products for few tokens in chains of dependent launches.
func TestLinearSpeed(t *testing.T) {
	s := newSpeed(t)
	shapes := [][2]int{{5120, 3072}, {3072, 3072}, {9216, 3072}, {3072, 9216}, {256000, 3072}, {6144, 24576}, {10304, 2688}, {2688, 4096}}
	for _, way := range []route{viaGemv, viaRing, viaTile, viaPlain} {
		if way <= viaRing && s.linear.ring == nil {
			continue
		}
		for _, shape := range shapes {
			rows, cols := shape[0], shape[1]
			var line strings.Builder
			for _, n := range []int{1, 2, 4, 8, 16} {
				if (way == viaPlain || way == viaGemv) && n > 1 || way == viaTile && n != 1 && n != 16 {
					continue
				}
				e := ops.Epilogue{Add: rows == 3072}
				took := s.measure(n, rows, cols, e, way)
				rate := float64(rows*cols*2) / took.Seconds()
				fmt.Fprintf(&line, "  n=%-2d %7.2f us %5.0f GB/s %3.0f%%", n, float64(took.Nanoseconds())/1e3, rate/1e9, 100*rate/s.floor)
			}
			t.Logf("%-5s %6dx%-5d%s", way, rows, cols, line.String())
		}
	}
}

// TestLinearDoesNotAllocate: a product of any kind makes as much garbage as the
// plainest launch, which is the fake driver's.
func TestLinearDoesNotAllocate(t *testing.T) {
	b := onFake(t, roomy(t), Options{Act: ops.BF16})
	for _, n := range []int{1, 9, 40} {
		for _, cols := range []int{64, 40, 33} {
			x, err := b.Activation(n, cols)
			if err != nil {
				t.Fatal(err)
			}
			out, w := fakeLayer(t, b, n, cols)
			one := testing.AllocsPerRun(20, func() { b.readMemory(address(x), 16, address(x)) })
			all := testing.AllocsPerRun(20, func() { b.Linear(out, x, w, ops.Epilogue{Act: ops.ReLU2}) })
			if all != one {
				t.Errorf("%d x %d: got %g allocations, want the driver's %g", n, cols, all, one)
			}
		}
	}
	if err := b.wait(); err != nil {
		t.Error(err)
	}
}

// fakeLayer places a layer of two parts that are one matrix, and its output.
func fakeLayer(t *testing.T, b *Backend, n, cols int) (ops.Tensor, *ops.Linear) {
	t.Helper()
	whole, err := b.Activation(24, cols)
	if err != nil {
		t.Fatal(err)
	}
	out, err := b.Activation(n, 24)
	if err != nil {
		t.Fatal(err)
	}
	rest := tensor(address(whole)+cuda.DevicePtr(16*2*cols), ops.BF16, 8, cols)
	return out, &ops.Linear{In: cols, Out: 24, Weight: []ops.Tensor{whole.Top(16), rest}}
}

// TestLinearByLibrary sends products of many tokens to the library, the others
// to kernels.
func TestLinearByLibrary(t *testing.T) {
	f := cudatest.New(t, cudatest.Config{Devices: []cudatest.Device{{Memory: 1 << 30}}})
	b := onFake(t, f, Options{Act: ops.BF16})
	if b.gemm.library.blas == nil {
		t.Fatal(b.gemm.library.missing)
	}
	x, err := b.Activation(40, 64)
	if err != nil {
		t.Fatal(err)
	}
	out, w := fakeLayer(t, b, 40, 64)
	b.Linear(out, x, w, ops.Epilogue{Act: ops.SiLU})
	if err := b.wait(); err != nil {
		t.Error(err)
	}
}
