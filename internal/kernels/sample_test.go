package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/godwit-llm/godwit/internal/cuda/cudatest"
	"github.com/godwit-llm/godwit/internal/ops"
	"github.com/godwit-llm/godwit/internal/ops/opstest"
)

func newRand() *rand.Rand { return rand.New(rand.NewPCG(3, 4)) }

// TestSampleGrid: the blocks of all groups fit on the device together.
func TestSampleGrid(t *testing.T) {
	for _, c := range []struct{ rows, vocab, resident, share, blocks, groups int }{
		{1, 48, 264, sampleShare, 1, 1},
		{1, 131072, 264, sampleShare, 32, 1},
		{1, 256000, 264, sampleShare, 63, 1},
		{1, 256000, 264, greedyShare, 125, 1},
		{64, 256000, 264, sampleShare, 4, 64},
		{300, 131072, 264, sampleShare, 1, 264},
		{1, 256000, 1, sampleShare, 1, 1},
	} {
		if blocks, groups := sampleGrid(c.rows, c.vocab, c.resident, c.share); blocks != c.blocks || groups != c.groups {
			t.Errorf("%d rows of %d on %d: got %d blocks in %d groups, want %d in %d", c.rows, c.vocab, c.resident, blocks, groups, c.blocks, c.groups)
		}
	}
	for resident := 1; resident < 300; resident++ {
		for rows := 1; rows < 600; rows += 7 {
			if blocks, groups := sampleGrid(rows, 1<<18, resident, greedyShare); blocks*groups > resident || blocks < 1 || groups < 1 {
				t.Fatalf("%d rows on %d: %d blocks in %d groups", rows, resident, blocks, groups)
			}
		}
	}
}

func TestRoomFor(t *testing.T) {
	for _, c := range [][2]int{{0, 64}, {1, 64}, {64, 64}, {65, 128}, {128, 128}, {129, 256}} {
		if got := roomFor(c[0], 64); got != c[1] {
			t.Errorf("room for %d: got %d, want %d", c[0], got, c[1])
		}
	}
}

// randomSampling asks for anything that a request can ask for.
func randomSampling(rng *rand.Rand, vocab int) ops.Sampling {
	one := func(of ...float32) float32 { return of[rng.IntN(len(of))] }
	p := ops.Sampling{
		Temperature: one(0, 0.3, 0.8, 1, 1.7), TopP: one(0, 0, 1, 0.95, 0.9, 0.3, 1e-6), MinP: one(0, 0, 0, 0.05, 0.5),
		TopK: int(one(0, 0, 1, 20, 50, 1<<20)), Seed: rng.Uint64(), Step: rng.Uint64N(1 << 40),
		Target: int32(rng.IntN(vocab)), Score: rng.IntN(10) == 0,
	}
	if rng.IntN(4) == 0 {
		p.Top = int(one(1, 5, 20, 64, 65))
	}
	if rng.IntN(3) == 0 {
		p.Allowed = make([]uint32, (vocab+31)/32)
		for range 1 + rng.IntN(vocab) {
			id := rng.IntN(vocab)
			p.Allowed[id/32] |= 1 << (id % 32)
		}
	}
	for range rng.IntN(3) * rng.IntN(20) {
		id := int32(rng.IntN(vocab))
		if !slices.ContainsFunc(p.Edits, func(e ops.Edit) bool { return e.ID == id }) {
			p.Edits = append(p.Edits, ops.Edit{ID: id, Scale: one(1, 1.1, 1.3), Offset: one(0, -0.5, 2, float32(math.Inf(-1)))})
		}
	}
	return p
}

// TestSampleLikeCPU draws thousands of rows on both. Ids are equal but where
// either side is right: the two best noisy logits are closer than 1e-6, or the
// kept tokens' sum comes within 2e-6 of TopP.
func TestSampleLikeCPU(t *testing.T) {
	c := compareWithCPU(t, ops.F32)
	type load struct{ vocab, rows, batch int }
	cases := []load{
		{48, 2000, 100}, {4096, 1500, 75}, {131072, 90, 1}, {131072, 150, 50}, {256000, 40, 1}, {256000, 80, 40}, {2053, 700, 350},
	}
	if emulating && !*allCases {
		cases = []load{{48, 200, 100}, {4096, 75, 75}, {131072, 2, 1}, {2053, 35, 35}}
	}
	for _, v := range some(cases, 3) {
		logits, err := c.Float(v.batch, v.vocab)
		c.must(err)
		host, err := c.cpu.Float(v.batch, v.vocab)
		c.must(err)
		close := 0
		for range v.rows / v.batch {
			close += c.sampleBatch(logits, host)
		}
		t.Logf("vocabulary %d, batches of %d: %d rows, of which %d were decided by rounding", v.vocab, v.batch, v.rows, close)
		if close > 1+v.rows/200 {
			t.Errorf("vocabulary %d: %d of %d rows are close", v.vocab, close, v.rows)
		}
	}
}

func (c *comparison) sampleBatch(dev, cpu ops.Tensor) (close int) {
	c.Helper()
	vocab := dev.Cols
	values := c.normal(dev.Rows * vocab)
	params := make([]ops.Sampling, dev.Rows)
	for r := range params {
		params[r] = randomSampling(c.rng, vocab)
		row, spread, flat := values[r*vocab:(r+1)*vocab], float32(1+c.rng.IntN(5)), c.rng.IntN(5) == 0
		for i := range row {
			if row[i] *= spread; flat {
				row[i] = float32(c.rng.IntN(4)) // equals
			}
		}
	}
	c.must(c.Write(dev, values))
	copyTo(cpu, values)
	c.rows(dev.Rows)
	got, want := make([]ops.Sampled, dev.Rows), make([]ops.Sampled, dev.Rows)
	c.must(ops.Sample(c, got, dev, params))
	c.must(ops.Sample(c.cpu, want, cpu, params))
	for r := range got {
		if got[r].ID != want[r].ID && c.undecided(values[r*vocab:(r+1)*vocab], &params[r], got[r].ID, want[r].ID) {
			close++
			want[r].ID, want[r].LogProb = got[r].ID, got[r].LogProb
		}
		c.sameSample(fmt.Sprintf("vocabulary %d, row %d of %d, %+v", vocab, r, len(got), params[r]), got[r], want[r])
	}
	after := make([]float32, len(values))
	c.must(c.Read(after, dev))
	if !slices.Equal(after, values) {
		c.Fatal("logits were changed")
	}
	return close
}

// undecided reports whether rounding decides between two tokens.
func (c *comparison) undecided(logits []float32, p *ops.Sampling, a, b int32) bool {
	if p.Temperature == 0 || p.Score {
		return false
	}
	x := slices.Clone(logits)
	for _, e := range p.Edits {
		scale := e.Scale
		if x[e.ID] > 0 {
			scale = 1 / scale
		}
		x[e.ID] = x[e.ID]*scale + e.Offset
	}
	noisy := func(id int32) float64 { return float64(x[id]/p.Temperature) + opstest.Gumbel(p.Seed, p.Step, int(id)) }
	if math.Abs(noisy(a)-noisy(b)) < 1e-6 {
		return true
	}
	row, err := c.cpu.Float(1, len(logits))
	c.must(err)
	copyTo(row, logits)
	for _, f := range []float32{1 - 2e-6, 1 + 2e-6} {
		near, out := *p, []ops.Sampled{{}}
		near.TopP *= f
		c.must(ops.Sample(c.cpu, out, row, []ops.Sampling{near}))
		if p.TopP > 0 && p.TopP < 1 && out[0].ID == a {
			return true
		}
	}
	return false
}

func (c *comparison) sameSample(name string, got, want ops.Sampled) {
	c.Helper()
	// Both add up to 256,000 exponentials in float32, in orders of their own.
	near := func(a, b float32) bool { return a == b || math.Abs(float64(a-b)) <= 1e-4 }
	if got.ID != want.ID || got.Invalid != want.Invalid || !near(got.LogProb, want.LogProb) {
		c.Fatalf("%s: got token %d (%g), want %d (%g)", name, got.ID, got.LogProb, want.ID, want.LogProb)
	}
	if !slices.Equal(got.TopIDs, want.TopIDs) || !slices.EqualFunc(got.TopLogs, want.TopLogs, near) {
		c.Fatalf("%s: got the list %v %v, want %v %v", name, got.TopIDs, got.TopLogs, want.TopIDs, want.TopLogs)
	}
}

// TestSampleLaunch: rows, edits and masks arrive where the kernel looks for them,
// be there few rows or many, and what it leaves comes back.
func TestSampleLaunch(t *testing.T) {
	for _, n := range []int{3, sampleFew, sampleFew + 1} {
		t.Run(fmt.Sprint(n), func(t *testing.T) { testSampleLaunch(t, n) })
	}
}

func testSampleLaunch(t *testing.T, n int) {
	f := roomy(t)
	registerAll(t, f)
	const vocab = 100
	params := make([]ops.Sampling, n)
	copy(params, []ops.Sampling{
		{Temperature: 1, Seed: 7, Edits: []ops.Edit{{ID: 4, Scale: 2, Offset: 3}, {ID: 9, Scale: 1}}},
		{Top: 2, MinP: 1, Allowed: []uint32{1, 2, 3, 4}},
		{Score: true, Target: 5, Edits: []ops.Edit{{ID: 1, Scale: 1, Offset: 8}}, Allowed: []uint32{5, 6, 7, 8}},
	})
	var rows []samplingRow
	var edits []samplingEdit
	var masks []uint32
	sizes := []int{int(unsafe.Sizeof(sampleArgs{})), int(unsafe.Sizeof(fewRows{}))}
	f.Kernel("sample", sizes, func(c *cudatest.Call) {
		a := *(*sampleArgs)(unsafe.Pointer(&c.Bytes(0)[0]))
		if !c.Cooperative || c.Grid[0] != int(a.blocks*a.all) || int(a.count) != n || a.vocab != vocab || (a.rows == 0) != (n <= sampleFew) {
			t.Errorf("launched %+v with %+v", c, a)
		}
		memory := c.Bytes(1)
		if a.rows != 0 {
			memory = c.Memory(a.rows, n*rowBytes)
		}
		rows = slices.Clone(viewOf[samplingRow](memory, 3))
		edits = slices.Clone(viewOf[samplingEdit](c.Memory(a.edits, 3*editBytes), 3))
		masks = slices.Clone(viewOf[uint32](c.Memory(a.masks, 8*4), 8))
		copy(viewOf[samplingResult](c.Memory(a.host, 3*resultBytes), 3), []samplingResult{{id: 11}, {id: 12, logProb: -2}, {invalid: 1}})
		copy(viewOf[int32](c.Memory(a.topIDs, 3*4*listed), 3*listed)[listed:], []int32{12, 13})
		copy(viewOf[float32](c.Memory(a.topLogs, 3*4*listed), 3*listed)[listed:], []float32{-2, -3})
	})
	b := opened(t, f.Device(t), Options{Act: ops.BF16})
	logits, err := b.Float(n, vocab)
	if err != nil {
		t.Fatal(err)
	}
	results := make([]ops.Sampled, n)
	if err := ops.Sample(b, results, logits, params); err != nil {
		t.Fatal(err)
	}
	if rows[0].seed != 7 || rows[0].editCount != 2 || rows[1].least != 0 || rows[1].list != 2 || rows[2].score != 1 || rows[2].edits != 2 {
		t.Errorf("rows: %+v", rows)
	}
	if want := []samplingEdit{{id: 4, scale: 2, offset: 3}, {id: 9, scale: 1}, {id: 1, scale: 1, offset: 8}}; !slices.Equal(edits, want) {
		t.Errorf("edits: got %+v, want %+v", edits, want)
	}
	if want := []uint32{1, 2, 3, 4, 5, 6, 7, 8}; !slices.Equal(masks, want) || rows[0].allowed != -1 || rows[1].allowed != 0 || rows[2].allowed != 4 {
		t.Errorf("masks: got %v for %+v, want %v", masks, rows, want)
	}
	want := "[{11 false 0 [] []} {12 false -2 [12 13] [-2 -3]} {0 true 0 [] []}]"
	if got := fmt.Sprint(results[:3]); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestGreedyLikeCPU: rows that want nothing but their most likely token get that of
// the CPU, the first of equals, whether a row has a block or many, and though
// there is more of nothing than of anything.
func TestGreedyLikeCPU(t *testing.T) {
	c := compareWithCPU(t, ops.F32)
	type load struct{ vocab, rows int }
	cases := []load{{1, 3}, {48, 700}, {2053, 65}, {4099, 3}, {32003, 1}, {131072, 8}, {256000, 1}, {256000, 130}}
	if emulating && !*allCases {
		cases = []load{{1, 3}, {48, 20}, {2053, 9}, {4099, 3}, {32003, 1}}
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, v := range cases {
		logits, err := c.Float(v.rows, v.vocab)
		c.must(err)
		host, err := c.cpu.Float(v.rows, v.vocab)
		c.must(err)
		values := c.normal(v.rows * v.vocab)
		for r := range v.rows {
			row := values[r*v.vocab : (r+1)*v.vocab]
			one := &row[c.rng.IntN(v.vocab)]
			switch r % 9 {
			case 1: // equals
				for i := range row {
					row[i] = float32(c.rng.IntN(4))
				}
			case 2:
				*one = nan
			case 3:
				*one = inf
			case 4, 5, 6: // nothing, but for one
				for i := range row {
					row[i] = -inf
				}
				*one = [3]float32{-3, -inf, nan}[r%9-4]
			}
		}
		c.must(c.Write(logits, values))
		copyTo(host, values)
		c.rows(v.rows)
		got, want := make([]ops.Sampled, v.rows), make([]ops.Sampled, v.rows)
		c.must(ops.Sample(c, got, logits, make([]ops.Sampling, v.rows)))
		c.must(ops.Sample(c.cpu, want, host, make([]ops.Sampling, v.rows)))
		for r := range got {
			c.sameSample(fmt.Sprintf("vocabulary %d, row %d of %d", v.vocab, r, v.rows), got[r], want[r])
		}
	}
}

// TestChoicesAreNotCopied: where no row has edits or a mask, the launch carries what
// the rows ask for, and its kernel writes the results where they are wanted.
func TestChoicesAreNotCopied(t *testing.T) {
	f := roomy(t)
	m := newTiny(t, onFake(t, f, Options{Act: ops.BF16}), sampleFew)
	m.params[2].Score, m.params[4].Top, m.params[6].Top = true, 3, listed
	copies := func() int { return f.Calls("cuMemcpyHtoDAsync_v2") + f.Calls("cuMemcpyDtoHAsync_v2") }
	step := func() int {
		before := copies()
		m.begin(sampleFew, 1)
		m.must(ops.Sample(m, m.results, m.forward(), m.params))
		return copies() - before
	}
	step() // brings the weights
	if n := step(); n != 0 {
		t.Errorf("a step with %d rows made %d copies, want none", sampleFew, n)
	}
	m.params[9].Edits = []ops.Edit{{ID: 4, Scale: 2}}
	step() // makes room
	if n := step(); n != 1 {
		t.Errorf("a step with an edit made %d copies, want 1", n)
	}
	clear(m.params)
	if n := step(); n != 0 {
		t.Errorf("a greedy step made %d copies, want none", n)
	}
}

// TestSampleManyEdits: lists of edits outgrow the first buffers.
func TestSampleManyEdits(t *testing.T) {
	c := compareWithCPU(t, ops.F32)
	const rows, vocab = 70, 3000
	logits, err := c.Float(rows, vocab)
	c.must(err)
	host, err := c.cpu.Float(rows, vocab)
	c.must(err)
	values := c.normal(rows * vocab)
	c.must(c.Write(logits, values))
	copyTo(host, values)
	params := make([]ops.Sampling, rows)
	for r := range params {
		for id := range r * 30 {
			params[r].Edits = append(params[r].Edits, ops.Edit{ID: int32(id), Scale: 1.2, Offset: -1})
		}
	}
	c.rows(rows)
	got, want := make([]ops.Sampled, rows), make([]ops.Sampled, rows)
	c.must(ops.Sample(c, got, logits, params))
	c.must(ops.Sample(c.cpu, want, host, params))
	for r := range got {
		c.sameSample(fmt.Sprintf("row %d", r), got[r], want[r])
	}
}

// TestSpeedOfSampling prints times of the kernel, and of the whole call, copies
// and waiting included.
func TestSpeedOfSampling(t *testing.T) {
	if testing.Short() {
		t.Skip("measures")
	}
	needsGPU(t)
	d := onDevice(t, Options{Act: ops.BF16})
	pattern := floatPattern(t, d)
	t.Logf("%-20s %10s %5s %10s %10s", "", "vocabulary", "rows", "kernel µs", "call µs")
	for _, c := range []struct {
		name string
		ops.Sampling
	}{
		{"greedy", ops.Sampling{}},
		{"draw", ops.Sampling{Temperature: 1}},
		{"top-p 0.95", ops.Sampling{Temperature: 0.8, TopP: 0.95}},
		{"top-k 50, top-p 0.95", ops.Sampling{Temperature: 0.8, TopK: 50, TopP: 0.95}},
		{"greedy, 20 listed", ops.Sampling{Top: 20}},
		{"greedy, masked", ops.Sampling{Allowed: slices.Repeat([]uint32{0x55555555}, 8192)}},
		{"top-p 0.95, masked", ops.Sampling{Temperature: 0.8, TopP: 0.95, Allowed: slices.Repeat([]uint32{0x55555555}, 8192)}},
	} {
		for _, vocab := range []int{131072, 256000} {
			for _, rows := range []int{1, 64} {
				logits, err := d.Float(rows, vocab)
				if err != nil {
					t.Fatal(err)
				}
				repeat(t, d, logits, pattern)
				kernel, call := timeSampling(t, d, logits, slices.Repeat([]ops.Sampling{c.Sampling}, rows))
				t.Logf("%-20s %10d %5d %10.1f %10.1f", c.name, vocab, rows, kernel, call)
			}
		}
	}
}

func timeSampling(t *testing.T, d device, logits ops.Tensor, params []ops.Sampling) (kernel, call float64) {
	t.Helper()
	results := make([]ops.Sampled, len(params))
	sample := func() {
		for r := range params {
			params[r].Step++
			params[r].Seed = uint64(r)
		}
		if err := ops.Sample(d, results, logits, params); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		sample()
	}
	const calls = 50
	start := time.Now()
	for range calls {
		sample()
	}
	call = float64(time.Since(start).Nanoseconds()) / 1e3 / calls
	kernel = elapsed(t, d.Backend, 20, func(int) { d.fail(d.launchSample(logits, len(params))) })
	return kernel, call
}

// floatPattern returns random logits.
func floatPattern(t testing.TB, d device) ops.Tensor {
	t.Helper()
	p, err := d.Float(1, 1<<22)
	if err != nil {
		t.Fatal(err)
	}
	values := (&comparison{rng: newRand()}).normal(1 << 22)
	for i := range values {
		values[i] *= 3
	}
	if err := d.Write(p, values); err != nil {
		t.Fatal(err)
	}
	return p
}
