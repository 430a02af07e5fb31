package kernels

import (
	"bytes"
	"compress/gzip"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

var (
	measuring   = flag.Bool("speed", false, "run the tests that measure")
	otherImages = flag.String("images", "", "comma-separated `folders` of compiled kernels that tests of decoding measure beside the embedded ones")
)

// timer measures work in a backend's stream.
type timer struct {
	testing.TB
	*Backend
	from, to *cuda.Event
}

func newTimer(t testing.TB, b *Backend) *timer {
	t.Helper()
	m := &timer{TB: t, Backend: b}
	m.from, m.to = m.event(), m.event()
	return m
}

func (m *timer) event() *cuda.Event {
	m.Helper()
	e, err := m.dev.NewEvent(true)
	m.must(err)
	m.Cleanup(func() { m.must(e.Close()) })
	return e
}

func (m *timer) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

// measure records what work launches, times over, and returns the median time
// of one.
func (m *timer) measure(times int, work func(i int)) time.Duration {
	m.Helper()
	work(0) // reserves what first launches reserve
	m.must(m.wait())
	graph, err := m.stream.Capture(func() error {
		for i := range times {
			work(i)
		}
		return m.err
	})
	m.must(err)
	exec, err := graph.Instantiate()
	m.must(err)
	defer func() { m.must(exec.Close()) }()
	m.must(graph.Close())
	var runs []time.Duration
	for range 9 {
		m.must(m.from.Record(m.stream))
		m.must(exec.Launch(m.stream))
		m.must(m.to.Record(m.stream))
		m.must(m.wait())
		took, err := m.to.Elapsed(m.from)
		m.must(err)
		runs = append(runs, took)
	}
	return median(runs) / time.Duration(times)
}

func median(runs []time.Duration) time.Duration {
	slices.Sort(runs)
	return runs[len(runs)/2]
}

// ---- ways to compute it ----

// way is a choice of kernels. begin makes it, end unmakes it.
type way struct {
	name       string
	begin, end func()
}

// ways lists what is compared; the first is the product's.
func (m *timer) ways() []way {
	nothing := func() {}
	out := []way{{"as it is", nothing, nothing}}
	for _, folder := range strings.Split(*otherImages, ",") {
		if folder == "" {
			continue
		}
		embedded, other := m.images.modules, m.load(folder)
		out = append(out, way{
			filepath.Base(folder),
			func() { m.images.modules = other; m.reopen() },
			func() { m.images.modules = embedded; m.reopen() },
		})
	}
	return out
}

// reopen finds the kernels of a step of one request again, whatever its cache.
func (m *timer) reopen() {
	m.Helper()
	m.must(m.wait())
	families := []family{&m.linear, &m.attention, &m.clusters}
	for _, p := range []part{int8Caches, fp8Caches} {
		if m.opened[p] {
			families = append(families, m.of(p)...)
		}
	}
	for _, f := range families {
		m.must(f.open(m.Backend))
	}
}

// load returns the modules of a folder of images, and the embedded ones of all
// other sources.
func (m *timer) load(folder string) map[string]*cuda.Module {
	m.Helper()
	out := map[string]*cuda.Module{}
	for source, m := range m.images.modules {
		out[source] = m
	}
	target := targetOf(m.dev.Info().Capability)
	names, err := filepath.Glob(filepath.Join(folder, "*."+target+".gz"))
	m.must(err)
	if len(names) == 0 {
		m.Fatalf("%s has no images for %s", folder, target)
	}
	for _, name := range names {
		packed, err := os.ReadFile(name)
		m.must(err)
		z, err := gzip.NewReader(bytes.NewReader(packed))
		m.must(err)
		image, err := io.ReadAll(z)
		m.must(err)
		module, err := m.dev.Load(image)
		m.must(err)
		m.Cleanup(func() { m.must(module.Close()) })
		out[strings.TrimSuffix(filepath.Base(name), "."+target+".gz")] = module
	}
	return out
}

// TestSpeedOfSmallOperations prints a table of the operations around the
// products, for one token and for many, beside the speed of copying device
// memory. It runs on request only: -test.run SpeedOfSmall -speed.
func TestSpeedOfSmallOperations(t *testing.T) {
	if !*measuring {
		t.Skip("measures only with -speed")
	}
	needsGPU(t)
	m := newTimer(t, onDevice(t, Options{Act: ops.BF16}).Backend)
	const gib = 1 << 30
	whole, err := m.place(ops.F32, 1, gib/2)
	m.must(err)
	at := address(whole)
	took := m.measure(4, func(int) { m.fail(m.stream.Copy(at, at+gib, gib)) })
	floor := 2 * gib / took.Seconds()
	t.Logf("%-28s %8s %10s %10s", "", "tokens", "time", "GB/s")
	t.Logf("%-28s %8s %10v %10.0f", "copy of 1 GiB", "", took, floor/1e9)
	for _, n := range []int{1, 64, 8192} {
		for _, c := range m.small(n) {
			times := 200
			if n > 1000 {
				times = 20
			}
			took := m.measure(times, c.run)
			t.Logf("%-28s %8d %10v %10.0f  %3.0f %%", c.name, n, took.Round(10*time.Nanosecond), c.bytes/took.Seconds()/1e9, 100*c.bytes/took.Seconds()/floor)
		}
	}
}

type smallCase struct {
	name  string
	bytes float64
	run   func(i int)
}

// small returns the operations at the sizes of a 4B model.
func (m *timer) small(n int) []smallCase {
	const hidden, ffn, heads, kvHeads, dim, vocab = 3072, 9216, 24, 8, 128, 4096
	get := func(t ops.Tensor, err error) ops.Tensor {
		m.Helper()
		m.must(err)
		return t
	}
	x, h := get(m.Float(n, hidden)), get(m.Activation(n, hidden))
	gate, qkv := get(m.Activation(n, 2*ffn)), get(m.Activation(n, (heads+2*kvHeads)*dim))
	table, last := get(m.Activation(vocab, hidden)), get(m.Float(n, hidden))
	norm := &ops.Norm{Weight: get(m.Vector(make([]float32, hidden))), Bias: get(m.Vector(make([]float32, hidden))), Center: true, Eps: 1e-5}
	head := &ops.Norm{Weight: get(m.Vector(make([]float32, dim))), Eps: 1e-5}
	a := &ops.Attention{Heads: heads, KVHeads: kvHeads, HeadDim: dim, Rotary: &ops.Rotary{InvFreq: ops.InverseFrequencies(1e4, dim/2), Scale: 1}}
	const page = 16
	pages := (n + page - 1) / page
	cache, err := m.Cache(ops.CacheShape{Pages: pages, PageSize: page, KVHeads: kvHeads, HeadDim: dim})
	m.must(err)
	b := &ops.Batch{Start: []int32{0, int32(n)}, MaxPages: pages, Slots: []int32{0}}
	for i := range n {
		b.Tokens, b.Positions, b.Outputs = append(b.Tokens, int32(i*37%vocab)), append(b.Positions, int32(i)), append(b.Outputs, int32(i))
	}
	for i := range pages {
		b.Pages = append(b.Pages, int32(i))
	}
	m.must(m.Begin(b))
	m.Angles(a.Rotary)
	q := qkv.Columns(0, heads*dim)
	k, v := qkv.Columns(heads*dim, (heads+kvHeads)*dim), qkv.Columns((heads+kvHeads)*dim, qkv.Cols)
	left, right := gate.Columns(0, ffn), gate.Columns(ffn, 2*ffn)
	rows := float64(n)
	return []smallCase{
		{"embed", rows * hidden * 6, func(int) { m.Embed(x, table) }},
		{"layer norm F32 to BF16", rows * hidden * 6, func(int) { m.Norm(h, x, norm) }},
		{"head norms in place", rows * heads * dim * 4, func(int) { m.Norm(q, q, head) }},
		{"angles", rows * dim / 4 * 8, func(int) { m.Angles(a.Rotary) }},
		{"append, half rotated", rows * (heads*dim/2*4 + kvHeads*dim*(2+1+2+4)), func(int) { m.Append(q, k, v, a, cache) }},
		{"silu(gate) * up", rows * ffn * 6, func(int) { m.Multiply(left, left, right, ops.SiLU) }},
		{"gather F32", rows * hidden * 8, func(int) { m.Gather(last, x) }},
	}
}

// BenchmarkHostLaunches measures what a launch costs the host, batch included.
func BenchmarkHostLaunches(b *testing.B) {
	needsGPU(b)
	m := newHot(b, onDevice(b, Options{Act: ops.BF16}).Backend)
	m.step()
	for b.Loop() {
		m.step()
	}
	if err := m.wait(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/6, "ns/launch")
}
