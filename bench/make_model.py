"""Write a checkpoint of a published geometry with random bf16 weights.

usage: python3 bench/make_model.py GEOMETRY DIR [--tokenizer DIR] [--shards N] [--pattern LETTERS]

GEOMETRY is mini-4b, 15b or tiny, or a config.json of nemotron_h, such as
bench/geometries/3-nano-30b-a3b.json, of which --pattern makes other layers:
MEM*E for a slice of five, say.

The weights are normal with the standard deviation that keeps activations of
order one, never zeros: zeros hide errors and run faster. They are the same in
each run on one kind of device. --tokenizer copies the tokenizer of another
checkpoint and fills its vocabulary up with made-up words, so that every id has
a text; --shards cuts the weights into so many files with an index. Needs torch;
a GPU is used where there is one.
"""

import argparse
import json
import mmap
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import torch

# hidden, MLP, layers, heads, key/value heads, head size, vocabulary
GEOMETRIES = {
    "mini-4b": (3072, 9216, 32, 24, 8, 128, 256000),
    "15b": (6144, 24576, 32, 48, 8, 128, 256000),
    "tiny": (256, 512, 2, 4, 2, 64, 4096),
}

WRITERS = 8


def tensors(hidden, mlp, layers, heads, kv_heads, head, vocab):
    """List (name, shape, standard deviation)."""
    out = []
    matrix = lambda name, rows, cols: out.append((name + ".weight", (rows, cols), cols**-0.5))

    def norm(name):
        out.append((name + ".weight", (hidden,), 0.1))
        out.append((name + ".bias", (hidden,), 0.02))

    matrix("model.embed_tokens", vocab, hidden)
    for i in range(layers):
        at = f"model.layers.{i}."
        norm(at + "input_layernorm")
        matrix(at + "self_attn.q_proj", heads * head, hidden)
        matrix(at + "self_attn.k_proj", kv_heads * head, hidden)
        matrix(at + "self_attn.v_proj", kv_heads * head, hidden)
        matrix(at + "self_attn.o_proj", hidden, heads * head)
        norm(at + "post_attention_layernorm")
        matrix(at + "mlp.up_proj", mlp, hidden)
        matrix(at + "mlp.down_proj", hidden, mlp)
    norm("model.norm")
    matrix("lm_head", vocab, hidden)
    return out


def hybrid_tensors(c, pattern):
    """List (name, shape, standard deviation, mean) of a nemotron_h."""
    hidden, out = c["hidden_size"], []
    matrix = lambda name, rows, cols: out.append((name + ".weight", (rows, cols), cols**-0.5))
    matrix("backbone.embeddings", c["vocab_size"], hidden)
    for i, letter in enumerate(pattern):
        at = f"backbone.layers.{i}."
        out.append((at + "norm.weight", (hidden,), 0.1, 1))
        {"M": mamba, "E": experts, "*": attention, "-": mlp}[letter](c, at + "mixer.", hidden, out, matrix)
    out.append(("backbone.norm_f.weight", (hidden,), 0.1, 1))
    matrix("lm_head", c["vocab_size"], hidden)
    return out


def mamba(c, at, hidden, out, matrix):
    """Rates and time steps are those that training starts from."""
    heads = c["mamba_num_heads"]
    inner = heads * c["mamba_head_dim"]
    convolved = inner + 2 * c["n_groups"] * c["ssm_state_size"]
    matrix(at + "in_proj", inner + convolved + heads, hidden)
    out.append((at + "conv1d.weight", (convolved, 1, c["conv_kernel"]), c["conv_kernel"] ** -0.5))
    out.append((at + "conv1d.bias", (convolved,), 0.1))
    out.append((at + "A_log", (heads,), 0.6, 1.9))
    out.append((at + "dt_bias", (heads,), 1, -4.6))
    out.append((at + "D", (heads,), 0.1, 1))
    out.append((at + "norm.weight", (inner,), 0.1, 1))
    matrix(at + "out_proj", hidden, inner)


def experts(c, at, hidden, out, matrix):
    count, width, shared = c["n_routed_experts"], c["moe_intermediate_size"], c["moe_shared_expert_intermediate_size"]
    matrix(at + "gate", count, hidden)
    out.append((at + "gate.e_score_correction_bias", (count,), 0.01))
    for e in range(count):
        matrix(f"{at}experts.{e}.up_proj", width, hidden)
        matrix(f"{at}experts.{e}.down_proj", hidden, width)
    if shared:
        matrix(at + "shared_experts.up_proj", shared, hidden)
        matrix(at + "shared_experts.down_proj", hidden, shared)


def attention(c, at, hidden, out, matrix):
    wide, narrow = c["num_attention_heads"] * c["head_dim"], c["num_key_value_heads"] * c["head_dim"]
    for name, rows in (("q_proj", wide), ("k_proj", narrow), ("v_proj", narrow)):
        matrix(at + name, rows, hidden)
    matrix(at + "o_proj", hidden, wide)


def mlp(c, at, hidden, out, matrix):
    matrix(at + "up_proj", c["intermediate_size"], hidden)
    matrix(at + "down_proj", hidden, c["intermediate_size"])


def size(shape):
    n = 2
    for d in shape:
        n *= d
    return n


def shards(parts, count):
    """Cut the tensors into runs of about equal size."""
    total, done, out = sum(size(p[1]) for p in parts), 0, [[] for _ in range(count)]
    for p in parts:
        out[min(done * count // total, count - 1)].append(p)
        done += size(p[1])
    return [s for s in out if s]


def write(path, parts, seed):
    """Write one safetensors file: a length, a header, the tensors."""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    places = []
    for i, (name, shape, spread, *mean) in enumerate(parts):
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size(shape)]}
        places.append((at, size(shape), spread, sum(mean), seed + i))
        at += size(shape)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    start = 8 + len(text)
    with open(path, "w+b") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(start + at)
        file.flush()
        with mmap.mmap(file.fileno(), start + at) as memory:
            device = "cuda" if torch.cuda.is_available() else "cpu"

            def fill(place):
                offset, n, spread, mean, seed = place
                generator = torch.Generator(device).manual_seed(seed)
                target = torch.frombuffer(memory, dtype=torch.bfloat16, count=n // 2, offset=start + offset)
                target.copy_((torch.randn(n // 2, device=device, generator=generator) * spread + mean).to(torch.bfloat16))

            with ThreadPoolExecutor(WRITERS) as pool:
                list(pool.map(fill, places))
    return at


def write_all(folder, parts, count):
    """Write all files, and an index where there are several."""
    runs = shards(parts, count)
    if len(runs) == 1:
        write(f"{folder}/model.safetensors", parts, 0)
        return
    where, total, seed = {}, 0, 0
    for i, run in enumerate(runs, 1):
        name = f"model-{i:05}-of-{len(runs):05}.safetensors"
        total += write(f"{folder}/{name}", run, seed)
        seed += len(run)
        where |= {p[0]: name for p in run}
    with open(folder + "/model.safetensors.index.json", "w") as file:
        json.dump({"metadata": {"total_size": total}, "weight_map": where}, file, indent=1)


def copy_tokenizer(source, folder, vocab):
    """Copy a tokenizer with words for the ids that it lacks."""
    with open(source + "/tokenizer.json") as file:
        tokenizer = json.load(file)
    words = tokenizer["model"]["vocab"]
    for i in range(1 + max(words.values()), vocab):
        words[f"\u0120w{i}"] = i
    with open(folder + "/tokenizer.json", "w") as file:
        json.dump(tokenizer, file, ensure_ascii=False)
    if os.path.exists(source + "/tokenizer_config.json"):
        shutil.copy(source + "/tokenizer_config.json", folder)
    with open(source + "/config.json") as file:
        config = json.load(file)
    return {key: config[key] for key in ("bos_token_id", "eos_token_id")}


def dense_config(geometry, special):
    """Return the config.json of a dense geometry."""
    hidden, mlp, layers, heads, kv_heads, head, vocab = geometry
    return {
        "architectures": ["NemotronForCausalLM"], "model_type": "nemotron", "vocab_size": vocab,
        "hidden_size": hidden, "intermediate_size": mlp, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": head,
        "hidden_act": "relu2", "norm_eps": 1e-5, "rope_theta": 10000.0, "partial_rotary_factor": 0.5,
        "max_position_embeddings": 4096, "tie_word_embeddings": False, **special, "torch_dtype": "bfloat16",
    }


def hybrid_config(path, pattern):
    """Return a config.json of nemotron_h, with other layers where a pattern is given."""
    with open(path) as file:
        config = json.load(file)
    if config.get("model_type") != "nemotron_h":
        raise SystemExit(f"{path}: model_type is {config.get('model_type')!r}, want 'nemotron_h'")
    pattern = pattern or config["hybrid_override_pattern"]
    return {**config, "hybrid_override_pattern": pattern, "num_hidden_layers": len(pattern)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("geometry", help=", ".join(GEOMETRIES) + ", or a config.json of nemotron_h")
    parser.add_argument("folder")
    parser.add_argument("--tokenizer", help="checkpoint to take the tokenizer of")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--pattern", help="layers of a hybrid")
    a = parser.parse_args()
    dense = GEOMETRIES.get(a.geometry)
    config = dense_config(dense, {}) if dense else hybrid_config(a.geometry, a.pattern)
    os.makedirs(a.folder, exist_ok=True)
    special = {"bos_token_id": 2, "eos_token_id": 3}
    if a.tokenizer:
        special = copy_tokenizer(a.tokenizer, a.folder, config["vocab_size"])
    with open(a.folder + "/config.json", "w") as file:
        json.dump({**config, **special}, file, indent=1)
    write_all(a.folder, tensors(*dense) if dense else hybrid_tensors(config, config["hybrid_override_pattern"]), a.shards)


if __name__ == "__main__":
    main()
