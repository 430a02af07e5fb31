"""Independent checks of the reference itself, in plain numpy and float64.

They hold the sequential Mamba-2 recurrence, the router, the experts and the attention
without positions as the papers and the published kernels define them, and compare them
with what the transformers modules gave for the same inputs.
"""

import numpy as np

from reference import logits

TOLERANCE = 2e-5  # of the largest value, for a float32 reference


def arrays(module):
    return {name: t.detach().double().numpy() for name, t in module.state_dict().items()}


def silu(x):
    return x / (1 + np.exp(-x))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relu2(x):
    return np.maximum(x, 0) ** 2


def linear(w, name, x):
    return x @ w[name + ".weight"].T + w.get(name + ".bias", 0)


def mamba(mixer, config, limit, x):
    """x [tokens, hidden] through one Mamba-2 mixer, token by token."""
    w = arrays(mixer)
    heads, width = config.mamba_num_heads, config.mamba_head_dim
    groups, states, taps = config.n_groups, config.ssm_state_size, config.conv_kernel
    inner = heads * width
    z, xbc, dt = np.split(linear(w, "in_proj", x), [inner, 2 * inner + 2 * groups * states], axis=1)
    xbc = convolve(xbc, w["conv1d.weight"][:, 0], w.get("conv1d.bias", 0), taps)
    u, b, c = np.split(xbc, [inner, inner + groups * states], axis=1)
    u = u.reshape(-1, heads, width)
    b, c = (np.repeat(t.reshape(-1, groups, states), heads // groups, axis=1) for t in (b, c))
    dt = np.clip(np.logaddexp(0, dt + w["dt_bias"]), *limit)
    decay = np.exp(-np.exp(w["A_log"]) * dt)
    state, rows = np.zeros((heads, width, states)), []
    for t in range(len(x)):
        state = decay[t][:, None, None] * state + (dt[t][:, None] * u[t])[:, :, None] * b[t][:, None, :]
        rows.append((state * c[t][:, None, :]).sum(-1) + w["D"][:, None] * u[t])
    gated = (np.stack(rows).reshape(-1, inner) * silu(z)).reshape(-1, groups, inner // groups)
    gated /= np.sqrt((gated**2).mean(-1, keepdims=True) + config.layer_norm_epsilon)
    return linear(w, "out_proj", gated.reshape(-1, inner) * w["norm.weight"])


def convolve(x, weight, bias, taps):
    padded = np.concatenate([np.zeros((taps - 1, x.shape[1])), x])
    out = sum(weight[:, k] * padded[k : k + len(x)] for k in range(taps)) + bias
    return silu(out)


def moe(mixer, config, _limit, x):
    w = arrays(mixer)
    scores = sigmoid(x @ w["gate.weight"].T)
    out = np.zeros_like(x)
    u = linear(w, "fc1_latent_proj", x) if config.moe_latent_size else x
    routed = np.zeros_like(u)
    for t, chosen in enumerate(choose(scores + w["gate.e_score_correction_bias"], config)[0]):
        weight = scores[t][chosen]
        if config.norm_topk_prob:
            weight = weight / (weight.sum() + 1e-20)
        for e, share in zip(chosen, weight * config.routed_scaling_factor):
            routed[t] += share * (w["experts.down_proj"][e] @ relu2(w["experts.up_proj"][e] @ u[t]))
    out += linear(w, "fc2_latent_proj", routed) if config.moe_latent_size else routed
    if "shared_experts.up_proj.weight" in w:
        out += linear(w, "shared_experts.down_proj", relu2(linear(w, "shared_experts.up_proj", x)))
    return out


def choose(biased, config):
    """The experts of every token, and the smallest lead by which any of them was chosen."""
    groups = biased.reshape(len(biased), config.n_group, -1)
    rank = np.sort(groups, axis=-1)[..., -2:].sum(-1)
    order = np.argsort(-rank, axis=-1)
    lead = np.inf
    if config.topk_group < config.n_group:
        sorted_rank = -np.sort(-rank, axis=-1)
        lead = (sorted_rank[:, config.topk_group - 1] - sorted_rank[:, config.topk_group]).min()
    open_groups = np.zeros_like(rank, dtype=bool)
    np.put_along_axis(open_groups, order[:, : config.topk_group], True, axis=-1)
    masked = np.where(open_groups[..., None], groups, -np.inf).reshape(biased.shape)
    picks = np.argsort(-masked, axis=-1)
    sorted_scores = np.take_along_axis(masked, picks, axis=-1)
    k = config.num_experts_per_tok
    if k < biased.shape[1]:
        lead = min(lead, (sorted_scores[:, k - 1] - sorted_scores[:, k]).min())
    return picks[:, :k], lead


def attention(mixer, config, _limit, x):
    """Causal, grouped, no positions."""
    w = arrays(mixer)
    q, k, v = (linear(w, n + "_proj", x).reshape(len(x), -1, config.head_dim) for n in "qkv")
    repeat = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, repeat, axis=1), np.repeat(v, repeat, axis=1)
    score = np.einsum("thd,uhd->htu", q, k) / np.sqrt(config.head_dim)
    score = np.where(np.tril(np.ones(score.shape[1:], dtype=bool)), score, -np.inf)
    share = np.exp(score - score.max(-1, keepdims=True))
    share /= share.sum(-1, keepdims=True)
    return linear(w, "o_proj", np.einsum("htu,uhd->thd", share, v).reshape(len(x), -1))


FORMULAS = {"linear_attention": mamba, "moe": moe, "full_attention": attention}


def check_hybrid(model, limit, ids):
    """Every mixer of a nemotron_h model against its formula, on one prompt."""
    for i, layer in enumerate(model.model.layers):
        formula = FORMULAS.get(layer.block_type)
        if formula is None:
            continue
        x, got = capture(model, layer.mixer, ids)
        want = formula(layer.mixer, model.config, limit, x)
        error = np.abs(got - want).max() / np.abs(want).max()
        if error > TOLERANCE:
            raise AssertionError(f"layer {i} ({layer.block_type}): off by {error:.2e} from its formula")


def capture(model, module, ids):
    kept = {}

    def keep(_module, args, kwargs, output):
        x = args[0] if args else kwargs["hidden_states"]
        y = output[0] if isinstance(output, tuple) else output
        kept["x"], kept["y"] = x[0].double().numpy(), y[0].double().numpy()

    hook = module.register_forward_hook(keep, with_kwargs=True)
    logits(model, ids)
    hook.remove()
    return kept["x"], kept["y"]


def router_lead(model, ids):
    """The smallest lead by which any router chose any expert: too small a lead would let
    rounding decide, and two right engines disagree."""
    lead = np.inf
    for layer in model.model.layers:
        if getattr(layer, "block_type", None) == "moe":
            x, _ = capture(model, layer.mixer, ids)
            w = arrays(layer.mixer.gate)
            scores = sigmoid(x @ w["weight"].T) + w["e_score_correction_bias"]
            lead = min(lead, choose(scores, model.config)[1])
    return lead
