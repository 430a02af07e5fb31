package model

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/godwit-llm/godwit/internal/ops"
	"github.com/godwit-llm/godwit/internal/safetensors"
	"github.com/godwit-llm/godwit/internal/vec"
)

// Part says what a weight belongs to, for the accounts of Inspect.
type Part string

// The parts of a model.
const (
	Embedding     Part = "embedding"
	AttentionPart Part = "attention"
	MambaPart     Part = "mamba"
	MLPPart       Part = "mlp"
	RoutedPart    Part = "routed experts"
	SharedPart    Part = "shared experts"
	RouterPart    Part = "router"
	NormPart      Part = "norms"
	HeadPart      Part = "head"
)

// Parts returns all parts, in the order in which a token meets them.
func Parts() []Part {
	return []Part{Embedding, AttentionPart, MambaPart, MLPPart, RouterPart, RoutedPart, SharedPart, NormPart, HeadPart}
}

// Weights is where a model's tensors come from.
type Weights interface {
	Tensors() []safetensors.Tensor
	Lookup(name string) (safetensors.Tensor, bool)
}

// binder takes tensors from a checkpoint by name and shape and places them in
// a device's memory. It keeps the first fault, so that a model's definition is
// free of error handling, and knows which tensors nobody asked for.
type binder struct {
	from   Weights
	to     ops.Memory
	prefix string // of every name
	part   Part
	used   map[string]bool
	usage  []Usage
	err    error

	notUsed   []string // tensors that are left over and may be
	sizesOnly bool     // names, types and shapes are checked, no byte is looked at

	invent func(name string, shape []int) safetensors.Tensor // a tensor that the checkpoint lacks; nil: that is an error
}

// Usage records one tensor that a model uses.
type Usage struct {
	Tensor   safetensors.Tensor
	Part     Part
	constant bool // read into float32, whatever the device computes in
}

// Bytes returns the tensor's size as stored. It follows from type and shape.
func (u Usage) Bytes() int64 {
	return elements(u.Tensor.Shape) * int64(u.Tensor.DType.Size())
}

func newBinder(from Weights, to ops.Memory) *binder {
	return &binder{from: from, to: to, used: map[string]bool{}}
}

func (w *binder) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

func (w *binder) has(name string) bool {
	_, ok := w.from.Lookup(w.prefix + name)
	return ok
}

// firstOf returns the first name that the checkpoint has, or names[0].
func (w *binder) firstOf(names ...string) string {
	for _, name := range names {
		if w.has(name) {
			return name
		}
	}
	return names[0]
}

// tensor returns the named tensor if it has the wanted shape and a type that
// operations compute with.
func (w *binder) tensor(name string, shape ...int) (safetensors.Tensor, bool) {
	t, ok := w.from.Lookup(w.prefix + name)
	if !ok && w.invent != nil {
		t, ok = w.invent(w.prefix+name, shape), true
	}
	_, known := dtypes[t.DType]
	switch {
	case !ok:
		w.fail(invalid("tensor %s%s is missing from the checkpoint, want shape %s", w.prefix, name, dims(shape)))
	case !known:
		w.fail(unsupported("%stensor %s is %s, want BF16, F16 or F32 of shape %s%s", fileOf(t), t.Name, t, dims(shape), hint(t)))
	case !slices.Equal(t.Shape, shape):
		w.fail(invalid("%stensor %s is %s, want shape %s", fileOf(t), t.Name, t, dims(shape)))
	case !w.used[t.Name]:
		w.used[t.Name] = true
		w.usage = append(w.usage, Usage{Tensor: t, Part: w.part})
	}
	return t, w.err == nil
}

// fileOf begins a message with the name of the tensor's file, where it has one.
func fileOf(t safetensors.Tensor) string {
	if t.File() == "" {
		return ""
	}
	return filepath.Base(t.File()) + ": "
}

// hint explains types that weights of a supported checkpoint do not have.
func hint(t safetensors.Tensor) string {
	if t.DType.Bits() <= 8 {
		return "; quantised checkpoints are not supported"
	}
	return ""
}

// dims prints a shape as tensors print theirs.
func dims(shape []int) string {
	return "[" + strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", ", "), "[]") + "]"
}

// dtypes are the stored types that operations compute with.
var dtypes = map[safetensors.DType]ops.DType{
	safetensors.BF16: ops.BF16,
	safetensors.F16:  ops.F16,
	safetensors.F32:  ops.F32,
}

// stored describes a tensor as rows × cols; further dimensions count as rows.
func (w *binder) stored(t safetensors.Tensor, rows, cols int) ops.Stored {
	s := ops.Stored{Name: t.Name, Type: dtypes[t.DType], Rows: rows, Cols: cols}
	if w.sizesOnly {
		return s
	}
	if m, ok := w.from.(maker); ok {
		made := m.Made(t.Name)
		s.Random = &made
	} else {
		s.Data = alignedBytes(t)
	}
	return s
}

// matrix binds one [rows, cols] tensor.
func (w *binder) matrix(name string, rows, cols int) ops.Tensor {
	t, ok := w.tensor(name, rows, cols)
	if !ok {
		return ops.Tensor{}
	}
	return w.place(w.stored(t, rows, cols))[0]
}

func (w *binder) place(parts ...ops.Stored) []ops.Tensor {
	none := make([]ops.Tensor, len(parts))
	if w.err != nil {
		return none
	}
	placed, err := w.to.Weights(parts)
	if err != nil {
		w.fail(fmt.Errorf("place %s: %w", parts[0].Name, err))
		return none
	}
	return placed
}

// linear binds a linear layer [out, in] with name.weight and, where wanted,
// name.bias.
func (w *binder) linear(name string, out, in int, bias bool) *ops.Linear {
	return w.stacked(in, bias, rows{name, out})
}

// exact binds a linear layer whose weights stay float32 where they are stored
// so, whatever type the device computes with.
func (w *binder) exact(name string, out, in int) *ops.Linear {
	if t, ok := w.from.Lookup(w.prefix + name + ".weight"); !ok || t.DType != safetensors.F32 {
		return w.linear(name, out, in, false)
	}
	t := w.vector(name+".weight", out, in)
	t.Rows, t.Cols, t.Stride = out, in, in
	return &ops.Linear{In: in, Out: out, Weight: []ops.Tensor{t}}
}

// rows is one of the matrices that form a stacked layer.
type rows struct {
	name string
	n    int
}

// stacked binds several layers that read the same input as one.
func (w *binder) stacked(in int, bias bool, parts ...rows) *ops.Linear {
	l := &ops.Linear{In: in}
	var stored []ops.Stored
	var biases []float32
	for _, p := range parts {
		l.Out += p.n
		if t, ok := w.tensor(p.name+".weight", p.n, in); ok {
			stored = append(stored, w.stored(t, p.n, in))
		}
		if bias {
			biases = append(biases, w.floats(p.name+".bias", p.n)...)
		}
	}
	if w.err == nil {
		l.Weight = w.place(stored...)
	}
	if bias {
		l.Bias = w.constant(biases)
	}
	return l
}

// vector binds a small tensor as float32.
func (w *binder) vector(name string, shape ...int) ops.Tensor {
	return w.constant(w.floats(name, shape...))
}

// constant places values unless something failed before.
func (w *binder) constant(values []float32) ops.Tensor {
	if w.err != nil {
		return ops.Tensor{}
	}
	t, err := w.to.Vector(values)
	if err != nil {
		w.fail(err)
	}
	return t
}

// floats reads a small tensor as float32; nil after a fault.
func (w *binder) floats(name string, shape ...int) []float32 {
	t, ok := w.tensor(name, shape...)
	if !ok {
		return nil
	}
	w.keepExact(t.Name)
	out := make([]float32, elements(shape))
	if w.sizesOnly {
		return out
	}
	if m, ok := w.from.(maker); ok {
		m.Made(t.Name).Fill(out, 0)
		return out
	}
	switch {
	case t.DType == safetensors.BF16:
		vec.BF16ToF32(out, t.Uint16s())
	case t.DType == safetensors.F16:
		vec.F16ToF32(out, t.Uint16s())
	default:
		copy(out, t.Float32s())
	}
	return out
}

// cacheScales returns what keys and values of an attention layer are divided by
// before an FP8 cache stores them; 0 where the checkpoint does not say.
func (w *binder) cacheScales(at string) (scales [2]float32) {
	for i, name := range []string{at + "k_proj.k_scale", at + "v_proj.v_scale"} {
		if t, ok := w.from.Lookup(w.prefix + name); ok {
			scales[i] = w.positive(name, t.Shape)
		}
	}
	return scales
}

// positive reads a tensor of one positive number.
func (w *binder) positive(name string, shape []int) float32 {
	if len(shape) > 0 {
		shape = []int{1}
	}
	values := w.floats(name, shape...)
	if values == nil || w.sizesOnly {
		return 0
	}
	v := values[0]
	if !(v >= 0x1p-100 && v <= 0x1p100) {
		w.fail(invalid("tensor %s%s is %g, want a positive number", w.prefix, name, v))
	}
	return v
}

// keepExact marks a used tensor as a constant. It is the last one, mostly.
func (w *binder) keepExact(name string) {
	for i := len(w.usage) - 1; i >= 0; i-- {
		if w.usage[i].Tensor.Name == name {
			w.usage[i].constant = true
			return
		}
	}
}

// alignedBytes returns a tensor's bytes where they are, or a copy if they are
// not aligned for their type.
func alignedBytes(t safetensors.Tensor) []byte {
	if t.Aligned() {
		return t.Bytes()
	}
	words := make([]uint64, (t.Len()+7)/8)
	out := bytesOf(words)[:t.Len()]
	copy(out, t.Bytes())
	return out
}

// rmsNorm binds a norm whose weight is stored as it is used.
func (w *binder) rmsNorm(name string, width int, eps float64) *ops.Norm {
	defer w.as(NormPart)()
	return &ops.Norm{Weight: w.vector(name+".weight", width), Eps: float32(eps)}
}

// layerNorm1P binds a LayerNorm whose weight is stored minus one.
func (w *binder) layerNorm1P(name string, width int, eps float64) *ops.Norm {
	defer w.as(NormPart)()
	weight := w.floats(name+".weight", width)
	for i := range weight {
		weight[i]++
	}
	return &ops.Norm{Weight: w.constant(weight), Bias: w.vector(name+".bias", width), Eps: float32(eps), Center: true}
}

// as sets the part that tensors belong to until the returned function is
// called.
func (w *binder) as(p Part) (restore func()) {
	before := w.part
	w.part = p
	return func() { w.part = before }
}

// head binds the embedding table and the output projection. Tied models store
// one of the two, under either name. Where both are stored both are used, as
// transformers does: equal ones give the same result, and different ones mean
// that tie_word_embeddings is wrong.
func (w *binder) head(embedding string, vocab, hidden int, tied bool) (table ops.Tensor, head *ops.Linear) {
	const output = "lm_head"
	stored := w.has(output + ".weight")
	source := embedding
	if tied && stored && !w.has(embedding+".weight") {
		source, stored = output, false
	}
	restore := w.as(Embedding)
	table = w.matrix(source+".weight", vocab, hidden)
	restore()
	if tied && !stored {
		return table, &ops.Linear{In: hidden, Out: vocab, Weight: []ops.Tensor{table}}
	}
	defer w.as(HeadPart)()
	return table, w.linear(output, vocab, hidden, false)
}

// ignore marks a tensor as used where it is there.
func (w *binder) ignore(name string) { w.used[w.prefix+name] = true }

// finish fails if tensors are left over, except those that checkpoints are
// known to carry and that generating text does not need: heads for multi-token
// prediction, and the other parts of a model that wraps this one.
func (w *binder) finish() {
	var unknown []string
	for _, t := range w.from.Tensors() {
		name, inside := strings.CutPrefix(t.Name, w.prefix)
		switch {
		case w.used[t.Name]:
		case !inside || strings.HasPrefix(name, "mtp."):
			w.notUsed = append(w.notUsed, t.Name)
		default:
			unknown = append(unknown, t.Name)
		}
	}
	if len(unknown) > 0 {
		w.fail(invalid("config.json describes a model without these tensors of the checkpoint, %d in all: %s", len(unknown), some(unknown)))
	}
}

// some joins the first few names.
func some(names []string) string {
	const most, longest = 5, 128
	var shown []string
	for _, name := range names[:min(most, len(names))] {
		shown = append(shown, fmt.Sprintf("%.*s", longest, name))
	}
	text := strings.Join(shown, ", ")
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// negExp returns -e^x of each value: the decay rates of Mamba-2 from A_log.
func negExp(values []float32) []float32 {
	for i, v := range values {
		values[i] = float32(-math.Exp(float64(v)))
	}
	return values
}
