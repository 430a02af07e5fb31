"""Reference outputs of a checkpoint (`golden.json`), and a check of our model against them."""

import json
from pathlib import Path

import torch

import checkpoint

PROMPTS = ["Once upon a time", "The old man looked at the sea and", '"Where are you going?" said the']
GREEDY = 48
TOLERANCE = 1e-2


def make(folder, device="cpu"):
    """Computes golden.json with transformers, weights upcast to float32, and prints a sample."""
    import transformers
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM

    folder = Path(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    faults = {k: v for k, v in info.items() if v}
    if faults:
        raise ValueError(f"{folder}: read with faults: {faults}")
    model = model.to(device).eval()
    unclamp(model)
    logits = lambda ids: model(torch.tensor([ids], device=device), use_cache=False).logits[0].float()
    golden = {
        "made_with": f"transformers {transformers.__version__}, torch {torch.__version__}, weights upcast to float32",
        "cases": [case(prompt, tokenizer, logits) for prompt in PROMPTS],
    }
    (folder / "golden.json").write_text(json.dumps(golden) + "\n")
    print(tokenizer.decode(sample(encode(tokenizer, "Once upon a time there was a"), logits)))


def unclamp(model):
    """dt is not clamped by any published kernel; the module of transformers clamps it from below."""
    for module in model.modules():
        if hasattr(module, "time_step_limit"):
            module.time_step_limit = (0.0, float("inf"))


def encode(tokenizer, text):
    return [1] + tokenizer.encode(text, add_special_tokens=False).ids


@torch.no_grad()
def case(prompt, tokenizer, logits):
    ids = encode(tokenizer, prompt)
    top = torch.topk(logits(ids), 5, -1)
    continued = greedy(ids, logits)
    return {
        "prompt": prompt,
        "ids": ids,
        "top5_ids": top.indices.tolist(),
        "top5_logits": [[round(v, 5) for v in row] for row in top.values.tolist()],
        "greedy": continued,
        "text": tokenizer.decode((ids + continued)[1:]),
    }


@torch.no_grad()
def greedy(ids, logits):
    current = list(ids)
    for _ in range(GREEDY):
        current.append(int(logits(current)[-1].argmax()))
    return current[len(ids) :]


@torch.no_grad()
def sample(ids, logits, count=150, temperature=0.7, top_k=40):
    torch.manual_seed(1)
    for _ in range(count):
        values, choice = torch.topk(logits(ids)[-1] / temperature, top_k)
        ids = ids + [int(choice[torch.multinomial(values.softmax(-1), 1)])]
    return ids[1:]


@torch.no_grad()
def check(folder):
    """Our own float32 forward against golden.json: the five best logits and the greedy ids."""
    model = checkpoint.load(folder)
    logits = lambda ids: model(torch.tensor([ids]))[0]
    worst = 0.0
    for c in json.loads((Path(folder) / "golden.json").read_text())["cases"]:
        got = logits(c["ids"]).gather(1, torch.tensor(c["top5_ids"]))
        worst = max(worst, (got - torch.tensor(c["top5_logits"])).abs().max().item())
        if greedy(c["ids"], logits) != c["greedy"]:
            raise AssertionError(f"{folder}: the greedy continuation of {c['prompt']!r} differs")
    if worst > TOLERANCE:
        raise AssertionError(f"{folder}: logits differ by {worst:.1e}, at most {TOLERANCE} wanted")
    print(f"{folder}: logits within {worst:.1e}, greedy continuations equal")
