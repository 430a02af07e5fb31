#!/usr/bin/env python3
"""Measures what computing in 16 bits costs transformers itself on the golden checkpoints.

    rounding.py [--only PATTERN] [--out FILE]   (default: testdata/goldens/rounding.json)

For every checkpoint and each 16-bit type, over the positions of 128 random prompts of 41
tokens: at each position the largest difference of a log-probability between transformers in
that type and in float32, and of these the median and the largest. Rounding that makes a
router choose another expert is rare and costs much, so the prompts are more than the three
of golden.json: the median says how exact the arithmetic is, the largest what a changed
choice does. No engine that computes in that type can be asked to be nearer.
"""

import argparse
import fnmatch
import json
import sys
from pathlib import Path

import make  # first: it sets the environment of transformers
import numpy as np
import torch
import transformers

import reference as ref
import weights as wts
from variants import VARIANTS

PROMPTS, TOKENS = 128, 41
TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def measure(variant, folder):
    """The type most bytes are stored in, and what each 16-bit type costs."""
    golden = json.loads((folder / "golden.json").read_text())
    model = ref.build(variant.reference_config())
    if variant.adapt:
        variant.adapt(model)
    ref.set_time_step_limit(model, variant.limit)
    tensors = make.weights_for(variant, model, golden["seed"])
    check(variant, model, golden["cases"][-1])
    rng = np.random.Generator(np.random.PCG64([golden["seed"], 3]))
    ids = torch.from_numpy(rng.integers(3, model.config.vocab_size, (PROMPTS, TOKENS)))
    exact = logprobs(variant, model, ids)
    costs = {"stored": stored_type(tensors)}
    for name, dtype in TYPES.items():
        ref.load(model.float(), tensors)
        lower(model, dtype)
        ref.set_time_step_limit(model, tuple(within(v, dtype) for v in variant.limit))
        worst = (logprobs(variant, model, ids) - exact).abs().amax(-1)
        costs[name] = {"median": digits(worst.median()), "largest": digits(worst.max())}
    return costs


def check(variant, model, case):
    """The weights are those of golden.json."""
    got = ref.logits(model, case["ids"], variant.stepwise).log_softmax(-1)
    if (got - torch.tensor(case["logprobs"])).abs().max() > 1e-4:
        raise AssertionError(f"{variant.name}: these are not the weights of golden.json")


@torch.no_grad()
def logprobs(variant, model, ids):
    """[positions of all prompts, vocabulary]"""
    if variant.stepwise:
        rows = torch.stack([ref.logits(model, row.tolist(), True) for row in ids])
    else:
        rows = model(ids, use_cache=False).logits.float()
    return rows.log_softmax(-1).flatten(0, 1)


def within(value, dtype):
    """A limit in a type: what is beyond its numbers limits nothing."""
    return value if value <= torch.finfo(dtype).max else float("inf")


def stored_type(tensors):
    size = {}
    for t in tensors.values():
        size[t.dtype] = size.get(t.dtype, 0) + t.numel() * t.element_size()
    return str(max(size, key=size.get)).removeprefix("torch.")


def lower(model, dtype):
    """Rounds the parameters as from_pretrained does; buffers, such as rotary frequencies,
    and what transformers wants exact stay float32."""
    exact = {*(model._keep_in_fp32_modules or ()), *(model._keep_in_fp32_modules_strict or ())}
    for name, p in model.named_parameters():
        if not exact & set(name.split(".")):
            p.data = p.data.to(dtype)


def digits(value):
    return float(f"{value:.3g}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=make.OUT / "rounding.json")
    parser.add_argument("--only", default="*", help="shell pattern of names")
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    checkpoints = {}
    for v in VARIANTS:
        if fnmatch.fnmatch(v.name, args.only):
            checkpoints[v.name] = measure(v, make.OUT / v.name)
            print(f"{v.name:34} {checkpoints[v.name]}", flush=True)
    lines = [f"  {json.dumps(name)}: {json.dumps(checkpoints[name])}" for name in sorted(checkpoints)]
    made_with = f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}"
    args.out.write_text(f'{{"made_with": {json.dumps(made_with)}, "checkpoints": {{\n' + ",\n".join(lines) + "\n}}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
