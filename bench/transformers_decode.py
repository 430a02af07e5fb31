"""Time Hugging Face transformers on a checkpoint, greedy, in bf16.

usage: python3 bench/transformers_decode.py DIR [--prompt N] [--decode N]
           [--batch LIST] [--repeat N] [--compile] [--json]

Prints, for each batch, the seconds to the first token and the tokens/s of all
sequences together after it: medians of the runs after one warm-up. Eager, with
the default dynamic cache; --compile takes a static cache and has torch compile
the step of one token (half a minute and more, which is printed, too). To be run
beside godwit in the same session: ratios of one session are what counts. See
beside_transformers.py.
"""

import argparse
import json
import statistics
import sys
import time

import torch
from transformers import AutoModelForCausalLM, StaticCache

GPU = torch.cuda.is_available()


def now():
    if GPU:
        torch.cuda.synchronize()
    return time.perf_counter()


class Eager:
    """The step as a user writes it."""

    def __init__(self, model):
        self.model = model

    def start(self, ids, new):
        return self.model(ids, use_cache=True, logits_to_keep=1)

    def token(self, out):
        return out.logits[:, -1:].argmax(-1)

    def step(self, token, out, at):
        return self.model(token, past_key_values=out.past_key_values, use_cache=True)


class Compiled(Eager):
    """A static cache, and a compiled step of one token."""

    def __init__(self, model):
        super().__init__(model)
        self.cache = None
        self.compiled = torch.compile(self.one, mode="reduce-overhead", fullgraph=True)

    def one(self, token, position):
        return self.model(token, past_key_values=self.cache, position_ids=position, use_cache=True)

    def start(self, ids, new):
        most = ids.shape[1] + new
        if self.cache is None:
            self.cache = StaticCache(config=self.model.config, max_cache_len=most)
        self.cache.reset()
        return self.model(ids, past_key_values=self.cache, use_cache=True, logits_to_keep=1)

    def step(self, token, out, at):
        position = torch.full((token.shape[0], 1), at, device=token.device)
        out = self.compiled(token, position)
        out.logits = out.logits.clone()  # the next replay writes over it
        return out


@torch.no_grad()
def generate(way, ids, new):
    """Return the seconds of the prompt and of the tokens after the first."""
    start = now()
    out = way.start(ids, new)
    token = way.token(out)
    first = now()
    for i in range(new - 1):
        out = way.step(token, out, ids.shape[1] + i)
        token = way.token(out)
    return first - start, now() - first


def measure(way, vocab, a, batch):
    generator = torch.Generator().manual_seed(batch)
    new_ids = lambda: torch.randint(10, vocab, (batch, a.prompt), generator=generator).to("cuda" if GPU else "cpu")
    start = now()
    generate(way, new_ids(), min(a.decode, 8) if not isinstance(way, Compiled) else a.decode)
    warm = now() - start
    runs = [generate(way, new_ids(), a.decode) for _ in range(a.repeat)]
    first = statistics.median(r[0] for r in runs)
    rest = statistics.median(r[1] for r in runs)
    return {"batch": batch, "first_token_seconds": first, "prompt_tokens_per_second": batch * a.prompt / first,
            "decode_tokens_per_second": batch * (a.decode - 1) / rest, "warm_up_seconds": warm}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--decode", type=int, default=64)
    parser.add_argument("--batch", default="1")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    start = now()
    model = AutoModelForCausalLM.from_pretrained(a.folder, dtype=torch.bfloat16, device_map="cuda" if GPU else "cpu").eval()
    report = {"load_seconds": now() - start, "compiled": a.compile, "prompt": a.prompt, "decode": a.decode, "batches": []}
    for batch in map(int, a.batch.split(",")):
        way = Compiled(model) if a.compile else Eager(model)
        report["batches"].append(measure(way, model.config.vocab_size, a, batch))
    if GPU:
        report["peak_bytes"] = torch.cuda.max_memory_allocated()
    if a.json:
        json.dump(report, sys.stdout)
        return
    print(f"transformers: load {report['load_seconds']:.2f} s, {report.get('peak_bytes', 0) / 1e9:.2f} GB")
    for b in report["batches"]:
        print(f"batch {b['batch']}: first token {b['first_token_seconds'] * 1e3:.1f} ms, prompt {b['prompt_tokens_per_second']:,.0f} tokens/s, "
              f"decode {b['decode_tokens_per_second']:,.1f} tokens/s, warm-up {b['warm_up_seconds']:.1f} s")


if __name__ == "__main__":
    main()
