"""Measure godwit and Hugging Face transformers on one checkpoint, in one go.

usage: python3 bench/beside_transformers.py [DIR] [--godwit BINARY]
           [--prompt N] [--decode N] [--batch LIST] [--compile]

DIR is a checkpoint; without one, make_model.py makes one of the geometry of
Nemotron-Mini-4B in /dev/shm. Both load the same files and get random prompts of
the same lengths; each is measured by its own program (godwit bench,
transformers_decode.py), one after the other on an idle GPU. Prints a table.
--compile measures transformers with a static cache and torch.compile, too.
"""

import argparse
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: status {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout[done.stdout.index("{"):])


def rows_of_godwit(report):
    for b in report["batches"]:
        yield "godwit", report["load_seconds"], b["requests"], b["first_token_seconds"]["median"], \
            b["prompt_tokens_per_second"]["median"], b["decode_tokens_per_second"]["median"], report["memory"]["peak_bytes"]


def rows_of_transformers(report):
    name = "transformers, compiled" if report["compiled"] else "transformers, eager"
    for b in report["batches"]:
        yield name, report["load_seconds"], b["batch"], b["first_token_seconds"], \
            b["prompt_tokens_per_second"], b["decode_tokens_per_second"], report.get("peak_bytes", 0)


def show(rows, a):
    best = {r[2]: r for r in rows if r[0] == "godwit"}
    print(f"| prompt {a.prompt}, {a.decode} new | batch | load | first token | prompt | decode | memory | godwit decodes |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, load, batch, first, prompt, decode, peak in rows:
        ratio = "" if name == "godwit" else f"{best[batch][5] / decode:.1f} times as fast"
        print(f"| {name} | {batch} | {load:.2f} s | {first * 1e3:.1f} ms | {prompt:,.0f} tokens/s | {decode:,.1f} tokens/s | {peak / 1e9:.2f} GB | {ratio} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default="/dev/shm/mini")
    parser.add_argument("--godwit", default="build/godwit")
    parser.add_argument("--prompt", default="512")
    parser.add_argument("--decode", default="64")
    parser.add_argument("--batch", default="1")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--compile", action="store_true")
    a = parser.parse_args()
    if not os.path.exists(a.folder):
        subprocess.run([sys.executable, HERE + "/make_model.py", "mini-4b", a.folder], check=True)
    lengths = ["--prompt", a.prompt, "--decode", a.decode, "--batch", a.batch, "--repeat", "3", "--json"]
    other = [sys.executable, HERE + "/transformers_decode.py", a.folder, *lengths]
    rows = list(rows_of_godwit(run([a.godwit, "bench", "--model", a.folder, "--device", a.device, *lengths])))
    rows += rows_of_transformers(run(other))
    if a.compile:
        rows += rows_of_transformers(run([*other, "--compile"]))
    show(rows, a)


if __name__ == "__main__":
    main()
