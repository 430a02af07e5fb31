package model

import (
	"hash/fnv"
	"math"
	"strings"

	"github.com/godwit-llm/godwit/internal/ops"
	"github.com/godwit-llm/godwit/internal/safetensors"
)

// Random is a source of made-up weights: the tensors that a definition asks
// for, under the published names, whose values follow from a seed. It takes no
// memory for them.
type Random struct {
	tensors []safetensors.Tensor
	index   map[string]int
	values  []ops.Random
}

// maker is a source of weights that are made up instead of stored.
type maker interface {
	// Made describes the values of a tensor that Lookup knows.
	Made(name string) ops.Random
}

// Random lists the tensors of the model, in the type that config.json names,
// and describes values for them with which activations stay of order one and
// tokens differ, so that a mixture's router spreads them over its experts.
func (d *Definition) Random(seed uint64) (*Random, error) {
	kind, err := d.storedType()
	if err != nil {
		return nil, err
	}
	r := &Random{index: map[string]int{}}
	w := newBinder(r, &counter{})
	w.sizesOnly = true
	w.invent = func(name string, shape []int) safetensors.Tensor {
		t := safetensors.NewTensor(name, kind, shape, nil)
		r.index[name] = len(r.tensors)
		r.tensors = append(r.tensors, t)
		r.values = append(r.values, d.values(t, w.part, seed))
		return t
	}
	_, err = d.bindAll(w)
	return r, err
}

// storedType is the type of the weights that config.json was written for.
func (d *Definition) storedType() (safetensors.DType, error) {
	switch name := d.config().DType; name {
	case "bfloat16", "":
		return safetensors.BF16, nil
	case "float16":
		return safetensors.F16, nil
	case "float32":
		return safetensors.F32, nil
	default:
		return 0, unsupported("config.json: torch_dtype is %q, want bfloat16, float16 or float32", name)
	}
}

// values describes a tensor's values. Matrices are scaled by the number of
// their inputs, so that outputs are of order one. The embedding outweighs what
// the layers add to it: their share is alike for all tokens, and would send all
// of them to the same experts.
func (d *Definition) values(t safetensors.Tensor, part Part, seed uint64) ops.Random {
	deviation := 1.0
	switch {
	case strings.HasSuffix(t.Name, "bias"):
		deviation = 0.02
	case part == Embedding:
		deviation = math.Sqrt(8 * float64(d.config().Layers))
	case len(t.Shape) > 1:
		deviation = 1 / math.Sqrt(float64(elements(t.Shape[1:])))
	}
	h := fnv.New64a()
	h.Write([]byte(t.Name))
	return ops.Random{Seed: h.Sum64() + seed, Scale: float32(deviation * math.Sqrt(3))}
}

// Tensors returns all tensors. They have no bytes.
func (r *Random) Tensors() []safetensors.Tensor { return r.tensors }

// Lookup returns the tensor of a name. It has no bytes.
func (r *Random) Lookup(name string) (safetensors.Tensor, bool) {
	i, ok := r.index[name]
	if !ok {
		return safetensors.Tensor{}, false
	}
	return r.tensors[i], true
}

// Made describes the values of a tensor.
func (r *Random) Made(name string) ops.Random { return r.values[r.index[name]] }

// Close does nothing.
func (r *Random) Close() error { return nil }
