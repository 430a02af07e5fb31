"""Say where a decoding step of a hybrid goes: by kinds of layers.

usage: python3 bench/ledger.py CONFIG [--godwit BINARY] [--batch N] [--prompt N]
           [--decode N] [--repeat N] [--device D] [--gbps N] [--args "..."]

CONFIG is a config.json of nemotron_h, such as one of bench/geometries. godwit
bench measures a step of the whole geometry, and for each kind of layer one of
two models that have layers of that kind alone: as many as the whole has, and
one. The difference, by the layer, is what a layer takes in a chain of its kind;
what is left of the model of one layer is the rest of a step: the host, the
embedding, the head and the choice of a token. What the kinds and the rest do
not explain of the whole step is what neighbours of different kinds cost each
other.

Floors are the bytes that must move, at the rate of the plain reader in the same
run, or at --gbps.
"""

import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile

NAMES = {"M": "Mamba-2", "E": "mixture of experts", "*": "attention", "-": "MLP"}


def measure(options, config, folder):
    """Return the seconds of a step, its bytes, and the reader's rate."""
    path = os.path.join(folder, "config.json")
    with open(path, "w") as file:
        json.dump(config, file)
    command = [options.godwit, "bench", "--config", path, "--json", "--device", options.device, "--batch", str(options.batch),
               "--prompt", str(options.prompt), "--decode", str(options.decode), "--repeat", str(options.repeat)] + options.args.split()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: status {done.returncode}\n{done.stderr}")
    report = json.loads(done.stdout)
    batch = report["batches"][0]
    return batch["step_seconds"], sum(batch["step_bytes"].values()), report["read_bytes_per_second"]


def letters(config):
    pattern = config.get("hybrid_override_pattern")
    if not isinstance(pattern, str) or not set(pattern) <= set(NAMES):
        sys.exit(f"hybrid_override_pattern is {pattern!r}, want letters of {''.join(NAMES)}")
    return pattern


def of_layers(config, pattern):
    return {**config, "hybrid_override_pattern": pattern, "num_hidden_layers": len(pattern)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("config")
    parser.add_argument("--godwit", default="build/godwit")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--decode", type=int, default=128)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--gbps", type=float, default=0)
    parser.add_argument("--args", default="", help="more flags of godwit bench")
    options = parser.parse_args()
    with open(options.config) as file:
        config = json.load(file)
    pattern = letters(config)
    with tempfile.TemporaryDirectory() as folder:
        whole, moved, rate = measure(options, config, folder)
        rate = options.gbps * 1e9 or rate
        print(f"{'':20} layers  us a layer  floor us  share  us in all")
        explained, rest = 0.0, []
        for letter, count in collections.Counter(pattern).most_common():
            many = max(count, 4)
            one, bytes_of_one, _ = measure(options, of_layers(config, letter), folder)
            all_, bytes_of_all, _ = measure(options, of_layers(config, letter * many), folder)
            layer, floor = (all_ - one) / (many - 1), (bytes_of_all - bytes_of_one) / (many - 1) / rate
            explained += layer * count
            rest.append((one - layer, bytes_of_one / rate - floor))
            line(NAMES[letter], count, layer, floor, layer * count)
        took, floor = (sum(r[i] for r in rest) / len(rest) for i in (0, 1))
        line("the rest", 1, took, floor, took)
        line("neighbours", 1, whole - explained - took, 0, whole - explained - took)
        line("a step", 1, whole, moved / rate, whole)


def line(name, count, took, floor, total):
    share = f"{100 * floor / took:4.0f}%" if floor > 0 and took > 0 else "     "
    print(f"{name:20} {count:6d}  {took * 1e6:10.1f}  {floor * 1e6:8.1f}  {share}  {total * 1e6:9.1f}")


if __name__ == "__main__":
    main()
