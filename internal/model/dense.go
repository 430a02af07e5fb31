package model

import (
	"slices"

	"github.com/godwit-llm/godwit/internal/ops"
)

// dense describes the models whose layers are an attention and an MLP:
// nemotron, llama, mistral, qwen2, qwen3 and nemotron-nas.
type dense struct {
	Config
	eps       float64
	layerNorm bool // LayerNorm1P instead of RMSNorm
	qkNorm    bool // RMSNorm of each head's query and key
	biasQKV   bool
	biasOut   bool
	biasMLP   bool
	gated     bool // SwiGLU instead of act(up x)
	act       ops.Activation
	rotary    *ops.Rotary
	heads     int
	headDim   int
	blocks    []block
}

// block is one layer. The searched models leave parts out or put a single
// linear layer in their place.
type block struct {
	kvHeads         int
	window          int
	ffn             int
	attention, feed kind
}

type kind uint8

const (
	regular  kind = iota
	noOp          // left out, together with its norm
	asLinear      // replaced by one square matrix
)

// decodeDense reads what the dense families share. Each family's function
// sets what is its own before and after. A family whose partial is 1 rotates
// whole heads; transformers does not look at what the file says about it.
func (f *fields) decodeDense(d *dense, theta, partial float64) {
	d.Config = f.config()
	d.heads = f.size("num_attention_heads")
	d.headDim = f.headDim(d.headDim, d.Hidden, d.heads)
	d.eps = f.within(0, 1, 1e-6, "rms_norm_eps", "norm_eps", "layer_norm_eps", "layer_norm_epsilon")
	d.rotary = f.rotary(d.headDim, d.Context, theta, partial)
	rotated := 0
	if d.rotary != nil {
		rotated = 2 * len(d.rotary.InvFreq)
	}
	if partial == 1 && rotated < d.headDim {
		f.fail(unsupported("%spartial_rotary_factor rotates %d of %d columns, want all of them in this architecture", f.path, rotated, d.headDim))
	}
	b := block{kvHeads: f.positive(d.heads, "num_key_value_heads")}
	if !f.has("block_configs") {
		b.ffn = f.size("intermediate_size")
	}
	f.checkHeads(d.heads, b.kvHeads)
	d.blocks = slices.Repeat([]block{b}, f.layers())
	d.Layers = len(d.blocks)
}

// headDim returns the width of a head: def where there is no field, or, if
// that is 0, what the heads have of the hidden size.
func (f *fields) headDim(def, hidden, heads int) int {
	names := []string{"head_dim", "kv_channels", "attention_head_dim"}
	if def == 0 && !f.has(names...) {
		if def = max(1, hidden/heads); hidden%heads != 0 {
			f.fail(invalid("%shead_dim is missing, and hidden_size %d is no multiple of num_attention_heads %d", f.path, hidden, heads))
		}
	}
	dim := f.positive(max(def, 1), names...)
	f.checkProduct("num_attention_heads × head_dim", heads, dim)
	if dim > maxHeadDim {
		f.fail(invalid("%shead_dim is %d, want at most %d", f.path, dim, maxHeadDim))
		return 1
	}
	return dim
}

// layers returns num_hidden_layers.
func (f *fields) layers() int {
	n := f.size("num_hidden_layers")
	if n > maxLayers {
		f.fail(invalid("%snum_hidden_layers is %d, want at most %d", f.path, n, maxLayers))
		return 1
	}
	return n
}

func (f *fields) checkHeads(heads, kvHeads int) {
	if heads%kvHeads != 0 {
		f.fail(invalid("%snum_attention_heads is %d, want a multiple of num_key_value_heads %d", f.path, heads, kvHeads))
	}
}

// activation reads the name of an activation function.
func (f *fields) activation(def string, names ...string) ops.Activation {
	name, _ := f.find(names...)
	switch act := f.text(def, names...); act {
	case "relu2":
		return ops.ReLU2
	case "silu", "swish":
		return ops.SiLU
	case "gelu":
		return ops.GELU
	case "gelu_pytorch_tanh", "gelu_new", "gelu_fast":
		return ops.GELUTanh
	default:
		f.fail(unsupported("%s%s is %q, want relu2, silu, gelu or gelu_pytorch_tanh", f.path, name, act))
		return ops.Identity
	}
}

func decodeNemotron(f *fields) family {
	d := &dense{layerNorm: true, act: f.activation("relu2", "hidden_act")}
	d.biasQKV = f.boolean(false, "attention_bias")
	d.biasOut = d.biasQKV
	d.biasMLP = f.boolean(false, "mlp_bias")
	f.decodeDense(d, 10000, 0.5)
	d.eps = f.within(0, 1, 1e-5, "norm_eps", "layer_norm_eps", "layer_norm_epsilon")
	return d
}

func decodeLlama(f *fields) family {
	d := &dense{gated: true, act: f.activation("silu", "hidden_act")}
	d.biasQKV = f.boolean(false, "attention_bias")
	d.biasOut = d.biasQKV
	d.biasMLP = f.boolean(false, "mlp_bias")
	f.decodeDense(d, 10000, 1)
	return d
}

func decodeMistral(f *fields) family {
	d := &dense{gated: true, act: f.activation("silu", "hidden_act")}
	f.decodeDense(d, 10000, 1)
	window := f.windowSize(4096)
	for i := range d.blocks {
		d.blocks[i].window = window
	}
	return d
}

func decodeQwen2(f *fields) family {
	d := &dense{gated: true, act: f.activation("silu", "hidden_act"), biasQKV: true}
	f.decodeDense(d, 10000, 1)
	f.windows(d)
	return d
}

func decodeQwen3(f *fields) family {
	d := &dense{gated: true, act: f.activation("silu", "hidden_act"), qkNorm: true, headDim: 128}
	d.biasQKV = f.boolean(false, "attention_bias")
	d.biasOut = d.biasQKV
	f.decodeDense(d, 10000, 1)
	f.windows(d)
	return d
}

// windowSize returns sliding_window; null means none, absence the default.
func (f *fields) windowSize(def int) int {
	if v, ok := f.raw["sliding_window"]; ok && string(v) == "null" {
		return 0
	}
	return f.positive(def, "sliding_window")
}

// windows gives layers a window where use_sliding_window says so: those that
// layer_types names, or those from max_window_layers on.
func (f *fields) windows(d *dense) {
	if !f.boolean(false, "use_sliding_window") {
		return
	}
	window := f.windowSize(4096)
	from := f.integer(28, "max_window_layers")
	types := f.texts("layer_types")
	if types != nil && len(types) != d.Layers {
		f.fail(invalid("%slayer_types has %d entries, num_hidden_layers is %d", f.path, len(types), d.Layers))
		return
	}
	for i := range d.blocks {
		sliding := i >= from
		if types != nil {
			sliding = types[i] == "sliding_attention"
			if !sliding && types[i] != "full_attention" {
				f.fail(unsupported("%slayer_types[%d] is %q, want full_attention or sliding_attention", f.path, i, types[i]))
			}
		}
		if sliding {
			d.blocks[i].window = window
		}
	}
}

func (d *dense) config() *Config { return &d.Config }

// bind takes the weights under their published names.
func (d *dense) bind(w *binder) *decoder {
	body := "model."
	if !w.has(body+"embed_tokens.weight") && w.has("embed_tokens.weight") {
		body = "" // a checkpoint of the model without its head class
	}
	m := &decoder{rotary: d.rotary}
	m.embed, m.head = w.head(body+"embed_tokens", d.Vocab, d.Hidden, d.Tied)
	for i, b := range d.blocks {
		if w.err != nil {
			return m
		}
		at := layerName(body, i)
		if a := d.bindAttention(w, at+"self_attn.", b); a != nil {
			m.sublayers = append(m.sublayers, sublayer{d.norm(w, at+"input_layernorm"), a, i})
		}
		if p := d.bindMLP(w, at+"mlp.", b); p != nil {
			m.sublayers = append(m.sublayers, sublayer{d.norm(w, at+"post_attention_layernorm"), p, i})
		}
		w.ignore(at + "self_attn.rotary_emb.inv_freq") // a buffer in old checkpoints
	}
	m.norm = d.norm(w, body+"norm")
	return m
}

func (d *dense) norm(w *binder, name string) *ops.Norm {
	if d.layerNorm {
		return w.layerNorm1P(name, d.Hidden, d.eps)
	}
	return w.rmsNorm(name, d.Hidden, d.eps)
}

func (d *dense) bindAttention(w *binder, at string, b block) mixer {
	defer w.as(AttentionPart)()
	switch b.attention {
	case noOp:
		return nil
	case asLinear:
		return replaced{w.linear(at+"linear_attn", d.Hidden, d.Hidden, false)}
	}
	m := &attention{Attention: ops.Attention{
		Heads: d.heads, KVHeads: b.kvHeads, HeadDim: d.headDim,
		Scale: attentionScale(d.headDim), Rotary: d.rotary, Window: b.window,
	}}
	nq, nkv := m.widths()
	m.qkv = w.stacked(d.Hidden, d.biasQKV, rows{at + "q_proj", nq}, rows{at + "k_proj", nkv}, rows{at + "v_proj", nkv})
	m.out = w.linear(at+"o_proj", d.Hidden, nq, d.biasOut)
	m.scales = w.cacheScales(at)
	if d.qkNorm {
		m.qNorm = w.rmsNorm(at+"q_norm", d.headDim, d.eps)
		m.kNorm = w.rmsNorm(at+"k_norm", d.headDim, d.eps)
	}
	return m
}

func (d *dense) bindMLP(w *binder, at string, b block) mixer {
	defer w.as(MLPPart)()
	switch b.feed {
	case noOp:
		return nil
	case asLinear:
		return replaced{w.linear(at+"linear_mlp", d.Hidden, d.Hidden, false)}
	}
	up := []rows{{at + "up_proj", b.ffn}}
	if d.gated {
		up = slices.Insert(up, 0, rows{at + "gate_proj", b.ffn})
	}
	return &mlp{
		up:    w.stacked(d.Hidden, d.biasMLP, up...),
		down:  w.linear(at+"down_proj", d.Hidden, b.ffn, d.biasMLP),
		act:   d.act,
		gated: d.gated,
	}
}
