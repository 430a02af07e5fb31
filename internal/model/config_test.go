package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/godwit-llm/godwit/internal/ops"
)

// changed returns a golden's config.json with the fields of change, a JSON
// object, put over its own. A field that is "absent" is taken out.
func changed(t testing.TB, name, change string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(goldens, name, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var config, over map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(quoteConstants(data), &config), json.Unmarshal([]byte(change), &over)); err != nil {
		t.Fatal(err)
	}
	maps.Copy(config, over)
	maps.DeleteFunc(config, func(_ string, v json.RawMessage) bool { return string(v) == `"absent"` })
	var out bytes.Buffer
	to := json.NewEncoder(&out)
	to.SetEscapeHTML(false)
	if err := to.Encode(config); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func decode(t testing.TB, data []byte) family {
	t.Helper()
	d, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return d.family
}

// least is a config.json with no field but those that have no default.
const least = `"vocab_size": 100, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 2`

// TestDefaults shows what fields mean that are not there.
func TestDefaults(t *testing.T) {
	for kind, want := range map[string]dense{
		"nemotron": {eps: 1e-5, layerNorm: true, act: ops.ReLU2, headDim: 128},
		"llama":    {eps: 1e-6, gated: true, act: ops.SiLU, headDim: 128},
		"mistral":  {eps: 1e-6, gated: true, act: ops.SiLU, headDim: 128},
		"qwen2":    {eps: 1e-6, gated: true, act: ops.SiLU, headDim: 128, biasQKV: true},
		"qwen3":    {eps: 1e-6, gated: true, act: ops.SiLU, headDim: 128, qkNorm: true},
	} {
		d := decode(t, []byte(`{"model_type": "`+kind+`", `+least+`}`)).(*dense)
		want.Config = Config{Architecture: kind, Vocab: 100, Hidden: 256, Layers: 2, Context: 4096}
		want.heads = 2
		b := block{kvHeads: 2, ffn: 512}
		if kind == "mistral" {
			b.window = 4096
		}
		want.blocks = []block{b, b}
		rotated := map[bool]int{true: 64, false: 128}[kind == "nemotron"]
		want.rotary = &ops.Rotary{InvFreq: ops.InverseFrequencies(10000, rotated), Scale: 1}
		if !reflect.DeepEqual(d, &want) {
			t.Errorf("%s: got  %+v,\nwant %+v", kind, d, &want)
		}
	}
}

// TestHybridDefaults does so for nemotron_h.
func TestHybridDefaults(t *testing.T) {
	got := decode(t, []byte(`{"model_type": "nemotron_h", "hybrid_override_pattern": "M*-E", `+least+`, "num_hidden_layers": 4,
		"mamba_num_heads": 16, "mamba_head_dim": 8, "ssm_state_size": 4,
		"n_routed_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 48}`))
	want := &hybrid{
		Config:  Config{Architecture: "nemotron_h", Vocab: 100, Hidden: 256, Layers: 4, Context: 4096},
		eps:     1e-5,
		pattern: []byte("M*-E"),
		act:     ops.ReLU2,
		heads:   2, kvHeads: 2, headDim: 128,
		ffn:    []int{512},
		mamba:  ops.SSM{Heads: 16, HeadDim: 8, Groups: 8, State: 4, DtMax: float32(math.Inf(1))},
		kernel: 4, biasConv: true,
		moe: moe{experts: 8, topK: 3, width: 48, groups: 1, topGroups: 1, normalize: true, scaling: 1},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v,\nwant %+v", got, want)
	}
}

// TestSpellings gives one field in several ways and looks at what it means.
func TestSpellings(t *testing.T) {
	type any2 struct{ got, want any }
	for _, c := range []struct {
		golden, change string
		look           func(d *dense, h *hybrid) any2
	}{
		{"nemotron-base", `{"head_dim": null, "kv_channels": 20}`, func(d *dense, _ *hybrid) any2 { return any2{d.headDim, 20} }},
		{"nemotron-base", `{"head_dim": "absent", "attention_head_dim": 20}`, func(d *dense, _ *hybrid) any2 { return any2{d.headDim, 20} }},
		{"nemotron-base", `{"head_dim": 24, "kv_channels": 20}`, func(d *dense, _ *hybrid) any2 { return any2{d.headDim, 24} }},
		{"nemotron-base", `{"norm_eps": "absent", "layer_norm_eps": 0.25}`, func(d *dense, _ *hybrid) any2 { return any2{d.eps, 0.25} }},
		{"nemotron-base", `{"norm_eps": null, "rms_norm_eps": 0.25}`, func(d *dense, _ *hybrid) any2 { return any2{d.eps, 1e-5} }},
		{"nemotron-base", `{"num_key_value_heads": null}`, func(d *dense, _ *hybrid) any2 { return any2{d.blocks[0].kvHeads, d.heads} }},
		{"nemotron-base", `{"attention_bias": true}`, func(d *dense, _ *hybrid) any2 { return any2{d.biasQKV && d.biasOut, true} }},
		{"llama-base", `{"model_type": "absent"}`, func(d *dense, _ *hybrid) any2 { return any2{d.Architecture, "llama"} }},
		{"nas-base", `{"model_type": "deci"}`, func(d *dense, _ *hybrid) any2 { return any2{d.Architecture, "nemotron-nas"} }},
		{"llama-base", `{"hidden_act": "swish"}`, func(d *dense, _ *hybrid) any2 { return any2{d.act, ops.SiLU} }},
		{"llama-base", `{"hidden_act": null}`, func(d *dense, _ *hybrid) any2 { return any2{d.act, ops.SiLU} }},
		{"llama-base", `{"hidden_act": "gelu_new"}`, func(d *dense, _ *hybrid) any2 { return any2{d.act, ops.GELUTanh} }},
		{"llama-base", `{"eos_token_id": [3, 5]}`, func(d *dense, _ *hybrid) any2 { return any2{d.EOS, []int32{3, 5}} }},
		{"llama-base", `{"eos_token_id": null, "bos_token_id": 7}`, func(d *dense, _ *hybrid) any2 { return any2{len(d.EOS)*10 + int(d.BOS[0]), 7} }},
		{"llama-base", `{"vocab_size": 9.6e1}`, func(d *dense, _ *hybrid) any2 { return any2{d.Vocab, 96} }},
		{"mistral-base", `{"sliding_window": null}`, func(d *dense, _ *hybrid) any2 { return any2{d.blocks[0].window, 0} }},
		{"mistral-base", `{"sliding_window": "absent"}`, func(d *dense, _ *hybrid) any2 { return any2{d.blocks[0].window, 4096} }},
		{"qwen2-base", `{"use_sliding_window": true, "sliding_window": 9, "max_window_layers": 1, "layer_types": null}`, func(d *dense, _ *hybrid) any2 {
			return any2{[2]int{d.blocks[0].window, d.blocks[1].window}, [2]int{0, 9}}
		}},
		{"qwen2-base", `{"use_sliding_window": true, "sliding_window": null, "max_window_layers": 0, "layer_types": null}`, func(d *dense, _ *hybrid) any2 { return any2{d.blocks[0].window, 0} }},
		{"qwen3-base", `{"head_dim": "absent", "hidden_size": 33}`, func(d *dense, _ *hybrid) any2 { return any2{d.headDim, 128} }},
		{"nemotron-h-moe", `{"hybrid_override_pattern": "MEA*E"}`, func(_ *dense, h *hybrid) any2 { return any2{string(h.pattern), "ME**E"} }},
		{"nemotron-h-moe", `{"hybrid_override_pattern": ["M", "E", "M", "*", "E"]}`, func(_ *dense, h *hybrid) any2 { return any2{string(h.pattern), "MEM*E"} }},
		{"nemotron-h-moe", `{"num_hidden_layers": null, "layers_block_type": ["mamba", "full_attention", "moe", "linear_attention"]}`, func(_ *dense, h *hybrid) any2 { return any2{string(h.pattern), "M*EM"} }},
		{"nemotron-h-moe", `{"n_groups": "absent", "mamba_n_groups": 4, "conv_kernel": "absent", "mamba_d_conv": 3}`, func(_ *dense, h *hybrid) any2 { return any2{h.mamba.Groups*10 + h.kernel, 43} }},
		{"nemotron-h-moe", `{"use_conv_bias": "absent", "mamba_conv_bias": false}`, func(_ *dense, h *hybrid) any2 { return any2{h.biasConv, false} }},
		{"nemotron-h-moe", `{"time_step_limit": [0.5, {"__float__": "Infinity"}]}`, func(_ *dense, h *hybrid) any2 {
			return any2{[2]float32{h.mamba.DtMin, h.mamba.DtMax}, [2]float32{0.5, float32(math.Inf(1))}}
		}},
		{"nemotron-h-moe", `{"time_step_limit": null, "mamba_dt_limit": [0.25, 2]}`, func(_ *dense, h *hybrid) any2 {
			return any2{[2]float32{h.mamba.DtMin, h.mamba.DtMax}, [2]float32{0.25, 2}}
		}},
		{"nemotron-h-moe", `{"n_shared_experts": 0}`, func(_ *dense, h *hybrid) any2 { return any2{h.moe.shared, 0} }},
		{"nemotron-h-moe", `{"moe_latent_size": null}`, func(_ *dense, h *hybrid) any2 { return any2{h.moe.latent, 0} }},
		{"nemotron-h-base", `{"intermediate_size": 48}`, func(_ *dense, h *hybrid) any2 { return any2{h.ffn[0], 48} }},
	} {
		f := decode(t, changed(t, c.golden, c.change))
		d, _ := f.(*dense)
		h, _ := f.(*hybrid)
		if v := c.look(d, h); !reflect.DeepEqual(v.got, v.want) {
			t.Errorf("%s with %s: got %v, want %v", c.golden, c.change, v.got, v.want)
		}
	}
}

// TestFaults changes one field and looks at the message and its class.
func TestFaults(t *testing.T) {
	const families = "llama, mistral, nemotron, nemotron-nas, nemotron_h, qwen2, qwen3"
	for _, c := range []struct {
		golden, change string
		class          error
		want           string // after "config.json: "
	}{
		{"llama-base", `{"model_type": "gpt2"}`, ErrUnsupported, `model_type is "gpt2", want one of ` + families},
		{"llama-base", `{"model_type": "absent", "architectures": ["GPT2LMHeadModel"]}`, ErrInvalid, `model_type is missing, want one of ` + families},
		{"llama-base", `{"model_type": 7}`, ErrInvalid, `model_type is 7, want a string`},
		{"llama-base", `{"architectures": {"a": 1}, "model_type": null}`, ErrInvalid, `architectures is {"a":1}, want a list of strings`},
		{"llama-base", `{"text_config": []}`, ErrInvalid, `text_config is [], want an object`},
		{"nemotron-h-llm-config", `{"quantization_config": {"quant_method": "modelopt"}}`, ErrUnsupported, `quantization_config.quant_method is "modelopt", want an unquantised checkpoint in BF16, F16 or F32`},
		{"llama-base", `{"quantization_config": {"quant_method": 4}}`, ErrInvalid, `quantization_config.quant_method is 4, want a string`},
		{"llama-base", `{"hidden_size": "absent"}`, ErrInvalid, `hidden_size is missing`},
		{"llama-base", `{"hidden_size": "32"}`, ErrInvalid, `hidden_size is "32", want a whole number from 1 to 134217728`},
		{"llama-base", `{"hidden_size": 32.5}`, ErrInvalid, `hidden_size is 32.5, want a whole number from 1 to 134217728`},
		{"llama-base", `{"hidden_size": 1099511627776}`, ErrInvalid, `hidden_size is 1099511627776, want a whole number from 1 to 134217728`},
		{"llama-base", `{"num_attention_heads": {"a": [1, 2]}}`, ErrInvalid, `num_attention_heads is {"a":[1,2]}, want a whole number from 1 to 134217728`},
		{"llama-base", `{"num_hidden_layers": 1000000000}`, ErrInvalid, `num_hidden_layers is 1000000000, want a whole number from 1 to 134217728`},
		{"llama-base", `{"num_hidden_layers": 100000}`, ErrInvalid, `num_hidden_layers is 100000, want at most 4096`},
		{"llama-base", `{"num_attention_heads": 3, "num_key_value_heads": 3}`, ErrInvalid, `head_dim is missing, and hidden_size 32 is no multiple of num_attention_heads 3`},
		{"llama-base", `{"num_key_value_heads": 3}`, ErrInvalid, `num_attention_heads is 4, want a multiple of num_key_value_heads 3`},
		{"llama-base", `{"head_dim": 65538}`, ErrInvalid, `head_dim is 65538, want at most 65536`},
		{"llama-base", `{"hidden_size": 134217728, "num_attention_heads": 1, "num_key_value_heads": 1}`, ErrInvalid, `head_dim is 134217728, want at most 65536`},
		{"llama-base", `{"head_dim": 8, "num_attention_heads": 134217728}`, ErrInvalid, `num_attention_heads × head_dim is 134217728 × 8, want a product of at most 134217728`},
		{"llama-base", `{"rms_norm_eps": -1e-5}`, ErrInvalid, `rms_norm_eps is -1e-5, want a number from 0 to 1`},
		{"llama-base", `{"rms_norm_eps": "NaN"}`, ErrInvalid, `rms_norm_eps is "NaN", want a number`},
		{"llama-base", `{"rms_norm_eps": {"__float__": "Infinity"}}`, ErrInvalid, `rms_norm_eps is {"__float__":"Infinity"}, want a number from 0 to 1`},
		{"llama-base", `{"attention_bias": "yes"}`, ErrInvalid, `attention_bias is "yes", want true or false`},
		{"llama-base", `{"hidden_act": ["silu"]}`, ErrInvalid, `hidden_act is ["silu"], want a string`},
		{"llama-base", `{"hidden_act": "tanh"}`, ErrUnsupported, `hidden_act is "tanh", want relu2, silu, gelu or gelu_pytorch_tanh`},
		{"llama-base", `{"eos_token_id": "</s>"}`, ErrInvalid, `eos_token_id is "</s>", want a token id or a list of token ids`},
		{"llama-base", `{"bos_token_id": 4294967296}`, ErrInvalid, `bos_token_id is 4294967296, want a token id or a list of token ids`},
		{"mistral-base", `{"sliding_window": 0}`, ErrInvalid, `sliding_window is 0, want a whole number from 1 to 134217728`},
		{"qwen2-base", `{"use_sliding_window": true, "layer_types": ["full_attention"]}`, ErrInvalid, `layer_types has 1 entries, num_hidden_layers is 2`},
		{"qwen2-base", `{"use_sliding_window": true, "layer_types": ["full_attention", "chunked_attention"]}`, ErrUnsupported, `layer_types[1] is "chunked_attention", want full_attention or sliding_attention`},

		{"llama-base", `{"partial_rotary_factor": 0.5}`, ErrUnsupported, `partial_rotary_factor rotates 4 of 8 columns, want all of them in this architecture`},
		{"qwen3-base", `{"rope_parameters": {"rope_theta": 10000, "partial_rotary_factor": 0}}`, ErrUnsupported, `partial_rotary_factor rotates 0 of 12 columns, want all of them in this architecture`},
		{"llama-base", `{"head_dim": 5}`, ErrInvalid, `head_dim 5 with partial_rotary_factor 1 rotates 5 columns, want an even number`},
		{"llama-base", `{"rope_theta": 0}`, ErrInvalid, `rope_theta is 0, want a number from 1 to 1e+30`},
		{"llama-base", `{"rope_scaling": "yarn"}`, ErrInvalid, `rope_scaling is "yarn", want an object`},
		{"llama-base", `{"rope_scaling": {"type": "longrope"}}`, ErrUnsupported, `rope_scaling.rope_type is "longrope", want default, linear, dynamic, llama3 or yarn`},
		{"llama-base", `{"rope_scaling": {"type": "linear"}}`, ErrInvalid, `rope_scaling.factor is missing`},
		{"llama-base", `{"rope_scaling": {"type": "linear", "factor": 0}}`, ErrInvalid, `rope_scaling.factor is 0, want a number from 1 to 1e+06`},
		{"llama-base", `{"rope_scaling": {"type": "dynamic", "factor": -2}}`, ErrInvalid, `rope_scaling.factor is -2, want a number from 1 to 1e+06`},
		{"llama-base", `{"rope_scaling": {"type": "dynamic", "factor": 2}, "head_dim": 2}`, ErrInvalid, `rope_scaling.rope_type is dynamic for 2 rotated columns, want more than 2`},
		{"llama-base", `{"rope_scaling": {"type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4}}`, ErrInvalid, `rope_scaling.original_max_position_embeddings is missing`},
		{"llama-rope-llama3", `{"rope_scaling": {"type": "llama3", "factor": 8, "original_max_position_embeddings": 64}}`, ErrInvalid, `rope_scaling.low_freq_factor is missing`},
		{"llama-base", `{"rope_scaling": {"type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4, "original_max_position_embeddings": 64}}`, ErrInvalid, `rope_scaling.high_freq_factor is 4, want more than low_freq_factor 4`},
		{"llama-base", `{"rope_scaling": {"type": "yarn", "factor": 4, "mscale": {"__float__": "Infinity"}}}`, ErrInvalid, `rope_scaling.mscale is {"__float__":"Infinity"}, want a number from 0 to 1000`},
		{"llama-base", `{"rope_scaling": {"type": "yarn", "factor": 4, "rope_theta": 1}}`, ErrInvalid, `rope_scaling.rope_type is yarn for rope_theta 1, want more than 1`},
		{"llama-base", `{"rope_parameters": {"full_attention": {"rope_type": "default"}}, "rope_scaling": null}`, ErrUnsupported, `rope_parameters.full_attention is {"rope_type":"default"}, want null`},

		{"nas-base", `{"block_configs": "absent"}`, ErrInvalid, `block_configs is missing`},
		{"nas-base", `{"block_configs": [{}]}`, ErrInvalid, `block_configs has 1 entries, num_hidden_layers is 3`},
		{"nas-base", `{"block_configs": 3}`, ErrInvalid, `block_configs is 3, want a list of objects`},
		{"nas-base", `{"num_hidden_layers": 1, "block_configs": [{}]}`, ErrInvalid, `block_configs[0].attention is missing`},
		{"nas-base", `{"num_hidden_layers": 1, "block_configs": [{"attention": {"no_op": true}}]}`, ErrInvalid, `block_configs[0].ffn is missing`},
		{"nas-base", `{"num_hidden_layers": 1, "block_configs": [{"attention": {"no_op": true}, "ffn": {}}]}`, ErrInvalid, `block_configs[0].ffn.ffn_mult is missing`},
		{"nas-base", `{"num_hidden_layers": 1, "block_configs": [{"attention": {"no_op": true}, "ffn": {"ffn_mult": 1e300}}]}`, ErrInvalid, `block_configs[0].ffn.ffn_mult is 1e300, want a number from 0 to 1000`},
		{"nas-base", `{"num_hidden_layers": 1, "hidden_size": 134217728, "head_dim": 8, "block_configs": [{"attention": {"no_op": true}, "ffn": {"ffn_mult": 9}}]}`, ErrInvalid, `block_configs[0].ffn.ffn_mult is 9, which makes the MLP 805306368 wide, want at most 134217728`},
		{"nas-base", `{"num_hidden_layers": 1, "block_configs": [{"attention": {}, "ffn": {"no_op": true}}]}`, ErrInvalid, `block_configs[0].attention.n_heads_in_group is missing`},
		{"nas-base", `{"num_hidden_layers": 1, "block_configs": [{"attention": {"n_heads_in_group": 3}, "ffn": {"no_op": true}}]}`, ErrInvalid, `block_configs[0].attention.n_heads_in_group is 3, want a divisor of num_attention_heads 4`},
		{"nas-base", `{"num_hidden_layers": 1, "block_configs": [{"attention": {"sparsify": [1]}, "ffn": {"no_op": true}}]}`, ErrUnsupported, `block_configs[0].attention.sparsify is [1], want null`},

		{"nemotron-h-moe", `{"hybrid_override_pattern": "MEX*E"}`, ErrUnsupported, `hybrid_override_pattern: layer 2 is "X", want M (mamba), * (attention), - (mlp) or E (moe)`},
		{"nemotron-h-moe", `{"hybrid_override_pattern": "MEM*"}`, ErrInvalid, `hybrid_override_pattern has 4 layers, num_hidden_layers is 5`},
		{"nemotron-h-moe", `{"hybrid_override_pattern": ""}`, ErrInvalid, `hybrid_override_pattern and layers_block_type are missing or empty`},
		{"nemotron-h-moe", `{"hybrid_override_pattern": "absent"}`, ErrInvalid, `hybrid_override_pattern and layers_block_type are missing or empty`},
		{"nemotron-h-moe", `{"hybrid_override_pattern": "` + strings.Repeat("M", 5000) + `"}`, ErrInvalid, `hybrid_override_pattern has 5000 layers, want at most 4096`},
		{"nemotron-h-moe", `{"layers_block_type": ["mamba", 3]}`, ErrInvalid, `layers_block_type is ["mamba",3], want a list of strings`},
		{"nemotron-h-moe", `{"mamba_hidden_act": "gelu"}`, ErrUnsupported, `mamba_hidden_act is "gelu", want silu`},
		{"nemotron-h-moe", `{"mlp_hidden_act": "relu"}`, ErrUnsupported, `mlp_hidden_act is "relu", want relu2, silu, gelu or gelu_pytorch_tanh`},
		{"nemotron-h-moe", `{"mamba_num_heads": 3}`, ErrInvalid, `mamba_num_heads is 3, want a multiple of n_groups 2`},
		{"nemotron-h-moe", `{"mamba_num_heads": 134217728}`, ErrInvalid, `mamba_num_heads × mamba_head_dim is 134217728 × 8, want a product of at most 134217728`},
		{"nemotron-h-moe", `{"ssm_state_size": 134217728}`, ErrInvalid, `n_groups × ssm_state_size is 2 × 134217728, want a product of at most 134217728`},
		{"nemotron-h-moe", `{"time_step_limit": [1, 0]}`, ErrInvalid, `time_step_limit is [1,0], want a pair of ascending numbers`},
		{"nemotron-h-moe", `{"time_step_limit": [0, "NaN"]}`, ErrInvalid, `time_step_limit is [0,"NaN"], want a pair of ascending numbers`},
		{"nemotron-h-moe", `{"num_experts_per_tok": 9}`, ErrInvalid, `num_experts_per_tok is 9, want at most the 8 experts that can be chosen`},
		{"nemotron-h-moe", `{"n_group": 3}`, ErrInvalid, `n_routed_experts is 8, want a multiple of n_group 3`},
		{"nemotron-h-moe", `{"topk_group": 2}`, ErrInvalid, `topk_group is 2, want at most n_group 1`},
		{"nemotron-h-moe", `{"n_group": 4, "topk_group": 1, "num_experts_per_tok": 3}`, ErrInvalid, `num_experts_per_tok is 3, want at most the 2 experts that can be chosen`},
		{"nemotron-h-moe", `{"n_routed_experts": 100000}`, ErrInvalid, `n_routed_experts is 100000, want at most 65536`},
		{"nemotron-h-moe", `{"routed_scaling_factor": 1e300}`, ErrInvalid, `routed_scaling_factor is 1e300, want a number from 0 to 1e+06`},
		{"nemotron-h-base", `{"intermediate_size": [8]}`, ErrInvalid, `intermediate_size has 1 entries for 3 MLP layers`},
		{"nemotron-h-base", `{"intermediate_size": [8, 0]}`, ErrInvalid, `intermediate_size is [8,0], want whole numbers from 1 to 134217728`},
		{"nemotron-h-base", `{"intermediate_size": [8, 8.5]}`, ErrInvalid, `intermediate_size is [8,8.5], want whole numbers from 1 to 134217728`},
		{"nemotron-h-moe", `{"hidden_size": {"long": "` + strings.Repeat("ä", 100) + `"}}`, ErrInvalid, `hidden_size is {"long":"` + strings.Repeat("ä", 24) + `..., want a whole number from 1 to 134217728`},
	} {
		_, err := Decode(changed(t, c.golden, c.change))
		if err == nil || err.Error() != "config.json: "+c.want || !errors.Is(err, c.class) {
			t.Errorf("%s with %.80s:\ngot  %v\nwant config.json: %s (%v)", c.golden, c.change, err, c.want, c.class)
		}
	}
}

// TestNotObject reads files that hold no JSON object.
func TestNotObject(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "got an empty file, want a JSON object in UTF-8",
		" \n":                              "got an empty file, want a JSON object in UTF-8",
		"null":                             "got null, want a JSON object",
		"[]":                               "got an array, want a JSON object",
		"7":                                "got a number, want a JSON object",
		`"config"`:                         "got a string, want a JSON object",
		"{\n\"a\": 1,\n\"b\" 2}":           "line 3: invalid character '2' after object key",
		"{\n\"a\": 1,\n\"b\":":             "the JSON ends too early; the file may be incomplete",
		"{\"a\": NaNo}":                    "line 1: invalid character 'o' after object key:value pair",
		"\xef\xbb\xbf{}":                   "got a byte order mark, want a JSON object in UTF-8",
		"\xff\xfe{\x00}\x00":               "got UTF-16, want a JSON object in UTF-8",
		"\xfe\xff\x00{\x00}":               "got UTF-16, want a JSON object in UTF-8",
		"{} {}":                            "line 1: invalid character '{' after top-level value",
		strings.Repeat(`{"a":`, 1_000_000): "line 1: invalid character '{' exceeded max depth",
	} {
		_, err := Decode([]byte(text))
		if err == nil || err.Error() != "config.json: "+want || !errors.Is(err, ErrInvalid) {
			t.Errorf("%.40q: got %v, want %s", text, err, want)
		}
	}
}

func TestQuoteConstants(t *testing.T) {
	for in, want := range map[string]string{
		`{"a": 1}`:                   `{"a": 1}`,
		`[NaN, Infinity,-Infinity]`:  `["NaN", "Infinity","-Infinity"]`,
		`{"Infinity": "NaN"}`:        `{"Infinity": "NaN"}`,
		`["\"NaN", NaN]`:             `["\"NaN", "NaN"]`,
		`["\\", NaN, "\\\"", "NaN"]`: `["\\", "NaN", "\\\"", "NaN"]`,
		`"NaN`:                       `"NaN`,
		`NaN "\`:                     `"NaN" "\`,
		`-NaN`:                       `-"NaN"`,
		`InfinityNaN`:                `"Infinity""NaN"`,
	} {
		if got := string(quoteConstants([]byte(in))); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

// TestFields reads values that are there twice, null, or of another kind.
func TestFields(t *testing.T) {
	f, err := parseFields("x.json", []byte(`{"one": 1, "two": 2.0, "null": null, "yes": true, "text": "a", "texts": ["a", "b"],
		"id": 3, "ids": [3, 4], "inf": -Infinity, "sub": {"one": 11}, "subs": [{"one": 12}, null], "big": 1e400}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ got, want any }{
		"first of two":       {f.integer(0, "two", "one"), 2},
		"null is absent":     {f.integer(0, "null", "one"), 1},
		"default":            {f.integer(7, "none", "null"), 7},
		"size":               {f.size("one"), 1},
		"boolean":            {f.boolean(false, "yes"), true},
		"text":               {f.text("", "text"), "a"},
		"list of one":        {f.texts("text"), []string{"a"}},
		"list":               {f.texts("texts"), []string{"a", "b"}},
		"no list":            {f.texts("none") == nil, true},
		"one id":             {f.ids("id"), []int32{3}},
		"ids":                {f.ids("ids"), []int32{3, 4}},
		"infinity":           {f.number(0, "inf"), math.Inf(-1)},
		"an object's field":  {f.sub("null", "sub").integer(0, "one"), 11},
		"no object":          {f.sub("none") == nil, true},
		"an object's path":   {f.sub("sub").path, "x.json: sub."},
		"a list of objects":  {f.subs("subs")[0].integer(0, "one"), 12},
		"null in a list":     {f.subs("subs")[1].integer(5, "one"), 5},
		"a place in a list":  {f.subs("subs")[1].path, "x.json: subs[1]."},
		"has":                {f.has("none", "one") && !f.has("null"), true},
		"no fault until now": {f.err == nil, true},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: got %v, want %v", name, c.got, c.want)
		}
	}
	f.number(0, "big")
	f.size("none")
	if want := "x.json: big is 1e400, want a number"; f.err == nil || f.err.Error() != want {
		t.Errorf("got %v, want the first fault: %s", f.err, want)
	}
}

func TestGenerationConfig(t *testing.T) {
	for text, want := range map[string]Generation{
		`{}`: {},
		`{"eos_token_id": null, "temperature": -1, "top_k": "many"}`: {},
		`{"eos_token_id": 2, "repetition_penalty": 1.5}`:             {EOS: []int32{2}, RepetitionPenalty: 1.5},
		`{"eos_token_id": [2, 11], "do_sample": true}`:               {EOS: []int32{2, 11}, Sample: true, Temperature: 1},
		`{"do_sample": true, "temperature": 0.6, "top_k": 50, "top_p": 0.95, "min_p": 0.1}`: {
			Sample: true, Temperature: 0.6, TopK: 50, TopP: 0.95, MinP: 0.1,
		},
	} {
		got, err := DecodeGeneration([]byte(text))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v and %v, want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		`[]`:                                       "got an array, want a JSON object",
		`{"eos_token_id": "</s>"}`:                 `eos_token_id is "</s>", want a token id or a list of token ids`,
		`{"do_sample": "yes"}`:                     `do_sample is "yes", want true or false`,
		`{"do_sample": true, "temperature": -1}`:   "temperature is -1, want a number from 0 to 100",
		`{"do_sample": true, "temperature": NaN}`:  `temperature is "NaN", want a number`,
		`{"do_sample": true, "top_k": 1.5}`:        "top_k is 1.5, want a whole number from 0 to 134217728",
		`{"do_sample": true, "top_p": 2}`:          "top_p is 2, want a number from 0 to 1",
		`{"do_sample": true, "min_p": {}}`:         "min_p is {}, want a number",
		`{"repetition_penalty": {"a": [1, 2, 3]}}`: `repetition_penalty is {"a":[1,2,3]}, want a number`,
	} {
		_, err := DecodeGeneration([]byte(text))
		if err == nil || err.Error() != "generation_config.json: "+want || !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v, want generation_config.json: %s", text, err, want)
		}
	}
}
