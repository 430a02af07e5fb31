package model

import (
	"github.com/godwit-llm/godwit/internal/ops"
)

// Account says what a model's weights and memory come to. It is made from
// config.json and the headers of the checkpoint alone; no weight is read.
type Account struct {
	Config  Config
	Usage   []Usage  // every tensor that the model uses
	NotUsed []string // tensors that generating text does not need

	ActiveExperts float64 // share of the routed experts that one token passes
	PageBytes     int64   // of the cache, all layers together
	SequenceBytes int64   // of recurrent state
	ScratchBytes  int64   // activations and logits of the largest step
	Constants     int64   // small weights, converted to float32

	types   Types
	work    work
	decoder *decoder // bound to nothing
}

// Types says in which types a device holds a model. The zero value is the CPU's.
type Types struct {
	Act       ops.DType // of activations and caches
	Converted bool      // matrices are of that type, too; otherwise they stay as they are stored
}

// Account binds the model to a memory that only counts; of the tensors it
// needs names, types and shapes, no bytes. The figures are those of one page and
// one sequence, whatever the limits say.
func (d *Definition) Account(from Weights, limits Limits, types Types) (*Account, error) {
	to := &counter{}
	w := newBinder(from, to)
	w.sizesOnly = true
	decoder, err := d.bindAll(w)
	if err != nil {
		return nil, err
	}
	a := &Account{Config: d.Config(), Usage: w.usage, NotUsed: w.notUsed, ActiveExperts: 1, Constants: to.constants, decoder: decoder}
	if h, ok := d.family.(*hybrid); ok && h.moe.experts > 0 {
		a.ActiveExperts = float64(h.moe.topK) / float64(h.moe.experts)
	}
	return a, a.Measure(limits, types)
}

// Measure replaces the figures of the memory by those of other limits or types,
// without looking at the checkpoint again.
func (a *Account) Measure(limits Limits, types Types) error {
	activation := types.Act.Size()
	to := &counter{activation: int64(activation)}
	limits.Pages, limits.Sequences = 1, 1
	limits.Snapshots, limits.Spares, limits.HostSnapshots = 0, 0, 0
	if _, err := a.decoder.allocate(to, limits); err != nil {
		return err
	}
	a.PageBytes, a.SequenceBytes, a.ScratchBytes = to.cache, to.state, to.scratch
	a.types, a.work = types, a.decoder.work(activation, limits.StateType.Size())
	return nil
}

// StoredBytes returns the bytes of all weights in use, as stored.
func (a *Account) StoredBytes() int64 {
	n := int64(0)
	for _, u := range a.Usage {
		n += u.Bytes()
	}
	return n
}

// WeightBytes returns the bytes that the weights take where they are computed
// with: all of them as stored, where they stay so; otherwise the matrices,
// converted. The rest are Constants.
func (a *Account) WeightBytes() int64 {
	n := int64(0)
	for _, u := range a.Usage {
		if !a.types.Converted || !u.constant {
			n += a.held(u)
		}
	}
	return n
}

// held returns the bytes of a weight where it is computed with.
func (a *Account) held(u Usage) int64 {
	switch n := elements(u.Tensor.Shape); {
	case !a.types.Converted:
		return u.Bytes()
	case u.constant:
		return n * int64(ops.F32.Size())
	default:
		return n * int64(a.types.Act.Size())
	}
}

// WeightType returns the type that most of the weights are stored in.
func (a *Account) WeightType() ops.DType {
	bytes := map[ops.DType]int64{}
	best := ops.BF16
	for _, u := range a.Usage {
		bytes[dtypes[u.Tensor.DType]] += u.Bytes()
	}
	for kind, n := range bytes {
		if n > bytes[best] {
			best = kind
		}
	}
	return best
}

// Parameters returns the number of weights of one part.
func (a *Account) Parameters(part Part) int64 {
	n := int64(0)
	for _, u := range a.Usage {
		if u.Part == part {
			n += elements(u.Tensor.Shape)
		}
	}
	return n
}

func elements(shape []int) int64 {
	n := int64(1)
	for _, d := range shape {
		n *= int64(d)
	}
	return n
}

// counter is a memory that places nothing and adds up what was asked for.
type counter struct {
	activation                       int64 // bytes of one activation
	constants, scratch, state, cache int64
}

func (c *counter) Weights(parts []ops.Stored) ([]ops.Tensor, error) {
	return make([]ops.Tensor, len(parts)), nil
}

func (c *counter) Vector(values []float32) (ops.Tensor, error) {
	c.constants += 4 * int64(len(values))
	return ops.Tensor{}, nil
}

func (c *counter) Activation(rows, cols int) (ops.Tensor, error) {
	c.scratch += c.activation * int64(rows) * int64(cols)
	return ops.Tensor{}, nil
}

func (c *counter) Float(rows, cols int) (ops.Tensor, error) {
	c.scratch += 4 * int64(rows) * int64(cols)
	return ops.Tensor{}, nil
}

func (c *counter) State(t ops.DType, rows, cols int) (ops.Tensor, error) {
	c.state += int64(t.Size()) * int64(rows) * int64(cols)
	return ops.Tensor{}, nil
}

func (c *counter) HostState(ops.DType, int, int) (ops.Tensor, error) { return ops.Tensor{}, nil }

func (c *counter) Routes(m ops.Mixture) (ops.Routes, error) {
	c.scratch += 8*int64(m.Rows)*int64(m.TopK) + m.Scratch(int(c.activation))
	return ops.Routes{}, nil
}

func (c *counter) Cache(pages, pageSize, kvHeads, headDim int) (ops.Cache, error) {
	c.cache += 2 * c.activation * int64(pages) * int64(pageSize) * int64(kvHeads) * int64(headDim)
	return ops.Cache{}, nil
}

func (c *counter) Close() error { return nil }
