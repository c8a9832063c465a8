"""Writes a Llama checkpoint of random bf16 weights, by default of TinyLlama's shape (1.1 billion
parameters, 2.2 GB), with another folder's tokenizer: for measurements of memory and speed that need
the size of a model and not its sense.

usage: write_checkpoint.py FOLDER [--tokenizer FOLDER] [--layers 22] [--width 2048] [--heads 32]
                           [--kv-heads 4] [--ff 5632] [--vocab 32000] [--positions 2048] [--seed 1]
"""
import argparse
import json
import os
import shutil
import struct

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
DEMO = os.path.join(HERE, "..", "..", "jobs", "demo", "model")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def arguments():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("folder")
    p.add_argument("--tokenizer", default=DEMO)
    for name, value in (("layers", 22), ("width", 2048), ("heads", 32), ("kv-heads", 4),
                        ("ff", 5632), ("vocab", 32000), ("positions", 2048), ("seed", 1)):
        p.add_argument("--" + name, type=int, default=value)
    return p.parse_args()


def config(a, tokenizer):
    """The tokenizer's special tokens with this model's sizes."""
    with open(os.path.join(tokenizer, "config.json"), encoding="utf-8") as f:
        special = {k: v for k, v in json.load(f).items() if k.endswith("_token_id")}
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
            "hidden_size": a.width, "intermediate_size": a.ff, "num_hidden_layers": a.layers,
            "num_attention_heads": a.heads, "num_key_value_heads": a.kv_heads,
            "max_position_embeddings": a.positions, "vocab_size": a.vocab, "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
            **special}


def shapes(a):
    """(name, shape) in the order in which checkpoints of this kind are written."""
    d, kv = a.width, a.kv_heads * (a.width // a.heads)
    yield "model.embed_tokens.weight", (a.vocab, d)
    for layer in range(a.layers):
        at = f"model.layers.{layer}."
        yield at + "input_layernorm.weight", (d,)
        yield at + "self_attn.q_proj.weight", (d, d)
        yield at + "self_attn.k_proj.weight", (kv, d)
        yield at + "self_attn.v_proj.weight", (kv, d)
        yield at + "self_attn.o_proj.weight", (d, d)
        yield at + "post_attention_layernorm.weight", (d,)
        yield at + "mlp.gate_proj.weight", (a.ff, d)
        yield at + "mlp.up_proj.weight", (a.ff, d)
        yield at + "mlp.down_proj.weight", (d, a.ff)
    yield "model.norm.weight", (d,)
    yield "lm_head.weight", (a.vocab, d)


def n_tokens(tokenizer):
    """Ids that the tokenizer can turn into text."""
    with open(os.path.join(tokenizer, "tokenizer.json"), encoding="utf-8") as f:
        t = json.load(f)
    return 1 + max([*t["model"]["vocab"].values(), *(a["id"] for a in t["added_tokens"])])


def values(name, shape, random, n_ids):
    """Norms of one, matrices of N(0, 0.02), cut to bf16: the upper half of a float32. Rows of the
    head without a token are zeros, so that only ids that can be decoded are ever chosen."""
    if len(shape) == 1:
        x = np.ones(shape, np.float32)
    else:
        x = random.standard_normal(shape, np.float32) * np.float32(0.02)
    if name == "lm_head.weight":
        x[n_ids:] = 0
    return (x.view(np.uint32) >> 16).astype("<u2")


def main():
    a = arguments()
    os.makedirs(a.folder, exist_ok=True)
    for name in TOKENIZER_FILES:
        shutil.copyfile(os.path.join(a.tokenizer, name), os.path.join(a.folder, name))
    with open(os.path.join(a.folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config(a, a.tokenizer), f, indent=1)
    header, at = {}, 0
    for name, shape in shapes(a):
        n = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    n_ids = n_tokens(a.tokenizer)
    random = np.random.default_rng(a.seed)
    with open(os.path.join(a.folder, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes(a):
            f.write(values(name, shape, random, n_ids).tobytes())
    print(f"{a.folder}: {at / 2e9:.2f} billion parameters, {at / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
