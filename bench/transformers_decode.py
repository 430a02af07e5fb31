"""Time Hugging Face transformers on a checkpoint, greedy, one sequence.

usage: python3 bench/transformers_decode.py DIR [prompt tokens] [new tokens]

Prints the seconds to the first token and the tokens/s after it, eager with
the default dynamic cache, bf16, after one warm-up. To be run beside godwit in
the same session: ratios of one session are what counts.
"""

import sys
import time

import torch
from transformers import AutoModelForCausalLM


@torch.no_grad()
def generate(model, ids, new):
    """Return the seconds of the prompt and of the tokens after the first."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    out = model(ids, use_cache=True, logits_to_keep=1)
    token = out.logits[:, -1:].argmax(-1)
    torch.cuda.synchronize()
    first = time.perf_counter()
    for _ in range(new - 1):
        out = model(token, past_key_values=out.past_key_values, use_cache=True)
        token = out.logits[:, -1:].argmax(-1)
    torch.cuda.synchronize()
    return first - start, time.perf_counter() - first


def main(folder, prompt=512, new=64):
    start = time.perf_counter()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, device_map="cuda").eval()
    torch.cuda.synchronize()
    loaded = time.perf_counter() - start
    ids = torch.arange(10, 10 + prompt, device="cuda")[None]
    generate(model, ids, 8)
    first, rest = generate(model, ids, new)
    print(f"transformers: load {loaded:.2f} s, first token {first * 1e3:.1f} ms, decode {(new - 1) / rest:.1f} tokens/s, "
          f"{torch.cuda.max_memory_allocated() / 1e9:.2f} GB")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
