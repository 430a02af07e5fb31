package kernels

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/cuda/cudatest"
	"github.com/godwit-llm/godwit/internal/ops"
)

// Sizes of the model that these tests run.
const (
	tinyHidden  = 128
	tinyHeads   = 4
	tinyKV      = 2
	tinyDim     = 32
	tinyFFN     = 192
	tinyVocab   = 304
	tinyLayers  = 2
	tinyPage    = 4
	tinyContext = 40
	tinyPrompt  = 3
)

// tiny is a dense model of random weights that decodes sequences side by side.
type tiny struct {
	testing.TB
	*Backend
	rng    *rand.Rand
	table  ops.Tensor
	layers [tinyLayers]tinyLayer
	head   *ops.Linear
	norm   *ops.Norm
	shape  *ops.Attention
	mamba  *tinyMamba // nil: none

	x, h, qkv, gate, last, logits ops.Tensor

	batch   ops.Batch
	fed     int  // positions of each sequence
	drafts  bool // pieces of several tokens verify drafts
	ids     []int32
	results []ops.Sampled
	params  []ops.Sampling
	middle  func(layer int) // called after each layer
}

type tinyLayer struct {
	qkv, out, gate, down *ops.Linear
	cache                ops.Cache
}

func newTiny(t testing.TB, b *Backend, sequences int) *tiny {
	t.Helper()
	return newTinyIn(t, b, sequences, ops.Plain)
}

// newTinyIn returns one whose caches have the format.
func newTinyIn(t testing.TB, b *Backend, sequences int, format ops.CacheFormat) *tiny {
	t.Helper()
	m := &tiny{TB: t, Backend: b, rng: rand.New(rand.NewPCG(5, 6)), middle: func(int) {}}
	const q, kv = tinyHeads * tinyDim, tinyKV * tinyDim
	rows := sequences * tinyPrompt
	m.table = m.matrix(tinyVocab, tinyHidden).Weight[0]
	for i := range m.layers {
		l := &m.layers[i]
		l.qkv, l.out = m.matrix(q+2*kv, tinyHidden), m.matrix(tinyHidden, q)
		l.gate, l.down = m.matrix(2*tinyFFN, tinyHidden), m.matrix(tinyHidden, tinyFFN)
		var err error
		l.cache, err = b.Cache(ops.CacheShape{
			Pages: sequences * tinyContext / tinyPage, PageSize: tinyPage, KVHeads: tinyKV, HeadDim: tinyDim, Format: format,
		})
		m.must(err)
	}
	m.head = m.matrix(tinyVocab, tinyHidden)
	m.norm = &ops.Norm{Weight: m.got(b.Vector(slices.Repeat([]float32{1}, tinyHidden))), Eps: 1e-5}
	m.shape = &ops.Attention{
		Heads: tinyHeads, KVHeads: tinyKV, HeadDim: tinyDim, Scale: float32(1 / math.Sqrt(tinyDim)),
		Rotary: &ops.Rotary{InvFreq: ops.InverseFrequencies(1e4, tinyDim), Scale: 1},
	}
	m.x, m.h = m.got(b.Float(rows, tinyHidden)), m.got(b.Activation(rows, tinyHidden))
	m.qkv, m.gate = m.got(b.Activation(rows, q+2*kv)), m.got(b.Activation(rows, 2*tinyFFN))
	m.last, m.logits = m.got(b.Float(sequences, tinyHidden)), m.got(b.Float(sequences, tinyVocab))
	m.start(sequences)
	return m
}

func (m *tiny) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

func (m *tiny) got(x ops.Tensor, err error) ops.Tensor {
	m.Helper()
	m.must(err)
	return x
}

// matrix places random weights.
func (m *tiny) matrix(rows, cols int) *ops.Linear {
	m.Helper()
	values := make([]float32, rows*cols)
	for i := range values {
		values[i] = float32(m.rng.NormFloat64() / math.Sqrt(float64(cols)))
	}
	s := ops.Stored{Name: "weights", Type: ops.F32, Rows: rows, Cols: cols, Data: bytesOf(values)}
	w, err := m.Weights([]ops.Stored{s})
	m.must(err)
	return &ops.Linear{In: cols, Out: rows, Weight: w}
}

// start makes room for a batch. The pages of the sequences alternate.
func (m *tiny) start(sequences int) {
	m.results, m.params = make([]ops.Sampled, sequences), make([]ops.Sampling, sequences)
	for s := range sequences {
		m.ids = append(m.ids, int32(s+1))
		if s%2 == 1 {
			m.params[s] = ops.Sampling{Temperature: 0.9, Seed: uint64(s)}
		}
	}
}

// begin opens a step with the next n tokens of the first so many sequences, of
// which the last one is asked for.
func (m *tiny) begin(sequences, n int) {
	m.Helper()
	b := &m.batch
	const pages = tinyContext / tinyPage
	b.Tokens, b.Positions, b.Start, b.MaxPages = b.Tokens[:0], b.Positions[:0], append(b.Start[:0], 0), pages
	b.Pages, b.Slots, b.Outputs, b.Decoding = b.Pages[:0], b.Slots[:0], b.Outputs[:0], m.drafts
	for s := range sequences {
		for i := range n {
			b.Tokens, b.Positions = append(b.Tokens, m.ids[s]), append(b.Positions, int32(m.fed+i))
		}
		b.Start, b.Slots = append(b.Start, int32(len(b.Tokens))), append(b.Slots, int32(s))
		b.Outputs = append(b.Outputs, int32(len(b.Tokens)-1))
		for i := range pages {
			page := int32(-1)
			if i <= (m.fed+n-1)/tinyPage {
				page = int32(i*len(m.ids) + s)
			}
			b.Pages = append(b.Pages, page)
		}
	}
	m.fed += n
	m.must(m.Begin(b))
}

// forward computes the logits of the open step.
func (m *tiny) forward() ops.Tensor {
	n, r := len(m.batch.Tokens), len(m.batch.Outputs)
	x, h, qkv, gate := m.x.Top(n), m.h.Top(n), m.qkv.Top(n), m.gate.Top(n)
	const endQ, endK = tinyHeads * tinyDim, (tinyHeads + tinyKV) * tinyDim
	m.Embed(x, m.table)
	m.Angles(m.shape.Rotary)
	for i := range m.layers {
		l := &m.layers[i]
		m.Norm(h, x, m.norm)
		m.Linear(qkv, h, l.qkv, ops.Epilogue{})
		q, k, v := qkv.Columns(0, endQ), qkv.Columns(endQ, endK), qkv.Columns(endK, qkv.Cols)
		m.Append(q, k, v, m.shape, l.cache)
		m.Attend(h, q, m.shape, l.cache)
		m.Linear(x, h, l.out, ops.Epilogue{Add: true})
		m.Norm(h, x, m.norm)
		m.Linear(gate, h, l.gate, ops.Epilogue{})
		left := gate.Columns(0, tinyFFN)
		m.Multiply(left, left, gate.Columns(tinyFFN, 2*tinyFFN), ops.SiLU)
		m.Linear(x, left, l.down, ops.Epilogue{Add: true})
		if m.mamba != nil {
			m.mamba.forward(m, i, x, h)
		}
		m.middle(i)
	}
	logits, last := m.logits.Top(r), m.last.Top(r)
	m.Gather(last, x)
	m.Norm(m.h.Top(r), last, m.norm)
	m.Linear(logits, m.h.Top(r), m.head, ops.Epilogue{})
	return logits
}

// step decodes a token of each of the first so many sequences.
func (m *tiny) step(sequences int) {
	m.Helper()
	m.begin(sequences, 1)
	m.sample(m.forward())
}

func (m *tiny) sample(logits ops.Tensor) {
	m.Helper()
	m.must(ops.Sample(m, m.results, logits, m.params[:logits.Rows]))
	for s := range logits.Rows {
		m.ids[s] = m.results[s].ID
	}
}

// calls counts the launches of kernels and of graphs that f makes, without the
// kernels that load the batch and that sample.
func calls(f *cudatest.Fake, do func()) (kernels, graphs int) {
	launches := func() int { return f.Calls("cuLaunchKernelEx") + f.Calls("cuLaunchKernel") }
	kernels, graphs = launches(), f.Calls("cuGraphLaunch")
	do()
	return launches() - kernels - 2, f.Calls("cuGraphLaunch") - graphs
}

// tinyKernels is what a decode step of the model launches; pieces of prompts are
// stored and read by two kernels a layer instead of one.
const tinyKernels = 2 + tinyLayers*8 + 3

// ranAs says how a step ran.
func ranAs(t testing.TB, what string, kernels, graphs, wantKernels, wantGraphs int) {
	t.Helper()
	if kernels != wantKernels || graphs != wantGraphs {
		t.Errorf("%s: got %d kernels and %d graphs, want %d and %d", what, kernels, graphs, wantKernels, wantGraphs)
	}
}

// TestDecodeStepsBecomeGraphs: the first two steps of a size launch kernels,
// the second is recorded on top, and from the third on there is one launch.
func TestDecodeStepsBecomeGraphs(t *testing.T) {
	f := roomy(t)
	m := newTiny(t, onFake(t, f, Options{Act: ops.BF16}), 3)
	for round := range 2 {
		for _, sequences := range []int{3, 2} {
			for i, want := range [][2]int{{tinyKernels, 0}, {2 * tinyKernels, 0}, {0, 1}, {0, 1}} {
				if round > 0 {
					want = [2]int{0, 1}
				}
				kernels, graphs := calls(f, func() { m.step(sequences) })
				ranAs(t, fmt.Sprintf("round %d, %d sequences, step %d", round, sequences, i), kernels, graphs, want[0], want[1])
			}
		}
	}
	kernels, graphs := calls(f, func() { m.begin(3, 2); m.sample(m.forward()) })
	ranAs(t, "pieces of prompts", kernels, graphs, tinyKernels+tinyLayers, 0)
	if m.graphs.err != nil {
		t.Error(m.graphs.err)
	}
}

// TestDraftsBecomeGraphs: so do steps that verify a draft of one sequence, those
// of each number of tokens and of outputs for themselves. Pieces of prompts do
// not.
func TestDraftsBecomeGraphs(t *testing.T) {
	f := roomy(t)
	m := newTiny(t, onFake(t, f, Options{Act: ops.BF16}), 8)
	m.addMamba(8, 16, 1, 128)
	m.drafts = true
	m.begin(1, 24) // makes room for angles
	m.sample(m.forward())
	kernels := tinyKernels + 8*tinyLayers - 1 // keys are stored and windows moved by kernels of their own; the last norm is part of a product
	for round := range 2 {
		for _, tokens := range []int{2, 4, shortPiece, shortPiece + 1} {
			for i, want := range [][2]int{{kernels, 0}, {2 * kernels, 0}, {0, 1}} {
				switch {
				case tokens > shortPiece:
					want = [2]int{kernels, 0}
				case round > 0:
					want = [2]int{0, 1}
				}
				m.fed = 0
				kernels, graphs := calls(f, func() { m.begin(1, tokens); m.sample(m.forward()) })
				ranAs(t, fmt.Sprintf("round %d, %d tokens, step %d", round, tokens, i), kernels, graphs, want[0], want[1])
			}
		}
	}
	m.fed = 0
	m.begin(1, 4)
	m.batch.Outputs = []int32{2, 3}
	m.must(m.Begin(&m.batch))
	if m.graphs.mode != plain {
		t.Error("a graph for one output was taken for two")
	}
	m.sample(m.forward())
	m.drafts = false
	if m.begin(1, 2); m.graphs.mode != plain {
		t.Error("a piece of a prompt was taken for a draft")
	}
	if m.sample(m.forward()); m.graphs.err != nil {
		t.Error(m.graphs.err)
	}
}

// TestGraphsRunTheSameKernels: a graph launches what the steps before it did,
// in their order.
func TestGraphsRunTheSameKernels(t *testing.T) {
	f := roomy(t)
	registerAll(t, f)
	var seen []string
	entries, err := files.ReadDir("images")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if source, ok := strings.CutSuffix(e.Name(), ".sm_90a.gz"); ok {
			for _, name := range kernelsOf(t, source) {
				// The first one waits for the batch by itself where no graph does.
				overlaps := func(c *cudatest.Call) bool { return c.Overlap || len(seen) == 1 }
				f.Kernel(name, nil, func(c *cudatest.Call) { seen = append(seen, fmt.Sprint(name, c.Grid, overlaps(c))) })
			}
		}
	}
	m := newTiny(t, opened(t, f.Device(t), Options{Act: ops.BF16}), 3)
	var want []string
	for i := range 4 {
		seen = nil
		m.step(3)
		if i == 0 {
			want = seen
		}
		if len(seen) != tinyKernels+2 || !slices.Equal(seen, want) {
			t.Errorf("step %d ran %v, want %v", i, seen, want)
		}
	}
}

// TestEagerNeverRecords: a backend without graphs has the driver make none.
func TestEagerNeverRecords(t *testing.T) {
	f := roomy(t)
	m := newTiny(t, onFake(t, f, Options{Act: ops.BF16, Eager: true}), 2)
	for range 4 {
		m.step(2)
	}
	if n := f.Calls("cuStreamBeginCapture_v2") + f.Calls("cuGraphLaunch"); n != 0 {
		t.Errorf("%d calls about graphs, want none", n)
	}
}

// TestMovedMemoryVoidsGraphs: a step that replaces memory that graphs refer to
// is the end of all of them.
func TestMovedMemoryVoidsGraphs(t *testing.T) {
	f := roomy(t)
	m := newTiny(t, onFake(t, f, Options{Act: ops.BF16}), 4)
	for range 3 {
		m.step(2)
	}
	moved := m.Backend.step.moved
	m.begin(4, 3) // needs more angles
	m.sample(m.forward())
	if m.Backend.step.moved == moved {
		t.Fatal("nothing moved")
	}
	for i, want := range [][2]int{{tinyKernels, 0}, {2 * tinyKernels, 0}, {0, 1}} {
		kernels, graphs := calls(f, func() { m.step(2) })
		ranAs(t, fmt.Sprintf("step %d", i), kernels, graphs, want[0], want[1])
	}
	if n := f.Live()["graph exec"]; n != 1 {
		t.Errorf("%d graphs left, want 1", n)
	}
}

// TestGraphsAreBounded: of many sizes, those used last have graphs.
func TestGraphsAreBounded(t *testing.T) {
	f := roomy(t)
	m := newTiny(t, onFake(t, f, Options{Act: ops.F32}), mostGraphs+2)
	decode := func(n int) (kernels, graphs int) {
		m.fed = 0
		return calls(f, func() { m.step(n) })
	}
	decode(mostGraphs + 2) // largest first, so that nothing moves later
	for n := range mostGraphs + 1 {
		decode(n + 1)
		decode(n + 1)
	}
	if n := f.Live()["graph exec"]; n != mostGraphs {
		t.Errorf("%d graphs, want %d", n, mostGraphs)
	}
	kernels, graphs := decode(1)
	ranAs(t, "the oldest", kernels, graphs, tinyKernels+tinyLayers, 0)
	kernels, graphs = decode(mostGraphs + 1)
	ranAs(t, "the latest", kernels, graphs, 0, 1)
}

// TestFailedRecordingFallsBack: whatever fails around graphs, steps go on.
func TestFailedRecordingFallsBack(t *testing.T) {
	for _, c := range []struct {
		call  string
		after int
	}{
		{"cuStreamBeginCapture_v2", 0},
		{"cuLaunchKernelEx", tinyKernels + 1 + 5}, // while recording
		{"cuGraphInstantiateWithFlags", 0},
		{"cuGraphUpload", 0},
		{"cuGraphLaunch", 0},
	} {
		t.Run(c.call, func(t *testing.T) {
			f := roomy(t)
			m := newTiny(t, onFake(t, f, Options{Act: ops.BF16}), 2)
			m.step(2)
			f.Fail(c.call, c.after, 2)
			m.step(2)
			for i := range 3 {
				kernels, graphs := calls(f, func() { m.step(2) })
				if c.call == "cuGraphLaunch" && i == 0 {
					graphs-- // the one that failed
				}
				ranAs(t, fmt.Sprintf("step %d", i), kernels, graphs, tinyKernels, 0)
			}
			if !errors.Is(m.graphs.err, cuda.ErrOutOfMemory) {
				t.Errorf("kept %v, want out of memory", m.graphs.err)
			}
			if n := f.Live()["graph"]; n != 0 {
				t.Errorf("%d graphs left", n)
			}
		})
	}
}

// TestFaultsInGraphsAreReported: a device that fails for good does so.
func TestFaultsInGraphsAreReported(t *testing.T) {
	f := roomy(t)
	m := newTiny(t, onFake(t, f, Options{Act: ops.BF16}), 2)
	m.step(2)
	m.step(2)
	f.Fail("cuGraphLaunch", 0, 700)
	m.begin(2, 1)
	if err := ops.Sample(m, m.results, m.forward(), m.params); !errors.Is(err, cuda.ErrSticky) {
		t.Errorf("got %v, want a fault of the device", err)
	}
	f.AllowLeaks()
}

// TestReadInReplayedStep: what was put off is launched before a Read, and the
// rest as usual; the next step is a graph again.
func TestReadInReplayedStep(t *testing.T) {
	f := roomy(t)
	m := newTiny(t, onFake(t, f, Options{Act: ops.BF16}), 2)
	for range 3 {
		m.step(2)
	}
	m.middle = func(layer int) {
		if layer > 0 {
			return
		}
		kernels, graphs := calls(f, func() { m.must(m.Read(make([]float32, 2*tinyHidden), m.x.Top(2))) })
		ranAs(t, "Read", kernels+2, graphs, 2+8, 0)
	}
	kernels, graphs := calls(f, func() { m.step(2) })
	ranAs(t, "the step", kernels, graphs, tinyKernels, 0)
	m.middle = func(int) {}
	kernels, graphs = calls(f, func() { m.step(2) })
	ranAs(t, "the next step", kernels, graphs, 0, 1)
}

// TestStepWithoutSample: a step that nobody samples from is done before the
// next one begins, though its batch has changed by then.
func TestStepWithoutSample(t *testing.T) {
	f := roomy(t)
	m := newTiny(t, onFake(t, f, Options{Act: ops.BF16}), 2)
	for range 3 {
		m.step(2)
	}
	m.begin(2, 1)
	m.forward()
	kernels, graphs := calls(f, func() { m.begin(2, 1) })
	ranAs(t, "Begin behind a whole step", kernels+1, graphs, 0, 1)
	m.Embed(m.x.Top(2), m.table)
	kernels, graphs = calls(f, func() { m.begin(1, 2) })
	ranAs(t, "Begin behind a part of one", kernels+1, graphs, 1, 0)
}

// TestOtherOperationsThanNoted: a step that differs from the recorded one runs
// as it is.
func TestOtherOperationsThanNoted(t *testing.T) {
	for name, differ := range map[string]func(m *tiny){
		"operands":  func(m *tiny) { m.Norm(m.h.Top(2), m.x.Top(2), &ops.Norm{Weight: m.norm.Weight}) },
		"operation": func(m *tiny) { m.Embed(m.x.Top(2), m.table) },
		"unknown":   func(m *tiny) { m.readMemory(address(m.x), 16, address(m.x)) },
	} {
		t.Run(name, func(t *testing.T) {
			f := roomy(t)
			m := newTiny(t, onFake(t, f, Options{Act: ops.BF16}), 2)
			for range 3 {
				m.step(2)
			}
			m.middle = func(layer int) {
				if layer == 0 {
					differ(m)
				}
			}
			for range 2 {
				kernels, graphs := calls(f, func() { m.step(2) })
				ranAs(t, "the step", kernels, graphs, tinyKernels+1, 0)
			}
			if !errors.Is(m.graphs.err, errDeviated) {
				t.Errorf("kept %v", m.graphs.err)
			}
		})
	}
}

// TestGraphsComputeTheSame compares 20 decode steps with and without graphs,
// bit by bit, across borders of pages.
func TestGraphsComputeTheSame(t *testing.T) {
	for _, act := range activationTypes {
		for i, sequences := range some([]int{3, 1, 20}, 3) {
			if emulating && !*allCases && i != int(act)%2 {
				continue
			}
			t.Run(fmt.Sprintf("%s/%d", act, sequences), func(t *testing.T) {
				var values [2][][]float32
				var ids [2][]int32
				for i, name := range []string{"eager", "graphs"} {
					t.Run(name, func(t *testing.T) {
						m := newTiny(t, onDevice(t, Options{Act: act, Eager: i == 0}).Backend, sequences)
						values[i], ids[i] = m.generate(20, i == 1)
					})
				}
				if !slices.Equal(ids[0], ids[1]) {
					t.Errorf("ids differ: eager %v, graphs %v", ids[0], ids[1])
				}
				for step := range values[0] {
					if !slices.Equal(values[0][step], values[1][step]) {
						t.Fatalf("step %d: values differ", step)
					}
				}
			})
		}
	}
}

// TestGraphsOfDraftsComputeTheSame compares steps that verify drafts of one
// sequence with and without graphs, bit by bit.
func TestGraphsOfDraftsComputeTheSame(t *testing.T) {
	for _, act := range activationTypes {
		t.Run(act.String(), func(t *testing.T) {
			var values [2][][]float32
			for i := range values {
				m := newTiny(t, onDevice(t, Options{Act: act, Eager: i == 0}).Backend, 2)
				m.addMamba(8, 64, 1, 128)
				m.drafts = true
				for step, tokens := range []int{3, 4, 3, 4, 3, 4, 3, 4, 1, 5} {
					m.begin(1, tokens)
					logits := m.forward()
					if got, want := m.graphs.mode == replaying, i == 1 && step > 3 && step < 8; got != want {
						t.Errorf("step %d is a graph: %v, want %v (%v)", step, got, want, m.graphs.err)
					}
					m.sample(logits)
					out := make([]float32, logits.Rows*logits.Cols)
					m.must(m.Read(out, logits))
					values[i] = append(values[i], out)
				}
			}
			for step := range values[0] {
				if !slices.Equal(values[0][step], values[1][step]) {
					t.Fatalf("step %d: values differ", step)
				}
			}
		})
	}
}

// generate runs a prompt and so many decode steps. It returns the logits of
// all, the residual stream in the middle of one, and the ids.
func (m *tiny) generate(steps int, graphs bool) (values [][]float32, ids []int32) {
	m.Helper()
	sequences := len(m.ids)
	read := func(x ops.Tensor) {
		out := make([]float32, x.Rows*x.Cols)
		m.must(m.Read(out, x))
		values = append(values, out)
	}
	m.begin(sequences, tinyPrompt)
	m.sample(m.forward())
	for i := range steps {
		m.middle = func(layer int) {
			if i == 12 && layer == 0 {
				read(m.x.Top(sequences))
			}
		}
		for s := range m.params {
			m.params[s].Step = uint64(i)
		}
		m.begin(sequences, 1)
		logits := m.forward()
		if got, want := m.graphs.mode == replaying, graphs && i > 1 && i != 12; got != want {
			m.Errorf("step %d is a graph: %v, want %v (%v)", i, got, want, m.graphs.err)
		}
		m.sample(logits)
		read(logits)
		for _, r := range m.results {
			if r.Invalid {
				m.Fatalf("step %d: the logits are not numbers", i)
			}
		}
		ids = append(ids, m.ids...)
	}
	if m.graphs.err != nil {
		m.Error(m.graphs.err)
	}
	return values, ids
}

// BenchmarkReplayedOperations measures what the operations of a replayed step
// cost the host.
func BenchmarkReplayedOperations(b *testing.B) {
	m := newTiny(b, onFake(b, roomy(b), Options{Act: ops.BF16}), 1)
	for range 2 {
		m.step(1)
	}
	m.begin(1, 1)
	for b.Loop() {
		m.graphs.mode, m.graphs.next = replaying, 0
		m.forward()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/tinyKernels, "ns/operation")
}
