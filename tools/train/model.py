"""The two models: `nemotron_h` (Mamba-2, attention, mixture of experts) and dense `nemotron`.

Shapes: B sequences, L tokens, H hidden; in Mamba Q tokens a chunk, h heads, P their width,
G groups, N states.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

CHUNK = 64  # of the Mamba scan


@dataclass(frozen=True)
class Hybrid:
    kind: str = "hybrid"
    vocab: int = 4096
    hidden: int = 256
    pattern: str = "MEM*EMEM*E"  # M Mamba-2, E mixture of experts, * attention
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    mamba_heads: int = 8
    mamba_width: int = 64
    groups: int = 2
    states: int = 128
    taps: int = 4
    experts: int = 8
    chosen: int = 2
    expert_width: int = 128
    shared_width: int = 256
    scale: float = 2.5
    eps: float = 1e-5
    rotary: int = 0  # rotated dimensions of a head: none

    @property
    def inner(self):
        return self.mamba_heads * self.mamba_width

    @property
    def conv(self):
        return self.inner + 2 * self.groups * self.states


@dataclass(frozen=True)
class Dense:
    kind: str = "dense"
    vocab: int = 4096
    hidden: int = 192
    layers: int = 5
    heads: int = 6
    kv_heads: int = 2
    head_dim: int = 32
    width: int = 768
    eps: float = 1e-5
    rotary: int = 16  # the first half of a head


CONFIGS = {"hybrid": Hybrid(), "dense": Dense()}


def linear(inputs, outputs):
    return nn.Linear(inputs, outputs, bias=False)


def relu2(x):
    return F.relu(x) ** 2


class RMSNorm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        normed = F.rms_norm(x.float(), (x.shape[-1],), None, self.eps).to(x.dtype)
        return normed * self.weight.to(x.dtype)


class LayerNorm1P(nn.Module):
    """LayerNorm whose weight is kept minus one."""

    def __init__(self, width, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.eps = eps

    def forward(self, x):
        weight, bias = (self.weight + 1).float(), self.bias.float()
        return F.layer_norm(x.float(), (x.shape[-1],), weight, bias, self.eps).to(x.dtype)


def rotate(x, dims):
    """Rotary positions on the first dims of every head, the two halves paired. x [B, heads, L, width]."""
    frequency = 10000.0 ** (-torch.arange(0, dims, 2, device=x.device).float() / dims)
    angle = torch.arange(x.shape[2], device=x.device).float()[:, None] * frequency
    cos, sin = (torch.cat([t, t], -1).to(x.dtype) for t in (angle.cos(), angle.sin()))
    low, high = x[..., : dims // 2], x[..., dims // 2 : dims]
    turned = x[..., :dims] * cos + torch.cat([-high, low], -1) * sin
    return torch.cat([turned, x[..., dims:]], -1)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.q_proj = linear(c.hidden, c.heads * c.head_dim)
        self.k_proj = linear(c.hidden, c.kv_heads * c.head_dim)
        self.v_proj = linear(c.hidden, c.kv_heads * c.head_dim)
        self.o_proj = linear(c.heads * c.head_dim, c.hidden)

    def forward(self, x):
        c, (batch, length, _) = self.c, x.shape
        q, k, v = (
            proj(x).view(batch, length, -1, c.head_dim).transpose(1, 2)
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        if c.rotary:
            q, k = rotate(q, c.rotary), rotate(k, c.rotary)
        repeat = c.heads // c.kv_heads
        k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(batch, length, -1))


class Mamba(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.in_proj = linear(c.hidden, c.inner + c.conv + c.mamba_heads)
        self.conv1d = nn.Conv1d(c.conv, c.conv, c.taps, groups=c.conv, padding=c.taps - 1)
        self.A_log = nn.Parameter(torch.log(torch.linspace(1, 16, c.mamba_heads)))
        self.D = nn.Parameter(torch.ones(c.mamba_heads))
        low, high = math.log(0.001), math.log(0.1)
        dt = torch.exp(torch.rand(c.mamba_heads) * (high - low) + low)
        self.dt_bias = nn.Parameter(dt + torch.log(-torch.expm1(-dt)))  # softplus gives dt back
        self.norm = RMSNorm(c.inner, c.eps)
        self.out_proj = linear(c.inner, c.hidden)

    def forward(self, u):
        c, (batch, length, _) = self.c, u.shape
        z, xbc, dt = torch.split(self.in_proj(u), [c.inner, c.conv, c.mamba_heads], -1)
        xbc = F.silu(self.conv1d(xbc.transpose(1, 2))[..., :length].transpose(1, 2))
        dt = F.softplus(dt.float() + self.dt_bias.float())
        y = self.scan(xbc, dt).reshape(batch, length, c.inner).float() * F.silu(z.float())
        y = F.rms_norm(y.view(batch, length, c.groups, -1), (c.inner // c.groups,), None, c.eps)
        y = y.view(batch, length, c.inner) * self.norm.weight.float()
        return self.out_proj(y.to(u.dtype))

    def scan(self, xbc, dt):
        """The state-space recurrence by chunks. xbc [B, L, conv], dt [B, L, h] to [B, L, h, P]."""
        c, length = self.c, xbc.shape[1]
        pad = -length % CHUNK  # tokens after the end, which nothing before them sees
        xbc, dt = F.pad(xbc, (0, 0, 0, pad)), F.pad(dt, (0, 0, 0, pad))
        grouped = c.groups * c.states
        x, b, s = torch.split(xbc, [c.inner, grouped, grouped], -1)
        x = x.unflatten(1, (-1, CHUNK)).unflatten(-1, (c.mamba_heads, c.mamba_width))
        b, s = (t.unflatten(1, (-1, CHUNK)).unflatten(-1, (c.groups, c.states)) for t in (b, s))
        dt = dt.unflatten(1, (-1, CHUNK))
        decay = torch.cumsum(dt * -torch.exp(self.A_log.float()), 2)  # B chunks Q h
        y = self.within(x, b, s, dt, decay) + self.across(x, b, s, dt, decay)
        y = y + self.D.to(x.dtype)[:, None] * x
        return y.flatten(1, 2)[:, :length]

    def within(self, x, b, s, dt, decay):
        """What a token takes from those before it in its own chunk."""
        repeat = self.c.mamba_heads // self.c.groups
        causal = torch.tril(torch.ones(CHUNK, CHUNK, device=x.device, dtype=torch.bool))
        gap = decay[:, :, :, None] - decay[:, :, None]  # B chunks i j h
        fade = torch.exp(gap.masked_fill(~causal[None, None, :, :, None], float("-inf")))
        match = torch.einsum("bcign,bcjgn->bcijg", s, b).repeat_interleave(repeat, -1)
        weight = (match * fade * dt[:, :, None]).to(x.dtype)
        return torch.einsum("bcijh,bcjhp->bcihp", weight, x)

    def across(self, x, b, s, dt, decay):
        """What it takes from the state that enters the chunk."""
        repeat = self.c.mamba_heads // self.c.groups
        b, s = b.repeat_interleave(repeat, 3), s.repeat_interleave(repeat, 3)
        left = (torch.exp(decay[:, :, -1:] - decay) * dt).to(x.dtype)
        added = torch.einsum("bcqh,bcqhp,bcqhn->bchpn", left, x, b).float()
        kept = torch.exp(decay[:, :, -1])  # B chunks h
        state, entering = torch.zeros_like(added[:, 0]), []
        for i in range(added.shape[1]):
            entering.append(state)
            state = state * kept[:, i, :, None, None] + added[:, i]
        entering = torch.stack(entering, 1).to(x.dtype)
        read = torch.einsum("bcqhn,bchpn->bcqhp", s, entering)
        return read * torch.exp(decay)[..., None].to(x.dtype)


class Experts(nn.Module):
    """A sigmoid router, its chosen experts, and one shared expert.

    Every expert is computed for every token and the unchosen are weighted with zero: at this
    size that is faster than sorting.
    """

    def __init__(self, c):
        super().__init__()
        self.c = c
        self.gate = linear(c.hidden, c.experts)
        self.register_buffer("bias", torch.zeros(c.experts))  # selection only; see balance
        self.up = nn.Parameter(torch.empty(c.experts, c.expert_width, c.hidden))
        self.down = nn.Parameter(torch.empty(c.experts, c.hidden, c.expert_width))
        self.shared_up = linear(c.hidden, c.shared_width)
        self.shared_down = linear(c.shared_width, c.hidden)

    def forward(self, x):
        tokens = x.reshape(-1, x.shape[-1])
        weight = self.route(tokens)
        hidden = relu2(torch.einsum("td,efd->tef", tokens, self.up.to(tokens.dtype)))
        y = torch.einsum("tef,edf->td", hidden * weight[..., None], self.down.to(tokens.dtype))
        y = y + self.shared_down(relu2(self.shared_up(tokens)))
        return y.view(x.shape)

    def route(self, tokens):
        """Weight of every expert for every token, in float32 until the end."""
        with torch.autocast(tokens.device.type, enabled=False):
            score = torch.sigmoid(F.linear(tokens.float(), self.gate.weight.float()))
        chosen = torch.topk(score + self.bias, self.c.chosen, -1).indices
        mask = torch.zeros_like(score).scatter_(1, chosen, 1.0)
        self.load = mask.detach().sum(0)
        weight = score * mask
        weight = weight / (weight.sum(-1, keepdim=True) + 1e-20) * self.c.scale
        return weight.to(tokens.dtype)

    @torch.no_grad()
    def balance(self, step=1e-3):
        """Makes experts that were chosen too rarely a little likelier."""
        self.bias += step * torch.sign(self.load.mean() - self.load)


class MLP(nn.Module):
    def __init__(self, hidden, width):
        super().__init__()
        self.up_proj = linear(hidden, width)
        self.down_proj = linear(width, hidden)

    def forward(self, x):
        return self.down_proj(relu2(self.up_proj(x)))


class HybridLayer(nn.Module):
    MIXERS = {"M": Mamba, "*": Attention, "E": Experts}

    def __init__(self, letter, c):
        super().__init__()
        self.letter = letter
        self.norm = RMSNorm(c.hidden, c.eps)
        self.mixer = self.MIXERS[letter](c)

    def forward(self, x):
        return x + self.mixer(self.norm(x))


class DenseLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.attention_norm = LayerNorm1P(c.hidden, c.eps)
        self.mlp_norm = LayerNorm1P(c.hidden, c.eps)
        self.attention = Attention(c)
        self.mlp = MLP(c.hidden, c.width)

    def forward(self, x):
        x = x + self.attention(self.attention_norm(x))
        return x + self.mlp(self.mlp_norm(x))


class LanguageModel(nn.Module):
    """Ids [B, L] to logits [B, L, vocabulary]."""

    def __init__(self, kind):
        super().__init__()
        self.c = c = CONFIGS[kind]
        self.embedding = nn.Embedding(c.vocab, c.hidden)
        if kind == "hybrid":
            self.layers = nn.ModuleList([HybridLayer(letter, c) for letter in c.pattern])
            self.norm = RMSNorm(c.hidden, c.eps)
        else:
            self.layers = nn.ModuleList([DenseLayer(c) for _ in range(c.layers)])
            self.norm = LayerNorm1P(c.hidden, c.eps)
        self.head = linear(c.hidden, c.vocab)
        self.initialise()

    def initialise(self):
        """Matrices from N(0, 0.02), those that write to the residual stream the narrower the deeper."""
        for name, p in self.named_parameters():
            if is_matrix(name, p):
                writes = any(part in name for part in ("out_proj", "o_proj", "down"))
                nn.init.normal_(p, 0, 0.02 / (math.sqrt(len(self.layers)) if writes else 1))

    def forward(self, ids):
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


def is_matrix(name, parameter):
    return parameter.dim() >= 2 and "conv" not in name
