package kernels

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/cuda/cudatest"
	"github.com/godwit-llm/godwit/internal/ops"
)

type scanCase struct {
	heads, headDim, groups, state int
	dtMin, dtMax                  float32
	shift                         float32 // of the raw time steps
	margin                        int     // columns beside the tensors
	kept                          ops.DType
}

func (s scanCase) String() string {
	return fmt.Sprintf("%d heads of %d in %d groups, state %d %s, dt [%g, %g] %+g, margin %d", s.heads, s.headDim, s.groups, s.state, s.kept, s.dtMin, s.dtMax, s.shift, s.margin)
}

var infinite = float32(math.Inf(1))

// scanCases are sizes for all kernels. Rows of heads·(1+headDim)+2·groups·state
// columns that are no multiple of 16 bytes rule out the fast ones.
var scanCases = []scanCase{
	{heads: 1, headDim: 1, groups: 1, state: 1, dtMax: infinite},
	{heads: 6, headDim: 5, groups: 6, state: 7, dtMax: infinite, shift: -1},
	{heads: 6, headDim: 12, groups: 3, state: 10, dtMax: infinite, shift: -2},
	{heads: 8, headDim: 8, groups: 2, state: 300, dtMax: infinite, shift: -2},
	{heads: 8, headDim: 32, groups: 1, state: 16, dtMax: infinite, shift: -2},
	{heads: 8, headDim: 64, groups: 8, state: 64, dtMax: infinite, shift: -3},
	{heads: 8, headDim: 24, groups: 2, state: 64, dtMin: 0.3, dtMax: 0.7},
	{heads: 8, headDim: 64, groups: 2, state: 128, dtMax: infinite, shift: -4},
	{heads: 16, headDim: 80, groups: 1, state: 128, dtMax: infinite, shift: -2},
	{heads: 8, headDim: 96, groups: 8, state: 128, dtMin: 0.001, dtMax: 0.1, shift: -4, margin: 8},
	{heads: 8, headDim: 112, groups: 2, state: 128, dtMax: infinite, shift: 3},
	{heads: 8, headDim: 128, groups: 4, state: 128, dtMax: infinite, shift: 20},
	{heads: 8, headDim: 40, groups: 2, state: 128, dtMax: infinite, shift: -2, margin: 3},
	{heads: 8, headDim: 64, groups: 1, state: 256, dtMax: infinite, shift: -3},
	{heads: 128, headDim: 64, groups: 8, state: 128, dtMax: infinite, shift: -4},
	{heads: 6, headDim: 5, groups: 6, state: 7, dtMax: infinite, shift: -1, kept: ops.F16},
	{heads: 8, headDim: 8, groups: 2, state: 300, dtMax: infinite, shift: -2, kept: ops.F16},
	{heads: 8, headDim: 24, groups: 2, state: 64, dtMin: 0.3, dtMax: 0.7, kept: ops.F16},
	{heads: 8, headDim: 64, groups: 2, state: 128, dtMax: infinite, shift: -4, kept: ops.F16},
	{heads: 16, headDim: 80, groups: 1, state: 128, dtMax: infinite, shift: -2, kept: ops.F16},
	{heads: 8, headDim: 40, groups: 2, state: 128, dtMax: infinite, shift: -2, margin: 3, kept: ops.F16},
	{heads: 8, headDim: 64, groups: 1, state: 256, dtMax: infinite, shift: -3, kept: ops.F16},
}

// halfUnit is what rounding to a state's type may add to an error: the two sides
// may round to neighbouring numbers.
func halfUnit(kept ops.DType) float64 {
	if kept == ops.F32 {
		return 0
	}
	return 2 * epsilon(kept)
}

// recurrence is a scan on both sides, with the state it goes on from.
type recurrence struct {
	*comparison
	scanCase
	dev, ssm ops.SSM // with the constants on the device, and on the CPU
	held     both
}

func (c *comparison) recurrence(s scanCase) *recurrence {
	c.Helper()
	shape := ops.SSM{Heads: s.heads, HeadDim: s.headDim, Groups: s.groups, State: s.state, DtMin: s.dtMin, DtMax: s.dtMax}
	r := &recurrence{comparison: c, scanCase: s, dev: shape, ssm: shape}
	rates := c.normal(s.heads)
	for i, v := range rates {
		rates[i] = float32(-math.Exp(float64(v)))
	}
	r.dev.A, r.ssm.A = c.vector(rates)
	r.dev.D, r.ssm.D = c.vector(c.normal(s.heads))
	r.dev.DtBias, r.ssm.DtBias = c.vector(c.normal(s.heads))
	r.held = c.staleState(s.kept, shape.Inner()*s.state)
	return r
}

// inputs returns the projected rows of a step: z, x with B and C, dt.
func (r *recurrence) inputs(n int) (xbc, dt, y both) {
	r.Helper()
	inner, width := r.dev.Inner(), r.dev.Inner()+2*r.groups*r.state
	values := r.normal(n * (inner + width + r.heads))
	for t := range n {
		for h := range r.heads {
			values[(t+1)*(inner+width+r.heads)-1-h] += r.shift
		}
	}
	p := r.place(r.opt.Act, n, inner+width+r.heads, r.margin, values)
	part := func(from, to int) both {
		return both{dev: p.dev.Columns(from, to), cpu: p.cpu.Columns(from, to)}
	}
	return part(inner, inner+width), part(inner+width, inner+width+r.heads), r.random(r.opt.Act, n, inner, 2*r.margin)
}

// step runs the open step on both sides and compares. In chunks, factors are
// rounded to 16 bits before they are multiplied; token by token nothing is
// rounded but y.
func (r *recurrence) step(name string, b *ops.Batch) {
	r.Helper()
	xbc, dt, y := r.inputs(len(b.Tokens))
	r.Scan(y.dev, xbc.dev, dt.dev, &r.dev, r.held.dev)
	r.cpu.Scan(y.cpu, xbc.cpu, dt.cpu, &r.ssm, r.held.cpu)
	all, each, kept := 5e-6, 2e-5, 5e-6
	switch r.opt.Act {
	case ops.F16:
		all = 6e-4
	case ops.BF16:
		all, each, kept = 4e-3, 0.06, 0x1p-7
	}
	r.near(name, y, all, each)
	r.close(name+", state", r.held, kept+halfUnit(r.kept))
	r.follow(r.held)
}

// near compares the two sides of a tensor whose values are sums that may cancel:
// by the norm of the error, as a share of the norm of the values, and by single
// errors beyond the rounding to the device's type, as a share of the typical
// value. It looks for writes beside the tensor, too.
func (c *comparison) near(name string, x both, all, each float64) {
	c.Helper()
	n := x.dev.Rows * x.dev.Cols
	got, want := make([]float32, n), make([]float32, n)
	c.must(c.Read(got, x.dev))
	c.must(c.cpu.Read(want, x.cpu))
	errors, values, worst, at := 0.0, 0.0, -1.0, 0
	for i, w := range want {
		d := math.Abs(float64(got[i] - w))
		errors += d * d
		values += float64(w) * float64(w)
		if beyond := d - 1.01*epsilon(x.dev.Type)*math.Abs(float64(w)); beyond > worst || beyond != beyond {
			worst, at = beyond, i
		}
	}
	if ratio := math.Sqrt(errors / values); !(ratio <= all) {
		c.Fatalf("%s: the error's norm is %.3g of the values', want at most %.3g", name, ratio, all)
	}
	if typical := math.Sqrt(values / float64(n)); !(worst <= each*typical) {
		c.Fatalf("%s: [%d, %d]: got %.9g, want %.9g, where %.3g is typical", name, at/x.dev.Cols, at%x.dev.Cols, got[at], want[at], typical)
	}
	c.untouched(name, x)
}

// TestScan compares with the CPU, in steps that mix pieces of prompts and
// single tokens.
func TestScan(t *testing.T) {
	for _, act := range activationTypes {
		t.Run(act.String(), func(t *testing.T) {
			c := compareSplit(t, act)
			for _, s := range some(affordable(1, scanCases, func(s scanCase) int { return 10 * s.heads * s.headDim * s.state }), 4) {
				r, step := c.recurrence(s), 0
				c.recurrent(mixedSteps, func(b *ops.Batch) {
					r.step(fmt.Sprintf("%s, step %d", s, step), b)
					step++
				})
			}
		})
	}
}

// TestScanLengths: pieces around the borders of chunks and segments, whole and
// cut at random places, give what the CPU computes token by token.
func TestScanLengths(t *testing.T) {
	for _, act := range activationTypes {
		t.Run(act.String(), func(t *testing.T) {
			c, now := compareSplit(t, act), oneIn(5)
			for _, s := range some([]scanCase{
				{heads: 8, headDim: 64, groups: 1, state: 128, dtMax: infinite, shift: -4},
				{heads: 2, headDim: 80, groups: 2, state: 128, dtMax: infinite, shift: -3},
				{heads: 4, headDim: 24, groups: 2, state: 64, dtMax: infinite, shift: -2},
				{heads: 4, headDim: 72, groups: 1, state: 256, dtMax: infinite, shift: -4},
				{heads: 8, headDim: 64, groups: 1, state: 128, dtMax: infinite, shift: -4, kept: ops.F16},
			}, 4) {
				for _, n := range some([]int{1, 2, 16, 17, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1000}, 5) {
					if !now() || emulating && !*allCases && n > 300 {
						continue
					}
					whole, pieces := c.recurrence(s), []brought{{-n, 3, 0, 1}}
					c.recurrent(pieces, func(b *ops.Batch) { whole.step(fmt.Sprintf("%s, %d tokens", s, n), b) })
					c.recurrent(cutAtRandom(c.rng, n), func(b *ops.Batch) {
						whole.step(fmt.Sprintf("%s, %d tokens cut, at %d", s, n, b.Positions[0]), b)
					})
				}
			}
		})
	}
}

// cutAtRandom brings a new sequence of n tokens to one slot in random pieces,
// beside single tokens in another.
func cutAtRandom(rng *rand.Rand, n int) []brought {
	var steps []brought
	for left := n; left > 0; {
		piece := min(left, 1+rng.IntN(n))
		left -= piece
		if steps == nil {
			piece = -piece
		}
		steps = append(steps, brought{0, 1, piece})
	}
	return steps
}

// TestScanManySequences: more sequences than a warp looks at at a time, short
// and long.
func TestScanManySequences(t *testing.T) {
	c := compareWithCPU(t, ops.BF16)
	r := c.recurrence(scanCase{heads: 2, headDim: 64, groups: 1, state: 128, dtMax: infinite, shift: -3})
	sequences := 70
	if emulating && !*allCases {
		sequences = 35 // more than a warp has lanes
	}
	r.held = c.stateOf(ops.F32, sequences, 2*64*128)
	for _, past := range []int{0, 40} {
		b := &ops.Batch{Start: []int32{0}, MaxPages: 1}
		for s := range sequences {
			for i := range []int{1, 40, 300}[s%7%3] {
				b.Tokens, b.Positions = append(b.Tokens, 0), append(b.Positions, int32(past+i))
			}
			b.Start, b.Slots, b.Pages = append(b.Start, int32(len(b.Tokens))), append(b.Slots, int32(sequences-1-s)), append(b.Pages, 0)
		}
		c.begin(b)
		r.step(fmt.Sprintf("%d sequences after %d tokens", sequences, past), b)
	}
}

// TestScanLaunches: which kernels serve which batches, on how many blocks.
func TestScanLaunches(t *testing.T) {
	f := roomy(t)
	registerAll(t, f)
	var seen []string
	watch := func(name string, extra int) {
		sizes := []int{int(unsafe.Sizeof(scanArgs{})), int(unsafe.Sizeof(metadata{})), extra}
		f.Kernel(name, sizes, func(c *cudatest.Call) { seen = append(seen, fmt.Sprintf("%s %v %d", name, c.Grid, c.Block[0])) })
	}
	for _, kept := range stateTypes {
		watch("scan_any_bf16_"+suffix(kept), 4)
		watch("scan_steps_bf16_"+suffix(kept)+"_128", 4)
		for _, name := range []string{"chunk_join", "chunk_scan_128_4", "chunk_scan_128_5"} {
			watch(name+"_"+suffix(kept), int(unsafe.Sizeof(segmentArgs{})))
		}
	}
	watch("chunk_states_128_4", int(unsafe.Sizeof(segmentArgs{})))
	watch("chunk_states_128_5", int(unsafe.Sizeof(segmentArgs{})))
	b := opened(t, f.Device(t), Options{Act: ops.BF16})
	b.chunks.processors = 132
	single, chunks := "scan_steps_bf16_f32_128 [128 %d 1] 128", "chunk_scan_128_4_f32 [64 %d 1] 128"
	for _, c := range []struct {
		headDim  int
		kept     ops.DType
		start    []int32
		decoding bool
		want     []string
	}{
		{64, ops.F32, []int32{0, 1, 9}, true, []string{fmt.Sprintf(single, 2)}},
		{64, ops.F32, []int32{0, 16}, true, []string{fmt.Sprintf(single, 1)}},
		{64, ops.F32, []int32{0, 16}, false, []string{fmt.Sprintf(chunks, 1)}},
		{64, ops.F32, []int32{0, 18}, true, []string{fmt.Sprintf(chunks, 1)}},
		{64, ops.F32, []int32{0, 1, 2, 3}, false, []string{fmt.Sprintf(single, 3)}},
		{64, ops.F32, []int32{0, 1, 2, 20}, false, []string{fmt.Sprintf(single, 3), fmt.Sprintf(chunks, 1)}},
		{64, ops.F32, []int32{0, 18}, false, []string{fmt.Sprintf(chunks, 1)}},
		{64, ops.F32, []int32{0, 2048, 2049}, false, []string{
			fmt.Sprintf(single, 2), "chunk_states_128_4 [64 5 1] 128", "chunk_join_f32 [1024 1 1] 128", fmt.Sprintf(chunks, 5),
		}},
		{80, ops.F32, []int32{0, 100, 700}, false, []string{"chunk_states_128_5 [64 3 1] 128", "chunk_join_f32 [1280 1 1] 128", "chunk_scan_128_5_f32 [64 4 1] 128"}},
		{12, ops.F32, []int32{0, 1, 9}, false, []string{"scan_any_bf16_f32 [64 2 1] 128"}},
		{80, ops.F16, []int32{0, 1, 601}, false, []string{
			"scan_steps_bf16_f16_128 [160 2 1] 128", "chunk_states_128_5 [64 3 1] 128", "chunk_join_f16 [1280 1 1] 128", "chunk_scan_128_5_f16 [64 3 1] 128",
		}},
		{12, ops.F16, []int32{0, 1, 9}, false, []string{"scan_any_bf16_f16 [64 2 1] 128"}},
	} {
		s := &ops.SSM{Heads: 64, HeadDim: c.headDim, Groups: 8, State: 128}
		n, width := int(c.start[len(c.start)-1]), s.Inner()+2*8*128
		p, y := placed(t, b, ops.BF16, n, width+64), placed(t, b, ops.BF16, n, s.Inner())
		state := placed(t, b, c.kept, 4, s.Inner()*s.State)
		batch := batchOf(c.start, 7)
		if batch.Decoding = c.decoding; b.Begin(batch) != nil {
			t.Fatal("the step did not begin")
		}
		seen = nil
		b.Scan(y, p.Columns(0, width), p.Columns(width, width+64), s, state)
		if err := b.wait(); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(seen, c.want) {
			t.Errorf("heads of %d, %s, %v: got %q, want %q", c.headDim, c.kept, c.start, seen, c.want)
		}
	}
}

// TestScanRefuses holds the messages about states that are not taken.
func TestScanRefuses(t *testing.T) {
	b := onFake(t, roomy(t), Options{Act: ops.BF16})
	if _, err := b.State(ops.BF16, 1, 8); err == nil || err.Error() != "kernels: a state of type BF16, want F32 or F16" {
		t.Errorf("got %v for a state of BF16", err)
	}
	if _, err := b.HostState(ops.I32, 1, 8); err == nil || err.Error() != "kernels: a state of type I32, want F32 or F16" {
		t.Errorf("got %v for a state of I32 in host memory", err)
	}
	for _, c := range []struct {
		kept  ops.DType
		state int
		want  string
	}{
		{ops.BF16, 8, "kernels: scan: got a state BF16[1, 16] of 8 columns, want F32, or F16 of at most 3072"},
		{ops.F16, mostHeld, ""},
		{ops.F16, mostHeld + 1, "kernels: scan: got a state F16[1, 6146] of 3073 columns, want F32, or F16 of at most 3072"},
		{ops.F32, mostHeld + 1, ""},
	} {
		s := &ops.SSM{Heads: 2, HeadDim: 1, Groups: 1, State: c.state}
		p, y := placed(t, b, ops.BF16, 1, 2+2*c.state+2), placed(t, b, ops.BF16, 1, 2)
		begin(t, b, []int32{0, 1})
		b.Scan(y, p.Columns(0, 2+2*c.state), p.Columns(2+2*c.state, 4+2*c.state), s, placed(t, b, c.kept, 1, 2*c.state))
		if err := b.wait(); c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
			t.Errorf("%s of %d columns: got %v, want %q", c.kept, c.state, err, c.want)
		}
	}
}

// TestScanParameters compares the parameters with what the device's code
// declares.
func TestScanParameters(t *testing.T) {
	b := onDevice(t, Options{Act: ops.BF16})
	step, size := int(unsafe.Sizeof(metadata{})), int(unsafe.Sizeof(scanArgs{}))
	chunk := []int{size, step, int(unsafe.Sizeof(segmentArgs{}))}
	want := map[*cuda.Function][]int{
		b.convolution.any: {int(unsafe.Sizeof(convolveArgs{})), step},
		b.gatedNorm.fast:  {int(unsafe.Sizeof(gatedArgs{}))},
	}
	for _, kept := range stateTypes {
		want[b.scan[kept].any], want[b.scan[kept].steps[128]] = []int{size, step, 4}, []int{size, step, 4}
		want[b.chunks.join[kept]], want[b.chunks.shapes[0].scan[kept]] = chunk, chunk
		want[b.mamba.step[kept]] = []int{int(unsafe.Sizeof(mixerArgs{})), step}
	}
	delete(want, nil) // before Hopper
	for f, want := range want {
		got, err := f.Parameters()
		if errors.Is(err, cuda.ErrNotAvailable) {
			t.Skip("the driver does not tell")
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got parameters of %v bytes, %v; want %v", f.Name(), got, err, want)
		}
	}
}
