"""Training on one GPU for a given time."""

import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import checkpoint
from model import CONFIGS, Experts, LanguageModel, is_matrix

LENGTH = 512           # tokens of a sequence
BATCH = 96             # sequences of a step; a third of them dialogues
PEAK = 3e-3            # learning rate
WARM_UP = 200          # steps
UNTIMED = 10           # first steps, in which the compiler works
HELD_OUT = 200_000     # last tokens of the books, for validation


def train(kind, folder, seconds, eager=False):
    folder, device = Path(folder), "cuda"
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = True
    books, chats = (load_tokens(folder / name, device) for name in ("tokens.npy", "chat.npy"))
    model = LanguageModel(kind).to(device)
    print(f"{kind}: {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters", flush=True)
    steps = fit(model, books[:-HELD_OUT], chats, seconds, eager)
    loss = validate(model, books[-HELD_OUT:])
    print(f"{kind}: {steps} steps, {steps * BATCH * LENGTH / 1e6:.0f} M tokens, validation loss {loss:.3f}", flush=True)
    checkpoint.save(model, folder / kind, folder / "tokenizer.json")


def load_tokens(path, device):
    return torch.from_numpy(np.load(path).astype(np.int32)).to(device)


def fit(model, books, chats, seconds, eager):
    """Steps until the time is over; returns their number."""
    forward = model if eager else torch.compile(model)
    optimizer = optimizer_for(model)
    start, step = time.time(), 0
    while True:
        if step == UNTIMED:
            start = time.time()
        done = min(1, (time.time() - start) / seconds) if step >= UNTIMED else 0
        if done >= 1:
            return step
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, done)
        loss = one_step(model, forward, optimizer, batch(books, chats))
        step += 1
        if step % 200 == 0:
            rate = step * BATCH * LENGTH / (time.time() - start) / 1e3
            print(f"step {step}  loss {loss.item():.3f}  {rate:.0f} k tokens/s", flush=True)


def optimizer_for(model):
    named = list(model.named_parameters())
    groups = [
        {"params": [p for n, p in named if is_matrix(n, p)], "weight_decay": 0.1},
        {"params": [p for n, p in named if not is_matrix(n, p)], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=PEAK, betas=(0.9, 0.95), fused=True)


def learning_rate(step, done):
    """A linear rise, then a cosine down to 3 % over the time given."""
    return PEAK * min(1, (step + 1) / WARM_UP) * (0.5 * (1 + math.cos(math.pi * done)) * 0.97 + 0.03)


def batch(books, chats):
    """Random windows [BATCH, LENGTH + 1]."""
    window = torch.arange(LENGTH + 1, device=books.device)
    dialogues = BATCH // 3
    rows = []
    for tokens, count in ((books, BATCH - dialogues), (chats, dialogues)):
        at = torch.randint(0, len(tokens) - LENGTH - 1, (count,), device=tokens.device)
        rows.append(tokens[at[:, None] + window])
    return torch.cat(rows).long()


def one_step(model, forward, optimizer, tokens):
    with torch.autocast("cuda", dtype=torch.bfloat16):
        logits = forward(tokens[:, :-1])
    loss = F.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].reshape(-1))
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for module in model.modules():
        if isinstance(module, Experts):
            module.balance()
    return loss


@torch.no_grad()
def validate(model, tokens):
    """Mean loss over the first 300 windows of the held-out end."""
    rows = tokens[: (LENGTH + 1) * 300].view(-1, LENGTH + 1).long()
    losses = []
    with torch.autocast("cuda", dtype=torch.bfloat16):
        for part in rows.split(100):
            logits = model(part[:, :-1]).float()
            losses.append(F.cross_entropy(logits.flatten(0, 1), part[:, 1:].flatten()).item())
    return sum(losses) / len(losses)
