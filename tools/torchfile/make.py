"""Writes the PyTorch checkpoints that internal/torchfile is tested with, and
beside each what PyTorch itself reads in it, as safetensors.

    python tools/torchfile/make.py internal/torchfile/testdata

Each NAME.bin is a state dictionary as torch.save writes it; NAME.safetensors
holds contiguous copies of its tensors.
"""

import collections
import os
import sys

import torch
from safetensors.torch import save_file

DTYPES = [
    "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64",
    "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "uint16", "uint32", "uint64",
]


def numbers(shape, dtype=torch.float32, seed=0):
    g = torch.Generator().manual_seed(seed)
    n = 1
    for d in shape:
        n *= d
    size = torch.empty((), dtype=dtype).element_size()
    raw = torch.randint(0, 256, (n * size,), generator=g, dtype=torch.uint8)
    if dtype == torch.bool:
        raw = raw % 2
    if dtype == torch.float8_e8m0fnu:
        raw = raw % 255
    return raw.view(dtype).reshape(shape)


def module():
    m = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2), torch.nn.BatchNorm1d(2))
    with torch.no_grad():
        for i, t in enumerate(list(m.parameters()) + list(m.buffers())):
            if t.dtype == torch.float32:
                t.copy_(torch.arange(t.numel()).reshape(t.shape) + 10 * i)
    return m


def tied():
    w = numbers((4, 3), torch.bfloat16, 1)
    return {"model.embed_tokens.weight": w, "lm_head.weight": w, "model.norm.weight": numbers((3,), torch.bfloat16, 2)}


def views():
    base = numbers((6, 8), torch.float32, 3)
    return {
        "whole": base, "transposed": base.t(), "rows": base[2:4], "columns": base[:, 3:5], "every_second": base[::2, ::3],
        "row": base[5], "element": base[1, 1], "expanded": base[0].expand(3, 8), "permuted": base.reshape(2, 3, 8).permute(2, 0, 1),
        "empty": base[:0],
    }


def cases():
    every = {d: numbers((2, 3), getattr(torch, d), i) for i, d in enumerate(DTYPES)}
    every["scalar"] = torch.tensor(1.5)
    yield "dtypes", every, {}
    yield "views", views(), {}
    yield "tied", tied(), {}
    yield "module", module().state_dict(), {}
    yield "parameters", collections.OrderedDict((n, p) for n, p in module().named_parameters()), {}
    for protocol in (3, 4, 5):
        yield f"protocol{protocol}", tied() | {"é 名.weight": numbers((2,), torch.float16, 4)}, {"pickle_protocol": protocol}
    yield "legacy", views() | tied(), {"_use_new_zipfile_serialization": False}
    yield "legacy_module", module().state_dict(), {"_use_new_zipfile_serialization": False}
    yield "nested", {"state_dict": tied()}, {}
    with_attribute = numbers((2, 2), torch.float32, 5)
    with_attribute.note = "hello"
    yield "attributes", {"a": with_attribute}, {}


def flat(state):
    if "state_dict" in state:
        state = state["state_dict"]
    return {k: v.detach().contiguous().clone() for k, v in state.items()}


def main(out):
    os.makedirs(out, exist_ok=True)
    for name, state, options in cases():
        torch.save(state, os.path.join(out, name + ".bin"), **options)
        loaded = torch.load(os.path.join(out, name + ".bin"), weights_only=False)
        save_file(flat(loaded), os.path.join(out, name + ".safetensors"), metadata={"format": "pt"})


if __name__ == "__main__":
    main(sys.argv[1])
