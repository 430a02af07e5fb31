package kernels

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"unsafe"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/cuda/cudatest"
	"github.com/godwit-llm/godwit/internal/ops"
)

// span is what a sequence has in the cache before a step, and brings with it.
type span struct{ past, tokens int }

type attendCase struct {
	heads, kvHeads, dim, page, window int
	margin                            int // columns beside the tensors; odd ones rule out 16-byte accesses
	spans                             []span
}

func (a attendCase) String() string {
	return fmt.Sprintf("heads=%d:%d,dim=%d,page=%d,window=%d,margin=%d,%v", a.heads, a.kvHeads, a.dim, a.page, a.window, a.margin, a.spans)
}

func (a attendCase) shape() *ops.Attention {
	return &ops.Attention{Heads: a.heads, KVHeads: a.kvHeads, HeadDim: a.dim, Scale: float32(1 / math.Sqrt(float64(a.dim))), Window: a.window}
}

// work is the number of multiply-adds.
func (a attendCase) work() int {
	n := 0
	for _, s := range a.spans {
		n += 2 * a.heads * a.dim * s.tokens * (s.past + s.tokens)
	}
	return n
}

// batch returns a step of the case, with pages in an order of their own.
func (a attendCase) batch(perm func(n int) []int) *ops.Batch {
	b := &ops.Batch{Start: []int32{0}, Decoding: true}
	total := 0
	for _, s := range a.spans {
		b.Decoding = b.Decoding && s.tokens <= shortPiece
		pages := (s.past + s.tokens + a.page - 1) / a.page
		b.MaxPages = max(b.MaxPages, pages)
		total += pages
	}
	order := perm(total)
	for i, s := range a.spans {
		for k := range s.tokens {
			b.Tokens = append(b.Tokens, 0)
			b.Positions = append(b.Positions, int32(s.past+k))
		}
		b.Start = append(b.Start, int32(len(b.Tokens)))
		b.Slots = append(b.Slots, int32(i))
		for p := range b.MaxPages {
			page := int32(-1)
			if p*a.page < s.past+s.tokens {
				page = int32(order[0])
				order = order[1:]
			}
			b.Pages = append(b.Pages, page)
		}
	}
	return b
}

// decoding are lengths around the borders of tiles, pages and splits.
var decoding = []span{{0, 1}, {14, 1}, {15, 1}, {16, 1}, {99, 1}, {512, 1}}

// drafts are sequences that bring a few tokens each, around the same borders.
var drafts = []span{{0, 3}, {14, 1}, {12, 4}, {15, 2}, {99, 8}, {500, 16}}

// pieces mixes pieces of prompts and single tokens.
var pieces = []span{{0, 17}, {5, 1}, {30, 70}, {3, 2}, {0, 129}, {100, 1}}

func attendCases() []attendCase {
	var out []attendCase
	for i, dim := range []int{8, 12, 16, 24, 64, 80, 96, 128, 192, 256} {
		for k, ratio := range []int{1, 2, 3, 4, 8} {
			page, margin := 8<<((i+k)%2), 8*((i+k)%3)
			out = append(out,
				attendCase{2 * ratio, 2, dim, page, 0, margin, decoding},
				attendCase{2 * ratio, 2, dim, page, 0, margin, drafts},
				attendCase{2 * ratio, 2, dim, page, 0, margin, pieces})
		}
	}
	for _, window := range []int{1, 3, 8, 16, 17, 64, 100} {
		out = append(out,
			attendCase{6, 2, 64, 16, window, 0, decoding},
			attendCase{6, 2, 64, 16, window, 0, drafts},
			attendCase{6, 2, 64, 16, window, 0, pieces},
			attendCase{2, 1, 192, 8, window, 8, pieces})
	}
	for _, page := range []int{1, 4, 5, 64} {
		out = append(out, attendCase{6, 3, 40, page, 0, 0, decoding}, attendCase{6, 3, 40, page, 0, 0, drafts}, attendCase{6, 3, 40, page, 0, 0, pieces})
	}
	for _, heads := range []int{7, 12, 16, 20} {
		for _, dim := range []int{64, 128, 192} {
			out = append(out, attendCase{heads, 1, dim, 16, 0, 0, decoding}, attendCase{heads, 1, dim, 16, 0, 0, drafts})
		}
	}
	for _, window := range []int{1, 31, 32, 33, 100} { // more than eight heads a key
		out = append(out, attendCase{16, 1, 64, 16, window, 0, decoding}, attendCase{16, 1, 64, 8, window, 8, drafts})
	}
	for i, page := range []int{1, 5, 32, 64} {
		out = append(out, attendCase{11, 1, 40 + 32*i, page, 0, 0, decoding}, attendCase{33, 3, 120 - 32*i, page, 0, 0, drafts})
	}
	return append(out,
		attendCase{6, 2, 64, 16, 0, 3, decoding},
		attendCase{6, 2, 64, 16, 0, 3, pieces},
		attendCase{6, 2, 64, 16, 0, 3, drafts},
		attendCase{24, 8, 128, 16, 0, 0, []span{{4096, 8}}},
		attendCase{32, 2, 128, 16, 0, 0, []span{{2000, 16}, {31, 1}}},
		attendCase{24, 8, 128, 16, 0, 0, []span{{4096, 1}}},
		attendCase{32, 2, 128, 16, 0, 0, []span{{4096, 1}}},
		attendCase{32, 2, 128, 16, 0, 0, []span{{4096, 1}, {31, 1}, {32, 1}, {2000, 1}}},
		attendCase{24, 8, 128, 16, 0, 0, []span{{4096, 1}, {15, 1}, {2000, 1}}},
		attendCase{24, 8, 128, 16, 0, 0, []span{{4000, 97}, {1, 1}, {600, 1}}},
		attendCase{6, 2, 128, 16, 0, 0, slices.Repeat([]span{{40, 1}, {129, 1}, {0, 1}}, 30)},
		attendCase{6, 2, 128, 16, 0, 0, slices.Repeat([]span{{40, 1}, {3, 5}}, 40)})
}

// attendTolerance is what results may be off besides their own rounding, as
// a share of the largest of a row: weights are rounded to the type of the cache
// before they meet the values. The float32 reference adds values one by one.
func attendTolerance(t ops.DType) float64 {
	switch t {
	case ops.BF16:
		return 0x1p-7
	case ops.F16:
		return 0x1p-10
	}
	return 5e-5
}

// TestAttend compares with the CPU. What was never stored in the cache is NaN.
func TestAttend(t *testing.T) {
	for _, act := range activationTypes {
		t.Run(act.String(), func(t *testing.T) {
			c := compareSplit(t, act)
			for _, a := range some(affordable(4, attendCases(), attendCase.work), 11) {
				c.attend(a)
			}
		})
	}
}

func (c *comparison) attend(a attendCase) {
	c.Helper()
	batch := a.batch(c.rng.Perm)
	c.begin(batch)
	dev, cpu := c.caches(a, batch)
	n, width := len(batch.Tokens), a.heads*a.dim
	q, out := c.random(c.opt.Act, n, width, a.margin), c.random(c.opt.Act, n, width, a.margin)
	c.cpu.Attend(out.cpu, q.cpu, a.shape(), cpu)
	for range 2 { // the second finds what the first has left in scratch memory
		c.Attend(out.dev, q.dev, a.shape(), dev)
		c.close(a.String(), out, attendTolerance(c.opt.Act))
	}
}

// caches returns caches that hold the batch's sequences, and NaN elsewhere.
func (c *comparison) caches(a attendCase, batch *ops.Batch) (dev, cpu ops.Cache) {
	c.Helper()
	pages := 0
	for _, p := range batch.Pages {
		pages = max(pages, int(p)+1)
	}
	var err error
	dev, err = c.Cache(ops.CacheShape{Pages: pages, PageSize: a.page, KVHeads: a.kvHeads, HeadDim: a.dim})
	c.must(err)
	cpu, err = c.cpu.Cache(ops.CacheShape{Pages: pages, PageSize: a.page, KVHeads: a.kvHeads, HeadDim: a.dim})
	c.must(err)
	for _, t := range [][2]ops.Tensor{{dev.K, cpu.K}, {dev.V, cpu.V}} {
		values := round(c.opt.Act, c.normal(t[0].Rows*a.dim))
		for r := range t[0].Rows {
			if !a.stored(batch, r/a.page/a.kvHeads, r%a.page) {
				for d := range a.dim {
					values[r*a.dim+d] = float32(math.NaN())
				}
			}
		}
		c.must(c.Write(t[0], values))
		copyTo(t[1], values)
	}
	return dev, cpu
}

// stored reports whether a place of a page holds a token.
func (a attendCase) stored(b *ops.Batch, page, place int) bool {
	at := slices.Index(b.Pages, int32(page))
	if at < 0 {
		return false
	}
	s := a.spans[at/b.MaxPages]
	return at%b.MaxPages*a.page+place < s.past+s.tokens
}

// watchAttention notes the launches of the attention kernels of BF16.
func watchAttention(f *cudatest.Fake, seen *[]string) {
	sizes := []int{int(unsafe.Sizeof(attendArgs{})), int(unsafe.Sizeof(metadata{}))}
	names := []string{"attend_plain_bf16"}
	for _, s := range decodeShapes {
		names = append(names, fmt.Sprintf("attend_decode_bf16_%d_%d", s.dim, s.heads), fmt.Sprintf("attend_rows_bf16_%d_%d", s.dim, s.heads))
	}
	for _, dim := range promptDims {
		names = append(names, fmt.Sprintf("attend_prompt_bf16_%d", dim))
	}
	for _, name := range names {
		f.Kernel(name, sizes, func(c *cudatest.Call) {
			*seen = append(*seen, fmt.Sprintf("%s %v %d", name, c.Grid, c.Block[0]))
		})
	}
}

// TestAttendLaunches: which kernels serve which batches, on how many blocks.
func TestAttendLaunches(t *testing.T) {
	f := roomy(t)
	registerAll(t, f)
	var seen []string
	watchAttention(f, &seen)
	b := opened(t, f.Device(t), Options{Act: ops.BF16})
	narrow := func(pairs int) int { return b.attention.splitPlan(pairs).splits }
	wide := func(pairs int) int { return b.attention.widePlan(pairs, 2).splits }
	for _, c := range []struct {
		attendCase
		want []string
	}{
		{attendCase{24, 8, 128, 16, 0, 0, []span{{99, 1}}}, []string{fmt.Sprintf("attend_decode_bf16_128_16 [8 1 %d] 128", wide(8))}},
		{attendCase{32, 2, 128, 16, 0, 8, []span{{99, 1}, {5, 1}}}, []string{fmt.Sprintf("attend_decode_bf16_128_16 [2 2 %d] 128", wide(4))}},
		{attendCase{24, 8, 128, 16, 0, 0, []span{{99, 4}, {7, 1}}}, []string{fmt.Sprintf("attend_rows_bf16_128_16 [8 5 %d] 128", wide(40))}},
		{attendCase{24, 8, 128, 16, 0, 0, []span{{99, 17}}}, []string{"attend_prompt_bf16_128 [24 1 1] 256"}},
		{attendCase{4, 2, 12, 16, 0, 0, []span{{99, 1}, {0, 2}}}, []string{"attend_plain_bf16 [4 3 1] 128"}},
		{attendCase{4, 2, 64, 16, 0, 3, []span{{99, 1}}}, []string{"attend_plain_bf16 [4 1 1] 128"}},
		{attendCase{4, 2, 64, 16, 0, 0, []span{{0, 129}, {0, 2}}}, []string{"attend_prompt_bf16_64 [4 3 1] 256"}},
		{attendCase{2, 1, 192, 16, 0, 0, []span{{9, 65}, {7, 1}}}, []string{
			fmt.Sprintf("attend_decode_bf16_192_8 [1 2 %d] 128", narrow(2)), "attend_prompt_bf16_192 [2 2 1] 128",
		}},
	} {
		batch := c.batch(newRand().Perm)
		if err := b.Begin(batch); err != nil {
			t.Fatal(err)
		}
		cache, err := b.Cache(ops.CacheShape{Pages: len(batch.Pages), PageSize: c.page, KVHeads: c.kvHeads, HeadDim: c.dim})
		if err != nil {
			t.Fatal(err)
		}
		q, err := b.Activation(len(batch.Tokens), c.heads*c.dim+2*c.margin)
		if err != nil {
			t.Fatal(err)
		}
		q = q.Columns(c.margin, c.margin+c.heads*c.dim)
		seen = nil
		b.Attend(q, q, c.shape(), cache)
		if err := b.wait(); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(seen, c.want) {
			t.Errorf("%s: got %q, want %q", c.attendCase, seen, c.want)
		}
	}
}

// TestAttendDoesNotAllocate: the two launches of a mixed batch cost as much
// garbage as those of two other operations, which is the fake driver's.
func TestAttendDoesNotAllocate(t *testing.T) {
	m := newHot(t, onFake(t, roomy(t), Options{Act: ops.BF16}))
	m.step()
	begin(t, m.Backend, []int32{0, 1, 3})
	h, x, q := m.h.Top(3), m.x.Top(3), m.qkv.Top(3).Columns(0, 64)
	one := testing.AllocsPerRun(50, func() { m.Norm(h, x, m.norm) })
	two := testing.AllocsPerRun(50, func() { m.Attend(h, q, m.attention, m.cache) })
	if err := m.wait(); err != nil {
		t.Fatal(err)
	}
	if two != 2*one {
		t.Errorf("got %v allocations, want %v", two, 2*one)
	}
}

// TestAttendParameters compares the parameters with what the device's code
// declares.
func TestAttendParameters(t *testing.T) {
	b := onDevice(t, Options{Act: ops.BF16})
	for _, c := range []struct {
		f    *cuda.Function
		want []int
	}{
		{b.attention.plain, []int{int(unsafe.Sizeof(attendArgs{})), int(unsafe.Sizeof(metadata{}))}},
		{b.attention.decode[decodeShape{128, 16}], []int{int(unsafe.Sizeof(attendArgs{})), int(unsafe.Sizeof(metadata{}))}},
		{b.attention.rows[decodeShape{128, 16}], []int{int(unsafe.Sizeof(attendArgs{})), int(unsafe.Sizeof(metadata{}))}},
		{b.prompt.kernels[128], []int{int(unsafe.Sizeof(attendArgs{})), int(unsafe.Sizeof(metadata{}))}},
		{b.sampler.kernel, []int{int(unsafe.Sizeof(sampleArgs{})), int(unsafe.Sizeof(fewRows{}))}},
		{b.sampler.greedy, []int{int(unsafe.Sizeof(sampleArgs{}))}},
	} {
		got, err := c.f.Parameters()
		if errors.Is(err, cuda.ErrNotAvailable) {
			t.Skip("the driver does not tell")
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: got parameters of %v bytes, %v; want %v", c.f.Name(), got, err, c.want)
		}
	}
}

// TestAttendRefuses: heads that are too wide are reported.
func TestAttendRefuses(t *testing.T) {
	m := newHot(t, onFake(t, roomy(t), Options{Act: ops.BF16}))
	m.step()
	m.Attend(m.qkv, m.qkv, &ops.Attention{Heads: 1, KVHeads: 1, HeadDim: 512}, m.cache)
	if m.wait() == nil {
		t.Error("heads of 512 columns were accepted")
	}
}

func TestWorkOf(t *testing.T) {
	for _, c := range []struct {
		start  []int32
		single bool
		tiles  int
	}{
		{[]int32{0}, false, 0},
		{[]int32{0, 1, 2}, true, 0},
		{[]int32{0, 2}, false, 1},
		{[]int32{0, 64, 65, 130}, true, 3},
		{[]int32{0, 0, 65}, false, 2},
	} {
		if single, tiles := workOf(c.start, 64); single != c.single || tiles != c.tiles {
			t.Errorf("%v: got %v and %d tiles, want %v and %d", c.start, single, tiles, c.single, c.tiles)
		}
	}
}

func TestSplitPlans(t *testing.T) {
	with, without := &attention{processors: 132, clusters: true}, &attention{processors: 132}
	for _, c := range []struct {
		pairs                       int
		want, wide, wideOfNoCluster splitPlan
	}{
		{1, splitPlan{64, 8, 4}, splitPlan{64, 8, 4}, splitPlan{64, 1, 4}},
		{2, splitPlan{64, 8, 4}, splitPlan{64, 8, 4}, splitPlan{64, 1, 4}},  // 32 heads of 2 key heads, one sequence
		{8, splitPlan{32, 8, 4}, splitPlan{16, 8, 4}, splitPlan{17, 1, 4}},  // 24 heads of 8 key heads
		{32, splitPlan{8, 8, 4}, splitPlan{4, 4, 4}, splitPlan{4, 1, 4}},    // four sequences
		{64, splitPlan{4, 1, 4}, splitPlan{2, 2, 4}, splitPlan{2, 1, 4}},    // eight
		{512, splitPlan{2, 1, 32}, splitPlan{1, 1, 4}, splitPlan{1, 1, 4}},  // 64
		{2048, splitPlan{1, 1, 32}, splitPlan{1, 1, 4}, splitPlan{1, 1, 4}}, // 256
	} {
		if p := with.splitPlan(c.pairs); p != c.want {
			t.Errorf("%d pairs: got %+v, want %+v", c.pairs, p, c.want)
		}
		if p := with.widePlan(c.pairs, 2); p != c.wide {
			t.Errorf("%d pairs, wide: got %+v, want %+v", c.pairs, p, c.wide)
		}
		if p := without.widePlan(c.pairs, 2); p != c.wideOfNoCluster {
			t.Errorf("%d pairs, wide, no clusters: got %+v, want %+v", c.pairs, p, c.wideOfNoCluster)
		}
	}
	for pairs, want := range map[int]splitPlan{2: {64, 8, 4}, 8: {33, 1, 4}, 16: {8, 8, 4}, 64: {2, 2, 4}} {
		if p := with.widePlan(pairs, 1); p != want {
			t.Errorf("%d pairs, wide, 8 bits: got %+v, want %+v", pairs, p, want)
		}
	}
	for processors := 1; processors <= 160; processors++ {
		k := attention{processors: processors, clusters: processors%2 == 0}
		for pairs := 1; pairs < 4000; pairs++ {
			for _, p := range []splitPlan{k.splitPlan(pairs), k.widePlan(pairs, 1), k.widePlan(pairs, 2)} {
				if p.splits < 1 || p.splits > maxSplits || p.splits%p.cluster != 0 || p.splits > 1 && p.splits*pairs > slotsPer*processors {
					t.Fatalf("%d pairs on %d multiprocessors: %+v", pairs, processors, p)
				}
			}
		}
	}
}

// TestWideShared: what a block of wide.cuh or wide8.cuh takes fits every device.
func TestWideShared(t *testing.T) {
	for _, c := range []struct{ dim, size, most, want int }{
		{64, 2, 227 << 10, 3 << 14},
		{128, 2, 227 << 10, 3 << 15},
		{64, 2, 99 << 10, 3 << 14},
		{128, 2, 99 << 10, 2 << 15},
		{64, 1, 227 << 10, 5 << 13},
		{128, 1, 227 << 10, 5 << 14},
		{64, 1, 99 << 10, 5 << 13},
		{128, 1, 99 << 10, 5 << 14},
	} {
		if got := wideShared(c.dim, c.size, c.most); got != c.want {
			t.Errorf("heads of %d columns of %d bytes, %d bytes: got %d, want %d", c.dim, c.size, c.most, got, c.want)
		}
	}
}

func TestDecodeShape(t *testing.T) {
	for _, c := range []struct {
		heads, kvHeads, dim int
		want                decodeShape
		parts               int
	}{
		{24, 8, 128, decodeShape{128, 16}, 1},
		{32, 2, 128, decodeShape{128, 16}, 1},
		{20, 1, 64, decodeShape{64, 16}, 2},
		{48, 8, 192, decodeShape{192, 8}, 1},
		{16, 1, 256, decodeShape{256, 8}, 2},
		{2, 2, 8, decodeShape{64, 16}, 1},
		{9, 1, 80, decodeShape{128, 16}, 1},
	} {
		shape, parts := decodeShapeOf(&ops.Attention{Heads: c.heads, KVHeads: c.kvHeads, HeadDim: c.dim})
		if shape != c.want || parts != c.parts || !slices.Contains(decodeShapes, shape) {
			t.Errorf("%d:%d heads of %d: got %v in %d parts, want %v in %d", c.heads, c.kvHeads, c.dim, shape, parts, c.want, c.parts)
		}
		if size := shape.heads * (c.dim + 2); size > slotFloats {
			t.Errorf("%v: a slot takes %d floats, more than %d", shape, size, slotFloats)
		}
	}
}

// elapsed returns the microseconds of one of so many runs, the median of
// replays of a graph that holds them all.
func elapsed(t testing.TB, b *Backend, runs int, run func(i int)) float64 {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	run(0) // reserves memory
	must(b.wait())
	g, err := b.stream.Capture(func() error {
		for i := range runs {
			run(i)
		}
		return b.report()
	})
	must(err)
	x, err := g.Instantiate()
	must(err)
	from, err := b.dev.NewEvent(true)
	must(err)
	to, err := b.dev.NewEvent(true)
	must(err)
	var times []float64
	for i := range 12 {
		must(from.Record(b.stream))
		must(x.Launch(b.stream))
		must(to.Record(b.stream))
		must(to.Synchronize())
		d, err := to.Elapsed(from)
		must(err)
		if i > 1 {
			times = append(times, float64(d.Nanoseconds())/1e3/float64(runs))
		}
	}
	slices.Sort(times)
	must(x.Close())
	must(g.Close())
	return times[len(times)/2]
}

// speedCase is a step whose attention is timed.
type speedCase struct {
	name           string
	sequences      int
	context, piece int
}

// TestSpeedOfAttention prints times of 24 query heads of 8 key heads of 128
// columns in BF16. Layers take turns, as in a model, so that their caches do not
// stay in the second-level cache.
func TestSpeedOfAttention(t *testing.T) {
	if testing.Short() {
		t.Skip("measures")
	}
	needsGPU(t)
	d := onDevice(t, Options{Act: ops.BF16})
	t.Logf("%-8s %9s %9s %10s %10s %10s", "", "sequences", "context", "µs", "GB/s", "TFLOP/s")
	for _, c := range []speedCase{
		{"decode", 1, 512, 1},
		{"decode", 1, 4096, 1},
		{"decode", 1, 32768, 1},
		{"decode", 64, 512, 1},
		{"decode", 64, 4096, 1},
		{"decode", 64, 32768, 1},
		{"prompt", 1, 512, 512},
		{"prompt", 1, 2048, 2048},
		{"prompt", 1, 8192, 8192},
	} {
		c.measure(t, d)
	}
}

func (c speedCase) measure(t *testing.T, d device) {
	t.Helper()
	const heads, kvHeads = 24, 8
	µs, bytes := c.time(t, d, heads, kvHeads, ops.Plain)
	pairs := 0.0 // of query and key
	for p := c.context - c.piece; p < c.context; p++ {
		pairs += float64(c.sequences) * float64(p+1)
	}
	t.Logf("%-8s %9d %9d %10.2f %10.0f %10.1f", c.name, c.sequences, c.context, µs, float64(bytes)/µs/1e3, 4*pairs*heads*128/µs/1e6)
}

// time returns the microseconds of one Attend with heads of 128 columns, and the
// bytes of its cache.
func (c speedCase) time(t *testing.T, d device, heads, kvHeads int, format ops.CacheFormat) (µs float64, bytes int64) {
	t.Helper()
	return c.timeOf(t, d, heads, kvHeads, format, d.Attend)
}

// timeOf is time of something else that computes an Attend.
func (c speedCase) timeOf(
	t *testing.T, d device, heads, kvHeads int, format ops.CacheFormat, attend func(out, q ops.Tensor, a *ops.Attention, cache ops.Cache),
) (µs float64, bytes int64) {
	t.Helper()
	a := attendCase{heads: heads, kvHeads: kvHeads, dim: 128, page: 16, spans: slices.Repeat([]span{{c.context - c.piece, c.piece}}, c.sequences)}
	batch := a.batch(func(n int) []int {
		out := make([]int, n)
		for i := range out {
			out[i] = (i*7919 + 13) % n // a prime: all different
		}
		return out
	})
	pages := 0
	for _, p := range batch.Pages {
		pages = max(pages, int(p)+1)
	}
	shape := ops.CacheShape{Pages: pages, PageSize: a.page, KVHeads: kvHeads, HeadDim: a.dim, Format: format}
	bytes = shape.Bytes(ops.BF16)
	caches := make([]ops.Cache, min(max(1<<28/bytes, 1), 48))
	pattern := randomPattern(t, d)
	for i := range caches {
		var err error
		if caches[i], err = d.Cache(shape); err != nil {
			t.Fatal(err)
		}
		fill(t, d, caches[i], pattern)
	}
	q, err := d.Activation(len(batch.Tokens), a.heads*a.dim)
	if err != nil {
		t.Fatal(err)
	}
	out, err := d.Activation(len(batch.Tokens), a.heads*a.dim)
	if err != nil {
		t.Fatal(err)
	}
	repeat(t, d, q, pattern)
	if err := d.Begin(batch); err != nil {
		t.Fatal(err)
	}
	return elapsed(t, d.Backend, len(caches), func(i int) { attend(out, q, a.shape(), caches[i]) }), bytes
}

// randomPattern returns 32 MiB of normal values on the device.
func randomPattern(t testing.TB, d device) ops.Tensor {
	t.Helper()
	p, err := d.Activation(1, 1<<24)
	if err != nil {
		t.Fatal(err)
	}
	rng := comparison{rng: newRand()}
	if err := d.Write(p, rng.normal(1<<24)); err != nil {
		t.Fatal(err)
	}
	return p
}

// repeat fills a tensor with copies of a pattern.
func repeat(t testing.TB, d device, to, pattern ops.Tensor) {
	t.Helper()
	n, size := to.Rows*to.Cols*to.Type.Size(), pattern.Cols*pattern.Type.Size()
	for at := 0; at < n; at += size {
		if err := d.stream.Copy(address(to)+cuda.DevicePtr(at), address(pattern), min(size, n-at)); err != nil {
			t.Fatal(err)
		}
	}
}
