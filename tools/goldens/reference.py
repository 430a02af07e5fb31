"""The reference numbers: transformers on the CPU in float32, eager attention, no cache.

Where transformers does not know an architecture (nemotron-nas) or a key (biases of the
hybrid's attention, a list of widths, no shared expert), the model is put together here
from transformers' own modules.
"""

import copy

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaMLP, LlamaRMSNorm

GREEDY = 24

# The plain implementations, in float32. Eager attention is the one that honours a sliding
# window everywhere; the grouped product of the experts wants widths in multiples of 16 bytes.
EAGER = {"attn_implementation": "eager", "experts_implementation": "eager", "dtype": torch.float32}


def build(config):
    """An uninitialised float32 model from a config.json-like dict that transformers understands."""
    config = copy.deepcopy(config)
    model_type = config.pop("model_type")
    for key in ("architectures", "torch_dtype", "dtype", "transformers_version"):
        config.pop(key, None)
    built = AutoConfig.for_model(model_type, **config)
    return AutoModelForCausalLM.from_config(built, **EAGER).eval()


def set_time_step_limit(model, limit):
    """Clamp dt to exactly this limit, as the published kernels do.

    The module clamps at time_step_min instead, whatever time_step_limit says.
    """
    for layer in model.model.layers:
        mixer = getattr(layer, "mixer", None)
        if hasattr(mixer, "time_step_limit"):
            mixer.time_step_limit = limit


def load(model, weights):
    """Puts the rounded weights, as float32, into the model; a tied head follows the embedding."""
    state = {name: t.float() for name, t in weights.items()}
    model.load_state_dict(state, strict=True)
    if model.config.tie_word_embeddings:
        model.lm_head.weight = model.get_input_embeddings().weight


@torch.no_grad()
def logits(model, ids, stepwise=False):
    """[positions, vocabulary] for a prompt."""
    if stepwise:
        return logits_stepwise(model, ids)
    return model(torch.tensor([ids]), use_cache=False).logits[0].float()


def logits_stepwise(model, ids):
    """The same, one token at a time: with dynamic scaling each token's query and key are
    rotated with the frequencies of a sequence that ends at that token."""
    cache = DynamicCache(config=model.config)
    rows = []
    for position, token in enumerate(ids):
        out = model(
            torch.tensor([[token]]),
            position_ids=torch.tensor([[position]]),
            past_key_values=cache,
            use_cache=True,
        )
        rows.append(out.logits[0, -1].float())
    return torch.stack(rows)


def greedy(model, ids, stepwise=False):
    """Arg-max continuation, whole forward every step; with the lead of each winner."""
    current, margins = list(ids), []
    for _ in range(GREEDY):
        best = torch.topk(logits(model, current, stepwise)[-1], 2)
        margins.append((best.values[0] - best.values[1]).item())
        current.append(best.indices[0].item())
    return current[len(ids) :], margins


def layer_outputs(model, ids):
    """The residual stream: embedding, after each layer, after the final norm."""
    base = model.model
    final = base.norm_f if hasattr(base, "norm_f") else base.norm
    seen = []

    def keep(_module, _inputs, output):
        seen.append((output[0] if isinstance(output, tuple) else output)[0])

    modules = [model.get_input_embeddings(), *base.layers, final]
    hooks = [m.register_forward_hook(keep) for m in modules]
    logits(model, ids)
    for hook in hooks:
        hook.remove()
    return seen


# --- architectures and keys that transformers does not know -----------------------------


def add_bias(linear):
    """The same linear layer with a bias."""
    return nn.Linear(linear.in_features, linear.out_features, bias=True)


def hybrid_attention_bias(model):
    """attention_bias of nemotron_h: transformers reads the key and builds no biases."""
    for layer in model.model.layers:
        if layer.block_type == "full_attention":
            for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
                setattr(layer.mixer, name, add_bias(getattr(layer.mixer, name)))


def hybrid_widths(widths):
    """intermediate_size as a list: one width for each dense MLP layer, in order."""

    def adapt(model):
        left = list(widths)
        for layer in model.model.layers:
            if layer.block_type == "mlp":
                layer.mixer = type(layer.mixer)(model.config, intermediate_size=left.pop(0))

    return adapt


class Nothing(nn.Module):
    """A sub-block that adds nothing."""

    def forward(self, hidden_states, **_):
        return torch.zeros_like(hidden_states)


def hybrid_without_shared_expert(model):
    for layer in model.model.layers:
        if layer.block_type == "moe":
            layer.mixer.shared_experts = Nothing()


class LinearAttention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear_attn = nn.Linear(width, width, bias=False)

    def forward(self, hidden_states, **_):
        return self.linear_attn(hidden_states), None


class LinearMLP(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear_mlp = nn.Linear(width, width, bias=False)

    def forward(self, hidden_states):
        return self.linear_mlp(hidden_states)


class NasLayer(nn.Module):
    """A Llama layer of which either half may be missing or one matrix."""

    def __init__(self, config, block, index):
        super().__init__()
        attention, ffn = block["attention"], block["ffn"]
        if not attention.get("no_op"):
            self.input_layernorm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
            self.self_attn = nas_attention(config, attention, index)
        if not ffn.get("no_op"):
            self.post_attention_layernorm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
            self.mlp = nas_ffn(config, ffn)

    def forward(self, hidden_states, **kwargs):
        if hasattr(self, "self_attn"):
            mixed, _ = self.self_attn(hidden_states=self.input_layernorm(hidden_states), **kwargs)
            hidden_states = hidden_states + mixed
        if hasattr(self, "mlp"):
            hidden_states = hidden_states + self.mlp(self.post_attention_layernorm(hidden_states))
        return hidden_states


def nas_attention(config, attention, index):
    if attention.get("replace_with_linear"):
        return LinearAttention(config.hidden_size)
    config = copy.deepcopy(config)
    config.num_key_value_heads = config.num_attention_heads // attention["n_heads_in_group"]
    return LlamaAttention(config, index)


def nas_ffn(config, ffn):
    if ffn.get("replace_with_linear"):
        return LinearMLP(config.hidden_size)
    config = copy.deepcopy(config)
    config.intermediate_size = ffn.get("intermediate_size") or nas_width(ffn["ffn_mult"], config.hidden_size)
    return LlamaMLP(config)


def nas_width(multiplier, hidden):
    """Two thirds of multiplier · hidden, rounded up to a multiple of 256."""
    return -(-int(2 * multiplier * hidden / 3) // 256) * 256


def nas_layers(blocks):
    def adapt(model):
        layers = [NasLayer(model.config, block, i) for i, block in enumerate(blocks)]
        model.model.layers = nn.ModuleList(layers)

    return adapt
