package model

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/godwit-llm/godwit/internal/ops"
	"github.com/godwit-llm/godwit/internal/safetensors"
)

// headers is a checkpoint without data: names, types and shapes.
type headers struct {
	list  []safetensors.Tensor
	index map[string]int
}

func (h *headers) Tensors() []safetensors.Tensor { return h.list }

func (h *headers) Lookup(name string) (safetensors.Tensor, bool) {
	i, ok := h.index[name]
	if !ok {
		return safetensors.Tensor{}, false
	}
	return h.list[i], true
}

func (h *headers) add(d safetensors.DType, name string, shape ...int) {
	if h.index == nil {
		h.index = map[string]int{}
	}
	h.index[name] = len(h.list)
	h.list = append(h.list, safetensors.NewTensor(name, d, shape, nil))
}

// bf16 adds tensors whose names begin with at.
func (h *headers) bf16(at string, names string, shape ...int) {
	for _, name := range strings.Fields(names) {
		h.add(safetensors.BF16, at+name, shape...)
	}
}

// geometry is a published model as its config.json gives it, with figures that
// follow from it by hand: parameters, bytes that a token at batch 1 reads in
// bf16, bytes of the cache for a token in bf16, bytes of state for a sequence
// with the scan in float32 and the convolution in bf16.
type geometry struct {
	name   string
	config map[string]any

	parameters int64
	read       float64 // GB, to the last digit
	cache      int64
	state      int64
}

func nemotron(hidden, ffn, layers, heads, kvHeads, headDim int) map[string]any {
	return map[string]any{
		"model_type": "nemotron", "hidden_act": "relu2", "vocab_size": 256000, "hidden_size": hidden, "intermediate_size": ffn,
		"num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kvHeads, "kv_channels": headDim,
		"max_position_embeddings": 4096, "norm_eps": 1e-5, "rope_theta": 10000, "partial_rotary_factor": 0.5,
	}
}

func nemotronH(pattern string, hidden, ffn, mambaHeads, mambaDim, heads, kvHeads int) map[string]any {
	return map[string]any{
		"model_type": "nemotron_h", "hybrid_override_pattern": pattern, "num_hidden_layers": len(pattern), "vocab_size": 131072,
		"hidden_size": hidden, "intermediate_size": ffn, "mlp_hidden_act": "relu2",
		"mamba_num_heads": mambaHeads, "mamba_head_dim": mambaDim, "n_groups": 8, "ssm_state_size": 128, "conv_kernel": 4,
		"num_attention_heads": heads, "num_key_value_heads": kvHeads, "head_dim": 128, "layer_norm_epsilon": 1e-5,
	}
}

func mixture(config map[string]any, experts, topK, width, shared, latent int) map[string]any {
	for name, v := range map[string]int{
		"n_routed_experts": experts, "num_experts_per_tok": topK, "moe_intermediate_size": width,
		"moe_shared_expert_intermediate_size": shared,
	} {
		config[name] = v
	}
	if latent > 0 {
		config["moe_latent_size"] = latent
	}
	return config
}

const (
	patternH8      = "M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-"
	pattern9       = "M-M-M-MM-M-M-M*-M-M-M*-M-M-M-M*-M-M-M-M*-M-MM-M-M-M-M-M-"
	pattern12      = "M-M-M-M*-M-M-M-M*-M-M-M-M*-M-M-M-M*-M-M-M-M*-M-M-M-M*-M-M-M-M-"
	pattern4       = "M-M-M-MM-M-M*-M-M*-M-M-M*-M-M-MM*-MMM-M-M-"
	pattern30      = "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME"
	patternSuper   = "MEMEMEM*EMEMEMEM*EMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEM*EMEMEMEME"
	patternUltra   = "MEMEMEM*EMEMEM*EMEMEMEM*EMEMEMEM*EMEMEM*EMEMEMEM*EMEMEMEM*EMEMEM*EMEMEMEM*EMEMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME"
	publishedBytes = 2 // of a weight and an activation: bf16
)

// publishedTypes are those of a device of two bytes a number, which leaves weights as
// they are stored.
var publishedTypes = Types{Act: ops.BF16}

var geometries = []geometry{
	{"Nemotron-Mini-4B", nemotron(3072, 9216, 32, 24, 8, 128), 4190509056, 6.808, 131072, 0},
	{"Minitron-8B", nemotron(4096, 16384, 32, 48, 8, 128), 8271699968, 14.446, 131072, 0},
	{"Nemotron-4-15B", nemotron(6144, 24576, 32, 48, 8, 128), 15628775424, 28.112, 131072, 0},
	{"Nemotron-4-340B", nemotron(18432, 73728, 96, 96, 8, 192), 341029195776, 672.6, 589824, 0},
	{"Nemotron-H-8B", nemotronH(patternH8, 4096, 21504, 128, 64, 32, 8), 8100852736, 15.128, 16384, 102137856},
	{"Nano-9B-v2", nemotronH(pattern9, 4480, 15680, 128, 80, 40, 8), 8888227328, 16.602, 16384, 143548416},
	{"Nano-12B-v2", nemotronH(pattern12, 5120, 20480, 128, 80, 40, 8), 12310001152, 23.278, 24576, 148865024},
	{"3-Nano-4B", nemotronH(pattern4, 3136, 12544, 96, 80, 40, 8), 3973556832, 7.125, 16384, 83801088},
	{
		"3-Nano-30B-A3B", mixture(nemotronH(pattern30, 2688, 1856, 64, 64, 32, 2), 128, 6, 1856, 3712, 0),
		31577940288, 6.456, 6144, 49082368,
	},
	{
		"3-Super-120B-A12B", mixture(nemotronH(patternSuper, 4096, 2688, 128, 64, 32, 2), 512, 22, 2688, 5376, 1024),
		120668707840, 24.467, 8192, 170229760,
	},
	{
		"3-Ultra-550B-A55B", mixture(nemotronH(patternUltra, 8192, 5120, 256, 64, 64, 2), 512, 22, 5120, 10240, 2048),
		549308993536, 109.97, 12288, 407961600,
	},
}

func (g *geometry) of(name string) int { v, _ := g.config[name].(int); return v }

// checkpoint lists the tensors of a model as it was published.
func (g *geometry) checkpoint() *headers {
	h := &headers{}
	h.bf16("", "lm_head.weight", g.of("vocab_size"), g.of("hidden_size"))
	if g.config["model_type"] == "nemotron" {
		g.dense(h)
	} else {
		g.hybrid(h)
	}
	return h
}

func (g *geometry) dense(h *headers) {
	hidden, ffn := g.of("hidden_size"), g.of("intermediate_size")
	h.bf16("model.", "embed_tokens.weight", g.of("vocab_size"), hidden)
	h.bf16("model.", "norm.weight norm.bias", hidden)
	for i := range g.of("num_hidden_layers") {
		at := fmt.Sprintf("model.layers.%d.", i)
		h.bf16(at, "input_layernorm.weight input_layernorm.bias post_attention_layernorm.weight post_attention_layernorm.bias", hidden)
		g.attention(h, at+"self_attn.", g.of("kv_channels"))
		h.bf16(at, "mlp.up_proj.weight", ffn, hidden)
		h.bf16(at, "mlp.down_proj.weight", hidden, ffn)
	}
}

func (g *geometry) attention(h *headers, at string, headDim int) {
	hidden, q, kv := g.of("hidden_size"), g.of("num_attention_heads")*headDim, g.of("num_key_value_heads")*headDim
	h.bf16(at, "q_proj.weight", q, hidden)
	h.bf16(at, "k_proj.weight v_proj.weight", kv, hidden)
	h.bf16(at, "o_proj.weight", hidden, q)
}

func (g *geometry) hybrid(h *headers) {
	hidden, ffn := g.of("hidden_size"), g.of("intermediate_size")
	h.bf16("backbone.", "embeddings.weight", g.of("vocab_size"), hidden)
	h.bf16("backbone.", "norm_f.weight", hidden)
	for i, letter := range g.config["hybrid_override_pattern"].(string) {
		at := fmt.Sprintf("backbone.layers.%d.", i)
		h.bf16(at, "norm.weight", hidden)
		at += "mixer."
		switch letter {
		case 'M':
			g.mamba(h, at)
		case '*':
			g.attention(h, at, g.of("head_dim"))
		case '-':
			h.bf16(at, "up_proj.weight", ffn, hidden)
			h.bf16(at, "down_proj.weight", hidden, ffn)
		case 'E':
			g.experts(h, at)
		}
	}
}

func (g *geometry) channels() (inner, conv int) {
	inner = g.of("mamba_num_heads") * g.of("mamba_head_dim")
	return inner, inner + 2*g.of("n_groups")*g.of("ssm_state_size")
}

func (g *geometry) mamba(h *headers, at string) {
	inner, conv := g.channels()
	heads, hidden := g.of("mamba_num_heads"), g.of("hidden_size")
	h.bf16(at, "in_proj.weight", inner+conv+heads, hidden)
	h.bf16(at, "out_proj.weight", hidden, inner)
	h.bf16(at, "conv1d.weight", conv, 1, g.of("conv_kernel"))
	h.bf16(at, "conv1d.bias", conv)
	h.bf16(at, "A_log D dt_bias", heads)
	h.bf16(at, "norm.weight", inner)
}

func (g *geometry) experts(h *headers, at string) {
	hidden, experts, width, shared := g.of("hidden_size"), g.of("n_routed_experts"), g.of("moe_intermediate_size"), g.of("moe_shared_expert_intermediate_size")
	h.bf16(at, "gate.weight", experts, hidden)
	h.bf16(at, "gate.e_score_correction_bias", experts)
	h.bf16(at, "shared_experts.up_proj.weight", shared, hidden)
	h.bf16(at, "shared_experts.down_proj.weight", hidden, shared)
	in := hidden
	if latent := g.of("moe_latent_size"); latent > 0 {
		in = latent
		h.bf16(at, "fc1_latent_proj.weight", latent, hidden)
		h.bf16(at, "fc2_latent_proj.weight", hidden, latent)
	}
	for e := range experts {
		expert := fmt.Sprintf("%sexperts.%d.", at, e)
		h.bf16(expert, "up_proj.weight", width, in)
		h.bf16(expert, "down_proj.weight", in, width)
	}
}

func (g *geometry) definition(t testing.TB) *Definition {
	t.Helper()
	data, err := json.Marshal(g.config)
	if err != nil {
		t.Fatal(err)
	}
	d, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestGeometries accounts for the published models from names and shapes.
func TestGeometries(t *testing.T) {
	for _, g := range geometries {
		t.Run(g.name, func(t *testing.T) {
			limits := Limits{Tokens: 256, Outputs: 64, Sequences: 16, Pages: 4096, PageSize: 16}
			a, err := g.definition(t).Account(g.checkpoint(), limits, publishedTypes)
			if err != nil {
				t.Fatal(err)
			}
			parameters := int64(0)
			for _, p := range Parts() {
				parameters += a.Parameters(p)
			}
			if parameters != g.parameters || a.WeightBytes() != publishedBytes*g.parameters {
				t.Errorf("got %d parameters in %d bytes, want %d in twice that", parameters, a.WeightBytes(), g.parameters)
			}
			if got := float64(a.BytesPerToken()) / 1e9; math.Abs(got/g.read-1) > 1e-4 {
				t.Errorf("got %.4f GB read for a token, want %.3f", got, g.read)
			}
			if got := a.PageBytes / int64(limits.PageSize); got != g.cache {
				t.Errorf("got %d bytes of cache for a token, want %d", got, g.cache)
			}
			if got := a.SequenceBytes - g.windowBytes()/2; got != g.state {
				t.Errorf("got %d bytes of state for a sequence with its windows in bf16, want %d", got, g.state)
			}
		})
	}
}

// windowBytes returns the bytes of a sequence's convolution windows in
// float32, as the state keeps them.
func (g *geometry) windowBytes() int64 {
	pattern, _ := g.config["hybrid_override_pattern"].(string)
	_, conv := g.channels()
	return int64(strings.Count(pattern, "M")) * int64(g.of("conv_kernel")-1) * int64(conv) * 4
}

// TestAccountFigures spells one account out: the small dense model on the CPU,
// whose activations are float32.
func TestAccountFigures(t *testing.T) {
	g := geometries[0]
	limits := Limits{Tokens: 256, Outputs: 64, PageSize: 16}
	a, err := g.definition(t).Account(g.checkpoint(), limits, Types{})
	if err != nil {
		t.Fatal(err)
	}
	const hidden, ffn, vocab, layers, qkv = 3072, 9216, 256000, 32, (24 + 2*8) * 128
	for _, c := range []struct {
		name      string
		got, want int64
	}{
		{"embedding", a.Parameters(Embedding), vocab * hidden},
		{"head", a.Parameters(HeadPart), vocab * hidden},
		{"attention", a.Parameters(AttentionPart), layers * (hidden*qkv + hidden*hidden)},
		{"MLP", a.Parameters(MLPPart), layers * 2 * hidden * ffn},
		{"norms", a.Parameters(NormPart), (layers*4 + 2) * hidden},
		{"constants", a.Constants, 4 * (layers*4 + 2) * hidden},
		{"page", a.PageBytes, 16 * 262144},
		{"state", a.SequenceBytes, 0},
		// residual stream and its norm, the wider of two scratch rows, the
		// attention's output, rows that results are wanted of, logits
		{"scratch", a.ScratchBytes, 4 * (256*(2*hidden+max(qkv, ffn)+hidden) + 256*hidden + 64*vocab)},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, c.got, c.want)
		}
	}
	if a.ActiveExperts != 1 || len(a.NotUsed) != 0 || len(a.Usage) != 4+layers*10 {
		t.Errorf("got %g of the experts active, %d tensors used, %v not; want 1, %d, none", a.ActiveExperts, len(a.Usage), a.NotUsed, 4+layers*10)
	}
}

// TestConverted accounts for a model on a device that holds all matrices in one
// type: what is bound as a constant, a router in float32 among it, stays exact
// and counts as that.
func TestConverted(t *testing.T) {
	for _, name := range []string{"llama-base", "nemotron-tied", "nemotron-h-moe-gate-f32", "nemotron-h-moe-mixed", "nemotron-h-moe-fused", "nas-linear"} {
		d := Definition{decode(t, changed(t, name, "{}"))}
		from := shapes(t, name)
		stored, err := d.Account(from, testLimits, Types{})
		if err != nil {
			t.Fatal(err)
		}
		for _, act := range []ops.DType{ops.F32, ops.BF16, ops.F16} {
			a, err := d.Account(from, testLimits, Types{Act: act, Converted: true})
			if err != nil {
				t.Fatal(err)
			}
			to := &weigher{}
			if _, err := d.bindAll(binderOf(from, to)); err != nil {
				t.Fatal(err)
			}
			if want := to.elements * int64(act.Size()); a.WeightBytes() != want || a.Constants != stored.Constants {
				t.Errorf("%s in %s: got %d bytes and %d of constants, want %d and %d", name, act, a.WeightBytes(), a.Constants, want, stored.Constants)
			}
			if a.StoredBytes() != stored.WeightBytes() || stored.StoredBytes() != stored.WeightBytes() {
				t.Errorf("%s in %s: got %d bytes stored, want %d", name, act, a.StoredBytes(), stored.WeightBytes())
			}
			if most := a.WeightBytes() + a.Constants; a.WeightTraffic(1<<20) > most {
				t.Errorf("%s in %s: a step reads %d bytes of %d", name, act, a.WeightTraffic(1<<20), most)
			}
		}
	}
}

// binderOf returns a binder that looks at no bytes.
func binderOf(from Weights, to ops.Memory) *binder {
	w := newBinder(from, to)
	w.sizesOnly = true
	return w
}

// weigher counts the elements of the matrices that are placed.
type weigher struct {
	counter
	elements int64
}

func (w *weigher) Weights(parts []ops.Stored) ([]ops.Tensor, error) {
	for _, p := range parts {
		w.elements += int64(p.Rows) * int64(p.Cols)
	}
	return w.counter.Weights(parts)
}
