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

var bytesFormats = []ops.CacheFormat{ops.INT8, ops.FP8}

// bytesCases are cases of attention whose every size takes another way through
// the kernels for caches in 8 bits.
func bytesCases() []attendCase {
	var out []attendCase
	for i, dim := range []int{12, 16, 24, 48, 64, 80, 96, 128, 160, 192, 240, 256} {
		ratio, page, margin := []int{1, 3, 4, 8, 2}[i%5], 8<<(i%2), 8*(i%3)
		out = append(out,
			attendCase{2 * ratio, 2, dim, page, 0, margin, decoding},
			attendCase{2 * ratio, 2, dim, page, 0, margin, pieces})
	}
	for i, window := range []int{1, 3, 16, 17, 31, 33, 100} {
		dim := []int{64, 128, 192}[i%3]
		out = append(out, attendCase{6, 2, dim, 16, window, 0, decoding}, attendCase{6, 2, dim, 8, window, 0, pieces})
	}
	for _, page := range []int{1, 5, 64} {
		out = append(out, attendCase{6, 3, 48, page, 0, 0, decoding}, attendCase{6, 3, 128, page, 0, 0, pieces})
	}
	for i, window := range []int{1, 31, 32, 33, 64} { // more than 8 heads a key
		dim, page := []int{64, 128, 48, 112}[i%4], []int{16, 7, 33}[i%3]
		out = append(out, attendCase{12, 1, dim, page, window, 0, decoding}, attendCase{20, 2, dim, page, window, 0, drafts})
	}
	for _, heads := range []int{7, 16, 20} {
		for _, dim := range []int{64, 128, 192} {
			out = append(out, attendCase{heads, 1, dim, 16, 0, 0, decoding})
		}
	}
	return append(out,
		attendCase{6, 2, 64, 16, 0, 3, decoding},
		attendCase{6, 2, 64, 16, 0, 3, pieces},
		attendCase{16, 1, 64, 3, 0, 0, []span{{1500, 1}, {127, 1}, {128, 1}}},
		attendCase{18, 1, 128, 5, 0, 0, []span{{1300, 1}, {255, 1}, {256, 1}}},
		attendCase{24, 2, 80, 9, 0, 8, []span{{700, 4}, {128, 1}, {0, 2}}},
		attendCase{6, 2, 128, 16, 0, 0, []span{{2100, 1}, {31, 1}, {32, 1}, {33, 1}, {700, 1}}},
		attendCase{6, 2, 128, 16, 0, 0, []span{{900, 97}, {1, 1}, {600, 1}}},
		attendCase{6, 2, 128, 16, 0, 0, []span{{40, 3}, {129, 1}, {0, 5}, {700, 16}}}, // drafts
		attendCase{6, 2, 64, 8, 17, 8, []span{{40, 3}, {129, 1}, {0, 5}, {31, 4}}},
		attendCase{4, 2, 192, 16, 0, 0, []span{{13, 6}, {0, 2}}},
		attendCase{6, 2, 128, 16, 0, 0, slices.Repeat([]span{{40, 1}, {129, 1}, {0, 1}}, 10)})
}

// TestAttendBytes compares attention over caches in 8 bits with the CPU. What
// was never stored is NaN, or has a scale that is.
func TestAttendBytes(t *testing.T) {
	for _, format := range bytesFormats {
		for _, act := range activationTypes {
			t.Run(fmt.Sprintf("%s/%s", format, act), func(t *testing.T) {
				c := compareWithCPU(t, act)
				for _, a := range some(affordable(4, bytesCases(), attendCase.work), 7) {
					c.attendBytes(a, format, 1)
				}
				// Queries and scales far from one.
				for _, size := range []float32{0x1p-9, 40} {
					c.attendBytes(attendCase{6, 2, 128, 16, 0, 0, decoding}, format, size)
					c.attendBytes(attendCase{6, 2, 64, 16, 0, 0, pieces}, format, size)
				}
			})
		}
	}
}

// attendBytes compares with queries of a size.
func (c *comparison) attendBytes(a attendCase, format ops.CacheFormat, size float32) {
	c.Helper()
	batch := a.batch(c.rng.Perm)
	c.begin(batch)
	dev, cpu := c.bytesCaches(a, batch, format)
	n, width := len(batch.Tokens), a.heads*a.dim
	values := c.normal(n * width)
	for i := range values {
		values[i] *= size
	}
	q, out := c.place(c.opt.Act, n, width, a.margin, values), c.random(c.opt.Act, n, width, a.margin)
	c.cpu.Attend(out.cpu, q.cpu, a.shape(), cpu)
	for range 2 { // the second finds what the first has left in scratch memory
		c.Attend(out.dev, q.dev, a.shape(), dev)
		c.close(fmt.Sprintf("%s, %s, queries of %g", a, format, size), out, attendTolerance(c.opt.Act))
	}
}

// bytesCaches returns caches in 8 bits that hold the same random numbers where
// the batch's sequences are. Keys and values have scales of their own, and some
// values far smaller ones.
func (c *comparison) bytesCaches(a attendCase, batch *ops.Batch, format ops.CacheFormat) (dev, cpu ops.Cache) {
	c.Helper()
	pages := 0
	for _, p := range batch.Pages {
		pages = max(pages, int(p)+1)
	}
	shape := ops.CacheShape{Pages: pages, PageSize: a.page, KVHeads: a.kvHeads, HeadDim: a.dim, Format: format, KScale: 0.7, VScale: 3}
	var err error
	dev, err = c.Cache(shape)
	c.must(err)
	cpu, err = c.cpu.Cache(shape)
	c.must(err)
	for r := range cpu.K.Rows {
		stored := a.stored(batch, r/a.page/a.kvHeads, r%a.page)
		for _, t := range []ops.Tensor{cpu.K, cpu.V} {
			row := hostBytes(t)[r*a.dim : (r+1)*a.dim]
			for i := range row {
				row[i] = c.randomByte(format, stored)
			}
		}
		if format == ops.INT8 {
			scales := cuda.View[uint16](hostBytes(cpu.Scales))[2*r : 2*r+2]
			for i, at := range []float64{0.02, 0.02 * math.Pow(10, -4*c.rng.Float64())} {
				scales[i] = uint16(math.Float32bits(float32(at*(0.5+c.rng.Float64()))) >> 16)
				if !stored {
					scales[i] = 0x7fc0
				}
			}
		}
	}
	c.must(c.stream.Synchronize()) // the stream clears them
	for i, t := range cpu.Tensors() {
		c.must(c.dev.Upload(address(dev.Tensors()[i]), hostBytes(t)))
	}
	return dev, cpu
}

// randomByte returns a number of the format, roughly normal.
func (c *comparison) randomByte(format ops.CacheFormat, stored bool) byte {
	if format == ops.INT8 {
		return byte(int8(max(-127, min(127, 45*c.rng.NormFloat64()))))
	}
	if !stored {
		return 0x7f
	}
	return byte(c.rng.IntN(256)) & 0xbf // below 2
}

// TestAppendBytes compares what append leaves with the CPU's: without rotation
// to the bit, with it but for numbers that lie on a border.
func TestAppendBytes(t *testing.T) {
	for _, format := range bytesFormats {
		for _, act := range activationTypes {
			t.Run(fmt.Sprintf("%s/%s", format, act), func(t *testing.T) {
				c := compareWithCPU(t, act)
				for _, a := range appendCases {
					c.appendBytes(a, format)
					a.half, a.dynamic = 0, false
					c.appendBytes(a, format)
				}
				c.appendBytes(appendCase{heads: 2, kvHeads: 1, dim: 256, half: 128, page: 8, positions: []int32{3}, tokens: 5}, format)
				c.appendBytes(appendCase{heads: 2, kvHeads: 1, dim: 7, half: 0, page: 8, positions: []int32{3}, tokens: 5, margin: 3}, format)
			})
		}
	}
}

func (c *comparison) appendBytes(a appendCase, format ops.CacheFormat) {
	c.Helper()
	b, pages := a.batch()
	c.begin(b)
	attention := c.rotating(a)
	n, act := len(b.Tokens), c.opt.Act
	q := c.random(act, n, a.heads*a.dim, a.margin)
	k, v := c.place(act, n, a.kvHeads*a.dim, a.margin, c.spread(n*a.kvHeads*a.dim)), c.place(act, n, a.kvHeads*a.dim, a.margin, c.spread(n*a.kvHeads*a.dim))
	shape := ops.CacheShape{Pages: pages, PageSize: a.page, KVHeads: a.kvHeads, HeadDim: a.dim, Format: format, KScale: 0.013, VScale: 1}
	dev, err := c.Cache(shape)
	c.must(err)
	cpu, err := c.cpu.Cache(shape)
	c.must(err)
	c.Append(q.dev, k.dev, v.dev, attention, dev)
	c.cpu.Append(q.cpu, k.cpu, v.cpu, attention, cpu)
	name := fmt.Sprintf("%s, %s", a, format)
	extra := 1e-6
	if a.dynamic {
		extra = 1e-5
	}
	c.close("q: "+name, q, extra)
	c.close("k: "+name, k, extra)
	c.close("v: "+name, v, 0)
	for i, t := range cpu.Tensors() {
		got, want := make([]byte, len(hostBytes(t))), hostBytes(t)
		c.must(c.wait())
		c.must(c.dev.Download(got, address(dev.Tensors()[i])))
		c.sameBytes(fmt.Sprintf("%s, part %d", name, i), t.Type, got, want, a.half > 0 && i != 1)
	}
}

// spread returns values of many sizes: NaN, beyond the range of FP8, tiny.
func (c *comparison) spread(n int) []float32 {
	out := c.normal(n)
	for i := range out {
		switch c.rng.IntN(300) {
		case 0:
			out[i] *= 1000
		case 1:
			out[i] *= 1e-6
		}
	}
	return out
}

// sameBytes compares caches. Where rotated, few numbers may be their neighbours:
// sums are rounded differently.
func (c *comparison) sameBytes(name string, t ops.DType, got, want []byte, rotated bool) {
	c.Helper()
	off := 0
	for i := range want {
		if got[i] == want[i] {
			continue
		}
		off++
		d := int(int8(got[i])) - int(int8(want[i]))
		if near := d == 1 || d == -1; !rotated || !near && got[i]&0x7f != 0 {
			c.Fatalf("%s: byte %d is %02x, want %02x", name, i, got[i], want[i])
		}
	}
	if off*100 > len(want)+100 {
		c.Fatalf("%s: %d of %d bytes of %s differ", name, off, len(want), t)
	}
}

// TestAttendBytesLaunches: which kernels serve which batches, on how many
// blocks, and that a step of single tokens appends by itself.
func TestAttendBytesLaunches(t *testing.T) {
	f := roomy(t)
	registerAll(t, f)
	var seen []string
	watchBytes(f, &seen)
	b := opened(t, f.Device(t), Options{Act: ops.BF16})
	decode := func(name string, pairs, parts int, plan func(pairs int) splitPlan) string {
		return fmt.Sprintf("attend_decode_%s [%d %d %d] 128", name, parts, pairs/parts, plan(pairs).splits)
	}
	wide, narrow := func(pairs int) splitPlan { return b.attention.widePlan(pairs, 1) }, b.attention.splitPlan
	for _, c := range []struct {
		attendCase
		format ops.CacheFormat
		want   []string
	}{
		{attendCase{24, 8, 128, 16, 0, 0, []span{{99, 1}}}, ops.INT8, []string{"append_int8_bf16 [10 1 1] 128", decode("int8_bf16_128_16", 8, 8, wide)}},
		{attendCase{32, 2, 128, 16, 0, 8, []span{{99, 1}, {5, 1}}}, ops.FP8, []string{"append_fp8_bf16 [9 2 1] 128", decode("fp8_bf16_128_16", 4, 2, wide)}},
		{attendCase{4, 2, 24, 16, 0, 0, []span{{99, 1}, {0, 2}}}, ops.INT8, []string{"append_int8_bf16 [2 3 1] 128", "attend_plain_int8_bf16 [4 3 1] 128"}},
		{attendCase{24, 8, 128, 16, 0, 0, []span{{99, 3}}}, ops.INT8, []string{"append_int8_bf16 [10 3 1] 128", decode("int8_bf16_128_16", 24, 8, wide)}},
		{attendCase{2, 1, 192, 16, 0, 0, []span{{9, 65}, {7, 1}}}, ops.FP8, []string{
			"append_fp8_bf16 [1 66 1] 128", decode("fp8_bf16_192_8", 2, 1, narrow), "attend_prompt_fp8_bf16_192 [2 2 1] 128",
		}},
	} {
		batch := c.batch(newRand().Perm)
		if err := b.Begin(batch); err != nil {
			t.Fatal(err)
		}
		cache, err := b.Cache(ops.CacheShape{Pages: len(batch.Pages), PageSize: c.page, KVHeads: c.kvHeads, HeadDim: c.dim, Format: c.format})
		if err != nil {
			t.Fatal(err)
		}
		qkv, err := b.Activation(len(batch.Tokens), (c.heads+2*c.kvHeads)*c.dim)
		if err != nil {
			t.Fatal(err)
		}
		q, kv := c.heads*c.dim, c.kvHeads*c.dim
		seen = nil
		b.Append(qkv.Columns(0, q), qkv.Columns(q, q+kv), qkv.Columns(q+kv, q+2*kv), c.shape(), cache)
		b.Attend(qkv.Columns(0, q), qkv.Columns(0, q), c.shape(), cache)
		if err := b.wait(); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(seen, c.want) {
			t.Errorf("%s: got %q, want %q", c.attendCase, seen, c.want)
		}
	}
}

// TestGraphsWithBytes decodes with caches in 8 bits, with and without graphs.
func TestGraphsWithBytes(t *testing.T) {
	for _, format := range bytesFormats {
		t.Run(format.String(), func(t *testing.T) {
			var values [2][][]float32
			for i, name := range []string{"eager", "graphs"} {
				t.Run(name, func(t *testing.T) {
					m := newTinyIn(t, onDevice(t, Options{Act: ops.BF16, Eager: i == 0}).Backend, 2, format)
					values[i], _ = m.generate(20, i == 1)
				})
			}
			for step := range values[0] {
				if !slices.Equal(values[0][step], values[1][step]) {
					t.Fatalf("step %d: values differ", step)
				}
			}
		})
	}
}

// watchBytes notes the launches of the kernels for caches in 8 bits.
func watchBytes(f *cudatest.Fake, seen *[]string) {
	attend := []int{int(unsafe.Sizeof(attend8Args{})), int(unsafe.Sizeof(metadata{}))}
	note := func(name string, sizes []int) {
		f.Kernel(name, sizes, func(c *cudatest.Call) {
			*seen = append(*seen, fmt.Sprintf("%s %v %d", name, c.Grid, c.Block[0]))
		})
	}
	for _, format := range []string{"int8", "fp8"} {
		note("append_"+format+"_bf16", []int{int(unsafe.Sizeof(metadata{})), int(unsafe.Sizeof(append8Args{}))})
		note("attend_plain_"+format+"_bf16", attend)
		for _, s := range decodeShapes {
			note(fmt.Sprintf("attend_decode_%s_bf16_%d_%d", format, s.dim, s.heads), attend)
		}
		for _, dim := range promptDims {
			note(fmt.Sprintf("attend_prompt_%s_bf16_%d", format, dim), attend)
		}
	}
}

// TestSpeedOfCaches prints times of attention over caches in 16 and in 8 bits:
// 24 query heads of 8 key heads, and 32 of 2, of 128 columns.
func TestSpeedOfCaches(t *testing.T) {
	if testing.Short() {
		t.Skip("measures")
	}
	needsGPU(t)
	d := onDevice(t, Options{Act: ops.BF16})
	for _, way := range newTimer(t, d.Backend).ways() {
		way.begin()
		t.Logf("%-7s %9s %9s %8s %10s %10s %8s  %s", "heads", "sequences", "context", "cache", "µs", "GB/s", "times", way.name)
		for _, heads := range [][2]int{{24, 8}, {32, 2}} {
			for _, sequences := range []int{1, 8, 64} {
				for _, context := range []int{4096, 32768} {
					speedCase{"decode", sequences, context, 1}.compareCaches(t, d, heads)
				}
			}
		}
		way.end()
	}
}

// compareCaches prints the times of one case for each kind of cache.
func (c speedCase) compareCaches(t *testing.T, d device, heads [2]int) {
	t.Helper()
	first := 0.0
	for _, format := range []ops.CacheFormat{ops.Plain, ops.INT8, ops.FP8} {
		µs, bytes := c.time(t, d, heads[0], heads[1], format)
		if format == ops.Plain {
			first = µs
		}
		t.Logf("%2d:%-4d %9d %9d %8s %10.2f %10.0f %8.2f", heads[0], heads[1], c.sequences, c.context, format, µs, float64(bytes)/µs/1e3, first/µs)
	}
}

// fill fills a cache with random numbers: those of the pattern, or, of 8 bits,
// none that is NaN, with scales near one.
func fill(t *testing.T, d device, c ops.Cache, pattern ops.Tensor) {
	t.Helper()
	if c.Format != ops.Plain {
		rng := newRand()
		numbers, scales := make([]byte, 1<<22), make([]uint16, 1<<21)
		for i := range numbers {
			numbers[i] = byte(rng.IntN(256)) & 0xf7
		}
		for i := range scales {
			scales[i] = 0x3f00 + uint16(rng.IntN(256)) // 0.5 to 2
		}
		if err := errors.Join(d.dev.Upload(address(pattern), numbers), d.dev.Upload(address(pattern)+1<<22, bytesOf(scales))); err != nil {
			t.Fatal(err)
		}
		pattern.Type, pattern.Cols = ops.BF16, 1<<21 // 4 MiB
		if c.Format == ops.INT8 {
			of := pattern
			of.Addr = pointer(address(pattern) + 1<<22)
			repeat(t, d, c.Scales, of)
		}
	}
	repeat(t, d, c.K, pattern)
	repeat(t, d, c.V, pattern)
}
