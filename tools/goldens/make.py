#!/usr/bin/env python3
"""Makes tiny random checkpoints of every architecture and spelling, and their golden numbers.

    make.py [--out FOLDER] [--only PATTERN]   write them (default: testdata/goldens)
    make.py --check [--only PATTERN]          make them again elsewhere and compare
    make.py --list                            name and describe them
"""

import argparse
import copy
import fnmatch
import json
import os
import shutil
import sys
import tempfile
import warnings
import zlib
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")

import numpy as np
import torch
import transformers
from safetensors import safe_open
from transformers import AutoModelForCausalLM

import checks
import reference as ref
import weights as wts
from variants import VARIANTS

OUT = Path(__file__).resolve().parents[2] / "testdata" / "goldens"
LENGTHS = (9, 1, 33)    # tokens of the three prompts
LONGEST = 41            # of the third, where the layers are kept too
TRIES = 400             # seeds tried before giving up
LEAST_MARGIN = 0.01     # of every greedy winner
LEAST_LEAD = 1e-4       # of every routed expert
LEAST_DIFFERENT = 6     # ids in a greedy continuation


def make(variant, folder):
    """Finds a seed whose numbers are clear-cut, and writes the folder."""
    model = ref.build(variant.reference_config())
    if variant.adapt:
        variant.adapt(model)
    ref.set_time_step_limit(model, variant.limit)
    first = zlib.crc32(variant.name.encode()) % 1_000_000
    for seed in range(first, first + TRIES):
        tensors = weights_for(variant, model, seed)
        cases = cases_for(variant, model, seed)
        if cases:
            break
    else:
        raise RuntimeError(f"{variant.name}: no seed in {TRIES} gives clear-cut numbers")
    folder.mkdir(parents=True, exist_ok=True)
    write_checkpoint(variant, model, tensors, seed, folder)
    verify(variant, model, folder, cases)
    write_golden(variant, model, seed, cases, folder)
    return seed - first + 1


def weights_for(variant, model, seed):
    """Random weights, put into the model; a tied head equals the embedding."""
    dtype_of = wts.dtype_rule(variant.dtype, variant.dtypes)
    tensors = wts.random_weights(model, seed, dtype_of)
    if model.config.tie_word_embeddings:
        embedding = next(n for n in tensors if "embed" in n)
        tensors["lm_head.weight"] = tensors[embedding]
    ref.load(model, tensors)
    return tensors


def cases_for(variant, model, seed):
    """Prompts with their numbers, or None if any decision is too close to call."""
    rng = np.random.Generator(np.random.PCG64([seed, 1]))
    cases = []
    for length in (*LENGTHS[:2], LONGEST) if variant.layers else LENGTHS:
        ids = rng.integers(3, model.config.vocab_size, length).tolist()
        greedy, margins = ref.greedy(model, ids, variant.stepwise)
        if min(margins) < LEAST_MARGIN or len(set(greedy)) < LEAST_DIFFERENT:
            return None
        if checks.router_lead(model, ids + greedy) < LEAST_LEAD:
            return None
        logprobs = ref.logits(model, ids, variant.stepwise).log_softmax(-1)
        cases.append({"ids": ids, "logprobs": digits(logprobs.tolist()), "greedy": greedy,
                      "greedy_margin": digits(margins)})
    return cases


def write_checkpoint(variant, model, tensors, seed, folder):
    if variant.saved:
        copy.deepcopy(model).to(wts.DTYPES[variant.dtype]).save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        return
    rename = variant.rename or (lambda name, tensor: [(name, tensor)])
    stored = [pair for n, t in tensors.items() if n not in variant.drop for pair in rename(n, t)]
    wts.save(folder, dict(stored) | extra_tensors(variant, seed), variant.layout, variant.metadata)
    wts.write_json(folder / "config.json", variant.config, indent=2)
    if variant.generation:
        wts.write_json(folder / "generation_config.json", variant.generation, indent=2)


def extra_tensors(variant, seed):
    rng = np.random.Generator(np.random.PCG64([seed, 2]))
    dtype = wts.DTYPES[variant.dtype]
    return {name: torch.from_numpy(rng.standard_normal(shape)).to(dtype) for name, shape in variant.extra.items()}


def verify(variant, model, folder, cases):
    """The reference agrees with its formulas, and the folder with the reference."""
    ids = cases[-1]["ids"]
    if model.config.model_type == "nemotron_h":
        checks.check_hybrid(model, variant.limit, ids)
    if not variant.loadable:
        return
    loaded, info = AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True, **ref.EAGER)
    faults = {k: v for k, v in info.items() if v}
    if faults:
        raise AssertionError(f"{variant.name}: transformers reads the folder with faults: {faults}")
    ref.set_time_step_limit(loaded, variant.limit)
    got, want = (ref.logits(m.eval(), ids, variant.stepwise) for m in (loaded, model))
    if not torch.allclose(got, want, atol=1e-5, rtol=1e-5):
        raise AssertionError(f"{variant.name}: the folder gives other numbers: {(got - want).abs().max():.2e}")


def write_golden(variant, model, seed, cases, folder):
    golden = {
        "made_with": f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}",
        "seed": seed,
        "description": variant.description,
        "cases": cases,
    }
    if variant.layers:
        golden["layers"] = digits([t.tolist() for t in ref.layer_outputs(model, cases[0]["ids"])])
    wts.write_json(folder / "golden.json", golden)


def digits(value):
    """Numbers, however nested, to six digits."""
    if isinstance(value, list):
        return [digits(v) for v in value]
    return float(f"{value:.6g}")


# --- comparing -----------------------------------------------------------------------------


def compare(want, got):
    """What differs between two folders, as lines of text."""
    names = sorted({p.name for p in want.iterdir()} | {p.name for p in got.iterdir()})
    faults = []
    for name in names:
        a, b = want / name, got / name
        if not (a.exists() and b.exists()):
            faults.append(f"{name}: only in {'the old' if a.exists() else 'the new'} folder")
        elif name == "golden.json":
            if not alike(json.loads(a.read_text()), json.loads(b.read_text())):
                faults.append(f"{name}: numbers differ")
        elif name.endswith(".safetensors"):
            if not same_tensors(a, b):
                faults.append(f"{name}: tensors differ")
        elif a.read_bytes() != b.read_bytes():
            faults.append(f"{name}: differs")
    return faults


def same_tensors(a, b):
    with safe_open(a, "pt") as x, safe_open(b, "pt") as y:
        return set(x.keys()) == set(y.keys()) and all(
            torch.equal(x.get_tensor(n), y.get_tensor(n)) for n in x.keys())


def alike(a, b):
    """Equal but for the tools' versions and for float32 rounding."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(k == "made_with" or alike(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, float) or isinstance(b, float):
        return abs(a - b) <= 1e-4 + 1e-4 * abs(b)
    return a == b


def run(selected, out, check):
    faults = 0
    with tempfile.TemporaryDirectory() as scratch:
        for variant in selected:
            folder = (Path(scratch) if check else out) / variant.name
            shutil.rmtree(folder, ignore_errors=True)
            try:
                note = f"{make(variant, folder):3} seeds"
                problems = compare(out / variant.name, folder) if check else []
            except Exception as fault:  # one variant's fault does not stop the others
                note, problems = "failed", [f"{type(fault).__name__}: {fault}"]
            faults += len(problems)
            print(f"{variant.name:34} {note}  {'; '.join(problems)}", flush=True)
    return faults


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--only", default="*", help="shell pattern of names; several with commas")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    patterns = args.only.split(",")
    selected = [v for v in VARIANTS if any(fnmatch.fnmatch(v.name, p) for p in patterns)]
    if args.list:
        for v in selected:
            print(f"{v.name:34} {v.description}")
        return 0
    return 1 if run(selected, args.out, args.check) else 0


if __name__ == "__main__":
    sys.exit(main())
