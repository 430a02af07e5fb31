package kernels

import (
	"flag"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/godwit-llm/godwit/internal/ops"
)

var rounds = flag.Int("rounds", 3, "how often TestDecodeSpeed measures everything, in turn")

// floorRate is what a plain reader reaches on an H200, in bytes/s: all shares
// are of that, whatever the device.
const floorRate = 4547e9

// TestDecodeSpeed prints where the time of a decoding step of one request goes:
// each product alone, the layers without and with attention, and the step as it
// grows from its layers to a chosen token on the host, beside the time that
// reading its bytes takes. It does so for ways to compute the same in turn, and
// compares their logits. On request only:
//
//	kernels.test -test.run 'TestDecodeSpeed$' -test.v -speed
func TestDecodeSpeed(t *testing.T) {
	if !*measuring {
		t.Skip("measures only with -speed")
	}
	needsGPU(t)
	b := onDevice(t, Options{Act: ops.BF16, ArenaBytes: 10 << 30}).Backend
	newRequest(t, b, mini4B).print()
}

// TestDecodeSpeedRuns measures nothing: it finds out whether the test above can.
func TestDecodeSpeedRuns(t *testing.T) {
	b := onFake(t, roomy(t), Options{Act: ops.BF16})
	newRequest(t, b, geometry{layers: 2, hidden: 64, heads: 2, kvHeads: 1, dim: 64, wide: 128, vocab: 72, page: 64, context: 4096}).print()
}

// print measures everything and prints the table.
func (d *request) print() {
	ways := d.ways()
	d.steps() // makes room for what the choice of a token needs, which recordings cannot
	items := d.items()
	took := make([][][]time.Duration, len(items)) // [item][way][round]
	for range *rounds {
		for w, way := range ways {
			way.begin()
			for i, item := range items {
				if took[i] == nil {
					took[i] = make([][]time.Duration, len(ways))
				}
				took[i][w] = append(took[i][w], item.measure())
			}
			way.end()
		}
	}
	d.compare(ways)
	header := fmt.Sprintf("%-34s %8s", "microseconds", "floor")
	for _, way := range ways {
		header += fmt.Sprintf(" %12s", way.name)
	}
	d.Log(header)
	for i, item := range items {
		line := fmt.Sprintf("%-34s %8.1f", item.name, item.bytes/floorRate*1e6)
		for w := range ways {
			line += fmt.Sprintf(" %12.2f", float64(median(took[i][w]).Nanoseconds())/1e3)
		}
		d.Log(line)
	}
}

// request is a request of a dense model of random weights.
type request struct {
	*timer
	geometry
	seed     uint64
	token    int32 // of the step
	embed    ops.Tensor
	weights  []requestLayer
	last     *ops.Norm
	head     *ops.Linear
	x, h     ops.Tensor
	qkv, y   ops.Tensor
	u        ops.Tensor
	logits   ops.Tensor
	rotary   *ops.Rotary
	results  []ops.Sampled
	sampling []ops.Sampling
}

type requestLayer struct {
	before, between *ops.Norm
	qkv, o, up, to  *ops.Linear
	attention       *ops.Attention
	cache           ops.Cache
}

// geometry is the sizes of a dense model, and of its request's cache.
type geometry struct {
	layers, hidden, heads, kvHeads, dim, wide, vocab int
	page, context                                    int
}

var mini4B = geometry{layers: 32, hidden: 3072, heads: 24, kvHeads: 8, dim: 128, wide: 9216, vocab: 256000, page: 64, context: 4096}

// widths returns the columns of all queries and of all keys.
func (g geometry) widths() (q, kv int) { return g.heads * g.dim, g.kvHeads * g.dim }

func newRequest(t *testing.T, b *Backend, g geometry) *request {
	t.Helper()
	d := &request{timer: newTimer(t, b), geometry: g, token: 7}
	hidden, dim, wide := g.hidden, g.dim, g.wide
	q, kv := g.widths()
	d.rotary = &ops.Rotary{InvFreq: ops.InverseFrequencies(1e4, dim/2), Scale: 1}
	d.embed = d.matrix(g.vocab, hidden).Weight[0]
	for range g.layers {
		l := requestLayer{
			before: d.norm(), between: d.norm(),
			qkv: d.matrix(q+2*kv, hidden), o: d.matrix(hidden, q), up: d.matrix(wide, hidden), to: d.matrix(hidden, wide),
			attention: &ops.Attention{Heads: g.heads, KVHeads: g.kvHeads, HeadDim: dim, Scale: float32(1 / math.Sqrt(float64(dim))), Rotary: d.rotary},
		}
		var err error
		l.cache, err = d.Cache(ops.CacheShape{Pages: g.context / g.page, PageSize: g.page, KVHeads: g.kvHeads, HeadDim: dim})
		d.must(err)
		d.fill(l.cache.K, 1.7)
		d.fill(l.cache.V, 1.7)
		d.weights = append(d.weights, l)
	}
	d.last, d.head = d.norm(), d.matrix(d.vocab, hidden)
	d.x, d.h, d.logits = d.take(ops.F32, hidden), d.take(ops.BF16, hidden), d.take(ops.F32, d.vocab)
	d.qkv, d.y, d.u = d.take(ops.BF16, q+2*kv), d.take(ops.BF16, q), d.take(ops.BF16, wide)
	d.fill(d.y, 1)
	d.fill(d.u, 1)
	d.results, d.sampling = make([]ops.Sampled, 1), make([]ops.Sampling, 1)
	d.opt.Eager = true // what is measured is recorded here, but for whole steps
	d.must(d.wait())
	d.Logf("on %s", d.dev.Info().Name)
	return d
}

func (d *request) take(t ops.DType, cols int) ops.Tensor {
	d.Helper()
	x, err := d.place(t, 1, cols)
	d.must(err)
	return x
}

// fill writes random numbers of up to scale to a tensor of the activation type.
func (d *request) fill(t ops.Tensor, scale float32) {
	d.seed++
	d.random(address(t), t.Rows*t.Cols, ops.Random{Seed: d.seed, Scale: scale})
}

// matrix returns random weights that keep the size of what passes through.
func (d *request) matrix(rows, cols int) *ops.Linear {
	d.Helper()
	w, err := d.place(ops.BF16, rows, cols)
	d.must(err)
	d.fill(w, float32(math.Sqrt(3/float64(cols))))
	return &ops.Linear{In: cols, Out: rows, Weight: []ops.Tensor{w}}
}

func (d *request) norm() *ops.Norm {
	d.Helper()
	weight, bias := make([]float32, d.hidden), make([]float32, d.hidden)
	for i := range weight {
		weight[i], bias[i] = 1+float32(i%7)/20, float32(i%5-2)/20
	}
	w, err := d.Vector(weight)
	d.must(err)
	b, err := d.Vector(bias)
	d.must(err)
	return &ops.Norm{Weight: w, Bias: b, Center: true, Eps: 1e-5}
}

// ---- the step ----

// open opens a step of one token with so many positions, its own included.
func (d *request) open(context int) {
	d.Helper()
	pages := ceil(context, d.page)
	batch := &ops.Batch{
		Tokens: []int32{d.token}, Positions: []int32{int32(context - 1)}, Start: []int32{0, 1},
		MaxPages: pages, Slots: []int32{0}, Outputs: []int32{0},
	}
	for i := range pages {
		batch.Pages = append(batch.Pages, int32((i*29+5)%(d.context/d.page)))
	}
	d.must(d.Begin(batch))
}

func (d *request) start() {
	d.Embed(d.x, d.embed)
	d.Angles(d.rotary)
}

func (d *request) attend(l *requestLayer) {
	q, kv := d.widths()
	heads := d.qkv.Columns(0, q)
	d.Append(heads, d.qkv.Columns(q, q+kv), d.qkv.Columns(q+kv, q+2*kv), l.attention, l.cache)
	d.Attend(d.y, heads, l.attention, l.cache)
}

func (d *request) project(l *requestLayer) {
	d.Norm(d.h, d.x, l.before)
	d.Linear(d.qkv, d.h, l.qkv, ops.Epilogue{})
}

func (d *request) rise(l *requestLayer) {
	d.Norm(d.h, d.x, l.between)
	d.Linear(d.u, d.h, l.up, ops.Epilogue{Act: ops.ReLU2})
}

func (d *request) output(l *requestLayer) { d.Linear(d.x, d.y, l.o, ops.Epilogue{Add: true}) }
func (d *request) fall(l *requestLayer)   { d.Linear(d.x, d.u, l.to, ops.Epilogue{Add: true}) }

func (d *request) layer(l *requestLayer, attends bool) {
	d.project(l)
	if attends {
		d.attend(l)
	}
	d.output(l)
	d.rise(l)
	d.fall(l)
}

func (d *request) all() {
	for i := range d.weights {
		d.layer(&d.weights[i], true)
	}
}

func (d *request) end() {
	d.Norm(d.h, d.x, d.last)
	d.Linear(d.logits, d.h, d.head, ops.Epilogue{})
}

// ---- what is measured ----

// item is something whose time is of interest, and the bytes that it must read.
type item struct {
	name    string
	bytes   float64
	measure func() time.Duration
}

func (d *request) items() []item {
	q, kv := d.widths()
	size := func(rows, cols int) float64 { return float64(2 * rows * cols) }
	products := size(q+2*kv, d.hidden) + size(d.hidden, q) + 2*size(d.hidden, d.wide)
	cache := func(context int) float64 { return 2 * size(kv, context) }
	each := func(name string, bytes float64, context int, run func(l *requestLayer)) item {
		return item{name, bytes, func() time.Duration {
			d.open(context)
			d.start()
			return d.timer.measure(len(d.weights), func(i int) { run(&d.weights[i]) })
		}}
	}
	whole := func(name string, bytes float64, run func()) item {
		return item{name, bytes, func() time.Duration {
			d.open(576)
			d.start()
			return d.timer.measure(1, func(int) { run() })
		}}
	}
	layers := float64(d.layers) * (products + cache(576))
	head, row := size(d.vocab, d.hidden), size(1, d.hidden)
	out := []item{
		each(fmt.Sprintf("norm + %d x %d", q+2*kv, d.hidden), size(q+2*kv, d.hidden), 512, d.project),
		each(fmt.Sprintf("%d x %d, added", d.hidden, q), size(d.hidden, q), 512, d.output),
		each(fmt.Sprintf("norm + %d x %d, squared", d.wide, d.hidden), size(d.hidden, d.wide), 512, d.rise),
		each(fmt.Sprintf("%d x %d, added", d.hidden, d.wide), size(d.hidden, d.wide), 512, d.fall),
		each("attention, 512", cache(512), 512, d.attend),
		each("attention, 4096", cache(4096), 4096, d.attend),
		each("layer without attention", products, 512, func(l *requestLayer) { d.layer(l, false) }),
	}
	for _, context := range []int{512, 576, 4096} {
		out = append(out, each(fmt.Sprintf("layer, %d", context), products+cache(context), context, func(l *requestLayer) { d.layer(l, true) }))
	}
	return append(out,
		whole(fmt.Sprintf("norm + %d x %d", d.vocab, d.hidden), head, d.end),
		whole(fmt.Sprintf("%d layers, 576", d.layers), layers, d.all),
		whole("and norm, head", layers+head, func() { d.all(); d.end() }),
		whole("and embedding, angles", layers+head+row, func() { d.start(); d.all(); d.end() }),
		whole("and greedy choice", layers+head+row, func() { d.start(); d.all(); d.end(); d.choose() }),
		item{"steps, seen from the host", layers + head + row, d.steps},
		item{"steps that run ahead", layers + head + row, d.ahead},
	)
}

// choose launches the choice of a token, for which a step has made room.
func (d *request) choose() { d.fail(d.launchSample(d.logits, 1)) }

// steps returns the time from the beginning of a step to its token on the host:
// the median of steps that are graphs.
func (d *request) steps() time.Duration {
	d.Helper()
	var took []time.Duration
	d.replayed(func() {
		for i := range 25 {
			from := time.Now()
			d.queue()
			d.must(ops.Sample(d, d.results, d.logits, d.sampling))
			if i >= 5 {
				took = append(took, time.Since(from))
			}
		}
	})
	return median(took)
}

// ahead returns the time from a token on the host to the next, where each step is
// queued before the token that it begins with is known, as the engine does it: the
// median of steps that are graphs.
func (d *request) ahead() time.Duration {
	d.Helper()
	var took []time.Duration
	d.replayed(func() {
		var last time.Time
		for i := range 45 {
			if i > 0 {
				d.token = ops.Chosen(0)
			}
			d.queue()
			d.Launch()
			if i > 0 {
				d.must(d.Collect(d.results))
			}
			now := time.Now()
			if i >= 5 {
				took = append(took, now.Sub(last))
			}
			last = now
			d.must(d.Sample(d.logits, d.sampling))
		}
		d.must(d.Collect(d.results))
		d.token = 7
	})
	return median(took)
}

// queue puts a step into the stream, up to its logits.
func (d *request) queue() {
	d.Helper()
	d.open(576)
	d.start()
	d.all()
	d.end()
}

// replayed runs steps that become graphs.
func (d *request) replayed(run func()) {
	d.Helper()
	d.opt.Eager = false
	d.step.moved++ // graphs of other kernels are void
	run()
	d.opt.Eager = true
	if err := d.graphs.err; err != nil {
		d.Fatal(err)
	}
}

// compare prints how far the logits of the ways are from those of a kernel for
// each operation.
func (d *request) compare(ways []way) {
	d.Helper()
	run := func() []float32 {
		values := make([]float32, d.vocab)
		d.open(576)
		d.start()
		d.all()
		d.end()
		d.must(d.Read(values, d.logits))
		return values
	}
	d.opt.Unfused = true
	want := run()
	d.opt.Unfused = false
	for _, way := range ways {
		way.begin()
		got := run()
		way.end()
		difference, size := 0.0, 0.0
		for i, w := range want {
			difference += math.Pow(float64(got[i]-w), 2)
			size += math.Pow(float64(w), 2)
		}
		same := slices.Index(got, slices.Max(got)) == slices.Index(want, slices.Max(want))
		d.Logf("%s: logits differ from those of separate kernels by %.2g of their size; same choice: %v", way.name, math.Sqrt(difference/size), same)
		if !(difference <= 0.01*size) { // a tenth: roundings add up over the layers
			d.Errorf("%s: wrong logits", way.name)
		}
	}
}
