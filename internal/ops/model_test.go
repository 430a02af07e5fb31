package ops_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/godwit-llm/godwit/internal/ops"
)

// mixed is a small model that uses every operation of a decoding step: an
// attention, a Mamba-2 mixer and experts. It follows the memory rules of real
// models: nothing is reserved after it is built.
type mixed struct {
	*ops.CPU
	table, x, h, wide, narrow, third, logits ops.Tensor
	norm                                     *ops.Norm
	qkv, out, in, back, up, down, head       *ops.Linear
	attention                                ops.Attention
	cache                                    ops.Cache
	conv                                     *ops.Conv
	ssm                                      ops.SSM
	gated                                    *ops.GatedNorm
	window, state                            ops.Tensor
	router                                   *ops.Router
	routes                                   ops.Routes
	experts                                  *ops.Experts
}

const (
	vocab, hidden, headDim = 131, 64, 16
	maxTokens, maxSlots    = 64, 8
	pageSize, maxPages     = 8, 8
)

// build returns a model with random weights. All of its calls are checked by
// the conformance tests, so errors here are bugs of the test.
func build(threads int) *mixed {
	m := &mixed{CPU: ops.NewCPU(threads)}
	rng := rand.New(rand.NewPCG(3, 4))
	m.table = m.matrix(rng, vocab, hidden)
	m.x, m.h = m.rows(hidden), m.rows(hidden)
	m.wide, m.narrow, m.third = m.rows(512), m.rows(256), m.rows(256)
	m.logits, _ = m.Float(maxTokens, vocab)
	m.norm = &ops.Norm{Weight: m.ones(hidden), Eps: 1e-5}
	m.attention = ops.Attention{Heads: 4, KVHeads: 2, HeadDim: headDim, Scale: 0.25}
	m.attention.Rotary = &ops.Rotary{InvFreq: ops.InverseFrequencies(1e4, headDim), Scale: 1}
	m.qkv, m.out = m.linear(rng, hidden, 8*headDim), m.linear(rng, 4*headDim, hidden)
	m.cache, _ = m.Cache(maxSlots*maxPages, pageSize, 2, headDim)
	m.buildMamba(rng)
	m.router = &ops.Router{Weight: m.linear(rng, hidden, 16), Bias: m.ones(16), TopK: 3, Groups: 4, TopGroups: 2, Normalize: true, ScalingFactor: 2}
	m.routes, _ = m.Routes(ops.Mixture{Rows: maxTokens, TopK: 3, Experts: 16, Width: 40, Out: hidden})
	m.experts = &ops.Experts{Act: ops.ReLU2, Width: 40}
	for range 16 {
		m.experts.Up = append(m.experts.Up, *m.linear(rng, hidden, 40))
		m.experts.Down = append(m.experts.Down, *m.linear(rng, 40, hidden))
	}
	m.up, m.down = m.linear(rng, hidden, 2*96), m.linear(rng, 96, hidden)
	m.head = m.linear(rng, hidden, vocab)
	return m
}

func (m *mixed) buildMamba(rng *rand.Rand) {
	m.ssm = ops.SSM{Heads: 4, HeadDim: 16, Groups: 2, State: 16, DtMax: float32(math.Inf(1))}
	m.ssm.A, _ = m.Vector([]float32{-1, -0.5, -2, -4})
	m.ssm.D, m.ssm.DtBias = m.ones(4), m.ones(4)
	inner, width := 64, 64+2*2*16
	m.in, m.back = m.linear(rng, hidden, inner+width+4), m.linear(rng, inner, hidden)
	m.conv = &ops.Conv{Weight: m.ones(width * 4), Kernel: 4}
	m.gated = &ops.GatedNorm{Weight: m.ones(inner), Groups: 2, Eps: 1e-5}
	m.window, _ = m.State(ops.F32, maxSlots, 3*width)
	m.state, _ = m.State(ops.F32, maxSlots, 64*16)
}

func (m *mixed) rows(cols int) ops.Tensor {
	t, _ := m.Activation(maxTokens, cols)
	return t
}

func (m *mixed) ones(n int) ops.Tensor {
	t, _ := m.Vector(slices.Repeat([]float32{1}, n))
	return t
}

// matrix places random bf16 weights of variance 1/cols.
func (m *mixed) matrix(rng *rand.Rand, rows, cols int) ops.Tensor {
	data := make([]byte, 0, 2*rows*cols)
	for range rows * cols {
		v := float32(rng.NormFloat64() / math.Sqrt(float64(cols)))
		data = binary.LittleEndian.AppendUint16(data, uint16(math.Float32bits(v)>>16))
	}
	t, _ := m.Weights([]ops.Stored{{Name: "random", Type: ops.BF16, Rows: rows, Cols: cols, Data: data}})
	return t[0]
}

func (m *mixed) linear(rng *rand.Rand, in, out int) *ops.Linear {
	return &ops.Linear{In: in, Out: out, Weight: []ops.Tensor{m.matrix(rng, out, in)}}
}

// forward computes the logits of a batch's outputs.
func (m *mixed) forward(b *ops.Batch) ops.Tensor {
	if err := m.Begin(b); err != nil {
		panic(err)
	}
	n := len(b.Tokens)
	x, h := m.x.Top(n), m.h.Top(n)
	m.Embed(x, m.table)
	m.Angles(m.attention.Rotary)
	m.Norm(h, x, m.norm)
	m.attend(x, h, n)
	m.Norm(h, x, m.norm)
	m.mix(x, h, n)
	m.Norm(h, x, m.norm)
	m.Route(m.routes.Top(n), h, m.router)
	m.Experts(x, h, m.routes.Top(n), m.experts, false)
	u := m.wide.Top(n).Columns(0, 192)
	m.Linear(u, h, m.up, ops.Epilogue{})
	m.Multiply(u.Columns(0, 96), u.Columns(0, 96), u.Columns(96, 192), ops.SiLU)
	m.Linear(x, u.Columns(0, 96), m.down, ops.Epilogue{Add: true})
	r := len(b.Outputs)
	last := m.third.Top(r).Columns(0, hidden)
	m.Gather(last, x)
	m.Norm(last, last, m.norm)
	logits := m.logits.Top(r)
	m.Linear(logits, last, m.head, ops.Epilogue{})
	return logits
}

func (m *mixed) attend(x, h ops.Tensor, n int) {
	qkv := m.wide.Top(n).Columns(0, 128)
	m.Linear(qkv, h, m.qkv, ops.Epilogue{})
	q := qkv.Columns(0, 64)
	m.Append(q, qkv.Columns(64, 96), qkv.Columns(96, 128), &m.attention, m.cache)
	y := m.narrow.Top(n).Columns(0, 64)
	m.Attend(y, q, &m.attention, m.cache)
	m.Linear(x, y, m.out, ops.Epilogue{Add: true})
}

func (m *mixed) mix(x, h ops.Tensor, n int) {
	p := m.wide.Top(n).Columns(0, m.in.Out)
	m.Linear(p, h, m.in, ops.Epilogue{})
	mixed := m.narrow.Top(n).Columns(0, 128)
	m.Convolve(mixed, p.Columns(64, 192), m.conv, m.window)
	y := m.third.Top(n).Columns(0, 64)
	m.Scan(y, mixed, p.Columns(192, 196), &m.ssm, m.state)
	gated := m.narrow.Top(n).Columns(0, 64)
	m.GatedNorm(gated, y, p.Columns(0, 64), m.gated)
	m.Linear(x, gated, m.back, ops.Epilogue{Add: true})
}

// part is the tokens [from, to) of a sequence that owns a slot and the pages
// that go with it. Token ids follow from the sequence and the position.
type part struct{ slot, from, to int }

// pack makes a batch that wants the logits of every row.
func pack(parts ...part) *ops.Batch {
	b := &ops.Batch{Start: []int32{0}, MaxPages: maxPages}
	for _, p := range parts {
		for at := p.from; at < p.to; at++ {
			b.Outputs = append(b.Outputs, int32(len(b.Tokens)))
			b.Tokens = append(b.Tokens, int32((at*37+p.slot*11)%vocab))
			b.Positions = append(b.Positions, int32(at))
		}
		b.Start = append(b.Start, int32(len(b.Tokens)))
		b.Slots = append(b.Slots, int32(p.slot))
		for i := range maxPages {
			b.Pages = append(b.Pages, int32((i*maxSlots+p.slot*3)%(maxSlots*maxPages)))
		}
	}
	return b
}

// logitsOf runs batches and returns the logits of one slot's sequence.
func (m *mixed) logitsOf(slot int, steps ...[]part) []float32 {
	var out []float32
	for _, parts := range steps {
		b := pack(parts...)
		all := make([]float32, len(b.Outputs)*vocab)
		if err := m.Read(all, m.forward(b)); err != nil {
			panic(err)
		}
		for s, at := range b.Slots {
			if int(at) == slot {
				out = append(out, all[int(b.Start[s])*vocab:int(b.Start[s+1])*vocab]...)
			}
		}
	}
	return out
}

// TestCuts: a sequence's results have the same bits however it is cut into
// steps, and whatever else is in the batch.
func TestCuts(t *testing.T) {
	m := build(2)
	defer m.Close()
	want := m.logitsOf(1, []part{{1, 0, 40}})
	single := [][]part{}
	for i := range 40 {
		single = append(single, []part{{1, i, i + 1}})
	}
	for name, steps := range map[string][][]part{
		"again":         {{{1, 0, 40}}},
		"two pieces":    {{{1, 0, 17}}, {{1, 17, 40}}},
		"short pieces":  {{{1, 0, 1}}, {{1, 1, 3}}, {{1, 3, 8}}, {{1, 8, 9}}, {{1, 9, 40}}},
		"single tokens": single,
		"company":       {{{0, 0, 9}, {1, 0, 25}, {4, 0, 1}}, {{5, 0, 30}, {4, 1, 2}, {1, 25, 40}, {0, 9, 10}}},
	} {
		got := m.logitsOf(1, steps...)
		if !slices.EqualFunc(got, want, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
			t.Errorf("%s: the logits differ from those of one step", name)
		}
	}
}

// stepAllocations is one a loop: the body that is handed to the other threads.
const stepAllocations = 22

// TestStepAllocations: a warmed decoding step allocates little, and no more
// with more sequences.
func TestStepAllocations(t *testing.T) {
	for _, threads := range []int{1, 2} {
		m := build(threads)
		for _, sequences := range []int{1, maxSlots} {
			step := decoding(m, sequences)
			if got := testing.AllocsPerRun(20, step); got > stepAllocations {
				t.Errorf("%d threads, %d sequences: %v allocations a step, want at most %d", threads, sequences, got, stepAllocations)
			}
		}
		m.Close()
	}
}

// decoding returns a step of single tokens that follow prompts already run.
func decoding(m *mixed, sequences int) func() {
	var prompts, next []part
	for s := range sequences {
		prompts = append(prompts, part{s, 0, 5})
		next = append(next, part{s, 5, 6})
	}
	m.forward(pack(prompts...))
	b := pack(next...)
	params, results := make([]ops.Sampling, sequences), make([]ops.Sampled, sequences)
	for i := range params {
		params[i] = ops.Sampling{Temperature: float32(i % 2), TopK: 20 * (i % 3), TopP: 0.9, MinP: 0.01, Seed: uint64(i)}
	}
	return func() {
		if err := ops.Sample(m, results, m.forward(b), params); err != nil {
			panic(err)
		}
	}
}
