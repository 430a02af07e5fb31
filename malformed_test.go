package godwit

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godwit-llm/godwit/internal/safetensors"
)

// broken is a copy of a golden checkpoint, to be broken.
type broken struct {
	t   testing.TB
	dir string
}

func copyGolden(t testing.TB, name string) broken {
	t.Helper()
	b := broken{t, t.TempDir()}
	if err := os.CopyFS(b.dir, os.DirFS(filepath.Join("testdata", "goldens", name))); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b broken) read(name string) []byte {
	b.t.Helper()
	data, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil {
		b.t.Fatal(err)
	}
	return data
}

func (b broken) write(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b broken) remove(name string) {
	b.t.Helper()
	if err := os.Remove(filepath.Join(b.dir, name)); err != nil {
		b.t.Fatal(err)
	}
}

func (b broken) rename(from, to string) {
	b.t.Helper()
	if err := os.Rename(filepath.Join(b.dir, from), filepath.Join(b.dir, to)); err != nil {
		b.t.Fatal(err)
	}
}

// replace puts one text in the place of another.
func (b broken) replace(name, old, text string) {
	b.t.Helper()
	before := string(b.read(name))
	if !strings.Contains(before, old) {
		b.t.Fatalf("%s does not contain %s", name, old)
	}
	b.write(name, strings.ReplaceAll(before, old, text))
}

// cut keeps the first n bytes of a file, or all but -n.
func (b broken) cut(name string, n int) {
	b.t.Helper()
	data := b.read(name)
	if n < 0 {
		n += len(data)
	}
	b.write(name, string(data[:n]))
}

// set changes fields of config.json.
func (b broken) set(fields string) {
	b.t.Helper()
	var config, over map[string]json.RawMessage
	old := bytes.ReplaceAll(b.read("config.json"), []byte("Infinity"), []byte(`"Infinity"`))
	if err := errors.Join(json.Unmarshal(old, &config), json.Unmarshal([]byte(fields), &over)); err != nil {
		b.t.Fatal(err)
	}
	for name, v := range over {
		config[name] = v
	}
	data, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		b.t.Fatal(err)
	}
	b.write("config.json", string(data))
}

// tensors writes model.safetensors again, with what edit makes of its tensors.
func (b broken) tensors(edit func([]safetensors.Tensor) []safetensors.Tensor) {
	b.t.Helper()
	old, err := safetensors.Parse("model.safetensors", b.read("model.safetensors"))
	if err != nil {
		b.t.Fatal(err)
	}
	var out bytes.Buffer
	if err := safetensors.Write(&out, edit(slices.Clone(old.Tensors())), nil); err != nil {
		b.t.Fatal(err)
	}
	b.write("model.safetensors", out.String())
}

func (b broken) drop(name string) {
	b.tensors(func(list []safetensors.Tensor) []safetensors.Tensor {
		return slices.DeleteFunc(list, func(t safetensors.Tensor) bool { return t.Name == name })
	})
}

// put adds a tensor of zeros, or puts it in another's place.
func (b broken) put(name string, d safetensors.DType, shape ...int) {
	size := d.Size()
	for _, n := range shape {
		size *= n
	}
	b.drop(name)
	b.tensors(func(list []safetensors.Tensor) []safetensors.Tensor {
		return append(list, safetensors.NewTensor(name, d, shape, make([]byte, size)))
	})
}

// template makes the checkpoint one with a chat template.
func (b broken) template(source string) {
	text, err := json.Marshal(source)
	if err != nil {
		b.t.Fatal(err)
	}
	b.write("tokenizer_config.json", `{"chat_template": `+string(text)+`}`)
}

// tokenizer writes a small tokenizer.json whose model is given.
func (b broken) tokenizer(model string) {
	b.write("tokenizer.json", `{"version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null, "model": `+model+`}`)
}

const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 18100000\n"

// malformed is a checkpoint that Open refuses. The text of the error is given
// without "open DIR: ", and with DIR for the folder's path.
type malformed struct {
	name   string
	golden string
	change func(b broken)
	class  error
	want   string
}

const (
	llama = "llama-base"
	moe   = "nemotron-h-moe"
)

func set(fields string) func(broken) { return func(b broken) { b.set(fields) } }

func write(name, text string) func(broken) { return func(b broken) { b.write(name, text) } }

func remove(name string) func(broken) { return func(b broken) { b.remove(name) } }

var malformedConfigs = []malformed{
	{"no config.json", llama, remove("config.json"), ErrNotFound, `config.json is missing; want the folder that holds config.json and the safetensors files`},
	{"config.json is null", llama, write("config.json", "null"), ErrInvalid, `config.json: got null, want a JSON object`},
	{"config.json is a list", llama, write("config.json", "[]"), ErrInvalid, `config.json: got an array, want a JSON object`},
	{"config.json is empty", llama, write("config.json", ""), ErrInvalid, `config.json: got an empty file, want a JSON object in UTF-8`},
	{"config.json is cut short", llama, func(b broken) { b.cut("config.json", 100) }, ErrInvalid, `config.json: the JSON ends too early; the file may be incomplete`},
	{"a comma too many", llama, func(b broken) { b.replace("config.json", `"bos_token_id": 1,`, `"bos_token_id": 1,,`) }, ErrInvalid, `config.json: line 7: invalid character ',' looking for beginning of object key string`},
	{"a byte order mark", llama, func(b broken) { b.write("config.json", "\xef\xbb\xbf"+string(b.read("config.json"))) }, ErrInvalid, `config.json: got a byte order mark, want a JSON object in UTF-8`},
	{"UTF-16", llama, write("config.json", "\xff\xfe{\x00}\x00"), ErrInvalid, `config.json: got UTF-16, want a JSON object in UTF-8`},
	{"nested deeply", llama, write("config.json", strings.Repeat(`{"a":`, 1<<20)), ErrInvalid, `config.json: line 1: invalid character '{' exceeded max depth`},
	{"a pointer of Git LFS", llama, write("config.json", pointer), ErrInvalid, `config.json is a Git LFS pointer, not the data; fetch it with git lfs pull`},
	{"unknown architecture", llama, set(`{"model_type": "gpt2"}`), ErrUnsupported, `config.json: model_type is "gpt2", want one of llama, mistral, nemotron, nemotron-nas, nemotron_h, qwen2, qwen3`},
	{"no architecture", llama, set(`{"model_type": null, "architectures": null}`), ErrInvalid, `config.json: model_type is missing, want one of llama, mistral, nemotron, nemotron-nas, nemotron_h, qwen2, qwen3`},
	{"unknown activation", llama, set(`{"hidden_act": "tanh"}`), ErrUnsupported, `config.json: hidden_act is "tanh", want relu2, silu, gelu or gelu_pytorch_tanh`},
	{"unknown scaling", llama, set(`{"rope_scaling": {"rope_type": "longrope", "factor": 2}}`), ErrUnsupported, `config.json: rope_scaling.rope_type is "longrope", want default, linear, dynamic, llama3 or yarn`},
	{"quantised", llama, set(`{"quantization_config": {"quant_method": "gptq", "bits": 4}}`), ErrUnsupported, `config.json: quantization_config.quant_method is "gptq", want an unquantised checkpoint in BF16, F16 or F32`},
	{"unknown kind of layer", moe, set(`{"hybrid_override_pattern": "MEX*E"}`), ErrUnsupported, `config.json: hybrid_override_pattern: layer 2 is "X", want M (mamba), * (attention), - (mlp) or E (moe)`},
	{"unknown word for a layer", moe, set(`{"layers_block_type": ["mamba", "moe", "mamba", "ssm", "moe"]}`), ErrUnsupported, `config.json: layers_block_type: layer 3 is "ssm", want M (mamba), * (attention), - (mlp) or E (moe)`},
	{"a string for a number", llama, set(`{"num_hidden_layers": "3"}`), ErrInvalid, `config.json: num_hidden_layers is "3", want a whole number from 1 to 134217728`},
	{"a negative size", llama, set(`{"hidden_size": -32}`), ErrInvalid, `config.json: hidden_size is -32, want a whole number from 1 to 134217728`},
	{"a fraction of a head", llama, set(`{"num_attention_heads": 4.5}`), ErrInvalid, `config.json: num_attention_heads is 4.5, want a whole number from 1 to 134217728`},
	{"1e300", llama, set(`{"intermediate_size": 1e300}`), ErrInvalid, `config.json: intermediate_size is 1e300, want a whole number from 1 to 134217728`},
	{"2^62", llama, set(`{"vocab_size": 4611686018427387904}`), ErrInvalid, `config.json: vocab_size is 4611686018427387904, want a whole number from 1 to 134217728`},
	{"2^40", llama, set(`{"hidden_size": 1099511627776}`), ErrInvalid, `config.json: hidden_size is 1099511627776, want a whole number from 1 to 134217728`},
	{"an object for a number", llama, set(`{"vocab_size": {"size": 96}}`), ErrInvalid, `config.json: vocab_size is {"size":96}, want a whole number from 1 to 134217728`},
	{"no size", llama, set(`{"hidden_size": null}`), ErrInvalid, `config.json: hidden_size is missing`},
	{"no layers", llama, set(`{"num_hidden_layers": 0}`), ErrInvalid, `config.json: num_hidden_layers is 0, want a whole number from 1 to 134217728`},
	{"no heads", llama, set(`{"num_attention_heads": 0}`), ErrInvalid, `config.json: num_attention_heads is 0, want a whole number from 1 to 134217728`},
	{"a billion layers", llama, set(`{"num_hidden_layers": 1000000000}`), ErrInvalid, `config.json: num_hidden_layers is 1000000000, want a whole number from 1 to 134217728`},
	{"all sizes at their most", llama, set(`{"num_hidden_layers": 4096, "hidden_size": 134217728, "intermediate_size": 134217728, "vocab_size": 134217728, "head_dim": 65536, "num_attention_heads": 2048, "num_key_value_heads": 2048, "max_position_embeddings": 134217728}`), ErrInvalid, `model.safetensors: tensor model.embed_tokens.weight is F32[96, 32], want shape [134217728, 134217728]`},
	{"all experts at their most", moe, set(`{"num_hidden_layers": 4096, "hybrid_override_pattern": "` + strings.Repeat("E", 4096) + `", "n_routed_experts": 65536, "num_experts_per_tok": 65536}`), ErrInvalid, `tensor backbone.layers.0.mixer.gate.weight is missing from the checkpoint, want shape [65536, 32]`},
	{"heads that do not divide the size", llama, set(`{"num_attention_heads": 3, "num_key_value_heads": 3}`), ErrInvalid, `config.json: head_dim is missing, and hidden_size 32 is no multiple of num_attention_heads 3`},
	{"heads that do not divide the heads", llama, set(`{"num_key_value_heads": 3}`), ErrInvalid, `config.json: num_attention_heads is 4, want a multiple of num_key_value_heads 3`},
	{"a pattern that is too short", moe, set(`{"hybrid_override_pattern": "MEM*"}`), ErrInvalid, `config.json: hybrid_override_pattern has 4 layers, num_hidden_layers is 5`},
	{"more experts chosen than there are", moe, set(`{"num_experts_per_tok": 9}`), ErrInvalid, `config.json: num_experts_per_tok is 9, want at most the 8 experts that can be chosen`},
	{"groups that do not divide the experts", moe, set(`{"n_group": 3}`), ErrInvalid, `config.json: n_routed_experts is 8, want a multiple of n_group 3`},
	{"heads that do not divide into groups", moe, set(`{"n_groups": 3}`), ErrInvalid, `config.json: mamba_num_heads is 4, want a multiple of n_groups 3`},
	{"an odd rotation", llama, set(`{"partial_rotary_factor": 0.4}`), ErrInvalid, `config.json: head_dim 8 with partial_rotary_factor 0.4 rotates 3 columns, want an even number`},
	{"a rotation of more than all", llama, set(`{"partial_rotary_factor": 1.5}`), ErrInvalid, `config.json: partial_rotary_factor is 1.5, want a number from 0 to 1`},
	{"a window of nothing", "mistral-base", set(`{"sliding_window": 0}`), ErrInvalid, `config.json: sliding_window is 0, want a whole number from 1 to 134217728`},
	{"eos as text", llama, set(`{"eos_token_id": "end"}`), ErrInvalid, `config.json: eos_token_id is "end", want a token id or a list of token ids`},
	{"no scaling factor", llama, set(`{"rope_scaling": {"rope_type": "linear"}}`), ErrInvalid, `config.json: rope_scaling.factor is missing`},
	{"a scaling factor of 0", llama, set(`{"rope_scaling": {"rope_type": "yarn", "factor": 0}}`), ErrInvalid, `config.json: rope_scaling.factor is 0, want a number from 1 to 1e+06`},
	{"a negative scaling factor", llama, set(`{"rope_scaling": {"type": "dynamic", "factor": -4}}`), ErrInvalid, `config.json: rope_scaling.factor is -4, want a number from 1 to 1e+06`},
	{"low frequencies above high ones", "llama-rope-llama3", set(`{"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 5, "high_freq_factor": 4, "original_max_position_embeddings": 64}}`), ErrInvalid, `config.json: rope_scaling.high_freq_factor is 4, want more than low_freq_factor 5`},
	{"a searched model with a layer too few", "nas-base", set(`{"num_hidden_layers": 4}`), ErrInvalid, `config.json: block_configs has 3 entries, num_hidden_layers is 4`},
	{"a searched model without blocks", "nas-base", set(`{"block_configs": null}`), ErrInvalid, `config.json: block_configs is missing`},
	{"limits upside down", moe, set(`{"time_step_limit": [1, 0]}`), ErrInvalid, `config.json: time_step_limit is [1,0], want a pair of ascending numbers`},
	{"another vocabulary than the weights", llama, set(`{"vocab_size": 97}`), ErrInvalid, `model.safetensors: tensor model.embed_tokens.weight is F32[96, 32], want shape [97, 32]`},
	{"a layer more than the weights", llama, set(`{"num_hidden_layers": 4}`), ErrInvalid, `tensor model.layers.3.self_attn.q_proj.weight is missing from the checkpoint, want shape [32, 32]`},
	{"a layer less than the weights", llama, set(`{"num_hidden_layers": 2}`), ErrInvalid, `config.json describes a model without these tensors of the checkpoint, 9 in all: model.layers.2.input_layernorm.weight, model.layers.2.mlp.down_proj.weight, model.layers.2.mlp.gate_proj.weight, model.layers.2.mlp.up_proj.weight, model.layers.2.post_attention_layernorm.weight and 4 more`},
	{"biases that the weights lack", llama, set(`{"attention_bias": true}`), ErrInvalid, `tensor model.layers.0.self_attn.q_proj.bias is missing from the checkpoint, want shape [32]`},
}

var malformedWeights = []malformed{
	{"no weights", llama, remove("model.safetensors"), ErrNotFound, `safetensors: DIR: holds no safetensors file`},
	{"weights of PyTorch alone", llama, func(b broken) { b.rename("model.safetensors", "pytorch_model.bin") }, ErrNotFound, `safetensors: DIR: holds pytorch_model.bin but no safetensors file; convert it first with 'godwit convert'`},
	{"weights as a pointer", llama, write("model.safetensors", pointer), ErrInvalid, `safetensors: model.safetensors: this is a Git LFS pointer, not the data; fetch it with git lfs pull`},
	{"empty weights", llama, write("model.safetensors", ""), ErrInvalid, `safetensors: model.safetensors: the file has 0 bytes, want at least 8; the download may be incomplete`},
	{"weights cut in the header", llama, func(b broken) { b.cut("model.safetensors", 100) }, ErrInvalid, `safetensors: model.safetensors: the header ends at byte 3008, the file has 100: 2908 bytes are missing; the download may be incomplete`},
	{"weights cut in the data", llama, func(b broken) { b.cut("model.safetensors", -7) }, ErrInvalid, `safetensors: model.safetensors: the tensors end at byte 102208, the file has 102201: 7 bytes are missing; the download may be incomplete`},
	{"something behind the data", llama, func(b broken) { b.write("model.safetensors", string(b.read("model.safetensors"))+"more") }, ErrInvalid, `safetensors: model.safetensors: the tensors end at byte 102208, the file has 102212: 4 bytes belong to no tensor`},
	{"a header of 2^40 bytes", llama, write("model.safetensors", "\x00\x00\x00\x00\x00\x01\x00\x00{}"), ErrInvalid, `safetensors: model.safetensors: the header's length is given as 1099511627776 bytes, want at most 100000000; this is no safetensors file`},
	{"a header that is no JSON", llama, write("model.safetensors", "\x05\x00\x00\x00\x00\x00\x00\x00{\"a\":"), ErrInvalid, `safetensors: model.safetensors: tensor "a": JSON byte 5: want "{", got the end`},
	{"overlapping tensors", llama, write("model.safetensors", header(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}`, 12)), ErrInvalid, `safetensors: model.safetensors: tensor "b": begins at byte 4 of the data, overlaps tensor "a" by 4 bytes`},
	{"a shape that its bytes do not hold", llama, write("model.safetensors", header(`{"a":{"dtype":"F32","shape":[1099511627776,1099511627776],"data_offsets":[0,8]}}`, 8)), ErrInvalid, `safetensors: model.safetensors: tensor "a": shape of F32[1099511627776, 1099511627776] overflows`},
	{"a tensor of no known type", llama, write("model.safetensors", header(`{"a":{"dtype":"INT4","shape":[2],"data_offsets":[0,1]}}`, 1)), ErrInvalid, `safetensors: model.safetensors: tensor "a": unknown dtype "INT4"`},
	{"a tensor missing", llama, func(b broken) { b.drop("model.layers.1.mlp.up_proj.weight") }, ErrInvalid, `tensor model.layers.1.mlp.up_proj.weight is missing from the checkpoint, want shape [32, 32]`},
	{"an expert missing", moe, func(b broken) { b.drop("backbone.layers.4.mixer.experts.7.down_proj.weight") }, ErrInvalid, `tensor backbone.layers.4.mixer.experts.7.down_proj.weight is missing from the checkpoint, want shape [32, 24]`},
	{"a tensor too many", llama, func(b broken) { b.put("model.layers.1.mlp.more", safetensors.F32, 4) }, ErrInvalid, `config.json describes a model without these tensors of the checkpoint, 1 in all: model.layers.1.mlp.more`},
	{"a tensor of another shape", llama, func(b broken) { b.put("model.norm.weight", safetensors.F32, 33) }, ErrInvalid, `model.safetensors: tensor model.norm.weight is F32[33], want shape [32]`},
	{"a tensor turned over", llama, func(b broken) { b.put("lm_head.weight", safetensors.F32, 32, 96) }, ErrInvalid, `model.safetensors: tensor lm_head.weight is F32[32, 96], want shape [96, 32]`},
	{"a tensor of no elements", llama, func(b broken) { b.put("model.norm.weight", safetensors.F32, 0) }, ErrInvalid, `model.safetensors: tensor model.norm.weight is F32[0], want shape [32]`},
	{"FP8", llama, func(b broken) { b.put("model.layers.0.mlp.up_proj.weight", safetensors.F8_E4M3, 32, 32) }, ErrUnsupported, `model.safetensors: tensor model.layers.0.mlp.up_proj.weight is F8_E4M3[32, 32], want BF16, F16 or F32 of shape [32, 32]; quantised checkpoints are not supported`},
	{"four bits in bytes", llama, func(b broken) { b.put("model.layers.0.mlp.up_proj.weight", safetensors.U8, 32, 16) }, ErrUnsupported, `model.safetensors: tensor model.layers.0.mlp.up_proj.weight is U8[32, 16], want BF16, F16 or F32 of shape [32, 32]; quantised checkpoints are not supported`},
	{"weights of integers", llama, func(b broken) { b.put("model.layers.0.mlp.up_proj.weight", safetensors.I32, 32, 32) }, ErrUnsupported, `model.safetensors: tensor model.layers.0.mlp.up_proj.weight is I32[32, 32], want BF16, F16 or F32 of shape [32, 32]`},
	{"a norm in F64", llama, func(b broken) { b.put("model.norm.weight", safetensors.F64, 32) }, ErrUnsupported, `model.safetensors: tensor model.norm.weight is F64[32], want BF16, F16 or F32 of shape [32]`},
	{"a shard missing", "llama-shards", remove("model-00002-of-00002.safetensors"), ErrNotFound, `safetensors: DIR: model-00002-of-00002.safetensors is missing; 1 of 2 shards are there`},
	{"a shard of the index missing", "llama-indexed", remove("model-00002-of-00002.safetensors"), ErrNotFound, `safetensors: model.safetensors.index.json: the shard model-00002-of-00002.safetensors is missing`},
	{"an index that is no JSON", "llama-indexed", write("model.safetensors.index.json", "{"), ErrInvalid, `safetensors: model.safetensors.index.json: JSON byte 1: want a string, got the end`},
	{"an index without a map", "llama-indexed", write("model.safetensors.index.json", "{}"), ErrInvalid, `safetensors: model.safetensors.index.json: no weight_map`},
	{"an index with another's tensor", "llama-indexed", func(b broken) {
		b.replace("model.safetensors.index.json", `"weight_map": {`, `"weight_map": {"more": "model-00001-of-00002.safetensors",`)
	}, ErrInvalid, `safetensors: model-00001-of-00002.safetensors: holds no tensor "more", which model.safetensors.index.json places there`},
	{"an index that leads out of the folder", "llama-indexed", write("model.safetensors.index.json", `{"weight_map": {"a": "../../etc/passwd"}}`), ErrInvalid, `safetensors: model.safetensors.index.json: weight_map: tensor "a": shard name "../../etc/passwd" is not a path inside the checkpoint`},
	{"the same tensor in two shards", "llama-shards", func(b broken) {
		b.write("model-00002-of-00002.safetensors", string(b.read("model-00001-of-00002.safetensors")))
	}, ErrInvalid, `safetensors: model-00002-of-00002.safetensors: tensor "lm_head.weight": duplicate tensor name, also in model-00001-of-00002.safetensors`},
}

var malformedTexts = []malformed{
	{"a tokenizer that is a pointer", llama, write("tokenizer.json", pointer), ErrInvalid, `tokenizer.json is a Git LFS pointer, not the data; fetch it with git lfs pull`},
	{"an empty tokenizer", llama, write("tokenizer.json", ""), ErrInvalid, `tokenizer.json: got the end of the file, want an object`},
	{"a tokenizer that is a list", llama, write("tokenizer.json", "[]"), ErrInvalid, `tokenizer.json: got an array, want an object`},
	{"a tokenizer without a model", llama, write("tokenizer.json", `{"version": "1.0"}`), ErrInvalid, `tokenizer.json: model is missing, want an object`},
	{"a tokenizer nested deeply", llama, write("tokenizer.json", `{"decoder":`+strings.Repeat(`{"a":`, 1<<20)), ErrInvalid, `tokenizer.json: decoder.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a: nested deeper than 64`},
	{"a tokenizer of an unknown model", llama, func(b broken) { b.tokenizer(`{"type": "WordPiece", "vocab": {"a": 0}}`) }, ErrInvalid, `tokenizer.json: model: type "WordPiece" is not known to us, want BPE or Unigram`},
	{"a token's id as text", llama, func(b broken) { b.tokenizer(`{"type": "BPE", "vocab": {"a": "0"}, "merges": []}`) }, ErrInvalid, `tokenizer.json: model.vocab.a: got a string, want a number`},
	{"a token's id of 2^40", llama, func(b broken) { b.tokenizer(`{"type": "BPE", "vocab": {"a": 1099511627776}, "merges": []}`) }, ErrInvalid, `tokenizer.json: model.vocab.a: got 1099511627776, want a token id from 0 to 1048575`},
	{"a merge of unknown tokens", llama, func(b broken) { b.tokenizer(`{"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}`) }, ErrInvalid, `tokenizer.json: model.merges[0]: the token "b" is not in model.vocab`},
	{"a template with a fault", llama, func(b broken) { b.template("{{ bos_token }}\n{% for m in messages %}\n{% if %}") }, ErrInvalid, `chat: tokenizer_config.json: chat_template: jinja: line 3: expected an expression, got %}`},
	{"a template that does not end", llama, write("chat_template.jinja", "{% for m in messages %}"), ErrInvalid, `chat: chat_template.jinja: jinja: line 1: expected {% else %} or {% endfor %}, got end of template ({% for %} of line 1 is open)`},
	{"a template that is a number", llama, write("tokenizer_config.json", `{"chat_template": 7}`), ErrInvalid, `chat: tokenizer_config.json: chat_template: neither a string nor a list`},
	{"a tokenizer_config.json that is cut short", llama, write("tokenizer_config.json", `{"chat_template": "`), ErrInvalid, `chat: tokenizer_config.json: jinja: JSON at offset 19: string does not end`},
	{"a template that is a pointer", llama, write("chat_template.jinja", pointer), ErrInvalid, `chat_template.jinja is a Git LFS pointer, not the data; fetch it with git lfs pull`},
	{"a generation_config.json that is a list", llama, write("generation_config.json", "[]"), ErrInvalid, `generation_config.json: got an array, want a JSON object`},
	{"a generation_config.json with a fault", llama, write("generation_config.json", "{\n  \"do_sample\": true\n  \"top_p\": 1\n}"), ErrInvalid, `generation_config.json: line 3: invalid character '"' after object key:value pair`},
	{"a negative temperature", llama, write("generation_config.json", `{"do_sample": true, "temperature": -1}`), ErrInvalid, `generation_config.json: temperature is -1, want a number from 0 to 100`},
	{"a temperature in words", llama, write("generation_config.json", `{"do_sample": true, "temperature": "hot"}`), ErrInvalid, `generation_config.json: temperature is "hot", want a number`},
	{"a fraction of a token", llama, write("generation_config.json", `{"do_sample": true, "top_k": 1.5}`), ErrInvalid, `generation_config.json: top_k is 1.5, want a whole number from 0 to 134217728`},
	{"a share of more than all", llama, write("generation_config.json", `{"do_sample": true, "top_p": 1.01}`), ErrInvalid, `generation_config.json: top_p is 1.01, want a number from 0 to 1`},
	{"end-of-text ids in words", llama, write("generation_config.json", `{"eos_token_id": ["a"]}`), ErrInvalid, `generation_config.json: eos_token_id is ["a"], want a token id or a list of token ids`},
}

var refusedOptions = []struct {
	name   string
	golden string
	opts   Options
	class  error
	want   string
}{
	{"hardly any memory", llama, Options{Device: "cpu", Memory: 1e-12}, ErrOutOfMemory, `not enough memory: besides the weights SIZE are needed (constants SIZE, step SIZE, state of 16 sequences SIZE, kept states SIZE, cache from SIZE), and SIZE of the SIZE free in the main memory may be used; fewer sequences or a larger share would help`},
	{"hardly any memory and no cache", "nemotron-h-mamba-only", Options{Memory: 1e-12}, ErrOutOfMemory, `not enough memory: besides the weights SIZE are needed (constants SIZE, step SIZE, state of 16 sequences SIZE, kept states SIZE, cache from SIZE), and SIZE of the SIZE free in the main memory may be used; fewer sequences or a larger share would help`},
	{"a context that does not fit", llama, Options{Device: "cpu", Context: 1 << 27, Memory: 0.01}, ErrOutOfMemory, `not enough memory: a context of 134217728 tokens needs a cache of SIZE, and of the SIZE free in the main memory SIZE are left for it; a shorter context or a larger share would help`},
	{"more memory than there is", llama, Options{Device: "cpu", Memory: 1.5}, ErrRequest, `the share of the memory is 1.5, want 0 to 1`},
	{"a negative context", llama, Options{Context: -1}, ErrRequest, `the context is -1, want 0 to 134217728`},
	{"a context of 2^40", llama, Options{Context: 1 << 40}, ErrRequest, `the context is 1099511627776, want 0 to 134217728`},
	{"a million sequences", llama, Options{MaxSequences: 1e6}, ErrRequest, `the number of sequences is 1000000, want 0 to 65536`},
	{"an unknown device", llama, Options{Device: "tpu"}, ErrRequest, `device "tpu", want auto, cpu, cuda or cuda:N`},
	{"a device that is not a number", llama, Options{Device: "cuda:x"}, ErrRequest, `device "cuda:x", want auto, cpu, cuda or cuda:N`},
	{"an unknown way to speculate", llama, Options{Device: "cpu", Speculation: "yes"}, ErrRequest, `speculation is "yes", want auto or off`},
}

// header makes a safetensors file with n bytes of data.
func header(text string, n int) string {
	return string([]byte{byte(len(text)), byte(len(text) >> 8), 0, 0, 0, 0, 0, 0}) + text + strings.Repeat("\x00", n)
}

func TestMalformedConfigs(t *testing.T) { openMalformed(t, malformedConfigs) }

// TestInspectMalformed shows that Inspect finds what Open finds.
func TestInspectMalformed(t *testing.T) {
	for _, c := range slices.Concat(malformedConfigs, malformedWeights) {
		b := copyGolden(t, c.golden)
		c.change(b)
		if _, err := Inspect(b.dir, InspectOptions{}); !errors.Is(err, c.class) || anywhere(err, b.dir) != "open DIR: "+c.want {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
}

func TestMalformedWeights(t *testing.T) { openMalformed(t, malformedWeights) }

func TestMalformedTexts(t *testing.T) { openMalformed(t, malformedTexts) }

func TestRefusedOptions(t *testing.T) {
	for _, c := range refusedOptions {
		t.Run(c.name, func(t *testing.T) { refused(t, copyGolden(t, c.golden), c.opts, c.class, c.want) })
	}
}

func openMalformed(t *testing.T, cases []malformed) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := copyGolden(t, c.golden)
			c.change(b)
			refused(t, b, Options{}, c.class, c.want)
		})
	}
}

// refused opens a checkpoint: the error has its class and its text, and takes
// neither long nor much memory.
func refused(t *testing.T, b broken, opts Options, class error, want string) {
	t.Helper()
	const longest, most = 10 * time.Second, 64 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := openWithin(t, b.dir, opts, longest)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > most {
		t.Errorf("allocated %d bytes, want at most %d", n, most)
	}
	if !errors.Is(err, class) {
		t.Fatalf("got %v, want %v", err, class)
	}
	if got := anywhere(err, b.dir); got != "open DIR: "+want {
		t.Errorf("\ngot  %s\nwant open DIR: %s", got, want)
	}
}

var sizes = regexp.MustCompile(`\d[\d.]* [kMG]?B\b`)

// anywhere returns an error's text without what differs between machines: the
// folder's path and amounts of memory.
func anywhere(err error, dir string) string {
	slashed := filepath.ToSlash(dir)
	text := strings.ReplaceAll(strings.ReplaceAll(err.Error(), dir, slashed), slashed, "DIR")
	return sizes.ReplaceAllString(text, "SIZE")
}

// openWithin opens and closes a checkpoint.
func openWithin(t *testing.T, dir string, opts Options, longest time.Duration) error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		m, err := Open(dir, opts)
		if err == nil {
			err = m.Close()
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(longest):
		t.Fatalf("still opening after %v", longest)
		return nil
	}
}

// open opens a checkpoint that is odd but sound, and collects its warnings.
func (b broken) open(opts Options) (*Model, []string) {
	b.t.Helper()
	var warnings []string
	opts.OnEvent = func(e Event) {
		if e.Kind == Warning {
			warnings = append(warnings, e.Message)
		}
	}
	m, err := Open(b.dir, opts)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { m.Close() })
	return m, warnings
}

// TestTokenizerWithOtherVocabulary opens checkpoints whose tokenizer has more
// ids than the model, or less.
func TestTokenizerWithOtherVocabulary(t *testing.T) {
	b := copyGolden(t, llama)
	b.tokenizer(`{"type": "BPE", "vocab": {"a": 0, "b": 95, "c": 96, "d": 100}, "merges": []}`)
	m, warnings := b.open(Options{})
	if want := []string{"tokenizer.json has ids up to 100, vocab_size is 96: the model does not know the others"}; !slices.Equal(warnings, want) {
		t.Errorf("got warnings %q, want %q", warnings, want)
	}
	for prompt, want := range map[string]string{
		"ab":  "",
		"abc": "engine: invalid request: token 2 of the prompt is 96, want an id from 0 to 95",
		"d":   "engine: invalid request: token 0 of the prompt is 100, want an id from 0 to 95",
	} {
		r, err := m.Generate(t.Context(), Request{Prompt: prompt, MaxTokens: 20, IgnoreEOS: true})
		switch {
		case want == "" && (err != nil || len(r.IDs) != 20):
			t.Errorf("%q: got %v, want 20 ids, most of them without a text", prompt, err)
		case want != "" && (!errors.Is(err, ErrRequest) || err.Error() != want):
			t.Errorf("%q: got %v, want %s", prompt, err, want)
		}
	}
	if _, err := m.Score(t.Context(), []int32{0, -1}, 0); !errors.Is(err, ErrRequest) {
		t.Errorf("got %v, want ErrRequest for a negative id", err)
	}
	if text, err := m.Decode([]int32{0, 5, -1, 1 << 30, 95}); err != nil || text != "a b" {
		t.Errorf("got %q and %v, want the text of the known ids", text, err)
	}
}

// TestTemplatesThatFail renders conversations with templates that parse and do
// not come to an end.
func TestTemplatesThatFail(t *testing.T) {
	for source, want := range map[string]string{
		"{{ '' }}\n{{ raise_exception('roles must alternate') }}":                                     "line 2: template raised: roles must alternate",
		"{% for m in messages %}\n{{ m.content.parts[0] }}{% endfor %}":                               "line 2: 'str object' has no attribute 'parts'",
		"{{ unknown_function() }}":                                                                    "line 1: 'unknown_function' is undefined",
		"{% for i in range(1000000000) %}x{% endfor %}":                                               "line 1: range is longer than 100000",
		"{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}":                                          "line 1: calls and expressions are nested deeper than 4000",
		"{% set n = namespace(s='x') %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}": "line 1: template made a value of more than 33554432 bytes",
	} {
		b := copyGolden(t, llama)
		b.template(source)
		m, _ := b.open(Options{})
		start := time.Now()
		_, err := m.Render(Request{Messages: []Message{{Role: "user", Content: "hello"}}})
		if err == nil || err.Error() != "render: chat: jinja: "+want || !errors.Is(err, ErrRequest) {
			t.Errorf("%s:\ngot  %v\nwant %s", source, err, want)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s: took %v", source, took)
		}
	}
}

// TestGenerationDefaults shows what generation_config.json changes.
func TestGenerationDefaults(t *testing.T) {
	for text, want := range map[string]generationConfig{
		`{}`:                                   {eos: []int32{2}},
		`{"eos_token_id": null}`:               {eos: []int32{2}},
		`{"eos_token_id": [7, 95]}`:            {eos: []int32{7, 95}},
		`{"eos_token_id": 1000}`:               {eos: []int32{1000}},
		`{"temperature": -1, "top_p": "much"}`: {eos: []int32{2}}, // not read without do_sample
		`{"do_sample": true, "top_k": 4}`:      {eos: []int32{2}, sampling: Sampling{Temperature: 1, TopK: 4}},
	} {
		b := copyGolden(t, llama)
		b.write("generation_config.json", text)
		m, _ := b.open(Options{})
		if !reflect.DeepEqual(m.defaults, want) {
			t.Errorf("%s: got %+v, want %+v", text, m.defaults, want)
		}
		if _, err := m.Generate(t.Context(), Request{IDs: []int32{1, 5}, MaxTokens: 4}); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestWeightsThatAreNotNumbers computes with a norm of NaN.
func TestWeightsThatAreNotNumbers(t *testing.T) {
	b := copyGolden(t, llama)
	b.tensors(func(list []safetensors.Tensor) []safetensors.Tensor {
		for i, tensor := range list {
			if tensor.Name == "model.norm.weight" {
				list[i] = safetensors.NewTensor(tensor.Name, tensor.DType, tensor.Shape, bytes.Repeat([]byte{0xff}, int(tensor.Len())))
			}
		}
		return list
	})
	m, _ := b.open(Options{})
	_, err := m.Generate(t.Context(), Request{IDs: []int32{1, 5}, MaxTokens: 4})
	if want := "generate: engine: the model's logits are not numbers after 2 tokens"; err == nil || err.Error() != want || !errors.Is(err, ErrInvalid) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestArchitectureWithoutModelType opens a checkpoint that names its class
// alone.
func TestArchitectureWithoutModelType(t *testing.T) {
	b := copyGolden(t, llama)
	b.set(`{"model_type": null}`)
	if m, _ := b.open(Options{}); m.Architecture() != "llama" {
		t.Errorf("got architecture %q, want llama", m.Architecture())
	}
}

// TestLongestContext opens models that claim the longest context there may be:
// the cache is cut to what the memory holds, and without a cache there is
// nothing to cut.
func TestLongestContext(t *testing.T) {
	const longest = 1 << 27
	for golden, cut := range map[string]bool{llama: true, "nemotron-h-mamba-only": false} {
		b := copyGolden(t, golden)
		b.set(`{"max_position_embeddings": 134217728}`)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m, warnings := b.open(Options{Memory: 1e-3})
		runtime.ReadMemStats(&after)
		if m.Context() == longest == cut || len(warnings) == 1 != cut {
			t.Errorf("%s: got a context of %d and warnings %q", golden, m.Context(), warnings)
		}
		if n := after.TotalAlloc - before.TotalAlloc; m.Plan().Free > 0 && n > uint64(m.Plan().Free)/1000+32<<20 {
			t.Errorf("%s: allocated %d bytes of the %d free, want at most a thousandth and 32 MiB", golden, n, m.Plan().Free)
		}
		if r, err := m.Generate(t.Context(), Request{IDs: []int32{1, 5}, MaxTokens: 40, IgnoreEOS: true}); err != nil || len(r.IDs) != 40 {
			t.Errorf("%s: got %v, want 40 ids", golden, err)
		}
	}
}

func TestInspectOptions(t *testing.T) {
	for _, opts := range []InspectOptions{{Context: -1}, {Context: 1 << 40}, {Sequences: -1}, {Sequences: 1 << 40}} {
		if _, err := Inspect(filepath.Join("testdata", "goldens", llama), opts); !errors.Is(err, ErrRequest) {
			t.Errorf("%+v: got %v, want ErrRequest", opts, err)
		}
	}
}
