// Package model turns a checkpoint's config.json and tensors into a model that
// computes logits: it knows the published architectures, the names and shapes
// of their tensors, and the forward pass, written once against the operations
// of package ops.
//
// It knows no text, no requests and no schedule. Which tokens form a batch,
// where their cache pages are and what is done with the logits is the
// caller's business.
package model

import (
	"fmt"
	"math"
	"sort"
	"strings"

	"github.com/godwit-llm/godwit/internal/ops"
	"github.com/godwit-llm/godwit/internal/safetensors"
)

// Config is what all architectures have in common.
type Config struct {
	Architecture string // model_type, a key of families
	Vocab        int
	Hidden       int
	Layers       int
	Context      int // max_position_embeddings
	Tied         bool
	DType        string  // torch_dtype: what the weights were saved as; "" where the file is silent
	BOS, EOS     []int32 // as config.json has them; generation_config.json comes first
}

// family is a decoded configuration of one architecture.
type family interface {
	config() *Config
	bind(w *binder) *decoder
}

// families maps model_type to the function that reads its configuration: the
// one place where an architecture is registered.
var families = map[string]func(*fields) family{
	"nemotron":     decodeNemotron,
	"nemotron_h":   decodeHybrid,
	"nemotron-nas": decodeNAS,
	"llama":        decodeLlama,
	"mistral":      decodeMistral,
	"qwen2":        decodeQwen2,
	"qwen3":        decodeQwen3,
}

// Architectures returns the supported values of model_type.
func Architectures() []string {
	var names []string
	for name := range families {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// classes maps the entries of config.json's architectures to model_type, for
// files that lack the latter.
var classes = map[string]string{
	"NemotronForCausalLM":  "nemotron",
	"NemotronHForCausalLM": "nemotron_h",
	"DeciLMForCausalLM":    "nemotron-nas",
	"LlamaForCausalLM":     "llama",
	"MistralForCausalLM":   "mistral",
	"Qwen2ForCausalLM":     "qwen2",
	"Qwen3ForCausalLM":     "qwen3",
}

// Definition is an architecture with its sizes: a config.json that was
// understood.
type Definition struct{ family }

// Config returns the sizes that all architectures have.
func (d *Definition) Config() Config { return *d.config() }

// Decode reads a config.json. Errors wrap ErrInvalid or ErrUnsupported and
// name the field.
func Decode(data []byte) (*Definition, error) {
	f, err := parseFields("config.json", data)
	if err != nil {
		return nil, err
	}
	f.refuseQuantised()
	if inner := f.sub("llm_config", "text_config"); inner != nil && f.err == nil {
		f = inner // a wrapper for several modalities around the language model
		f.refuseQuantised()
	}
	kind := f.family()
	if f.err != nil {
		return nil, f.err
	}
	d := families[kind](f)
	if f.err != nil {
		return nil, f.err
	}
	d.config().Architecture = kind
	return &Definition{d}, nil
}

// family returns a key of families.
func (f *fields) family() string {
	kind := f.text("", "model_type")
	for _, class := range f.texts("architectures") {
		if kind == "" || kind == "deci" {
			kind = classes[class]
		}
	}
	if _, ok := families[kind]; ok {
		return kind
	}
	want := strings.Join(Architectures(), ", ")
	if kind == "" {
		f.fail(invalid("%smodel_type is missing, want one of %s", f.path, want))
	}
	f.fail(unsupported("%smodel_type is %q, want one of %s", f.path, kind, want))
	return kind
}

func (f *fields) refuseQuantised() {
	q := f.sub("quantization_config")
	if q == nil {
		return
	}
	method := q.text("", "quant_method")
	f.take(q)
	f.fail(unsupported("%squantization_config.quant_method is %q, want an unquantised checkpoint in BF16, F16 or F32", f.path, method))
}

// config reads the fields that every architecture has.
func (f *fields) config() Config {
	return Config{
		Vocab:   f.size("vocab_size"),
		Hidden:  f.size("hidden_size"),
		Context: f.positive(4096, "max_position_embeddings"),
		Tied:    f.boolean(false, "tie_word_embeddings"),
		DType:   f.text("", "torch_dtype", "dtype"),
		BOS:     f.ids("bos_token_id"),
		EOS:     f.ids("eos_token_id"),
	}
}

// Model is a definition whose weights and memory are on a device. It is used
// by one goroutine at a time.
type Model struct {
	Config
	Limits  Limits
	NotUsed []string // tensors that the checkpoint has and generating text does not need

	decoder *decoder
	memory  *memory
	backend ops.Backend
}

// Load binds the weights and allocates the memory for the limits.
func (d *Definition) Load(from Weights, to ops.Backend, limits Limits) (*Model, error) {
	w := newBinder(from, to)
	decoder, err := d.bindAll(w)
	if err != nil {
		return nil, err
	}
	memory, err := decoder.allocate(to, limits)
	if err != nil {
		return nil, fmt.Errorf("model: allocate: %w", err)
	}
	return &Model{Config: d.Config(), Limits: limits, NotUsed: w.notUsed, decoder: decoder, memory: memory, backend: to}, nil
}

// bindAll binds every tensor and looks for those that are left.
func (d *Definition) bindAll(w *binder) (*decoder, error) {
	m := d.bind(w)
	if w.err == nil {
		w.finish()
	}
	return m, w.err
}

// Forward computes the logits of the batch's output rows, [len(Outputs),
// vocabulary]. They are valid until the next Forward.
func (m *Model) Forward(batch *ops.Batch) (ops.Tensor, error) { return m.Observe(batch, nil) }

// Observe is Forward that shows the residual stream [n, hidden] after the
// embedding (layer -1) and after each sublayer.
func (m *Model) Observe(batch *ops.Batch, see func(layer int, x ops.Tensor)) (ops.Tensor, error) {
	if err := m.check(batch); err != nil {
		return ops.Tensor{}, err
	}
	if err := m.backend.Begin(batch); err != nil {
		return ops.Tensor{}, err
	}
	s := &step{Backend: m.backend, memory: m.memory, n: len(batch.Tokens), outputs: len(batch.Outputs), hidden: batch.Hidden, observe: see}
	return m.decoder.forward(s), nil
}

// HiddenStates copies the hidden states of the last step's last n outputs to dst, row
// by row: the residual stream behind the last norm. Nothing but Sample and Collect
// may come between the two.
func (m *Model) HiddenStates(dst []float32, batch *ops.Batch) error {
	return m.backend.Read(dst, m.memory.h.Top(len(batch.Outputs)).From(len(batch.Outputs)-batch.Hidden))
}

// check refuses a batch that the memory does not hold.
func (m *Model) check(b *ops.Batch) error {
	if n := len(b.Tokens); n > m.Limits.Tokens {
		return fmt.Errorf("model: batch has %d tokens, want at most %d", n, m.Limits.Tokens)
	}
	if n := len(b.Outputs) - b.Hidden; n > m.Limits.Outputs {
		return fmt.Errorf("model: batch has %d rows of logits, want at most %d", n, m.Limits.Outputs)
	}
	for i, id := range b.Tokens {
		if row, given := ops.Given(id); !given && row < m.Limits.Outputs {
			continue
		}
		if id < 0 || int(id) >= m.Vocab {
			return fmt.Errorf("model: token %d of the batch is %d, want an id below vocab_size %d", i, id, m.Vocab)
		}
	}
	return nil
}

func layerName(body string, i int) string { return fmt.Sprintf("%slayers.%d.", body, i) }

func attentionScale(headDim int) float32 { return float32(1 / math.Sqrt(float64(headDim))) }

var _ Weights = (*safetensors.Checkpoint)(nil)
