"""Random weights with a healthy spread, and the files that hold them.

Every tensor that a plain initialiser leaves at zero or one (norm weights, biases,
A_log, D, dt_bias, the router's correction bias) gets values that matter, so that a
reader that forgets one of them cannot agree with the golden numbers.
"""

import json
import re
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}

GAIN = 1.3          # of ordinary linear layers: output spread over input spread
LOGIT_SPREAD = 2.5  # standard deviation of the logits


def draw(rng, name, shape, config):
    """One random tensor, by what its name says it is."""

    def normal(mean, std):
        return mean + std * rng.standard_normal(shape)

    fan_in = shape[-1]
    if "embed" in name:
        return normal(0, LOGIT_SPREAD / fan_in**0.5 if config.tie_word_embeddings else 0.8)
    if name.startswith("lm_head"):
        return normal(0, LOGIT_SPREAD / fan_in**0.5)
    if name.endswith("e_score_correction_bias"):
        return normal(0, 0.4)
    if name.endswith("A_log"):
        return np.log(rng.uniform(0.3, 8.0, shape))
    if name.endswith("dt_bias"):
        return rng.uniform(-9.0, 1.0, shape)  # softplus: 0.0001 to 1.3, both sides of time_step_min
    if name.endswith("mixer.D"):
        return normal(1, 0.5)
    if name.endswith("bias"):
        return normal(0, 0.3)
    if "norm" in name:
        return normal(0 if config.model_type == "nemotron" else 1, 0.25)
    return normal(0, GAIN / fan_in**0.5)


def random_weights(model, seed, dtype_of):
    """Name to tensor for every entry of the model's state, rounded to its stored type."""
    rng = np.random.Generator(np.random.PCG64(seed))
    state = model.state_dict()
    return {
        name: torch.from_numpy(np.asarray(draw(rng, name, tuple(state[name].shape), model.config)))
        .to(torch.float32)
        .to(dtype_of(name))
        for name in sorted(state)
    }


def dtype_rule(default, exceptions):
    """The stored type by name: the first matching pattern wins, else the default."""

    def dtype_of(name):
        for pattern, dtype in exceptions:
            if re.search(pattern, name):
                return DTYPES[dtype]
        return DTYPES[default]

    return dtype_of


def save(folder, tensors, layout, metadata):
    """Writes the tensors as one file, as shards with an index, or as shards without one."""
    tensors = {name: t.contiguous().clone() for name, t in sorted(tensors.items())}
    if layout == "single":
        save_file(tensors, folder / "model.safetensors", metadata=metadata)
        return
    names = list(tensors)
    middle = len(names) // 2
    shards = {
        "model-00001-of-00002.safetensors": names[:middle],
        "model-00002-of-00002.safetensors": names[middle:],
    }
    for file, part in shards.items():
        save_file({n: tensors[n] for n in part}, folder / file, metadata=metadata)
    if layout == "indexed":
        write_index(folder, tensors, shards)


def write_index(folder, tensors, shards):
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    where = {name: file for file, part in shards.items() for name in part}
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
    write_json(folder / "model.safetensors.index.json", index, indent=2)


def write_json(path, value, indent=None):
    separators = None if indent else (",", ":")
    Path(path).write_text(json.dumps(value, indent=indent, separators=separators) + "\n")
