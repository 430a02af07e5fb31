"""Write a checkpoint of a published geometry with random bf16 weights.

usage: python3 bench/make_model.py mini-4b /dev/shm/mini-4b

The weights are normal with the standard deviation that keeps activations of
order one, never zeros: zeros hide errors and run faster. Needs torch and
safetensors; a GPU is used where there is one.
"""

import json
import os
import sys

import torch
from safetensors.torch import save_file

# hidden, MLP, layers, heads, key/value heads, head size, vocabulary
GEOMETRIES = {
    "mini-4b": (3072, 9216, 32, 24, 8, 128, 256000),
    "15b": (6144, 24576, 32, 48, 8, 128, 256000),
    "tiny": (256, 512, 2, 4, 2, 64, 4096),
}


def main(name, folder):
    hidden, mlp, layers, heads, kv_heads, head, vocab = GEOMETRIES[name]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)

    def matrix(rows, cols):
        return (torch.randn(rows, cols, device=device) * cols**-0.5).to(torch.bfloat16).cpu()

    def vector(n, spread):
        return (torch.randn(n, device=device) * spread).to(torch.bfloat16).cpu()

    tensors = {"model.embed_tokens.weight": matrix(vocab, hidden), "lm_head.weight": matrix(vocab, hidden)}
    norms = ["model.norm"]
    for i in range(layers):
        at = f"model.layers.{i}."
        for part, rows, cols in (
            ("self_attn.q_proj", heads * head, hidden),
            ("self_attn.k_proj", kv_heads * head, hidden),
            ("self_attn.v_proj", kv_heads * head, hidden),
            ("self_attn.o_proj", hidden, heads * head),
            ("mlp.up_proj", mlp, hidden),
            ("mlp.down_proj", hidden, mlp),
        ):
            tensors[at + part + ".weight"] = matrix(rows, cols)
        norms += [at + "input_layernorm", at + "post_attention_layernorm"]
    for norm in norms:
        tensors[norm + ".weight"] = vector(hidden, 0.1)
        tensors[norm + ".bias"] = vector(hidden, 0.02)
    os.makedirs(folder, exist_ok=True)
    save_file(tensors, folder + "/model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["NemotronForCausalLM"], "model_type": "nemotron", "vocab_size": vocab,
        "hidden_size": hidden, "intermediate_size": mlp, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": head,
        "hidden_act": "relu2", "norm_eps": 1e-5, "rope_theta": 10000.0, "partial_rotary_factor": 0.5,
        "max_position_embeddings": 4096, "tie_word_embeddings": False,
        "bos_token_id": 2, "eos_token_id": 3, "torch_dtype": "bfloat16",
    }
    with open(folder + "/config.json", "w") as file:
        json.dump(config, file, indent=1)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
