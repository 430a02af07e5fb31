"""The models as Hugging Face checkpoints: names, config.json and the files beside it."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from model import LanguageModel

GENERATION = {"bos_token_id": 1, "eos_token_id": [2, 11], "pad_token_id": 0,
              "do_sample": True, "temperature": 0.8, "top_p": 0.95}

CHAT_TEMPLATE = (
    "{%- for message in messages -%}\n"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}\n"
    "{{- '<|im_start|>assistant\\n<think></think>' -}}\n"
    "{%- endif -%}"
)

TOKENIZER = {"add_bos_token": True, "bos_token": "<s>", "eos_token": "<|im_end|>", "unk_token": "<unk>",
             "pad_token": "<pad>", "model_max_length": 8192, "tokenizer_class": "PreTrainedTokenizerFast",
             "clean_up_tokenization_spaces": False, "chat_template": CHAT_TEMPLATE}

COMMON = {"attention_bias": False, "mlp_bias": False, "attention_dropout": 0.0, "tie_word_embeddings": False,
          "bos_token_id": 1, "eos_token_id": 2, "use_cache": True, "torch_dtype": "bfloat16",
          "transformers_version": "4.57.0"}


def hybrid_config(c):
    return COMMON | {
        "architectures": ["NemotronHForCausalLM"], "model_type": "nemotron_h",
        "vocab_size": c.vocab, "hidden_size": c.hidden,
        "hybrid_override_pattern": c.pattern, "num_hidden_layers": len(c.pattern),
        "num_attention_heads": c.heads, "num_key_value_heads": c.kv_heads, "head_dim": c.head_dim,
        "mamba_num_heads": c.mamba_heads, "mamba_head_dim": c.mamba_width, "n_groups": c.groups,
        "ssm_state_size": c.states, "conv_kernel": c.taps, "use_conv_bias": True, "use_bias": False,
        "mamba_proj_bias": False, "mamba_hidden_act": "silu", "chunk_size": 128, "expand": 2,
        "time_step_min": 0.001, "time_step_max": 0.1, "time_step_floor": 1e-4,
        "n_routed_experts": c.experts, "num_experts_per_tok": c.chosen, "n_shared_experts": 1,
        "moe_intermediate_size": c.expert_width, "moe_shared_expert_intermediate_size": c.shared_width,
        "intermediate_size": c.expert_width, "n_group": 1, "topk_group": 1, "norm_topk_prob": True,
        "routed_scaling_factor": c.scale, "mlp_hidden_act": "relu2",
        "layer_norm_epsilon": c.eps, "norm_eps": c.eps, "residual_in_fp32": False,
        "rope_theta": 10000, "partial_rotary_factor": 1.0, "max_position_embeddings": 8192,
        "initializer_range": 0.02, "pad_token_id": 0,
    }


def dense_config(c):
    """Minitron's spelling: kv_channels for the width of a head."""
    return COMMON | {
        "architectures": ["NemotronForCausalLM"], "model_type": "nemotron",
        "vocab_size": c.vocab, "hidden_size": c.hidden, "intermediate_size": c.width,
        "num_hidden_layers": c.layers, "num_attention_heads": c.heads, "num_key_value_heads": c.kv_heads,
        "kv_channels": c.head_dim, "hidden_act": "relu2", "max_position_embeddings": 4096,
        "norm_eps": c.eps, "rope_theta": 10000, "partial_rotary_factor": c.rotary / c.head_dim,
        "initializer_range": 0.0134, "pad_token_id": None,
    }


def config_of(model):
    return (hybrid_config if model.c.kind == "hybrid" else dense_config)(model.c)


def published(model):
    """Every tensor of the model by its published name. Writing into them fills the model."""
    return hybrid_names(model) if model.c.kind == "hybrid" else dense_names(model)


def hybrid_names(model):
    tensors = {"backbone.embeddings.weight": model.embedding.weight,
               "backbone.norm_f.weight": model.norm.weight,
               "lm_head.weight": model.head.weight}
    for i, layer in enumerate(model.layers):
        at = f"backbone.layers.{i}."
        tensors[at + "norm.weight"] = layer.norm.weight
        if layer.letter == "E":
            tensors |= {at + "mixer." + name: t for name, t in expert_names(layer.mixer).items()}
        else:
            tensors |= {at + "mixer." + name: t for name, t in layer.mixer.named_parameters()}
    return tensors


def expert_names(mixer):
    tensors = {"gate.weight": mixer.gate.weight, "gate.e_score_correction_bias": mixer.bias,
               "shared_experts.up_proj.weight": mixer.shared_up.weight,
               "shared_experts.down_proj.weight": mixer.shared_down.weight}
    for e in range(len(mixer.up)):
        tensors[f"experts.{e}.up_proj.weight"] = mixer.up[e]
        tensors[f"experts.{e}.down_proj.weight"] = mixer.down[e]
    return tensors


DENSE_PARTS = {"attention_norm.": "input_layernorm.", "mlp_norm.": "post_attention_layernorm.",
               "attention.": "self_attn."}


def dense_names(model):
    tensors = {"model.embed_tokens.weight": model.embedding.weight,
               "model.norm.weight": model.norm.weight, "model.norm.bias": model.norm.bias,
               "lm_head.weight": model.head.weight}
    for i, layer in enumerate(model.layers):
        for name, t in layer.named_parameters():
            for ours, theirs in DENSE_PARTS.items():
                if name.startswith(ours):
                    name = name.replace(ours, theirs, 1)
                    break
            tensors[f"model.layers.{i}.{name}"] = t
    return tensors


def stored_dtype(name):
    return torch.float32 if name.endswith("e_score_correction_bias") else torch.bfloat16


def save(model, folder, tokenizer):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: t.detach().to(stored_dtype(name)).contiguous().cpu() for name, t in published(model).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    for name, value in (("config.json", config_of(model)), ("generation_config.json", GENERATION),
                        ("tokenizer_config.json", TOKENIZER)):
        (folder / name).write_text(json.dumps(value, indent=2) + "\n")
    shutil.copy(tokenizer, folder / "tokenizer.json")


@torch.no_grad()
def load(folder):
    """The model of a checkpoint that these scripts made, in float32. Everything must fit exactly."""
    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text())
    model = LanguageModel("hybrid" if config["model_type"] == "nemotron_h" else "dense").eval()
    expect_equal("config.json", config_of(model), config)
    stored, ours = load_file(folder / "model.safetensors"), published(model)
    describe = lambda tensors: {n: (tuple(t.shape), stored_dtype(n)) for n, t in tensors.items()}
    expect_equal("tensors", describe(ours), {n: (tuple(t.shape), t.dtype) for n, t in stored.items()})
    for name, t in ours.items():
        t.copy_(stored[name].float())
    return model


def expect_equal(what, want, got):
    wrong = sorted(k for k in want.keys() | got.keys() if want.get(k, "-") != got.get(k, "-"))
    if wrong:
        raise ValueError(f"{what}: " + "; ".join(f"{k} is {got.get(k)}, want {want.get(k)}" for k in wrong[:8]))
