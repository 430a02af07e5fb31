"""The table of tiny checkpoints: one entry for every spelling and feature to be read.

An entry's `config` is the config.json as a publisher would write it. Where transformers
does not read that spelling, `reference` holds the keys, in its own spelling, from which the
numbers were computed instead (`None` takes a key away).
"""

from dataclasses import dataclass, field
from typing import Any, Callable

import torch

import reference as ref

INFINITE = (0.0, float("inf"))


@dataclass
class Variant:
    name: str
    description: str
    config: dict
    reference: dict = field(default_factory=dict)
    dtype: str = "F32"
    dtypes: list = field(default_factory=list)  # (pattern of native names, type) exceptions
    rename: Callable = None  # native (name, tensor) -> stored [(name, tensor)]; None: as they are
    adapt: Callable = None  # changes the freshly built reference model
    drop: tuple = ()  # native names that are not stored
    extra: dict = field(default_factory=dict)  # stored name -> shape, never read
    layout: str = "single"  # or "indexed", or "shards" without an index
    metadata: dict = field(default_factory=lambda: {"format": "pt"})
    generation: dict = None  # generation_config.json
    loadable: bool = True  # AutoModelForCausalLM reads the folder as it is
    saved: bool = False  # the folder is written by transformers' own save_pretrained
    stepwise: bool = False  # one token at a time
    layers: bool = False  # keep the outputs of every layer
    limit: tuple = INFINITE  # clamp of dt

    def reference_config(self):
        config = dict(self.config.get("llm_config", self.config))
        for key, value in self.reference.items():
            config[key] = value
            if value is None:
                del config[key]
        return config


VARIANTS: list[Variant] = []


def add(name, description, config, **rest):
    VARIANTS.append(Variant(name, description, config, **rest))


def without(config, *keys):
    return {k: v for k, v in config.items() if k not in keys}


# --- nemotron ----------------------------------------------------------------------------

NEMOTRON = {
    "architectures": ["NemotronForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "head_dim": 8,
    "hidden_act": "relu2",
    "hidden_size": 32,
    "initializer_range": 0.0134,
    "intermediate_size": 48,
    "max_position_embeddings": 256,
    "mlp_bias": False,
    "model_type": "nemotron",
    "norm_eps": 1e-05,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "partial_rotary_factor": 0.5,
    "rope_theta": 10000,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.57.0",
    "use_cache": True,
    "vocab_size": 48,
}


def nemotron(name, description, *take_away, **changes):
    rest = {k: changes.pop(k) for k in list(changes) if k in Variant.__dataclass_fields__}
    config = without(NEMOTRON, *take_away) | changes
    if rest.get("dtype") == "BF16":
        config["torch_dtype"] = "bfloat16"
    add("nemotron-" + name, description, config, **rest)


def add_nemotron():
    nemotron("base", "dense Nemotron, head_dim given, untied", vocab_size=96, num_hidden_layers=3, layers=True)
    nemotron(
        "kv-channels",
        "Minitron's spelling: kv_channels 12 for the head width (4 x 12 is not the hidden 32), "
        "rope_percent 0.5; computed with head_dim and partial_rotary_factor",
        "head_dim", "partial_rotary_factor",
        kv_channels=12, rope_percent=0.5, dtype="BF16", loadable=False,
        reference={"head_dim": 12, "kv_channels": None, "rope_percent": None, "partial_rotary_factor": 0.5},
    )
    nemotron(
        "rope-percentage",
        "rope_percentage 0.25; computed with partial_rotary_factor",
        "partial_rotary_factor",
        rope_percentage=0.25, head_dim=16, loadable=False, dtype="BF16",
        reference={"rope_percentage": None, "partial_rotary_factor": 0.25},
    )
    nemotron(
        "rope-default",
        "no rotary key at all: half of the head is rotated, theta 10000",
        "partial_rotary_factor", "rope_theta", dtype="BF16",
    )
    nemotron(
        "rope-parameters",
        "as transformers 5 saves it: rope_parameters, dtype, head_dim",
        "partial_rotary_factor", "rope_theta", "torch_dtype", "head_dim",
        rope_parameters={"partial_rotary_factor": 0.75, "rope_theta": 500.0, "rope_type": "default"},
        head_dim=16, saved=True, vocab_size=101, dtype="BF16",
    )
    nemotron("no-head-dim", "no head width given: hidden / heads", "head_dim", dtype="BF16")
    nemotron("wide-heads", "heads x head_dim = 4 x 20, hidden 32; odd half-width of the rotation (10)",
             head_dim=20, dtype="BF16")
    nemotron("mha", "as many key/value heads as heads", num_key_value_heads=4, dtype="BF16")
    nemotron("mha-default", "num_key_value_heads left out: as many as heads (transformers has this default in "
             "its documentation but fails on it); computed with 4", "num_key_value_heads", dtype="BF16",
             loadable=False, reference={"num_key_value_heads": 4})
    nemotron("mqa", "one key/value head", num_key_value_heads=1, dtype="BF16")
    nemotron("biases", "attention_bias and mlp_bias", attention_bias=True, mlp_bias=True, dtype="BF16")
    nemotron("tied", "tied, only the embedding is stored", tie_word_embeddings=True,
             drop=("lm_head.weight",), vocab_size=101, dtype="BF16")
    nemotron("tied-head", "tied, only lm_head.weight is stored", tie_word_embeddings=True,
             drop=("model.embed_tokens.weight",), dtype="BF16")
    nemotron("full-rotary", "partial_rotary_factor 1", partial_rotary_factor=1.0, dtype="BF16")
    nemotron(
        "layer-norm-eps",
        "layer_norm_eps 0.05 instead of norm_eps, as some copies spell it; computed with norm_eps",
        "norm_eps", layer_norm_eps=0.05, loadable=False, dtype="BF16",
        reference={"layer_norm_eps": None, "norm_eps": 0.05},
    )
    nemotron("f16", "float16 weights", dtype="F16", torch_dtype="float16")


# --- llama -------------------------------------------------------------------------------

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 32,
    "initializer_range": 0.02,
    "intermediate_size": 32,
    "max_position_embeddings": 256,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.48.0",
    "use_cache": True,
    "vocab_size": 48,
}

LLAMA3_ROPE = {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
               "original_max_position_embeddings": 64}
WIDE_HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "intermediate_size": 32}
YARN = {"factor": 4.0, "original_max_position_embeddings": 32}


def llama(name, description, *take_away, **changes):
    rest = {k: changes.pop(k) for k in list(changes) if k in Variant.__dataclass_fields__}
    config = without(LLAMA, *take_away) | changes
    if rest.get("dtype") == "BF16":
        config["torch_dtype"] = "bfloat16"
    add("llama-" + name, description, config, **rest)


def add_llama():
    llama("base", "Llama with grouped key/value heads", vocab_size=96, num_hidden_layers=3, layers=True,
          generation={"bos_token_id": 1, "eos_token_id": [2, 11, 13], "do_sample": True,
                      "temperature": 0.6, "top_p": 0.9})
    llama("head-dim", "head_dim 12 with 4 heads, hidden 32", head_dim=12, dtype="BF16")
    llama("mha", "num_key_value_heads left out: as many as heads", "num_key_value_heads", dtype="BF16")
    llama("bf16", "bfloat16 weights", dtype="BF16", vocab_size=101)
    llama("f16", "float16 weights", dtype="F16", torch_dtype="float16")
    llama("attention-bias", "attention_bias: on q, k, v and o", attention_bias=True, dtype="BF16")
    llama("mlp-bias", "mlp_bias", mlp_bias=True, dtype="BF16")
    llama("rms-norm-eps", "rms_norm_eps 0.05", rms_norm_eps=0.05, dtype="BF16")
    llama("rms-norm-eps-default", "rms_norm_eps left out: 1e-6", "rms_norm_eps", dtype="BF16")
    llama("gelu", "hidden_act gelu (exact)", hidden_act="gelu", dtype="BF16")
    llama("gelu-tanh", "hidden_act gelu_pytorch_tanh", hidden_act="gelu_pytorch_tanh", dtype="BF16")
    llama("tied", "tied, only the embedding is stored", tie_word_embeddings=True,
          drop=("lm_head.weight",), vocab_size=101, dtype="BF16")
    llama("tied-head", "tied, only lm_head.weight is stored; the file's metadata name the embedding's place",
          tie_word_embeddings=True, drop=("model.embed_tokens.weight",),
          metadata={"format": "pt", "model.embed_tokens.weight": "lm_head.weight"}, dtype="BF16")
    llama("tied-both", "tied, and both are stored with equal values: the embedding is used",
          tie_word_embeddings=True, dtype="BF16")
    llama("inv-freq", "rotary_emb.inv_freq stored beside the weights, as old checkpoints do; it is not read",
          dtype="BF16", extra={f"model.layers.{i}.self_attn.rotary_emb.inv_freq": (4,) for i in range(2)})
    llama("indexed", "two shards and an index", layout="indexed", dtype="BF16")
    llama("shards", "two shards and no index", layout="shards", loadable=False, dtype="BF16")
    llama("saved-by-5", "written by save_pretrained of transformers 5", saved=True, dtype="BF16",
          rope_scaling={"rope_type": "llama3", **LLAMA3_ROPE})
    add_llama_rope()


def add_llama_rope():
    llama("rope-default-parameters", "rope_parameters: default, theta 777", "rope_scaling", "rope_theta",
          rope_parameters={"rope_type": "default", "rope_theta": 777.0}, dtype="BF16")
    llama("rope-linear", "rope_scaling with the old key `type`: linear",
          rope_scaling={"type": "linear", "factor": 2.5}, dtype="BF16")
    llama("rope-linear-parameters", "rope_parameters: linear, theta inside", "rope_scaling", "rope_theta",
          rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0}, dtype="BF16")
    llama("rope-dynamic",
          "dynamic scaling beyond max_position_embeddings 16; every token's query and key are rotated with "
          "the frequencies of a sequence that ends at that token (one token at a time, with a cache)",
          rope_scaling={"type": "dynamic", "factor": 2.0}, max_position_embeddings=16, stepwise=True)
    llama("rope-dynamic-parameters", "the same with rope_parameters, theta 500, factor 4",
          "rope_scaling", "rope_theta", max_position_embeddings=16, stepwise=True, dtype="BF16",
          rope_parameters={"rope_type": "dynamic", "factor": 4.0, "rope_theta": 500.0})
    llama("rope-llama3", "rope_scaling: llama3, all three regions", **WIDE_HEADS,
          rope_scaling={"rope_type": "llama3", **LLAMA3_ROPE}, dtype="BF16")
    llama("rope-llama3-both-keys", "rope_scaling with both `type` and `rope_type`", **WIDE_HEADS, dtype="BF16",
          rope_scaling={"type": "llama3", "rope_type": "llama3", **LLAMA3_ROPE})
    llama("rope-llama3-parameters", "rope_parameters: llama3", "rope_scaling", "rope_theta", **WIDE_HEADS,
          rope_parameters={"rope_type": "llama3", "rope_theta": 500000.0, **LLAMA3_ROPE}, dtype="BF16")
    llama("rope-odd-theta", "theta 3565775107.26, llama3 with factor 4, heads wider than hidden",
          rope_theta=3565775107.26, head_dim=16, dtype="BF16",
          rope_scaling={"rope_type": "llama3", **LLAMA3_ROPE, "factor": 4.0})
    yarn("", "yarn: attention factor from the scaling factor")
    yarn("-type", "yarn with the old key `type`", old_key=True)
    yarn("-attention-factor", "yarn with attention_factor 1.3", attention_factor=1.3)
    yarn("-mscale", "yarn with mscale 0.9 and mscale_all_dim 0.4", mscale=0.9, mscale_all_dim=0.4)
    yarn("-mscale-alone", "yarn with mscale but no mscale_all_dim: mscale has no effect", mscale=0.9)
    yarn("-betas", "yarn with beta_fast 8 and beta_slow 0.5", beta_fast=8.0, beta_slow=0.5)
    yarn("-no-truncate", "yarn with truncate false", truncate=False)
    yarn("-no-original", "yarn without original_max_position_embeddings: max_position_embeddings 64 stands in",
         take_away="original_max_position_embeddings", max_position_embeddings=64)
    llama("rope-yarn-parameters", "rope_parameters: yarn", "rope_scaling", "rope_theta", **WIDE_HEADS, dtype="BF16",
          rope_parameters={"rope_type": "yarn", "rope_theta": 1000.0, "beta_fast": 16.0, **YARN})


def yarn(suffix, description, old_key=False, take_away=None, max_position_embeddings=128, **options):
    scaling = without({("type" if old_key else "rope_type"): "yarn", **YARN, **options}, take_away)
    llama("rope-yarn" + suffix, description, **WIDE_HEADS, dtype="BF16", rope_scaling=scaling,
          max_position_embeddings=max_position_embeddings)


# --- mistral, qwen2, qwen3 -----------------------------------------------------------------

MISTRAL = without(LLAMA, "attention_bias", "mlp_bias", "rope_scaling", "pretraining_tp") | {
    "architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": None}
QWEN2 = without(LLAMA, "attention_bias", "mlp_bias", "rope_scaling", "pretraining_tp", "bos_token_id") | {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "max_window_layers": 2,
    "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 8, "use_sliding_window": False}
QWEN3 = QWEN2 | {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "attention_bias": False,
                 "head_dim": 12, "rope_scaling": None, "sliding_window": None}


def add_llama_likes():
    add("mistral-base", "no sliding window", MISTRAL | {"vocab_size": 96}, layers=True)
    add("mistral-window", "a sliding window of 8 in every layer: a token sees itself and the 7 before it; "
        "head_dim null",
        MISTRAL | {"sliding_window": 8, "num_hidden_layers": 3, "head_dim": None}, layers=True, dtype="BF16")
    add("mistral-head-dim", "head_dim 12 with 4 heads, hidden 32", MISTRAL | {"head_dim": 12}, dtype="BF16")

    add("qwen2-base", "bias on q, k and v, none on o; sliding_window 8 present but use_sliding_window false",
        QWEN2 | {"vocab_size": 96}, layers=True)
    add("qwen2-tied", "tied, only the embedding is stored",
        QWEN2 | {"tie_word_embeddings": True, "vocab_size": 101}, drop=("lm_head.weight",), dtype="BF16")
    add("qwen2-window", "use_sliding_window with sliding_window 8 and max_window_layers 1: layer 0 sees all, "
        "layers 1 and 2 slide",
        QWEN2 | {"use_sliding_window": True, "max_window_layers": 1, "num_hidden_layers": 3}, layers=True, dtype="BF16")
    add("qwen2-layer-types", "layer_types decide, whatever max_window_layers says",
        QWEN2 | {"use_sliding_window": True, "max_window_layers": 3, "num_hidden_layers": 3,
                 "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}, dtype="BF16")

    add("qwen3-base", "RMSNorm over each head of q and k before the rotation; head_dim 12, hidden 32",
        QWEN3 | {"vocab_size": 96}, layers=True)
    add("qwen3-tied", "tied, only the embedding is stored", QWEN3 | {"tie_word_embeddings": True},
        drop=("lm_head.weight",), dtype="BF16")
    add("qwen3-bias", "attention_bias: on q, k, v and o", QWEN3 | {"attention_bias": True}, dtype="BF16")
    add("qwen3-window", "layer_types with sliding_window 8 and use_sliding_window",
        QWEN3 | {"use_sliding_window": True, "sliding_window": 8, "num_hidden_layers": 3,
                 "layer_types": ["full_attention", "sliding_attention", "full_attention"]}, dtype="BF16")
    add("qwen3-saved-by-5", "written by save_pretrained of transformers 5, yarn",
        QWEN3 | {"rope_scaling": {"rope_type": "yarn", **YARN}, "max_position_embeddings": 128}, saved=True,
        dtype="BF16")


# --- nemotron-nas --------------------------------------------------------------------------

NAS = without(LLAMA, "pretraining_tp", "num_key_value_heads", "intermediate_size") | {
    "architectures": ["DeciLMForCausalLM"],
    "auto_map": {"AutoConfig": "configuration_decilm.DeciLMConfig",
                 "AutoModelForCausalLM": "modeling_decilm.DeciLMForCausalLM"},
    "eos_token_id": [2, 11, 12],
    "intermediate_size": None,
    "model_type": "nemotron-nas",
    "num_key_value_heads": None,
    "rope_scaling": {"rope_type": "llama3", **LLAMA3_ROPE},
    "rope_theta": 500000.0,
    "torch_dtype": "bfloat16",
}


def nas_block(attention, ffn):
    """A block in the published long form, every key present."""
    a = {"n_heads_in_group": None, "no_op": False, "num_sink_tokens": None, "replace_with_linear": False,
         "sparsify": None, "unshifted_sink": False, "use_prefill_window_in_sink_attention": False,
         "window_length": None}
    f = {"ffn_mult": None, "no_op": False, "replace_with_linear": False, "sparsify": None}
    return {"attention": a | attention, "ffn": f | ffn}


def add_nas():
    nas("base", "grouping differs by layer, no attention in one layer, no FFN in another", [
        nas_block({"n_heads_in_group": 2}, {"ffn_mult": 2.5}),
        nas_block({"no_op": True}, {"ffn_mult": 1.3125}),
        nas_block({"n_heads_in_group": 4}, {"no_op": True}),
    ], layers=True, vocab_size=96)
    nas("linear", "attention or FFN replaced with one matrix", [
        nas_block({"replace_with_linear": True}, {"ffn_mult": 0.5}),
        nas_block({"n_heads_in_group": 1}, {"replace_with_linear": True}),
        nas_block({"replace_with_linear": True}, {"no_op": True}),
        nas_block({"n_heads_in_group": 4}, {"replace_with_linear": True}),
    ], layers=True)
    nas("intermediate-size", "intermediate_size in a block instead of ffn_mult; a layer that does nothing; short form", [
        {"attention": {"n_heads_in_group": 2}, "ffn": {"intermediate_size": 40}},
        {"attention": {"no_op": True}, "ffn": {"no_op": True}},
        {"attention": {"n_heads_in_group": 2}, "ffn": {"intermediate_size": 24}},
    ])
    nas("wide", "ffn_mult above one step of 256: int(2 · 16.5 · 32 / 3) = 352 becomes 512", [
        nas_block({"n_heads_in_group": 4}, {"ffn_mult": 16.5}),
    ])


def nas(name, description, blocks, layers=False, **changes):
    config = NAS | {"block_configs": blocks, "num_hidden_layers": len(blocks)} | changes
    add("nas-" + name, description + "; put together from transformers' Llama modules", config,
        dtype="BF16", adapt=ref.nas_layers(blocks), loadable=False, layers=layers,
        reference={"model_type": "llama", "block_configs": None, "auto_map": None,
                   "num_key_value_heads": 4, "intermediate_size": 8})


# --- nemotron_h ----------------------------------------------------------------------------

HYBRID = {
    "architectures": ["NemotronHForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "chunk_size": 16,
    "conv_kernel": 4,
    "eos_token_id": 2,
    "expand": 2,
    "head_dim": 12,
    "hidden_size": 32,
    "hybrid_override_pattern": "M-M*-M-*",
    "initializer_range": 0.02,
    "intermediate_size": 40,
    "layer_norm_epsilon": 1e-05,
    "mamba_head_dim": 8,
    "mamba_hidden_act": "silu",
    "mamba_num_heads": 4,
    "mamba_proj_bias": False,
    "max_position_embeddings": 256,
    "mlp_bias": False,
    "mlp_hidden_act": "relu2",
    "model_type": "nemotron_h",
    "n_groups": 2,
    "num_attention_heads": 4,
    "num_hidden_layers": 8,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "residual_in_fp32": False,
    "rms_norm_eps": 1e-05,
    "ssm_state_size": 8,
    "tie_word_embeddings": False,
    "time_step_floor": 0.0001,
    "time_step_limit": [0.0, float("inf")],
    "time_step_max": 0.1,
    "time_step_min": 0.001,
    "torch_dtype": "float32",
    "transformers_version": "4.48.0.dev0",
    "use_bias": False,
    "use_cache": True,
    "use_conv_bias": True,
    "use_mamba_kernels": True,
    "vocab_size": 48,
}

MOE = without(HYBRID, "rms_norm_eps") | {
    "hybrid_override_pattern": "MEM*E",
    "moe_intermediate_size": 24,
    "moe_shared_expert_intermediate_size": 48,
    "n_group": 1,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "norm_eps": 1e-05,
    "norm_topk_prob": True,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 5,
    "partial_rotary_factor": 1.0,
    "rope_theta": 10000,
    "routed_scaling_factor": 2.5,
    "topk_group": 1,
}


def published_names(name, tensor):
    """backbone.…, and one tensor for each expert."""
    name = name.replace("model.", "backbone.", 1)
    if ".experts.up_proj" in name or ".experts.down_proj" in name:
        head, tail = name.split(".experts.")
        return [(f"{head}.experts.{e}.{tail}.weight", part) for e, part in enumerate(tensor)]
    return [(name, tensor)]


def nested_names(name, tensor):
    return [("language_model." + n, t) for n, t in published_names(name, tensor)]


def hybrid(name, description, *take_away, base=HYBRID, **changes):
    rest = {k: changes.pop(k) for k in list(changes) if k in Variant.__dataclass_fields__}
    config = without(base, *take_away) | changes
    config.setdefault("num_hidden_layers", len(config.get("hybrid_override_pattern", "")))
    if "hybrid_override_pattern" in changes:
        config["num_hidden_layers"] = len(changes["hybrid_override_pattern"])
    if rest.get("dtype") == "BF16":
        config["torch_dtype"] = "bfloat16"
    add("nemotron-h-" + name, description, config, **({"rename": published_names} | rest))


def moe(name, description, *take_away, **changes):
    hybrid("moe-" + name if name else "moe", description, *take_away, base=MOE, **changes)


def add_hybrid():
    hybrid("base", "Mamba, MLP and attention; hybrid_override_pattern", vocab_size=96, layers=True)
    hybrid("bf16", "the same in bfloat16", dtype="BF16", vocab_size=101)
    small = {"hybrid_override_pattern": "M-*", "dtype": "BF16"}
    add_hybrid_spellings()
    add_hybrid_shapes(small)
    add_hybrid_biases(small)
    add_time_steps(small)


def add_hybrid_spellings():
    hybrid("words", "layers_block_type in the first words, num_hidden_layers null", "hybrid_override_pattern",
           layers_block_type=["mamba", "mlp", "attention", "mamba"], num_hidden_layers=None, dtype="BF16")
    hybrid("new-words", "layers_block_type in the words of transformers 5, no num_hidden_layers",
           "hybrid_override_pattern", "num_hidden_layers",
           layers_block_type=["linear_attention", "mlp", "full_attention", "linear_attention"], dtype="BF16")
    VARIANTS[-1].config.pop("num_hidden_layers")
    hybrid("saved-by-5", "written by save_pretrained of transformers 5", hybrid_override_pattern="M-*", saved=True, dtype="BF16")
    hybrid("attention-head-dim", "attention_head_dim 10 instead of head_dim", "head_dim",
           attention_head_dim=10, hybrid_override_pattern="M*-", dtype="BF16", loadable=False,
           reference={"attention_head_dim": None, "head_dim": 10})
    hybrid("rms-norm-eps", "rms_norm_eps 0.05 and no other key for it; computed with layer_norm_epsilon",
           "layer_norm_epsilon", rms_norm_eps=0.05, hybrid_override_pattern="M*-", dtype="BF16", loadable=False,
           reference={"rms_norm_eps": None, "layer_norm_epsilon": 0.05})
    hybrid("norm-eps", "norm_eps 0.05 and no other key for it; computed with layer_norm_epsilon",
           "layer_norm_epsilon", "rms_norm_eps", norm_eps=0.05, hybrid_override_pattern="M*-", dtype="BF16",
           loadable=False, reference={"norm_eps": None, "layer_norm_epsilon": 0.05})
    hybrid("aliases", "mamba_n_groups, mamba_d_conv, mamba_expand, mamba_dt_min/max/limit, mamba_conv_bias, "
           "mamba_chunk_size", "n_groups", "conv_kernel", "expand", "time_step_min", "time_step_max",
           "time_step_limit", "use_conv_bias", "chunk_size", mamba_n_groups=1, mamba_d_conv=3, mamba_expand=2,
           mamba_dt_min=0.001, mamba_dt_max=0.1, mamba_dt_limit=[0.0, 1e30], mamba_conv_bias=False,
           mamba_chunk_size=8, hybrid_override_pattern="M-*", dtype="BF16", limit=(0.0, 1e30))
    nested = without(HYBRID, "architectures") | {"hybrid_override_pattern": "M-*", "num_hidden_layers": 3,
                                                "architectures": ["NemotronHForCausalLM"]}
    wrapper = {"architectures": ["NemotronH_Nano_VL_V2"], "model_type": "NemotronH_Nano_VL_V2",
               "torch_dtype": "bfloat16", "llm_config": nested}
    add("nemotron-h-llm-config", "the text model nested under llm_config, tensors under language_model.",
        wrapper, dtype="BF16", rename=nested_names, loadable=False)
    add("nemotron-h-llm-config-vision", "the same beside tensors of a vision tower, which are not read",
        wrapper, dtype="BF16", rename=nested_names, loadable=False,
        extra={"vision_model.radio_model.input_conditioner.norm_mean": (3, 1, 1),
               "vision_model.radio_model.model.blocks.0.attn.qkv.weight": (12, 4), "mlp1.0.weight": (8,)})


def add_hybrid_shapes(small):
    hybrid("mamba-only", "Mamba layers alone", hybrid_override_pattern="MM", dtype="BF16", layers=True)
    hybrid("attention-only", "attention and MLP alone", hybrid_override_pattern="*-", dtype="BF16")
    hybrid("groups-1", "n_groups 1", n_groups=1, **small)
    hybrid("groups-4", "n_groups 4: a group for each head", n_groups=4, **small)
    hybrid("conv-2", "conv_kernel 2", conv_kernel=2, **small)
    hybrid("conv-no-bias", "use_conv_bias false", use_conv_bias=False, **small)
    hybrid("odd-sizes", "hidden 40, 6 Mamba heads of 12, 3 groups, state 10, chunk 7, heads of 24, width 29",
           hidden_size=40, mamba_num_heads=6, mamba_head_dim=12, n_groups=3, ssm_state_size=10, chunk_size=7,
           head_dim=24, intermediate_size=29, **small)
    hybrid("tied", "tied, only the embedding is stored; transformers does not tie this architecture, so the "
           "head was set to the embedding by hand", tie_word_embeddings=True, drop=("lm_head.weight",),
           loadable=False, **small)
    hybrid("widths", "intermediate_size a list: one width for each MLP layer, in order",
           hybrid_override_pattern="M-*-", intermediate_size=[40, 24], dtype="BF16", loadable=False,
           reference={"intermediate_size": 8}, adapt=ref.hybrid_widths([40, 24]))
    hybrid("singular-embedding", "backbone.embedding.weight, the older name", loadable=False,
           rename=lambda n, t: [(m.replace("embeddings.", "embedding."), u) for m, u in published_names(n, t)],
           **small)


def add_hybrid_biases(small):
    hybrid("use-bias", "use_bias: on in_proj and out_proj of the Mamba mixer", use_bias=True, **small)
    hybrid("mamba-proj-bias", "mamba_proj_bias true has no effect: no reader of the key exists, and no bias "
           "is stored", mamba_proj_bias=True, **small)
    hybrid("attention-bias", "attention_bias: on q, k, v and o. transformers builds no such biases, though it "
           "accepts the key: they were added", attention_bias=True, adapt=ref.hybrid_attention_bias,
           loadable=False, **small)
    hybrid("mlp-bias", "mlp_bias: on both matrices of the dense MLP", mlp_bias=True, **small)


def add_time_steps(small):
    hybrid("limit-number", "time_step_limit with a large number for infinity", time_step_limit=[0.0, 1e30],
           limit=(0.0, 1e30), **small)
    hybrid("limit-object", 'time_step_limit with {"__float__": "Infinity"}',
           time_step_limit=[0.0, {"__float__": "Infinity"}], reference={"time_step_limit": [0.0, float("inf")]},
           **small)
    hybrid("limit-absent", "no time_step_limit: no clamp", "time_step_limit", **small)
    hybrid("limit-finite", "time_step_limit [0.01, 0.08]: dt clamped to it at every step",
           time_step_limit=[0.01, 0.08], limit=(0.01, 0.08), **small)
    VARIANTS[-1].layers = True


def add_moe():
    moe("", "Mamba, MoE with a shared expert, attention; router in float32", vocab_size=96, layers=True,
        generation={"bos_token_id": 1, "eos_token_id": [2, 11], "pad_token_id": 0, "do_sample": True,
                    "temperature": 1.0, "top_p": 1.0})
    moe("bf16", "bfloat16, correction bias in float32", dtype="BF16", moe_intermediate_size=16,
        dtypes=[("e_score_correction_bias", "F32")])
    small = {"hybrid_override_pattern": "ME*", "dtype": "BF16", "moe_intermediate_size": 16}
    moe("gate-f32", "bfloat16 with gate.weight in float32 and the correction bias in bfloat16",
        dtypes=[("gate.weight", "F32")], **small)
    small["dtypes"] = [("e_score_correction_bias", "F32")]
    moe("mixed", "all four kinds of layer, expert width 29, top 3 of 6", hybrid_override_pattern="M-E*",
        moe_intermediate_size=29, num_experts_per_tok=3, n_routed_experts=6, dtype="BF16")
    moe("no-norm", "norm_topk_prob false", norm_topk_prob=False, routed_scaling_factor=1.0, **small)
    moe("groups", "n_group 4, topk_group 2, top 3 of 16", n_group=4, topk_group=2, n_routed_experts=16,
        num_experts_per_tok=3, **small)
    moe("latent", "moe_latent_size 20: experts work in width 20, router and shared expert on the full width",
        moe_latent_size=20, routed_scaling_factor=5.0, layers=True, **small)
    moe("latent-bias", "moe_latent_size with mlp_bias: biases on fc1, fc2 and the shared expert, none on the "
        "routed experts", moe_latent_size=20, mlp_bias=True, **small)
    moe("fused", "experts stored as two 3-D tensors, names under model.", rename=None, dtype="BF16",
        hybrid_override_pattern="ME*")
    moe("saved-by-5", "written by save_pretrained of transformers 5", hybrid_override_pattern="ME*", saved=True, dtype="BF16")
    moe("words", "layers_block_type in the first words", "hybrid_override_pattern",
        layers_block_type=["mamba", "moe", "attention"], num_hidden_layers=3, dtype="BF16")
    moe("new-words", "layers_block_type in the words of transformers 5", "hybrid_override_pattern",
        "num_hidden_layers", dtype="BF16",
        layers_block_type=["linear_attention", "moe", "full_attention", "mlp"])
    VARIANTS[-1].config.pop("num_hidden_layers")
    moe("indexed", "two shards and an index, the experts of a layer in both", layout="indexed", **small)
    moe("no-shared", "n_shared_experts 0: no shared expert is stored", n_shared_experts=0,
        adapt=ref.hybrid_without_shared_expert, loadable=False, **small)
    moe("two-shared", "n_shared_experts 2 with one pair of tensors of moe_shared_expert_intermediate_size: "
        "the number is not used", n_shared_experts=2, **small)
    moe("mtp", "tensors of a multi-token-prediction head (latent MoE), not used by the main model",
        num_nextn_predict_layers=1, mtp_hybrid_override_pattern="*E", moe_latent_size=20,
        extra=mtp_tensors(), **small)


def mtp_tensors():
    hidden, latent, experts, width, shared = 32, 20, 8, 16, 48
    tensors = {
        "mtp.layers.0.enorm.weight": (hidden,), "mtp.layers.0.hnorm.weight": (hidden,),
        "mtp.layers.0.eh_proj.weight": (hidden, 2 * hidden), "mtp.layers.0.norm.weight": (hidden,),
        "mtp.layers.0.mixer.q_proj.weight": (48, hidden), "mtp.layers.0.mixer.k_proj.weight": (24, hidden),
        "mtp.layers.0.mixer.v_proj.weight": (24, hidden), "mtp.layers.0.mixer.o_proj.weight": (hidden, 48),
        "mtp.layers.1.norm.weight": (hidden,), "mtp.layers.1.final_layernorm.weight": (hidden,),
        "mtp.layers.1.mixer.gate.weight": (experts, hidden),
        "mtp.layers.1.mixer.gate.e_score_correction_bias": (experts,),
        "mtp.layers.1.mixer.fc1_latent_proj.weight": (latent, hidden),
        "mtp.layers.1.mixer.fc2_latent_proj.weight": (hidden, latent),
        "mtp.layers.1.mixer.shared_experts.up_proj.weight": (shared, hidden),
        "mtp.layers.1.mixer.shared_experts.down_proj.weight": (hidden, shared),
    }
    for e in range(experts):
        tensors[f"mtp.layers.1.mixer.experts.{e}.up_proj.weight"] = (width, latent)
        tensors[f"mtp.layers.1.mixer.experts.{e}.down_proj.weight"] = (latent, width)
    return tensors


for add_family in (add_nemotron, add_llama, add_llama_likes, add_nas, add_hybrid, add_moe):
    add_family()
