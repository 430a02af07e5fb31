package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/godwit-llm/godwit/internal/ops"
)

// hybrid describes nemotron_h: one mixer a layer, which is a Mamba-2, an
// attention, an MLP or a mixture of experts. There is no position encoding.
type hybrid struct {
	Config
	eps     float64
	pattern []byte // a letter a layer: M, *, - or E
	act     ops.Activation

	heads, kvHeads, headDim int
	biasAttention, biasMLP  bool
	ffn                     []int // width of each "-" layer in turn
	mamba                   ops.SSM
	kernel                  int
	biasConv, biasProj      bool
	moe                     moe
}

// moe is the shape of the mixtures of experts.
type moe struct {
	experts, topK     int
	width, latent     int
	shared            int // width of the shared expert; 0: none
	groups, topGroups int
	normalize         bool
	scaling           float64
}

func decodeHybrid(f *fields) family {
	d := &hybrid{Config: f.config(), act: f.activation("relu2", "mlp_hidden_act")}
	d.eps = f.within(0, 1, 1e-5, "layer_norm_epsilon", "norm_eps", "rms_norm_eps")
	d.pattern = f.pattern()
	d.Layers = len(d.pattern)
	f.require("mamba_hidden_act", "silu")
	if d.has('*') {
		f.hybridAttention(d)
	}
	if d.has('M') {
		f.hybridMamba(d)
	}
	if d.has('-') {
		d.biasMLP = f.boolean(false, "mlp_bias")
		d.ffn = f.ffnWidths(strings.Count(string(d.pattern), "-"))
	}
	if d.has('E') {
		d.biasMLP = f.boolean(false, "mlp_bias")
		d.moe = f.moe()
	}
	return d
}

func (d *hybrid) has(letter byte) bool { return strings.IndexByte(string(d.pattern), letter) >= 0 }

func (f *fields) hybridAttention(d *hybrid) {
	d.heads = f.size("num_attention_heads")
	d.kvHeads = f.positive(d.heads, "num_key_value_heads")
	d.headDim = f.headDim(128, d.Hidden, d.heads)
	d.biasAttention = f.boolean(false, "attention_bias")
	f.checkHeads(d.heads, d.kvHeads)
}

func (f *fields) hybridMamba(d *hybrid) {
	m := &d.mamba
	m.Heads, m.HeadDim = f.size("mamba_num_heads"), f.size("mamba_head_dim")
	m.Groups = f.positive(8, "n_groups", "mamba_n_groups")
	m.State = f.size("ssm_state_size", "mamba_d_state")
	d.kernel = f.positive(4, "conv_kernel", "mamba_d_conv")
	d.biasConv = f.boolean(true, "use_conv_bias", "mamba_conv_bias")
	d.biasProj = f.boolean(false, "use_bias") // mamba_proj_bias is not read by anybody
	f.checkProduct("mamba_num_heads × mamba_head_dim", m.Heads, m.HeadDim)
	f.checkProduct("n_groups × ssm_state_size", m.Groups, m.State)
	if m.Heads%m.Groups != 0 {
		f.fail(invalid("%smamba_num_heads is %d, want a multiple of n_groups %d", f.path, m.Heads, m.Groups))
	}
	low, high := f.limits("time_step_limit", "mamba_dt_limit")
	m.DtMin, m.DtMax = float32(low), float32(high)
}

// limits reads a pair of numbers, [0, infinity] where there is none.
func (f *fields) limits(names ...string) (low, high float64) {
	name, v := f.find(names...)
	if v == nil {
		return 0, math.Inf(1)
	}
	var pair []json.RawMessage
	if json.Unmarshal(v, &pair) == nil && len(pair) == 2 {
		low, okLow := parseNumber(pair[0])
		high, okHigh := parseNumber(pair[1])
		if okLow && okHigh && low <= high {
			return low, high
		}
	}
	f.wrong(name, v, "a pair of ascending numbers")
	return 0, math.Inf(1)
}

// pattern returns a letter a layer from hybrid_override_pattern or
// layers_block_type.
func (f *fields) pattern() []byte {
	name, _ := f.find("layers_block_type", "hybrid_override_pattern")
	words := f.texts(name)
	if len(words) == 1 && name == "hybrid_override_pattern" {
		words = strings.Split(words[0], "")
	}
	if len(words) == 0 {
		f.fail(invalid("%shybrid_override_pattern and layers_block_type are missing or empty", f.path))
	}
	if len(words) > maxLayers {
		f.fail(invalid("%s%s has %d layers, want at most %d", f.path, name, len(words), maxLayers))
		return nil
	}
	letters := make([]byte, len(words))
	for i, word := range words {
		letters[i] = letterOf[word]
		if letters[i] == 0 {
			f.fail(unsupported("%s%s: layer %d is %q, want M (mamba), * (attention), - (mlp) or E (moe)", f.path, name, i, word))
		}
	}
	if n := f.integer(len(words), "num_hidden_layers"); n != len(words) {
		f.fail(invalid("%s%s has %d layers, num_hidden_layers is %d", f.path, name, len(words), n))
	}
	return letters
}

// letterOf translates the spellings of a layer's kind.
var letterOf = map[string]byte{
	"M": 'M', "mamba": 'M', "linear_attention": 'M',
	"*": '*', "A": '*', "attention": '*', "full_attention": '*',
	"-": '-', "mlp": '-',
	"E": 'E', "moe": 'E',
}

// ffnWidths returns intermediate_size for each of n layers: one for all, or a
// list.
func (f *fields) ffnWidths(n int) []int {
	name, v := f.find("intermediate_size")
	if !bytes.HasPrefix(v, []byte("[")) {
		return slices.Repeat([]int{f.size(name)}, n)
	}
	var list []int
	if json.Unmarshal(v, &list) != nil || slices.ContainsFunc(list, func(w int) bool { return w < 1 || w > maxSize }) {
		f.wrong(name, v, fmt.Sprintf("whole numbers from 1 to %d", maxSize))
	} else if len(list) != n {
		f.fail(invalid("%s%s has %d entries for %d MLP layers", f.path, name, len(list), n))
	}
	return list
}

func (f *fields) moe() moe {
	m := moe{
		experts:   f.size("n_routed_experts"),
		topK:      f.size("num_experts_per_tok"),
		width:     f.size("moe_intermediate_size"),
		latent:    f.integer(0, "moe_latent_size"),
		shared:    f.integer(0, "moe_shared_expert_intermediate_size"),
		groups:    f.positive(1, "n_group"),
		topGroups: f.positive(1, "topk_group"),
		normalize: f.boolean(true, "norm_topk_prob"),
		scaling:   f.within(0, 1e6, 1, "routed_scaling_factor"),
	}
	if f.integer(1, "n_shared_experts") == 0 {
		m.shared = 0
	}
	const most = 1 << 16
	switch {
	case m.experts > most:
		f.fail(invalid("%sn_routed_experts is %d, want at most %d", f.path, m.experts, most))
	case m.topGroups > m.groups:
		f.fail(invalid("%stopk_group is %d, want at most n_group %d", f.path, m.topGroups, m.groups))
	case m.experts%m.groups != 0:
		f.fail(invalid("%sn_routed_experts is %d, want a multiple of n_group %d", f.path, m.experts, m.groups))
	case m.topK > m.experts/m.groups*m.topGroups:
		f.fail(invalid("%snum_experts_per_tok is %d, want at most the %d experts that can be chosen", f.path, m.topK, m.experts/m.groups*m.topGroups))
	}
	return m
}

func (d *hybrid) config() *Config { return &d.Config }

// bind finds the prefix under which the checkpoint keeps the model, and takes
// the weights.
func (d *hybrid) bind(w *binder) *decoder {
	body := d.findBody(w)
	m := &decoder{}
	embedding := strings.TrimSuffix(w.firstOf(body+"embeddings.weight", body+"embedding.weight", body+"embed_tokens.weight"), ".weight")
	m.embed, m.head = w.head(embedding, d.Vocab, d.Hidden, d.Tied)
	ffn := d.ffn
	for i, letter := range d.pattern {
		if w.err != nil {
			return m
		}
		at := layerName(body, i)
		l := sublayer{norm: w.rmsNorm(at+"norm", d.Hidden, d.eps), layer: i}
		switch letter {
		case 'M':
			l.mixer = d.bindMamba(w, at+"mixer.")
		case '*':
			l.mixer = d.bindAttention(w, at+"mixer.")
		case '-':
			l.mixer = d.bindMLP(w, MLPPart, at+"mixer.", ffn[0])
			ffn = ffn[1:]
		case 'E':
			l.mixer = d.bindExperts(w, at+"mixer.")
		}
		m.sublayers = append(m.sublayers, l)
	}
	m.norm = w.rmsNorm(strings.TrimSuffix(w.firstOf(body+"norm_f.weight", body+"norm.weight"), ".weight"), d.Hidden, d.eps)
	return m
}

// findBody sets the binder's prefix to the wrapper's, where there is one, and
// returns that of the layers.
func (d *hybrid) findBody(w *binder) string {
	for _, wrapper := range []string{"", "language_model.", "model.language_model."} {
		for _, body := range []string{"backbone.", "model.", ""} {
			if _, ok := w.from.Lookup(wrapper + body + "layers.0.norm.weight"); ok {
				w.prefix = wrapper
				return body
			}
		}
	}
	return "backbone."
}

func (d *hybrid) bindAttention(w *binder, at string) mixer {
	defer w.as(AttentionPart)()
	m := &attention{Attention: ops.Attention{
		Heads: d.heads, KVHeads: d.kvHeads, HeadDim: d.headDim, Scale: attentionScale(d.headDim),
	}}
	nq, nkv := m.widths()
	m.qkv = w.stacked(d.Hidden, d.biasAttention, rows{at + "q_proj", nq}, rows{at + "k_proj", nkv}, rows{at + "v_proj", nkv})
	m.out = w.linear(at+"o_proj", d.Hidden, nq, d.biasAttention)
	m.scales = w.cacheScales(at)
	return m
}

func (d *hybrid) bindMLP(w *binder, part Part, at string, width int) *mlp {
	defer w.as(part)()
	return &mlp{
		up:   w.linear(at+"up_proj", width, d.Hidden, d.biasMLP),
		down: w.linear(at+"down_proj", d.Hidden, width, d.biasMLP),
		act:  d.act,
	}
}

func (d *hybrid) bindMamba(w *binder, at string) mixer {
	defer w.as(MambaPart)()
	m := &mamba{Mamba: ops.Mamba{SSM: d.mamba}}
	inner, width := m.Inner(), m.Convolved()
	m.in = w.linear(at+"in_proj", m.Projected(), d.Hidden, d.biasProj)
	m.Conv = ops.Conv{Weight: w.vector(at+"conv1d.weight", width, 1, d.kernel), Kernel: d.kernel}
	if d.biasConv {
		m.Conv.Bias = w.vector(at+"conv1d.bias", width)
	}
	m.A = w.constant(negExp(w.floats(at+"A_log", m.Heads)))
	m.D = w.vector(at+"D", m.Heads)
	m.DtBias = w.vector(at+"dt_bias", m.Heads)
	m.Norm = ops.GatedNorm{Weight: w.vector(at+"norm.weight", inner), Groups: m.Groups, Eps: float32(d.eps)}
	m.out = w.linear(at+"out_proj", d.Hidden, inner, d.biasProj)
	return m
}

func (d *hybrid) bindExperts(w *binder, at string) mixer {
	c := d.moe
	m := &experts{}
	restore := w.as(RouterPart)
	m.Router = &ops.Router{
		Weight: w.exact(at+"gate", c.experts, d.Hidden),
		Bias:   w.vector(at+"gate.e_score_correction_bias", c.experts),
		TopK:   c.topK, Groups: c.groups, TopGroups: c.topGroups,
		Normalize: c.normalize, ScalingFactor: float32(c.scaling),
	}
	restore()
	width := d.Hidden
	if c.latent > 0 {
		width = c.latent
		restore = w.as(SharedPart)
		m.toLatent = w.linear(at+"fc1_latent_proj", c.latent, d.Hidden, d.biasMLP)
		m.fromLatent = w.linear(at+"fc2_latent_proj", d.Hidden, c.latent, d.biasMLP)
		restore()
	}
	m.Experts = &ops.Experts{
		Up:    d.bindRouted(w, at+"experts.", "up_proj", c.width, width),
		Down:  d.bindRouted(w, at+"experts.", "down_proj", width, c.width),
		Act:   d.act,
		Width: c.width,
	}
	if c.shared > 0 {
		shared := d.bindMLP(w, SharedPart, at+"shared_experts.", c.shared)
		m.Shared = &ops.Shared{Up: shared.up, Down: shared.down}
	}
	return m
}

// bindRouted takes one matrix of every expert, from a tensor each or from one
// tensor [experts, out, in] for all.
func (d *hybrid) bindRouted(w *binder, at, name string, out, in int) []ops.Linear {
	defer w.as(RoutedPart)()
	if w.err != nil {
		return nil
	}
	n := d.moe.experts
	parts := make([]ops.Stored, 0, n)
	if w.has(at + name) {
		if t, ok := w.tensor(at+name, n, out, in); ok {
			parts = splitExperts(w.stored(t, n*out, in), n)
		}
	} else {
		for e := 0; e < n && w.err == nil; e++ {
			if t, ok := w.tensor(fmt.Sprintf("%s%d.%s.weight", at, e, name), out, in); ok {
				parts = append(parts, w.stored(t, out, in))
			}
		}
	}
	if w.err != nil {
		return nil
	}
	layers := make([]ops.Linear, n)
	for e, t := range w.place(parts...) {
		layers[e] = ops.Linear{In: in, Out: out, Weight: []ops.Tensor{t}}
	}
	return layers
}

// splitExperts cuts a fused tensor into n.
func splitExperts(t ops.Stored, n int) []ops.Stored {
	size := len(t.Data) / n
	out := make([]ops.Stored, n)
	for e := range out {
		out[e] = ops.Stored{Name: t.Name, Type: t.Type, Rows: t.Rows / n, Cols: t.Cols, Data: t.Data[e*size : (e+1)*size]}
	}
	return out
}
