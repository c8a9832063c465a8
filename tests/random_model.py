"""A Llama-type checkpoint of random numbers: 6 layers, grouped query heads, in two files.

usage: random_model.py FROM TO [F16 | BF16]      the tokenizer's files are taken from FROM
"""
import json
import os
import random
import shutil
import struct
import sys

D, HEADS, KV_HEADS, D_HEAD, FF, LAYERS = 32, 6, 2, 8, 56, 6


def tensors(n_vocab):
    """(name, shape) in the order of the files."""
    yield "model.embed_tokens.weight", (n_vocab, D)
    for i in range(LAYERS):
        layer = f"model.layers.{i}"
        for name, shape in (("self_attn.q_proj", (HEADS * D_HEAD, D)),
                            ("self_attn.k_proj", (KV_HEADS * D_HEAD, D)),
                            ("self_attn.v_proj", (KV_HEADS * D_HEAD, D)),
                            ("self_attn.o_proj", (D, HEADS * D_HEAD)),
                            ("mlp.gate_proj", (FF, D)), ("mlp.up_proj", (FF, D)),
                            ("mlp.down_proj", (D, FF)),
                            ("input_layernorm", (D,)), ("post_attention_layernorm", (D,))):
            yield f"{layer}.{name}.weight", shape
    yield "model.norm.weight", (D,)
    yield "lm_head.weight", (n_vocab, D)


def values(shape, numbers):
    """Such that activations keep a size of about 1; norms are not all the same."""
    if len(shape) == 1:
        return [1 + 0.2 * numbers.gauss(0, 1) for _ in range(shape[0])]
    return [numbers.gauss(0, 1) / shape[1] ** 0.5 for _ in range(shape[0] * shape[1])]


def pack(x, dtype):
    if dtype == "F16":
        return struct.pack(f"<{len(x)}e", *x)
    words = struct.unpack(f"<{len(x)}I", struct.pack(f"<{len(x)}f", *x))
    return struct.pack(f"<{len(x)}H", *((w + 0x7fff + (w >> 16 & 1)) >> 16 for w in words))


def write(path, part, dtype, numbers):
    header, data = {}, bytearray()
    for name, shape in part:
        x = values(shape, numbers)
        begin = len(data)
        data += pack(x, dtype)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def main(source, folder, dtype="F16"):
    with open(os.path.join(source, "config.json")) as file:
        config = json.load(file)
    config.update(hidden_size=D, intermediate_size=FF, num_hidden_layers=LAYERS, head_dim=D_HEAD,
                  num_attention_heads=HEADS, num_key_value_heads=KV_HEADS)
    os.makedirs(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(os.path.join(source, name), folder)
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(config, file)
    numbers = random.Random(7)
    every = list(tensors(config["vocab_size"]))
    files = {}
    for k in range(2):
        name = f"model-{k + 1:05}-of-00002.safetensors"
        part = every[k * len(every) // 2:(k + 1) * len(every) // 2]
        write(os.path.join(folder, name), part, dtype, numbers)
        files.update((tensor, name) for tensor, _ in part)
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as file:
        json.dump({"metadata": {}, "weight_map": files}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
