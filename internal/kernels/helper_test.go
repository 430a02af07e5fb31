package kernels

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/cuda/cudatest"
	"github.com/godwit-llm/godwit/internal/kernels/emulated"
	"github.com/godwit-llm/godwit/internal/ops"
	"github.com/godwit-llm/godwit/internal/vec"
)

// emulating says that there is no GPU: kernels run on the CPU, see package
// emulated, some ten thousand times slower. Tests try fewer and smaller cases
// there unless -cases asks for all.
var (
	emulating = true
	allCases  = flag.Bool("cases", false, "without a GPU: try all cases")
)

// affordable returns all cases, or those of at most some millions of
// multiply-adds where kernels are emulated, and of those every n-th.
func affordable[T any](n int, cases []T, work func(T) int) []T {
	if !emulating || *allCases {
		return cases
	}
	var out []T
	for _, c := range cases {
		if work(c) <= 4e6 {
			out = append(out, c)
		}
	}
	for i := range len(out) / n {
		out[i] = out[i*n+i%n]
	}
	return out[:len(out)/n]
}

// oneIn returns a function that is true each time, or one time in n where
// kernels are emulated.
func oneIn(n int) func() bool {
	calls := 0
	return func() bool {
		calls++
		return !emulating || *allCases || calls%n == 1
	}
}

// needsGPU skips a test that measures, or takes more memory than machines
// without a GPU may have.
func needsGPU(t testing.TB) {
	t.Helper()
	if emulating {
		t.Skip("needs a GPU")
	}
}

// TestMain keeps the device's context alive between tests: making it anew
// takes a fifth of a second.
func TestMain(m *testing.M) {
	flag.Parse()
	var held *cuda.Device
	if driver, err := cuda.LoadDriver(cuda.Options{}); err == nil {
		held, err = driver.Open(0)
		emulating = errors.Is(err, cuda.ErrNoDevice) // a test reports what else is wrong
	}
	code := m.Run()
	if held != nil {
		if err := held.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "closing the device:", err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// device is a backend on a real device.
type device struct{ *Backend }

// onDevice returns a backend on device 0, or on an emulated device where there
// is none. A test that has subtests opens one in each: a device belongs to its
// goroutine.
func onDevice(t testing.TB, opt Options) device {
	t.Helper()
	if emulating {
		return onEmulator(t, opt, 4)
	}
	driver, err := cuda.LoadDriver(cuda.Options{})
	if err != nil {
		t.Fatal(err)
	}
	dev, err := driver.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	return device{opened(t, dev, opt)}
}

// onEmulator returns a backend whose kernels run on the CPU, on a device of so
// many multiprocessors.
func onEmulator(t testing.TB, opt Options, processors int) device {
	t.Helper()
	const attribute = 16
	f := cudatest.New(t, cudatest.Config{Late: true, Devices: []cudatest.Device{{Memory: 16 << 30, Dirty: true, Attributes: map[int]int{attribute: processors}}}})
	emulated.Register(t, f, ".", 1)
	return device{opened(t, f.Device(t), opt)}
}

// opened returns a backend that the test's end closes with its device.
func opened(t testing.TB, dev *cuda.Device, opt Options) *Backend {
	t.Helper()
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Errorf("closing the device: %v", err)
		}
	})
	b, err := New(dev, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("closing the backend: %v", err)
		}
	})
	for p := range parts { // tests may place by themselves what a model asks for
		if err := b.need(p); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// onFake returns a backend on a driver without a device, whose kernels do
// nothing unless they were registered before.
func onFake(t testing.TB, f *cudatest.Fake, opt Options) *Backend {
	t.Helper()
	registerAll(t, f)
	return opened(t, f.Device(t), opt)
}

// registerAll registers all kernels of the images, which do nothing, but for the one
// that loads the batch.
func registerAll(t testing.TB, f *cudatest.Fake) {
	t.Helper()
	entries, err := files.ReadDir("images")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		source, ok := strings.CutSuffix(e.Name(), ".sm_90a.gz")
		if !ok {
			continue
		}
		for _, name := range kernelsOf(t, source) {
			f.Kernel(name, nil, nil)
		}
	}
	f.Kernel("load_batch", []int{8, 8, 4}, func(c *cudatest.Call) {
		n := 16 * int(c.Int32(2))
		copy(c.Memory(c.Ptr(0), n), c.Memory(c.Ptr(1), n))
	})
}

// section begins the name of a section of code, one a kernel.
const section = "\x00.text."

// kernelsOf lists the kernels of an image by its sections.
func kernelsOf(t testing.TB, source string) []string {
	t.Helper()
	image, err := readImage(source, "sm_90a")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, part := range strings.Split(string(image), section)[1:] {
		name, _, _ := strings.Cut(part, "\x00")
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Write stores values in t, rounded to t's type.
func (d device) Write(t ops.Tensor, values []float32) error {
	if err := errors.Join(d.Flush(nil), d.wait()); err != nil {
		return err
	}
	rows, cols := t.Rows, t.Cols
	if t.Stride == cols {
		rows, cols = min(rows, 1), rows*cols // one row
	}
	size := t.Type.Size()
	row := make([]uint64, (cols*size+7)/8)
	for r := range rows {
		data := bytesOf(row)[:cols*size]
		switch values := values[r*cols : (r+1)*cols]; t.Type {
		case ops.I32:
			for i, v := range values {
				cuda.View[int32](data)[i] = int32(v)
			}
		case ops.I8:
			vec.F32ToI8(cuda.View[int8](data), values, 1)
		case ops.F8:
			vec.F32ToE4M3(data, values, 1)
		default:
			convert(data, t.Type, bytesOf(values), ops.F32)
		}
		if err := d.dev.Upload(address(t)+cuda.DevicePtr(r*t.Stride*size), data); err != nil {
			return err
		}
	}
	return nil
}

// activationTypes are the types that a backend can compute with.
var activationTypes = []ops.DType{ops.F32, ops.BF16, ops.F16}

// epsilon is the largest relative error of rounding to a type.
func epsilon(t ops.DType) float64 {
	switch t {
	case ops.BF16:
		return 0x1p-8
	case ops.F16:
		return 0x1p-11
	}
	return 0x1p-24
}

// comparison runs an operation on a device and on the CPU, with the same
// numbers.
type comparison struct {
	testing.TB
	device
	cpu   *ops.CPU
	rng   *rand.Rand
	batch *ops.Batch
}

func compareWithCPU(t testing.TB, act ops.DType) *comparison {
	t.Helper()
	return compared(t, onDevice(t, Options{Act: act}))
}

// compareSplit is compareWithCPU for operations that are split the further the
// more multiprocessors there are: emulated ones are many here.
func compareSplit(t testing.TB, act ops.DType) *comparison {
	t.Helper()
	if emulating {
		return compared(t, onEmulator(t, Options{Act: act}, 40))
	}
	return compareWithCPU(t, act)
}

func compared(t testing.TB, d device) *comparison {
	t.Helper()
	c := &comparison{TB: t, device: d, cpu: ops.NewCPU(2), rng: rand.New(rand.NewPCG(7, 8))}
	t.Cleanup(func() { c.must(c.cpu.Close()) })
	return c
}

func (c *comparison) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// begin opens a step on both.
func (c *comparison) begin(b *ops.Batch) {
	c.Helper()
	c.batch = b
	c.must(c.Begin(b))
	c.must(c.cpu.Begin(b))
}

// rows opens a step of n tokens of one sequence on both.
func (c *comparison) rows(n int) {
	c.Helper()
	b := &ops.Batch{
		Tokens: make([]int32, n), Positions: make([]int32, n), Start: []int32{0, int32(n)},
		Pages: []int32{0}, MaxPages: 1, Slots: []int32{0},
	}
	c.begin(b)
}

// both is one tensor on the device and on the CPU. On the device it lies
// inside wider rows.
type both struct {
	dev, cpu ops.Tensor
	whole    ops.Tensor
	left     int
}

// guard fills what lies beside a tensor. It is exact in every type.
const guard = 96

// some returns one of every so many cases where tests are to be short, as under
// a sanitizer, and all of them otherwise.
func some[T any](cases []T, every int) []T {
	if !testing.Short() {
		return cases
	}
	var out []T
	for i := 0; i < len(cases); i += every {
		out = append(out, cases[i])
	}
	return out
}

// place returns a tensor of a type that holds the values, as that type rounds
// them. margin is the number of columns on both sides of it.
func (c *comparison) place(t ops.DType, rows, cols, margin int, values []float32) both {
	c.Helper()
	wide := cols + 2*margin
	whole, err := c.device.place(t, rows, wide)
	c.must(err)
	all := make([]float32, rows*wide)
	for i := range all {
		all[i] = guard
	}
	rounded := round(t, values)
	for r := range rows {
		copy(all[r*wide+margin:], rounded[r*cols:(r+1)*cols])
	}
	c.must(c.Write(whole, all))
	host, err := c.cpu.Activation(rows, cols)
	c.must(err)
	copyTo(host, rounded)
	return both{whole.Columns(margin, margin+cols), host, whole, margin}
}

// random returns a tensor of standard normal values.
func (c *comparison) random(t ops.DType, rows, cols, margin int) both {
	c.Helper()
	return c.place(t, rows, cols, margin, c.normal(rows*cols))
}

func (c *comparison) normal(n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(c.rng.NormFloat64())
	}
	return out
}

// vector places constants on both.
func (c *comparison) vector(values []float32) (dev, cpu ops.Tensor) {
	c.Helper()
	dev, err := c.Vector(values)
	c.must(err)
	cpu, err = c.cpu.Vector(values)
	c.must(err)
	return dev, cpu
}

// round rounds values to a type and back.
func round(t ops.DType, values []float32) []float32 {
	half, out := make([]uint16, len(values)), make([]float32, len(values))
	switch t {
	case ops.BF16:
		vec.F32ToBF16(half, values)
		vec.BF16ToF32(out, half)
	case ops.F16:
		vec.F32ToF16(half, values)
		vec.F16ToF32(out, half)
	default:
		copy(out, values)
	}
	return out
}

// copyTo fills a dense float32 tensor of the CPU.
func copyTo(t ops.Tensor, values []float32) {
	copy(cuda.View[float32](hostBytes(t)), values)
}

// close compares the two sides of a tensor. The error may be the rounding to
// the device's type and extra, as a share of the largest value of the row;
// inputs are near 1, and what cancels below 1e-12 does not count. It looks for
// writes beside the tensor, too.
func (c *comparison) close(name string, x both, extra float64) {
	c.Helper()
	c.within(name, x, extra, 0)
}

// within is close for results that are sums of terms far larger than they are:
// slack is the error that rounding those may add.
func (c *comparison) within(name string, x both, extra, slack float64) {
	c.Helper()
	rows, cols := x.dev.Rows, x.dev.Cols
	got, want := make([]float32, rows*cols), make([]float32, rows*cols)
	c.must(c.Read(got, x.dev))
	c.must(c.cpu.Read(want, x.cpu))
	limit, least := 1.01*epsilon(x.dev.Type)+extra, 1e-12
	if x.dev.Type == ops.F16 {
		least = 0x1p-25 // half of its smallest number
	}
	for r := range rows {
		top := magnitude(want[r*cols : (r+1)*cols])
		for i := r * cols; i < (r+1)*cols; i++ {
			g, w := float64(got[i]), float64(want[i])
			if allowed := limit*math.Abs(w) + extra*top + least + slack; !(math.Abs(g-w) <= allowed) {
				c.Fatalf("%s: [%d, %d]: got %.9g, want %.9g, off by %.3g, allowed %.3g", name, r, i-r*cols, g, w, math.Abs(g-w), allowed)
			}
		}
	}
	c.untouched(name, x)
}

// magnitude returns the largest absolute value.
func magnitude(values []float32) float64 {
	top := 0.0
	for _, v := range values {
		top = max(top, math.Abs(float64(v)))
	}
	return top
}

// untouched looks for writes beside a tensor.
func (c *comparison) untouched(name string, x both) {
	c.Helper()
	values := make([]float32, x.whole.Rows*x.whole.Cols)
	c.must(c.Read(values, x.whole))
	for i, v := range values {
		if at := i % x.whole.Cols; (at < x.left || at >= x.left+x.dev.Cols) && v != guard {
			c.Fatalf("%s: row %d: column %d beside the tensor was overwritten with %g", name, i/x.whole.Cols, at-x.left, v)
		}
	}
}

// hostBytes returns the memory of a dense tensor of the CPU.
func hostBytes(t ops.Tensor) []byte {
	if t.Rows*t.Cols == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(t.Addr), t.Rows*t.Cols*t.Type.Size())
}
